"""The port `Steps` over a list of edges, which answers in pages of any size and reads ahead or not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from modelkeep_server.lineage.domain.graph import Direction
from modelkeep_server.lineage.domain.graph_ids import ints
from modelkeep_server.lineage.domain.graph_walk import Found, Rows, Step


@dataclass(frozen=True)
class Drawn:
    """An edge between two nodes, each with a label."""

    source: int
    target: int
    time: int = 0


class MemorySteps:
    def __init__(self, edges: Iterable[Drawn], labels: int = 3, *, reads_ahead: bool = True, page: int = 10_000) -> None:
        self.edges = sorted(
            {(edge.source, edge.target): edge for edge in edges}.values(), key=lambda e: (e.time, e.source, e.target)
        )
        self._labels = labels
        self._reads_ahead = reads_ahead
        self._page = page

    def label(self, node: int) -> int:
        return node % self._labels

    def beside(self, node: int, direction: Direction, as_of: int) -> list[tuple[int, int]]:
        """The neighbours of a node with the times of the edges, by label, time and node."""
        found = []
        for edge in self.edges:
            near, far = (edge.target, edge.source) if direction is Direction.UPSTREAM else (edge.source, edge.target)
            if near == node and edge.time <= as_of:
                found.append((self.label(far), edge.time, far))
        return [(time, far) for _, time, far in sorted(found)]

    async def step(self, step: Step) -> Found:
        if step.ahead:
            return self._along(step)
        places = [
            ((near, self.label(far), time, far), far)
            for near in sorted(set(step.nodes.tolist()))
            for time, far in self.beside(near, step.direction, step.as_of)
        ]
        members = defaultdict(list)
        for (near, label, _, _), far in places:
            members[near, label].append(far)
        fans = {fan for fan, found in members.items() if step.group_from and len(found) >= step.group_from}
        followed = [(place, far) for place, far in places if place[:2] not in fans]
        if step.group_from:
            return Found(Rows.of((place[0], place[1], far) for place, far in followed), sorted(fans))
        rest = [(place, far) for place, far in followed if step.after is None or place > step.after]
        page = rest[: self._page]
        after = page[-1][0] if len(rest) > self._page else None
        return Found(Rows.of((place[0], place[1], far) for place, far in page), after=after)

    def _along(self, step: Step) -> Found:
        if not self._reads_ahead:
            return Found(after=(0, 0, 0, 0))
        reached = step.nodes.tolist()
        for node in reached:
            for _, far in self.beside(node, step.direction, step.as_of):
                if far not in reached and len(reached) < len(step.nodes) + step.ahead:
                    reached.append(far)
        rows, fans = [], []
        for node in reached:
            found = defaultdict(list)
            for _, far in self.beside(node, step.direction, step.as_of):
                found[self.label(far)].append(far)
            for label, members in found.items():
                if step.group_from and len(members) >= step.group_from:
                    fans.append((node, label))
                else:
                    rows += [(node, label, far) for far in members]
        return Found(Rows.of(rows), fans, ints(sorted(set(reached))))
