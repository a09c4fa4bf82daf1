"""Building an artifact: every bad input gets one clear error at once, and the artifact stays as it was (SEM-6, 7)."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

import pytest
from modelkeep._artifact import Artifact
from modelkeep.errors import FileUnreadable, InvalidArgument, InvalidMetadata, InvalidName, InvalidPath, PathConflict


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "one.txt").write_text("1")
    (root / "a" / "two.txt").write_text("2")
    return root


def artifact() -> Artifact:
    return Artifact("digits", "model")


def names(made: Artifact) -> list[str]:
    return sorted(source.name for source in made.sources())


def test_a_file_goes_under_its_own_name_or_another(folder: Path) -> None:
    made = artifact()
    made.add_file(folder / "one.txt")
    made.add_file(folder / "one.txt", name="again/one.txt")
    assert names(made) == ["again/one.txt", "one.txt"]
    assert made.source("again/one.txt").path == str(folder / "one.txt")


def test_a_folder_goes_to_the_root_or_under_a_name(folder: Path) -> None:
    made = artifact()
    made.add_dir(folder)
    made.add_dir(f"{folder}/", name="copy")
    assert names(made) == ["a/two.txt", "copy/a/two.txt", "copy/one.txt", "one.txt"]
    for source in made.sources():
        assert Path(source.path).read_text() == ("2" if source.name.endswith("two.txt") else "1")


def test_a_relative_path_is_where_it_was_when_it_was_added(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    made = artifact()
    made.add_file("one.txt")
    monkeypatch.chdir("/")
    assert Path(made.source("one.txt").path).read_text() == "1"


def test_a_new_file_is_written_into_the_artifact() -> None:
    made = artifact()
    with made.new_file("notes/read.md") as file:
        file.write("grüße")
    with made.new_file("weights.bin", "wb") as file:
        file.write(b"\x00")
    assert Path(made.source("notes/read.md").path).read_bytes() == "grüße".encode()
    staging = Path(made.source("weights.bin").path).parent
    del made
    assert not staging.exists()


def test_a_new_file_whose_block_fails_is_not_added() -> None:
    made = artifact()
    with pytest.raises(ZeroDivisionError), made.new_file("half.txt"):
        raise ZeroDivisionError
    assert names(made) == []
    with pytest.raises(InvalidArgument), made.new_file("x", "r"):
        pass


@pytest.mark.parametrize("name", ["", "/abs", "a/../b", "a//b", ".", "C:/x", "a\\b", "a\0b", "x" * 10_000, "%2e%2e/x", "a/b/"])
@pytest.mark.peer("M-PATH-1")
def test_bad_names_are_refused(folder: Path, name: str) -> None:
    made = artifact()
    with pytest.raises(InvalidPath):
        made.add_file(folder / "one.txt", name=name)
    with pytest.raises(InvalidPath):
        made.add_dir(folder, name=name)
    with pytest.raises(InvalidPath), made.new_file(name):
        pass
    assert names(made) == []


def test_a_name_that_is_taken_is_refused(folder: Path) -> None:
    made = artifact()
    made.add_dir(folder)
    with pytest.raises(PathConflict, match=r"'one\.txt'"):
        made.add_file(folder / "one.txt")
    with pytest.raises(PathConflict):
        made.add_dir(folder)
    assert names(made) == ["a/two.txt", "one.txt"]


def test_a_path_that_is_file_and_folder_is_refused(folder: Path) -> None:
    made = artifact()
    made.add_file(folder / "one.txt", name="x")
    with pytest.raises(InvalidPath, match="'x' is a file, so 'x/y/z' cannot lie under it"):
        made.add_file(folder / "one.txt", name="x/y/z")
    made.add_file(folder / "one.txt", name="d/e/f")
    with pytest.raises(InvalidPath, match="'d/e' is a folder"):
        made.add_file(folder / "one.txt", name="d/e")
    assert names(made) == ["d/e/f", "x"]


def test_a_bad_file_in_a_folder_leaves_the_artifact_as_it_was(folder: Path) -> None:
    os.mkfifo(folder / "zz")
    made = artifact()
    with pytest.raises(FileUnreadable):
        made.add_dir(folder)
    assert names(made) == []


def fifo(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def broken_link(path: Path) -> None:
    path.symlink_to("nowhere")


def loop_of_links(path: Path) -> None:
    path.symlink_to(path.name + "2")
    path.with_name(path.name + "2").symlink_to(path.name)


ODD = [(fifo, "a fifo"), (a_socket, "a socket"), (broken_link, "broken"), (loop_of_links, "loop")]


@pytest.mark.parametrize(("make", "what"), ODD)
def test_what_is_no_file_is_refused_by_name(make: object, what: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)  # the path of a socket must be short
    make(Path("odd"))  # type: ignore[operator]
    for add in (lambda: artifact().add_dir(folder), lambda: artifact().add_file(folder / "odd")):
        with pytest.raises(FileUnreadable, match=what) as caught:
            add()
        assert "odd" in caught.value.metadata["path"]


def test_missing_paths_and_wrong_kinds_say_so(folder: Path) -> None:
    with pytest.raises(FileUnreadable, match="No such file"):
        artifact().add_file(folder / "missing")
    with pytest.raises(FileUnreadable, match="does not exist"):
        artifact().add_dir(folder / "missing")
    with pytest.raises(FileUnreadable, match="add_file"):
        artifact().add_dir(folder / "one.txt")
    with pytest.raises(FileUnreadable, match="a folder"):
        artifact().add_file(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_named(folder: Path) -> None:
    (folder / "one.txt").chmod(0)
    with pytest.raises(FileUnreadable, match=r"one\.txt.*Permission denied"):
        artifact().add_dir(folder)


def test_links_are_followed_inside_the_folder_only(folder: Path, tmp_path: Path) -> None:
    (folder / "link.txt").symlink_to("a/two.txt")
    (folder / "folder-link").symlink_to("a")
    made = artifact()
    made.add_dir(folder)
    assert names(made) == ["a/two.txt", "folder-link/two.txt", "link.txt", "one.txt"]
    outside = tmp_path / "outside.txt"
    outside.write_text("secret")
    (folder / "out").symlink_to(outside)
    with pytest.raises(FileUnreadable, match="leads out of the folder"):
        artifact().add_dir(folder)
    single = artifact()
    single.add_file(folder / "out")  # who names a link itself means what it leads to
    assert names(single) == ["out"]


def test_a_link_to_a_neighbour_whose_name_begins_alike_leads_out(folder: Path) -> None:
    neighbour = folder.with_name(folder.name + "-private")
    neighbour.mkdir()
    (neighbour / "key").write_text("secret")
    (folder / "in").symlink_to(neighbour)
    with pytest.raises(FileUnreadable, match="leads out"):
        artifact().add_dir(folder)


def test_a_circle_of_folders_is_refused(folder: Path) -> None:
    (folder / "a" / "up").symlink_to("..")
    with pytest.raises(FileUnreadable, match="a folder that it lies in"):
        artifact().add_dir(folder)


def test_the_root_may_be_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    made = artifact()
    made.add_dir(tmp_path / "link")
    assert names(made) == ["a/two.txt", "one.txt"]


def test_empty_folders_are_left_out_with_a_note(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "empty").mkdir()
    made = artifact()
    with caplog.at_level(logging.WARNING):
        made.add_dir(folder)
    assert names(made) == ["a/two.txt", "one.txt"]
    assert "left out 1 empty folder of" in caplog.text
    assert "empty" in caplog.records[0].getMessage()


def test_a_name_that_is_not_utf8_is_refused(folder: Path) -> None:
    with open(os.fsencode(folder) + b"/\xff\xfe", "wb"):
        pass
    with pytest.raises(InvalidPath, match="not UTF-8"):
        artifact().add_dir(folder)


def test_nothing_to_log_is_refused(tmp_path: Path) -> None:
    made = artifact()
    made.add_dir(tmp_path)
    with pytest.raises(InvalidArgument, match="nothing to log"):
        made.seal()


def test_an_artifact_that_is_being_logged_takes_nothing_more(folder: Path) -> None:
    made = artifact()
    made.add_file(folder / "one.txt")
    made.seal()
    with pytest.raises(InvalidArgument, match="make a new one"):
        made.add_file(folder / "a" / "two.txt")
    with pytest.raises(InvalidArgument), made.new_file("late.txt"):
        pass


def test_names_types_and_metadata_are_checked_at_once() -> None:
    with pytest.raises(InvalidName):
        Artifact("a/b", "model")
    with pytest.raises(InvalidName):
        Artifact("digits", "")
    with pytest.raises(InvalidMetadata):
        Artifact("digits", "model", metadata={"x": float("inf")})
    with pytest.raises(InvalidMetadata):
        Artifact("digits", "model", metadata={str(i): i for i in range(101)})
