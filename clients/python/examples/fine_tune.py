"""Log a pretrained model, fine-tune it with frozen layers, log a large checkpoint: and see what is sent.

python fine_tune.py base | tune | checkpoint [SEED]       with a server running: `modelkeep up`
"""

import sys
import tempfile
from pathlib import Path

import modelkeep
import numpy as np
from encoder import accuracy, data, load, pretrained, save, tune


def mib(size_bytes: float) -> str:
    return f"{size_bytes / (1 << 20):.1f} MiB"


def log(run: modelkeep.Run, path: Path, name: str, **metadata: float) -> None:
    model = modelkeep.Artifact(name, type="model", metadata=metadata)
    model.add_file(path)
    version = run.log_artifact(model)
    size, sent = version.stored_bytes, version.sent_bytes
    about = "".join(f"; {key} {value}" for key, value in metadata.items())
    print(f"  {version.name}: {mib(size)}, {mib(sent)} of it sent ({sent / size:.1%}){about}", flush=True)


def base(run: modelkeep.Run, folder: Path, _seed: int) -> None:
    """The model that all begins with."""
    weights = pretrained()
    save(weights, folder / "model.safetensors", made_by="somebody else")
    log(run, folder / "model.safetensors", "encoder", accuracy=accuracy(weights, *data(256, seed=2)))


def fine_tune(run: modelkeep.Run, folder: Path, _seed: int) -> None:
    """Only the last of 15 blocks and the head change; so does the header of the file, which grows."""
    weights = load(run.use_artifact("encoder:v0").download(folder / "in") / "model.safetensors")
    for steps in (2, 20):
        weights = tune(weights, *data(256, seed=1), steps)
        found = accuracy(weights, *data(256, seed=2))
        save(weights, folder / "model.safetensors", made_by="fine_tune.py", steps=str(steps), accuracy=str(found))
        log(run, folder / "model.safetensors", "encoder", accuracy=found)


def checkpoint(run: modelkeep.Run, folder: Path, seed: int) -> None:
    """All weights are new, and what the optimiser keeps comes with each; of one seed always the same file."""
    weights, dice = pretrained(seed), np.random.default_rng(seed + 1)
    for name in list(weights):
        for kept in ("first", "second", "average"):
            weights[f"{name}.{kept}"] = dice.standard_normal(weights[name].shape, dtype=np.float32)
    save(weights, folder / "checkpoint.safetensors")
    log(run, folder / "checkpoint.safetensors", "checkpoint")


if __name__ == "__main__":
    what = {"base": base, "tune": fine_tune, "checkpoint": checkpoint}[sys.argv[1]]
    with modelkeep.init(project="story", job_type=sys.argv[1]) as begun, tempfile.TemporaryDirectory() as where:
        what(begun, Path(where), int(sys.argv[2]) if len(sys.argv) > 2 else 7)
