"""JSON objects as rows that a database can search: one row per value, whose entry is text that sorts as the values do.

    entry := path "~=" key
    path  := "/" key, for each key on the way; "~" in a key is "~0", "/" is "~1". A long path ends in its hash.
    key   := "1"                         null
           | "2f" | "2t"                 false, true
           | "3" number                  exact, for integers of any size and doubles
           | "4" text                    its first 128 characters
           | "5" | "6"                   a list, an object

Elements of a list have the path of the list and "~e". Entries compare by code point (on PostgreSQL with the collation "C").
A number is `o` for zero, else `p` or `n`, the exponent of two in 4 hexadecimal digits, and the digits of the mantissa after the
leading one; of a negative number every digit is turned round, and `g` follows. The infinities have the exponent `ffff`.

Path and key are one column, so that a database knows how often a value of one path occurs, and one index finds and sorts it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

MAX_VALUES: Final = 1000
"""Of one object: the shallow ones first, so that a long list deep inside crowds nothing else out."""
TEXT_CHARACTERS: Final = 128
"""How much of a text is in its key."""
MAX_PATH_CHARACTERS: Final = 200
MARK: Final = "~="
"""Between path and key; no path has it."""
BEHIND: Final = "~>"
"""After a path, what is behind all its entries."""
NULL: Final = "1"
FALSE: Final = "2f"
TRUE: Final = "2t"
NUMBER: Final = "3"
TEXT: Final = "4"
LIST: Final = "5"
OBJECT: Final = "6"

_ELEMENT: Final = "~e"
"""At the end of the path of the elements of a list."""
_EXPONENT: Final = 0x8000
"""Added to an exponent, so that it is never negative."""
_TURNED: Final = str.maketrans("0123456789abcdef", "fedcba9876543210")


@dataclass(frozen=True, slots=True)
class Value:
    """One row."""

    entry: str
    ordinal: int
    """Of an element in its list; else 0."""
    text: str | None
    """The whole text, of text."""

    @property
    def is_number(self) -> bool:
        """Whether it is a number, and no element of a list."""
        path, _, key = self.entry.partition(MARK)
        return key.startswith(NUMBER) and not path.endswith(_ELEMENT)


def values_of(metadata_json: str) -> Iterator[Value]:
    """The rows of a JSON object, at most 1,000. No two values have the same path."""
    level: list[tuple[tuple[str, ...], Any]] = [((), json.loads(metadata_json))]
    seen: set[tuple[str, int]] = set()
    while level:
        found = (row for keys, value in level for row in _below(keys, value))
        level = []
        for keys, path, row, value in found:
            if (path, row.ordinal) in seen:
                continue  # two keys that a database cannot tell apart
            if len(seen) == MAX_VALUES:
                return
            seen.add((path, row.ordinal))
            yield row
            if isinstance(value, dict | list):
                level.append((keys, value))


def _below(keys: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], str, Value, Any]]:
    """What a value holds: keys, path, row and value of each. What is in lists and objects inside a list has no row."""
    if isinstance(value, dict):
        for key, item in sorted(value.items()):
            path = path_of((*keys, key))
            yield (*keys, key), path, _row(path, 0, item), item
    else:
        path = element_path(keys)
        for ordinal, item in enumerate(value):
            if not isinstance(item, dict | list):
                yield keys, path, _row(path, ordinal, item), None


def _row(path: str, ordinal: int, value: Any) -> Value:
    return Value(path + MARK + key_of(value), ordinal, storable(value) if isinstance(value, str) else None)


def path_of(keys: tuple[str, ...]) -> str:
    """How the way to a value is written."""
    path = "".join("/" + storable(key).replace("~", "~0").replace("/", "~1") for key in keys)
    return path if len(path) <= MAX_PATH_CHARACTERS else f"{path[:100]}~#{hashlib.sha256(path.encode()).hexdigest()}"


def element_path(keys: tuple[str, ...]) -> str:
    """How the way to the elements of a list is written."""
    return path_of(keys) + _ELEMENT


def numbers_of(keys: tuple[str, ...]) -> tuple[str, str]:
    """The first entry that a number at this path can have, and the one behind all of them."""
    path = path_of(keys) + MARK
    return path + NUMBER, path + TEXT


def number_at(metadata_json: str, keys: tuple[str, ...]) -> int | float | None:
    """The number at a path of a JSON object, if that has a row of its own."""
    first, behind = numbers_of(keys)
    if not any(first <= value.entry < behind for value in values_of(metadata_json)):
        return None
    return written_at(metadata_json, keys)


def written_at(metadata_json: str, keys: tuple[str, ...]) -> int | float | None:
    """The number at a path of a JSON object, also if it has no row, as too many values come before it."""
    found = json.loads(metadata_json)
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, int | float) and not isinstance(found, bool) else None


def key_of(value: Any) -> str:
    """The key of a JSON value."""
    match value:
        case None:
            return NULL
        case bool():
            return TRUE if value else FALSE
        case int() | float():
            return NUMBER + number_key(value)
        case str():
            return TEXT + storable(value)[:TEXT_CHARACTERS]
        case list():
            return LIST
    return OBJECT


def number_key(number: float) -> str:
    """A number as text that sorts like it."""
    if number == 0:
        return "o"
    if isinstance(number, float) and math.isinf(number):
        return "pffff" if number > 0 else "n0000g"
    numerator, denominator = abs(number).as_integer_ratio()  # of a double the denominator is a power of two
    bits = numerator.bit_length()
    exponent = bits - denominator.bit_length()
    width = -(-(bits - 1) // 4) * 4
    mantissa = (numerator - (1 << (bits - 1))) << (width - bits + 1)
    digits = f"{_EXPONENT + exponent:04x}" + (f"{mantissa:0{width // 4}x}".rstrip("0") if width else "")
    return "p" + digits if number > 0 else "n" + digits.translate(_TURNED) + "g"


def storable(text: str) -> str:
    """The text as every database can keep it: PostgreSQL has no NUL in text."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def after(prefix: str) -> str:
    """The first text behind all that begin with `prefix`, which does not begin with the last of all characters."""
    kept = prefix.rstrip("\U0010ffff")
    last = ord(kept[-1])
    return kept[:-1] + chr(0xE000 if last == 0xD7FF else last + 1)
