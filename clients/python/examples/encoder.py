"""The task and the network of the fine-tuning story: many blocks that stay frozen, and a head that learns."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

Weights = dict[str, np.ndarray]

CLASSES, INPUTS, WIDTH, BLOCKS = 10, 64, 1024, 15


def data(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points around ten centres, and which centre each is of."""
    centres = np.random.default_rng(0).standard_normal((CLASSES, INPUTS), dtype=np.float32)
    dice = np.random.default_rng(seed)
    labels = dice.integers(0, CLASSES, rows)
    return centres[labels] + 2 * dice.standard_normal((rows, INPUTS), dtype=np.float32), labels


def pretrained(seed: int = 1) -> Weights:
    """What somebody else trained, for all we know: 15 blocks of 4 MiB, and a head that knows nothing of our task."""
    dice = np.random.default_rng(seed)
    weights = {"embed": dice.standard_normal((INPUTS, WIDTH), dtype=np.float32) / np.float32(INPUTS**0.5)}
    for block in range(BLOCKS):
        weights[f"block{block:02}"] = dice.standard_normal((WIDTH, WIDTH), dtype=np.float32) / np.float32(WIDTH)
    return weights | {"head": dice.standard_normal((WIDTH, CLASSES), dtype=np.float32) / np.float32(WIDTH**0.5)}


def features(weights: Weights, points: np.ndarray, blocks: int = BLOCKS) -> np.ndarray:
    """What comes out of the first blocks."""
    values = points @ weights["embed"]
    for block in range(blocks):
        values = values + np.maximum(values @ weights[f"block{block:02}"], 0)
    return values


def accuracy(weights: Weights, points: np.ndarray, labels: np.ndarray) -> float:
    """The share of points that are told right."""
    return round(float(((features(weights, points) @ weights["head"]).argmax(axis=1) == labels).mean()), 3)


def tune(weights: Weights, points: np.ndarray, labels: np.ndarray, steps: int) -> Weights:
    """Train the last block and the head; all that lies before them stays frozen, bit for bit."""
    last, wanted = f"block{BLOCKS - 1:02}", np.eye(CLASSES, dtype=np.float32)[labels]
    block, head = weights[last].copy(), weights["head"].copy()
    below = features(weights, points, BLOCKS - 1)
    for _ in range(steps):
        hidden = below @ block
        values = below + np.maximum(hidden, 0)
        scores = np.exp(values @ head - (values @ head).max(axis=1, keepdims=True))
        error = (scores / scores.sum(axis=1, keepdims=True) - wanted) / len(labels)
        back = (error @ head.T) * (hidden > 0)
        head -= np.float32(0.2) * (values.T @ error)
        block -= np.float32(0.2) * (below.T @ back)
    return weights | {last: block, "head": head}


def save(weights: Weights, path: Path, **about: str) -> None:
    """One file, with a few words in its header."""
    save_file(weights, path, metadata=about)


def load(path: Path) -> Weights:
    """The weights in a file."""
    return load_file(path)
