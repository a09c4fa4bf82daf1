"""Chunks into the staging folder of a server on the same machine: the kernel copies them, and no byte passes through Python.

Only a server of this machine is believed, and only a folder that this user alone can write to; whoever runs there could do all
that this process can do anyway. A file is made by its name in that folder, and never through a link.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from modelkeep.config import Endpoint
from modelkeep.errors import ServiceUnavailable, StorageFull

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelkeep._pieces import Piece
    from modelkeep.config import Config

_PART_BYTES: Final = 1 << 20
_MOST_TOKEN_BYTES: Final = 4096
_NO_COPY: Final = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.ETXTBSY})


class Staging:
    """A staging folder that this process may use."""

    def __init__(self, folder: str, descriptor: int, token: str) -> None:
        self._folder = folder
        self._descriptor = descriptor
        self.token = token
        """Proves to the server that its folder can be reached from here. A secret."""
        self._copies = hasattr(os, "copy_file_range")

    @classmethod
    def find(cls, config: Config, folder: str) -> Self | None:
        """The folder that a server names, if it can be used from here."""
        url = config.blob_url or config.url
        if not folder or not hasattr(os, "getuid") or not Endpoint.parse(url).loopback:
            return None
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        token = _token(descriptor) if _is_ours(os.fstat(descriptor)) else ""
        if not token:
            os.close(descriptor)
            return None
        return cls(folder, descriptor, token)

    def close(self) -> None:
        """Use it no more."""
        os.close(self._descriptor)

    def put(self, path: str, piece: Piece) -> None:
        """Write a chunk to a file that the server named.

        Raises StorageFull, ServiceUnavailable, FileUnreadable, FileChanged.
        """
        if (name := self._name(path)) is None:
            raise ServiceUnavailable("the server named a file outside its staging folder, so nothing was written")
        try:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._descriptor)  # what an earlier try left
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            out = os.open(name, flags, 0o600, dir_fd=self._descriptor)
            try:
                self._write(out, piece)
            except BaseException:
                with suppress(OSError):
                    os.unlink(name, dir_fd=self._descriptor)
                raise
            finally:
                os.close(out)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise StorageFull(f"the server's disk is full ({self._folder}); nothing was logged") from None
            raise ServiceUnavailable(f"the staging folder {self._folder} cannot be used: {error.strerror}") from None

    def drop(self, paths: Iterable[str]) -> None:
        """Remove what was written to such files and is still there. What cannot be removed is the server's to reap."""
        for name in map(self._name, paths):
            with suppress(OSError):
                if name is not None:
                    os.unlink(name, dir_fd=self._descriptor)

    def _name(self, path: str) -> str | None:
        """The name of a file in the folder; None for one elsewhere, or that is none of ours."""
        folder, _, name = path.rpartition("/")
        return name if folder.rstrip("/") == self._folder.rstrip("/") and name not in {"", ".", "..", "token"} else None

    def _write(self, out: int, piece: Piece) -> None:
        with piece.opened() as place:
            done = self._copy(out, place, piece) if place is not None and self._copies else 0
        for part in piece.parts_from(done, _PART_BYTES):
            view = memoryview(part)
            while view:
                view = view[os.write(out, view) :]

    def _copy(self, out: int, place: tuple[int, int], piece: Piece) -> int:
        """Let the kernel copy; how many bytes it did before it would not go on."""
        (descriptor, offset), done = place, 0
        while done < piece.size_bytes:
            try:
                copied = os.copy_file_range(descriptor, out, piece.size_bytes - done, offset + done)
            except OSError as error:
                if error.errno not in _NO_COPY:
                    raise
                self._copies = False
                return done
            if not copied:
                return done  # some file systems say so of what is not on their disk; reading will tell
            done += copied
        return done


def _is_ours(found: os.stat_result) -> bool:
    return found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077


def _token(folder: int) -> str:
    try:
        descriptor = os.open("token", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return ""
    try:
        found = os.fstat(descriptor)
        ours = stat.S_ISREG(found.st_mode) and _is_ours(found)
        return os.read(descriptor, _MOST_TOKEN_BYTES).decode("ascii", "replace").strip() if ours else ""
    finally:
        os.close(descriptor)
