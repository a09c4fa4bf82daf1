"""What is measured on: files that nothing can compress or dedup, checkpoints that are fine-tuned, trees of small files."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

from tests.bench.measure import MIB

TENSOR_BYTES = 4 * MIB


def make_tree(root: Path, count: int, size: int) -> Path:
    """So many files of random bytes, a thousand in a folder."""
    for number in range(count):
        if number % 1000 == 0:
            folder = root / f"{number // 1000:04}"
            folder.mkdir(parents=True)
        (folder / f"{number:08}.bin").write_bytes(os.urandom(size))
    return root


def make_checkpoint(path: Path, size: int) -> Path:
    """A `.safetensors` file of tensors of 4 MiB."""
    count = max(size // TENSOR_BYTES, 1)
    with path.open("wb") as out:
        out.write(_header(count, {}))
        for _ in range(count):
            out.write(os.urandom(TENSOR_BYTES))
    return path


def fine_tune(path: Path, share: float) -> Path:
    """Another checkpoint beside `path`: a share of its tensors is new, and its header grew by five bytes."""
    count = max((path.stat().st_size - 8) // TENSOR_BYTES, 1)
    changed = {number * count // max(int(count * share), 1) for number in range(max(int(count * share), 1))}
    tuned = path.with_name(f"tuned-{path.name}")
    with path.open("rb") as before, tuned.open("wb") as after:
        (length,) = struct.unpack("<Q", before.read(8))
        before.seek(length, os.SEEK_CUR)
        after.write(_header(count, {"run": "12345"}))
        for number in range(count):
            data = before.read(TENSOR_BYTES)
            after.write(os.urandom(TENSOR_BYTES) if number in changed else data)
    return tuned


def _header(count: int, words: dict[str, str]) -> bytes:
    tensors: dict[str, object] = {"__metadata__": {"format": "pt", **words}}
    for number in range(count):
        span = [number * TENSOR_BYTES, (number + 1) * TENSOR_BYTES]
        tensors[f"layers.{number}.weight"] = {"dtype": "F32", "shape": [1024, 1024], "data_offsets": span}
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


def warmed(folder: Path, read: Callable[[bytes], object] = len) -> None:
    """Read everything once, so that neither side pays for a cold page cache."""
    for path in folder.rglob("*") if folder.is_dir() else [folder]:
        if path.is_file():
            with path.open("rb") as file:
                while data := file.read(8 * MIB):
                    read(data)
