"""The RPCs of metrics."""

from __future__ import annotations

from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb
from modelkeep.names import RunName

from modelkeep_server.lineage.convert.metric import (
    measured_from_pb,
    metric_key,
    metrics_to_pb,
    points_page_from_pb,
    points_to_pb,
)
from modelkeep_server.lineage.servicer.base import Part, call
from modelkeep_server.runtime.callers import current
from modelkeep_server.runtime.messages import page_from_pb
from modelkeep_server.runtime.server import Context


class MetricCalls(Part):
    """Keep and list what runs measured."""

    async def LogMetrics(self, request: pb.LogMetricsRequest, _context: Context) -> pb.LogMetricsResponse:
        """That it is kept."""
        name, measured = measured_from_pb(request, self._apps.limits)
        await self._apps.metrics.log_metrics(call(request), name, measured)
        return pb.LogMetricsResponse()

    async def ListMetrics(self, request: pb.ListMetricsRequest, _context: Context) -> pb.ListMetricsResponse:
        """The metrics of a run."""
        run, page = RunName.parse(request.parent), page_from_pb(request)
        return metrics_to_pb(await self._apps.metrics.list_metrics(current(), run, page))

    async def ListMetricPoints(self, request: pb.ListMetricPointsRequest, _context: Context) -> pb.ListMetricPointsResponse:
        """The points of a metric."""
        run, key, page = RunName.parse(request.parent), metric_key(request.key), points_page_from_pb(request)
        return points_to_pb(key, await self._apps.metrics.list_metric_points(current(), run, key, page))
