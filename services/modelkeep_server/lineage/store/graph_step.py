"""Steps of walks: the neighbours of many nodes by one statement, which reads ids alone, and little of large fans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Select, literal, select, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from modelkeep_server.lineage.domain.graph_walk import (
    ROWS_AHEAD,
    ROWS_AT_ONCE,
    Found,
    Place,
    RankedRow,
    Row,
    Step,
    fold,
)
from modelkeep_server.lineage.store.graph_sql import EDGE, among, columns, side

_LAST: Final = (1 << 62) - 1
"""Larger than any id or time."""
_FANS_AT_ONCE: Final = 50
"""How many fans one statement reads exactly."""


async def step(session: AsyncSession, asked: Step) -> Found:
    """What a step finds."""
    if asked.levels > 1:
        return await _ahead(session, asked)
    rows = await _rows(session, _edges(session, asked).limit(ROWS_AT_ONCE + 1)) if asked.after is None else None
    if rows is None or len(rows) > ROWS_AT_ONCE:
        return await _page(session, asked)
    return await _found(session, asked, rows)


def _edges(session: AsyncSession, asked: Step) -> Select[Any]:
    """All edges of the nodes, or the first ones of each fan."""
    s = side(asked.direction)
    statement = select(s.near, s.label, s.far, s.rank, s.time).where(among(session, s.near, asked.nodes))
    return statement.where(s.rank <= asked.group_from) if asked.group_from else statement.where(s.time <= asked.as_of)


async def _page(session: AsyncSession, asked: Step) -> Found:
    """So many of them, in their order. A fan that may be told as one never goes over the end of a page."""
    s = side(asked.direction)
    order = (s.near, s.label, s.time, s.far)
    statement = _edges(session, asked).order_by(*order).limit(ROWS_AT_ONCE + 1)
    if asked.after:
        statement = statement.where(tuple_(*order) > tuple_(*map(literal, asked.after)))
    rows = await _rows(session, statement)
    after: Place | None = None
    if len(rows) > ROWS_AT_ONCE:
        rows, next_ = rows[:ROWS_AT_ONCE], rows[ROWS_AT_ONCE]
        if asked.group_from:
            rows = [row for row in rows if row[:2] != next_[:2]]
            after = (*rows[-1][:2], _LAST, _LAST)
        else:
            near, label, far, _, time = rows[-1]
            after = (near, label, time, far)
    found = await _found(session, asked, rows)
    found.after = after
    return found


async def _ahead(session: AsyncSession, asked: Step) -> Found:
    """Several levels by one recursive statement, as far as they are small: the database gives them in their order."""
    s = side(asked.direction)
    first = _edges(session, asked).add_columns(literal(1).label("level"))
    walk = first.cte("walk", recursive=True)
    edge = EDGE.alias()
    e = side(asked.direction, edge)
    following = (
        select(e.near, e.label, e.far, e.rank, e.time, walk.c.level + 1)
        .join_from(walk, edge, e.near == walk.c[s.far.name])
        .where(walk.c.level < asked.levels)
        .where(e.rank <= asked.group_from if asked.group_from else e.time <= asked.as_of)
    )
    walk = walk.union(following)
    *fields, levels = await columns(session, select(walk).limit(ROWS_AHEAD + 1))
    rows: list[RankedRow] = list(zip(*fields, strict=True))
    whole_level = asked.levels - 1  # up to this level it is known what comes after
    if len(rows) > ROWS_AHEAD:
        whole_level = levels[-1] - 2
        if whole_level < 0:
            return Found(after=(0, 0, 0, 0))
    elif levels and levels[-1] < asked.levels:
        whole_level = levels[-1]
    here = dict.fromkeys(row for row, level in zip(rows, levels, strict=True) if level <= whole_level + 1)
    found = await _found(session, asked, list(here))
    found.whole = list({row[2] for row, level in zip(rows, levels, strict=True) if level <= whole_level})
    return found


async def _rows(session: AsyncSession, statement: Select[Any]) -> list[RankedRow]:
    return list(zip(*await columns(session, statement), strict=True))


async def _found(session: AsyncSession, asked: Step, rows: Sequence[RankedRow]) -> Found:
    if not asked.group_from:
        return Found([(near, label, far) for near, label, far, _, _ in rows])
    followed, fans, doubtful = fold(rows, asked.group_from, asked.as_of)
    for start in range(0, len(doubtful), _FANS_AT_ONCE):
        some = doubtful[start : start + _FANS_AT_ONCE]
        exact: dict[tuple[int, int], list[Row]] = {fan: [] for fan in some}
        for near, label, far in await _exactly(session, asked, some):
            exact[near, label].append((near, label, far))
        fans += [fan for fan, members in exact.items() if len(members) >= asked.group_from]
        followed += [row for members in exact.values() if len(members) < asked.group_from for row in members]
    return Found(followed, fans)


async def _exactly(session: AsyncSession, asked: Step, fans: Sequence[tuple[int, int]]) -> Sequence[Row]:
    """The edges of fans up to a time, and of each no more than make it one."""
    s = side(asked.direction)
    parts = []
    for near, label in fans:
        part = select(s.near, s.label, s.far).where(s.near == near, s.label == label, s.time <= asked.as_of)
        parts.append(select(part.order_by(s.time, s.far).limit(asked.group_from).subquery()))
    return [(near, label, far) for near, label, far in await session.execute(union_all(*parts))]
