"""Transactions on the service's database, and the events that each writes at its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from functools import cached_property
from typing import TypeVar

from modelkeep.address import Address
from modelkeep.names import ProjectName
from sqlalchemy.ext.asyncio import AsyncSession

from modelkeep_server.database.clock import Clock
from modelkeep_server.database.engine import Database
from modelkeep_server.database.requests import CLEAN_EVERY, RequestRepository
from modelkeep_server.metadata.domain.event import Happening
from modelkeep_server.metadata.domain.version import Version
from modelkeep_server.metadata.ports.transactions import Work
from modelkeep_server.metadata.store.alias import AliasRepository
from modelkeep_server.metadata.store.audit import AuditRepository
from modelkeep_server.metadata.store.collection import CollectionRepository
from modelkeep_server.metadata.store.draft import DraftRepository
from modelkeep_server.metadata.store.draft_entry import DraftEntryRepository
from modelkeep_server.metadata.store.event import EventRepository
from modelkeep_server.metadata.store.fence import FenceRepository
from modelkeep_server.metadata.store.key import KeyRepository
from modelkeep_server.metadata.store.manifest import ManifestRepository
from modelkeep_server.metadata.store.project import ProjectRepository, TeamRepository
from modelkeep_server.metadata.store.resolution import Directory, ResolutionRepository
from modelkeep_server.metadata.store.rule import RuleRepository
from modelkeep_server.metadata.store.signature import SignatureRepository
from modelkeep_server.metadata.store.tables import RequestRow
from modelkeep_server.metadata.store.use import UseRepository
from modelkeep_server.metadata.store.version import VersionRepository
from modelkeep_server.metadata.store.watch import WatchRepository
from modelkeep_server.runtime.calls import Call

T = TypeVar("T")


class SqlWork:
    """One transaction. Repositories are made when they are first asked for."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock
        self._now: datetime | None = None
        self._happenings: list[tuple[ProjectName, str, Happening]] = []

    async def now(self) -> datetime:
        """The present moment by the database's clock; the same one for the whole transaction once asked."""
        if self._now is None:
            self._now = await self._clock.now(self._session)
        return self._now

    def emit(self, project: ProjectName, actor: str, happening: Happening) -> None:
        """Note an event, to be written at the end of the transaction (SEM-58)."""
        self._happenings.append((project, actor, happening))

    @property
    def projects_with_events(self) -> set[ProjectName]:
        """The projects of the noted events."""
        return {project for project, _, _ in self._happenings}

    async def write_events(self) -> None:
        """Write the noted events. Nothing is written after them: they lock the rows of their projects."""
        await self._session.flush()
        await self.events.append(self._happenings)

    @cached_property
    def teams(self) -> TeamRepository:
        """All teams."""
        return TeamRepository(self._session, self._clock)

    @cached_property
    def projects(self) -> ProjectRepository:
        """All projects."""
        return ProjectRepository(self._session, self._clock)

    @cached_property
    def collections(self) -> CollectionRepository:
        """All collections."""
        return CollectionRepository(self._session, self._clock)

    @cached_property
    def drafts(self) -> DraftRepository:
        """All drafts."""
        return DraftRepository(self._session, self._clock)

    @cached_property
    def draft_entries(self) -> DraftEntryRepository:
        """The entries of drafts that are open."""
        return DraftEntryRepository(self._session, self._clock)

    @cached_property
    def manifests(self) -> ManifestRepository:
        """All manifests."""
        return ManifestRepository(self._session, self._clock)

    @cached_property
    def versions(self) -> VersionRepository:
        """All versions."""
        return VersionRepository(self._session, self._clock)

    @cached_property
    def audit(self) -> AuditRepository:
        """What a check of the whole database reads."""
        return AuditRepository(self._session, self._clock)

    @cached_property
    def fence(self) -> FenceRepository:
        """The fence against collection."""
        return FenceRepository(self._session, self._clock)

    @cached_property
    def keys(self) -> KeyRepository:
        """The API keys of all teams and services."""
        return KeyRepository(self._session, self._clock)

    @cached_property
    def aliases(self) -> AliasRepository:
        """All aliases, and where they pointed."""
        return AliasRepository(self._session, self._clock)

    @cached_property
    def rules(self) -> RuleRepository:
        """The rules of aliases."""
        return RuleRepository(self._session, self._clock)

    @cached_property
    def resolution(self) -> ResolutionRepository:
        """From addresses to versions."""
        return ResolutionRepository(self._session, self._clock)

    @cached_property
    def uses(self) -> UseRepository:
        """Which runs used which versions."""
        return UseRepository(self._session, self._clock)

    @cached_property
    def events(self) -> EventRepository:
        """The event logs."""
        return EventRepository(self._session, self._clock)

    @cached_property
    def signatures(self) -> SignatureRepository:
        """All signatures."""
        return SignatureRepository(self._session, self._clock)

    @cached_property
    def watches(self) -> WatchRepository:
        """What those who watch aliases want to know."""
        return WatchRepository(self._session, self._clock)

    @cached_property
    def requests(self) -> RequestRepository:
        """The answers to remember."""
        return RequestRepository(self._session, self._clock, RequestRow)


