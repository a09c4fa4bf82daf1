"""Chunks through a folder that client and server share: one that is safe to use, and of this machine."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from modelkeep import _staging
from modelkeep._artifact import Artifact
from modelkeep._channel import Connection
from modelkeep._staging import Staging
from modelkeep._upload import Upload
from modelkeep.config import Config
from modelkeep.errors import FileChanged, ServiceUnavailable, StorageFull
from modelkeep.names import TeamName

from tests.unit.sdk.wire import Wire

TEAM = TeamName("t")
LOCAL = Config("grpc://127.0.0.1:1", "mk_key")


@pytest.fixture
def folder(tmp_path: Path, wire: Wire) -> Path:
    made = tmp_path / "staging"
    made.mkdir(mode=0o700)
    (made / "token").write_text("token\n")
    (made / "token").chmod(0o600)
    wire.blob.staging_folder = str(made)
    return made


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    root = tmp_path / "source"
    root.mkdir()
    (root / "large").write_bytes(os.urandom(200_000))
    for number in range(20):
        (root / f"small-{number}").write_bytes(os.urandom(200))
    made = Artifact("a", "model")
    made.add_dir(root)
    return made


def log(connection: Connection, artifact: Artifact) -> int:
    with Upload(connection, TEAM, lambda _: None) as upload:
        upload.send(artifact.sources())
        return upload.sent_bytes


def test_bytes_go_through_the_folder(wire: Wire, connection: Connection, folder: Path, artifact: Artifact) -> None:
    assert log(connection, artifact) == 204_000
    assert sum(map(len, wire.blob.chunks.values())) == 204_000
    assert wire.calls.count("Write") == 0
    assert [path.name for path in folder.iterdir()] == ["token"]
    assert log(connection, artifact) == 0


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("number", [errno.EXDEV, errno.EINVAL, errno.ENOSYS])
def test_where_the_kernel_will_not_copy_bytes_are_written(
    wire: Wire, connection: Connection, artifact: Artifact, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, "no")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    assert log(connection, artifact) == 204_000
    assert wire.calls.count("Write") == 0


def test_a_copy_that_stops_short_is_written_to_its_end(
    wire: Wire, connection: Connection, folder: Path, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, times = os.copy_file_range, iter(range(1_000_000))
    monkeypatch.setattr(os, "copy_file_range", lambda *args: 0 if next(times) % 2 else copy(args[0], args[1], 100, args[3]))
    assert log(connection, artifact) == 204_000
    assert wire.calls.count("CompleteUpload") * 50 < 10 * len(wire.blob.chunks)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: folder.chmod(0o755),
        lambda folder: (folder / "token").chmod(0o644),
        lambda folder: (folder / "token").unlink(),
        lambda folder: (folder / "token").write_text(""),
        lambda folder: ((folder / "token").rename(folder / "real"), (folder / "token").symlink_to("real")),
        lambda folder: (folder.rename(folder.with_name("real")), folder.symlink_to(folder.with_name("real"))),
    ],
)
def test_a_folder_that_others_could_have_made_is_not_used(
    wire: Wire, connection: Connection, folder: Path, artifact: Artifact, spoil: Callable[[Path], object]
) -> None:
    spoil(folder)
    assert log(connection, artifact) == 204_000
    assert wire.calls.count("Write") > 0


def test_only_a_server_of_this_machine_is_believed(folder: Path) -> None:
    found = Staging.find(LOCAL, str(folder))
    assert found is not None
    found.close()
    assert Staging.find(Config("grpcs://models.example.com", "mk_key"), str(folder)) is None
    assert Staging.find(Config("grpc://127.0.0.1:1", "mk_key", blob_url="grpc://blob.example.com:1"), str(folder)) is None
    assert Staging.find(LOCAL, "") is None


@pytest.mark.peer("M-PATH-4")
@pytest.mark.parametrize("name", ["../out", "sub/x", "token", "", ".", ".."])
def test_a_file_elsewhere_is_not_written(
    wire: Wire, connection: Connection, folder: Path, artifact: Artifact, name: str
) -> None:
    """A server that means no good names a file of the user's."""
    wire.blob.staging_path = lambda _: f"{folder}/{name}"
    before = sorted(path.name for path in folder.parent.iterdir())
    assert log(connection, artifact) == 204_000  # it went as a stream
    assert wire.calls.count("Write") > 0
    assert sorted(path.name for path in folder.parent.iterdir()) == before
    assert (folder / "token").read_text() == "token\n"


def test_a_link_in_the_folder_is_not_followed(
    wire: Wire, connection: Connection, folder: Path, artifact: Artifact, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    planted: set[bytes] = set()

    def plant(sha256: bytes) -> str:
        if sha256 not in planted:
            planted.add(sha256)
            (folder / sha256.hex()).symlink_to(victim)
        return f"{folder}/{sha256.hex()}"

    wire.blob.staging_path = plant
    assert log(connection, artifact) == 204_000
    assert victim.read_text() == "mine"
    assert planted == set(wire.blob.chunks)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_told_and_nothing_is_left(
    wire: Wire, connection: Connection, folder: Path, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "copy_file_range", full)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageFull, match="staging"):
        log(connection, artifact)
    assert [path.name for path in folder.iterdir()] == ["token"]


@pytest.mark.peer("M-UP-6")
def test_what_could_not_be_published_is_not_left(
    wire: Wire, connection: Connection, folder: Path, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk of the server's database may be the one that these files fill."""
    wire.calls.errors["CompleteUpload"] = [StorageFull("the database's disk is full")]
    written: list[str] = []
    put = Staging.put
    monkeypatch.setattr(Staging, "put", lambda self, path, piece: (put(self, path, piece), written.append(path))[0])
    with pytest.raises(StorageFull, match="database"):
        log(connection, artifact)
    assert written
    assert [path.name for path in folder.iterdir()] == ["token"]


def test_a_folder_that_fails_is_gone_around(
    wire: Wire, connection: Connection, folder: Path, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ServiceUnavailable("gone")

    monkeypatch.setattr(_staging.Staging, "put", broken)
    assert log(connection, artifact) == 204_000
    assert wire.calls.count("Write") > 0


@pytest.mark.peer("M-UP-3")
def test_a_file_that_changes_before_it_is_copied_is_told_by_name(
    wire: Wire, connection: Connection, folder: Path, artifact: Artifact, tmp_path: Path
) -> None:
    wire.blob.prepared = lambda: (tmp_path / "source" / "large").write_bytes(os.urandom(200_000)) and None
    with pytest.raises(FileChanged, match="large"):
        log(connection, artifact)
