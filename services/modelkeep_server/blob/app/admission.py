"""Admission: how much at a time (RELIABILITY M-UP-5)."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from modelkeep.errors import TooBusy

from modelkeep_server.blob.domain import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE_SECONDS: Final = 30.0
"""How long a stream waits for others to become durable before its caller is told to come back."""
_RETRY_SECONDS: Final = 2


class Streams:
    """At most so many streams of one kind."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Be one of them. Raises TooBusy."""
        if self._open >= self._limit:
            message = f"the server has {self._open} such streams open already; try again in {_RETRY_SECONDS} s"
            raise TooBusy(message, limit=self._limit, retry_after_seconds=_RETRY_SECONDS)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


class Pending:
    """At most so many bytes that were received and are not yet durable, over all streams: a slow disk slows its writers down.

    Who waits first goes first. A chunk counts as 1 MiB at least: a small one costs an open file too.
    """

    def __init__(self, limit_bytes: int, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        self._limit = limit_bytes
        self._patience = patience_seconds
        self._bytes = 0
        self._changed = asyncio.Condition()

    async def begin(self, size_bytes: int) -> None:
        """Wait until a chunk of that size fits. Raises TooBusy."""
        cost = max(size_bytes, MIB)
        try:
            async with asyncio.timeout(self._patience), self._changed:
                await self._changed.wait_for(lambda: self._bytes + cost <= self._limit)
                self._bytes += cost
        except TimeoutError:
            message = f"the store does not keep up with what comes in; try again in {_RETRY_SECONDS} s"
            raise TooBusy(message, limit=self._limit, retry_after_seconds=_RETRY_SECONDS) from None

    async def end(self, *sizes_bytes: int) -> None:
        """Chunks of these sizes are durable, or gone."""
        async with self._changed:
            self._bytes -= sum(max(size, MIB) for size in sizes_bytes)
            self._changed.notify_all()
