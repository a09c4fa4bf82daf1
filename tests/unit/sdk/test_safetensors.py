"""The header of a safetensors file, by its rules: held against the format's own reader, on files that lie (M-ST-1)."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import safetensors
from modelkeep._safetensors import DTYPE_BITS, MAX_HEADER_BYTES, header_bytes, parse_header
from modelkeep._tensors import _chosen
from modelkeep.errors import InvalidSafetensors

FUZZED = 10_000
NAMES = ("t", "t", "t", "t", "t", "ü", "\U0001f600", "\ud800", "\udc00", 'a"b')
FUZZED_LONG = 1_000_000


def file_of(header: Any, size_bytes: int = 0) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(size_bytes)


def parse(data: bytes) -> Any:
    return parse_header(data[: header_bytes(data[:8], len(data))], len(data))


def tensor(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_what_a_file_says_is_read() -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "b": tensor("BF16", [2, 3], 4, 16),
        "a": tensor("F32", [], 0, 4),
        "none": tensor("I64", [0, 7], 16, 16),
    }
    data = file_of(header, 16)
    found = parse(data)
    assert found.metadata == {"format": "pt"}
    assert [(one.name, one.dtype, one.shape) for one in found.tensors] == [
        ("a", "F32", ()),
        ("b", "BF16", (2, 3)),
        ("none", "I64", (0, 7)),
    ]
    assert [(one.begin, one.end) for one in found.tensors] == [
        (len(data) - 16, len(data) - 12),
        *[(len(data) - 12, len(data))],
        (len(data), len(data)),
    ]
    assert parse(file_of({})).tensors == ()
    assert parse(file_of(b'{"x":{"dtype":"F4","shape":[3,2],"data_offsets":[0,3]}}   ', 3)).tensors[0].dtype == "F4"


@pytest.mark.parametrize(
    ("header", "size_bytes", "why"),
    [
        (b"", 0, "not a JSON object"),
        (b"[]", 0, "not a JSON object"),
        (b" {}", 0, "not a JSON object"),
        (b"{", 0, "not JSON"),
        (b"{}{}", 0, "not JSON"),
        (b'{"a":\xff}', 0, "not JSON"),
        (b'{"__metadata__":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 0, "not JSON"),
        (b'{"a":' + b"9" * 5000 + b"}", 0, "not JSON"),
        (b'{"a":NaN}', 0, "not JSON"),
        (b'{"a-0":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}', 0, "-0 is no count"),
        ({"\ud800": tensor("U8", [1], 0, 1)}, 1, "not JSON"),
        ({"__metadata__": {"a": "\udc00"}}, 0, "not JSON"),
        ({"__metadata__": {"a": 1}}, 0, "__metadata__"),
        ({"a": 1}, 0, "dtype"),
        ({"a": tensor("F32", [1], 0, 4) | {"more": 1}}, 4, "dtype"),
        ({"a": tensor("F31", [1], 0, 4)}, 4, "F31"),
        ({"a": tensor("F32", [-1], 0, 4)}, 4, "shape"),
        ({"a": tensor("F32", [1.0], 0, 4)}, 4, "shape"),  # type: ignore[list-item]
        ({"a": tensor("F32", [True], 0, 4)}, 4, "shape"),
        ({"a": tensor("F32", [1] * 65, 0, 4)}, 4, "shape"),
        ({"a": tensor("F32", [1], 4, 0)}, 4, "data_offsets"),
        ({"a": tensor("F32", [1], 0, 8)}, 4, "data_offsets"),
        ({"a": tensor("F32", [2], 0, 4)}, 4, "does not take"),
        ({"a": tensor("F32", [1 << 62, 1 << 62], 0, 4)}, 4, "does not take"),
        ({"a": tensor("F4", [3], 0, 2)}, 2, "does not take"),
        ({"a": tensor("F32", [1], 0, 4)}, 5, "end at byte"),
        ({"a": tensor("F32", [1], 1, 5)}, 5, "gap"),
        ({"a": tensor("F32", [1], 0, 4), "b": tensor("F32", [1], 2, 6)}, 6, "overlaps"),
        ({"a": tensor("F32", [1], 0, 4), "b": tensor("F32", [1], 5, 9)}, 9, "gap"),
        (
            b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
            1,
            "twice",
        ),
    ],
)
@pytest.mark.peer("M-ST-1")
def test_what_lies_is_refused(header: Any, size_bytes: int, why: str) -> None:
    with pytest.raises(InvalidSafetensors, match=why):
        parse(file_of(header, size_bytes))


@pytest.mark.peer("M-ST-1")
def test_lengths_that_lie_are_refused() -> None:
    for first, file_bytes in (
        (b"", 0),
        (b"1234567", 7),
        ((MAX_HEADER_BYTES + 1).to_bytes(8, "little"), 1 << 40),
        ((100).to_bytes(8, "little"), 107),
        (b"\xff" * 8, 1 << 62),
    ):
        with pytest.raises(InvalidSafetensors):
            header_bytes(first, file_bytes)
    assert header_bytes((100).to_bytes(8, "little"), 108) == 108
    with pytest.raises(InvalidSafetensors, match="ends after"):
        parse_header(file_of({})[:9], 10)


def fuzz(count: int, seed: int) -> tuple[int, int]:
    """Damaged files: whatever we accept, the format's own reader accepts, with the same tensors."""
    choose = random.Random(seed)
    accepted = refused = 0
    for _ in range(count):
        data = _damaged(choose)
        try:
            ours = {one.name: (one.dtype, one.shape) for one in parse(data).tensors}
        except InvalidSafetensors:
            refused += 1
            continue
        theirs = {name: (info["dtype"], tuple(info["shape"])) for name, info in safetensors.deserialize(data)}
        assert ours == theirs, data
        accepted += 1
    return accepted, refused


