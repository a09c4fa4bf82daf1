"""Cutting `.safetensors` files: what did not change is not sent again; a header that lies fails nothing (M-ST-1)."""

from __future__ import annotations

import json
import os
import struct
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from modelkeep._artifact import Source
from modelkeep._chunks import Reader
from modelkeep._cut import Rules
from modelkeep._safetensors_cut import cut, layout_of
from modelkeep.api.blob.v1 import blob_service_pb2 as pb

KIB = 1024
BLOCK = 64 * KIB
RULES = Rules.of(pb.Capabilities(max_chunk_bytes=1 << 20, average_chunk_bytes=BLOCK, block_bytes=BLOCK, pack_bytes=KIB))
Tensors = dict[str, bytes]


def model() -> Tensors:
    """Large matrices and small vectors between them, as models have them."""
    made: Tensors = {"embed": os.urandom(500 * KIB)}
    for layer in range(12):
        made |= {f"{layer:02}.weight": os.urandom(150 * KIB), f"{layer:02}.bias": os.urandom(3 * KIB)}
    return made | {f"z{number:03}.scale": os.urandom(2 * KIB) for number in range(200)}


def header(tensors: Tensors, **words: str) -> bytes:
    values: dict[str, Any] = {"__metadata__": {"format": "pt", **words}}
    position = 0
    for name, data in tensors.items():
        values[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [position, position + len(data)]}
        position += len(data)
    text = json.dumps(values).encode()
    return struct.pack("<Q", len(text)) + text


def write(path: Path, tensors: Tensors, **words: str) -> Path:
    path.write_bytes(header(tensors, **words) + b"".join(tensors.values()))
    return path


def chunks(path: Path) -> dict[bytes, int]:
    with Reader(RULES) as reader:
        items = reader.read([Source("m", str(path))])
        return {piece.sha256: piece.size_bytes for item in items for piece in item.pieces()}


def resent(tmp_path: Path, before: Tensors, after: Tensors, **words: str) -> int:
    """How many bytes of `after` are in no chunk of `before`; the header is not counted."""
    old = chunks(write(tmp_path / "old", before))
    new = chunks(write(tmp_path / "new", after, **words))
    return sum(size for digest, size in new.items() if digest not in old) - len(header(after, **words))


def test_a_header_that_grows_costs_the_header(tmp_path: Path) -> None:
    made = model()
    assert resent(tmp_path, made, made, run="12345") == 0


def test_a_tensor_that_changes_costs_itself(tmp_path: Path) -> None:
    made = model()
    changed = made | {"07.weight": os.urandom(150 * KIB)}
    assert resent(tmp_path, made, changed, run="12345") == 150 * KIB


def test_a_part_of_a_tensor_costs_its_block(tmp_path: Path) -> None:
    made = model()
    table = bytearray(made["embed"])
    table[300 * KIB] ^= 1
    assert 0 < resent(tmp_path, made, made | {"embed": bytes(table)}) <= BLOCK * 5 // 4


def test_a_small_tensor_that_changes_costs_its_group(tmp_path: Path) -> None:
    made = model()
    assert 0 < resent(tmp_path, made, made | {"z100.scale": os.urandom(2 * KIB)}) <= BLOCK


def test_a_small_tensor_that_is_added_or_removed_costs_its_group_and_perhaps_the_next(tmp_path: Path) -> None:
    made = model()
    names = sorted([*made, "z100.added"])
    added = {name: made.get(name, b"x" * 2 * KIB) for name in names}
    assert 0 < resent(tmp_path, made, added) <= 3 * BLOCK
    assert resent(tmp_path, added, made) <= 3 * BLOCK


def test_a_tensor_that_grows_moves_nothing_else(tmp_path: Path) -> None:
    """New words of a vocabulary."""
    made = model()
    assert 0 < resent(tmp_path, made, made | {"embed": made["embed"] + os.urandom(KIB)}) <= BLOCK * 5 // 4


