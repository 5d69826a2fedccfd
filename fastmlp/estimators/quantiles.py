"""Quantiles of targets: their levels, and columns that are put in order.

Quantiles that a network gives for one row may cross; sorted ones are closer to the truth.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ..inputs import checks


def levels_of(where: str, quantile: Any) -> tuple[float, ...]:
    """Levels in ascending order, from one or several different ones.

    Parameters
    ----------
    where : str
        For errors.
    quantile : float or sequence of float in (0, 1)
    """
    several = quantile if np.ndim(quantile) else [quantile]
    levels = sorted(
        checks.number(where, "quantile", level, 0, 1, low_open=True, high_open=True)
        for level in several
    )
    if not levels or len(set(levels)) < len(levels):
        got = "one of them twice" if levels else "none"
        raise InputError(where, "different quantiles, at least one", got, "pass [0.1, 0.9], say")
    return tuple(levels)


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
