"""What a filter means, in plain Python: written from `docs/filter.md`, apart from the code of the service."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

MISSING = object()
LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True)
class Row:
    """A version, as far as filters see it."""

    number: int
    metadata: dict[str, Any]
    description: str = ""
    tags: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    stored_bytes: int = 0
    verified_micros: int | None = None
    """None when it is not verified."""


@dataclass(frozen=True)
class Asks:
    """One comparison: a field or a path of metadata, an operator, and a value with wildcards for text."""

    path: tuple[str, ...]
    operator: str
    value: Any = None
    wildcards: bool = False
    """Whether the value is a list of the pieces between wildcards."""
    written: str = ""
    """The value as the filter has it, where it is not to be made from the value."""

    def text(self) -> str:
        head, *keys = self.path
        path = head + "".join(f".{quoted(key)}" for key in keys)
        return f"{path}{self.operator}{self.written or literal(self.value, wildcards=self.wildcards)}"


@dataclass(frozen=True)
class Junction:
    """Several tests, one of them turned round, or all or some of many."""

    kind: str
    terms: tuple[Any, ...] = field(default=())

    def text(self) -> str:
        parts = [f"({term.text()})" for term in self.terms]
        return f"NOT {parts[0]}" if self.kind == "NOT" else f" {self.kind} ".join(parts)


PRESENT = "*"


def quoted(text: str) -> str:
    escaped = "".join(f"\\{c}" if c in '"\\*' else c for c in text)
    return f'"{escaped}"'


def literal(value: Any, *, wildcards: bool) -> str:
    if value is PRESENT:
        return "*"
    if wildcards:
        return '"' + "*".join(quoted(piece)[1:-1] for piece in value) + '"'
    if isinstance(value, str):
        return quoted(value)
    return json.dumps(value)


def holds(test: Any, row: Row) -> bool:
    """Whether a filter is true of a version."""
    match test:
        case Junction("NOT", (term,)):
            return not holds(term, row)
        case Junction("AND", terms):
            return all(holds(term, row) for term in terms)
        case Junction("OR", terms):
            return any(holds(term, row) for term in terms)
    if test.path[0] == "metadata":
        return _of_metadata(test, _find(row.metadata, test.path[1:]))
    return _of_field(test, row)


def _of_field(test: Asks, row: Row) -> bool:
    match test.path[0]:
        case "tag" | "alias":
            labels = row.tags if test.path[0] == "tag" else row.aliases
            found = any(_fits(test, label) for label in labels) if test.value is not PRESENT else bool(labels)
            return found != (test.operator == "!=")
        case "description":
            if test.operator == ":":
                return row.description != "" if test.value is PRESENT else _contains(test, row.description)
            return _of_text(test, row.description)
        case "version":
            return _compare(row.number, "=" if test.operator == ":" else test.operator, test.value)
        case "size":
            return _compare(row.stored_bytes, test.operator, test.value)
    if test.value is PRESENT:
        return row.verified_micros is not None
    return row.verified_micros is not None and _compare(row.verified_micros, test.operator, test.value)


def _of_metadata(test: Asks, value: Any) -> bool:
    if value is MISSING:
        return False
    if test.operator == ":":
        return (len(test.path) > 1 or value != {}) if test.value is PRESENT else _has(test, value)
    if test.value is None:
        return (value is None) == (test.operator == "=")
    if isinstance(test.value, str) or test.wildcards:
        return isinstance(value, str) and _of_text(test, storable(value))
    if isinstance(test.value, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(test.value, bool) and _compare(value, test.operator, test.value)
    return isinstance(value, int | float) and _compare(value, test.operator, test.value)


def _has(test: Asks, value: Any) -> bool:
    if isinstance(value, list):
        equal = Asks(test.path, "=", test.value, test.wildcards)
        return any(_of_metadata(equal, item) for item in value if not isinstance(item, list | dict))
    if isinstance(value, dict):
        return isinstance(test.value, str) and test.value in {storable(key) for key in value}
    if isinstance(value, str):
        return (isinstance(test.value, str) or test.wildcards) and _contains(test, storable(value))
    return _of_metadata(Asks(test.path, "=", test.value, test.wildcards), value)


def _of_text(test: Asks, text: str) -> bool:
    if test.operator in {"=", "!="}:
        return _fits(test, text) == (test.operator == "=")
    return _compare(text, test.operator, test.value)


def _fits(test: Asks, text: str) -> bool:
    pieces = test.value if test.wildcards else [test.value]
    return re.fullmatch(".*".join(map(re.escape, pieces)), text, re.DOTALL) is not None


def _contains(test: Asks, text: str) -> bool:
    pieces = test.value if test.wildcards else [test.value]
    pattern = ".*".join(re.escape(piece.translate(LOWER)) for piece in pieces)
    return re.search(pattern, text.translate(LOWER), re.DOTALL) is not None


def _compare(one: Any, operator: str, other: Any) -> bool:
    match operator:
        case "=":
            return bool(one == other)
        case "!=":
            return bool(one != other)
        case "<":
            return bool(one < other)
        case "<=":
            return bool(one <= other)
        case ">":
            return bool(one > other)
    return bool(one >= other)


def _find(value: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        if not isinstance(value, dict):
            return MISSING
        value = {storable(name): item for name, item in sorted(value.items(), reverse=True)}.get(key, MISSING)
    return value


def storable(text: str) -> str:
    return text.replace("\x00", "\ufffd")


def rank(row: Row, path: tuple[str, ...], *, descending: bool) -> tuple[Any, ...]:
    """Where a version comes in an order by a value of metadata: by type, then by value; what is missing last."""
    value = _find(row.metadata, path)
    if value is MISSING:
        return (1,)
    match value:
        case None:
            key: tuple[Any, ...] = (0, 0)
        case bool():
            key = (1, value)
        case int() | float():
            key = (2, value)
        case str():
            key = (3, storable(value)[:128])
        case list():
            key = (4, 0)
        case _:
            key = (5, 0)
    return (0, Turned(key) if descending else key)


@dataclass(frozen=True)
class Turned:
    """Sorts the other way round."""

    key: Any

    def __lt__(self, other: Turned) -> bool:
        return bool(other.key < self.key)