@given(sizes=st.lists(st.integers(0, 300_000), max_size=40), length=st.integers(8, 200_000), block=st.integers(1000, 100_000))
@settings(max_examples=200, deadline=None)
def test_a_layout_covers_the_file_in_pieces_that_are_not_too_large(sizes: list[int], length: int, block: int) -> None:
    made = cut(length, [(size, f"t{number}") for number, size in enumerate(sizes)], block)
    assert sum(made) == length + sum(sizes)
    assert all(0 < piece <= block + block // 4 for piece in made)
    ends = set(accumulate(made))
    starts = list(accumulate(sizes, initial=length))
    assert all(start in ends for start, size in zip(starts, sizes, strict=False) if size > block // 4)


SMALL = header({"a": bytes(40), "b": bytes(0), "c": bytes(60)})
LETTERS = b'{}[],:"0129-.eE+ \\u\x00\xff'


def lying(entropy: bytes) -> tuple[bytes, int]:
    """A beginning of a file, and how large the file is said to be: a good header with some letters changed, or any text."""
    turn = entropy[0] if entropy else 0
    if turn % 4 == 0:
        data = bytearray(struct.pack("<Q", max(0, len(entropy) + turn // 4 - 8)) + b"{" + entropy)
    else:
        data = bytearray(SMALL)
        for high, low, letter in zip(entropy[1::3], entropy[2::3], entropy[3::3], strict=False):
            data[(high << 8 | low) % len(data)] = LETTERS[letter % len(LETTERS)]
    return bytes(data), len(data) + 100 + (turn // 4 - 32 if turn % 4 == 3 else 0)


def fuzz(count: int) -> Any:
    # One draw for each example, so that ten thousand of them are cheap.
    @given(entropy=st.binary(max_size=13))
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def run(entropy: bytes) -> None:
        data, file_bytes = lying(entropy)
        made = layout_of(lambda length: data[:length], file_bytes, 1000)
        assert made is None or (sum(made) == file_bytes and all(0 < length <= 1250 for length in made))

    return run


@pytest.mark.peer("M-ST-1")
def test_headers_that_lie_fail_nothing() -> None:
    fuzz(10_000)()


@pytest.mark.soak
@pytest.mark.peer("M-ST-1")
@pytest.mark.timeout(14_400)
def test_a_million_headers_that_lie_fail_nothing() -> None:
    fuzz(1_000_000)()


def lies() -> dict[str, bytes]:
    data = bytes(100_000)
    tensors = {"a": data[:40_000], "b": data[:60_000]}
    good = json.loads(header(tensors)[8:])

    def told(**changes: Any) -> bytes:
        text = json.dumps(good | changes).encode()
        return struct.pack("<Q", len(text)) + text + data

    gap = good["b"] | {"data_offsets": [50_000, 100_000], "shape": [50_000]}
    return {
        "longer than the file": struct.pack("<Q", 1 << 40) + b"{" + data,
        "longer than allowed": struct.pack("<Q", 100_000_001) + b"{" + data,
        "no JSON": struct.pack("<Q", 1000) + b"{" * 1000 + data,
        "deep": struct.pack("<Q", 60_001) + b'{"a":' + b"[" * 59_996 + data,
        "a gap": told(b=gap),
        "an overlap": told(b=gap | {"data_offsets": [30_000, 90_000], "shape": [60_000]}),
        "beyond the end": told(b=gap | {"data_offsets": [40_000, 1 << 60]}),
        "negative": told(a=good["a"] | {"data_offsets": [-5, 40_000]}),
        "bytes after the end": header(tensors) + data + b"zip",
        "a list": struct.pack("<Q", 10) + b"{[1,2,3,4]" + data,
    }


@pytest.mark.peer("M-ST-1")
@pytest.mark.parametrize("lie", lies())
def test_a_file_with_a_lying_header_is_cut_by_its_content(tmp_path: Path, lie: str) -> None:
    data = lies()[lie]
    assert layout_of(lambda length: data[:length], len(data), BLOCK) is None
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    assert sum(chunks(path).values()) >= len(data) // 4  # zeros repeat
