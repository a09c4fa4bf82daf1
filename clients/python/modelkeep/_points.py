"""What `run.log` is given: numbers under keys, which may be nested."""

from __future__ import annotations

import operator
import re
from numbers import Real
from typing import TYPE_CHECKING, Any, Final

from modelkeep._plain_json import is_scalar_array
from modelkeep.errors import InvalidArgument
from modelkeep.names import kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_KEY_CHARACTERS: Final = 256
MAX_DEPTH: Final = 32
MAX_STEP: Final = (1 << 63) - 1
_REMEMBERED: Final = 100_000
_BAD: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_good: Final[set[str]] = set()
"""Keys that were checked already: a training loop logs the same ones again and again."""


def flatten(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The numbers by their keys; those of nested mappings have dots in them. Raises InvalidArgument, naming the key."""
    flat: dict[str, float] = {}
    try:
        items = metrics.items()
    except AttributeError:
        message = f"log takes a mapping of keys to numbers, such as {{'loss': 0.3}}, not a {type(metrics).__name__}"
        raise InvalidArgument(message, field="metrics") from None
    for key, value in items:
        if type(value) is float and key in _good and key not in flat:
            flat[key] = value
        else:
            _add(flat, "", key, value, 1)
    return flat


def _add(flat: dict[str, float], prefix: str, key: Any, value: Any, depth: int) -> None:
    if not isinstance(key, str):
        raise InvalidArgument(f"the key {key!r:.100} of a metric is {kind_of(key)}; expected text", field="metrics")
    name = prefix + key
    if hasattr(value, "items"):
        if depth >= MAX_DEPTH:
            raise InvalidArgument(f"{name[:200]!r} is more than {MAX_DEPTH} levels deep", field="metrics", key=name[:200])
        for inner, item in value.items():
            _add(flat, name + ".", inner, item, depth + 1)
        return
    check_key(name)
    if name in flat:
        message = f"{name!r} is there twice, once as a nested key and once with dots; log it once"
        raise InvalidArgument(message, field="metrics", key=name)
    flat[name] = _number(name, value)


def check_key(key: str) -> None:
    """Raise InvalidArgument unless a metric may have this key."""
    if not isinstance(key, str):
        raise InvalidArgument(f"the key of a metric is {kind_of(key)}; expected text", field="metrics")
    if key in _good:
        return
    if not 1 <= len(key) <= MAX_KEY_CHARACTERS or _BAD.search(key):
        message = (
            f"{key[:80]!r} is no key of a metric: use 1 to {MAX_KEY_CHARACTERS} characters, none of them a control character"
        )
        raise InvalidArgument(message, field="metrics", key=key[:200])
    if len(_good) < _REMEMBERED:
        _good.add(key)


def _number(key: str, value: Any) -> float:
    if is_scalar_array(value):
        value = value.item()
    if isinstance(value, Real):
        try:
            return float(value)
        except OverflowError:
            raise InvalidArgument(f"{key!r} is too large for a number of 64 bits", field="metrics", key=key) from None
    shown = f"an array of the shape {tuple(value.shape)}" if hasattr(value, "shape") else f"a {type(value).__name__}"
    message = f"{key!r} is {shown}, and a metric is a number; put texts and the like into run.summary, files into an artifact"
    raise InvalidArgument(message, field="metrics", key=key)


def parse_step(step: Any) -> int:
    """A step as it may be given. Raises InvalidArgument."""
    try:
        number = operator.index(step)
    except TypeError:
        message = f"the step is {step!r:.100}, a {type(step).__name__}; expected a whole number, or none to count on"
        raise InvalidArgument(message, field="step") from None
    if not -MAX_STEP <= number <= MAX_STEP:
        raise InvalidArgument(f"the step has {number.bit_length():,} bits; it does not fit 64", field="step")
    return number
