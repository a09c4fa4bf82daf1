"""Freshness: a question about the graph is answered once what was there when it was asked has been read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from modelkeep.errors import ModelkeepError
from modelkeep.names import ProjectName

from modelkeep_server.lineage.app.graph_tail import Tail
from modelkeep_server.lineage.ports.graph import EventLogs, GraphReads

LOOK_SECONDS: Final = 0.05
"""How often one looks whether another process has read on."""


class Freshness:
    """Waits for the tail, here or in another process."""

    def __init__(self, logs: EventLogs, graph: GraphReads, tail: Tail, wait_seconds: float) -> None:
        self._logs = logs
        self._graph = graph
        self._tail = tail
        self._wait_seconds = wait_seconds
        self._read: dict[ProjectName, int] = {}
        """How far logs were read at least: a cursor never goes back."""

    async def is_lagging(self, *projects: ProjectName) -> bool:
        """Wait until the events that are there now are read; true where that took too long, or metadata does not answer.

        Of more projects than a page of heads has, only these are looked at.
        """
        try:
            heads, more = await self._logs.heads()
            if more:
                heads = {project: await self._logs.head(project) for project in projects}
        except ModelkeepError:
            return True
        clock = asyncio.get_running_loop().time
        end = clock() + self._wait_seconds
        while missing := self._missing(heads):
            moved = self._tail.moved
            self._read |= await self._graph.cursors(missing.keys())
            if not self._missing(heads):
                break
            if clock() >= end:
                return True
            self._tail.wake()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await moved.wait()
        return False

    def _missing(self, heads: Mapping[ProjectName, int]) -> Mapping[ProjectName, int]:
        return {project: head for project, head in heads.items() if head > self._read.get(project, 0)}
