"""What all questions about the graph share: who may ask, where it begins, as of when, and how many walk at once."""

from __future__ import annotations

import asyncio
from asyncio import gather
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from modelkeep.address import format_moment
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

T = TypeVar("T")

TURN_SECONDS: Final = 1.0
"""How long a walk waits until it may begin, while there are too many."""
MORE_SECONDS: Final = 30.0
"""How long one waits that has begun, and is to go on."""

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
        self._turns = asyncio.Semaphore(limits.max_walks)

    async def start(self, caller: Caller, name: GraphName, as_of: datetime | None) -> Start:
        """Where a question about a run or a version begins, once its events are read.

        Raises PermissionDenied, RunNotFound, VersionNotFound (also when it did not exist then).
        """
        caller.require(name.team)

        async def read() -> tuple[Node | None, Moment]:
            return await gather(self.graph.find(name), self.moment(as_of))

        (node, moment), is_lagging = await self._freshness.fresh(read, project_of(name))
        if node is None:
            raise _missing(name, is_lagging=is_lagging)
        if as_of and node.create_time and node.create_time > as_of:
            raise _later(name, node.create_time, as_of)
        return Start(node, moment, is_lagging)

    async def moment(self, as_of: datetime | None) -> Moment:
        """As of when the graph is asked for."""
        if as_of is not None:
            return Moment((as_of - _EPOCH) // timedelta(microseconds=1), is_past=True)
        return Moment(await self.graph.latest(), is_past=False)

    @asynccontextmanager
    async def walking(self, *, has_begun: bool = False) -> AsyncIterator[None]:
        """One walk more, as soon as there are not too many. Raises TooBusy.

        Only for as long as this server works on it: never while events are waited for, or while somebody reads an answer.
        """
        try:
            async with asyncio.timeout(MORE_SECONDS if has_begun else TURN_SECONDS):
                await self._turns.acquire()
        except TimeoutError:
            message = f"{self.limits.max_walks} walks go through the graph here, which is the limit; try again in 1 s"
            raise TooBusy(message, retry_after_seconds=1) from None
        try:
            yield
        finally:
            self._turns.release()

    async def in_turns(self, parts: AsyncGenerator[T]) -> AsyncIterator[T]:
        """What a walk tells, each part in a turn of its own: who stops reading keeps nobody else from walking."""
        has_begun = False
        async with aclosing(parts):
            while True:
                async with self.walking(has_begun=has_begun):
                    part = await anext(parts, None)
                if part is None:
                    return
                yield part
                has_begun = True

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
        return len(walk) > self.limits.max_walked

    def spent_reason(self) -> str:
        """What to tell then."""
        return f"the walk met {self.limits.max_walked:,} nodes, which is the limit of this server; ask for fewer levels"


def _missing(name: GraphName, *, is_lagging: bool) -> NotFound:
    hint = "; not all events were read yet, so ask again" if is_lagging else ""
    if isinstance(name, RunName):
        return RunNotFound(f"there is no run {name.run!r} in {name.team}/{name.project}{hint}", run=str(name))
    message = f"there is no {name.short} in {name.team}/{name.project} of the graph{hint or '; use its present name'}"
    return VersionNotFound(message, version=str(name))


def _later(name: GraphName, created: datetime, as_of: datetime) -> NotFound:
    when, then = format_moment(created), format_moment(as_of)
    if isinstance(name, RunName):
        return RunNotFound(f"the run {name.run!r} did not exist on {then}: it began on {when}", run=str(name), create_time=when)
    message = f"{name.short} did not exist on {then}: it was created on {when}"
    return VersionNotFound(message, version=str(name), create_time=when)
