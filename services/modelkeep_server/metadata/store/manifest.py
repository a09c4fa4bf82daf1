"""The rows of manifests and of their pages."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from modelkeep.digest import Digest
from modelkeep.errors import InternalError
from modelkeep.names import DraftName
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.clock import Clock
from modelkeep_server.database.dialect import upsert
from modelkeep_server.metadata.domain.manifest import Manifest, PageSlot
from modelkeep_server.metadata.domain.page import Page, SegmentPage
from modelkeep_server.metadata.store.tables import (
    DraftPageRow,
    ManifestPageRow,
    ManifestRow,
    ManifestSegmentPageRow,
    PageRow,
    Table,
)


class ManifestRepository:
    """All sealed manifests."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def add_pages(self, draft: DraftName, pages: Sequence[Page | SegmentPage]) -> None:
        """Keep pages, for as long as the draft has entries; those that are there already are shared."""
        await self._insert(PageRow, [{"digest": page.digest.sha256, "data": page.data} for page in pages])
        await self._insert(DraftPageRow, [{"draft_id": draft.draft, "page": page.digest.sha256} for page in pages])

    async def add(self, manifest: Manifest) -> None:
        """Keep a manifest, whose pages are kept; its places follow."""
        statement = upsert(self._session, ManifestRow).values(
            layout=manifest.layout.sha256,
            digest=manifest.digest.sha256,
            segments_digest=manifest.segments_digest.sha256,
            entry_count=manifest.entry_count,
            stored_bytes=manifest.stored_bytes,
            referenced_bytes=manifest.referenced_bytes,
            create_time=self._clock.sql(),
        )
        await self._session.execute(statement.on_conflict_do_nothing())

    async def add_slots(self, layout: Digest, slots: Sequence[PageSlot]) -> None:
        """Keep some places of a manifest."""
        rows = [
            {
                "manifest": layout.sha256,
                "ordinal": slot.ordinal,
                "page": slot.page.sha256,
                "first_path": slot.first_path,
                "last_path": slot.last_path,
                "entry_count": slot.entry_count,
            }
            for slot in slots
        ]
        await self._insert(ManifestPageRow, rows)

    async def add_segment_pages(self, layout: Digest, pages: Collection[Digest]) -> None:
        """Keep which segment pages a manifest needs."""
        await self._insert(ManifestSegmentPageRow, [{"manifest": layout.sha256, "page": page.sha256} for page in pages])

    async def get(self, layout: Digest) -> Manifest:
        """A manifest that a draft or version points to."""
        rows = await self._session.scalars(select(ManifestRow).where(col(ManifestRow.layout) == layout.sha256))
        return to_manifest(rows.one())

    async def slots(self, layout: Digest, first: bytes, end: bytes | None, ordinal: int, limit: int) -> Sequence[PageSlot]:
        """The next places of a manifest, from an ordinal on, that may have paths from `first` on and before `end`."""
        statement = select(ManifestPageRow).where(
            col(ManifestPageRow.manifest) == layout.sha256,
            col(ManifestPageRow.ordinal) >= ordinal,
            col(ManifestPageRow.last_path) >= first,
        )
        if end is not None:
            statement = statement.where(col(ManifestPageRow.first_path) < end)
        rows = await self._session.scalars(statement.order_by(col(ManifestPageRow.last_path)).limit(limit))
        return [PageSlot(row.ordinal, Digest(row.page), row.first_path, row.last_path, row.entry_count) for row in rows]

    async def slot_at(self, layout: Digest, path: bytes) -> PageSlot | None:
        """The first place of a manifest that has a path from `path` on."""
        return next(iter(await self.slots(layout, path, None, 0, 1)), None)

    async def pages(self, digests: Collection[Digest]) -> Mapping[Digest, bytes]:
        """The bytes of some pages. Raises InternalError when one is not there."""
        statement = select(col(PageRow.digest), col(PageRow.data))
        rows = await self._session.execute(statement.where(col(PageRow.digest).in_([digest.sha256 for digest in digests])))
        found = {Digest(digest): data for digest, data in rows}
        if missing := [digest for digest in digests if digest not in found]:
            raise InternalError(f"the page {missing[0]} of a manifest is missing; run fsck", page=str(missing[0]))
        return found

    async def _insert(self, table: type[Table], rows: list[dict[str, object]]) -> None:
        if rows:
            await self._session.execute(upsert(self._session, table).on_conflict_do_nothing(), rows)


def to_manifest(row: ManifestRow) -> Manifest:
    """The manifest of a row."""
    digests = (Digest(row.layout), Digest(row.digest), Digest(row.segments_digest))
    return Manifest(*digests, row.entry_count, row.stored_bytes, row.referenced_bytes)
