"""Versions, as the database keeps them. What is purged is judged by its clock."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Protocol

from modelkeep.digest import Digest
from modelkeep.names import CollectionName, VersionName

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.filtering.expression import ALL, Query
from modelkeep_server.metadata.domain.draft import NewVersion
from modelkeep_server.metadata.domain.manifest import Manifest
from modelkeep_server.metadata.domain.version import Twin, Version, Words


class Versions(Protocol):
    """All versions of all collections."""

    async def get(self, name: VersionName, *, show_deleted: bool = False) -> Version:
        """A version. Raises TeamNotFound, ProjectNotFound, CollectionNotFound, VersionNotFound, VersionDeleted (SEM-40)."""
        ...

    async def list(
        self, collection: CollectionName, page: Page, *, show_deleted: bool = False, query: Query = ALL
    ) -> Listing[Version]:
        """The versions that `query` asks for, newest first unless it says otherwise; `-` stands for all of a kind.

        Raises TeamNotFound, ProjectNotFound, CollectionNotFound, InvalidPageToken.
        """
        ...

    async def twins(self, collection: CollectionName, manifest: Manifest) -> Sequence[Twin]:
        """The target of dedup for the digest of a manifest, if there is one, then a live version that reads the same."""
        ...

    async def target(self, collection: CollectionName, digest: Digest) -> VersionName | None:
        """The live version that commits of a digest are answered with (SEM-13)."""
        ...

    async def add(self, version: NewVersion) -> None:
        """Write a new version with its tags, in a locked collection."""
        ...

    async def update(self, name: VersionName, words: Words, etag: str) -> None:
        """Edit the words of a live version, if its etag is still `etag` or that is empty.

        Raises what `get` raises, and EtagMismatch.
        """
        ...

    async def edit_tags(self, name: VersionName, add: Collection[str], remove: Collection[str]) -> None:
        """Put tags on a version of a locked collection and take others off it."""
        ...

    async def delete(self, name: VersionName, actor: str, reason: str, restorable: timedelta) -> None:
        """Delete a live version of a locked collection, restorably for a time (SEM-44)."""
        ...

    async def restore(self, name: VersionName) -> None:
        """Bring a deleted version of a locked collection back; it is the target of dedup from now on."""
        ...
