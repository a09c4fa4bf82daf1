"""Where a `.safetensors` file is cut: at its tensors, so that those that did not change are not sent again.

The header is a chunk of its own, a large tensor is cut into blocks counted from its beginning, and neighbouring small tensors
share a chunk. Where such a group ends is decided by the names of its tensors: neither a header that grows nor a tensor that is
added moves the cuts after it, and a tensor that changes costs its own blocks, or its group.

Files are recognised by their header, whatever they are called. A header that lies, or that is no header, is no error here: such
a file is cut by its content.
"""

from __future__ import annotations

import hashlib
from array import array
from typing import TYPE_CHECKING, Final

from modelkeep._safetensors import PREFIX_BYTES, header_bytes, parse_header
from modelkeep.errors import InvalidSafetensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_MAX_HEADER_BYTES: Final = 16 << 20
"""A larger header is not worth the memory that it takes to read it; real ones have a few hundred KiB."""
_SPAN: Final = 1 << 64


def layout_of(beginning: Callable[[int], bytes], file_bytes: int, block_bytes: int) -> array[int] | None:
    """The lengths of the chunks of a file, if it is a well-formed `.safetensors` file.

    `beginning` answers with as many of its first bytes as it is asked for, or with all that there are.
    """
    first = beginning(PREFIX_BYTES + 1)
    if not first.endswith(b"{"):
        return None
    try:
        length = header_bytes(first[:PREFIX_BYTES], file_bytes)
        if length > _MAX_HEADER_BYTES:
            return None
        header = parse_header(beginning(length), file_bytes)
    except InvalidSafetensors:
        return None
    tensors = ((tensor.end - tensor.begin, tensor.name) for tensor in header.tensors)
    return cut(header.data_begin, tensors, block_bytes)


def cut(header_length: int, tensors: Iterable[tuple[int, str]], block_bytes: int) -> array[int]:
    """The lengths of the chunks of a file with such a header and tensors of these sizes and names."""
    found = array("Q", _blocks(header_length, block_bytes))
    small, least, mean = block_bytes // 4, block_bytes // 4, max(1, block_bytes * 3 // 8)
    group = 0
    for size, name in tensors:
        if size > small or group + size > block_bytes:
            if group:
                found.append(group)
            group = 0
        if size > small:
            found.extend(_blocks(size, block_bytes))
            continue
        group += size
        if group >= least and _number(name) * mean < size * _SPAN:
            found.append(group)
            group = 0
    if group:
        found.append(group)
    return found


def _blocks(size: int, block_bytes: int) -> list[int]:
    """Blocks of a size; what is left over makes the last one larger when it is too little for one of its own."""
    count, rest = divmod(size, block_bytes)
    if not count or rest * 4 >= block_bytes:
        return [block_bytes] * count + ([rest] if rest else [])
    return [block_bytes] * (count - 1) + [block_bytes + rest]


def _number(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest())
