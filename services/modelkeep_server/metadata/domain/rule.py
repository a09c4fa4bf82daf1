"""What best means: a number in the metadata of versions, and which way is better. Rules and commits compare by it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from modelkeep.errors import AliasRuled, RuleFitsNothing
from modelkeep.names import AliasName, CollectionName, VersionName

MAX_RULES: Final = 16
"""How many aliases of one collection rules may keep: each change of a version asks them all."""


class Goal(Enum):
    """Which way is better."""

    MAX = "max"
    MIN = "min"


@dataclass(frozen=True, slots=True)
class Yardstick:
    """By which number versions are compared."""

    key: str
    """As a filter writes it after `metadata.`."""
    keys: tuple[str, ...]
    """The way to it."""
    goal: Goal

    def prefers(self, value: float, best: float) -> bool:
        """Whether a number is strictly better than another one."""
        return value > best if self.goal is Goal.MAX else value < best


@dataclass(frozen=True, slots=True)
class Rule:
    """Keeps an alias on the best live version of its collection."""

    alias: str
    yardstick: Yardstick

    @property
    def expression(self) -> str:
        """As people write it: `argmax(metadata.acc)`."""
        return f"arg{self.yardstick.goal.value}(metadata.{self.yardstick.key})"

    @property
    def reason(self) -> str:
        """Why the alias moved, in its history."""
        return f"rule: {self.expression}"

    def refusal(self, collection: CollectionName) -> AliasRuled:
        """What whoever sets the alias by hand is answered."""
        message = (
            f"the alias {self.alias!r} of {collection.collection} is kept by the rule {self.expression}; "
            "delete the rule to move it by hand, or choose another alias"
        )
        return AliasRuled(message, alias=str(collection.alias(self.alias)), rule=self.expression)

    def fits_nothing(self, version: VersionName, before: Rule | None) -> RuleFitsNothing:
        """What whoever sets the rule is answered when it would take the alias away from a version."""
        key = f"metadata.{self.yardstick.key}"
        ruled = f"its rule {before.expression}, and then " if before else ""  # by hand it cannot be deleted before
        message = (
            f"no live version of {version.collection} has a number at {key}, so the rule would take the alias {self.alias!r} "
            f"away from {version.short}; correct the key, put a number there first, or delete {ruled}the alias"
        )
        return RuleFitsNothing(message, alias=str(version.parent.alias(self.alias)), key=key)


@dataclass(frozen=True, slots=True)
class AliasRule:
    """A rule as it is shown."""

    name: AliasName
    expression: str
    version: VersionName | None
    """Where the alias points; None while no live version has a number."""
    create_time: datetime
    creator: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was compared when a draft was to be better than the best version."""

    key: str
    goal: Goal
    value: float
    best_value: float | None
    best_version: VersionName | None
    """None, as `best_value`, when no live version had a number."""
    is_better: bool
