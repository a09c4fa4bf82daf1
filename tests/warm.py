"""Our programs without the start of Python: a process that has imported everything, and forks for each command.

A start takes half a second, and that of the server two, nearly all of it imports; the tests run a thousand commands. Each of
them still is a process of its own, with its own arguments, environment, folder, streams and exit code. The programs as they are
installed are run by the tests of the README, the documentation, `modelkeep up` and of the server's processes, and wherever
Python itself must read the environment.
"""

from __future__ import annotations

import gc
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import NoReturn

ROOT = Path(__file__).parents[1]
READ_BY_PYTHON = ("PYTHON", "LC_", "LANG", "TZ")
"""Variables that begin so are read when Python starts."""
PROGRAMS = {"modelkeep": "modelkeep.cli", "modelkeep-server": "modelkeep_server.main"}
"""The module whose `main` a program is."""
LATE = ("typer._adapters", "grpc._channel")
"""What typer and grpc import when a command needs it: four fifths of what a command takes. Other releases may not have them."""
MOST_BYTES = 1 << 17


class Warm:
    """Runs commands; a process is started for the first one, and ends with this one."""

    def __init__(self, program: str = "modelkeep") -> None:
        self._program = program
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None  # kept: one that is let go while it runs is warned of
        self._socket: socket.socket | None = None

    def run(
        self, arguments: Sequence[str], env: Mapping[str, str], folder: Path, stdin: str, timeout_seconds: float
    ) -> tuple[int, str, str]:
        """The exit code of a command, and what it printed to stdout and stderr."""
        asked = json.dumps([list(arguments), dict(env), str(folder)]).encode()
        assert len(asked) < MOST_BYTES
        with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
            given.write(stdin.encode())
            given.seek(0)
            told, tell = os.pipe()
            with os.fdopen(told, "rb", buffering=0) as answer:
                with os.fdopen(tell, "wb"), self._lock:
                    socket.send_fds(self._asking(), [asked], [given.fileno(), out.fileno(), err.fileno(), tell])
                code = _ended(answer.fileno(), [self._program, *arguments], timeout_seconds)
            out.seek(0)
            err.seek(0)
            return code, out.read().decode(), err.read().decode()

    def _asking(self) -> socket.socket:
        if self._socket is None:
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                command = [sys.executable, "-m", "tests.warm", self._program, str(theirs.fileno())]
                # It ends when our end of the socket is closed.
                self._process = subprocess.Popen(
                    command, cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
                )
        return self._socket


def fits(env: Mapping[str, str]) -> bool:
    """Whether a command with this environment can be run by a Python that started with ours."""

    def read(all_: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in all_.items() if name.startswith(READ_BY_PYTHON)}

    return read(env) == read(os.environ)


def _ended(answer: int, command: Sequence[str], timeout_seconds: float) -> int:
    """The exit code of a process, once it has ended. Raises TimeoutExpired, and kills it."""
    pid = _number(answer, timeout_seconds)
    code = None if pid is None else _number(answer, timeout_seconds)
    if code is None:
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        raise subprocess.TimeoutExpired(command, timeout_seconds)
    return code


def _number(answer: int, timeout_seconds: float) -> int | None:
    ready, _, _ = select.select([answer], [], [], timeout_seconds)
    if not ready:
        return None
    told = os.read(answer, 8)
    assert told, "the process that runs commands has ended"
    return int.from_bytes(told, signed=True)


def main() -> None:
    """Serve until nobody can ask any more."""
    program, descriptor = sys.argv[1:]
    package = PROGRAMS[program].partition(".")[0]
    for module in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
        import_module(module.name)
    for name in LATE:
        with suppress(ModuleNotFoundError):
            import_module(name)
    gc.freeze()  # else each command copies what it shares with us, only to look for garbage in it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those that wait are not waited for
    with socket.socket(fileno=int(descriptor)) as asking:
        while True:
            asked, streams, _, _ = socket.recv_fds(asking, MOST_BYTES, 4)
            if not asked:
                return
            if os.fork() == 0:
                asking.close()
                _serve(program, *json.loads(asked), streams)
            for stream in streams:
                os.close(stream)


def _serve(program: str, arguments: list[str], env: dict[str, str], folder: str, streams: Sequence[int]) -> NoReturn:
    """Run the command in a process of its own, and tell its number and how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *standard, tell = streams
    pid = os.fork()
    if pid == 0:
        os.close(tell)
        _become(program, arguments, env, folder, standard)
    os.write(tell, pid.to_bytes(8, signed=True))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.write(tell, code.to_bytes(8, signed=True))
    os._exit(0)


def _become(program: str, arguments: list[str], env: dict[str, str], folder: str, standard: Sequence[int]) -> NoReturn:
    for number, stream in enumerate(standard):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.argv = [program, *arguments]
    import_module(PROGRAMS[program]).main()
    sys.exit(0)


if __name__ == "__main__":
    main()
