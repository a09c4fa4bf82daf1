"""JSON objects of runs, and the rows that they are found by."""

import json
import math

import pytest
from modelkeep.errors import InvalidMetadata, LimitExceeded
from modelkeep_server.filtering.keys import number_key
from modelkeep_server.lineage.domain.values import encode_object, json_number, number_at, number_of, parse_object
from modelkeep_server.lineage.store.values import Change, rows_of

MOST = 1 << 20


def test_an_object_is_read_and_written_in_one_form():
    text = '{"b": [1, {"c": NaN}], "a.ä": -Infinity, "n": null, "huge": 1e999, "t": "\\u0000"}'
    value = parse_object(text, "config", MOST)
    assert value == {"b": [1, {"c": "NaN"}], "a.ä": "-Infinity", "n": None, "huge": "Infinity", "t": "\0"}
    written = encode_object(value, "config", MOST)
    assert written == '{"a.ä":"-Infinity","b":[1,{"c":"NaN"}],"huge":"Infinity","n":null,"t":"\\u0000"}'
    assert parse_object(written, "config", MOST) == value
    assert parse_object("", "config", MOST) == {}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[]", "must be a JSON object, not list"),
        ("null", "not NoneType"),
        ("{", "is not JSON"),
        ("[" * 200_000, "is not JSON"),
        ('{"a":' * 33 + "1" + "}" * 33, "more than 32 levels"),
        (f'{{"a": {1 << 1025}}}', "1,026 bits"),
        (f'{{"a": {(1 << 1024) - 1}}}', "more than a double can hold"),
        ('{"a": "\\ud800"}', "UTF-8"),
        ('{"\\udfff": 1}', "UTF-8"),
        ('{"a": ' + "9" * 5000 + "}", "is not JSON"),
    ],
)
def test_what_is_no_such_object_is_refused(text, match):
    with pytest.raises(InvalidMetadata, match=match) as raised:
        parse_object(text, "config", MOST)
    assert str(raised.value).startswith("config") or "config" in raised.value.metadata["field"]


@pytest.mark.timeout(60)
def test_a_place_is_told_in_short():
    """M-DOS-1: of a long key with many values below it, as many copies would be made of a place."""
    many = json.dumps({"k" * 400_000: [[1]] * 100_000})
    assert len(parse_object(many, "config", MOST)["k" * 400_000]) == 100_000
    with pytest.raises(InvalidMetadata) as raised:
        parse_object(json.dumps({"k" * 1000: [{"x": {"y": 1 << 2000}}]}), "config", MOST)
    assert len(raised.value.metadata["field"]) <= 200


def test_every_integer_that_is_let_in_can_be_compared():
    largest = (1 << 1024) - (1 << 970) - 1
    text = encode_object(parse_object(f'{{"a": {largest}}}', "summary", MOST), "summary", MOST)
    assert number_at(text, ("a",)) == float(largest)


def test_what_is_too_large_is_refused_before_it_is_read():
    """A config of 10 MB."""
    with pytest.raises(LimitExceeded, match=r"config has 10,000,002 bytes; at most 1,048,576 are allowed"):
        parse_object("[" * 10_000_002, "config", MOST)
    with pytest.raises(LimitExceeded, match="summary has"):
        encode_object({"a": "ä" * 10}, "summary", 16)
    assert encode_object({"a": "x" * 8}, "summary", 16) == '{"a":"xxxxxxxx"}'


def test_numbers_are_told_from_what_looks_like_them():
    assert [number_of(json_number(value)) for value in (1.5, math.inf, -math.inf, math.nan)] == [1.5, math.inf, -math.inf, None]
    assert [number_of(value) for value in (7, True, None, "1", "NaN", [])] == [7.0, None, None, None, None, None]
    text = json.dumps({"a": {"b": 1}, "a.b": "Infinity"})
    assert [number_at(text, path) for path in (("a", "b"), ("a.b",), ("a",), ("x", "y"), ("a.b", "c"))] == [
        1.0,
        math.inf,
        None,
        None,
        None,
    ]


def test_infinities_sort_around_all_numbers():
    numbers = [-math.inf, -(2.0**1023), -1, 0, 5e-324, 1 << 1023, 1e308, math.inf]
    assert sorted(map(number_key, numbers)) == [number_key(number) for number in numbers]


def test_only_rows_that_change_are_written():
    before = json.dumps({"a": 1, "b": [1, 1, 2], "c": "x", "d": math.inf})
    after = json.dumps({"a": 1, "b": [1, 3, 1], "c": "y", "e": "Infinity"})
    change = Change.between(before, after)
    rows = {(row.entry, row.ordinal, row.text) for row in rows_of(before) if row.entry not in change.gone}
    rows |= {(row.entry, row.ordinal, row.text) for row in change.rows}
    assert rows == {(row.entry, row.ordinal, row.text) for row in rows_of(after)}
    assert Change.between(before, before) == Change(frozenset(), ())
    assert "/a~=" not in "".join(change.gone)
