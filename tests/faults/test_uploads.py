"""M-UP-1, M-UP-6: whatever ends in the middle of an upload, what is stored is not sent again; counted where the bytes pass."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import modelkeep
import pytest
from modelkeep import config
from modelkeep._artifact import Source
from modelkeep._channel import Connection
from modelkeep._chunks import Reader
from modelkeep._cut import Rules
from modelkeep.api.blob.v1 import blob_service_pb2 as pb

from tests.faults.supervisor import Supervised
from tests.proxy import Proxy
from tests.servers import seaweedfs, wait_until

MIB = 1 << 20
SIZE = 24 * MIB
LARGEST = 4 * MIB
"""No chunk is larger."""
FAST = 8 * MIB
"""How many bytes of an upload go up in a second."""
SLACK = MIB
"""What calls and headers take besides."""
CODE = """
import sys, modelkeep
with modelkeep.init(project="uploads") as run:
    print(run.log_artifact(sys.argv[1], "net", "model").sent_bytes)
"""


@dataclass
class Site:
    """A server whose bytes all pass through a proxy: in streams to the server, or in PUTs to its store."""

    server: Supervised
    proxy: Proxy
    env: dict[str, str]
    clients: list[subprocess.Popen[str]] = field(default_factory=list)

    def spawn(self, source: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", CODE, str(source)]
        self.clients.append(subprocess.Popen(command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return self.clients[-1]

    def lacking(self, source: Path) -> int:
        """How many bytes of the chunks of a file the server does not have."""
        connection = Connection(config.Config(self.server.found["url"], self.server.found["api_key"]))
        with Reader(Rules.of(connection.limits())) as reader:
            items = reader.read([Source("s", str(source))])
            sizes = {piece.sha256: piece.size_bytes for item in items for piece in item.pieces()}
        request = pb.StatRequest(parent="teams/default")
        for sha256 in sizes:
            request.digests.add().sha256 = sha256
        stats = connection.blob.Stat(request).stats
        connection.close_channels()
        return sum(size for size, stat in zip(sizes.values(), stats, strict=True) if not stat.present)


@pytest.fixture(scope="module", params=["stream", "s3"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("server")
    settings = {"MODELKEEP_BLOB__STAGING": "false", "MODELKEEP_BLOB__URL_SECONDS": "10"}
    if request.param == "stream":
        server = Supervised(folder, settings)
        proxy = Proxy(f"127.0.0.1:{server.port}")
    else:
        store = seaweedfs()
        proxy = Proxy(store.endpoint)
        settings |= {
            "MODELKEEP_BLOB__STORE_URL": f"s3://{store.bucket}",
            "MODELKEEP_BLOB__S3_ENDPOINT": f"http://{store.endpoint}",
            "MODELKEEP_BLOB__S3_ACCESS_KEY": store.access_key,
            "MODELKEEP_BLOB__S3_SECRET_KEY": store.secret_key,
        }
        server = Supervised(folder, settings)
    with proxy:
        server.env["MODELKEEP_BLOB__S3_PUBLIC_ENDPOINT"] = f"http://{proxy.address}"
        server.start()
        url = f"grpc://{proxy.address}" if request.param == "stream" else server.found["url"]
        # The key of the file ends with the server; this one outlives it, however long a restart takes.
        env = server.client_env | {"MODELKEEP_URL": url, "MODELKEEP_API_KEY": server.lasting_key()}
        env["MODELKEEP_CACHE_DIR"] = str(folder / "cache")
        yield Site(server, proxy, env)
        server.stop()


@pytest.fixture
def source(site: Site, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "weights.bin"
    path.write_bytes(os.urandom(SIZE))
    site.proxy.bytes_up = 0
    site.proxy.bytes_per_second = FAST
    yield path
    site.proxy.bytes_per_second = 0
    while site.clients:
        client = site.clients.pop()
        client.kill()
        client.communicate()


def half_way(site: Site, client: subprocess.Popen[str], source: Path) -> None:
    """Wait until half of it is on its way, and some of it is stored."""

    def there() -> bool:
        assert client.poll() is None, client.communicate()
        return site.proxy.bytes_up > SIZE // 2

    wait_until(there, "half of the upload")
    site.proxy.bytes_per_second = MIB // 4  # else the rest might go up while the disk is busy with the first chunk
    wait_until(lambda: there() and site.lacking(source) < SIZE, "the first chunk to be stored")
    site.proxy.bytes_per_second = FAST


def finished(client: subprocess.Popen[str]) -> int:
    out, err = client.communicate(timeout=120)
    assert client.returncode == 0, err
    return int(out)


def assert_whole(site: Site, source: Path) -> None:
    api = modelkeep.Api(site.server.found["url"], site.server.found["api_key"], project="uploads")
    api.artifact("net:latest").download(source.parent / "out")
    assert (source.parent / "out" / source.name).read_bytes() == source.read_bytes()


@pytest.mark.peer("M-UP-6")
def test_a_client_that_is_killed_goes_on_where_it_was(site: Site, source: Path) -> None:
    client = site.spawn(source)
    half_way(site, client, source)
    client.kill()
    client.communicate()
    site.proxy.cut()  # what it holds of the killed client's bytes
    lacking = site.lacking(source)
    assert lacking < SIZE, "nothing was stored, so nothing was tested"
    site.proxy.bytes_up = 0
    assert finished(site.spawn(source)) <= lacking
    assert site.proxy.bytes_up <= lacking + SLACK
    assert_whole(site, source)


@pytest.mark.peer("M-UP-6")
def test_a_server_that_is_killed_is_sent_only_what_it_lacks(site: Site, source: Path) -> None:
    client = site.spawn(source)
    half_way(site, client, source)
    client.send_signal(signal.SIGSTOP)
    site.server.kill()
    site.server.start()
    lacking = site.lacking(source)
    assert lacking < SIZE, "nothing was stored, so nothing was tested"
    site.proxy.bytes_up = 0
    client.send_signal(signal.SIGCONT)
    finished(client)
    under_way = LARGEST * 4  # what was in sockets and in the proxy when the client was stopped
    assert site.proxy.bytes_up <= lacking + under_way + SLACK
    assert_whole(site, source)


@pytest.mark.peer("M-UP-6")
@pytest.mark.parametrize("tenth", [1, 5, 9])
def test_a_reset_costs_what_was_under_way(site: Site, source: Path, tenth: int) -> None:
    site.proxy.bytes_per_second = 0
    site.proxy.reset_after(SIZE * tenth // 10)
    finished(site.spawn(source))
    parts = 4  # connections, each with at most one chunk under way; a stream has one
    assert site.proxy.bytes_up <= SIZE + parts * LARGEST + SLACK
    assert_whole(site, source)


@pytest.mark.peer("M-UP-1")
def test_urls_that_end_in_the_middle_are_asked_for_again(site: Site, source: Path) -> None:
    """A URL lives for ten seconds, and the link is too slow for what was prepared together."""
    if site.env["MODELKEEP_URL"].endswith(site.proxy.address):
        pytest.skip("streams have no URLs")
    site.proxy.bytes_per_second = 2 * MIB
    assert finished(site.spawn(source)) == SIZE
    assert site.proxy.bytes_up < SIZE + 2 * 8 * LARGEST  # what was under way when URLs ended
    assert_whole(site, source)
