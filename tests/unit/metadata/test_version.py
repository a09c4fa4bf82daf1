"""Versions: shown, listed, edited, deleted and restored (SEM-8, 12, 13, 15, 18, 19, 40, 43, 44)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.errors import (
    CollectionNotFound,
    DigestLive,
    EtagMismatch,
    InvalidArgument,
    InvalidPageToken,
    LimitExceeded,
    PermissionDenied,
    ProjectNotFound,
    VersionAliased,
    VersionDeleted,
    VersionNotFound,
    VersionPurged,
)
from modelkeep.names import CollectionName, VersionName
from modelkeep_server.database.paging import Page
from modelkeep_server.metadata.convert.version import version_to_pb
from modelkeep_server.metadata.domain import event
from modelkeep_server.metadata.domain.limits import Limits
from modelkeep_server.metadata.domain.version import Version, VersionState, Words
from modelkeep_server.metadata.store.tables import AliasRow, TagRow, VersionAbsenceRow, VersionRow
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from tests.unit.metadata.rig import CALLER, DIGITS, OTHER, PROJECT, Rig, call

WIDE = "\U00010400"
"""A letter that takes four bytes."""
MANY_YEARS = datetime(9999, 1, 1, tzinfo=UTC)


async def get(rig: Rig, number: int = 0) -> Version:
    return await rig.versions.get_version(CALLER, DIGITS.version(number), show_deleted=True)


async def delete(rig: Rig, number: int = 0, *, delete_aliases: bool = False) -> Version:
    name = DIGITS.version(number)
    return await rig.versions.delete_version(call("DeleteVersion"), name, "too old", delete_aliases=delete_aliases)


async def restore(rig: Rig, number: int = 0) -> Version:
    return await rig.versions.restore_version(call("RestoreVersion"), DIGITS.version(number))


async def test_what_does_not_exist(rig: Rig) -> None:
    with pytest.raises(ProjectNotFound):
        await get(rig)
    await rig.log()
    with pytest.raises(VersionNotFound, match="the newest is v0") as raised:
        await get(rig, 9)
    assert raised.value.metadata["newest"] == "v0"
    for _ in range(5):
        await rig.log()
    with pytest.raises(VersionNotFound, match=r"the newest are v5, v4, v3, v2, v1$"):
        await get(rig, 9)
    with pytest.raises(CollectionNotFound, match="'digits'"):
        await rig.versions.get_version(CALLER, VersionName("acme", "vision", "digit", 0), show_deleted=False)
    with pytest.raises(CollectionNotFound):
        await rig.versions.list_versions(CALLER, replace(DIGITS, collection="digit"), Page(), show_deleted=False)
    with pytest.raises(PermissionDenied):
        await rig.versions.get_version(OTHER, DIGITS.version(0), show_deleted=False)


async def test_latest_is_the_highest_live_version(rig: Rig) -> None:
    """SEM-18: deleting the newest lets it fall, restoring brings it back."""
    for _ in range(3):
        await rig.log()
    assert (await get(rig, 2)).aliases == ("latest",)
    await delete(rig, 2)
    assert (await get(rig, 1)).aliases == ("latest",)
    await restore(rig, 2)
    assert ((await get(rig, 1)).aliases, (await get(rig, 2)).aliases) == ((), ("latest",))


async def test_versions_are_listed_newest_first_page_by_page(rig: Rig) -> None:
    """SEM-53."""
    for number in range(7):
        await rig.log(aliases=(f"a{number}",), tags=("t", f"t{number}"))
    await delete(rig, 3, delete_aliases=True)
    seen, token = [], ""
    while True:
        page = await rig.versions.list_versions(CALLER, DIGITS, Page(2, token), show_deleted=False)
        seen += page.items
        token = page.next_token
        if not token:
            break
    assert [version.name.number for version in seen] == [6, 5, 4, 2, 1, 0]
    assert [version.aliases for version in seen[:2]] == [("a6", "latest"), ("a5",)]
    assert seen[-1].tags == ("t", "t0")
    everything = await rig.versions.list_versions(CALLER, DIGITS, Page(), show_deleted=True)
    assert [version.name.number for version in everything.items] == [6, 5, 4, 3, 2, 1, 0]
    first = await rig.versions.list_versions(CALLER, DIGITS, Page(2), show_deleted=False)
    with pytest.raises(InvalidPageToken):
        await rig.versions.list_versions(CALLER, DIGITS, Page(2, first.next_token), show_deleted=True)


async def test_a_list_takes_as_many_statements_as_one_version(rig: Rig) -> None:
    """SEM-27: no statement per version."""
    counts = []
    for _ in range(2):
        await rig.log(aliases=("best",), tags=("t",))
        with rig.statements() as statements:
            await rig.versions.list_versions(CALLER, DIGITS, Page(), show_deleted=False)
        counts.append(len(statements))
    assert counts[0] == counts[1]


async def test_a_page_ends_early_when_its_words_are_many(rig: Rig) -> None:
    """SEM-27: a page fits into one message, whatever people wrote."""
    for number in range(6):
        await rig.log(metadata_json='{"a":"' + "x" * 300_000 + f'{number}"}}')
    page = await rig.versions.list_versions(CALLER, DIGITS, Page(), show_deleted=False)
    assert [version.name.number for version in page.items] == [5]
    assert page.next_token
    empty = CollectionName("acme", "vision", "empty")
    await rig.collections.create_collection(call("CreateCollection"), empty, "model", "")
    assert await rig.versions.list_versions(CALLER, empty, Page(), show_deleted=False) == type(page)(())


async def many_rows(rig: Rig, count: int, *, words: str, labels: int, table: type[AliasRow | TagRow]) -> None:
    """Versions, straight in the database, as large as calls can make them: with so many tags, or aliases, of the longest."""
    await rig.log()

    async def write(session: AsyncSession) -> None:
        first = (await session.execute(select(VersionRow.__table__))).one()._asdict()
        reason = {
            "description": words,
            "run_display_name": words[:256],
            "delete_reason": words[:256],
            "delete_actor": "d" * 150,
        }
        longest = {"creator": "c" * 150, "run": "r" * 410, "delete_time": first["create_time"], "is_target": False}
        for number in range(1, count):
            ids = {"id": first["id"] + number, "uid": str(uuid4()), "number": number}
            await session.execute(insert(VersionRow).values(first | reason | longest | ids | {"purge_time": MANY_YEARS}))
            of_alias = {"collection_id": first["collection_id"], "seq": 1, "update_time": MANY_YEARS, "actor": "a"}
            of_table = of_alias if table is AliasRow else {}
            field = "alias" if table is AliasRow else "tag"
            names = [f"{number:04}{label:04}".ljust(128, WIDE) for label in range(labels)]
            rows = [of_table | {"version_id": ids["id"], field: name} for name in names]
            if rows:
                await session.execute(insert(table), rows)

    await rig.database.write(write)


@pytest.mark.parametrize(
    ("count", "words", "labels", "table"),
    [(12, "", 1000, AliasRow), (100, "", 100, TagRow), (1000, WIDE * 500, 0, TagRow)],
)
async def test_a_page_fits_into_a_message_whatever_a_version_carries(
    rig: Rig, count: int, words: str, labels: int, table: type[AliasRow | TagRow]
) -> None:
    """SEM-27: tags, aliases, reasons and names count as well as words do, and no version is left out."""
    await many_rows(rig, count, words=words, labels=labels, table=table)
    numbers, token = [], ""
    while not numbers or token:
        page = await rig.versions.list_versions(CALLER, DIGITS, Page(1000, token), show_deleted=False)
        message = pb.ListVersionsResponse(versions=map(version_to_pb, page.items), next_page_token=page.next_token)
        assert message.ByteSize() < Limits().max_message_bytes
        numbers += [version.name.number for version in page.items]
        token = page.next_token
    assert numbers == list(reversed(range(count)))


async def test_words_are_edited_and_nothing_else(rig: Rig) -> None:
    """SEM-15: no version is made, the digest stays."""
    before = (await rig.log(description="old", notes="n")).version
    words = Words(description="new", metadata_json='{"b":2}')
    after = await rig.versions.update_version(call("UpdateVersion"), before.name, words, "")
    assert after == replace(before, description="new", metadata_json='{"b":2}', etag=after.etag, update_time=after.update_time)
    assert after.etag != before.etag
    assert after.update_time > before.update_time
    assert (await rig.events())[-1].happening == event.VersionUpdated(str(before.name), ("description", "metadata_json"))


async def test_a_stale_edit_is_refused_with_the_present_etag(rig: Rig) -> None:
    """SEM-19."""
    version = (await rig.log()).version
    edited = await rig.versions.update_version(call("UpdateVersion"), version.name, Words(notes="1"), version.etag)
    for stale in (version.etag, "nonsense", "²"):
        with pytest.raises(EtagMismatch) as raised:
            await rig.versions.update_version(call("UpdateVersion"), version.name, Words(notes="2"), stale)
        assert raised.value.metadata["etag"] == edited.etag
    assert (await get(rig)).notes == "1"


async def test_tags_are_added_and_taken_off(rig: Rig) -> None:
    """SEM-19: adding what is there, or taking what is not, changes nothing."""
    before = (await rig.log(tags=("a",))).version
    after = await rig.versions.edit_tags(call("EditTags"), before.name, ["a", "b", "c"], ["z"])
    assert after.tags == ("a", "b", "c")
    happened = await rig.happenings()
    again = await rig.versions.edit_tags(call("EditTags"), before.name, ["b"], ["z"])
    assert again == after
    assert await rig.happenings() == happened
    assert (await rig.versions.edit_tags(call("EditTags"), before.name, ["d"], ["a", "b"])).tags == ("c", "d")
    with pytest.raises(InvalidArgument):
        await rig.versions.edit_tags(call("EditTags"), before.name, ["x"], ["x"])


async def test_a_version_has_a_bounded_number_of_tags(rig: Rig) -> None:
    rig.use(Limits(max_tags=3))
    version = (await rig.log(tags=("a", "b"))).version
    with pytest.raises(LimitExceeded):
        await rig.versions.edit_tags(call("EditTags"), version.name, ["c", "d"], [])
    assert (await rig.versions.edit_tags(call("EditTags"), version.name, ["c", "d"], ["a"])).tags == ("b", "c", "d")


async def test_a_deleted_version_answers_with_its_tombstone(rig: Rig) -> None:
    """SEM-40, SEM-44."""
    await rig.log()
    deleted = await delete(rig)
    assert deleted.state is VersionState.DELETED
    assert deleted.tombstone is not None
    assert (deleted.tombstone.actor, deleted.tombstone.reason) == (CALLER.actor, "too old")
    assert deleted.tombstone.purge_time - deleted.tombstone.delete_time == timedelta(days=7)
    assert deleted.aliases == ()
    assert (await rig.events())[-1].happening == event.VersionDeleted(str(deleted.name), deleted.uid, "too old")
    for attempt in (
        rig.versions.get_version(CALLER, deleted.name, show_deleted=False),
        rig.versions.update_version(call("UpdateVersion"), deleted.name, Words(notes="x"), ""),
        rig.versions.edit_tags(call("EditTags"), deleted.name, ["x"], []),
        delete(rig),
        rig.entries.list_entries(CALLER, deleted.name, "", Page()),
    ):
        with pytest.raises(VersionDeleted) as raised:
            await attempt
        assert {"actor", "reason", "delete_time", "purge_time"} <= raised.value.metadata.keys()


async def test_aliases_keep_a_version_from_deletion(rig: Rig) -> None:
    """SEM-43: unless they are to go too; derived `latest` does not count."""
    await rig.log(aliases=("best", "prod"))
    with pytest.raises(VersionAliased) as raised:
        await delete(rig)
    assert raised.value.metadata["aliases"] == "best,prod"
    await delete(rig, delete_aliases=True)
    kinds = await rig.happenings()
    assert kinds[-3:] == ["AliasMoved", "AliasMoved", "VersionDeleted"]
    history = await rig.aliases.list_alias_history(CALLER, DIGITS, "best", Page())
    assert [(change.seq, change.to_version) for change in history.items] == [(2, None), (1, DIGITS.version(0))]
    assert (await restore(rig)).aliases == ("latest",)


async def test_restoring_brings_the_same_version_back(rig: Rig) -> None:
    """SEM-44: under its number, as the target of dedup; of a live one it changes nothing."""
    before = (await rig.log({"w": b"1"})).version
    await delete(rig)
    restored = await restore(rig)
    assert restored == replace(before, etag=restored.etag, update_time=restored.update_time)
    happened = await rig.happenings()
    assert happened[-1] == "VersionRestored"
    assert await restore(rig) == restored
    assert await rig.happenings() == happened
    assert (await rig.log({"w": b"1"})).deduplicated


async def test_a_version_whose_content_was_logged_again_stays_deleted(rig: Rig) -> None:
    """SEM-44."""
    await rig.log({"w": b"1"})
    await delete(rig)
    await rig.log({"w": b"1"})
    with pytest.raises(DigestLive) as raised:
        await restore(rig)
    assert raised.value.metadata["version"] == str(DIGITS.version(1))
    await delete(rig, 1)
    assert (await restore(rig)).state is VersionState.COMMITTED


async def test_a_version_can_be_restored_until_its_time_runs_out(rig: Rig) -> None:
    """SEM-8, SEM-44: judged by the clock of the database."""
    await rig.log()
    await rig.log()
    await delete(rig)
    rig.clock.offset = timedelta(days=7, seconds=1)
    assert (await get(rig)).state is VersionState.PURGED
    with pytest.raises(VersionPurged):
        await restore(rig)
    page = await rig.versions.list_versions(CALLER, DIGITS, Page(), show_deleted=True)
    assert [version.state for version in page.items] == [VersionState.COMMITTED, VersionState.PURGED]
    with pytest.raises(VersionDeleted):
        await rig.versions.get_version(CALLER, DIGITS.version(0), show_deleted=False)


async def test_each_absence_is_remembered(rig: Rig) -> None:
    """SEM-18: so that `latest` can be told as of a moment."""
    await rig.log()
    for _ in range(2):
        await delete(rig)
        await restore(rig)
    await delete(rig)
    assert await rig.count(VersionAbsenceRow) == 3


async def test_repeated_writes_answer_the_same(rig: Rig) -> None:
    """SEM-14: also when the world went on."""
    version = (await rig.log()).version
    update, deletion = call("UpdateVersion", body=b"u"), call("DeleteVersion", body=b"d")
    first = await rig.versions.update_version(update, version.name, Words(notes="1"), version.etag)
    deleted = await rig.versions.delete_version(deletion, version.name, "", delete_aliases=False)
    assert await rig.versions.update_version(update, version.name, Words(notes="1"), version.etag) == first
    assert await rig.versions.delete_version(deletion, version.name, "", delete_aliases=False) == deleted
    kinds = [type(one.happening).__name__ for one in await rig.events(PROJECT)]
    assert (kinds.count("VersionUpdated"), kinds.count("VersionDeleted")) == (1, 1)
