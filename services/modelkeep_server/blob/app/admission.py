"""Admission: how much at a time (RELIABILITY M-UP-5)."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from modelkeep.errors import TooBusy

from modelkeep_server.blob.domain import MAX_CHUNK_BYTES

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

    Who waits first goes first. A part of the limit is set aside for one chunk at a time, so that chunks of which each waits
    for room that the others have do not wait for ever: one of them is completed, and makes room for the next.
    """

    def __init__(self, limit_bytes: int, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        self._limit = limit_bytes
        self._reserve = min(MAX_CHUNK_BYTES, limit_bytes // 2)
        self._patience = patience_seconds
        self._held: dict[object, int] = {}
        self._bytes = 0
        self._favourite: object = None
        self._changed = asyncio.Condition()

    @property
    def is_tight(self) -> bool:
        """Whether so much is held that nothing should wait for more before it becomes durable."""
        return self._bytes > self._limit // 4

    async def hold(self, chunk: object, size_bytes: int) -> None:
        """Wait until that chunk, named by an object of the caller's, may have so many bytes in total. Raises TooBusy."""
        more = size_bytes - self._held.get(chunk, 0)
        if more <= 0:
            return
        try:
            async with asyncio.timeout(self._patience), self._changed:
                await self._changed.wait_for(lambda: self._has_room(chunk, more))
                self._bytes += more
                self._held[chunk] = size_bytes
        except TimeoutError:
            message = f"the store does not keep up with what comes in; try again in {_RETRY_SECONDS} s"
            raise TooBusy(message, limit=self._limit, retry_after_seconds=_RETRY_SECONDS) from None

    async def end(self, *chunks: object) -> None:
        """These chunks are durable, or gone."""
        async with self._changed:
            self._bytes -= sum(self._held.pop(chunk, 0) for chunk in chunks)
            if self._favourite in chunks:
                self._favourite = None
            self._changed.notify_all()

    def _has_room(self, chunk: object, more_bytes: int) -> bool:
        total = self._bytes + more_bytes
        if total <= self._limit - self._reserve:
            return True
        if self._favourite is None:
            self._favourite = chunk
        return self._favourite is chunk and total <= self._limit
