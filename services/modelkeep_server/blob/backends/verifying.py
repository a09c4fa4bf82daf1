"""Chunks are checked while they leave (RELIABILITY §2.6)."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from modelkeep_server.blob.backends.refusals import damaged
from modelkeep_server.blob.backends.wrapper import Wrapper

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from modelkeep_server.blob.domain import StoredChunk

_INLINE_BYTES: Final = 64 << 10
"""What is hashed sooner than a thread takes over."""


class VerifyingBackend(Wrapper):
    """Hashes a chunk that is read whole, and holds its last piece back until the digest is known to be right."""

    async def read(self, chunk: StoredChunk, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """A range of an object, in pieces."""
        is_whole = length == chunk.chunk.size_bytes
        sha256, last = hashlib.sha256(), b""
        async with aclosing(self.inner.read(chunk, offset, length)) as pieces:
            async for piece in pieces:
                if last:
                    yield last
                last = piece
                if is_whole:
                    await _update(sha256, piece)
        if is_whole and sha256.digest() != chunk.chunk.digest.sha256:
            raise damaged(chunk)
        yield last


async def _update(sha256: hashlib._Hash, piece: bytes) -> None:
    if len(piece) <= _INLINE_BYTES:
        sha256.update(piece)
    else:
        await asyncio.to_thread(sha256.update, piece)
