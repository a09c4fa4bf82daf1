"""Lists of versions: of a collection, a project or a team, filtered, sorted, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from modelkeep.names import ANY, CollectionName
from sqlalchemy import ColumnElement, Select, and_, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from modelkeep_server.database.clock import Clock
from modelkeep_server.database.listing import fitting
from modelkeep_server.database.paging import Listing, Page, token
from modelkeep_server.filtering.expression import EVERYTHING, Query
from modelkeep_server.filtering.ordering import Key, parts, written
from modelkeep_server.filtering.sql import condition
from modelkeep_server.metadata.domain.version import Version, VersionState
from modelkeep_server.metadata.store.ids import collection_id
from modelkeep_server.metadata.store.locate import require_collection, require_project, require_team
from modelkeep_server.metadata.store.search_fields import column, micros, moments, version_columns
from modelkeep_server.metadata.store.tables import AliasRow, CollectionRow, ManifestRow, ProjectRow, TagRow, VersionRow
from modelkeep_server.metadata.store.version_view import chosen, to_version

_LIVE: Final = col(VersionRow.state) == VersionState.COMMITTED.value
_WORDS: Final = (
    VersionRow.description,
    VersionRow.notes,
    VersionRow.metadata_json,
    VersionRow.creator,
    VersionRow.run,
    VersionRow.run_display_name,
    VersionRow.delete_actor,
    VersionRow.delete_reason,
    VersionRow.origin,
)
_FIXED_CHARACTERS: Final = 256
"""Of a version, beside its words, tags and aliases: four bytes each, so room for 1 KiB of names, digest, times and numbers."""
_NEWEST: Final = (Key(column(VersionRow.number), descending=True),)
_NEWEST_OF_ALL: Final = (
    Key(micros(VersionRow.create_time), descending=True),
    Key(column(VersionRow.uid), descending=True, is_text=True),
)


async def list_versions(
    session: AsyncSession, clock: Clock, collection: CollectionName, query: Query, page: Page, *, show_deleted: bool
) -> Listing[Version]:
    """The versions that `query` asks for, among those of a collection, or of all where a part of its name is `-`.

    At most five statements, however many versions there are. Raises TeamNotFound, ProjectNotFound, CollectionNotFound,
    InvalidPageToken.
    """
    bound = ("versions", collection, show_deleted, query.filter, query.order_by)
    ties = _NEWEST_OF_ALL if ANY in {collection.project, collection.collection} else _NEWEST
    keys = len(query.order) + len(ties)
    columns = version_columns(clock)
    statement = _lengths(collection, show_deleted=show_deleted)
    if query.where != EVERYTHING:
        statement = statement.where(condition(query.where, columns, moments(clock)))
    found: list[Any] = []
    for part in parts(statement, query.order, ties, columns, page.position(*bound, of=(str,) * keys)):
        found += (await session.execute(part.limit(page.size + 1 - len(found)))).all()
        if len(found) > page.size:
            break
    if not found:
        await _require(session, collection)
        return Listing(())
    count = fitting([row.length for row in found], page.size)
    versions = await _versions(session, [row.id for row in found[:count]])
    following = token(written(found[count - 1], keys), *bound) if count < len(found) else ""
    return Listing(tuple(await judged(session, clock, versions)), following)


async def judged(session: AsyncSession, clock: Clock, versions: Sequence[Version]) -> Sequence[Version]:
    """The versions, purged where their time to be restored ran out."""
    if not any(version.tombstone for version in versions):
        return versions
    now = await clock.now(session)
    return [
        replace(version, state=VersionState.PURGED) if version.tombstone and version.tombstone.purge_time <= now else version
        for version in versions
    ]


async def _versions(session: AsyncSession, ids: Sequence[int]) -> list[Version]:
    """Some versions, in that order."""
    rows = {row.id: row for row in await session.execute(chosen(ids))}
    return [version for id_ in ids if (version := to_version(rows[id_])) is not None]


async def _require(session: AsyncSession, collection: CollectionName) -> None:
    """Raises TeamNotFound, ProjectNotFound, CollectionNotFound."""
    if collection.project == ANY:
        await require_team(session, collection.team)
    elif collection.collection == ANY:
        await require_project(session, collection.parent)
    else:
        await require_collection(session, collection)


def _lengths(collection: CollectionName, *, show_deleted: bool) -> Select[Any]:
    """The ids of versions, and how many characters they have on the wire, at most."""
    total: Any = literal(_FIXED_CHARACTERS)
    for word in _WORDS:
        total = total + func.length(col(word))
    for label, owner in ((col(TagRow.tag), col(TagRow.version_id)), (col(AliasRow.alias), col(AliasRow.version_id))):
        lengths = select(func.coalesce(func.sum(func.length(label) + 1), 0)).where(owner == col(VersionRow.id))
        total = total + lengths.correlate(VersionRow).scalar_subquery()
    statement = (
        select(col(VersionRow.id).label("id"), total.label("length"))
        .select_from(VersionRow)
        .join(CollectionRow, col(CollectionRow.id) == col(VersionRow.collection_id))
        .join(ProjectRow, col(ProjectRow.id) == col(CollectionRow.project_id))
        .join(ManifestRow, col(ManifestRow.layout) == col(VersionRow.manifest))
        .where(_among(collection))
    )
    return statement if show_deleted else statement.where(_LIVE)


def _among(collection: CollectionName) -> ColumnElement[bool]:
    if ANY not in {collection.project, collection.collection}:
        return col(VersionRow.collection_id) == collection_id(collection)
    parts_of_name = [col(ProjectRow.team) == collection.team]
    if collection.project != ANY:
        parts_of_name.append(col(ProjectRow.name) == collection.project)
    if collection.collection != ANY:
        parts_of_name.append(col(CollectionRow.name) == collection.collection)
    return and_(*parts_of_name)
