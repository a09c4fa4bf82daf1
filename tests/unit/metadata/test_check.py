"""Checking: a sound database has no problem, and each broken invariant is found (RELIABILITY §1: I2, I3, I5, I6)."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from modelkeep.digest import Digest
from modelkeep.manifest import Entry, Segment
from modelkeep.names import TeamName
from modelkeep_server.metadata.app.check import Inspection
from modelkeep_server.metadata.domain.page import PAGE_HEADER, SEGMENTS_HEADER
from modelkeep_server.metadata.domain.problem import ProblemKind
from sqlalchemy import text

from tests.unit.metadata.rig import DIGITS, TEAM, Rig, call


async def problems(rig: Rig) -> list[tuple[ProblemKind, str]]:
    async def sizes(team: TeamName, digests: Sequence[Digest]) -> list[int]:
        return [rig.chunks.held[team.team].get(digest, -1) for digest in digests]

    return [(problem.kind, problem.what) async for problem in Inspection(rig.transactions, sizes).problems()]


async def spoil(rig: Rig, statement: str, **values: object) -> None:
    async with rig.database.engine.begin() as connection:
        await connection.execute(text(statement), values)


async def filled(rig: Rig) -> None:
    """Versions of all kinds: small, large, long, twins, deleted, aliased, with open drafts beside them."""
    data = bytes(i % 251 for i in range(2500))
    chunk = rig.put(data + b"!")
    long = Entry("long", Digest.of(data), len(data), False, tuple(Segment(chunk, i, 1) for i in range(len(data))))
    await rig.log({"w": b"1"}, aliases=("best",))
    await rig.commit(await rig.draft([rig.file(f"f{i:04}", b"1") for i in range(1500)]), aliases=("best", "large"))
    await rig.commit(await rig.draft([long]), metadata_json='{"acc":0.5,"tags":["x",null]}')
    await rig.commit(await rig.draft([rig.cut_file("w", b"22", b"2")]))
    await rig.commit(await rig.draft([rig.cut_file("w", b"2", b"22")]))
    await rig.versions.delete_version(call("DeleteVersion"), DIGITS.version(1), "", delete_aliases=True)
    await rig.log({})
    await rig.draft([rig.file("open", b"1")])


async def test_a_sound_database_has_no_problem(rig: Rig) -> None:
    await filled(rig)
    assert await problems(rig) == []


VERSION = f"{DIGITS}/versions/v"


@pytest.mark.parametrize(
    ("statement", "kind", "what"),
    [
        ("UPDATE collection SET next_index = 5", ProblemKind.NUMBER_WRONG, f"{VERSION}5"),
        ("UPDATE version SET is_target = true WHERE number = 1", ProblemKind.TARGET_WRONG, f"{VERSION}1"),
        ("UPDATE version SET use_count = 1 WHERE number = 2", ProblemKind.USES_WRONG, f"{VERSION}2"),
        ("UPDATE version SET metadata_json = '{}' WHERE number = 2", ProblemKind.VALUES_WRONG, f"{VERSION}2"),
        ("UPDATE version SET metadata_json = '{\"a\": null}' WHERE number = 3", ProblemKind.VALUES_WRONG, f"{VERSION}3"),
        ("DELETE FROM version_value WHERE ordinal = 1", ProblemKind.VALUES_WRONG, f"{VERSION}2"),
        ("UPDATE version_value SET text = 'y' WHERE text = 'x'", ProblemKind.VALUES_WRONG, f"{VERSION}2"),
        ("UPDATE version_value SET number_in = NULL", ProblemKind.VALUES_WRONG, f"{VERSION}2"),
        ("UPDATE version_absence SET to_time = from_time", ProblemKind.ABSENCE_WRONG, f"{VERSION}1"),
        ("UPDATE alias SET seq = 9 WHERE alias = 'best'", ProblemKind.ALIAS_WRONG, f"{DIGITS}/aliases/best"),
        ("DELETE FROM event WHERE sequence = 4", ProblemKind.EVENTS_WRONG, str(DIGITS.parent)),
        ("UPDATE project SET event_sequence = event_sequence + 1", ProblemKind.EVENTS_WRONG, str(DIGITS.parent)),
    ],
)
async def test_rows_that_contradict_each_other_are_found(rig: Rig, statement: str, kind: ProblemKind, what: str) -> None:
    await filled(rig)
    await spoil(rig, statement)
    assert (kind, what) in await problems(rig)


async def test_an_alias_that_points_nowhere_live_is_found(rig: Rig) -> None:
    """I3."""
    await filled(rig)
    await spoil(rig, "UPDATE alias SET version_id = (SELECT id FROM version WHERE number = 1) WHERE alias = 'large'")
    found = await problems(rig)
    assert found == [(ProblemKind.ALIAS_WRONG, f"{DIGITS}/aliases/large")] * 2


async def test_a_version_whose_digest_is_not_that_of_its_manifest_is_found(rig: Rig) -> None:
    await filled(rig)
    await spoil(rig, "UPDATE version SET digest = :digest WHERE number = 2", digest=bytes(32))
    assert await problems(rig) == [(ProblemKind.MANIFEST_WRONG, f"{VERSION}2")]


@pytest.mark.parametrize("header", [PAGE_HEADER, SEGMENTS_HEADER])
async def test_a_page_whose_bytes_changed_is_found(rig: Rig, header: bytes) -> None:
    """I2: of entries and of segments."""
    await filled(rig)
    digest, data = (await _pages(rig, header))[0]
    await spoil(rig, "UPDATE page SET data = :data WHERE digest = :digest", data=data + b"\0", digest=digest)
    assert {kind for kind, _ in await problems(rig)} == {ProblemKind.PAGE_WRONG}


async def _pages(rig: Rig, header: bytes) -> list[tuple[bytes, bytes]]:
    async with rig.database.engine.connect() as connection:
        rows = await connection.execute(text("SELECT digest, data FROM page ORDER BY digest"))
        return [(bytes(digest), bytes(data)) for digest, data in rows if bytes(data).startswith(header)]


@pytest.mark.parametrize("column", ["first_path", "last_path"])
async def test_a_place_that_is_wrong_is_found(rig: Rig, column: str) -> None:
    await filled(rig)
    await spoil(rig, f"UPDATE manifest_page SET {column} = :path WHERE ordinal = 1", path=b"zzz")
    assert {kind for kind, _ in await problems(rig)} == {ProblemKind.PAGE_WRONG}


async def test_a_manifest_that_lacks_a_page_is_found(rig: Rig) -> None:
    await filled(rig)
    await spoil(rig, "DELETE FROM manifest_page WHERE ordinal = 1")
    assert {kind for kind, _ in await problems(rig)} & {ProblemKind.PAGE_WRONG, ProblemKind.MANIFEST_WRONG}


async def test_chunks_that_are_missing_or_too_small_are_found(rig: Rig) -> None:
    """I2: of live and restorable versions, not of purged ones."""
    await rig.log({"a": b"gone", "b": b"short"})
    held = rig.chunks.held[TEAM]
    del held[Digest.of(b"gone")]
    held[Digest.of(b"short")] = 4
    expected = {(ProblemKind.CHUNK_MISSING, str(Digest.of(b"gone"))), (ProblemKind.CHUNK_TOO_SMALL, str(Digest.of(b"short")))}
    assert set(await problems(rig)) == expected
    await rig.versions.delete_version(call("DeleteVersion"), DIGITS.version(0), "", delete_aliases=False)
    assert set(await problems(rig)) == expected
    rig.clock.offset = timedelta(days=8)
    assert await problems(rig) == []
