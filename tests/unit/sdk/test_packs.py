"""Small files share chunks, and a change costs the packs near it."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

from modelkeep._artifact import Source
from modelkeep._chunks import Reader
from modelkeep._cut import Rules
from modelkeep._pieces import FILE_BYTES
from modelkeep.api.blob.v1 import blob_service_pb2 as pb

PACK = 64 * 1024
RULES = Rules.of(pb.Capabilities(max_chunk_bytes=1 << 20, average_chunk_bytes=1 << 16, pack_bytes=PACK))


def chunks(root: Path) -> dict[bytes, int]:
    sources = [Source(path.name, str(path)) for path in sorted(root.iterdir())]
    with Reader(RULES) as reader:
        return {piece.sha256: piece.size_bytes for item in reader.read(sources) for piece in item.pieces()}


def tree(root: Path, count: int, size: int = 600) -> Path:
    """The same one each time: where packs end depends on what is in them, and of some content more of them change."""
    root.mkdir()
    dice = random.Random(7)
    for number in range(count):
        (root / f"{number:05}").write_bytes(dice.randbytes(size))
    return root


def sent(old: dict[bytes, int], new: dict[bytes, int]) -> int:
    return sum(size for digest, size in new.items() if digest not in old)


def test_many_small_files_are_few_chunks(tmp_path: Path) -> None:
    found = chunks(tree(tmp_path / "tree", 2000))
    assert sum(found.values()) == 2000 * 600
    assert max(found.values()) <= PACK
    assert len(found) <= 2000 * 600 // (PACK // 4) + 1


def test_a_file_that_is_added_changed_or_removed_costs_a_pack_or_two(tmp_path: Path) -> None:
    root = tree(tmp_path / "tree", 2000)
    before = chunks(root)
    (root / "01000-added").write_bytes(b"added" * 120)
    added = chunks(root)
    assert 0 < sent(before, added) <= 3 * PACK
    (root / "00500").write_bytes(b"changed" * 100)
    changed = chunks(root)
    assert 0 < sent(added, changed) <= 3 * PACK
    (root / "01500").unlink()
    assert sent(changed, chunks(root)) <= 3 * PACK


def test_a_folder_of_another_name_is_packed_alike(tmp_path: Path) -> None:
    root = tree(tmp_path / "tree", 500)
    before = chunks(root)
    assert chunks(root.rename(tmp_path / "other")) == before


def test_the_same_content_is_in_a_pack_once(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    for number in range(300):
        (root / f"{number:03}").write_bytes(b"the same" * 50)
    assert sum(chunks(root).values()) <= 2 * 400


def test_a_lone_small_file_is_a_chunk_of_its_own_name(tmp_path: Path) -> None:
    root = tree(tmp_path / "tree", 1)
    with Reader(RULES) as reader:
        (item,) = reader.read([Source("f", str(root / "00000"))])
        (piece,), (file,) = item.pieces(), item.files()
    assert piece.sha256 == file.sha256
    assert piece.memory_bytes == FILE_BYTES  # its content is not kept


def test_a_pack_of_empty_files_has_an_end(tmp_path: Path) -> None:
    root = tree(tmp_path / "tree", 1000, size=0)
    with Reader(RULES) as reader:
        items = list(reader.read([Source(path.name, str(path)) for path in sorted(root.iterdir())]))
        assert sum(len(item.files()) for item in items) == 1000
        assert [piece for item in items for piece in item.pieces()] == []
    assert len(items) >= 1000 * 256 // PACK


def test_a_pack_that_is_known_is_read_when_it_is_sent_and_not_kept(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", 3)
    with Reader(RULES) as reader:
        [item] = reader.read([Source(path.name, str(path)) for path in sorted(root.iterdir())])
        [piece] = item.pieces()
    assert piece._pack is not None
    piece._pack.data.clear()  # as the stat cache knows it
    for _ in range(2):
        data = b"".join(piece.parts(100))
        assert hashlib.sha256(data).digest() == piece.sha256
        assert piece.memory_bytes == 3 * FILE_BYTES
