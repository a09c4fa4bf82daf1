"""The data and the network that `train_digits.py` and `predict_digits.py` share."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Weights = dict[str, np.ndarray]


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images to train on, images held out, and the digits on both: the same split in every process."""
    images, digits = load_digits(return_X_y=True)
    return train_test_split(images / 16, digits, test_size=0.3, random_state=0, stratify=digits)


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
