"""The blob service without the wire: real use cases over a real index and a real store."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from modelkeep.digest import Digest
from modelkeep.names import LeaseName, TeamName
from modelkeep_server.blob.app.admission import Pending, Streams
from modelkeep_server.blob.app.check import Inspection
from modelkeep_server.blob.app.confirm import Confirmations
from modelkeep_server.blob.app.download import Downloads
from modelkeep_server.blob.app.endings import Endings
from modelkeep_server.blob.app.reap import Reaper
from modelkeep_server.blob.app.upload import Uploads
from modelkeep_server.blob.app.write import Writes
from modelkeep_server.blob.backends.memory import MemoryBackend
from modelkeep_server.blob.backends.verifying import VerifyingBackend
from modelkeep_server.blob.domain import MIB, Chunk, Problem, Range, Terms, UploadPlan, WritePart
from modelkeep_server.blob.module import MIGRATIONS
from modelkeep_server.blob.ports import Backend
from modelkeep_server.blob.store.index import SqlIndex
from modelkeep_server.database import migrate
from modelkeep_server.database.clock import Clock
from modelkeep_server.database.engine import Database
from modelkeep_server.runtime.callers import Access, Caller, Role

from tests.databases import prepared

TEAM, OTHER = TeamName("red"), TeamName("blue")
TERMS = Terms(lease=timedelta(hours=1), url=timedelta(minutes=15), idle=timedelta(seconds=30))


def caller(team: TeamName = TEAM, role: Role = Role.WRITE, access: Access = Access.WRITE) -> Caller:
    return Caller(actor=f"{team}/apiKeys/k", team=team.team, role=role, access=access)


SERVICE = Caller(actor="services/metadata", is_service=True, access=Access.SERVICE)


def chunk_of(data: bytes) -> Chunk:
    return Chunk(Digest.of(data), len(data))


def contents(count: int, size: int = 1000) -> list[bytes]:
    """That many different chunks."""
    return [number.to_bytes(4, "big") * (size // 4) for number in range(count)]


def parts_of(lease: LeaseName, datas: Sequence[bytes], piece: int = MIB) -> list[WritePart]:
    """The messages of a Write."""
    parts = []
    for data in datas:
        for start in range(0, len(data), piece):
            begins = chunk_of(data) if start == 0 else None
            parts.append(WritePart(None if parts else lease, begins, 0, data[start : start + piece]))
    return parts


async def stream(parts: Sequence[WritePart], then: BaseException | asyncio.Event | None = None) -> AsyncIterator[WritePart]:
    """A stream of messages that ends, breaks with an error, or stays silent until an event."""
    for part in parts:
        yield part
    if isinstance(then, asyncio.Event):
        await then.wait()
    elif then is not None:
        raise then


@dataclass
class Rig:
    """One blob service."""

    index: SqlIndex
    backend: Backend
    clock: Clock
    database: Database
    terms: Terms = TERMS
    max_streams: int = 8
    pending_bytes: int = 64 * MIB
    patience_seconds: float = 30
    endings: Endings = field(default_factory=Endings)
    reaper: Reaper = field(init=False)
    uploads: Uploads = field(init=False)
    writes: Writes = field(init=False)
    downloads: Downloads = field(init=False)

    def __post_init__(self) -> None:
        self.reaper = Reaper(self.index, self.backend, self.terms)
        self.reaper._next = math.inf  # what it did in the background would come between what a test does, or be counted
        self.uploads = Uploads(self.index, self.backend, self.terms, self.reaper, endings=self.endings)
        streams, pending = Streams(self.max_streams), Pending(self.pending_bytes, self.patience_seconds)
        self.writes = Writes(self.index, self.backend, self.terms, streams, pending=pending, endings=self.endings)
        self.downloads = Downloads(self.index, self.backend, self.terms, Streams(self.max_streams))
        self.confirmations = Confirmations(self.index)
        self.inspection = Inspection(self.index, self.backend)

    async def prepare(
        self, datas: Sequence[bytes], lease: LeaseName | None = None, team: TeamName = TEAM
    ) -> tuple[LeaseName, list[UploadPlan]]:
        opened, plans = await self.uploads.prepare_upload(team, lease, [chunk_of(data) for data in datas], caller(team))
        return opened.name, plans

    async def upload(self, datas: Sequence[bytes], lease: LeaseName | None = None, team: TeamName = TEAM) -> LeaseName:
        """Bring chunks in by stream."""
        lease, _ = await self.prepare(datas, lease, team)
        assert await self.write(parts_of(lease, datas)) == len(datas)
        return lease

    async def write(self, parts: Sequence[WritePart], then: BaseException | asyncio.Event | None = None) -> int:
        lease = next((part.lease for part in parts if part.lease is not None), None)
        return await self.writes.write(stream(parts, then), caller(TeamName(lease.team) if lease else TEAM))

    async def read(self, data: bytes, team: TeamName = TEAM) -> bytes:
        pieces = self.downloads.read(team, [Range(Digest.of(data), 0, 0)], caller(team, access=Access.READ))
        return b"".join([piece async for _, piece in pieces])

    async def present(self, datas: Sequence[bytes], team: TeamName = TEAM) -> list[bool]:
        digests = [Digest.of(data) for data in datas]
        return [size is not None for size in await self.downloads.stat(team, digests, caller(team, access=Access.READ))]

    async def problems(self, *, deep: bool = True) -> list[Problem]:
        return [problem async for problem in self.inspection.problems(deep=deep)]

    async def objects(self) -> int:
        return sum([len(batch) async for batch in self.backend.objects()])


async def made(url: str) -> None:
    """Make the tables, as the service does at its start."""
    await migrate.upgrade(url, MIGRATIONS)


@asynccontextmanager
async def rig(url: str, backend: Backend | None = None, **options: object) -> AsyncIterator[Rig]:
    """A blob service on that database; checked with fsck in the end."""
    await prepared(url, made)
    database, clock = Database(url), Clock()
    store = VerifyingBackend(backend or MemoryBackend())
    await store.open()
    service = Rig(SqlIndex(database, clock), store, clock, database, **options)  # type: ignore[arg-type]
    try:
        yield service
        assert [problem for problem in await service.problems() if problem.breaks_invariant] == []
    finally:
        await service.endings.close()
        await service.reaper.close()
        await store.close()
        await database.close()


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder}/blob.sqlite"
