"""Confirmation: what a manifest claims of chunks, against what the blob service says of them (SEM-24, I2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, islice
from operator import itemgetter
from typing import Final

from modelkeep.digest import Digest
from modelkeep.errors import ChunksMissing, DigestMismatch, InvalidEntry

from modelkeep_server.metadata.domain.stretch import Claim

BATCH_CHUNKS: Final = 1000
"""How many chunks are asked for at once."""
BATCH_CLAIMS: Final = 8000
"""How many claims wait for one answer."""
TELLING: Final = 4
"""Of more claims on one chunk in a row, only those wait that can tell something."""
WINDOW: Final = 1 << 16
"""How many answers are remembered, so that a chunk that many entries name is asked for once."""
NAMED: Final = 40
"""How many missing chunks an error names: as many as fit into the details of a status."""

Asked = dict[bytes, list[Claim]]
"""Chunks to ask for, and what is claimed of them."""

_by_chunk: Final = itemgetter(1)


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

    def add(self, claims: Iterable[Claim]) -> None:
        """Take what entries claim, in their order."""
        for chunk, group in groupby(claims, _by_chunk):
            telling = self._telling(chunk, list(group))
            size = self._known.get(chunk)
            if size is None:
                self._waiting.setdefault(chunk, []).extend(telling)
                self._claims += len(telling)
            else:
                self._check(telling, size)

    def _telling(self, chunk: bytes, claims: list[Claim]) -> list[Claim]:
        """Those of some claims on a chunk that can be wrong, or prove a file, where the others are neither.

        It is the one that reads furthest; those that read from the first byte on, which may be all of the chunk; and those of
        a file that has the digest of the chunk. So of a chunk full of small files two or three claims wait for the answer.
        """
        if len(claims) <= TELLING:
            return claims
        ends = [offset + length for _, _, offset, length, _ in claims]
        digest = chunk.hex().encode()
        telling = [claim for claim in claims if not claim[2] or claim[4] == digest]
        if len(telling) < len(claims):
            self.is_proven = False
        furthest = claims[ends.index(max(ends))]
        return [furthest, *telling]

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
            self._check(claims, size)

    def end(self) -> None:
        """All chunks were asked for. Raises ChunksMissing."""
        if self._missing:
            count = self._missing_count
            message = f"{count:,} chunks of the draft are not stored for this team, such as {self._missing[0]}"
            raise ChunksMissing(
                f"{message}; upload them and commit again", digests=",".join(map(str, self._missing)), count=count
            )

    def _check(self, claims: Iterable[Claim], size: int) -> None:
        if size < 0:
            return
        for path, chunk, offset, length, only in claims:
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

    def add(self, claims: Iterable[Claim]) -> None:
        """Take what entries claim."""
        self._waiting.update((claim[1], None) for claim in claims if claim[1] not in self._seen)

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
