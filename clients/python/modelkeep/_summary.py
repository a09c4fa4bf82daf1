"""What came out of a run, as this process knows it: what it set, and what the metrics that it logged come to.

The server derives the summary by itself, from what all processes of a run sent; this view needs to ask nobody.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from modelkeep.api.lineage.v1 import run_pb2
from modelkeep.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable

Rule = Literal["last", "min", "max", "best", "none"]
Goal = Literal["max", "min", "maximize", "minimize"]

LAST: Final = run_pb2.METRIC_SUMMARY_LAST
NONE: Final = run_pb2.METRIC_SUMMARY_NONE
_RULES: Final = {
    "last": LAST,
    "min": run_pb2.METRIC_SUMMARY_MIN,
    "max": run_pb2.METRIC_SUMMARY_MAX,
    "none": NONE,
}
_UNSEEN: Final = (math.nan, math.nan, math.nan)
GOALS: Final[dict[str, Literal["max", "min"]]] = {"max": "max", "min": "min", "maximize": "max", "minimize": "min"}
"""The words for a goal, of which the first two are ours, and what each means."""


def parse_rule(summary: str, goal: str | None) -> run_pb2.MetricSummary:
    """What of a metric the summary keeps. Raises InvalidArgument."""
    if goal is not None and goal not in GOALS:
        raise InvalidArgument(f"{goal!r:.100} is no goal; use 'max' or 'min'", field="goal", value=str(goal)[:100])
    if summary == "best":
        if goal is None:
            message = "the best value of a metric is the largest or the smallest: say goal='max' or goal='min'"
            raise InvalidArgument(message, field="goal")
        summary = GOALS[goal]
    if summary not in _RULES:
        message = f"{summary!r:.100} is no summary of a metric; use 'last', 'min', 'max', 'best' (with a goal) or 'none'"
        raise InvalidArgument(message, field="summary", value=str(summary)[:100])
    return _RULES[summary]


class Seen(NamedTuple):
    """What a run has of a metric already."""

    key: str
    rule: run_pb2.MetricSummary
    numbers: tuple[float, float, float] | None
    """The last, the smallest and the largest value; None while there is no point."""

    @classmethod
    def from_pb(cls, metric: run_pb2.Metric) -> Seen:
        """Read a message."""
        numbers = (metric.last_value, metric.min_value, metric.max_value) if metric.point_count else None
        return cls(metric.key, metric.summary or LAST, numbers)


class Mirror:
    """The summary of a run, kept as the server keeps it. Not for several threads at once."""

    def __init__(self, values: dict[str, Any], seen: Iterable[Seen] = ()) -> None:
        """`values` is what it changes, and has what comes of the metrics that were `seen` before."""
        seen = list(seen)
        self._values = values
        self._rules = {one.key: one.rule for one in seen if one.rule != LAST}
        self._seen = {one.key: one.numbers for one in seen if one.numbers is not None}
        """The last, the smallest and the largest value of each metric; NaN counts only as the last."""

    def take(self, flat: dict[str, float]) -> None:
        """Points came."""
        seen = self._seen
        for key, value in flat.items():
            _, low, high = seen.get(key, _UNSEEN)
            if not low <= value <= high and not math.isnan(value):
                low, high = (value, value) if math.isnan(low) else (min(low, value), max(high, value))
            seen[key] = value, low, high
        if self._rules:
            for key in flat:
                self._derive(key)
        else:
            self._values.update(flat)

    def define(self, key: str, rule: run_pb2.MetricSummary) -> None:
        """A metric is summed up in another way from now on."""
        self._rules[key] = rule
        if key in self._seen:
            if rule == NONE:
                self._values.pop(key, None)
            self._derive(key)

    def replaces(self, key: str) -> bool:
        """Whether a point of a metric takes the place of a value that was set."""
        return self._rules.get(key, LAST) != NONE

    def _derive(self, key: str) -> None:
        last, low, high = self._seen[key]
        match self._rules.get(key, LAST):
            case run_pb2.METRIC_SUMMARY_MIN:
                self._values[key] = low
            case run_pb2.METRIC_SUMMARY_MAX:
                self._values[key] = high
            case run_pb2.METRIC_SUMMARY_NONE:
                pass
            case _:
                self._values[key] = last
