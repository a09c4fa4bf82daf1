"""Downloads from stores that throttle, break off, stall, and rot."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from modelkeep._channel import Connection
from modelkeep._direct_get import Gets
from modelkeep._entries import Spool
from modelkeep._fetcher import Fetcher
from modelkeep._pace import FIRST
from modelkeep.errors import ChunkCorrupt, ChunkNotFound

from tests.unit.sdk.downloads import TEAM, Rig, add, content, download, large, pack, sha256
from tests.unit.sdk.store import Store
from tests.unit.sdk.wire import Wire


@pytest.mark.parametrize("answers", [[503] * 3, [503, 429, 500, 503, 200, 503] * 2, [403, 503, 403]])
def test_a_store_that_throttles_is_asked_again_by_fewer(rig: Rig, answers: list[int]) -> None:
    wire, connection, store, entries, tmp_path = rig.wire, rig.connection, rig.store, rig.entries, rig.tmp_path
    expected: dict[str, bytes] = {}
    for number in range(6):
        expected |= large(wire, entries, f"f{number}", [900] * 8)
    store.answers = list(answers)
    download(connection, entries, tmp_path / "out")
    assert content(tmp_path / "out") == expected
    assert wire.calls.count("Read") == 0  # the store gave them, in the end
    assert store.requests <= 48 + len(answers)


def test_fewer_ask_at_once_when_the_store_has_too_much_to_do(connection: Connection, wire: Wire, store: Store) -> None:
    with Fetcher(connection, TEAM) as fetcher:
        before = fetcher._pace.limit
        store.answers = [503] * 40
        chunk = b"x" * 100
        wire.blob.chunks[sha256(chunk)] = chunk
        taken: list[bytes] = []
        want = _Taker(sha256(chunk), taken)
        store.answers = [503] * 3
        fetcher.fetch([want])
        assert taken == [chunk]
        assert fetcher._pace.limit < before


class _Taker:
    """Wants a whole chunk."""

    def __init__(self, digest: bytes, taken: list[bytes]) -> None:
        self.sha256 = digest
        self._taken = taken

    def ranges(self, size_bytes: int) -> list[tuple[int, int]]:
        return [(0, size_bytes)]

    def take(self, data: memoryview, offset: int, *, whole: bool) -> None:
        assert whole
        self._taken.append(bytes(data))


@pytest.mark.peer("M-UP-1")
def test_urls_that_expire_half_way_are_asked_for_again(
    wire: Wire, connection: Connection, store: Store, entries: Spool, tmp_path: Path
) -> None:
    expected = large(wire, entries, "f", [700] * 40)
    store.expire_after = 15
    download(connection, entries, tmp_path / "out")
    assert content(tmp_path / "out") == expected
    assert wire.calls.count("Read") == 0
    assert wire.calls.count("PrepareDownload") == 2
    assert store.served == 40  # nothing that came was asked for again


@pytest.mark.parametrize("fault", ["reset", "short", "stall", "garbage", "long"])
def test_a_store_that_breaks_off_is_asked_again(rig: Rig, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wire, connection, store, entries, tmp_path = rig.wire, rig.connection, rig.store, rig.entries, rig.tmp_path
    monkeypatch.setattr(Gets, "silence_seconds", 5 if fault == "stall" else 60)
    expected = large(wire, entries, "f", [70_000] * 6)
    store.faults = [fault] * 4
    download(connection, entries, tmp_path / "out")
    assert content(tmp_path / "out") == expected
    assert store.faults == []


@pytest.mark.peer("M-UP-4")
@pytest.mark.parametrize("after", [0, 10])
def test_a_store_that_falls_silent_is_gone_around(rig: Rig, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One wait for those that are under way, and at most one more; not one for each chunk."""
    wire, connection, store, entries, tmp_path = rig.wire, rig.connection, rig.store, rig.entries, rig.tmp_path
    monkeypatch.setattr(Gets, "silence_seconds", 0.3)
    expected = large(wire, entries, "f", [7000] * 100)
    store.faults = [""] * after + ["stall"] * 100_000
    download(connection, entries, tmp_path / "out")
    assert content(tmp_path / "out") == expected
    assert wire.calls.count("Read") > 0
    assert store.requests <= after + 2 * 2 * FIRST


@pytest.mark.peer("M-UP-7")
def test_one_damaged_chunk_of_many_is_fetched_again_and_named(rig: Rig) -> None:
    """The whole file is hashed, once; only when it is wrong are its chunks looked at."""
    wire, connection, store, entries, cache, tmp_path = (
        rig.wire,
        rig.connection,
        rig.store,
        rig.entries,
        rig.cache,
        rig.tmp_path,
    )
    expected = large(wire, entries, "f", [1000] * 20)
    bad = list(wire.blob.chunks)[7]
    damaged = threading.Event()

    def damage(data: bytes) -> bytes:
        if sha256(data) == bad and not damaged.is_set():
            damaged.set()
            return b"y" + data[1:]
        return data

    store.damage = damage
    download(connection, entries, tmp_path / "1", cache)
    assert content(tmp_path / "1") == expected
    assert store.requests == 21
    store.damage = lambda data: b"y" + data[1:] if sha256(data) == bad else data
    with pytest.raises(ChunkCorrupt, match=f"^'f' cannot be downloaded: .*{bad.hex()}") as caught:
        download(connection, entries, tmp_path / "2")
    assert caught.value.metadata == {"digest": f"sha256:{bad.hex()}", "path": "f"}
    assert content(tmp_path / "2") == {}


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("kind", [pack, large])
def test_a_file_whose_chunk_rotted_or_is_lost_is_named(rig: Rig, kind: Callable[..., object], trusted: bool) -> None:
    """What the server says of it names only the chunk."""
    sizes = (3, 40, "folder") if kind is pack else ("folder/0000", [1000] * 3)
    kind(rig.wire, rig.entries, *sizes)
    sha256, chunk = rig.wire.blob.chunks.popitem()
    name = "'folder/0000' cannot be downloaded: .*"
    with pytest.raises(ChunkNotFound, match=name + sha256.hex()) as lost:
        download(rig.connection, rig.entries, rig.tmp_path / "out", trusted=trusted)
    rig.wire.blob.chunks[sha256] = b"?" * len(chunk)
    with pytest.raises(ChunkCorrupt, match=name + sha256.hex()) as rotten:
        download(rig.connection, rig.entries, rig.tmp_path / "out", trusted=trusted)
    assert lost.value.metadata["path"] == rotten.value.metadata["path"] == "folder/0000"


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_file_that_wants_more_than_its_chunk_has_is_missed(rig: Rig, parts: int, trusted: bool) -> None:
    """A list of files says whatever it likes; nobody may believe that such a file is there."""
    wire, connection, entries, tmp_path = rig.wire, rig.connection, rig.entries, rig.tmp_path
    chunks = [bytes([number]) * 200 for number in range(2)]
    wire.blob.chunks.update({sha256(chunk): chunk for chunk in chunks})
    longer = [(chunk + b"?", 0, 201) for chunk in chunks[:parts]]
    data = add(entries, "f", longer)
    [message] = entries
    for segment, chunk in zip(message.segments, chunks, strict=False):
        segment.chunk.sha256 = sha256(chunk)
    with Spool() as lies:
        lies.add(message)
        with pytest.raises(ChunkCorrupt):
            download(connection, lies, tmp_path / "out", trusted=trusted)
    assert len(data) == 201 * parts
    assert content(tmp_path / "out") == {}
