"""Offline runs that come to their end as they begin: what a kill, a power loss or a full disk leaves of them."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

MOMENTS = {
    "no journal": "Journal.append = killed()",
    "an empty journal": "Journal._write = killed()",
    "half a line": "Journal._write = killed(lambda line: line[: len(line) // 2])",
    "all but the end of a line": "Journal._write = killed(lambda line: line[:-1])",
    "zeros in a line": "Journal._write = killed(lambda line: bytes(100) + line[100:])",
}
"""When a run is killed, by what is there then."""

SCRIPT = """
    import os, resource, signal, sys, modelkeep
    from modelkeep._offline_journal import Journal

    def killed(what=None):
        def die(journal, descriptor, line=b"", **_):
            if what is not None:
                os.write(descriptor, what(line))
            os.kill(os.getpid(), signal.SIGKILL)
        return die

    exec(sys.argv[1])
    modelkeep.init("vision", mode="offline", dir=sys.argv[2])
"""


def begin(above: Path, prepared: str) -> subprocess.CompletedProcess[str]:
    """Begin a run in a process of its own, after some statements."""
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), prepared, str(above)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def kill(above: Path, moment: str) -> Path:
    """Begin a run and kill it; its folder."""
    before = set(above.iterdir()) if above.exists() else set()
    done = begin(above, MOMENTS[moment])
    assert done.returncode == -signal.SIGKILL, done.stderr
    (folder,) = set(above.iterdir()) - before
    return folder
