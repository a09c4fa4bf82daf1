"""StreamPaths: all that lies on any way from one node to another.

First everything that the target comes from is found, which of a model is little where what a data set led to is much; then what
the source reaches among that. Only ids are kept: a byte for each node, sixteen bytes for each edge.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from modelkeep_server.database.paging import Page, token
from modelkeep_server.lineage.app.graph_base import Questions, Start
from modelkeep_server.lineage.app.graph_show import Moment, Parts, View
from modelkeep_server.lineage.domain.graph import Direction, Part, Truncation
from modelkeep_server.lineage.domain.graph_ask import PathsAsk
from modelkeep_server.lineage.domain.graph_paths import Subgraph
from modelkeep_server.runtime.callers import Caller


async def paths(questions: Questions, caller: Caller, ask: PathsAsk) -> AsyncIterator[Part]:
    """The parts of the answer."""
    position = Page(token=ask.continuation).position(*ask.query(), of=(int,) * 3)
    with questions.walking():
        source = await questions.start(caller, ask.source, ask.as_of)
        target = await questions.start(caller, ask.target, ask.as_of)
        moment = Moment(position[0] if position else source.moment.as_of, source.moment.is_past)
        begin = (position[1], position[2]) if position else (0, 0)
        subgraph = Subgraph()
        walk = questions.walk(target.node, Direction.UPSTREAM, moment)
        async for batch in questions.everything(walk):
            subgraph.add((far, near) for near, _, far in batch.rows)
        end = Truncation(questions.spent_reason(), "") if questions.is_spent(walk) else None
        is_lagging = source.is_lagging or target.is_lagging
        telling = _Telling(questions, View(questions.graph, caller), ask, moment)
        if source.node.id in walk:
            async for part in telling.parts(subgraph, source, begin):
                yield part
        last = await telling.rest()
        last.truncation, last.is_lagging = telling.end or end, is_lagging
        yield last


class _Telling:
    """One answer."""

    def __init__(self, questions: Questions, view: View, ask: PathsAsk, moment: Moment) -> None:
        self._parts = Parts(view, moment)
        self.rest = self._parts.part
        self._ask = ask
        self._moment = moment
        self._most = min(ask.max_nodes or questions.limits.max_nodes, questions.limits.max_nodes)
        self.end: Truncation | None = None

    async def parts(self, subgraph: Subgraph, source: Start, begin: tuple[int, int]) -> AsyncIterator[Part]:
        """All parts but the last one: each node with its edges to those before it, from a depth and node on."""
        told = 0
        for depth, level in subgraph.levels(source.node.id):
            for node, edges in level:
                if (depth, node) < begin:
                    continue
                if told >= self._most:
                    self.end = self._truncation(depth, node)
                    return
                self._parts.node(node, depth)
                told += 1
                for edge in edges:
                    self._parts.edge(*edge)
                    if self._parts.is_full:
                        yield await self._parts.part()
                if self._parts.is_full:
                    yield await self._parts.part()

    def _truncation(self, depth: int, node: int) -> Truncation:
        reason = f"{self._most:,} nodes were told, which is the limit; go on with the continuation"
        return Truncation(reason, token([self._moment.as_of, depth, node], *self._ask.query()))
