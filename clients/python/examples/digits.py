"""The data and the network that the scripts about digits share."""

import json

import modelkeep
import numpy as np
from safetensors.numpy import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Weights = dict[str, np.ndarray]
PARTS = ("train_images", "held_out_images", "train_digits", "held_out_digits")


def save_data(path: str) -> None:
    """scikit-learn's digits, split into what is trained on and what is held out, as one file."""
    images, digits = load_digits(return_X_y=True)
    parts = train_test_split(images / 16, digits, test_size=0.3, random_state=0, stratify=digits)
    save_file({name: np.ascontiguousarray(part) for name, part in zip(PARTS, parts, strict=True)}, path)


def data(version: modelkeep.Version) -> tuple[np.ndarray, ...]:
    """Images to train on, images held out, and the digits on both, straight out of a version of the data."""
    tensors = version.load_safetensors("data.safetensors")
    return tuple(tensors[name] for name in PARTS)


def weights(version: modelkeep.Version) -> Weights:
    """The weights of a version of the model."""
    return version.load_safetensors("model.safetensors")


def predict(weights: Weights, images: np.ndarray) -> np.ndarray:
    """The most likely digit of each image, by nothing but the weights."""
    values, layers = images, len(weights) // 2
    for layer in range(layers):
        values = values @ weights[f"layer{layer}.weight"] + weights[f"layer{layer}.bias"]
        if layer < layers - 1:
            values = np.maximum(values, 0)
    return values.argmax(axis=1)


def accuracy(weights: Weights, images: np.ndarray, digits: np.ndarray) -> float:
    """The share of images that are told right."""
    return round(float((predict(weights, images) == digits).mean()), 4)


def evaluate(run: modelkeep.Run, model: modelkeep.Version, held_out: modelkeep.Version, noise: float = 0.0) -> float:
    """Predict what was held out, blurred by `noise`; log the predictions and the metrics. Answers the accuracy."""
    _, images, _, digits = data(held_out)
    found = predict(weights(model), images + np.random.default_rng(0).normal(0, noise, images.shape))
    measured = round(float((found == digits).mean()), 4)
    predictions = modelkeep.Artifact("digits-predictions", type="predictions", description=f"By {model.name}, noise {noise}.")
    with predictions.new_file("predictions.csv") as file:
        file.write("digit,predicted\n" + "".join(f"{digit},{guess}\n" for digit, guess in zip(digits, found, strict=True)))
    run.log_artifact(predictions)
    report = modelkeep.Artifact("digits-report", type="metrics", metadata={"accuracy": measured, "noise": noise})
    with report.new_file("metrics.json") as file:
        file.write(
            json.dumps({"model": model.name, "noise": noise, "accuracy": measured, "images": len(digits)}, indent=2) + "\n"
        )
    run.log_artifact(report)
    run.summary["accuracy"] = measured
    return measured
