"""Confirming: every chunk that a manifest names is stored, held by the team, and as large as the manifest says (I2)."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from modelkeep.digest import Digest
from modelkeep.errors import InternalError
from modelkeep.manifest import decode_segments

from modelkeep_server.metadata.app.lines import read_lines, read_segments
from modelkeep_server.metadata.domain.confirmation import Claim, Confirmation
from modelkeep_server.metadata.domain.manifest import Manifest
from modelkeep_server.metadata.domain.page import SEGMENT_BYTES
from modelkeep_server.metadata.ports.chunks import Chunks
from modelkeep_server.metadata.ports.transactions import Transactions


async def confirm(transactions: Transactions, chunks: Chunks, team: str, epoch: int, manifest: Manifest) -> bool:
    """Confirm the chunks of a manifest, in batches, against collections up to `epoch`.

    Whether the digest of every file is proven by that: each is one whole chunk, or empty. Raises ChunksMissing, InvalidEntry,
    DigestMismatch.
    """
    confirmation = Confirmation()
    asked: deque[dict[bytes, list[Claim]]] = deque()

    async def batches() -> AsyncIterator[Sequence[Digest]]:
        async for claim in read_claims(transactions, manifest.layout):
            if confirmation.add(claim):
                asked.append(confirmation.take())
                yield [Digest(chunk) for chunk in asked[-1]]
        if rest := confirmation.take():
            asked.append(rest)
            yield [Digest(chunk) for chunk in rest]

    if manifest.stored_bytes:
        async with aclosing(chunks.confirm(team, epoch, batches())) as answers:
            async for sizes in answers:
                confirmation.answer(asked.popleft(), sizes)
    if asked:
        raise InternalError("the blob service did not answer for all chunks of the draft; try again")
    confirmation.end()
    return confirmation.is_proven


async def read_claims(transactions: Transactions, layout: Digest) -> AsyncGenerator[Claim]:
    """What a manifest claims of chunks, segment by segment."""
    async for line in read_lines(transactions, layout):
        path = line.path
        is_one = len(line.segments) == SEGMENT_BYTES
        only = line.digest_text if is_one else b""
        async for stored in read_segments(transactions, line):
            for segment in decode_segments(stored):
                yield Claim(path, segment.chunk.sha256, segment.offset, segment.length, only)
