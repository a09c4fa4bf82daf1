"""The rows of teams and projects."""

from __future__ import annotations

from collections.abc import Collection

from modelkeep.errors import EtagMismatch, TeamNotFound
from modelkeep.names import ProjectName, TeamName
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.clock import Clock
from modelkeep_server.database.dialect import upsert
from modelkeep_server.database.listing import fitting
from modelkeep_server.database.paging import Listing, Page, token
from modelkeep_server.metadata.domain.project import Project, Team
from modelkeep_server.metadata.store.locate import project_not_found
from modelkeep_server.metadata.store.tables import ProjectRow, TeamRow


class TeamRepository:
    """All teams."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def ensure(self, name: TeamName) -> bool:
        """Make the team unless it is there; whether it was made."""
        statement = upsert(self._session, TeamRow).values(name=name.team, create_time=self._clock.sql())
        made = await self._session.execute(statement.on_conflict_do_nothing().returning(col(TeamRow.name)))
        return made.scalar_one_or_none() is not None

    async def get(self, name: TeamName) -> Team:
        """A team. Raises TeamNotFound."""
        statement = select(col(TeamRow.create_time)).where(col(TeamRow.name) == name.team)
        create_time = await self._session.scalar(statement)
        if create_time is None:
            raise TeamNotFound(f"there is no team {name.team!r}", team=name.team)
        return Team(name, create_time)

    async def list(self, readable: Collection[str], page: Page) -> Listing[Team]:
        """The teams among `readable`, by name."""
        statement = select(col(TeamRow.name), col(TeamRow.create_time)).where(col(TeamRow.name).in_(sorted(readable)))
        if position := page.position("teams", of=(str,)):
            statement = statement.where(col(TeamRow.name) > position[0])
        rows = (await self._session.execute(statement.order_by(col(TeamRow.name)).limit(page.size + 1))).all()
        teams = tuple(Team(TeamName(name), create_time) for name, create_time in rows[: page.size])
        return Listing(teams, token([teams[-1].name.team], "teams") if len(rows) > page.size else "")


class ProjectRepository:
    """All projects."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def ensure(self, name: ProjectName, description: str = "") -> bool:
        """Make the project unless it is there; whether it was made (SEM-1). Raises TeamNotFound."""
        await TeamRepository(self._session, self._clock).get(TeamName(name.team))
        now = await self._clock.now(self._session)
        row = {"team": name.team, "name": name.project, "description": description, "create_time": now, "update_time": now}
        statement = upsert(self._session, ProjectRow).values(revision=1, event_sequence=0, **row)
        made = await self._session.execute(statement.on_conflict_do_nothing().returning(col(ProjectRow.id)))
        return made.scalar_one_or_none() is not None

    async def get(self, name: ProjectName) -> Project:
        """A project. Raises TeamNotFound, ProjectNotFound."""
        statement = select(ProjectRow).where(col(ProjectRow.team) == name.team, col(ProjectRow.name) == name.project)
        row = await self._session.scalar(statement.execution_options(populate_existing=True))
        if row is None:
            raise await project_not_found(self._session, name)
        return _project(row)

    async def list(self, team: TeamName, page: Page) -> Listing[Project]:
        """The projects of a team by name. Raises TeamNotFound."""
        names = select(col(ProjectRow.name), func.length(col(ProjectRow.description))).where(col(ProjectRow.team) == team.team)
        if position := page.position("projects", team, of=(str,)):
            names = names.where(col(ProjectRow.name) > position[0])
        found = (await self._session.execute(names.order_by(col(ProjectRow.name)).limit(page.size + 1))).all()
        if not found:
            await TeamRepository(self._session, self._clock).get(team)
            return Listing(())
        chosen = [name for name, _ in found][: fitting([length for _, length in found], page.size)]
        statement = select(ProjectRow).where(col(ProjectRow.team) == team.team, col(ProjectRow.name).in_(chosen))
        rows = await self._session.scalars(statement.order_by(col(ProjectRow.name)))
        following = token([chosen[-1]], "projects", team) if len(chosen) < len(found) else ""
        return Listing(tuple(_project(row) for row in rows), following)

    async def update(self, name: ProjectName, description: str, etag: str) -> Project:
        """Edit a project, if its etag is still `etag` or that is empty.

        Raises TeamNotFound, ProjectNotFound, EtagMismatch.
        """
        statement = (
            update(ProjectRow)
            .where(col(ProjectRow.team) == name.team, col(ProjectRow.name) == name.project)
            .values(description=description, update_time=self._clock.sql(), revision=col(ProjectRow.revision) + 1)
            .execution_options(synchronize_session=False)
        )
        if etag:
            statement = statement.where(col(ProjectRow.revision) == revision_of(etag))
        edited = await self._session.execute(statement.returning(col(ProjectRow.id)))
        project = await self.get(name)
        if edited.scalar_one_or_none() is None:
            raise etag_mismatch(f"the project {name.project!r}", project.etag)
        return project


def revision_of(etag: str) -> int:
    """The revision behind an etag; -1, which no row has, when it is none of ours."""
    return int(etag) if etag.isascii() and etag.isdigit() and len(etag) < 10 else -1


def etag_mismatch(what: str, etag: str) -> EtagMismatch:
    """The error to raise when somebody else edited `what` meanwhile."""
    return EtagMismatch(f"{what} was edited meanwhile; read it again, then edit it with etag {etag!r}", etag=etag)


def _project(row: ProjectRow) -> Project:
    name = ProjectName(row.team, row.name)
    return Project(name, row.description, row.create_time, row.update_time, str(row.revision))
