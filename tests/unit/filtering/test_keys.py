"""Entries of metadata: text that sorts as the values do, bounded in number and size."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from modelkeep_server.filtering.keys import BEHIND, MARK, MAX_VALUES, Value, after, key_of, number_key, path_of, values_of

NUMBERS = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**1024), 2**1024)
    | st.sampled_from([2**53, 2**53 + 1, float(2**53), 0.0, -0.0, 5e-324, -5e-324])
)
KEYS = st.text("ab/~=>é\x00", max_size=3)


@given(NUMBERS, NUMBERS)
def test_numbers_sort_exactly(one: float, other: float) -> None:
    assert (number_key(one) < number_key(other)) == (one < other)
    assert (number_key(one) == number_key(other)) == (one == other)


@given(st.text(max_size=5), st.text(max_size=5))
def test_texts_sort_by_code_point(one: str, other: str) -> None:
    one, other = one.replace("\x00", ""), other.replace("\x00", "")
    assert (key_of(one) < key_of(other)) == (one < other)


def test_types_sort_one_after_the_other() -> None:
    line: list[Any] = [None, False, True, -(10**300), -1, 0, 0.5, 10**300, "", "0", "a", [], {}]
    assert sorted(line, key=key_of) == line
    assert len({key_of(value) for value in line}) == len(line)


@given(st.lists(KEYS, min_size=1, max_size=3).map(tuple), st.lists(KEYS, min_size=1, max_size=3).map(tuple))
def test_a_path_is_one_range_of_entries(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    known = [tuple(key.replace("\x00", "\ufffd") for key in keys) for keys in (one, other)]
    entry = path_of(other) + MARK + key_of("x")
    assert (path_of(one) + MARK <= entry < path_of(one) + BEHIND) == (known[0] == known[1])


def test_a_long_path_is_told_apart_by_its_hash() -> None:
    one, other = ("k" * 10_000,), ("k" * 9999,)
    assert path_of(one) != path_of(other)
    assert len(path_of(one)) < 200


def test_what_the_rows_of_an_object_are() -> None:
    metadata = {"acc": 0.5, "tags": ["a", ["b"], {"c": 1}, None], "opt": {"lr": 1, "a/b~": "x"}, "none": None}
    assert list(values_of(json.dumps(metadata))) == [
        Value("/acc~=3p7fff", 0, None),
        Value("/none~=1", 0, None),
        Value("/opt~=6", 0, None),
        Value("/tags~=5", 0, None),
        Value("/opt/a~1b~0~=4x", 0, "x"),
        Value("/opt/lr~=3p8000", 0, None),
        Value("/tags~e~=4a", 0, "a"),
        Value("/tags~e~=1", 3, None),
    ]
    assert list(values_of("{}")) == []


def test_there_is_a_bounded_number_of_rows_and_the_shallow_ones_win() -> None:
    metadata = {"big": list(range(100_000)), "also": {str(i): i for i in range(5000)}, "z": 1}
    rows = list(values_of(json.dumps(metadata)))
    assert len(rows) == MAX_VALUES
    assert [row.entry for row in rows[:3]] == ["/also~=6", "/big~=5", "/z~=3p8000"]


def test_keys_that_a_database_cannot_tell_apart_are_one() -> None:
    rows = list(values_of(json.dumps({"a\x00": 1, "a\ufffd": 2, "t": "x\x00"})))
    assert [(row.entry, row.text) for row in rows] == [("/a\ufffd~=3p8000", None), ("/t~=4x\ufffd", "x\ufffd")]


@given(st.text(min_size=1, max_size=4), st.text(max_size=4))
def test_what_is_behind_all_texts_that_begin_alike(prefix: str, rest: str) -> None:
    begun = "4" + prefix
    assert begun + rest < after(begun)
    assert after(begun) <= "5"


def test_behind_the_last_characters() -> None:
    assert after("4a\ud7ff") == "4a\ue000"
    assert after("4a\U0010ffff\U0010ffff") == "4b"
