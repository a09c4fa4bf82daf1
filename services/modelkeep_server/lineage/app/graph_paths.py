"""StreamPaths: all that lies on any way from one node to another.

First everything that the target comes from is found, which of a model is little where what a data set led to is much; then what
the source reaches among that. Only ids are kept: a few bytes for each node, 24 bytes for each edge. Once it is known what this
answer tells, no more than that is kept while somebody reads it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import islice
from typing import Final

from modelkeep_server.database.paging import Page, token
from modelkeep_server.lineage.app.graph_base import Questions, Start
from modelkeep_server.lineage.app.graph_show import Moment, Parts, View
from modelkeep_server.lineage.domain.graph import Direction, Part, Truncation
from modelkeep_server.lineage.domain.graph_ask import PathsAsk
from modelkeep_server.lineage.domain.graph_paths import Subgraph, Told
from modelkeep_server.runtime.callers import Caller

EDGES_PER_NODE: Final = 2
"""So many edges are kept at most, for each node that a walk may meet."""
STEPS_AT_ONCE: Final = 2000
"""After so many steps through what was found others get their turn: a few milliseconds."""


async def paths(questions: Questions, caller: Caller, ask: PathsAsk) -> AsyncIterator[Part]:
    """The parts of the answer."""
    position = Page(token=ask.continuation).position(*ask.query(), of=(int,) * 3)
    source = await questions.start(caller, ask.source, ask.as_of)
    target = await questions.start(caller, ask.target, ask.as_of)
    moment = Moment(position[0] if position else source.moment.as_of, source.moment.is_past)
    begin = (position[1], position[2]) if position else (0, 0)
    async with questions.walking():
        told, end = await _Finding(questions, ask, moment).found(source, target, begin)
    parts = Parts(View(questions.graph, caller), moment)
    for node, depth, edges in told.nodes():
        parts.node(node, depth)
        for edge in edges:
            parts.edge(*edge)
            if parts.is_full:
                yield await parts.part()
        if parts.is_full:
            yield await parts.part()
    last = await parts.part()
    last.truncation, last.is_lagging = end, source.is_lagging or target.is_lagging
    yield last


class _Finding:
    """Finds what one answer tells."""

    def __init__(self, questions: Questions, ask: PathsAsk, moment: Moment) -> None:
        self._questions = questions
        self._ask = ask
        self._moment = moment
        self._most = min(ask.max_nodes or questions.limits.max_nodes, questions.limits.max_nodes)

    async def found(self, source: Start, target: Start, begin: tuple[int, int]) -> tuple[Told, Truncation | None]:
        """Each node with its edges to those before it, from a depth and node on; and how the answer ends."""
        subgraph = Subgraph()
        walk = self._questions.walk(target.node, Direction.UPSTREAM, self._moment)
        most_edges = EDGES_PER_NODE * self._questions.limits.max_walked
        end: Truncation | None = None
        async for batch in self._questions.everything(walk):
            ends = zip(batch.rows.far.tolist(), batch.rows.near.tolist(), strict=True)
            while some := list(islice(ends, STEPS_AT_ONCE)):
                subgraph.add(some)
                await asyncio.sleep(0)
            if len(subgraph) >= most_edges:
                end = Truncation(f"the walk met {most_edges:,} edges, which is the limit of this server", "")
                break
        if end is None and self._questions.is_spent(walk):
            end = Truncation(self._questions.spent_reason(), "")
        told = Told()
        if source.node.id in walk:
            end = await self._tell(subgraph, source.node.id, begin, told) or end
        return told, end

    async def _tell(self, subgraph: Subgraph, source: int, begin: tuple[int, int], told: Told) -> Truncation | None:
        for count, (depth, node, edge) in enumerate(subgraph.reached(source)):
            if count % STEPS_AT_ONCE == 0:
                await asyncio.sleep(0)
            if (depth, node) < begin:
                continue
            if len(told) >= self._most and not told.is_last(node):
                reason = f"{self._most:,} nodes were told, which is the limit"
                return Truncation(reason, token([self._moment.as_of, depth, node], *self._ask.query()))
            told.add(depth, node, edge)
        return None
