"""The cache of a machine: bounded, durable before it counts, shared by processes, and never believed."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from modelkeep import _cache, config
from modelkeep._cache import Cache, open_cache
from modelkeep._copy import file_lock
from modelkeep._intake import Intake
from modelkeep._records import Records
from modelkeep.api.metadata.v1 import version_pb2
from modelkeep.errors import InvalidArgument
from modelkeep.names import CollectionName

KIB = 1 << 10
COLLECTION = CollectionName("t", "p", "digits")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 1024 * KIB)


def name_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(cache: Cache, *contents: bytes) -> None:
    with Intake(cache) as intake:
        for data in contents:
            intake.add("objects", name_of(data), data)


def has(cache: Cache, data: bytes) -> bool:
    return cache.read("objects", name_of(data), 1 << 30) == data


def size(cache: Cache) -> int:
    return sum(path.stat().st_size for path in (cache.folder / "objects").rglob("*") if path.is_file())


def spoil(cache: Cache, data: bytes) -> None:
    path = Path(cache.path("objects", name_of(data)))
    path.chmod(0o600)
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])


def age(cache: Cache, data: bytes, seconds: int) -> None:
    """As if it had been used so long ago."""
    moment = time.time() - seconds
    os.utime(cache.path("objects", name_of(data)), (moment, moment))


def test_what_goes_in_comes_out(cache: Cache) -> None:
    put(cache, b"one", b"two" * 1000)
    assert has(cache, b"one")
    assert has(cache, b"two" * 1000)
    assert cache.read("objects", name_of(b"three"), 100) is None
    assert cache.read("objects", name_of(b"two" * 1000), 2999) is None  # larger than anybody expects
    assert cache.folder.stat().st_mode & 0o077 == 0


def test_nothing_counts_before_it_is_durable(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes are synced before they get their name."""
    order: list[str] = []
    sync, keep = os.fsync, Cache.keep
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append("sync"), sync(descriptor)))
    monkeypatch.setattr(Cache, "keep", lambda *arguments: (order.append("name"), keep(*arguments)))
    with Intake(cache) as intake:
        intake.add("objects", name_of(b"data"), b"data")
        assert not has(cache, b"data")
        assert intake.read(name_of(b"data"), 100) == b"data"  # but for the download that brought it
    assert order == ["sync", "name"]
    assert has(cache, b"data")


def test_an_intake_that_was_killed_leaves_nothing_that_counts(cache: Cache, tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from modelkeep._cache import Cache; from modelkeep._intake import Intake\n"
        "intake = Intake(Cache(Path(sys.argv[1]), 1 << 20)); intake.add('objects', 'a' * 64, bytes(1000)); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", script, str(cache.folder)], check=False)
    [left] = (cache.folder / "incoming").iterdir()
    assert list(cache.entries()) == []
    cache.trim(0)
    assert left.exists()  # it might just have begun
    old = time.time() - 2 * _cache.BEGIN_SECONDS
    os.utime(left, (old, old))
    cache.trim(0)
    assert not left.exists()


def test_who_is_still_at_it_is_left_alone(cache: Cache) -> None:
    with Intake(cache) as intake:
        intake.add("objects", name_of(b"data"), b"data")
        [folder] = (cache.folder / "incoming").iterdir()
        old = time.time() - 2 * _cache.BEGIN_SECONDS
        os.utime(folder, (old, old))
        cache.trim(0)
    assert has(cache, b"data")


def test_the_oldest_go_first(cache: Cache) -> None:
    contents = [bytes([number]) * (200 * KIB) for number in range(5)]
    put(cache, *contents)
    for number, data in enumerate(contents):
        age(cache, data, 1000 - number)
    assert has(cache, contents[0])  # used again
    put(cache, b"new" * 50 * KIB)
    assert size(cache) <= cache.limit_bytes
    assert has(cache, contents[0])
    assert not has(cache, contents[1])
    assert has(cache, b"new" * 50 * KIB)


def test_it_never_has_more_than_it_may(cache: Cache) -> None:
    for number in range(12):
        put(cache, *(bytes([number, part]) * (60 * KIB) for part in range(3)))
        assert size(cache) <= cache.limit_bytes
    put(cache, b"x" * (cache.limit_bytes + 1))  # would never fit
    assert not has(cache, b"x" * (cache.limit_bytes + 1))
    assert size(cache) > cache.limit_bytes // 2


def test_a_wrong_count_is_put_right(cache: Cache) -> None:
    put(cache, b"x" * 100)
    for wrong in ("999999999999\n", "nonsense", ""):
        (cache.folder / "size").write_text(wrong)
        put(cache, wrong.encode() * 20 + b"y")
        assert has(cache, wrong.encode() * 20 + b"y")
        assert int((cache.folder / "size").read_text()) <= cache.limit_bytes
    assert has(cache, b"x" * 100)


def test_who_reads_goes_on_while_another_trims(cache: Cache) -> None:
    data = os.urandom(1000)
    put(cache, data)
    descriptor = cache.open("objects", name_of(data))
    assert descriptor is not None
    script = (
        "import sys; from pathlib import Path; from modelkeep._cache import Cache\n"
        "print(Cache(Path(sys.argv[1]), 1 << 20).trim(0).entry_count)"
    )
    assert subprocess.check_output([sys.executable, "-c", script, str(cache.folder)], text=True).strip() == "1"
    assert not has(cache, data)
    assert os.read(descriptor, 2000) == data
    os.close(descriptor)


def _fill(folder: str, number: int) -> None:
    for round_ in range(20):
        shared = [bytes([part]) * (30 * KIB) for part in range(10)]
        put(Cache(Path(folder), 400 * KIB), *shared, bytes([number, round_]) * (10 * KIB))


