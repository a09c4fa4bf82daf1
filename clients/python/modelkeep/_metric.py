"""What a run measured."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from modelkeep._wire import label, pages
from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb
from modelkeep.api.lineage.v1 import run_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelkeep._channel import Connection

_NOT_IN_JSON: Final = {text: float(text) for text in ("NaN", "Infinity", "-Infinity")}
POINTS_AT_ONCE: Final = 10_000


class Point(NamedTuple):
    """One value of a metric."""

    step: int
    value: float
    time: float
    """When it was measured, by the clock of who did: seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of a run, in short."""

    key: str
    summary: str
    """Which of its values the summary of the run keeps: `last`, `min`, `max` or `none`."""
    point_count: int
    last_value: float
    last_step: int
    min_value: float
    """NaN apart; NaN when all are."""
    max_value: float
    steps_went_back: bool
    """A point came with a smaller step than one before it. All points are kept."""

    @classmethod
    def from_pb(cls, message: run_pb2.Metric) -> Metric:
        """Read a message."""
        return cls(
            message.key,
            label(run_pb2.MetricSummary, message.summary, "METRIC_SUMMARY_").lower(),
            message.point_count,
            message.last_value,
            message.last_step,
            message.min_value,
            message.max_value,
            message.steps_went_back,
        )


def list_metrics(connection: Connection, run: str) -> Iterator[Metric]:
    """The metrics of a run, by key."""
    request = pb.ListMetricsRequest(parent=run, page_size=1000)
    return map(Metric.from_pb, pages(connection.lineage.ListMetrics, request, lambda page: page.metrics))


def list_points(connection: Connection, run: str, key: str) -> Iterator[Point]:
    """The points of one metric of a run, in the order in which they came."""
    request = pb.ListMetricPointsRequest(parent=run, key=key, page_size=POINTS_AT_ONCE)
    return pages(connection.lineage.ListMetricPoints, request, _points)


def _points(page: pb.ListMetricPointsResponse) -> Iterator[Point]:
    for series in page.series:
        for step, value, micros in zip(series.steps, series.values, series.times_micros, strict=True):
            yield Point(step, value, micros / 1e6)


def decode_values(text: str) -> dict[str, Any]:
    """The object that a config or a summary is: what JSON lacks stands in it as a text, and is the number again here."""
    return {key: _number(value) for key, value in (json.loads(text) if text else {}).items()}


def _number(value: Any) -> Any:
    match value:
        case str():
            return _NOT_IN_JSON.get(value, value)
        case list():
            return [_number(item) for item in value]
        case dict():
            return {key: _number(item) for key, item in value.items()}
    return value
