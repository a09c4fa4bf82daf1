"""What `run.log` takes: numbers of any kind under keys, nested or not."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import modelkeep
import numpy as np
import pytest
from modelkeep._points import MAX_KEY_CHARACTERS, flatten, parse_step


class Tensor:
    """As torch has it: `shape` is a tuple, `size` a method."""

    def __init__(self, value: float, *shape: int) -> None:
        self.shape, self._value = shape, value

    def size(self) -> tuple[int, ...]:
        return self.shape

    def item(self) -> float:
        return self._value


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (0.5, 0.5),
        (3, 3.0),
        (True, 1.0),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.int64(7), 7.0),
        (np.bool_(True), 1.0),
        (np.array(0.5), 0.5),
        (np.array([[0.5]]), 0.5),
        (Tensor(0.5), 0.5),
        (Tensor(0.5, 1), 0.5),
        (Fraction(1, 2), 0.5),
        (math.inf, math.inf),
        (-math.inf, -math.inf),
    ],
)
def test_numbers_of_any_kind(value: Any, number: float) -> None:
    assert flatten({"x": value}) == {"x": number}


def test_nan_is_kept() -> None:
    assert math.isnan(flatten({"x": math.nan})["x"])
    assert math.isnan(flatten({"x": np.float32("nan")})["x"])


def test_nested_keys_have_dots() -> None:
    assert flatten({"loss": 0.3, "eval": {"acc": 1, "deep": {"f1": 0.5}}, "täg": 1}) == {
        "loss": 0.3,
        "eval.acc": 1.0,
        "eval.deep.f1": 0.5,
        "täg": 1.0,
    }
    assert flatten({}) == {}


@pytest.mark.parametrize(
    "value",
    ["0.3", None, [1], np.array([1, 2]), 1j, 10**400, object(), Decimal(1), Tensor(0.5, 2)],
    ids=["text", "none", "list", "array", "complex", "huge", "object", "decimal", "tensor"],
)
def test_what_is_no_number_is_refused_by_the_name_of_its_key(value: Any) -> None:
    with pytest.raises(modelkeep.InvalidArgument, match=r"'eval\.acc'") as caught:
        flatten({"loss": 0.3, "eval": {"acc": value}})
    assert caught.value.metadata["key"] == "eval.acc"


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEY_CHARACTERS + 1), "a\nb", "a\x00", "\ud800"])
def test_a_key_that_is_none(key: str) -> None:
    with pytest.raises(modelkeep.InvalidArgument, match="no key of a metric"):
        flatten({key: 1.0})


def test_what_is_no_mapping_of_texts() -> None:
    with pytest.raises(modelkeep.InvalidArgument, match="not a float"):
        flatten(0.3)  # type: ignore[arg-type]
    with pytest.raises(modelkeep.InvalidArgument, match="the key 3 of a metric is an int"):
        flatten({3: 0.3})  # type: ignore[dict-item]
    with pytest.raises(modelkeep.InvalidArgument, match=r"'a\.b' is there twice"):
        flatten({"a": {"b": 1}, "a.b": 2})
    circle: dict[str, Any] = {}
    circle["x"] = circle
    with pytest.raises(modelkeep.InvalidArgument, match="levels deep"):
        flatten(circle)


def test_steps() -> None:
    assert parse_step(np.int32(3)) == 3
    assert parse_step(-1) == -1
    for step in (1.0, "1", 1 << 63):
        with pytest.raises(modelkeep.InvalidArgument, match="step"):
            parse_step(step)
