"""Chunks are checked while they leave (RELIABILITY §2.6)."""

from __future__ import annotations

import hashlib
from contextlib import aclosing
from typing import TYPE_CHECKING

from modelkeep_server.blob.backends.refusals import damaged
from modelkeep_server.blob.backends.wrapper import Wrapper

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from modelkeep_server.blob.domain import StoredChunk


class VerifyingBackend(Wrapper):
    """Hashes a chunk that is read whole, and holds its last piece back until the digest is known to be right."""

    async def read(
        self, chunk: StoredChunk, offset: int, length: int, see: Callable[[bytes], object] | None = None
    ) -> AsyncGenerator[bytes, None]:
        """A range of an object, in pieces."""
        is_whole = length == chunk.chunk.size_bytes
        sha256, last = hashlib.sha256(), b""

        def check(piece: bytes) -> None:
            sha256.update(piece)
            if see is not None:
                see(piece)

        async with aclosing(self.inner.read(chunk, offset, length, check if is_whole else see)) as pieces:
            async for piece in pieces:
                if last:
                    yield last
                last = piece
        if is_whole and sha256.digest() != chunk.chunk.digest.sha256:
            raise damaged(chunk)
        yield last
