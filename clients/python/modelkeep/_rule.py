"""What best means: rules that keep an alias on the best version, and versions that are logged only if they are better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from modelkeep._wire import last, moment
from modelkeep.api.metadata.v1 import rule_pb2
from modelkeep.errors import InvalidArgument
from modelkeep.names import AliasName

if TYPE_CHECKING:
    from datetime import datetime

_GOALS: Final = {"max": rule_pb2.GOAL_MAX, "min": rule_pb2.GOAL_MIN}


@dataclass(frozen=True, slots=True)
class AliasRule:
    """A rule that keeps an alias on the best live version of its collection."""

    collection: str
    alias: str
    expression: str
    """`argmax(metadata.acc)`."""
    version: str
    """`v7`, where the alias points; empty while no version has a number there."""
    create_time: datetime
    creator: str
    """The API key that set it."""

    @classmethod
    def from_pb(cls, message: rule_pb2.AliasRule) -> AliasRule:
        """Read a message."""
        name = AliasName.parse(message.alias)
        made = moment(message.create_time)
        return cls(name.collection, name.alias, message.expression, last(message.version), made, message.creator)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was compared when a version was logged only if it is better."""

    key: str
    goal: str
    """`max` or `min`."""
    value: float
    """The number that was logged."""
    best_value: float | None
    """The best one that was there; None when no version had one."""
    best_version: str
    """`v7`, which had it; empty when no version had one."""
    is_better: bool
    """Whether a version was made."""

    @classmethod
    def from_pb(cls, message: rule_pb2.Comparison) -> Comparison:
        """Read a message."""
        best = message.best_value if message.HasField("best_value") else None
        goal = "max" if message.goal == rule_pb2.GOAL_MAX else "min"
        return cls(message.key, goal, message.value, best, last(message.best_version), message.is_better)

    def __str__(self) -> str:
        if self.best_value is None:
            return f"{self.key} {self.value:g}; there was nothing to compare it with"
        verdict = "is better than" if self.is_better else "is not better than"
        value, best = f"{self.value:g}", f"{self.best_value:g}"
        if value == best and self.value != self.best_value:  # six digits do not show how they differ
            value, best = repr(self.value), repr(self.best_value)
        return f"{self.key} {value} {verdict} the {best} of {self.best_version} ({self.goal})"


def condition(only_if_better: tuple[str, str] | None) -> rule_pb2.OnlyIfBetter | None:
    """The condition of a commit: `("acc", "max")`. Raises InvalidArgument."""
    if only_if_better is None:
        return None
    key, goal = only_if_better if isinstance(only_if_better, tuple | list) and len(only_if_better) == 2 else ("", "")
    if not isinstance(key, str) or not key or not isinstance(goal, str) or goal not in _GOALS:
        message = f'only_if_better is {only_if_better!r:.100}; give a key of the metadata and max or min: ("acc", "max")'
        raise InvalidArgument(message, field="only_if_better")
    return rule_pb2.OnlyIfBetter(key=key, goal=_GOALS[goal])
