"""M-UP-4, M-UP-6: the network breaks, truncates and stalls while bytes go up and come down; nothing is lost or sent in vain."""

from __future__ import annotations

import os
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import modelkeep
import pytest

from tests.faults.supervisor import Supervised
from tests.proxy import Proxy
from tests.servers import free_port

MIB = 1 << 20
SIZE = 12 * MIB
LARGEST = 4 * MIB
"""No chunk is larger."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    settings = {"MODELKEEP_BLOB__STAGING": "false", "MODELKEEP_RUNTIME__METRICS_PORT": str(free_port())}  # through the proxy
    supervised = Supervised(tmp_path_factory.mktemp("server"), settings)
    supervised.start()
    yield supervised
    supervised.stop()


@pytest.fixture
def proxy(server: Supervised) -> Iterator[Proxy]:
    with Proxy(f"127.0.0.1:{server.port}") as running:
        yield running


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


def _log(server: Supervised, proxy: Proxy, source: Path) -> modelkeep.Version:
    artifact = modelkeep.Artifact("net", type="model")
    artifact.add_file(str(source))
    found = server.found
    with modelkeep.init(project="net", url=f"grpc://{proxy.address}", api_key=found["api_key"]) as run:
        version: modelkeep.Version = run.log_artifact(artifact)
        return version


def _received(server: Supervised) -> int:
    """How many bytes came to the server for chunks: what got lost on the way to it is not among them."""
    text = urllib.request.urlopen(
        f"http://127.0.0.1:{server.env['MODELKEEP_RUNTIME__METRICS_PORT']}/metrics", timeout=60
    ).read()
    (count,) = re.findall(r'^modelkeep_rpc_received_bytes_total{method="Write".*} (\S+)$', text.decode(), re.MULTILINE) or ["0"]
    return int(float(count))


@pytest.mark.peer("M-UP-6")
@pytest.mark.parametrize("tenth", range(10))
def test_a_reset_at_every_tenth_of_the_bytes_resends_little(
    server: Supervised, proxy: Proxy, source: Path, tmp_path: Path, tenth: int
) -> None:
    """What the server has is not sent to it again: at most one chunk, that which it was at when the connection broke."""
    before = _received(server)
    proxy.reset_after(SIZE * tenth // 10 + 1)
    version = _log(server, proxy, source)
    assert _received(server) - before <= SIZE + LARGEST
    assert proxy.bytes_up <= SIZE + 2 * LARGEST + MIB  # and what was lost in the buffers between the two
    version.download(str(tmp_path / "out"))
    assert (tmp_path / "out" / source.name).read_bytes() == source.read_bytes()


@pytest.mark.peer("M-UP-6")
def test_a_stream_that_ends_early_is_not_taken_for_whole(
    server: Supervised, proxy: Proxy, source: Path, tmp_path: Path
) -> None:
    proxy.truncate_after(SIZE // 2)
    _log(server, proxy, source).download(str(tmp_path / "out"))
    assert (tmp_path / "out" / source.name).read_bytes() == source.read_bytes()


@pytest.mark.peer("M-UP-4")
def test_a_service_that_stalls_ends_in_an_error_within_the_deadline(server: Supervised, proxy: Proxy, source: Path) -> None:
    """Every RPC has a deadline: a hung service is an exception, never a hang."""
    proxy.stall()
    found = server.found
    api = modelkeep.Api(project="net", url=f"grpc://{proxy.address}", api_key=found["api_key"], timeout_seconds=2)
    with pytest.raises((modelkeep.DeadlineExceeded, modelkeep.Unavailable)):
        api.artifact("net:latest")


@pytest.mark.peer("M-UP-6")
def test_a_reset_while_bytes_come_down(server: Supervised, proxy: Proxy, source: Path, tmp_path: Path) -> None:
    version = _log(server, proxy, source)
    proxy.reset_after(200)  # of what goes up: the requests of the download
    version.download(str(tmp_path / "out"))
    assert (tmp_path / "out" / source.name).read_bytes() == source.read_bytes()
    assert [path.name for path in (tmp_path / "out").iterdir()] == [source.name], "a temporary file stayed behind"
