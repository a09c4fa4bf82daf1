"""Downloads: packs and chunks that are fetched once, and what the cache has."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from modelkeep._cache import Cache
from modelkeep._channel import Connection
from modelkeep._entries import Spool
from modelkeep._intake import Intake
from modelkeep.errors import ChunkCorrupt, DigestMismatch, DiskFull, ModelkeepError

from tests.unit.sdk.downloads import MIB, Rig, add, content, download, large, pack, sha256
from tests.unit.sdk.store import Store
from tests.unit.sdk.wire import Wire


def test_a_pack_is_fetched_once_whatever_is_in_it(
    wire: Wire, connection: Connection, store: Store, entries: Spool, tmp_path: Path
) -> None:
    expected = pack(wire, entries, 300, 40)
    expected |= large(wire, entries, "q", [5000] * 3)
    assert download(connection, entries, tmp_path / "out") == 300 * 40 + 15_000
    assert content(tmp_path / "out") == expected
    assert store.requests == 1 + 3
    assert wire.calls.count("PrepareDownload") == 2  # of the packs, and of the blocks


def test_a_chunk_that_stands_in_a_file_many_times_is_fetched_once(
    wire: Wire, connection: Connection, store: Store, entries: Spool, tmp_path: Path
) -> None:
    zeros, end = bytes(3000), b"end" * 100
    wire.blob.chunks.update({sha256(zeros): zeros, sha256(end): end})
    expected = {"sparse": add(entries, "sparse", [*[(zeros, 0, 3000)] * 200, (end, 0, 300)])}
    download(connection, entries, tmp_path / "out")
    assert content(tmp_path / "out") == expected
    assert store.requests == 2


@pytest.mark.parametrize("direct", [True, False])
def test_of_a_pack_of_which_little_is_wanted_little_is_fetched(
    wire: Wire, connection: Connection, store: Store, tmp_path: Path, direct: bool
) -> None:
    if not direct:
        wire.blob.download_url = None
    with Spool() as all_of_it, Spool() as some:
        expected = pack(wire, all_of_it, 100, 50)
        wanted = ["p/0007", "p/0008", "p/0050"]
        for message in all_of_it:
            if message.path in wanted:
                some.add(message)
        download(connection, some, tmp_path / "out")
        assert content(tmp_path / "out") == {path: expected[path] for path in wanted}
        assert store.sent == (150 if direct else 0)
        assert wire.blob.sent == (0 if direct else 150)


def test_what_the_cache_has_needs_no_call_at_all(rig: Rig) -> None:
    wire, connection, store, entries, cache, tmp_path = (
        rig.wire,
        rig.connection,
        rig.store,
        rig.entries,
        rig.cache,
        rig.tmp_path,
    )
    expected = pack(wire, entries, 300, 40) | large(wire, entries, "q", [5000, 4000, 6000])
    download(connection, entries, tmp_path / "1", cache)
    wire.calls.seen.clear()
    requests = store.requests
    assert download(connection, entries, tmp_path / "2", cache) == 300 * 40 + 15_000
    assert content(tmp_path / "2") == expected
    assert wire.calls.seen == []
    assert store.requests == requests
    assert not [path for path in (tmp_path / "2").rglob("*") if path.stat().st_nlink > 1 and path.is_file()]


@pytest.mark.parametrize("which", ["pack", "file"])
@pytest.mark.parametrize("trusted", [False, True])
def test_what_rotted_in_the_cache_never_gets_out_and_is_healed(rig: Rig, which: str, trusted: bool) -> None:
    wire, connection, store, entries, cache, tmp_path = (
        rig.wire,
        rig.connection,
        rig.store,
        rig.entries,
        rig.cache,
        rig.tmp_path,
    )
    expected = pack(wire, entries, 30, 40) | large(wire, entries, "q", [5000, 4000])
    download(connection, entries, tmp_path / "1", cache)
    size = {"pack": 1200, "file": 9000}[which]
    [rotten] = [path for path in (cache.folder / "objects").rglob("*") if path.is_file() and path.stat().st_size == size]
    rotten.chmod(0o600)
    data = rotten.read_bytes()
    rotten.write_bytes(data[:1000] + bytes([data[1000] ^ 1]) + data[1001:])
    requests = store.requests
    download(connection, entries, tmp_path / "2", cache, trusted=trusted)
    assert content(tmp_path / "2") == expected
    assert store.requests == requests + {"pack": 1, "file": 2}[which]
    assert all(good for _, good in cache.verify())
    download(connection, entries, tmp_path / "3", cache)
    assert content(tmp_path / "3") == expected
    assert store.requests == requests + {"pack": 1, "file": 2}[which]


def test_a_cache_that_is_trimmed_meanwhile_is_no_trouble(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    wire, connection, cache, tmp_path = rig.wire, rig.connection, rig.cache, rig.tmp_path
    with Spool() as entries:
        expected: dict[str, bytes] = {}
        for number in range(8):
            expected |= large(wire, entries, f"f{number}", [3000, 3000])
        download(connection, entries, tmp_path / "1", cache)
        opened = cache.open

        def open_and_trim(kind: str, name: str) -> int | None:
            descriptor = opened(kind, name)  # type: ignore[arg-type]
            Cache(cache.folder, cache.limit_bytes).trim(0)
            return descriptor

        monkeypatch.setattr(cache, "open", open_and_trim)
        download(connection, entries, tmp_path / "2", cache)
        assert content(tmp_path / "2") == expected


@pytest.mark.parametrize("link", [False, True])
def test_links_are_read_only_and_only_where_they_are_asked_for(rig: Rig, link: bool) -> None:
    wire, connection, entries, cache, tmp_path = (
        rig.wire,
        rig.connection,
        rig.entries,
        rig.cache,
        rig.tmp_path,
    )
    expected = large(wire, entries, "q", [5000, 4000])
    for name in ("1", "2", "2"):
        download(connection, entries, tmp_path / name, cache, link=link)
        found = (tmp_path / name / "q").stat()
        assert (found.st_nlink > 1) == link
        assert bool(found.st_mode & 0o222) != link
        assert content(tmp_path / name) == expected


def test_one_large_file_does_not_push_out_all_others(rig: Rig) -> None:
    """Unless it costs no room: where the disk shares blocks, or the file is the cache's own."""
    expected = large(rig.wire, rig.entries, "q", [3000] * 10)
    small = Cache(rig.tmp_path / "small", 110_000)
    download(rig.connection, rig.entries, rig.tmp_path / "1", small)
    assert content(rig.tmp_path / "1") == expected
    with (rig.tmp_path / "1" / "q").open("rb") as source, Intake(small) as intake:
        shares = intake.can_share(source.fileno())
    assert len(list(small.entries())) == (1 if shares else 0)
    download(rig.connection, rig.entries, rig.tmp_path / "2", small, link=True)
    assert len(list(small.entries())) == 1


