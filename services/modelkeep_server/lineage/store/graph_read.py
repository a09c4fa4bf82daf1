"""The graph, as it is read: what walks and their answers need, by statements that are compiled once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from modelkeep.names import RunName, VersionName
from sqlalchemy import BigInteger, bindparam, false, func, select, true, type_coerce
from sqlmodel import col

from modelkeep_server.database.engine import Database, Query
from modelkeep_server.lineage.domain.graph import Direction, Edge, Fan, Label, Node, NodeKind
from modelkeep_server.lineage.domain.graph_delta import run_key
from modelkeep_server.lineage.domain.graph_walk import Found, Step
from modelkeep_server.lineage.store.graph_list import GraphLists
from modelkeep_server.lineage.store.graph_rows import EDGES, LABEL, NODES, edge_of, label_of, node_of
from modelkeep_server.lineage.store.graph_sql import EDGE, Ids
from modelkeep_server.lineage.store.graph_step import Stepping
from modelkeep_server.lineage.store.tables import CursorRow, FanRow, LabelRow, NodeRow


class SqlGraph(GraphLists):
    """The graph in the service's database. Every call is a statement or two of its own."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._stepping = Stepping(database)
        ids = self._ids
        self._run = Query(database, NODES.where(col(NodeRow.key) == bindparam("key")))
        self._version = Query(database, _version_by_name())
        self._nodes = Query(database, NODES.where(ids.among(col(NodeRow.id), "ids")))
        self._labels = Query(database, select(*LABEL).where(ids.among(col(LabelRow.id), "ids")))
        pair = ids.pairs()
        is_one = (EDGE.c.source_id == pair.c.a) & (EDGE.c.target_id == pair.c.b)
        self._edges = Query(database, select(*EDGES).join_from(pair, EDGE, is_one))
        self._degrees = {direction: Query(database, _degrees(ids, direction)) for direction in Direction}
        newest = func.max(type_coerce(col(CursorRow.event_time), BigInteger))
        self._latest = Query(database, select(func.coalesce(newest, 0).label("latest")))

    async def step(self, step: Step) -> Found:
        """The neighbours of some nodes."""
        return await self._stepping.step(step)

    async def find(self, name: RunName | VersionName) -> Node | None:
        """The node of a run or a version, by its present name."""
        if isinstance(name, RunName):
            rows = await self._database.fetch(self._run, {"key": run_key(name)})
        else:
            words = {"team": name.team, "project": name.project, "collection": name.collection, "number": name.number}
            rows = await self._database.fetch(self._version, words)
        return node_of(rows[0], {}) if rows else None

    async def latest(self) -> int:
        """The time of the newest event that was read, in microseconds by the clock of metadata."""
        return int((await self._database.fetch(self._latest, {}))[0].latest)

    async def nodes(self, ids: Collection[int]) -> Mapping[int, Node]:
        """Nodes by their ids."""
        labels: dict[int, Label] = {}
        rows = await self._database.fetch(self._nodes, {"ids": self._ids.value(ids)}) if ids else ()
        return {row.node_id: node_of(row, labels) for row in rows}

    async def labels(self, ids: Collection[int]) -> Mapping[int, Label]:
        """Labels by their ids."""
        rows = await self._database.fetch(self._labels, {"ids": self._ids.value(ids)}) if ids else ()
        return {row.label_id: label_of(row) for row in rows}

    async def edges(self, ends: Collection[tuple[int, int]]) -> Mapping[tuple[int, int], Edge]:
        """Edges by source and target."""
        rows = await self._database.fetch(self._edges, self._ids.of_pairs(ends)) if ends else ()
        return {(row.source_id, row.target_id): edge_of(row) for row in rows}

    async def degrees(self, fans: Collection[Fan]) -> Mapping[Fan, int]:
        """How many nodes fans have now."""
        found: dict[Fan, int] = {}
        for direction, query in self._degrees.items():
            pairs = [(fan.node_id, fan.label_id) for fan in fans if fan.direction is direction]
            rows = await self._database.fetch(query, self._ids.of_pairs(pairs)) if pairs else ()
            found |= {Fan(row.node_id, direction, row.label_id): row.degree for row in rows}
        return found


def _version_by_name() -> Any:
    return (
        NODES.where(
            col(LabelRow.team) == bindparam("team"),
            col(LabelRow.project) == bindparam("project"),
            col(LabelRow.collection) == bindparam("collection"),
            col(LabelRow.kind) == NodeKind.VERSION.value,
            col(NodeRow.number) == bindparam("number"),
        )
        .order_by(col(LabelRow.name_time).desc(), col(NodeRow.id).desc())
        .limit(1)
    )


def _degrees(ids: Ids, direction: Direction) -> Any:
    pair = ids.pairs()
    side = col(FanRow.is_downstream) == (true() if direction is Direction.DOWNSTREAM else false())
    is_one = (col(FanRow.node_id) == pair.c.a) & (col(FanRow.label_id) == pair.c.b) & side
    return select(col(FanRow.node_id), col(FanRow.label_id), col(FanRow.degree)).join_from(pair, FanRow, is_one)
