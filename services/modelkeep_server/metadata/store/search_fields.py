"""Where the fields of versions and collections are, for filters and orders over them (`convert.search` says what they hold)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from modelkeep.names import LATEST
from sqlalchemy import BigInteger, ColumnElement, and_, case, exists, func, or_, select, type_coerce
from sqlmodel import col

from modelkeep_server.database.clock import Clock
from modelkeep_server.filtering.expression import Pattern
from modelkeep_server.filtering.functions import fits
from modelkeep_server.filtering.json_sql import JsonRows
from modelkeep_server.filtering.sql import Columns, Moment
from modelkeep_server.metadata.domain.version import VersionState
from modelkeep_server.metadata.store.tables import (
    AliasRow,
    CollectionRow,
    ManifestRow,
    ProjectRow,
    SignatureRow,
    TagRow,
    VersionRow,
    VersionValueRow,
)
from modelkeep_server.metadata.store.version_view import LATEST_NUMBER

_IS_LATEST: Final = and_(col(VersionRow.state) == VersionState.COMMITTED.value, col(VersionRow.number) == LATEST_NUMBER)
_NULLABLE: Final = frozenset({"verified_time", "first_use_time", "last_use_time", "delete_time"})


def moments(clock: Clock) -> Moment:
    """What is some time ago, by the clock of the database."""
    return lambda micros: type_coerce(clock.sql(-timedelta(microseconds=micros)), BigInteger())


def version_columns(clock: Clock) -> Columns:
    """The fields of versions, in a statement over versions, their manifests, collections and projects."""
    is_purged = and_(col(VersionRow.purge_time).is_not(None), col(VersionRow.purge_time) <= clock.sql())
    return Columns(
        plain={
            "name": column(CollectionRow.name),
            "collection": column(CollectionRow.name),
            "project": column(ProjectRow.name),
            "type": column(CollectionRow.type),
            "version": column(VersionRow.number),
            "state": case((is_purged, VersionState.PURGED.value), else_=col(VersionRow.state)),
            "description": column(VersionRow.description),
            "notes": column(VersionRow.notes),
            "digest": column(VersionRow.digest),
            "size": column(ManifestRow.stored_bytes) + column(ManifestRow.referenced_bytes),
            "stored_bytes": column(ManifestRow.stored_bytes),
            "referenced_bytes": column(ManifestRow.referenced_bytes),
            "entry_count": column(ManifestRow.entry_count),
            "create_time": micros(VersionRow.create_time),
            "update_time": micros(VersionRow.update_time),
            "verified_time": micros(VersionRow.verified_time),
            "delete_time": micros(VersionRow.delete_time),
            "first_use_time": micros(VersionRow.first_use_time),
            "last_use_time": micros(VersionRow.last_use_time),
            "use_count": column(VersionRow.use_count),
            "creator": column(VersionRow.creator),
            "run": column(VersionRow.run),
            "run_name": column(VersionRow.run_display_name),
            "origin": column(VersionRow.origin),
        },
        nullable=_NULLABLE,
        flags={
            "verified": col(VersionRow.verified_time).is_not(None),
            "used": col(VersionRow.use_count) > 0,
            "signed": exists().where(col(SignatureRow.version_id) == col(VersionRow.id)),
        },
        labels={"alias": _has_alias, "tag": _has_tag},
        json={"metadata": JsonRows(column(VersionRow.id), VersionValueRow.__table__, "version_id")},  # type: ignore[attr-defined]
    )


def _has_alias(pattern: Pattern) -> ColumnElement[bool]:
    named = exists().where(col(AliasRow.version_id) == col(VersionRow.id), fits(column(AliasRow.alias), pattern))
    return or_(_IS_LATEST, named) if pattern.fits(LATEST) else named


def _has_tag(pattern: Pattern) -> ColumnElement[bool]:
    return exists().where(col(TagRow.version_id) == col(VersionRow.id), fits(column(TagRow.tag), pattern))


_THEIRS: Final = and_(
    col(VersionRow.collection_id) == col(CollectionRow.id), col(VersionRow.state) == VersionState.COMMITTED.value
)


def collection_columns() -> Columns:
    """The fields of collections, in a statement over collections and their projects."""
    count = select(func.count()).select_from(VersionRow).where(_THEIRS).correlate(CollectionRow).scalar_subquery()
    return Columns(
        plain={
            "name": column(CollectionRow.name),
            "project": column(ProjectRow.name),
            "type": column(CollectionRow.type),
            "description": column(CollectionRow.description),
            "version_count": count,
            "latest_version": LATEST_NUMBER,
            "create_time": micros(CollectionRow.create_time),
            "update_time": micros(CollectionRow.update_time),
        },
        nullable=frozenset({"latest_version"}),
        labels={"alias": _some_version_has_alias},
    )


def _some_version_has_alias(pattern: Pattern) -> ColumnElement[bool]:
    named = exists().where(
        col(AliasRow.collection_id) == col(CollectionRow.id),
        col(AliasRow.version_id).is_not(None),
        fits(column(AliasRow.alias), pattern),
    )
    return or_(exists().where(_THEIRS), named) if pattern.fits(LATEST) else named


def micros(attribute: Any) -> ColumnElement[int]:
    """A moment as the database has it."""
    return type_coerce(col(attribute), BigInteger())


def column(attribute: Any) -> ColumnElement[Any]:
    """A column as filters and orders take it."""
    found: Any = col(attribute)
    return found  # type: ignore[no-any-return]
