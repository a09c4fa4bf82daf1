"""What goes on when the call that began it is over: streams that broke, publications whose client has gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from modelkeep.names import LeaseName

T = TypeVar("T")

log = structlog.get_logger()
PATIENCE_SECONDS: Final = 15.0
"""Long enough for a disk that is busy; a client waits much longer for its answer."""


class Endings:
    """What was complete in a stream that broke is on its way to be published; who asks meanwhile had better wait for it.

    A client whose connection broke asks at once what is missing. Without waiting it would be told to send again what is
    just about to be published.
    """

    def __init__(self) -> None:
        self._tasks: dict[LeaseName, set[asyncio.Task[Any]]] = {}

    async def run(self, lease: LeaseName, ending: Coroutine[None, None, None]) -> None:
        """Put a stream away, to the end even when the call that had it is cancelled meanwhile."""
        task = asyncio.create_task(ending)
        self._remember(lease, task)
        await asyncio.shield(task)

    async def see_through(self, lease: LeaseName, work: Coroutine[None, None, T]) -> T:
        """The result of some work, which goes on to its end when the call that wants it is cancelled.

        Only then does anybody wait for it: as long as its client is there, what it asks meanwhile is meant.
        """
        task = asyncio.create_task(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._remember(lease, task)
            raise

    async def settled(self, lease: LeaseName) -> None:
        """Wait, for a bounded time, until no stream of that lease is being put away."""
        if tasks := self._tasks.get(lease):
            await asyncio.wait(tasks, timeout=PATIENCE_SECONDS)

    async def close(self) -> None:
        """Wait for all of them."""
        tasks = [task for tasks in self._tasks.values() for task in tasks]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _remember(self, lease: LeaseName, task: asyncio.Task[Any]) -> None:
        self._tasks.setdefault(lease, set()).add(task)
        task.add_done_callback(lambda done: self._forget(lease, done))

    def _forget(self, lease: LeaseName, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("ending_failed", lease=str(lease), error=str(error))
        self._tasks[lease].discard(task)
        if not self._tasks[lease]:
            del self._tasks[lease]
