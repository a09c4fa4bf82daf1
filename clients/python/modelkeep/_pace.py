"""How many transfers to make at once: more while that makes them faster, fewer when the other side has too much to do."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FIRST: Final = 4
MOST: Final = 32
_GAIN: Final = 1.05
"""How much faster it must become for another step up."""
_PATIENCE: Final = 16
"""How many rounds to stay with what was found before another try."""


class Pace:
    """A bound on transfers at once, which finds its own height. A round is some transfers; after each the bound may move."""

    def __init__(self, most: int = MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._changed = threading.Condition()
        self._running = 0
        self._limit = min(FIRST, most)
        self._before = self._limit
        self._climbing = True
        self._best = 0.0
        self._rounds = 0
        self._begin_round()

    @property
    def limit(self) -> int:
        """How many may run at once now."""
        return self._limit

    @contextmanager
    def one(self, size_bytes: int) -> Iterator[None]:
        """Wait for a turn; it ends with the block, well or not."""
        with self._changed:
            self._changed.wait_for(lambda: self._running < self._limit)
            self._running += 1
        try:
            yield
        except BaseException:
            self._ended(0)
            raise
        self._ended(size_bytes)

    def slow_down(self) -> None:
        """The other side has too much to do."""
        with self._changed:
            self._limit = self._before = max(1, self._limit // 2)
            self._climbing, self._best, self._rounds = False, 0.0, 0
            self._begin_round()

    def _begin_round(self) -> None:
        self._began, self._bytes, self._count = self._clock(), 0, 0

    def _ended(self, size_bytes: int) -> None:
        with self._changed:
            self._running -= 1
            self._bytes += size_bytes
            self._count += 1
            if self._count >= 3 * self._limit:
                self._judge(self._bytes / max(self._clock() - self._began, 1e-6))
                self._begin_round()
            self._changed.notify_all()

    def _judge(self, rate: float) -> None:
        if self._climbing and rate <= self._best * _GAIN:
            self._limit, self._climbing, self._rounds = self._before, False, 0
            return
        if not self._climbing:
            self._rounds += 1
            if self._rounds < _PATIENCE:
                self._best = rate
                return
            self._climbing = True
        self._best, self._before = rate, self._limit
        self._limit = min(self._most, self._limit + max(1, self._limit // 2))
        self._climbing = self._limit > self._before
