"""A part of the graph, as an answer told it: what came from what."""

from __future__ import annotations

import json
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from modelkeep._channel import STREAM_SECONDS, retrying
from modelkeep._graph_dot import dot_lines
from modelkeep._graph_tree import tree_lines
from modelkeep._node import Edge, Group, Link, Node
from modelkeep._wire import pages
from modelkeep.address import format_moment
from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb
from modelkeep.errors import InvalidArgument, LimitExceeded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from modelkeep._channel import Connection

    Request = pb.StreamLineageRequest | pb.StreamPathsRequest


class Graph:
    """Nodes and the edges between them, the root first. An answer that stopped early says so: `truncation`, and `more`.

    One thread at a time may let it grow.
    """

    def __init__(self, connection: Connection, method: str, request: Request, direction: str, *, asked: str = "") -> None:
        """Use `Api.lineage` or `Api.paths`."""
        self._connection, self._method, self._request = connection, method, request
        self.direction = direction
        """`up`, `down` or `both`: which way the question went from the root."""
        self.asked = asked
        """The words by which the root was asked for; empty when it was not by words."""
        self._nodes: dict[int, Node] = {}
        self._edges: dict[tuple[int, int, str], Edge] = {}
        self._groups: dict[str, Group] = {}
        self._continuation = ""
        self.truncation = ""
        """Why the answer stopped before its end; empty when it is whole. `more` goes on."""
        self.lagging = False
        """Not everything that happened was read yet when this was asked: ask again."""
        self._read()

    @property
    def root(self) -> Node:
        """Where the question began. Raises InvalidArgument for paths where there is no way: they have no nodes."""
        if not self._nodes:
            raise InvalidArgument("there is no way from the one to the other, so there are no nodes", field="root")
        return next(iter(self._nodes.values()))

    @property
    def nodes(self) -> Mapping[int, Node]:
        """The nodes that are here, by id: the root first, then by their distance from it."""
        return MappingProxyType(self._nodes)

    @property
    def edges(self) -> Sequence[Edge]:
        """The edges between nodes that are here."""
        return tuple(self._edges.values())

    @property
    def groups(self) -> Sequence[Group]:
        """Large fans that were told as one."""
        return tuple(self._groups.values())

    def __repr__(self) -> str:
        cut = f", truncated: {self.truncation}" if self.truncation else ""
        return f"<Graph {len(self._nodes)} nodes, {len(self._edges)} edges, {len(self._groups)} groups{cut}>"

    def more(self) -> bool:
        """Go on where a truncated answer stopped, for one more part. False when there was nothing more."""
        if not self._continuation:
            return False
        self._read()
        return True

    def walk(self) -> Iterator[Node]:
        """Every node, the root first, then by distance. Where the answer was truncated it goes on, a part at a time.

        Raises LimitExceeded at the end when the server cannot go on to all of them.
        """
        told = 0
        while True:
            for node in list(self._nodes.values())[told:]:
                told += 1
                yield node
            if told == len(self._nodes) and not self.more():
                require_whole(self.truncation)
                return

    def expand(self, group: Group) -> Iterator[Link]:
        """The nodes of a group, newest first, fetched as they are wanted. Each joins the graph; what lies behind it does not.

        The group is gone from the graph when all of them are there.
        """
        request = pb.ListGroupNodesRequest(group=group.token, page_size=1000)
        for message in pages(self._connection.lineage.ListGroupNodes, request, lambda page: page.links):
            link = Link.from_pb(message, self._connection)
            # The answer is about the node beside the group, and tells the distance from there.
            link = replace(link, node=replace(link.node, depth=group.depth))
            self._nodes.setdefault(link.node.id, link.node)
            if group.node in self._nodes:  # a filter may have left it out
                self._add_edge(link.edge)
            yield link
        self._groups.pop(group.token, None)

    def to_dict(self) -> dict[str, Any]:
        """All that is here, as plain lists and texts; `truncation` is null when it is whole."""
        return {
            "root": self.root.id if self._nodes else None,
            "direction": self.direction,
            "nodes": [node_dict(node) for node in self._nodes.values()],
            "edges": [edge_dict(edge) for edge in self._edges.values()],
            "groups": [group_dict(group) for group in self._groups.values()],
            "truncation": {"reason": self.truncation} if self.truncation else None,
            "lagging": self.lagging,
        }

    def to_json(self) -> str:
        """The same as JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def to_dot(self) -> str:
        """The same in the language of Graphviz: `dot -Tsvg` draws it."""
        return "".join(f"{line}\n" for line in dot_lines(self))

    def tree(self) -> str:
        """The same as an indented text, each node told once; what stands elsewhere above is marked."""
        return "".join(f"{line}\n" for line in tree_lines(self))

    def _read(self) -> None:
        self._request.continuation = self._continuation
        parts = answer(self._connection, self._method, self._request)
        self._continuation, self.truncation = "", ""  # not before the answer is here: it may have to be asked for again
        for part in parts:
            self._take(part)

    def _take(self, part: Any) -> None:
        for message in part.nodes:
            self._nodes.setdefault(message.id, Node.from_pb(message, self._connection))
        for message in part.edges:
            self._add_edge(Edge.from_pb(message))
        for message in getattr(part, "groups", ()):
            self._groups[message.token] = Group.from_pb(message)
        if part.HasField("truncation"):
            self.truncation = part.truncation.reason or "there is more"
            self._continuation = part.truncation.continuation
        self.lagging = self.lagging or part.lagging

    def _add_edge(self, edge: Edge) -> None:
        self._edges.setdefault((edge.source, edge.target, edge.kind), edge)


def answer(connection: Connection, method: str, request: Request) -> list[Any]:
    """The parts of one answer. A stream that breaks is asked for again from its beginning: it only reads."""

    def attempt(seconds: float, request_id: str) -> list[Any]:
        return list(connection.stream("lineage", method, request, seconds, request_id))

    return retrying(connection, "lineage", attempt, STREAM_SECONDS)


def answers(connection: Connection, method: str, request: Request) -> Iterator[Any]:
    """The parts of an answer and of all that continue it, fetched as they are wanted."""
    while True:
        parts = answer(connection, method, request)
        yield from parts
        request.continuation = parts[-1].truncation.continuation if parts else ""
        if not request.continuation:
            require_whole(parts[-1].truncation.reason if parts else "")
            return


def require_whole(truncation: str) -> None:
    """Raise LimitExceeded where an answer ends before its end, and cannot be continued."""
    if truncation:
        raise LimitExceeded(f"this is not all, and the server does not go on: {truncation}", field="lineage")


def node_dict(node: Node) -> dict[str, Any]:
    """A node, as JSON has it."""
    return {
        "id": node.id,
        "kind": node.kind,
        "name": node.name,
        "resource_name": node.resource_name,
        "type": node.type,
        "create_time": _when(node.create_time),
        "delete_time": _when(node.delete_time),
        "depth": node.depth,
        "hidden": node.hidden,
        "external": node.external,
        "version_uid": node.version_uid,
        "digest": node.digest,
    }


def edge_dict(edge: Edge) -> dict[str, Any]:
    """An edge, as JSON has it."""
    return {
        "source": edge.source,
        "target": edge.target,
        "kind": edge.kind,
        "time": _when(edge.time),
        "alias_text": edge.alias_text,
        "deduplicated": edge.deduplicated,
    }


def group_dict(group: Group) -> dict[str, Any]:
    """A group, as JSON has it."""
    return {
        "token": group.token,
        "node": group.node,
        "direction": group.direction,
        "kind": group.kind,
        "collection": group.collection,
        "type": group.type,
        "node_count": group.node_count,
        "depth": group.depth,
        "hidden": group.hidden,
        "project": group.project,
    }


def _when(moment: datetime | None) -> str:
    return "" if moment is None else format_moment(moment)
