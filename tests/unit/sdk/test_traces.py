"""What a killed download leaves in a folder goes with the next one, and what another one is at stays."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from modelkeep._entries import Spool
from modelkeep._folder import Clearance
from modelkeep._target import Target
from modelkeep._traces import FORGOTTEN_SECONDS, MOST_SLOTS, SLOT_BYTES, TEMPORARY
from modelkeep._writer import Writer

KILLED = """
import os, signal, sys, threading
from modelkeep._target import Target
from modelkeep._writer import Writer

target = Target(sys.argv[1])
target.create("large", executable=False).write(b"half", 0)
target.create("a/b/large", executable=False)
target.create("kept", executable=False).keep(durable=False)
linked = threading.Event()
os.rename = lambda *_, **__: (linked.set(), threading.Event().wait())
threading.Thread(target=target.link, args=("linked", os.open(sys.argv[2], os.O_RDONLY)), daemon=True).start()
linked.wait()
os.rename = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
Writer(target, durable=False).write_all([("c/d", "small", b"", 0, 1, False)], memoryview(b"x"), 0)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def killed(root: Path, tmp_path: Path) -> Path:
    """The notes of a download that was killed, which are among what it left."""
    (tmp_path / "cached").write_text("of the cache")
    done = subprocess.run([sys.executable, "-c", KILLED, root, tmp_path / "cached"], check=False)
    assert done.returncode == -9
    assert len([path for path in files(root) if TEMPORARY in path]) == 5
    assert (tmp_path / "cached").stat().st_nlink == 2
    return notes(root)


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def notes(root: Path) -> Path:
    (found,) = root.glob("*.notes")
    return found


def test_what_a_killed_download_left_goes_with_the_next_wherever_it_is(root: Path, tmp_path: Path, killed: Path) -> None:
    (root / "a" / f"{TEMPORARY}0123456789abcdef").write_text("the user's own, for all we know")
    with Target(root):
        assert not killed.exists()
    assert files(root) == [f"a/{TEMPORARY}0123456789abcdef", "kept"]
    assert (tmp_path / "cached").stat().st_nlink == 1


def test_a_folder_that_is_only_looked_at_stays_as_it_is(root: Path, killed: Path) -> None:
    before = files(root)
    with Target(root, make=False) as target:
        assert killed.name in target.others(set())
    assert files(root) == before


def test_notes_go_when_nothing_is_left_of_what_they_name(root: Path, killed: Path) -> None:
    for path in files(root):
        if path != killed.name:
            (root / path).unlink()
    (root / "c" / "d").rmdir()
    with Target(root):
        assert files(root) == []


def test_two_at_once_leave_each_other_alone(root: Path) -> None:
    with Target(root) as one:
        draft = one.create("a/one", executable=False)
        small = Writer(one, durable=False)
        with Target(root) as two:
            other = two.create("a/two", executable=False)
            with Target(root):
                assert len(files(root)) == 4
            small.write_all([("a", "three", b"", 0, 1, False)], memoryview(b"x"), 0)
            draft.keep(durable=False)
            other.keep(durable=False)
        assert len(files(root)) == 4
        small.close()
    assert files(root) == ["a/one", "a/three", "a/two"]


def test_a_checkout_leaves_alone_what_another_is_at(root: Path, killed: Path) -> None:
    (root / "extra").write_text("")
    with Target(root) as other, Target(root) as target, Spool() as entries:
        draft = other.create("a/b", executable=False)
        clearance = Clearance(entries, target)
        clearance.clear_way()
        target.folding()
        clearance.clear_rest()
        draft.keep(durable=False)
    assert files(root) == ["a/b"]
    assert not killed.exists()


def test_a_checkout_that_another_one_was_faster_than_has_nothing_to_remove(root: Path) -> None:
    (root / "extra").write_text("")
    with Target(root) as target, Spool() as entries:
        clearance = Clearance(entries, target)
        (root / "extra").unlink()
        clearance.clear_rest()


def test_a_lock_that_another_machine_may_hold_is_believed_to_be_free_after_a_day(root: Path, killed: Path) -> None:
    """There are file systems where a lock is seen on one machine only."""
    content = killed.read_bytes()
    killed.write_bytes(b"modelkeep notes 1 elsewhere".ljust(SLOT_BYTES, b"\0") + content[SLOT_BYTES:])
    before = files(root)
    with Target(root):
        assert files(root) == before
    day_ago = killed.stat().st_mtime - FORGOTTEN_SECONDS - 60
    os.utime(killed, (day_ago, day_ago))
    with Target(root):
        assert files(root) == ["kept"]


def test_who_was_killed_before_the_first_note_leaves_nothing(root: Path) -> None:
    (root / f"{TEMPORARY}0123456789abcdef.notes").write_bytes(b"")
    with Target(root):
        assert files(root) == []


