"""When to try again, and how long to wait before."""

from __future__ import annotations

import math
import time
from random import SystemRandom
from typing import TYPE_CHECKING, Final

from modelkeep._status import retry_after_seconds
from modelkeep.errors import ModelkeepError, ResourceExhausted, TooBusy, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_WAIT_SECONDS: Final = 0.1
LONGEST_WAIT_SECONDS: Final = 5.0

# Of the operating system: children of a fork must not all wait equally long.
_random: Final = SystemRandom()


def may_help(error: ModelkeepError) -> bool:
    """Whether the same call may work later. A full disk is not emptied by asking again."""
    if isinstance(error, ResourceExhausted):
        return isinstance(error, TooBusy) or retry_after_seconds(error) is not None
    return isinstance(error, Unavailable)


class Retry:
    """The tries of one call: exponential back-off with full jitter, never past the deadline of the whole call."""

    def __init__(
        self,
        timeout_seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._clock, self._sleep, self._random = clock, sleep, random
        self._begin = clock()
        self._timeout_seconds = timeout_seconds
        self._wait = FIRST_WAIT_SECONDS

    def left_seconds(self) -> float:
        """How long the whole call may still take; at least a moment, so that it fails as a deadline does."""
        return max(self._begin + self._timeout_seconds - self._clock(), 0.001)

    def pause(self, error: ModelkeepError, patience_seconds: float = math.inf) -> None:
        """Wait before the next try, or raise `error`: when another try cannot help, or not in time.

        `patience_seconds` is how long after its beginning the call may still be tried again.
        """
        if not may_help(error):
            raise error
        asked = retry_after_seconds(error)
        jittered = self._wait * self._random()
        wait = jittered if asked is None else asked + jittered
        if self._clock() + wait >= self._begin + min(self._timeout_seconds, patience_seconds):
            raise error
        self._wait = min(self._wait * 2, LONGEST_WAIT_SECONDS)
        self._sleep(wait)
