"""Rows of drafts."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Field

from modelkeep_server.database.tables import ref, text_field, time
from modelkeep_server.metadata.store.tables.base import Table


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
        Index("ix_draft_project_id_create_time_id", "project_id", "create_time", "id"),
        # The writers of one version meet in one draft, and its id is taken for ever (SEM-42).
        UniqueConstraint("collection_id", "distributed_id"),
    )
    id: str = Field(primary_key=True)
    project_id: int = ref("project.id")
    collection_id: int = ref("collection.id")
    type: str
    state: str
    """A name of domain.draft.DraftState."""
    creator: str
    create_time: datetime = time()
    expire_time: datetime = time()
    entry_count: int = Field(default=0, sa_type=BigInteger)
    """Those of its base included."""
    revision: int = Field(default=0, sa_type=BigInteger)
    """Rises whenever its entries change, so that a seal of what they were before is noticed."""
    manifest: bytes | None = Field(default=None, sa_type=LargeBinary, foreign_key="manifest.layout")
    """Set once the draft is sealed; taken back when its entries change."""
    commit_fingerprint: bytes | None = Field(default=None, sa_type=LargeBinary)
    """Of the body that committed it, so that the same body gets the same answer (SEM-14)."""
    version_id: int | None = ref("version.id", nullable=True)
    deduplicated: bool = False
    ignored_fields: str = text_field()
    """A JSON list: the answer to the commit."""
    comparison: str = text_field()
    """What the commit compared, as JSON; empty when it was not to be better than anything."""
    is_swept: bool = False
    """True once the draft has ended and its entries are dropped."""
    base_manifest: bytes | None = Field(default=None, sa_type=LargeBinary, foreign_key="manifest.layout")
    """The manifest that the draft began with; its foreign key keeps it, whatever becomes of the version."""
    base: str = ""
    """The version of that manifest, by the name that it had then."""
    distributed_id: str | None = None


class DraftEntryRow(Table, table=True):
    """An entry of a draft that is in none of its runs, or that changes what they and the base have, in byte order of path.

    Its row appears when the entry is complete, never before. A path that ends with a slash takes all out that the runs and the
    base have under that folder.
    """

    __tablename__ = "draft_entry"
    draft_id: str = Field(primary_key=True, foreign_key="draft.id")
    path: bytes = Field(primary_key=True, sa_type=LargeBinary)
    line: bytes = Field(sa_type=LargeBinary)
    """Its form in a page of a manifest; empty where the draft takes the entry out of its base or its runs."""


class DraftPageRow(Table, table=True):
    """Which pages a draft has written so far. Its foreign key keeps them until the manifest names them.

    A run is a page of entries that came in order, where the draft had none before: the paths of runs never overlap.
    """

    __tablename__ = "draft_page"
    __table_args__ = (
        Index("ix_draft_page_page", "page"),
        Index("ix_draft_page_draft_id_last_path", "draft_id", "last_path"),
    )
    draft_id: str = Field(primary_key=True, foreign_key="draft.id")
    page: bytes = Field(primary_key=True, sa_type=LargeBinary, foreign_key="page.digest")
    first_path: bytes | None = Field(default=None, sa_type=LargeBinary)
    """Set, as the two after it, when the page is a run."""
    last_path: bytes | None = Field(default=None, sa_type=LargeBinary)
    entry_count: int | None = None
