"""The filter language: what it reads, what it refuses, and where its errors point (`docs/filter.md`)."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelkeep.errors import InvalidFilter
from modelkeep_server.filtering.expression import (
    Ago,
    By,
    Compare,
    Constant,
    Every,
    Expression,
    Fits,
    HasLabel,
    JsonCompare,
    JsonFits,
    JsonHas,
    JsonPresent,
    Not,
    Operator,
    Pattern,
    Present,
    Some,
)
from modelkeep_server.filtering.parser import parse_query
from modelkeep_server.metadata.convert.search import COLLECTION_FIELDS, VERSION_FIELDS

DAY = 1_793_491_200_000_000
"""2026-11-01 in microseconds."""
ACC = ("metadata", ("acc",))
NAME = Compare("name", Operator.EQ, "a")
TYPE = Compare("type", Operator.EQ, "b")
NEVER = -(2**63) + 1


def read(text: str) -> Expression:
    return parse_query(text, "", VERSION_FIELDS).where


def refused(text: str) -> InvalidFilter:
    with pytest.raises(InvalidFilter) as raised:
        read(text)
    return raised.value


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("", Constant(True)),
        (" \n ", Constant(True)),
        ("name = a", NAME),
        ("name=a", NAME),
        ("(((name = 'a')))", NAME),
        ("name = a AND type = b", Every((NAME, TYPE))),
        ("name = a type = b", Every((NAME, TYPE))),
        ("name = a OR type = b", Some((NAME, TYPE))),
        ("NOT name = a", Not(NAME)),
        ("-name = a", Not(NAME)),
        ("NOT (name = a type = b)", Not(Every((NAME, TYPE)))),
        ("name = a AND (type = b OR -name = a)", Every((NAME, Some((TYPE, Not(NAME)))))),
        ("name = bert-*", Fits("name", Pattern(("bert-", "")))),
        ('name = "*a*b"', Fits("name", Pattern(("", "a", "b")))),
        ("name = **", Fits("name", Pattern(("", "")))),
        ("name != bert-*", Not(Fits("name", Pattern(("bert-", ""))))),
        (r'type = "a\*b"', Compare("type", Operator.EQ, "a*b")),
        (r'type = "\"\\\'\n\té"', Compare("type", Operator.EQ, "\"\\'\n\té")),
        ("name:ert", Fits("name", Pattern(("", "ert", "")), ignore_case=True)),
        ("name >= m", Compare("name", Operator.GE, "m")),
        ("description:*", Compare("description", Operator.NE, "")),
        ("alias:best", HasLabel("alias", Pattern(("best",)))),
        ("alias = best", HasLabel("alias", Pattern(("best",)))),
        ("alias != best", Not(HasLabel("alias", Pattern(("best",))))),
        ('tag:"gold*"', HasLabel("tag", Pattern(("gold", "")))),
        ("tag:*", HasLabel("tag", Pattern(("", "")))),
        ("version >= 3", Compare("version", Operator.GE, 3)),
        ("version = v3", Compare("version", Operator.EQ, 3)),
        ("version:3", Compare("version", Operator.EQ, 3)),
        ("version > 2.5", Compare("version", Operator.GT, 2)),
        ("version < 2.5", Compare("version", Operator.LT, 3)),
        ("version = 2.5", Compare("version", Operator.LT, NEVER)),
        ("version > 1e4000", Compare("version", Operator.GT, 2**63 - 1)),
        ("entry_count >= -1e30", Compare("entry_count", Operator.GE, NEVER)),
        ("size > 1GiB", Compare("size", Operator.GT, 1 << 30)),
        ("size <= 1.5kB", Compare("size", Operator.LE, 1500)),
        ('size = "10 MB"', Compare("size", Operator.EQ, 10_000_000)),
        ("create_time > 2026-11-01", Compare("create_time", Operator.GE, DAY + 86_400_000_000)),
        ("create_time >= 2026-11-01", Compare("create_time", Operator.GE, DAY)),
        ("create_time < 2026-11-01", Compare("create_time", Operator.LT, DAY)),
        ('create_time <= "2026-11-01"', Compare("create_time", Operator.LT, DAY + 86_400_000_000)),
        ("create_time > 2026-11-01T00:00:00Z", Compare("create_time", Operator.GE, DAY + 1)),
        ("create_time < 2026-11-01T02:00:00.5+02:00", Compare("create_time", Operator.LT, DAY + 500_000)),
        ("create_time > -7d", Compare("create_time", Operator.GT, Ago(7 * 86_400_000_000))),
        ("create_time < -1.5h", Compare("create_time", Operator.LT, Ago(5_400_000_000))),
        ("verified", Present("verified")),
        ("verified:*", Present("verified")),
        ("NOT used", Not(Present("used"))),
        ("used = false", Not(Present("used"))),
        ("used != false", Not(Not(Present("used")))),
        ("verified_time:*", Present("verified_time")),
        ("state = DELETED", Compare("state", Operator.EQ, "deleted")),
        ("run = abc", Fits("run", Pattern(("", "/runs/abc")))),
        ("run = teams/a/projects/p/runs/abc", Compare("run", Operator.EQ, "teams/a/projects/p/runs/abc")),
        ("creator = k*", Fits("creator", Pattern(("", "/apiKeys/k", "")))),
        ("metadata.acc > 0.9", JsonCompare(*ACC, Operator.GT, 0.9)),
        ("metadata.acc = -1", JsonCompare(*ACC, Operator.EQ, -1)),
        ("metadata.acc = 9007199254740993", JsonCompare(*ACC, Operator.EQ, 9007199254740993)),
        ('metadata.acc = "0.9"', JsonCompare(*ACC, Operator.EQ, "0.9")),
        ("metadata.acc = adam", JsonCompare(*ACC, Operator.EQ, "adam")),
        ("metadata.acc = true", JsonCompare(*ACC, Operator.EQ, True)),
        ("metadata.acc != null", JsonCompare(*ACC, Operator.NE, None)),
        ('metadata.acc = "null"', JsonCompare(*ACC, Operator.EQ, "null")),
        ("metadata.acc = a*", JsonFits(*ACC, Pattern(("a", "")))),
        ("metadata.acc:*", JsonPresent(*ACC)),
        ("metadata.acc:x", JsonHas(*ACC, "x")),
        ("metadata.acc:1", JsonHas(*ACC, 1)),
        ("metadata:acc", JsonHas("metadata", (), "acc")),
        ("metadata.optimizer.lr < 1e-3", JsonCompare("metadata", ("optimizer", "lr"), Operator.LT, 1e-3)),
        ('metadata."a.b"."ü x".0-y = 1', JsonCompare("metadata", ("a.b", "ü x", "0-y"), Operator.EQ, 1)),
        ("metadata.模型 = 1", JsonCompare("metadata", ("模型",), Operator.EQ, 1)),
    ],
)
def test_what_a_filter_means(text: str, meaning: Expression) -> None:
    assert read(text) == meaning


@pytest.mark.parametrize("written", [f"sha256:{'ab' * 32}", "ab" * 32, f"SHA256:{'AB' * 32}".replace("SHA", "sha")])
def test_a_whole_digest(written: str) -> None:
    one = bytes.fromhex("ab" * 32)
    assert read(f"digest = {written}") == Every((Compare("digest", Operator.GE, one), Compare("digest", Operator.LE, one)))


def test_the_beginning_of_a_digest() -> None:
    low, high = bytes.fromhex("abc" + "0" * 61), bytes.fromhex("abc" + "f" * 61)
    expected = Every((Compare("digest", Operator.GE, low), Compare("digest", Operator.LE, high)))
    assert read("digest = sha256:abc*") == read('digest:"ABC*"') == expected


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("metdata.acc > 0.9", 0, "there is no field 'metdata'; did you mean metadata?"),
        ("name = a AND xyzzy = 1", 13, "there is no field 'xyzzy'; there are: name, "),
        ("name = a and type = b", 9, "in capitals"),
        ("AND name = a", 0, "in capitals"),
        ("NOT NOT name = a", 4, "to negate twice takes parentheses"),
        ("name = a AND type = b OR used", 22, "say with parentheses what belongs together"),
        ("name = a OR type = b used", 21, "is not expected here"),
        ("name == a", 6, "one = is enough"),
        ("name =", 6, "a value is missing"),
        ("name = AND", 7, "a value is missing"),
        ('name = "x', 7, 'this quote " is never closed'),
        ("(name = a", 9, "a parenthesis is not closed"),
        ("name = a)", 8, "never opened"),
        ("()", 1, "is expected here, not ')'"),
        ("name = a OR", 11, "a comparison such as"),
        ("name", 0, "compared with nothing"),
        ("resnet", 0, "there is no field"),
        ("metadata. = 1", 10, "a key is expected after the dot"),
        ("name.x = 1", 4, "has no parts"),
        ("metadata > 1", 0, "say which value"),
        ('name = "a\\q"', 9, "is no escape"),
        (r'name = "\ud800"', 8, "is in no text"),
        ('name = "\x00"', 8, "is in no text"),
        ("name = digits:v3", 7, 'ask for instance name = "digits" AND version = 3'),
        ("name < a*", 7, "a wildcard has no larger and smaller"),
        ("metadata.x < a*", 13, "a wildcard has no larger and smaller"),
        ("tag < a", 4, "tag is a set of labels and has no larger and smaller"),
        ("version > three", 10, "expected a number such as 3 or v3"),
        ("size > 1G", 7, "expected a number of bytes"),
        ("create_time > yesterday", 14, "a day as 2026-11-30"),
        ("create_time > 2026-13-01", 14, "a day as 2026-11-30"),
        ("create_time > 2026-02-30T00:00:00Z", 14, "a day as 2026-11-30"),
        ("create_time = -7d", 14, "a moment that no create_time hits"),
        ("used = maybe", 7, "true or false"),
        ("state = gone", 8, "one of committed, deleted, purged"),
        ("digest = sha256:xyz", 9, "64 hexadecimal digits"),
        ("digest = abcd", 9, "64 hexadecimal digits"),
        ("digest > abcd", 7, "no larger and smaller"),
        ("name = null", 7, "name is never null"),
        ("metadata.x = NaN", 13, "ask = null"),
        ("metadata.x < -Infinity", 13, "ask = null"),
        ("metadata.x < 1e999", 13, "beyond all"),
        ("metadata.x < true", 13, "no larger and smaller"),
        ("metadata.x >= null", 14, "no larger and smaller"),
    ],
)
def test_errors_point_at_the_character(text: str, position: int, message: str) -> None:
    error = refused(text)
    assert message in error.message
    assert (error.metadata["position"], error.metadata["field"]) == (str(position), "filter")
    _, shown, caret = error.message.split("\n")
    assert (shown, caret) == ("  " + text.replace("\x00", " "), " " * (position + 2) + "^")


def test_the_nearest_field_is_named() -> None:
    error = refused("aliases:best")
    assert (error.metadata["nearest"], error.metadata["field_name"]) == ("alias", "aliases")


def test_the_caret_stands_below_wide_and_far_characters() -> None:
    _, shown, caret = refused('type = "模型" AND x = 1').message.split("\n")
    assert caret.index("^") == shown.index("x = 1") + 2  # the two letters take two places more
    long = f"type = {'a' * 200} AND x = 1"
    _, shown, caret = refused(long).message.split("\n")
    assert shown[caret.index("^") :] == "x = 1"
    assert len(shown) < 110


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a" * 4097, "at most 4,096 are allowed"),
        ("(" * 33 + "used" + ")" * 33, "more than 32 deep"),
        ("(" * 4000, "more than 32 deep"),
        ("used " * 101, "at most 100 are allowed"),
        (" OR ".join(["used"] * 101), "at most 100 are allowed"),
        ('name = "' + "*a" * 1000 + '"', "more than 8 wildcards"),
        ("metadata" + ".a" * 33 + ":*", "more than 32 keys"),
        ('name = "' + "\\" * 4001, "never closed"),
        ("NOT " * 1000 + "used", "at most 100 are allowed"),
        ("metadata.x:" + "a" * 257, "at most 256 characters"),
        ("name = *" + "a" * 257, "at most 256 characters"),
        ("tag:*" + "a" * 257, "at most 256 characters"),
    ],
)
def test_a_bomb_is_refused(text: str, message: str) -> None:
    read("used")  # the parser is made on first use
    tracemalloc.start()
    error = refused(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert message in error.message
    assert len(error.message) < 500
    assert peak < 4 << 20


def test_what_is_just_within_the_limits() -> None:
    read("(" * 32 + "used" + ")" * 32)
    assert len(read("used " * 100).terms) == 100  # type: ignore[union-attr]
    read('name = "' + "a" * 4087 + '"')
    read("metadata.x:" + "a" * 256)


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from([*"()\".:=<*\\-'", "AND", "OR", "NOT", "name", "metadata", "x", " ", "1"])).map("".join)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    error: InvalidFilter | None = None
    try:
        read(text)
    except InvalidFilter as raised:
        error = raised
    assert error is None or (0 <= int(error.metadata["position"]) <= len(text) and error.message.endswith("^"))


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("", ()),
        ("create_time", (By("create_time"),)),
        ("-create_time", (By("create_time", descending=True),)),
        ("create_time desc, name asc", (By("create_time", descending=True), By("name"))),
        ('-metadata.acc,metadata."a.b" desc', (By("metadata", ("acc",), True), By("metadata", ("a.b",), True))),
    ],
)
def test_what_an_order_means(text: str, order: tuple[By, ...]) -> None:
    assert parse_query("", text, VERSION_FIELDS).order == order


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("creat_time", 0, "did you mean create_time?"),
        ("name,", 5, "a field such as create_time is expected here"),
        ("name down", 5, "is not expected here"),
        ("-name desc", 6, "use one of them"),
        ("name, -name", 7, "is there twice"),
        ("tag", 0, "nothing can be ordered by tag"),
        ("description", 0, "nothing can be ordered by description"),
        ("metadata", 0, "name a value"),
        ("name, type, project, version, size, creator", 36, "more than 5"),
        ("x" * 5000, 4096, "at most 4,096"),
    ],
)
def test_an_order_is_refused(text: str, position: int, message: str) -> None:
    with pytest.raises(InvalidFilter, match=message) as raised:
        parse_query("", text, VERSION_FIELDS)
    assert (raised.value.metadata["position"], raised.value.metadata["field"]) == (str(position), "order_by")


def test_collections_have_fields_of_their_own() -> None:
    query = parse_query("version_count > 3 AND alias:production", "-latest_version", COLLECTION_FIELDS)
    assert query.order == (By("latest_version", descending=True),)
    with pytest.raises(InvalidFilter, match="there is no field 'metadata'"):
        parse_query("metadata.acc > 1", "", COLLECTION_FIELDS)


@given(st.lists(st.text("ab", max_size=3), min_size=1, max_size=4), st.text("ab", max_size=8))
def test_a_pattern_fits_as_a_regular_expression_does(pieces: list[str], text: str) -> None:
    import re

    assert Pattern(tuple(pieces)).fits(text) == (re.fullmatch(".*".join(pieces), text) is not None)
