"""Networks with every layer that learns more than a Dense one, in every place that it may have.

`NETWORKS` makes fresh layers by name; `samples` makes rows that all of them can read.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastmlp import (
    BatchNorm,
    Columns,
    Dense,
    Dropout,
    Embedding,
    Layer,
    LayerNorm,
    PReLU,
    ReLU,
    Rescaling,
    Residual,
    Scale,
    Tanh,
)

N_CATEGORIES, N_FEATURES, N_CLASSES = 7, 5, 3


def _mixed() -> list[Layer]:
    first = Columns((0, [Embedding(N_CATEGORIES, 3)]), ([1, 2], [Dense(4), ReLU()]), ([2, 3], []))
    return [first, Dense(N_CLASSES)]


def _deep() -> list[Layer]:
    inner = Residual([BatchNorm(), Dense(2), LayerNorm(), Dropout(0.2)])
    middle = Columns(([0, 1, 2], [Dense(4), Tanh()]), ([2, 5], [Scale(), inner]))
    return [Dense(8), ReLU(), middle, PReLU(), Dropout(0.3), Dense(N_CLASSES)]


NETWORKS: dict[str, Callable[[], list[Layer]]] = {
    "scale": lambda: [Scale(), Dense(8), ReLU(), Scale(0.5), Dense(N_CLASSES)],
    "prelu": lambda: [Dense(8), PReLU(), Dropout(0.2), Dense(N_CLASSES)],
    "layer norm": lambda: [LayerNorm(), Dense(8), LayerNorm(), Tanh(), Dense(N_CLASSES)],
    "batch norm": lambda: [BatchNorm(), Dense(8), BatchNorm(), ReLU(), Dense(N_CLASSES)],
    "residual": lambda: [
        Dense(8), Residual([Dense(16), ReLU(), Dense(8)]), Tanh(), Residual([LayerNorm()]),
        Dense(N_CLASSES),
    ],
    "residual first": lambda: [Residual([Dense(16), ReLU(), Dense(N_FEATURES)]), Dense(N_CLASSES)],
    "embedding": lambda: [
        Columns((0, [Embedding(N_CATEGORIES, 2), Scale()])), Dense(N_CLASSES),
    ],
    "columns": _mixed,
    "rescaled": lambda: [Rescaling(0.5), Columns((0, [Rescaling(2.0), Embedding(7, 3)])),
                         BatchNorm(), Dense(N_CLASSES)],
    "deep": _deep,
    "one output": lambda: [Dense(6), LayerNorm(), ReLU(), Residual([Dense(6)]), Dense(1)],
    "wide": lambda: [Dense(300), LayerNorm(), ReLU(), Dense(N_CLASSES)],
}  # fmt: skip


def samples(n: int = 50, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of small whole numbers, the first of each a category, and labels."""
    rng = np.random.default_rng(seed)
    X = rng.integers(-4, 5, (n, N_FEATURES)).astype(np.float64)
    X[:, 0] = rng.integers(0, N_CATEGORIES, n)
    return X, rng.integers(0, N_CLASSES, n)


def loss_of(name: str) -> str:
    """The loss that a network of that name can have with these labels."""
    return "mse" if name == "one output" else "softmax_cross_entropy"
