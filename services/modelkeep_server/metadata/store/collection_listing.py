"""Lists of collections: of a project or a team, filtered, sorted, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from modelkeep.names import ANY, CollectionName, ProjectName
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.clock import Clock
from modelkeep_server.database.listing import fitting
from modelkeep_server.database.paging import Listing, Page, token
from modelkeep_server.filtering.expression import EVERYTHING, Query
from modelkeep_server.filtering.functions import by_code_point
from modelkeep_server.filtering.ordering import Key, parts, written
from modelkeep_server.filtering.sql import condition
from modelkeep_server.metadata.domain.collection import Collection
from modelkeep_server.metadata.domain.version import VersionState
from modelkeep_server.metadata.store.locate import require_project, require_team
from modelkeep_server.metadata.store.search_fields import collection_columns, moments
from modelkeep_server.metadata.store.tables import CollectionRow, ProjectRow, VersionRow

_BY_NAME: Final = Key(by_code_point(col(CollectionRow.name)), is_text=True)
_BY_PROJECT: Final = Key(by_code_point(col(ProjectRow.name)), is_text=True)


async def list_collections(
    session: AsyncSession, clock: Clock, project: ProjectName, page: Page, *, type_: str, query: Query
) -> Listing[Collection]:
    """The collections that `query` asks for, of a project, or of all where its name is `-`; of one type unless it is empty.

    At most four statements. Raises TeamNotFound, ProjectNotFound, InvalidPageToken.
    """
    bound = ("collections", project, type_, query.filter, query.order_by)
    ties = (_BY_PROJECT, _BY_NAME) if project.project == ANY else (_BY_NAME,)
    keys = len(query.order) + len(ties)
    statement: Any = (
        select(col(CollectionRow.id).label("id"), func.length(col(CollectionRow.description)).label("length"))
        .select_from(CollectionRow)
        .join(ProjectRow, col(ProjectRow.id) == col(CollectionRow.project_id))
        .where(col(ProjectRow.team) == project.team)
    )
    if project.project != ANY:
        statement = statement.where(col(ProjectRow.name) == project.project)
    if type_:
        statement = statement.where(col(CollectionRow.type) == type_)
    columns = collection_columns()
    if query.where != EVERYTHING:
        statement = statement.where(condition(query.where, columns, moments(clock)))
    (sorted_,) = parts(statement, query.order, ties, columns, page.position(*bound, of=(str,) * keys))
    found = (await session.execute(sorted_.limit(page.size + 1))).all()
    if not found:
        await (require_team(session, project.team) if project.project == ANY else require_project(session, project))
        return Listing(())
    count = fitting([row.length for row in found], page.size)
    following = token(written(found[count - 1], keys), *bound) if count < len(found) else ""
    rows = await _rows(session, [row.id for row in found[:count]])
    return Listing(tuple(await with_versions(session, rows)), following)


async def with_versions(session: AsyncSession, rows: Sequence[tuple[CollectionName, CollectionRow]]) -> Sequence[Collection]:
    """The collections of some rows, with what their live versions add up to: one statement for all."""
    statement = (
        select(col(VersionRow.collection_id), func.max(col(VersionRow.number)), func.count())
        .where(
            col(VersionRow.collection_id).in_([row.id for _, row in rows]),
            col(VersionRow.state) == VersionState.COMMITTED.value,
        )
        .group_by(col(VersionRow.collection_id))
    )
    live: dict[int | None, tuple[int | None, int]] = {
        id_: (highest, count) for id_, highest, count in await session.execute(statement)
    }
    return [_collection(name, row, *live.get(row.id, (None, 0))) for name, row in rows]


async def _rows(session: AsyncSession, ids: Sequence[int]) -> list[tuple[CollectionName, CollectionRow]]:
    """Some collections, in that order."""
    statement = (
        select(CollectionRow, col(ProjectRow.team), col(ProjectRow.name))
        .join(ProjectRow, col(ProjectRow.id) == col(CollectionRow.project_id))
        .where(col(CollectionRow.id).in_(ids))
        .execution_options(populate_existing=True)
    )
    found = {row.id: (CollectionName(team, project, row.name), row) for row, team, project in await session.execute(statement)}
    return [found[id_] for id_ in ids]


def _collection(name: CollectionName, row: CollectionRow, highest: int | None, count: int) -> Collection:
    latest = None if highest is None else name.version(highest)
    etag = str(row.revision)
    return Collection(name, row.type, row.description, latest, count, row.create_time, row.update_time, etag, row.uid)
