"""JSON objects that runs carry: a config, and a summary.

NaN and the infinities, which JSON cannot hold, stand in them as texts; a client that writes them as bare words means the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from modelkeep.errors import InvalidMetadata, LimitExceeded
from modelkeep.metadata import SHOWN, is_double

MAX_DEPTH: Final = 32
NAN: Final = "NaN"
INFINITIES: Final = {"Infinity": math.inf, "-Infinity": -math.inf}


def parse_object(text: str, field: str, most: int) -> dict[str, Any]:
    """Read a JSON object of at most `most` bytes; an empty text is the empty object. Raises LimitExceeded, InvalidMetadata."""
    _require_bytes(text, field, most)
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise InvalidMetadata(f"{field} is not JSON: {error}; send the text of a JSON object", field=field) from None
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise InvalidMetadata(f"{field} must be a JSON object, not {kind}; put the value under a key", field=field)
    return {_clean(key, field, 1): _clean(item, f"{field}.{key}", 2) for key, item in value.items()}


def encode_object(values: Mapping[str, Any], field: str, most: int) -> str:
    """The text of a JSON object that was parsed, with its keys sorted. Raises LimitExceeded."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    _require_bytes(text, field, most)
    return text


def json_number(value: float) -> float | str:
    """A number as it stands in JSON."""
    if math.isfinite(value):
        return value
    return NAN if math.isnan(value) else next(text for text, infinity in INFINITIES.items() if infinity == value)


def number_of(value: Any) -> float | None:
    """The number that a JSON value is, an infinity included; None when it is none."""
    if isinstance(value, str):
        return INFINITIES.get(value)
    return None if isinstance(value, bool) or not isinstance(value, int | float) else float(value)


def number_at(json_text: str, path: Sequence[str]) -> float | None:
    """The number at a path of an object; None when there is none."""
    value = json.loads(json_text)
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return number_of(value)


def _require_bytes(text: str, field: str, most: int) -> None:
    size = len(text.encode(errors="surrogatepass"))
    if size > most:
        message = f"{field} has {size:,} bytes; at most {most:,} are allowed: keep what is large in a version, and name it here"
        raise LimitExceeded(message, field=field, limit=most, size=size)


def _clean(value: Any, where: str, depth: int) -> Any:
    where = where[:SHOWN]  # a place is made for every value: with long keys they would be more than the text
    if depth > MAX_DEPTH:
        raise InvalidMetadata(f"{where} is more than {MAX_DEPTH} levels deep; flatten it", field=where)
    match value:
        case float():
            return json_number(value)
        case int() if not is_double(value):
            message = f"{where} is an integer of {value.bit_length():,} bits, more than a double can hold; write it as a text"
            raise InvalidMetadata(message, field=where)
        case str() if any("\ud800" <= c <= "\udfff" for c in value):
            plain = where.encode(errors="replace").decode()
            raise InvalidMetadata(f"{plain} is not text that UTF-8 can hold; write it without surrogates", field=plain)
        case dict():
            return {_clean(key, where, depth): _clean(item, f"{where}.{key}", depth + 1) for key, item in value.items()}
        case list():
            return [_clean(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
    return value
