"""Parts of statements about the graph: the sides of an edge, and many ids as one parameter."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Select, any_, func, literal, select, type_coerce
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from modelkeep_server.lineage.domain.graph import Direction
from modelkeep_server.lineage.store.tables import EdgeRow

EDGE: Final = EdgeRow.__table__  # type: ignore[attr-defined]  # sqlmodel makes it


@dataclass(frozen=True)
class Side:
    """The columns of an edge as they are called by who goes along it."""

    near: Any
    far: Any
    label: Any
    """The label of the far node."""
    rank: Any
    """The place of the far node among those of its label."""
    time: Any
    """In microseconds, as it is stored."""


def side(direction: Direction, table: Any = EDGE) -> Side:
    """The columns for one direction; of an alias of the table, if that is given."""
    c = table.c
    time = type_coerce(c.edge_time, BigInteger)
    if direction is Direction.UPSTREAM:
        return Side(c.target_id, c.source_id, c.source_label_id, c.target_rank, time)
    return Side(c.source_id, c.target_id, c.target_label_id, c.source_rank, time)


def among(session: AsyncSession, column: Any, ids: Iterable[int]) -> ColumnElement[bool]:
    """Whether a column is one of many ids: one parameter, so that it is one statement for any number of them."""
    many = list(ids)
    if session.get_bind().dialect.name == "sqlite":
        values = func.json_each(json.dumps(many)).table_valued("value")
        return column.in_(select(values.c.value))  # type: ignore[no-any-return]
    return column == any_(literal(many, ARRAY(BigInteger)))  # type: ignore[no-any-return]


def paired(session: AsyncSession, pairs: Iterable[tuple[int, int]]) -> Any:
    """Pairs of ids as a table of two columns, `a` and `b`."""
    many = list(pairs)
    if session.get_bind().dialect.name == "sqlite":
        value = func.json_each(json.dumps(many)).table_valued("value").c.value
        first, second = (type_coerce(func.json_extract(value, f"$[{i}]"), BigInteger) for i in (0, 1))
        return select(first.label("a"), second.label("b")).subquery("pair")
    lists = ([a for a, _ in many], [b for _, b in many])
    return func.unnest(*(literal(ids, ARRAY(BigInteger)) for ids in lists)).table_valued("a", "b", name="pair").render_derived()


async def columns(session: AsyncSession, statement: Select[Any]) -> Sequence[Sequence[Any]]:
    """The columns of what a statement selects, each as a list, for rows of integers that are many.

    PostgreSQL sends them as arrays, which takes a tenth of the time that as many rows would.
    """
    if session.get_bind().dialect.name == "sqlite":
        rows = (await session.execute(statement)).all()
        return list(zip(*rows, strict=True)) or [()] * len(statement.selected_columns)
    inner = statement.subquery()
    packed = (await session.execute(select(*(func.array_agg(column, type_=ARRAY(BigInteger)) for column in inner.c)))).one()
    return [column or () for column in packed]
