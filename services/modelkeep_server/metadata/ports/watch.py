"""What those who watch aliases want to know, as the database keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from modelkeep.names import AliasName, ProjectName

from modelkeep_server.metadata.domain.watch import AliasState, Log


class Watches(Protocol):
    """States of aliases, and the news of the event logs."""

    async def state(self, name: AliasName) -> AliasState:
        """Where an alias points, by one statement. Raises TeamNotFound, ProjectNotFound, CollectionNotFound."""
        ...

    async def news(self, seen: Mapping[ProjectName, int]) -> Log:
        """What came after the events seen of each project: one statement, and one more when there is anything."""
        ...
