"""A server that is killed and started again on the same data, and clients that write while it happens."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.servers import START_SECONDS, free_port, wait_until

BIN = Path(sys.executable).parent


class Supervised:
    """`modelkeep-server serve all` on one data folder and one port, which survives what we do to it."""

    def __init__(self, folder: Path, env: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        settings = {"MODELKEEP_CONFIG_HOME": str(folder / "config"), "MODELKEEP_PROGRESS": "0"}
        settings["MODELKEEP_LINEAGE__FRESH_SECONDS"] = "60"  # a disk that is busy for seconds is no news to a test
        self.env = {**os.environ, **settings, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it says where it is."""
        found = self.folder / "config" / "server.json"
        found.unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            command = [
                str(BIN / "modelkeep-server"),
                "serve",
                "all",
                "--data",
                str(self.folder / "data"),
                "--port",
                str(self.port),
            ]
            self._process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log)

        def ready() -> bool:
            assert self._process is not None
            if self._process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text()[-3000:])
            return found.exists()

        wait_until(ready, "the start of the server")

    @property
    def client_env(self) -> dict[str, str]:
        """The environment of a client that finds this server by its file."""
        return {name: value for name, value in self.env.items() if name not in {"MODELKEEP_URL", "MODELKEEP_API_KEY"}}

    @property
    def found(self) -> dict[str, Any]:
        """What the file of the running server says."""
        content: dict[str, Any] = json.loads((self.folder / "config" / "server.json").read_text())
        return content

    def lasting_key(self) -> str:
        """An API key that is good after a restart too."""
        command = [str(BIN / "modelkeep-server"), "api-key", "create", "--team", "default", "--data", str(self.folder / "data")]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, check=True).stdout.strip()

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        code = 0
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(how)
            code = self._process.wait(START_SECONDS)
            self._process = None
        return code

    def fsck(self, *, deep: bool = False) -> subprocess.CompletedProcess[str]:
        """Check every invariant of what is on disk."""
        command = [str(BIN / "modelkeep-server"), "fsck", "--data", str(self.folder / "data"), *(["--deep"] if deep else [])]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)

    def reread_events(self) -> None:
        """Let lineage read all events again at its next start."""
        command = [str(BIN / "modelkeep-server"), "reread-events", "--data", str(self.folder / "data")]
        subprocess.run(command, env=self.env, capture_output=True, check=True)


def spawn(server: Supervised, *arguments: str) -> subprocess.Popen[str]:
    """A client process of `tests.faults.writer`."""
    command = [sys.executable, "-m", "tests.faults.writer", *arguments]
    return subprocess.Popen(command, env=server.client_env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
