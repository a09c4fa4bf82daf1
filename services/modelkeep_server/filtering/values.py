"""What people write for numbers, sizes and times."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,5})?")
_INTEGER: Final = re.compile(r"[+-]?\d+")
_NOT_FINITE: Final = re.compile(r"[+-]?(nan|inf(inity)?)", re.IGNORECASE)
_SIZE: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([kmgtpe]?i?b)?", re.IGNORECASE)
_AGO: Final = re.compile(r"-(\d{1,6}(?:\.\d{1,6})?)([smhdw])")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}([.,]\d{1,9})?([Zz]|[+-]\d{2}:\d{2})?")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Period:
    """From a moment up to another, in microseconds since 1970; a moment itself is one microsecond long."""

    start: int
    end: int


def is_not_finite(text: str) -> bool:
    """Whether it is a way to write NaN or infinity."""
    return _NOT_FINITE.fullmatch(text) is not None


def parse_number(text: str) -> int | float | None:
    """An integer of any size, or the nearest double; None when it is no number. Raises OverflowError beyond all doubles."""
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text) is None:
        return None
    number = float(text)
    if math.isinf(number):
        raise OverflowError
    return number


def parse_exact(text: str) -> Decimal | None:
    """A number exactly as it is written; None when it is none, or has an exponent that no count has."""
    try:
        number = Decimal(text) if _NUMBER.fullmatch(text) else None
    except InvalidOperation:
        return None
    return None if number is None or abs(number.adjusted()) > 5000 else number


def parse_size(text: str) -> Decimal | None:
    """A number of bytes, perhaps with a unit: `1.5GiB`, `10 MB`. None when it is none."""
    match = _SIZE.fullmatch(text)
    if match is None:
        return parse_exact(text)
    unit = (match[2] or "b").lower()
    base = 1024 if unit[1:2] == "i" else 1000
    return None if unit == "ib" else Decimal(match[1]) * base ** "bkmgtpe".index(unit[0])


def parse_ago(text: str) -> int | None:
    """`-7d` as microseconds; None when it is no such thing."""
    match = _AGO.fullmatch(text)
    return None if match is None else int(Decimal(match[1]) * _SECONDS[match[2]] * 1_000_000)


def parse_time(text: str) -> Period | None:
    """A moment in RFC 3339 (UTC when it does not say), or a whole day; None when it is neither."""
    try:
        if _DAY.fullmatch(text):
            day = date.fromisoformat(text)
            start = _micros(datetime(day.year, day.month, day.day, tzinfo=UTC))
            return Period(start, start + 86_400_000_000)
        if _MOMENT.fullmatch(text) is None:
            return None
        moment = datetime.fromisoformat(text.upper().replace(",", "."))
    except ValueError:
        return None
    micros = _micros(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    return Period(micros, micros + 1)


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
