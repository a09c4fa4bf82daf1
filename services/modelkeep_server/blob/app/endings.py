"""Streams that broke and are being put away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from modelkeep.names import LeaseName

PATIENCE_SECONDS: Final = 5.0


class Endings:
    """What was complete in a stream that broke is on its way to be published; who asks meanwhile had better wait for it.

    A client whose connection broke asks at once what is missing. Without waiting it would be told to send again what is
    just about to be published.
    """

    def __init__(self) -> None:
        self._tasks: dict[LeaseName, set[asyncio.Task[None]]] = {}

    async def run(self, lease: LeaseName, ending: Coroutine[None, None, None]) -> None:
        """Put a stream away, to the end even when the call that had it is cancelled meanwhile."""
        task = asyncio.create_task(ending)
        self._tasks.setdefault(lease, set()).add(task)
        task.add_done_callback(lambda done: self._forget(lease, done))
        await asyncio.shield(task)

    async def settled(self, lease: LeaseName) -> None:
        """Wait, for a bounded time, until no stream of that lease is being put away."""
        if tasks := self._tasks.get(lease):
            await asyncio.wait(tasks, timeout=PATIENCE_SECONDS)

    async def close(self) -> None:
        """Wait for all of them."""
        tasks = [task for tasks in self._tasks.values() for task in tasks]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, lease: LeaseName, task: asyncio.Task[None]) -> None:
        self._tasks[lease].discard(task)
        if not self._tasks[lease]:
            del self._tasks[lease]
