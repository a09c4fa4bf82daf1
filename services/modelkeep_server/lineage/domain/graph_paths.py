"""What lies on any way from one node to another, by ids."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

from modelkeep_server.lineage.domain.graph_ids import IdSet, Numbers

Ends = tuple[int, int]
"""Source and target of an edge."""


class Subgraph:
    """Edges in 24 bytes each, to be walked once all are there; those of one end are a chain, so that nothing is ever sorted."""

    def __init__(self) -> None:
        self._sources: array[int] = array("q")
        self._targets: array[int] = array("q")
        self._out = _Chains()
        self._into = _Chains()

    def __len__(self) -> int:
        return len(self._sources)

    def add(self, edges: Iterable[Ends]) -> None:
        """Add edges."""
        for source, target in edges:
            self._out.add(source)
            self._into.add(target)
            self._sources.append(source)
            self._targets.append(target)

    def reached(self, start: int) -> Iterator[tuple[int, int, Ends | None]]:
        """What can be reached from a node, level by level and by id: depth and id of each node, once without an edge, and then
        with each of its edges from and to those before it.

        Every edge between reached nodes comes once, with the later one of its ends. Where an edge is none of those, None comes
        once more: after each step the caller may do something else.
        """
        reached, level, depth = IdSet([start]), IdSet([start]), 0
        while level:
            following = IdSet()
            for node in level:
                yield depth, node, None
                # Of a level too, those with smaller ids come before.
                for to in map(self._targets.__getitem__, self._out.of(node)):
                    if reached.add(to):
                        following.add(to)
                    is_before = to not in following and (to not in level or to <= node)
                    yield depth, node, (node, to) if is_before else None
                for of in map(self._sources.__getitem__, self._into.of(node)):
                    is_before = of in reached and of not in following and (of not in level or of < node)
                    yield depth, node, (of, node) if is_before else None
            level = following
            depth += 1


class _Chains:
    """The numbers of the edges of each node, the last one first."""

    def __init__(self) -> None:
        self._last = Numbers()
        self._before: array[int] = array("i")
        """For each edge the one before it, counted from 1; 0 for the first."""

    def add(self, node: int) -> None:
        """The next edge is one of this node."""
        self._before.append(self._last.swap(node, len(self._before) + 1))

    def of(self, node: int) -> Iterator[int]:
        """The edges of a node."""
        number = self._last.get(node)
        while number:
            yield number - 1
            number = self._before[number - 1]


class Told:
    """What one answer tells of a subgraph, by ids: 24 bytes for a node, 16 for an edge."""

    def __init__(self) -> None:
        self._nodes: array[int] = array("q")
        self._depths: array[int] = array("q")
        self._begins: array[int] = array("q")
        self._sources: array[int] = array("q")
        self._targets: array[int] = array("q")

    def __len__(self) -> int:
        """How many nodes are told."""
        return len(self._nodes)

    def add(self, depth: int, node: int, edge: Ends | None) -> None:
        """Tell a node, unless it was the last one that was told, and an edge with it."""
        if not self.is_last(node):
            self._nodes.append(node)
            self._depths.append(depth)
            self._begins.append(len(self._sources))
        if edge is not None:
            self._sources.append(edge[0])
            self._targets.append(edge[1])

    def is_last(self, node: int) -> bool:
        """Whether a node is the last one that was told."""
        return bool(self._nodes) and self._nodes[-1] == node

    def nodes(self) -> Iterator[tuple[int, int, Iterator[Ends]]]:
        """Each node, its depth, and the edges that are told with it."""
        for i, node in enumerate(self._nodes):
            end = self._begins[i + 1] if i + 1 < len(self) else len(self._sources)
            edges = ((self._sources[at], self._targets[at]) for at in range(self._begins[i], end))
            yield node, self._depths[i], edges
