"""Freshness: a question about the graph is answered once what was there when it was asked has been read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Final, TypeVar

from modelkeep.errors import ModelkeepError
from modelkeep.names import ProjectName

from modelkeep_server.lineage.app.graph_tail import Tail
from modelkeep_server.lineage.ports.graph import EventLogs, GraphReads

T = TypeVar("T")

LOOK_SECONDS: Final = 0.05
"""How often one looks whether another process has read on."""
BELIEF_SECONDS: Final = 5.0
"""How long what was seen of cursors is believed: they may be set back."""
LEAST_SECONDS: Final = 1.0
"""So long metadata has at least to say how far its logs go, also where nobody waits until they are read; and no longer once it
did not say so in time."""


class Freshness:
    """Waits for the tail, here or in another process; not for logs that it has waited for in vain."""

    def __init__(self, logs: EventLogs, graph: GraphReads, tail: Tail, wait_seconds: float) -> None:
        self._logs = logs
        self._graph = graph
        self._tail = tail
        self._wait_seconds = wait_seconds
        self._seen: Mapping[ProjectName, int] = {}
        """How far logs were read when one looked. Replaced, never changed."""
        self._doubt_at = 0.0
        self._is_away = False
        """Metadata did not answer the last time."""
        self._late: dict[ProjectName, int] = {}
        """Logs that were not read in time, and how far they went: until they are read so far, nobody waits for them."""

    async def fresh(self, read: Callable[[], Awaitable[T]], *projects: ProjectName) -> tuple[T, bool]:
        """What `read` finds once the events that are there now are read; and whether that took too long, or metadata is away.

        It reads while metadata is asked, since mostly nothing is missing; where something was, it reads again.
        Of more projects than a page of heads has, only `projects` are looked at.
        """
        now = asyncio.get_running_loop().time()
        if now >= self._doubt_at:
            self._seen, self._doubt_at = {}, now + BELIEF_SECONDS
        seen = self._seen
        heads, found = await asyncio.gather(self._heads(*projects), read())
        if heads is None:
            return found, True
        # A log that ends before the place up to which it was read was restored from a backup: the tail sets its cursor back.
        unread = {project: head for project, head in heads.items() if head != seen.get(project, 0)}
        if not unread:
            return found, False
        missing = await self._look(unread, seen)
        if missing and missing.keys() <= self._hopeless() and all(self._seen.get(p, 0) == seen.get(p, 0) for p in unread):
            return found, True
        is_lagging = not await self._caught_up(missing, seen, now + self._wait_seconds)
        return await read(), is_lagging

    async def _heads(self, *projects: ProjectName) -> Mapping[ProjectName, int] | None:
        """How far the logs go; None when metadata does not answer, or not in time."""
        patience = LEAST_SECONDS if self._is_away else max(self._wait_seconds, LEAST_SECONDS)
        try:
            async with asyncio.timeout(patience):
                heads, more = await self._logs.heads()
                if more:
                    heads = {project: await self._logs.head(project) for project in projects}
        except (ModelkeepError, TimeoutError):
            self._is_away = True
            return None
        self._is_away = False
        return heads

    async def _look(self, heads: Mapping[ProjectName, int], before: Mapping[ProjectName, int]) -> Mapping[ProjectName, int]:
        """Look at the cursors of some logs; which of them are not read so far."""
        cursors = await self._graph.cursors(heads.keys())
        self._seen = {**self._seen, **cursors}
        for project in [project for project in heads if cursors.get(project, 0) >= self._late.get(project, 0)]:
            self._late.pop(project, None)
        return {p: head for p, head in heads.items() if not _is_read(head, before.get(p, 0), cursors.get(p, 0))}

    def _hopeless(self) -> AbstractSet[ProjectName]:
        return self._late.keys() | self._tail.stuck

    async def _caught_up(self, missing: Mapping[ProjectName, int], seen: Mapping[ProjectName, int], end: float) -> bool:
        """Wait until the logs are read so far; false when that takes too long, and at once where only hopeless ones are not."""
        clock = asyncio.get_running_loop().time
        while hopeful := missing.keys() - self._hopeless():
            if clock() >= end:
                self._late |= {project: missing[project] for project in hopeful}
                return False
            moved = self._tail.moved
            self._tail.wake()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await moved.wait()
            missing = await self._look(missing, seen)
        return not missing


def _is_read(head: int, before: int, now: int) -> bool:
    """Whether a log is read up to its head, by what was seen of its cursor before the head was asked for, and now."""
    return head <= now and (before <= head or now < before)
