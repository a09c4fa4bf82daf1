"""SEM-6: metadata is a JSON object of bounded size and depth; NaN is null, infinity is refused."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelkeep import metadata
from modelkeep.errors import InvalidMetadata

_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(_TEXT, _JSON, max_size=10))
def test_text_and_back(value):
    text = metadata.encode(value)
    assert metadata.decode(text) == value
    assert metadata.encode(metadata.decode(text)) == text


@given(st.dictionaries(_TEXT, _JSON, min_size=2, max_size=6))
def test_the_order_of_keys_does_not_matter(value):
    assert metadata.encode(dict(reversed(value.items()))) == metadata.encode(value)


@given(st.text() | st.dictionaries(_TEXT, _JSON).map(json.dumps) | _JSON.map(json.dumps))
def test_a_text_is_metadata_or_refused_with_one_typed_error(text):
    try:
        value = metadata.decode(text)
    except InvalidMetadata:
        return
    assert isinstance(value, dict)


def test_integers_stay_integers():
    """2**53 + 1 is not a double; 1 and 1.0 are not the same text."""
    assert metadata.encode({"a": 2**53 + 1, "b": 1, "c": 1.0}) == '{"a":9007199254740993,"b":1,"c":1.0}'


def test_nan_is_null_wherever_it_stands():
    assert metadata.encode({"a": math.nan, "b": [math.nan, {"c": np.float32("nan")}]}) == '{"a":null,"b":[null,{"c":null}]}'
    assert metadata.encode(metadata.decode('{"a": NaN}')) == '{"a":null}'


def test_numpy_scalars_are_the_numbers_they_are():
    value = {"f": np.float64(0.5), "i": np.int64(7), "b": np.bool_(True), "z": np.array(3)}
    assert metadata.encode(value) == '{"b":true,"f":0.5,"i":7,"z":3}'


@pytest.mark.parametrize("value", [math.inf, -math.inf, np.float32("inf")])
def test_infinity_is_refused_and_named(value):
    with pytest.raises(InvalidMetadata, match=r"metadata\.a\[0\] is infinite"):
        metadata.encode({"a": [value]})


@pytest.mark.parametrize(
    "value",
    [
        {"a": object()},
        {"a": {1, 2}},
        {"a": b"bytes"},
        {"a": np.zeros(2)},
        {1: "a"},
        {"a": {None: 1}},
        {"a": "\ud800"},
        {"\ud800": 1},
        {"a": 10**5000},
        ["a"],
        "text",
        None,
    ],
)
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(InvalidMetadata) as caught:
        metadata.encode(value)
    assert len(str(caught.value)) < 500
    str(caught.value).encode()


@pytest.mark.parametrize(
    "text", ["[]", "1", '"a"', "null", "{", "{'a': 1}", "{} {}", '{"a": 1e999}', '{"a": Infinity}', "[" * 100_000]
)
def test_text_that_is_no_json_object_is_refused(text):
    with pytest.raises(InvalidMetadata):
        metadata.decode(text)


def test_an_empty_text_is_the_empty_object():
    assert metadata.decode("") == {}
    assert metadata.encode({}) == "{}"


def _nested(levels: int) -> dict:
    value: dict = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("fits", "too_much"),
    [
        ({f"k{i}": 1 for i in range(100)}, {f"k{i}": 1 for i in range(101)}),
        (_nested(32), _nested(33)),
        ({"a": "x" * ((1 << 20) - 8)}, {"a": "x" * ((1 << 20) - 7)}),
        ({"a": "é" * ((1 << 19) - 4)}, {"a": "é" * ((1 << 19) - 3)}),
    ],
    ids=["keys", "levels", "bytes", "bytes of UTF-8"],
)
def test_limits_are_exact(fits, too_much):
    assert metadata.decode(metadata.encode(fits)) == fits
    with pytest.raises(InvalidMetadata):
        metadata.encode(too_much)
    with pytest.raises(InvalidMetadata):
        metadata.decode(json.dumps(too_much, ensure_ascii=False, separators=(",", ":")))


def test_a_loop_is_refused():
    loop: dict = {}
    loop["a"] = loop
    with pytest.raises(InvalidMetadata, match="levels deep"):
        metadata.encode(loop)


def test_what_json_cannot_hold_is_told_with_its_article():
    for value, told in ((object(), "an object"), (b"x", "a bytes")):
        with pytest.raises(InvalidMetadata, match=f"metadata.a is {told}, which JSON cannot hold"):
            metadata.encode({"a": value})
