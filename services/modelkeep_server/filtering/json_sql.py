"""Conditions on the rows that stand for the values of a JSON object (see `keys`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import ColumnElement, FromClause, Text, and_, literal, or_, true

from modelkeep_server.filtering.expression import JsonScalar, Operator, Pattern
from modelkeep_server.filtering.functions import OPERATORS, by_code_point, fits
from modelkeep_server.filtering.keys import (
    FALSE,
    LIST,
    NULL,
    NUMBER,
    TEXT,
    TEXT_CHARACTERS,
    TRUE,
    after,
    element_path,
    key_of,
    path_of,
)


@dataclass(frozen=True, slots=True)
class JsonRows:
    """The table of the values, and whose they are. Its columns `path` and `key` compare by code point."""

    of: ColumnElement[Any]
    """The id of the row of the list, which has the values."""
    table: FromClause
    owner: str
    """The column with that id."""

    @property
    def path(self) -> ColumnElement[str]:
        """The way to a value."""
        return self.table.c.path

    @property
    def key(self) -> ColumnElement[str]:
        """What a value is, as text that sorts."""
        return self.table.c.key

    @property
    def text(self) -> ColumnElement[Any]:
        """The whole text, of a value that is text."""
        return self.table.c.text

    def theirs(self) -> ColumnElement[bool]:
        """This row belongs to the row of the list."""
        return self.table.c[self.owner] == self.of

    def again(self) -> JsonRows:
        """The same table under another name."""
        return replace(self, table=self.table.alias())

    def present(self, keys: tuple[str, ...]) -> ColumnElement[bool]:
        """This is the row of a path; of any, without one."""
        return self.at(path_of(keys)) if keys else true()

    def compares(self, keys: tuple[str, ...], operator: Operator, value: JsonScalar) -> ColumnElement[bool]:
        """This is the row of a path, and its value compares like that."""
        return and_(self.at(path_of(keys)), self._compares(operator, value))

    def fits(self, keys: tuple[str, ...], pattern: Pattern) -> ColumnElement[bool]:
        """This is the row of a path, and its value is text that fits a pattern."""
        return and_(self.at(path_of(keys)), self._fits(pattern))

    def has(self, keys: tuple[str, ...], wanted: JsonScalar | Pattern) -> ColumnElement[bool]:
        """This is the row of an element, of a key below, of a text with that part, or of the value itself."""
        if not isinstance(wanted, str | Pattern):
            equal = self._compares(Operator.EQ, wanted)
            return and_(self._at_any(path_of(keys), element_path(keys)), equal)
        pattern = Pattern((wanted,)) if isinstance(wanted, str) else wanted
        element = self._compares(Operator.EQ, pattern.text) if pattern.is_plain else self._fits(pattern)
        found = [and_(self.at(element_path(keys)), element)]
        if keys:
            found.append(and_(self.at(path_of(keys)), self._between(TEXT), fits(self.text, pattern.inside(), ignore_case=True)))
        if pattern.is_plain:
            found.append(self.at(path_of((*keys, pattern.text))))
        return or_(*found)

    def at(self, path: str) -> ColumnElement[bool]:
        """This is the row of a path, as it is written in the table."""
        return self.path == literal(path, Text())

    def _at_any(self, *paths: str) -> ColumnElement[bool]:
        return self.path.in_(paths)

    def _compares(self, operator: Operator, value: JsonScalar) -> ColumnElement[bool]:
        match value:
            case None:
                return self.key == _text(NULL) if operator is Operator.EQ else self.key > _text(NULL)
            case bool():
                return self.key == _text(TRUE if value is (operator is Operator.EQ) else FALSE)
            case str():
                return self._compares_text(operator, value)
        return self._compares_key(operator, NUMBER, key_of(value))

    def _compares_text(self, operator: Operator, value: str) -> ColumnElement[bool]:
        if len(value) < TEXT_CHARACTERS:
            return self._compares_key(operator, TEXT, key_of(value))
        begins_alike = self.key == _text(key_of(value))
        if operator is Operator.EQ:
            return and_(begins_alike, self.text == _text(value))
        strictly = {Operator.LE: Operator.LT, Operator.GE: Operator.GT}.get(operator, operator)
        by_text = OPERATORS[operator](by_code_point(self.text), _text(value))
        return or_(self._compares_key(strictly, TEXT, key_of(value)), and_(begins_alike, by_text))

    def _compares_key(self, operator: Operator, type_: str, key: str) -> ColumnElement[bool]:
        """The key compares like that, and is of the same type."""
        match operator:
            case Operator.EQ:
                return self.key == _text(key)
            case Operator.NE:
                return and_(self._between(type_), self.key != _text(key))
            case Operator.LT | Operator.LE:
                return and_(self.key >= _text(type_), OPERATORS[operator](self.key, _text(key)))
        return and_(OPERATORS[operator](self.key, _text(key)), self.key < _text(_NEXT[type_]))

    def _fits(self, pattern: Pattern) -> ColumnElement[bool]:
        """The value is text that fits; where the pattern begins with text, an index finds it."""
        first = TEXT + pattern.pieces[0][:TEXT_CHARACTERS]
        begins = and_(self.key >= _text(first), self.key < _text(after(first) or _NEXT[TEXT]))
        return and_(begins, fits(self.text, pattern))

    def _between(self, type_: str) -> ColumnElement[bool]:
        return and_(self.key >= _text(type_), self.key < _text(_NEXT[type_]))


_NEXT: Final[Mapping[str, str]] = {NUMBER: TEXT, TEXT: LIST}
"""The first key behind those of a type."""


def _text(value: str) -> ColumnElement[str]:
    return literal(value, Text())
