"""Steps of walks: the neighbours of many nodes by one statement, which reads ids alone, and little of large fans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from sqlalchemy import BigInteger, Select, bindparam, func, literal_column, select, tuple_, union_all

from modelkeep_server.database.engine import Database
from modelkeep_server.lineage.domain.graph import Direction
from modelkeep_server.lineage.domain.graph_ids import Ints, Marks
from modelkeep_server.lineage.domain.graph_walk import (
    ROWS_AT_ONCE,
    Found,
    Place,
    RankedRow,
    Row,
    Rows,
    Step,
    fold,
)
from modelkeep_server.lineage.store.graph_sql import EDGE, LAST, Columns, Ids, Side, side

_FANS_AT_ONCE: Final = 50
"""How many fans one statement reads exactly."""
_NONE: Final = 0
"""No id."""
_PLACE: Final = ("after_near", "after_label", "after_time", "after_far")


class Stepping:
    """The steps of walks through one database. A statement for each kind of step is compiled when it is first asked for."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ids = Ids(is_sqlite=database.is_sqlite)
        self._all = cache(self._all_of)
        self._some = cache(self._page_of)
        self._along = cache(self._along_of)

    async def step(self, asked: Step) -> Found:
        """What a step finds."""
        if asked.ahead:
            return await self._ahead(asked)
        if asked.after is None:
            columns = await self._all(asked.direction, bool(asked.group_from)).read(**self._values(asked))
            if len(columns[0]) <= ROWS_AT_ONCE:
                return await self._found(asked, columns)
        return await self._page(asked)

    async def _page(self, asked: Step) -> Found:
        """So many edges, in their order. A fan that may be told as one never goes over the end of a page."""
        query = self._some(asked.direction, bool(asked.group_from))
        place = dict(zip(_PLACE, asked.after or (0, 0, 0, 0), strict=True))
        columns = await query.read(**self._values(asked), **place)
        after: Place | None = None
        if len(columns[0]) > ROWS_AT_ONCE:
            if asked.group_from:
                columns = _where(columns, (columns[0] != columns[0][-1]) | (columns[1] != columns[1][-1]))
                near, label = (int(column[-1]) for column in columns[:2])
                after = (near, label, LAST, LAST)
            else:
                columns = _where(columns, slice(-1))
                near, label, far, _, time = (int(column[-1]) for column in columns)
                after = (near, label, time, far)
        found = await self._found(asked, columns)
        found.after = after
        return found

    async def _ahead(self, asked: Step) -> Found:
        """The nodes and those that come after them, in the order of a walk, each with all its edges."""
        query = self._along(asked.direction, bool(asked.group_from))
        most = len(asked.nodes) + asked.ahead
        columns = await query.read(**self._values(asked), most=most)
        if len(columns[0]) > ROWS_AT_ONCE:
            return Found(after=(0, 0, 0, 0))
        found = await self._found(asked, _where(columns, columns[2] != _NONE))
        found.whole = np.unique(columns[0])
        return found

    async def _found(self, asked: Step, columns: Sequence[Ints]) -> Found:
        if not asked.group_from:
            return Found(Rows(*columns[:3]))
        rows: Iterable[RankedRow] = zip(*(column.tolist() for column in columns), strict=True)
        followed, fans, doubtful = fold(rows, asked.group_from, asked.as_of)
        for start in range(0, len(doubtful), _FANS_AT_ONCE):
            some = doubtful[start : start + _FANS_AT_ONCE]
            exact: dict[tuple[int, int], list[Row]] = {fan: [] for fan in some}
            for near, label, far in await self._exactly(asked, some):
                exact[near, label].append((near, label, far))
            fans += [fan for fan, members in exact.items() if len(members) >= asked.group_from]
            followed += [row for members in exact.values() if len(members) < asked.group_from for row in members]
        return Found(Rows.of(followed), fans)

    async def _exactly(self, asked: Step, fans: Sequence[tuple[int, int]]) -> Sequence[Row]:
        """The edges of fans up to a time, and of each no more than make it one."""
        s = side(asked.direction)
        parts = []
        for near, label in fans:
            part = select(s.near, s.label, s.far).where(s.near == near, s.label == label, s.time <= asked.as_of)
            parts.append(select(part.order_by(s.time, s.far).limit(asked.group_from).subquery()))
        rows = await self._database.look(lambda session: session.execute(union_all(*parts)))
        return [(near, label, far) for near, label, far in rows]

    def _values(self, asked: Step) -> Mapping[str, Any]:
        limit = {"most_rank": asked.group_from} if asked.group_from else {"as_of": asked.as_of}
        return {"ids": self._ids.value(asked.nodes.tolist()), **limit}

    def _edges(self, direction: Direction, *columns: Any, grouped: bool) -> Select[Any]:
        """All edges of the nodes, or the first ones of each fan."""
        s = side(direction)
        return select(*columns).where(self._ids.among(s.near, "ids"), _limit(s, grouped=grouped))

    def _all_of(self, direction: Direction, grouped: bool) -> Columns:
        s = side(direction)
        columns = (s.near, s.label, s.far, *((s.rank, s.time.label("time")) if grouped else ()))
        return Columns(self._database, self._edges(direction, *columns, grouped=grouped).limit(ROWS_AT_ONCE + 1))

    def _page_of(self, direction: Direction, grouped: bool) -> Columns:
        s = side(direction)
        order = (s.near, s.label, s.time, s.far)
        statement = self._edges(direction, s.near, s.label, s.far, s.rank, s.time.label("time"), grouped=grouped)
        statement = statement.where(tuple_(*order) > tuple_(*(bindparam(name, type_=BigInteger) for name in _PLACE)))
        return Columns(self._database, statement.order_by(*order).limit(ROWS_AT_ONCE + 1))

    def _along_of(self, direction: Direction, grouped: bool) -> Columns:
        s = side(direction)
        first = EDGE.alias()
        f = side(direction, first)
        ids = self._ids.table("ids")
        reach = select(ids.c.value.label("id")).cte("reach", recursive=True)
        # UNION keeps what is new; the database goes level by level, and no further than the limit makes it.
        reach = reach.union(select(f.far).join_from(reach, first, f.near == reach.c.id).where(_limit(f, grouped=grouped)))
        some = select(reach.c.id).limit(bindparam("most", type_=BigInteger)).subquery("some_nodes")
        edges = (some.c.id == s.near) & _limit(s, grouped=grouped)
        more = {"rank": s.rank, "time": s.time} if grouped else {}
        of_edge = {"label": s.label, "far": s.far, **more}
        # Of a node without edges there is one row of what is no id.
        columns = (some.c.id, *(func.coalesce(column, _NONE).label(name) for name, column in of_edge.items()))
        return Columns(self._database, select(*columns).join_from(some, EDGE, edges, isouter=True).limit(ROWS_AT_ONCE + 1))


def _where(columns: Sequence[Ints], which: Marks | slice) -> list[Ints]:
    return [column[which] for column in columns]


def _limit(s: Side, *, grouped: bool) -> Any:
    if grouped:
        return s.rank <= bindparam("most_rank")
    # Nearly all edges are old enough. The sum keeps PostgreSQL 18 from seeking the time below each label of each node (skip
    # scan), which takes twice as long as to read them all.
    return s.time + literal_column("0") <= bindparam("as_of", type_=BigInteger)
