"""Metadata: a JSON object that people may edit (SEM-6)."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from modelkeep.errors import InvalidMetadata
from modelkeep.names import kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_KEYS: Final = 100
MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 32
SHOWN: Final = 200
"""So many characters of a place in a value are told in an error."""


def encode(metadata: Mapping[str, Any]) -> str:
    """The text of a JSON object: keys sorted, NaN as null. Numpy scalars and the like count as the numbers they are.

    Raises InvalidMetadata.
    """
    cleaned = _clean(metadata, "metadata", 1)
    if not isinstance(cleaned, dict):
        raise InvalidMetadata(f"metadata must be a JSON object, not {type(metadata).__name__}", field="metadata")
    if len(cleaned) > MAX_KEYS:
        raise InvalidMetadata(f"metadata has {len(cleaned)} top-level keys; at most {MAX_KEYS} are allowed", field="metadata")
    text = json.dumps(cleaned, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    size = len(text.encode())
    if size > MAX_BYTES:
        raise InvalidMetadata(f"metadata has {size:,} bytes; at most {MAX_BYTES:,} are allowed", field="metadata")
    return text


def decode(text: str) -> dict[str, Any]:
    """Read and check the text of a JSON object; an empty text is the empty object. Raises InvalidMetadata."""
    if len(text) > 2 * MAX_BYTES:
        raise InvalidMetadata(f"metadata has more than {MAX_BYTES:,} bytes", field="metadata")
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise InvalidMetadata(f"metadata is not JSON: {error}", field="metadata") from None
    if not isinstance(value, dict):
        raise InvalidMetadata(f"metadata must be a JSON object, not {type(value).__name__}", field="metadata")
    encode(value)
    return value


def is_double(value: int) -> bool:
    """Whether an integer does not overflow a double: of others, readers of JSON that know only doubles have nothing."""
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _clean(value: Any, where: str, depth: int) -> Any:
    where = where[:SHOWN]  # a place is made for every value: with long keys they would be more than the text
    if depth > MAX_DEPTH:
        raise InvalidMetadata(f"metadata is more than {MAX_DEPTH} levels deep at {where}", field=where)
    if hasattr(value, "item") and callable(value.item) and getattr(value, "shape", None) == ():
        value = value.item()  # a numpy or torch scalar
    match value:
        case None | bool():
            return value
        case int():
            if not is_double(value):
                message = (
                    f"{where} is an integer of {value.bit_length():,} bits, more than a double can hold; write it as a text"
                )
                raise InvalidMetadata(message, field=where)
            return value
        case str():
            if any("\ud800" <= c <= "\udfff" for c in value):
                raise InvalidMetadata(f"{where} is not text that UTF-8 can hold", field=where)
            return value
        case float():
            if math.isinf(value):
                raise InvalidMetadata(f"{where} is infinite, which JSON cannot hold", field=where)
            return None if math.isnan(value) else value
        case dict():
            for key in value:
                if not isinstance(key, str):
                    raise InvalidMetadata(f"the key {key!r} in {where} is not a string", field=where)
            return {_clean(key, where, depth): _clean(item, f"{where}.{key}", depth + 1) for key, item in value.items()}
        case list() | tuple():
            return [_clean(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
    raise InvalidMetadata(f"{where} is {kind_of(value)}, which JSON cannot hold", field=where)
