"""What the blob service needs from outside: a store of objects, and an index of it with transactions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from modelkeep.digest import Digest
from modelkeep.names import LeaseName, TeamName

from modelkeep_server.blob.domain import Arrival, ChunkRecord, Grant, Incoming, Lease, ListedObject, ObjectName, StoredChunk

T = TypeVar("T")


class Writer(Protocol):
    """A chunk on its way in. Nothing of it can be read before `Backend.store`."""

    @property
    def incoming(self) -> Incoming:
        """Which chunk, under which lease."""

    @property
    def received_bytes(self) -> int:
        """How many bytes it has by now."""

    async def write(self, data: bytes) -> None:
        """Append; the last byte ends the chunk, and its digest is checked.

        Raises DigestMismatch, SizeMismatch, StorageFull and ServiceUnavailable, and then keeps nothing of the chunk;
        GrantExpired when another stream took the chunk over, or its lease ended.
        """

    async def close(self, *, keep: bool) -> None:
        """Let go of it: what was written is kept for a later `receive`, if the backend can, or thrown away.

        May be called at any time and any number of times; does nothing after `store`.
        """


class Staging(Protocol):
    """A folder in which clients of the same host and user leave chunks, instead of sending them."""

    @property
    def folder(self) -> str:
        """Where it is."""

    def admits(self, token: str) -> bool:
        """Whether the token is the one in the folder, so that its bearer can read there."""

    def path(self, name: ObjectName) -> str:
        """The file that is to become this object."""

    def listed(self) -> AsyncIterator[list[ListedObject]]:
        """The files in it, in batches."""

    async def remove(self, names: Collection[ObjectName]) -> None:
        """Remove the files of these objects; those that do not exist are fine."""


class Backend(Protocol):
    """Bytes at rest.

    What every backend guarantees, and its conformance suite proves: an object has exactly the bytes that its digest names, or
    does not exist; it never changes; once `store` returned, it survives the death of this process and, where the medium can,
    a power cut; it is read and listed at once. A failure leaves no object that no grant names, and no temporary file that
    `leases` does not tell of. Errors are StorageFull when the medium is full, and ServiceUnavailable for anything else that
    is not the caller's fault.
    """

    @property
    def direct_upload(self) -> bool:
        """Whether clients may be sent to the store with a URL whose digest the store enforces; known after `open`."""

    @property
    def direct_download(self) -> bool:
        """Whether clients may be sent to the store to read."""

    @property
    def staging(self) -> Staging | None:
        """Where clients may leave chunks; None when they may not."""

    async def open(self) -> None:
        """Make ready: find out what the store can do. Raises ServiceUnavailable, or ValueError for a store that is unsafe."""

    async def close(self) -> None:
        """Let go of threads and connections."""

    async def check(self) -> None:
        """Raise ServiceUnavailable when the store cannot be reached."""

    async def received(self, incoming: Sequence[Incoming]) -> list[int]:
        """How many bytes an interrupted write left of each; 0 where there is nothing to go on from."""

    async def receive(self, incoming: Incoming, offset: int) -> Writer:
        """Begin, or go on at `offset`. A writer of the same lease and chunk that is still open is cut off.

        Raises GrantExpired when fewer than `offset` bytes were kept: prepare again.
        """

    async def store(self, batch: Sequence[tuple[Writer, ObjectName]]) -> None:
        """Make objects of complete chunks: all of them durable when it returns.

        The writers are closed. An object that is there already, from an attempt that was cut short, is left as it is.
        Raises StorageFull, ServiceUnavailable, and GrantExpired when the lease ended; what it made by then is found by its
        grant, and storing it again is fine.
        """

    def leases(self) -> AsyncIterator[set[LeaseName]]:
        """The leases of which interrupted writes were kept, in batches."""

    async def forget(self, leases: Collection[LeaseName]) -> None:
        """Throw away what interrupted writes under these leases left."""

    def read(
        self, chunk: StoredChunk, offset: int, length: int, see: Callable[[bytes], object] | None = None
    ) -> AsyncGenerator[bytes, None]:
        """A range that lies within the chunk, in pieces of at most 512 KiB. Raises ChunkCorrupt when the bytes are not there.

        `see` is called with each piece where it was read, in a thread if that is one: before the piece is given out.
        """

    async def arrived(self, grants: Sequence[Grant]) -> list[Arrival]:
        """Whether clients made the objects of these grants, by a URL or in the staging folder.

        What a store did not check itself is checked here, and made an object. A staged file that is not what its grant says
        is removed. Raises StorageFull, ServiceUnavailable; asking again is fine.
        """

    async def stat(self, names: Sequence[ObjectName]) -> list[int | None]:
        """The size of each object; None where there is none, or where the store reports another digest than the name says."""

    async def delete(self, names: Sequence[ObjectName]) -> None:
        """Remove objects; those that do not exist are fine."""

    def objects(self) -> AsyncIterator[list[ListedObject]]:
        """Everything in the store, in batches."""

    async def upload_urls(self, objects: Sequence[tuple[ObjectName, timedelta]]) -> list[str]:
        """For each object a URL that takes its bytes, and only its bytes, for that long. Only with `direct_upload`."""

    async def download_urls(self, objects: Sequence[tuple[ObjectName, timedelta]]) -> list[str]:
        """For each object a URL that gives its bytes for that long. Only with `direct_download`."""


class Leases(Protocol):
    """The leases, inside one transaction."""

    async def open(self, team: TeamName, lasting: timedelta) -> Lease:
        """A new lease."""

    async def get(self, name: LeaseName) -> Lease:
        """An open lease. Raises LeaseNotFound, LeaseExpired."""

    async def renew(self, name: LeaseName, lasting: timedelta) -> Lease:
        """Move its end to `lasting` from now. Raises LeaseNotFound, LeaseExpired."""

    async def protect(self, name: LeaseName, digests: Collection[Digest]) -> None:
        """Protect chunks that the lease's team holds."""

    async def ended(self, names: Collection[LeaseName]) -> set[LeaseName]:
        """Those of them that ended, or do not exist."""

    async def reap(self, since: timedelta, limit: int) -> bool:
        """Delete some of what ended at least `since` ago, at most `limit` rows: what leases protected, then leases themselves.

        A lease with a grant stays. False when there is nothing left to delete.
        """


