"""What all questions about the graph share: who may ask, where it begins, as of when, and how many walk at once."""

from __future__ import annotations

from asyncio import gather
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from modelkeep.errors import NotFound, RunNotFound, TooBusy, VersionNotFound
from modelkeep.names import RunName

from modelkeep_server.lineage.app.graph_fresh import Freshness
from modelkeep_server.lineage.app.graph_show import Moment
from modelkeep_server.lineage.app.graph_walk import Walk
from modelkeep_server.lineage.domain.graph import Direction, Node
from modelkeep_server.lineage.domain.graph_ask import GraphName, project_of
from modelkeep_server.lineage.domain.graph_walk import Batch
from modelkeep_server.lineage.domain.limits import Limits
from modelkeep_server.lineage.ports.graph import GraphReads
from modelkeep_server.runtime.callers import Caller

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Start:
    """Where a question begins."""

    node: Node
    moment: Moment
    is_lagging: bool


class Questions:
    """The graph, the tail that keeps it fresh, and the limits of what is asked."""

    def __init__(self, graph: GraphReads, freshness: Freshness, limits: Limits) -> None:
        self.graph = graph
        self.limits = limits
        self._freshness = freshness
        self._walks = 0

    async def start(self, caller: Caller, name: GraphName, as_of: datetime | None) -> Start:
        """Where a question about a run or a version begins, once its events are read.

        Raises PermissionDenied, RunNotFound, VersionNotFound.
        """
        caller.require(name.team)

        async def read() -> tuple[Node | None, Moment]:
            return await gather(self.graph.find(name), self.moment(as_of))

        (node, moment), is_lagging = await self._freshness.fresh(read, project_of(name))
        if node is None:
            raise _missing(name, is_lagging=is_lagging)
        return Start(node, moment, is_lagging)

    async def moment(self, as_of: datetime | None) -> Moment:
        """As of when the graph is asked for."""
        if as_of is not None:
            return Moment((as_of - _EPOCH) // timedelta(microseconds=1), is_past=True)
        return Moment(await self.graph.latest(), is_past=False)

    @contextmanager
    def walking(self) -> Iterator[None]:
        """One walk more, unless there are too many. Raises TooBusy."""
        most = self.limits.max_walks
        if self._walks >= most:
            raise TooBusy(
                f"{most} walks go through the graph here, which is the limit; try again in 1 s", retry_after_seconds=1
            )
        self._walks += 1
        try:
            yield
        finally:
            self._walks -= 1

    def walk(self, root: Node, direction: Direction, moment: Moment, group_from: int = 0) -> Walk:
        """A walk from a node."""
        return Walk(self.graph, root.id, direction, as_of=moment.as_of, group_from=group_from)

    async def everything(self, walk: Walk) -> AsyncIterator[Batch]:
        """All that a walk meets, as far as the limit allows; ask `is_spent` then."""
        while not walk.is_over and not self.is_spent(walk):
            async for batch in walk.level():
                yield batch
                if self.is_spent(walk):
                    return

    def is_spent(self, walk: Walk) -> bool:
        """Whether a walk has met as many nodes as it may."""
        return len(walk) >= self.limits.max_walked

    def spent_reason(self) -> str:
        """What to tell then."""
        return f"the walk met {self.limits.max_walked:,} nodes, which is the limit of this server; ask for fewer levels"


def _missing(name: GraphName, *, is_lagging: bool) -> NotFound:
    hint = "; not all events were read yet, so ask again" if is_lagging else ""
    if isinstance(name, RunName):
        return RunNotFound(f"there is no run {name.run!r} in {name.team}/{name.project}{hint}", run=str(name))
    message = f"there is no {name.short} in {name.team}/{name.project} of the graph{hint or '; use its present name'}"
    return VersionNotFound(message, version=str(name))
