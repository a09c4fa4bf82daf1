"""Checking: whether all that the database says holds together, and is stored. It changes nothing (RELIABILITY §1)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Final

from modelkeep.digest import Digest
from modelkeep.errors import InternalError, InvalidPath
from modelkeep.names import TeamName

from modelkeep_server.metadata.app.confirm import read_claims
from modelkeep_server.metadata.domain.confirmation import BATCH_CHUNKS
from modelkeep_server.metadata.domain.manifest import Manifest, PageSlot, Sealer
from modelkeep_server.metadata.domain.page import Line, layout_of, read_page
from modelkeep_server.metadata.domain.problem import Problem, ProblemKind
from modelkeep_server.metadata.domain.stretch import Claim, Stretch
from modelkeep_server.metadata.ports.transactions import Transactions, Work

Sizes = Callable[[TeamName, Sequence[Digest]], Awaitable[Sequence[int]]]
"""The size of each chunk, -1 for one that is not stored for the team; at most 1,000 are asked for at once."""

_BATCH: Final = 100


class Inspection:
    """Looks at everything the service keeps, a batch at a time."""

    def __init__(self, transactions: Transactions, sizes: Sizes) -> None:
        self._transactions = transactions
        self._sizes = sizes
        self._unreadable: set[Digest] = set()
        """The layouts of manifests that have a broken page."""

    async def problems(self) -> AsyncGenerator[Problem]:
        """Everything that is not as it should be."""
        for problem in await self._transactions.read(lambda work: work.audit.contradictions()):
            yield problem
        async for problem in self._values():
            yield problem
        async for manifest in self._manifests():
            async for problem in self._manifest(manifest):
                yield problem
        async for team, layout in self._contents():
            if layout not in self._unreadable:
                async for problem in self._chunks(team, layout):
                    yield problem

    async def _values(self) -> AsyncIterator[Problem]:
        """Whether filters and orders read of each version what its metadata says."""
        problems, after = await self._transactions.read(partial(_read_values, ""))
        while after:
            for problem in problems:
                yield problem
            problems, after = await self._transactions.read(partial(_read_values, after))

    async def _manifests(self) -> AsyncIterator[Manifest]:
        after: Digest | None = None
        while found := await self._transactions.read(partial(_read_manifests, after)):
            for manifest in found:
                yield manifest
            after = found[-1].layout

    async def _contents(self) -> AsyncIterator[tuple[TeamName, Digest]]:
        after: tuple[str, Digest] | None = None
        while found := await self._transactions.read(partial(_read_contents, after)):
            for content in found:
                yield content
            after = (found[-1][0].team, found[-1][1])

    async def _manifest(self, manifest: Manifest) -> AsyncIterator[Problem]:
        """Whether a manifest is what its pages add up to, and each page is what its name says."""
        sealer = Sealer()
        digests: list[Digest] = []
        while True:
            try:
                read = await self._transactions.read(partial(_read_page, manifest.layout, len(digests)))
                if read is None:
                    break
                slot, data = read
                lines = _lines(slot, data)
                sealer.add(Stretch.of([(line.path, line.encode()) for line in lines]))
                for line in lines:
                    await self._segment_pages(line)
            except (InternalError, InvalidPath, ValueError) as error:
                self._unreadable.add(manifest.layout)
                yield Problem(ProblemKind.PAGE_WRONG, str(manifest.layout), f"page {len(digests)}: {error}")
                return
            digests.append(slot.page)
        found = replace(sealer.manifest(), layout=layout_of(digests))
        if found != manifest:
            detail = f"its pages add up to {found.digest} with {found.entry_count} entries, not to {manifest.digest}"
            yield Problem(ProblemKind.MANIFEST_WRONG, str(manifest.layout), detail)

    async def _segment_pages(self, line: Line) -> None:
        for digest in line.page_digests():
            data = (await self._transactions.read(partial(_read_bytes, digest)))[digest]
            if Digest.of(data) != digest:
                raise ValueError(f"the bytes of the segment page {digest} have the digest {Digest.of(data)}")

    async def _chunks(self, team: TeamName, layout: Digest) -> AsyncIterator[Problem]:
        """Whether the team holds the chunks of a manifest, and whether they are as large as it says (I2)."""
        waiting: dict[bytes, Claim] = {}
        async with aclosing(read_claims(self._transactions, layout)) as claims:
            async for some in claims:
                for claim in some:
                    known = waiting.get(claim[1])
                    if known is None or _needed(claim) > _needed(known):
                        waiting[claim[1]] = claim
                    if len(waiting) == BATCH_CHUNKS:
                        async for problem in self._held(team, waiting):
                            yield problem
                        waiting = {}
        async for problem in self._held(team, waiting):
            yield problem

    async def _held(self, team: TeamName, claims: dict[bytes, Claim]) -> AsyncIterator[Problem]:
        if not claims:
            return
        sizes = await self._sizes(team, [Digest(chunk) for chunk in claims])
        for claim, size in zip(claims.values(), sizes, strict=True):
            chunk, needed = str(Digest(claim[1])), _needed(claim)
            where = f"{claim[0].decode()!r} of a version of {team} needs it"
            if size < 0:
                yield Problem(ProblemKind.CHUNK_MISSING, chunk, where)
            elif size < needed:
                yield Problem(ProblemKind.CHUNK_TOO_SMALL, chunk, f"it has {size} bytes; {where} up to byte {needed}")


def _needed(claim: Claim) -> int:
    """How large the chunk has to be at least."""
    return claim[2] + claim[3]


def _lines(slot: PageSlot, data: bytes) -> list[Line]:
    """The lines of a page. Raises ValueError unless the page is what its name and its place say."""
    if Digest.of(data) != slot.page:
        raise ValueError(f"the bytes of the page {slot.page} have the digest {Digest.of(data)}")
    lines = list(read_page(data))
    if (lines[0].path, lines[-1].path, len(lines)) != (slot.first_path, slot.last_path, slot.entry_count):
        raise ValueError(f"the page {slot.page} does not have the paths that the manifest says")
    return lines


async def _read_values(after: str, work: Work) -> tuple[Sequence[Problem], str]:
    return await work.audit.values(after, _BATCH)


async def _read_manifests(after: Digest | None, work: Work) -> Sequence[Manifest]:
    return await work.audit.manifests(after, _BATCH)


async def _read_contents(after: tuple[str, Digest] | None, work: Work) -> Sequence[tuple[TeamName, Digest]]:
    return await work.audit.contents(after, _BATCH)


async def _read_page(layout: Digest, ordinal: int, work: Work) -> tuple[PageSlot, bytes] | None:
    slots = await work.manifests.slots(layout, b"", None, ordinal, 1)
    if not slots:
        return None
    if slots[0].ordinal != ordinal:
        raise ValueError(f"there is no page {ordinal}")
    return slots[0], (await work.manifests.pages([slots[0].page]))[slots[0].page]


async def _read_bytes(digest: Digest, work: Work) -> dict[Digest, bytes]:
    return dict(await work.manifests.pages([digest]))
