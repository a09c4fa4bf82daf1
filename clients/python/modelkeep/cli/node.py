"""A process that follows an alias: what it shows, what it runs, and how it ends."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from modelkeep import _follow_probe as probe
from modelkeep._printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from modelkeep import Follower
    from modelkeep.cli.call import Call

INTERRUPTED: Final = 130
TERM_SECONDS: Final = 10
"""How long a command may take to end before it is killed."""


def run(follower: Follower, shown: Shown, ready_file: Path | None, ready_port: str) -> int:
    """Follow until the process is told to stop; the exit code.

    Raises what no patience helps against, while nothing is loaded.
    """
    with ExitStack() as leaving:
        leaving.callback(follower.close)
        leaving.callback(shown.end)
        shown.probes(follower, ready_file, ready_port, leaving)
        with told_to_stop() as stop:
            follower.start()
            while not stop.event.wait(0.2):
                if follower.failure is not None and not follower.ready:
                    raise follower.failure
    code = INTERRUPTED if stop.number == signal.SIGINT else 0
    if follower.is_loading:
        leave(code)  # a fetch is under way; the next process goes on from what it leaves
    return code


class Stop:
    """Whether, and how, the process was told to stop."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.number = 0

    def tell(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        if self.event.is_set():
            leave(128 + number)  # the second time: at once
        self.number = number
        self.event.set()


@contextmanager
def told_to_stop() -> Iterator[Stop]:
    """SIGTERM and SIGINT, while the `with` block runs."""
    stop = Stop()
    before = {number: signal.signal(number, stop.tell) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave(code: int) -> NoReturn:
    """End the process now, whatever its threads do."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


class Shown:
    """What others see of the node."""

    def __init__(self, call: Call, command: list[str]) -> None:
        self._call = call
        self._runner = Runner(command)
        self.end = self._runner.end
        self._file: probe.ReadyFile | None = None

    def probes(self, follower: Follower, ready_file: Path | None, ready_port: str, leaving: ExitStack) -> None:
        """Show the file and the pages that were asked for."""
        if ready_file is not None:
            self._file = probe.ReadyFile(ready_file)
            self._file.show(follower.status())
            leaving.callback(self._file.close)
        if ready_port:
            pages = probe.ReadyPages(ready_port, lambda: follower.status() | {"command": self._runner.last})
            leaving.callback(pages.close)
            self._call.out.note(f"ready pages: http://{pages.address}/ready")

    def changed(self, follower: Follower) -> None:
        """Tell of a switch: the probes, the user, the command."""
        status = follower.status()
        with ExitStack() as each:  # whatever happens to the others
            each.callback(self._runner.run, follower, status["loaded"])
            if self._file is not None:
                each.callback(self._file.show, status)
            self._call.out.answer(status["loaded"], f"{follower.name} is loaded in {follower.path}")
            sys.stdout.flush()


class Runner:
    """The command that runs after each switch."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False
        self.last: dict[str, Any] | None = None
        """How it went the last time."""

    def run(self, follower: Follower, loaded: dict[str, Any]) -> None:
        """Run it to its end. Raises OSError or RuntimeError when it fails; the node goes on."""
        if not self._command:
            return
        told = {name.upper(): str(loaded[name]) for name in ("path", "version", "name", "digest", "alias", "seq")}
        env = {f"MODELKEEP_{name}": value for name, value in told.items()} | {"MODELKEEP_CURRENT": str(follower.link)}
        self.last = {"version": loaded["version"], "exit_code": None}
        with self._lock:
            if self._ended:
                return
            self._process = subprocess.Popen(self._command, env={**os.environ, **env}, stdin=subprocess.DEVNULL)
        code = self._process.wait()
        self.last = {"version": loaded["version"], "exit_code": code}
        if code:
            message = f"the command {self._command[0]!r} ended with exit code {code} for {loaded['name']}"
            raise RuntimeError(message)

    def end(self) -> None:
        """End a command that runs."""
        with self._lock:
            self._ended = True
            process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(TERM_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def log_to_stderr() -> None:
    """Show what following has to say."""
    logger = logging.getLogger("modelkeep.follow")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Plain("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


class _Plain(logging.Formatter):
    """Lines without what would steer a terminal: names come from other people."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), lines=True)
