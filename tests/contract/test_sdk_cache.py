"""What a fetch costs, counted: calls, bytes from the store, memory; with and without the cache of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modelkeep
import numpy as np
import pytest
import safetensors.numpy
from modelkeep._cache import open_cache
from modelkeep._channel import Connection
from modelkeep._direct_get import Gets
from modelkeep._offline_version import OfflineConnection
from modelkeep._records import Records
from modelkeep._version import Version
from modelkeep.names import CollectionName

from tests.contract.sdk import artifact, read, some
from tests.suites import Suite

MIB = 1 << 20
FILES = 3000


class Counted:
    """What a client asked for."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.entries = 0
        self.bytes = 0


@pytest.fixture(autouse=True)
def _client(suite: Suite, project: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in suite.client(project).items():
        if name.startswith("MODELKEEP_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("MODELKEEP_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted, attempt, stream, get = Counted(), Connection.attempt, Connection.stream, Gets.get

    def counting_attempt(self: Connection, service: str, method: str, *arguments: Any) -> Any:
        counted.calls[method] += 1
        return attempt(self, service, method, *arguments)

    def counting_stream(self: Connection, service: str, method: str, *arguments: Any, **more: Any) -> Iterator[Any]:
        counted.calls[method] += 1
        for message in stream(self, service, method, *arguments, **more):
            counted.entries += len(getattr(message, "entries", ()))
            counted.bytes += len(getattr(message, "data", b""))
            yield message

    def counting_get(self: Gets, url: str, offset: int, into: memoryview, *, whole: bool) -> None:
        counted.calls["GET"] += 1
        counted.bytes += len(into)
        get(self, url, offset, into, whole=whole)

    monkeypatch.setattr(Connection, "attempt", counting_attempt)
    monkeypatch.setattr(Connection, "stream", counting_stream)
    monkeypatch.setattr(Gets, "get", counting_get)
    return counted


@pytest.fixture
def many(tmp_path: Path) -> dict[str, bytes]:
    """Very many small files, and a large one among them, logged."""
    content = {f"d{number % 7}/{number:05}": some(1024) for number in range(FILES)} | {"d3/large": some(5 * MIB)}
    modelkeep.Api().log_artifact(artifact(tmp_path / "source", content))
    return content


def test_p9_a_warm_fetch_asks_for_the_version_and_for_nothing_else(
    many: dict[str, bytes], counted: Counted, tmp_path: Path
) -> None:
    modelkeep.Api().artifact("digits:latest").download(tmp_path / "cold")
    cold = Counter(counted.calls)
    counted.calls.clear()
    counted.bytes = counted.entries = 0
    modelkeep.Api(timeout_seconds=77).artifact("digits:latest").download(tmp_path / "warm")  # a connection of its own
    assert read(tmp_path / "warm") == read(tmp_path / "cold") == many
    assert counted.calls == {"ExchangeApiKey": 1, "Resolve": 1}
    assert (counted.bytes, counted.entries) == (0, 0)
    assert cold["PrepareDownload"] <= 4
    assert cold["GET"] + cold["Read"] <= 40  # packs and chunks, not files


def test_of_many_files_only_those_asked_for_are_listed_and_fetched(
    many: dict[str, bytes], counted: Counted, tmp_path: Path
) -> None:
    modelkeep.Api().artifact("digits:latest").download(tmp_path / "out", path="d3/00003")
    assert read(tmp_path / "out") == {"d3/00003": many["d3/00003"]}
    assert counted.entries == 1
    assert counted.bytes == 1024
    counted.entries = counted.bytes = 0
    modelkeep.Api().artifact("digits:latest").download(tmp_path / "folder", path="d5")
    wanted = {path: data for path, data in many.items() if path.startswith("d5/")}
    assert read(tmp_path / "folder") == wanted
    assert counted.entries == len(wanted)
    assert counted.bytes <= 2 * len(wanted) * 1024


def test_without_a_cache_nothing_is_kept(
    many: dict[str, bytes], counted: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELKEEP_CACHE_BYTES", "0")
    version = modelkeep.Api().artifact("digits:latest")
    for name in ("1", "2"):
        counted.bytes = 0
        version.download(tmp_path / name)
        assert counted.bytes >= sum(map(len, many.values()))
    assert read(tmp_path / "2") == many
    assert not list((tmp_path / "cache").glob("objects/*"))


def test_what_was_fetched_once_is_found_without_a_server(many: dict[str, bytes], tmp_path: Path, project: str) -> None:
    found = modelkeep.Api().artifact("digits:latest")
    found.download(tmp_path / "1")
    cache = open_cache()
    assert cache is not None
    collection = CollectionName(found.team, project, "digits")
    offline: Any = OfflineConnection(found.team, project)
    offline.config = modelkeep.config.load()  # type: ignore[attr-defined]
    for ref in ("latest", "v0"):
        record = Records(cache).get(collection, ref)
        assert record is not None
        version = Version.from_pb(record.version, offline)
        assert (version.digest, version.name) == (found.digest, "digits:v0")
        version.download(tmp_path / ref)
        assert read(tmp_path / ref) == many
        with version.open("d3/large") as file:
            assert file.read() == many["d3/large"]
        with version.open("d3/00003") as file:
            assert file.read() == many["d3/00003"]


FETCH = "import sys, modelkeep; modelkeep.Api().artifact('digits:latest').download(sys.argv[1])"


def test_processes_that_fetch_one_version_at_once(many: dict[str, bytes], tmp_path: Path) -> None:
    command = [sys.executable, "-c", FETCH]
    processes = [subprocess.Popen([*command, str(tmp_path / str(number))]) for number in range(3)]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    for number in range(3):
        assert read(tmp_path / str(number)) == many
    cache = open_cache()
    assert cache is not None
    checked = list(cache.verify())
    assert checked
    assert all(good for _, good in checked)
    assert sum(entry.size_bytes for entry, _ in checked) < 2 * sum(map(len, many.values()))


LOAD = """
import sys, modelkeep, numpy, threading
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
api = modelkeep.Api()
version = api.artifact("tensors:latest")
version.load_safetensors("small.safetensors")
before = peak()
loaded = version.load_safetensors("large.safetensors")
assert sum(float(tensor[0, 0]) for tensor in loaded.values()) == float(sys.argv[1])
print(peak() - before)
"""


def test_loading_tensors_takes_their_memory_and_little_more(tmp_path: Path) -> None:
    tensors = {f"t{number}": np.random.default_rng(number).random((1024, 2048), dtype=np.float32) for number in range(12)}
    content = {
        "large.safetensors": safetensors.numpy.save(tensors),
        "small.safetensors": safetensors.numpy.save({"a": np.zeros(9)}),
    }
    modelkeep.Api().log_artifact(artifact(tmp_path / "source", content, "tensors"))
    expected = sum(float(tensor[0, 0]) for tensor in tensors.values())
    done = subprocess.run(
        [sys.executable, "-c", LOAD, repr(expected)], capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    size = sum(tensor.nbytes for tensor in tensors.values()) // 1024
    assert int(done.stdout) < size + 48 * 1024
