"""Rules of aliases, and which version is the best, as the database keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from modelkeep.names import AliasName, CollectionName, VersionName

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.metadata.domain.rule import AliasRule, Rule, Yardstick


class Rules(Protocol):
    """The rules of all collections. Those of a locked one come with its lock."""

    async def best(self, collection: CollectionName, wanted: Mapping[str, Yardstick]) -> Mapping[str, VersionName]:
        """The best live version of a locked collection by each yardstick; none for one by which no version has a number.

        Of several that are equal the one that the alias of that name points to, else the lowest.
        """
        ...

    async def put(self, collection: CollectionName, rule: Rule, actor: str) -> None:
        """Add a rule to a locked collection, or replace the one of its alias."""
        ...

    async def drop(self, name: AliasName) -> None:
        """Take a rule away from a locked collection."""
        ...

    async def get(self, name: AliasName) -> AliasRule:
        """A rule. Raises TeamNotFound, ProjectNotFound, CollectionNotFound, AliasNotFound (it has no rule)."""
        ...

    async def list(self, collection: CollectionName, page: Page) -> Listing[AliasRule]:
        """The rules of a collection by alias. Raises TeamNotFound, ProjectNotFound, CollectionNotFound."""
        ...
