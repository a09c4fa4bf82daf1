"""M-UP-7, on read: a bit that flips in the store is found before a byte stands under its final name."""

from __future__ import annotations

import os
from pathlib import Path

import modelkeep
import pytest

from tests.faults.supervisor import Supervised
from tests.servers import seaweedfs

MIB = 1 << 20


def _log(server: Supervised, path: Path) -> modelkeep.Version:
    artifact = modelkeep.Artifact("rot", type="model")
    artifact.add_file(str(path))
    found = server.found
    with modelkeep.init(project="rot", url=found["url"], api_key=found["api_key"]) as run:
        version: modelkeep.Version = run.log_artifact(artifact)
        return version


def _source(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(os.urandom(3 * MIB))
    return path


@pytest.mark.peer("M-UP-7")
def test_a_flipped_bit_on_the_disk_is_found_on_read(tmp_path: Path) -> None:
    server = Supervised(tmp_path / "server")
    server.folder.mkdir()
    server.start()
    try:
        version = _log(server, _source(tmp_path))
        chunk = next(path for path in (server.folder / "data").rglob("chunks/**/*") if path.is_file())
        rotten = bytearray(chunk.read_bytes())
        rotten[len(rotten) // 2] ^= 1
        chunk.chmod(0o600)
        chunk.write_bytes(rotten)
        with pytest.raises(modelkeep.DataLoss):
            version.download(str(tmp_path / "out"))
        assert not any(path.is_file() for path in (tmp_path / "out").rglob("*"))
        checked = server.fsck(deep=True)
        assert checked.returncode == 1
        assert chunk.name.partition(".")[0] in checked.stdout
    finally:
        server.stop()


@pytest.mark.peer("M-UP-7")
def test_a_flipped_bit_in_the_s3_store_is_found_on_read(tmp_path: Path) -> None:
    store = seaweedfs()
    env = {
        "MODELKEEP_BLOB__STORE_URL": f"s3://{store.bucket}",
        "MODELKEEP_BLOB__S3_ENDPOINT": f"http://{store.endpoint}",
        "MODELKEEP_BLOB__S3_ACCESS_KEY": store.access_key,
        "MODELKEEP_BLOB__S3_SECRET_KEY": store.secret_key,
    }
    server = Supervised(tmp_path / "server", env)
    server.folder.mkdir()
    server.start()
    try:
        version = _log(server, _source(tmp_path))
        client = store.client()
        key = next(
            str(found.object_name)
            for found in client.list_objects(store.bucket, recursive=True)
            if "chunks/" in str(found.object_name)
        )
        rotten = tmp_path / "rotten"
        client.fget_object(store.bucket, key, str(rotten))
        content = bytearray(rotten.read_bytes())
        content[0] ^= 1
        rotten.write_bytes(content)
        client.fput_object(store.bucket, key, str(rotten))
        with pytest.raises(modelkeep.DataLoss):
            version.download(str(tmp_path / "out"))
        assert not any(path.is_file() for path in (tmp_path / "out").rglob("*"))
    finally:
        server.stop()
