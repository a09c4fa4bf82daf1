"""What one comparison means, by the kind of its field; here a value that cannot be compared is refused."""

from __future__ import annotations

import math
import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

from modelkeep_server.filtering.complaint import FilterError, shown
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
    JsonScalar,
    Not,
    Operator,
    Pattern,
    Present,
    Some,
)
from modelkeep_server.filtering.fields import Field, Kind
from modelkeep_server.filtering.syntax import MAX_SOUGHT, Restriction, Value
from modelkeep_server.filtering.values import (
    is_not_finite,
    parse_ago,
    parse_exact,
    parse_number,
    parse_size,
    parse_time,
)

_LARGEST: Final = 2**63 - 1
_EQUALITY: Final = {Operator.EQ, Operator.NE, Operator.HAS}
_WORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None}
_HEX: Final = re.compile(r"(?:sha256:)?([0-9a-fA-F]{0,64})")


def meaning(restriction: Restriction, field: Field) -> Expression:
    """What a comparison of a field with a value means. Raises FilterError."""
    name, operator, value = restriction.path.field, restriction.operator, restriction.value
    if operator is None or value is None:
        raise AssertionError("a field by itself is read elsewhere")
    if field.kind is Kind.JSON:
        return _json(restriction, field, operator, value)
    if value.is_star and operator is Operator.HAS:
        return _present(name, field)
    if not value.is_quoted and value.text == "null":
        raise _bad(value, f"{name} is never null; ask {name}:* whether it is there, or NOT {name}:*", name)
    match field.kind:
        case Kind.TEXT | Kind.RESOURCE:
            return _text(restriction, field, operator, value)
        case Kind.LABELS:
            _only_equality(restriction, operator, field.kind.value)
            _only_short(restriction, operator, value)
            has = HasLabel(name, value.pattern)
            return Not(has) if operator is Operator.NE else has
        case Kind.CHOICE | Kind.FLAG | Kind.DIGEST:
            _only_equality(restriction, operator, field.kind.value)
            found = {Kind.CHOICE: _choice, Kind.FLAG: _flag, Kind.DIGEST: _digest}[field.kind](name, value, field)
            return Not(found) if operator is Operator.NE else found
        case Kind.TIME:
            return _time(name, operator, value)
    return _number(name, operator, value, field.kind)


def _present(name: str, field: Field) -> Expression:
    match field.kind:
        case Kind.LABELS:
            return HasLabel(name, Pattern(("", "")))
        case Kind.TEXT | Kind.RESOURCE:
            return Compare(name, Operator.NE, "")
        case Kind.FLAG | Kind.TIME | Kind.VERSION:
            return Present(name)
    return Constant(True)


def _text(restriction: Restriction, field: Field, operator: Operator, value: Value) -> Expression:
    name, pattern = restriction.path.field, value.pattern
    if wrong := set(field.forbidden) & set(value.text):
        raise _bad(value, f"no {name} has a {shown(min(wrong))} in it; {field.hint}", name)
    _only_short(restriction, operator, value)
    if operator is Operator.HAS:
        return Fits(name, pattern.inside(), ignore_case=True)
    if operator in _EQUALITY:
        if field.kind is Kind.RESOURCE and "/" not in value.text and value.text:
            pattern = Pattern(("", field.marker + pattern.pieces[0], *pattern.pieces[1:]))
        if pattern.is_plain:
            return Compare(name, operator, pattern.text)
        return Fits(name, pattern) if operator is Operator.EQ else Not(Fits(name, pattern))
    _no_wildcard(restriction, operator, value)
    return Compare(name, operator, value.text)


def _choice(name: str, value: Value, field: Field) -> Expression:
    word = value.text.lower()
    if word not in field.choices:
        raise _bad(value, f"{name} is never {shown(value.text)}; it is one of {', '.join(field.choices)}", name)
    return Compare(name, Operator.EQ, word)


def _flag(name: str, value: Value, _field: Field) -> Expression:
    flag = _WORDS.get(value.text.lower())
    if flag is None:
        raise _bad(value, f"{name} is true or false, not {shown(value.text)}", name)
    return Present(name) if flag else Not(Present(name))


def _digest(name: str, value: Value, _field: Field) -> Expression:
    pieces = value.pattern.pieces
    match = _HEX.fullmatch(pieces[0])
    whole = match is not None and len(match[1]) == 64 and len(pieces) == 1
    if match is None or not (whole or (len(pieces) == 2 and not pieces[1])):
        raise _bad(value, f"{name} is sha256: and 64 hexadecimal digits, or fewer of them and a * after them", name)
    low, high = (bytes.fromhex(match[1].lower().ljust(64, digit)) for digit in "0f")
    return Every((Compare(name, Operator.GE, low), Compare(name, Operator.LE, high)))


