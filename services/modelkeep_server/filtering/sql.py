"""A filter as SQL, for PostgreSQL and SQLite alike. Every value is a bound parameter; no condition is ever NULL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, LargeBinary, Text, and_, exists, false, literal, not_, or_, true

from modelkeep_server.filtering.expression import (
    Ago,
    Compare,
    Constant,
    Every,
    Expression,
    Fits,
    HasLabel,
    JsonCompare,
    JsonFits,
    JsonHas,
    JsonPresent,
    Not,
    Operator,
    Pattern,
    Present,
    Scalar,
    Some,
)
from modelkeep_server.filtering.functions import OPERATORS, by_code_point, fits
from modelkeep_server.filtering.json_sql import JsonRows


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the fields of a service are, by name. Each field is in one of these."""

    plain: Mapping[str, ColumnElement[Any]]
    """Integers (moments too, in microseconds), text and bytes."""
    nullable: frozenset[str] = frozenset()
    """Those of them that may be NULL."""
    flags: Mapping[str, ColumnElement[bool]] = field(default_factory=dict)
    """Conditions, never NULL."""
    labels: Mapping[str, Callable[[Pattern], ColumnElement[bool]]] = field(default_factory=dict)
    """Whether a row has a label that fits."""
    json: Mapping[str, JsonRows] = field(default_factory=dict)


Moment = Callable[[int], ColumnElement[int]]
"""The moment that many microseconds ago."""


def condition(expression: Expression, columns: Columns, moment: Moment) -> ColumnElement[bool]:
    """The condition that an expression is."""
    match expression:
        case Constant(value):
            return true() if value else false()
        case Not(term):
            return not_(condition(term, columns, moment))
        case Every(terms):
            return and_(true(), *_every(terms, columns, moment))
        case Some(terms):
            return or_(false(), *(condition(term, columns, moment) for term in terms))
        case JsonCompare() | JsonFits() | JsonHas() | JsonPresent():
            return _json(expression, columns.json[expression.field])
        case HasLabel(name, pattern):
            return columns.labels[name](pattern)
    return _plain(expression, columns, moment)


def _every(terms: tuple[Expression, ...], columns: Columns, moment: Moment) -> list[ColumnElement[bool]]:
    """The conditions of terms; those about one value of metadata as one, so that two bounds are one stretch of an index."""
    found: list[ColumnElement[bool]] = []
    bounds: dict[tuple[str, tuple[str, ...]], list[ColumnElement[bool]]] = {}
    for term in terms:
        match term:
            case JsonCompare(name, path, operator, value):
                bounds.setdefault((name, path), []).append(columns.json[name].compares(path, operator, value))
            case JsonFits(name, path, pattern):
                bounds.setdefault((name, path), []).append(columns.json[name].fits(path, pattern))
            case _:
                found.append(condition(term, columns, moment))
    return found + [_exists(columns.json[name], and_(*conditions)) for (name, _), conditions in bounds.items()]


def _exists(rows: JsonRows, found: ColumnElement[bool]) -> ColumnElement[bool]:
    """There is such a row: it either is there or not, so a missing value makes nothing unknown."""
    return exists().where(rows.theirs(), found)


def _plain(expression: Compare | Present | Fits, columns: Columns, moment: Moment) -> ColumnElement[bool]:
    name = expression.field
    if name in columns.flags:
        return columns.flags[name]
    column = columns.plain[name]
    match expression:
        case Present():
            return column.is_not(None) if name in columns.nullable else true()
        case Fits(_, pattern, ignore_case):
            found = fits(column, pattern, ignore_case=ignore_case)
        case Compare(_, operator, value):
            found = _compare(column, operator, value, moment)
    return and_(column.is_not(None), found) if name in columns.nullable else found


def _compare(column: ColumnElement[Any], operator: Operator, value: Scalar, moment: Moment) -> ColumnElement[bool]:
    match value:
        case Ago(micros):
            return OPERATORS[operator](column, moment(micros))
        case int():
            return OPERATORS[operator](column, literal(value, BigInteger()))
        case bytes():
            return OPERATORS[operator](column, literal(value, LargeBinary()))
    left = column if operator in {Operator.EQ, Operator.NE} else by_code_point(column)
    return OPERATORS[operator](left, literal(value, Text()))


def _json(expression: JsonCompare | JsonFits | JsonHas | JsonPresent, rows: JsonRows) -> ColumnElement[bool]:
    """Whether a row of the side table says so."""
    match expression:
        case JsonCompare(_, path, operator, value):
            found = rows.compares(path, operator, value)
        case JsonFits(_, path, pattern):
            found = rows.fits(path, pattern)
        case JsonHas(_, path, wanted):
            found = rows.has(path, wanted)
        case JsonPresent(_, path):
            found = rows.present(path)
    return _exists(rows, found)
