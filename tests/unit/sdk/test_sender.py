"""Uploads to a store that is busy, and of files that change between their hashing and their sending."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from modelkeep import _sender
from modelkeep._artifact import Artifact
from modelkeep._channel import Connection
from modelkeep._direct_put import Puts
from modelkeep._pace import FIRST
from modelkeep._sender import BUSY_ROUNDS
from modelkeep._upload import Upload
from modelkeep.errors import FileChanged, FileUnreadable, Unimplemented
from modelkeep.names import TeamName

from tests.unit.sdk.store import Store
from tests.unit.sdk.wire import Wire

SIZE = 24_000
"""Some twenty chunks, and never as many as two batches."""


@pytest.fixture
def store(wire: Wire) -> Iterator[Store]:
    made = Store(wire)
    wire.blob.upload_url = made.url
    yield made
    made.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "weights"
    made.write_bytes(os.urandom(SIZE))
    return made


def log(connection: Connection, path: Path) -> int:
    artifact = Artifact("a", "model")
    artifact.add_file(path)
    with Upload(connection, TeamName("t"), lambda _: None) as upload:
        upload.send(artifact.sources())
        return upload.sent_bytes


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_store_gets_fewer_requests_and_all_bytes(
    wire: Wire, connection: Connection, store: Store, path: Path, status: int
) -> None:
    store.answers = [status] * 30
    assert log(connection, path) == SIZE
    assert wire.calls.count("Write") == 0
    assert sum(map(len, wire.blob.chunks.values())) == SIZE
    assert store.requests == 30 + len(wire.blob.chunks)


def test_a_store_that_stays_busy_is_gone_around(
    wire: Wire, connection: Connection, store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sender.Sender, "_sleep", lambda *_: None)
    store.answers = [503] * 100_000
    assert log(connection, path) == SIZE
    assert wire.calls.count("Write") > 0
    assert wire.calls.count("PrepareUpload") == BUSY_ROUNDS + 1


def test_a_url_that_ended_spares_the_store_the_others(wire: Wire, connection: Connection, store: Store, path: Path) -> None:
    """What waits behind it is not sent in vain."""
    store.answers = [200] * 3 + [403]
    assert log(connection, path) == SIZE
    assert store.requests <= len(wire.blob.chunks) + 32
    assert wire.calls.count("PrepareUpload") == 2


@pytest.mark.peer("M-UP-4")
@pytest.mark.parametrize("after", [0, 3])
def test_a_store_that_falls_silent_is_gone_around(
    connection: Connection, store: Store, path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """One wait for those that are under way, and at most one more; not one for each chunk."""
    monkeypatch.setattr(Puts, "silence_seconds", 0.3)
    store.faults = [""] * after + ["stall"] * 100_000
    assert log(connection, path) == SIZE
    assert store.wire.calls.count("Write") > 0
    assert sum(map(len, store.wire.blob.chunks.values())) == SIZE
    assert store.requests <= after + 2 * 2 * FIRST


@pytest.mark.peer("M-UP-3")
@pytest.mark.parametrize("direct", [False, True])
def test_a_file_that_changes_before_it_is_sent_is_told_by_name(
    wire: Wire, connection: Connection, store: Store, path: Path, direct: bool
) -> None:
    if not direct:
        wire.blob.upload_url = None
    wire.blob.prepared = lambda: path.write_bytes(os.urandom(SIZE)) and None
    with pytest.raises(FileChanged, match="weights"):
        log(connection, path)
    assert wire.blob.chunks == {}


@pytest.mark.peer("M-UP-3")
@pytest.mark.parametrize("direct", [False, True])
def test_a_file_that_is_cut_off_or_goes_before_it_is_sent_is_told_by_name(
    wire: Wire, connection: Connection, store: Store, path: Path, direct: bool
) -> None:
    if not direct:
        wire.blob.upload_url = None
    wire.blob.prepared = lambda: path.write_bytes(b"") and None
    with pytest.raises(FileChanged, match="weights"):
        log(connection, path)
    path.write_bytes(os.urandom(SIZE))
    wire.blob.prepared = lambda: path.unlink(missing_ok=True)
    with pytest.raises(FileUnreadable, match="weights"):
        log(connection, path)
    assert wire.blob.chunks == {}


def test_a_way_to_upload_that_only_a_newer_client_knows(wire: Wire, connection: Connection, path: Path) -> None:
    wire.blob.newer = True
    with pytest.raises(Unimplemented, match=r"the server is newer than this client.*update modelkeep"):
        log(connection, path)
