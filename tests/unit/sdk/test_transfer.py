"""Chunks up and down against a server that breaks off, forgets, lies and damages."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from modelkeep._artifact import Artifact
from modelkeep._channel import Connection
from modelkeep._download import Download
from modelkeep._entries import Spool
from modelkeep._target import Target
from modelkeep._upload import Upload
from modelkeep.api.blob.v1 import blob_service_pb2 as blob_pb
from modelkeep.api.metadata.v1 import entry_pb2
from modelkeep.errors import (
    ChunkCorrupt,
    ChunkNotFound,
    DigestMismatch,
    FileChanged,
    GrantExpired,
    ModelkeepError,
    ServiceUnavailable,
    StorageFull,
    TooBusy,
)
from modelkeep.names import TeamName

from tests.unit.sdk.store import Store
from tests.unit.sdk.wire import Wire

TEAM = TeamName("t")


@pytest.fixture
def store(wire: Wire) -> Iterator[Store]:
    made = Store(wire)
    wire.blob.upload_url = wire.blob.download_url = made.url
    yield made
    made.close()


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    root = tmp_path / "source"
    (root / "sub").mkdir(parents=True)
    (root / "large").write_bytes(os.urandom(12_345))
    (root / "small").write_bytes(b"small")
    (root / "same").write_bytes(b"small")
    (root / "empty").write_bytes(b"")
    (root / "sub" / "run").write_bytes(os.urandom(1000))
    (root / "sub" / "run").chmod(0o755)
    made = Artifact("a", "model")
    made.add_dir(root)
    return made


def upload(connection: Connection, artifact: Artifact) -> Spool:
    """The entries of what was uploaded; sorted, as a server sends them."""
    with Upload(connection, TEAM, lambda _: None) as going:
        going.send(artifact.sources())
        spool = Spool()
        for message in sorted(going.entries, key=lambda message: message.path.encode()):
            spool.add(message)
    return spool


def download(connection: Connection, entries: Spool, root: Path, *, trusted: bool = False) -> int:
    got = []
    with Target(root) as target:
        Download(connection, TEAM, target, trusted=trusted, durable=False).run(entries, got.append)
    return sum(got)


def files(root: Path) -> dict[str, tuple[bytes, bool]]:
    return {
        str(path.relative_to(root)): (path.read_bytes(), os.access(path, os.X_OK) and bool(path.stat().st_mode & 0o100))
        for path in root.rglob("*")
        if path.is_file()
    }


def stored(artifact: Artifact, wire: Wire, entries: Spool) -> bool:
    """Whether the server has what makes up each file."""
    wanted = {source.name: Path(source.path).read_bytes() for source in artifact.sources()}
    return {message.path: made_of(message, wire) for message in entries} == wanted


def made_of(entry: entry_pb2.Entry, wire: Wire) -> bytes:
    chunks = wire.blob.chunks
    return b"".join(chunks.get(part.chunk.sha256, b"")[part.offset : part.offset + part.length] for part in entry.segments)


def no_temporary_files(root: Path) -> bool:
    return not [path for path in root.rglob("*") if path.name.startswith(".modelkeep-")]


@pytest.mark.parametrize("direct", [False, True])
def test_up_and_down(wire: Wire, connection: Connection, artifact: Artifact, tmp_path: Path, direct: bool) -> None:
    store = Store(wire)
    wire.blob.upload_url = wire.blob.download_url = store.url if direct else None
    with upload(connection, artifact) as entries:
        assert stored(artifact, wire, entries)
        assert download(connection, entries, tmp_path / "out") == 12_345 + 5 + 5 + 1000
        assert files(tmp_path / "out") == files(tmp_path / "source")
        assert no_temporary_files(tmp_path / "out")
    assert (wire.calls.count("Write") == 0) == direct
    assert (wire.calls.count("Read") == 0) == direct
    assert (store.requests > 0) == direct
    store.close()


def test_what_is_stored_is_not_sent_again(wire: Wire, connection: Connection, artifact: Artifact) -> None:
    upload(connection, artifact).close()
    sent = sum(map(len, wire.blob.written))
    assert sent == 12_345 + 5 + 1000  # the same content twice goes up once
    with Upload(connection, TEAM, lambda _: None) as again:
        again.send(artifact.sources())
        assert again.sent_bytes == 0
    assert sum(map(len, wire.blob.written)) == sent


def test_files_that_are_there_are_not_fetched_again(
    wire: Wire, connection: Connection, artifact: Artifact, tmp_path: Path
) -> None:
    with upload(connection, artifact) as entries:
        download(connection, entries, tmp_path / "out")
        reads = wire.calls.count("Read")
        (tmp_path / "out" / "sub" / "run").chmod(0o600)
        (tmp_path / "out" / "small").write_bytes(b"other")
        (tmp_path / "out" / "mine").write_bytes(b"left alone")
        download(connection, entries, tmp_path / "out")
        assert wire.calls.count("Read") == reads + 1
        expected = files(tmp_path / "source") | {"mine": (b"left alone", False)}
        assert files(tmp_path / "out") == expected


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("PrepareUpload", ServiceUnavailable("away")),
        ("PrepareUpload", TooBusy("busy", retry_after_seconds="0.01")),
        ("Write", ServiceUnavailable("away")),
        ("Write", TooBusy("busy", retry_after_seconds="0.01")),
        ("Write", GrantExpired("prepare again")),
    ],
)
def test_uploads_survive_what_passes(
    wire: Wire, connection: Connection, artifact: Artifact, method: str, error: ModelkeepError
) -> None:
    wire.calls.errors[method] = [error, error]
    with upload(connection, artifact) as entries:
        assert stored(artifact, wire, entries)


@pytest.mark.peer("M-UP-6")
@pytest.mark.parametrize("after", [1, 300, 900, 5000, 11_000])
def test_a_broken_stream_goes_on_where_it_broke(wire: Wire, connection: Connection, artifact: Artifact, after: int) -> None:
    wire.blob.break_write_after = after
    with upload(connection, artifact) as entries:
        assert stored(artifact, wire, entries)
    assert sum(map(len, wire.blob.written)) <= 12_345 + 5 + 1000 + 4096  # at most one chunk twice


def test_a_lease_that_ended_is_replaced(wire: Wire, connection: Connection, artifact: Artifact) -> None:
    """SEM-25: a laptop that slept."""
    with Upload(connection, TEAM, lambda _: None) as going:
        going.send(artifact.sources())
        wire.blob.leases.clear()
        wire.blob.chunks.clear()
        going.send_missing(artifact)
        assert stored(artifact, wire, going.entries)
        assert len(wire.blob.leases) == 1


def test_what_was_prepared_under_a_lease_is_sent_under_it(wire: Wire, connection: Connection, artifact: Artifact) -> None:
    """SEM-25: the lease may have been given up meanwhile, by another batch or by what keeps it."""
    with Upload(connection, TEAM, lambda _: None) as going:
        going.send(artifact.sources())
        [lease] = wire.blob.leases
        wire.blob.chunks.clear()
        wire.blob.prepared = lambda: going._lease.drop(lease)
        going.send_missing(artifact)
        assert stored(artifact, wire, going.entries)
    written = [message.lease for method, message, _ in wire.calls.seen if method == "Write"]
    assert written
    assert "" not in written


@pytest.mark.peer("M-GC-1")
def test_chunks_that_got_lost_are_sent_again(wire: Wire, connection: Connection, artifact: Artifact) -> None:
    with Upload(connection, TEAM, lambda _: None) as going:
        going.send(artifact.sources())
        before = len(wire.blob.written)
        for lost in list(wire.blob.chunks)[::3]:
            del wire.blob.chunks[lost]
        going.send_missing(artifact)
        assert stored(artifact, wire, going.entries)
        assert len(wire.blob.written) < 2 * before


@pytest.mark.peer("M-UP-3")
def test_a_file_that_changed_before_it_is_sent_again_is_refused(
    wire: Wire, connection: Connection, artifact: Artifact, tmp_path: Path
) -> None:
    with Upload(connection, TEAM, lambda _: None) as going:
        going.send(artifact.sources())
        wire.blob.chunks.clear()
        (tmp_path / "source" / "large").write_bytes(os.urandom(12_345))
        with pytest.raises(FileChanged, match="large"):
            going.send_missing(artifact)


@pytest.mark.peer("M-UP-4")
def test_what_does_not_pass_is_raised(wire: Wire, connection: Connection, artifact: Artifact) -> None:
    wire.calls.errors["Write"] = [StorageFull("full")] * 100
    with pytest.raises(StorageFull):
        upload(connection, artifact)
    wire.calls.errors = {"PrepareUpload": [StorageFull("full")] * 100}
    with pytest.raises(StorageFull):
        upload(connection, artifact)


@pytest.mark.peer("M-UP-1")
@pytest.mark.parametrize("answers", [[403], [403, 403, 403], [503] * 4, [400, 500, 200, 403]])
def test_a_url_that_ended_or_a_store_that_stumbles_is_asked_again(
    connection: Connection, artifact: Artifact, store: Store, tmp_path: Path, answers: list[int]
) -> None:
    wire = store.wire
    store.answers = list(answers)
    with upload(connection, artifact) as entries:
        assert stored(artifact, wire, entries)
        store.answers = list(answers)
        download(connection, entries, tmp_path / "out")
    assert files(tmp_path / "out") == files(tmp_path / "source")


def test_a_store_that_cannot_be_reached_is_gone_around(
    wire: Wire, connection: Connection, artifact: Artifact, nobody: str, tmp_path: Path
) -> None:
    wire.blob.upload_url = wire.blob.download_url = lambda _: f"http://{nobody}/chunk"
    with upload(connection, artifact) as entries:
        assert stored(artifact, wire, entries)
        assert wire.calls.count("CompleteUpload") == 0
        download(connection, entries, tmp_path / "out")
    assert files(tmp_path / "out") == files(tmp_path / "source")


def test_a_store_that_refuses_everything_is_gone_around(
    wire: Wire, connection: Connection, artifact: Artifact, store: Store, tmp_path: Path
) -> None:
    store.answers = [403] * 10_000
    with upload(connection, artifact) as entries:
        assert stored(artifact, wire, entries)
        download(connection, entries, tmp_path / "out")
    assert files(tmp_path / "out") == files(tmp_path / "source")


def test_an_object_that_the_store_lost_is_sent_again(
    wire: Wire, connection: Connection, artifact: Artifact, store: Store
) -> None:
    wire.blob.forget_sent = True
    with upload(connection, artifact) as entries:
        assert stored(artifact, wire, entries)
    assert wire.calls.count("CompleteUpload") > 1


@pytest.mark.peer("M-SEC-1")
def test_urls_are_never_logged(
    connection: Connection, artifact: Artifact, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with upload(connection, artifact) as entries:
        store.answers = [403, 500]
        download(connection, entries, tmp_path / "out")
    assert "canary" not in caplog.text


def one_file(wire: Wire, connection: Connection, tmp_path: Path, size: int = 5000) -> Spool:
    source = tmp_path / "one" / "weights"
    source.parent.mkdir()
    source.write_bytes(os.urandom(size))
    made = Artifact("a", "model")
    made.add_file(source)
    return upload(connection, made)


def flip(messages: list[blob_pb.ReadResponse]) -> list[blob_pb.ReadResponse]:
    messages[-1].data = bytes([messages[-1].data[0] ^ 1]) + messages[-1].data[1:]
    return messages


def shorten(messages: list[blob_pb.ReadResponse]) -> list[blob_pb.ReadResponse]:
    return messages[:-1]


def lengthen(messages: list[blob_pb.ReadResponse]) -> list[blob_pb.ReadResponse]:
    messages[-1].data += b"x" * 1000
    return messages


def disorder(messages: list[blob_pb.ReadResponse]) -> list[blob_pb.ReadResponse]:
    return messages[::-1]


@pytest.mark.peer("M-UP-7")
@pytest.mark.parametrize("damage", [flip, shorten, lengthen, disorder])
@pytest.mark.parametrize("trusted", [False, True])
def test_damaged_bytes_never_get_a_name(
    wire: Wire,
    connection: Connection,
    tmp_path: Path,
    damage: Callable[[list[blob_pb.ReadResponse]], list[blob_pb.ReadResponse]],
    trusted: bool,
) -> None:
    with one_file(wire, connection, tmp_path) as entries:
        wire.blob.read = damage
        with pytest.raises(ChunkCorrupt):
            download(connection, entries, tmp_path / "out", trusted=trusted)
        assert list((tmp_path / "out").iterdir()) == []
        wire.blob.read = lambda messages: messages
        download(connection, entries, tmp_path / "out", trusted=trusted)
    assert files(tmp_path / "out") == files(tmp_path / "one")


def test_bytes_that_were_damaged_on_their_way_come_again(wire: Wire, connection: Connection, tmp_path: Path) -> None:
    with one_file(wire, connection, tmp_path) as entries:
        times = iter([flip, shorten])

        def damaged_twice(messages: list[blob_pb.ReadResponse]) -> list[blob_pb.ReadResponse]:
            return next(times, list)(messages)

        wire.blob.read = damaged_twice
        download(connection, entries, tmp_path / "out")
    assert files(tmp_path / "out") == files(tmp_path / "one")


@pytest.mark.peer("M-UP-7")
def test_damaged_bytes_of_a_store_never_get_a_name(wire: Wire, connection: Connection, store: Store, tmp_path: Path) -> None:
    with one_file(wire, connection, tmp_path) as entries:
        store.damage = lambda data: data[:-1] + bytes([data[-1] ^ 1])
        with pytest.raises(ChunkCorrupt):
            download(connection, entries, tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []


def test_a_lost_chunk_is_told(wire: Wire, connection: Connection, tmp_path: Path) -> None:
    with one_file(wire, connection, tmp_path) as entries:
        wire.blob.chunks.popitem()
        with pytest.raises(ChunkNotFound):
            download(connection, entries, tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []


def test_a_file_whose_chunks_are_not_its_own_never_gets_a_name(wire: Wire, connection: Connection, tmp_path: Path) -> None:
    """SEM-24: the digest of a whole file is a claim, and is checked."""
    with one_file(wire, connection, tmp_path) as entries, Spool() as forged:
        (message,) = entries
        message.digest.sha256 = hashlib.sha256(b"something else").digest()
        forged.add(message)
        with pytest.raises(DigestMismatch, match="weights"):
            download(connection, forged, tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []


def test_segments_may_be_parts_of_chunks(wire: Wire, connection: Connection, tmp_path: Path) -> None:
    """Readers follow segments wherever they lead: small files share a chunk."""
    pack = os.urandom(900)
    chunk = hashlib.sha256(pack).digest()
    wire.blob.chunks[chunk] = pack
    with Spool() as entries:
        for name, (begin, end) in {"a": (0, 100), "b": (100, 100), "c": (100, 900), "d": (0, 100)}.items():
            parts = [(begin, (begin + end) // 2), ((begin + end) // 2, end)] if end - begin > 200 else [(begin, end)]
            message = entry_pb2.Entry(path=name, size_bytes=end - begin)
            message.digest.sha256 = hashlib.sha256(pack[begin:end]).digest()
            for first, last in parts:
                if last > first:
                    message.segments.add(offset=first, length=last - first).chunk.sha256 = chunk
            entries.add(message)
        for trusted in (False, True):
            download(connection, entries, tmp_path / f"out-{trusted}", trusted=trusted)
            found = {name: content for name, (content, _) in files(tmp_path / f"out-{trusted}").items()}
            assert found == {"a": pack[:100], "b": b"", "c": pack[100:], "d": pack[:100]}


def test_more_files_than_may_be_open_at_once(wire: Wire, connection: Connection, tmp_path: Path) -> None:
    root = tmp_path / "many"
    root.mkdir()
    for number in range(250):
        (root / f"{number:03}").write_bytes(os.urandom(2500))
    made = Artifact("a", "model")
    made.add_dir(root)
    with upload(connection, made) as entries:
        download(connection, entries, tmp_path / "out")
    assert files(tmp_path / "out") == files(root)
