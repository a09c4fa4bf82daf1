"""Nodes of the graph, and what is between them: runs, versions, and which made which from what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from modelkeep._wire import moment, moment_if_set
from modelkeep.api.lineage.v1 import graph_pb2
from modelkeep.errors import InvalidArgument
from modelkeep.names import shown

if TYPE_CHECKING:
    from datetime import datetime

    from modelkeep._channel import Connection
    from modelkeep._recorded_run import RecordedRun
    from modelkeep._version import Version

Direction = Literal["up", "down", "both"]
DIRECTIONS: Final = {
    "up": graph_pb2.DIRECTION_UPSTREAM,
    "down": graph_pb2.DIRECTION_DOWNSTREAM,
    "both": graph_pb2.DIRECTION_BOTH,
}
KINDS: Final = {"run": graph_pb2.NODE_KIND_RUN, "version": graph_pb2.NODE_KIND_VERSION}
_KIND_NAMES: Final = {number: name for name, number in KINDS.items()}
COPY: Final = "copy"
"""The type of a node that stands for a copy: a run that nobody began."""


def _place(resource_name: str) -> tuple[str, str]:
    parts = resource_name.split("/")
    return (parts[1], parts[3]) if len(parts) >= 4 else ("", "")


def parse_direction(text: str) -> graph_pb2.Direction:
    """`up`, `down` or `both`. Raises InvalidArgument."""
    if not isinstance(text, str) or text not in DIRECTIONS:
        message = f"{shown(text)} is no direction; 'up' is what it was made from, 'down' what was made from it, 'both' is both"
        raise InvalidArgument(message, field="direction", value=str(text)[:100])
    return DIRECTIONS[text]


@dataclass(frozen=True, slots=True, repr=False)
class Node:
    """A run or a version in the graph."""

    id: int
    """Names the node in edges and groups; it outlives renames."""
    kind: str
    """`run` or `version`."""
    name: str
    """What people call it: the display name of a run, `digits:v3` for a version."""
    resource_name: str
    """Empty for a copy, and for a hidden node."""
    type: str
    """The type of a version's collection, or the job type of a run; `copy` for a copy."""
    create_time: datetime | None
    delete_time: datetime | None
    """Set when it was deleted; it stays in the graph as a tombstone."""
    depth: int
    """How many edges it is from where the question began."""
    hidden: bool
    """It belongs to a team that you may not read: nothing else is told of it."""
    external: bool
    """A run that is known only from what it used and produced: nobody recorded it."""
    version_uid: str
    digest: str
    _connection: Connection = field(kw_only=True, compare=False)

    @classmethod
    def from_pb(cls, message: graph_pb2.Node, connection: Connection) -> Node:
        """Read a message."""
        return cls(
            message.id,
            _KIND_NAMES.get(message.kind, ""),
            message.display_name,
            message.name,
            message.type,
            moment_if_set(message, "create_time"),
            moment_if_set(message, "delete_time"),
            message.depth,
            message.hidden,
            message.external,
            message.version_uid,
            message.digest,
            _connection=connection,
        )

    @property
    def is_copy(self) -> bool:
        """Whether it stands for a copy of one version into another collection."""
        return self.kind == "run" and self.type == COPY and not self.resource_name

    @property
    def place(self) -> tuple[str, str]:
        """Team and project; empty texts where they are not known."""
        return _place(self.resource_name)

    def __repr__(self) -> str:
        return f"<Node {self.kind or 'hidden'} {self.name or self.id}{' (deleted)' if self.delete_time else ''}>"

    def version(self) -> Version:
        """The version that it is, with all that is known of it. Raises InvalidArgument for a run, or for a hidden one."""
        from modelkeep._resolve import get_version  # noqa: PLC0415 - a version leads to its nodes, and back

        self._require("version")
        return get_version(self._connection, self.resource_name)

    def run(self) -> RecordedRun:
        """The run that it is, with all that is known of it.

        Raises InvalidArgument for a version, a copy, or a hidden one; RunNotFound for one that nobody recorded; RunDeleted.
        """
        from modelkeep._recorded_run import get_run  # noqa: PLC0415 - as above

        self._require("run")
        return get_run(self._connection, self.resource_name)

    def _require(self, kind: str) -> None:
        if self.kind != kind or not self.resource_name:
            what = "of a team that you may not read" if self.hidden else "a copy" if self.is_copy else f"a {self.kind}"
            raise InvalidArgument(f"{self.name or 'this node'} is {what}, not a {kind} to look at", field="node")


@dataclass(frozen=True, slots=True)
class Edge:
    """Along it content flows: from a version to a run that used it, or from a run to a version that it produced."""

    source: int
    """The id of the node it comes from."""
    target: int
    """The id of the node it goes to."""
    kind: str
    """`used` or `produced`."""
    time: datetime
    """When it first happened."""
    alias_text: str
    """Of a use: the words by which the version was asked for."""
    deduplicated: bool
    """Of a production: the content was there already, and the run is one more producer of it."""

    @classmethod
    def from_pb(cls, message: graph_pb2.Edge) -> Edge:
        """Read a message."""
        kind = "used" if message.kind == graph_pb2.EDGE_KIND_USED else "produced"
        return cls(
            message.source_id, message.target_id, kind, moment(message.edge_time), message.alias_text, message.deduplicated
        )


@dataclass(frozen=True, slots=True)
class Link:
    """A node beside another one, and the edge between them."""

    node: Node
    edge: Edge

    @classmethod
    def from_pb(cls, message: graph_pb2.Link, connection: Connection) -> Link:
        """Read a message."""
        return cls(Node.from_pb(message.node, connection), Edge.from_pb(message.edge))


@dataclass(frozen=True, slots=True)
class Group:
    """Many neighbours of one node that are of one collection or job type, told as one. `Graph.expand` tells them one by one."""

    token: str
    """Empty in an `Impact`, whose groups are not beside one node."""
    node: int
    """The id of the node whose neighbours these are."""
    direction: str
    """`up` when content flows into that node from the group, else `down`."""
    kind: str
    """`run` or `version`."""
    collection: str
    """The resource name of the collection of its versions; empty for runs."""
    type: str
    """The type of the collection, or the job type of its runs."""
    node_count: int
    depth: int
    hidden: bool
    """Of a team that you may not read: nothing but their number is told."""
    project: str
    """The resource name of the project of its nodes; empty for hidden ones."""

    @property
    def place(self) -> tuple[str, str]:
        """Team and project; empty texts where they are not known."""
        return _place(self.project)

    @classmethod
    def from_pb(cls, message: graph_pb2.Group) -> Group:
        """Read a message."""
        return cls(
            message.token,
            message.node_id,
            "up" if message.direction == graph_pb2.DIRECTION_UPSTREAM else "down",
            _KIND_NAMES.get(message.kind, ""),
            message.collection,
            message.type,
            message.node_count,
            message.depth,
            message.hidden,
            message.project,
        )
