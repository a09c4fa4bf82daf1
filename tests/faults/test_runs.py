"""Runs while something dies: a script that logs keeps what is older than a second, and a server that restarts loses nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import modelkeep
import pytest
from modelkeep._channel import connect
from modelkeep._offline_find import runs_in
from modelkeep._offline_journal import Journal
from modelkeep._reporter import FLUSH_SECONDS
from modelkeep.api.lineage.v1 import lineage_service_pb2 as pb
from modelkeep.config import Config

from tests.faults.supervisor import BIN, Supervised

SCRIPT = textwrap.dedent("""
    import itertools, os, sys, time, modelkeep
    run = modelkeep.init("faults", id=sys.argv[1], capture="none")
    tell = run._ledger.tell

    def say(*words):
        os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # in one piece: two threads say something

    def tell_and_say(part):
        begun = time.time()
        tell(part)
        say("kept", begun, time.time())

    run._ledger.tell = tell_and_say
    for number in itertools.count():
        run.log({"number": number})
        say(number, time.time())
        time.sleep(0.001)
""")


@dataclass
class Said:
    """What a script said until it was killed."""

    logged: list[tuple[int, float]] = field(default_factory=list)
    """Numbers, and when each was logged."""
    kept: list[tuple[float, float]] = field(default_factory=list)
    """When it began to send what was new, and when it heard that it is kept; a busy disk may take its time in between."""

    def take(self, line: str) -> None:
        match line.split():
            case ["kept", begun, heard]:
                self.kept.append((float(begun), float(heard)))
            case [number, when]:
                self.logged.append((int(number), float(when)))

    def due(self) -> int:
        """How many were logged a good while before the last time when something was sent and kept."""
        begun, _ = self.kept[-1]
        return len([number for number, when in self.logged if when < begun - 2 * FLUSH_SECONDS])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Supervised]:
    supervised = Supervised(tmp_path)
    supervised.start()
    yield supervised
    supervised.kill()


def begin(env: dict[str, str], run_id: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, run_id], env=env, stdout=subprocess.PIPE, text=True)


def said_until_killed(process: subprocess.Popen[str]) -> Said:
    """What a script said until it was killed, with some that was to be kept by then, and some that was not sent yet."""
    said = Said()
    with process:
        assert process.stdout is not None
        while not (said.kept and said.logged[-1][1] > said.kept[-1][1] + FLUSH_SECONDS / 2 and said.due()):
            line = process.stdout.readline()
            assert line, "the script has ended by itself"
            said.take(line)
        process.kill()
        for line in process.stdout:
            said.take(line)
    return said


def assert_sent_soon(said: Said, kept: list[float]) -> None:
    """All that was logged is kept in order and once, but for the last of it; nothing waited for long to be sent."""
    assert kept == [float(number) for number, _ in said.logged[: len(kept)]]
    assert len(kept) >= said.due() > 0
    waits = [begun - heard for (_, heard), (begun, _) in pairwise([(0.0, said.logged[0][1]), *said.kept])]
    assert max(waits) < 3 * FLUSH_SECONDS, "a busy machine may be late, but not by so much"


def points(server: Supervised, run_id: str) -> list[float]:
    found = server.found
    connection = connect(Config(found["url"], found["api_key"]))
    request = pb.ListMetricPointsRequest(parent=f"teams/default/projects/faults/runs/{run_id}", key="number", page_size=10_000)
    values: list[float] = []
    while True:
        page = connection.lineage.ListMetricPoints(request)
        values += [value for series in page.series for value in series.values]
        if not page.next_page_token:
            return values
        request.page_token = page.next_page_token


def test_a_killed_script_loses_at_most_its_last_moments(server: Supervised) -> None:
    """kill -9: whatever was logged longer ago than a flush and the call that sends it is there, in order and once."""
    said = said_until_killed(begin(server.client_env, "killed"))
    assert_sent_soon(said, points(server, "killed"))


def test_a_server_that_is_killed_and_comes_back_has_every_point_once(server: Supervised) -> None:
    command = [str(BIN / "modelkeep-server"), "api-key", "create", "--team", "default", "--data", str(server.folder / "data")]
    key = subprocess.run(command, env=server.env, check=True, capture_output=True, text=True).stdout.strip()
    run = modelkeep.init("faults", id="restart", url=server.found["url"], api_key=key, capture="none")
    for number in range(1000):
        run.log({"number": number})
        if number % 500 == 250:
            server.kill()
        if number % 500 == 499:
            server.start()
    run.finish()
    assert points(server, "restart") == [float(number) for number in range(1000)]


def test_an_offline_script_that_is_killed_keeps_its_journal_whole(tmp_path: Path) -> None:
    env = {**Supervised(tmp_path).client_env, "MODELKEEP_MODE": "offline", "MODELKEEP_OFFLINE_DIR": str(tmp_path / "offline")}
    said = said_until_killed(begin(env, "killed"))
    (folder,) = runs_in(str(tmp_path / "offline"))
    kept = []
    for record in Journal(f"{folder}/journal.jsonl").read():
        assert json.dumps(record.values)
        if record.kind == "metrics":
            kept += record.values["series"]["number"][1]
    assert_sent_soon(said, kept)
