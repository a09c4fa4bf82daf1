"""Steps of walks: the neighbours of many nodes by one statement, which reads ids alone, and little of large fans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import BigInteger, Select, bindparam, select, tuple_, union_all

from modelkeep_server.database.engine import Database
from modelkeep_server.lineage.domain.graph import Direction
from modelkeep_server.lineage.domain.graph_walk import (
    ROWS_AT_ONCE,
    Found,
    Place,
    RankedRow,
    Row,
    Step,
    fold,
)
from modelkeep_server.lineage.store.graph_sql import EDGE, LAST, Columns, Ids, Side, side

_FANS_AT_ONCE: Final = 50
"""How many fans one statement reads exactly."""
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
        rows = list(zip(*await query.read(**self._values(asked), **place), strict=True))
        after: Place | None = None
        if len(rows) > ROWS_AT_ONCE:
            rows, next_ = rows[:ROWS_AT_ONCE], rows[ROWS_AT_ONCE]
            if asked.group_from:
                rows = [row for row in rows if row[:2] != next_[:2]]
                after = (rows[-1][0], rows[-1][1], LAST, LAST)
            else:
                near, label, far, _, time = rows[-1]
                after = (near, label, time, far)
        found = await self._found(asked, list(zip(*rows, strict=True)) or [()] * 5)
        found.after = after
        return found

    async def _ahead(self, asked: Step) -> Found:
        """The nodes and those that come after them, in the order of a walk, each with all its edges."""
        query = self._along(asked.direction, bool(asked.group_from))
        most = len(asked.nodes) + asked.ahead
        columns = await query.read(**self._values(asked), most=most)
        if len(columns[0]) > ROWS_AT_ONCE:
            return Found(after=(0, 0, 0, 0))
        rows = [row for row in zip(*columns, strict=True) if row[2] is not None]
        found = await self._found(asked, list(zip(*rows, strict=True)) or [()] * 5)
        found.whole = list(dict.fromkeys(columns[0]))
        return found

    async def _found(self, asked: Step, columns: Sequence[Sequence[int]]) -> Found:
        if not asked.group_from:
            return Found(list(zip(*columns[:3], strict=True)))
        rows: Sequence[RankedRow] = list(zip(*columns, strict=True))
        followed, fans, doubtful = fold(rows, asked.group_from, asked.as_of)
        for start in range(0, len(doubtful), _FANS_AT_ONCE):
            some = doubtful[start : start + _FANS_AT_ONCE]
            exact: dict[tuple[int, int], list[Row]] = {fan: [] for fan in some}
            for near, label, far in await self._exactly(asked, some):
                exact[near, label].append((near, label, far))
            fans += [fan for fan, members in exact.items() if len(members) >= asked.group_from]
            followed += [row for members in exact.values() if len(members) < asked.group_from for row in members]
        return Found(followed, fans)

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
        return {"ids": self._ids.value(asked.nodes), **limit}

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
        columns = (some.c.id, s.label, s.far, *((s.rank, s.time.label("time")) if grouped else ()))
        return Columns(self._database, select(*columns).join_from(some, EDGE, edges, isouter=True).limit(ROWS_AT_ONCE + 1))


def _limit(s: Side, *, grouped: bool) -> Any:
    return s.rank <= bindparam("most_rank") if grouped else s.time <= bindparam("as_of")
