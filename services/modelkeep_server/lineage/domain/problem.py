"""Problems that a check of the database found (RELIABILITY §1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ProblemKind(StrEnum):
    """What a check may find."""

    POINTS_WRONG = "points wrong"
    VALUES_WRONG = "values wrong"
    POINTS_LEFT = "points left"
    """Of a deleted run: they only take space."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a check found."""

    kind: ProblemKind
    what: str
    """The run, or the metric of a run."""
    detail: str

    @property
    def breaks_invariant(self) -> bool:
        """Whether an answer is wrong for it; else it only takes space."""
        return self.kind is not ProblemKind.POINTS_LEFT
