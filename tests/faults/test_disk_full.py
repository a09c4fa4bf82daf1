"""M-UP-6: a full disk, at the server and at the client: one clear error, nothing half-written, and it heals by itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import modelkeep
import pytest

from tests.faults.supervisor import Supervised

MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str, int], Path]]:
    """Makes file systems of a few MiB; needs the right to mount one."""
    mounted: list[Path] = []

    def make(name: str, size: int) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"this machine does not let us mount a small file system: {done.stderr.decode().strip()}")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _log(server: Supervised, path: Path, name: str) -> modelkeep.Version:
    artifact = modelkeep.Artifact(name, type="model")
    artifact.add_file(str(path))
    found = server.found
    with modelkeep.init(project="full", url=found["url"], api_key=found["api_key"]) as run:
        version: modelkeep.Version = run.log_artifact(artifact)
        return version


@pytest.mark.peer("M-UP-6")
def test_a_full_server_says_so_and_goes_on(small_disk: Callable[[str, int], Path], tmp_path: Path) -> None:
    server = Supervised(small_disk("server", 24 * MIB))
    server.start()
    try:
        large, small = tmp_path / "large.bin", tmp_path / "small.bin"
        large.write_bytes(os.urandom(40 * MIB))
        small.write_bytes(b"weights")
        with pytest.raises(modelkeep.StorageFull):
            _log(server, large, "large")
        for chunk in (server.folder / "data").rglob("chunks/**/*.*"):
            chunk.unlink()  # what an operator does: make room (of a version that never came to be)
        assert _log(server, small, "small").name == "small:v0"
        found = server.found
        with pytest.raises(modelkeep.NotFound):
            modelkeep.Api(project="full", url=found["url"], api_key=found["api_key"]).artifact("large:latest")
    finally:
        server.stop()


@pytest.mark.peer("M-UP-6")
def test_a_full_client_leaves_nothing_half_written(
    small_disk: Callable[[str, int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Supervised(tmp_path / "server")
    server.folder.mkdir()
    server.start()
    try:
        source = tmp_path / "weights.bin"
        source.write_bytes(os.urandom(12 * MIB))
        version = _log(server, source, "weights")
        target = small_disk("client", 4 * MIB)
        with pytest.raises(modelkeep.DiskFull):
            version.download(str(target))
        assert list(target.rglob("*")) == []
        # A full disk of the cache is none of the download's business.
        cache = small_disk("cache", 4 * MIB)
        monkeypatch.setenv("MODELKEEP_CACHE_DIR", str(cache))
        version.download(str(tmp_path / "out"))
        assert (tmp_path / "out" / "weights.bin").read_bytes() == source.read_bytes()
        assert not any(path.is_file() and path.stat().st_size > MIB for path in cache.rglob("*"))
    finally:
        server.stop()
