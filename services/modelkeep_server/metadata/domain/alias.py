"""Aliases: names that point to one version, and the history of where they pointed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from modelkeep.names import AliasName, VersionName


@dataclass(frozen=True, slots=True)
class Alias:
    """An alias and where it points; without a version it was deleted."""

    name: AliasName
    version: VersionName | None
    seq: int
    """Rises with each set, move and delete, and never falls (SEM-16)."""
    update_time: datetime
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class AliasChange:
    """One line of the history of an alias."""

    alias: AliasName
    seq: int
    from_version: VersionName | None
    to_version: VersionName | None
    change_time: datetime
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class AliasMove:
    """One wish of a batch: set, move or delete (without a version) an alias, if an expectation holds (SEM-17)."""

    alias: str
    version: VersionName | None
    expected_version: VersionName | None = None
    must_not_exist: bool = False
