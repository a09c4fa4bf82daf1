"""Drafts that begin with a version: what they add, replace and take out (SEM-41), and their writers (SEM-42)."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.errors import (
    DraftNotOpen,
    EntryNotFound,
    InvalidArgument,
    InvalidPath,
    LimitExceeded,
    ModelkeepError,
    PathConflict,
    PermissionDenied,
    TooBusy,
    VersionDeleted,
    VersionNotFound,
)
from modelkeep.manifest import Entry, manifest_digest
from modelkeep.names import CollectionName, DraftName, TeamName, VersionName
from modelkeep_server.database.paging import Page
from modelkeep_server.metadata.app.commit import CommitApp
from modelkeep_server.metadata.domain.draft import Commit, Draft, DraftState
from modelkeep_server.metadata.domain.limits import Limits
from modelkeep_server.metadata.servicer.draft import DraftCalls
from modelkeep_server.metadata.store.tables import DraftEntryRow, DraftPageRow, DraftRow, PageRow
from modelkeep_server.runtime.callers import enter
from sqlalchemy import select

from tests.unit.metadata.rig import CALLER, DIGITS, OTHER, PROJECT, Rig, call, part, stream
from tests.unit.metadata.test_seal import Watched


async def begin(rig: Rig, base: VersionName | None, distributed_id: str = "") -> Draft:
    return await rig.drafts.create_draft(call(), PROJECT, DIGITS, "model", base=base, distributed_id=distributed_id)


async def add(rig: Rig, draft: DraftName, entries: Sequence[Entry], *, overwrite: bool = False) -> int:
    return await rig.drafts.add_entries(CALLER, draft, stream([part(one) for one in entries]), overwrite=overwrite)


async def remove(rig: Rig, draft: DraftName, *paths: str) -> int:
    return (await rig.removals.remove_entries(call("RemoveEntries"), draft, paths)).entry_count


async def content(rig: Rig, version: VersionName) -> list[str]:
    return [entry.path for entry in (await rig.entries.list_entries(CALLER, version, "", Page(1000))).items]


async def test_a_draft_begins_with_the_entries_of_its_base(rig: Rig) -> None:
    """SEM-41: unchanged it is the base again; by its name and manifest, which outlive the version."""
    first = await rig.log({"a": b"1", "b/c": b"2"})
    draft = await begin(rig, first.version.name)
    assert (draft.base.version, draft.entry_count, draft.creator) == (first.version.name, 2, CALLER.actor)  # type: ignore[union-attr]
    again = await rig.commit(draft.name)
    assert (again.deduplicated, again.version.name) == (True, first.version.name)
    with pytest.raises(VersionNotFound):
        await begin(rig, DIGITS.version(7))
    other = await begin(rig, first.version.name)
    await rig.versions.delete_version(call("DeleteVersion"), first.version.name, "", delete_aliases=False)
    with pytest.raises(VersionDeleted):
        await begin(rig, first.version.name)
    await add(rig, other.name, [rig.file("d", b"3")])
    second = await rig.commit(other.name)
    assert await content(rig, second.version.name) == ["a", "b/c", "d"]


async def test_entries_of_the_base_are_replaced_only_when_that_is_said(rig: Rig) -> None:
    """SEM-41; the same content may come again, and nothing is written for it."""
    first = await rig.log({"a": b"1", "b": b"2"})
    draft = (await begin(rig, first.version.name)).name
    with pytest.raises(PathConflict) as raised:
        await add(rig, draft, [rig.file("a", b"other")])
    assert raised.value.metadata["digest"] == str(rig.file("a", b"1").digest)
    assert raised.value.metadata["other_digest"] == str(rig.file("a", b"other").digest)
    assert await add(rig, draft, [rig.file("a", b"1")]) == 1
    assert await rig.count(DraftEntryRow) == await rig.count(DraftPageRow) == 0
    assert await add(rig, draft, [rig.file("a", b"other")], overwrite=True) == 1
    assert await add(rig, draft, [rig.file("a", b"third"), rig.file("a", b"fourth")], overwrite=True) == 2
    assert (await rig.drafts.get_draft(CALLER, draft)).entry_count == 2
    committed = await rig.commit(draft)
    assert committed.version.digest == manifest_digest([rig.file("a", b"fourth"), rig.file("b", b"2")])


@pytest.mark.parametrize("in_base", [True, False])
async def test_files_and_folders_are_taken_out(rig: Rig, in_base: bool) -> None:
    """All of them or none; out of the base, out of what was added, and once more after they came back."""
    files = {"a": b"1", "d/1": b"2", "d/2/x": b"3", "d-e": b"4", "d0": b"5", "z": b"6"}
    entries = [rig.file(path, data) for path, data in files.items()]
    if in_base:
        draft = (await begin(rig, (await rig.log(files)).version.name)).name
    else:
        draft = await rig.draft(entries)
    for paths in (["a", "nothing"], ["d", "d/"], ["a/b"], ["1"]):
        with pytest.raises((EntryNotFound, InvalidPath)):
            await remove(rig, draft, *paths)
    assert await remove(rig, draft, "d", "d/2", "a") == 3
    with pytest.raises(EntryNotFound, match="'d/1'"):
        await remove(rig, draft, "d/1")
    await add(rig, draft, [rig.file("d/1", b"back"), rig.file("a", b"back")])
    assert (await rig.drafts.get_draft(CALLER, draft)).entry_count == 5
    assert await remove(rig, draft, "d") == 1
    await add(rig, draft, [rig.file("d", b"a file now")])
    committed = await rig.commit(draft)
    assert await content(rig, committed.version.name) == ["a", "d", "d-e", "d0", "z"]
    assert committed.version.entry_count == 5


async def test_a_removal_is_remembered_and_bounded(rig: Rig) -> None:
    """SEM-14, SEM-27."""
    rig.use(Limits(max_paths=2))
    draft = await rig.draft([rig.file("a", b"1"), rig.file("b", b"2")])
    once = call("RemoveEntries", request_id="5f2b9a30-2d54-4c8e-9d0a-2c6a3a5a9b11")
    for _ in range(2):
        assert (await rig.removals.remove_entries(once, draft, ["a"])).entry_count == 1
    with pytest.raises(LimitExceeded, match="3 paths"):
        await remove(rig, draft, "b", "c", "d")
    with pytest.raises(ModelkeepError, match="no path"):
        await remove(rig, draft)
    await rig.commit(draft)
    with pytest.raises(DraftNotOpen, match="committed, as digits:v0") as raised:
        await remove(rig, draft, "b")
    assert raised.value.metadata["version"] == str(DIGITS.version(0))


async def test_a_small_change_of_a_large_base_writes_a_few_pages(rig: Rig) -> None:
    """DESIGN §2: untouched pages are used again, whatever was added, replaced and taken out."""
    entries = [rig.file(f"d{i // 1000}/f{i:05}", b"1") for i in range(8_000)]
    first = await rig.commit(await rig.draft(entries))
    before = await rig.count(PageRow)
    draft = (await begin(rig, first.version.name)).name
    await add(rig, draft, [rig.file("d4/new", b"2"), rig.file("d7/f07500", b"other")], overwrite=True)
    assert await remove(rig, draft, "d2/f02345") == 1
    assert await rig.count(DraftEntryRow) == 3
    written = await rig.count(PageRow)
    second = await rig.commit(draft)
    assert second.version.entry_count == 8_000
    assert before > 12
    assert await rig.count(PageRow) - written <= 2 * 3
    changed = {entry.path: entry for entry in entries if entry.path != "d2/f02345"}
    changed |= {"d4/new": rig.file("d4/new", b"2"), "d7/f07500": rig.file("d7/f07500", b"other")}
    assert second.version.digest == manifest_digest(changed.values())


@pytest.mark.parametrize("order", ["sorted", "reversed", "shuffled", "two at once", "late ones"])
async def test_in_whatever_order_entries_come_they_are_one_version(rig: Rig, order: str) -> None:
    """Runs are a way to keep them, not a meaning; a stream that came in order is sealed without writing a page again."""
    entries = [rig.file(f"d{i % 17:02}/f{i:05}", str(i).encode()) for i in range(6000)]
    ordered = sorted(entries, key=lambda one: one.path)
    halves = ordered[::2], ordered[1::2]
    orders = {
        "sorted": ordered,
        "reversed": ordered[::-1],
        "shuffled": sorted(entries, key=lambda one: one.digest.sha256),
        "two at once": [one for i in range(0, 3000, 100) for half in halves for one in half[i : i + 100]],
        "late ones": [one for i, one in enumerate(ordered) if i % 50] + ordered[::50],
    }
    draft = await rig.draft()
    await rig.add(draft, orders[order])
    assert (await rig.drafts.get_draft(CALLER, draft)).entry_count == 6000
    pages = await rig.count(PageRow)
    assert await rig.add(draft, orders[order][:2500]) == 2500
    committed = await rig.commit(draft)
    assert committed.version.digest == manifest_digest(entries)
    if order == "sorted":
        assert await rig.count(PageRow) == pages


async def test_pages_that_many_runs_share_become_lines(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What meets more runs than one batch merges is kept line by line, with the same meaning."""
    monkeypatch.setattr("modelkeep_server.metadata.app.fill.MERGED_RUNS", 2)
    draft = await rig.draft()
    for i in range(6):
        await add(rig, draft, [rig.file(f"f{i}5", b"1")])
    await add(rig, draft, [rig.file(f"f{i}{j}", b"1") for i in range(6) for j in (4, 5)])
    assert await rig.count(DraftEntryRow) == 6
    with pytest.raises(PathConflict):
        await add(rig, draft, [rig.file("f04", b"2"), rig.file("f55", b"2")])
    with pytest.raises(PathConflict):
        await add(rig, draft, [rig.file("f00", b"1"), rig.file("f55", b"2")])
    await add(rig, draft, [rig.file("f00", b"1"), rig.file("f55", b"2")], overwrite=True)
    assert (await rig.drafts.get_draft(CALLER, draft)).entry_count == 13
    assert (await rig.commit(draft)).version.entry_count == 13