def _time(name: str, operator: Operator, value: Value) -> Expression:
    ago = parse_ago(value.text)
    if ago is not None:
        if operator in _EQUALITY:
            raise _bad(value, f"{value.text} is a moment that no {name} hits; use < or >", name)
        return Compare(name, operator, Ago(ago))
    period = parse_time(value.text)
    if period is None:
        expected = "a day as 2026-11-30, a moment as 2026-11-30T12:00:00Z, or a time ago as -7d (s, m, h, d, w)"
        raise _bad(value, f"{shown(value.text)} is no {name}: expected {expected}", name)
    inside = (Compare(name, Operator.GE, period.start), Compare(name, Operator.LT, period.end))
    match operator:
        case Operator.LT | Operator.GE:
            return Compare(name, operator, period.start)
        case Operator.LE:
            return Compare(name, Operator.LT, period.end)
        case Operator.GT:
            return Compare(name, Operator.GE, period.end)
        case Operator.NE:
            return Some((Compare(name, Operator.LT, period.start), Compare(name, Operator.GE, period.end)))
    return Every(inside)


def _number(name: str, operator: Operator, value: Value, kind: Kind) -> Expression:
    text = value.text
    match kind:
        case Kind.SIZE:
            number, expected = parse_size(text), "a number of bytes, or one with a unit: 500MB, 1.5GiB"
        case Kind.VERSION:
            number, expected = parse_exact(text[1:] if text[:1] in {"v", "V"} else text), "a number such as 3 or v3"
        case _:
            number, expected = parse_exact(text), "a number"
    if number is None:
        raise _bad(value, f"{shown(text)} is no {name}: expected {expected}", name)
    return _integer(name, Operator.EQ if operator is Operator.HAS else operator, number)


def _integer(name: str, operator: Operator, number: Decimal) -> Expression:
    """The comparison of an integer column with any number, as one that the database can hold."""
    low, high = (int(number.to_integral_value(rounding)) for rounding in (ROUND_FLOOR, ROUND_CEILING))
    if operator in _EQUALITY and (low != high or abs(low) > _LARGEST):
        never = Compare(name, Operator.LT, -_LARGEST)
        return never if operator is Operator.EQ else Compare(name, Operator.GE, -_LARGEST)
    bound = low if operator in {Operator.LE, Operator.GT} else high
    return Compare(name, operator, max(-_LARGEST, min(bound, _LARGEST)))


def _json(restriction: Restriction, field: Field, operator: Operator, value: Value) -> Expression:
    name, path = restriction.path.field, restriction.path.keys
    operand = _json_operand(value, field, name)
    if isinstance(operand, Pattern) or (isinstance(operand, str) and path):  # without a path it is a key, and keys are equal
        _only_short(restriction, operator, value)
    if operator is Operator.HAS:
        return JsonPresent(name, path) if value.is_star else JsonHas(name, path, operand)
    if not path:
        raise FilterError(f"say which value is compared: {name}.accuracy", restriction.path.position, field_name=name)
    if operator not in _EQUALITY and (operand is None or isinstance(operand, bool)):
        raise _bad(value, f"{value.text} has no larger and smaller; use = or !=", restriction.path.written)
    if isinstance(operand, Pattern):
        _no_wildcard(restriction, operator, value)
        fits = JsonFits(name, path, operand)
        return fits if operator is Operator.EQ else Every((JsonFits(name, path, Pattern(("", ""))), Not(fits)))
    return JsonCompare(name, path, operator, operand)


def _json_operand(value: Value, field: Field, name: str) -> JsonScalar | Pattern:
    """What a value of metadata is compared with: a JSON value by how it is written, text in quotes, or any other word."""
    text = value.text
    if not value.pattern.is_plain:
        return value.pattern
    if value.is_quoted:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if is_not_finite(text):
        if not field.is_finite:
            return "NaN" if math.isnan(float(text)) else float(text)
        message = f"{name} holds no NaN, which became null, and no infinity; ask = null, or put the text into quotes"
        raise _bad(value, message, name)
    try:
        number = parse_number(text)
    except OverflowError:
        raise _bad(value, f"this number is beyond all that {name} can hold", name) from None
    return text if number is None else number


def _only_equality(restriction: Restriction, operator: Operator, kind: str) -> None:
    if operator not in _EQUALITY:
        name = restriction.path.field
        message = f"{name} is a {kind} and has no larger and smaller; use =, != or :"
        raise FilterError(message, restriction.operator_position, field_name=name)


def _only_short(restriction: Restriction, operator: Operator, value: Value) -> None:
    """A text may have a million places where what is sought in it could begin."""
    if len(value.text) > MAX_SOUGHT and (operator is Operator.HAS or not value.pattern.is_plain):
        message = f"what is sought inside of texts has at most {MAX_SOUGHT} characters, and this has {len(value.text):,}"
        raise FilterError(message, value.position, field_name=restriction.path.field, limit=MAX_SOUGHT)


def _no_wildcard(restriction: Restriction, operator: Operator, value: Value) -> None:
    if operator not in _EQUALITY and not value.pattern.is_plain:
        message = (
            f"a wildcard has no larger and smaller; use =, != or :, or \\* in quotes for a star in {restriction.path.written}"
        )
        raise _bad(value, message, restriction.path.field)


def _bad(value: Value, message: str, name: str) -> FilterError:
    return FilterError(message, value.position, field_name=name, value=value.text[:100])
