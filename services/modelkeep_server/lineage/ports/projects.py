"""Projects, which metadata keeps."""

from __future__ import annotations

from typing import Protocol

from modelkeep.names import ProjectName


class Projects(Protocol):
    """All projects."""

    async def require(self, name: ProjectName) -> None:
        """Raises TeamNotFound, ProjectNotFound, and what makes a call to metadata fail, such as ServiceUnavailable."""
        ...
