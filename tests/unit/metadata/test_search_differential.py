"""Filters and orders against plain Python, for any filter and any versions that hypothesis can think of, on both engines."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from modelkeep.errors import InvalidFilter
from modelkeep.metadata import encode
from modelkeep.names import CollectionName
from modelkeep_server.database.clock import from_micros
from modelkeep_server.database.engine import Database
from modelkeep_server.database.paging import Page
from modelkeep_server.filtering.keys import values_of
from modelkeep_server.filtering.parser import parse_query
from modelkeep_server.filtering.sql import condition
from modelkeep_server.metadata.convert.search import VERSION_FIELDS
from modelkeep_server.metadata.store.search_fields import moments, version_columns
from modelkeep_server.metadata.store.tables import (
    AliasRow,
    CollectionRow,
    ManifestRow,
    ProjectRow,
    TagRow,
    VersionRow,
    VersionValueRow,
)
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from tests.servers import postgres_url
from tests.unit.metadata.reference import PRESENT, Asks, Junction, Row, holds, rank
from tests.unit.metadata.rig import CALLER, DIGITS, Rig

LONG = "x" * 128
TEXTS = st.sampled_from(
    [
        "",
        "a",
        "A",
        "ab",
        "b",
        "B",
        "a*b",
        "a%b",
        "a_b",
        "axb",
        "[a]",
        "a?b",
        "\\",
        "a\\b",
        "'",
        '"',
        "é",
        "É",
        "𐐀",
        "\uffff",
        "\x00",
        "0.5",
        "null",
        LONG,
        LONG + "a",
        LONG + "b",
        LONG[:-1],
        "\n",
        "latest",
        "-- ; DROP TABLE version",
    ]
)
ASKED = TEXTS.filter(lambda text: "\x00" not in text)
NUMBERS = st.sampled_from(
    [
        0,
        -0.0,
        1,
        -1,
        0.5,
        -0.5,
        0.1,
        2**53,
        2**53 + 1,
        float(2**53),
        -(2**63),
        2**64,
        2**1023 + 1,
        1e308,
        5e-324,
        -5e-324,
        10**20,
        1e20,
    ]
) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
KEYS = st.sampled_from([*["acc"] * 5, "a.b", "模", "a/b", "~", "", "k" * 300, '"'])
VALUES = SCALARS | st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=2), max_leaves=4
)
METADATA = st.builds(lambda acc, more: {"acc": acc} | more, VALUES, st.dictionaries(KEYS, VALUES, max_size=2)) | st.just({})
LABELS = st.lists(st.sampled_from(["best", "b", "gold en", "latest"]), max_size=2, unique=True).map(tuple)
MICROS = st.sampled_from([None, 0, 86_400_000_000 - 1, 86_400_000_000, 10**15])
ROWS = st.lists(
    st.tuples(METADATA, TEXTS.filter(lambda t: "\x00" not in t), LABELS, LABELS, st.integers(0, 3), MICROS), max_size=5
)

PATHS = st.tuples(st.just("metadata"), KEYS) | st.tuples(st.just("metadata"), KEYS, KEYS)
ROOT = st.just(("metadata",))
EQUAL = st.sampled_from(["=", "!="])
ANY = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
PIECES = st.lists(ASKED.filter(lambda text: len(text) < 5), min_size=2, max_size=4)
TESTS = st.one_of(
    st.builds(Asks, PATHS, ANY, NUMBERS | ASKED),
    st.builds(Asks, PATHS, EQUAL, st.none() | st.booleans()),
    st.builds(Asks, PATHS, st.sampled_from(["=", "!=", ":"]), PIECES, st.just(True)),
    st.builds(Asks, ROOT, st.just(":"), st.just(PRESENT) | KEYS),
    st.builds(Asks, PATHS, st.just(":"), st.just(PRESENT) | NUMBERS | ASKED | st.none() | st.booleans()),
    st.builds(
        Asks,
        st.sampled_from([("tag",), ("alias",)]),
        st.sampled_from(["=", "!=", ":"]),
        st.sampled_from(["best", "b", "latest"]),
    ),
    st.builds(Asks, st.sampled_from([("tag",), ("alias",)]), st.sampled_from(["=", "!=", ":"]), PIECES, st.just(True)),
    st.builds(
        Asks, st.sampled_from([("tag",), ("alias",), ("description",), ("verified_time",)]), st.just(":"), st.just(PRESENT)
    ),
    st.builds(Asks, st.just(("description",)), st.sampled_from(["=", "!=", "<", ">", "<=", ">=", ":"]), ASKED),
    st.builds(Asks, st.just(("description",)), st.sampled_from(["=", "!=", ":"]), PIECES, st.just(True)),
    st.builds(
        Asks, st.sampled_from([("version",), ("size",)]), ANY, st.sampled_from([0, 1, 2, 1.5, -1, 2**70, -(2**70), 1e300])
    ),
)


FILTERS = st.recursive(
    TESTS,
    lambda inner: (
        st.builds(Junction, st.just("NOT"), st.tuples(inner))
        | st.builds(Junction, st.sampled_from(["AND", "OR"]), st.lists(inner, min_size=2, max_size=3).map(tuple))
    ),
    max_leaves=6,
)


class World:
    """A database that every example has a collection of its own in."""

    def __init__(self, url: str) -> None:
        self.loop = asyncio.Runner()
        self.rig = self.loop.run(Rig(Database(url)).start())
        self.base = self.loop.run(self._first())

    async def _first(self) -> dict[str, Any]:
        await self.rig.log()
        rows = await self.rig.database.read(lambda session: session.execute(select(VersionRow.__table__)))
        base = dict(rows.mappings().one())
        del base["id"]
        return base

    def close(self) -> None:
        self.loop.run(self.rig.database.close())
        self.loop.close()

    def fill(self, rows: list[Row]) -> CollectionName:
        name = CollectionName(DIGITS.team, DIGITS.project, f"c{uuid4().hex}")
        self.loop.run(self.rig.database.write(lambda session: self._fill(session, name, rows)))
        return name

    async def _fill(self, session: AsyncSession, name: CollectionName, rows: list[Row]) -> None:
        project = await session.scalar(select(col(CollectionRow.project_id)).limit(1))
        now = self.base["create_time"]
        times = {"create_time": now, "update_time": now}
        made = CollectionRow(
            uid=str(uuid4()), project_id=project, name=name.collection, type="model", next_index=len(rows), **times
        )
        session.add(made)
        await session.flush()
        for row in rows:
            manifest = uuid4().bytes * 2
            sizes = {"entry_count": 1, "stored_bytes": row.stored_bytes, "referenced_bytes": 0}
            digests = {"digest": manifest, "segments_digest": manifest}
            await session.execute(insert(ManifestRow).values(layout=manifest, create_time=now, **digests, **sizes))
            metadata_json = encode(row.metadata)
            version = VersionRow(
                **self.base
                | {
                    "uid": str(uuid4()),
                    "collection_id": made.id,
                    "number": row.number,
                    "digest": manifest,
                    "manifest": manifest,
                }
                | {"description": row.description, "metadata_json": metadata_json}
                | {"verified_time": None if row.verified_micros is None else from_micros(row.verified_micros)}
            )
            session.add(version)
            await session.flush()
            session.add_all(TagRow(version_id=version.id, tag=tag) for tag in row.tags)
            aliases = [alias for alias in row.aliases if alias != "latest"]
            about = {"version_id": version.id, "seq": 1, "update_time": now, "actor": ""}
            session.add_all(AliasRow(collection_id=made.id, alias=f"{alias}", **about) for alias in aliases)
            values = [
                {"version_id": version.id, "entry": v.entry, "ordinal": v.ordinal, "text": v.text}
                for v in values_of(metadata_json)
            ]
            if values:
                await session.execute(insert(VersionValueRow), values)

    def find(self, collection: CollectionName, filter_text: str, order: str = "", size: int = 1000) -> list[int]:
        """The numbers of the versions that fit, page by page."""
        query, token, found = parse_query(filter_text, order, VERSION_FIELDS), "", []
        for _ in range(20):
            page = Page(size, token)
            listing = self.loop.run(self.rig.versions.list_versions(CALLER, collection, page, show_deleted=False, query=query))
            found += [version.name.number for version in listing.items]
            token = listing.next_token
            if not token:
                break
        return found

    def judge(self, collection: CollectionName, filters: list[str]) -> dict[int, dict[str, bool | None]]:
        """Which filters are true of which versions, by number; None for what is neither true nor false."""
        columns = version_columns(self.rig.clock)
        conditions = [
            condition(parse_query(text, "", VERSION_FIELDS).where, columns, moments(self.rig.clock)) for text in filters
        ]
        statement = (
            select(col(VersionRow.number), *(found.label(f"c{i}") for i, found in enumerate(conditions)))
            .join(CollectionRow, col(CollectionRow.id) == col(VersionRow.collection_id))
            .join(ProjectRow, col(ProjectRow.id) == col(CollectionRow.project_id))
            .join(ManifestRow, col(ManifestRow.layout) == col(VersionRow.manifest))
            .where(col(CollectionRow.name) == collection.collection)
        )
        rows = self.loop.run(self.rig.database.read(lambda session: session.execute(statement))).all()
        return {
            row[0]: {text: None if v is None else bool(v) for text, v in zip(filters, row[1:], strict=True)} for row in rows
        }


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    path = tmp_path_factory.mktemp("search") / "metadata.db"
    world = World(f"sqlite:///{path}" if request.param == "sqlite" else postgres_url())
    yield world
    world.close()


def _rows(drawn: list[Any]) -> list[Row]:
    """Versions; each alias is on one of them only, and the last one is `latest`."""
    rows, taken = [], {"latest"}
    for number, (metadata, description, tags, aliases, size, micros) in enumerate(drawn):
        mine = tuple(alias for alias in aliases if alias not in taken) + (("latest",) if number == len(drawn) - 1 else ())
        taken |= set(mine)
        rows.append(Row(number, metadata, description, tuple(t for t in tags if t != "latest"), mine, size, micros))
    return rows


EACH: list[Any] = [None, False, True, 0, -1, 1, 0.5, -0.5, 2**53, 2**53 + 1, float(2**53), 10**300, -5e-324]
EACH += [
    "",
    "a",
    "A",
    "b",
    "a*b",
    "a?b",
    "axb",
    "[a]",
    "a\\b",
    "a%b",
    "a_b",
    "ab",
    "é",
    "É",
    "0.5",
    LONG[:-1],
    LONG,
    LONG + "a",
    LONG + "b",
]
HELD = [*EACH, "a\x00", [], ["a"], ["a", 1, None, False], [["a"], {"a": 1}], {}, {"a": 1}, {"b": None, "é": []}]
PATTERNS = [
    ["a", ""],
    ["", "b"],
    ["a", "b"],
    ["", "a", ""],
    ["[", ""],
    ["", "?", ""],
    ["", "_b"],
    ["", "%", ""],
    ["a\\", ""],
    [LONG, ""],
    ["A", "", "B"],
]
OPERATORS = ["=", "!=", "<", "<=", ">", ">=", ":"]


def test_each_value_compares_with_each_value(world: World) -> None:
    """All operators, all types on both sides, whether a value is there or not, and the opposite of each."""
    rows = [
        Row(number, {"x": held}, held if isinstance(held, str) and "\x00" not in held else "")
        for number, held in enumerate(HELD)
    ]
    rows.append(Row(len(rows), {"y": 1}))
    collection = world.fill(rows)
    asked: list[Asks] = []
    for path in (("metadata", "x"), ("description",)):
        values = [value for value in EACH if path[0] == "metadata" or isinstance(value, str)]
        for value, operator in product(values, OPERATORS):
            if (value is not None and not isinstance(value, bool)) or operator in {"=", "!=", ":"}:
                asked.append(Asks(path, operator, value))
        asked += [Asks(path, operator, pieces, wildcards=True) for pieces, operator in product(PATTERNS, ["=", "!=", ":"])]
        asked.append(Asks(path, ":", PRESENT))
    for batch in (asked[start : start + 25] for start in range(0, len(asked), 25)):
        for number, truths in world.judge(collection, [one.text() for one in batch]).items():
            # Never NULL, so that NOT finds exactly the others.
            assert truths == {one.text(): holds(one, rows[number]) for one in batch}, rows[number]
    for descending in (False, True):
        newest_first = rows[::-1]
        expected = [row.number for row in sorted(newest_first, key=lambda row: rank(row, ("x",), descending=descending))]
        assert world.find(collection, "", "-" * descending + "metadata.x", 7) == expected


_SETTINGS = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


@_SETTINGS
@given(drawn=ROWS, filters=st.lists(FILTERS, min_size=1, max_size=4))
@example(
    drawn=[({"acc": LONG + "a"}, "", (), (), 0, None), ({"acc": LONG}, "", (), (), 0, None)],
    filters=[Asks(("metadata", "acc"), o, LONG + e) for o in ("=", "!=", "<", "<=", ">", ">=") for e in ("", "a", "b")],
)
def test_a_filter_finds_what_it_says(world: World, drawn: list[Any], filters: list[Any]) -> None:
    rows = _rows(drawn)
    collection = world.fill(rows)
    for one in filters:
        expected = [row.number for row in reversed(rows) if holds(one, row)]
        assert world.find(collection, one.text()) == expected, one.text()


@_SETTINGS
@given(drawn=ROWS, keys=st.lists(st.tuples(KEYS, st.booleans()), min_size=1, max_size=3, unique_by=lambda key: key[0]))
def test_an_order_sorts_as_it_says_page_by_page(world: World, drawn: list[Any], keys: list[tuple[str, bool]]) -> None:
    rows = _rows(drawn)
    collection = world.fill(rows)
    order = ", ".join(f"{'-' * descending}{Asks(('metadata', key), '', PRESENT).text()[:-1]}" for key, descending in keys)
    newest_first = rows[::-1]
    expected = sorted(newest_first, key=lambda row: [rank(row, (key,), descending=descending) for key, descending in keys])
    for size in (1, 2, 1000):
        assert world.find(collection, "", order, size) == [row.number for row in expected], order


LITERALS = [
    "x",
    "*",
    "a*b",
    '"a b"',
    "1",
    "-1.5",
    "1e400",
    "9" * 400,
    "1GiB",
    "v3",
    "true",
    "null",
    "2026-11-01",
    "-7d",
    "-999999w",
]
LITERALS += ["0001-01-01", "9999-12-31T23:59:59.999999+00:00", "sha256:ab*", "ab" * 32, "purged", "t/r/x", '"\\u00e9%_[?"']


def test_whatever_is_read_is_true_or_false(world: World) -> None:
    """Each field, operator and value: refused, or an answer of both engines; never NULL, of which NOT would lose rows."""
    rows = [Row(0, {"x": 1}), Row(1, {}, "text", ("t",), ("best", "latest"), 5, 0)]
    collection = world.fill(rows)
    read = []
    for field, operator, value in product([*VERSION_FIELDS, "metadata.x"], OPERATORS, LITERALS):
        text = f"{field}{operator}{value}"
        with suppress(InvalidFilter):
            parse_query(text, "", VERSION_FIELDS)
            read.append(text)
    assert len(read) > 800
    for batch in (read[start : start + 100] for start in range(0, len(read), 100)):
        for truths in world.judge(collection, batch).values():
            assert [text for text, truth in truths.items() if truth is None] == []
