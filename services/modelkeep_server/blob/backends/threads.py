"""A bounded pool of threads: what blocks never runs in the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")


class Threads:
    """Runs calls in threads."""

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._executor = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of one call. A call that began goes on to its end when the caller is cancelled."""
        return await asyncio.wrap_future(self._executor.submit(call, *args, **kwargs))

    async def each(self, call: Callable[[A], T], items: Iterable[A]) -> list[T]:
        """The results of one call per item, many at a time. Waits for all of them, then raises the first error.

        One thread leads: it calls others to help, and all of them take one item after the other, so that the event loop is
        woken once, not for each item. When the caller is cancelled, the calls that began go on, and no other begins.
        """
        todo = deque(enumerate(items))
        results: dict[int, T] = {}
        errors: dict[int, Exception] = {}

        def work() -> None:
            while todo:
                try:
                    number, item = todo.popleft()
                except IndexError:
                    return
                try:
                    results[number] = call(item)
                except Exception as error:  # noqa: BLE001 - raised below
                    errors[number] = error

        def lead() -> None:
            helpers: list[Future[None]] = []
            with suppress(RuntimeError):  # at the end of the server nobody comes any more
                helpers += (self._executor.submit(work) for _ in range(min(self._count, len(todo)) - 1))
            work()
            wait([helper for helper in helpers if not helper.cancel()])  # who has not begun has nothing left to do

        try:
            await self.run(lead)
        finally:
            todo.clear()
        if errors:
            raise errors[min(errors)]
        return [results[number] for number in sorted(results)]

    async def close(self) -> None:
        """Wait for the calls that began."""
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)
