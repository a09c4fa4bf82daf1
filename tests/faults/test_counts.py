"""Speed and memory, shown by counting: bytes through our servers on S3 (P3), peak memory of both sides (DESIGN §9)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.bench.measure import client
from tests.bench.parts import modelkeep_server
from tests.proxy import Proxy
from tests.servers import seaweedfs

MIB = 1 << 20


def _file(path: Path, size: int) -> Path:
    with path.open("wb") as out:
        for _ in range(size // (8 * MIB)):
            out.write(os.urandom(8 * MIB))
    return path


def test_p3_bytes_go_around_our_servers_on_s3(tmp_path: Path) -> None:
    """Less than 1 MiB per GiB, at chunks of 1 MiB; what a call costs at all is counted too, so the bar is not scaled up."""
    size = 128 * MIB
    source = _file(tmp_path / "weights.bin", size)
    with modelkeep_server(tmp_path, seaweedfs()) as server, Proxy(server.address) as proxy:
        env = server.env | {"MODELKEEP_URL": f"grpc://{proxy.address}"}
        client("log", str(source), env=env)
        assert proxy.bytes_total < size // 1024
        before = proxy.bytes_total
        client("fetch", str(tmp_path / "out"), env=env)
        assert proxy.bytes_total - before < size // 1024
    assert subprocess.run(["cmp", str(source), str(tmp_path / "out" / source.name)], check=False).returncode == 0


def test_memory_is_bounded_whatever_the_size(tmp_path: Path) -> None:
    """Client and server below 200 and 512 MiB while 400 MiB go up and come down through the embedded server."""
    source = _file(tmp_path / "weights.bin", 400 * MIB)
    with modelkeep_server(tmp_path) as server:
        logged = client("log", str(source), env=server.env)
        fetched = client("fetch", str(tmp_path / "out"), env=server.env)
        assert logged.peak_bytes < 200 * MIB
        assert fetched.peak_bytes < 200 * MIB
        assert server.peak_bytes < 512 * MIB


def test_import_is_light() -> None:
    """P15: `import modelkeep` loads neither gRPC nor protobuf nor what prints; they come when they are first needed."""
    code = (
        "import sys, modelkeep; print([m for m in ('grpc', 'google.protobuf', 'rich', 'typer', 'urllib3') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
