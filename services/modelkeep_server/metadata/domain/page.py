"""Pages: how the entries of a manifest are stored, shared by versions (DESIGN §2).

The form is frozen, with golden vectors in `tests/vectors/pages.json`:

    page          := "modelkeep-page" 0x00 0x01, line*              64 to 4,096 lines, in byte order of path
    line          := field(entry) field(checked) field(segments) field(segment pages)
    segment page  := "modelkeep-segments" 0x00 0x01, segment*       1,024 of one entry; the last page may have fewer
    layout        := SHA-256 of "modelkeep-layout" 0x00 0x01, digest of each page

An entry is in its canonical form, a segment has 44 bytes, a field its length in 4 bytes before it (see `modelkeep.manifest`).
`checked` is 8 bytes, big-endian: when a reference was last looked at, in microseconds since 1970; nothing when never. An entry
of up to 1,024 segments has them in its line; a longer one has the digests of its segment pages there, 32 bytes each.

A page ends after a path whose CRC-32 (of zlib) is a multiple of 448, but not before it has 64 lines: on average after 512. So
an entry that comes or goes changes the pages around it and no others. A page also ends at 4,096 lines, or at 1 MiB once it has
64 lines.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from modelkeep.digest import Digest
from modelkeep.manifest import Entry, decode_entry, encode_entry, encode_segments, join_fields, split_fields

PAGE_HEADER: Final = b"modelkeep-page\x00\x01"
SEGMENTS_HEADER: Final = b"modelkeep-segments\x00\x01"
LAYOUT_HEADER: Final = b"modelkeep-layout\x00\x01"
MIN_LINES: Final = 64
MAX_LINES: Final = 4096
MAX_BYTES: Final = 1 << 20
SEGMENTS_PER_PAGE: Final = 1024
BOUNDARY: Final = 448

_LENGTH = struct.Struct(">I")
_LENGTHS = struct.Struct(">II")
_NUMBER = struct.Struct(">Q")
_SEGMENT = struct.Struct(">32sIQ")
SEGMENT_BYTES: Final = 44
"""Of a segment, in its stored form."""
FILE_TAIL: Final = struct.Struct(">IQIBIIIII")
"""What follows the digest in the line of a file, each field after its length: its size, whether it is executable, four fields
that are empty, and how long its segments are."""
SIZE_AT: Final = 83
"""Where that stands in the line, beside the length of the path."""
FILE_BYTES: Final = 112
"""Where the entry of a file ends in its line, beside the length of its path."""
_DIGEST_BYTES: Final = 32

_AT_ONCE: Final = 1024
"""How many lines are looked at together."""

Keyed = tuple[bytes, bytes]
"""The path of an entry, and its line in the bytes of a page. A million of them pass here, so they are no objects of ours."""


@dataclass(frozen=True, slots=True)
class Line:
    """One entry, as its page holds it."""

    entry: bytes
    """Its canonical form."""
    checked: bytes
    segments: bytes
    """Those of an entry that has up to 1,024 of them."""
    segment_pages: bytes
    """The digests of the segment pages of a longer entry."""

    @classmethod
    def of(cls, entry: Entry, segment_pages: bytes = b"") -> Line:
        """The line of an entry, whose segments are in it or in `segment_pages`."""
        checked = entry.reference.checked_micros if entry.reference else 0
        return cls(
            encode_entry(entry), _NUMBER.pack(checked) if checked else b"", encode_segments(entry.segments), segment_pages
        )

    @classmethod
    def decode(cls, data: bytes) -> Line:
        """The line that `encode` wrote."""
        return cls(*split_fields(data))

    def encode(self) -> bytes:
        """Its bytes in a page."""
        return join_fields((self.entry, self.checked, self.segments, self.segment_pages))

    @property
    def path(self) -> bytes:
        """The path, in UTF-8."""
        return self.entry[4 : 4 + _LENGTH.unpack_from(self.entry)[0]]

    def open(self) -> Entry:
        """The entry, without its segments."""
        return decode_entry(self.entry, checked_micros=_NUMBER.unpack(self.checked)[0] if self.checked else 0)

    def page_digests(self) -> list[Digest]:
        """The digests of its segment pages, in order."""
        return split_digests(self.segment_pages)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a manifest."""

    digest: Digest
    data: bytes
    first_path: bytes
    last_path: bytes
    entry_count: int


@dataclass(frozen=True, slots=True)
class SegmentPage:
    """A page of the segments of one long entry."""

    digest: Digest
    data: bytes


