"""Confirming: every chunk that a manifest names is stored, held by the team, and as large as the manifest says (I2)."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing

from modelkeep.digest import Digest
from modelkeep.errors import ChunksMissing, InternalError
from modelkeep.manifest import decode_segments
from modelkeep.names import VersionName

from modelkeep_server.metadata.app.lines import read_manifest, read_segments
from modelkeep_server.metadata.domain.confirmation import Asked, Claim, Confirmation, Named
from modelkeep_server.metadata.domain.draft import Base
from modelkeep_server.metadata.domain.manifest import Manifest
from modelkeep_server.metadata.domain.page import SEGMENT_BYTES, digest_hex, stored_segments
from modelkeep_server.metadata.ports.chunks import Chunks
from modelkeep_server.metadata.ports.transactions import Transactions


async def confirm(transactions: Transactions, chunks: Chunks, team: str, epoch: int, manifest: Manifest) -> bool:
    """Confirm the chunks of a manifest, in batches, against collections up to `epoch`.

    Whether the digest of every file is proven by that: each is one whole chunk, or empty. Raises ChunksMissing, InvalidEntry,
    DigestMismatch.
    """
    confirmation = Confirmation()
    asked: deque[Asked] = deque()

    def full() -> Iterator[Sequence[Digest]]:
        while confirmation.is_full:
            asked.append(confirmation.take())
            yield [Digest(chunk) for chunk in asked[-1]]

    async def batches() -> AsyncIterator[Sequence[Digest]]:
        async with aclosing(read_manifest(transactions, manifest.layout)) as pages:
            async for _slot, lines in pages:
                for path, segment_pages in confirmation.add(lines):
                    async for segments in read_segments(transactions, segment_pages):
                        confirmation.add_segments(path, segments, b"")
                        for batch in full():
                            yield batch
                for batch in full():
                    yield batch
        while rest := confirmation.take():
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
    async with aclosing(read_claimed(transactions, layout)) as claimed:
        async for _path, segments, _only in claimed:
            named.add(segments)
            while named.is_full:
                yield named.take()
    while rest := named.take():
        yield rest


def require_whole(missing: int, source: VersionName) -> None:
    """Raise ChunksMissing when chunks of a version that is to be copied are missing."""
    if missing:
        message = f"{missing:,} chunks of {source.short} are not stored, so it cannot be copied; it is damaged"
        raise ChunksMissing(message, version=str(source), count=missing)


async def read_claimed(transactions: Transactions, layout: Digest) -> AsyncGenerator[tuple[bytes, bytes, bytes]]:
    """What entries claim: the path, segments in their stored form, and the digest in hex if that is one segment."""
    async with aclosing(read_manifest(transactions, layout)) as pages:
        async for _slot, lines in pages:
            for path, line in lines:
                segments, segment_pages = stored_segments(line)
                if segments:
                    yield path, segments, digest_hex(path, line) if len(segments) == SEGMENT_BYTES else b""
                elif segment_pages:
                    async for stored in read_segments(transactions, segment_pages):
                        yield path, stored, b""


async def read_claims(transactions: Transactions, layout: Digest) -> AsyncGenerator[Claim]:
    """What a manifest claims of chunks, segment by segment."""
    async with aclosing(read_claimed(transactions, layout)) as claimed:
        async for path, segments, only in claimed:
            for segment in decode_segments(segments):
                yield Claim(path, segment.chunk.sha256, segment.offset, segment.length, only)
