"""Train a small network on the digits. Every epoch is a version, `best` stays on the best one.

python train_digits.py --epochs 8        with a server running that has `digits-data` (see prepare_digits.py)
"""

import argparse
import json
import tempfile
from pathlib import Path

import modelkeep
import numpy as np
from digits import Weights, accuracy, data
from safetensors.numpy import save_file
from sklearn.neural_network import MLPClassifier


def weights_of(network: MLPClassifier) -> Weights:
    pairs = zip(network.coefs_, network.intercepts_, strict=True)
    return {
        f"layer{layer}.{name}": np.ascontiguousarray(values, dtype=np.float32)
        for layer, pair in enumerate(pairs)
        for name, values in zip(("weight", "bias"), pair, strict=True)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Train on the digits and log every epoch.")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--lr", type=float, default=3e-3)
    options = parser.parse_args()

    config = {"layers": [512, 256], "epochs": options.epochs, "lr": options.lr}
    network = MLPClassifier(config["layers"], learning_rate_init=options.lr, random_state=0)
    best = 0.0
    with modelkeep.init(project="digits", job_type="train", config=config) as run:
        run.define_metric("accuracy", summary="max")
        train_images, held_out_images, train_digits, held_out_digits = data(run.use_artifact("digits-data:latest"))
        for epoch in range(options.epochs):
            network.partial_fit(train_images, train_digits, classes=range(10))
            weights = weights_of(network)
            metrics = {"loss": float(network.loss_), "accuracy": accuracy(weights, held_out_images, held_out_digits)}
            run.log(metrics, step=epoch)
            with tempfile.TemporaryDirectory() as folder:
                save_file(weights, Path(folder, "model.safetensors"))
                Path(folder, "config.json").write_text(json.dumps({"layers": [64, 512, 256, 10], "activation": "relu"}))
                model = modelkeep.Artifact(
                    "digits", type="model", metadata=metrics | {"epoch": epoch}, description=f"After epoch {epoch}."
                )
                model.add_dir(folder)
                is_best = metrics["accuracy"] > best
                version = run.log_artifact(model, aliases=["best"] if is_best else [])
            best = max(best, metrics["accuracy"])
            note = "  <- best" if is_best else ""
            again = "  (this content was there already)" if version.deduplicated else ""
            print(f"  {version.name:12} loss {metrics['loss']:.4f}  accuracy {metrics['accuracy']:.4f}{note}{again}")


if __name__ == "__main__":
    main()
