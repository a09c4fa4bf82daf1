"""An order as SQL: what to sort by, and how to go on behind a row that was shown, without counting rows (SEM-53).

A page goes on behind the values of its last row, so rows that come or go shift nothing. What has no value comes last. Where
the first thing to order by is a value of metadata, a list has two parts, one after the other: the rows that have the value,
which an index gives in their order, and those that do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from modelkeep.errors import InvalidPageToken
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Null,
    Select,
    Text,
    and_,
    exists,
    false,
    func,
    literal,
    not_,
    null,
    or_,
)

from modelkeep_server.filtering.expression import By
from modelkeep_server.filtering.functions import by_code_point
from modelkeep_server.filtering.keys import MARK, path_of
from modelkeep_server.filtering.sql import Columns

Position: TypeAlias = list[int | str | None]
_LARGEST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Key:
    """One column of an order."""

    column: ColumnElement[Any]
    descending: bool = False
    is_text: bool = False
    is_nullable: bool = False
    prefix: str = ""
    """What the text of all rows begins with; a page token leaves it out."""

    def written(self) -> ColumnElement[Any]:
        """The value for a page token."""
        return func.substr(self.column, len(self.prefix) + 1) if self.prefix else self.column

    def sorted(self) -> ColumnElement[Any]:
        """For ORDER BY."""
        ordered = self.column.desc() if self.descending else self.column.asc()
        return ordered.nulls_last() if self.is_nullable else ordered

    def at(self, value: int | str | None) -> ColumnElement[bool]:
        """Rows with the same value."""
        return self.column.is_(None) if value is None else self.column == self._bound(value)

    def behind(self, value: int | str | None) -> ColumnElement[bool]:
        """Rows that come later."""
        if value is None:
            return false()
        later = self.column < self._bound(value) if self.descending else self.column > self._bound(value)
        return or_(later, self.column.is_(None)) if self.is_nullable else later

    def from_on(self, value: int | str) -> ColumnElement[bool]:
        """Rows that do not come earlier; an index begins there."""
        return self.column <= self._bound(value) if self.descending else self.column >= self._bound(value)

    def read(self, text: str) -> int | str | None:
        """A value of a page token. Raises ValueError."""
        mark, value = text[:1], text[1:]
        if mark == "-" and self.is_nullable and not value:
            return None
        if mark != "=" or (not self.is_text and abs(int(value)) > _LARGEST):
            raise ValueError(text)
        return value if self.is_text else int(value)

    def _bound(self, value: int | str) -> ColumnElement[Any]:
        return literal(f"{self.prefix}{value}", Text()) if self.is_text else literal(value, BigInteger())


def parts(
    statement: Select[Any], order: Sequence[By], ties: Sequence[Key], columns: Columns, position: Sequence[str] | None
) -> list[Select[Any]]:
    """The parts of a list, sorted, each from the position on; parts that lie before it are left out.

    `ties` decide where the order does not, and are unique together. The last columns of each row are the values of all keys,
    for `written`. Raises InvalidPageToken.
    """
    joins = [_beside(by, columns) for by in order]
    keys = (*(_key(by, join, columns) for by, join in zip(order, joins, strict=True)), *ties)
    after = None if position is None else _read(keys, position)
    for join in joins[1:]:
        statement = statement if join is None else statement.outerjoin(join.table, join.on)
    first = joins[0] if joins else None
    if first is None:
        return [_sorted(statement, keys, after)]
    lacking = statement.where(~exists().where(first.on))
    lacked = Key(null())
    if after is not None and after[0] is None:
        return [_sorted(lacking, (lacked, *keys[1:]), after)]
    having = statement.join(first.table, first.on)
    there = replace(keys[0], is_nullable=False)
    return [_sorted(having, (there, *keys[1:]), after), _sorted(lacking, (lacked, *keys[1:]), None)]


def written(row: Sequence[Any], count: int) -> list[str]:
    """The position behind a row whose last `count` columns are the values of the keys."""
    return ["-" if value is None else f"={value}" for value in row[-count:]]


@dataclass(frozen=True, slots=True)
class _Beside:
    """The row of one value of metadata, beside the row that has it."""

    table: FromClause
    on: ColumnElement[bool]
    entry: ColumnElement[str]
    prefix: str


def _beside(by: By, columns: Columns) -> _Beside | None:
    if by.field not in columns.json:
        return None
    rows = columns.json[by.field].again()
    return _Beside(rows.table, and_(rows.theirs(), rows.ordered(by.path)), rows.entry, path_of(by.path) + MARK)


def _key(by: By, join: _Beside | None, columns: Columns) -> Key:
    if join is not None:
        return Key(join.entry, by.descending, is_text=True, is_nullable=True, prefix=join.prefix)
    column = columns.plain[by.field]
    is_text = column.type.python_type is str
    return Key(by_code_point(column) if is_text else column, by.descending, is_text, by.field in columns.nullable)


def _read(keys: Sequence[Key], position: Sequence[str]) -> Position:
    try:
        return [key.read(text) for key, text in zip(keys, position, strict=True)]
    except ValueError:
        message = "the page token is not one of this list; ask for the first page again, without a token"
        raise InvalidPageToken(message, field="page_token") from None


def _sorted(statement: Select[Any], keys: Sequence[Key], after: Position | None) -> Select[Any]:
    statement = statement.add_columns(*(key.written().label(f"key_{i}") for i, key in enumerate(keys)))
    if after is not None:
        statement = statement.where(_behind(list(zip(keys, after, strict=True))))
    return statement.order_by(*(key.sorted() for key in keys if not isinstance(key.column, Null)))


def _behind(places: Sequence[tuple[Key, int | str | None]]) -> ColumnElement[bool]:
    """Rows that come after a position: later by one key, and the same by those before it.

    It is written so that a database begins at the position, and does not take the rest of the condition for a rare one.
    """
    (key, value), *rest = places
    if not rest:
        return key.behind(value)
    further = _behind(rest)
    if value is None:
        return and_(key.at(value), further)
    if key.is_nullable:
        return or_(key.behind(value), and_(key.at(value), further))
    return and_(key.from_on(value), or_(not_(key.at(value)), further))