class PageCutter:
    """Cuts lines that come in byte order of path into pages."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._lines: list[bytes] = [PAGE_HEADER]
        self._bytes = len(PAGE_HEADER)
        self._first = self._last = b""

    def add(self, path: bytes, line: bytes) -> Page | None:
        """Take the next line; the page that it ends, if it ends one."""
        if len(self._lines) == 1:
            self._first = path
        self._last = path
        self._lines.append(line)
        self._bytes += len(line)
        count = len(self._lines) - 1
        full = count >= MIN_LINES and (self._bytes >= MAX_BYTES or zlib.crc32(path) % BOUNDARY == 0)
        return self._cut() if full or count == MAX_LINES else None

    def passes(self, last: bytes, count: int, size_bytes: int) -> bool:
        """Whether a whole page, of which the last path is given, is one here too, without being cut again.

        It is when nothing waits before it, and when it ended by the rule and not because no more lines came.
        """
        ended = count >= MIN_LINES and (size_bytes >= MAX_BYTES or zlib.crc32(last) % BOUNDARY == 0)
        return len(self._lines) == 1 and (ended or count == MAX_LINES)

    def extend(self, lines: Sequence[Keyed]) -> list[Page]:
        """Take the next lines; the pages that they end. The same pages as `add` makes."""
        pages: list[Page] = []
        for start in range(0, len(lines), _AT_ONCE):
            pages += self._extend(lines[start : start + _AT_ONCE])
        return pages

    def _extend(self, lines: Sequence[Keyed]) -> list[Page]:
        data = [line for _, line in lines]
        size = sum(map(len, data))
        if self._bytes + size >= MAX_BYTES or len(self._lines) + len(data) > MAX_LINES:
            return [page for path, line in lines if (page := self.add(path, line))]
        pages: list[Page] = []
        start = 0
        for end in [at for at, (path, _) in enumerate(lines, 1) if not zlib.crc32(path) % BOUNDARY]:
            if len(self._lines) - 1 + end - start >= MIN_LINES:
                self._take(lines, data, start, end)
                pages.append(self._cut())
                start = end
        self._take(lines, data, start, len(data))
        return pages

    def _take(self, lines: Sequence[Keyed], data: Sequence[bytes], start: int, end: int) -> None:
        if start == end:
            return
        if len(self._lines) == 1:
            self._first = lines[start][0]
        self._last = lines[end - 1][0]
        self._lines += data[start:end]
        self._bytes += sum(map(len, data[start:end]))

    def rest(self) -> Page | None:
        """The last page, if anything is left for it."""
        return self._cut() if len(self._lines) > 1 else None

    def _cut(self) -> Page:
        data = b"".join(self._lines)
        page = Page(Digest.of(data), data, self._first, self._last, len(self._lines) - 1)
        self._clear()
        return page


def split_page(data: bytes) -> list[Keyed]:
    """The lines of a page, as they stand there. Raises ValueError when these are not the bytes of one."""
    if not data.startswith(PAGE_HEADER):
        raise ValueError("these bytes are not a page of a manifest")
    length, lengths, end = _LENGTH.unpack_from, _LENGTHS.unpack_from, len(data)
    lines: list[Keyed] = []
    position = len(PAGE_HEADER)
    try:
        while position < end:
            entry, path = lengths(data, position)
            after = position + 4 + entry
            after += 4 + length(data, after)[0]
            after += 4 + length(data, after)[0]
            after += 4 + length(data, after)[0]
            lines.append((data[position + 8 : position + 8 + path], data[position:after]))
            position = after
    except struct.error:
        position = -1
    if position != end:
        raise ValueError("a field is longer than the page that holds it")
    return lines


def is_file(path: bytes, line: bytes) -> bool:
    """Whether a line is that of a file whose segments are all in it."""
    at = len(path) + SIZE_AT
    if len(line) < at + FILE_TAIL.size:
        return False
    tail = FILE_TAIL.unpack_from(line, at)
    return bool(tail[0] == _NUMBER.size and not any(tail[4:8]) and len(line) == at + FILE_TAIL.size + tail[8] + _LENGTH.size)


def stored_segments(line: bytes) -> tuple[bytes, bytes]:
    """The segments of a line in their stored form, and the digests of its segment pages; one of the two is empty."""
    length = _LENGTH.unpack_from
    start = 4 + length(line)[0]
    start += 8 + length(line, start)[0]
    end = start + length(line, start - 4)[0]
    return line[start:end], line[end + 4 :]


def split_segments(segments: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Segments in their stored form, one after the other: SHA-256 of the chunk, offset, length."""
    return _SEGMENT.iter_unpack(segments)


def digest_hex(path: bytes, line: bytes) -> bytes:
    """The digest of the whole file in hex, of its path and line."""
    return line[len(path) + 19 : len(path) + 83]


def split_digests(digests: bytes) -> list[Digest]:
    """Digests that stand one after the other."""
    return [Digest(digests[i : i + _DIGEST_BYTES]) for i in range(0, len(digests), _DIGEST_BYTES)]


def segment_page(segments: bytes) -> SegmentPage:
    """The page of up to 1,024 segments in their stored form."""
    data = SEGMENTS_HEADER + segments
    return SegmentPage(Digest.of(data), data)


def read_page(data: bytes) -> Iterator[Line]:
    """The lines of a page. Raises ValueError when these are not the bytes of one."""
    if not data.startswith(PAGE_HEADER):
        raise ValueError("these bytes are not a page of a manifest")
    fields = split_fields(data[len(PAGE_HEADER) :])
    return (Line(*four) for four in zip(fields, fields, fields, fields, strict=True))


def read_segment_page(data: bytes) -> bytes:
    """The segments of a segment page, in their stored form. Raises ValueError when these are not the bytes of one."""
    if not data.startswith(SEGMENTS_HEADER) or (len(data) - len(SEGMENTS_HEADER)) % SEGMENT_BYTES:
        raise ValueError("these bytes are not a page of segments")
    return data[len(SEGMENTS_HEADER) :]


def layout_of(pages: Iterable[Digest]) -> Digest:
    """The name of a manifest: which pages, in which order."""
    digest = hashlib.sha256(LAYOUT_HEADER)
    for page in pages:
        digest.update(page.sha256)
    return Digest(digest.digest())
