"""The nouns of the blob service, and the rules that need nothing but them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Final
from uuid import uuid4

from modelkeep.digest import Digest
from modelkeep.errors import InvalidArgument, LimitExceeded, RangeInvalid
from modelkeep.names import LeaseName

MIB: Final = 1 << 20
MAX_CHUNK_BYTES: Final = 16 * MIB
MAX_BATCH_CHUNKS: Final = 1000
MAX_DATA_BYTES: Final = MIB
PIECE_BYTES: Final = MIB // 2
"""How much is read at a time. A message of 1 MiB costs three times as much: for each copy, fresh memory is mapped."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some bytes, by digest and size. They belong together: a right digest with a wrong size is refused."""

    digest: Digest
    size_bytes: int

    def __post_init__(self) -> None:
        if self.size_bytes < 1:
            message = f"chunk {self.digest} has {self.size_bytes} bytes; a chunk has at least 1: the empty content has none"
            raise InvalidArgument(message, field="size_bytes", value=self.size_bytes)
        if self.size_bytes > MAX_CHUNK_BYTES:
            message = f"chunk {self.digest} has {self.size_bytes} bytes; cut it: at most {MAX_CHUNK_BYTES} go in one chunk"
            raise LimitExceeded(message, field="size_bytes", value=self.size_bytes, limit=MAX_CHUNK_BYTES)


class ChunkState(StrEnum):
    """What a row says of its chunk; a chunk without a row is absent (RELIABILITY §2.2)."""

    LIVE = "live"
    CONDEMNED = "condemned"
    """Nothing needed it when the last collection looked. Still whole, and live again as soon as somebody asks for it."""
    ROTTEN = "rotten"
    """The stored bytes are no longer what their name says; a good upload makes it live again."""


@dataclass(frozen=True, slots=True, order=True)
class ObjectName:
    """An object of the store: a chunk in one generation. Every grant names a fresh one, and no name is ever used twice."""

    digest: Digest
    generation: str

    @classmethod
    def fresh(cls, digest: Digest) -> ObjectName:
        """A name that nothing has had before."""
        return cls(digest, uuid4().hex)


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk that has a row: which object holds its bytes, and whether they can be trusted."""

    chunk: Chunk
    generation: str
    state: ChunkState

    @property
    def object(self) -> ObjectName:
        """The object with the bytes."""
        return ObjectName(self.chunk.digest, self.generation)

    @property
    def readable(self) -> bool:
        """Whether it may be answered as present."""
        return self.state is not ChunkState.ROTTEN


@dataclass(frozen=True, slots=True)
class ChunkRecord:
    """All that the index says of one chunk, for a check."""

    stored: StoredChunk
    is_held: bool
    """Whether any team holds it."""
    is_doomed: bool
    """Whether a grant or a tombstone names its object too, so that it would be deleted."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What protects content until a manifest does. It ends by itself (SEM-25)."""

    name: LeaseName
    expire_time: datetime
    read_time: datetime
    """The database's clock when the lease was read."""

    @property
    def left(self) -> timedelta:
        """How long it lasts from when it was read."""
        return self.expire_time - self.read_time


@dataclass(frozen=True, slots=True)
class Grant:
    """The permission to make one object, under one lease. It ends with the lease, or when the object is published."""

    object: ObjectName
    size_bytes: int
    by_url: bool
    """True when its client makes the object itself, by a URL or as a staged file; false when the bytes go through Write."""

    @property
    def chunk(self) -> Chunk:
        """The chunk whose bytes the object shall have."""
        return Chunk(self.object.digest, self.size_bytes)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A chunk that arrives through Write under a lease. What an interrupted Write left behind is found by it."""

    lease: LeaseName
    chunk: Chunk


@dataclass(frozen=True, slots=True)
class ListedObject:
    """What a listing of the store shows of one object."""

    key: str
    name: ObjectName | None
    """None for a key that is not one of ours."""
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Present:
    """Nothing to do: the team holds the chunk, and the lease protects it."""


@dataclass(frozen=True, slots=True)
class ByUrl:
    """The bytes go to, or come from, this URL."""

    url: str
    expire_time: datetime

    def __repr__(self) -> str:
        return f"ByUrl(url=<signed>, expire_time={self.expire_time!r})"


@dataclass(frozen=True, slots=True)
class Staged:
    """The bytes go into this file, on the server's own host."""

    path: str


