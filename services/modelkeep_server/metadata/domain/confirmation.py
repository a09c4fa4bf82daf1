"""Confirmation: what a manifest claims of chunks, against what the blob service says of them (SEM-24, I2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from modelkeep.digest import Digest
from modelkeep.errors import ChunksMissing, DigestMismatch, InvalidEntry

BATCH_CHUNKS: Final = 1000
"""How many chunks are asked for at once."""
BATCH_CLAIMS: Final = 8000
"""How many claims wait for one answer: many small files may lie in one chunk."""
WINDOW: Final = 1 << 16
"""How many answers are remembered, so that a chunk that many entries name is asked for once."""
NAMED: Final = 40
"""How many missing chunks an error names: as many as fit into the details of a status."""


@dataclass(frozen=True, slots=True)
class Claim:
    """An entry says that a chunk has certain bytes."""

    path: bytes
    chunk: bytes
    """Its SHA-256."""
    offset: int
    length: int
    only: bytes
    """The digest of the file, as text, when this is its only segment."""


class Confirmation:
    """Gathers claims into batches of chunks to ask for, and holds the answers against them."""

    def __init__(self) -> None:
        self.is_proven = True
        """Whether so far every file is one whole chunk, whose digest is the file's."""
        self._known: dict[bytes, int] = {}
        self._waiting: dict[bytes, list[Claim]] = {}
        self._claims = 0
        self._missing: list[Digest] = []
        self._missing_count = 0

    def add(self, claim: Claim) -> bool:
        """Take a claim; whether it is time to ask for the batch."""
        size = self._known.get(claim.chunk)
        if size is not None:
            self._check(claim, size)
            return False
        self._waiting.setdefault(claim.chunk, []).append(claim)
        self._claims += 1
        return len(self._waiting) >= BATCH_CHUNKS or self._claims >= BATCH_CLAIMS

    def take(self) -> dict[bytes, list[Claim]]:
        """The chunks to ask for now, and what is claimed of them."""
        batch, self._waiting, self._claims = self._waiting, {}, 0
        return batch

    def answer(self, batch: dict[bytes, list[Claim]], sizes: Sequence[int]) -> None:
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
                self._check(claim, size)

    def end(self) -> None:
        """All chunks were asked for. Raises ChunksMissing."""
        if self._missing:
            count = self._missing_count
            message = f"{count:,} chunks of the draft are not stored for this team, such as {self._missing[0]}"
            raise ChunksMissing(
                f"{message}; upload them and commit again", digests=",".join(map(str, self._missing)), count=count
            )

    def _check(self, claim: Claim, size: int) -> None:
        if size < 0:
            return
        path = claim.path.decode()
        if claim.offset + claim.length > size:
            end = claim.offset + claim.length
            chunk = Digest(claim.chunk)
            message = f"{path!r} reads up to byte {end:,} of the chunk {chunk}, which has {size:,}; cut the file again"
            raise InvalidEntry(message, path=path, chunk=str(chunk), size_bytes=size)
        is_whole = bool(claim.only) and claim.length == size
        if claim.only and is_whole != (claim.only == b"sha256:" + claim.chunk.hex().encode()):
            part = "exactly" if is_whole else "a part of"
            message = f"{path!r} is {part} the chunk {Digest(claim.chunk)}, so its digest cannot be {claim.only.decode()}"
            raise DigestMismatch(message, path=path, digest=claim.only.decode(), chunk=str(Digest(claim.chunk)))
        self.is_proven = self.is_proven and is_whole
