"""The graph without its wire: its use cases on a real database, and the event logs of metadata in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from modelkeep.errors import ServiceUnavailable
from modelkeep.names import AliasName, CollectionName, ProjectName, RunName, VersionName
from modelkeep_server.database.clock import Clock
from modelkeep_server.database.engine import Database
from modelkeep_server.lineage.app.graph import GraphApp
from modelkeep_server.lineage.app.graph_base import Questions
from modelkeep_server.lineage.app.graph_fresh import Freshness
from modelkeep_server.lineage.app.graph_tail import Tail
from modelkeep_server.lineage.domain.graph import Direction, Node, Part
from modelkeep_server.lineage.domain.graph_ask import LineageAsk, NeighborsAsk, PathsAsk
from modelkeep_server.lineage.domain.graph_event import (
    AliasSet,
    CollectionSeen,
    Fact,
    GraphEvent,
    RunSeen,
    VersionMade,
    VersionState,
    VersionTaken,
)
from modelkeep_server.lineage.domain.limits import Limits
from modelkeep_server.lineage.store import tables
from modelkeep_server.lineage.store.graph_log import SqlGraphLog
from modelkeep_server.lineage.store.graph_read import SqlGraph
from modelkeep_server.runtime.callers import Access, Caller, Role
from sqlalchemy import event, select, text

TEAM = "acme"
PROJECT = ProjectName(TEAM, "vision")
CALLER = Caller(f"teams/{TEAM}/apiKeys/k1", TEAM, Role.READ, access=Access.READ)
RIVAL = Caller("teams/rivals/apiKeys/k2", "rivals", Role.READ, access=Access.READ)
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
UP, DOWN = Direction.UPSTREAM, Direction.DOWNSTREAM


def run(name: str, project: ProjectName = PROJECT) -> RunName:
    return RunName(project.team, project.project, name)


def version(short: str, project: ProjectName = PROJECT) -> VersionName:
    """`digits:v3`."""
    collection, number = short.split(":v")
    return CollectionName(project.team, project.project, collection).version(int(number))


def uid(name: VersionName) -> str:
    """The uid of a version that was made under this name."""
    return f"u-{name.team}-{name.project}-{name.short}"


class MemoryLogs:
    """The port `EventLogs` over lists. Each event is a second later than the one before, in whatever project."""

    def __init__(self) -> None:
        self.logs: dict[ProjectName, list[GraphEvent]] = defaultdict(list)
        self.time = BEGIN
        self.is_away = False
        self.asked = 0

    def add(self, fact: Fact | None, project: ProjectName = PROJECT) -> datetime:
        """Log what happened; when it did."""
        self.time += timedelta(seconds=1)
        log = self.logs[project]
        log.append(GraphEvent(len(log) + 1, self.time, fact))
        return self.time

    async def heads(self, token: str = "") -> tuple[Mapping[ProjectName, int], str]:
        self._answer()
        return {project: len(log) for project, log in self.logs.items()}, ""

    async def head(self, project: ProjectName) -> int:
        self._answer()
        return len(self.logs[project])

    async def events(self, project: ProjectName, after: int, size: int) -> Sequence[GraphEvent]:
        self._answer()
        return self.logs[project][after : after + size]

    def _answer(self) -> None:
        self.asked += 1
        if self.is_away:
            raise ServiceUnavailable("metadata is away")


class GraphRig:
    """Use cases on one database. What is logged is read when it is asked for."""

    def __init__(
        self,
        database: Database,
        logs: MemoryLogs | None = None,
        limits: Limits | None = None,
        *,
        fresh_seconds: float = 0,
    ) -> None:
        self.database = database
        self.logs = logs or MemoryLogs()
        self.graph = SqlGraph(database)
        self.log = SqlGraphLog(database, Clock())
        self.tail = Tail(self.logs, self.log, tick_seconds=60)
        self.app = GraphApp(
            Questions(self.graph, Freshness(self.logs, self.graph, self.tail, fresh_seconds), limits or Limits())
        )

    async def start(self) -> Self:
        async with self.database.engine.begin() as connection:
            await connection.run_sync(tables.metadata.create_all)
        return self

    async def read(self) -> None:
        """Read all logs to their ends."""
        while await self.tail.round():
            pass
        assert await self.log.cursors() == {project: len(log) for project, log in self.logs.logs.items()}

    def made(
        self, short: str, by: str | RunName = "", *, project: ProjectName = PROJECT, type_: str = "model", **more: Any
    ) -> VersionName:
        """A run made a version, or somebody did without one."""
        name = version(short, project)
        producer = run(by, project) if isinstance(by, str) and by else by or None
        words = {"uid": uid(name), "collection_uid": f"c-{name.project}-{name.collection}", "digest": "sha256:00", **more}
        self.logs.add(VersionMade(name, type=type_, run=RunSeen(producer) if producer else None, **words), project)
        return name

    def used(self, short: str | VersionName, by: str | RunName, words: str = "", uid_: str = "") -> None:
        """A run used a version."""
        name = version(short) if isinstance(short, str) else short
        user = run(by) if isinstance(by, str) else by
        taken = VersionTaken(name, uid_ or uid(name), RunSeen(user, f"the {user.run}"), words)
        self.logs.add(taken, ProjectName(name.team, name.project))

    def deleted(self, short: str, *, is_deleted: bool = True) -> datetime:
        name = version(short)
        return self.logs.add(VersionState(name, uid(name), is_deleted=is_deleted))

    def pointed(self, alias: str, number: int | None, seq: int, collection: str = "model") -> None:
        """An alias was moved."""
        name = AliasName(TEAM, PROJECT.project, collection, alias)
        self.logs.add(AliasSet(name, f"c-vision-{collection}", seq, number))

    def renamed(self, old: str, new: CollectionName, uid_: str | None = None, project: ProjectName = PROJECT) -> None:
        """A collection got another name."""
        before = CollectionName(project.team, project.project, old)
        seen = CollectionSeen(f"c-{project.project}-{old}" if uid_ is None else uid_, new, before)
        for where in {project, new.parent}:
            self.logs.add(seen, where)

    async def lineage(self, name: Any, *directions: Direction, caller: Caller = CALLER, **more: Any) -> Part:
        """A whole answer as one part, of everything that the continuations give."""
        whole = Part()
        ask = LineageAsk(name, directions or (UP, DOWN), **more)
        while True:
            last = Part()
            async for part in self.app.stream_lineage(caller, ask):
                whole.nodes += part.nodes
                whole.edges += part.edges
                whole.groups += part.groups
                last = part
            whole.is_lagging = last.is_lagging
            if not last.truncation or not last.truncation.continuation:
                whole.truncation = last.truncation
                return whole
            ask = LineageAsk(name, directions or (UP, DOWN), **more, continuation=last.truncation.continuation)

    async def one_answer(self, ask: LineageAsk | PathsAsk, caller: Caller = CALLER) -> Part:
        """One answer as one part."""
        whole = Part()
        stream = self.app.stream_lineage if isinstance(ask, LineageAsk) else self.app.stream_paths
        async for part in stream(caller, ask):  # type: ignore[operator]
            whole.nodes += part.nodes
            whole.edges += part.edges
            whole.groups += part.groups
            whole.truncation, whole.is_lagging = part.truncation, part.is_lagging
        return whole

    async def neighbors(self, name: Any, direction: Direction, **more: Any) -> list[str]:
        """The names of all neighbours of a node, newest first."""
        from modelkeep_server.database.paging import Page

        found, _ = await self.app.list_neighbors(CALLER, NeighborsAsk(name, direction, **more), Page(1000))
        return [short(link.node.node) for link in found.items]

    @contextmanager
    def counted(self) -> Iterator[list[str]]:
        """The statements of a block."""
        said: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            said.append(statement)

        event.listen(self.database.engine.sync_engine, "before_cursor_execute", note)
        yield said
        event.remove(self.database.engine.sync_engine, "before_cursor_execute", note)

    async def dump(self) -> dict[str, list[Any]]:
        """All that the graph says, by names."""
        nodes = tables.NodeRow.__table__
        labels = tables.LabelRow.__table__
        edges = tables.EdgeRow.__table__
        fans = tables.FanRow.__table__
        async with self.database.engine.connect() as connection:
            rows = (await connection.execute(select(nodes))).mappings().all()
            names = {row["id"]: row["key"] for row in rows}
            label_rows = (await connection.execute(select(labels))).mappings().all()
            label_names = {row["id"]: row["key"] for row in label_rows}
            said = {"nodes": [_named(row, label_id=label_names) for row in rows]}
            used = {row["label_id"] for row in rows}  # one that stood in for a while may be left without nodes
            said["labels"] = [_named(row) for row in label_rows if row["id"] in used]
            mapping = {"source_id": names, "target_id": names, "source_label_id": label_names, "target_label_id": label_names}
            edge_rows = (await connection.execute(select(edges))).mappings().all()
            said["edges"] = [_named({**row, "source_rank": 0, "target_rank": 0}, **mapping) for row in edge_rows]
            fan_rows = (await connection.execute(select(fans))).mappings().all()
            said["fans"] = [_named(row, node_id=names, label_id=label_names) for row in fan_rows]
            aliases = (await connection.execute(select(tables.GraphAliasRow.__table__))).mappings().all()
            said["aliases"] = [_named(row, label_id=label_names) for row in aliases]
            assert (await connection.execute(text("SELECT count(*) FROM graph_unsettled"))).scalar_one() == 0
        _check_ranks(edge_rows, fan_rows)
        return {what: sorted(map(repr, items)) for what, items in said.items()}


def _named(row: Mapping[str, Any], **names: Mapping[int, str]) -> dict[str, Any]:
    return {key: names[key][value] if key in names else value for key, value in row.items() if key != "id"}


def _check_ranks(edges: Sequence[Mapping[str, Any]], fans: Sequence[Mapping[str, Any]]) -> None:
    """Edges are numbered without a gap in each fan, and fans are counted right."""
    ranks: dict[tuple[int, bool, int], list[int]] = defaultdict(list)
    for edge in edges:
        ranks[edge["source_id"], True, edge["target_label_id"]].append(edge["source_rank"])
        ranks[edge["target_id"], False, edge["source_label_id"]].append(edge["target_rank"])
    assert {fan: sorted(found) for fan, found in ranks.items()} == {
        (fan["node_id"], bool(fan["is_downstream"]), fan["label_id"]): [*range(1, fan["degree"] + 1)] for fan in fans
    }


def layered(graph: GraphRig, depth: int = 6, width: int = 3) -> None:
    """Generations of runs, each of which uses all versions of the generation before."""
    for level in range(depth):
        for i in range(width):
            for above in range(width if level else 0):
                graph.used(f"gen{level - 1}-{above}:v0", f"run{level}-{i}")
            graph.made(f"gen{level}-{i}:v0", f"run{level}-{i}")


def short(node: Node) -> str:
    """`digits:v3`, or the id of a run."""
    return node.run_id or node.shown_name


def names(part: Part) -> list[str]:
    """What an answer shows, in its order."""
    return ["?" if shown.is_hidden else short(shown.node) for shown in part.nodes]


def edges(part: Part) -> set[tuple[str, str]]:
    """The edges of an answer, by names."""
    known = {shown.node.id: "?" if shown.is_hidden else short(shown.node) for shown in part.nodes}
    return {(known[edge.source_id], known[edge.target_id]) for edge in part.edges}


async def opened(url: str) -> AsyncIterator[GraphRig]:
    """A rig on a fresh database."""
    database = Database(url)
    yield await GraphRig(database).start()
    await database.close()
