"""`modelkeep sync` where a run was killed as it began: that is told, fails nothing, and goes with --clean."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import modelkeep
import pytest

from tests.beginnings import MOMENTS, kill
from tests.suites import BIN

pytestmark = pytest.mark.one_topology


@pytest.fixture(autouse=True)
def _client(client_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in client_env if name.startswith("MODELKEEP_")]:
        monkeypatch.setenv(name, client_env[name])


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BIN / "modelkeep"), "sync", *map(str, arguments)], capture_output=True, text=True, check=False)


def test_a_run_that_was_killed_as_it_began_is_told_and_removed(tmp_path: Path) -> None:
    left = kill(tmp_path, "half a line")
    for options, words in (([], "--clean removes its folder"), (["--clean"], "its folder is removed")):
        assert left.exists()
        done = command(tmp_path, *options)
        assert done.returncode == 0, done.stderr
        assert done.stderr == f"{left}: its run ended before anything of it was recorded; {words}\n"
        assert done.stdout.splitlines()[1].split()[:5] == [left.name, "unchanged", "0", "of", "0"]
    assert list(tmp_path.iterdir()) == []
    done = command(tmp_path, "--clean")
    assert (done.returncode, done.stderr) == (0, "no run was recorded offline here\n")


def test_they_keep_no_other_run_back(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    left = {moment: kill(runs, moment) for moment in MOMENTS}
    modelkeep.init(mode="offline", dir=runs).finish()
    never_begun = left.pop("no journal")
    done = command(runs, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    states = {Path(one["folder"]): (one["state"], one["blank"], one["error"]) for one in json.loads(done.stdout)}
    assert [states.pop(folder) for folder in left.values()] == [("unchanged", True, None)] * len(left)
    assert list(states.values()) == [("synced", False, None)]
    assert never_begun.exists()
    done = command(tmp_path, "--all", "--clean", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert [one["removed"] for one in json.loads(done.stdout)] == [True] * (len(left) + 1)
    assert list(runs.iterdir()) == []


def test_a_beginning_that_is_damaged_is_an_error_as_before(tmp_path: Path) -> None:
    left = kill(tmp_path, "an empty journal")
    (left / "objects").mkdir()
    done = command(tmp_path, "--clean")
    assert (done.returncode, left.exists()) == (1, True)
    assert "was begun and never recorded what it is" in done.stderr


def test_a_run_that_is_just_beginning_is_no_line(tmp_path: Path) -> None:
    run = modelkeep.init(mode="offline", dir=tmp_path)
    (folder,) = tmp_path.iterdir()
    recorded = (folder / "journal.jsonl").read_bytes()
    (folder / "journal.jsonl").write_bytes(b"")
    done = command(tmp_path, "--clean", "--json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
    (folder / "journal.jsonl").write_bytes(recorded)
    run.finish()
    assert command(tmp_path, "--clean").returncode == 0
    assert list(tmp_path.iterdir()) == []
