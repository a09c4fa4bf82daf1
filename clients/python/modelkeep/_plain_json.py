"""Configs and summaries as JSON: whatever a script has in them becomes what JSON can hold.

NaN and the infinities are the texts "NaN", "Infinity" and "-Infinity"; what is no JSON value is kept as its text.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from modelkeep.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DEPTH: Final = 32
_NAMED: Final = {math.inf: "Infinity", -math.inf: "-Infinity"}


def plain(value: Any, where: str, depth: int = 0) -> Any:
    """A value as JSON has it, a copy. Raises InvalidArgument for what is too deep, or refers to itself."""
    if depth > MAX_DEPTH:
        raise InvalidArgument(f"{where[:200]} is more than {MAX_DEPTH} levels deep", field=where[:200])
    if is_scalar_array(value):
        value = value.item()
    match value:
        case None | bool() | int():
            return value
        case float():
            return "NaN" if math.isnan(value) else _NAMED.get(value, float(value))
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {str(key): plain(item, f"{where}.{key}", depth + 1) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item, f"{where}[{place}]", depth + 1) for place, item in enumerate(value)]
    as_dict = getattr(value, "_asdict", None) or getattr(value, "items", None)
    if callable(as_dict):
        return plain(dict(as_dict()), where, depth)
    if hasattr(value, "tolist") and callable(value.tolist):
        return plain(value.tolist(), where, depth + 1)  # an array
    return str(value).encode("utf-8", "replace").decode()


def is_scalar_array(value: Any) -> bool:
    """Whether it is a number of numpy, torch or the like: an array with one element."""
    shape = getattr(value, "shape", None)
    return isinstance(shape, tuple) and all(size == 1 for size in shape) and callable(getattr(value, "item", None))


def encode(value: Mapping[str, Any]) -> str:
    """The text of a plain value."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def as_mapping(value: Any, what: str) -> dict[str, Any]:
    """A config as it may be given: a mapping, or an object with attributes such as argparse's. Raises InvalidArgument."""
    if hasattr(value, "items"):
        return dict(value.items())
    if hasattr(value, "__dict__") and not isinstance(value, type):
        return dict(vars(value))
    raise InvalidArgument(f"the {what} is a {type(value).__name__}; expected a mapping, such as a dict", field=what)
