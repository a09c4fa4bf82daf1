"""Walking the graph by ids: what is asked of the store for a step, and what a step finds.

A walk goes level by level, and through a level in batches of nodes, in the order in which they were found. What a batch finds
is in the order of ids. So the same graph is always walked in the same order, and a place in a walk is a few numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np

from modelkeep_server.lineage.domain.graph import Direction
from modelkeep_server.lineage.domain.graph_ids import Ints, Marks, are_among, ints

NODES_AT_ONCE: Final = 1000
"""How many nodes one batch of a walk expands."""
ROWS_AT_ONCE: Final = 20_000
"""How many edges one step reads at most, of nodes with many."""
AHEAD_FROM: Final = 200
"""Up to how many nodes of a level those are read along that come after it."""
FIRST_AHEAD: Final = 128
MOST_AHEAD: Final = 2048
"""How many nodes are read along at first, and at most: each time four times as many."""

Row = tuple[int, int, int]
"""A node, the label of its neighbour, and the neighbour."""
Place = tuple[int, int, int, int]
"""After which edge of a step the next page begins: node, label, time and neighbour."""


@dataclass(frozen=True, slots=True)
class Step:
    """What is asked of the store: the neighbours of some nodes on one side."""

    direction: Direction
    nodes: Ints
    as_of: int
    """Only edges of that time or before, in microseconds."""
    group_from: int
    """From how many on neighbours of one label are only told as a fan; 0 means never."""
    ahead: int = 0
    """So many nodes may come along that are asked for next: neighbours, their neighbours, and so on."""
    after: Place | None = None
    """Where the page before ended."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Many rows, as columns of one length."""

    near: Ints
    label: Ints
    far: Ints

    @classmethod
    def of(cls, rows: Iterable[Row] = ()) -> Self:
        """Such rows."""
        columns = ints(number for row in rows for number in row).reshape(-1, 3)
        return cls(columns[:, 0], columns[:, 1], columns[:, 2])

    def __len__(self) -> int:
        return len(self.far)

    def where(self, which: Marks | Ints) -> Rows:
        """Those that are marked, or those at such places."""
        return Rows(self.near[which], self.label[which], self.far[which])


@dataclass(slots=True)
class Found:
    """What a step found."""

    rows: Rows = field(default_factory=Rows.of)
    fans: list[tuple[int, int]] = field(default_factory=list)
    """Nodes and labels of which there are too many neighbours."""
    whole: Ints = field(default_factory=ints)
    """Nodes of which all is here, also those that were not asked for, ascending; told by a step that reads ahead."""
    after: Place | None = None
    """Where the next page begins; None when this is the last one."""


class Ahead:
    """What was found of many nodes, to be taken apart when their turn comes."""

    def __init__(self, found: Found) -> None:
        self._whole = found.whole
        self._rows = found.rows.where(np.argsort(found.rows.near, kind="stable"))
        self._fans: dict[int, list[tuple[int, int]]] = {}
        for fan in found.fans:
            self._fans.setdefault(fan[0], []).append(fan)

    def has(self, nodes: Ints) -> bool:
        """Whether all is here of each of some nodes."""
        return bool(are_among(nodes, self._whole).all())

    def of(self, nodes: Ints) -> Found:
        """What was found of some nodes."""
        starts, ends = (np.searchsorted(self._rows.near, nodes, side) for side in ("left", "right"))
        counts = ends - starts
        first = np.cumsum(counts) - counts  # where the rows of each node begin in the answer
        places = np.repeat(starts - first, counts) + np.arange(counts.sum())
        fans = [fan for node in nodes.tolist() for fan in self._fans.get(node, ())] if self._fans else []
        return Found(self._rows.where(places), fans)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What the expansion of some nodes found."""

    depth: int
    """Of the nodes found."""
    direction: Direction
    number: int
    """Counts the batches of this depth and direction."""
    nodes: Ints
    """Those that the walk meets for the first time, ascending."""
    labels: Ints
    """The label of each of them."""
    rows: Rows
    fans: list[tuple[int, int]]
    soon: frozenset[int] = frozenset()
    """Labels that come soon, as far as they were read ahead: details are read of many at once."""

    def ends(self, pair: tuple[int, int]) -> tuple[int, int]:
        """Source and target of such an edge."""
        far, near = pair
        return (far, near) if self.direction is Direction.UPSTREAM else (near, far)


RankedRow = tuple[int, int, int, int, int]
"""A node, the label of its neighbour, the neighbour, the number of the edge among those of that label, and its time."""


def fold(
    rows: Iterable[RankedRow], group_from: int, as_of: int
) -> tuple[list[Row], list[tuple[int, int]], list[tuple[int, int]]]:
    """The rows to follow, the fans, and those of which only the store can tell which they are.

    The rows are all edges whose number is at most `group_from`, so that of a large fan only its beginning is read. An edge that
    is later than `as_of` is not there; then the numbers alone do not say how many there were.
    """
    fans: dict[tuple[int, int], list[int]] = {}
    reached: set[tuple[int, int]] = set()
    for near, label, far, rank, time in rows:
        members = fans.setdefault((near, label), [])
        if time <= as_of:
            members.append(far)
        if rank >= group_from:
            reached.add((near, label))
    groups = [fan for fan, members in fans.items() if len(members) >= group_from]
    doubtful = [fan for fan in sorted(reached) if len(fans[fan]) < group_from]
    apart = {*groups, *doubtful}
    followed = [(near, label, far) for (near, label), members in fans.items() if (near, label) not in apart for far in members]
    return followed, groups, doubtful
