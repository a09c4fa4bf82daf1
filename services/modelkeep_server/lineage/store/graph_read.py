"""The graph, as it is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from modelkeep.names import ProjectName, RunName, VersionName
from sqlalchemy import BigInteger, func, literal, select, true, tuple_, type_coerce, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.engine import Database
from modelkeep_server.database.paging import Listing, Page, token
from modelkeep_server.lineage.domain.graph import Direction, Edge, EdgeKind, Fan, Label, Node, NodeKind
from modelkeep_server.lineage.domain.graph_delta import run_key
from modelkeep_server.lineage.domain.graph_walk import Found, Step
from modelkeep_server.lineage.ports.graph import Beside
from modelkeep_server.lineage.store import graph_step
from modelkeep_server.lineage.store.graph_sql import EDGE, among, paired, side
from modelkeep_server.lineage.store.tables import CursorRow, FanRow, GraphAliasRow, LabelRow, NodeRow

T = TypeVar("T")

LABELS_APART: Final = 64
"""Of up to so many labels the newest neighbours are found apart; of more, all those neighbours are read."""
FANS_AT_ONCE: Final = 50
"""How many fans one statement counts."""
MAX_LABELS: Final = 10_000
"""Most labels of one type that one list looks at."""

_LABEL: Final[tuple[Any, ...]] = (
    col(LabelRow.id).label("label_id"),
    col(LabelRow.kind).label("label_kind"),
    col(LabelRow.team).label("label_team"),
    col(LabelRow.project).label("label_project"),
    col(LabelRow.collection).label("label_collection"),
    col(LabelRow.type).label("label_type"),
)
_NODE: Final[tuple[Any, ...]] = (
    col(NodeRow.id),
    col(NodeRow.key),
    col(NodeRow.number),
    col(NodeRow.run_id),
    col(NodeRow.display_name),
    col(NodeRow.digest),
    col(NodeRow.create_time),
    col(NodeRow.delete_time),
    col(NodeRow.is_external),
)
_NODES: Final = select(*_NODE, *_LABEL).join_from(NodeRow, LabelRow, col(NodeRow.label_id) == col(LabelRow.id))
_EDGE: Final = (
    EDGE.c.source_id,
    EDGE.c.target_id,
    EDGE.c.kind.label("edge_kind"),
    EDGE.c.edge_time,
    EDGE.c.alias_text,
    EDGE.c.is_deduplicated,
    EDGE.c.source_label_id,
    EDGE.c.target_label_id,
)


class SqlGraph:
    """The graph in the service's database. Every call is a statement or two of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def step(self, step: Step) -> Found:
        """The neighbours of some nodes."""
        return await self._look(lambda session: graph_step.step(session, step))

    async def find(self, name: RunName | VersionName) -> Node | None:
        """The node of a run or a version, by its present name."""
        if isinstance(name, RunName):
            statement = _NODES.where(col(NodeRow.key) == run_key(name))
        else:
            statement = _NODES.where(
                col(LabelRow.team) == name.team,
                col(LabelRow.project) == name.project,
                col(LabelRow.collection) == name.collection,
                col(LabelRow.kind) == NodeKind.VERSION.value,
                col(NodeRow.number) == name.number,
            ).order_by(col(LabelRow.name_time).desc(), col(NodeRow.id).desc())
        rows = await self._rows(statement.limit(1))
        return _node(rows[0], {}) if rows else None

    async def latest(self) -> int:
        """The time of the newest event that was read, in microseconds by the clock of metadata."""
        newest = select(func.coalesce(func.max(type_coerce(col(CursorRow.event_time), BigInteger)), 0))
        return int((await self._rows(newest))[0][0])

    async def nodes(self, ids: Collection[int]) -> Mapping[int, Node]:
        """Nodes by their ids."""

        async def read(session: AsyncSession) -> Mapping[int, Node]:
            labels: dict[int, Label] = {}
            rows = await session.execute(_NODES.where(among(session, col(NodeRow.id), ids)))
            return {row.id: _node(row, labels) for row in rows}

        return await self._look(read) if ids else {}

    async def labels(self, ids: Collection[int]) -> Mapping[int, Label]:
        """Labels by their ids."""

        async def read(session: AsyncSession) -> Mapping[int, Label]:
            rows = await session.execute(select(*_LABEL).where(among(session, col(LabelRow.id), ids)))
            return {row.label_id: _label(row) for row in rows}

        return await self._look(read) if ids else {}

    async def edges(self, ends: Collection[tuple[int, int]]) -> Mapping[tuple[int, int], Edge]:
        """Edges by source and target."""

        async def read(session: AsyncSession) -> Mapping[tuple[int, int], Edge]:
            pair = paired(session, ends)
            is_one = (EDGE.c.source_id == pair.c.a) & (EDGE.c.target_id == pair.c.b)
            rows = await session.execute(select(*_EDGE).join_from(pair, EDGE, is_one))
            return {(row.source_id, row.target_id): _edge(row) for row in rows}

        return await self._look(read) if ends else {}

    async def created(self, ids: Collection[int], since: datetime | None, until: datetime | None) -> set[int]:
        """Those of the nodes that came into being from `since` on and before `until`."""

        async def read(session: AsyncSession) -> set[int]:
            statement = select(col(NodeRow.id)).where(among(session, col(NodeRow.id), ids))
            if since is not None:
                statement = statement.where(col(NodeRow.create_time) >= since)
            if until is not None:
                statement = statement.where(col(NodeRow.create_time) < until)
            return set(await session.scalars(statement))

        return await self._look(read) if ids else set()

    async def degrees(self, fans: Collection[Fan]) -> Mapping[Fan, int]:
        """How many nodes fans have now."""

        async def read(session: AsyncSession) -> Mapping[Fan, int]:
            key = (col(FanRow.node_id), col(FanRow.is_downstream), col(FanRow.label_id))
            wanted = [(fan.node_id, fan.direction is Direction.DOWNSTREAM, fan.label_id) for fan in fans]
            rows = await session.execute(select(*key, col(FanRow.degree)).where(tuple_(*key).in_(wanted)))
            return {_fan(node, label, is_downstream=down): degree for node, down, label, degree in rows}

        return await self._look(read) if fans else {}

    async def counts(self, fans: Collection[Fan], as_of: int, most: int) -> Mapping[Fan, int]:
        """How many nodes fans had at a time; `most` where there were more."""
        found: dict[Fan, int] = {}
        every = list(fans)
        for start in range(0, len(every), FANS_AT_ONCE):
            some = every[start : start + FANS_AT_ONCE]
            parts = [_count(fan, as_of, most).label(f"n{i}") for i, fan in enumerate(some)]
            found |= zip(some, (await self._rows(select(*parts)))[0], strict=True)
        return found

    async def fans(self, node_id: int, direction: Direction, types: Collection[str]) -> Sequence[Label]:
        """The labels of the neighbours of a node that have one of these types."""
        statement = (
            select(*_LABEL)
            .join_from(FanRow, LabelRow, col(FanRow.label_id) == col(LabelRow.id))
            .where(
                col(FanRow.node_id) == node_id,
                col(FanRow.is_downstream) == (direction is Direction.DOWNSTREAM),
                col(LabelRow.type).in_(sorted(types)),
            )
        )
        return [_label(row) for row in await self._rows(statement.limit(MAX_LABELS))]

    async def beside(self, which: Beside, page: Page, *query: object) -> Listing[tuple[Node, Edge]]:
        """Neighbours of a node, newest first. `query` binds the token of the page."""
        position = page.position(*query, of=(int, int))

        async def read(session: AsyncSession) -> list[Any]:
            some = _beside(session, which, position, page.size + 1).subquery()
            s = side(which.direction)
            statement = (
                select(*_EDGE, *_NODE, *_LABEL)
                .join_from(some, EDGE, (some.c[0] == s.far) & (s.near == which.node_id))
                .join(NodeRow, col(NodeRow.id) == s.far)
                .join(LabelRow, col(NodeRow.label_id) == col(LabelRow.id))
                .order_by(s.time.desc(), s.far.desc())
            )
            return list((await session.execute(statement.add_columns(s.time.label("micros")))).all())

        rows = await self._look(read)
        links = tuple((_node(row, {}), _edge(row)) for row in rows[: page.size])
        following = token([rows[page.size - 1].micros, links[-1][0].id], *query) if len(rows) > page.size else ""
        return Listing(links, following)

    async def aliases(self, labels: Collection[int], most: int) -> Sequence[tuple[int, int, str]]:
        """At most so many aliases of collections, as label, node and alias."""

        async def read(session: AsyncSession) -> Sequence[tuple[int, int, str]]:
            alias = col(GraphAliasRow.alias)
            target = (col(NodeRow.label_id) == col(GraphAliasRow.label_id)) & (col(NodeRow.number) == col(GraphAliasRow.number))
            statement = select(col(GraphAliasRow.label_id), col(NodeRow.id), alias).join_from(GraphAliasRow, NodeRow, target)
            statement = statement.where(among(session, col(GraphAliasRow.label_id), labels))
            rows = await session.execute(statement.order_by(col(GraphAliasRow.label_id), alias).limit(most))
            return [(label, node, word) for label, node, word in rows]

        return await self._look(read) if labels else []

    async def cursors(self, projects: Collection[ProjectName]) -> Mapping[ProjectName, int]:
        """How far the logs of projects were read."""
        key = (col(CursorRow.team), col(CursorRow.project))
        wanted = [(project.team, project.project) for project in projects]
        rows = await self._rows(select(*key, col(CursorRow.sequence)).where(tuple_(*key).in_(wanted))) if wanted else []
        return {ProjectName(team, project): sequence for team, project, sequence in rows}

    async def _look(self, read: Callable[[AsyncSession], Awaitable[T]]) -> T:
        return await self._database.look(read)

    async def _rows(self, statement: Any) -> Sequence[Any]:
        async def read(session: AsyncSession) -> Sequence[Any]:
            return list((await session.execute(statement)).all())

        return await self._look(read)


