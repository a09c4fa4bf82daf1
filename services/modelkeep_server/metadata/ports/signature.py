"""The signatures of versions, as the database keeps them."""

from __future__ import annotations

from typing import Protocol

from modelkeep.names import VersionName

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.metadata.domain.signature import Signature, Signing


class Signatures(Protocol):
    """All signatures of all versions."""

    async def find(self, version: VersionName, key_id: str) -> Signature | None:
        """The signature by a key, if there is one."""
        ...

    async def count(self, version: VersionName) -> int:
        """How many signatures a version has."""
        ...

    async def add(self, version: VersionName, signing: Signing, creator: str) -> Signature:
        """Write a signature of a live version of a locked collection, by a key that has not signed it."""
        ...

    async def list(self, version: VersionName, page: Page) -> Listing[Signature]:
        """The signatures of a version that exists, oldest first."""
        ...
