"""The header of a `.safetensors` file: which tensors it has, and where. It is believed in nothing (M-ST-1).

The first eight bytes say how long the header is; the header is JSON; the tensors follow without a gap and without an overlap,
to the end of the file.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple, NoReturn

from modelkeep.errors import InvalidSafetensors

MAX_HEADER_BYTES: Final = 100_000_000
"""Longer headers are refused, as by everybody who reads the format."""
PREFIX_BYTES: Final = 8
MAX_DIMENSIONS: Final = 64
DTYPE_BITS: Final = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}
"""The types of elements, and how many bits one has."""


class Tensor(NamedTuple):
    """A tensor of a file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    """The first byte in the file."""
    end: int
    """The byte after its last."""


class Header(NamedTuple):
    """What a file has."""

    tensors: tuple[Tensor, ...]
    """In the order in which they lie in the file."""
    metadata: dict[str, str]
    data_begin: int
    """The byte after the header."""


def header_bytes(prefix: bytes, file_bytes: int) -> int:
    """How long the header of a file is that begins with these eight bytes, they included. Raises InvalidSafetensors."""
    if len(prefix) != PREFIX_BYTES:
        _refuse(f"it has {len(prefix)} bytes; eight say how long the header is")
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER_BYTES:
        _refuse(f"its header would have {length:,} bytes; at most {MAX_HEADER_BYTES:,} are allowed")
    if PREFIX_BYTES + length > file_bytes:
        _refuse(f"its header would have {length:,} bytes, and the whole file has {file_bytes:,}")
    return PREFIX_BYTES + length


def parse_header(data: bytes | bytearray | memoryview, file_bytes: int) -> Header:
    """Read a header, of `header_bytes` bytes, of a file of `file_bytes` bytes. Raises InvalidSafetensors."""
    data_begin = header_bytes(bytes(data[:PREFIX_BYTES]), file_bytes)
    if len(data) < data_begin:
        _refuse(f"its header ends after {len(data):,} of {data_begin:,} bytes")
    values = _object(bytes(data[PREFIX_BYTES:data_begin]))
    metadata = values.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        _refuse("its __metadata__ is not an object of texts")
    tensors = [_tensor(name, value, data_begin, file_bytes) for name, value in values.items()]
    tensors.sort(key=lambda tensor: (tensor.begin, tensor.end))
    position = data_begin
    for tensor in tensors:
        if tensor.begin != position:
            what = "overlaps the one before it" if tensor.begin < position else "comes after a gap"
            _refuse(f"tensor {_shown(tensor.name)} {what}")
        position = tensor.end
    if position != file_bytes:
        _refuse(f"its tensors end at byte {position:,}, and the file has {file_bytes:,}")
    return Header(tuple(tensors), metadata, data_begin)


def _object(text: bytes) -> dict[str, Any]:
    if not text.startswith(b"{"):
        _refuse("its header is not a JSON object")
    try:
        whole = _whole if b"-0" in text else None
        values = json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_int=whole)
        if b"\\u" in text:  # only an escape can name half a character
            json.dumps(values, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        _refuse(f"its header is not JSON ({str(error)[:100]})")
    if not isinstance(values, dict):
        _refuse("its header is not a JSON object")
    return values


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name comes twice")
    return values


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no value")


def _whole(text: str) -> int:
    """A whole number; -0 is none to the format's own reader."""
    if text == "-0":
        raise ValueError("-0 is no count")
    return int(text)


def _tensor(name: str, value: Any, data_begin: int, file_bytes: int) -> Tensor:
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        _refuse(f"{_shown(name)} has not just a dtype, a shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    bits = DTYPE_BITS.get(dtype) if isinstance(dtype, str) else None
    if bits is None:
        _refuse(f"{_shown(name)} has the dtype {_shown(dtype)}; known are {', '.join(DTYPE_BITS)}")
    if not _counts(shape) or len(shape) > MAX_DIMENSIONS:
        _refuse(f"the shape of {_shown(name)} is not a list of at most {MAX_DIMENSIONS} sizes")
    if not _counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1] or offsets[1] > file_bytes - data_begin:
        _refuse(f"the data_offsets of {_shown(name)} are not two places in the file, in order")
    begin, end = offsets
    size_bits = _product(shape, bits, file_bytes * 8)
    if size_bits % 8 or size_bits // 8 != end - begin:
        _refuse(f"{_shown(name)} is {dtype} {tuple(shape)[:8]}, which does not take {end - begin:,} bytes")
    return Tensor(name, dtype, tuple(shape), data_begin + begin, data_begin + end)


def _product(shape: list[int], bits: int, most: int) -> int:
    """How many bits so many elements have; or something above `most`."""
    if 0 in shape:
        return 0
    total = bits
    for size in shape:
        total *= size
        if total > most:
            break
    return total


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in value)


def _shown(value: Any) -> str:
    return ascii(value)[:100]


def _refuse(why: str) -> NoReturn:
    raise InvalidSafetensors(f"this is no safetensors file: {why}", why=why)