async def test_of_one_path_the_last_entry_counts_although_it_came_late(rig: Rig) -> None:
    """A path that comes back behind the order replaces what of the stream is not written yet."""
    first = [rig.file(f"f{i:03}", b"1") for i in range(900)]
    second = [rig.file("f001", b"2"), *(rig.file(f"g{i:03}", b"1") for i in range(900))]
    draft = await rig.draft()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("modelkeep_server.metadata.app.draft.BATCH_LINES", 500)
        messages = stream([part(one) for one in first], [part(one) for one in second])
        assert await rig.drafts.add_entries(CALLER, draft, messages, overwrite=True) == 1801
    committed = await rig.commit(draft)
    assert committed.version.digest == manifest_digest([first[0], *first[2:], *second])


async def test_a_base_of_another_team_is_adopted_at_the_commit(rig: Rig) -> None:
    """SEM-22: only what the base names, only for who may read it."""
    first = await rig.log({"a": b"1", "b": b"2"})
    secret = rig.put(b"in no version")
    mine = CollectionName("rivals", "p", "mine")
    await rig.transactions.write(lambda work: work.teams.ensure(TeamName("rivals")))
    reader = replace(OTHER, readable_teams=frozenset({"acme"}))
    with pytest.raises(PermissionDenied):
        await rig.drafts.create_draft(call(caller=OTHER), mine.parent, mine, "model", base=first.version.name)
    draft = await rig.drafts.create_draft(call(caller=reader), mine.parent, mine, "model", base=first.version.name)
    with pytest.raises(PermissionDenied):
        await rig.commits.commit_draft(OTHER, draft.name, Commit())
    await rig.drafts.add_entries(reader, draft.name, stream([part(rig.file("s", b"in no version"))]))
    with pytest.raises(ModelkeepError, match="not stored for this team"):
        await rig.commits.commit_draft(reader, draft.name, Commit())
    assert secret not in rig.chunks.held["rivals"]
    await rig.removals.remove_entries(call("RemoveEntries", reader), draft.name, ["s"])
    committed = await rig.commits.commit_draft(reader, draft.name, Commit())
    assert (committed.version.name, committed.version.digest) == (mine.version(0), first.version.digest)


