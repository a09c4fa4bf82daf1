"""The aliases of collections, as the database keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from modelkeep.names import AliasName, CollectionName

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.metadata.domain.alias import Alias, AliasChange, Wish


class Aliases(Protocol):
    """All aliases of all collections, and where they pointed."""

    async def current(self, collection: CollectionName, names: tuple[str, ...]) -> Mapping[str, Alias]:
        """The aliases among `names` that ever were, by bare name; deleted ones have no version."""
        ...

    async def change(
        self,
        collection: CollectionName,
        wishes: Mapping[str, Wish],
        current: Mapping[str, Alias],
        actor: str,
    ) -> tuple[AliasChange, ...]:
        """Point aliases elsewhere, or delete them, and note it in their history; the changes in the order of `wishes`.

        The caller holds the lock of the collection, read `current` under it, and wishes nothing that is so already. Raises
        VersionNotFound, VersionDeleted, LimitExceeded.
        """
        ...

    async def get(self, name: AliasName) -> Alias:
        """An alias. Raises TeamNotFound, ProjectNotFound, CollectionNotFound, AliasNotFound (with the nearest)."""
        ...

    async def list(self, collection: CollectionName, page: Page) -> Listing[Alias]:
        """The aliases of a collection by name. Raises TeamNotFound, ProjectNotFound, CollectionNotFound."""
        ...

    async def history(self, collection: CollectionName, alias: str, page: Page) -> Listing[AliasChange]:
        """The changes of one alias, or of all when it is empty, newest first.

        Raises TeamNotFound, ProjectNotFound, CollectionNotFound; AliasNotFound when the alias never was.
        """
        ...
