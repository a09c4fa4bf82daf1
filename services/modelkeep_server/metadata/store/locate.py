"""From names to the rows behind them, and what to say when there is none."""

from __future__ import annotations

from collections.abc import Sequence

from modelkeep.errors import CollectionNotFound, NotFound, ProjectNotFound, TeamNotFound
from modelkeep.names import CollectionName, ProjectName, nearest
from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.metadata.store.tables import CollectionRow, ProjectRow, TeamRow

SEARCHED = 1000
"""Among how many names the nearest is looked for."""
SHOWN = 20
"""How many existing names an error tells."""


def in_collection(name: CollectionName) -> ColumnElement[bool]:
    """Says, of a statement that joins projects and collections, which collection it is about."""
    return and_(
        col(ProjectRow.team) == name.team, col(ProjectRow.name) == name.project, col(CollectionRow.name) == name.collection
    )


async def project_not_found(session: AsyncSession, name: ProjectName) -> NotFound:
    """The error to raise when a project is missing."""
    if await session.get(TeamRow, name.team) is None:
        return TeamNotFound(f"there is no team {name.team!r}", team=name.team)
    statement = select(col(ProjectRow.name)).where(col(ProjectRow.team) == name.team).order_by(col(ProjectRow.name))
    existing = (await session.scalars(statement.limit(SEARCHED))).all()
    near = nearest(name.project, existing)
    message = f"there is no project {name.project!r} in team {name.team!r}; {suggest(existing, near)}"
    return ProjectNotFound(message, project=str(name), nearest=near)


async def collection_not_found(session: AsyncSession, name: CollectionName) -> NotFound:
    """The error to raise when a collection is missing, or its project is."""
    project = name.parent
    statement = select(col(ProjectRow.id)).where(col(ProjectRow.team) == name.team, col(ProjectRow.name) == name.project)
    parent = await session.scalar(statement)
    if parent is None:
        return await project_not_found(session, project)
    names = select(col(CollectionRow.name)).where(col(CollectionRow.project_id) == parent).order_by(col(CollectionRow.name))
    existing = (await session.scalars(names.limit(SEARCHED))).all()
    near = nearest(name.collection, existing)
    message = f"there is no collection {name.collection!r} in {name.team}/{name.project}; {suggest(existing, near)}"
    return CollectionNotFound(message, collection=str(name), nearest=near)


async def require_team(session: AsyncSession, team: str) -> None:
    """Raises TeamNotFound."""
    if await session.get(TeamRow, team) is None:
        raise TeamNotFound(f"there is no team {team!r}", team=team)


async def require_project(session: AsyncSession, name: ProjectName) -> None:
    """Raises TeamNotFound, ProjectNotFound."""
    statement = select(col(ProjectRow.id)).where(col(ProjectRow.team) == name.team, col(ProjectRow.name) == name.project)
    if await session.scalar(statement) is None:
        raise await project_not_found(session, name)


async def require_collection(session: AsyncSession, name: CollectionName) -> None:
    """Raises TeamNotFound, ProjectNotFound, CollectionNotFound."""
    statement = select(col(CollectionRow.id)).join(ProjectRow, col(ProjectRow.id) == col(CollectionRow.project_id))
    if await session.scalar(statement.where(in_collection(name))) is None:
        raise await collection_not_found(session, name)


def suggest(existing: Sequence[str], near: str) -> str:
    """What exists instead, in words: the nearest name if there is one, and the first of the others."""
    if not existing:
        return "there are none yet"
    shown = ", ".join(existing[:SHOWN]) + (", …" if len(existing) > SHOWN else "")
    return f"did you mean {near!r}? There are: {shown}" if near else f"there are: {shown}"