@pytest.mark.parametrize("first", ["taken", "removed"])
def test_notes_that_are_taken_for_those_of_a_dead_one_before_they_are_locked_are_begun_again(
    root: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    real, begun = fcntl.flock, []

    def late(descriptor: int, how: int) -> None:
        if not begun:
            begun.append(notes(root).name)
            if first == "taken":
                begun.append(other := os.open(notes(root), os.O_RDWR))
                real(other, fcntl.LOCK_EX)
            else:
                with Target(root):
                    pass
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with Target(root) as target:
        draft = target.create("file", executable=False)
        assert notes(root).name != begun[0]
        with Target(root):
            assert len(files(root)) == 2
        draft.keep(durable=False)
    assert files(root) == ["file"]
    for descriptor in begun[1:]:
        os.close(descriptor)


@pytest.mark.parametrize("content", [b"my own", b"\0" * 3 * SLOT_BYTES])
def test_what_only_has_the_name_of_notes_stays(root: Path, content: bytes) -> None:
    own = root / f"{TEMPORARY}0123456789abcdef.notes"
    own.write_bytes(content)
    (root / f"{TEMPORARY}0123456789abcde0.notes").symlink_to(own)
    (root / f"{TEMPORARY}0123456789abcde1.notes").mkdir()
    os.mkfifo(root / f"{TEMPORARY}0123456789abcde2.notes")
    before = files(root)
    with Target(root) as target:
        target.folding()
    assert files(root) == before


@pytest.mark.peer("M-PATH-3")
def test_planted_notes_remove_nothing_that_is_not_temporary_and_lead_nowhere(root: Path, tmp_path: Path, killed: Path) -> None:
    header, name = killed.read_bytes()[:SLOT_BYTES], f"{TEMPORARY}0123456789abcdef"
    with Target(root):
        pass
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "link").symlink_to(outside)
    victims = [root / "kept", root / name / "file", outside / name, outside / "file", tmp_path / name]
    for victim in victims:
        victim.parent.mkdir(exist_ok=True)
        victim.write_text("untouched")
    planted = ["kept", name, f"{name}/file", f"link/{name}", "link/file", f"{outside}/{name}", f"../{name}", f"./../{name}"]
    planted += [f"link/../{name}", f"/{name}", "", "/", "\udcff\n"]
    slots = [header, *(os.fsencode(path).ljust(SLOT_BYTES, b"\0") for path in planted), b"cut"]
    killed.write_bytes(b"".join(slots))
    with Target(root):
        assert not killed.exists()
    assert [victim.read_text() for victim in victims] == ["untouched"] * len(victims)


def test_notes_do_not_grow_with_what_is_written(root: Path) -> None:
    with Target(root) as target:
        small = Writer(target, durable=False)
        for number in range(200):
            target.create(f"{number}/large", executable=False).keep(durable=False)
            small.write_all([(str(number), "small", b"", 0, 1, False)], memoryview(b"x"), 0)
        assert notes(root).stat().st_size == 3 * SLOT_BYTES
        small.close()
        for trace in [target.trace() for _ in range(MOST_SLOTS + 5)]:
            trace.enter("")
        assert notes(root).stat().st_size == MOST_SLOTS * SLOT_BYTES
    assert len(files(root)) == 400


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_where_there_are_no_locks_a_download_goes_on_without_notes(
    root: Path, monkeypatch: pytest.MonkeyPatch, killed: Path, number: int
) -> None:
    def none(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", none)
    before = files(root)
    with Target(root) as target:
        draft = target.create("file", executable=False)
        assert list(root.glob("*.notes")) == [killed]
        draft.keep(durable=False)
    assert files(root) == sorted([*before, "file"])


def test_where_only_folders_of_the_root_can_be_written_a_download_goes_on_without_notes(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refusing(path: Any, flags: int, *mode: int, **options: Any) -> int:
        if str(path).endswith(".notes"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path, flags, *mode, **options)

    monkeypatch.setattr(os, "open", refusing)
    with Target(root) as target:
        target.create("a/file", executable=False).keep(durable=False)
    assert files(root) == ["a/file"]


def test_notes_that_the_full_disk_has_no_room_for_are_not_needed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Target(root) as target:
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            target.create("a", executable=False).keep(durable=False)
        assert files(root) == ["a"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_that_ends_takes_no_notes_away(root: Path) -> None:
    with Target(root) as target:
        draft = target.create("file", executable=False)
        child = os.fork()
        if not child:
            target.__exit__()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        with Target(root):
            assert len(files(root)) == 2
        draft.keep(durable=False)
    assert files(root) == ["file"]
