"""Collections: all versions of one thing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from modelkeep.names import CollectionName, VersionName

from modelkeep_server.metadata.domain.rule import Rule


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection: one name, one type, and a numbered line of versions."""

    name: CollectionName
    type: str
    description: str
    latest_version: VersionName | None
    version_count: int
    """How many versions are live."""
    create_time: datetime
    update_time: datetime
    etag: str
    uid: str = ""
    """Outlives its names; empty only in an answer that was remembered before collections had one."""


@dataclass(frozen=True, slots=True)
class Locked:
    """A collection in which nobody else writes until the transaction ends."""

    name: CollectionName
    uid: str
    rules: tuple[Rule, ...]
    """Which of its aliases nobody sets by hand."""


@dataclass(frozen=True, slots=True)
class CollectionChange:
    """A change of the name of a collection."""

    from_collection: str
    to_collection: str
    change_time: datetime
    actor: str
