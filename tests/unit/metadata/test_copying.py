"""Copies of versions: their origin, dedup, who may make them, and what may happen meanwhile (SEM-11, 14, 22)."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from modelkeep.digest import Digest
from modelkeep.errors import (
    ChunksMissing,
    CollectionTypeMismatch,
    LimitExceeded,
    PermissionDenied,
    RequestIdReused,
    TooBusy,
    VersionDeleted,
    VersionNotFound,
)
from modelkeep.names import CollectionName, TeamName, VersionName
from modelkeep_server.metadata.domain.draft import Committed
from modelkeep_server.metadata.domain.event import VersionCommitted
from modelkeep_server.metadata.domain.version import Origin
from modelkeep_server.metadata.store.tables import PageRow, VersionRow
from modelkeep_server.runtime.calls import Call

from tests.unit.metadata.rig import DIGITS, OTHER, Rig, call
from tests.unit.metadata.test_races import Meddling

PROD = CollectionName("acme", "prod", "shown")
THEIRS = CollectionName("rivals", "p", "theirs")
READER = replace(OTHER, readable_teams=frozenset({"acme"}))
ID = "5f2b9a30-2d54-4c8e-9d0a-2c6a3a5a9b11"


async def copy(
    rig: Rig, source: VersionName, to: CollectionName = PROD, aliases: Sequence[str] = (), by: Call | None = None
) -> Committed:
    return await rig.copies.copy_version(by or call("CopyVersion"), to, source, tuple(aliases), ("t",))


async def test_a_copy_has_the_content_and_words_and_says_where_it_came_from(rig: Rig) -> None:
    source = (await rig.log({"w": b"1"}, aliases=("best",), description="d", notes="n", metadata_json='{"a":1}')).version
    pages = await rig.count(PageRow)
    copied = await copy(rig, source.name, aliases=["production"])
    version = copied.version
    assert (version.name, version.aliases, version.tags) == (PROD.version(0), ("latest", "production"), ("t",))
    assert (version.description, version.notes, version.metadata_json) == ("d", "", '{"a":1}')
    assert (version.digest, version.type, version.origin) == (source.digest, "model", Origin(str(source.name), source.uid))
    assert (copied.deduplicated, version.uid != source.uid) == (False, True)
    assert await rig.count(PageRow) == pages
    events = [event.happening for event in await rig.events(PROD.parent)]
    made = next(one for one in events if isinstance(one, VersionCommitted))
    assert (made.origin_uid, made.run, made.version_uid) == (source.uid, "", version.uid)
    again = await copy(rig, source.name, aliases=["again"])
    assert (again.deduplicated, again.version.name, again.version.aliases) == (
        True,
        version.name,
        ("again", "latest", "production"),
    )
    itself = await copy(rig, source.name, DIGITS)
    assert (itself.deduplicated, itself.version.name, itself.version.origin) == (True, source.name, None)


async def test_a_repeated_copy_gets_its_answer_also_when_the_source_is_gone(rig: Rig) -> None:
    """SEM-14."""
    source = (await rig.log({"w": b"1"})).version.name
    once = call("CopyVersion", request_id=ID)
    first = await copy(rig, source, by=once)
    await rig.versions.delete_version(call("DeleteVersion"), source, "old", delete_aliases=False)
    assert await copy(rig, source, by=once) == first
    with pytest.raises(VersionDeleted, match="old"):
        await copy(rig, source)
    with pytest.raises(RequestIdReused):
        await copy(rig, source, by=replace(once, fingerprint=bytes(32)))
    with pytest.raises(VersionNotFound):
        await copy(rig, DIGITS.version(9))
    assert await rig.count(VersionRow) == 2


async def test_a_source_that_is_deleted_meanwhile_is_not_copied(rig: Rig) -> None:
    source = (await rig.log({"w": b"1"})).version.name

    class Deleting(Meddling):
        async def meddle(self) -> None:
            await rig.versions.delete_version(call("DeleteVersion"), source, "just now", delete_aliases=False)

    rig.chunks = Deleting(rig, 1)
    rig.use(rig.limits)
    with pytest.raises(VersionDeleted, match="just now"):
        await copy(rig, source)
    assert await rig.count(VersionRow) == 1


async def test_a_copy_that_a_collection_overtook_confirms_again(rig: Rig) -> None:
    """RELIABILITY §2.4."""
    source = (await rig.log({"w": b"1"})).version.name
    rig.chunks = Meddling(rig, 1)
    rig.use(rig.limits)
    assert (await copy(rig, source)).version.name == PROD.version(0)
    assert rig.chunks.epochs == [0, 1]
    rig.chunks = Meddling(rig, 100)
    rig.use(rig.limits)
    with pytest.raises(TooBusy):
        await copy(rig, source, replace(PROD, collection="busy"))


async def test_a_copy_from_another_team_takes_over_its_holdings(rig: Rig) -> None:
    """SEM-22: of the chunks of that version, for who may read it and write here."""
    source = (await rig.log({"w": b"1", "x": b"2"})).version.name
    rig.put(b"in no version")
    await rig.transactions.write(lambda work: work.teams.ensure(TeamName("rivals")))
    by = call("CopyVersion", READER)
    copied = await copy(rig, source, THEIRS, by=by)
    assert (copied.version.name, copied.version.origin) == (THEIRS.version(0), Origin(str(source), (await first(rig, source))))
    assert rig.chunks.held["rivals"].keys() == {Digest.of(b"1"), Digest.of(b"2")}
    for caller, to in ((OTHER, THEIRS), (READER, PROD)):
        with pytest.raises(PermissionDenied):
            await copy(rig, source, to, by=call("CopyVersion", caller))


async def first(rig: Rig, name: VersionName) -> str:
    return (await rig.transactions.read(lambda work: work.versions.get(name))).uid


async def test_a_damaged_source_is_not_copied(rig: Rig) -> None:
    source = (await rig.log({"w": b"1", "x": b"2"})).version.name
    await rig.transactions.write(lambda work: work.teams.ensure(TeamName("rivals")))
    del rig.chunks.held["acme"][Digest.of(b"2")]
    for to, caller in ((PROD, None), (THEIRS, READER)):
        with pytest.raises(ChunksMissing):
            await copy(rig, source, to, by=call("CopyVersion", caller) if caller else None)
    assert await rig.count(VersionRow) == 1


async def test_limits_and_types_of_copies(rig: Rig) -> None:
    """SEM-2, SEM-27."""
    source = (await rig.log({"w": b"1"})).version.name
    await rig.log({"w": b"2"}, PROD, "dataset")
    with pytest.raises(CollectionTypeMismatch, match="dataset"):
        await copy(rig, source)
    with pytest.raises(LimitExceeded, match="aliases"):
        await copy(rig, source, aliases=[f"a{i}" for i in range(200)])


async def test_a_copy_takes_a_bounded_number_of_statements_under_its_lock(rig: Rig) -> None:
    """P13: however large the version is."""
    counts = []
    for many in (1, 300):
        files = {f"f{i:04}": str(i).encode() for i in range(many)}
        source = (await rig.log(files, replace(DIGITS, collection=f"of-{many}"))).version.name
        with rig.statements() as statements:
            await copy(rig, source)
        counts.append(len(statements))
    assert abs(counts[0] - counts[1]) <= 2  # one call of many takes forgotten answers away
    assert max(counts) < 40
