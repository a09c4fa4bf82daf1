"""Confirmation: what a manifest claims of chunks, against what the blob service says of them (SEM-24, I2)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple

from modelkeep.digest import Digest
from modelkeep.errors import ChunksMissing, DigestMismatch, InvalidEntry

from modelkeep_server.metadata.domain.page import FILE_BYTES, SEGMENT_BYTES, Keyed, digest_hex, stored_segments

BATCH_CHUNKS: Final = 1000
"""How many chunks are asked for at once."""
BATCH_CLAIMS: Final = 8000
"""How many claims wait for one answer: many small files may lie in one chunk."""
WINDOW: Final = 1 << 16
"""How many answers are remembered, so that a chunk that many entries name is asked for once."""
NAMED: Final = 40
"""How many missing chunks an error names: as many as fit into the details of a status."""


_SEGMENT: Final = struct.Struct(">32sIQ")
_LENGTH: Final = struct.Struct(">I")
_LENGTHS: Final = struct.Struct(">II")
_ONE_SEGMENT: Final = (0, SEGMENT_BYTES)
"""What follows the entry of a file in its line: nothing that was checked, and one segment."""


class Claim(NamedTuple):
    """An entry says that a chunk has certain bytes."""

    path: bytes
    chunk: bytes
    """Its SHA-256."""
    offset: int
    length: int
    only: bytes
    """The digest of the file, in hex, when this is its only segment."""


_Claim = tuple[bytes, bytes, int, int, bytes]
"""The same, while a million of them are checked."""
Asked = dict[bytes, list[_Claim]]
"""Chunks to ask for, and what is claimed of them."""


class Confirmation:
    """Gathers claims into batches of chunks to ask for, and holds the answers against them."""

    def __init__(self) -> None:
        self.is_proven = True
        """Whether so far every file is one whole chunk, whose digest is the file's."""
        self._known: dict[bytes, int] = {}
        self._waiting: Asked = {}
        self._claims = 0
        self._missing: list[Digest] = []
        self._missing_count = 0

    def add(self, lines: Iterable[Keyed]) -> list[tuple[bytes, bytes]]:
        """Take what lines claim; the paths and segment pages of those whose segments are not in them."""
        length, lengths, segment = _LENGTH.unpack_from, _LENGTHS.unpack_from, _SEGMENT.unpack_from
        known, waiting, check = self._known.get, self._waiting, self._check
        long: list[tuple[bytes, bytes]] = []
        for path, line in lines:
            end = len(path) + FILE_BYTES
            # Nearly all are files of one segment, whose line has the same form but for the path.
            if length(line)[0] + 4 != end or lengths(line, end) != _ONE_SEGMENT:
                segments, segment_pages = stored_segments(line)
                self.add_segments(path, segments, digest_hex(path, line) if len(segments) == SEGMENT_BYTES else b"")
                if segment_pages:
                    long.append((path, segment_pages))
                continue
            chunk, offset, size = segment(line, end + 8)
            only = line[end - FILE_BYTES + 19 : end - FILE_BYTES + 83]
            stored = known(chunk)
            if stored is not None:
                check(path, chunk, offset, size, only, stored)
            elif chunk in waiting:
                waiting[chunk].append((path, chunk, offset, size, only))
                self._claims += 1
            else:
                waiting[chunk] = [(path, chunk, offset, size, only)]
                self._claims += 1
        return long

    def add_segments(self, path: bytes, segments: bytes, only: bytes) -> None:
        """Take what an entry claims: segments in their stored form, and its digest in hex if it has one segment in all."""
        for chunk, offset, length in _SEGMENT.iter_unpack(segments):
            size = self._known.get(chunk)
            if size is None:
                self._waiting.setdefault(chunk, []).append((path, chunk, offset, length, only))
                self._claims += 1
            else:
                self._check(path, chunk, offset, length, only, size)

    @property
    def is_full(self) -> bool:
        """Whether it is time to ask for a batch."""
        return len(self._waiting) >= BATCH_CHUNKS or self._claims >= BATCH_CLAIMS

    def take(self) -> Asked:
        """The chunks to ask for now, and what is claimed of them."""
        waiting = iter(self._waiting.items())
        batch, self._waiting = dict(islice(waiting, BATCH_CHUNKS)), dict(waiting)
        self._claims -= sum(map(len, batch.values()))
        return batch

    def answer(self, batch: Asked, sizes: Sequence[int]) -> None:
        """Hold the sizes of the chunks of a batch against what is claimed of them. Raises InvalidEntry, DigestMismatch."""
        if len(self._known) >= WINDOW:
            self._known.clear()
        for (chunk, claims), size in zip(batch.items(), sizes, strict=True):
            self._known[chunk] = size
            if size < 0:
                self._missing_count += 1
                if len(self._missing) < NAMED:
                    self._missing.append(Digest(chunk))
            for claim in claims:
                self._check(*claim, size)

    def end(self) -> None:
        """All chunks were asked for. Raises ChunksMissing."""
        if self._missing:
            count = self._missing_count
            message = f"{count:,} chunks of the draft are not stored for this team, such as {self._missing[0]}"
            raise ChunksMissing(
                f"{message}; upload them and commit again", digests=",".join(map(str, self._missing)), count=count
            )

    def _check(self, path: bytes, chunk: bytes, offset: int, length: int, only: bytes, size: int) -> None:  # noqa: PLR0917
        if size < 0:
            return
        if offset + length > size:
            where, end, name = path.decode(), offset + length, Digest(chunk)
            message = f"{where!r} reads up to byte {end:,} of the chunk {name}, which has {size:,}; cut the file again"
            raise InvalidEntry(message, path=where, chunk=str(name), size_bytes=size)
        is_whole = bool(only) and length == size
        if only and is_whole != (only == chunk.hex().encode()):
            part, where, digest = "exactly" if is_whole else "a part of", path.decode(), f"sha256:{only.decode()}"
            message = f"{where!r} is {part} the chunk {Digest(chunk)}, so its digest cannot be {digest}"
            raise DigestMismatch(message, path=where, digest=digest, chunk=str(Digest(chunk)))
        if not is_whole:
            self.is_proven = False


class Named:
    """Gathers the chunks that segments name into batches, most of them only once."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        self._waiting: dict[bytes, None] = {}

    def add(self, segments: bytes) -> None:
        """Take segments in their stored form."""
        for chunk, _offset, _length in _SEGMENT.iter_unpack(segments):
            if chunk not in self._seen:
                self._waiting[chunk] = None

    @property
    def is_full(self) -> bool:
        """Whether there is a batch."""
        return len(self._waiting) >= BATCH_CHUNKS

    def take(self) -> list[Digest]:
        """The next chunks, at most as many as a batch has."""
        chunks = list(islice(self._waiting, BATCH_CHUNKS))
        if len(self._seen) >= WINDOW:
            self._seen.clear()
        self._seen.update(chunks)
        for chunk in chunks:
            del self._waiting[chunk]
        return [Digest(chunk) for chunk in chunks]
