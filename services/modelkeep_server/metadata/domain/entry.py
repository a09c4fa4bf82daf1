"""Entries on their way in and out: parts of a stream, and the lines that they become."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from modelkeep.digest import EMPTY
from modelkeep.errors import InvalidEntry, LimitExceeded, PathConflict
from modelkeep.manifest import Entry, Segment, encode_segments, parse_path

from modelkeep_server.metadata.domain.page import (
    FILE_TAIL,
    SEGMENT_BYTES,
    SEGMENTS_PER_PAGE,
    Keyed,
    Line,
    SegmentPage,
    segment_page,
)

MAX_SEGMENT_PAGES: Final = 4096
"""Of one entry: 4 TiB at 1 MiB a segment."""

_HEAD: Final = struct.Struct(">II")
_DIGEST: Final = struct.pack(">I", 71) + b"sha256:"
_ONE_SEGMENT: Final = struct.Struct(">IQIBIIIII32sIQI")
_END: Final = bytes(4)
_SEGMENT: Final = struct.Struct(">32sIQ")
_ENTRY_BYTES: Final = 108
_LINE_BYTES: Final = 124
"""Of the entry, and of the line, of a file: beside its path, and beside its path and segments."""


@dataclass(frozen=True, slots=True)
class EntryPart:
    """An entry in a stream, or further segments of the one before it."""

    path: str
    entry: Entry | None
    """Without its segments; None for a part that goes on."""
    segments: tuple[Segment, ...]
    continued: bool
    """Whether further segments of this entry follow in the next part."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of a version: paths begin with its path and a slash."""

    path: str


Piece = Keyed | EntryPart
"""What comes in a stream: the checked line of a file, or a part of an entry that is a reference, long, or perhaps wrong."""


def file_line(
    path: str, sha256: bytes, size_bytes: int, executable: bool, segments: Sequence[tuple[bytes, int, int]]
) -> Keyed | None:
    """The line of a file that has few segments, in one go; None when anything is wrong with it, which `Entry.check` tells.

    The same bytes as `Line.of` gives, without an object for each thing on the way. Raises InvalidPath.
    """
    parse_path(path)
    total = 0
    for chunk, offset, length in segments:
        if length < 1 or offset < 0 or offset + length >= 1 << 32 or len(chunk) != 32:
            return None
        total += length
    if total != size_bytes or len(sha256) != 32 or len(segments) > SEGMENTS_PER_PAGE or (not total and sha256 != EMPTY.sha256):
        return None
    key = path.encode()
    stored = b"".join([_SEGMENT.pack(*segment) for segment in segments])
    line = (
        _HEAD.pack(len(key) + _ENTRY_BYTES, len(key)),
        key,
        _DIGEST,
        sha256.hex().encode(),
        FILE_TAIL.pack(8, size_bytes, 1, executable, 0, 0, 0, 0, len(stored)),
        stored,
        _END,
    )
    return key, b"".join(line)


def short_line(  # noqa: PLR0917 - called a million times
    path: str, sha256: bytes, size_bytes: int, executable: bool, chunk: bytes, offset: int, length: int
) -> Keyed | None:
    """The same of a file that has one segment, as nearly all have."""
    if not (length == size_bytes > 0 <= offset < (1 << 32) - length and len(chunk) == len(sha256) == 32):
        return None
    key = parse_path(path).encode()
    rest = _ONE_SEGMENT.pack(8, size_bytes, 1, executable, 0, 0, 0, 0, SEGMENT_BYTES, chunk, offset, length, 0)
    return key, _HEAD.pack(len(key) + _ENTRY_BYTES, len(key)) + key + _DIGEST + sha256.hex().encode() + rest


def segment_count(pieces: Sequence[Piece]) -> int:
    """How many segments came with them."""
    parts = [piece for piece in pieces if isinstance(piece, EntryPart)]
    lines = [piece for piece in pieces if not isinstance(piece, EntryPart)] if parts else pieces
    size = sum([len(line) - len(path) for path, line in lines])  # type: ignore[misc]
    return sum(len(part.segments) for part in parts) + (size - len(lines) * _LINE_BYTES) // SEGMENT_BYTES


@dataclass(slots=True)
class Batch:
    """Complete lines, and segment pages that these lines or later ones name; what one transaction writes."""

    lines: dict[bytes, bytes] = field(default_factory=dict)
    """By path."""
    pages: list[SegmentPage] = field(default_factory=list)
    size_bytes: int = 0


