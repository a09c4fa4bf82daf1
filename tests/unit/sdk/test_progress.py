"""Progress bars: on a terminal, and nowhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

PROGRAM = """
from modelkeep import _progress
with _progress.bar("weights ↑", 100) as advance:
    for _ in range(10):
        advance(10)
print("done")
"""


def on_a_terminal(**environment: str) -> str:
    main, terminal = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "PYTHONIOENCODING": "utf-8", **environment}
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=terminal, stderr=terminal, env=env) as process:
        os.close(terminal)
        shown = b""
        while True:
            try:
                data = os.read(main, 4096)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            shown += data
    os.close(main)
    assert process.returncode == 0, shown.decode()
    return shown.decode()


def test_a_terminal_gets_a_bar() -> None:
    assert "weights ↑" in on_a_terminal()


def test_a_terminal_that_wants_none_gets_none() -> None:
    assert on_a_terminal(MODELKEEP_PROGRESS="0").strip() == "done"


@pytest.mark.parametrize("value", ["", "1"])
def test_a_pipe_gets_none_and_loads_nothing(value: str) -> None:
    program = PROGRAM + "\nimport sys\nassert 'rich' not in sys.modules\n"
    env = {**os.environ, "MODELKEEP_PROGRESS": value}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("done\n", "")
