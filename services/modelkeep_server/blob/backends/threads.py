"""A bounded pool of threads: what blocks never runs in the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")


class Threads:
    """Runs calls in threads."""

    def __init__(self, count: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of one call. A call that began goes on to its end when the caller is cancelled."""
        return await asyncio.wrap_future(self._executor.submit(call, *args, **kwargs))

    async def each(self, call: Callable[[A], T], items: Iterable[A]) -> list[T]:
        """The results of one call per item, many at a time. Waits for all of them, then raises the first error."""
        results = await asyncio.gather(*(self.run(call, item) for item in items), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [result for result in results if not isinstance(result, BaseException)]

    async def close(self) -> None:
        """Wait for the calls that began."""
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)
