"""What happens at once (SEM-9, 13, 14; RELIABILITY §2.4), on both databases."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import timedelta

import pytest
from modelkeep.digest import Digest
from modelkeep.errors import ModelkeepError, TooBusy
from modelkeep.names import CollectionName
from modelkeep_server.metadata.app.commit import ATTEMPTS
from modelkeep_server.metadata.domain.collection import Collection
from modelkeep_server.metadata.domain.draft import Committed, Draft, NewDraft
from modelkeep_server.metadata.ports.transactions import Work
from modelkeep_server.metadata.store.draft import DraftRepository
from modelkeep_server.metadata.store.tables import CollectionRow, ProjectRow, VersionRow

from tests.unit.metadata.rig import CALLER, DIGITS, MemoryChunks, Rig, call

AT_ONCE = 16


async def test_commits_at_once_get_numbers_without_a_gap(rig: Rig) -> None:
    """SEM-9, I5: 16 new contents in one collection."""
    drafts = [await rig.draft([rig.file("w", str(i).encode())]) for i in range(AT_ONCE)]
    committed = await asyncio.gather(*(rig.commit(draft, aliases=("best",)) for draft in drafts))
    assert sorted(one.version.name.number for one in committed) == list(range(AT_ONCE))
    sequences = [event.sequence for event in await rig.events()]
    assert sequences == list(range(1, len(sequences) + 1))


async def test_one_digest_at_once_is_one_version_and_all_succeed(rig: Rig) -> None:
    """SEM-13."""
    drafts = [await rig.draft([rig.cut_file("w", b"1", b"2")]) for _ in range(AT_ONCE)]
    committed = await asyncio.gather(*(rig.commit(draft) for draft in drafts))
    assert {one.version.name for one in committed} == {DIGITS.version(0)}
    assert sorted(one.deduplicated for one in committed) == [False] + [True] * (AT_ONCE - 1)


async def test_one_draft_at_once_is_one_version_and_one_answer(rig: Rig) -> None:
    """SEM-14, R13."""
    draft = await rig.draft([rig.file("w", b"1")])
    committed = await asyncio.gather(*(rig.commit(draft, aliases=("best",)) for _ in range(AT_ONCE)))
    assert {(one.version.uid, one.deduplicated) for one in committed} == {(committed[0].version.uid, False)}
    assert await rig.count(VersionRow) == 1
    assert (await rig.happenings()).count("VersionCommitted") == 1


async def test_first_writes_at_once_make_one_project_and_one_collection(rig: Rig) -> None:
    """SEM-1."""
    names = [CollectionName("acme", "new", f"c{i % 2}") for i in range(AT_ONCE)]
    await asyncio.gather(*(rig.draft(collection=name) for name in names))
    assert (await rig.count(ProjectRow), await rig.count(CollectionRow)) == (1, 2)
    kinds = [type(event.happening).__name__ for event in await rig.events(names[0].parent)]
    assert sorted(kinds) == ["CollectionCreated", "CollectionCreated", "ProjectCreated"]


async def test_writers_of_one_draft_at_once(rig: Rig) -> None:
    """SEM-42's ground: the same entries from all sides are there once."""
    entries = [rig.file(f"f{i:04}", str(i).encode()) for i in range(300)]
    draft = await rig.draft()
    await asyncio.gather(*(rig.add(draft, entries[start:] + entries[:start]) for start in (0, 100, 200)))
    committed = await rig.commit(draft)
    assert committed.version.entry_count == 300


async def test_deletes_and_commits_of_one_digest_at_once_leave_one_target(rig: Rig) -> None:
    """SEM-12, SEM-13: whatever the order, no version is lost and none is there twice."""
    first = await rig.log({"w": b"1"})
    drafts = [await rig.draft([rig.file("w", b"1")]) for _ in range(4)]
    deleting = rig.versions.delete_version(call("DeleteVersion"), first.version.name, "", delete_aliases=False)
    results = await asyncio.gather(deleting, *(rig.commit(draft) for draft in drafts))
    committed = [result for result in results if isinstance(result, Committed)]
    target = await rig.transactions.read(lambda work: work.versions.target(DIGITS, first.version.digest))
    if target is None:
        assert {one.version.name.number for one in committed} == {0}
    else:
        assert target.number == 1
        assert {one.version.name.number for one in committed} <= {0, 1}


