"""Sealing: bounded in memory, and only while the draft is open (SEM-8, 14, 27)."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import pytest
from modelkeep.digest import Digest
from modelkeep.errors import DraftCommitted, DraftNotOpen
from modelkeep.manifest import Entry, Segment
from modelkeep.names import DraftName
from modelkeep_server.metadata.app import lines
from modelkeep_server.metadata.app.commit import CommitApp
from modelkeep_server.metadata.app.lines import PAGES_AT_ONCE
from modelkeep_server.metadata.app.merge import READ_BYTES
from modelkeep_server.metadata.domain.draft import Commit
from modelkeep_server.metadata.domain.limits import Limits
from modelkeep_server.metadata.domain.page import MIN_LINES
from modelkeep_server.metadata.ports.transactions import Work
from modelkeep_server.metadata.store.tables import DraftEntryRow, DraftPageRow, VersionRow
from modelkeep_server.metadata.store.unit_of_work import SqlTransactions

from tests.unit.metadata.rig import CALLER, Rig, call

T = TypeVar("T")

LONG_LINE = 46_000
"""More bytes than the line of a long file has."""


async def draft_of(rig: Rig, *, short: int, long: int, in_lines: bool = False) -> DraftName:
    """A draft of short lines, then of lines that are as long as lines can be: 1,024 segments each.

    They are in runs, or in single lines where a folder was taken out before.
    """
    rig.use(Limits(max_segments_per_message=1 << 30))
    data = bytes(i % 251 for i in range(1024))
    chunk = rig.put(data + b"!")
    segments = tuple(Segment(chunk, i, 1) for i in range(1024))
    files = [rig.file(f"d/a{i:03}", b"short") for i in range(short)]
    draft = await rig.draft([rig.file("d/gone", b"gone")] * in_lines)
    if in_lines:
        await rig.removals.remove_entries(call("RemoveEntries"), draft, ["d"])
    await rig.add(draft, [*files, *(Entry(f"d/b{i:03}", Digest.of(data), 1024, False, segments) for i in range(long))])
    return draft


class Watched(SqlTransactions):
    """Transactions that note how many bytes of lines each read answers, and let something happen before the first write."""

    def __init__(self, rig: Rig, meddle: Callable[[], Awaitable[object]] | None = None) -> None:
        super().__init__(rig.database, rig.clock)
        self.reads: list[int] = []
        self.meddle = meddle

    async def read(self, step: Callable[[Work], Awaitable[T]]) -> T:
        result = await super().read(step)
        match result:
            case list():
                self.reads.append(sum(len(line) for _, line in result))
            case (_, {**pages}):
                self.reads.append(sum(map(len, pages.values())))
        return result

    async def write(self, step: Callable[[Work], Awaitable[T]]) -> T:
        meddle, self.meddle = self.meddle, None
        if meddle is not None:
            await meddle()
        return await super().write(step)


@pytest.mark.parametrize("in_lines", [True, False])
async def test_no_read_takes_more_memory_than_is_meant(rig: Rig, in_lines: bool) -> None:
    """SEM-27: short lines say nothing about the lines after them."""
    draft = await draft_of(rig, short=64, long=100, in_lines=in_lines)
    assert bool(await rig.count(DraftEntryRow)) == in_lines
    watched = Watched(rig)
    committed = await CommitApp(watched, rig.chunks, rig.limits).commit_draft(CALLER, draft, Commit())
    assert committed.version.entry_count == 164
    assert sum(watched.reads) > 2 * READ_BYTES
    assert max(watched.reads) < PAGES_AT_ONCE * MIN_LINES * LONG_LINE
    if in_lines:
        assert sorted(watched.reads)[-2] < READ_BYTES + LONG_LINE


async def test_the_next_pages_are_read_while_the_last_are_looked_at(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """P13: by who reads a whole manifest, not by who looks at its beginning; and nothing goes on when the reader leaves."""
    monkeypatch.setattr(lines, "PAGES_AT_ONCE", 1)
    draft = await rig.draft([rig.file(f"f{i:04}", b"same") for i in range(1500)])
    layout = (await rig.commit(draft)).version.layout
    watched, before = Watched(rig), asyncio.all_tasks()
    reading = lines.read_manifest(watched, layout)
    await anext(reading)
    assert (len(watched.reads), asyncio.all_tasks()) == (1, before)
    await anext(reading)
    assert len(asyncio.all_tasks() - before) == 1
    await reading.aclose()
    assert asyncio.all_tasks() == before
    assert [stretch.page async for stretch in lines.read_manifest(watched, layout)] == [
        slot.page for slot in await rig.transactions.read(lambda work: work.manifests.slots(layout, b"", None, 0, 100))
    ]


@pytest.mark.parametrize("long", [1, 100])
async def test_a_draft_that_ends_while_it_is_sealed_keeps_no_pages(rig: Rig, long: int) -> None:
    """SEM-8: an ended draft protects nothing, whether its pages are written at once or one after another."""
    draft = await draft_of(rig, short=1, long=long)
    watched = Watched(rig, lambda: rig.drafts.abort_draft(call("AbortDraft"), draft))
    with pytest.raises(DraftNotOpen, match="aborted"):
        await CommitApp(watched, rig.chunks, rig.limits).commit_draft(CALLER, draft, Commit())
    assert await rig.count(DraftPageRow) == 0


async def test_a_draft_that_expires_while_it_is_sealed_keeps_no_pages(rig: Rig) -> None:
    """SEM-8."""
    draft = await draft_of(rig, short=1, long=0)

    async def expire() -> None:
        rig.clock.offset = 2 * rig.limits.draft_lifetime
        await rig.transactions.write(lambda work: work.drafts.sweep(draft, 10))

    with pytest.raises(DraftNotOpen, match="expired"):
        await CommitApp(Watched(rig, expire), rig.chunks, rig.limits).commit_draft(CALLER, draft, Commit())
    assert await rig.count(DraftPageRow) == 0


@pytest.mark.parametrize("long", [1, 100])
async def test_a_draft_that_is_committed_while_it_is_sealed_answers_as_ever(rig: Rig, long: int) -> None:
    """SEM-14: the same body, the same answer; another body is refused; and no page of it stays."""
    for aliases in (("best",), ("other",)):
        draft = await draft_of(rig, short=1, long=long)
        watched = Watched(rig, lambda draft=draft: rig.commit(draft, aliases=("best",)))
        committing = CommitApp(watched, rig.chunks, rig.limits).commit_draft(CALLER, draft, Commit(aliases=aliases))
        if aliases == ("best",):
            assert await committing == await rig.commit(draft, aliases=aliases)
        else:
            with pytest.raises(DraftCommitted):
                await committing
    assert await rig.count(VersionRow) == 1
    assert await rig.count(DraftPageRow) == 0


async def test_each_step_of_sealing_prolongs_the_draft(rig: Rig) -> None:
    """SEM-8: a draft does not expire while a long commit works on it."""
    draft = await draft_of(rig, short=1, long=100)
    watched = Watched(rig)
    rig.clock.offset = rig.limits.draft_lifetime - timedelta(minutes=1)

    async def later() -> None:
        rig.clock.offset += timedelta(seconds=50)
        watched.meddle = later

    watched.meddle = later
    await CommitApp(watched, rig.chunks, rig.limits).commit_draft(CALLER, draft, Commit())
    assert rig.clock.offset > rig.limits.draft_lifetime
