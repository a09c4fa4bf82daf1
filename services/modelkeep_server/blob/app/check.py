"""Checking: whether the index and the store agree. It changes nothing (RELIABILITY §1)."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from modelkeep.errors import ChunkCorrupt

from modelkeep_server.blob.domain import Problem, ProblemKind, check_batch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from modelkeep.digest import Digest
    from modelkeep.names import LeaseName, TeamName

    from modelkeep_server.blob.domain import ChunkRecord, ObjectName, StoredChunk
    from modelkeep_server.blob.ports import Backend, Index

_BATCH: Final = 1000


class Inspection:
    """Looks at everything the service keeps, a batch at a time."""

    def __init__(self, index: Index, backend: Backend) -> None:
        self._index = index
        self._backend = backend

    async def sizes(self, team: TeamName, digests: Sequence[Digest]) -> list[int]:
        """The size of each chunk that is live or condemned and held by the team, else -1. Raises LimitExceeded."""
        check_batch(len(digests), "digests")
        held = await self._index.read(lambda rows: rows.chunks.held(team, set(digests)))
        return [held[d].chunk.size_bytes if d in held and held[d].readable else -1 for d in digests]

    async def problems(self, *, deep: bool) -> AsyncIterator[Problem]:
        """Everything that is not as it should be; with `deep` every object is read and hashed."""
        async for problem in self._chunks(deep=deep):
            yield problem
        async for problem in self._objects():
            yield problem
        async for leases in self._backend.leases():
            for lease in sorted(await self._ended(leases)):
                detail = "an interrupted upload left a file; the next start of the server removes it"
                yield Problem(ProblemKind.TEMPORARY_LEFT, str(lease), detail)
        async for problem in self._staged():
            yield problem

    async def _chunks(self, *, deep: bool) -> AsyncIterator[Problem]:
        after: Digest | None = None
        while page := await self._page(after):
            after = page[-1].stored.chunk.digest
            for record in page:
                for detail in _contradictions(record):
                    yield Problem(ProblemKind.ROW_INVALID, str(record.stored.chunk.digest), detail)
            chunks = [record.stored for record in page if record.stored.readable]
            sizes = await self._backend.stat([chunk.object for chunk in chunks])
            for chunk, size_bytes in zip(chunks, sizes, strict=True):
                if (problem := _compare(chunk, size_bytes)) is not None:
                    yield problem
                elif deep and not await self._sound(chunk):
                    digest = str(chunk.chunk.digest)
                    yield Problem(
                        ProblemKind.CONTENT_WRONG, digest, f"object {chunk.generation} has other bytes than its digest"
                    )

    async def _objects(self) -> AsyncIterator[Problem]:
        """Objects that nothing names. Listed before the index is read: what came in between is not taken for unknown."""
        async for batch in self._backend.objects():
            names = {found.name for found in batch if found.name is not None}
            known = await self._known(names)
            for found in batch:
                if found.name not in known:
                    detail = f"{found.size_bytes} bytes that no chunk, grant or tombstone names"
                    yield Problem(ProblemKind.OBJECT_UNKNOWN, found.key, detail)

    async def _staged(self) -> AsyncIterator[Problem]:
        """Files that clients left and nobody will ask for. Listed before the index is read, as objects are."""
        if (staging := self._backend.staging) is None:
            return
        async for batch in staging.listed():
            granted = await self._granted({file.name for file in batch if file.name is not None})
            for file in batch:
                if file.name is None:
                    yield Problem(ProblemKind.TEMPORARY_LEFT, file.key, f"{file.size_bytes} bytes that are none of ours")
                elif file.name not in granted:
                    detail = f"{file.size_bytes} bytes that no upload asks for; the next start of the server removes them"
                    yield Problem(ProblemKind.TEMPORARY_LEFT, file.key, detail)

    async def _sound(self, chunk: StoredChunk) -> bool:
        try:
            async with aclosing(self._backend.read(chunk, 0, chunk.chunk.size_bytes)) as pieces:
                async for _ in pieces:
                    pass
        except ChunkCorrupt:
            return False
        return True

    async def _page(self, after: Digest | None) -> list[ChunkRecord]:
        return await self._index.read(lambda rows: rows.chunks.page(after, _BATCH))

    async def _known(self, names: set[ObjectName]) -> set[ObjectName]:
        return await self._index.read(lambda rows: rows.chunks.known(names))

    async def _granted(self, names: set[ObjectName]) -> set[ObjectName]:
        return await self._index.read(lambda rows: rows.grants.open(names))

    async def _ended(self, leases: set[LeaseName]) -> set[LeaseName]:
        return await self._index.read(lambda rows: rows.leases.ended(leases))


def _contradictions(record: ChunkRecord) -> list[str]:
    details = {
        "no team holds the chunk": not record.is_held,
        f"object {record.stored.generation} is also named by a grant or a tombstone, and would be deleted": record.is_doomed,
    }
    return [detail for detail, is_so in details.items() if is_so]


def _compare(chunk: StoredChunk, size_bytes: int | None) -> Problem | None:
    digest, expected = str(chunk.chunk.digest), chunk.chunk.size_bytes
    if size_bytes is None:
        return Problem(ProblemKind.OBJECT_MISSING, digest, f"object {chunk.generation} is not in the store")
    if size_bytes != expected:
        return Problem(ProblemKind.SIZE_WRONG, digest, f"object {chunk.generation} has {size_bytes} bytes, not {expected}")
    return None
