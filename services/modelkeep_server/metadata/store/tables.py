"""The tables of the metadata service.

Times are microseconds by the database's clock. Internal ids never leave the store. A row that must outlive its meaning stays:
an alias that was deleted keeps its row, so that `seq` never falls (SEM-16); a deleted version keeps its tombstone (SEM-40).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, MetaData, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from modelkeep_server.database.clock import Micros

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows only in a column that is literally INTEGER.
_Id = BigInteger().with_variant(Integer(), "sqlite")


class Table(SQLModel):
    """The parent of all rows; keeps them out of the global registry of sqlmodel."""

    metadata: ClassVar[MetaData] = metadata


def _id() -> Any:
    return Field(default=None, primary_key=True, sa_type=_Id)


def _ref(column: str, *, primary_key: bool = False, nullable: bool = False, index: bool = False) -> Any:
    return Field(
        default=None if nullable else ...,
        primary_key=primary_key,
        nullable=nullable,
        index=index,
        sa_type=BigInteger,
        sa_column_args=[ForeignKey(column)],
    )


def _time(*, nullable: bool = False) -> Any:
    return Field(default=None if nullable else ..., sa_type=Micros, nullable=nullable)


def _text() -> Any:
    return Field(default="", sa_type=Text)


class TeamRow(Table, table=True):
    """A team."""

    __tablename__ = "team"
    name: str = Field(primary_key=True)
    create_time: datetime = _time()


class ApiKeyRow(Table, table=True):
    """An API key: of a team, or of a service. Only the hash of its secret is here."""

    __tablename__ = "api_key"
    __table_args__ = (Index("ix_api_key_team_create_time_id", "team", "create_time", "id"),)
    id: str = Field(primary_key=True)
    team: str | None = Field(default=None, foreign_key="team.name")
    service: str = ""
    secret_hash: bytes = Field(sa_type=LargeBinary)
    display_name: str = _text()
    role: int | None = None
    readable_teams: str = _text()
    """A JSON list of team names."""
    create_time: datetime = _time()
    expire_time: datetime | None = _time(nullable=True)
    revoke_time: datetime | None = _time(nullable=True)


class ProjectRow(Table, table=True):
    """A project, and the counter of its event log."""

    __tablename__ = "project"
    __table_args__ = (UniqueConstraint("team", "name"),)
    id: int | None = _id()
    team: str = Field(foreign_key="team.name")
    name: str
    description: str = _text()
    create_time: datetime = _time()
    update_time: datetime = _time()
    revision: int = 1
    """Rises with each edit; the etag is its text."""
    event_sequence: int = Field(default=0, sa_type=BigInteger)
    """The last event's number; updated as the last statement of a transaction (SEM-58)."""


class CollectionRow(Table, table=True):
    """A collection, and the counter of its versions."""

    __tablename__ = "collection"
    __table_args__ = (
        UniqueConstraint("project_id", "name"),
        Index("ix_collection_project_id_type_name", "project_id", "type", "name"),
    )
    id: int | None = _id()
    project_id: int = _ref("project.id")
    name: str
    type: str
    description: str = _text()
    next_index: int = 0
    """The number of the next version; its row lock orders all commits (SEM-9)."""
    create_time: datetime = _time()
    update_time: datetime = _time()
    revision: int = 1


class PageRow(Table, table=True):
    """A page of a manifest, or of the segments of one long entry; named by the digest of its bytes, shared by versions."""

    __tablename__ = "page"
    digest: bytes = Field(primary_key=True, sa_type=LargeBinary)
    data: bytes = Field(sa_type=LargeBinary)


class ManifestRow(Table, table=True):
    """A sealed manifest, named by the digest of its layout (which pages, in which order); versions and drafts point to it."""

    __tablename__ = "manifest"
    layout: bytes = Field(primary_key=True, sa_type=LargeBinary)
    digest: bytes = Field(sa_type=LargeBinary)
    """The version digest: over entries, not over layout (SEM-10)."""
    segments_digest: bytes = Field(sa_type=LargeBinary)
    """Over the segments of all entries: tells whether two manifests of one digest read the same bytes (SEM-24)."""
    entry_count: int = Field(sa_type=BigInteger)
    stored_bytes: int = Field(sa_type=BigInteger)
    referenced_bytes: int = Field(sa_type=BigInteger)
    create_time: datetime = _time()


