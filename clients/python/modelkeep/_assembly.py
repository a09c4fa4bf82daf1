"""One file of a download: written aside in any order, hashed in its own, and named only when its bytes are proven."""

from __future__ import annotations

import hashlib
import os
import threading
from array import array
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

from modelkeep._copy import STEP_BYTES, sha256_of
from modelkeep._pack import Block, Use
from modelkeep.errors import DigestMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from modelkeep._target import Draft, Target
    from modelkeep.manifest import Entry

_buffers: Final = threading.local()


class Assembly:
    """Takes the parts of a file from many threads."""

    def __init__(
        self,
        target: Target,
        entry: Entry,
        *,
        proven: bool,
        durable: bool,
        hashing: Callable[[Callable[[], None]], Future[None]],
        refetch: Callable[[Iterable[Block]], None],
    ) -> None:
        """`proven`: the digests of its chunks prove the whole file. `hashing` runs a job in a thread; `refetch` fetches."""
        self._target = target
        self._entry = entry
        self.path = entry.path
        self._size = entry.size_bytes or 0
        self._proven = proven
        self._durable = durable
        self._submit = hashing
        self._refetch = refetch
        self._lock = threading.Lock()
        self._draft: Draft | None = None
        self._missing = self._size
        self._hasher = hashlib.sha256()
        self._parts: dict[int, int] = {}
        self._front = self._hashed = 0
        self._busy = False
        self._chunks = bytearray()
        self._places = array("Q")
        self.keeping: Callable[[Entry, int], None] | None = None
        """Called with the proven file, open, before it gets its name."""
        self.advance: Callable[[int], None] = _nothing
        """Called with the size of each part that is there."""
        self.finished: Callable[[], None] = _nothing
        """Called when the file has its name."""

    def expect(self, sha256: bytes, at: int, offset: int, length: int) -> Use:
        """A part that will come: so many bytes of a chunk from `offset` on, which stand in the file from `at` on."""
        self._chunks += sha256
        self._places.extend((at, offset, length))
        return Use(self, at, offset, length)

    def put(self, data: memoryview, at: int, *, proven: bool) -> None:
        """Take a part. The last one finishes the file. Raises DigestMismatch, DiskFull, TargetUnusable."""
        draft = self._draft
        if draft is None:
            with self._lock:
                if self._draft is None:
                    self._draft = self._target.create(self._entry.path, executable=self._entry.executable)
                draft = self._draft
        draft.write(data, at)
        self.advance(len(data))
        with self._lock:
            self._missing -= len(data)
            if proven and self._proven:
                if self._missing:
                    return
            else:
                self._proven = False
                self._parts[at] = len(data)
                next_one = at == self._hashed and not self._busy
                while more := self._parts.pop(self._front, 0):
                    self._front += more
                if self._busy or (self._front == self._hashed and self._missing):
                    return
                self._busy = True
        if self._proven:
            self._keep()
            return
        if next_one:  # it is here in memory, and need not be read back
            self._hasher.update(data)
            self._hashed += len(data)
            with self._lock:
                if self._front == self._hashed and self._missing:
                    self._busy = False
                    return
        self._submit(self._hash_on)

    def discard(self) -> None:
        """Leave nothing of it, unless it has its name already."""
        if self._draft is not None:
            self._draft.discard()

    def _hash_on(self) -> None:
        """Hash what follows without a gap upon what is hashed, read back from the file."""
        while True:
            with self._lock:
                begin, end = self._hashed, self._front
                if begin == end:
                    if self._missing:
                        self._busy = False
                        return
                    break
            self._hash(begin, end)
            self._hashed = end
        self._prove()

    def _hash(self, begin: int, end: int) -> None:
        descriptor, hasher, buffer = self._file.descriptor, self._hasher, _buffer()
        while begin < end:
            count = os.preadv(descriptor, [buffer[: end - begin]], begin)
            if not count:
                break
            hasher.update(buffer[:count])
            begin += count

    def _prove(self) -> None:
        if self._hashed < self._size:  # parts that were taken for proven, before one that was not
            self._hash_all()
        if not self._is_right():
            damaged = list(self._damaged())
            if damaged:
                self._refetch(damaged)
                self._hash_all()
        if not self._is_right():
            path, digest = self._entry.path, str(self._entry.digest)
            message = f"{path!r} did not arrive as its digest {digest} says, so it was not kept; its version is damaged"
            raise DigestMismatch(message, path=path, expected=digest)
        self._keep()

    def _is_right(self) -> bool:
        return self._hasher.digest() == self._entry.digest.sha256

    def _hash_all(self) -> None:
        self._hasher = hashlib.sha256()
        self._hash(0, self._size)

    def _damaged(self) -> Iterator[Block]:
        """The chunks whose bytes in the file have another digest, or none of which that could be said."""
        patch = _Patch(self._file)
        for number in range(len(self._chunks) // 32):
            sha256 = bytes(self._chunks[32 * number : 32 * number + 32])
            at, offset, length = self._places[3 * number : 3 * number + 3]
            if sha256_of(self._file.descriptor, at, at + length) != sha256:
                block = Block(sha256, check=True, path=self.path)
                block.uses.append(Use(patch, at, offset, length))
                yield block

    @property
    def _file(self) -> Draft:
        assert self._draft is not None  # parts are written before they are done
        return self._draft

    def _keep(self) -> None:
        if self.keeping is not None:
            self.keeping(self._entry, self._file.descriptor)
        self._file.keep(durable=self._durable)
        self.finished()


class _Patch:
    """Writes bytes once more into a file whose parts are all there."""

    def __init__(self, file: Draft) -> None:
        self._file = file

    def put(self, data: memoryview, at: int, *, proven: bool) -> None:
        assert proven  # it was asked for because it was not
        self._file.write(data, at)


def _buffer() -> memoryview:
    """Memory of this thread to read into."""
    buffer: memoryview | None = getattr(_buffers, "buffer", None)
    if buffer is None:
        buffer = _buffers.buffer = memoryview(bytearray(STEP_BYTES))
    return buffer


def _nothing(_size_bytes: int = 0) -> None:
    pass
