"""The graph on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from modelkeep.api.lineage.v1 import graph_pb2 as graph_pb
from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb
from modelkeep.errors import InvalidArgument, InvalidName, LimitExceeded
from modelkeep.names import ProjectName, RunName, VersionName, shown

from modelkeep_server.lineage.domain.graph import (
    GROUP_FROM,
    MAX_GROUP_FROM,
    Direction,
    Edge,
    EdgeKind,
    Group,
    Link,
    NodeFilter,
    NodeKind,
    Part,
    Shown,
    Truncation,
)
from modelkeep_server.lineage.domain.graph_ask import CommonAsk, GraphName, LineageAsk, NeighborsAsk, PathsAsk
from modelkeep_server.runtime.moments import from_timestamp, to_timestamp

MAX_CHOICES: Final = 100
"""Most types, and projects, in one filter."""

_DIRECTIONS: Final[dict[int, tuple[Direction, ...]]] = {
    graph_pb.DIRECTION_UNSPECIFIED: (Direction.UPSTREAM, Direction.DOWNSTREAM),
    graph_pb.DIRECTION_UPSTREAM: (Direction.UPSTREAM,),
    graph_pb.DIRECTION_DOWNSTREAM: (Direction.DOWNSTREAM,),
    graph_pb.DIRECTION_BOTH: (Direction.UPSTREAM, Direction.DOWNSTREAM),
}
_KINDS: Final = {NodeKind.RUN: graph_pb.NODE_KIND_RUN, NodeKind.VERSION: graph_pb.NODE_KIND_VERSION}
_EDGE_KINDS: Final = {EdgeKind.USED: graph_pb.EDGE_KIND_USED, EdgeKind.PRODUCED: graph_pb.EDGE_KIND_PRODUCED}


def name_from_pb(text: str, field: str = "name") -> GraphName:
    """The name of a run or a version. Raises InvalidName."""
    kind = text.split("/")[4:5]
    if kind == ["runs"]:
        return RunName.parse(text)
    if kind == ["collections"]:
        return VersionName.parse(text)
    message = f"{shown(text)} is neither a run nor a version: expected '{RunName.pattern}' or '{VersionName.pattern}'"
    raise InvalidName(message, field=field, value=text[:200])


def as_of_from_pb(request: Message) -> datetime | None:
    """The time as of which the graph is asked for; None means now. Raises InvalidArgument."""
    return _moment(request, "as_of_time")


def neighbors_from_pb(request: pb.ListNeighborsRequest) -> NeighborsAsk:
    """What is beside a node. Raises InvalidArgument, InvalidName, LimitExceeded."""
    name, types = name_from_pb(request.parent, "parent"), frozenset(_few(request.types, "types"))
    return NeighborsAsk(name, _one_way(request.direction), types, as_of_from_pb(request))


def common_from_pb(request: pb.ListCommonAncestorsRequest) -> CommonAsk:
    """What two nodes both come from. Raises InvalidArgument, InvalidName, LimitExceeded."""
    names = (name_from_pb(request.first, "first"), name_from_pb(request.second, "second"))
    return CommonAsk(*names, filter_from_pb(request.filter), as_of_from_pb(request))


def filter_from_pb(message: pb.NodeFilter) -> NodeFilter:
    """Which nodes to show. Raises InvalidArgument, InvalidName, LimitExceeded."""
    kinds = {
        graph_pb.NODE_KIND_UNSPECIFIED: None,
        graph_pb.NODE_KIND_RUN: NodeKind.RUN,
        graph_pb.NODE_KIND_VERSION: NodeKind.VERSION,
    }
    if message.kind not in kinds:
        raise InvalidArgument(f"filter.kind is {message.kind}; no such kind", field="filter.kind", value=message.kind)
    return NodeFilter(
        frozenset(_few(message.types, "types")),
        kinds[message.kind],
        frozenset(map(ProjectName.parse, _few(message.projects, "projects"))),
        _moment(message, "since_time"),
        _moment(message, "until_time"),
    )


def lineage_from_pb(request: pb.StreamLineageRequest) -> LineageAsk:
    """A walk. Raises InvalidArgument, InvalidName, LimitExceeded."""
    group_from = request.group_from or GROUP_FROM
    return LineageAsk(
        name_from_pb(request.name),
        _ways(request.direction),
        _natural(request.max_depth, "max_depth"),
        filter_from_pb(request.filter),
        as_of_from_pb(request),
        0 if group_from < 0 else min(group_from, MAX_GROUP_FROM),
        _natural(request.max_nodes, "max_nodes"),
        request.continuation,
    )


def paths_from_pb(request: pb.StreamPathsRequest) -> PathsAsk:
    """All ways between two nodes. Raises InvalidArgument, InvalidName."""
    ends = (name_from_pb(request.source, "source"), name_from_pb(request.target, "target"))
    return PathsAsk(*ends, as_of_from_pb(request), _natural(request.max_nodes, "max_nodes"), request.continuation)


def node_to_pb(shown_: Shown) -> graph_pb.Node:
    """A node, as the caller may see it."""
    node = shown_.node
    if shown_.is_hidden:
        return graph_pb.Node(id=node.id, kind=_KINDS[node.label.kind], hidden=True, depth=shown_.depth)
    return graph_pb.Node(
        id=node.id,
        kind=_KINDS[node.label.kind],
        name=node.name,
        display_name=node.shown_name,
        type=node.label.type,
        create_time=to_timestamp(node.create_time),
        delete_time=to_timestamp(node.delete_time),
        depth=shown_.depth,
        external=node.external,
        version_uid=node.version_uid,
        digest=node.digest,
    )


def edge_to_pb(edge: Edge) -> graph_pb.Edge:
    """An edge."""
    return graph_pb.Edge(
        source_id=edge.source_id,
        target_id=edge.target_id,
        kind=_EDGE_KINDS[edge.kind],
        edge_time=to_timestamp(edge.time),
        alias_text=edge.alias_text,
        deduplicated=edge.deduplicated,
    )


def link_to_pb(link: Link) -> graph_pb.Link:
    """A neighbour."""
    return graph_pb.Link(node=node_to_pb(link.node), edge=edge_to_pb(link.edge))


def group_to_pb(group: Group) -> graph_pb.Group:
    """A group, as the caller may see it."""
    label, fan = group.label, group.fan
    is_up = fan.direction is Direction.UPSTREAM
    message = graph_pb.Group(
        token=group.token,
        node_id=fan.node_id,
        direction=graph_pb.DIRECTION_UPSTREAM if is_up else graph_pb.DIRECTION_DOWNSTREAM,
        kind=_KINDS[label.kind],
        node_count=group.node_count,
        depth=group.depth,
        hidden=group.is_hidden,
    )
    if not group.is_hidden:
        message.collection, message.type, message.project = label.collection_name, label.type, label.project_name
    return message


def truncation_to_pb(truncation: Truncation | None) -> graph_pb.Truncation | None:
    """How an answer was cut, if it was."""
    if truncation is None:
        return None
    return graph_pb.Truncation(reason=truncation.reason, continuation=truncation.continuation)


def lineage_to_pb(part: Part) -> pb.StreamLineageResponse:
    """A part of a walk."""
    return pb.StreamLineageResponse(
        nodes=map(node_to_pb, part.nodes),
        edges=map(edge_to_pb, part.edges),
        groups=map(group_to_pb, part.groups),
        truncation=truncation_to_pb(part.truncation),
        lagging=part.is_lagging,
    )


def paths_to_pb(part: Part) -> pb.StreamPathsResponse:
    """A part of all ways."""
    return pb.StreamPathsResponse(
        nodes=map(node_to_pb, part.nodes),
        edges=map(edge_to_pb, part.edges),
        truncation=truncation_to_pb(part.truncation),
        lagging=part.is_lagging,
    )


def _ways(direction: int) -> tuple[Direction, ...]:
    if direction not in _DIRECTIONS:
        raise InvalidArgument(f"direction is {direction}; no such direction", field="direction", value=direction)
    return _DIRECTIONS[direction]


def _one_way(direction: int) -> Direction:
    """One direction. Raises InvalidArgument for both, or none."""
    ways = _ways(direction)
    if len(ways) != 1:
        message = "direction must be DIRECTION_UPSTREAM or DIRECTION_DOWNSTREAM; ask twice for both"
        raise InvalidArgument(message, field="direction", value=direction)
    return ways[0]


def _natural(number: int, field: str) -> int:
    if number < 0:
        raise InvalidArgument(f"{field} is {number}; it must not be negative", field=field, value=number)
    return number


def _few(choices: Sequence[str], field: str) -> Sequence[str]:
    if len(choices) > MAX_CHOICES:
        message = f"{len(choices)} {field} are asked for; ask for at most {MAX_CHOICES}"
        raise LimitExceeded(message, field=field, limit=MAX_CHOICES)
    return choices


def _moment(message: Message, field: str) -> datetime | None:
    if not message.HasField(field):
        return None
    timestamp: Timestamp = getattr(message, field)
    return from_timestamp(timestamp, field)
