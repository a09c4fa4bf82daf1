"""Writing into a folder that somebody prepared: nothing leads out, nothing half-written stays (M-PATH-3)."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest
from modelkeep._download import check_names, with_executable
from modelkeep._entries import Spool
from modelkeep._folder import Clearance
from modelkeep._target import OPEN_FOLDERS, Target, fold
from modelkeep._traces import TEMPORARY
from modelkeep.errors import DiskFull, ModelkeepError, TargetUnusable


def put(target: Target, path: str, data: bytes = b"new", *, executable: bool = False, durable: bool = False) -> None:
    draft = target.create(path, executable=executable)
    try:
        draft.write(data, 0)
        draft.keep(durable=durable)
    finally:
        draft.discard()


def left_over(root: Path) -> list[str]:
    """What is temporary in a folder, besides the notes about it, which stay until the target is closed."""
    found = [name for _, _, names in os.walk(root) for name in names if name.startswith(TEMPORARY)]
    return [name for name in found if not name.endswith(".notes")]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("untouched")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def test_files_are_written_in_place_of_old_ones(root: Path) -> None:
    (root / "a").write_text("old")
    with Target(root) as target:
        put(target, "a")
        put(target, "deep/er/b", b"", durable=True)
        target.sync()
    assert (root / "a").read_text() == "new"
    assert (root / "deep" / "er" / "b").read_bytes() == b""
    assert left_over(root) == []


def test_parts_may_come_in_any_order_and_none_shows_before_the_end(root: Path) -> None:
    with Target(root) as target:
        draft = target.create("file", executable=False)
        draft.write(b"world", 6)
        draft.write(b"hello ", 0)
        assert not (root / "file").exists()
        draft.keep(durable=False)
    assert (root / "file").read_text() == "hello world"


def test_permissions_follow_the_umask(root: Path) -> None:
    before = os.umask(0o027)
    try:
        with Target(root) as target:
            put(target, "run", executable=True)
            put(target, "data")
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / "run").stat().st_mode) == 0o750
    assert stat.S_IMODE((root / "data").stat().st_mode) == 0o640


def test_what_is_discarded_leaves_nothing(root: Path) -> None:
    with Target(root) as target:
        draft = target.create("a/b", executable=False)
        draft.write(b"half", 0)
        assert left_over(root) != []
        draft.discard()
        draft.discard()
    assert left_over(root) == []
    assert not (root / "a" / "b").exists()


@pytest.mark.peer("M-PATH-3")
@pytest.mark.parametrize("planted", ["a", "a/b"])
def test_a_planted_link_in_place_of_a_folder_leads_nowhere(root: Path, outside: Path, planted: str) -> None:
    link = root / planted
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)
    with Target(root) as target, pytest.raises(TargetUnusable, match="a symbolic link or a file stands"):
        put(target, "a/b/c")
    assert names(outside) == ["secret"]


@pytest.mark.peer("M-PATH-3")
def test_a_planted_link_in_place_of_a_file_is_replaced_and_not_followed(root: Path, outside: Path) -> None:
    (root / "file").symlink_to(outside / "secret")
    with Target(root) as target:
        assert target.open_existing("file") is None
        put(target, "file")
    assert (outside / "secret").read_text() == "untouched"
    assert not (root / "file").is_symlink()
    assert (root / "file").read_text() == "new"


@pytest.mark.peer("M-PATH-3")
def test_a_folder_that_is_swapped_for_a_link_meanwhile_leads_nowhere(root: Path, outside: Path) -> None:
    with Target(root) as target:
        put(target, "folder/one")
        draft = target.create("folder/two", executable=False)
        (root / "folder").rename(root / "moved")
        (root / "folder").symlink_to(outside)
        draft.write(b"x", 0)
        draft.keep(durable=True)
        put(target, "folder/three")  # through the folder that is open still
    assert names(outside) == ["secret"]
    with Target(root) as target, pytest.raises(TargetUnusable):
        put(target, "folder/four")


@pytest.mark.peer("M-PATH-3")
def test_removing_follows_no_link(root: Path, outside: Path) -> None:
    (root / "link").symlink_to(outside)
    with Target(root) as target:
        with pytest.raises(TargetUnusable):
            target.remove("link/secret")
        assert list(target.others(set())) == ["link"]
        target.remove("link")
    assert (outside / "secret").exists()
    assert names(root) == []


def test_the_root_may_be_a_link_of_the_user(root: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(root)
    with Target(tmp_path / "current") as target:
        put(target, "a")
    assert (root / "a").exists()


def test_a_root_that_is_a_file_or_missing_is_refused(root: Path) -> None:
    (root / "file").write_text("")
    with pytest.raises(TargetUnusable):
        Target(root / "file")
    with pytest.raises(TargetUnusable, match="No such file"):
        Target(root / "missing", make=False)


def test_a_file_in_place_of_a_folder_and_a_folder_in_place_of_a_file_are_refused(root: Path) -> None:
    (root / "a").write_text("")
    (root / "b" / "c").mkdir(parents=True)
    with Target(root) as target:
        with pytest.raises(TargetUnusable, match=r"'.*/a'"):
            put(target, "a/x")
        with pytest.raises(TargetUnusable, match=r"'.*/b/c'"):
            put(target, "b/c")
    assert left_over(root) == []


@pytest.mark.peer("M-UP-6")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["pwrite", "fsync", "rename", "open", "mkdir"])
def test_a_full_disk_is_told_and_leaves_nothing(root: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    with Target(root) as target:
        with monkeypatch.context() as patch:
            patch.setattr(f"modelkeep._target.os.{call}", full)
            with pytest.raises(DiskFull, match="free some space"):
                put(target, "folder/file", durable=True)
        assert left_over(root) == []
        assert not (root / "folder" / "file").exists()
        put(target, "folder/file")


def test_short_writes_are_completed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr("modelkeep._target.os.pwrite", lambda fd, data, at: pwrite(fd, data[:3], at))
    with Target(root) as target:
        put(target, "file", b"0123456789")
    assert (root / "file").read_bytes() == b"0123456789"


def test_many_folders_do_not_stay_open(root: Path) -> None:
    with Target(root) as target:
        for number in range(3 * OPEN_FOLDERS):
            put(target, f"{number}/x/y")
        assert len(target._folders) <= OPEN_FOLDERS
    assert sum(len(files) for _, _, files in os.walk(root)) == 3 * OPEN_FOLDERS


def test_many_threads_write_at_once(root: Path) -> None:
    failures: list[ModelkeepError] = []

    def write(thread: int) -> None:
        try:
            for number in range(50):
                put(target, f"{number % 80}/{thread}/{number}", f"{thread}-{number}".encode())
        except ModelkeepError as error:
            failures.append(error)

    with Target(root) as target:
        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert sum(len(files) for _, _, files in os.walk(root)) == 400
    assert left_over(root) == []


def test_this_file_system_keeps_names_apart(root: Path) -> None:
    with Target(root) as target:
        folded = target.folding()
    if folded is None:
        for name in ("straße", "STRASSE", "é", "e\u0301"):
            (root / name).write_text(name)
        assert len(names(root)) == 4
    else:
        assert folded("A") == folded("a") or folded("é") == folded("e\u0301")
    assert left_over(root) == []


@pytest.mark.parametrize(
    ("one", "other", "no_case", "no_forms"),
    [
        ("Model.bin", "model.bin", True, False),
        ("é.txt", "e\u0301.txt", False, True),
        ("dir/a", "DIR/b", True, True),
        ("É", "e\u0301", True, True),
    ],
)
def test_names_that_the_target_takes_for_one_are_refused(one: str, other: str, no_case: bool, no_forms: bool) -> None:
    """SEM-7: refused by a download only where the target cannot hold both."""
    folded = fold(no_case=no_case, no_forms=no_forms)
    assert folded is not None
    with pytest.raises(TargetUnusable, match="cannot hold both"):
        check_names([one, other], folded)
    check_names([one, one + "2", "dir/a", "dir/b"], folded)
    assert fold(no_case=False, no_forms=False) is None


@pytest.mark.parametrize(
    ("before", "executable", "after"),
    [(0o644, True, 0o755), (0o600, True, 0o700), (0o755, True, 0o755), (0o755, False, 0o644), (0o640, False, 0o640)],
)
def test_the_executable_bit_is_put_right(before: int, executable: bool, after: int) -> None:
    assert with_executable(before, executable=executable) == after


def test_a_checkout_never_empties_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is called: on many clusters the home folder is reached by a link."""
    real = tmp_path / "disks" / "user"
    real.mkdir(parents=True)
    (real / "thesis").write_text("untouched")
    (tmp_path / "home").symlink_to(real)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for folder in (tmp_path / "home", real, real.parent):
        with Spool() as entries, Target(folder) as target, pytest.raises(TargetUnusable, match="would be emptied"):
            Clearance(entries, target)
    assert (real / "thesis").read_text() == "untouched"


def test_a_folder_that_is_only_looked_at_is_read_and_not_written(root: Path) -> None:
    with pytest.raises(TargetUnusable, match=r"nosuch' cannot be read: No such file"):
        Target(root / "nosuch", make=False)
