"""From addresses to versions, as the database knows them."""

from __future__ import annotations

from typing import Protocol

from modelkeep.address import Address

from modelkeep_server.metadata.domain.version import Version


class Resolution(Protocol):
    """Finds the version behind an address."""

    async def resolve(self, address: Address) -> Version:
        """The live version behind an address, by one statement unless there is none.

        Raises TeamNotFound, ProjectNotFound, CollectionNotFound, AliasNotFound, VersionNotFound, VersionDeleted,
        DigestAmbiguous.
        """
        ...