class SqlTransactions:
    """Transactions on one database, which every process of the service shares."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._directory = Directory(database)
        self._remembered = 0
        self.on_events: Callable[[Collection[ProjectName]], None] = lambda _projects: None
        """Called after each commit of this process that wrote events."""

    async def find(self, address: Address) -> Version | None:
        """The live version behind an address, or None; what many calls ask at once is asked of the database once."""
        return await self._directory.find(address)

    async def look(self, step: Callable[[Work], Awaitable[T]]) -> T:
        """As `read`, for a step of one statement: nothing begins and nothing ends around it."""
        return await self._database.look(lambda session: step(SqlWork(session, self._clock)))

    async def read(self, step: Callable[[Work], Awaitable[T]]) -> T:
        """Run `step` in a transaction that writes nothing."""
        return await self._database.read(lambda session: step(SqlWork(session, self._clock)))

    async def write(self, step: Callable[[Work], Awaitable[T]]) -> T:
        """Run `step` in one transaction and commit it, its events included."""

        async def run(work: SqlWork) -> T:
            result = await step(work)
            await work.write_events()
            return result

        return await self._commit(run)

    async def recall(self, call: Call, answer: type[T]) -> T | None:
        """The answer that a call got before; None when it got none yet. Raises RequestIdReused."""

        async def find(session: AsyncSession) -> T | None:
            requests = RequestRepository(session, self._clock, RequestRow)
            return await requests.recall(call, answer) if await requests.is_known(call) else None

        return await self._database.read(find)

    async def once(self, call: Call, answer: type[T], step: Callable[[Work], Awaitable[T]]) -> T:
        """As `write`, but a repeated call gets the first answer (SEM-14). Raises RequestIdReused.

        Of calls that come at once, one runs; the others wait for its end, then find its answer, or run if it failed.
        """
        self._remembered += 1
        clean = self._remembered % CLEAN_EVERY == 0

        async def run(work: SqlWork) -> T:
            if not await work.requests.claim(call):
                return await work.requests.recall(call, answer)
            result = await step(work)
            await work.requests.remember(call, answer, result)
            if clean:
                await work.requests.forget_expired()
            await work.write_events()
            return result

        return await self._commit(run)

    async def _commit(self, run: Callable[[SqlWork], Awaitable[T]]) -> T:
        """Commit what `run` does, and tell who waits for events."""
        works: list[SqlWork] = []

        async def attempt(session: AsyncSession) -> T:
            works.append(SqlWork(session, self._clock))
            return await run(works[-1])

        result = await self._database.write(attempt)
        if projects := works[-1].projects_with_events:
            self.on_events(projects)
        return result
