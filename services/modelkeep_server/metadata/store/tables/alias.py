"""Rows of aliases and their history."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index
from sqlmodel import Field

from modelkeep_server.database.tables import ref, text_field, time
from modelkeep_server.metadata.store.tables.base import Table


class AliasRow(Table, table=True):
    """An alias. Without a version it is deleted; the row stays, because `seq` never falls (SEM-16)."""

    __tablename__ = "alias"
    __table_args__ = (Index("ix_alias_version_id", "version_id"),)
    collection_id: int = ref("collection.id", primary_key=True)
    alias: str = Field(primary_key=True)
    version_id: int | None = ref("version.id", nullable=True)
    seq: int = Field(sa_type=BigInteger)
    update_time: datetime = time()
    actor: str
    reason: str = text_field()


class AliasChangeRow(Table, table=True):
    """One line of the history of an alias; never changed, never deleted."""

    __tablename__ = "alias_change"
    __table_args__ = (Index("ix_alias_change_collection_id_change_time", "collection_id", "change_time", "alias"),)
    collection_id: int = ref("collection.id", primary_key=True)
    alias: str = Field(primary_key=True)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    from_version_id: int | None = ref("version.id", nullable=True)
    to_version_id: int | None = ref("version.id", nullable=True)
    change_time: datetime = time()
    actor: str
    reason: str = text_field()
