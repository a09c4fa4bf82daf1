"""Cutting files: one read, the right digests, and no version of a file that changed meanwhile."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from modelkeep._artifact import Source
from modelkeep._chunks import Reader, stamps_of
from modelkeep._cut import MIB, Rules
from modelkeep._pieces import SEGMENT, FileRead, Known, Piece, open_source
from modelkeep._upload import _ahead
from modelkeep.api.blob.v1 import blob_service_pb2 as pb
from modelkeep.errors import FileChanged, FileUnreadable

RULES = Rules.of(pb.Capabilities(max_chunk_bytes=1 << 20, block_bytes=20_000, average_chunk_bytes=16_384, pack_bytes=16_384))
LARGE = 9 * MIB
"""More than a window."""


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def cut(*paths: Path, rules: Rules = RULES) -> tuple[dict[str, FileRead], dict[bytes, bytes]]:
    """The files by name, and the content of all chunks, whose digests are checked."""
    files: dict[str, FileRead] = {}
    chunks: dict[bytes, bytes] = {}
    with Reader(rules) as reader:
        for item in reader.read([Source(path.name, str(path)) for path in paths]):
            for piece in item.pieces():
                chunks[piece.sha256] = b"".join(piece.parts(4096))
                assert sha256(chunks[piece.sha256]) == piece.sha256
                assert len(chunks[piece.sha256]) == piece.size_bytes
            files |= {file.source.name: file for file in item.files()}
    return files, chunks


def content(file: FileRead, chunks: dict[bytes, bytes]) -> bytes:
    """What the segments of a file say that it is."""
    return b"".join(chunks[sha][offset : offset + length] for sha, offset, length in SEGMENT.iter_unpack(bytes(file.segments)))


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 16_384, 16_385, 70_000, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 17 * MIB + 13])
def test_chunks_make_up_the_file(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    files, chunks = cut(path)
    assert content(files["file"], chunks) == path.read_bytes()
    assert files["file"].sha256 == sha256(path.read_bytes())
    assert all(len(chunk) <= RULES.largest_bytes for chunk in chunks.values())


@pytest.mark.parametrize("pack_bytes", [0, 1000, 16_384])
def test_files_of_all_sizes_come_out_as_they_are(tmp_path: Path, pack_bytes: int) -> None:
    rules = Rules.of(pb.Capabilities(max_chunk_bytes=65_536, average_chunk_bytes=16_384, pack_bytes=pack_bytes))
    paths = [tmp_path / f"{number:03}" for number in range(60)]
    for number, path in enumerate(paths):
        path.write_bytes(os.urandom(number * number * 11) if number % 7 else b"the same")
    files, chunks = cut(*paths, rules=rules)
    assert list(files) == [path.name for path in paths] or pack_bytes
    for path in paths:
        assert content(files[path.name], chunks) == path.read_bytes()
        assert files[path.name].sha256 == sha256(path.read_bytes())


def test_an_insertion_moves_only_the_cuts_near_it(tmp_path: Path) -> None:
    """Of this content; of one in a hundred it moves more, as cuts come where the content has them."""
    old, new = tmp_path / "old", tmp_path / "new"
    data = random.Random(7).randbytes(2 * MIB)
    old.write_bytes(data)
    new.write_bytes(data[:MIB] + b"more" + data[MIB:])
    before, after = cut(old)[1], cut(new)[1]
    assert sum(map(len, (after[digest] for digest in after.keys() - before.keys()))) < 3 * RULES.largest_bytes
    assert len(after) > 2 * MIB // RULES.largest_bytes


def test_where_a_window_ends_leaves_no_trace(tmp_path: Path) -> None:
    """The same content is cut alike wherever it lies in a file, and however much of it is read at once."""
    dice = random.Random(7)
    data = dice.randbytes(LARGE)
    (tmp_path / "one").write_bytes(data)
    (tmp_path / "two").write_bytes(dice.randbytes(3 * MIB) + data)
    one, two = cut(tmp_path / "one")[1], cut(tmp_path / "two")[1]
    assert sum(map(len, (one[digest] for digest in one.keys() - two.keys()))) < 3 * RULES.largest_bytes


def test_a_long_file_is_read_in_bounded_memory(tmp_path: Path) -> None:
    """A file of many windows, and nothing of it stays but 44 bytes for each chunk."""
    path = tmp_path / "sparse"
    path.touch()
    os.truncate(path, 400 * MIB)
    rules = Rules.of(pb.Capabilities(max_chunk_bytes=16_384, average_chunk_bytes=4096))
    with Reader(rules) as reader:
        tracemalloc.start()
        files = [file for item in reader.read([Source("s", str(path))]) for file in (item.pieces(), item.files())[1]]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert len(files[0].segments) == 400 * MIB // 16_384 * SEGMENT.size
    assert peak < 4 * rules.window_bytes + 2 * len(files[0].segments) + 4 * MIB


def test_the_executable_bit_is_read(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"x")
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "data").write_bytes(b"x")
    files, _ = cut(tmp_path / "run", tmp_path / "data")
    assert (files["run"].executable, files["data"].executable) == (True, False)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(os.urandom(path.stat().st_size))
    other.replace(path)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("change", [truncate, append, replace, overwrite])
@pytest.mark.peer("M-UP-3")
def test_a_file_that_changes_while_it_is_read_is_refused_by_name(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(os.urandom(3 * LARGE))
    with Reader(RULES) as reader:
        items = reader.read([Source("w", str(path))])
        next(items)
        change(path)
        with pytest.raises(FileChanged, match=r"weights\.bin") as caught:
            list(items)
    assert caught.value.metadata["path"] == str(path)


def test_a_file_that_vanishes_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(os.urandom(2 * LARGE))
    with Reader(RULES) as reader:
        items = reader.read([Source("w", str(path))])
        next(items)
        path.unlink()
        with pytest.raises(FileUnreadable, match=r"weights\.bin"):
            list(items)


@pytest.mark.peer("M-UP-3")
@pytest.mark.parametrize("size", [5, 100_000])
def test_a_file_that_changed_before_it_was_read_is_refused_when_that_matters(tmp_path: Path, size: int) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(os.urandom(size))
    sources = [Source("w", str(path))]
    stamps = stamps_of(sources)
    with Reader(RULES) as reader:
        assert len(list(reader.read(sources, stamps))) == 1
        path.chmod(0o755)  # no other content
        assert len(list(reader.read(sources, stamps))) == 1
        overwrite(path)
        with pytest.raises(FileChanged):
            list(reader.read(sources, stamps))


def test_a_fifo_in_place_of_a_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with Reader(RULES) as reader, pytest.raises(FileUnreadable, match="a fifo"):
        list(reader.read([Source("p", str(tmp_path / "pipe"))]))


@pytest.mark.peer("M-UP-3")
def test_a_chunk_that_is_read_again_must_be_the_same(tmp_path: Path) -> None:
    path = tmp_path / "file"
    data = os.urandom(1000)
    path.write_bytes(data)
    source = Source("f", str(path))
    descriptor, status = open_source(source)
    os.close(descriptor)
    piece = Piece(sha256(data[100:300]), 200, file=FileRead(source, status), offset=100)
    piece.check()
    assert b"".join(piece.parts_from(50, 7)) == data[150:300]
    for other in (os.urandom(1000), b""):
        path.write_bytes(other)
        with pytest.raises(FileChanged, match="file"):
            piece.check()


def test_files_that_need_not_be_read_do_not_pile_up(tmp_path: Path) -> None:
    begun = itertools.count()
    (tmp_path / "empty").touch()
    status = (tmp_path / "empty").stat()
    items = (Known(FileRead(Source(str(next(begun)), str(tmp_path / "empty")), status)) for _ in range(10_000))
    first = itertools.islice(_ahead(items), 3)
    assert [file.source.name for item in first for file in item.files()] == ["0", "1", "2"]
    assert next(begun) < 1000


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no file here fails to be read")
def test_a_file_that_fails_while_it_is_read_is_named() -> None:
    """As on a disk with bad sectors: it opens, and its first byte is an I/O error."""
    with Reader(RULES) as reader, pytest.raises(FileUnreadable, match="/proc/self/mem"):
        list(reader.read([Source("mem", "/proc/self/mem")]))