async def test_who_may_not_read_a_base_learns_nothing_of_it_from_its_draft(rig: Rig) -> None:
    """SEM-22: neither its paths nor their digests, though the draft is of the caller's team."""
    first = await rig.log({"a": b"1"})
    mine = CollectionName("rivals", "p", "mine")
    await rig.transactions.write(lambda work: work.teams.ensure(TeamName("rivals")))
    reader = replace(OTHER, readable_teams=frozenset({"acme"}))
    draft = await rig.drafts.create_draft(call(caller=reader), mine.parent, mine, "model", base=first.version.name)
    for entry in (rig.file("a", b"guess"), rig.file("a", b"1"), rig.file("b", b"2")):
        with pytest.raises(PermissionDenied):
            await rig.drafts.add_entries(OTHER, draft.name, stream([part(entry)]))
    for path in ("a", "b"):
        with pytest.raises(PermissionDenied):
            await rig.removals.remove_entries(call("RemoveEntries", OTHER), draft.name, [path])
    assert (await rig.drafts.abort_draft(call("AbortDraft", OTHER), draft.name)).state is DraftState.ABORTED


async def test_the_writers_of_one_id_get_one_draft(rig: Rig) -> None:
    """SEM-42: also when they all ask at once; the id is taken for ever."""
    first = await rig.log({"a": b"1"})
    drafts = await asyncio.gather(*(begin(rig, first.version.name, "run 7") for _ in range(8)))
    assert len({draft.name for draft in drafts}) == 1
    await rig.versions.delete_version(call("DeleteVersion"), first.version.name, "", delete_aliases=False)
    assert (await begin(rig, first.version.name, "run 7")).name == drafts[0].name
    with pytest.raises(DraftNotOpen, match="began with digits:v0, not with no version"):
        await begin(rig, None, "run 7")
    assert (await begin(rig, None, "run 8")).name != drafts[0].name
    await add(rig, drafts[0].name, [rig.file("b", b"2")])
    committed = await rig.commit(drafts[0].name)
    listed = await rig.drafts.list_drafts(CALLER, PROJECT, None, Page(), "run 7")
    assert [draft.name for draft in listed.items] == [drafts[0].name]
    found = await begin(rig, first.version.name, "run 7")
    assert (found.state, found.version) == (DraftState.COMMITTED, committed.version.name)
    with pytest.raises(DraftNotOpen, match="committed, as digits:v1"):
        await add(rig, found.name, [rig.file("c", b"3")])
    aborted = await begin(rig, None, "run 9")
    await rig.drafts.abort_draft(call("AbortDraft"), aborted.name)
    with pytest.raises(DraftNotOpen, match="'run 9' is aborted; use another id"):
        await begin(rig, None, "run 9")
    await begin(rig, None, "run 10")
    rig.clock.offset = timedelta(days=2)
    with pytest.raises(DraftNotOpen, match="expired"):
        await begin(rig, None, "run 10")


