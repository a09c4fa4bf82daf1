"""How large chunks should be: what is sent again after a fine-tune, and what a chunk costs, for 512 KiB to 4 MiB.

python -m tests.bench.chunk_size [MODEL ...]      MODEL: a .safetensors file, or a wheel or zip that has one in it

Each model is changed in the ways that models are, and logged in two forms: as `.safetensors`, cut at its tensors, and as a
pickle, cut by its content. Without an argument: a transformer of random weights, 12 layers, 16 bits, and a network that is
trained here on the digits of scikit-learn, and trained on: by one epoch more, on noisy images, and there with frozen layers.
"""

from __future__ import annotations

import pickle
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import numpy as np
from modelkeep._artifact import Source
from modelkeep._chunks import Reader
from modelkeep._cut import Rules
from modelkeep.api.blob.v1 import blob_service_pb2 as pb
from safetensors.numpy import load_file, save_file

from tests.bench.measure import GIB, MIB
from tests.bench.parts import modelkeep_server

SIZES = [MIB // 2, MIB, 2 * MIB, 4 * MIB]
Model = dict[str, np.ndarray]


def transformer(layers: int = 12, width: int = 768, words: int = 32_000) -> Model:
    """A model of the usual proportions: an embedding, layers of large matrices and small vectors."""
    draw = np.random.default_rng(7)

    def weights(*shape: int) -> np.ndarray:
        return draw.standard_normal(shape, dtype=np.float32).astype(np.float16)

    model = {"embed.weight": weights(words, width)}
    for layer in range(layers):
        for name, shape in {"q": (width, width), "k": (width, width), "v": (width, width), "o": (width, width)}.items():
            model[f"layers.{layer:02}.attention.{name}.weight"] = weights(*shape)
            model[f"layers.{layer:02}.attention.{name}.bias"] = weights(shape[0])
        for name, shape in {"up": (4 * width, width), "down": (width, 4 * width)}.items():
            model[f"layers.{layer:02}.mlp.{name}.weight"] = weights(*shape)
            model[f"layers.{layer:02}.mlp.{name}.bias"] = weights(shape[0])
        model[f"layers.{layer:02}.norm.weight"] = weights(width)
    return model


def _other(tensor: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(tensor.size).standard_normal(tensor.shape, dtype=np.float32) * 0.01
    return (tensor + noise).astype(tensor.dtype) if tensor.dtype.kind == "f" else tensor


def _largest(model: Model) -> str:
    return max(model, key=lambda name: model[name].nbytes)


def spread(model: Model) -> Model:
    """2 % of the bytes change, as whole tensors here and there."""
    names = [name for name in sorted(model) if name != _largest(model)]
    left = sum(tensor.nbytes for tensor in model.values()) // 50
    changed = dict(model)
    for name in names[:: max(1, len(names) // 7)]:
        if model[name].nbytes <= left:
            changed[name] = _other(model[name])
            left -= model[name].nbytes
    return changed


def frozen(model: Model) -> Model:
    """All but the last sixth of the tensors is frozen."""
    names = sorted(model)
    return model | {name: _other(model[name]) for name in names[-len(names) // 6 :]}


def new_words(model: Model) -> Model:
    """The embedding gets eight rows more: everything behind it moves."""
    name = _largest(model)
    return model | {name: np.concatenate([model[name], model[name][:8]])}


def some_rows(model: Model) -> Model:
    """Every five-hundredth row of the embedding changes."""
    name = _largest(model)
    table = model[name].copy()
    table[::500] = _other(table[::500])
    return model | {name: table}


def dense(model: Model) -> Model:
    """Everything changes a little."""
    return {name: _other(tensor) for name, tensor in model.items()}


CHANGES: list[Callable[[Model], Model]] = [spread, frozen, new_words, some_rows, dense]


def trained(width: int = 1024, layers: int = 6) -> tuple[Model, dict[str, Model]]:
    """A checkpoint of a real training, and what came of training on from it."""
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    noisy = images + np.random.default_rng(1).normal(0, 0.3, images.shape).astype(np.float32)
    classes = np.arange(10)

    def network(depth: int, start: Model | None, inputs: np.ndarray, epochs: int) -> Model:
        """Train so many hidden layers for some epochs, from the last layers of `start` on."""
        made = MLPClassifier((width,) * depth, learning_rate_init=1e-4, random_state=7)
        made.partial_fit(inputs, labels, classes=classes)
        if start is not None:
            first = layers - depth
            made.coefs_ = [start[f"layer{n}.weight"].copy() for n in range(first, layers + 1)]
            made.intercepts_ = [start[f"layer{n}.bias"].copy() for n in range(first, layers + 1)]
        for _ in range(epochs):
            made.partial_fit(inputs, labels)
        weights = {f"layer{layers - depth + n}.weight": coefs for n, coefs in enumerate(made.coefs_)}
        biases = {f"layer{layers - depth + n}.bias": shift for n, shift in enumerate(made.intercepts_)}
        return {name: tensor.astype(np.float32) for name, tensor in (weights | biases).items()}

    base = network(layers, None, images, 4)
    below = noisy
    for layer in range(layers - 1):
        below = np.maximum(below @ base[f"layer{layer}.weight"] + base[f"layer{layer}.bias"], 0)
    variants = {"epoch": network(layers, base, images, 1), "full": network(layers, base, noisy, 2)}
    return base, variants | {"frozen": base | network(1, base, below, 2)}


@dataclass
class Read:
    """What came of reading a file."""

    chunks: dict[bytes, int]
    cpu_seconds: float


def read(path: Path, size: int) -> Read:
    """Cut and hash a file into chunks of about this size."""
    rules = Rules.of(pb.Capabilities(max_chunk_bytes=16 * MIB, average_chunk_bytes=size, block_bytes=size, pack_bytes=MIB))
    chunks: dict[bytes, int] = {}
    begin = process_time()
    with Reader(rules) as reader:
        for item in reader.read([Source(path.name, str(path))]):
            chunks |= {piece.sha256: piece.size_bytes for piece in item.pieces()}
            item.files()
    return Read(chunks, process_time() - begin)


def compare(name: str, model: Model, changed: dict[str, Model], folder: Path) -> None:
    """A table of what each change sends, for each size and form."""
    paths = {"safetensors": folder / "model.safetensors", "pickle": folder / "model.pickle"}
    variants = {"": model} | changed
    total = sum(tensor.nbytes for tensor in model.values())
    print(f"\n{name}: {total / MIB:.0f} MiB, {len(model)} tensors; per cent of it sent again")
    print(f"{'':12} {'size':>8} {'chunks':>7} {'CPU s/GiB':>9} " + " ".join(f"{change:>9}" for change in changed))
    for form, path in paths.items():
        found: dict[tuple[int, str], Read] = {}
        for variant, content in variants.items():
            save_file(content, path, {"run": "1" * (5 * len(variant))})
            if form == "pickle":
                path.write_bytes(pickle.dumps(content, protocol=4))
            for size in SIZES:
                found[size, variant] = read(path, size)
            path.unlink()
        for size in SIZES:
            old = found[size, ""]
            sent = [sum(n for digest, n in found[size, c].chunks.items() if digest not in old.chunks) for c in changed]
            shares = " ".join(f"{100 * count / total:9.2f}" for count in sent)
            cpu = min(one.cpu_seconds for (of, _), one in found.items() if of == size) / total * GIB
            print(f"{form:12} {size // 1024:4} KiB {len(old.chunks):7} {cpu:9.2f} {shares}")


def cost(folder: Path) -> None:
    """What logging half a GiB costs the client and the embedded server together, for each size."""
    import os

    from tests.bench.measure import client

    source = folder / "weights.bin"
    source.write_bytes(os.urandom(GIB // 2))
    print("\nlogging, embedded; CPU seconds of a GiB, client and server")
    for size in SIZES:
        taken: list[tuple[float, float]] = []
        os.environ |= {"MODELKEEP_BLOB__AVERAGE_CHUNK_BYTES": str(size), "MODELKEEP_CACHE_BYTES": "0"}
        for _ in range(3):
            with modelkeep_server(folder) as server:
                before = _cpu(server.pid)
                spent = client("log", str(source), env=server.env).cpu_seconds
                taken.append((spent * 2, (_cpu(server.pid) - before) * 2))
        best = min(taken, key=sum)
        print(f"{size // 1024:4} KiB {best[0]:6.2f} {best[1]:6.2f}")


def _cpu(pid: int) -> float:
    import os

    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _load(path: Path, folder: Path) -> Model:
    if path.suffix in {".whl", ".zip"}:
        with zipfile.ZipFile(path) as archive:
            inside = next(name for name in archive.namelist() if name.endswith(".safetensors"))
            path = Path(archive.extract(inside, folder))
    return load_file(path)


def main() -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = {path.name: _load(path, folder) for path in map(Path, sys.argv[1:])}
        for title, model in (models | {"a transformer of random weights": transformer()}).items():
            compare(title, model, {change.__name__: change(model) for change in CHANGES}, folder)
        compare("a network trained here", *trained(), folder)
        cost(folder)


if __name__ == "__main__":
    main()