@dataclass(frozen=True, slots=True)
class ByStream:
    """The bytes go through Write, from this offset on, or come through Read."""

    offset: int = 0


@dataclass(frozen=True, slots=True)
class Missing:
    """The team holds no such chunk."""


UploadPlan = Present | ByUrl | Staged | ByStream
DownloadSource = Missing | ByUrl | ByStream


@dataclass(frozen=True, slots=True)
class DownloadPlan:
    """Where to read one chunk, and its size; 0 when it is missing."""

    source: DownloadSource
    size_bytes: int = 0


class Arrival(Enum):
    """What a client made of a grant that it was to fill itself."""

    WHOLE = "whole"
    """The object has the bytes of the grant, and is durable."""
    MISSING = "missing"
    SIZE_WRONG = "size wrong"
    DIGEST_WRONG = "digest wrong"


class UploadResult(Enum):
    """What became of a chunk that was sent to a URL, or written to a file."""

    PUBLISHED = "published"
    OBJECT_MISSING = "object missing"
    GRANT_EXPIRED = "grant expired"
    SIZE_MISMATCH = "size mismatch"
    DIGEST_MISMATCH = "digest mismatch"


@dataclass(frozen=True, slots=True)
class WritePart:
    """One message of a Write: it may begin a chunk, and may bring data of the one that was begun."""

    lease: LeaseName | None
    """On the first message."""
    chunk: Chunk | None
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Range:
    """A part of a chunk; `length` 0 means up to its end."""

    digest: Digest
    offset: int
    length: int

    def within(self, size_bytes: int) -> tuple[int, int]:
        """Offset and length in a chunk of that size. Raises RangeInvalid."""
        length = self.length or size_bytes - self.offset
        if self.offset < 0 or self.length < 0 or length < 1 or self.offset + length > size_bytes:
            message = (
                f"the range of {self.length} bytes from {self.offset} on is not within chunk {self.digest}, "
                f"which has {size_bytes} bytes"
            )
            raise RangeInvalid(message, digest=str(self.digest), offset=self.offset, length=self.length, size_bytes=size_bytes)
        return self.offset, length


@dataclass(frozen=True, slots=True)
class Cutting:
    """How clients should cut files into chunks. It matters for dedup and speed only, never for correctness."""

    block_bytes: int = 2 * MIB
    """Fixed blocks, where content does not decide."""
    average_chunk_bytes: int = MIB
    """Where it does."""
    pack_bytes: int = MIB
    """Up to this size files share chunks, of at most this size."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What clients must know of this server."""

    lease_seconds: int
    direct_upload: bool
    direct_download: bool
    cutting: Cutting
    staging_folder: str
    """Empty when there is none."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How long what the service gives out lasts, and how long it waits."""

    lease: timedelta
    url: timedelta
    idle: timedelta
    """How long a Write may send nothing."""

    @property
    def reap_after(self) -> timedelta:
        """How long after its lease a grant is kept, so that nothing that was begun under it is still under way.

        A URL that was given out just before is over by then even when the store's clock runs somewhat behind ours.
        """
        return self.url + timedelta(hours=1)


class ProblemKind(StrEnum):
    """What a check may find."""

    OBJECT_MISSING = "object missing"
    SIZE_WRONG = "size wrong"
    CONTENT_WRONG = "content wrong"
    ROW_INVALID = "row invalid"
    OBJECT_UNKNOWN = "object unknown"
    TEMPORARY_LEFT = "temporary left"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a check found."""

    kind: ProblemKind
    what: str
    """The chunk, key or row in question."""
    detail: str

    @property
    def breaks_invariant(self) -> bool:
        """False for what only takes space: the next start removes it, or a collection does."""
        return self.kind not in {ProblemKind.OBJECT_UNKNOWN, ProblemKind.TEMPORARY_LEFT}


def check_batch(count: int, field: str) -> None:
    """Refuse a batch that is too large. Raises LimitExceeded."""
    if count > MAX_BATCH_CHUNKS:
        message = f"{field} has {count} items; send at most {MAX_BATCH_CHUNKS} in one call"
        raise LimitExceeded(message, field=field, value=count, limit=MAX_BATCH_CHUNKS)
