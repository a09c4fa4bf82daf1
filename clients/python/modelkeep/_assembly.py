"""One file of a download: written aside in any order, hashed in its own, and named only when its bytes are proven."""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

from modelkeep.errors import DigestMismatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelkeep._target import Draft, Target
    from modelkeep.manifest import Entry

_READ_BYTES: Final = 1 << 20


class Assembly:
    """Takes the parts of a file from many threads."""

    def __init__(
        self, target: Target, entry: Entry, *, proven: bool, durable: bool, hashing: Callable[..., Future[None]]
    ) -> None:
        """`proven`: the digests of its chunks prove the whole file. `hashing(function, …)` runs one job after the other."""
        self._target = target
        self._entry = entry
        self._size = entry.size_bytes or 0
        self._proven = proven
        self._durable = durable
        self._hashing = hashing
        self._lock = threading.Lock()
        self._draft: Draft | None = None
        self._missing = self._size
        self._hasher = hashlib.sha256()
        self._parts: dict[int, int] = {}
        self._front = 0
        self.finished: Callable[[], None] = _nothing
        """Called when the file has its name."""

    def write(self, data: bytes, offset: int) -> None:
        """Write bytes at their place. Raises DiskFull, TargetUnusable."""
        with self._lock:
            if self._draft is None:
                self._draft = self._target.create(self._entry.path, executable=self._entry.executable)
        self._draft.write(data, offset)

    def done(self, offset: int, length: int, *, checked: bool) -> None:
        """The part there is written. The last one finishes the file. Raises DigestMismatch, DiskFull, TargetUnusable."""
        with self._lock:
            self._missing -= length
            self._proven = self._proven and checked
            if not self._proven:
                self._parts[offset] = length
                self._hash_front()
            if self._missing:
                return
        if self._proven:
            self._keep()
        else:
            self._hashing(self._prove)

    def keep_empty(self) -> None:
        """Finish a file that has no bytes."""
        self.write(b"", 0)
        self._keep()

    def discard(self) -> None:
        """Leave nothing of it, unless it has its name already."""
        if self._draft is not None:
            self._draft.discard()

    def _hash_front(self) -> None:
        """Hash what follows without a gap upon what is hashed: read back from the file, so it is the file that is proven."""
        begin = self._front
        while length := self._parts.pop(self._front, 0):
            self._front += length
        if self._front > begin:
            self._hashing(self._hash, begin, self._front)

    def _hash(self, begin: int, end: int) -> None:
        if self._draft is None:  # pragma: no cover - parts are written before they are done
            return
        while begin < end:
            data = os.pread(self._draft.descriptor, min(_READ_BYTES, end - begin), begin)
            if not data:
                break
            self._hasher.update(data)
            begin += len(data)

    def _prove(self) -> None:
        if self._front < self._size:  # parts that were taken for proven, before one that was not
            self._hasher, self._front = hashlib.sha256(), self._size
            self._hash(0, self._size)
        if self._hasher.digest() != self._entry.digest.sha256:
            path, digest = self._entry.path, str(self._entry.digest)
            message = f"{path!r} did not arrive as its digest {digest} says, so it was not kept; its version is damaged"
            raise DigestMismatch(message, path=path, expected=digest)
        self._keep()

    def _keep(self) -> None:
        if self._draft is not None:
            self._draft.keep(durable=self._durable)
        self.finished()


def _nothing() -> None:
    pass
