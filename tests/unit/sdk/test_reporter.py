"""The thread that tells what a run logs: what it tries again, what it gives up, and how much may wait."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from threading import Event
from time import monotonic, sleep
from types import FrameType
from typing import Any

import modelkeep
import pytest
from modelkeep._batch import Batch, Limits, Points, Set
from modelkeep._ledger import NoLedger
from modelkeep._offline_journal import Journal
from modelkeep._offline_ledger import OfflineLedger
from modelkeep._reporter import Reporter
from modelkeep.errors import (
    DiskFull,
    InternalError,
    InvalidArgument,
    LimitExceeded,
    ModelkeepError,
    PermissionDenied,
    ResourceExhausted,
    RunDeleted,
    RunNotFound,
    ServiceUnavailable,
    StorageFull,
    TooBusy,
)

from tests.servers import wait_until


class Kept(NoLedger):
    """Keeps in memory what it is told, and fails as a test wants."""

    def __init__(self) -> None:
        self.parts: list[Batch] = []
        self.errors: list[Exception] = []
        self.most = Limits()
        self.beats = 0
        self.beat_errors: list[Exception] = []

    def limits(self) -> Limits:
        return self.most

    def tell(self, part: Batch) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.parts.append(part)

    def beat(self) -> float:
        self.beats += 1
        if self.beat_errors:
            raise self.beat_errors.pop(0)
        return 0.05

    @property
    def values(self) -> list[float]:
        return [value for part in self.parts for series in part.series.values() for value in series.values]

    @property
    def config(self) -> dict[str, object]:
        return {key: value for part in self.parts for key, value in part.config.items()}


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def reporter(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reporter]:
    monkeypatch.setattr("modelkeep._reporter.AGAIN_SECONDS", 0.01)
    monkeypatch.setattr("modelkeep._reporter.FIRST_BEAT_SECONDS", 0.01)
    monkeypatch.setattr("modelkeep._reporter.FLUSH_SECONDS", 0.01)
    made = Reporter(kept, "the run 'x'")
    yield made
    kept.errors.clear()
    made.close()


def point(number: int, key: str = "x") -> Points:
    return Points(number, number, {key: float(number)})


@pytest.mark.parametrize("error", [TooBusy("x"), StorageFull("x"), ResourceExhausted("x", retry_after_seconds=1)])
def test_what_passes_is_tried_again(reporter: Reporter, kept: Kept, error: ModelkeepError) -> None:
    kept.errors += [error] * 3
    reporter.put(point(1))
    reporter.flush(10)
    assert kept.values == [1.0]


@pytest.mark.parametrize("error", [ResourceExhausted("larger than max (5 MiB vs. 4 MiB)"), DiskFull("the disk is full")])
def test_what_is_too_large_or_has_no_room_here_does_not_pass(reporter: Reporter, kept: Kept, error: ModelkeepError) -> None:
    kept.errors.append(error)
    reporter.put(point(1))
    with pytest.raises(type(error)):
        reporter.flush(10)
    reporter.put(point(2))
    reporter.flush(10)
    assert kept.values == [2.0]


def test_a_value_that_is_refused_takes_no_points_with_it(reporter: Reporter, kept: Kept) -> None:
    class Strict(Kept):
        def tell(self, part: Batch) -> None:
            if part.summary:
                raise LimitExceeded("the summary is too large")
            super().tell(part)

    strict = Strict()
    made = Reporter(strict, "the run 'x'")
    for item in (point(1), Set("note", b'{"note":1}'), Set("lr", b'{"lr":1}', is_config=True), point(2)):
        made.put(item)
    with pytest.raises(LimitExceeded):
        made.close(10)
    assert strict.values == [1.0, 2.0]
    assert strict.config == {"lr": 1}


def test_values_that_are_many_go_in_requests_that_a_server_takes(reporter: Reporter, kept: Kept) -> None:
    kept.most = Limits(max_json_bytes=1000)
    for number in range(10):
        reporter.put(Set(f"k{number}", b'{"k%d":"%s"}' % (number, b"x" * 300)))
    reporter.flush(10)
    assert [len(part.summary) for part in kept.parts] == [3, 3, 3, 1]


def test_a_call_with_long_keys_goes_in_requests_that_a_server_takes(reporter: Reporter, kept: Kept) -> None:
    reporter.put(Points(1, 1, {f"{number:0256}": 1.0 for number in range(10_000)}))
    reporter.flush(10)
    assert len(kept.values) == 10_000
    assert max(sum(len(key) for key in part.series) for part in kept.parts) < Limits().max_message_bytes


def test_a_full_disk_leaves_no_half_of_a_batch_to_be_written_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(str(tmp_path / "journal.jsonl"))
    append, full = journal.append, [True]

    def failing(kind: str, **values: object) -> object:
        if kind == "config" and full.pop():
            raise DiskFull("the disk is full")
        return append(kind, **values)

    monkeypatch.setattr(journal, "append", failing)
    made = Reporter(OfflineLedger(journal), "the run 'x'")
    made.put(point(1))
    made.put(Set("lr", b'{"lr":1}', is_config=True))
    with pytest.raises(modelkeep.errors.DiskFull):
        made.close(10)
    assert [record.kind for record in journal.read()] == ["metrics"]


def test_what_a_server_fails_at_inside_is_tried_a_few_times(reporter: Reporter, kept: Kept) -> None:
    kept.errors += [InternalError("id 1")] * 4
    reporter.put(point(1))
    reporter.flush(10)
    assert kept.values == [1.0]
    kept.errors += [InternalError("id 2")] * 5
    reporter.put(point(2))
    with pytest.raises(InternalError, match="id 2"):
        reporter.flush(10)
    reporter.put(point(3))
    reporter.flush(10)
    assert kept.values == [1.0, 3.0]


@pytest.mark.parametrize("error", [InternalError("x"), PermissionDenied("x"), ServiceUnavailable("x"), OSError("x")])
def test_a_heartbeat_that_fails_is_not_the_last(reporter: Reporter, kept: Kept, error: Exception) -> None:
    kept.beat_errors += [error] * 2
    reporter.start()
    wait_until(lambda: kept.beats >= 4, "heartbeats after one that failed")


@pytest.mark.parametrize("error", [RunNotFound("x"), RunDeleted("x")])
def test_a_run_that_is_gone_is_told_of_no_more(reporter: Reporter, kept: Kept, error: ModelkeepError) -> None:
    kept.beat_errors.append(error)
    reporter.start()
    wait_until(lambda: kept.beats == 1, "a heartbeat")
    with pytest.raises(type(error)):
        wait_until(lambda: reporter.raise_failure() is not None, "the failure")  # type: ignore[func-returns-value]
    reporter.put(point(1))
    reporter.flush(10)
    assert kept.beats == 1


def test_a_run_that_only_changes_its_config_is_heard_of(reporter: Reporter, kept: Kept) -> None:
    end = monotonic() + 30
    while kept.beats < 3 and monotonic() < end:
        reporter.put(Set("lr", b'{"lr":1}', is_config=True))
        reporter.flush(10)
        sleep(0.001)
    assert kept.beats >= 3


def test_what_comes_while_it_ends_is_refused(kept: Kept) -> None:
    refused: list[InvalidArgument] = []

    class Late(Kept):
        def tell(self, part: Batch) -> None:
            super().tell(part)
            try:
                made.put(point(2))
            except InvalidArgument as error:
                refused.append(error)

    late = Late()
    made = Reporter(late, "the run 'x'")
    made.put(point(1))
    made.close(10)
    assert late.values == [1.0]
    assert len(refused) == 1, "or it would be lost, and nobody told"


def test_what_is_set_waits_in_bounds_too(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelkeep._reporter.MAX_WAITING_BYTES", 10_000)
    monkeypatch.setattr("modelkeep._reporter.PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr("modelkeep._reporter.AGAIN_SECONDS", 0.01)
    kept.errors += [ServiceUnavailable("away")] * 100_000
    reporter = Reporter(kept, "the run 'x'")
    with pytest.raises(ServiceUnavailable, match="as much as may"):  # noqa: PT012 - which of them it is, is asserted
        for number in range(100):
            reporter.make_room()
            reporter.put(Set(f"k{number}", b'{"k%d":"%s"}' % (number, b"x" * 1000)))
    assert 5 < number < 12
    kept.errors.clear()
    monkeypatch.setattr("modelkeep._reporter.PATIENCE_SECONDS", 60)
    reporter.make_room()
    reporter.close(10)
    assert sum(len(part.summary) for part in kept.parts) == number


def test_a_million_points_wait_in_less_than_a_house_has(kept: Kept) -> None:
    """The number in docs/runs.md; and what is told is let go at once, for as much may come meanwhile."""
    count, go = 10_000, Event()
    sizes: list[int] = []

    class Measured(Kept):
        def tell(self, part: Batch) -> None:
            go.wait(60)
            sizes.append(tracemalloc.get_traced_memory()[0])

    measured = Measured()
    measured.most = Limits(max_points=500)
    reporter = Reporter(measured, "the run 'x'")
    tracemalloc.start()
    try:
        for number in range(count):
            reporter.put(Points(1_700_000_000_000_000 + number, 1000 + number, {"loss": number / 7}))
        waiting = tracemalloc.get_traced_memory()[0]
        go.set()
        reporter.close(60)
    finally:
        tracemalloc.stop()
    assert 50 * count < waiting < 180 * count
    assert sizes[-1] < waiting / 3


def interrupting(at: int, what: Callable[[], object], do: Callable[[], object]) -> bool:
    """Do something, and something else in the midst of it, as a signal handler does: before an opcode of the code of the
    reporter. False when it has not so many."""
    left = at

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.endswith("_reporter.py"):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                what()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        do()
    finally:
        sys.settrace(before)
    return left <= 0


def ended_in_the_midst(at: int, times: int) -> bool:
    """End a reporter in the midst of a `put` after some others; whether that was in time to interrupt it."""
    kept, refused = Kept(), False
    reporter = Reporter(kept, "the run 'x'")
    for number in range(times):
        reporter.put(point(number))
    try:
        reached = interrupting(at, lambda: reporter.close(5), lambda: reporter.put(point(9)))
    except InvalidArgument:
        reached = refused = True
    reporter.close(5)
    assert kept.values == [*range(times), *([] if refused else [9])], f"interrupted at {at}"
    return reached


@pytest.mark.timeout(120)
@pytest.mark.parametrize("times", [1, 3])
def test_a_signal_handler_may_end_it_anywhere(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Also in the middle of a `put`: it ends, and what was put in is told, or refused."""
    monkeypatch.setattr("modelkeep._reporter.FLUSH_SECONDS", 0.001)
    assert next(at for at in count(1) if not ended_in_the_midst(at, times)) > 50, "or it was hardly interrupted"


def logged_in_the_midst(at: int) -> bool:
    """Put something in, and wait until it is told, in the midst of a `put`; whether that was in time to interrupt it."""
    kept = Kept()
    reporter = Reporter(kept, "the run 'x'")

    def handle() -> None:
        reporter.put(point(2))
        reporter.flush(5)

    reached = interrupting(at, handle, lambda: reporter.put(point(1)))
    wait_until(lambda: len(kept.values) == 1 + reached, "all points")
    reporter.put(point(3))
    reporter.close(5)
    assert (reporter._waiting, reporter._bytes) == (0, 0), f"interrupted at {at}"
    assert sorted(kept.values) == ([1, 2, 3] if reached else [1, 3]), f"interrupted at {at}"
    return reached


@pytest.mark.timeout(120)
def test_a_signal_handler_may_log_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """All is told, how much waits is right again, and nobody waits for the next heartbeat."""
    monkeypatch.setattr("modelkeep._reporter.FLUSH_SECONDS", 0.001)
    assert next(at for at in count(1) if not logged_in_the_midst(at)) > 50, "or it was hardly interrupted"
