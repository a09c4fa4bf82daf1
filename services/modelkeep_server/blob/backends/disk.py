"""What the filesystem backend asks of a file system: one method per system call that can fail."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from modelkeep.errors import ServiceUnavailable, StorageFull

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

PRIVATE_FOLDER: Final = 0o700
PRIVATE_FILE: Final = 0o600
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Disk:
    """The file system of this machine."""

    def create(self, path: Path) -> FileIO:
        """A new, empty file to write to; what stood there is gone, and whoever still has it open cannot reach the new one."""
        path.unlink(missing_ok=True)
        return open(path, "x+b", buffering=0)  # noqa: PTH123 - Path.open is not typed for it

    def reopen(self, path: Path) -> FileIO:
        """A file that exists, to write to."""
        return open(path, "r+b", buffering=0)  # noqa: PTH123

    def create_private(self, path: Path) -> FileIO:
        """A new, empty file that only we can read."""
        path.unlink(missing_ok=True)
        return open(path, "x+b", buffering=0, opener=_privately)

    def open(self, path: Path) -> FileIO:
        """A file that somebody else made, to read. No link is followed, and what is no file does not block."""
        return open(path, "rb", buffering=0, opener=_warily)

    def write(self, file: FileIO, data: bytes | memoryview) -> None:
        """Append all of `data`."""
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]

    def read(self, path: Path, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset` on; none when there is no such file."""
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(handle, length, offset)
        finally:
            os.close(handle)

    def read_into(self, file: FileIO, buffer: memoryview) -> int:
        """Read on; how many bytes came."""
        return file.readinto(buffer)

    def sync(self, file: FileIO) -> None:
        """Make the content of a file durable."""
        os.fsync(file.fileno())

    def sync_folder(self, path: Path) -> None:
        """Make the entries of a folder durable."""
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def make_folder(self, path: Path) -> None:
        """Make one folder; one that exists is fine."""
        path.mkdir(exist_ok=True)

    def make_private_folder(self, path: Path) -> None:
        """Make one folder that only we can enter; one that exists becomes such a folder. Raises OSError for a link."""
        path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            os.fchmod(handle, PRIVATE_FOLDER)
        finally:
            os.close(handle)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name."""
        source.rename(target)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name. Raises FileExistsError: nothing is ever replaced."""
        target.hardlink_to(source)

    def remove(self, path: Path) -> None:
        """Remove a file; one that is not there is fine."""
        with suppress(FileNotFoundError):
            path.unlink()

    def size(self, path: Path) -> int | None:
        """How many bytes a file has; None when there is none."""
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return None

    def inode(self, path: Path) -> int | None:
        """Which file has this name; None when there is none."""
        try:
            return path.lstat().st_ino
        except FileNotFoundError:
            return None

    def entries(self, path: Path) -> Iterator[os.DirEntry[str]]:
        """What is in a folder; nothing when there is none."""
        with suppress(FileNotFoundError), os.scandir(path) as found:
            yield from found


def _privately(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, PRIVATE_FILE)


def _warily(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def shown(error: OSError) -> StorageFull | ServiceUnavailable:
    """What an error of the file system means for a caller."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _FULL:
        return StorageFull(f"the server's disk is full ({reason}); nothing was kept, free some space there", error=reason)
    return ServiceUnavailable(f"the server's disk failed ({reason}); nothing was kept, try again later", error=reason)
