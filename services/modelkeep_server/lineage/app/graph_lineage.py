"""StreamLineage: a walk from a run or a version, breadth first, shown in parts.

A continuation names a place in the walk. The walk is gone through again up to there, by ids alone, as of the moment of the
first answer: so what happens later does not move the place, nothing comes twice, and nothing is left out. There are exceptions.
An event that happened before that moment may be read after it, from another log or after a reset; and a node may get another
label, when a run that was known from events alone is begun or a copy was read before its origin, which moves it into another
group or out of one. Then the walk is another one: what comes before the place in it and was not told is left out, and
what was told and comes after it comes again. Who needs the whole as it is asks once more without a continuation.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Final

import numpy as np

from modelkeep_server.database.paging import Page, token
from modelkeep_server.lineage.app.graph_base import Questions, Start
from modelkeep_server.lineage.app.graph_show import Moment, Parts, View
from modelkeep_server.lineage.app.graph_walk import Walk
from modelkeep_server.lineage.domain.graph import Fan, Part, Truncation
from modelkeep_server.lineage.domain.graph_ask import LineageAsk
from modelkeep_server.lineage.domain.graph_ids import FARTHEST, IdSet, Ints, are_among, ints
from modelkeep_server.lineage.domain.graph_walk import Batch
from modelkeep_server.runtime.callers import Caller


@dataclass(frozen=True, slots=True, order=True)
class Cut:
    """A place in a walk: what of a batch comes next."""

    depth: int = 0
    walk: int = 0
    batch: int = 0
    node: int = 0
    """The node; ALL when only groups are left."""
    group: int = 0
    """How many groups were told."""

    @property
    def of_batch(self) -> Cut:
        """Where the batch begins."""
        return replace(self, node=0, group=0)


ALL: Final = 10**17
"""Larger than any id."""


async def lineage(questions: Questions, caller: Caller, ask: LineageAsk) -> AsyncIterator[Part]:
    """The parts of the answer."""
    position = Page(token=ask.continuation).position(*ask.query(), of=(int,) * 6)
    start = await questions.start(caller, ask.name, ask.as_of)
    moment, cut = start.moment, Cut()
    if position:
        moment, cut = Moment(position[0], is_past=moment.is_past), Cut(*position[1:])
    telling = _Telling(questions, View(questions.graph, caller, ask.filter), ask, moment, cut)
    async for part in questions.in_turns(telling.parts(start)):
        yield part


class _Telling:
    """One answer."""

    def __init__(self, questions: Questions, view: View, ask: LineageAsk, moment: Moment, cut: Cut) -> None:
        self._questions = questions
        self._view = view
        self._ask = ask
        self._moment = moment
        self._cut = cut
        self._first = cut.of_batch
        """The batch where this answer begins; nothing of those before it is told."""
        self._most = min(ask.max_nodes or questions.limits.max_nodes, questions.limits.max_nodes)
        self._told = 0
        self._parts = Parts(view, moment)
        self._shown = IdSet()
        self._above: list[Ints] = []
        """For each walk, those of the nodes that are expanded now that are shown; kept where a filter leaves some out."""
        self._below: list[list[Ints]] = []
        """The same of the nodes that are found now."""
        self._end: Truncation | None = None

    async def parts(self, start: Start) -> AsyncGenerator[Part]:
        """All parts; the last one tells how it ended."""
        root = start.node
        self._shown.add(root.id)
        self._below = [[ints([root.id])] for _ in self._ask.directions]
        if self._cut == Cut():
            self._parts.node(root.id, 0)
            self._told = 1
        walks = [self._questions.walk(root, way, self._moment, self._ask.group_from) for way in self._ask.directions]
        async for index, batch in self._batches(walks):
            passing = await self._view.passing(batch.nodes, batch.labels, batch.soon)
            newly = passing[self._shown.add_ascending(passing)].tolist()
            if not self._view.is_open:
                self._below[index].append(passing)
            for _ in self._tell(Cut(batch.depth, index, batch.number), batch, newly):
                if self._parts.is_full:
                    yield await self._parts.part()
            if self._end:
                break
        last = await self._parts.part()
        last.truncation, last.is_lagging = self._end, start.is_lagging
        yield last

    async def _batches(self, walks: list[Walk]) -> AsyncIterator[tuple[int, Batch]]:
        """Level by level, in all directions."""
        farthest = self._ask.max_depth or FARTHEST
        for _ in range(farthest):
            if all(walk.is_over for walk in walks):
                return
            self._above = [np.sort(np.concatenate([ints(), *some])) for some in self._below]
            self._below = [[] for _ in walks]
            for index, walk in enumerate(walks):
                async for batch in walk.level():
                    yield index, batch
                    if self._questions.is_spent(walk):
                        self._end = Truncation(self._questions.spent_reason(), "")
                        return
        if not self._ask.max_depth and not all(walk.is_over for walk in walks):
            self._end = Truncation(f"the walk went {farthest:,} levels far, which is the limit; begin farther on", "")

    def _tell(self, place: Cut, batch: Batch, newly: Sequence[int]) -> Iterator[None]:
        """Note what a batch found, from the node on where an earlier answer stopped; gives way after each thing.

        First the edges to nodes that were shown before, then each new node with its edges, then the groups.
        """
        if place < self._first:
            return
        stopped_at, groups_told = (self._cut.node, self._cut.group) if place == self._first else (0, 0)
        edges: dict[int, list[int]] = {far: [] for far in newly}
        for far, near in self._edges(place.walk, batch):
            if far in edges:
                edges[far].append(near)
            elif not stopped_at:
                self._parts.edge(*batch.ends((far, near)))
                yield
        for far, nears in edges.items():
            if far < stopped_at:
                continue
            if self._is_enough(place, far):
                return
            self._parts.node(far, batch.depth)
            self._told += 1
            yield
            for near in nears:
                self._parts.edge(*batch.ends((far, near)))
                yield
        for told, (near, label) in enumerate(batch.fans[groups_told:], groups_told):
            if self._is_enough(place, ALL, told):
                return
            self._parts.fan(Fan(near, batch.direction, label), batch.depth)
            self._told += 1
            yield

    def _edges(self, index: int, batch: Batch) -> list[tuple[int, int]]:
        """The edges whose ends are both shown, as the node that was found and the one that was expanded."""
        rows = batch.rows
        if not self._view.is_open:
            rows = rows.where(are_among(rows.near, self._above[index]))
            if not len(rows):
                return []
            rows = rows.where(self._shown.among(rows.far))
        rows = rows.where(np.lexsort((rows.near, rows.far)))
        return list(zip(rows.far.tolist(), rows.near.tolist(), strict=True))

    def _is_enough(self, place: Cut, node: int, group: int = 0) -> bool:
        """Whether the answer ends here; then the next one begins with what follows in the batch."""
        if self._told < self._most:
            return False
        reason = f"{self._most:,} nodes and groups were told, which is the limit"
        following = [self._moment.as_of, *astuple(replace(place, node=node, group=group))]
        self._end = Truncation(reason, token(following, *self._ask.query()))
        return True
