"""R11: a server that is restarted under load ends well each time, fails no call that may be tried again, and loses nothing."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import modelkeep
import pytest

from tests.faults.supervisor import BIN, Supervised
from tests.servers import wait_until

PATIENT_SECONDS = 180.0
"""Of a call: a start of the server waits for a core like everything else on a busy machine."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Supervised]:
    supervised = Supervised(tmp_path)
    supervised.start()
    yield supervised
    supervised.kill()


class Load:
    """Clients in threads, each with its own connection, that work until they are told to stop."""

    def __init__(self, url: str, api_key: str, folder: Path) -> None:
        self._options = {"url": url, "api_key": api_key, "project": "faults", "timeout_seconds": PATIENT_SECONDS}
        self._folder = folder
        self._stop = threading.Event()
        self.failures: list[Exception] = []
        self.logged: list[tuple[str, str]] = []
        """Name and digest of each version that was acknowledged."""
        self.resolved: dict[int, list[int]] = {}
        """The numbers of what `best` pointed to, in order, by thread."""
        first = self._log(modelkeep.Api(**self._options), 0)
        steps = (self._write, self._read, self._read)
        self.done = [0] * len(steps)
        self._threads = [threading.Thread(target=self._run, args=(i, step), daemon=True) for i, step in enumerate(steps)]
        assert first.endswith(":v0")
        for thread in self._threads:
            thread.start()

    def _run(self, index: int, step: Callable[[modelkeep.Api, int], object]) -> None:
        api = modelkeep.Api(**self._options)
        while not self._stop.is_set():
            try:
                step(api, self.done[index])
            except Exception as error:
                self.failures.append(error)
                return
            self.done[index] += 1

    def _write(self, api: modelkeep.Api, turn: int) -> None:
        self._log(api, turn + 1)

    def _log(self, api: modelkeep.Api, turn: int) -> str:
        content = self._folder / "content.bin"
        content.write_bytes(turn.to_bytes(4, "big") + os.urandom(2_000))
        artifact = modelkeep.Artifact("things", type="model")
        artifact.add_file(str(content), name="content.bin")
        version = api.log_artifact(artifact, aliases=["best"])
        self.logged.append((version.name, str(version.digest)))
        return version.name

    def _read(self, api: modelkeep.Api, _turn: int) -> None:
        version = api.artifact("things:best")
        assert "best" in version.aliases
        self.resolved.setdefault(threading.get_ident(), []).append(int(version.version[1:]))

    def goes_on(self, calls: int) -> None:
        """Wait until every client has done so much more."""
        wanted = [done + calls for done in self.done]
        enough = lambda: bool(self.failures) or all(map(int.__ge__, self.done, wanted))  # noqa: E731
        wait_until(enough, "calls of all clients", PATIENT_SECONDS)
        assert self.failures == []

    def end(self) -> None:
        """Let them finish what they do."""
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENT_SECONDS)
            assert not thread.is_alive()
        assert self.failures == []


def restart(server: Supervised, folder: Path, cycles: int) -> None:
    command = [str(BIN / "modelkeep-server"), "api-key", "create", "--team", "default", "--data", str(server.folder / "data")]
    key = subprocess.run(command, env=server.env, check=True, capture_output=True, text=True).stdout.strip()
    load = Load(server.found["url"], key, folder)
    for _ in range(cycles):
        load.goes_on(3)
        assert server.stop() == 0
        server.start()
    load.goes_on(3)
    load.end()
    assert all(numbers == sorted(numbers) for numbers in load.resolved.values()), "an alias went back"
    api = modelkeep.Api(url=server.found["url"], api_key=key, project="faults")
    numbers = [name for name, _ in load.logged]
    assert numbers == [f"things:v{number}" for number in range(len(numbers))], "a number was skipped or given twice"
    for name, digest in load.logged:
        assert str(api.artifact(name).digest) == digest
    assert server.stop() == 0
    checked = server.fsck(deep=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_restart_under_load_fails_nothing(server: Supervised, tmp_path: Path) -> None:
    restart(server, tmp_path, 2)


@pytest.mark.soak
@pytest.mark.timeout(14_400)
def test_a_hundred_restarts_under_load_fail_nothing(server: Supervised, tmp_path: Path) -> None:
    restart(server, tmp_path, 100)
