"""Projects: make, show and edit them."""

from __future__ import annotations

from modelkeep.errors import ProjectExists
from modelkeep.names import ProjectName, TeamName

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.metadata.domain.event import ProjectCreated
from modelkeep_server.metadata.domain.project import Project
from modelkeep_server.metadata.ports.transactions import Transactions, Work
from modelkeep_server.runtime.callers import Caller
from modelkeep_server.runtime.calls import Call


class ProjectApp:
    """The use cases of projects."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def create_project(self, call: Call, name: ProjectName, description: str) -> Project:
        """Make a project. Raises TeamNotFound, ProjectExists."""
        call.caller.require(name.team)

        async def step(work: Work) -> Project:
            if not await ensure_project(work, name, call.caller.actor, description):
                message = f"the project {name.project!r} exists already; use it, or choose another name"
                raise ProjectExists(message, project=str(name))
            return await work.projects.get(name)

        return await self._transactions.once(call, Project, step)

    async def get_project(self, caller: Caller, name: ProjectName) -> Project:
        """A project. Raises TeamNotFound, ProjectNotFound."""
        caller.require(name.team)
        return await self._transactions.look(lambda work: work.projects.get(name))

    async def list_projects(self, caller: Caller, team: TeamName, page: Page) -> Listing[Project]:
        """The projects of a team by name. Raises TeamNotFound."""
        caller.require(team.team)
        return await self._transactions.read(lambda work: work.projects.list(team, page))

    async def update_project(self, call: Call, name: ProjectName, description: str, etag: str) -> Project:
        """Edit a project. Raises TeamNotFound, ProjectNotFound, EtagMismatch."""
        call.caller.require(name.team)
        return await self._transactions.once(call, Project, lambda work: work.projects.update(name, description, etag))


async def ensure_project(work: Work, name: ProjectName, actor: str, description: str = "") -> bool:
    """Make a project unless it is there (SEM-1); whether it was made. Raises TeamNotFound."""
    made = await work.projects.ensure(name, description)
    if made:
        work.emit(name, actor, ProjectCreated())
    return made
