"""Confirming: every chunk that a manifest names is stored, held by the team, and as large as the manifest says (I2)."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from modelkeep.digest import Digest
from modelkeep.errors import ChunksMissing, InternalError
from modelkeep.names import VersionName

from modelkeep_server.metadata.app.lines import read_manifest, read_segments
from modelkeep_server.metadata.domain.confirmation import Asked, Confirmation, Named
from modelkeep_server.metadata.domain.draft import Base
from modelkeep_server.metadata.domain.stretch import Claim, Stretch, claims_of
from modelkeep_server.metadata.ports.chunks import Chunks
from modelkeep_server.metadata.ports.transactions import Transactions


async def confirm(
    transactions: Transactions, chunks: Chunks, team: str, epoch: int, stretches: AsyncGenerator[Stretch]
) -> bool:
    """Confirm the chunks that lines name, in batches, while they come, against collections up to `epoch`.

    Whether the digest of every file is proven by that: each is one whole chunk, or empty. Raises ChunksMissing, InvalidEntry,
    DigestMismatch, and what comes with the lines.
    """
    confirmation = Confirmation()
    asked: deque[Asked] = deque()

    def ask() -> list[Digest]:
        if batch := confirmation.take():
            asked.append(batch)
        return [Digest(chunk) for chunk in batch]

    async def batches() -> AsyncGenerator[Sequence[Digest]]:
        async with aclosing(_claims(transactions, stretches)) as some:
            async for claims in some:
                confirmation.add(claims)
                while confirmation.is_full:
                    yield ask()
        while batch := ask():
            yield batch

    async with aclosing(batches()) as all_:
        first = await anext(all_, None)
        if first:  # else the blob service need not be there
            async with aclosing(chunks.confirm(team, epoch, _chained(first, all_))) as answers:
                async for sizes in answers:
                    confirmation.answer(asked.popleft(), sizes)
    if asked:
        raise InternalError("the blob service did not answer for all chunks of the draft; try again")
    confirmation.end()
    return confirmation.is_proven


async def _chained(first: Sequence[Digest], others: AsyncIterator[Sequence[Digest]]) -> AsyncIterator[Sequence[Digest]]:
    yield first
    async for batch in others:
        yield batch


async def adopt(transactions: Transactions, chunks: Chunks, team: str, epoch: int, base: Base) -> int:
    """Give a team holdings of the chunks that the manifest of another team's version names; how many of them are missing.

    The caller has checked that whoever asks may read that version (SEM-22).
    """
    missing = 0
    if base.layout is None:
        return missing
    async with aclosing(chunks.adopt(team, base.version.team, epoch, _distinct(transactions, base.layout))) as answers:
        async for sizes in answers:
            missing += sum(size < 0 for size in sizes)
    return missing


async def _distinct(transactions: Transactions, layout: Digest) -> AsyncIterator[Sequence[Digest]]:
    named = Named()
    async with aclosing(read_claims(transactions, layout)) as some:
        async for claims in some:
            named.add(claims)
            while named.is_full:
                yield named.take()
    while rest := named.take():
        yield rest


def require_whole(missing: int, source: VersionName) -> None:
    """Raise ChunksMissing when chunks of a version that is to be copied are missing."""
    if missing:
        message = f"{missing:,} chunks of {source.short} are not stored, so it cannot be copied; it is damaged"
        raise ChunksMissing(message, version=str(source), count=missing)


def read_claims(transactions: Transactions, layout: Digest) -> AsyncGenerator[Sequence[Claim]]:
    """What a manifest claims of chunks, some at a time."""
    return _claims(transactions, read_manifest(transactions, layout))


async def _claims(transactions: Transactions, stretches: AsyncGenerator[Stretch]) -> AsyncGenerator[Sequence[Claim]]:
    async with aclosing(stretches):
        async for stretch in stretches:
            yield stretch.columns.claims
            for path, segment_pages in stretch.columns.long:
                async for segments in read_segments(transactions, segment_pages):
                    yield claims_of(path, segments)
