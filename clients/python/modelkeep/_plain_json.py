"""Configs and summaries as JSON: whatever a script has in them becomes what JSON can hold.

NaN and the infinities are the texts "NaN", "Infinity" and "-Infinity"; what is no JSON value is kept as its text.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

from modelkeep.errors import InvalidArgument
from modelkeep.names import kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DEPTH: Final = 32
"""Of a config or a summary as a whole, which is the first level, as a server counts."""
_NAMED: Final = {math.inf: "Infinity", -math.inf: "-Infinity"}


def plain(value: Any, where: str, depth: int = 1) -> Any:
    """A value as JSON has it, a copy; `depth` is its level. Raises InvalidArgument for what is too deep or in itself, too large
    an integer, and two keys that JSON cannot tell apart.
    """
    if depth > MAX_DEPTH:
        raise InvalidArgument(f"{where[:200]} is more than {MAX_DEPTH} levels deep", field=where[:200])
    if isinstance(value, type):
        return str(value)  # what its instances can do, it cannot
    fields = _fields(value)
    if fields is not None:
        return plain(fields, where, depth)
    if is_scalar_array(value):
        value = value.item()
    match value:
        case None | bool():
            return value
        case int():
            return _integer(value, where)
        case float():
            return "NaN" if math.isnan(value) else _NAMED.get(value, float(value))
        case str():
            return _text(value)
        case dict():
            return _object(value, where, depth)
        case list() | tuple() | set() | frozenset():
            return [plain(item, f"{where}[{place}]", depth + 1) for place, item in enumerate(value)]
    items = getattr(value, "items", None)
    if callable(items):
        return plain(dict(items()), where, depth)
    if hasattr(value, "tolist") and callable(value.tolist):
        return plain(value.tolist(), where, depth + 1)  # an array
    return _text(value)


def _object(value: dict[Any, Any], where: str, depth: int) -> dict[str, Any]:
    """An object. Its keys are texts, so of 1 and "1" it could keep but one. Raises InvalidArgument."""
    made: dict[str, Any] = {}
    for key, item in value.items():
        name = _text(key)
        at = f"{where}.{name}"
        if name in made:
            kinds = " and ".join(kind_of(other) for other in value if _text(other) == name)
            message = f"{at[:200]} is there twice: its keys are {kinds}, and in JSON both are the same text; rename one of them"
            raise InvalidArgument(message, field=at[:200])
        made[name] = plain(item, at, depth + 1)
    return made


def _text(value: Any) -> str:
    """The text of a value, as UTF-8 can hold it. Where it cannot tell its own, that is no reason to stop the script."""
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - code of the script, which may do anything
        text = f"<{type(value).__qualname__}>"
    return text.encode("utf-8", "replace").decode()


def _integer(value: int, where: str) -> int:
    """An integer that a JSON number can be. Raises InvalidArgument."""
    try:
        float(value)
    except OverflowError:
        message = f"{where[:200]} is an integer of {value.bit_length():,} bits, more than a double can hold; give it as a text"
        raise InvalidArgument(message, field=where[:200]) from None
    return value


def _fields(value: Any) -> dict[str, Any] | None:
    """What an object of named fields has in them: a dataclass, a named tuple, a namespace; None when it is none of these."""
    if isinstance(value, type):
        return None
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and callable(getattr(value, "_asdict", None)):
        return dict(cast("Any", value)._asdict())
    argparse = sys.modules.get("argparse")  # who has one of its namespaces has imported it
    if isinstance(value, SimpleNamespace) or (argparse is not None and isinstance(value, argparse.Namespace)):
        return dict(vars(value))
    return None


def is_scalar_array(value: Any) -> bool:
    """Whether it is a number of numpy, torch or the like: an array with one element."""
    shape = getattr(value, "shape", None)
    return isinstance(shape, tuple) and all(size == 1 for size in shape) and callable(getattr(value, "item", None))


def encode(value: Mapping[str, Any]) -> str:
    """The text of a plain value."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def as_mapping(value: Any, what: str) -> dict[str, Any]:
    """A config as it may be given: a mapping, or an object with attributes such as argparse's. Raises InvalidArgument."""
    fields = _fields(value)
    if fields is not None:
        return fields
    if not isinstance(value, type):
        if hasattr(value, "items"):
            return dict(value.items())
        if hasattr(value, "__dict__"):
            return dict(vars(value))
    raise InvalidArgument(f"the {what} is {kind_of(value)}; expected a mapping, such as a dict", field=what)
