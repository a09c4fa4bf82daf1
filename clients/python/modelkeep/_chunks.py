"""Cutting files into chunks: one read of each file, its digest and those of its chunks computed in threads meanwhile.

A large file is cut into fixed blocks; a small one is one chunk. A file that changes while it is read is refused.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from array import array
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Self

from modelkeep._walk import check_file, unreadable
from modelkeep.errors import FileChanged

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from concurrent.futures import Future

    from modelkeep._artifact import Source

HASH_THREADS: Final = 2
INLINE_BYTES: Final = 64 * 1024
"""Smaller pieces are hashed at once: handing them to a thread costs more."""
EMPTY_SHA256: Final = hashlib.sha256().digest()


class Budget:
    """How many bytes may be in memory at once. Whoever wants more waits for others to give some back."""

    def __init__(self, size_bytes: int) -> None:
        self._free = self._size = size_bytes
        self._changed = threading.Condition()
        self._broken = False

    def take(self, size_bytes: int) -> None:
        """Wait until so many bytes are free, and take them."""
        with self._changed:
            self._changed.wait_for(lambda: self._broken or self._free >= min(size_bytes, self._size))
            self._free -= size_bytes

    def give(self, size_bytes: int) -> None:
        """Give bytes back."""
        with self._changed:
            self._free += size_bytes
            self._changed.notify_all()

    def open_up(self) -> None:
        """Let nobody wait any more; for when it all failed."""
        with self._changed:
            self._broken = True
            self._changed.notify_all()


class FileRead:
    """A file that is being read."""

    __slots__ = ("chunks", "executable", "size_bytes", "source", "whole")

    def __init__(self, source: Source, size_bytes: int, *, executable: bool) -> None:
        self.source = source
        self.size_bytes = size_bytes
        self.executable = executable
        self.chunks = bytearray()
        """The SHA-256 of the chunks so far."""
        self.whole: Future[bytes] | bytes | None = None
        """The SHA-256 of the file; None where it is that of its only chunk."""

    def sha256(self) -> bytes:
        """The SHA-256 of the whole file; waits for it."""
        if self.whole is None:
            return bytes(self.chunks)
        return self.whole if isinstance(self.whole, bytes) else self.whole.result()


class Piece:
    """A chunk on its way: some bytes of a file, in memory, and their digest."""

    __slots__ = ("_sha256", "data", "file", "size_bytes", "taken_up")

    def __init__(
        self, file: FileRead, data: bytes, sha256: Future[bytes] | bytes, taken_up: Future[None] | None = None
    ) -> None:
        self.file = file
        self.size_bytes = len(data)
        self.data = data
        self._sha256 = sha256
        self.taken_up = taken_up
        """Done when the bytes are in the digest of the whole file; None where that needs no pass of its own."""

    def release(self, budget: Budget) -> None:
        """Its bytes are stored; give them back as soon as nobody needs them."""
        self.data = b""
        if self.taken_up is None:
            budget.give(self.size_bytes)
        else:
            self.taken_up.add_done_callback(lambda _: budget.give(self.size_bytes))

    @property
    def sha256(self) -> bytes:
        """The SHA-256 of the bytes; waits for it."""
        if not isinstance(self._sha256, bytes):
            self._sha256 = self._sha256.result()
        return self._sha256


class Cutter:
    """Reads files one after the other. Use it as a context manager: it has threads."""

    def __init__(self, block_bytes: int, budget: Budget) -> None:
        self._block_bytes = block_bytes
        self._budget = budget
        self._chunk_threads = ThreadPoolExecutor(HASH_THREADS, "modelkeep-chunks")
        # One thread, so that the blocks of a file are hashed in their order.
        self._file_thread = ThreadPoolExecutor(1, "modelkeep-files")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._chunk_threads.shutdown(cancel_futures=True)
        self._file_thread.shutdown(cancel_futures=True)

    def read(self, sources: Iterable[Source], stamps: array[int] | None = None) -> Generator[Piece | FileRead]:
        """The pieces of each file, then the file itself. The bytes of a piece are taken from the budget.

        `stamps`, from `stamps_of`, says what the files must still be. Raises FileUnreadable, FileChanged.
        """
        for index, source in enumerate(sources):
            yield from self._read(source, stamps[index] if stamps else None)

    def _read(self, source: Source, expected: int | None) -> Generator[Piece | FileRead]:
        descriptor, before = open_source(source)
        try:
            if expected is not None and _stamp(before) != expected:
                raise _changed(source)
            file = FileRead(source, before.st_size, executable=bool(before.st_mode & stat.S_IXUSR))
            yield from self._pieces(file, descriptor)
            if os.read(descriptor, 1) or _identity(_stat(source)) != _identity(before):
                raise _changed(source)
        finally:
            os.close(descriptor)
        yield file

    def _pieces(self, file: FileRead, descriptor: int) -> Iterator[Piece]:
        hasher = hashlib.sha256() if file.size_bytes > self._block_bytes else None
        for offset in range(0, file.size_bytes, self._block_bytes):
            wanted = min(self._block_bytes, file.size_bytes - offset)
            self._budget.take(wanted)
            data = _read_fully(descriptor, wanted)
            if len(data) < wanted:
                raise _changed(file.source)
            taken_up = self._file_thread.submit(hasher.update, data) if hasher is not None else None
            sha256 = _sha256(data) if wanted <= INLINE_BYTES else self._chunk_threads.submit(_sha256, data)
            yield Piece(file, data, sha256, taken_up)
        if hasher is not None:
            file.whole = self._file_thread.submit(hasher.digest)
        elif not file.size_bytes:
            file.whole = EMPTY_SHA256


def stamps_of(sources: Iterable[Source]) -> array[int]:
    """What tells whether files were written to since: a number for each. Raises FileUnreadable."""
    return array("Q", (_stamp(_stat(source)) for source in sources))


def read_again(source: Source, offset: int, size_bytes: int, sha256: bytes) -> bytes:
    """The bytes of a chunk, from its file once more. Raises FileUnreadable, FileChanged when they are others by now."""
    descriptor, _ = open_source(source)
    try:
        os.lseek(descriptor, offset, os.SEEK_SET)
        data = _read_fully(descriptor, size_bytes)
    finally:
        os.close(descriptor)
    if _sha256(data) != sha256:
        raise _changed(source)
    return data


def open_source(source: Source) -> tuple[int, os.stat_result]:
    """Open a regular file to read it, without waiting for a fifo that took its place. Raises FileUnreadable."""
    try:
        descriptor = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise unreadable(source.path, error) from None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        check_file(source.path)  # says what it is
        raise _changed(source)
    return descriptor, found


def _read_fully(descriptor: int, size_bytes: int) -> bytes:
    """So many bytes, fewer only at the end of the file."""
    data = os.read(descriptor, size_bytes)
    while len(data) < size_bytes:
        more = os.read(descriptor, size_bytes - len(data))
        if not more:
            break
        data += more
    return data


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _stat(source: Source) -> os.stat_result:
    try:
        return os.stat(source.path)
    except OSError as error:
        raise unreadable(source.path, error) from None


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev


def _stamp(found: os.stat_result) -> int:
    # Without ctime: a link or a mode that changed between the call and the read is no other content.
    return hash((found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev)) & 0xFFFF_FFFF_FFFF_FFFF


def _changed(source: Source) -> FileChanged:
    return FileChanged(f"{source.path!r} changed while it was logged, so nothing was logged; log it again", path=source.path)
