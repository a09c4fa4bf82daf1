"""Drafts, as the database keeps them. What expired is judged by its clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from modelkeep.digest import Digest
from modelkeep.names import CollectionName, DraftName, ProjectName

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.metadata.domain.draft import Draft, DraftState, NewDraft, Outcome


class Drafts(Protocol):
    """All drafts. A draft is found by any project that its collection was in."""

    async def create(self, draft: NewDraft, life: timedelta) -> Draft | None:
        """Open a draft in a collection that exists; None when that has a draft of the same `distributed_id`."""
        ...

    async def shared(self, collection: CollectionName, distributed_id: str) -> Draft | None:
        """The draft that several writers call `distributed_id`."""
        ...

    async def get(self, name: DraftName) -> Draft:
        """A draft. Raises DraftNotFound."""
        ...

    async def list(
        self, project: ProjectName, state: DraftState | None, page: Page, distributed_id: str = ""
    ) -> Listing[Draft]:
        """The drafts of a project, newest first; only those in one state, or of one distributed id, if given.

        Raises TeamNotFound, ProjectNotFound.
        """
        ...

    async def lock(self, name: DraftName) -> Draft:
        """A draft that, like its collection, nobody else changes until the transaction ends. Raises DraftNotFound."""
        ...

    async def prolong(self, name: DraftName, life: timedelta) -> tuple[int, int]:
        """Give an open draft `life` from now on, and lock it; how many entries it has, and its revision.

        Raises DraftNotFound, DraftNotOpen.
        """
        ...

    async def seal(self, name: DraftName, layout: Digest, revision: int) -> bool:
        """Point an open draft to its manifest; false when it is another revision by now, or ended."""
        ...

    async def commit(self, name: DraftName, outcome: Outcome) -> None:
        """A locked draft became a version."""
        ...

    async def abort(self, name: DraftName) -> None:
        """Give a locked draft up."""
        ...

    async def unswept(self, limit: int) -> Sequence[DraftName]:
        """Some drafts that ended and still have entries."""
        ...

    async def sweep(self, name: DraftName, limit: int) -> bool:
        """Drop at most `limit` entries of a draft that ended; whether it has none left."""
        ...
