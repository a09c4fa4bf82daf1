"""Events: what happened in a project (SEM-58). Each class below is one kind; its fields are those of the proto message.

A field with a default came later: it is empty in events that were written before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from modelkeep.names import ProjectName


@dataclass(frozen=True, slots=True)
class ProjectCreated:
    """The project was made."""


@dataclass(frozen=True, slots=True)
class CollectionCreated:
    """A collection was made."""

    collection: str
    type: str
    collection_uid: str = ""


@dataclass(frozen=True, slots=True)
class CollectionRenamed:
    """A collection got another name."""

    collection: str
    old_collection: str
    collection_uid: str = ""


@dataclass(frozen=True, slots=True)
class CollectionUpdated:
    """A collection's description or type was edited."""

    collection: str
    type: str
    collection_uid: str = ""


@dataclass(frozen=True, slots=True)
class VersionCommitted:
    """A run produced a version: a new one, or one whose content was there already."""

    version: str
    version_uid: str
    digest: str
    type: str
    deduplicated: bool
    run: str
    run_display_name: str
    origin_uid: str = ""
    collection_uid: str = ""


@dataclass(frozen=True, slots=True)
class VersionUpdated:
    """The words or tags of a version were edited."""

    version: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VersionDeleted:
    """A version was deleted."""

    version: str
    version_uid: str
    reason: str


@dataclass(frozen=True, slots=True)
class VersionRestored:
    """A version was restored."""

    version: str
    version_uid: str


@dataclass(frozen=True, slots=True)
class AliasMoved:
    """An alias was set, moved or deleted."""

    alias: str
    seq: int
    from_version: str
    to_version: str
    reason: str
    collection_uid: str = ""


@dataclass(frozen=True, slots=True)
class VersionUsed:
    """A run used a version."""

    version: str
    version_uid: str
    run: str
    run_display_name: str
    alias_text: str


@dataclass(frozen=True, slots=True)
class VersionSigned:
    """A version was signed."""

    version: str
    version_uid: str
    key_id: str


Happening = (
    ProjectCreated
    | CollectionCreated
    | CollectionRenamed
    | CollectionUpdated
    | VersionCommitted
    | VersionUpdated
    | VersionDeleted
    | VersionRestored
    | AliasMoved
    | VersionUsed
    | VersionSigned
)
"""What can happen."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, with its place in the project's log."""

    uid: str
    project: ProjectName
    sequence: int
    """1, 2, 3, … in its project, without a gap."""
    event_time: datetime
    actor: str
    happening: Happening


@dataclass(frozen=True, slots=True)
class EventHead:
    """How far the event log of a project goes."""

    project: ProjectName
    sequence: int
