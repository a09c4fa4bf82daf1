"""The SQL functions that PostgreSQL and SQLite spell differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import Boolean, ColumnElement, Text, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from modelkeep_server.filtering.expression import Operator, Pattern

OPERATORS: Final[Mapping[Operator, Callable[[Any, Any], ColumnElement[bool]]]] = {
    Operator.EQ: lambda one, other: one == other,
    Operator.NE: lambda one, other: one != other,
    Operator.LT: lambda one, other: one < other,
    Operator.LE: lambda one, other: one <= other,
    Operator.GT: lambda one, other: one > other,
    Operator.GE: lambda one, other: one >= other,
}

_LOWER: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


class by_code_point(GenericFunction[str]):  # noqa: N801 - it is the name of an SQL function
    """Text that compares and sorts by code point, whatever the collation of the database."""

    type = Text()
    inherit_cache = True


@compiles(by_code_point, "postgresql")
def _by_code_point_postgresql(element: by_code_point, compiler: Any, **options: Any) -> str:
    return f'({compiler.process(element.clauses, **options)} COLLATE "C")'


@compiles(by_code_point, "sqlite")
def _by_code_point_sqlite(element: by_code_point, compiler: Any, **options: Any) -> str:
    return f"({compiler.process(element.clauses, **options)})"


class ascii_lower(GenericFunction[str]):  # noqa: N801 - it is the name of an SQL function
    """Text with a to z for A to Z, and everything else as it is: the same on every database."""

    type = Text()
    inherit_cache = True


@compiles(ascii_lower, "postgresql")
def _ascii_lower_postgresql(element: ascii_lower, compiler: Any, **options: Any) -> str:
    return f'lower({compiler.process(element.clauses, **options)} COLLATE "C")'


@compiles(ascii_lower, "sqlite")
def _ascii_lower_sqlite(element: ascii_lower, compiler: Any, **options: Any) -> str:
    return f"lower({compiler.process(element.clauses, **options)})"


class fits_wildcards(GenericFunction[bool]):  # noqa: N801 - it is the name of an SQL function
    """Whether a text fits a pattern, given as LIKE and as GLOB understand it; the case of letters counts."""

    type = Boolean()
    inherit_cache = True


@compiles(fits_wildcards, "postgresql")
def _fits_postgresql(element: fits_wildcards, compiler: Any, **options: Any) -> str:
    text, like, _ = element.clauses
    return f"({compiler.process(text, **options)} LIKE {compiler.process(like, **options)} ESCAPE '\\')"


@compiles(fits_wildcards, "sqlite")
def _fits_sqlite(element: fits_wildcards, compiler: Any, **options: Any) -> str:
    text, _, glob = element.clauses
    return f"({compiler.process(text, **options)} GLOB {compiler.process(glob, **options)})"


def fits(column: ColumnElement[Any], pattern: Pattern, *, ignore_case: bool = False) -> ColumnElement[bool]:
    """Whether the text of a column fits a pattern."""
    pieces = [piece.translate(_LOWER) if ignore_case else piece for piece in pattern.pieces]
    text = ascii_lower(column) if ignore_case else column
    if pattern.is_plain:
        return text == literal(pieces[0], Text())
    like, glob = "%".join(map(_like, pieces)), "*".join(map(_glob, pieces))
    return fits_wildcards(text, literal(like, Text()), literal(glob, Text()))


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _glob(text: str) -> str:
    return text.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")