def _damaged(choose: random.Random) -> bytes:
    header: dict[str, Any] = {}
    position = 0
    for number in range(choose.randrange(4)):
        dtype = choose.choice(sorted(DTYPE_BITS))
        shape = [choose.randrange(4) for _ in range(choose.randrange(3))]
        bits = DTYPE_BITS[dtype]
        for one in shape:
            bits *= one
        end = position + bits // 8
        header[f"{choose.choice(NAMES)}{number}"] = tensor(dtype, shape, position, end)
        position = end
    data = bytearray(file_of(header, position))
    for _ in range(choose.choice([0, 0, 1, 1, 2, 5])):
        at = choose.randrange(len(data))
        match choose.randrange(4):
            case 0:
                data[at] = choose.randrange(256)
            case 1:
                data[at] = choose.choice(b'0123456789,[]{}":-. ')
            case 2:
                del data[at]
            case _:
                data.insert(at, choose.choice(b'0123456789,[]{}":-. '))
    return bytes(data)


@pytest.mark.peer("M-ST-1")
def test_files_of_all_kinds_are_read_as_their_own_reader_reads_them() -> None:
    accepted, refused = fuzz(FUZZED, 1)
    assert min(accepted, refused) > FUZZED // 10


@pytest.mark.soak
@pytest.mark.peer("M-ST-1")
@pytest.mark.timeout(3600)
def test_a_million_files_are_read_as_their_own_reader_reads_them() -> None:
    accepted, refused = fuzz(FUZZED_LONG, 2)
    assert min(accepted, refused) > FUZZED_LONG // 10


def test_the_names_of_the_tensors_to_load_may_come_one_by_one() -> None:
    header = parse(file_of({name: tensor("U8", [1], at, at + 1) for at, name in enumerate("abc")}, 3))
    chosen = _chosen(header.tensors, iter(["c", "a", "c"]), "f")
    assert [one.name for one in chosen] == ["a", "c"]
