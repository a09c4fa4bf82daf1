"""The servers that a measurement needs: Modelkeep on a fresh folder, embedded or on S3."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measure import peak_bytes
from tests.servers import S3, wait_until

SERVER = str(Path(sys.executable).with_name("modelkeep-server"))


@dataclass(frozen=True)
class Server:
    """A running `modelkeep-server serve all`."""

    address: str
    env: dict[str, str]
    """What a client needs to reach it."""
    pid: int

    @property
    def peak_bytes(self) -> int:
        """The most memory that the process had so far."""
        return peak_bytes(self.pid)


@contextlib.contextmanager
def modelkeep_server(
    parent: Path, store: S3 | None = None, databases: Callable[[], str] | None = None, lineage_database: str = ""
) -> Iterator[Server]:
    """Start one on a fresh folder under `parent`; its bytes go to `store` if given, its rows to new `databases`.

    Runs and the graph go to `lineage_database`, if that is given.

    Its clients have a cache of their own, which is empty at first.
    """
    folder = Path(tempfile.mkdtemp(prefix="mk-bench-", dir=parent))
    config = folder / "config"
    env = {**os.environ, "MODELKEEP_CONFIG_HOME": str(config)}
    if store is not None:
        env |= {
            "MODELKEEP_BLOB__STORE_URL": f"s3://{store.bucket}",
            "MODELKEEP_BLOB__S3_ENDPOINT": f"http://{store.endpoint}",
            "MODELKEEP_BLOB__S3_ACCESS_KEY": store.access_key,
            "MODELKEEP_BLOB__S3_SECRET_KEY": store.secret_key,
        }
    if databases is not None:
        env |= {"MODELKEEP_BLOB__DATABASE_URL": databases(), "MODELKEEP_METADATA__DATABASE_URL": databases()}
    env |= {"MODELKEEP_LINEAGE__DATABASE_URL": lineage_database} if lineage_database else {}
    log = (folder / "log").open("wb")
    command = [SERVER, "serve", "all", "--data", str(folder / "data"), "--port", "0"]
    process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        found = config / "server.json"

        def ready() -> bool:
            if process.poll() is not None:
                raise RuntimeError((folder / "log").read_text()[-3000:])
            return found.exists()

        wait_until(ready, "the start of the server")
        content = json.loads(found.read_text())
        client_env = {
            "MODELKEEP_URL": content["url"],
            "MODELKEEP_API_KEY": content["api_key"],
            "MODELKEEP_CACHE_DIR": str(folder / "cache"),
        }
        yield Server(content["url"].removeprefix("grpc://"), client_env, process.pid)
    finally:
        process.terminate()
        process.wait(60)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)
