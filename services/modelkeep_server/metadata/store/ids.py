"""The internal ids behind names, as parts of statements: no id leaves the store, and none costs a statement of its own."""

from __future__ import annotations

from modelkeep.names import CollectionName, ProjectName, VersionName
from sqlalchemy import ScalarSelect, select
from sqlmodel import col

from modelkeep_server.metadata.store.tables import CollectionRow, ProjectRow, VersionRow


def project_id(name: ProjectName) -> ScalarSelect[int]:
    """The id of a project; null when there is none."""
    statement = select(col(ProjectRow.id)).where(col(ProjectRow.team) == name.team, col(ProjectRow.name) == name.project)
    return statement.scalar_subquery()


def collection_id(name: CollectionName) -> ScalarSelect[int]:
    """The id of a collection; null when there is none."""
    statement = select(col(CollectionRow.id)).where(
        col(CollectionRow.project_id) == project_id(name.parent), col(CollectionRow.name) == name.collection
    )
    return statement.scalar_subquery()


def version_id(name: VersionName) -> ScalarSelect[int]:
    """The id of a version, deleted or not; null when there is none."""
    statement = select(col(VersionRow.id)).where(
        col(VersionRow.collection_id) == collection_id(name.parent), col(VersionRow.number) == name.number
    )
    return statement.scalar_subquery()
