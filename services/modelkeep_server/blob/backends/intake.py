"""The check of a chunk while it comes in: its size and its digest (SEM-24)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from modelkeep.digest import Digest
from modelkeep.errors import DigestMismatch, SizeMismatch

if TYPE_CHECKING:
    from modelkeep_server.blob.domain import Chunk


class Intake:
    """Counts and hashes the bytes of one chunk."""

    def __init__(self, chunk: Chunk) -> None:
        self.chunk = chunk
        self.received_bytes = 0
        self._hash = hashlib.sha256()

    @property
    def is_complete(self) -> bool:
        """Whether all bytes are in."""
        return self.received_bytes == self.chunk.size_bytes

    def take(self, data: bytes | memoryview) -> None:
        """The next bytes. Raises SizeMismatch for one too many, DigestMismatch after the last when they are the wrong ones."""
        expected = self.chunk.size_bytes
        self.received_bytes += len(data)
        if self.received_bytes > expected:
            message = f"chunk {self.chunk.digest} was to have {expected} bytes, but {self.received_bytes} came; none was kept"
            raise SizeMismatch(message, digest=str(self.chunk.digest), expected=expected, actual=self.received_bytes)
        self._hash.update(data)
        if self.is_complete and (actual := Digest(self._hash.digest())) != self.chunk.digest:
            message = f"the bytes of chunk {self.chunk.digest} have the digest {actual}; none was kept: read the content again"
            raise DigestMismatch(message, digest=str(self.chunk.digest), actual=str(actual))