class Meddling(MemoryChunks):
    """Chunks whose confirmation is slow: something else happens meanwhile, a number of times."""

    def __init__(self, rig: Rig, times: int) -> None:
        super().__init__()
        self.held = rig.chunks.held
        self._rig = rig
        self._times = times

    async def meddle(self) -> None:
        await self._rig.advance()

    async def confirm(self, team: str, epoch: int, batches: AsyncIterator[Sequence[Digest]]) -> AsyncGenerator[Sequence[int]]:
        async for sizes in super().confirm(team, epoch, batches):
            yield sizes
        if self._times > 0:
            self._times -= 1
            await self.meddle()


async def test_a_commit_that_a_collection_overtook_confirms_again(rig: Rig) -> None:
    """RELIABILITY §2.4: the second confirmation carries the new epoch."""
    draft = await rig.draft([rig.file("w", b"1")])
    rig.chunks = Meddling(rig, 1)
    rig.use(rig.limits)
    committed = await rig.commit(draft)
    assert committed.version.name.number == 0
    assert rig.chunks.epochs == [0, 1]


async def test_a_commit_gives_up_after_many_collections(rig: Rig) -> None:
    """RELIABILITY §2.7: bounded, and nothing is left of it."""
    draft = await rig.draft([rig.file("w", b"1")])
    rig.chunks = Meddling(rig, 100)
    rig.use(rig.limits)
    with pytest.raises(TooBusy) as raised:
        await rig.commit(draft)
    assert raised.value.metadata["retry_after_seconds"] == "1"
    assert len(rig.chunks.epochs) == ATTEMPTS
    assert await rig.count(VersionRow) == 0


async def test_entries_that_come_while_a_draft_is_committed_are_in_the_version(rig: Rig) -> None:
    """I3: what AddEntries acknowledged before the commit ended is never left out."""
    draft = await rig.draft([rig.file("w", b"1")])

    class Adding(Meddling):
        async def meddle(self) -> None:
            await rig.add(draft, [rig.file("x", b"2")])

    rig.chunks = Adding(rig, 1)
    rig.use(rig.limits)
    assert (await rig.commit(draft)).version.entry_count == 2


async def test_a_collection_waits_for_the_commits_that_hold_the_fence(rig: Rig) -> None:
    """RELIABILITY §2.4: a commit is either seen by the mark, or told to confirm again."""
    holding, let_go = asyncio.Event(), asyncio.Event()

    async def commit(work: Work) -> bool:
        held = await work.fence.holds(0)
        holding.set()
        await let_go.wait()
        return held

    committing = asyncio.create_task(rig.transactions.write(commit))
    await holding.wait()
    collecting = asyncio.create_task(rig.advance())
    for _ in range(100):
        await asyncio.sleep(0)
    assert not collecting.done()
    assert await rig.transactions.read(lambda work: work.fence.epoch()) == 0
    let_go.set()
    assert await committing
    assert await collecting == 1
    assert not await rig.transactions.write(lambda work: work.fence.holds(0))


async def test_a_sweep_spares_a_draft_that_is_open(rig: Rig) -> None:
    draft = await rig.draft([rig.file("w", b"1")])
    assert await rig.transactions.write(lambda work: work.drafts.sweep(draft, 10))
    assert (await rig.commit(draft)).version.entry_count == 1


async def test_commits_and_aborts_of_one_draft_at_once_agree(rig: Rig) -> None:
    """SEM-8: a draft has one end."""
    for _ in range(4):
        draft = await rig.draft([rig.file("w", b"1")])
        ends = await asyncio.gather(_end(rig.commit(draft)), _end(rig.drafts.abort_draft(call("AbortDraft"), draft)))
        assert sorted(ends) == ["DraftNotOpen", "done"]


async def _end(work: object) -> str:
    try:
        await work  # type: ignore[misc]
    except ModelkeepError as error:
        return type(error).__name__
    return "done"


async def test_a_collection_does_not_move_while_a_draft_is_opened_in_it(rig: Rig) -> None:
    """The draft goes with it, and is found under both names."""
    await rig.log({"a": b"1"})
    elsewhere = CollectionName("acme", "elsewhere", DIGITS.collection)
    create = DraftRepository.create
    moving: list[asyncio.Task[Collection]] = []

    async def late(self: DraftRepository, wish: NewDraft, life: timedelta) -> Draft | None:
        move = rig.collections.move_collection(call("MoveCollection"), DIGITS, elsewhere.parent, "")
        moving.append(asyncio.create_task(move))
        await asyncio.sleep(0.3)
        return await create(self, wish, life)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DraftRepository, "create", late)
        name = await rig.draft()
    await asyncio.gather(*moving)
    found = await rig.drafts.get_draft(CALLER, name)
    assert found.collection == elsewhere
    assert await rig.drafts.get_draft(CALLER, found.name) == found
