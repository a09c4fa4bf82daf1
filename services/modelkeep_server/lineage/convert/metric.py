"""Metrics on the wire."""

from __future__ import annotations

import unicodedata
from typing import Any, Final

from modelkeep.api.lineage.v1 import lineage_service_pb2 as service_pb
from modelkeep.api.lineage.v1 import run_pb2 as pb
from modelkeep.errors import InvalidArgument, LimitExceeded
from modelkeep.names import RunName

from modelkeep_server.database.paging import Listing, Page
from modelkeep_server.lineage.domain.limits import Limits
from modelkeep_server.lineage.domain.metric import MAX_KEY_CHARACTERS, Measured, Metric, MetricSummary, Point, Series
from modelkeep_server.lineage.domain.values import parse_object
from modelkeep_server.runtime.moments import require_moments

DEFAULT_POINTS: Final = 1000
MAX_POINTS: Final = 10_000
"""On one page."""
_SUMMARIES: Final = {
    pb.METRIC_SUMMARY_UNSPECIFIED: MetricSummary.LAST,
    pb.METRIC_SUMMARY_LAST: MetricSummary.LAST,
    pb.METRIC_SUMMARY_MIN: MetricSummary.MIN,
    pb.METRIC_SUMMARY_MAX: MetricSummary.MAX,
    pb.METRIC_SUMMARY_NONE: MetricSummary.NONE,
}
_SUMMARIES_TO_PB: Final = {summary: value for value, summary in _SUMMARIES.items()}
"""The last one counts, so LAST is METRIC_SUMMARY_LAST."""


def measured_from_pb(request: service_pb.LogMetricsRequest, limits: Limits) -> tuple[RunName, Measured]:
    """What one call tells of a run; series without a point are left out.

    Raises InvalidName, InvalidArgument, InvalidMetadata, LimitExceeded.
    """
    series: dict[str, Series] = {}
    for one in request.series:
        if metric_key(one.key) in series:
            message = f"there are two series of {one.key!r}; put their points into one"
            raise InvalidArgument(message, field="series", key=one.key)
        require_moments(one.times_micros, "times_micros")
        series[one.key] = Series(one.key, tuple(one.steps), tuple(one.values), tuple(one.times_micros))
    definitions = {metric_key(one.key): _summary(one) for one in request.definitions}
    values = parse_object(request.summary_json, "summary", limits.max_json_bytes)
    told = tuple(one for one in series.values() if one.values)
    return RunName.parse(request.name), Measured(told, definitions, values)


def metric_key(key: str) -> str:
    """Check the key of a metric. Raises InvalidArgument, LimitExceeded."""
    if len(key) > MAX_KEY_CHARACTERS:
        message = f"the key {key[:60]!r}… has {len(key):,} characters; at most {MAX_KEY_CHARACTERS} are allowed"
        raise LimitExceeded(message, field="key", limit=MAX_KEY_CHARACTERS)
    if not key or any(unicodedata.category(character) == "Cc" for character in key):
        message = f"{key!r} is not the key of a metric: use 1 to {MAX_KEY_CHARACTERS} characters, and no control characters"
        raise InvalidArgument(message, field="key", value=key)
    return key


def points_page_from_pb(request: service_pb.ListMetricPointsRequest) -> Page:
    """Which page of points is asked for. Raises InvalidArgument."""
    return Page.asked(request.page_size, request.page_token, default=DEFAULT_POINTS, most=MAX_POINTS)


def metrics_to_pb(listing: Listing[Metric]) -> service_pb.ListMetricsResponse:
    """A page of metrics."""
    return service_pb.ListMetricsResponse(metrics=map(_metric_to_pb, listing.items), next_page_token=listing.next_token)


def points_to_pb(key: str, listing: Listing[Point]) -> service_pb.ListMetricPointsResponse:
    """A page of points."""
    points: dict[str, Any] = {
        "steps": [point.step for point in listing.items],
        "values": [point.value for point in listing.items],
        "times_micros": [point.time_micros for point in listing.items],
    }
    series = [pb.MetricSeries(key=key, **points)] if listing.items else []
    return service_pb.ListMetricPointsResponse(series=series, next_page_token=listing.next_token)


def _summary(definition: pb.MetricDefinition) -> MetricSummary:
    summary = _SUMMARIES.get(definition.summary)
    if summary is None:
        message = f"the summary of {definition.key!r} is {definition.summary}; it is LAST, MIN, MAX or NONE"
        raise InvalidArgument(message, field="definitions", value=str(definition.summary))
    return summary


def _metric_to_pb(metric: Metric) -> pb.Metric:
    return pb.Metric(
        key=metric.key,
        summary=_SUMMARIES_TO_PB[metric.summary],
        point_count=metric.point_count,
        last_value=metric.last_value,
        last_step=metric.last_step,
        min_value=metric.min_value,
        max_value=metric.max_value,
        steps_went_back=metric.steps_went_back,
    )
