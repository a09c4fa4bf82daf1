"""What a check of the whole database reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from modelkeep_server.lineage.domain.problem import Problem


class Audit(Protocol):
    """Looks for what does not fit together."""

    async def points(self) -> Sequence[Problem]:
        """Metrics that do not have as many points as they say, and what is left of deleted runs; the first 1,000 of each."""
        ...

    async def values(self, after: int) -> tuple[Sequence[Problem], int]:
        """Runs of a batch that are not found by what their config and summary say, and where the next begins; 0 for none."""
        ...
