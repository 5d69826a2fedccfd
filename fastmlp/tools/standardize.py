"""Standardised training without a separate scaler: the scaling is moved into the weights.

A network trained on (x - mean) / scale gives the same outputs for plain x once the first layer
absorbs mean and scale; likewise the last layer for a standardised target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..datasets.columns import needs_float64
from ..errors import InputError
from ..inputs import checks
from ..network import Network
from ..nn import Dense

# Weights are divided by a column's deviation; below this, weights above 256 overflow float32.
_SMALLEST = 2.0**-120


class Moments(NamedTuple):
    """Mean and standard deviation of columns; a column that hardly varies gets deviation 1."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Moments:
        """Moments of the columns of values (n, n_columns), or of one column (n,)."""
        values = np.asarray(values, np.float64)
        scale = values.std(axis=0)
        # Rounding of the mean gives some constant columns, such as one of 0.1, a tiny deviation.
        varies = (np.ptp(values, axis=0) > 0) & (scale > _SMALLEST)
        return cls(values.mean(axis=0), np.where(varies, scale, 1.0))

    def apply(self, values: np.ndarray) -> np.ndarray:
        """(values - mean) / scale, in the type from `checks.compute_type`."""
        return ((values - self.mean) / self.scale).astype(checks.compute_type(values.dtype))


def constant(values: np.ndarray) -> np.ndarray:
    """Which columns (n, n_columns) are constant, or whether one column (n,) is."""
    return np.asarray(np.ptp(values, axis=0) == 0)


def number_type(
    where: str, asked: str | None, values: np.ndarray, labels: Sequence[str]
) -> tuple[str, list[str]]:
    """The type for a network whose weights will absorb the moments of columns.

    Unscaled data lose digits in float32 that standardised training keeps: a time of 1.7e12
    milliseconds, for example, has a resolution of 131072.

    Parameters
    ----------
    where : str
        Location for errors.
    asked : {"float32", "float64"} or None
        The requested type; None means float32 if it is precise enough.
    values : ndarray of shape (n, n_columns)
        All rows, finite.
    labels : sequence of n_columns str
        Names of the columns for errors.

    Returns
    -------
    dtype : {"float32", "float64"}
    columns : list of str
        Labels of the columns that need float64.

    Raises
    ------
    InputError
        If float32 was requested but cannot represent a column, or if a column's deviation is too
        small or too large for both types.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        scale = np.asarray(values, np.float64).std(axis=0)
    bad = ~constant(values) & ~((scale > _SMALLEST) & np.isfinite(scale))
    if bad.any():
        label = labels[int(bad.argmax())]
        raise InputError(
            where,
            f"numbers with a deviation between {_SMALLEST:.1g} and 1e+150 in {label}",
            "a deviation beyond that",
            "scale the column",
        )
    found = [label for label, fine in zip(labels, needs_float64(values), strict=True) if fine]
    if found and asked == "float32":
        raise InputError(
            where,
            "numbers whose differences float32 can hold",
            f"others in {', '.join(found)}",
            "use float64 or leave the type out, or subtract a number near the column's mean",
        )
    return ("float64" if found else asked or "float32"), found


def absorb_inputs(network: Network, moments: Moments, unused: np.ndarray | None = None) -> None:
    """Change a network that was trained on standardised columns so that it takes unscaled ones.

    Columns marked as `unused` (n_columns,) get weights of 0: weights of constant columns were never
    trained, and multiplied by large numbers their rounding errors would dominate.
    """
    first = network.layers[0]
    if not isinstance(first, Dense):
        raise InputError(
            "absorb_inputs",
            "a network that starts with Dense",
            repr(first),
            "standardise the data yourself",
        )
    W = first.W.astype(np.float64) / moments.scale[:, None]
    if unused is not None:
        W[unused] = 0
    first.b = first.b - moments.mean @ W
    first.W = W


def absorb_outputs(network: Network, moments: Moments) -> None:
    """Change a network that was trained on a standardised target to predict the unscaled one."""
    last = network.layers[-1]
    if not isinstance(last, Dense):
        raise InputError(
            "absorb_outputs",
            "a network that ends with Dense",
            repr(last),
            "standardise the target yourself",
        )
    repeats = last.b.size // moments.scale.size
    scale = np.repeat(np.atleast_1d(moments.scale), repeats)
    mean = np.repeat(np.atleast_1d(moments.mean), repeats)
    last.W = last.W * scale
    last.b = last.b * scale + mean
