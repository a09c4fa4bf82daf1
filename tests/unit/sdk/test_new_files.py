"""What exists only in an artifact goes with it: also when its process is killed, and never before."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from modelkeep import _new_files
from modelkeep._artifact import Artifact

PROGRAM = """
    import os, signal, sys
    from pathlib import Path
    from modelkeep._artifact import Artifact

    made = Artifact("digits", "model")
    with made.new_file("weights", "wb") as file:
        file.write(bytes(1000))
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go, of this process and of those that it starts."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@contextmanager
def process(program: str) -> Iterator[subprocess.Popen[str]]:
    """A process that made an artifact, and waits when it comes to `input()`."""
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM) + textwrap.dedent(program)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        yield running


def run(program: str) -> int:
    with process(program) as running:
        running.communicate()
    return running.returncode


def make_old(*folders: Path) -> None:
    old = time.time() - 2 * _new_files.BEGIN_SECONDS
    for folder in folders:
        os.utime(folder, (old, old))


def new_artifact() -> Artifact:
    made = Artifact("digits", "model")
    with made.new_file("x") as file:
        file.write("x")
    return made


def folder_of(made: Artifact) -> Path:
    return Path(made.source("x").path).parent


def test_what_a_killed_process_left_goes_when_the_next_artifact_needs_room(place: Path) -> None:
    assert run("os.kill(os.getpid(), signal.SIGKILL)") == -9
    [left] = place.iterdir()
    made = new_artifact()
    assert left.exists()  # its process might just have made it, and not locked it yet
    make_old(left)
    other = new_artifact()
    assert sorted(place.iterdir()) == sorted([folder_of(made), folder_of(other)])


def test_what_a_living_process_has_stays_however_old(place: Path) -> None:
    with process("print('made', flush=True); input(); print(Path(made.source('weights').path).stat().st_size)") as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "made\n"
        [folder] = place.iterdir()
        mine = new_artifact()
        make_old(folder, folder_of(mine))
        new_artifact()
        assert sorted(place.iterdir()) == sorted([folder, folder_of(mine)])
        assert running.communicate("\n")[0] == "1000\n"
    assert list(place.iterdir()) == [folder_of(mine)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_that_outlives_a_killed_process_keeps_what_it_inherited(place: Path) -> None:
    program = """
        if os.fork():
            os.kill(os.getpid(), signal.SIGKILL)
        print("made", flush=True)
        sys.stdin.readline()
        os.closerange(3, 100)
        print("closed", flush=True)
        os._exit(0)
    """
    with process(program) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "made\n"
        assert running.wait() == -9
        [folder] = place.iterdir()
        make_old(folder)
        new_artifact()
        assert folder.exists()
        assert running.communicate("\n")[0] == "closed\n"
    new_artifact()
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("end", ["sys.exit()", "del made; sys.exit()", "raise ValueError"])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.peer("M-UP-2")
def test_a_child_that_ends_takes_nothing_from_its_parent(place: Path, end: str) -> None:
    program = f"""
        child = os.fork()
        if not child:
            sys.stderr = None
            {end}
        os.waitpid(child, 0)
        print("ended", flush=True)
        input()
        print(Path(made.source("weights").path).stat().st_size)
    """
    with process(program) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ended\n"
        [folder] = place.iterdir()
        make_old(folder)
        new_artifact()  # the lock is held still
        assert running.communicate("\n")[0] == "1000\n"
    assert list(place.iterdir()) == []


def test_whatever_a_removal_is_interrupted_over_is_removed_by_the_next(place: Path) -> None:
    program = """
        unlink = os.unlink
        os.unlink = lambda path: (unlink(path), os.kill(os.getpid(), signal.SIGKILL))
        with made.new_file("more") as file:
            file.write("more")
        del made
    """
    assert run(program) == -9
    [left] = place.iterdir()
    assert len(list(left.iterdir())) == 2  # a file, and the lock
    make_old(left)
    new_artifact()
    assert list(place.iterdir()) == []


def test_a_folder_without_a_lock_goes_only_when_it_is_empty_and_old(place: Path) -> None:
    young, old, full, other = (place / f"{_new_files.PREFIX}{name}" for name in ("young", "old", "full", "other"))
    for folder in (young, old, full):
        folder.mkdir()
    (full / "weights").write_text("of a process that could lock nothing")
    other.write_text("no folder")
    (place / "modelkeep-mine").mkdir()
    (place / "modelkeep-mine" / _new_files.LOCK).touch()
    link = place / f"{_new_files.PREFIX}link"
    link.symlink_to(place / "modelkeep-mine")
    make_old(old, full, other, place / "modelkeep-mine")
    new_artifact()
    assert sorted(place.iterdir()) == sorted([young, full, other, place / "modelkeep-mine", link])
    assert not (young / _new_files.LOCK).exists()


def test_what_is_another_users_is_left_alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = place / f"{_new_files.PREFIX}left"
    left.mkdir()
    (left / _new_files.LOCK).touch()
    make_old(left)
    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", lambda: left.stat().st_uid + 1)
        new_artifact()
        assert left.exists()
    new_artifact()
    assert not left.exists()


def test_where_nothing_can_be_locked_nothing_is_taken_for_left_behind(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("No locks available")

    with monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", refuse)
        made = new_artifact()
    folder = folder_of(made)
    make_old(folder)
    new_artifact()
    assert folder.exists()
    del made
    assert list(place.iterdir()) == []
