"""The journal of offline work: what a call returned from is on disk, whatever happens next."""

from __future__ import annotations

import fcntl
import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from modelkeep import _offline_journal
from modelkeep._offline_journal import _TAIL_BYTES, Journal, Record
from modelkeep.errors import SyncFailed, TargetUnusable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def line(number: int, value: object) -> bytes:
    """A line as it is written."""
    text = json.dumps({"n": number, "kind": "thing", "value": value})
    return f"{hashlib.sha256(text.encode()).hexdigest()[:16]} {text}\n".encode()


def values(journal: Journal) -> list[object]:
    return [record.values["value"] for record in journal.read()]


def test_records_come_back_in_order_with_numbers(path: Path) -> None:
    for value in ("a", {"deep": [1, None, 2.5]}, "ü\n"):
        Journal(str(path)).append("thing", value=value)
    records = list(Journal(str(path)).read())
    assert [record.values["value"] for record in records] == ["a", {"deep": [1, None, 2.5]}, "ü\n"]
    assert [record.number for record in records] == [0, 1, 2]
    assert {record.kind for record in records} == {"thing"}


def test_every_cut_of_the_last_line_is_dropped_and_told(path: Path) -> None:
    journal = Journal(str(path))
    journal.append("thing", value="first")
    whole = path.stat().st_size
    journal.append("thing", value="second")
    data = path.read_bytes()
    for cut in range(whole, len(data)):
        path.write_bytes(data[:cut])
        assert values(journal) == ["first"]
        assert journal.torn == (cut > whole)
        again = Journal(str(path))
        assert again.append("thing", value="third").number == 1
        assert values(again) == ["first", "third"]
        assert not again.torn


def test_zeros_that_a_power_loss_left_are_a_torn_line(path: Path) -> None:
    journal = Journal(str(path))
    journal.append("thing", value="first")
    with path.open("ab") as file:
        file.write(bytes(4096))
    assert values(journal) == ["first"]
    assert journal.torn


@pytest.mark.parametrize("before", [0, 1, 5000], ids=["alone", "behind a record", "behind more than is read at once"])
@pytest.mark.parametrize("rest", [100, 3 * _TAIL_BYTES], ids=["short", "longer than what is read at once"])
def test_a_torn_line_that_ends_as_a_line_is_cut_off_and_does_not_become_damage(path: Path, before: int, rest: int) -> None:
    """A power loss can leave zeros where blocks were, and the end of the line behind them."""
    journal = Journal(str(path))
    whole = list(range(before))
    path.write_bytes(b"".join(line(number, number) for number in whole) + bytes(rest) + b'half"}\n')
    assert values(journal) == whole
    assert journal.torn
    again = Journal(str(path))
    assert [again.append("thing", value=value).number for value in ("next", "last")] == [before, before + 1]
    assert values(again) == [*whole, "next", "last"]
    assert not again.torn


def test_only_the_last_line_is_ever_cut_off(path: Path) -> None:
    """What is damaged in the middle may be mended: nobody removes it, nor what lies behind it."""
    for damaged in (bytes(50) + b"\n", line(7, "elsewhere")):
        for data in (line(0, 0) + damaged + line(2, 2), damaged + line(0, 0) + damaged + line(3, 3), line(0, 0) + line(3, 3)):
            path.write_bytes(data)
            Journal(str(path)).append("thing", value="next")
            assert path.read_bytes().startswith(data)


def test_a_long_last_line_that_is_whole_stays(path: Path) -> None:
    Journal(str(path)).append("thing", value="x" * (5 * _TAIL_BYTES))
    Journal(str(path)).append("thing", value="y" * (5 * _TAIL_BYTES))
    Journal(str(path)).append("thing", value="z")
    assert [str(value)[0] for value in values(Journal(str(path)))] == ["x", "y", "z"]


def test_a_signal_handler_that_comes_into_the_middle_of_a_record_writes_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, came, once, write = Journal(str(path)), threading.Event(), threading.Lock(), Journal._write

    def interrupted(journal: Journal, descriptor: int, line: bytes) -> None:
        end = time.monotonic() + 30
        while not came.is_set():  # one that arrives just before the script begins to wait is handled after it waited
            assert time.monotonic() < end
            os.kill(os.getpid(), signal.SIGUSR1)
            came.wait(0.2)
        write(journal, descriptor, line)

    def handler(*_: object) -> None:
        if once.acquire(blocking=False):
            came.set()
            assert journal.append("thing", value="of the handler").number == 1

    monkeypatch.setattr(Journal, "_write", interrupted)
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        assert journal.append("thing", value="of the script").number == 0
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert values(journal) == ["of the script", "of the handler"]


