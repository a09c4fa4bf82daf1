"""The settings of the metadata service."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class MetadataSettings(BaseModel):
    """Where names and versions are kept, and the limits of the service."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    database_url: str = "sqlite:///./.modelkeep/metadata.sqlite"
    """The database: `sqlite:///relative/file`, `sqlite:////absolute/file` or `postgresql://user:password@host/database`."""
    database_pool_size: int = Field(default=10, ge=1, le=1000)
    """Most connections to the database; each transaction takes one, and further ones wait."""
    draft_hours: int = Field(default=24, ge=1, le=24 * 30)
    """How long an open draft lives after entries last came, or its commit last went on."""
    restore_days: int = Field(default=7, ge=0, le=3650)
    """How long a deleted version can be restored."""
    max_entries: int = Field(default=10_000_000, ge=1)
    """Most entries in one version."""
    max_entries_per_message: int = Field(default=1000, ge=1, le=10_000)
    """Most entries in one message of AddEntries."""
    max_segments_per_message: int = Field(default=20_000, ge=1, le=50_000)
    """Most segments in one message of AddEntries, over all its entries."""
    max_aliases: int = Field(default=100, ge=1, le=1000)
    """Most aliases in one call."""
    max_tags: int = Field(default=100, ge=1, le=1000)
    """Most tags on one version."""
    max_signatures: int = Field(default=100, ge=1, le=1000)
    """Most signatures on one version."""
    max_watches: int = Field(default=10_000, ge=1)
    """Most streams that watch an alias, of one process; they do not count as calls."""
    watch_seconds: float = Field(default=1.0, gt=0, le=20)
    """How often the event log is read for those who watch; moves by the same process reach them at once."""
