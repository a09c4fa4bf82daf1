"""Which code ran: asked of git in all the states that a folder can be in, quickly, and never at the cost of the run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from modelkeep import _capture, _code, _git
from modelkeep._redact import Redactor

CANARY = "hunter2canary"
ALL = frozenset(_capture.ITEMS) - {"packages"}


def git(folder: Path, *arguments: str) -> str:
    env = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "PATH": os.environ["PATH"], "HOME": str(folder)}
    identity = ("-c", "user.name=n", "-c", "user.email=e@x", "-c", "protocol.file.allow=always")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, env=env, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    (root / "src").mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    (root / "src" / "train.py").write_text("print(1)\n")
    (root / "other.py").write_text("x = 1\n")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    git(root, "remote", "add", "upstream", "https://elsewhere/x.git")
    git(root, "remote", "add", "origin", f"https://me:{CANARY}@host/team/x.git?token={CANARY}")
    return root


def found(script: Path | str, items: frozenset[str] = ALL) -> _code.Code:
    return _code.find_out(items, str(script), Redactor())


def test_a_clean_repository(repository: Path) -> None:
    code = found(repository / "src" / "train.py")
    source = code.source
    assert (source.repository_url, source.branch, source.is_dirty) == ("https://host/team/x.git", "main", False)
    assert (source.commit, source.entry_point) == (git(repository, "rev-parse", "HEAD"), "src/train.py")
    assert code.files == {"code/src/train.py": "print(1)\n"}
    assert code.collection == "code-src-train.py"


def test_changes_that_no_commit_has(repository: Path) -> None:
    (repository / "other.py").write_text(f'x = 2\npassword = "{CANARY}"\n')
    (repository / "new.py").write_text("staged = 1\n")
    git(repository, "add", "new.py")
    code = found(repository / "src" / "train.py")
    assert code.source.is_dirty
    patch = code.files["changes.patch"]
    assert "+x = 2" in patch
    assert "+staged = 1" in patch
    assert CANARY not in patch
    assert (
        subprocess.run(
            ["git", "apply", "--check", "-R"], cwd=repository, input=patch.replace("***", CANARY), text=True, check=False
        ).returncode
        == 0
    )
    again = found(repository / "src" / "train.py").artifact()
    assert again is not None
    assert again.metadata == {}, "what is the same is the same version, whatever the commit"


def test_a_script_that_git_does_not_know_makes_it_dirty(repository: Path) -> None:
    (repository / "new.py").write_text("print(2)\n")
    code = found(repository / "new.py")
    assert (code.source.is_dirty, set(code.files)) == (True, {"code/new.py"})


def test_before_the_first_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "train.py").write_text("print(1)\n")
    git(tmp_path, "add", ".")
    code = found(tmp_path / "train.py")
    assert (code.source.commit, code.source.branch, code.source.is_dirty) == ("", "main", True)
    assert "+print(1)" in code.files["changes.patch"]


def test_a_detached_head(repository: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    source = found(repository / "src" / "train.py").source
    assert (source.branch, source.commit) == ("", git(repository, "rev-parse", "HEAD"))


def test_a_submodule(repository: Path, tmp_path: Path) -> None:
    """Its commit counts, and what changed in it; a script in it has it for its repository."""
    library = tmp_path / "library"
    library.mkdir()
    git(library, "init", "-q", "-b", "main")
    (library / "lib.py").write_text("a = 1\n")
    git(library, "add", ".")
    git(library, "commit", "-qm", "lib")
    git(repository, "submodule", "add", "-q", str(library), "vendor")
    git(repository, "commit", "-qam", "submodule")
    vendor = repository / "vendor"
    (vendor / "notes.txt").write_text("git does not know me\n")
    assert not found(repository / "src" / "train.py").source.is_dirty
    (vendor / "lib.py").write_text("a = 2\n")
    changed = found(repository / "src" / "train.py")
    assert changed.source.is_dirty
    patch = changed.files["changes.patch"]
    assert "+++ b/vendor/lib.py" in patch
    assert "+a = 2" in patch
    git(vendor, "checkout", "-q", "lib.py")
    subprocess.run(["git", "apply"], cwd=repository, input=patch, text=True, check=True)
    assert (vendor / "lib.py").read_text() == "a = 2\n"
    git(vendor, "commit", "-qam", "second")
    patch = found(repository / "src" / "train.py").files["changes.patch"]
    assert "Subproject commit" in patch
    assert "+a = 2" not in patch, "a commit has it"
    inside = found(repository / "vendor" / "lib.py").source
    assert (inside.entry_point, inside.commit) == ("lib.py", git(repository / "vendor", "rev-parse", "HEAD"))


def test_a_huge_diff_is_cut_and_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_git, "MAX_DIFF_BYTES", 1000)
    (repository / "other.py").write_text("".join(f"line = {number}\n" for number in range(1000)))
    patch = found(repository / "src" / "train.py").files["changes.patch"]
    assert len(patch) < 1200
    assert patch.splitlines()[-1].startswith("# cut here")


def test_git_that_takes_too_long_is_not_waited_for(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text("#!/bin/sh\nexec sleep 1000\n")
    (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setattr(_git, "ASK_SECONDS", 0.1)
    assert found(repository / "src" / "train.py").source.commit == ""


SLOW = """#!/bin/sh
for argument; do case "$argument" in {0}) exec sleep 1000;; esac; done
exec {1} "$@"
"""


@pytest.mark.parametrize("command", ["status", "diff"])
def test_what_git_does_not_say_in_time_counts_as_changed(
    command: str, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (repository / "other.py").write_text("x = 2\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text(SLOW.format(command, shutil.which("git")))
    (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setattr(_git, "ASK_SECONDS", 5)
    monkeypatch.setattr(_git, "DIFF_SECONDS", 1 if command == "diff" else 20)
    code = found(repository / "src" / "train.py")
    assert (code.source.is_dirty, code.source.branch) == (True, "main")
    assert code.source.commit == git(repository, "rev-parse", "HEAD")
    assert ("# cut here" if command == "diff" else "+x = 2") in code.files["changes.patch"]
    (warning,) = caplog.messages
    assert ("counts as changed" if command == "status" else "not all changes are kept") in warning


def test_more_changes_than_are_read_are_changes(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / "other.py").write_text("x = 2\n")
    monkeypatch.setattr(_git, "MAX_DIFF_BYTES", 150)
    assert found(repository / "src" / "train.py").source.is_dirty


def test_no_git_and_no_repository(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bare.py").write_text("print(1)\n")
    bare = found(tmp_path / "bare.py")
    assert (bare.source.repository_url, bare.source.entry_point, set(bare.files)) == ("", "bare.py", {"code/bare.py"})
    monkeypatch.setenv("PATH", str(tmp_path))
    without = found(repository / "src" / "train.py")
    assert (without.source.commit, without.source.entry_point) == ("", "train.py")


def test_what_a_repository_configures_is_not_run(repository: Path, tmp_path: Path) -> None:
    """Nobody's code runs because a run began in a folder: neither its monitor, nor its diff, nor a filter for text."""
    for name, value in (
        ("core.fsmonitor", f"touch {tmp_path}/ran; false"),
        ("diff.external", f"touch {tmp_path}/ran"),
        ("diff.x.command", f"touch {tmp_path}/ran"),
        ("diff.x.textconv", f"touch {tmp_path}/ran"),
    ):
        git(repository, "config", name, value)
    (repository / ".gitattributes").write_text("*.py diff=x\n")
    (repository / "other.py").write_text("x = 2\n")
    assert "+x = 2" in found(repository / "src" / "train.py").files["changes.patch"]
    assert not (tmp_path / "ran").exists()


