"""What is known of files is used only while it is true, and whatever happens to the cache, nobody notices but by the time."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import time_ns
from typing import cast

import pytest
from modelkeep import _chunks, _stat_cache
from modelkeep._artifact import Artifact
from modelkeep._channel import Connection
from modelkeep._cut import Rules
from modelkeep._pieces import identity_of
from modelkeep._stat_cache import FILE, StatCache, open_stat_cache
from modelkeep._upload import Upload
from modelkeep.api.metadata.v1 import entry_pb2
from modelkeep.errors import FileChanged
from modelkeep.names import TeamName

from tests.unit.sdk.wire import Wire

TEAM = TeamName("t")
LONG_AGO = time_ns() - 3600 * 10**9


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache. Files count as settled at once: a test cannot set their ctime."""
    monkeypatch.setenv("MODELKEEP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("modelkeep._pieces.SETTLED_NANOSECONDS", -(10**10))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    made.mkdir()
    (made / "large").write_bytes(os.urandom(50_000))
    (made / "middle").write_bytes(os.urandom(600))
    for number in range(30):
        (made / f"small-{number:02}").write_bytes(os.urandom(100))
    (made / "empty").write_bytes(b"")
    return made


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were opened to be read."""
    names: list[str] = []
    real = os.open

    def noting(path: object, *args: object, **more: object) -> int:
        if isinstance(path, str) and "/source/" in path:
            names.append(Path(path).name)
        return real(path, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", noting)
    return names


def log(connection: Connection, root: Path) -> tuple[int, list[entry_pb2.Entry]]:
    artifact = Artifact("a", "model")
    artifact.add_dir(root)
    with Upload(connection, TEAM, lambda _: None) as upload:
        upload.send(artifact.sources())
        return upload.sent_bytes, list(upload.entries)


def contents(wire: Wire, entries: list[entry_pb2.Entry]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for entry in entries:
        parts = [wire.blob.chunks[s.chunk.sha256][s.offset : s.offset + s.length] for s in entry.segments]
        found[entry.path] = found.get(entry.path, b"") + b"".join(parts)
    return found


def on_disk(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.iterdir()}


@pytest.mark.peer("M-GC-9")
def test_an_unchanged_directory_is_not_read_and_all_of_it_is_asked_for(
    wire: Wire, connection: Connection, root: Path, opened: list[str]
) -> None:
    _, first = log(connection, root)
    opened.clear()
    before = len(wire.calls.seen)
    sent, again = log(connection, root)
    assert (sent, opened) == (0, [])
    assert again == first
    asked = [request for method, request, _ in wire.calls.seen[before:] if method == "PrepareUpload"]
    assert {chunk.digest.sha256 for request in asked for chunk in request.chunks} == set(wire.blob.chunks)


def test_only_what_changed_is_read(wire: Wire, connection: Connection, root: Path, opened: list[str]) -> None:
    log(connection, root)
    opened.clear()
    (root / "middle").write_bytes(os.urandom(600))
    _, entries = log(connection, root)
    assert set(opened) == {"middle"}
    assert contents(wire, entries) == on_disk(root)


def test_a_small_file_that_changed_costs_the_reading_of_its_pack(
    wire: Wire, connection: Connection, root: Path, opened: list[str]
) -> None:
    log(connection, root)
    opened.clear()
    (root / "small-07").write_bytes(os.urandom(100))
    _, entries = log(connection, root)
    assert "small-07" in opened
    assert len(set(opened)) < 25
    assert "large" not in opened
    assert contents(wire, entries) == on_disk(root)


@pytest.mark.peer("M-GC-9")
def test_what_the_server_lost_is_read_and_sent_again(wire: Wire, connection: Connection, root: Path, opened: list[str]) -> None:
    log(connection, root)
    opened.clear()
    wire.blob.chunks.clear()
    sent, entries = log(connection, root)
    assert sent == 50_000 + 600 + 3000
    assert contents(wire, entries) == on_disk(root)
    assert "large" in opened


def rewrite(path: Path) -> None:
    """Other content that looks the same: what the cache cannot see, say on a file system without true times."""
    path.write_bytes(os.urandom(path.stat().st_size))


@pytest.mark.parametrize("name", ["large", "middle", "small-07"])
def test_a_cache_that_is_wrong_is_found_out_when_bytes_are_needed(
    wire: Wire, connection: Connection, root: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The bytes that go up are what their name says, or the file is cut again."""
    frozen = {path.name: identity_of(path.stat()) for path in root.iterdir()}
    by_inode = {identity[1]: identity for identity in frozen.values()}
    log(connection, root)
    rewrite(root / name)
    real = _stat_cache.StatCache._good

    def blind(self: StatCache, row: tuple[object, ...] | None, status: os.stat_result) -> object:
        identity = by_inode[status.st_ino]
        return real(self, row, _Frozen(status, identity))  # type: ignore[arg-type]

    monkeypatch.setattr(_stat_cache.StatCache, "_good", blind)
    assert log(connection, root)[0] == 0  # nobody needed the bytes
    wire.blob.chunks.clear()
    _, entries = log(connection, root)
    assert contents(wire, entries) == on_disk(root)


class _Frozen:
    def __init__(self, status: os.stat_result, identity: tuple[int, ...]) -> None:
        self.st_dev, self.st_ino, self.st_size, self.st_mtime_ns, self.st_ctime_ns = identity
        self.st_mode = status.st_mode


def test_a_file_that_was_just_written_is_not_remembered(
    connection: Connection, root: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelkeep._pieces.SETTLED_NANOSECONDS", 3600 * 10**9)
    (root / "large").touch()
    log(connection, root)
    opened.clear()
    log(connection, root)
    assert "large" in opened


@pytest.mark.peer("M-UP-3")
def test_a_file_that_changed_since_the_call_is_refused_with_the_cache_too(
    wire: Wire, connection: Connection, root: Path
) -> None:
    log(connection, root)
    artifact = Artifact("a", "model")
    artifact.add_dir(root)
    stamps = _chunks.stamps_of(artifact.sources())
    os.utime(root / "large", ns=(LONG_AGO, LONG_AGO))
    log(connection, root)  # the cache knows the new one
    with Upload(connection, TEAM, lambda _: None) as upload, pytest.raises(FileChanged, match="large"):
        upload.send(artifact.sources(), stamps)


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no database" * 1000)


def torn(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 + 100] + os.urandom(500))


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def other_tables(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE file (something TEXT)")
    database.close()


@pytest.mark.parametrize("damage", [garbage, torn, zeros, folder, other_tables])
def test_a_damaged_cache_is_as_good_as_none(
    wire: Wire, connection: Connection, home: Path, root: Path, damage: Callable[[Path], None]
) -> None:
    log(connection, root)
    for ending in ("-wal", "-shm"):
        Path(f"{home / FILE}{ending}").unlink(missing_ok=True)
    damage(home / FILE)
    for _ in range(2):
        sent, entries = log(connection, root)
        assert sent == 0
        assert contents(wire, entries) == on_disk(root)


def test_a_flipped_bit_is_found(connection: Connection, home: Path, root: Path, opened: list[str]) -> None:
    _, first = log(connection, root)
    with sqlite3.connect(home / FILE) as database:
        for table in ("file", "pack"):
            for (sha256,) in database.execute(f"SELECT sha256 FROM {table}").fetchall():
                wrong = bytes([sha256[0] ^ 1]) + sha256[1:]
                database.execute(f"UPDATE {table} SET sha256 = ? WHERE sha256 = ?", (wrong, sha256))
    database.close()
    opened.clear()
    assert log(connection, root)[1] == first
    assert "large" in opened


def test_it_can_be_switched_off(
    connection: Connection, home: Path, root: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELKEEP_CACHE_BYTES", "0")
    log(connection, root)
    assert not home.exists()
    monkeypatch.delenv("MODELKEEP_CACHE_BYTES")
    home.write_text("a file in its place")
    log(connection, root)
    assert "large" in opened


def test_other_rules_make_it_forget(wire: Wire, root: Path, opened: list[str]) -> None:
    with wire.connection_closing() as connection:
        log(connection, root)
    opened.clear()
    wire.blob.average_chunk_bytes = 2048
    with wire.connection_closing() as connection:
        _, entries = log(connection, root)
    assert "large" in opened
    assert contents(wire, entries) == on_disk(root)


WRITER = """
import os, sys
from modelkeep._stat_cache import StatCache
cache = StatCache(sys.argv[1], b"rules")
for number in range(int(sys.argv[2]), int(sys.argv[2]) + 3000):
    cache.add((1, number, 2, 3, 4), number.to_bytes(32, "big"), b"")
cache.close()
"""


def test_several_processes_write_at_once(home: Path) -> None:
    home.mkdir()
    path = str(home / FILE)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, str(begin)], env=env) for begin in (0, 1500, 3000)]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    with sqlite3.connect(path) as database:
        rows = dict(database.execute("SELECT inode, sha256 FROM file"))
    database.close()
    assert rows.items() <= {number: number.to_bytes(32, "big") for number in range(6000)}.items()
    assert len(rows) >= 3000  # one that found it locked for too long may have given up


