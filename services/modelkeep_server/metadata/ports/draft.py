"""Drafts and their entries, as the database keeps them. What expired is judged by its clock."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from modelkeep.digest import Digest
from modelkeep.names import CollectionName, DraftName

from modelkeep_server.metadata.domain.draft import Draft, Outcome


class Drafts(Protocol):
    """All drafts, and the entries of those that are open."""

    async def create(self, name: DraftName, collection: CollectionName, type_: str, creator: str, life: timedelta) -> Draft:
        """Open a draft in a collection that exists."""
        ...

    async def get(self, name: DraftName) -> Draft:
        """A draft. Raises DraftNotFound."""
        ...

    async def lock(self, name: DraftName) -> Draft:
        """A draft that, like its collection, nobody else changes until the transaction ends. Raises DraftNotFound."""
        ...

    async def prolong(self, name: DraftName, life: timedelta) -> int:
        """Give an open draft `life` from now on, and lock it; how many entries it has. Raises DraftNotFound, DraftNotOpen."""
        ...

    async def lines(self, name: DraftName, paths: Collection[bytes]) -> Mapping[bytes, bytes]:
        """The lines that a draft has for some paths."""
        ...

    async def add_lines(self, name: DraftName, lines: Mapping[bytes, bytes]) -> None:
        """Add lines for paths that a locked draft does not have, and take its seal back."""
        ...

    async def lines_after(self, name: DraftName, path: bytes | None, limit: int, size: int) -> Sequence[tuple[bytes, bytes]]:
        """The next paths and lines of a draft by path: at most `limit`, up to the one that reaches `size` bytes."""
        ...

    async def seal(self, name: DraftName, layout: Digest, entry_count: int) -> bool:
        """Point an open draft to its manifest; false when it got more than `entry_count` entries meanwhile, or ended."""
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
