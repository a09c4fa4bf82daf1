"""Parts of statements about the graph: the sides of an edge, and many ids as one parameter.

The statements that walks are made of are compiled once for a database, and go to the driver past sqlalchemy, which would work
longer on each than the database does. In them ids are one parameter however many they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Text,
    any_,
    bindparam,
    cast,
    func,
    literal,
    literal_column,
    select,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import ARRAY

from modelkeep_server.database.engine import Database, Query
from modelkeep_server.lineage.domain.graph import Direction
from modelkeep_server.lineage.domain.graph_ids import Ints
from modelkeep_server.lineage.store.tables import EdgeRow

LAST: Final = (1 << 62) - 1
"""Larger than any id or time."""
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


class Ids:
    """How a database takes many ids as one parameter."""

    def __init__(self, *, is_sqlite: bool) -> None:
        self.is_sqlite = is_sqlite

    def among(self, column: Any, name: str) -> ColumnElement[bool]:
        """Whether a column is one of the ids in a parameter."""
        if self.is_sqlite:
            return column.in_(select(func.json_each(bindparam(name)).table_valued("value").c.value))  # type: ignore[no-any-return]
        return column == any_(_array(name))  # type: ignore[no-any-return]

    def within(self, column: Any, ids: Iterable[int]) -> ColumnElement[bool]:
        """The same, of ids that are part of the statement."""
        if self.is_sqlite:
            return column.in_(select(func.json_each(self.value(ids)).table_valued("value").c.value))  # type: ignore[no-any-return]
        return column == any_(literal(list(ids), ARRAY(BigInteger)))  # type: ignore[no-any-return]

    def table(self, name: str) -> Any:
        """The ids in a parameter as a table with the column `value`."""
        if self.is_sqlite:
            return func.json_each(bindparam(name)).table_valued("value")
        return func.unnest(_array(name)).table_valued("value", name="given").render_derived()

    def pairs(self) -> Any:
        """The pairs of the parameters `a` and `b` as a table of two columns."""
        if self.is_sqlite:
            first = func.json_each(bindparam("a")).table_valued("key", "value", name="first")
            second = func.json_each(bindparam("b")).table_valued("key", "value", name="second")
            joined = select(first.c.value.label("a"), second.c.value.label("b")).where(first.c.key == second.c.key)
            return joined.subquery("pair")
        return func.unnest(_array("a"), _array("b")).table_valued("a", "b", name="pair").render_derived()

    def value(self, ids: Iterable[int]) -> Any:
        """What the parameter is."""
        return json.dumps(list(ids)) if self.is_sqlite else "{" + ",".join(map(str, ids)) + "}"

    def of_pairs(self, pairs: Iterable[tuple[int, int]]) -> dict[str, Any]:
        """What the two parameters of pairs are."""
        many = list(pairs)
        return {"a": self.value(a for a, _ in many), "b": self.value(b for _, b in many)}


def _array(name: str) -> Any:
    """A parameter that is an array, written out: the driver would look at each item of a list to see whether it is a list."""
    return cast(bindparam(name, type_=Text), ARRAY(BigInteger))


class Columns:
    """A statement that reads many rows of integers and no NULL, compiled once, whose answer is its columns.

    PostgreSQL sends a column as bytes, eight for each number, since the driver would make an object of each item of an array.
    """

    def __init__(self, database: Database, statement: Any) -> None:
        self._database = database
        self._width = len(statement.selected_columns)
        if not database.is_sqlite:
            inner = statement.subquery()
            packed = (func.string_agg(func.int8send(column), literal_column("''::bytea")) for column in inner.c)
            statement = select(*(column.label(f"c{i}") for i, column in enumerate(packed)))
        self._query = Query(database, statement)

    async def read(self, **values: Any) -> Sequence[Ints]:
        """The columns."""
        rows = await self._database.fetch(self._query, values)
        if self._database.is_sqlite:
            return list(np.array(rows, np.int64).reshape(-1, self._width).T)
        return [np.frombuffer(column or b"", ">i8").astype(np.int64) for column in rows[0]]
