"""Uses of versions, as the database keeps them."""

from __future__ import annotations

from typing import Protocol

from modelkeep.names import VersionName

from modelkeep_server.metadata.domain.use import Recorded, Use


class Uses(Protocol):
    """Which runs used which versions."""

    async def record(self, version: VersionName, use: Use, actor: str) -> Recorded:
        """Note that a run uses a live version now; once per run, the time of the last use apart (SEM-39).

        Raises TeamNotFound, ProjectNotFound, CollectionNotFound, VersionNotFound, VersionDeleted.
        """
        ...
