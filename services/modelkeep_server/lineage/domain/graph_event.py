"""What the events of metadata say about the graph. Events that say nothing about it are only counted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from modelkeep.names import AliasName, CollectionName, RunName, VersionName


@dataclass(frozen=True, slots=True)
class CollectionSeen:
    """A collection was made, renamed, moved, or got another type."""

    uid: str
    """Empty in logs of old releases."""
    name: CollectionName
    old_name: CollectionName | None = None
    """Of a rename: its name before."""
    type: str | None = None
    """None where the event does not tell it."""


@dataclass(frozen=True, slots=True)
class RunSeen:
    """A run, as an event names it."""

    name: RunName
    display_name: str = ""


@dataclass(frozen=True, slots=True)
class VersionMade:
    """A run produced a version; or somebody logged or copied it without a run."""

    name: VersionName
    uid: str
    collection_uid: str
    """Empty in logs of old releases."""
    type: str
    digest: str
    deduplicated: bool = False
    run: RunSeen | None = None
    origin_uid: str = ""


@dataclass(frozen=True, slots=True)
class VersionTaken:
    """A run used a version."""

    name: VersionName
    uid: str
    run: RunSeen
    alias_text: str = ""


@dataclass(frozen=True, slots=True)
class VersionState:
    """A version was deleted or restored."""

    name: VersionName
    uid: str
    is_deleted: bool


@dataclass(frozen=True, slots=True)
class AliasSet:
    """An alias was set, moved or deleted."""

    name: AliasName
    collection_uid: str
    """Empty in logs of old releases."""
    seq: int
    number: int | None
    """Where it points after; None when it was deleted."""


Fact = CollectionSeen | VersionMade | VersionTaken | VersionState | AliasSet


@dataclass(frozen=True, slots=True)
class GraphEvent:
    """An event, as far as the graph is concerned."""

    sequence: int
    time: datetime
    fact: Fact | None
