"""Drafts: versions in the making, and the body that commits one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import Enum

from modelkeep.names import CollectionName, DraftName, RunName, VersionName

from modelkeep_server.metadata.domain.version import Version


class DraftState(Enum):
    """Where a draft stands (SEM-8)."""

    OPEN = "open"
    COMMITTED = "committed"
    ABORTED = "aborted"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft collects the entries of a version until it is committed or ends."""

    name: DraftName
    collection: CollectionName
    type: str
    state: DraftState
    create_time: datetime
    expire_time: datetime
    version: VersionName | None
    """What it became."""


@dataclass(frozen=True, slots=True)
class Commit:
    """The body of a commit: the words around the new version, and what points to it. Checked on entry."""

    aliases: tuple[str, ...] = ()
    """Without `latest`, which moves by itself; sorted, each once."""
    tags: tuple[str, ...] = ()
    description: str = ""
    notes: str = ""
    metadata_json: str = "{}"
    """In the one form that `modelkeep.metadata.encode` gives it."""
    run: RunName | None = None
    run_display_name: str = ""

    @property
    def fingerprint(self) -> bytes:
        """The same for the same body: a draft commits once (SEM-14)."""
        body = asdict(self) | {"run": str(self.run or "")}
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()

    @property
    def words(self) -> tuple[str, ...]:
        """Which fields a deduplicated version will not take over (SEM-11)."""
        given = {
            "tags": self.tags,
            "description": self.description,
            "notes": self.notes,
            "metadata_json": self.metadata_json if self.metadata_json != "{}" else "",
        }
        return tuple(field for field, value in given.items() if value)


@dataclass(frozen=True, slots=True)
class Committed:
    """The answer to a commit."""

    version: Version
    deduplicated: bool
    ignored_fields: tuple[str, ...]
