"""Manifests and their pages, as the database keeps them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from modelkeep.digest import Digest
from modelkeep.names import DraftName

from modelkeep_server.metadata.domain.manifest import Manifest, PageSlot
from modelkeep_server.metadata.domain.page import Page, SegmentPage


class Manifests(Protocol):
    """All sealed manifests."""

    async def add_pages(self, draft: DraftName, pages: Sequence[Page | SegmentPage]) -> None:
        """Keep pages, for as long as the draft has entries; those that are there already are shared."""
        ...

    async def add(self, manifest: Manifest) -> None:
        """Keep a manifest, whose pages are kept; its places follow."""
        ...

    async def add_slots(self, layout: Digest, slots: Sequence[PageSlot]) -> None:
        """Keep some places of a manifest."""
        ...

    async def add_segment_pages(self, layout: Digest, pages: Collection[Digest]) -> None:
        """Keep which segment pages a manifest needs."""
        ...

    async def get(self, layout: Digest) -> Manifest:
        """A manifest that a draft or version points to."""
        ...

    async def slots(self, layout: Digest, first: bytes, end: bytes | None, ordinal: int, limit: int) -> Sequence[PageSlot]:
        """The next places of a manifest, from an ordinal on, that may have paths from `first` on and before `end`."""
        ...

    async def slot_at(self, layout: Digest, path: bytes) -> PageSlot | None:
        """The first place of a manifest that has a path from `path` on."""
        ...

    async def pages(self, digests: Collection[Digest]) -> Mapping[Digest, bytes]:
        """The bytes of some pages. Raises InternalError when one is not there."""
        ...
