"""Look-ups: what many calls ask for at once, asked of the database once.

A statement for one row costs a process far more than the row does. So the keys that are asked for in one turn of the loop, or
while a statement is under way, are looked up by one statement; and where callers crowd, it waits a moment for as many as there
were last time. A caller alone never waits. Nobody joins a statement that was sent already, so a caller sees whatever was
committed before it asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context
from itertools import islice
from typing import Final, Generic, TypeVar

from modelkeep.errors import ServiceUnavailable

K = TypeVar("K")
V = TypeVar("V")

_Batch = Mapping[K, Sequence["asyncio.Future[V | None]"]]
"""Who waits for which key."""

MAX_KEYS: Final = 64
"""Most different keys in one statement: its answer, too, must be bounded."""
GATHER_SECONDS: Final = 0.002
"""How long a crowd is waited for."""
HURRY_SECONDS: Final = 0.05
"""How long keys wait for the end of a statement before another one is sent beside it."""
MAX_STATEMENTS: Final = 4
"""Most statements under way, if each takes longer than that."""
PATIENCE_SECONDS: Final = 15.0
"""How long a statement may take. Nobody's deadline ends it, as it serves many."""


class Lookups(Generic[K, V]):
    """Answers by key, for the calls of one process."""

    def __init__(self, fetch: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]]) -> None:
        """`fetch` answers some keys by one statement, and leaves out those that have no answer."""
        self._fetch = fetch
        self._waiting: dict[K, list[asyncio.Future[V | None]]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._next: asyncio.Handle | None = None
        self._crowd = 1
        self._callers = 0

    async def get(self, key: K) -> V | None:
        """The answer to a key, or None. Raises what fetching it raises."""
        future: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        self._callers += 1
        if self._next is None:
            self._schedule(GATHER_SECONDS if self._crowd > 1 else 0)
        elif self._callers == self._crowd and not self._running:
            self._schedule(0)
        return await future

    def _schedule(self, seconds: float) -> None:
        """Send the next statement after so long: at the earliest when this turn of the loop is over."""
        loop, nobody = asyncio.get_running_loop(), Context()  # of no caller: a statement serves many
        if self._next is not None:
            self._next.cancel()
        if len(self._running) >= MAX_STATEMENTS:
            self._next = None
        elif self._running:
            self._next = loop.call_later(HURRY_SECONDS, self._send, context=nobody)
        elif seconds:
            self._next = loop.call_later(seconds, self._send, context=nobody)
        else:
            self._next = loop.call_soon(self._send, context=nobody)

    def _send(self) -> None:
        self._next = None
        batch = {key: self._waiting.pop(key) for key in list(islice(self._waiting, MAX_KEYS))}
        self._crowd = sum(map(len, batch.values()))
        self._callers -= self._crowd
        task = asyncio.get_running_loop().create_task(self._answer(batch))
        self._running.add(task)
        task.add_done_callback(self._ended)
        if self._waiting:
            self._schedule(0)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._crowd = min(self._crowd + self._callers, MAX_KEYS)
        if self._waiting:
            self._schedule(0 if self._callers >= self._crowd else GATHER_SECONDS)

    async def _answer(self, batch: _Batch[K, V]) -> None:
        try:
            found = await self._fetch_in_time(tuple(batch))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the callers'
            if len(batch) > 1 and not isinstance(error, ServiceUnavailable):
                for key, futures in batch.items():  # one key may be to blame; the others must not pay for it
                    await self._answer({key: futures})
            for _, future in _open(batch):
                future.set_exception(error)
        else:
            for key, future in _open(batch):
                future.set_result(found.get(key))
        finally:
            for _, future in _open(batch):
                future.cancel()

    async def _fetch_in_time(self, keys: Sequence[K]) -> Mapping[K, V]:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS) as timeout:
                return await self._fetch(keys)
        except TimeoutError:
            if not timeout.expired():
                raise
            raise ServiceUnavailable(f"the database did not answer within {PATIENCE_SECONDS:g} s; try again later") from None


def _open(batch: _Batch[K, V]) -> list[tuple[K, asyncio.Future[V | None]]]:
    """Those who still wait, by their keys."""
    return [(key, future) for key, futures in batch.items() for future in futures if not future.done()]
