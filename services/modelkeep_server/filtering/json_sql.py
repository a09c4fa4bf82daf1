"""Conditions on the rows that stand for the values of a JSON object (see `keys`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import ColumnElement, FromClause, Text, and_, literal, or_, true

from modelkeep_server.filtering.expression import JsonScalar, Operator, Pattern
from modelkeep_server.filtering.functions import OPERATORS, by_code_point, fits
from modelkeep_server.filtering.keys import (
    BEHIND,
    FALSE,
    LIST,
    MARK,
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
    """The table of the values, and whose they are. Its column `entry` compares by code point."""

    of: ColumnElement[Any]
    """The id of the row of the list, which has the values."""
    table: FromClause
    owner: str
    """The column with that id."""
    unordered: tuple[str, ...] = ()
    """Texts that no order has a place for: they come last, like a value that is missing."""

    @property
    def entry(self) -> ColumnElement[str]:
        """Path and key of a value."""
        return self.table.c.entry

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
        return self._between(path_of(keys) + MARK, path_of(keys) + BEHIND) if keys else true()

    def ordered(self, keys: tuple[str, ...]) -> ColumnElement[bool]:
        """This is the row of a path, and its value has a place in an order."""
        return and_(self.present(keys), *(self.entry != _text(path_of(keys) + MARK + key_of(text)) for text in self.unordered))

    def compares(self, keys: tuple[str, ...], operator: Operator, value: JsonScalar) -> ColumnElement[bool]:
        """This is the row of a path, and its value compares like that."""
        return self._compares(path_of(keys) + MARK, operator, value)

    def fits(self, keys: tuple[str, ...], pattern: Pattern) -> ColumnElement[bool]:
        """This is the row of a path, and its value is text that fits a pattern."""
        return self._fits(path_of(keys) + MARK, pattern)

    def has(self, keys: tuple[str, ...], wanted: JsonScalar | Pattern) -> ColumnElement[bool]:
        """This is the row of an element, of a key below, of a text with that part, or of the value itself."""
        itself, element = path_of(keys) + MARK, element_path(keys) + MARK
        if not isinstance(wanted, str | Pattern):
            return or_(*(self._compares(at, Operator.EQ, wanted) for at in (itself, element)))
        pattern = Pattern((wanted,)) if isinstance(wanted, str) else wanted
        found = [self._compares(element, Operator.EQ, pattern.text) if pattern.is_plain else self._fits(element, pattern)]
        if keys:
            part = fits(self.text, pattern.inside(), ignore_case=True)
            found.append(and_(self._between(itself + TEXT, itself + _NEXT[TEXT]), part))
        if pattern.is_plain:
            found.append(self.present((*keys, pattern.text)))
        return or_(*found)

    def _compares(self, at: str, operator: Operator, value: JsonScalar) -> ColumnElement[bool]:
        match value:
            case None if operator is Operator.EQ:
                return self.entry == _text(at + NULL)
            case None:
                return self._between(at + FALSE, at[: -len(MARK)] + BEHIND)
            case bool():
                return self.entry == _text(at + (TRUE if value is (operator is Operator.EQ) else FALSE))
            case str():
                return self._compares_text(at, operator, value)
        return self._compares_key(at, operator, NUMBER, key_of(value))

    def _compares_text(self, at: str, operator: Operator, value: str) -> ColumnElement[bool]:
        if len(value) < TEXT_CHARACTERS:
            return self._compares_key(at, operator, TEXT, key_of(value))
        begins_alike = self.entry == _text(at + key_of(value))
        if operator is Operator.EQ:
            return and_(begins_alike, self.text == _text(value))
        strictly = {Operator.LE: Operator.LT, Operator.GE: Operator.GT}.get(operator, operator)
        by_text = OPERATORS[operator](by_code_point(self.text), _text(value))
        return or_(self._compares_key(at, strictly, TEXT, key_of(value)), and_(begins_alike, by_text))

    def _compares_key(self, at: str, operator: Operator, type_: str, key: str) -> ColumnElement[bool]:
        """The key compares like that, and is of the same type."""
        compared = OPERATORS[operator](self.entry, _text(at + key))
        match operator:
            case Operator.EQ:
                return compared
            case Operator.NE:
                return and_(self._between(at + type_, at + _NEXT[type_]), compared)
            case Operator.LT | Operator.LE:
                return and_(self.entry >= _text(at + type_), compared)
        return and_(compared, self.entry < _text(at + _NEXT[type_]))

    def _fits(self, at: str, pattern: Pattern) -> ColumnElement[bool]:
        """The value is text that fits; where the pattern begins with text, an index finds it."""
        first = at + TEXT + pattern.pieces[0][:TEXT_CHARACTERS]
        return and_(self._between(first, after(first)), fits(self.text, pattern))

    def _between(self, first: str, behind: str) -> ColumnElement[bool]:
        return and_(self.entry >= _text(first), self.entry < _text(behind))


_NEXT: Final[Mapping[str, str]] = {NUMBER: TEXT, TEXT: LIST}
"""The first key behind those of a type."""


def _text(value: str) -> ColumnElement[str]:
    return literal(value, Text())
