"""Rows of manifests and their pages."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, LargeBinary
from sqlmodel import Field

from modelkeep_server.database.tables import time
from modelkeep_server.metadata.store.tables.base import Table


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
    create_time: datetime = time()


class ManifestPageRow(Table, table=True):
    """Which entry pages a manifest has. Its foreign key keeps a page that is in use from being collected."""

    __tablename__ = "manifest_page"
    __table_args__ = (
        Index("ix_manifest_page_page", "page"),
        Index("ix_manifest_page_manifest_last_path", "manifest", "last_path"),
    )
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