def test_it_does_not_grow_without_end(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    monkeypatch.setattr(_stat_cache, "MOST_BYTES", 1 << 20)
    for day in range(6):
        cache = StatCache(str(home / FILE), b"rules")
        cache._today = day
        for number in range(3000):
            cache.add((1, day * 3000 + number, 2, 3, 4), os.urandom(32), os.urandom(100))
        cache.close()
        assert (home / FILE).stat().st_size < 3 << 20
    with sqlite3.connect(home / FILE) as database:
        days = {used for (used,) in database.execute("SELECT DISTINCT used FROM file")}
    database.close()
    assert 5 in days
    assert 0 not in days


def test_what_waits_to_be_written_is_bounded(home: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_stat_cache, "WAITING", 10)
    cache = open_stat_cache(b"rules")
    assert cache is not None
    statuses = [path.stat() for path in root.iterdir()]
    for status in statuses:
        cache.add(identity_of(status), b"d" * 32, b"")
    cache._flush()
    cache._today += 1
    for number in range(15):
        for status in statuses:
            assert cache.find([status]) == [_stat_cache.Row(b"d" * 32, b"")]
        cache.add_pack(number.to_bytes(32), b"d" * 32)
        assert len(cache._files) < 10
        assert len(cache._packs) < 10
    cache.close()


def test_inodes_may_have_all_64_bits(tmp_path: Path) -> None:
    cache = open_stat_cache(Rules(1, 1, 1, 1, 1).key)
    assert cache is not None
    (tmp_path / "file").write_bytes(b"x")
    high = cast("os.stat_result", _Frozen((tmp_path / "file").stat(), ((1 << 64) - 7, (1 << 64) - 5, 1, 2, 3)))
    cache.add(identity_of(high), b"d" * 32, b"")
    cache.close()
    cache = open_stat_cache(Rules(1, 1, 1, 1, 1).key)
    assert cache is not None
    (row,) = cache.find([high])
    assert row is not None
    assert row.sha256 == b"d" * 32
    cache.close()