class Assembler:
    """Turns the parts of a stream into checked lines. Of a long entry it keeps one page of segments, and the others' names."""

    def __init__(self, *, overwrite: bool = False) -> None:
        """With `overwrite` the last entry of a path counts."""
        self.entry_count = 0
        """Complete entries so far."""
        self._overwrite = overwrite
        self._open: _LongEntry | None = None
        self._batch = Batch()

    def add_many(self, pieces: Sequence[Piece]) -> None:
        """Take the next pieces. Raises what `add` raises."""
        if self._open is None and not any(isinstance(piece, EntryPart) for piece in pieces):
            lines: dict[bytes, bytes] = dict(pieces)  # type: ignore[arg-type]
            if len(lines) == len(pieces) and lines.keys().isdisjoint(self._batch.lines):
                self.entry_count += len(lines)
                self._batch.lines.update(lines)
                self._batch.size_bytes += sum(map(len, lines.values()))
                return
        for piece in pieces:
            self.add(piece)

    def add(self, piece: Piece) -> None:
        """Take the next piece. Raises InvalidPath, InvalidEntry, InvalidReference, PathConflict, LimitExceeded."""
        if not isinstance(piece, EntryPart):
            if self._open is not None:
                raise _interrupted(self._open.head.path, piece[0].decode())
            self._put(*piece)
        elif self._open is None:
            self._begin(piece)
        elif piece.entry is not None or piece.path != self._open.head.path:
            raise _interrupted(self._open.head.path, piece.path)
        else:
            self._extend(self._open, piece)

    def _begin(self, part: EntryPart) -> None:
        if part.entry is None:
            raise InvalidEntry(f"{part.path!r} has no digest", path=part.path)
        if not part.continued and len(part.segments) <= SEGMENTS_PER_PAGE:
            entry = replace(part.entry, segments=part.segments)
            entry.check()
            line = Line.of(entry)
            self._put(line.path, line.encode())
            return
        self._open = _LongEntry(part.entry)
        self._extend(self._open, part)

    def take(self) -> Batch:
        """What is ready to be written; the next call answers only what came since."""
        batch, self._batch = self._batch, Batch()
        return batch

    @property
    def ready_bytes(self) -> int:
        """How much `take` would answer."""
        return self._batch.size_bytes

    @property
    def ready_lines(self) -> int:
        """How many lines `take` would answer."""
        return len(self._batch.lines)

    def end(self) -> None:
        """The stream is over. Raises InvalidEntry when an entry was to go on."""
        if self._open is not None:
            path = self._open.head.path
            raise InvalidEntry(f"the stream ended before {path!r} was complete; send it again", path=path)

    def _extend(self, entry: _LongEntry, part: EntryPart) -> None:
        for page in entry.extend(part.segments):
            self._batch.pages.append(page)
            self._batch.size_bytes += len(page.data)
        if part.continued:
            return
        self._open = None
        line, last = entry.finish()
        if last is not None:
            self._batch.pages.append(last)
        self._put(line.path, line.encode())

    def _put(self, path: bytes, data: bytes) -> None:
        batch = self._batch
        self.entry_count += 1
        known = batch.lines.get(path)
        if known is not None and not self._overwrite:
            require_same(known, data)
            return
        batch.lines[path] = data
        batch.size_bytes += len(data)


def _interrupted(path: str, other: str) -> InvalidEntry:
    return InvalidEntry(f"{path!r} was to go on, but {other!r} came as a new entry", path=path, other=other)


class _LongEntry:
    """An entry whose segments come in several parts, or are too many for its line."""

    def __init__(self, head: Entry) -> None:
        self.head = head
        self._bytes = 0
        self._waiting = bytearray()
        self._pages = bytearray()
        parse_path(head.path)
        if head.reference is not None:
            raise InvalidEntry(f"{head.path!r} is a reference and has segments; it can only be one of the two", path=head.path)

    def extend(self, segments: Sequence[Segment]) -> list[SegmentPage]:
        """Take further segments; the pages that are full now."""
        part = replace(self.head, size_bytes=sum(s.length for s in segments), segments=tuple(segments))
        if segments:
            part.check()
        self._bytes += part.size_bytes or 0
        self._waiting += encode_segments(segments)
        pages = []
        size = SEGMENTS_PER_PAGE * SEGMENT_BYTES
        # The last page is cut only when it is known whether the entry is long at all.
        while len(self._waiting) > size:
            pages.append(self._cut(size))
        return pages

    def finish(self) -> tuple[Line, SegmentPage | None]:
        """The line of the complete entry, and its last segment page if it has any."""
        if self._bytes != self.head.size_bytes:
            message = f"{self.head.path!r} has {self.head.size_bytes} bytes but its segments have {self._bytes}"
            raise InvalidEntry(message, path=self.head.path)
        if not self._waiting:
            self.head.check()
        if not self._pages:
            return replace(Line.of(self.head), segments=bytes(self._waiting)), None
        last = self._cut(len(self._waiting))
        return Line.of(self.head, bytes(self._pages)), last

    def _cut(self, size: int) -> SegmentPage:
        page = segment_page(bytes(self._waiting[:size]))
        del self._waiting[:size]
        self._pages += page.digest.sha256
        if len(self._pages) > MAX_SEGMENT_PAGES * 32:
            limit = MAX_SEGMENT_PAGES * SEGMENTS_PER_PAGE
            message = f"{self.head.path!r} has more than {limit:,} segments; cut it into larger chunks"
            raise LimitExceeded(message, path=self.head.path, limit=limit)
        return page


def is_same(known: bytes, other: bytes) -> bool:
    """Whether two lines of one path have the same content; their segments may differ."""
    return known == other or Line.decode(known).entry == Line.decode(other).entry


def require_same(known: bytes, other: bytes) -> None:
    """Raise PathConflict unless two lines of one path have the same content; their segments may differ."""
    if not is_same(known, other):
        a, b = Line.decode(known).open(), Line.decode(other).open()
        what = "content" if a.digest != b.digest else "size, mode or reference"
        message = (
            f"{a.path!r} is in the draft already, with other {what}: {a.digest} there, {b.digest} now; "
            "say overwrite to replace it"
        )
        raise PathConflict(message, path=a.path, digest=str(a.digest), other_digest=str(b.digest))


def folders_above(path: bytes) -> list[bytes]:
    """The folders that a path lies in, each with its slash."""
    return [path[: i + 1] for i, byte in enumerate(path[:-1]) if byte == ord("/")]


def path_ranges(prefix: str) -> list[tuple[bytes, bytes | None]]:
    """Where the file `prefix`, and what lies under that folder, stand in byte order: from, and up to but without (SEM-37)."""
    if not prefix:
        return [(b"", None)]
    path = parse_path(prefix).encode()
    return [(path, path + b"\x00"), (path + b"/", path + b"0")]
