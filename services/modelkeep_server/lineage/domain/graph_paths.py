"""What lies on any way from one node to another, by ids."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from modelkeep_server.lineage.domain.graph_ids import IdSet


class Subgraph:
    """Edges in sixteen bytes each, to be walked once all are there."""

    def __init__(self) -> None:
        self._sources: array[int] = array("q")
        self._targets: array[int] = array("q")

    def __len__(self) -> int:
        return len(self._sources)

    def add(self, edges: Iterable[tuple[int, int]]) -> None:
        """Add edges as source and target."""
        for source, target in edges:
            self._sources.append(source)
            self._targets.append(target)

    def levels(self, start: int) -> Iterator[tuple[int, list[tuple[int, list[tuple[int, int]]]]]]:
        """The levels that can be reached from a node, each by id: every node with its edges from and to those before it.

        Every edge between reached nodes comes once, with the later one of its ends.
        """
        out = _Index(self._sources, self._targets)
        into = _Index(self._targets, self._sources)
        reached = IdSet([start])
        level, depth = [start], 0
        while level:
            found = []
            came = IdSet(level)
            for node in level:
                # Of a level too, those with smaller ids come before.
                edges = [(node, to) for to in out.of(node) if to in reached and (to not in came or to <= node)]
                edges += [(of, node) for of in into.of(node) if of in reached and (of not in came or of < node)]
                found.append((node, edges))
            yield depth, found
            level = reached.add_new(to for node in level for to in out.of(node))
            depth += 1


class _Index:
    """From one end of edges to the other."""

    def __init__(self, keys: array[int], values: array[int]) -> None:
        order = sorted(range(len(keys)), key=keys.__getitem__)
        self._keys = array("q", (keys[i] for i in order))
        self._values = array("q", (values[i] for i in order))

    def of(self, key: int) -> Iterator[int]:
        """The other ends."""
        i = bisect_left(self._keys, key)
        while i < len(self._keys) and self._keys[i] == key:
            yield self._values[i]
            i += 1
