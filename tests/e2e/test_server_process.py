"""`modelkeep-server serve all` as a process: its files, its signals, and what kill -9 leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.api.metadata.v1 import metadata_service_pb2_grpc as rpc

from tests.house.repository import ROOT
from tests.servers import START_SECONDS, free_port, wait_until
from tests.unit.test_embedded import create_project, projects

SERVER = str(Path(sys.executable).with_name("modelkeep-server"))


class Process:
    """A `modelkeep-server serve all`."""

    def __init__(self, folder: Path, home: Path, **settings: str) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith("MODELKEEP_")}
        self.home, self.log = home, folder.with_suffix(".log")
        env |= {"MODELKEEP_CONFIG_HOME": str(home), **settings}
        command = [SERVER, "serve", "all", "--port", "0", "--data", str(folder)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=env, stderr=log, stdout=log)
        self.own = folder / "server.json"
        wait_until(lambda: self.process.poll() is not None or self._is_up(), "the start of the server")
        assert self.process.poll() is None, self.log.read_text()
        self.content = json.loads(self.own.read_text())

    def _is_up(self) -> bool:
        return self.own.exists() and json.loads(self.own.read_text())["pid"] == self.process.pid

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(START_SECONDS)


@contextmanager
def process(folder: Path, home: Path, **settings: str) -> Iterator[Process]:
    server = Process(folder, home, **settings)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()


def test_clients_find_the_server_by_a_private_file_that_goes_with_it(tmp_path: Path):
    home = tmp_path / "home"
    with process(tmp_path / "data", home) as server:
        found = home / "server.json"
        assert found.stat().st_mode & 0o777 == 0o600
        content = json.loads(found.read_text())
        assert content == server.content
        assert (content["pid"], content["data"]) == (server.process.pid, str(tmp_path / "data"))
        assert create_project(content["url"], content["api_key"])
        assert server.end() == 0
        assert not found.exists()
        assert not server.own.exists()
        assert content["api_key"] not in server.log.read_text()


def test_ctrl_c_ends_it_well(tmp_path: Path):
    with process(tmp_path / "data", tmp_path / "home") as server:
        assert server.end(signal.SIGINT) == 0


HASTY = """
    import os, sys
    from modelkeep_server import main
    from modelkeep_server.runtime import files

    write, number = files.write, int(sys.argv.pop())

    def write_and_end(path, *arguments, **options):
        write(path, *arguments, **options)
        if path.name == "server.json":
            os.kill(os.getpid(), number)

    files.write = write_and_end
    main.main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_moment_when_it_can_be_found_ends_it_well(tmp_path: Path, number: signal.Signals):
    """R11: whoever sees the file may know already that it is to end; on a slow disk the start goes on for a while then."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MODELKEEP_")}
    env |= {"MODELKEEP_CONFIG_HOME": str(tmp_path / "home")}
    options = ["serve", "all", "--port", "0", "--data", str(tmp_path / "data")]
    command = [sys.executable, "-c", textwrap.dedent(HASTY), *options, str(int(number))]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("server.json")) == []


def test_a_second_server_leaves_the_file_of_the_first_and_says_how_to_reach_it(tmp_path: Path):
    home = tmp_path / "home"
    with process(tmp_path / "1", home) as first, process(tmp_path / "2", home) as second:
        assert json.loads((home / "server.json").read_text()) == first.content
        hint = f"MODELKEEP_CONFIG_HOME='{tmp_path / '2'}'"
        wait_until(lambda: hint in second.log.read_text(), "the hint, which comes after the file")
        assert second.end() == 0
        assert json.loads((home / "server.json").read_text()) == first.content


def test_kill_9_loses_nothing_and_the_next_start_takes_over(tmp_path: Path):
    """I1: what was acknowledged is there after kill -9; locks and files of the dead are not in the way."""
    home = tmp_path / "home"
    with process(tmp_path / "data", home) as server:
        name = create_project(server.content["url"], server.content["api_key"])
        server.end(signal.SIGKILL)
        assert (home / "server.json").exists()
    with process(tmp_path / "other", home):
        pass  # the file of a dead server belongs to nobody
    with process(tmp_path / "data", home) as server:
        assert json.loads((home / "server.json").read_text()) == server.content
        assert name in projects(server.content["url"], server.content["api_key"])


def test_every_metric_is_documented_and_none_is_missing(tmp_path: Path):
    """Requests, latency, bytes, in-flight calls and the pool of each database."""
    port = free_port()
    with process(tmp_path / "data", tmp_path / "home", MODELKEEP_RUNTIME__METRICS_PORT=str(port)) as server:
        assert create_project(server.content["url"], server.content["api_key"])
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60).read().decode()
    documented = (ROOT / "docs" / "operations.md").read_text()
    counters = {f"{name}_total" for name in re.findall(r"^# TYPE (modelkeep_\w+)_total counter", text, re.MULTILINE)}
    names = counters | set(re.findall(r"^# TYPE (modelkeep_\w+) (?:gauge|histogram)$", text, re.MULTILINE))
    shown = {name: re.sub(r"_(blob|metadata|lineage)_database", "_<service>_database", name) for name in names}
    assert [name for name, words in shown.items() if not name.endswith("_created") and f"`{words}`" not in documented] == []
    for what in ("calls_total", "duration_seconds", "received_bytes_total", "sent_bytes_total", "in_flight_calls"):
        assert f"modelkeep_rpc_{what}" in names
    for service in ("blob", "metadata", "lineage"):
        assert f"modelkeep_{service}_database_connections_limit 10.0" in text


@pytest.mark.peer("M-SEC-1")
def test_a_canary_in_every_credential_slot_is_in_no_log_and_in_no_argument(tmp_path: Path):
    """Whatever fails, and however much is logged."""
    canary = "c4n4rySw0rdfish0123456789"
    slots = {
        "MODELKEEP_BLOB__S3_SECRET_KEY": canary,
        "MODELKEEP_RUNTIME__SERVICE_KEY": canary,
        "MODELKEEP_RUNTIME__LOG_LEVEL": "debug",
        "MODELKEEP_RUNTIME__LOG_CALLS": "all",
    }
    with process(tmp_path / "data", tmp_path / "home", **slots) as server:
        channel = grpc.insecure_channel(server.content["url"].removeprefix("grpc://"))
        stub = rpc.MetadataServiceStub(channel)
        for secret in (canary, f"mk_abcd1234_{canary}", server.content["api_key"][:-1]):
            with pytest.raises(grpc.RpcError):
                stub.ExchangeApiKey(pb.ExchangeApiKeyRequest(secret=secret), timeout=20)
        for header in (f"Bearer {canary}", canary, f"Bearer eyJhbGciOiJub25lIn0.{canary}.x"):
            with pytest.raises(grpc.RpcError):
                stub.ListTeams(pb.ListTeamsRequest(), metadata=(("authorization", header),), timeout=20)
        token = stub.ExchangeApiKey(pb.ExchangeApiKeyRequest(secret=server.content["api_key"]), timeout=20).access_token
        stub.ListTeams(pb.ListTeamsRequest(), metadata=(("authorization", f"Bearer {token}"),), timeout=20)
        channel.close()
        arguments = Path(f"/proc/{server.process.pid}/cmdline").read_text()
        assert server.end() == 0
    log = server.log.read_text()
    assert log.count("MetadataService/ExchangeApiKey") == 4
    for secret in (canary, server.content["api_key"].split("_")[2], token.split(".")[1]):
        assert secret not in log + arguments


@pytest.mark.peer("M-SEC-1")
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("METADATA__DATABASE_URL", "postgresql://user:{}@127.0.0.1:1/db"),
        ("BLOB__DATABASE_URL", "postgresql://user:{}@127.0.0.1:1/db"),
        ("BLOB__S3_SECRET_KEY", "{}"),
    ],
)
def test_a_server_that_cannot_start_does_not_say_its_secrets(tmp_path: Path, setting: str, value: str):
    canary = "c4n4rySw0rdfish0123456789"
    env = {name: value for name, value in os.environ.items() if not name.startswith("MODELKEEP_")}
    env |= {f"MODELKEEP_{setting}": value.format(canary), "MODELKEEP_CONFIG_HOME": str(tmp_path)}
    if "S3" in setting:
        env |= {"MODELKEEP_BLOB__STORE_URL": "s3://bucket", "MODELKEEP_BLOB__S3_ENDPOINT": "http://127.0.0.1:1"}
    command = [SERVER, "serve", "all", "--port", "0", "--data", str(tmp_path / "data")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert canary not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
