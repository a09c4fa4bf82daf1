"""A sync that kills itself: as it cleans, or at the n-th moment when a call was answered, or a note half or wholly written."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from itertools import count
from typing import Any

from modelkeep._channel import Connection, connect
from modelkeep._offline_find import runs_in
from modelkeep._offline_journal import Journal
from modelkeep._sync import sync
from modelkeep.config import Config


def run(config: Config, folder: str, kill_at: int) -> None:
    """The whole life of a process."""
    moments = count(1)

    def moment() -> None:
        if next(moments) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    Connection.attempt = _around(Connection.attempt, moment)  # type: ignore[method-assign]
    Journal._write = _in_halves(moment)  # type: ignore[method-assign]
    failed = [outcome.error for outcome in sync(connect(config), runs_in(folder)) if outcome.error is not None]
    if failed:
        raise failed[0]


def clean_and_die(config: Config, folder: str) -> None:
    """Sync and clean, and die when the first file of a run was removed."""
    unlink = os.unlink

    def and_die(*arguments: Any, **options: Any) -> None:
        unlink(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    os.unlink = and_die
    for outcome in sync(connect(config), runs_in(folder), clean=True):
        raise outcome.error or AssertionError("it lives")


def _around(attempt: Callable[..., Any], moment: Callable[[], None]) -> Callable[..., Any]:
    def attempted(*arguments: Any) -> Any:
        answer = attempt(*arguments)
        moment()
        return answer

    return attempted


def _in_halves(moment: Callable[[], None]) -> Callable[[Journal, int, bytes], None]:
    write = Journal._write

    def written(self: Journal, descriptor: int, line: bytes) -> None:
        os.write(descriptor, line[: len(line) // 2])
        moment()
        os.ftruncate(descriptor, os.fstat(descriptor).st_size - len(line) // 2)
        write(self, descriptor, line)
        moment()

    return written