def test_no_script_takes_the_working_directory(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    code = found("")
    assert (code.source.branch, code.source.entry_point, code.files) == ("main", "", {})
    assert code.artifact() is None, "a commit says it all"


@pytest.mark.parametrize("how", [["-c", "{}"], ["-"], ["{script}"], ["-m", "train"]], ids=["-c", "stdin", "script", "module"])
def test_the_entry_point_of_a_script(tmp_path: Path, how: list[str]) -> None:
    program = "import sys; from modelkeep import _code; print(_code.entry_point(), sys.argv[1:])"
    (tmp_path / "train.py").write_text(program)
    command = [part.format(program, script=tmp_path / "train.py") if part != "{}" else program for part in how]
    done = subprocess.run(
        [sys.executable, *command, "--lr"], cwd=tmp_path, input=program, capture_output=True, text=True, check=True
    )
    where = str(tmp_path / "train.py") if how[0] in {"{script}", "-m"} else ""
    assert done.stdout == f"{where} ['--lr']\n"


def test_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = tmp_path / "explore.ipynb"
    notebook.write_text(json.dumps({"cells": [{"cell_type": "code", "source": "x = 1", "outputs": [{"text": CANARY}]}]}))
    shell = SimpleNamespace(kernel=object(), user_ns={})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))  # type: ignore[arg-type]
    assert _code.entry_point() == "", "a kernel that does not say which"
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook))
    assert _code.entry_point() == str(notebook)
    code = found(_code.entry_point())
    assert code.source.entry_point == "explore.ipynb"
    assert "x = 1" in code.files["code/explore.ipynb"]
    assert CANARY not in code.files["code/explore.ipynb"]
    notebook.write_text("no JSON")
    assert found(notebook).files == {}


def test_each_part_can_be_left_out(repository: Path) -> None:
    (repository / "other.py").write_text("x = 2\n")
    script = repository / "src" / "train.py"
    assert not found(script, frozenset()).source.ByteSize()
    assert found(script, frozenset({"git"})).files == {}
    only_diff = found(script, frozenset({"diff"}))
    assert (set(only_diff.files), only_diff.source.ByteSize()) == ({"changes.patch"}, 0)
    assert only_diff.collection == "code"
    assert set(found(script, frozenset({"script"})).files) == {"code/src/train.py"}
    packages = found(script, frozenset({"packages"}))
    assert packages.artifact() is None, "the run itself has the list"
    assert any(package.startswith("pytest==") for package in packages.packages)


def test_a_script_that_is_no_text_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.out").write_bytes(b"\xff\xfe\x00")
    assert found(tmp_path / "a.out").files == {}
    monkeypatch.setattr(_code, "MAX_SCRIPT_BYTES", 10)
    (tmp_path / "long.py").write_text("x = 1\n" * 10)
    assert found(tmp_path / "long.py").files == {}
