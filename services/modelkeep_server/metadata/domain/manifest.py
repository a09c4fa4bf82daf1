"""Manifests: the sealed content of a draft or version."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from modelkeep.digest import Digest
from modelkeep.manifest import CollisionCheck, ManifestHasher, join_fields, split_fields

from modelkeep_server.metadata.domain.page import Line, Page, PageCutter, layout_of


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

    def add(self, path: bytes, data: bytes) -> Page | None:
        """Take the next line; the page that it ends, if it ends one. Raises InvalidPath when paths collide (SEM-7)."""
        line = Line.decode(data)
        self._collisions.add(path.decode())
        self._hasher.add_encoded(path, line.entry)
        self._segments.update(join_fields((line.segments, line.segment_pages)))
        if line.segment_pages:
            self.segment_pages.update(line.page_digests())
        self._count(line)
        return self._keep(self._cutter.add(path, data))

    def rest(self) -> Page | None:
        """The last page, if anything is left for it."""
        return self._keep(self._cutter.rest())

    def manifest(self) -> Manifest:
        """The manifest of all lines, once `rest` was called."""
        layout = layout_of(slot.page for slot in self.slots)
        segments = Digest(self._segments.digest())
        return Manifest(layout, self._hasher.digest(), segments, self._hasher.entry_count, self._stored, self._referenced)

    def _keep(self, page: Page | None) -> Page | None:
        if page is not None:
            slot = PageSlot(len(self.slots), page.digest, page.first_path, page.last_path, page.entry_count)
            self.slots.append(slot)
        return page

    def _count(self, line: Line) -> None:
        _path, _digest, size, _executable, uri, *_ = split_fields(line.entry)
        if uri:
            self._referenced += int.from_bytes(size)
        else:
            self._stored += int.from_bytes(size)
