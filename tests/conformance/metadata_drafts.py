"""What the tables of the metadata service guarantee of drafts and their entries; a part of `metadata_repositories`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import pairwise
from typing import TypeVar
from uuid import uuid4

import pytest
from modelkeep.digest import Digest
from modelkeep.errors import DraftNotFound
from modelkeep.manifest import Entry, Segment
from modelkeep.names import CollectionName, DraftName, ProjectName, TeamName
from modelkeep_server.database.paging import Page as PageOf
from modelkeep_server.metadata.domain.draft import Draft, NewDraft
from modelkeep_server.metadata.domain.manifest import Manifest, Sealer
from modelkeep_server.metadata.domain.page import Line, Page
from modelkeep_server.metadata.domain.stretch import Stretch
from modelkeep_server.metadata.ports.transactions import Transactions, Work

T = TypeVar("T")

PROJECT = ProjectName("acme", "vision")
DIGITS = CollectionName("acme", "vision", "digits")
HOUR = timedelta(hours=1)
MANY = 1 << 20
"""More bytes than the lines of a test have."""


def lines(*paths: str, content: bytes = b"1") -> dict[bytes, bytes]:
    """The lines of files of one chunk."""
    digest = Digest.of(content)
    segments = (Segment(digest, 0, len(content)),)
    return {path.encode(): Line.of(Entry(path, digest, len(content), False, segments)).encode() for path in paths}


def sealed(some: dict[bytes, bytes]) -> tuple[Manifest, list[Page], Sealer]:
    """The manifest of lines, and its pages."""
    sealer = Sealer()
    pages = sealer.add(Stretch.of(sorted(some.items())))
    if rest := sealer.rest():
        pages.append(rest)
    return sealer.manifest(), pages, sealer


class DraftSuite:
    """A subclass gives the fixtures `transactions`, on an empty database, and `clock`, which they go by."""

    @pytest.fixture
    async def write(self, transactions: Transactions) -> Callable[[Callable[[Work], Awaitable[T]]], Awaitable[T]]:
        """Transactions on a database that has a team and a collection."""

        async def prepare(work: Work) -> None:
            await work.teams.ensure(TeamName("acme"))
            await work.projects.ensure(PROJECT)
            await work.collections.ensure(DIGITS, "model")

        await transactions.write(prepare)
        return transactions.write

    async def open(self, transactions: Transactions, life: timedelta = HOUR) -> DraftName:
        name = DraftName("acme", "vision", str(uuid4()))
        await transactions.write(lambda work: work.drafts.create(NewDraft(name, DIGITS, "model", "me"), life))
        return name

    async def read_draft(self, transactions: Transactions, name: DraftName) -> Draft:
        return await transactions.read(lambda work: work.drafts.get(name))

    async def test_runs_are_found_by_the_paths_that_they_may_have(self, write: object, transactions: Transactions) -> None:
        """They never overlap; one that is replaced is none any more, and its page stays with the draft."""
        draft = await self.open(transactions)
        pages = [sealed(lines(*paths))[1][0] for paths in ("ab", "fg", "mn")]
        await transactions.write(lambda work: work.draft_entries.set_runs(draft, pages[::-1], []))

        async def firsts(first: bytes, end: bytes | None, limit: int = 10) -> list[bytes]:
            found = await transactions.read(lambda work: work.draft_entries.runs(draft, first, end, limit))
            return [slot.first_path for slot in found]

        assert await firsts(b"", None) == [b"a", b"f", b"m"]
        assert await firsts(b"b", b"m") == [b"a", b"f"]
        assert await firsts(b"c", None, 1) == [b"f"]
        assert await firsts(b"c", b"f") == []
        whole = sealed(lines(*"fgmn"))[1]
        gone = [page.digest for page in pages[1:]]
        await transactions.write(lambda work: work.draft_entries.set_runs(draft, whole, gone))
        assert await firsts(b"", None) == [b"a", b"f"]
        await transactions.write(lambda work: work.draft_entries.set_runs(draft, pages[1:], [whole[0].digest]))
        assert await firsts(b"", None) == [b"a", b"f", b"m"]

    async def test_lines_are_replaced_and_dropped(self, write: object, transactions: Transactions) -> None:
        draft = await self.open(transactions)
        await transactions.write(lambda work: work.draft_entries.put_lines(draft, lines("a", "d/x", "d/y", "d0")))
        await transactions.write(lambda work: work.draft_entries.put_lines(draft, {b"a": b"", b"c/": b""}))
        await transactions.write(lambda work: work.draft_entries.drop_lines(draft, b"d/", b"d0"))
        found = await transactions.read(lambda work: work.draft_entries.lines_from(draft, b"", None, 9, MANY))
        assert found == [(b"a", b""), (b"c/", b""), (b"d0", lines("d0")[b"d0"])]
        asked = [(b"a", b"b", []), (b"b", b"c", []), (b"c/", b"c/", []), (b"e", b"f", [b"c/"]), (b"e", b"f", [b"x/"])]
        has = [await transactions.read(lambda work, of=of: work.draft_entries.has_lines(draft, *of)) for of in asked]
        assert has == [True, False, True, True, False]

    async def test_a_distributed_id_is_taken_once_in_a_collection(self, write: object, transactions: Transactions) -> None:
        """SEM-42."""
        other = CollectionName("acme", "vision", "other")
        await transactions.write(lambda work: work.collections.ensure(other, "model"))

        async def create(collection: CollectionName, distributed_id: str) -> Draft | None:
            wish = NewDraft(DraftName("acme", "vision", str(uuid4())), collection, "model", "me", None, distributed_id)
            return await transactions.write(lambda work: work.drafts.create(wish, HOUR))

        first = await create(DIGITS, "one")
        assert first is not None
        assert await create(DIGITS, "one") is None
        assert None not in [await create(other, "one"), await create(DIGITS, ""), await create(DIGITS, "")]
        assert await transactions.read(lambda work: work.drafts.shared(DIGITS, "one")) == first
        assert await transactions.read(lambda work: work.drafts.shared(DIGITS, "two")) is None

    async def test_a_moved_collection_takes_its_drafts_along_and_keeps_its_names(
        self, write: object, transactions: Transactions
    ) -> None:
        draft = await self.open(transactions)
        prod = ProjectName("acme", "prod")
        names = [DIGITS, CollectionName("acme", "prod", "digits"), CollectionName("acme", "prod", "shown")]
        await transactions.write(lambda work: work.projects.ensure(prod))
        for old, new in pairwise(names):
            await transactions.write(lambda work, old=old, new=new: work.collections.rename(old, new, "me"))
        for project in (PROJECT, prod):
            name = DraftName(project.team, project.project, draft.draft)
            found = await self.read_draft(transactions, name)
            assert (found.name, found.collection) == (DraftName("acme", "prod", draft.draft), names[2])
            assert await transactions.write(lambda work, name=name: work.drafts.prolong(name, HOUR)) == (0, 0)
        for project in ("other", "Vision"):
            with pytest.raises(DraftNotFound):
                await self.read_draft(transactions, DraftName("acme", project, draft.draft))
        first = await transactions.read(lambda work: work.collections.history(names[2], PageOf(1)))
        rest = await transactions.read(lambda work: work.collections.history(names[2], PageOf(1, first.next_token)))
        changes = [(one.from_collection, one.to_collection, one.actor) for one in first.items + rest.items]
        assert changes == [(str(names[1]), str(names[2]), "me"), (str(names[0]), str(names[1]), "me")]
        assert rest.next_token == ""
