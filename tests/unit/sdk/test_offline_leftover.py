"""What kills and full disks leave in an offline folder keeps nobody back, and goes when somebody cleans; nothing else does."""

from __future__ import annotations

import fcntl
import hashlib
from pathlib import Path

import modelkeep
import pytest
from modelkeep._channel import Connection
from modelkeep._offline import Recording
from modelkeep._offline_find import runs_in
from modelkeep._offline_journal import Journal
from modelkeep._offline_leftover import is_blank, sweep
from modelkeep._sync import Outcome, sync

from tests.beginnings import MOMENTS, begin, kill


def replay(connection: Connection, folder: Path, *, clean: bool = False) -> list[Outcome]:
    return list(sync(connection, runs_in(str(folder)), clean=clean))


@pytest.mark.parametrize("moment", MOMENTS)
def test_what_a_kill_leaves_of_a_beginning_is_no_run(connection: Connection, tmp_path: Path, moment: str) -> None:
    left = kill(tmp_path, moment)
    assert is_blank(str(left))
    for _ in range(2):
        outcomes = replay(connection, tmp_path)
        told = [] if moment == "no journal" else [("unchanged", None, True, False)]
        assert [(one.state, one.error, one.blank, one.removed) for one in outcomes] == told
    assert [one.removed for one in replay(connection, tmp_path, clean=True)] == [True] * len(told)
    sweep(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_folder_of_a_run_that_cannot_begin(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: it stops a write in its middle too."""
    done = begin(
        tmp_path, "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); signal.signal(signal.SIGXFSZ, signal.SIG_IGN)"
    )
    assert (done.returncode, "cannot be used for offline work" in done.stderr) == (1, True), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_words_that_cannot_be_recorded_leave_no_folder(tmp_path: Path) -> None:
    with pytest.raises(modelkeep.InvalidArgument, match="UTF-8"):
        Recording.begin(str(tmp_path / "run"), {"name": "\ud800"})
    (tmp_path / "run").mkdir()
    with pytest.raises(modelkeep.TargetUnusable, match="exists"):
        Recording.begin(str(tmp_path / "run"), {})
    assert list(tmp_path.rglob("*")) == [tmp_path / "run"], "that of somebody else stays"


@pytest.mark.parametrize("clean", [False, True])
def test_a_run_that_is_just_beginning_is_left_alone(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean: bool
) -> None:
    """While it makes its journal, and when that is there and empty."""
    append, write = Journal.append, Journal._write

    def look() -> None:
        sweep(str(tmp_path), deep=True)
        assert replay(connection, tmp_path, clean=clean) == []

    def appended(journal: Journal, kind: str, **values: object) -> object:
        monkeypatch.setattr(Journal, "append", append)
        look()
        return append(journal, kind, **values)

    def written(journal: Journal, descriptor: int, line: bytes) -> None:
        monkeypatch.setattr(Journal, "_write", write)
        look()
        write(journal, descriptor, line)

    monkeypatch.setattr(Journal, "append", appended)
    monkeypatch.setattr(Journal, "_write", written)
    modelkeep.init("vision", mode="offline", dir=tmp_path).finish()
    (outcome,) = replay(connection, tmp_path)
    assert (outcome.state, outcome.records, outcome.blank) == ("synced", 1, False)


LINE = f"{hashlib.sha256(b'{}').hexdigest()[:16]} {{}}\n".encode()


@pytest.mark.parametrize(
    "files",
    [
        {"journal.jsonl": b"", "objects/ab/file": b"1"},
        {"journal.jsonl": b"half", "manifests/x": b"1"},
        {"journal.jsonl": b"", "sync.jsonl": b""},
        {"journal.jsonl": b"", "notes.txt": b"mine"},
        {"journal.jsonl": b"damaged " + LINE},
        {"journal.jsonl": bytes(50) + b"\n" + LINE},
        {"journal.jsonl": bytes(50) + b"\n" + b"h"},
        {"journal.jsonl": LINE},
    ],
    ids=[
        "objects",
        "manifests",
        "notes",
        "another file",
        "a damaged line",
        "a line behind it",
        "half a line behind it",
        "a line",
    ],
)
def test_what_a_person_may_want_stays_and_is_an_error(connection: Connection, tmp_path: Path, files: dict[str, bytes]) -> None:
    for name, data in ({"alive.lock": b""} | files).items():
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_bytes(data)
    sweep(str(tmp_path), deep=True)
    (outcome,) = replay(connection, tmp_path, clean=True)
    assert (outcome.state, outcome.blank, outcome.removed) == ("failed", False, False)
    assert {name: (tmp_path / "run" / name).read_bytes() for name in files} == files


def test_what_kills_left_goes_and_nothing_else(tmp_path: Path) -> None:
    right_here = {".removing-a/objects/ab/file", ".removing-b/journal.jsonl", "killed/alive.lock"}
    below = {"deep/er/.removing-c/manifests/x", "deep/killed/alive.lock"}
    others = {
        ".hidden/.removing-d/alive.lock",
        ".hidden/killed/alive.lock",
        ".removing-of-another/mine.txt",
        "run/journal.jsonl",
        "run/.removing-e/alive.lock",
        "begins/alive.lock",
        "of-another/alive.lock",
        "of-another/file",
    }
    for name in right_here | below | others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"" if name.endswith(".lock") else b"1")
    with (tmp_path / "begins/alive.lock").open() as alive:
        fcntl.flock(alive, fcntl.LOCK_SH)
        for folder, deep, left in (
            ("run", False, right_here | below | others),
            ("nosuch", True, right_here | below | others),
            (".", False, below | others),
            (".", True, others),
        ):
            sweep(str(tmp_path / folder), deep=deep)
            assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == left
    sweep(str(tmp_path / "begins"))
    assert not (tmp_path / "begins").exists()