class Chunks(Protocol):
    """The chunks and who holds them, inside one transaction. Nobody learns of a chunk that the team does not hold (SEM-22)."""

    async def held(self, team: TeamName, digests: Collection[Digest]) -> dict[Digest, StoredChunk]:
        """Those that the team holds, whatever their state. Changes and protects nothing."""

    async def revive(self, team: TeamName, digests: Collection[Digest], epoch: int = 0) -> dict[Digest, StoredChunk]:
        """Those that are live or condemned and held by the team; live and, from `epoch` on, confirmed in the same statement."""

    async def hold(self, team: TeamName, digests: Collection[Digest]) -> None:
        """Let the team hold chunks that `revive` answered in the same transaction."""

    async def publish(self, team: TeamName, objects: Mapping[ObjectName, int]) -> set[ObjectName]:
        """Make chunks of objects, given with their sizes, and let the team hold them.

        Returns the objects that are not needed, because another object has the bytes already.
        """

    async def page(self, after: Digest | None, limit: int) -> list[ChunkRecord]:
        """All chunks in the order of their digests."""

    async def known(self, names: Collection[ObjectName]) -> set[ObjectName]:
        """Those objects that a chunk, a grant or a tombstone names."""


class Grants(Protocol):
    """The upload grants, inside one transaction."""

    async def add(self, lease: LeaseName, grants: Iterable[Grant]) -> None:
        """Remember grants."""

    async def find(self, lease: LeaseName, digests: Collection[Digest], *, by_url: bool) -> list[Grant]:
        """The grants of these chunks under the lease."""

    async def open(self, names: Collection[ObjectName]) -> set[ObjectName]:
        """Those of these objects that a grant names."""

    async def claim(self, lease: LeaseName, names: Collection[ObjectName]) -> dict[ObjectName, Grant]:
        """Take grants out, so that nobody else can. What is not in the answer was not there."""

    async def reap(self, since: timedelta, limit: int) -> list[ObjectName]:
        """Take out grants whose lease ended at least `since` ago."""


class Tombstones(Protocol):
    """Objects that must go, remembered until they are gone, inside one transaction."""

    async def add(self, names: Collection[ObjectName], lasting: timedelta = timedelta()) -> None:
        """Remember objects; for `lasting` more they may come back, so that they must be deleted once again."""

    async def due(self, limit: int) -> list[ObjectName]:
        """Those that cannot come back."""

    async def clear(self, names: Collection[ObjectName]) -> None:
        """Forget those that are deleted and cannot come back."""


class Rows(Protocol):
    """One transaction of the index."""

    @property
    def leases(self) -> Leases:
        """The leases."""

    @property
    def chunks(self) -> Chunks:
        """The chunks."""

    @property
    def grants(self) -> Grants:
        """The grants."""

    @property
    def tombstones(self) -> Tombstones:
        """The tombstones."""

    async def now(self) -> datetime:
        """The database's clock."""


class Index(Protocol):
    """The database of the service. A conflict between transactions is retried inside, so `work` must do nothing but rows."""

    async def read(self, work: Callable[[Rows], Awaitable[T]]) -> T:
        """Run `work` in a transaction that writes nothing."""

    async def write(self, work: Callable[[Rows], Awaitable[T]]) -> T:
        """Run `work` in one transaction, and commit it."""