async def test_drafts_are_listed_newest_first_and_by_state(rig: Rig) -> None:
    names = [await rig.draft() for _ in range(5)]
    await rig.drafts.abort_draft(call("AbortDraft"), names[1])
    listed: list[DraftName] = []
    page = Page(2)
    while True:
        found = await rig.drafts.list_drafts(CALLER, PROJECT, None, page)
        listed += [draft.name for draft in found.items]
        if not found.next_token:
            break
        page = Page(2, found.next_token)
    assert listed == names[::-1]
    states = {DraftState.OPEN: [4, 3, 2, 0], DraftState.ABORTED: [1], DraftState.EXPIRED: []}
    for state, expected in states.items():
        found = await rig.drafts.list_drafts(CALLER, PROJECT, state, Page())
        assert [names.index(draft.name) for draft in found.items] == expected
    rig.clock.offset = timedelta(days=2)
    expired = await rig.drafts.list_drafts(CALLER, PROJECT, DraftState.EXPIRED, Page())
    assert {draft.state for draft in expired.items} == {DraftState.EXPIRED}
    assert len(expired.items) == 4


async def _end(work: Awaitable[object]) -> str:
    try:
        await work
    except DraftNotOpen:
        return "refused"
    return "done"


async def test_what_changes_at_the_moment_of_a_commit_is_in_the_version_or_refused(rig: Rig) -> None:
    """SEM-42: an acknowledged entry is never lost, and one that was taken out never comes back."""
    for _ in range(4):
        draft = await rig.draft([rig.file(f"f{i:03}", b"1") for i in range(300)])
        adding, removing, _ = await asyncio.gather(
            _end(add(rig, draft, [rig.file("new", b"1")])), _end(remove(rig, draft, "f007")), rig.commit(draft)
        )
        version = (await rig.drafts.get_draft(CALLER, draft)).version
        assert version is not None
        paths = await content(rig, version)
        assert ("new" in paths) == (adding == "done")
        assert ("f007" not in paths) == (removing == "done")


