"""Manifests: the sealed content of a draft or version."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from modelkeep.digest import Digest
from modelkeep.manifest import CollisionCheck, ManifestHasher, join_fields, split_fields

from modelkeep_server.metadata.domain.page import FILE_BYTES, FILE_TAIL, SIZE_AT, Keyed, Line, Page, PageCutter, layout_of

_SIZE_BYTES: Final = 8
_EMPTY: Final = (0, 0, 0, 0)


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

    def add(self, lines: Sequence[Keyed]) -> list[Page]:
        """Take the next lines; the pages that they end. Raises InvalidPath when paths collide (SEM-7)."""
        if not lines:
            return []
        self._collisions.add_many([path for path, _ in lines])
        if not self._add_files(lines):
            for path, line in lines:
                self._add(path, line)
        pages = self._cutter.extend(lines)
        for page in pages:
            self._keep(page)
        return pages

    def _add_files(self, lines: Sequence[Keyed]) -> bool:
        """Hash and count lines that are all plain files with few segments, and say whether they are: a step for all at once."""
        try:
            tails = [FILE_TAIL.unpack_from(line, len(path) + SIZE_AT) for path, line in lines]
        except struct.error:
            return False
        if any(tail[0] != _SIZE_BYTES or tail[4:8] != _EMPTY for tail in tails):
            return False
        segments = [line[len(path) + FILE_BYTES + 4 :] for path, line in lines]
        if any(len(rest) != 8 + tail[8] for rest, tail in zip(segments, tails, strict=True)):
            return False
        entries = [line[4 : len(path) + FILE_BYTES] for path, line in lines]
        self._hasher.add_many([path for path, _ in lines], entries)
        self._segments.update(b"".join(segments))
        self._stored += sum([tail[1] for tail in tails])
        return True

    def _add(self, path: bytes, data: bytes) -> None:
        line = Line.decode(data)
        self._hasher.add_encoded(path, line.entry)
        self._segments.update(join_fields((line.segments, line.segment_pages)))
        self.segment_pages.update(line.page_digests())
        _path, _digest, size, _executable, uri, *_ = split_fields(line.entry)
        if uri:
            self._referenced += int.from_bytes(size)
        else:
            self._stored += int.from_bytes(size)

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
        self.slots.append(PageSlot(len(self.slots), page.digest, page.first_path, page.last_path, page.entry_count))
        return page
