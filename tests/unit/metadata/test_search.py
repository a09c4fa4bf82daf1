"""Filters and orders over real versions and collections, on both engines (`docs/filter.md`)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from modelkeep.errors import EtagMismatch, InvalidPageToken, PermissionDenied, ProjectNotFound, TeamNotFound
from modelkeep.names import CollectionName, ProjectName, RunName, TeamName
from modelkeep_server.database.paging import Page
from modelkeep_server.filtering.keys import MAX_VALUES
from modelkeep_server.filtering.parser import parse_query
from modelkeep_server.metadata.app.use import UseApp
from modelkeep_server.metadata.convert.search import COLLECTION_FIELDS, VERSION_FIELDS
from modelkeep_server.metadata.domain.use import Use
from modelkeep_server.metadata.domain.version import Words
from modelkeep_server.metadata.store.search_fields import collection_columns, version_columns
from modelkeep_server.metadata.store.tables import SignatureRow, VersionRow, VersionValueRow
from modelkeep_server.runtime.callers import Access, Caller, Role
from sqlalchemy import insert, select, update
from sqlmodel import col

from tests.unit.metadata.rig import CALLER, DIGITS, OTHER, TEAM, Rig, call

BERT = CollectionName(TEAM, "text", "bert")
SETS = CollectionName(TEAM, "vision", "sets")
IN_PROJECT = CollectionName(TEAM, "vision", "-")
EVERYWHERE = CollectionName(TEAM, "-", "-")
OLD = datetime(2020, 5, 17, 12, tzinfo=UTC)


async def find(
    rig: Rig,
    filter_: str = "",
    order: str = "",
    where: CollectionName = DIGITS,
    *,
    show_deleted: bool = False,
    caller: Caller = CALLER,
) -> list[str]:
    """The short names of what is found."""
    query = parse_query(filter_, order, VERSION_FIELDS)
    listing = await rig.versions.list_versions(caller, where, Page(), show_deleted=show_deleted, query=query)
    return [version.name.short for version in listing.items]


async def find_collections(rig: Rig, filter_: str = "", order: str = "", project: str = "vision") -> list[str]:
    """The names of the collections that are found."""
    query = parse_query(filter_, order, COLLECTION_FIELDS)
    listing = await rig.collections.list_collections(CALLER, ProjectName(TEAM, project), "", Page(), query)
    return [collection.name.collection for collection in listing.items]


async def log(rig: Rig, metadata: dict[str, Any] | None = None, **more: Any) -> Any:
    """A version with metadata."""
    return (await rig.log(metadata_json=json.dumps(metadata or {}, sort_keys=True), **more)).version


def test_every_field_is_somewhere() -> None:
    """What the language knows, the store can find, and nothing else."""
    from modelkeep_server.database.clock import Clock

    for fields, columns in ((VERSION_FIELDS, version_columns(Clock())), (COLLECTION_FIELDS, collection_columns())):
        found = [*columns.plain, *columns.flags, *columns.labels, *columns.json]
        assert sorted(found) == sorted(fields)
        assert columns.nullable <= set(columns.plain)


async def world(rig: Rig) -> None:
    """Two versions of digits, one of bert, one of sets."""
    await log(rig, {"acc": 0.8}, description="The FIRST one, of 5 %", tags=("golden", "a b"), aliases=("best", "old"))
    await log(rig, {"acc": 0.9}, files={"a": b"x" * 3000, "b": b"y"}, notes="slow", run=RunName(TEAM, "vision", "r-1"))
    await log(rig, {"acc": 0.7}, collection=BERT)
    await log(rig, {}, collection=SETS, type_="dataset")
    await UseApp(rig.transactions).record_use(call("RecordUse"), DIGITS.version(0), Use(RunName(TEAM, "vision", "r-2"), "user"))

    async def write(session: Any) -> None:
        first = update(VersionRow).where(col(VersionRow.number) == 0, col(VersionRow.description) != "")
        await session.execute(first.values(create_time=OLD, verified_time=OLD))
        second = col(VersionRow.number) == 1
        await session.execute(update(VersionRow).where(second).values(verified_time=None, origin="teams/x/y"))
        version_id = await session.scalar(select(col(VersionRow.id)).where(second))
        key = {"key_id": "k", "algorithm": 1, "public_key": b"", "value": b"", "comment": "", "creator": ""}
        await session.execute(insert(SignatureRow).values(version_id=version_id, create_time=OLD, **key))

    await rig.database.write(write)


FOUND = {
    "name = digits": ["digits:v1", "digits:v0"],
    "collection = dig* AND project = vision": ["digits:v1", "digits:v0"],
    "name:ERT": ["bert:v0"],
    "project != vision": ["bert:v0"],
    "type = dataset": ["sets:v0"],
    "type != model": ["sets:v0"],
    "version >= 1": ["digits:v1"],
    "version = v0 AND NOT type = model": ["sets:v0"],
    "alias:best": ["digits:v0"],
    "alias = b*t": ["digits:v0"],
    "alias = latest": ["bert:v0", "digits:v1", "sets:v0"],
    "NOT alias:*": [],
    "alias != latest": ["digits:v0"],
    'tag:golden AND tag:"a b"': ["digits:v0"],
    'tag:"a"': [],
    'tag:"a*"': ["digits:v0"],
    "NOT tag:*": ["bert:v0", "digits:v1", "sets:v0"],
    "metadata.acc > 0.75": ["digits:v1", "digits:v0"],
    "NOT metadata.acc > 0.75": ["bert:v0", "sets:v0"],
    "metadata.acc != 0.8": ["bert:v0", "digits:v1"],
    'metadata.acc = "0.8"': [],
    "NOT metadata:*": ["sets:v0"],
    "create_time < 2021-01-01": ["digits:v0"],
    "create_time = 2020-05-17": ["digits:v0"],
    "create_time != 2020-05-17": ["bert:v0", "digits:v1", "sets:v0"],
    "create_time = 2020-05-17T14:00:00+02:00": ["digits:v0"],
    "create_time > -1d": ["bert:v0", "digits:v1", "sets:v0"],
    "create_time < -52w": ["digits:v0"],
    "update_time > -1d version = 1": ["digits:v1"],
    "size > 2KiB": ["digits:v1"],
    "size <= 16B": ["bert:v0", "digits:v0", "sets:v0"],
    "stored_bytes = 3001": ["digits:v1"],
    "referenced_bytes > 0": [],
    "entry_count = 2": ["digits:v1"],
    'description:"first ONE"': ["digits:v0"],
    'description:"5 %"': ["digits:v0"],
    'description:"5_%"': [],
    "description:*": ["digits:v0"],
    'notes = "slow"': ["digits:v1"],
    "creator = k1": ["bert:v0", "digits:v1", "digits:v0", "sets:v0"],
    "creator = k": [],
    "run = r-1": ["digits:v1"],
    "run = r-*": ["digits:v1"],
    f"run = teams/{TEAM}/projects/vision/runs/r-1": ["digits:v1"],
    "NOT run:*": ["bert:v0", "digits:v0", "sets:v0"],
    "run_name:x": [],
    "used": ["digits:v0"],
    "use_count >= 1": ["digits:v0"],
    "last_use_time > -1h AND first_use_time > -1h": ["digits:v0"],
    "NOT last_use_time > -1h": ["bert:v0", "digits:v1", "sets:v0"],
    "NOT verified": ["digits:v1"],
    "verified_time < 2021-01-01": ["digits:v0"],
    "NOT verified_time < 2021-01-01": ["bert:v0", "digits:v1", "sets:v0"],
    "verified_time != 2020-05-17": ["bert:v0", "sets:v0"],
    "NOT verified_time:*": ["digits:v1"],
    "signed": ["digits:v1"],
    'origin:"TEAMS/X"': ["digits:v1"],
    "state = committed AND version = 1": ["digits:v1"],
    "delete_time:*": [],
    "name = bert OR (name = digits AND version = 0)": ["bert:v0", "digits:v0"],
    'name = "\'; DROP TABLE version; --"': [],
    'metadata."\'; --" = "%"': [],
}


async def test_each_field(rig: Rig) -> None:
    await world(rig)
    found = {filter_: sorted(await find(rig, filter_, where=EVERYWHERE), key=lambda name: name) for filter_ in FOUND}
    assert found == {filter_: sorted(names) for filter_, names in FOUND.items()}
    digest = (await rig.versions.get_version(CALLER, DIGITS.version(1), show_deleted=False)).digest
    for written in (str(digest), digest.hex, f"sha256:{digest.hex[:9]}*", f'"{digest.hex[:10]}*"'):
        assert await find(rig, f"digest = {written}", where=EVERYWHERE) == ["digits:v1"]
        assert "digits:v1" not in await find(rig, f"digest != {written}", where=EVERYWHERE)


async def test_each_order(rig: Rig) -> None:
    """What has no value comes last, whatever the direction."""
    await world(rig)
    lists = {
        "": ["sets:v0", "bert:v0", "digits:v1", "digits:v0"],
        "create_time": ["digits:v0", "digits:v1", "bert:v0", "sets:v0"],
        "name, -version": ["bert:v0", "digits:v1", "digits:v0", "sets:v0"],
        "-name, version": ["sets:v0", "digits:v0", "digits:v1", "bert:v0"],
        "metadata.acc": ["bert:v0", "digits:v0", "digits:v1", "sets:v0"],
        "-metadata.acc": ["digits:v1", "digits:v0", "bert:v0", "sets:v0"],
        "type, -metadata.acc": ["sets:v0", "digits:v1", "digits:v0", "bert:v0"],
        "project, size desc, name": ["bert:v0", "digits:v1", "digits:v0", "sets:v0"],
        "-use_count, -create_time": ["digits:v0", "sets:v0", "bert:v0", "digits:v1"],
        "verified_time desc": ["sets:v0", "bert:v0", "digits:v0", "digits:v1"],
        "verified_time": ["digits:v0", "bert:v0", "sets:v0", "digits:v1"],
        "metadata.none, name": ["bert:v0", "digits:v0", "digits:v1", "sets:v0"],
    }
    found = {order: await find(rig, order=order, where=EVERYWHERE) for order in lists}
    found["metadata.none, name"][1:3] = sorted(found["metadata.none, name"][1:3])
    assert found == lists
    assert await find(rig, order="state, creator, stored_bytes, referenced_bytes, version") == ["digits:v0", "digits:v1"]


async def test_where_it_is_looked_for(rig: Rig) -> None:
    await world(rig)
    assert await find(rig, where=IN_PROJECT, order="name, version") == ["digits:v0", "digits:v1", "sets:v0"]
    assert await find(rig, "metadata.acc > 0.75", where=BERT) == []
    assert await find(rig, where=CollectionName(TEAM, "-", "bert")) == ["bert:v0"]
    assert await find(rig, where=CollectionName(TEAM, "-", "none")) == []
    with pytest.raises(ProjectNotFound):
        await find(rig, where=CollectionName(TEAM, "none", "-"))


async def test_teams_are_apart(rig: Rig) -> None:
    """Nobody finds what belongs to a team that the key may not read."""
    await world(rig)
    await rig.transactions.write(lambda work: work.teams.ensure(TeamName("rivals")))
    theirs = CollectionName("rivals", "-", "-")
    with pytest.raises(PermissionDenied):
        await find(rig, where=EVERYWHERE, caller=OTHER)
    assert await find(rig, where=theirs, caller=OTHER) == []
    with pytest.raises(PermissionDenied):
        await find(rig, where=theirs)
    with pytest.raises(PermissionDenied):
        await rig.collections.list_collections(OTHER, ProjectName(TEAM, "-"), "", Page())
    reader = Caller("teams/rivals/apiKeys/k3", "rivals", Role.READ, frozenset({TEAM}), access=Access.READ)
    assert len(await find(rig, where=EVERYWHERE, caller=reader)) == 4
    nobody = replace(OTHER, team="nobody")
    with pytest.raises(TeamNotFound):
        await find(rig, where=CollectionName("nobody", "-", "-"), caller=nobody)


async def test_deleted_versions_are_found_when_they_are_asked_for(rig: Rig) -> None:
    await world(rig)
    await rig.versions.delete_version(call("DeleteVersion"), DIGITS.version(1), "old", delete_aliases=False)
    assert await find(rig, "metadata.acc > 0.85", where=EVERYWHERE) == []
    assert await find(rig, "state = deleted", where=EVERYWHERE) == []
    assert await find(rig, "state = deleted", where=EVERYWHERE, show_deleted=True) == ["digits:v1"]
    assert await find(rig, "delete_time > -1h AND metadata.acc > 0.85", where=EVERYWHERE, show_deleted=True) == ["digits:v1"]
    assert "digits:v0" in await find(rig, "alias = latest", where=EVERYWHERE, show_deleted=True)
    rig.clock.offset = timedelta(days=8)
    assert await find(rig, "state = purged", where=EVERYWHERE, show_deleted=True) == ["digits:v1"]
    assert await find(rig, "state = deleted", where=EVERYWHERE, show_deleted=True) == []


async def test_an_edit_is_found_at_once(rig: Rig) -> None:
    version = await log(rig, {"acc": 0.5, "gone": True, "tags": ["x"]})
    words = Words(metadata_json='{"acc":0.6,"new":"y"}')
    await rig.versions.update_version(call("UpdateVersion"), version.name, words, version.etag)
    with pytest.raises(EtagMismatch):
        await rig.versions.update_version(call("UpdateVersion"), version.name, Words(metadata_json='{"acc":9}'), version.etag)
    assert await find(rig, "metadata.acc = 0.6 AND metadata.new = y") == ["digits:v0"]
    assert await find(rig, "metadata.acc = 0.5 OR metadata.acc = 9 OR metadata.gone:* OR metadata.tags:x") == []
    await rig.versions.update_version(call("UpdateVersion"), version.name, Words(description="d"), "")
    assert await find(rig, "metadata.acc = 0.6 AND description = d") == ["digits:v0"]
    await rig.versions.update_version(call("UpdateVersion"), version.name, Words(metadata_json="{}"), "")
    assert await rig.count(VersionValueRow) == 0


async def test_a_copy_is_found_by_the_metadata_that_it_brought(rig: Rig) -> None:
    source = await log(rig, {"acc": 0.9, "tags": ["x"]})
    copied = CollectionName(TEAM, "vision", "copies")
    await rig.copies.copy_version(call("CopyVersion"), copied, source.name, (), ())
    assert await find(rig, "metadata.acc > 0.8 AND metadata.tags:x AND origin:digits", where=EVERYWHERE) == ["copies:v0"]


async def test_metadata_that_is_too_much_is_found_by_its_shallow_values(rig: Rig) -> None:
    await log(rig, {"big": [*range(5000)], "z": 1})
    assert await find(rig, "metadata.z = 1 AND metadata.big:* AND metadata.big:7") == ["digits:v0"]
    assert await find(rig, "metadata.big:4999") == []
    assert await rig.count(VersionValueRow) == MAX_VALUES


async def test_pages_are_bound_to_what_was_asked(rig: Rig) -> None:
    for number in range(4):
        await log(rig, {"acc": number})
    query = parse_query("metadata.acc >= 0", "-metadata.acc", VERSION_FIELDS)
    first = await rig.versions.list_versions(CALLER, DIGITS, Page(2), show_deleted=False, query=query)
    page = Page(2, first.next_token)
    for filter_, order, where in [
        ("metadata.acc >= 1", "-metadata.acc", DIGITS),
        ("metadata.acc >= 0", "metadata.acc", DIGITS),
        ("metadata.acc >= 0", "", DIGITS),
        ("metadata.acc >= 0", "-metadata.acc", IN_PROJECT),
    ]:
        other = parse_query(filter_, order, VERSION_FIELDS)
        with pytest.raises(InvalidPageToken):
            await rig.versions.list_versions(CALLER, where, page, show_deleted=False, query=other)
    rest = await rig.versions.list_versions(CALLER, DIGITS, page, show_deleted=False, query=query)
    assert [version.name.number for version in (*first.items, *rest.items)] == [3, 2, 1, 0]


@pytest.mark.parametrize(
    "position", [["=x", "=1"], ["=1"], ["-", "-"], ["=1", f"={2**70}"], ["1", "=1"], ["", ""], ["-x", "=0"]]
)
async def test_a_forged_page_token_is_refused(rig: Rig, position: list[str]) -> None:
    """Nothing in a token is trusted."""
    from modelkeep_server.database.paging import token

    await log(rig, {"acc": 1})
    query = parse_query("", "create_time", VERSION_FIELDS)
    forged = token(position, "versions", DIGITS, False, "", "create_time")
    with pytest.raises(InvalidPageToken):
        await rig.versions.list_versions(CALLER, DIGITS, Page(2, forged), show_deleted=False, query=query)


async def test_pages_stay_true_while_versions_come_and_go(rig: Rig) -> None:
    """SEM-53: nothing is shown twice, and nothing that was there all the time is left out."""
    for number in range(6):
        await log(rig, {"acc": number} if number % 2 else {})
    query, token, seen = parse_query("", "-metadata.acc", VERSION_FIELDS), "", []
    for round_ in range(6):
        page = await rig.versions.list_versions(CALLER, DIGITS, Page(1, token), show_deleted=False, query=query)
        seen += [version.name.number for version in page.items]
        token = page.next_token
        await log(rig, {"acc": 100 + round_})  # before all that is to come
    assert seen == [5, 3, 1] + [number for number in seen[3:] if number % 2 == 0]
    assert len(set(seen)) == 6


async def test_a_page_is_a_bounded_number_of_statements(rig: Rig) -> None:
    """SEM-27: no statement per version, alias or tag."""
    counts: list[list[int]] = []
    for many in (1, 6):
        for number in range(many):
            await log(rig, {"acc": number}, tags=("t", f"t{number}"), aliases=(f"a{number}",))
        counts.append([])
        for order in ("", "-metadata.acc", "metadata.none", "-size, metadata.acc"):
            with rig.statements() as statements:
                found = await find(rig, "metadata.acc >= 0 AND tag:t AND alias:*", order, EVERYWHERE)
            assert len(found) == many
            counts[-1].append(len([one for one in statements if not one.startswith(("BEGIN", "ROLLBACK"))]))
    assert counts[0] == counts[1]
    assert max(counts[0]) <= 3


async def test_collections(rig: Rig) -> None:
    await world(rig)
    await rig.collections.create_collection(
        call("CreateCollection"), CollectionName(TEAM, "vision", "empty"), "model", "Nothing yet"
    )
    assert await find_collections(rig) == ["digits", "empty", "sets"]
    assert await find_collections(rig, "type = model") == ["digits", "empty"]
    assert await find_collections(rig, "version_count = 0") == ["empty"]
    assert await find_collections(rig, "latest_version >= v1") == ["digits"]
    assert await find_collections(rig, "NOT latest_version:*") == ["empty"]
    assert await find_collections(rig, "alias:best") == ["digits"]
    assert await find_collections(rig, "NOT alias:latest") == ["empty"]
    assert await find_collections(rig, 'description:"nothing"') == ["empty"]
    assert await find_collections(rig, "name = *s", "-name") == ["sets", "digits"]
    assert await find_collections(rig, "", "-version_count, name") == ["digits", "sets", "empty"]
    assert await find_collections(rig, "", "latest_version desc") == ["digits", "sets", "empty"]
    assert await find_collections(rig, project="-") == ["bert", "digits", "empty", "sets"]
    assert await find_collections(rig, "project = text AND create_time > -1d AND update_time > -1d", project="-") == ["bert"]
    query = parse_query("type = model", "-create_time", COLLECTION_FIELDS)
    everywhere, token, seen = ProjectName(TEAM, "-"), "", []
    while not seen or token:
        with rig.statements() as statements:
            page = await rig.collections.list_collections(CALLER, everywhere, "", Page(1, token), query)
        assert len([one for one in statements if not one.startswith(("BEGIN", "ROLLBACK"))]) == 3
        seen += [collection.name.collection for collection in page.items]
        token = page.next_token
    assert seen == ["empty", "bert", "digits"]
    with pytest.raises(ProjectNotFound):
        await find_collections(rig, project="none")


async def test_a_bomb_that_is_within_the_limits_is_answered(rig: Rig) -> None:
    """100 comparisons with wildcards, as deep as allowed."""
    await log(rig, {"text": "a" * 5000 + "b"}, description="a" * 5000)
    worst = "*".join(["a"] * 9)
    assert await find(rig, " OR ".join([f'description = "{worst}c"'] * 99 + ["metadata.x = 1"])) == []
    assert await find(rig, f'metadata.text = "{worst[2:]}*b" AND NOT metadata.text = "{worst[2:]}*c"') == ["digits:v0"]
    assert await find(rig, "(" * 32 + " ".join(["NOT metadata.x:y"] * 100) + ")" * 32) == ["digits:v0"]
