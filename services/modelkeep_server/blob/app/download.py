"""Downloads: which chunks a team holds, where to read them, and their bytes."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from modelkeep.errors import ChunkCorrupt, ChunkNotFound

from modelkeep_server.blob.app.ahead import ahead
from modelkeep_server.blob.domain import ByStream, ByUrl, DownloadPlan, Missing, check_batch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from datetime import datetime

    from modelkeep.digest import Digest
    from modelkeep.names import TeamName

    from modelkeep_server.blob.app.admission import Streams
    from modelkeep_server.blob.domain import Range, StoredChunk, Terms
    from modelkeep_server.blob.ports import Backend, Index, Rows
    from modelkeep_server.runtime.callers import Caller


class Downloads:
    """Gives bytes back."""

    def __init__(self, index: Index, backend: Backend, terms: Terms, streams: Streams) -> None:
        self._index = index
        self._backend = backend
        self._terms = terms
        self._streams = streams

    async def stat(self, team: TeamName, digests: Sequence[Digest], caller: Caller) -> list[int | None]:
        """The size of each chunk; None for what the team does not hold or cannot read. Raises LimitExceeded."""
        caller.require(team.team)
        check_batch(len(digests), "digests")
        held = await self._index.read(lambda rows: rows.chunks.held(team, set(digests)))
        return [held[d].chunk.size_bytes if d in held and held[d].readable else None for d in digests]

    async def prepare_download(
        self, team: TeamName, digests: Sequence[Digest], caller: Caller, *, stream_only: bool = False
    ) -> list[DownloadPlan]:
        """Where to read each chunk. Raises LimitExceeded."""
        caller.require(team.team)
        check_batch(len(digests), "digests")

        async def work(rows: Rows) -> tuple[dict[Digest, StoredChunk], datetime]:
            return await rows.chunks.held(team, set(digests)), await rows.now()

        held, now = await self._index.read(work)
        direct = self._backend.direct_download and not stream_only
        by_url = [chunk for chunk in held.values() if direct and chunk.readable]
        urls = await self._backend.download_urls([(chunk.object, self._terms.url) for chunk in by_url])
        # A rotten chunk is left to Read, which says what is wrong with it.
        plans = {digest: DownloadPlan(ByStream(), chunk.chunk.size_bytes) for digest, chunk in held.items()}
        for chunk, url in zip(by_url, urls, strict=True):
            plans[chunk.chunk.digest] = DownloadPlan(ByUrl(url, now + self._terms.url), chunk.chunk.size_bytes)
        return [plans.get(digest, DownloadPlan(Missing())) for digest in digests]

    async def read(self, team: TeamName, ranges: Sequence[Range], caller: Caller) -> AsyncGenerator[tuple[int, bytes], None]:
        """The bytes of the ranges, in order, each piece with the number of its range.

        Raises ChunkNotFound and RangeInvalid before the first piece; ChunkCorrupt before the last piece of a bad chunk.
        """
        caller.require(team.team)
        check_batch(len(ranges), "ranges")
        with self._streams.one():
            held = await self._index.read(lambda rows: rows.chunks.held(team, {wanted.digest for wanted in ranges}))
            chunks = [_readable(held.get(wanted.digest), wanted, team) for wanted in ranges]
            parts = [wanted.within(chunk.chunk.size_bytes) for wanted, chunk in zip(ranges, chunks, strict=True)]
            async with aclosing(ahead(self._pieces(chunks, parts))) as pieces:
                async for numbered in pieces:
                    yield numbered

    async def _pieces(
        self, chunks: Sequence[StoredChunk], parts: Sequence[tuple[int, int]]
    ) -> AsyncGenerator[tuple[int, bytes], None]:
        for number, (chunk, (offset, length)) in enumerate(zip(chunks, parts, strict=True)):
            async with aclosing(self._backend.read(chunk, offset, length)) as pieces:
                async for piece in pieces:
                    yield number, piece


def _readable(chunk: StoredChunk | None, wanted: Range, team: TeamName) -> StoredChunk:
    if chunk is None:
        raise ChunkNotFound(f"{team} holds no chunk {wanted.digest}", digest=str(wanted.digest), team=team.team)
    if not chunk.readable:
        message = (
            f"the stored bytes of chunk {wanted.digest} are damaged; ask the operator to run `modelkeep-server fsck --deep`"
        )
        raise ChunkCorrupt(message, digest=str(wanted.digest))
    return chunk