def test_a_full_disk_of_the_cache_does_not_stop_a_download(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache of a disk that is full: each write to it fails."""
    wire, connection, entries, tmp_path = rig.wire, rig.connection, rig.entries, rig.tmp_path
    expected = pack(wire, entries, 30, 40) | large(wire, entries, "q", [5000, 4000])

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("modelkeep._intake._made", full)
    cache = Cache(tmp_path / "cache", 64 * MIB)
    download(connection, entries, tmp_path / "out", cache)
    assert content(tmp_path / "out") == expected
    assert list(cache.entries()) == []


def test_a_full_disk_of_the_target_costs_the_cache_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = large(rig.wire, rig.entries, "f", [1000] * 3)
    download(rig.connection, rig.entries, rig.tmp_path / "1", rig.cache)

    def full(*_: object) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("modelkeep._cached.copy_and_hash", full)
        with pytest.raises(DiskFull):
            download(rig.connection, rig.entries, rig.tmp_path / "2", rig.cache)
    assert content(rig.tmp_path / "2") == {}
    requests = rig.store.requests
    download(rig.connection, rig.entries, rig.tmp_path / "3", rig.cache)
    assert (content(rig.tmp_path / "3"), rig.store.requests) == (expected, requests)


def test_what_the_disk_of_the_cache_cannot_read_is_fetched(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = large(rig.wire, rig.entries, "f", [1000] * 3)
    download(rig.connection, rig.entries, rig.tmp_path / "1", rig.cache, link=True)

    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("modelkeep._cached.sha256_of", broken)
    download(rig.connection, rig.entries, rig.tmp_path / "2", rig.cache, link=True)
    assert content(rig.tmp_path / "2") == expected


def test_what_came_before_a_failure_is_kept_for_the_next_try(
    wire: Wire, connection: Connection, entries: Spool, cache: Cache, tmp_path: Path
) -> None:
    expected = pack(wire, entries, 30, 40, "a") | pack(wire, entries, 30, 41, "b")
    [lost] = [chunk for chunk in wire.blob.chunks if len(wire.blob.chunks[chunk]) == 30 * 41]
    data = wire.blob.chunks[lost]
    wire.blob.chunks[lost] = data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises(ChunkCorrupt):
        download(connection, entries, tmp_path / "1", cache)
    wire.blob.chunks[lost] = data
    sent = wire.blob.sent
    download(connection, entries, tmp_path / "2", cache)
    assert content(tmp_path / "2") == expected
    assert wire.blob.sent - sent == 30 * 41


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("with_cache", [False, True])
def test_a_file_of_a_pack_that_is_not_its_digest_never_gets_a_name(rig: Rig, trusted: bool, with_cache: bool) -> None:
    """SEM-24: a claim about a small file is checked too, unless the server proved it."""
    wire, connection, entries, cache, tmp_path = rig.wire, rig.connection, rig.entries, rig.cache, rig.tmp_path
    chunk = os.urandom(300)
    wire.blob.chunks[sha256(chunk)] = chunk
    add(entries, "good", [(chunk, 0, 100)])
    add(entries, "lie", [(chunk, 100, 100)], claims=b"something else")
    run: Callable[[], int] = lambda: download(  # noqa: E731 - said once
        connection, entries, tmp_path / "out", cache if with_cache else None, trusted=trusted
    )
    if trusted:
        run()  # the server's word counts
        return
    with pytest.raises(DigestMismatch, match="lie"):
        run()
    assert not (tmp_path / "out" / "lie").exists()


def test_a_download_leaves_no_thread_and_no_descriptor(
    wire: Wire, connection: Connection, store: Store, cache: Cache, tmp_path: Path
) -> None:
    def run(number: int) -> None:
        with Spool() as entries:
            pack(wire, entries, 30, 40, "a")
            large(wire, entries, "f", [1000] * 20)
            if number % 2:
                add(entries, "z", [(b"nobody has this", 0, 5)])
            try:
                download(connection, entries, tmp_path / str(number), cache)
            except ModelkeepError:
                assert number % 2

    run(0)
    run(1)
    threads, descriptors = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    for number in range(2, 8):
        run(number)
    assert threading.active_count() <= threads + 4  # those of the servers of this test
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors + 16
