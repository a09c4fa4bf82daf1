"""What the tables of the metadata service guarantee (`modelkeep_server.metadata.ports`), whatever engine is below.

`test_metadata_repositories.py` runs it on every engine. Each step is a transaction of its own, as a use case would make it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from uuid import uuid4

import pytest
from modelkeep.digest import Digest
from modelkeep.errors import (
    CollectionNotFound,
    CollectionTypeMismatch,
    DraftNotFound,
    DraftNotOpen,
    InternalError,
    TeamNotFound,
)
from modelkeep.names import CollectionName, DraftName, ProjectName, TeamName, VersionName
from modelkeep_server.database.clock import Clock
from modelkeep_server.metadata.domain.draft import Commit, DraftState, NewVersion, Outcome
from modelkeep_server.metadata.domain.event import ProjectCreated
from modelkeep_server.metadata.domain.manifest import Manifest
from modelkeep_server.metadata.domain.page import segment_page
from modelkeep_server.metadata.domain.version import VersionState
from modelkeep_server.metadata.ports.transactions import Transactions, Work

from tests.conformance.metadata_drafts import DIGITS, HOUR, MANY, PROJECT, DraftSuite, lines, sealed


class RepositorySuite(DraftSuite):
    """A subclass gives the fixtures `transactions`, on an empty database, and `clock`, which they go by."""

    async def seal(self, transactions: Transactions, draft: DraftName, some: dict[bytes, bytes]) -> Manifest:
        manifest, pages, sealer = sealed(some)

        async def step(work: Work) -> None:
            await work.draft_entries.put_lines(draft, some)
            await work.draft_entries.changed(draft, len(some))
            await work.manifests.add_pages(draft, pages)
            await work.manifests.add(manifest)
            await work.manifests.add_slots(manifest.layout, sealer.slots)
            _, revision = await work.drafts.prolong(draft, HOUR)
            assert await work.drafts.seal(draft, manifest.layout, revision)

        await transactions.write(step)
        return manifest

    async def commit(self, transactions: Transactions, manifest: Manifest, *, is_target: bool = True) -> VersionName:
        async def step(work: Work) -> VersionName:
            await work.collections.lock(DIGITS)
            name = DIGITS.version(await work.collections.next_number(DIGITS))
            await work.versions.add(NewVersion(name, str(uuid4()), manifest, is_target, False, Commit(tags=("t",)), "me"))
            return name

        return await transactions.write(step)

    # Projects and collections

    async def test_what_is_made_is_made_once(self, write: Callable[..., Awaitable[bool]]) -> None:
        """SEM-1, SEM-2."""
        assert not await write(lambda work: work.teams.ensure(TeamName("acme")))
        assert not await write(lambda work: work.projects.ensure(PROJECT))
        assert not await write(lambda work: work.collections.ensure(DIGITS, "model"))
        with pytest.raises(CollectionTypeMismatch):
            await write(lambda work: work.collections.ensure(DIGITS, "dataset"))
        with pytest.raises(TeamNotFound):
            await write(lambda work: work.projects.ensure(ProjectName("nobody", "p")))

    async def test_a_number_is_given_once_even_when_a_version_is_gone(self, write: object, transactions: Transactions) -> None:
        """SEM-9: rolled back, it is given again, because nobody saw it."""
        numbers = [await transactions.write(lambda work: work.collections.next_number(DIGITS)) for _ in range(2)]

        async def fail(work: Work) -> None:
            assert await work.collections.next_number(DIGITS) == 2
            raise InternalError("no")

        with pytest.raises(InternalError):
            await transactions.write(fail)
        assert [*numbers, await transactions.write(lambda work: work.collections.next_number(DIGITS))] == [0, 1, 2]

    async def test_a_lock_holds_until_the_transaction_ends(self, write: object, transactions: Transactions) -> None:
        """SEM-9: the second writer goes on with what the first one left."""
        order: list[str] = []
        locked, let_go = asyncio.Event(), asyncio.Event()

        async def first(work: Work) -> None:
            await work.collections.lock(DIGITS)
            locked.set()
            await let_go.wait()
            order.append("first")
            await work.collections.next_number(DIGITS)

        async def second(work: Work) -> int:
            await work.collections.lock(DIGITS)
            order.append("second")
            return await work.collections.next_number(DIGITS)

        one = asyncio.create_task(transactions.write(first))
        await locked.wait()
        two = asyncio.create_task(transactions.write(second))
        for _ in range(100):
            await asyncio.sleep(0)
        let_go.set()
        await one
        assert await two == 1
        assert order == ["first", "second"]
        with pytest.raises(CollectionNotFound):
            await transactions.write(lambda work: work.collections.lock(CollectionName("acme", "vision", "other")))

    # Drafts

    async def test_a_draft_is_open_until_its_time_is_over(
        self, write: object, transactions: Transactions, clock: Clock
    ) -> None:
        """SEM-8: judged by the clock in each statement."""
        draft = await self.open(transactions)
        assert await transactions.write(lambda work: work.drafts.prolong(draft, 2 * HOUR)) == (0, 0)
        clock.offset = HOUR
        assert (await self.read_draft(transactions, draft)).state is DraftState.OPEN
        assert await transactions.read(lambda work: work.drafts.unswept(10)) == []
        clock.offset = 3 * HOUR
        assert (await self.read_draft(transactions, draft)).state is DraftState.EXPIRED
        with pytest.raises(DraftNotOpen):
            await transactions.write(lambda work: work.drafts.prolong(draft, HOUR))
        assert not await transactions.write(lambda work: work.drafts.seal(draft, Digest.of(b""), 0))
        assert await transactions.read(lambda work: work.drafts.unswept(10)) == [draft]

    async def test_a_draft_is_found_only_in_its_project(self, write: object, transactions: Transactions) -> None:
        draft = await self.open(transactions)
        other = DraftName("acme", "other", draft.draft)
        for step in (
            lambda work: work.drafts.get(other),
            lambda work: work.drafts.lock(other),
            lambda work: work.drafts.prolong(other, HOUR),
        ):
            with pytest.raises(DraftNotFound):
                await transactions.write(step)

    async def test_lines_come_in_byte_order_and_page_by_page(self, write: object, transactions: Transactions) -> None:
        draft = await self.open(transactions)
        some = lines("a/b", "a-b", "é", "Z", "a", content=b"22")
        await transactions.write(lambda work: work.draft_entries.put_lines(draft, some))
        first = await transactions.read(lambda work: work.draft_entries.lines_from(draft, b"", None, 3, MANY))
        after = first[-1][0] + b"\0"
        rest = await transactions.read(lambda work: work.draft_entries.lines_from(draft, after, None, 3, MANY))
        assert [*first, *rest] == sorted(some.items())
        assert await transactions.read(lambda work: work.draft_entries.lines_from(draft, b"a", b"a/", 9, MANY)) == [
            (path, some[path]) for path in (b"a", b"a-b")
        ]
        known = await transactions.read(lambda work: work.draft_entries.lines(draft, [b"a", b"nothing"]))
        assert known == {b"a": some[b"a"]}

    @pytest.mark.parametrize(("size", "count"), [(1, 1), (1000, 1), (1001, 2), (3001, 4), (MANY, 5)])
    async def test_lines_are_read_up_to_the_one_that_reaches_the_size(
        self, write: object, transactions: Transactions, size: int, count: int
    ) -> None:
        """SEM-27: whatever their lengths are, at least one, and at most one more than was asked for."""
        draft, other = await self.open(transactions), await self.open(transactions)
        some = {path.encode(): bytes(1000) for path in "abcde"}
        for name in (draft, other):
            await transactions.write(lambda work, name=name: work.draft_entries.put_lines(name, {b"0": bytes(9)} | some))
        found = await transactions.read(lambda work: work.draft_entries.lines_from(draft, b"0\0", None, 10, size))
        assert found == sorted(some.items())[:count]
        assert await transactions.read(lambda work: work.draft_entries.lines_from(draft, b"f", None, 10, size)) == []

    async def test_more_entries_take_a_seal_back(self, write: object, transactions: Transactions) -> None:
        """I3: a version is never committed with less than was added."""
        draft = await self.open(transactions)
        manifest = await self.seal(transactions, draft, lines("a"))
        assert (await self.read_draft(transactions, draft)).layout == manifest.layout
        assert await transactions.read(lambda work: work.manifests.get(manifest.layout)) == manifest
        await transactions.write(lambda work: work.draft_entries.changed(draft, 1))
        changed = await self.read_draft(transactions, draft)
        assert (changed.layout, changed.entry_count) == (None, 2)
        assert not await transactions.write(lambda work: work.drafts.seal(draft, manifest.layout, changed.revision - 1))

    async def test_a_committed_draft_keeps_its_answer_when_it_is_swept(self, write: object, transactions: Transactions) -> None:
        """SEM-14; and a sweep takes no more at once than it is told."""
        draft = await self.open(transactions)
        name = await self.commit(transactions, await self.seal(transactions, draft, lines(*"abcde")))
        outcome = Outcome(name, b"body", deduplicated=True, ignored_fields=("tags",))
        await transactions.write(lambda work: work.drafts.commit(draft, outcome))
        assert await transactions.read(lambda work: work.drafts.unswept(10)) == [draft]
        done = [await transactions.write(lambda work: work.drafts.sweep(draft, 2)) for _ in range(4)]
        assert done == [False, False, True, True]
        assert await transactions.read(lambda work: work.drafts.unswept(10)) == []
        assert await transactions.read(lambda work: work.draft_entries.lines_from(draft, b"", None, 10, MANY)) == []
        kept = await self.read_draft(transactions, draft)
        assert (kept.state, kept.outcome, kept.layout) == (DraftState.COMMITTED, outcome, None)

    # Manifests

    async def test_pages_are_found_by_the_paths_that_they_may_have(self, write: object, transactions: Transactions) -> None:
        draft = await self.open(transactions)
        manifest = await self.seal(transactions, draft, lines(*(f"f{i:04}" for i in range(2000))))
        _, pages, sealer = sealed(lines(*(f"f{i:04}" for i in range(2000))))

        async def slots(first: bytes, end: bytes | None, ordinal: int = 0, limit: int = 100) -> list[int]:
            found = await transactions.read(lambda work: work.manifests.slots(manifest.layout, first, end, ordinal, limit))
            assert list(found) == [sealer.slots[slot.ordinal] for slot in found]
            return [slot.ordinal for slot in found]

        everything = list(range(len(pages)))
        assert len(pages) > 2
        assert await slots(b"", None) == everything
        assert await slots(b"", None, 1, 1) == [1]
        assert await slots(pages[1].first_path, pages[1].first_path + b"\0") == [1]
        assert await slots(pages[0].last_path, pages[1].first_path) == [0]
        assert await slots(b"g", None) == []
        assert await slots(b"", b"f") == []
        digests = [page.digest for page in pages]
        assert await transactions.read(lambda work: work.manifests.pages(digests)) == {p.digest: p.data for p in pages}
        with pytest.raises(InternalError):
            await transactions.read(lambda work: work.manifests.pages([Digest.of(b"nothing")]))

    async def test_a_manifest_may_be_written_again(self, write: object, transactions: Transactions) -> None:
        """Pages and manifests are named by their content, and shared."""
        one, two = await self.open(transactions), await self.open(transactions)
        first = await self.seal(transactions, one, lines("a", "b"))
        assert await self.seal(transactions, two, lines("a", "b")) == first
        pages = [segment_page(bytes(44)), segment_page(bytes(88))]
        for draft in (one, two):
            await transactions.write(lambda work, draft=draft: work.manifests.add_pages(draft, pages))
            await transactions.write(lambda work: work.manifests.add_segment_pages(first.layout, [p.digest for p in pages]))

    # Versions

    async def test_twins_are_the_target_and_one_that_reads_the_same(self, write: object, transactions: Transactions) -> None:
        """SEM-13, SEM-24."""
        draft = await self.open(transactions)
        manifest = await self.seal(transactions, draft, lines("a"))
        target = await self.commit(transactions, manifest)
        other = Manifest(Digest.of(b"l"), manifest.digest, Digest.of(b"s"), 1, 1, 0)
        await transactions.write(lambda work: work.manifests.add(other))
        twin = await self.commit(transactions, other, is_target=False)

        async def twins(of: Manifest) -> Sequence[tuple[VersionName, bool, bool]]:
            found = await transactions.read(lambda work: work.versions.twins(DIGITS, of))
            return [(one.name, one.is_target, one.reads_the_same) for one in found]

        assert await twins(manifest) == [(target, True, True)]
        assert await twins(other) == [(target, True, False), (twin, False, True)]

        async def delete(work: Work) -> None:
            await work.collections.lock(DIGITS)
            await work.versions.delete(target, "me", "", HOUR)

        await transactions.write(delete)
        assert await twins(manifest) == []
        assert await twins(other) == [(twin, False, True)]
        assert await transactions.read(lambda work: work.versions.target(DIGITS, manifest.digest)) is None

    async def test_a_deleted_version_comes_back_as_the_target(
        self, write: object, transactions: Transactions, clock: Clock
    ) -> None:
        """SEM-44."""
        draft = await self.open(transactions)
        manifest = await self.seal(transactions, draft, lines("a"))
        name = await self.commit(transactions, manifest, is_target=False)
        await transactions.write(lambda work: work.versions.delete(name, "me", "why", HOUR))
        deleted = await transactions.read(lambda work: work.versions.get(name, show_deleted=True))
        assert deleted.tombstone is not None
        assert (deleted.state, deleted.tombstone.reason) == (VersionState.DELETED, "why")
        clock.offset = 2 * HOUR
        purged = await transactions.read(lambda work: work.versions.get(name, show_deleted=True))
        assert purged.state is VersionState.PURGED
        await transactions.write(lambda work: work.versions.restore(name))
        assert (await transactions.read(lambda work: work.versions.get(name))).tags == ("t",)
        assert await transactions.read(lambda work: work.versions.target(DIGITS, manifest.digest)) == name

    # The fence

    async def test_the_fence_counts_collections(self, transactions: Transactions) -> None:
        """RELIABILITY §2.4."""
        assert await transactions.read(lambda work: work.fence.epoch()) == 0
        assert await transactions.write(lambda work: work.fence.holds(0))
        assert [await transactions.write(lambda work: work.fence.advance()) for _ in range(3)] == [1, 2, 3]
        assert await transactions.read(lambda work: work.fence.epoch()) == 3
        assert not await transactions.write(lambda work: work.fence.holds(2))

    # Transactions

    async def test_what_fails_leaves_nothing(self, write: object, transactions: Transactions) -> None:
        """I3: no row and no event."""
        other = ProjectName("acme", "other")

        async def fail(work: Work) -> None:
            await work.projects.ensure(other)
            work.emit(other, "me", ProjectCreated())
            raise InternalError("no")

        with pytest.raises(InternalError):
            await transactions.write(fail)
        assert await transactions.write(lambda work: work.projects.ensure(other))