async def test_a_collision_that_was_never_there_at_once_does_not_fail_a_commit(rig: Rig) -> None:
    """A file goes and a folder of its name comes while the draft is sealed: it is sealed once more."""
    draft = await rig.draft([rig.file("a", b"1")])

    class Between(Watched):
        async def read(self, step):  # type: ignore[no-untyped-def]
            result = await super().read(step)
            if isinstance(result, tuple) and self.meddle is not None:
                meddle, self.meddle = self.meddle, None
                await meddle()
            return result

    async def swap() -> None:
        await remove(rig, draft, "a")
        await add(rig, draft, [rig.file("a/b", b"2")])

    committed = await CommitApp(Between(rig, swap), rig.chunks, rig.limits).commit_draft(CALLER, draft, Commit())
    assert await content(rig, committed.version.name) == ["a/b"]
    collided = await rig.draft([rig.file("a", b"1"), rig.file("a/b", b"2")])
    with pytest.raises(InvalidPath, match="'a' is a file"):
        await rig.commit(collided)


async def test_a_removal_gives_up_when_the_draft_never_rests(rig: Rig) -> None:
    """RELIABILITY §2.7: bounded, and nothing is left of it."""
    draft = await rig.draft([rig.file("a", b"1")])
    once = rig.transactions.once
    count = 0

    async def busy(*arguments):  # type: ignore[no-untyped-def]
        nonlocal count
        count += 1
        await add(rig, draft, [rig.file(f"b{count}", b"1")])
        return await once(*arguments)

    rig.transactions.once = busy  # type: ignore[method-assign]
    with pytest.raises(TooBusy):
        await remove(rig, draft, "a")
    rig.transactions.once = once  # type: ignore[method-assign]
    assert await remove(rig, draft, "a") == 1


async def test_an_ended_draft_lets_its_base_go(rig: Rig) -> None:
    """SEM-8: it protects nothing any more."""
    first = await rig.log({"a": b"1"})
    draft = await begin(rig, first.version.name)
    await rig.drafts.abort_draft(call("AbortDraft"), draft.name)
    kept = await rig.database.read(
        lambda session: session.scalar(select(DraftRow.base_manifest).where(DraftRow.state == "aborted"))
    )
    assert kept is None
    assert (await rig.drafts.get_draft(CALLER, draft.name)).base.version == first.version.name  # type: ignore[union-attr]


async def test_a_list_is_asked_only_for_ids_that_can_be(rig: Rig) -> None:
    """No database is asked for text that it cannot hold."""
    await rig.draft()
    calls = DraftCalls(cast("Any", SimpleNamespace(drafts=rig.drafts)))
    enter(CALLER)
    with pytest.raises(InvalidArgument, match="no distributed id"):
        await calls.ListDrafts(pb.ListDraftsRequest(parent=str(PROJECT), distributed_id="run\0"), cast("Any", None))
    assert not (await calls.ListDrafts(pb.ListDraftsRequest(parent=str(PROJECT), distributed_id="r"), cast("Any", None))).drafts
