"""One training problem in plain arrays, the same for every side: weights, rows, batch, rate.

No side draws its own initial weights or orders, so results can be compared number by number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import cases
from .cases import Net
from .data import Table

Weights = list[tuple[np.ndarray, np.ndarray]]


def initial_weights(net: Net, dtype: str = "float32", seed: int = 0) -> Weights:
    """He-normal matrices (n_in, n_out) and small biases, so that biases are checked as well."""
    rng = np.random.default_rng(seed)
    return [
        (
            (rng.standard_normal((n_in, n_out)) * np.sqrt(2 / n_in)).astype(dtype),
            (0.01 * rng.standard_normal(n_out)).astype(dtype),
        )
        for n_in, n_out in net.layers
    ]


@dataclass(frozen=True)
class Problem:
    """What to train, on what.

    Parameters
    ----------
    net : Net
    weights : list of (W, b)
        Where to start, W of shape (n_in, n_out).
    X, y : ndarray
        A whole number of batches, so that all sides do the same work.
    batch : int
    rate : float, default 1e-3
        Learning rate.
    optimizer : str
        Of `cases`.
    """

    net: Net
    weights: Weights
    X: np.ndarray
    y: np.ndarray
    batch: int
    rate: float = 1e-3
    optimizer: str = cases.ADAM

    @classmethod
    def of(cls, net: Net, table: Table, batch: int) -> Problem:
        """Adam, float32, on as many rows as fill whole batches."""
        return cls.of_case(cases.Training("", net, batch, {}), table)

    @classmethod
    def of_case(cls, case: cases.Training, table: Table, seed: int = 0) -> Problem:
        """The problem on as many rows as fill whole batches; the seed is for the weights."""
        n_rows = len(table.X) // case.batch * case.batch
        X, y = table.X[:n_rows].astype(case.dtype, copy=False), table.y[:n_rows]
        if case.net.task == "numbers":
            y = y.astype(case.dtype, copy=False)
        weights = initial_weights(case.net, case.dtype, seed)
        return cls(case.net, weights, X, y, case.batch, optimizer=case.optimizer)

    @property
    def dtype(self) -> str:
        """Of the weights and the rows."""
        return self.X.dtype.name

    @property
    def n_rows(self) -> int:
        return len(self.y)

    @property
    def n_steps(self) -> int:
        """Steps of an epoch."""
        return self.n_rows // self.batch
