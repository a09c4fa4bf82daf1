"""The metadata service as a dictionary: what a collection must be after any line of calls."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path

from hypothesis import strategies as st
from modelkeep_server.database.engine import Database

from tests.unit.metadata.rig import Rig

HOURS = 13
"""A step of the clock: never exactly the life of a draft (24), nor the time to restore (168)."""

ALIASES = st.sampled_from(["best", "production", "ünïcode x"])
PATHS = st.sampled_from(["a", "b/c", "b-c"])
DATA = st.sampled_from([b"", b"one", b"two"])
NUMBERS = st.sampled_from([0, 1, 0, 1, 2, 3])

Content = frozenset[tuple[str, bytes]]


@dataclass
class ModelVersion:
    """A version."""

    content: Content
    tags: set[str] = field(default_factory=set)
    runs: set[str] = field(default_factory=set)
    deleted_hours: int | None = None
    """By the clock of the test, when it was deleted."""

    @property
    def is_live(self) -> bool:
        return self.deleted_hours is None


@dataclass
class ModelDraft:
    """A draft."""

    files: dict[str, bytes] = field(default_factory=dict)
    touched_hours: int = 0
    committed_as: int | None = None
    is_aborted: bool = False


@dataclass(frozen=True)
class Snapshot:
    """How things stood at a moment."""

    moment: datetime
    aliases: Mapping[str, int]
    latest: int | None


@dataclass
class ModelCollection:
    """A collection."""

    versions: list[ModelVersion] = field(default_factory=list)
    """By number; numbers are never given twice."""
    aliases: dict[str, int] = field(default_factory=dict)
    seqs: dict[str, int] = field(default_factory=dict)
    changes: list[tuple[str, int | None, int | None]] = field(default_factory=list)
    """The history of all aliases: which, from, to."""

    @property
    def latest(self) -> int | None:
        return max((number for number, version in enumerate(self.versions) if version.is_live), default=None)

    def target(self, content: Content) -> int | None:
        """The live version that has this content."""
        live = (number for number, version in enumerate(self.versions) if version.is_live and version.content == content)
        return next(live, None)

    def commit(self, content: Content, aliases: set[str], tags: set[str]) -> tuple[int, bool]:
        """The number that a commit answers with, and whether the content was there already (SEM-9, 11)."""
        number = self.target(content)
        deduplicated = number is not None
        if number is None:
            number = len(self.versions)
            self.versions.append(ModelVersion(content, set(tags)))
        for alias in sorted(aliases):
            self.move(alias, number)
        return number, deduplicated

    def move(self, alias: str, number: int | None) -> None:
        """Point an alias elsewhere; a set to where it points is no change."""
        before = self.aliases.get(alias)
        if before == number:
            return
        self.changes.append((alias, before, number))
        self.seqs[alias] = self.seqs.get(alias, 0) + 1
        if number is None:
            del self.aliases[alias]
        else:
            self.aliases[alias] = number

    def names_of(self, number: int) -> tuple[str, ...]:
        """All aliases that a version shows."""
        own = [alias for alias, to in self.aliases.items() if to == number]
        return tuple(sorted([*own, "latest"] if number == self.latest else own))


@cache
def template() -> Path:
    """An empty database, made once."""
    path = Path(tempfile.mkdtemp(prefix="mk-model-")) / "empty.sqlite"

    async def make() -> None:
        database = Database(f"sqlite:///{path}")
        await Rig(database).start()
        await database.close()

    asyncio.run(make())
    return path


def number_of(version: str) -> int | None:
    """The number of a version, by its resource name."""
    return int(version.rpartition("/v")[2]) if version else None
