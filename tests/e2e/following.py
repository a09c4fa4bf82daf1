"""`modelkeep follow` as a process that a test starts, watches and ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.servers import free_port, wait_until
from tests.suites import BIN

SECONDS = 120


class Following:
    """A node."""

    def __init__(
        self, env: dict[str, str], folder: Path, *arguments: str | Path, address: str = "m:production", out: int | None = None
    ) -> None:
        """`out` takes what it says, instead of the log."""
        self.root = folder / "node"
        self.port = free_port()
        self.log = folder / f"follow-{self.port}.log"
        command = [BIN / "modelkeep", "follow", address, "--root", self.root, "--spread", "0", "--ready-port", str(self.port)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *arguments], env=env, cwd=folder, stdout=log if out is None else out, stderr=log
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def page(self, name: str) -> tuple[int, dict[str, Any]]:
        """The code and the content of a page; 0 while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{name}", timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
        except OSError:
            return 0, {}

    @property
    def status(self) -> dict[str, Any]:
        return self.page("status")[1]

    def until(self, what: Callable[[dict[str, Any]], Any], why: str) -> None:
        """Wait until the status is as wanted."""

        def is_so() -> bool:
            assert self.process.poll() is None, self.said
            status = self.status
            return bool(status) and bool(what(status))

        wait_until(is_so, f"{why}:\n{self.said}", SECONDS)

    def until_loaded(self, version: str) -> None:
        """Wait until a version is loaded."""
        self.until(lambda status: status["loaded"] and status["loaded"]["version"] == version, f"{version} to be loaded")

    @property
    def said(self) -> str:
        return self.log.read_text()

    def content(self) -> dict[str, bytes]:
        """What `current` leads to."""
        current = self.root / "current"
        return {path.relative_to(current).as_posix(): path.read_bytes() for path in current.rglob("*") if path.is_file()}

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(how)
        return self.process.wait(SECONDS)

    def kill(self) -> None:
        """kill -9."""
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(SECONDS)
