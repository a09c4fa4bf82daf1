"""The graph, as it is read in lists: neighbours, groups, aliases."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from enum import Enum, auto
from functools import cache
from typing import Any, Final

from modelkeep.names import ProjectName
from sqlalchemy import BigInteger, bindparam, func, literal, select, true, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.engine import Database, Query
from modelkeep_server.database.paging import Listing, Page, token
from modelkeep_server.lineage.domain.graph import Direction, Edge, Fan, Label, Node
from modelkeep_server.lineage.ports.graph import Beside
from modelkeep_server.lineage.store.graph_rows import EDGES, LABEL, NODE, edge_of, label_of, node_of
from modelkeep_server.lineage.store.graph_sql import EDGE, LAST, Ids, Side, side
from modelkeep_server.lineage.store.tables import CursorRow, FanRow, GraphAliasRow, LabelRow, NodeRow

LABELS_APART: Final = 64
"""Of up to so many labels the newest neighbours are found apart; of more, all those neighbours are read."""
FANS_AT_ONCE: Final = 50
"""How many fans one statement counts."""
MAX_LABELS: Final = 10_000
"""Most labels of one type that one list looks at."""


class GraphLists:
    """What is asked of the graph less often than steps and nodes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ids = Ids(is_sqlite=database.is_sqlite)
        self._newest = cache(self._newest_of)

    async def created(self, ids: Collection[int], since: datetime | None, until: datetime | None) -> set[int]:
        """Those of the nodes that came into being from `since` on and before `until`."""

        async def read(session: AsyncSession) -> set[int]:
            statement = select(col(NodeRow.id)).where(self._ids.within(col(NodeRow.id), ids))
            if since is not None:
                statement = statement.where(col(NodeRow.create_time) >= since)
            if until is not None:
                statement = statement.where(col(NodeRow.create_time) < until)
            return set(await session.scalars(statement))

        return await self._database.look(read) if ids else set()

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
            select(*LABEL)
            .join_from(FanRow, LabelRow, col(FanRow.label_id) == col(LabelRow.id))
            .where(
                col(FanRow.node_id) == node_id,
                col(FanRow.is_downstream) == (direction is Direction.DOWNSTREAM),
                col(LabelRow.type).in_(sorted(types)),
            )
        )
        return [label_of(row) for row in await self._rows(statement.limit(MAX_LABELS))]

    async def beside(self, which: Beside, page: Page, *query: object) -> Listing[tuple[Node, Edge]]:
        """Neighbours of a node, newest first. `query` binds the token of the page."""
        if which.labels is not None and not which.labels:
            return Listing((), "")
        time, far = page.position(*query, of=(int, int)) or (LAST, LAST)
        values = {"near": which.node_id, "as_of": which.as_of, "time": time, "far": far, "most": page.size + 1}
        if which.labels is not None:
            values["labels"] = self._ids.value(which.labels)
        rows = await self._database.fetch(self._newest(which.direction, _how(which.labels)), values)
        links = tuple((node_of(row, {}), edge_of(row)) for row in rows[: page.size])
        following = token([rows[page.size - 1].edge_micros, links[-1][0].id], *query) if len(rows) > page.size else ""
        return Listing(links, following)

    def _newest_of(self, direction: Direction, how: _How) -> Query:
        s = side(direction)
        some = _newest(self._ids, s, how).subquery()
        statement = (
            select(*EDGES, *NODE, *LABEL)
            .join_from(some, EDGE, (some.c.far == s.far) & (s.near == bindparam("near")))
            .join(NodeRow, col(NodeRow.id) == s.far)
            .join(LabelRow, col(NodeRow.label_id) == col(LabelRow.id))
            .order_by(s.time.desc(), s.far.desc())
        )
        return Query(self._database, statement)

    async def aliases(self, labels: Collection[int], most: int) -> Sequence[tuple[int, int, str]]:
        """At most so many aliases of collections, as label, node and alias."""

        async def read(session: AsyncSession) -> Sequence[tuple[int, int, str]]:
            alias = col(GraphAliasRow.alias)
            target = (col(NodeRow.label_id) == col(GraphAliasRow.label_id)) & (col(NodeRow.number) == col(GraphAliasRow.number))
            statement = select(col(GraphAliasRow.label_id), col(NodeRow.id), alias).join_from(GraphAliasRow, NodeRow, target)
            statement = statement.where(self._ids.within(col(GraphAliasRow.label_id), labels))
            rows = await session.execute(statement.order_by(col(GraphAliasRow.label_id), alias).limit(most))
            return [(label, node, word) for label, node, word in rows]

        return await self._database.look(read) if labels else []

    async def cursors(self, projects: Collection[ProjectName]) -> Mapping[ProjectName, int]:
        """How far the logs of projects were read."""
        key = (col(CursorRow.team), col(CursorRow.project))
        wanted = [(project.team, project.project) for project in projects]
        rows = await self._rows(select(*key, col(CursorRow.sequence)).where(tuple_(*key).in_(wanted))) if wanted else []
        return {ProjectName(team, project): sequence for team, project, sequence in rows}

    async def _rows(self, statement: Any) -> Sequence[Any]:
        async def read(session: AsyncSession) -> Sequence[Any]:
            return list((await session.execute(statement)).all())

        return await self._database.look(read)


class _How(Enum):
    """How the newest neighbours are found."""

    ALL = auto()
    APART = auto()
    """Those of each label by themselves: of a fan of any size no more is read than a page."""
    TOGETHER = auto()
    """All those of the labels, sorted: cheaper where there are more labels than a page has neighbours."""


def _how(labels: Collection[int] | None) -> _How:
    if labels is None:
        return _How.ALL
    return _How.APART if len(labels) <= LABELS_APART else _How.TOGETHER


def _newest(ids: Ids, s: Side, how: _How) -> Any:
    """The far nodes of the newest edges of a node after a place."""
    near, as_of = bindparam("near", type_=BigInteger), bindparam("as_of", type_=BigInteger)
    after = tuple_(bindparam("time", type_=BigInteger), bindparam("far", type_=BigInteger))
    edges = select(s.far.label("far"), s.time.label("micros"))
    edges = edges.where(s.near == near, s.time <= as_of, tuple_(s.time, s.far) < after)

    def newest(statement: Any, micros: Any, far: Any) -> Any:
        return statement.order_by(micros.desc(), far.desc()).limit(bindparam("most", type_=BigInteger))

    if how is _How.ALL:
        return newest(edges, s.time, s.far)
    if how is _How.TOGETHER:
        return newest(edges.where(ids.among(s.label, "labels")), s.time, s.far)
    label = ids.table("labels")
    of_one = newest(edges.where(s.label == label.c.value), s.time, s.far).correlate(label)
    if ids.is_sqlite:  # has no LATERAL; but it goes through a list once for each row that the list depends on
        fars = select(of_one.subquery().c.far)
        apart = select(s.far.label("far"), s.time.label("micros")).join_from(label, EDGE, (s.near == near) & s.far.in_(fars))
        return newest(apart, s.time, s.far)
    apart = of_one.lateral("one")
    return newest(select(apart.c.far, apart.c.micros).join_from(label, apart, true()), apart.c.micros, apart.c.far)


def _count(fan: Fan, as_of: int, most: int) -> Any:
    s = side(fan.direction)
    some = select(literal(1).label("one")).where(s.near == fan.node_id, s.label == fan.label_id, s.time <= as_of)
    return select(func.count()).select_from(some.limit(most).subquery()).scalar_subquery()
