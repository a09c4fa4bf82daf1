"""What is said of a filter that cannot be read: what, and where, with a mark below the character."""

from __future__ import annotations

import unicodedata
from typing import Final

from modelkeep.errors import InvalidFilter

FIELDS: Final = {
    "filter": "filter",
    "order_by": "order",
    "metric": "metric",
    "expression": "rule",
    "only_if_better.key": "key",
}
"""How people call the fields of a request."""
_BEFORE: Final = 60
_AFTER: Final = 40


class FilterError(Exception):
    """A part of a text that means nothing; says where it begins."""

    def __init__(self, message: str, position: int, **metadata: str | int) -> None:
        super().__init__(message)
        self.message = message
        self.position = position
        self.metadata = metadata


def complain(error: FilterError, text: str, field: str) -> InvalidFilter:
    """The error to raise: it shows the text around the position, and a caret below it."""
    position = min(error.position, len(text))
    start = max(0, position - _BEFORE)
    before, after = _plain(text[start:position]), _plain(text[position : position + _AFTER])
    if start:
        before = "…" + before
    if position + _AFTER < len(text):
        after += "…"
    message = (
        f"in the {FIELDS[field]}, at character {position + 1}: {error.message}\n  {before}{after}\n  {' ' * _width(before)}^"
    )
    return InvalidFilter(message, field=field, position=position, **error.metadata)


def shown(text: str) -> str:
    """A piece of a filter as a message quotes it."""
    return repr(text if len(text) <= 60 else text[:59] + "…")


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _width(text: str) -> int:
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