class ManifestPageRow(Table, table=True):
    """Which entry pages a manifest has. Its foreign key keeps a page that is in use from being collected."""

    __tablename__ = "manifest_page"
    __table_args__ = (Index("ix_manifest_page_page", "page"),)
    manifest: bytes = Field(primary_key=True, sa_type=LargeBinary, foreign_key="manifest.layout")
    ordinal: int = Field(primary_key=True)
    page: bytes = Field(sa_type=LargeBinary, foreign_key="page.digest")
    first_path: bytes = Field(sa_type=LargeBinary)
    """In byte order, so that a folder or a position is found without reading all pages."""
    last_path: bytes = Field(sa_type=LargeBinary)
    entry_count: int


class ManifestSegmentPageRow(Table, table=True):
    """Which segment pages the long entries of a manifest need."""

    __tablename__ = "manifest_segment_page"
    __table_args__ = (Index("ix_manifest_segment_page_page", "page"),)
    manifest: bytes = Field(primary_key=True, sa_type=LargeBinary, foreign_key="manifest.layout")
    page: bytes = Field(primary_key=True, sa_type=LargeBinary, foreign_key="page.digest")


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
    )
    id: int | None = _id()
    uid: str = Field(unique=True)
    collection_id: int = _ref("collection.id")
    number: int
    state: str
    """A name of domain.version.VersionState."""
    digest: bytes = Field(sa_type=LargeBinary)
    manifest: bytes = Field(sa_type=LargeBinary, foreign_key="manifest.layout")
    is_target: bool
    """True only while COMMITTED and the target of dedup (SEM-13)."""
    description: str = _text()
    notes: str = _text()
    metadata_json: str = Field(default="{}", sa_type=Text)
    creator: str
    run: str = ""
    run_display_name: str = _text()
    create_time: datetime = _time()
    update_time: datetime = _time()
    verified_time: datetime | None = _time(nullable=True)
    revision: int = 1
    delete_actor: str = ""
    delete_reason: str = _text()
    delete_time: datetime | None = _time(nullable=True)
    purge_time: datetime | None = _time(nullable=True)
    use_count: int = 0
    """How many runs used it."""
    first_use_time: datetime | None = _time(nullable=True)
    last_use_time: datetime | None = _time(nullable=True)


class VersionAbsenceRow(Table, table=True):
    """A time during which a version was deleted; tells what `latest` was as of a moment (SEM-18)."""

    __tablename__ = "version_absence"
    version_id: int = _ref("version.id", primary_key=True)
    from_time: datetime = Field(primary_key=True, sa_type=Micros)
    to_time: datetime | None = _time(nullable=True)


class TagRow(Table, table=True):
    """A tag on a version."""

    __tablename__ = "version_tag"
    __table_args__ = (Index("ix_version_tag_tag_version_id", "tag", "version_id"),)
    version_id: int = _ref("version.id", primary_key=True)
    tag: str = Field(primary_key=True)


class AliasRow(Table, table=True):
    """An alias. Without a version it is deleted; the row stays, because `seq` never falls (SEM-16)."""

    __tablename__ = "alias"
    __table_args__ = (Index("ix_alias_version_id", "version_id"),)
    collection_id: int = _ref("collection.id", primary_key=True)
    alias: str = Field(primary_key=True)
    version_id: int | None = _ref("version.id", nullable=True)
    seq: int = Field(sa_type=BigInteger)
    update_time: datetime = _time()
    actor: str
    reason: str = _text()


class AliasChangeRow(Table, table=True):
    """One line of the history of an alias; never changed, never deleted."""

    __tablename__ = "alias_change"
    __table_args__ = (Index("ix_alias_change_collection_id_change_time", "collection_id", "change_time", "alias"),)
    collection_id: int = _ref("collection.id", primary_key=True)
    alias: str = Field(primary_key=True)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    from_version_id: int | None = _ref("version.id", nullable=True)
    to_version_id: int | None = _ref("version.id", nullable=True)
    change_time: datetime = _time()
    actor: str
    reason: str = _text()


