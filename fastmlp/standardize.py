"""Standardised training without a standardiser to carry along: its numbers end up in the weights.

A network trained on (x - mean) / scale gives the same outputs for plain x once the first layer
absorbs mean and scale; likewise the last layer for a standardised target.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import checks
from .errors import InputError
from .layers import Dense
from .network import Network

# Weights are divided by a column's deviation: below this, those above 256 would overflow float32.
_SMALLEST = 2.0**-120


class Moments(NamedTuple):
    """Mean and standard deviation of columns; one that hardly varies gets the deviation 1."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Moments:
        """Moments of the columns of values (n, n_columns), or of one column (n,)."""
        values = np.asarray(values, np.float64)
        scale = values.std(axis=0)
        # Rounding in the mean gives many a constant column, such as one of 0.1, a tiny deviation.
        varies = (np.ptp(values, axis=0) > 0) & (scale > _SMALLEST)
        return cls(values.mean(axis=0), np.where(varies, scale, 1.0))

    def apply(self, values: np.ndarray) -> np.ndarray:
        """(values - mean) / scale, in float32 or float64 as `checks.compute_type` says."""
        return ((values - self.mean) / self.scale).astype(checks.compute_type(values.dtype))


def absorb_inputs(network: Network, moments: Moments) -> None:
    """Make a network that was trained on standardised columns take the plain ones."""
    first = network.layers[0]
    if not isinstance(first, Dense):
        raise InputError(
            "absorb_inputs",
            "a network that starts with Dense",
            repr(first),
            "standardise the data yourself",
        )
    W = first.W.astype(np.float64) / moments.scale[:, None]
    first.b = first.b - moments.mean @ W
    first.W = W


def absorb_outputs(network: Network, moments: Moments) -> None:
    """Make a network that was trained on a standardised target predict the plain one."""
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
