"""Collections, as the database keeps them."""

from __future__ import annotations

from typing import Protocol

from modelkeep.names import CollectionName, ProjectName

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.filtering.expression import ALL, Query
from modelkeep_server.metadata.domain.collection import Collection, CollectionChange, Locked


class Collections(Protocol):
    """All collections of all projects."""

    async def ensure(self, name: CollectionName, type_: str, description: str = "") -> str | None:
        """Make the collection in its project; its uid, or None when it was there.

        Raises CollectionTypeMismatch, naming the type that it has (SEM-2).
        """
        ...

    async def get(self, name: CollectionName) -> Collection:
        """A collection. Raises TeamNotFound, ProjectNotFound, CollectionNotFound."""
        ...

    async def list(self, project: ProjectName, type_: str, page: Page, query: Query = ALL) -> Listing[Collection]:
        """The collections that `query` asks for, by name unless it says otherwise; `-` stands for all projects of the team.

        Only those of one type, unless that is empty. Raises TeamNotFound, ProjectNotFound, InvalidPageToken.
        """
        ...

    async def update(self, name: CollectionName, type_: str | None, description: str | None, etag: str) -> Collection:
        """Edit a collection, if its etag is still `etag` or that is empty; None leaves a value as it is.

        Raises TeamNotFound, ProjectNotFound, CollectionNotFound, EtagMismatch.
        """
        ...

    async def rename(self, name: CollectionName, new: CollectionName, actor: str) -> None:
        """Give a collection another name, perhaps in another project, and note that; its drafts go with it.

        Raises CollectionNotFound, CollectionExists.
        """
        ...

    async def history(self, name: CollectionName, page: Page) -> Listing[CollectionChange]:
        """The names that a collection had, newest first. Raises TeamNotFound, ProjectNotFound, CollectionNotFound."""
        ...

    async def lock(self, name: CollectionName) -> Locked:
        """Keep everybody else from writing in a collection until the transaction ends: the first lock of whoever does.

        Raises TeamNotFound, ProjectNotFound, CollectionNotFound.
        """
        ...

    async def locked(self, name: CollectionName) -> Locked:
        """What there is to know of a collection that this transaction locked in another way."""
        ...

    async def next_number(self, name: CollectionName) -> int:
        """The number of the next version, given once and for good (SEM-9)."""
        ...
