"""Manifests: the sealed content of a draft or version."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from modelkeep.digest import Digest
from modelkeep.manifest import CollisionCheck, ManifestHasher

from modelkeep_server.metadata.domain.page import Page, PageCutter, layout_of, split_digests
from modelkeep_server.metadata.domain.stretch import Stretch


@dataclass(frozen=True, slots=True)
class Manifest:
    """A sealed manifest."""

    layout: Digest
    """Names it: which pages, in which order."""
    digest: Digest
    """The version digest: over entries, not over layout (SEM-10)."""
    segments_digest: Digest
    """Over the segments of all entries: manifests that agree in it and in `digest` read the same bytes (SEM-24)."""
    entry_count: int
    stored_bytes: int
    """Of the files kept here, before dedup."""
    referenced_bytes: int
    """Of what references point to, as far as known (SEM-36)."""


@dataclass(frozen=True, slots=True)
class PageSlot:
    """The place of a page in a manifest: what it holds is found without reading it."""

    ordinal: int
    page: Digest
    first_path: bytes
    last_path: bytes
    entry_count: int


class Sealer:
    """Makes a manifest of lines that come in byte order of path. It keeps one page of lines, and a line on each page before."""

    def __init__(self) -> None:
        self.slots: list[PageSlot] = []
        self.segment_pages: set[Digest] = set()
        """Those that long entries name."""
        self._cutter = PageCutter()
        self._collisions = CollisionCheck()
        self._hasher = ManifestHasher()
        self._segments = hashlib.sha256()
        self._stored = self._referenced = 0

    def add(self, stretch: Stretch) -> list[Page]:
        """Take the next lines; the pages that they end, but for a page that stays as it is. Raises InvalidPath (SEM-7)."""
        columns = stretch.columns
        self._collisions.add_many(columns.paths)
        self._hasher.add_many(columns.paths, columns.entries)
        self._segments.update(b"".join(columns.segments))
        for _path, pages in columns.long:
            self.segment_pages.update(split_digests(pages))
        self._stored += columns.stored_bytes
        self._referenced += columns.referenced_bytes
        if stretch.page and self._cutter.passes(stretch.last_path, len(stretch), stretch.size_bytes):
            self._place(stretch.page, stretch.first_path, stretch.last_path, len(stretch))
            return []
        return [self._keep(page) for page in self._cutter.extend(stretch.lines)]

    def rest(self) -> Page | None:
        """The last page, if anything is left for it."""
        page = self._cutter.rest()
        return self._keep(page) if page else None

    def manifest(self) -> Manifest:
        """The manifest of all lines, once `rest` was called."""
        layout = layout_of(slot.page for slot in self.slots)
        segments = Digest(self._segments.digest())
        return Manifest(layout, self._hasher.digest(), segments, self._hasher.entry_count, self._stored, self._referenced)

    def _keep(self, page: Page) -> Page:
        self._place(page.digest, page.first_path, page.last_path, page.entry_count)
        return page

    def _place(self, page: Digest, first: bytes, last: bytes, count: int) -> None:
        self.slots.append(PageSlot(len(self.slots), page, first, last, count))
