"""The RPCs of the graph."""

from __future__ import annotations

from collections.abc import AsyncIterator

from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb

from modelkeep_server.lineage.convert import graph as convert
from modelkeep_server.lineage.convert.impact import impact_to_pb
from modelkeep_server.lineage.servicer.base import Part
from modelkeep_server.runtime.callers import current
from modelkeep_server.runtime.messages import page_from_pb
from modelkeep_server.runtime.server import Context


class GraphCalls(Part):
    """What came from what."""

    async def ListNeighbors(self, request: pb.ListNeighborsRequest, _context: Context) -> pb.ListNeighborsResponse:
        """What is beside a run or a version."""
        ask = convert.neighbors_from_pb(request)
        found, lagging = await self._apps.graph.list_neighbors(current(), ask, page_from_pb(request))
        return pb.ListNeighborsResponse(
            links=map(convert.link_to_pb, found.items), next_page_token=found.next_token, lagging=lagging
        )

    async def StreamLineage(
        self, request: pb.StreamLineageRequest, _context: Context
    ) -> AsyncIterator[pb.StreamLineageResponse]:
        """Walk the graph."""
        async for part in self._apps.graph.stream_lineage(current(), convert.lineage_from_pb(request)):
            yield convert.lineage_to_pb(part)

    async def ListGroupNodes(self, request: pb.ListGroupNodesRequest, _context: Context) -> pb.ListGroupNodesResponse:
        """The nodes of a group."""
        found = await self._apps.graph.list_group_nodes(current(), request.group, page_from_pb(request))
        return pb.ListGroupNodesResponse(links=map(convert.link_to_pb, found.items), next_page_token=found.next_token)

    async def StreamPaths(self, request: pb.StreamPathsRequest, _context: Context) -> AsyncIterator[pb.StreamPathsResponse]:
        """All ways between two nodes."""
        async for part in self._apps.graph.stream_paths(current(), convert.paths_from_pb(request)):
            yield convert.paths_to_pb(part)

    async def ListCommonAncestors(
        self, request: pb.ListCommonAncestorsRequest, _context: Context
    ) -> pb.ListCommonAncestorsResponse:
        """What two nodes both come from."""
        ask = convert.common_from_pb(request)
        found, lagging = await self._apps.graph.list_common_ancestors(current(), ask, page_from_pb(request))
        return pb.ListCommonAncestorsResponse(
            nodes=map(convert.node_to_pb, found.items), next_page_token=found.next_token, lagging=lagging
        )

    async def GetImpact(self, request: pb.GetImpactRequest, _context: Context) -> pb.Impact:
        """What was made from something."""
        name, as_of = convert.name_from_pb(request.name), convert.as_of_from_pb(request)
        return impact_to_pb(await self._apps.graph.get_impact(current(), name, as_of))
