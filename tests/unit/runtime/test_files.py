"""Small files with secrets: whole or not at all, and nothing stays under a name that nobody knows."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from modelkeep._left_behind import LEFT_BEHIND_SECONDS
from modelkeep_server.runtime import files

KILLED = """
import os, signal, sys
from pathlib import Path
from modelkeep_server.runtime import files

os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
files.write(Path(sys.argv[1]), b"secret")
"""


def killed_over(path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False).returncode == -9


def make_old(folder: Path) -> None:
    for path in folder.iterdir():
        os.utime(path, (0, time.time() - 2 * LEFT_BEHIND_SECONDS))


@pytest.mark.parametrize("replace", [True, False])
def test_what_a_kill_left_of_a_file_goes_an_hour_later_with_the_next_of_it(tmp_path: Path, replace: bool) -> None:
    path = tmp_path / "deep" / "key.pem"
    killed_over(path)
    [left] = path.parent.iterdir()
    others = [path.with_name(name) for name in (".key.pem.backup", f".key.pub.pem.{'0' * 32}", f"key.pem.{'0' * 32}")]
    for other in others:
        other.write_text("of somebody")
    files.write(path, b"one")
    assert left.exists()  # somebody might be at it still
    make_old(path.parent)
    if not replace:
        path.unlink()
    files.write(path, b"two", replace=replace)
    assert path.read_bytes() == b"two"
    assert sorted(path.parent.iterdir()) == sorted([path, *others])


def test_what_cannot_be_removed_is_in_nobodys_way(tmp_path: Path) -> None:
    folder = tmp_path / f".key.pem.{'0' * 32}"
    folder.mkdir()
    (tmp_path / "elsewhere").write_text("of somebody")
    link = tmp_path / f".key.pem.{'1' * 32}"
    link.symlink_to(tmp_path / "elsewhere")
    make_old(tmp_path)
    files.write(tmp_path / "key.pem", b"one")
    assert (tmp_path / "key.pem").read_bytes() == b"one"
    assert folder.exists()
    assert (tmp_path / "elsewhere").exists()
