"""What a check of the whole database reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from modelkeep.digest import Digest
from modelkeep.names import TeamName

from modelkeep_server.metadata.domain.manifest import Manifest
from modelkeep_server.metadata.domain.problem import Problem


class Audit(Protocol):
    """Everything in the database, a bounded amount at a time."""

    async def contradictions(self) -> Sequence[Problem]:
        """Rows that contradict each other; of each kind at most the first 1,000."""
        ...

    async def values(self, after: str, limit: int) -> tuple[Sequence[Problem], str]:
        """Which of the next versions, by uid, are not found by their metadata; and the last uid, empty at the end."""
        ...

    async def manifests(self, after: Digest | None, limit: int) -> Sequence[Manifest]:
        """The next manifests, by layout, that a version or a draft points to."""
        ...

    async def contents(self, after: tuple[str, Digest] | None, limit: int) -> Sequence[tuple[TeamName, Digest]]:
        """The next pairs of a team and a layout that a live or restorable version of that team has."""
        ...
