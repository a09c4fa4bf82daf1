"""Freshness: a question about the graph is answered once what was there when it was asked has been read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, TypeVar

from modelkeep.errors import ModelkeepError
from modelkeep.names import ProjectName

from modelkeep_server.lineage.app.graph_tail import Tail
from modelkeep_server.lineage.ports.graph import EventLogs, GraphReads

T = TypeVar("T")

LOOK_SECONDS: Final = 0.05
"""How often one looks whether another process has read on."""


class Freshness:
    """Waits for the tail, here or in another process."""

    def __init__(self, logs: EventLogs, graph: GraphReads, tail: Tail, wait_seconds: float) -> None:
        self._logs = logs
        self._graph = graph
        self._tail = tail
        self._wait_seconds = wait_seconds
        self._seen: Mapping[ProjectName, int] = {}
        """How far logs were read at least: a cursor never goes back. Replaced, never changed."""

    async def fresh(self, read: Callable[[], Awaitable[T]], *projects: ProjectName) -> tuple[T, bool]:
        """What `read` finds once the events that are there now are read; and whether that took too long, or metadata is away.

        It reads while metadata is asked, since mostly nothing is missing; where something was, it reads again.
        Of more projects than a page of heads has, only `projects` are looked at.
        """
        seen = self._seen
        heads, found = await asyncio.gather(self._heads(*projects), read())
        if heads is None or not _missing(heads, seen):
            return found, heads is None
        is_lagging = not await self._caught_up(heads)
        return await read(), is_lagging

    async def _heads(self, *projects: ProjectName) -> Mapping[ProjectName, int] | None:
        """How far the logs go; None when metadata does not answer."""
        try:
            heads, more = await self._logs.heads()
            return {project: await self._logs.head(project) for project in projects} if more else heads
        except ModelkeepError:
            return None

    async def _caught_up(self, heads: Mapping[ProjectName, int]) -> bool:
        """Wait until the logs are read so far; false when that takes too long."""
        clock = asyncio.get_running_loop().time
        end = clock() + self._wait_seconds
        while missing := _missing(heads, self._seen):
            moved = self._tail.moved
            self._seen = {**self._seen, **await self._graph.cursors(missing.keys())}
            if not _missing(heads, self._seen):
                break
            if clock() >= end:
                return False
            self._tail.wake()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await moved.wait()
        return True


def _missing(heads: Mapping[ProjectName, int], seen: Mapping[ProjectName, int]) -> Mapping[ProjectName, int]:
    return {project: head for project, head in heads.items() if head > seen.get(project, 0)}
