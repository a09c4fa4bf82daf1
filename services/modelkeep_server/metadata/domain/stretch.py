"""Stretches: lines that follow each other, most of them a whole page, and what all of them say, taken apart in one go."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cached_property
from typing import Final

from modelkeep.digest import Digest

from modelkeep_server.metadata.domain.page import PAGE_HEADER, SEGMENT_BYTES, Keyed, split_page

Claim = tuple[bytes, bytes, int, int, bytes]
"""An entry says that a chunk has certain bytes: its path, the SHA-256 of the chunk, offset, length, and the digest of the file
in hex when that is its only segment, else nothing. A million of them pass here, so they are no objects of ours."""

_LENGTH: Final = struct.Struct(">I")
_LENGTHS: Final = struct.Struct(">II")
_SEGMENT: Final = struct.Struct(">32sIQ")
_PLAIN: Final = struct.Struct(">I7x64sIQIBIIIII32sIQI")
"""What follows the path in the line of a file of one segment, as nearly all are: each field after its length."""
_ENTRY_BYTES: Final = 108
"""Of the entry of a file, beside its path."""
_DIGEST_BYTES: Final = 75
"""Of a digest in text, with its length."""


class Columns:
    """What lines say, by kind."""

    __slots__ = ("claims", "entries", "long", "paths", "referenced_bytes", "segments", "stored_bytes")

    def __init__(self) -> None:
        self.paths: list[bytes] = []
        self.entries: list[bytes] = []
        """In their canonical form."""
        self.segments: list[bytes] = []
        """The fields of segments and of segment pages of each line, with their lengths."""
        self.claims: list[Claim] = []
        """Of segments that are in the lines."""
        self.long: list[tuple[bytes, bytes]] = []
        """Paths, and the digests of segment pages, of entries whose segments are in pages."""
        self.stored_bytes = 0
        self.referenced_bytes = 0

    @classmethod
    def of(cls, data: bytes, start: int = 0) -> Columns:
        """Of lines that stand one after the other from `start` on. Raises ValueError when these are no lines."""
        columns = cls()
        try:
            end = columns._read(data, start)
        except struct.error:
            end = -1
        if end != len(data):
            raise ValueError("a field is longer than the page that holds it")
        return columns

    def _read(self, data: bytes, position: int) -> int:
        lengths, plain = _LENGTHS.unpack_from, _PLAIN.unpack_from
        path_of, entry_of, segments_of, claim = (
            self.paths.append,
            self.entries.append,
            self.segments.append,
            self.claims.append,
        )
        end, most, stored = len(data), len(data) - _PLAIN.size, 0
        while position < end:
            entry, path = lengths(data, position)
            at = position + 8 + path
            if entry == path + _ENTRY_BYTES and at <= most:
                _, only, sized, size, _, _, uri, version, token, checked, one, chunk, offset, length, pages = plain(data, at)
                if one == SEGMENT_BYTES and sized == 8 and not (uri or version or token or checked or pages):
                    name, last = data[position + 8 : at], at + _PLAIN.size
                    path_of(name)
                    entry_of(data[position + 4 : at + _ENTRY_BYTES - 4])
                    segments_of(data[at + _ENTRY_BYTES : last])
                    claim((name, chunk, offset, length, only))
                    stored += size
                    position = last
                    continue
            position = self._read_any(data, position, at, position + 4 + entry)
        self.stored_bytes += stored
        return position

    def _read_any(self, data: bytes, begin: int, at: int, end: int) -> int:
        """Take a line of any kind, whose entry ends at `end` and whose path ends at `at`; where the line ends."""
        path = data[begin + 8 : at]
        segments = _after(data, end)
        pages = _after(data, segments)
        last = _after(data, pages)
        self.paths.append(path)
        self.entries.append(data[begin + 4 : end])
        self.segments.append(data[segments:last])
        only = data[at + 11 : at + _DIGEST_BYTES] if pages - segments == 4 + SEGMENT_BYTES else b""
        self.claims += claims_of(path, data[segments + 4 : pages], only)
        if last > pages + 4:
            self.long.append((path, data[pages + 4 : last]))
        sized = at + _DIGEST_BYTES
        flag = _after(data, sized)
        size = int.from_bytes(data[sized + 4 : flag])
        if _after(data, flag + 5) > flag + 9:  # it has a URI
            self.referenced_bytes += size
        else:
            self.stored_bytes += size
        return last


class Stretch:
    """Lines in byte order of path. They are split, and taken apart, when that is needed."""

    def __init__(self, data: bytes, first: bytes, last: bytes, count: int, page: Digest | None = None) -> None:
        """Of the bytes of a `page`, or of lines that are none."""
        self.first_path = first
        self.last_path = last
        self.page = page
        """The page that these lines are, all of it; None when they are others."""
        self._data = data
        self._count = count
        self._lines: Sequence[Keyed] | None = None

    @classmethod
    def of_page(cls, data: bytes, first: bytes, last: bytes, count: int, page: Digest) -> Stretch:
        """A page, whose first and last path are known. Raises ValueError when these are not the bytes of one."""
        if not data.startswith(PAGE_HEADER):
            raise ValueError("these bytes are not a page of a manifest")
        return cls(data, first, last, count, page)

    @classmethod
    def of(cls, lines: Sequence[Keyed]) -> Stretch:
        """Lines of any origin, or none."""
        first, last = (lines[0][0], lines[-1][0]) if lines else (b"", b"")
        stretch = cls(b"".join([line for _, line in lines]), first, last, len(lines))
        stretch._lines = lines
        return stretch

    def __len__(self) -> int:
        """How many lines there are."""
        return self._count

    @property
    def size_bytes(self) -> int:
        """How many bytes they have; of a page, with its header."""
        return len(self._data)

    @property
    def lines(self) -> Sequence[Keyed]:
        """Each by itself. Raises ValueError when the page is damaged."""
        if self._lines is None:
            self._lines = split_page(self._data)
        return self._lines

    @cached_property
    def columns(self) -> Columns:
        """What they say. Raises ValueError when the page is damaged."""
        return Columns.of(self._data, len(PAGE_HEADER) if self.page else 0)


def _after(data: bytes, position: int) -> int:
    """Where the field that begins here ends."""
    end: int = position + 4 + _LENGTH.unpack_from(data, position)[0]
    return end


def claims_of(path: bytes, segments: bytes, only: bytes = b"") -> list[Claim]:
    """What an entry claims: segments in their stored form, and its digest in hex if it has one segment in all."""
    return [(path, chunk, offset, length, only) for chunk, offset, length in _SEGMENT.iter_unpack(segments)]
