"""The whole product as real processes, in the topologies that it is shipped in."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.house.repository import rpcs
from tests.servers import START_SECONDS, free_port, postgres_url, seaweedfs, wait_until
from tests.warm import Warm

BIN = Path(sys.executable).parent
SERVER = str(BIN / "modelkeep-server")
TEAM = "default"
_server = Warm("modelkeep-server")


@dataclass(frozen=True)
class Suite:
    """A running Modelkeep, and how to reach it."""

    topology: str
    url: str
    api_key: str = field(repr=False)
    """An admin's key of the team `default`, or of whatever team the key of a running cluster belongs to."""
    blob_url: str = ""
    """Set when the blob service has an address of its own."""
    lineage_url: str = ""
    """The same, of the lineage service."""
    operator: Mapping[str, str] | None = field(default=None, repr=False)
    """The environment of `modelkeep-server` for this suite; None when it is not ours to operate."""
    _keys: dict[tuple[str, ...], str] = field(default_factory=dict, repr=False)

    def key(self, team: str = TEAM, role: str = "admin", *, readable_teams: tuple[str, ...] = (), expires: str = "") -> str:
        """An API key of that kind; the team is made when it is missing. The same kind gets the same key."""
        if self.operator is None:
            pytest.skip("only the operator of a cluster makes teams and keys in it")
        options = ["--team", team, "--role", role]
        options += [text for name in readable_teams for text in ("--readable-team", name)]
        options += ["--expires", expires] if expires else []
        kind = tuple(options)
        if kind not in self._keys:
            self._keys[kind] = operate(self.operator, "api-key", "create", *options).splitlines()[-1]
        return self._keys[kind]

    def client(self, project: str, api_key: str = "", **more: str) -> dict[str, str]:
        """The environment of a client process."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("MODELKEEP_")}
        env |= {"MODELKEEP_URL": self.url, "MODELKEEP_API_KEY": api_key or self.api_key, "MODELKEEP_PROJECT": project}
        env |= {name: os.environ[name] for name in ("MODELKEEP_CONFIG_HOME", "MODELKEEP_CACHE_DIR")}
        env |= {"MODELKEEP_PROGRESS": "0", "MODELKEEP_CAPTURE": "none"}
        apart = {"MODELKEEP_BLOB_URL": self.blob_url, "MODELKEEP_LINEAGE_URL": self.lineage_url}
        return env | {name: url for name, url in apart.items() if url} | more


@contextlib.contextmanager
def running(topology: str, folder: Path, cluster_key: str) -> Iterator[Suite]:
    """Start the suite of a topology in an empty folder, and stop it in the end."""
    match topology:
        case "embedded":
            start = _embedded(folder)
        case "split":
            start = _split(folder)
        case _:
            start = _cluster(topology, cluster_key)
    with start as suite:
        yield suite


@contextlib.contextmanager
def _cluster(address: str, api_key: str) -> Iterator[Suite]:
    if not api_key:
        raise pytest.UsageError(f"--topology {address} needs MODELKEEP_API_KEY, an admin's key of that cluster")
    yield Suite(address, address if "://" in address else f"grpc://{address}", api_key)


@contextlib.contextmanager
def _embedded(folder: Path) -> Iterator[Suite]:
    env = _environment(folder, MODELKEEP_RUNTIME__DATA_DIR=str(folder / "data"))
    found = folder / "config" / "server.json"
    with _process(["serve", "all", "--port", "0"], env, folder / "log", found.exists) as wait:
        wait()
        content = json.loads(found.read_text())
        yield Suite("embedded", content["url"], content["api_key"], operator=env)


@contextlib.contextmanager
def _split(folder: Path) -> Iterator[Suite]:
    """A process per service, on PostgreSQL and an S3 store, as in a cluster."""
    store = seaweedfs()
    ports = {"blob": free_port(), "metadata": free_port(), "lineage": free_port()}
    urls = {name: f"grpc://127.0.0.1:{port}" for name, port in ports.items()}
    common = _environment(
        folder,
        MODELKEEP_RUNTIME__SIGNING_KEY_FILE=str(folder / "signing-key.pem"),
        MODELKEEP_RUNTIME__PUBLIC_KEY_FILES=json.dumps([str(folder / "signing-key.pub.pem")]),
        MODELKEEP_RUNTIME__BLOB_URL=urls["blob"],
        MODELKEEP_RUNTIME__METADATA_URL=urls["metadata"],
        MODELKEEP_RUNTIME__LINEAGE_URL=urls["lineage"],
        MODELKEEP_RUNTIME__METRICS_PORT="0",
        MODELKEEP_METADATA__DATABASE_URL=postgres_url(),
        MODELKEEP_BLOB__DATABASE_URL=postgres_url(),
        MODELKEEP_LINEAGE__DATABASE_URL=postgres_url(),
        MODELKEEP_BLOB__STORE_URL=f"s3://{store.bucket}",
        MODELKEEP_BLOB__S3_ENDPOINT=f"http://{store.endpoint}",
        MODELKEEP_BLOB__S3_ACCESS_KEY=store.access_key,
        MODELKEEP_BLOB__S3_SECRET_KEY=store.secret_key,
    )
    for command in (["signing-key", "init"], ["migrate"]):
        operate(common, *command)
    with contextlib.ExitStack() as stack:
        waits = []
        for name, port in ports.items():
            env = common | {"MODELKEEP_RUNTIME__DATA_DIR": str(folder / name)}
            env |= {"MODELKEEP_RUNTIME__SERVICE_KEY": service_key("lineage", common)} if name == "lineage" else {}
            command = ["serve", name, "--port", str(port)]
            started = _process(command, env, folder / f"{name}.log", lambda port=port: _serves(port))
            waits.append(stack.enter_context(started))
        suite = Suite("split", urls["metadata"], "", urls["blob"], urls["lineage"], common)
        suite = replace(suite, api_key=suite.key())
        for wait in waits:
            wait()
        yield suite


def service_key(service: str, env: Mapping[str, str]) -> str:
    """A key of a service."""
    return operate(env, "api-key", "create", "--service", service)


def operate(env: Mapping[str, str], *arguments: str) -> str:
    """What a command of `modelkeep-server` prints."""
    code, out, err = _server.run(arguments, env, Path.cwd(), "", START_SECONDS)
    assert code == 0, err
    return out.strip()


def unlisted_errors(folder: Path) -> set[str]:
    """How calls to the servers that ran in a folder failed, where the comments of the contract do not list it."""
    reasons = {rpc.path: rpc.reasons for rpc in rpcs()}
    found = set()
    for line in (line for log in folder.glob("*log") for line in log.read_text(errors="replace").splitlines()):
        call = json.loads(line) if line.startswith("{") else {}
        reason, path = call.get("reason"), call.get("method")
        if reason and path in reasons and reason not in reasons[path]:
            found.add(f"{path} {call['code']} {reason}")
    return found


def clean_environment(**settings: str) -> dict[str, str]:
    """The environment of this process without settings of ours, but for these."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MODELKEEP_")} | settings


def _environment(folder: Path, **settings: str) -> dict[str, str]:
    patient = {"MODELKEEP_LINEAGE__FRESH_SECONDS": "60"}  # a disk that is busy for seconds is no news to a test
    return clean_environment(MODELKEEP_CONFIG_HOME=str(folder / "config"), **patient, **settings)


def _serves(port: int) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        except grpc.RpcError:
            return False
        return answer.status == health_pb2.HealthCheckResponse.SERVING


@contextlib.contextmanager
def _process(command: list[str], env: Mapping[str, str], log: Path, ready: Callable[[], bool]) -> Iterator[Callable[[], None]]:
    """Start a process, and give what waits until it is ready: several get ready at once."""
    with log.open("wb") as sink:
        process = subprocess.Popen([SERVER, *command], env=dict(env), stdout=sink, stderr=sink)

    def up() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"`modelkeep-server {' '.join(command)}` ended:\n{log.read_text()[-4000:]}")
        return ready()

    try:
        yield lambda: wait_until(up, f"the start of `modelkeep-server {' '.join(command)}`")
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
