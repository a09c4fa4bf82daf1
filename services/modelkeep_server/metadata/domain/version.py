"""Versions: immutable content with editable words around it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from modelkeep.address import format_moment
from modelkeep.digest import Digest
from modelkeep.errors import VersionDeleted
from modelkeep.names import VersionName


class VersionState(Enum):
    """Where a version stands (SEM-8)."""

    COMMITTED = "committed"
    DELETED = "deleted"
    PURGED = "purged"


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is left of a deleted version (SEM-40)."""

    actor: str
    reason: str
    delete_time: datetime
    purge_time: datetime
    """Until when it can be restored (SEM-44)."""

    def error(self, version: VersionName) -> VersionDeleted:
        """What a call that needs the version is answered (SEM-40)."""
        why = f": {self.reason}" if self.reason else ""
        message = (
            f"{version.short} was deleted on {format_moment(self.delete_time)} by {self.actor}{why}; "
            f"it can be restored until {format_moment(self.purge_time)}"
        )
        return VersionDeleted(
            message,
            version=str(version),
            actor=self.actor,
            reason=self.reason,
            delete_time=format_moment(self.delete_time),
            purge_time=format_moment(self.purge_time),
        )


@dataclass(frozen=True, slots=True)
class UseSummary:
    """Who used a version, in short (SEM-39)."""

    run_count: int = 0
    first_use_time: datetime | None = None
    last_use_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """The version that a version was copied from."""

    version: str
    """By the name that it had then."""
    version_uid: str


@dataclass(frozen=True, slots=True)
class Version:
    """A version. Its content never changes; its words, tags and aliases may (SEM-15)."""

    name: VersionName
    uid: str
    state: VersionState
    digest: Digest
    layout: Digest
    """Names its manifest: which pages, in which order. Never leaves the service."""
    type: str
    description: str
    notes: str
    metadata_json: str
    tags: tuple[str, ...]
    aliases: tuple[str, ...]
    """Sorted; with `latest` when this is the highest live version (SEM-18)."""
    entry_count: int
    stored_bytes: int
    referenced_bytes: int
    create_time: datetime
    update_time: datetime
    verified_time: datetime | None
    creator: str
    run: str
    run_display_name: str
    etag: str
    tombstone: Tombstone | None
    uses: UseSummary
    origin: Origin | None = None
    """Where it was copied from; None when it was logged here."""
    collection_uid: str = ""
    """Never leaves the service but in events; empty only in an answer that was remembered before collections had one."""


@dataclass(frozen=True, slots=True)
class Words:
    """New values for the words of a version; None leaves a value as it is."""

    description: str | None = None
    notes: str | None = None
    metadata_json: str | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of what changes."""
        return tuple(name for name in ("description", "notes", "metadata_json") if getattr(self, name) is not None)


@dataclass(frozen=True, slots=True)
class Twin:
    """A live version with the digest of a manifest that is about to be committed."""

    name: VersionName
    is_target: bool
    is_verified: bool
    reads_the_same: bool
    """Whether its entries have the same segments."""

    @property
    def counts(self) -> bool:
        """Whether a commit is answered with it: a claim counts only if the same bytes stand behind it (SEM-24)."""
        return self.reads_the_same or (self.is_target and self.is_verified)
