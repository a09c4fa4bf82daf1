"""The tail of metadata's events: the one process that holds the `owner` row turns them into the graph.

It reads what it has not read yet, a bounded piece of each log in turn, and each piece moves the cursor of its project in the
transaction that changes the graph. So a crash loses nothing, and nothing counts twice. Who waits for an event wakes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import structlog
from modelkeep.errors import ModelkeepError, ResourceExhausted, Unavailable
from modelkeep.names import ProjectName

from modelkeep_server.lineage.ports.graph import EventLogs, GraphLog, OwnerChanged

log = structlog.get_logger()

EVENTS_AT_ONCE: Final = 250
"""How many events one transaction turns into nodes and edges at most."""
MOST_BACKOFF: Final = 32
"""So many ticks, at most, until metadata or the database is asked again after a failure; and a log after its own."""


@dataclass(frozen=True, slots=True)
class _Stuck:
    """A log that cannot be read on."""

    failures: int
    again_at: float
    """When it is tried again, by the clock of the loop."""
    fault: str


class Tail:
    """Reads the logs in a task of its own, from `start` to `close`."""

    def __init__(self, logs: EventLogs, graph: GraphLog, tick_seconds: float) -> None:
        self._logs = logs
        self._graph = graph
        self._tick_seconds = tick_seconds
        self._holder = str(uuid4())
        self._epoch: int | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stuck: dict[ProjectName, _Stuck] = {}
        self._drains = False
        self.moved = asyncio.Event()
        """Set, and replaced, each time that this process has read something."""

    def start(self) -> None:
        """Begin to read."""
        self._task = asyncio.create_task(self._run())

    def wake(self) -> None:
        """There is something to read."""
        self._wake.set()

    def drain(self) -> None:
        """The process ends. Questions under way may need what is read until then; that metadata goes too is no news."""
        self._drains = True

    @property
    def stuck(self) -> AbstractSet[ProjectName]:
        """The projects whose logs cannot be read on, as far as this process knows."""
        return self._stuck.keys()

    async def close(self) -> None:
        """Read no more, and let another process begin at once."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            if self._epoch is not None:
                with suppress(ModelkeepError):
                    await self._graph.release(self._holder)

    async def round(self) -> bool:
        """Read a piece of each log that has more; whether there was any. False too while another process owns the graph."""
        self._epoch = await self._graph.own(self._holder)
        if self._epoch is None:
            self._stuck.clear()  # whoever reads them now may have better luck
            return False
        try:
            busy = await self._read(self._epoch)
            return await self._graph.settle(self._epoch) or busy
        except OwnerChanged:
            log.warning("another process reads the events now")
            self._epoch = None
            return False

    async def _read(self, epoch: int) -> bool:
        cursors = await self._graph.cursors()
        token, busy = "", False
        while True:
            heads, token = await self._logs.heads(token)
            busy |= await self._set_back(epoch, heads, cursors)
            for project, after in _behind(heads, cursors).items():
                busy |= await self._apply(epoch, project, after)
            if busy:
                self.moved.set()
                self.moved = asyncio.Event()
            if not token:
                return busy

    async def _set_back(self, epoch: int, heads: Mapping[ProjectName, int], cursors: Mapping[ProjectName, int]) -> bool:
        """Have logs that end before what was read of them read again: their numbers are given a second time."""
        lost = [(project, head, cursors[project]) for project, head in heads.items() if head < cursors.get(project, 0)]
        for project, head, cursor in lost:
            message = "a log ends before what was read of it: was metadata restored? it is read again from its beginning"
            log.error(message, project=str(project), head=head, read=cursor)
            await self._graph.set_back(epoch, project, cursor)
        return bool(lost)

    async def _apply(self, epoch: int, project: ProjectName, after: int) -> bool:
        clock = asyncio.get_running_loop().time
        stuck = self._stuck.get(project)
        if stuck is not None and clock() < stuck.again_at:
            return False
        try:
            events = await self._logs.events(project, after, EVENTS_AT_ONCE)
            busy = bool(events) and await self._graph.apply(epoch, project, after, events)
        except (Unavailable, ResourceExhausted, OwnerChanged):
            raise  # it is not this log that is to blame
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            # The log of this project goes on when the fault is mended; the others go on now.
            self._stuck[project] = self._failed(project, after, error, stuck)
            return False
        self._stuck.pop(project, None)
        return busy

    def _failed(self, project: ProjectName, after: int, error: Exception, stuck: _Stuck | None) -> _Stuck:
        """What to remember of a log that could not be read on. A fault is told in full once, later that it is still there."""
        fault = f"{type(error).__name__} after {after}"
        failures = stuck.failures + 1 if stuck else 1
        if stuck is None or stuck.fault != fault:
            log.error("cannot turn events into the graph", project=str(project), after=after, exc_info=error)
        else:
            words = {"project": str(project), "after": after, "failures": failures, "error": type(error).__name__}
            log.warning("still cannot turn events into the graph", **words)
        seconds = self._tick_seconds * min(2**failures, MOST_BACKOFF)
        return _Stuck(failures, asyncio.get_running_loop().time() + seconds, fault)

    async def _run(self) -> None:
        failures = 0
        while True:
            busy = False
            try:
                self._wake.clear()
                busy = await self.round()
                failures = 0
            except ModelkeepError as error:
                if self._drains:
                    return
                failures += 1
                log.warning("cannot read the events", error=f"{type(error).__name__}: {error.message}")
            except Exception:
                failures += 1
                log.exception("cannot turn events into the graph")
            if not busy:
                await self._rest(self._tick_seconds * min(2**failures, MOST_BACKOFF))

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()


def _behind(heads: Mapping[ProjectName, int], cursors: Mapping[ProjectName, int]) -> Mapping[ProjectName, int]:
    """The projects whose logs have more than was read, and how far that was."""
    return {project: cursors.get(project, 0) for project, head in heads.items() if head > cursors.get(project, 0)}
