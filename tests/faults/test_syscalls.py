"""R2, the long form: each system call that makes bytes durable fails once, in the real server, during one upload and commit.

The short form is the fault layer under the file backend in `tests/unit/blob/test_faults.py`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from itertools import count
from pathlib import Path

import modelkeep
import pytest

from tests.faults.supervisor import Supervised
from tests.servers import wait_until

# Not `write`: that is also how the event loop wakes itself, and what no server survives proves nothing.
FAULTS = [("fsync", "EIO"), ("fdatasync", "EIO"), ("pwrite64", "ENOSPC"), ("link,linkat", "EIO"), ("unlink,unlinkat", "EIO")]


class Injected:
    """strace on a running server: its n-th call of a kind fails, once."""

    def __init__(self, pid: int, calls: str, error: str, number: int, folder: Path) -> None:
        self._output = folder / "strace"
        self._output.unlink(missing_ok=True)
        rule = f"inject={calls}:error={error}:when={number}"
        trace = f"trace={calls}"
        command = ["strace", "-f", "-qq", "-p", str(pid), "-e", trace, "-e", rule, "-o", str(self._output)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_until(lambda: _traced(pid), "strace to attach")

    def end(self) -> bool:
        """Detach; whether the fault was injected."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)
        return self._output.exists() and "(INJECTED)" in self._output.read_text()


def _traced(pid: int) -> bool:
    return "TracerPid:\t0" not in Path(f"/proc/{pid}/status").read_text()


def _log(server: Supervised, folder: Path) -> modelkeep.Version:
    found = server.found
    api = modelkeep.Api(url=found["url"], api_key=found["api_key"], project="faults", timeout_seconds=20)
    artifact = modelkeep.Artifact("things", type="model")
    artifact.add_dir(str(folder))
    return api.log_artifact(artifact)


@pytest.mark.soak
@pytest.mark.timeout(14_400)
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize(("calls", "error"), FAULTS)
def test_each_system_call_may_fail(tmp_path: Path, calls: str, error: str) -> None:
    server = Supervised(tmp_path)
    server.start()
    try:
        for number in count(1):
            folder = tmp_path / f"source-{number}"
            folder.mkdir()
            (folder / "weights.bin").write_bytes(os.urandom(2_500_000))
            (folder / "config.json").write_text(str(number))
            fault = Injected(server.found["pid"], calls, error, number, tmp_path)
            with contextlib.suppress(modelkeep.ModelkeepError):  # a typed error is a good answer; a crash shows below
                _log(server, folder)
            hit = fault.end()
            _log(server, folder).download(str(tmp_path / f"out-{number}"))
            assert (tmp_path / f"out-{number}" / "weights.bin").read_bytes() == (folder / "weights.bin").read_bytes()
            checked = server.fsck(deep=True)
            assert checked.returncode == 0, f"{calls} number {number}: {checked.stdout}"
            if not hit:
                assert number > 1, f"no {calls} was ever made, so nothing was tested"
                return
    finally:
        server.stop()
