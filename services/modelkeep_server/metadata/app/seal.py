"""Sealing: the entries of a draft become a manifest, before any lock is taken."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from typing import Final

from modelkeep.names import DraftName

from modelkeep_server.metadata.app.lines import read_manifest
from modelkeep_server.metadata.app.merge import DraftLines
from modelkeep_server.metadata.domain.draft import Draft
from modelkeep_server.metadata.domain.manifest import Manifest, Sealer
from modelkeep_server.metadata.domain.page import Page
from modelkeep_server.metadata.domain.stretch import Stretch
from modelkeep_server.metadata.ports.transactions import Transactions, Work

WRITE_BYTES: Final = 4 << 20
"""About how much of the pages one transaction writes."""
WRITE_ROWS: Final = 500
"""How many places of pages one transaction writes."""


class Sealing:
    """One sealing of an open draft, whose lines are written page by page while somebody else reads them too.

    Pages that its base and its runs have are not written again. Whatever it writes gives the draft `life` from then on.
    Writing it again is harmless: pages and manifests are named by their content.
    """

    def __init__(self, transactions: Transactions, draft: Draft, life: timedelta) -> None:
        self.manifest: Manifest | None = None
        """Once all lines were read; None when they changed meanwhile."""
        self._transactions = transactions
        self._draft = draft
        self._life = life

    async def lines(self) -> AsyncGenerator[Stretch]:
        """All lines. Once they were read, the manifest is written.

        Raises InvalidPath when paths collide, and DraftNotOpen when the draft ended meanwhile.
        """
        if (layout := self._draft.layout) is not None:
            self.manifest = await self._transactions.read(lambda work: work.manifests.get(layout))
            lines = read_manifest(self._transactions, layout)
        else:
            lines = self._sealed()
        async with aclosing(lines):
            async for stretch in lines:
                yield stretch

    async def _sealed(self) -> AsyncGenerator[Stretch]:
        entries, sealer = DraftLines(self._transactions, self._draft), Sealer()
        pages: list[Page] = []
        size = 0
        async with aclosing(entries.read()) as some:
            async for stretch in some:
                for page in sealer.add(stretch):
                    if page.digest not in entries.pages:
                        pages.append(page)
                        size += len(page.data)
                if size >= WRITE_BYTES:
                    await self._transactions.write(partial(_write_pages, self._draft.name, self._life, pages))
                    pages, size = [], 0
                yield stretch
        last = sealer.rest()
        if last and last.digest not in entries.pages:
            pages.append(last)
        self.manifest = await _write_manifest(self._transactions, self._draft, self._life, sealer, pages)


async def _write_pages(name: DraftName, life: timedelta, pages: Sequence[Page], work: Work) -> None:
    await work.drafts.prolong(name, life)  # a draft that ended is swept once: what it got later would stay for ever
    await work.manifests.add_pages(name, pages)


async def _write_manifest(
    transactions: Transactions, draft: Draft, life: timedelta, sealer: Sealer, pages: Sequence[Page]
) -> Manifest | None:
    """Write the last pages and what the manifest holds, and point the draft to it once all is there.

    All in one transaction, unless there is much of it.
    """
    name, manifest = draft.name, sealer.manifest()
    slots, segment_pages = sealer.slots, sorted(sealer.segment_pages)
    rows = max(len(slots), len(segment_pages), 1)
    is_sealed = False
    for start in range(0, rows, WRITE_ROWS):

        async def step(work: Work, start: int = start, end: int = start + WRITE_ROWS) -> bool:
            if start == 0:
                await _write_pages(name, life, pages, work)
                await work.manifests.add(manifest)
            else:
                await work.drafts.prolong(name, life)
            await work.manifests.add_slots(manifest.layout, slots[start:end])
            await work.manifests.add_segment_pages(manifest.layout, segment_pages[start:end])
            return end >= rows and await work.drafts.seal(name, manifest.layout, draft.revision)

        is_sealed = await transactions.write(step)
    return manifest if is_sealed else None
