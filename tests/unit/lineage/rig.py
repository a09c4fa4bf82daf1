"""The use cases of runs and metrics on a real database, and metadata's projects in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self
from uuid import uuid4

from modelkeep.digest import Digest
from modelkeep.errors import ProjectNotFound
from modelkeep.names import ProjectName, RunName
from modelkeep_server.database.clock import Clock
from modelkeep_server.database.engine import Database
from modelkeep_server.database.paging import Page
from modelkeep_server.filtering.parser import parse_query
from modelkeep_server.filtering.searches import Searches
from modelkeep_server.lineage.app.best import BestApp
from modelkeep_server.lineage.app.metric import MetricApp
from modelkeep_server.lineage.app.run import RunApp
from modelkeep_server.lineage.convert.search import RUN_FIELDS
from modelkeep_server.lineage.domain.graph import Link
from modelkeep_server.lineage.domain.limits import Limits
from modelkeep_server.lineage.domain.metric import Measured, MetricSummary, Series
from modelkeep_server.lineage.domain.run import NewRun, Run
from modelkeep_server.lineage.store import tables
from modelkeep_server.lineage.store.unit_of_work import SqlTransactions
from modelkeep_server.runtime.callers import Access, Caller, Role
from modelkeep_server.runtime.calls import Call
from sqlalchemy import event, func, select

TEAM = "acme"
PROJECT = ProjectName(TEAM, "vision")
CALLER = Caller(f"teams/{TEAM}/apiKeys/k1", TEAM, Role.ADMIN, access=Access.WRITE)
OTHER = Caller("teams/rivals/apiKeys/k2", "rivals", Role.ADMIN, access=Access.WRITE)


class MemoryProjects:
    """The port `Projects` over a set."""

    def __init__(self) -> None:
        self.known: set[ProjectName] = set()

    async def require(self, name: ProjectName) -> None:
        if name not in self.known:
            raise ProjectNotFound(f"there is no project {name.project!r}")


class MemoryProductions:
    """The port `Productions` over a dictionary."""

    def __init__(self) -> None:
        self.links: dict[RunName, Sequence[Link]] = {}

    async def produced(self, caller: Caller, run: RunName, most: int) -> Sequence[Link]:
        return self.links.get(run, ())[:most]


class Rig:
    """Use cases on one database."""

    def __init__(self, database: Database, limits: Limits | None = None) -> None:
        self.database = database
        self.clock = Clock()
        self.projects = MemoryProjects()
        self.productions = MemoryProductions()
        self.use(limits or Limits())

    def use(self, limits: Limits) -> None:
        """Work with these limits from now on."""
        self.limits = limits
        self.transactions = SqlTransactions(self.database, self.clock, limits.heartbeat_timeout)
        searches = Searches(limits.max_searches)
        self.runs = RunApp(self.transactions, self.projects, limits, searches)
        self.metrics = MetricApp(self.transactions, limits)
        self.best = BestApp(self.transactions, self.projects, self.productions, searches)

    async def start(self) -> Self:
        """Make the tables."""
        async with self.database.engine.begin() as connection:
            await connection.run_sync(tables.metadata.create_all)
        return self

    async def begin(self, id_: str = "", project: ProjectName = PROJECT, **words: Any) -> RunName:
        """Begin a run."""
        name = RunName(project.team, project.project, id_ or f"r-{uuid4().hex[:8]}")
        new = NewRun(name, words.pop("display_name", name.run), CALLER.actor, **words)
        return (await self.runs.create_run(call("CreateRun"), new)).name

    async def log(self, run: RunName, *series: Series, defined: dict[str, MetricSummary] | None = None, **values: Any) -> None:
        """Log metrics, and values of the summary."""
        await self.metrics.log_metrics(call("LogMetrics"), run, Measured(series, defined or {}, values))

    async def get(self, run: RunName) -> Run:
        return await self.runs.get_run(CALLER, run)

    async def found(self, filter_: str = "", order: str = "", project: ProjectName = PROJECT, size: int = 50) -> list[str]:
        """The ids of the runs of all pages."""
        query, token, ids = parse_query(filter_, order, RUN_FIELDS), "", []
        while True:
            listing = await self.runs.list_runs(CALLER, project, Page(size, token), query)
            ids += [run.name.run for run in listing.items]
            if not (token := listing.next_token):
                return ids

    async def count(self, table: type[tables.Table]) -> int:
        """How many rows a table has."""
        return await self.database.read(lambda session: session.scalar(select(func.count()).select_from(table)))

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """All statements that the database gets meanwhile."""
        seen: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            seen.append(statement)

        event.listen(self.database.engine.sync_engine, "before_cursor_execute", note)
        try:
            yield seen
        finally:
            event.remove(self.database.engine.sync_engine, "before_cursor_execute", note)


async def made(url: str) -> None:
    """Make what a rig starts from in an empty database."""
    database = Database(url)
    await Rig(database).start()
    await database.close()


def call(method: str, caller: Caller = CALLER, request_id: str = "", body: bytes = b"") -> Call:
    """A call that writes."""
    return Call(caller, method, request_id or str(uuid4()), Digest.of(body).sha256)


def series(key: str, *values: float, first: int = 0, steps: Sequence[int] = ()) -> Series:
    """Points of a metric, one a second."""
    steps = steps or range(first, first + len(values))
    return Series(key, tuple(steps), values, tuple(step if abs(step) > 2**40 else 1_000_000 * step for step in steps))
