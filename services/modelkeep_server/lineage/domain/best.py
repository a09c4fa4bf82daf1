"""The best run by one number of its summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelkeep_server.lineage.domain.graph import Link
from modelkeep_server.lineage.domain.run import Run


@dataclass(frozen=True, slots=True)
class Best:
    """A run that is better than all others, by one number."""

    run: Run
    value: float
    produced: Sequence[Link]
    """The newest first; at most 100."""
