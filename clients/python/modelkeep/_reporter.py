"""The thread that tells what a run does: what is logged costs the caller a list append, and is told within a second.

What waits to be told is bounded. While nobody can be told (a server is away), it waits, and is tried again and again with the
same request id. When as much waits as may, the next `log` waits too, and raises at last: nothing is ever left out silently.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from modelkeep._batch import LARGEST_POINT_BYTES, Batch, Item, Limits, Points
from modelkeep._retry import may_help
from modelkeep._run_end import raise_first
from modelkeep.errors import DeadlineExceeded, ModelkeepError, ServiceUnavailable, StorageFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modelkeep._ledger import Ledger

_log: Final = logging.getLogger("modelkeep")

FLUSH_SECONDS: Final = 1.0
"""How long what is logged waits for more, at most."""
MAX_WAITING: Final = 1_000_000
"""How many points wait to be told, at most; about 100 MB."""
MANY: Final = 10_000
"""As many points wait for no more."""
PATIENCE_SECONDS: Final = 120.0
"""How long a `log` waits for room, and the end of a run for the last points, while nobody can be told."""
FIRST_BEAT_SECONDS: Final = 10.0
"""When a run first says that it is alive; the answer says how soon again."""
AGAIN_SECONDS: Final = 2.0
"""When to try again what could not be told."""


class Reporter:
    """Tells a ledger what any number of threads put in, in the order in which they did."""

    def __init__(self, ledger: Ledger, label: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`label` is what people call the run."""
        self._ledger = ledger
        self._label = label
        self._clock = clock
        self.replaces: Callable[[str], bool] = lambda _: True
        self.forget()

    def forget(self) -> None:
        """Begin anew in a forked child: what its parent was given, its parent tells."""
        self._changed = threading.Condition(threading.Lock())
        self._thread: threading.Thread | None = None
        self._items: list[Item] = []
        self._put = self._told = self._waiting = 0
        self._hurry = self._closing = self._given_up = False
        self._trouble: ModelkeepError | None = None
        self._failures: list[Exception] = []

    def start(self) -> None:
        """Tell from now on that the run is alive."""
        with self._changed:
            self._run()

    def reserve(self, points: int) -> None:
        """Wait until there is room. Raises what could not be told before, once; ServiceUnavailable when no room comes."""
        if self._failures:
            self.raise_failure()
        if self._waiting + points > MAX_WAITING:
            self._wait_for_room(points)

    def _wait_for_room(self, points: int) -> None:
        _log.warning("%s: %d points wait to be sent already, so logging waits now", self._label, self._waiting)
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._waiting + points <= MAX_WAITING or not self._waiting, PATIENCE_SECONDS):
                raise self._unreachable(
                    f"{self._waiting} points wait to be sent, which is as many as may, so no more are taken"
                )

    def put(self, item: Item) -> None:
        """Take an item, to be told soon."""
        points = len(item.values) if type(item) is Points else 0
        with self._changed:
            self._items.append(item)
            self._put += 1
            before = self._waiting
            self._waiting = before + points
            if len(self._items) == 1 or before // MANY != self._waiting // MANY:
                self._run()
                self._changed.notify_all()

    def flush(self, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until all that was put in is told. Raises what could not be, and ServiceUnavailable when it takes too long."""
        with self._changed:
            target = self._put
            self._hurry = True
            if self._told < target:
                self._run()
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._told >= target or self._given_up, timeout_seconds)
                if self._told < target:
                    raise self._unreachable(f"{self._waiting} points were not sent in {timeout_seconds:.0f} s")
        self.raise_failure()

    def close(self, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        """Flush, and stop. Raises as `flush` does; then what was not told is lost. Once interrupted, it may be called again."""
        failures: list[Exception] = []
        try:
            self.flush(timeout_seconds)
        except Exception as error:  # noqa: BLE001 - it is raised below
            failures.append(error)
        with self._changed:
            self._closing, self._given_up = True, self._told < self._put
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and not self._given_up:
            thread.join(timeout_seconds)
        raise_first(failures)

    def raise_failure(self) -> None:
        """Raise the first of the failures that nobody was told of yet; the others go with it as notes."""
        with self._changed:
            failures, self._failures = self._failures, []
        raise_first(failures)

    def _unreachable(self, what: str) -> ModelkeepError:
        why = f": {self._trouble.message}" if self._trouble is not None else ""
        return ServiceUnavailable(f"{self._label}: {what}{why}; for work without a server there is mode='offline'")

    def _run(self) -> None:
        """Start the thread; with the lock held."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="modelkeep-run", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        beat_at = self._clock() + FIRST_BEAT_SECONDS
        interval = math.inf
        while True:
            items = self._next_items(beat_at)
            if items is None:
                return
            if items:
                for batch in self._batches(items):
                    for part in batch.parts():
                        self._persist(lambda part=part: self._ledger.tell(part))  # type: ignore[misc]
                    self._is_told(batch.point_count)
                beat_at = self._clock() + interval if interval < math.inf else beat_at
            if self._clock() >= beat_at:
                interval = self._beat()
                beat_at = self._clock() + interval
            with self._changed:
                self._told += len(items)
                self._changed.notify_all()

    def _next_items(self, beat_at: float) -> list[Item] | None:
        """What was put in, once it is time to tell it; nothing when the run has to say that it is alive; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closing, _within(beat_at - self._clock()))
            if self._items:
                self._changed.wait_for(self._is_urgent, FLUSH_SECONDS)
            items, self._items = self._items, []
            self._hurry = False
            return None if self._given_up or (self._closing and not items) else items

    def _is_urgent(self) -> bool:
        return self._hurry or self._closing or self._waiting >= MANY

    def _batches(self, items: list[Item]) -> Iterator[Batch]:
        limits: Limits = self._persist(self._ledger.limits) or Limits()
        most = max(min(limits.max_points, limits.max_message_bytes // 2 // LARGEST_POINT_BYTES), 1)
        batch = Batch(replaces=self.replaces)
        for item in items:
            for piece in _pieces(item, most):
                if not batch.has_room(piece, limits):
                    yield batch
                    batch = Batch(replaces=self.replaces)
                batch.add(piece)
        yield batch

    def _is_told(self, points: int) -> None:
        with self._changed:
            self._waiting -= points
            self._changed.notify_all()

    def _persist(self, tell: Callable[[], Any]) -> Any:
        """Do it until it is done, or it is clear that it cannot be; None then."""
        while not self._given_up:
            try:
                done = tell()
            except Exception as error:  # noqa: BLE001 - what does not pass is told to who logs next
                if not _passes(error):
                    self._failed(error)
                    return None
                self._is_in_trouble(error)
                with self._changed:
                    self._changed.wait_for(lambda: self._given_up, AGAIN_SECONDS)
            else:
                if self._trouble is not None:
                    _log.warning("%s: the server is back, and gets what waited", self._label)
                    self._trouble = None
                return done
        return None

    def _is_in_trouble(self, error: ModelkeepError) -> None:
        if self._trouble is None:
            _log.warning("%s: %s; what it logs waits in memory until the server is back", self._label, error.message)
        self._trouble = error

    def _failed(self, error: Exception) -> None:
        _log.error("%s: something of what it logged could not be kept: %s", self._label, error)
        with self._changed:
            self._failures.append(error)

    def _beat(self) -> float:
        """Say that the run is alive; how long until it has to be said again."""
        try:
            return self._ledger.beat()
        except Exception as error:  # noqa: BLE001 - what does not pass is told to who logs next
            if _passes(error):
                self._is_in_trouble(error)
                return AGAIN_SECONDS
            self._failed(error)
            return math.inf


def _passes(error: Exception) -> TypeGuard[ModelkeepError]:
    """Whether the same may be kept later. Not so what is too large: gRPC calls that exhausted too, and it stays so."""
    return isinstance(error, ModelkeepError) and (may_help(error) or isinstance(error, DeadlineExceeded | StorageFull))


def _within(seconds: float) -> float | None:
    return None if seconds == math.inf else max(seconds, 0.0)


def _pieces(item: Item, max_points: int) -> Iterator[Item]:
    """An item, in parts where one has more points than may be told at once."""
    if not isinstance(item, Points) or len(item.values) <= max_points:
        yield item
        return
    pairs = list(item.values.items())
    for start in range(0, len(pairs), max_points):
        yield item._replace(values=dict(pairs[start : start + max_points]))
