"""Teams and projects, as the database keeps them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from modelkeep.names import ProjectName, TeamName

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.metadata.domain.project import Project, Team


class Teams(Protocol):
    """All teams."""

    async def ensure(self, name: TeamName) -> bool:
        """Make the team unless it is there; whether it was made."""
        ...

    async def get(self, name: TeamName) -> Team:
        """A team. Raises TeamNotFound."""
        ...

    async def list(self, readable: Collection[str], page: Page) -> Listing[Team]:
        """The teams among `readable`, by name."""
        ...


class Projects(Protocol):
    """All projects."""

    async def ensure(self, name: ProjectName, description: str = "") -> bool:
        """Make the project unless it is there; whether it was made (SEM-1). Raises TeamNotFound."""
        ...

    async def get(self, name: ProjectName) -> Project:
        """A project. Raises TeamNotFound, ProjectNotFound."""
        ...

    async def list(self, team: TeamName, page: Page) -> Listing[Project]:
        """The projects of a team by name. Raises TeamNotFound."""
        ...

    async def update(self, name: ProjectName, description: str, etag: str) -> Project:
        """Edit a project, if its etag is still `etag` or that is empty.

        Raises TeamNotFound, ProjectNotFound, EtagMismatch.
        """
        ...
