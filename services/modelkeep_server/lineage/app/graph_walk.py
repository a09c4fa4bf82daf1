"""Walks through the graph: breadth first, by ids alone, each node once (SEM-52: there may be cycles)."""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Sequence

from modelkeep_server.lineage.domain.graph import Direction
from modelkeep_server.lineage.domain.graph_ids import IdSet
from modelkeep_server.lineage.domain.graph_walk import (
    AHEAD_FROM,
    FIRST_AHEAD,
    MOST_AHEAD,
    NODES_AT_ONCE,
    Batch,
    Found,
    Place,
    Row,
    Step,
)
from modelkeep_server.lineage.ports.graph import Steps


class Walk:
    """One direction from one root. Memory: a byte for each node that was met, and the ids of two levels."""

    def __init__(self, steps: Steps, root: int, direction: Direction, *, as_of: int, group_from: int = 0) -> None:
        self._steps = steps
        self._direction = direction
        self._as_of = as_of
        self._group_from = group_from
        self._met = IdSet([root])
        self._level: array[int] = array("q", [root])
        self._ahead: dict[int, tuple[list[Row], list[tuple[int, int]]]] = {}
        """What was read of nodes before their level came."""
        self._most_ahead = FIRST_AHEAD
        self._soon: frozenset[int] = frozenset()
        self.depth = 0
        """Of the nodes that come next to be expanded."""

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to expand."""
        return not self._level

    def __len__(self) -> int:
        """How many nodes were met, the root included."""
        return len(self._met)

    def __contains__(self, id_: int) -> bool:
        """Whether a node was met."""
        return id_ in self._met

    async def level(self) -> AsyncIterator[Batch]:
        """Expand all nodes of the present depth; the next call goes on with what they led to."""
        self.depth += 1
        following: array[int] = array("q")
        number = 0
        async for found in self._expand():
            labels = {far: label for _, label, far in found.rows}
            fresh = self._met.add_new(labels)
            following.extend(fresh)
            yield Batch(self.depth, self._direction, number, fresh, labels, found.rows, sorted(found.fans), self._soon)
            self._soon = frozenset()
            number += 1
        self._level = following

    async def _expand(self) -> AsyncIterator[Found]:
        for start in range(0, len(self._level), NODES_AT_ONCE):
            nodes = self._level[start : start + NODES_AT_ONCE].tolist()
            if all(node in self._ahead for node in nodes) or await self._look_ahead(nodes):
                yield self._from_ahead(nodes)
                continue
            after: Place | None = None
            while True:
                found = await self._steps.step(Step(self._direction, nodes, self._as_of, self._group_from, after=after))
                yield found
                after = found.after
                if after is None:
                    break

    async def _look_ahead(self, nodes: Sequence[int]) -> bool:
        """Read the nodes of a small level and those that come after it at once; false where they have too many edges."""
        self._ahead.clear()
        if len(self._level) > AHEAD_FROM:
            return False
        step = Step(self._direction, nodes, self._as_of, self._group_from, ahead=self._most_ahead)
        self._most_ahead = min(4 * self._most_ahead, MOST_AHEAD)
        found = await self._steps.step(step)
        if found.after is not None:
            return False
        self._ahead = {node: ([], []) for node in (*nodes, *found.whole)}
        self._soon = frozenset(row[1] for row in found.rows)
        for row in found.rows:
            self._ahead[row[0]][0].append(row)
        for fan in found.fans:
            self._ahead[fan[0]][1].append(fan)
        return True

    def _from_ahead(self, nodes: Sequence[int]) -> Found:
        found = Found()
        for node in nodes:
            rows, fans = self._ahead[node]
            found.rows += rows
            found.fans += fans
        return found
