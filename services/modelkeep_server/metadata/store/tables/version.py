"""Rows of versions, and of what people say of them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, LargeBinary, Text, UniqueConstraint, text
from sqlmodel import Field

from modelkeep_server.database.clock import Micros
from modelkeep_server.database.tables import id_field, ref, text_field, time
from modelkeep_server.metadata.store.tables.base import Table


class VersionRow(Table, table=True):
    """A version: its content by manifest, and the editable words around it."""

    __tablename__ = "version"
    __table_args__ = (
        UniqueConstraint("collection_id", "number"),
        # At most one live version per digest and collection is the target of dedup (SEM-13).
        Index(
            "uq_version_dedup_target",
            "collection_id",
            "digest",
            unique=True,
            sqlite_where=text("is_target = 1"),
            postgresql_where=text("is_target"),
        ),
        Index("ix_version_collection_id_state_number", "collection_id", "state", "number"),
        Index("ix_version_collection_id_digest", "collection_id", "digest"),
        Index("ix_version_manifest", "manifest"),
        Index("ix_version_create_time_uid", "create_time", "uid"),
    )
    id: int | None = id_field()
    uid: str = Field(unique=True)
    collection_id: int = ref("collection.id")
    number: int
    state: str
    """A name of domain.version.VersionState."""
    digest: bytes = Field(sa_type=LargeBinary)
    manifest: bytes = Field(sa_type=LargeBinary, foreign_key="manifest.layout")
    is_target: bool
    """True only while COMMITTED and the target of dedup (SEM-13)."""
    description: str = text_field()
    notes: str = text_field()
    metadata_json: str = Field(default="{}", sa_type=Text)
    creator: str
    run: str = ""
    run_display_name: str = text_field()
    create_time: datetime = time()
    update_time: datetime = time()
    verified_time: datetime | None = time(nullable=True)
    revision: int = 1
    delete_actor: str = ""
    delete_reason: str = text_field()
    delete_time: datetime | None = time(nullable=True)
    purge_time: datetime | None = time(nullable=True)
    use_count: int = 0
    """How many runs used it."""
    first_use_time: datetime | None = time(nullable=True)
    last_use_time: datetime | None = time(nullable=True)
    origin: str = ""
    """The version it was copied from, by the name that it had then; empty when it was logged here."""
    origin_uid: str = ""


class VersionAbsenceRow(Table, table=True):
    """A time during which a version was deleted; tells what `latest` was as of a moment (SEM-18)."""

    __tablename__ = "version_absence"
    version_id: int = ref("version.id", primary_key=True)
    from_time: datetime = Field(primary_key=True, sa_type=Micros)
    to_time: datetime | None = time(nullable=True)


class TagRow(Table, table=True):
    """A tag on a version."""

    __tablename__ = "version_tag"
    __table_args__ = (Index("ix_version_tag_tag_version_id", "tag", "version_id"),)
    version_id: int = ref("version.id", primary_key=True)
    tag: str = Field(primary_key=True)


class UseRow(Table, table=True):
    """A run used a version (SEM-39)."""

    __tablename__ = "version_use"
    version_id: int = ref("version.id", primary_key=True)
    run: str = Field(primary_key=True)
    run_display_name: str = text_field()
    alias_text: str = text_field()
    first_time: datetime = time()
    actor: str
