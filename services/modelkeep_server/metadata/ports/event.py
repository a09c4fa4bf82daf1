"""The event log, as the database keeps it."""

from __future__ import annotations

from typing import Protocol

from modelkeep.names import ProjectName

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.metadata.domain.event import Event, EventHead


class Events(Protocol):
    """The events of all projects. They are written by `Work.emit`."""

    async def after(self, project: ProjectName, sequence: int, size: int) -> tuple[tuple[Event, ...], int]:
        """At most `size` events with a higher sequence, oldest first, and the last sequence of the project.

        Raises TeamNotFound, ProjectNotFound.
        """
        ...

    async def heads(self, page: Page) -> Listing[EventHead]:
        """The last sequence of every project, by project."""
        ...
