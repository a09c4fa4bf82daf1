"""Tensors straight from the store into memory: no file in between, many ranges in flight, every chunk proven."""

from __future__ import annotations

from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from modelkeep._content import batches
from modelkeep._safetensors import PREFIX_BYTES, header_bytes, parse_header
from modelkeep.errors import EntryNotFound, InvalidArgument, InvalidSafetensors, NotConfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from modelkeep._content import Content
    from modelkeep._safetensors import Tensor

BATCH_CHUNKS: Final = 128
_NUMPY: Final = {
    "BOOL": "bool",
    **{f"{kind}{bits}": f"{name}{bits}" for kind, name in (("U", "uint"), ("I", "int")) for bits in (8, 16, 32, 64)},
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    "C64": "complex64",
}
_ML_DTYPES: Final = {
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
}
"""What numpy has only with the package `ml_dtypes`."""
_TORCH: Final = {**_NUMPY, **_ML_DTYPES}


def load(content: Content, framework: str, names: Iterable[str] | None) -> dict[str, Any]:
    """The tensors of a file, by name; only some, if named.

    Raises InvalidSafetensors, EntryNotFound (there is no such tensor), InvalidArgument (a type that the framework lacks),
    NotConfigured (the framework is not installed), and what reading raises.
    """
    size = content.layout.size_bytes
    prefix = _read(content, min(PREFIX_BYTES, size))
    header = parse_header(_read(content, header_bytes(prefix, size)), size)
    wanted = _chosen(header.tensors, names, content.layout.entry.path)
    allocate = {"numpy": _numpy, "torch": _torch}.get(framework)
    if allocate is None:
        message = f"the framework {framework[:50]!r} is not known; expected 'numpy' or 'torch'"
        raise InvalidArgument(message, field="framework", value=framework[:50])
    made = [(tensor, *_made(allocate, tensor)) for tensor in wanted]
    sink = _Sink([(tensor, memory) for tensor, _, memory in made if tensor.end > tensor.begin])
    _fill(content, sink, [tensor for tensor, _, _ in made])
    return {tensor.name: value for tensor, value, _ in made}


def _chosen(tensors: Iterable[Tensor], names: Iterable[str] | None, path: str) -> list[Tensor]:
    if names is None:
        return list(tensors)
    known, wanted = {tensor.name: tensor for tensor in tensors}, dict.fromkeys(names)
    missing = [name for name in wanted if name not in known]
    if missing:
        raise EntryNotFound(f"{path!r} has no tensor {missing[0]!r}", path=path, tensor=missing[0])
    return sorted((known[name] for name in wanted), key=lambda tensor: tensor.begin)


def _read(content: Content, length: int) -> bytes:
    data, position = bytearray(length), 0
    while position < length:
        position += content.read(position, memoryview(data)[position:])
    return bytes(data)


def _fill(content: Content, sink: _Sink, tensors: Iterable[Tensor]) -> None:
    layout = content.layout
    if content.is_small:
        sink.put(memoryview(content.whole()), 0, proven=True)
        return
    numbers = {
        number
        for tensor in tensors
        if tensor.end > tensor.begin
        for number in range(layout.number_at(tensor.begin), layout.number_at(tensor.end - 1) + 1)
    }
    with ThreadPoolExecutor(2, "modelkeep-tensors") as threads:
        for _ in threads.map(lambda batch: content.fetch(batch, sink), batches(sorted(numbers), BATCH_CHUNKS)):
            pass


class _Sink:
    """Puts bytes of a file into the tensors that they are bytes of."""

    def __init__(self, memories: list[tuple[Tensor, memoryview]]) -> None:
        self._memories = memories
        self._begins = [tensor.begin for tensor, _ in memories]

    def put(self, data: memoryview, at: int, *, proven: bool) -> None:
        assert proven
        end = at + len(data)
        index = max(bisect_right(self._begins, at) - 1, 0)
        while index < len(self._memories) and self._begins[index] < end:
            tensor, memory = self._memories[index]
            begin, stop = max(at, tensor.begin), min(end, tensor.end)
            if begin < stop:
                memory[begin - tensor.begin : stop - tensor.begin] = data[begin - at : stop - at]
            index += 1


def _made(allocate: Callable[[Tensor], tuple[Any, memoryview]], tensor: Tensor) -> tuple[Any, memoryview]:
    try:
        return allocate(tensor)
    except (ValueError, TypeError, RuntimeError):
        if tensor.end > tensor.begin:
            raise
        why = f"no memory has the shape of {ascii(tensor.name)[:100]}, of which there are no bytes"
        raise InvalidSafetensors(f"this is no safetensors file: {why}", why=why) from None


def _numpy(tensor: Tensor) -> tuple[Any, memoryview]:
    """An array, and its memory."""
    np = _imported("numpy", "numpy")
    name = _NUMPY.get(tensor.dtype)
    if name is None:
        other = _ML_DTYPES.get(tensor.dtype)
        types = _imported("ml_dtypes", "", optional=True) if other else None
        dtype = getattr(types, other or "", None)
        if dtype is None:
            raise _lacks("numpy", tensor, "; the package ml_dtypes has it" if other else "")
    else:
        dtype = np.dtype(name)
    array = np.empty(tensor.shape, dtype)
    return array, memoryview(array.reshape(-1).view(np.uint8))


def _torch(tensor: Tensor) -> tuple[Any, memoryview]:
    """A tensor, and its memory."""
    torch = _imported("torch", "torch")
    dtype = getattr(torch, _TORCH.get(tensor.dtype, ""), None)
    if dtype is None:
        raise _lacks("torch", tensor, "")
    made = torch.empty(tensor.shape, dtype=dtype)
    return made, memoryview(made.reshape(-1).view(torch.uint8).numpy())


def _lacks(framework: str, tensor: Tensor, help_: str) -> InvalidArgument:
    message = f"{tensor.name[:100]!r} is {tensor.dtype}, which {framework} does not have{help_}; name the tensors that you want"
    return InvalidArgument(message, field="framework", value=tensor.dtype)


def _imported(name: str, framework: str, *, optional: bool = False) -> Any:
    try:
        return import_module(name)
    except ImportError:
        if optional:
            return None
        message = f"load_safetensors gives {framework}, which is not installed: pip install {framework}"
        raise NotConfigured(message, package=framework) from None
