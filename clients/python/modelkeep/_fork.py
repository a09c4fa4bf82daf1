"""Forking a process that talks gRPC.

A child that inherits gRPC's threads and connections hangs, even in a channel of its own, and even past its deadlines. gRPC's
own fork support breaks as soon as another thread has a call under way, which is the usual case here: a data loader forks
while a checkpoint goes up. So before a fork the calls under way are waited for, new ones are held back, and all channels are
closed; gRPC then stops all its threads. Parent and child open channels of their own when they next need one.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from weakref import WeakSet

from modelkeep.errors import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DRAIN_SECONDS: Final = 30.0
"""How long a fork waits for the calls under way; each of them is short."""
STOP_SECONDS: Final = 1.0
"""How long a fork waits for gRPC's threads to end; they take a few milliseconds."""
TRIES: Final = 1_000
"""How often to list what other threads add to meanwhile."""
_GRPC_THREADS: Final = frozenset({"event_engine", "lifeguard", "grpc_global_tim"})


class Forkable(Protocol):
    """What has state that a fork must not share."""

    def close_channels(self) -> bool:
        """Give up all connections, and say whether there were any; called before a fork, while no call is under way."""

    def forget(self) -> None:
        """Begin anew in the child: with fresh locks, as the threads that held them do not exist here."""


class Gate:
    """Lets calls pass, except while a fork is going on."""

    def __init__(self) -> None:
        self.members: WeakSet[Forkable] = WeakSet()
        self.inherited_threads = False
        """True in a child that was forked while somebody's gRPC was still at work: gRPC cannot be used here."""
        self._unclean = False
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._changed = threading.Condition(threading.RLock())  # a signal handler may call while who it interrupts begins to
        self._forking = threading.Lock()
        self._under_way = 0
        self._closed = False
        self.interrupts: set[Callable[[], object]] = set()
        """How to end the calls that last for hours; a fork calls them, and such a call is made again after it."""

    def require_usable(self) -> None:
        """Raise ServiceUnavailable in a child in which gRPC would hang, whatever is tried."""
        if self.inherited_threads:
            message = (
                "this process was forked while gRPC was at work in it, so it cannot talk to a server;"
                " start it with multiprocessing's 'spawn' or 'forkserver' instead"
            )
            raise ServiceUnavailable(message)

    @property
    def is_closed(self) -> bool:
        """Whether a fork is going on: `interrupts` were called, or are about to be."""
        return self._closed

    @contextmanager
    def call(self) -> Iterator[None]:
        """Hold off forks during one call, and the call during a fork."""
        with self._changed:
            while self._closed:
                self._changed.wait(1)  # not for ever: a signal handler may have been woken in the place of who it interrupted
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def before_fork(self) -> None:
        """Wait for the calls under way, and stop gRPC."""
        self._forking.acquire()  # two threads may fork at once; each has the gate for itself until its fork is over
        with self._changed:
            self._closed = True
        for end in list(self.interrupts):
            end()
        with self._changed:
            drained = self._changed.wait_for(lambda: self._under_way == 0, DRAIN_SECONDS)
        opened = [member.close_channels() for member in self._all()] if drained else [True]
        self._unclean = not _stopped(STOP_SECONDS if drained and any(opened) else 0)

    def after_fork_in_parent(self) -> None:
        """Let calls pass again."""
        with self._changed:
            self._closed = False
            self._changed.notify_all()
        self._forking.release()

    def after_fork_in_child(self) -> None:
        """Begin anew: the threads that held locks or had calls under way do not exist here."""
        self.inherited_threads = self.inherited_threads or self._unclean
        self._begin_anew()
        for member in self._all():
            member.forget()

    def _all(self) -> list[Forkable]:
        """All members. Another thread may make one while they are listed, which a WeakSet does not bear; then again."""
        for _ in range(TRIES):
            with suppress(RuntimeError):
                return list(self.members)
        return list(self.members)


def _stopped(patience_seconds: float) -> bool:
    """Wait until gRPC has no threads any more. False when somebody keeps it at work."""
    if os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "").lower() in {"1", "true", "yes", "on"}:
        return True  # whoever set it relies on gRPC's own way
    end = time.monotonic() + patience_seconds
    while _grpc_threads():
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


def _grpc_threads() -> bool:
    for task in Path("/proc/self/task").glob("*/comm"):
        try:
            if task.read_text().strip() in _GRPC_THREADS:
                return True
        except OSError:
            continue  # it ended meanwhile
    return False


gate: Final = Gate()
"""The one gate of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=gate.before_fork,
        after_in_parent=gate.after_fork_in_parent,
        after_in_child=gate.after_fork_in_child,
    )
