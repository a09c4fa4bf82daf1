"""Uses: a run used a version."""

from __future__ import annotations

from dataclasses import dataclass

from modelkeep.names import RunName


@dataclass(frozen=True, slots=True)
class Use:
    """What a run says when it uses a version."""

    run: RunName
    run_display_name: str = ""
    alias_text: str = ""
    """The words by which the version was asked for (SEM-20)."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a use."""

    version_uid: str
    is_first: bool
    """The run had not used the version before."""
