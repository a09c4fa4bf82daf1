"""The metadata service without its wire: its use cases on a real database, and chunks in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self
from uuid import uuid4

from modelkeep.digest import Digest
from modelkeep.manifest import Entry, Segment
from modelkeep.names import CollectionName, DraftName, ProjectName, TeamName, VersionName
from modelkeep_server.database.clock import Clock
from modelkeep_server.database.engine import Database, Query
from modelkeep_server.filtering.searches import Searches
from modelkeep_server.metadata.app.alias import AliasApp
from modelkeep_server.metadata.app.collection import CollectionApp
from modelkeep_server.metadata.app.commit import CommitApp
from modelkeep_server.metadata.app.copying import CopyApp
from modelkeep_server.metadata.app.draft import DraftApp
from modelkeep_server.metadata.app.entry import EntryApp
from modelkeep_server.metadata.app.project import ProjectApp
from modelkeep_server.metadata.app.remove import RemovalApp
from modelkeep_server.metadata.app.rule import RuleApp
from modelkeep_server.metadata.app.version import VersionApp
from modelkeep_server.metadata.domain.alias import AliasMove
from modelkeep_server.metadata.domain.draft import Commit, Committed
from modelkeep_server.metadata.domain.entry import EntryPart
from modelkeep_server.metadata.domain.event import Event
from modelkeep_server.metadata.domain.limits import Limits
from modelkeep_server.metadata.store import tables
from modelkeep_server.metadata.store.unit_of_work import SqlTransactions
from modelkeep_server.runtime.callers import Access, Caller, Role
from modelkeep_server.runtime.calls import Call
from sqlalchemy import event, func, select

TEAM = "acme"
PROJECT = ProjectName(TEAM, "vision")
DIGITS = CollectionName(TEAM, "vision", "digits")
CALLER = Caller(f"teams/{TEAM}/apiKeys/k1", TEAM, Role.ADMIN, access=Access.WRITE)
OTHER = Caller("teams/rivals/apiKeys/k2", "rivals", Role.ADMIN, access=Access.WRITE)


class MemoryChunks:
    """The port `Chunks` over a dictionary: which team holds which chunks, and how large they are."""

    def __init__(self) -> None:
        self.held: dict[str, dict[Digest, int]] = {}
        self.epochs: list[int] = []
        """The epoch of each confirmation so far."""
        self.batches: list[int] = []
        """The size of each batch so far."""
        self.adopted: list[Digest] = []

    def put(self, data: bytes, team: str = TEAM) -> Digest:
        digest = Digest.of(data)
        self.held.setdefault(team, {})[digest] = len(data)
        return digest

    async def confirm(self, team: str, epoch: int, batches: AsyncIterator[Sequence[Digest]]) -> AsyncGenerator[Sequence[int]]:
        self.epochs.append(epoch)
        async for batch in batches:
            self.batches.append(len(batch))
            yield [self.held.get(team, {}).get(digest, -1) for digest in batch]

    async def adopt(
        self, team: str, source: str, epoch: int, batches: AsyncIterator[Sequence[Digest]]
    ) -> AsyncGenerator[Sequence[int]]:
        self.epochs.append(epoch)
        theirs, ours = self.held.get(source, {}), self.held.setdefault(team, {})
        async for batch in batches:
            self.adopted += batch
            ours.update((digest, theirs[digest]) for digest in batch if digest in theirs)
            yield [theirs.get(digest, -1) for digest in batch]


class Rig:
    """Use cases on one database."""

    def __init__(self, database: Database, limits: Limits | None = None) -> None:
        self.database = database
        self.clock = Clock()
        self.transactions = SqlTransactions(database, self.clock)
        self.chunks = MemoryChunks()
        self.use(limits or Limits())

    def use(self, limits: Limits) -> None:
        """Work with these limits from now on."""
        self.limits = limits
        searches = Searches(limits.max_searches)
        self.projects = ProjectApp(self.transactions)
        self.collections = CollectionApp(self.transactions, searches)
        self.drafts = DraftApp(self.transactions, limits)
        self.removals = RemovalApp(self.transactions, limits)
        self.copies = CopyApp(self.transactions, self.chunks, limits)
        self.commits = CommitApp(self.transactions, self.chunks, limits)
        self.versions = VersionApp(self.transactions, limits, searches)
        self.entries = EntryApp(self.transactions)
        self.aliases = AliasApp(self.transactions, limits.max_aliases)
        self.rules = RuleApp(self.transactions)

    async def start(self) -> Self:
        """Make the tables, and the team."""
        async with self.database.engine.begin() as connection:
            await connection.run_sync(tables.metadata.create_all)
        await self.transactions.write(lambda work: work.teams.ensure(TeamName(TEAM)))
        return self

    def put(self, data: bytes) -> Digest:
        """Store a chunk."""
        return self.chunks.put(data)

    async def draft(
        self, entries: Sequence[Entry] = (), collection: CollectionName = DIGITS, type_: str = "model"
    ) -> DraftName:
        """An open draft that has some entries."""
        draft = await self.drafts.create_draft(call(), collection.parent, collection, type_)
        if entries:
            await self.add(draft.name, entries)
        return draft.name

    async def add(self, draft: DraftName, entries: Sequence[Entry]) -> int:
        """Add entries in messages of 1,000."""

        async def messages() -> AsyncIterator[Sequence[EntryPart]]:
            for start in range(0, len(entries), 1000):
                yield [part(entry) for entry in entries[start : start + 1000]]

        return await self.drafts.add_entries(CALLER, draft, messages())

    async def commit(self, draft: DraftName, **commit: Any) -> Committed:
        """Commit a draft."""
        return await self.commits.commit_draft(CALLER, draft, Commit(**commit))

    async def log(
        self, files: Mapping[str, bytes] | None = None, collection: CollectionName = DIGITS, type_: str = "model", **commit: Any
    ) -> Committed:
        """Log files, each as one whole chunk."""
        files = {"weights": uuid4().bytes} if files is None else files
        entries = [self.file(path, data) for path, data in files.items()]
        return await self.commit(await self.draft(entries, collection, type_), **commit)

    def file(self, path: str, data: bytes, *, executable: bool = False) -> Entry:
        """The entry of a file that is one stored chunk, or empty."""
        segments = (Segment(self.put(data), 0, len(data)),) if data else ()
        return Entry(path, Digest.of(data), len(data), executable, segments)

    def cut_file(self, path: str, *chunks: bytes) -> Entry:
        """The entry of a file that is several stored chunks, so that its digest is a claim."""
        whole = b"".join(chunks)
        segments = tuple(Segment(self.put(data), 0, len(data)) for data in chunks)
        return Entry(path, Digest.of(whole), len(whole), False, segments)

    async def move(self, alias: str, version: VersionName | None) -> None:
        await self.aliases.move_aliases(call("MoveAliases"), DIGITS, [AliasMove(alias, version)], "")

    async def events(self, project: ProjectName = PROJECT) -> tuple[Event, ...]:
        """All events of a project."""
        events, _ = await self.transactions.read(lambda work: work.events.after(project, 0, 10_000))
        return events

    async def happenings(self) -> list[str]:
        """The kinds of all events of the project."""
        return [type(event.happening).__name__ for event in await self.events()]

    async def advance(self) -> int:
        """Begin a collection."""
        return await self.transactions.write(lambda work: work.fence.advance())

    async def count(self, table: type[tables.Table]) -> int:
        """How many rows a table has."""
        return await self.database.read(lambda session: session.scalar(select(func.count()).select_from(table)))

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """All statements that the database gets meanwhile."""
        seen: list[str] = []

        def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
            seen.append(statement)

        fetch = self.database._fetch

        async def fetch_noted(query: Query, values: Mapping[str, Any]) -> Sequence[Any]:
            seen.append(query.sql)
            return await fetch(query, values)

        event.listen(self.database.engine.sync_engine, "before_cursor_execute", note)
        self.database._fetch = fetch_noted  # type: ignore[method-assign]  # one statement each, past sqlalchemy
        try:
            yield seen
        finally:
            self.database._fetch = fetch  # type: ignore[method-assign]
            event.remove(self.database.engine.sync_engine, "before_cursor_execute", note)


async def made(url: str) -> None:
    """Make what a rig starts from in an empty database."""
    database = Database(url)
    await Rig(database).start()
    await database.close()


def call(method: str = "CreateDraft", caller: Caller = CALLER, request_id: str = "", body: bytes = b"") -> Call:
    """A call that writes."""
    return Call(caller, method, request_id or str(uuid4()), Digest.of(body).sha256)


def part(entry: Entry, segments: tuple[Segment, ...] | None = None, *, continued: bool = False) -> EntryPart:
    """An entry in a stream."""
    return EntryPart(entry.path, replace(entry, segments=()), entry.segments if segments is None else segments, continued)


def more(entry: Entry, segments: tuple[Segment, ...], *, continued: bool = False) -> EntryPart:
    """Further segments of an entry in a stream."""
    return EntryPart(entry.path, None, segments, continued)


async def stream(*messages: Sequence[EntryPart]) -> AsyncIterator[Sequence[EntryPart]]:
    """A stream of messages."""
    for message in messages:
        yield message
