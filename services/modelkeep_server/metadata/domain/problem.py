"""Problems: broken invariants that a check of the database found (RELIABILITY §1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ProblemKind(StrEnum):
    """What a check may find. Each breaks an invariant."""

    PAGE_WRONG = "page wrong"
    MANIFEST_WRONG = "manifest wrong"
    NUMBER_WRONG = "number wrong"
    TARGET_WRONG = "target wrong"
    ABSENCE_WRONG = "absence wrong"
    ALIAS_WRONG = "alias wrong"
    EVENTS_WRONG = "events wrong"
    USES_WRONG = "uses wrong"
    VALUES_WRONG = "values wrong"
    CHUNK_MISSING = "chunk missing"
    CHUNK_TOO_SMALL = "chunk too small"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a check found."""

    kind: ProblemKind
    what: str
    """The page, manifest, collection, version, alias, project or chunk in question."""
    detail: str
