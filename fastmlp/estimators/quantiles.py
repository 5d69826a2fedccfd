"""Quantiles of targets: their levels, and columns that are put in order.

Quantiles that a network gives for one row may cross; sorted ones are closer to the truth.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np


def levels_of(quantile: Any) -> tuple[float, ...]:
    """Levels in ascending order, from one or several."""
    levels = quantile if isinstance(quantile, Iterable) else [quantile]
    return tuple(sorted(float(level) for level in levels))


def rearranged(linked: np.ndarray, n_levels: int) -> np.ndarray:
    """Sort the quantiles of each target in ascending order.

    Parameters
    ----------
    linked : ndarray of shape (n, n_targets * n_levels)
        The levels of a target are adjacent columns.
    n_levels : int

    Returns
    -------
    ndarray of the same shape

    References
    ----------
    Chernozhukov, Fernandez-Val and Galichon, "Quantile and probability curves without crossing",
    Econometrica 78, 2010.
    """
    by_target = linked.reshape(len(linked), -1, n_levels)
    return np.sort(by_target, axis=2).reshape(len(linked), -1)
