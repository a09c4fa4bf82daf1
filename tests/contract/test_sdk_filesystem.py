"""`modelkeep://…` in the tools that people read data with; files that open where they are kept; tensors without a file."""

from __future__ import annotations

import errno
import importlib.util
import io
import json
import os
import pickle
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import modelkeep
import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import safetensors.numpy
from modelkeep._filesystem import ModelkeepFileSystem

from tests.contract.sdk import artifact, some
from tests.suites import Suite

MIB = 1 << 20
ROWS = 50_000


@pytest.fixture(autouse=True)
def _client(suite: Suite, project: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in suite.client(project).items():
        if name.startswith("MODELKEEP_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("MODELKEEP_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def fs() -> ModelkeepFileSystem:
    return ModelkeepFileSystem(skip_instance_cache=True)


def log(root: Path, content: dict[str, bytes], **words: object) -> modelkeep.Version:
    version: modelkeep.Version = modelkeep.Api().log_artifact(artifact(root, content, **words))
    return version


def parquet(first: int = 0) -> bytes:
    out = io.BytesIO()
    pd.DataFrame({"id": np.arange(first, first + ROWS), "x": np.random.default_rng(1).random(ROWS)}).to_parquet(out)
    return out.getvalue()


def test_tables_of_a_version_are_read_by_the_tools_of_their_users(tmp_path: Path, project: str) -> None:
    tables = {"t/a.parquet": parquet(), "t/b.parquet": parquet(ROWS), "names.csv": b"id,name\n1,one\n2,two\n"}
    weight = safetensors.numpy.save({"weight": np.arange(3, dtype=np.float32)})
    log(tmp_path / "1", tables | {"w.safetensors": weight})
    where = f"modelkeep://{project}/digits:latest"
    assert list(pd.read_csv(f"{where}/names.csv")["name"]) == ["one", "two"]
    assert pd.read_parquet(f"{where}/t/a.parquet")["id"].sum() == ROWS * (ROWS - 1) // 2
    fs = fsspec.filesystem("modelkeep")
    table = pyarrow.parquet.read_table(f"{project}/digits:latest/t", filesystem=fs)
    assert table.num_rows == 2 * ROWS
    with fsspec.open(f"{where}/w.safetensors", "rb") as file:
        assert safetensors.numpy.load(file.read())["weight"].tolist() == [0.0, 1.0, 2.0]
    with duckdb.connect() as database:
        database.register_filesystem(fs)
        found = database.sql(f"SELECT count(*), max(id) FROM read_parquet('{where}/t/*.parquet')").fetchall()
    assert found == [(2 * ROWS, 2 * ROWS - 1)]


def test_what_a_file_system_is_asked(tmp_path: Path, project: str, fs: ModelkeepFileSystem) -> None:
    content = {"a.bin": some(5000), "sub/b.bin": some(3 * MIB), "sub/deep/c.txt": b"c"}
    version = log(tmp_path / "1", content)
    root = f"{project}/digits:v0"
    assert fs.ls(f"modelkeep://{root}", detail=False) == [f"{root}/a.bin", f"{root}/sub"]
    assert fs.ls(f"{root}/sub", detail=False) == [f"{root}/sub/b.bin", f"{root}/sub/deep"]
    assert fs.ls(f"{root}/a.bin", detail=False) == [f"{root}/a.bin"]
    assert fs.find(root) == [f"{root}/{path}" for path in sorted(content)]
    assert fs.glob(f"{root}/**/*.txt") == [f"{root}/sub/deep/c.txt"]
    info = fs.info(f"{root}/sub/b.bin")
    [file] = version.files("sub/b.bin")
    assert (info["type"], info["size"], info["digest"], info["version"]) == ("file", 3 * MIB, file.digest, "digits:v0")
    assert fs.ukey(f"{root}/sub/b.bin") == file.digest
    assert fs.info(f"{root}/sub")["type"] == fs.info(root)["type"] == "directory"
    assert fs.modified(f"{root}/a.bin") == version.create_time
    data = content["sub/b.bin"]
    assert fs.cat_file(f"{root}/sub/b.bin") == data
    assert fs.cat_file(f"{root}/sub/b.bin", start=MIB - 5, end=2 * MIB + 5) == data[MIB - 5 : 2 * MIB + 5]
    assert fs.cat_file(f"{root}/sub/b.bin", start=-10) == data[-10:]
    assert fs.cat_file(f"{root}/sub/b.bin", start=10, end=5) == b""
    assert not fs.exists(f"{root}/none")
    never = [f"{root}/../digits:v0/a.bin", f"{root}/sub//b.bin", f"{root}/\ud800"]
    for missing in (f"{root}/none", f"{project}/digits:v7/a.bin", f"{project}/none:latest/a.bin", *never):
        assert (fs.isdir(missing), fs.isfile(missing)) == (False, False)
        for asked in (fs.cat_file, fs.info, fs.ls, fs.modified, fs.created):
            with pytest.raises(FileNotFoundError):
                asked(missing)
    assert fs.modified(f"{root}/sub") == fs.modified(root) == version.create_time
    for folder in (root, f"{root}/sub", f"{root}/sub/deep/"):
        for read in (fs.open, fs.cat_file):
            with pytest.raises(IsADirectoryError):
                read(folder)
    with pytest.raises(modelkeep.InvalidAddress, match="names no version"):
        fs.ls("nothing/in/here")


def test_nothing_is_written(project: str, fs: ModelkeepFileSystem) -> None:
    root = f"{project}/digits:v0"
    attempts: list[Any] = [
        lambda: fs.open(f"{root}/a", "wb"),
        lambda: fs.rm(f"{root}/a"),
        lambda: fs.mkdir(f"{root}/a"),
        lambda: fs.mv(f"{root}/a", f"{root}/b"),
        lambda: fs.pipe_file(f"{root}/a", b""),
    ]
    for attempt in attempts:
        with pytest.raises(OSError, match="versions never change") as caught:
            attempt()
        assert caught.value.errno == errno.EROFS


def test_what_is_being_read_stays_at_one_version(tmp_path: Path, project: str) -> None:
    held = ModelkeepFileSystem(pin_seconds=3600, skip_instance_cache=True)
    where = f"{project}/digits:latest"
    log(tmp_path / "1", {"a": b"one", "b": b"one"})
    with held.open(f"{where}/a") as file:
        log(tmp_path / "2", {"a": b"two", "b": b"two"})
        assert file.read() == b"one"
        assert held.cat_file(f"{where}/b") == b"one"
        assert ModelkeepFileSystem(pin_seconds=0, skip_instance_cache=True).cat_file(f"{where}/b") == b"two"
        held.invalidate_cache()
        assert held.cat_file(f"{where}/b") == b"two"


def test_a_file_opens_where_it_is_kept(tmp_path: Path) -> None:
    content = {"large": some(20 * MIB + 17), "small": b"first\nsecond\n", "empty": b"", "folder/x": b"x"}
    version = log(tmp_path / "1", content)
    large = content["large"]
    with version.open("large") as file:
        assert file.seekable()
        assert file.read(100) == large[:100]
        for position in (19 * MIB, 3 * MIB - 1, 0, len(large) - 5, len(large), len(large) + 100):
            assert file.seek(position) == position
            assert file.read(70_000) == large[position : position + 70_000]
        file.seek(0)
        assert b"".join(iter(lambda: file.read(300_001), b"")) == large
        assert file.seek(-3, os.SEEK_END) == len(large) - 3
        assert file.read() == large[-3:]
    with pytest.raises(ValueError, match="closed"):
        file.read()
    with version.open("small") as file:
        assert list(file) == [b"first\n", b"second\n"]
    with version.open("empty") as file:
        assert file.read() == b""
    for missing in ("none", "folder"):
        with pytest.raises(modelkeep.EntryNotFound, match=missing):
            version.open(missing)
    with pytest.raises(modelkeep.InvalidPath):
        version.open("../large")


FORKED = """
import hashlib, os, sys, modelkeep
file = modelkeep.Api().artifact("digits:latest").open("large")
digest = hashlib.sha256(file.read(3 << 20)).hexdigest()
children = []
for _ in range(2):
    child = os.fork()
    if not child:
        file.seek(0)
        os._exit(hashlib.sha256(file.read(3 << 20)).hexdigest() != digest)
    children.append(child)
file.seek(0)
assert hashlib.sha256(file.read(3 << 20)).hexdigest() == digest
file.close()
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


def test_a_forked_child_reads_what_its_parent_opened(tmp_path: Path) -> None:
    log(tmp_path / "1", {"large": some(8 * MIB)})
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_tensors_come_straight_into_memory(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    large = {f"layer.{n}": random.random((512, 700), dtype=np.float32) for n in range(6)}
    odd = {"none": np.zeros((0, 3), np.float16), "one": np.array(2.5), "flags": np.array([True, False]), "c": np.arange(9)}
    small = {"w": np.arange(10, dtype=np.int16)}
    version = log(
        tmp_path / "1",
        {"m.safetensors": safetensors.numpy.save(large | odd), "s.safetensors": safetensors.numpy.save(small)},
    )
    for path, expected in (("m.safetensors", large | odd), ("s.safetensors", small)):
        loaded = version.load_safetensors(path)
        assert loaded.keys() == expected.keys()
        for name, tensor in expected.items():
            assert (loaded[name].dtype, loaded[name].shape) == (tensor.dtype, tensor.shape)
            assert np.array_equal(loaded[name], tensor)
            assert loaded[name].flags.writeable
    [only] = version.load_safetensors("m.safetensors", names=["layer.3"]).values()
    assert np.array_equal(only, large["layer.3"])
    with version.open("m.safetensors") as file:  # safetensors' own reader, through us
        assert np.array_equal(safetensors.numpy.load(file.read())["layer.0"], large["layer.0"])
    with pytest.raises(modelkeep.EntryNotFound, match="nosuch"):
        version.load_safetensors("m.safetensors", names=["nosuch"])
    with pytest.raises(modelkeep.InvalidArgument, match="'jax'"):
        version.load_safetensors("m.safetensors", framework="jax")


def test_what_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    short = {"x": np.zeros(3 * MIB, np.uint8)}
    lying = bytearray(safetensors.numpy.save(short))
    version = log(
        tmp_path / "1",
        {"text": b"not a tensor", "empty": b"", "lying": bytes(lying.replace(b'"shape":[3145728]', b'"shape":[3145729]'))},
    )
    for path in ("text", "empty", "lying"):
        with pytest.raises(modelkeep.InvalidSafetensors):
            version.load_safetensors(path)


class Bomb:
    """Its pickle makes a file where it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.peer("M-PKL-2")
@pytest.mark.parametrize("name", ["model.pkl", "model.safetensors"])
def test_a_pickle_is_a_file_like_any_other(tmp_path: Path, name: str) -> None:
    """Logged, fetched, opened and asked for tensors, whatever it calls itself: it is handed out, and never read as a pickle."""
    mark = tmp_path / "went-off"
    bomb = pickle.dumps(Bomb(mark))
    version = log(tmp_path / "1", {name: bomb})
    with version.open(name) as file:
        assert file.read() == bomb
    assert (version.download(tmp_path / "out") / name).read_bytes() == bomb
    with pytest.raises(modelkeep.InvalidSafetensors):
        version.load_safetensors(name)
    assert not mark.exists()
    pickle.loads(bomb)
    assert mark.exists(), "the bomb is one"


def half_precision(root: Path) -> modelkeep.Version:
    """1.0 and -2.0 as BF16, and a tensor that numpy has."""
    header = json.dumps(
        {
            "half": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
            "whole": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
        }
    ).encode()
    data = len(header).to_bytes(8, "little") + header + bytes.fromhex("803f00c0") + np.float32(3.5).tobytes()
    return log(root, {"m.safetensors": data})


def test_types_that_numpy_lacks_are_told_by_name(tmp_path: Path) -> None:
    version = half_precision(tmp_path / "1")
    assert version.load_safetensors("m.safetensors", names=["whole"])["whole"].tolist() == [3.5]
    if importlib.util.find_spec("ml_dtypes"):
        assert version.load_safetensors("m.safetensors")["half"].astype(np.float32).tolist() == [1.0, -2.0]
        return
    with pytest.raises(modelkeep.InvalidArgument, match=r"'half' is BF16.*ml_dtypes"):
        version.load_safetensors("m.safetensors")


def test_tensors_come_into_torch_where_it_is_installed(tmp_path: Path) -> None:
    version = half_precision(tmp_path / "1")
    if not importlib.util.find_spec("torch"):
        with pytest.raises(modelkeep.NotConfigured, match="pip install torch"):
            version.load_safetensors("m.safetensors", framework="torch")
        return
    loaded = version.load_safetensors("m.safetensors", framework="torch")
    assert [tensor.float().tolist() for tensor in loaded.values()] == [[1.0, -2.0], [3.5]]


def test_an_alias_that_is_always_in_use_is_asked_for_again(tmp_path: Path, project: str) -> None:
    """However often it is used; a file that is open stays what it is."""
    fs = ModelkeepFileSystem(pin_seconds=0.5, most_pin_seconds=1.5, skip_instance_cache=True)
    where = f"{project}/digits:latest/a"
    log(tmp_path / "1", {"a": b"one"})
    with fs.open(where) as file:
        log(tmp_path / "2", {"a": b"two"})
        begun, seen = time.monotonic(), b"one"
        while seen == b"one":
            seen = fs.cat_file(where)
            assert time.monotonic() - begun < 30
        assert seen == b"two"
        assert file.read() == b"one"


def test_an_address_that_is_slow_to_find_blocks_no_other(
    tmp_path: Path, project: str, fs: ModelkeepFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(tmp_path / "1", {"a": b"one"})
    asked, goes_on, ask = threading.Event(), threading.Event(), fs._ask

    def slow(address: str) -> modelkeep.Version:
        if address.endswith("latest"):
            asked.set()
            assert goes_on.wait(30)
        return ask(address)

    monkeypatch.setattr(fs, "_ask", slow)
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(fs.cat_file, f"{project}/digits:latest/a")
        assert asked.wait(30)
        other = threads.submit(fs.cat_file, f"{project}/digits:v0/a")
        try:
            assert other.result(30) == b"one"
        finally:
            goes_on.set()
        assert waiting.result(30) == b"one"


def test_a_file_that_is_too_short_for_a_reader_is_as_on_a_disk(tmp_path: Path) -> None:
    version = log(tmp_path / "1", {"small": b"0123456789"})
    assert not zipfile.is_zipfile(version.open("small"))
    with version.open("small") as file:
        for offset, whence in ((-11, os.SEEK_END), (-1, os.SEEK_SET), (-1, os.SEEK_CUR)):
            with pytest.raises(OSError, match="small") as caught:
                file.seek(offset, whence)
            assert caught.value.errno == errno.EINVAL
        assert file.read() == b"0123456789"


def test_blocks_are_read_up_to_where_a_line_ends(tmp_path: Path, project: str, fs: ModelkeepFileSystem) -> None:
    data = b"first,1\nsecond,2\nthird,3\n"
    version = log(tmp_path / "1", {"t.csv": data})
    where = f"{project}/digits:v0/t.csv"
    assert fs.read_block(where, 0, 10, b"\n") == b"first,1\nsecond,2\n"
    assert fs.read_block(where, 10, 10, b"\n") == b"third,3\n"
    with version.open("t.csv") as file:
        assert file.size == len(data)  # type: ignore[attr-defined]


@pytest.mark.parametrize("size_bytes", [5000, 5 * MIB])
def test_who_reads_what_rotted_in_the_cache_throws_it_away(tmp_path: Path, size_bytes: int) -> None:
    """Whether it is read as a file or as tensors: the bytes are right, and the next download brings the entry again."""
    data = safetensors.numpy.save({"w": np.frombuffer(some(size_bytes), np.uint8)})
    version = log(tmp_path / "1", {"m.safetensors": data})
    for number, read in enumerate(
        (
            lambda: version.open("m.safetensors").read(),
            lambda: safetensors.numpy.save(version.load_safetensors("m.safetensors")),
        )
    ):
        version.download(tmp_path / f"out{number}")
        [entry] = (path for path in (tmp_path / "cache" / "objects").rglob("*") if path.is_file())
        entry.chmod(0o600)
        with entry.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(bytes([data[-1] ^ 1]))
        assert read() == data
        assert not entry.exists()
        assert (version.download(tmp_path / f"again{number}") / "m.safetensors").read_bytes() == data
        assert entry.exists()
        assert read() == data
        assert entry.exists()
