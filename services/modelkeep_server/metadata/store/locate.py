"""From names to the rows behind them, and what to say when there is none."""

from __future__ import annotations

from modelkeep.errors import CollectionNotFound, NotFound, ProjectNotFound, TeamNotFound
from modelkeep.names import CollectionName, ProjectName, nearest
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.metadata.store.tables import CollectionRow, ProjectRow, TeamRow

SEARCHED = 1000
"""Among how many names the nearest is looked for."""
SHOWN = 20
"""How many existing names an error tells."""


async def project_id(session: AsyncSession, name: ProjectName) -> int:
    """The id of a project. Raises TeamNotFound, ProjectNotFound."""
    statement = select(col(ProjectRow.id)).where(col(ProjectRow.team) == name.team, col(ProjectRow.name) == name.project)
    found: int | None = await session.scalar(statement)
    if found is None:
        raise await project_not_found(session, name)
    return found


async def collection_id(session: AsyncSession, name: CollectionName) -> int:
    """The id of a collection. Raises TeamNotFound, ProjectNotFound, CollectionNotFound."""
    return await _found(session, name, _collection(name))


async def lock_collection(session: AsyncSession, name: CollectionName) -> int:
    """The id of a collection, whose row is ours until the end of the transaction: the first lock of whoever writes in it.

    It does not stand in the way of rows that merely point to the collection, such as new drafts. Raises TeamNotFound,
    ProjectNotFound, CollectionNotFound.
    """
    return await _found(session, name, _collection(name).with_for_update(key_share=True, of=CollectionRow))


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


def suggest(existing: list[str] | tuple[str, ...], near: str) -> str:
    """What exists instead, in words: the nearest name if there is one, and the first of the others."""
    if not existing:
        return "there are none yet"
    shown = ", ".join(existing[:SHOWN]) + (", …" if len(existing) > SHOWN else "")
    return f"did you mean {near!r}? There are: {shown}" if near else f"there are: {shown}"


def _collection(name: CollectionName) -> Select[tuple[int]]:
    return (
        select(col(CollectionRow.id))
        .join(ProjectRow, col(CollectionRow.project_id) == col(ProjectRow.id))
        .where(
            col(ProjectRow.team) == name.team,
            col(ProjectRow.name) == name.project,
            col(CollectionRow.name) == name.collection,
        )
    )


async def _found(session: AsyncSession, name: CollectionName, statement: Select[tuple[int]]) -> int:
    found: int | None = await session.scalar(statement)
    if found is None:
        raise await collection_not_found(session, name)
    return found