def _beside(session: AsyncSession, which: Beside, position: list[int] | None, most: int) -> Any:
    """The far nodes of the newest edges of a node after a position."""
    s = side(which.direction)
    edges = select(s.far.label("far"), s.time.label("micros")).where(s.near == which.node_id, s.time <= which.as_of)
    if position:
        edges = edges.where(tuple_(s.time, s.far) < tuple_(*map(literal, position)))

    def newest(statement: Any, micros: Any, far: Any) -> Any:
        return statement.order_by(micros.desc(), far.desc()).limit(most)

    if which.labels is None:
        return newest(edges, s.time, s.far)
    if len(which.labels) > LABELS_APART:
        return newest(edges.where(among(session, s.label, which.labels)), s.time, s.far)
    if not which.labels:
        return edges.where(~true())
    apart = [select(newest(edges.where(s.label == label), s.time, s.far).subquery()) for label in which.labels]
    together = union_all(*apart).subquery()
    return newest(select(together), together.c.micros, together.c.far)


def _count(fan: Fan, as_of: int, most: int) -> Any:
    s = side(fan.direction)
    some = select(literal(1).label("one")).where(s.near == fan.node_id, s.label == fan.label_id, s.time <= as_of)
    return select(func.count()).select_from(some.limit(most).subquery()).scalar_subquery()


def _label(row: Any) -> Label:
    return Label(
        row.label_id, NodeKind(row.label_kind), row.label_team, row.label_project, row.label_collection, row.label_type
    )


def _node(row: Any, labels: dict[int, Label]) -> Node:
    label = labels.get(row.label_id)
    if label is None:
        label = labels[row.label_id] = _label(row)
    uid = row.key if label.kind is NodeKind.VERSION else ""
    times = (row.create_time, row.delete_time)
    return Node(row.id, label, row.number, row.run_id, row.display_name, uid, row.digest, *times, row.is_external)


def _edge(row: Any) -> Edge:
    words = (EdgeKind(row.edge_kind), row.edge_time, row.alias_text, row.is_deduplicated)
    return Edge(row.source_id, row.target_id, *words, row.source_label_id, row.target_label_id)


def _fan(node_id: int, label_id: int, *, is_downstream: bool) -> Fan:
    return Fan(node_id, Direction.DOWNSTREAM if is_downstream else Direction.UPSTREAM, label_id)
