"""Graphs as a lineage server tells them: built by name, answered by a real gRPC server in as many answers as a test wants."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc
from modelkeep.api.lineage.v1 import graph_pb2
from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb
from modelkeep.api.lineage.v1 import lineage_service_pb2_grpc as rpc

if TYPE_CHECKING:
    from tests.unit.sdk.wire import Calls

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RUN, VERSION = graph_pb2.NODE_KIND_RUN, graph_pb2.NODE_KIND_VERSION


class Drawn:
    """A graph in the making: `run` and `version` add nodes, `used` and `made` add edges."""

    def __init__(self) -> None:
        self.part = pb.StreamLineageResponse()
        self._ids: dict[str, int] = {}

    def version(self, name: str, type_: str = "model", depth: int = 0, *, project: str = "vision", **more: Any) -> Drawn:
        collection, _, number = name.partition(":")
        resource = f"teams/t/projects/{project}/collections/{collection}/versions/{number}"
        return self._add(name, VERSION, type_, depth, resource, **more)

    def run(self, name: str, type_: str = "train", depth: int = 0, *, project: str = "vision", **more: Any) -> Drawn:
        return self._add(name, RUN, type_, depth, f"teams/t/projects/{project}/runs/{name}", **more)

    def copy(self, name: str, depth: int) -> Drawn:
        return self._add(name, RUN, "copy", depth, "", display_name="")

    def hidden(self, name: str, kind: Any, depth: int) -> Drawn:
        self._ids[name] = len(self._ids) + 1
        self.part.nodes.add(id=self._ids[name], kind=kind, hidden=True, depth=depth)
        return self

    def used(self, run: str, version: str, alias_text: str = "") -> Drawn:
        kind = graph_pb2.EDGE_KIND_USED
        return self._edge(version, run, kind, alias_text=alias_text)

    def made(self, run: str, version: str, *, deduplicated: bool = False) -> Drawn:
        return self._edge(run, version, graph_pb2.EDGE_KIND_PRODUCED, deduplicated=deduplicated)

    def group(self, at: str, direction: Any, kind: Any, count: int, **more: Any) -> Drawn:
        self.part.groups.add(
            token=f"g{len(self.part.groups)}", node_id=self._ids[at], direction=direction, kind=kind, node_count=count, **more
        )
        return self

    def truncated(self, reason: str, continuation: str = "on") -> Drawn:
        self.part.truncation.reason, self.part.truncation.continuation = reason, continuation
        return self

    def id(self, name: str) -> int:
        return self._ids[name]

    def _add(self, name: str, kind: Any, type_: str, depth: int, resource: str, *, deleted: bool = False, **more: Any) -> Drawn:
        self._ids[name] = len(self._ids) + 1
        about = {"display_name": name, **more}
        node = self.part.nodes.add(id=self._ids[name], kind=kind, type=type_, depth=depth, name=resource, **about)
        node.create_time.FromDatetime(NOON)
        if deleted:
            node.delete_time.FromDatetime(NOON)
        return self

    def _edge(self, source: str, target: str, kind: Any, **more: Any) -> Drawn:
        edge = self.part.edges.add(source_id=self._ids[source], target_id=self._ids[target], kind=kind, **more)
        edge.edge_time.FromDatetime(NOON)
        return self


class Lineage(rpc.LineageServiceServicer):
    """Answers what a test put there: by continuation or page token, a list of parts or pages."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.streams: dict[str, list[Any]] = {}
        self.neighbors: dict[str, pb.ListNeighborsResponse] = {}
        self.group_pages: dict[str, pb.ListGroupNodesResponse] = {}

    def StreamLineage(self, request: pb.StreamLineageRequest, context: grpc.ServicerContext) -> Iterator[Any]:
        self.calls.enter("StreamLineage", request, context)
        yield from self.streams[request.continuation]

    def ListGroupNodes(self, request: pb.ListGroupNodesRequest, context: grpc.ServicerContext) -> pb.ListGroupNodesResponse:
        self.calls.enter("ListGroupNodes", request, context)
        return self.group_pages[request.page_token]

    def ListNeighbors(self, request: pb.ListNeighborsRequest, context: grpc.ServicerContext) -> pb.ListNeighborsResponse:
        self.calls.enter("ListNeighbors", request, context)
        return self.neighbors[request.page_token]
