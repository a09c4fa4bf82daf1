"""Rows of collections."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field

from modelkeep_server.database.tables import id_field, ref, text_field, time
from modelkeep_server.metadata.store.tables.base import Table


class CollectionRow(Table, table=True):
    """A collection, and the counter of its versions."""

    __tablename__ = "collection"
    __table_args__ = (
        UniqueConstraint("project_id", "name"),
        Index("ix_collection_project_id_type_name", "project_id", "type", "name"),
        Index("ix_collection_uid", "uid", unique=True),
    )
    id: int | None = id_field()
    uid: str
    """Outlives its names."""
    project_id: int = ref("project.id")
    name: str
    type: str
    description: str = text_field()
    next_index: int = 0
    """The number of the next version; its row lock orders all commits (SEM-9)."""
    create_time: datetime = time()
    update_time: datetime = time()
    revision: int = 1


class CollectionChangeRow(Table, table=True):
    """A change of the name of a collection; never changed, never deleted."""

    __tablename__ = "collection_change"
    collection_id: int = ref("collection.id", primary_key=True)
    ordinal: int = Field(primary_key=True)
    """Counts the changes of one collection, from 1."""
    from_collection: str
    """The whole resource name."""
    to_collection: str
    change_time: datetime = time()
    actor: str
