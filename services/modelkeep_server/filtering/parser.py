"""From the texts of a request to a checked query: every field exists, every value is of a kind that it can be compared with."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

from modelkeep_server.filtering.complaint import FilterError, complain, shown
from modelkeep_server.filtering.expression import EVERYTHING, By, Every, Expression, Not, Present, Query, Some
from modelkeep_server.filtering.fields import UNORDERED, Field, Fields, Kind
from modelkeep_server.filtering.meaning import meaning
from modelkeep_server.filtering.syntax import Direction, Junction, Negation, Node, Path, Restriction, read_filter, read_order

MAX_ORDER: Final = 5
"""Things to order by."""
_KEYWORDS: Final = {"and", "or", "not"}


def parse_query(filter_text: str, order_text: str, fields: Fields) -> Query:
    """What a list is asked for. Raises InvalidFilter."""
    return Query(_parse_filter(filter_text, fields), _parse_order(order_text, fields), filter_text, order_text)


def parse_path(text: str, field: str, called: str) -> tuple[str, ...]:
    """The path of a value in the JSON object `field`, as a filter writes it after the dot. Raises InvalidFilter.

    `called` is what the request calls the text.
    """
    before = f"{field}."
    try:
        return _path(before + text)
    except FilterError as error:
        error.position = max(0, error.position - len(before))
        raise complain(error, text, called) from None


def _path(text: str) -> tuple[str, ...]:
    direction, *more = read_order(text)
    if more or direction.descending or direction.path.written != text:
        raise FilterError("keys with dots between them are expected here, and nothing else", 0)
    return direction.path.keys


def _parse_filter(text: str, fields: Fields) -> Expression:
    if not text.strip():
        return EVERYTHING
    try:
        return _checked(read_filter(text), fields)
    except FilterError as error:
        raise complain(error, text, "filter") from None


def _parse_order(text: str, fields: Fields) -> tuple[By, ...]:
    if not text.strip():
        return ()
    try:
        return _ordered(read_order(text), fields)
    except FilterError as error:
        raise complain(error, text, "order_by") from None


def _ordered(directions: Sequence[Direction], fields: Fields) -> tuple[By, ...]:
    order: dict[tuple[str, tuple[str, ...]], By] = {}
    for path, descending in ((direction.path, direction.descending) for direction in directions):
        _check_ordered(path, fields)
        if (path.field, path.keys) in order:
            raise FilterError(f"{path.written} is there twice", path.position)
        if len(order) == MAX_ORDER:
            raise FilterError(f"there are more than {MAX_ORDER} things to order by", path.position, limit=MAX_ORDER)
        order[path.field, path.keys] = By(path.field, path.keys, descending)
    return tuple(order.values())


def _checked(node: Node, fields: Fields) -> Expression:
    match node:
        case Negation(term):
            return Not(_checked(term, fields))
        case Junction(terms, is_or):
            checked = tuple(_checked(term, fields) for term in terms)
            return Some(checked) if is_or else Every(checked)
        case Restriction(path, None):
            return _alone(path, fields)
    field = _field(node.path, fields)
    return meaning(node, field)


def _alone(path: Path, fields: Fields) -> Expression:
    """A field without a comparison: only what is true or false by itself."""
    if _field(path, fields).kind is Kind.FLAG:
        return Present(path.field)
    message = (
        f"{path.written} is compared with nothing; write for instance {path.written} = 1, or {path.written}:* if it is there"
    )
    raise FilterError(message, path.position, field_name=path.field)


def _field(path: Path, fields: Fields) -> Field:
    field = fields.get(path.field)
    if field is None:
        raise _unknown(path, fields)
    if path.keys and field.kind is not Kind.JSON:
        message = f"{path.field} is a {field.kind.value} and has no parts"
        raise FilterError(message, path.position + len(path.field), field_name=path.field)
    return field


def _unknown(path: Path, fields: Fields) -> FilterError:
    if path.field.lower() in _KEYWORDS:
        message = f"{path.field} stands between or before comparisons, in capitals; to negate twice takes parentheses"
        return FilterError(message, path.position, field_name=path.field)
    near = next(iter(get_close_matches(path.field[:100].lower(), fields, n=1, cutoff=0.5)), "")
    instead = f"did you mean {near}?" if near else "there are: " + ", ".join(fields)
    message = f"there is no field {shown(path.field)}; {instead}"
    return FilterError(message, path.position, field_name=path.field[:100], nearest=near)


def _check_ordered(path: Path, fields: Fields) -> None:
    field = _field(path, fields)
    if field.kind in UNORDERED or not field.is_ordered:
        raise FilterError(f"nothing can be ordered by {path.field}", path.position, field_name=path.field)
    if field.kind is Kind.JSON and not path.keys:
        message = f"nothing can be ordered by all of {path.field}; name a value: {path.field}.accuracy"
        raise FilterError(message, path.position, field_name=path.field)