def test_processes_fill_it_at_once(cache: Cache) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_fill, args=(str(cache.folder), number)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert size(cache) <= 400 * KIB
    found = list(cache.verify())
    assert found
    assert all(good for _, good in found)
    assert list((cache.folder / "incoming").iterdir()) == []


def test_room_that_was_given_counts_before_it_is_filled(cache: Cache) -> None:
    with Intake(cache) as intake:
        intake.add("objects", name_of(b"x" * 100), b"x" * 100)  # takes room for more, since asking takes a lock
        given = int((cache.folder / "size").read_text())
        assert given > 100
        Cache(cache.folder, cache.limit_bytes).trim(cache.limit_bytes)  # another process counts anew
        assert int((cache.folder / "size").read_text()) == given
        intake.commit()
        cache.trim(cache.limit_bytes)
        assert int((cache.folder / "size").read_text()) == given
    assert int((cache.folder / "size").read_text()) == 100
    assert has(cache, b"x" * 100)


def test_what_rotted_is_found_and_thrown_away(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    put(cache, b"good" * 100, b"rotten" * 100)
    with Intake(cache) as intake:
        intake.add("manifests", "list", _cache.seal("list", b"entries"))
        intake.add("manifests", "broken", _cache.seal("another", b"entries"))
    spoil(cache, b"rotten" * 100)
    found = {entry.name: good for entry, good in cache.verify()}
    assert found == {name_of(b"good" * 100): True, name_of(b"rotten" * 100): False, "list": True, "broken": False}
    assert {entry.name for entry in cache.entries()} == {name_of(b"good" * 100), "list"}
    assert caplog.text == "", "who asked for it says what was found"


def test_a_folder_in_place_of_an_entry_is_in_the_way_only_once(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    path = Path(cache.path("objects", name_of(b"one")))
    (path / "deep").mkdir(parents=True)
    (path / "deep" / "f").write_bytes(b"f")
    assert cache.open("objects", name_of(b"one")) is None
    assert not path.exists()
    assert caplog.text.count(path.name) == 1
    (path / "deep").mkdir(parents=True)
    assert not cache.has("objects", name_of(b"one"))
    cache.drop("objects", name_of(b"one"))
    put(cache, b"one")
    assert has(cache, b"one")


@pytest.mark.parametrize("when", ["write", "fsync", "rename", "mkdir"])
def test_a_disk_that_fails_ends_the_intake_and_nothing_else(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, when: str
) -> None:
    put(cache, b"before")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    with Intake(cache) as intake:
        if when == "mkdir":
            monkeypatch.setattr(os, "makedirs", full)
        else:
            intake.add("objects", name_of(b"first"), b"first")
            monkeypatch.setattr(os, when, full)
        intake.add("objects", name_of(b"second"), b"second")
        intake.add("objects", name_of(b"third"), b"third")
    monkeypatch.undo()
    assert not has(cache, b"second")
    assert has(cache, b"before")
    assert list((cache.folder / "incoming").glob("*/*")) == []
    assert caplog.text.count("takes nothing more") == 1
    put(cache, b"second")
    assert has(cache, b"second")


def test_what_names_stood_for_is_remembered(cache: Cache) -> None:
    records = Records(cache)
    first = version_pb2.Version(name=f"{COLLECTION}/versions/v1", digest="sha256:aa")
    second = version_pb2.Version(name=f"{COLLECTION}/versions/v2", digest="sha256:bb")
    records.put(COLLECTION, ["v1", "best"], first, "grpc://one:1")
    records.put(COLLECTION, ["v2", "best"], second, "grpc://two:1")
    assert records.get(COLLECTION, "none") is None
    for url, expected in {"grpc://one:1": first, "grpc://two:1": second, "": second}.items():
        found = records.get(COLLECTION, "best", url)
        assert found is not None
        assert found.version == expected
    records.put(COLLECTION, ["best"], first, "grpc://two:1")
    moved = records.get(COLLECTION, "best")
    assert moved is not None
    assert (moved.version, moved.url, moved.ref, moved.collection) == (first, "grpc://two:1", "best", str(COLLECTION))
    assert len(records.all()) == 4
    for entry in cache.entries("records"):
        path = Path(cache.path("records", entry.name))
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:-1])
    assert records.all() == []


def test_its_place_and_size_are_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELKEEP_CACHE_DIR", str(tmp_path / "there"))
    for text, expected in {"": 10 << 30, "5000": 5000, "2GiB": 2 << 30, "3 MB": 3_000_000, "1KiB": 1024}.items():
        monkeypatch.setenv("MODELKEEP_CACHE_BYTES", text)
        opened = open_cache()
        assert opened is not None
        assert (opened.limit_bytes, opened.folder) == (expected, tmp_path / "there")
    monkeypatch.setenv("MODELKEEP_CACHE_BYTES", "0")
    assert open_cache() is None
    for wrong in ("-1", "much", "1.5GiB", "10 GiBs"):
        monkeypatch.setenv("MODELKEEP_CACHE_BYTES", wrong)
        with pytest.raises(InvalidArgument, match="MODELKEEP_CACHE_BYTES"):
            config.cache_limit_bytes()


def test_a_place_that_cannot_be_is_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("MODELKEEP_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert open_cache() is None
    assert "there is no cache" in caplog.text


def test_a_child_that_was_forked_meanwhile_keeps_no_lock(tmp_path: Path) -> None:
    """It has the descriptor of the file too, for as long as it lives."""
    with file_lock(str(tmp_path / "lock")) as descriptor:
        assert descriptor is not None
        inherited = os.dup(descriptor)
    with file_lock(str(tmp_path / "lock"), wait=False) as descriptor:
        assert descriptor is not None
    os.close(inherited)
