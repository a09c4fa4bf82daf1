"""The thread that tells what a run logs: what it tries again, what it gives up, and how much may wait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import modelkeep
import pytest
from modelkeep._batch import Batch, Limits, Points, Set
from modelkeep._ledger import NoLedger
from modelkeep._offline_journal import Journal
from modelkeep._offline_ledger import OfflineLedger
from modelkeep._reporter import Reporter
from modelkeep.errors import DiskFull, LimitExceeded, ModelkeepError, ResourceExhausted, StorageFull, TooBusy


class Kept(NoLedger):
    """Keeps in memory what it is told, and fails as a test wants."""

    def __init__(self) -> None:
        self.parts: list[Batch] = []
        self.errors: list[Exception] = []
        self.most = Limits()

    def limits(self) -> Limits:
        return self.most

    def tell(self, part: Batch) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.parts.append(part)

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
