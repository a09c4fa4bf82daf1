"""The RPCs of the lineage service: parse, call, convert; one file per noun. What each needs stands in `access`."""

from __future__ import annotations

from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb
from modelkeep.api.lineage.v1 import lineage_service_pb2_grpc as rpc

from modelkeep_server.lineage.convert.limits import limits_to_pb
from modelkeep_server.lineage.servicer.graph import GraphCalls
from modelkeep_server.lineage.servicer.metric import MetricCalls
from modelkeep_server.lineage.servicer.run import RunCalls
from modelkeep_server.runtime.server import Context


class LineageServicer(RunCalls, MetricCalls, GraphCalls, rpc.LineageServiceServicer):
    """LineageService."""

    async def GetCapabilities(self, _request: pb.GetCapabilitiesRequest, _context: Context) -> pb.Capabilities:
        """The limits of this server."""
        return limits_to_pb(self._apps.limits)
