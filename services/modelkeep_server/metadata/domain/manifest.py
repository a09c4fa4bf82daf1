"""Manifests: the sealed content of a draft or version."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from modelkeep.digest import Digest
from modelkeep.manifest import CollisionCheck, ManifestHasher, split_fields

from modelkeep_server.metadata.domain.page import FILE_BYTES, Keyed, Line, Page, PageCutter, layout_of

_LENGTH: Final = struct.Struct(">I")
_SIZE: Final = struct.Struct(">IQ")
_SIZE_AT: Final = 83
"""Where its size stands in the line of a file, beside the length of its path."""


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
        length, check, cut = _LENGTH.unpack_from, self._collisions.add_encoded, self._cutter.add
        pages: list[Page] = []
        entries: list[bytes] = []
        segments: list[bytes] = []
        for path, line in lines:
            check(path)
            entry_end = 4 + length(line)[0]
            entries.append(line[4:entry_end])
            checked_end = entry_end + 4 + length(line, entry_end)[0]
            rest = line[checked_end:]
            segments.append(rest)
            if len(rest) != 8 + length(rest)[0]:
                self.segment_pages.update(Line.decode(line).page_digests())
            self._count(path, line, entry_end)
            if page := cut(path, line):
                pages.append(self._keep(page))
        self._hasher.add_many([path for path, _ in lines], entries)
        self._segments.update(b"".join(segments))
        return pages

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

    def _count(self, path: bytes, line: bytes, entry_end: int) -> None:
        if entry_end == len(path) + FILE_BYTES:
            length, size = _SIZE.unpack_from(line, len(path) + _SIZE_AT)
            if length == _SIZE.size - _LENGTH.size:  # so nothing is left for the fields of a reference
                self._stored += size
                return
        _path, _digest, size, _executable, uri, *_ = split_fields(line[4:entry_end])
        if uri:
            self._referenced += int.from_bytes(size)
        else:
            self._stored += int.from_bytes(size)
