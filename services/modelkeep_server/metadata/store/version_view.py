"""A version as a whole, by one statement: its own row, its manifest, its names, tags and aliases.

This is the one place that knows how a row becomes a `Version`. Resolving an address is the hottest path of the service, so a
statement is built once, when its module is loaded, and only bound to values later.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from modelkeep.digest import Digest
from modelkeep.names import LATEST, CollectionName
from sqlalchemy import BigInteger, Column, ColumnElement, Row, Select, and_, bindparam, case, func, select, type_coerce
from sqlalchemy.orm import aliased
from sqlmodel import col

from modelkeep_server.database.clock import Micros, from_micros
from modelkeep_server.database.dialect import json_list
from modelkeep_server.database.keys import Keys
from modelkeep_server.metadata.domain.version import Origin, Tombstone, UseSummary, Version, VersionState
from modelkeep_server.metadata.store.tables import AliasRow, CollectionRow, ManifestRow, ProjectRow, TagRow, VersionRow

_live = aliased(VersionRow, name="live")

LATEST_NUMBER: Final = (
    select(func.max(col(_live.number)))
    .where(col(_live.collection_id) == col(CollectionRow.id), col(_live.state) == VersionState.COMMITTED.value)
    .correlate(CollectionRow)
    .scalar_subquery()
)
"""The number of the highest live version of the collection at hand (SEM-18)."""

_TAGS = select(json_list(col(TagRow.tag))).where(col(TagRow.version_id) == col(VersionRow.id)).correlate(VersionRow)
_ALIASES = select(json_list(col(AliasRow.alias))).where(col(AliasRow.version_id) == col(VersionRow.id)).correlate(VersionRow)


def _as_driven(column: Column[Any]) -> ColumnElement[Any]:
    """The column as the driver gives it: moments in microseconds."""
    return type_coerce(column, BigInteger()).label(column.name) if isinstance(column.type, Micros) else column


_COLUMNS = (
    col(ProjectRow.team),
    col(ProjectRow.name).label("project"),
    col(CollectionRow.name).label("collection"),
    col(CollectionRow.type),
    col(CollectionRow.uid).label("collection_uid"),
    LATEST_NUMBER.label("latest_number"),
    *(_as_driven(column) for column in VersionRow.__table__.columns if column.name not in {"collection_id", "is_target"}),  # type: ignore[attr-defined]
    col(ManifestRow.entry_count),
    col(ManifestRow.stored_bytes),
    col(ManifestRow.referenced_bytes),
    _TAGS.scalar_subquery().label("tags"),
    _ALIASES.scalar_subquery().label("aliases"),
)


_OF_MANY: Final = Keys("wanted")
_named = aliased(VersionRow, name="named")
_NUMBER_OF_ALIAS = (
    select(col(_named.number))
    .join(AliasRow, col(AliasRow.version_id) == col(_named.id))
    .where(col(AliasRow.collection_id) == col(CollectionRow.id), col(AliasRow.alias) == _OF_MANY.text(5))
    .correlate(CollectionRow, _OF_MANY.table)
    .scalar_subquery()
)
MANY: Final = (
    select(_OF_MANY.place.label("place"), *_COLUMNS)
    .select_from(_OF_MANY.table)
    .join(ProjectRow, and_(col(ProjectRow.team) == _OF_MANY.text(1), col(ProjectRow.name) == _OF_MANY.text(2)))
    .join(
        CollectionRow,
        and_(col(CollectionRow.project_id) == col(ProjectRow.id), col(CollectionRow.name) == _OF_MANY.text(3)),
    )
    .join(
        VersionRow,
        and_(
            col(VersionRow.collection_id) == col(CollectionRow.id),
            col(VersionRow.number)
            == func.coalesce(_OF_MANY.number(4), _NUMBER_OF_ALIAS, case((_OF_MANY.text(5).is_(None), LATEST_NUMBER))),
            col(VersionRow.state) == VersionState.COMMITTED.value,
        ),
    )
    .join(ManifestRow, col(ManifestRow.layout) == col(VersionRow.manifest))
)
"""The live versions that `wanted` names, a row for each: by team, project, collection, number or alias, or neither."""


def view(condition: ColumnElement[bool]) -> Select[Any]:
    """The versions that fit `condition` in the collection of `place`.

    One row without a version says that the collection exists and nothing in it fits; no row, that there is no collection.
    """
    return (
        select(*_COLUMNS)
        .select_from(ProjectRow)
        .join(CollectionRow, col(CollectionRow.project_id) == col(ProjectRow.id))
        .outerjoin(VersionRow, and_(col(VersionRow.collection_id) == col(CollectionRow.id), condition))
        .outerjoin(ManifestRow, col(ManifestRow.layout) == col(VersionRow.manifest))
        .where(
            col(ProjectRow.team) == bindparam("in_team"),
            col(ProjectRow.name) == bindparam("in_project"),
            col(CollectionRow.name) == bindparam("in_collection"),
        )
    )


def chosen(ids: Sequence[int]) -> Select[Any]:
    """Some versions by their ids, in no order."""
    return (
        select(*_COLUMNS)
        .select_from(VersionRow)
        .join(CollectionRow, col(CollectionRow.id) == col(VersionRow.collection_id))
        .join(ProjectRow, col(ProjectRow.id) == col(CollectionRow.project_id))
        .join(ManifestRow, col(ManifestRow.layout) == col(VersionRow.manifest))
        .where(col(VersionRow.id).in_(ids))
    )


def place(collection: CollectionName) -> dict[str, str]:
    """The values that bind a `view` to a collection."""
    return {"in_team": collection.team, "in_project": collection.project, "in_collection": collection.collection}


def to_version(row: Row[Any]) -> Version | None:
    """The version of a row of a `view`; None when the row has none."""
    if row.id is None:
        return None
    state = VersionState(row.state)
    return Version(
        name=CollectionName(row.team, row.project, row.collection).version(row.number),
        uid=row.uid,
        state=state,
        digest=Digest(row.digest),
        layout=Digest(row.manifest),
        type=row.type,
        description=row.description,
        notes=row.notes,
        metadata_json=row.metadata_json,
        tags=_sorted(row.tags),
        aliases=_sorted(row.aliases, LATEST if state is VersionState.COMMITTED and row.number == row.latest_number else ""),
        entry_count=row.entry_count,
        stored_bytes=row.stored_bytes,
        referenced_bytes=row.referenced_bytes,
        create_time=from_micros(row.create_time),
        update_time=from_micros(row.update_time),
        verified_time=_moment(row.verified_time),
        creator=row.creator,
        run=row.run,
        run_display_name=row.run_display_name,
        etag=str(row.revision),
        tombstone=_tombstone(row),
        uses=UseSummary(row.use_count, _moment(row.first_use_time), _moment(row.last_use_time)),
        origin=Origin(row.origin, row.origin_uid) if row.origin else None,
        collection_uid=row.collection_uid,
    )


def _moment(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)


def _sorted(aggregated: str | None, *more: str) -> tuple[str, ...]:
    return tuple(sorted([*json.loads(aggregated or "[]"), *filter(None, more)]))


def _tombstone(row: Row[Any]) -> Tombstone | None:
    if row.delete_time is None:
        return None
    return Tombstone(row.delete_actor, row.delete_reason, from_micros(row.delete_time), from_micros(row.purge_time))
