"""Runs while something dies: a script that logs keeps what is older than a second, and a server that restarts loses nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
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
    import itertools, sys, time, modelkeep
    run = modelkeep.init("faults", id=sys.argv[1], capture="none")
    for number in itertools.count():
        run.log({"number": number})
        print(number, time.time(), flush=True)
        time.sleep(0.001)
""")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Supervised]:
    supervised = Supervised(tmp_path)
    supervised.start()
    yield supervised
    supervised.kill()


def begin(env: dict[str, str], run_id: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, run_id], env=env, stdout=subprocess.PIPE, text=True)


def logged_until(process: subprocess.Popen[str], seconds: float) -> list[tuple[int, float]]:
    """What a script logged until it was killed, some time after its first line, and when."""
    with process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        end = time.time() + seconds
        while time.time() < end:
            lines.append(process.stdout.readline())
        process.kill()
        lines += process.stdout.read().splitlines()
    words = [line.split() for line in lines]
    return [(int(word[0]), float(word[1])) for word in words if len(word) == 2]


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
    logged = logged_until(begin(server.client_env, "killed"), 4 * FLUSH_SECONDS)
    kept = points(server, "killed")
    assert kept == [float(number) for number, _ in logged[: len(kept)]]
    killed = logged[-1][1]
    due = [number for number, when in logged if when < killed - 3 * FLUSH_SECONDS]  # a busy machine takes its time to send
    assert due
    assert len(kept) >= len(due)


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
    logged = logged_until(begin(env, "killed"), 4 * FLUSH_SECONDS)
    (folder,) = runs_in(str(tmp_path / "offline"))
    kept = []
    for record in Journal(f"{folder}/journal.jsonl").read():
        assert json.dumps(record.values)
        if record.kind == "metrics":
            kept += record.values["series"]["number"][1]
    assert kept == [float(number) for number, _ in logged[: len(kept)]]
    killed = logged[-1][1]
    assert len(kept) >= len([number for number, when in logged if when < killed - 3 * FLUSH_SECONDS])
