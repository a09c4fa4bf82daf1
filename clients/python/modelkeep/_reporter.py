"""The thread that tells what a run does: what is logged costs the caller a list append, and is told within a second.

What waits to be told is bounded. While nobody can be told (a server is away), it waits, and is tried again and again with the
same request id. When as much waits as may, the next `log` waits too, and raises at last: nothing is ever left out silently.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

from modelkeep._batch import LARGEST_POINT_BYTES, Batch, Item, Limits, Packed, Points, Waiting, pack, unpack, weight
from modelkeep._retry import may_help
from modelkeep._run_end import raise_first
from modelkeep.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    ModelkeepError,
    NotFound,
    ServiceUnavailable,
    StorageFull,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modelkeep._ledger import Ledger

_log: Final = logging.getLogger("modelkeep")

FLUSH_SECONDS: Final = 1.0
"""How long what is logged waits for more, at most."""
MAX_WAITING: Final = 1_000_000
"""How many points wait to be told, at most."""
MAX_WAITING_BYTES: Final = 256 << 20
"""How much memory it takes, at most, with what is set in summary and config; a million points of as many calls take 170 MB."""
MANY: Final = 10_000
"""As many points wait for no more."""
PATIENCE_SECONDS: Final = 120.0
"""How long a `log` waits for room, and the end of a run for the last points, while nobody can be told."""
FIRST_BEAT_SECONDS: Final = 10.0
"""When a run first says that it is alive; the answer says how soon again."""
AGAIN_SECONDS: Final = 2.0
"""When to try again what could not be told."""
TRIES: Final = 5
"""How often what a server failed at inside is tried, which may come by itself, or of this very request."""
LOOK_SECONDS: Final = 1.0
"""How often who waits looks by itself: a signal handler may have come between, and been woken in its place."""
MAX_SHAPES: Final = 1_000
"""How many sets of keys are remembered, to keep one of each."""


class Reporter:
    """Tells a ledger what any number of threads put in, in the order in which they did.

    A signal handler may use it anywhere, also in the middle of a call of the thread that it interrupts: the lock may be taken
    again by who has it, and a wait lets go of it altogether. So what must be right is changed in one step: an item counts from
    the moment it is in the queue; and what only says how much waits is made right when the queue is taken.
    """

    def __init__(self, ledger: Ledger, label: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`label` is what people call the run."""
        self._ledger = ledger
        self._label = label
        self._limits = Limits()
        self._clock = clock
        self.replaces: Callable[[str], bool] = lambda _: True
        self.forget()

    def forget(self) -> None:
        """Begin anew in a forked child: what its parent was given, its parent tells."""
        self._changed = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None
        self._items: deque[Waiting] = deque()
        self._taken = self._told = 0
        """How many items were taken out of the queue, and how many of them are done with."""
        self._queued_points = self._queued_bytes = self._sending_points = self._sending_bytes = 0
        self._shapes: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._is_idle = True
        """Whether nothing is done until somebody wakes the thread, or starts it."""
        self._hurry = self._closing = self._given_up = self._is_over = False
        self._trouble: Exception | None = None
        self._failures: deque[Exception] = deque()

    def start(self) -> None:
        """Tell from now on that the run is alive."""
        with self._changed:
            self._run()

    def reserve(self, points: int) -> None:
        """Make room. Raises what could not be told before, once; else as `make_room`."""
        if self._failures:
            self.raise_failure()
        self.make_room(points)

    def make_room(self, points: int = 0) -> None:
        """Wait until there is room. Raises ServiceUnavailable when none comes."""
        if not self._has_room(points):
            self._wait_for_room(points)

    def _has_room(self, points: int) -> bool:
        return not self._bytes or (self._waiting + points <= MAX_WAITING and self._bytes <= MAX_WAITING_BYTES)

    def _wait_for_room(self, points: int) -> None:
        _log.warning("%s: %d points wait to be sent already, so logging waits now", self._label, self._waiting)
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            if not self._wait(lambda: self._has_room(points), PATIENCE_SECONDS):
                raise self._unreachable(
                    f"{self._waiting} points wait to be sent, {self._bytes >> 20} MiB with all else, which is as much as may,"
                    " so no more is taken"
                )

    @property
    def _waiting(self) -> int:
        """How many points wait to be told."""
        return self._queued_points + self._sending_points

    @property
    def _bytes(self) -> int:
        return self._queued_bytes + self._sending_bytes

    @property
    def _put(self) -> int:
        """How many items were ever put in."""
        return self._taken + len(self._items)

    def _wait(self, until: Callable[[], bool], seconds: float) -> bool:
        """Wait, with the lock held, until something is so; whether it is."""
        end = time.monotonic() + seconds
        while not until():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._changed.wait(min(left, LOOK_SECONDS))
        return True

    def put(self, item: Item) -> None:
        """Take an item, to be told soon. Raises InvalidArgument once the run ends."""
        points = len(item.values) if type(item) is Points else 0
        with self._changed:
            if self._closing:
                raise self._too_late()
            waiting = pack(item, self._shapes) if type(item) is Points else cast("Waiting", item)
            before = self._waiting
            self._items.append(waiting)
            if self._closing and self._take_back(waiting):
                raise self._too_late()  # a signal handler ended the run a moment ago, right here
            self._queued_bytes += weight(waiting)
            self._queued_points += points
            if len(self._shapes) > MAX_SHAPES:
                self._shapes.clear()
            if self._is_idle or before // MANY != self._waiting // MANY:
                self._run()
                self._changed.notify_all()

    def _take_back(self, waiting: Waiting) -> bool:
        """Take the last item out again; whether it was there still. With the lock held."""
        is_there = bool(self._items) and self._items[-1] is waiting
        if is_there:
            self._items.pop()
        return is_there

    def _too_late(self) -> InvalidArgument:
        return InvalidArgument(f"{self._label} is finished, so that this came too late and is not kept", field="run")

    def flush(self, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until all that was put in is told. Raises what could not be, and ServiceUnavailable when it takes too long."""
        with self._changed:
            target = self._put
            self._hurry = True
            if self._told < target:
                self._run()
                self._changed.notify_all()
                self._wait(lambda: self._told >= target or self._given_up, timeout_seconds)
                if self._told < target:
                    raise self._unreachable(f"{self._waiting} points were not sent in {timeout_seconds:.0f} s")
        self.raise_failure()

    def close(self, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        """Flush, and stop. Raises as `flush` does; then what was not told is lost. Once interrupted, it may be called again."""
        failures: list[Exception] = []
        with self._changed:
            self._closing = True  # first: what came between the flush and the end would be lost unsaid
            self._changed.notify_all()
        try:
            self.flush(timeout_seconds)
        except Exception as error:  # noqa: BLE001 - it is raised below
            failures.append(error)
        with self._changed:
            self._given_up = self._told < self._put
            self._changed.notify_all()
            # Not by a join: who called this may have been interrupted with the lock held, and only a wait lets go of it.
            self._wait(lambda: self._is_over or self._given_up or self._thread is None, timeout_seconds)
        raise_first(failures)

    def raise_failure(self) -> None:
        """Raise the first of the failures that nobody was told of yet; the others go with it as notes."""
        failures: list[Exception] = []
        with suppress(IndexError):
            while True:
                failures.append(self._failures.popleft())
        raise_first(failures)

    def _unreachable(self, what: str) -> ModelkeepError:
        why = f": {_words(self._trouble)}" if self._trouble is not None else ""
        return ServiceUnavailable(f"{self._label}: {what}{why}; for work without a server there is mode='offline'")

    def _run(self) -> None:
        """Start the thread; with the lock held."""
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="modelkeep-run", daemon=True)
            thread.start()
            self._thread = thread  # not before: a signal handler that comes between would wait for one that does not run

    def _work(self) -> None:
        beat_at = self._clock() + FIRST_BEAT_SECONDS
        interval = math.inf
        while True:
            items = self._next_items(beat_at)
            if items is None:
                break
            count = len(items)
            if self._tell(items) and interval < math.inf:
                beat_at = self._clock() + interval
            if self._clock() >= beat_at:
                interval = self._beat()
                beat_at = self._clock() + interval
            with self._changed:
                self._told += count
                self._changed.notify_all()
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _tell(self, items: list[Waiting]) -> bool:
        """Tell them; whether it was heard that the run lives: metrics say that, and a change of the config does not."""
        heard = False
        for batch in self._batches(items):
            for part in batch.parts():
                is_kept = self._persist(lambda part=part: self._ledger.tell(part))  # type: ignore[misc]
                heard = heard or (is_kept and part.has_metrics)
            self._is_told(batch)
        return heard

    def _next_items(self, beat_at: float) -> list[Waiting] | None:
        """What was put in, once it is time to tell it; nothing when the run has to say that it is alive; None at the end."""
        with self._changed:
            self._is_idle = True
            self._changed.wait_for(lambda: self._items or self._closing, _within(beat_at - self._clock()))
            self._is_idle = False
            if self._items:
                self._changed.wait_for(self._is_urgent, FLUSH_SECONDS)
            if self._given_up:
                return None
            items = self._take()
            self._hurry = False
            return None if self._closing and not items else items

    def _take(self) -> list[Waiting]:
        """All that is in the queue; with the lock held. From here on it is known exactly how much that is."""
        items = [self._items.popleft() for _ in range(len(self._items))]
        self._taken += len(items)
        self._queued_points = self._queued_bytes = 0
        self._sending_points += sum(len(item.keys) for item in items if isinstance(item, Packed))
        self._sending_bytes += sum(map(weight, items))
        return items

    def _is_urgent(self) -> bool:
        return self._hurry or self._closing or self._waiting >= MANY

    def _batches(self, items: list[Waiting]) -> Iterator[Batch]:
        """All of them, in batches that are full. Items are let go as they are told: as much as may comes meanwhile."""
        if not items:
            return
        self._persist(self._ask_limits)
        limits = self._limits
        most = max(min(limits.max_points, limits.max_message_bytes // 2 // LARGEST_POINT_BYTES), 1)
        batch = Batch(replaces=self.replaces)
        items.reverse()
        while items:
            item = items.pop()
            for piece in _pieces(unpack(item), most):
                if not batch.has_room(piece, limits):
                    yield batch
                    batch = Batch(replaces=self.replaces)
                batch.add(piece)
            batch.weight += weight(item)
        yield batch

    def _ask_limits(self) -> None:
        self._limits = self._ledger.limits()

    def _is_told(self, batch: Batch) -> None:
        with self._changed:
            self._sending_points -= batch.point_count
            self._sending_bytes -= batch.weight
            self._changed.notify_all()

    def _persist(self, do: Callable[[], object]) -> bool:
        """Do it until it is done, or it is clear that it cannot be; whether it is done."""
        tries = 0
        while not self._given_up:
            try:
                do()
            except Exception as error:  # noqa: BLE001 - what does not pass is told to who logs next
                tries += 1
                if not _passes(error) and not (isinstance(error, Internal) and tries < TRIES):
                    self._failed(error)
                    return False
                self._is_in_trouble(error)
                with self._changed:
                    self._changed.wait_for(lambda: self._given_up, AGAIN_SECONDS)
            else:
                self._is_well()
                return True
        return False

    def _is_in_trouble(self, error: Exception) -> None:
        if self._trouble is None:
            _log.warning("%s: %s; what it logs waits in memory until the server is back", self._label, _words(error))
        self._trouble = error

    def _is_well(self) -> None:
        if self._trouble is not None:
            _log.warning("%s: the server is back, and gets what waited", self._label)
            self._trouble = None

    def _failed(self, error: Exception) -> None:
        _log.error("%s: something of what it logged could not be kept: %s", self._label, error)
        self._failures.append(error)

    def _beat(self) -> float:
        """Say that the run is alive; how long until it has to be said again."""
        try:
            seconds = self._ledger.beat()
        except (NotFound, FailedPrecondition) as error:
            self._failed(error)
            return math.inf  # it is gone, or was ended
        except Exception as error:  # noqa: BLE001 - whatever it was, silence would make a run that lives a crashed one
            self._is_in_trouble(error)
            return AGAIN_SECONDS if _passes(error) else FIRST_BEAT_SECONDS
        self._is_well()
        return seconds


def _words(error: Exception) -> str:
    return error.message if isinstance(error, ModelkeepError) else str(error)


def _passes(error: Exception) -> bool:
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