class UseRow(Table, table=True):
    """A run used a version (SEM-39)."""

    __tablename__ = "version_use"
    version_id: int = _ref("version.id", primary_key=True)
    run: str = Field(primary_key=True)
    run_display_name: str = _text()
    alias_text: str = _text()
    first_time: datetime = _time()
    actor: str


class DraftRow(Table, table=True):
    """A draft. What expired is judged by the clock in the query: an OPEN row past its time counts as EXPIRED (SEM-8)."""

    __tablename__ = "draft"
    __table_args__ = (
        Index(
            "ix_draft_expire_time_unswept",
            "expire_time",
            sqlite_where=text("is_swept = 0"),
            postgresql_where=text("NOT is_swept"),
        ),
    )
    id: str = Field(primary_key=True)
    project_id: int = _ref("project.id")
    collection_id: int = _ref("collection.id")
    type: str
    state: str
    """A name of domain.draft.DraftState."""
    creator: str
    create_time: datetime = _time()
    expire_time: datetime = _time()
    entry_count: int = Field(default=0, sa_type=BigInteger)
    """Entries are only ever added, so this also tells whether a seal is still right."""
    manifest: bytes | None = Field(default=None, sa_type=LargeBinary, foreign_key="manifest.layout")
    """Set once the draft is sealed; taken back when more entries come."""
    commit_fingerprint: bytes | None = Field(default=None, sa_type=LargeBinary)
    """Of the body that committed it, so that the same body gets the same answer (SEM-14)."""
    version_id: int | None = _ref("version.id", nullable=True)
    deduplicated: bool = False
    ignored_fields: str = _text()
    """A JSON list: the answer to the commit."""
    is_swept: bool = False
    """True once the draft has ended and its entries are dropped."""


class DraftEntryRow(Table, table=True):
    """An entry of a draft, in byte order of path. Its row appears when the entry is complete, never before."""

    __tablename__ = "draft_entry"
    draft_id: str = Field(primary_key=True, foreign_key="draft.id")
    path: bytes = Field(primary_key=True, sa_type=LargeBinary)
    line: bytes = Field(sa_type=LargeBinary)
    """Its form in a page of a manifest."""


class DraftPageRow(Table, table=True):
    """Which pages a draft has written so far. Its foreign key keeps them until the manifest names them."""

    __tablename__ = "draft_page"
    __table_args__ = (Index("ix_draft_page_page", "page"),)
    draft_id: str = Field(primary_key=True, foreign_key="draft.id")
    page: bytes = Field(primary_key=True, sa_type=LargeBinary, foreign_key="page.digest")


class EventRow(Table, table=True):
    """An event, written in the transaction that caused it."""

    __tablename__ = "event"
    project_id: int = _ref("project.id", primary_key=True)
    sequence: int = Field(primary_key=True, sa_type=BigInteger)
    uid: str
    event_time: datetime = _time()
    actor: str
    kind: str
    """The name of a class in domain.event."""
    payload: str = Field(sa_type=Text)
    """The fields of that class, as JSON."""


class RequestRow(Table, table=True):
    """What a successful call answered, for when it is repeated (SEM-14)."""

    __tablename__ = "request"
    __table_args__ = (Index("ix_request_expire_time", "expire_time"),)
    team: str = Field(primary_key=True)
    method: str = Field(primary_key=True)
    request_id: str = Field(primary_key=True)
    fingerprint: bytes = Field(sa_type=LargeBinary)
    """Of the body of the call."""
    answer: str = Field(sa_type=Text)
    expire_time: datetime = _time()


class FenceRow(Table, table=True):
    """The one row `gc_epoch`: which collection has begun (RELIABILITY §2.4)."""

    __tablename__ = "fence"
    id: int = Field(primary_key=True)
    gc_epoch: int = Field(sa_type=BigInteger)
