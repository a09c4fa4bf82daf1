"""Cutting files: one read, the right digests, and no version of a file that changed meanwhile."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from modelkeep._artifact import Source
from modelkeep._chunks import Budget, Cutter, FileRead, Piece, read_again, stamps_of
from modelkeep.errors import FileChanged, FileUnreadable

BLOCK = 100_000


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def cut(*paths: Path, block: int = BLOCK) -> list[tuple[FileRead, list[bytes]]]:
    """Each file with the bytes of its pieces, whose digests are checked."""
    files, pieces = [], []
    budget = Budget(3 * block)
    with Cutter(block, budget) as cutter:
        for item in cutter.read([Source(path.name, str(path)) for path in paths]):
            if isinstance(item, Piece):
                assert item.sha256 == sha256(item.data)
                item.file.chunks += item.sha256
                pieces.append(item.data)
                item.release(budget)
            else:
                files.append((item, pieces))
                item.sha256()
                pieces = []
    return files


@pytest.mark.parametrize("size", [0, 1, 70_000, BLOCK - 1, BLOCK, BLOCK + 1, 7 * BLOCK, 7 * BLOCK + 13])
def test_pieces_are_blocks_and_make_up_the_file(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    path = tmp_path / "file"
    path.write_bytes(content)
    ((file, pieces),) = cut(path)
    assert b"".join(pieces) == content
    assert [len(piece) for piece in pieces] == [BLOCK] * (size // BLOCK) + ([size % BLOCK] if size % BLOCK else [])
    assert file.sha256() == sha256(content)
    assert file.size_bytes == size
    assert len(file.chunks) == 32 * len(pieces)


def test_many_files_come_in_order(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(50)]
    for number, path in enumerate(paths):
        path.write_bytes(os.urandom(number * 9_999))
    for (file, _), path in zip(cut(*paths), paths, strict=True):
        assert file.source.path == str(path)
        assert file.sha256() == sha256(path.read_bytes())


def test_the_executable_bit_is_read(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"x")
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "data").write_bytes(b"x")
    assert [file.executable for file, _ in cut(tmp_path / "run", tmp_path / "data")] == [True, False]


def truncate(path: Path) -> None:
    os.truncate(path, BLOCK // 2)


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
    path.write_bytes(os.urandom(5 * BLOCK))
    with Cutter(BLOCK, Budget(10 * BLOCK)) as cutter:
        items = cutter.read([Source("w", str(path))])
        next(items)
        change(path)
        with pytest.raises(FileChanged, match=r"weights\.bin") as caught:
            list(items)
    assert caught.value.metadata["path"] == str(path)


def test_a_file_that_vanishes_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(os.urandom(2 * BLOCK))
    with Cutter(BLOCK, Budget(10 * BLOCK)) as cutter:
        items = cutter.read([Source("w", str(path))])
        next(items)
        path.unlink()
        with pytest.raises(FileUnreadable, match=r"weights\.bin"):
            list(items)


@pytest.mark.peer("M-UP-3")
def test_a_file_that_changed_before_it_was_read_is_refused_when_that_matters(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"first")
    sources = [Source("w", str(path))]
    stamps = stamps_of(sources)
    with Cutter(BLOCK, Budget(BLOCK)) as cutter:
        assert len(list(cutter.read(sources, stamps))) == 2
        path.chmod(0o755)  # no other content
        assert len(list(cutter.read(sources, stamps))) == 2
        overwrite(path)
        with pytest.raises(FileChanged):
            list(cutter.read(sources, stamps))


def test_a_fifo_in_place_of_a_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with Cutter(BLOCK, Budget(BLOCK)) as cutter, pytest.raises(FileUnreadable, match="a fifo"):
        list(cutter.read([Source("p", str(tmp_path / "pipe"))]))


@pytest.mark.peer("M-UP-3")
def test_a_chunk_that_is_read_again_must_be_the_same(tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = os.urandom(1000)
    path.write_bytes(content)
    source = Source("f", str(path))
    assert read_again(source, 100, 200, sha256(content[100:300])) == content[100:300]
    path.write_bytes(os.urandom(1000))
    with pytest.raises(FileChanged):
        read_again(source, 100, 200, sha256(content[100:300]))
    path.write_bytes(b"")
    with pytest.raises(FileChanged):
        read_again(source, 100, 200, sha256(content[100:300]))


def test_a_budget_makes_wait_and_lets_go() -> None:
    budget = Budget(10)
    budget.take(8)
    taken = threading.Event()

    def take() -> None:
        budget.take(5)
        taken.set()

    waiting = threading.Thread(target=take)
    waiting.start()
    assert not taken.wait(0.05)
    budget.give(8)
    assert taken.wait(10)
    waiting.join()
    budget.open_up()
    budget.take(1000)  # nobody waits any more


def test_bytes_are_given_back_only_when_the_whole_file_has_them_in_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3 * BLOCK))
    budget = Budget(10 * BLOCK)
    with Cutter(BLOCK, budget) as cutter:
        pieces = [item for item in cutter.read([Source("f", str(path))]) if isinstance(item, Piece)]
        for piece in pieces:
            piece.release(budget)
            assert piece.data == b""
        cutter._file_thread.shutdown()
    assert budget._free == 10 * BLOCK
