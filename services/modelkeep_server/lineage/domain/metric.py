"""Metrics: what a run measured, point by point, and in short."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import count, pairwise
from typing import Any, Final

from modelkeep.errors import InvalidArgument, LimitExceeded

from modelkeep_server.lineage.domain.values import json_number

MAX_KEY_CHARACTERS: Final = 256


class MetricSummary(Enum):
    """Which value of a metric the summary keeps."""

    LAST = "last"
    MIN = "min"
    MAX = "max"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one metric, in the order in which they came: three lists of one length."""

    key: str
    steps: Sequence[int]
    values: Sequence[float]
    times_micros: Sequence[int]
    """By the clock of whoever measured; only kept, and never compared with another."""

    def __post_init__(self) -> None:
        if not len(self.steps) == len(self.values) == len(self.times_micros):
            lengths = f"{len(self.steps)} steps, {len(self.values)} values and {len(self.times_micros)} times"
            message = f"the series of {self.key!r} has {lengths}; each point has one of each"
            raise InvalidArgument(message, field="series", key=self.key)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric in short."""

    key: str
    number: int
    """Which one of its run it is, in the order in which they came."""
    summary: MetricSummary = MetricSummary.LAST
    point_count: int = 0
    last_value: float = math.nan
    last_step: int = 0
    min_value: float = math.nan
    max_value: float = math.nan
    steps_went_back: bool = False

    @property
    def summed_up(self) -> float:
        """The value that the summary keeps."""
        return {MetricSummary.MIN: self.min_value, MetricSummary.MAX: self.max_value}.get(self.summary, self.last_value)

    def with_points(self, series: Series) -> Metric:
        """The metric after more points, of which there is at least one."""
        numbers = [value for value in (self.min_value, self.max_value, *series.values) if not math.isnan(value)]
        # Up to its first step back, the last step is the largest.
        before = [self.last_step, *series.steps] if self.point_count else series.steps
        return replace(
            self,
            point_count=self.point_count + len(series.values),
            last_value=series.values[-1],
            last_step=series.steps[-1],
            min_value=min(numbers, default=math.nan),
            max_value=max(numbers, default=math.nan),
            steps_went_back=self.steps_went_back or any(a > b for a, b in pairwise(before)),
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """What one call tells: points, how metrics are summed up, and values of the summary. Each key once."""

    series: tuple[Series, ...] = ()
    definitions: Mapping[str, MetricSummary] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    """For the summary; None takes a key away."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The metrics that the call is about, in the order of their first mention."""
        return tuple(dict.fromkeys((*(one.key for one in self.series), *self.definitions)))


@dataclass(frozen=True, slots=True)
class Batch:
    """Points for the store: of which metric, and how many came before them."""

    number: int
    first: int
    series: Series


@dataclass(frozen=True, slots=True)
class Point:
    """One point."""

    step: int
    value: float
    time_micros: int


@dataclass(frozen=True, slots=True)
class Progress:
    """What a call makes of a run: its metrics that change, the points to keep, and the values of the summary that change."""

    metrics: tuple[Metric, ...]
    batches: tuple[Batch, ...]
    values: Mapping[str, Any]


def progress(known: Mapping[str, Metric], measured: Measured, metric_count: int) -> Progress:
    """What a call makes of a run that has `metric_count` metrics, of which `known` are those that the call is about."""
    series = {one.key: one for one in measured.series}
    metrics: list[Metric] = []
    batches: list[Batch] = []
    values: dict[str, Any] = {}
    numbers = count(metric_count)
    for key in measured.keys:
        before = known.get(key) or Metric(key, next(numbers))
        after = replace(before, summary=measured.definitions.get(key, before.summary))
        if key in series:
            batches.append(Batch(before.number, before.point_count, series[key]))
            after = after.with_points(series[key])
        metrics.append(after)
        if after.summary is MetricSummary.NONE:
            if before.point_count and before.summary is not MetricSummary.NONE:
                values[key] = None
        elif after.point_count and (key in series or after.summary is not before.summary):
            values[key] = json_number(after.summed_up)
    return Progress(tuple(metrics), tuple(batches), values | dict(measured.values))


def require_room(held: int, more: int, most: int) -> None:
    """Raises LimitExceeded when a run has no room for more metrics."""
    if held + more > most:
        message = f"the run would have {held + more:,} metrics; at most {most:,} are allowed: log fewer different keys"
        raise LimitExceeded(message, field="series", limit=most)
