"""Walks through the graph: breadth first, by ids alone, each node once (SEM-52: there may be cycles)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np

from modelkeep_server.lineage.domain.graph import Direction
from modelkeep_server.lineage.domain.graph_ids import IdSet, Ints, ints
from modelkeep_server.lineage.domain.graph_walk import (
    AHEAD_FROM,
    FIRST_AHEAD,
    MOST_AHEAD,
    NODES_AT_ONCE,
    Ahead,
    Batch,
    Found,
    Place,
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
        self._level = ints([root])
        self._ahead = Ahead(Found())
        """What was read of nodes before their level came."""
        self._most_ahead = FIRST_AHEAD
        self._soon: frozenset[int] = frozenset()
        self.depth = 0
        """Of the nodes that come next to be expanded."""

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to expand."""
        return not len(self._level)

    def __len__(self) -> int:
        """How many nodes were met, the root included."""
        return len(self._met)

    def __contains__(self, id_: int) -> bool:
        """Whether a node was met."""
        return id_ in self._met

    async def level(self) -> AsyncIterator[Batch]:
        """Expand all nodes of the present depth; the next call goes on with what they led to."""
        self.depth += 1
        following = [ints()]
        number = 0
        async for found in self._expand():
            far, places = np.unique(found.rows.far, return_index=True)
            is_fresh = self._met.add_ascending(far)
            fresh, labels = far[is_fresh], found.rows.label[places[is_fresh]]
            following.append(fresh)
            yield Batch(self.depth, self._direction, number, fresh, labels, found.rows, sorted(found.fans), self._soon)
            self._soon = frozenset()
            number += 1
        self._level = np.concatenate(following)

    async def _expand(self) -> AsyncIterator[Found]:
        for start in range(0, len(self._level), NODES_AT_ONCE):
            nodes = self._level[start : start + NODES_AT_ONCE]
            if self._ahead.has(nodes) or await self._look_ahead(nodes):
                yield self._ahead.of(nodes)
                continue
            after: Place | None = None
            while True:
                found = await self._steps.step(Step(self._direction, nodes, self._as_of, self._group_from, after=after))
                yield found
                after = found.after
                if after is None:
                    break

    async def _look_ahead(self, nodes: Ints) -> bool:
        """Read the nodes of a small level and those that come after it at once; false where they have too many edges."""
        self._ahead = Ahead(Found())
        if len(self._level) > AHEAD_FROM:
            return False
        step = Step(self._direction, nodes, self._as_of, self._group_from, ahead=self._most_ahead)
        self._most_ahead = min(4 * self._most_ahead, MOST_AHEAD)
        found = await self._steps.step(step)
        if found.after is not None:
            return False
        self._ahead = Ahead(found)
        self._soon = frozenset(np.unique(found.rows.label).tolist())
        return True
