"""Many keys as one parameter: a list of rows as JSON, which a statement reads as a table. So its text never changes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Integer, Text, bindparam, cast, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement, GenericFunction


class Keys:
    """The table of keys in a statement: `place` tells which key it is, the others are its parts."""

    def __init__(self, parameter: str) -> None:
        """`parameter` is the name of the value, which `as_parameter` makes."""
        self.table = _elements(bindparam(parameter, type_=Text())).table_valued("value", name=parameter)
        self.place: ColumnElement[int] = self.number(0)

    def text(self, part: int) -> ColumnElement[str]:
        """A part that is text or missing, counted from 1."""
        return _part(self.table.c.value, literal_column(str(part)))

    def number(self, part: int) -> ColumnElement[int]:
        """A part that is a number or missing, counted from 1."""
        return cast(self.text(part), Integer)


def as_parameter(keys: Iterable[Sequence[str | int | None]]) -> str:
    """The value of the parameter: the keys, with their places."""
    return json.dumps([(place, *key) for place, key in enumerate(keys)])


class _elements(FunctionElement[Any]):  # noqa: N801 - it stands for an SQL function
    name = "elements"
    inherit_cache = True


@compiles(_elements, "postgresql")
def _elements_postgresql(element: _elements, compiler: Any, **options: Any) -> str:
    return f"jsonb_array_elements(CAST({compiler.process(element.clauses, **options)} AS JSONB))"


@compiles(_elements, "sqlite")
def _elements_sqlite(element: _elements, compiler: Any, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


class _part(GenericFunction[str]):  # noqa: N801 - it stands for an SQL operator
    type = Text()
    inherit_cache = True


@compiles(_part, "postgresql")
def _part_postgresql(element: _part, compiler: Any, **options: Any) -> str:
    value, part = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({value} ->> {part})"


@compiles(_part, "sqlite")
def _part_sqlite(element: _part, compiler: Any, **options: Any) -> str:
    value, part = (compiler.process(clause, **options) for clause in element.clauses)
    return f"json_extract({value}, '$[{part}]')"
