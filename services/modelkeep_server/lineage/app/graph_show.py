"""From ids to what a caller is shown: details are read in batches, of what is shown alone, and access is checked per node."""

from __future__ import annotations

from asyncio import gather
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from modelkeep_server.database.paging import token
from modelkeep_server.lineage.domain.graph import Direction, Edge, Fan, Group, Label, Link, Node, NodeFilter, Part, Shown
from modelkeep_server.lineage.domain.graph_ids import Ints, are_among, ints
from modelkeep_server.lineage.ports.graph import GraphReads
from modelkeep_server.runtime.callers import Access, Caller

GROUP: Final = "group"
"""What the token of a group is bound to."""
MOST_COUNTED: Final = 10_000
"""So many nodes of a group are counted at most, as of a time: of the present they are known."""


@dataclass(frozen=True, slots=True)
class Moment:
    """As of when the graph is asked for."""

    as_of: int
    """In microseconds by the clock of metadata."""
    is_past: bool
    """Whether the caller named it; else it is what was known when the question came."""


class View:
    """The graph as one caller may see it, during one call."""

    def __init__(self, graph: GraphReads, caller: Caller, filter_: NodeFilter | None = None) -> None:
        self._graph = graph
        self._caller = caller
        self._filter = filter_ or NodeFilter()
        self._labels: dict[int, Label] = {}
        self.is_open = not (self._filter.kind or self._filter.tells_of_nodes)
        """Whether all nodes are shown."""

    def may_see(self, label: Label) -> bool:
        """Whether the caller may know of nodes of a label."""
        return bool(label.team) and self._caller.may(Access.READ, label.team)

    async def passing(self, nodes: Ints, labels: Ints, soon: frozenset[int] = frozenset()) -> Ints:
        """Those of the nodes that the filter shows, by their labels. The labels that come soon are read along."""
        if self.is_open or not len(nodes):
            return nodes
        some, places = np.unique(labels, return_inverse=True)
        known = await self.labels(soon.union(some.tolist()))
        wanted = self._filter
        shown = [wanted.passes(label) and self._may_tell(label) for label in map(known.__getitem__, some.tolist())]
        passed: Ints = nodes[np.array(shown)[places]]
        if wanted.is_timed:
            timely = await self._graph.created(passed.tolist(), wanted.since, wanted.until)
            passed = passed[are_among(passed, ints(sorted(timely)))]
        return passed

    def _may_tell(self, label: Label) -> bool:
        return self.may_see(label) or not self._filter.tells_of_nodes

    async def labels(self, ids: Collection[int]) -> Mapping[int, Label]:
        """Labels by their ids; each is read once."""
        if missing := set(ids) - self._labels.keys():
            self._labels |= await self._graph.labels(missing)
        return {id_: self._labels[id_] for id_ in ids}

    async def nodes(self, depths: Mapping[int, int], moment: Moment) -> list[Shown]:
        """Nodes by their depths, in that order."""
        nodes = await self._graph.nodes(depths.keys())
        self._labels |= {node.label.id: node.label for node in nodes.values()}
        return [self.shown(nodes[id_], depth, moment) for id_, depth in depths.items()]

    def shown(self, node: Node, depth: int, moment: Moment) -> Shown:
        """A node as the caller may see it, and as it was."""
        if moment.is_past and node.delete_time and _micros(node) > moment.as_of:
            node = replace(node, delete_time=None)
        return Shown(node, depth, not self.may_see(node.label))

    async def nodes_and_edges(
        self, depths: Mapping[int, int], ends: Sequence[tuple[int, int]], moment: Moment
    ) -> tuple[list[Shown], list[Edge]]:
        """Nodes by their depths, and edges by their ends, in that order; both are read at the same time.

        Of an edge that touches a hidden node only what it is and when it was made is told.
        """
        nodes, edges = await gather(self.nodes(depths, moment), self._graph.edges(ends))
        return nodes, await self._told([edges[pair] for pair in ends])

    async def _told(self, edges: Sequence[Edge]) -> list[Edge]:
        """Edges as the caller may see them."""
        labels = await self.labels({id_ for edge in edges for id_ in (edge.source_label_id, edge.target_label_id)})
        seen = {id_ for id_, label in labels.items() if self.may_see(label)}
        return [
            edge
            if edge.source_label_id in seen and edge.target_label_id in seen
            else replace(edge, alias_text="", deduplicated=False)
            for edge in edges
        ]

    async def link(self, node: Node, edge: Edge, depth: int, moment: Moment) -> Link:
        """A neighbour."""
        [told] = await self._told([edge])
        return Link(self.shown(node, depth, moment), told)

    async def groups(self, fans: Mapping[Fan, int], moment: Moment) -> list[Group]:
        """Fans by their depths, each told as a group. One that is empty by now is left out: its nodes got another label."""
        labels = await self.labels({fan.label_id for fan in fans})
        if moment.is_past:
            counts = await self._graph.counts(fans.keys(), moment.as_of, MOST_COUNTED)
        else:
            counts = await self._graph.degrees(fans.keys())
        return [
            Group(fan, label, count, depth, not self.may_see(label), group_token(fan, moment))
            for fan, depth in fans.items()
            for label, count in ((labels[fan.label_id], counts.get(fan, 0)),)
            if count
        ]


def group_token(fan: Fan, moment: Moment) -> str:
    """The opaque name of a group: whose neighbours, which way, of which label, and as of when."""
    is_down = int(fan.direction is Direction.DOWNSTREAM)
    return token([fan.node_id, is_down, fan.label_id, moment.as_of if moment.is_past else 0], GROUP)


def _micros(node: Node) -> int:
    return int(node.delete_time.timestamp() * 1_000_000) if node.delete_time else 0


class Parts:
    """Collects what is to be shown, and makes parts of it."""

    FIRST: Final = 100
    """So many nodes in the first part: it comes soon."""
    NODES: Final = 500
    EDGES: Final = 2000

    def __init__(self, view: View, moment: Moment) -> None:
        self._view = view
        self._moment = moment
        self._nodes: dict[int, int] = {}
        self._edges: list[tuple[int, int]] = []
        self._fans: dict[Fan, int] = {}
        self._most = self.FIRST

    def node(self, id_: int, depth: int) -> None:
        """Show a node."""
        self._nodes[id_] = depth

    def edge(self, source: int, target: int) -> None:
        """Show an edge, both of whose ends are shown."""
        self._edges.append((source, target))

    def fan(self, fan: Fan, depth: int) -> None:
        """Tell a fan as a group."""
        self._fans[fan] = depth

    @property
    def is_full(self) -> bool:
        """Whether it is time to make a part."""
        return len(self._nodes) + len(self._fans) >= self._most or len(self._edges) >= self.EDGES

    async def part(self) -> Part:
        """What was collected."""
        part = Part()
        part.nodes, part.edges = await self._view.nodes_and_edges(self._nodes, self._edges, self._moment)
        if self._fans:
            part.groups = await self._view.groups(self._fans, self._moment)
        self._nodes, self._edges, self._fans, self._most = {}, [], {}, self.NODES
        return part
