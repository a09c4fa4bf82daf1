"""The folder of a serving node, and its probes."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from modelkeep._follow_memory import Memory
from modelkeep._follow_probe import ReadyFile, ReadyPages
from modelkeep._follow_root import FollowRoot, Loaded
from modelkeep.config import Config
from modelkeep.errors import DiskFull, InvalidArgument, TargetUnusable

ALIAS = "teams/t/projects/p/collections/m/aliases/a"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[FollowRoot]:
    made = FollowRoot(tmp_path / "root")
    yield made
    made.close()


def load(root: FollowRoot, number: int) -> Loaded:
    """Bring a version in, and switch to it."""
    loaded = Loaded(f"v{number}-abcd", f"m:v{number}", f"…/v{number}", "uid", "sha256:ab", ALIAS, number, f"2026-01-0{number}")
    incoming = root.incoming(loaded.folder)
    incoming.mkdir(exist_ok=True)
    (incoming / "f").write_text(str(number))
    root.keep(loaded)
    root.switch(loaded)
    return loaded


def folders(root: FollowRoot) -> list[str]:
    return sorted(path.name for path in (root.path / "versions").iterdir())


def test_what_is_loaded_is_found_again(root: FollowRoot) -> None:
    assert root.loaded() is None
    loaded = load(root, 1)
    assert root.loaded() == loaded
    assert (root.path / "current" / "f").read_text() == "1"
    assert str((root.path / "current").readlink()) == "versions/v1-abcd", "the whole folder may be moved, or mounted elsewhere"
    root.folder("v1-abcd").rename(root.folder("elsewhere"))
    assert root.loaded() is None


def test_a_folder_whose_name_is_no_text_is_remembered_too(tmp_path: Path) -> None:
    root = FollowRoot(tmp_path / os.fsdecode(b"root-\xff"))
    state = {"path": str(root.path), "errors": ["ü"]}
    root.remember(state)
    assert root.state() == state
    root.close()


def test_who_ends_lets_go_of_the_folder_whatever_children_it_has(root: FollowRoot) -> None:
    inherited = os.dup(root._lock.fileno())  # by a worker that was forked meanwhile
    root.close()
    FollowRoot(root.path).close()
    os.close(inherited)


def test_what_could_not_be_removed_once_is_in_nobodys_way(root: FollowRoot) -> None:
    for number in range(1, 3):
        load(root, number)
    left = root.path / "versions" / ".removed-v1-abcd"
    left.mkdir()
    (left / "f").touch()
    assert root.prune(1) == ["v1-abcd"]
    assert folders(root) == ["v2-abcd", "v2-abcd.json"]


def test_the_last_versions_are_kept_and_nothing_else(root: FollowRoot) -> None:
    for number in range(1, 5):
        load(root, number)
    (root.path / ".current-left").symlink_to("versions/v1-abcd")
    (root.path / "versions" / ".removed-v0-abcd").mkdir()
    assert root.prune(3) == ["v1-abcd"]
    assert folders(root) == [f"v{n}-abcd{end}" for n in (2, 3, 4) for end in ("", ".json")]
    assert not [path for path in root.path.iterdir() if path.name.startswith(".current")]
    root.switch(Loaded(**json.loads((root.path / "versions/v2-abcd.json").read_text())))  # the alias went back
    assert root.prune(1) == ["v3-abcd", "v4-abcd"][::-1]
    assert (root.path / "current" / "f").read_text() == "2"


@pytest.mark.parametrize("at", ["open", "replace", "rename"])
def test_of_a_write_that_was_cut_off_nothing_is_left(root: FollowRoot, at: str) -> None:
    """As a kill in the middle of `keep` leaves it: a file half written, one that has no name yet, or one of no version."""
    load(root, 1)
    versions = root.path / "versions"
    if at == "rename":
        (versions / "v2-abcd.json").write_text("{}")
    else:
        (versions / ".writing-v2-abcd.json").write_text("" if at == "open" else "{}")
        (root.path / ".writing-follow.json").write_text('{"se')
    assert root.prune(1) == []
    assert folders(root) == ["v1-abcd", "v1-abcd.json"]
    assert [path.name for path in versions.iterdir() if path.name.startswith(".")] == []
    root.remember({"seen": 1})
    assert sorted(path.name for path in root.path.iterdir()) == [".follow.lock", "current", "follow.json", "versions"]


def test_what_somebody_reads_stays(root: FollowRoot) -> None:
    """By the lock that `reading` takes, or because files are open, as any program has them that knows `current` only."""
    first = load(root, 1)
    load(root, 2)
    with root.reading(first.folder) as is_there:
        assert is_there
        assert root.prune(1) == []
    with (root.path / "versions/v1-abcd/f").open():
        assert root.prune(1) == []
    assert root.prune(1) == ["v1-abcd"]
    with root.reading(first.folder) as is_there:
        assert not is_there


def test_what_somebody_reads_stays_also_when_it_is_loaded_again(root: FollowRoot) -> None:
    """The alias went back to what a program still reads: its lock goes on counting."""
    first = load(root, 1)
    with root.reading(first.folder):
        load(root, 2)
        root.keep(first)
        root.switch(first)
        load(root, 3)
        assert root.prune(1) == ["v2-abcd"]
    load(root, 2)
    assert root.prune(1) == ["v3-abcd", "v1-abcd"]


def test_who_waits_to_read_what_is_written_anew_reads_that(root: FollowRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock on the file that had the name before would keep nothing."""
    first = load(root, 1)
    description = root.path / "versions/v1-abcd.json"
    seen: list[bool] = []
    asked, flock = threading.Event(), fcntl.flock

    def asking(file: Any, how: int) -> None:
        asked.set()
        flock(file, how)

    def read() -> None:
        with root.reading(first.folder) as is_there, description.open("rb") as file:
            seen.append(is_there)
            with pytest.raises(BlockingIOError):
                flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            seen.append(True)

    monkeypatch.setattr(fcntl, "flock", asking)
    with description.open("rb") as file:
        flock(file, fcntl.LOCK_EX)
        reader = threading.Thread(target=read)
        reader.start()
        assert asked.wait(60)
        root.write(description, json.loads(description.read_text()))
    reader.join(60)
    assert seen == [True, True]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_outlives_who_followed_is_in_nobodys_way(tmp_path: Path) -> None:
    program = f"""
        import os, signal
        from modelkeep._follow_root import FollowRoot
        root = FollowRoot({str(tmp_path / "root")!r})
        if os.fork():
            os.kill(os.getpid(), signal.SIGKILL)
        print("forked", flush=True)
        signal.pause()
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, process_group=0) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"forked\n"
        try:
            assert parent.wait(60) == -signal.SIGKILL
            FollowRoot(tmp_path / "root").close()
        finally:
            os.killpg(parent.pid, signal.SIGKILL)


def test_an_interrupted_fetch_goes_on_and_one_of_another_version_is_removed(root: FollowRoot) -> None:
    root.incoming("v1-abcd").mkdir()
    (root.incoming("v1-abcd") / "half").write_text("h")
    assert (root.incoming("v1-abcd") / "half").exists()
    root.incoming("v2-abcd")
    assert folders(root) == []


def test_a_file_system_without_symbolic_links_is_told(root: FollowRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(TargetUnusable, match="cannot hold symbolic links"):
        load(root, 1)


def test_a_full_disk_leaves_no_file_behind(root: FollowRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    root.remember({"seen": 1})

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskFull):
            root.remember({"seen": 2})
    assert root.state() == {"seen": 1}
    assert sorted(path.name for path in root.path.iterdir()) == [".follow.lock", "follow.json", "versions"]


def test_a_folder_that_is_in_use_or_of_somebody_else_is_refused(root: FollowRoot, tmp_path: Path) -> None:
    root.say("m:production")
    with pytest.raises(TargetUnusable, match=rf"process {os.getpid()} on .*\(m:production\)"):
        FollowRoot(root.path)
    (tmp_path / "other/current").mkdir(parents=True)
    with pytest.raises(TargetUnusable, match="no link of ours"):
        FollowRoot(tmp_path / "other")
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetUnusable):
        FollowRoot(tmp_path / "file")


@pytest.mark.parametrize("target", ["/etc", "elsewhere", "versions", "versions/..", "x/versions/v1", "/versions/v1"])
def test_a_link_that_somebody_else_made_is_left_alone(tmp_path: Path, target: str) -> None:
    (tmp_path / "current").symlink_to(target)
    with pytest.raises(TargetUnusable, match="no link of ours"):
        FollowRoot(tmp_path)
    assert str((tmp_path / "current").readlink()) == target


def test_a_folder_that_is_everybodys_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "link").symlink_to("home")
    (tmp_path / "home").mkdir()
    for folder in (tmp_path, tmp_path / "home", tmp_path / "link", Path("/")):
        with pytest.raises(TargetUnusable, match="choose another folder"):
            FollowRoot(folder)
    assert list((tmp_path / "home").iterdir()) == []
    FollowRoot(tmp_path / "home" / "models").close()


@pytest.mark.parametrize(
    ("field", "value"),
    [("seq", "z"), ("seq", None), ("folder", "v9-abcd"), ("name", 1), ("alias", "garbage"), ("since", "now"), ("more", 1)],
)
def test_a_description_that_nobody_wrote_is_none(root: FollowRoot, field: str, value: object) -> None:
    loaded = load(root, 1)
    description = root.path / "versions/v1-abcd.json"
    written = description.read_text()
    description.write_text(json.dumps(json.loads(written) | {field: value}))
    assert root.loaded() is None
    description.write_text("[" * 100_000)
    assert root.loaded() is None
    description.write_text(written)
    assert root.loaded() == loaded


@pytest.mark.parametrize(
    "state",
    [{"alias": "garbage"}, {"alias": 7}, {"seen": {"seq": "z"}}, {"last_contact": "0001-01-01T00:00:00"}, {"announced": []}],
)
def test_what_is_damaged_of_what_was_remembered_counts_as_lost(root: FollowRoot, state: dict[str, Any]) -> None:
    loaded = load(root, 1)
    root.remember(state)
    memory = Memory(root, "t/p/m:a", lambda: Config("grpc://127.0.0.1:1", ""))
    assert (memory.loaded, memory.alias, memory.announced) == (loaded, ALIAS, "")
    assert memory.status()["seen"]["seq"] == 1


def page(pages: ReadyPages, name: str, method: str = "GET") -> tuple[int, Any]:
    request = urllib.request.Request(f"http://{pages.address}{name}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or "null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or "null")


def test_the_pages_say_whether_it_is_ready() -> None:
    status: dict[str, Any] = {"ready": False, "loaded": None, "errors": {"watch": "…"}}
    pages = ReadyPages("0", lambda: status)
    assert pages.address.startswith("127.0.0.1:"), "nobody else is asked to see it"
    assert page(pages, "/ready") == (503, {"ready": False, "loaded": None})
    assert page(pages, "/status") == (200, status)
    status |= {"ready": True, "loaded": {"version": "v1"}}
    assert page(pages, "/ready?probe=1") == (200, {"ready": True, "loaded": {"version": "v1"}})
    assert page(pages, "/ready", "HEAD") == (200, None)
    assert page(pages, "/../etc/passwd")[0] == 404
    with pytest.raises(InvalidArgument, match="cannot listen"):
        ReadyPages(pages.address, lambda: status)
    pages.close()
    with pytest.raises(OSError):
        page(pages, "/ready")


@pytest.mark.parametrize("address", ["", "http", "1:2:x", "70000", "nosuch.invalid:1", "-1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidArgument):
        ReadyPages(address, dict)


def test_the_file_is_there_while_something_is_loaded(tmp_path: Path) -> None:
    file = ReadyFile(tmp_path / "ready")
    file.path.write_text("of a process that was killed")
    file.show({"ready": False, "loaded": None})
    assert not file.path.exists()
    file.show({"ready": True, "loaded": {"version": "v1"}})
    assert json.loads(file.path.read_text()) == {"version": "v1"}
    assert list(tmp_path.iterdir()) == [file.path]
    file.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TargetUnusable, match="nosuch"):
        ReadyFile(tmp_path / "nosuch" / "ready").show({"ready": False, "loaded": None})
    (tmp_path / "folder").mkdir()
    with pytest.raises(TargetUnusable, match="folder"):
        ReadyFile(tmp_path / "folder").show({"ready": True, "loaded": {}})
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