def test_a_record_of_the_end_of_python_needs_no_thread(path: Path) -> None:
    program = f"""
        import atexit
        from modelkeep._offline_journal import _TAIL_BYTES, Journal
        atexit.register(lambda: Journal({str(path)!r}).append("thing", value="last"))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)
    assert values(Journal(str(path))) == ["last"]


def test_a_line_that_is_being_written_is_the_end_for_who_reads_meanwhile(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long line comes bit by bit: the rest of it, and the next one, may be there a moment after its beginning was read."""
    journal, parse = Journal(str(path)), _offline_journal._parse
    for value in range(3):
        journal.append("thing", value=value)
    first, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + rest[0][:20])

    def parsed(line: bytes, number: int) -> Record | None:
        if not line.endswith(b"\n"):
            path.write_bytes(first + b"".join(rest))
        return parse(line, number)

    monkeypatch.setattr(_offline_journal, "_parse", parsed)
    assert values(journal) == [0]
    assert journal.torn
    assert values(journal) == [0, 1, 2]


@pytest.mark.parametrize("line", [0, 1])
def test_a_damaged_line_in_the_middle_is_an_error(path: Path, line: int) -> None:
    journal = Journal(str(path))
    for value in range(3):
        journal.append("thing", value=value)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b'"value":', b'"valve":')
    path.write_bytes(b"".join(lines))
    seen = []
    with pytest.raises(SyncFailed, match=f"line {line + 1} of") as failed:
        seen += [record.number for record in journal.read()]
    assert failed.value.metadata["step"] == "read"


def test_a_line_that_is_missing_is_an_error(path: Path) -> None:
    journal = Journal(str(path))
    for value in range(3):
        journal.append("thing", value=value)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2] + lines[2])
    with pytest.raises(SyncFailed, match="line 2 of"):
        list(journal.read())


def append(path: str, writer: int) -> None:
    journal = Journal(path)
    for number in range(20):
        journal.append("thing", value=[writer, number])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_threads_and_forked_children_append_whole_lines(path: Path) -> None:
    shared = Journal(str(path))
    shared.append("thing", value="first")

    def through_the_same(writer: int) -> None:
        for number in range(20):
            shared.append("thing", value=[writer, number])

    threads = [threading.Thread(target=through_the_same, args=(writer,)) for writer in range(3)]
    children = [multiprocessing.get_context("fork").Process(target=append, args=(str(path), writer)) for writer in range(3, 6)]
    for worker in (*children, *threads):
        worker.start()
    for worker in (*threads, *children):
        worker.join()
    found = values(shared)[1:]
    assert len(found) == 120
    for writer in range(6):
        assert [value[1] for value in found if value[0] == writer] == list(range(20))  # type: ignore[index]


def test_a_full_disk_leaves_no_half_line(path: Path) -> None:
    """A limit on the size of files stands for a full disk: it stops a write in its middle too."""
    script = """
        import resource, signal, sys
        from modelkeep._offline_journal import _TAIL_BYTES, Journal
        from modelkeep.errors import TargetUnusable
        journal = Journal(sys.argv[1])
        journal.append("thing", value="first")
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
        try:
            journal.append("thing", value="x" * 1000)
        except TargetUnusable as error:
            print(error.metadata["path"] == sys.argv[1])
        journal.append("thing", value="2")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    journal = Journal(str(path))
    assert values(journal) == ["first", "2"]
    assert not journal.torn


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TargetUnusable, match="offline work"):
        Journal(str(tmp_path / "file" / "journal")).append("thing", value=1)


def test_a_child_that_was_forked_meanwhile_keeps_no_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the descriptor of the file too, for as long as it lives."""
    inherited: list[int] = []
    real = os.fsync

    def forked(descriptor: int) -> None:
        inherited.append(os.dup(descriptor))
        real(descriptor)

    monkeypatch.setattr("os.fsync", forked)
    Journal(str(path)).append("thing", value="first")
    fcntl.flock(other := os.open(path, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
    for descriptor in (*inherited, other):
        os.close(descriptor)
