"""Calibration on held-out rows: a temperature for probabilities, and the widths of intervals.

Both are valid for rows that are distributed like the held-out ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from ...errors import InputError
from ...inputs import checks

_HOTTEST = 20.0


def temperature(
    logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None, n_members: int = 1
) -> float:
    """The T for which softmax(logits / T) has the least log-loss (Guo et al., ICML 2017).

    Where there are members, it is the mean of theirs that has.

    Of n rows the labels are smoothed by 1 / (n + 2), as if one more had another label: a few rows
    that are all right do not make any other answer impossible.

    Parameters
    ----------
    logits : ndarray of shape (n, n_members * n_classes)
        Linear outputs.
    labels : ndarray of shape (n,)
        Class numbers.
    weights : ndarray of shape (n,) or None
    n_members : int, default 1
        Members of the network.

    Returns
    -------
    float
        From 1/20 to 20.
    """
    n = len(logits)
    z = logits.astype(np.float64).reshape(n, n_members, -1)
    n_classes = z.shape[2]
    rows, smoothing = np.arange(n), 1.0 / (n + 2)

    def loss(log_t: float) -> float:
        scaled = z * math.exp(-log_t)
        scaled = scaled - scaled.max(axis=2, keepdims=True)
        of_members = scaled - np.log(np.exp(scaled).sum(axis=2, keepdims=True))
        likely = np.logaddexp.reduce(of_members, axis=1) - math.log(n_members)
        meant = (1 - smoothing) * likely[rows, labels] + smoothing / n_classes * likely.sum(axis=1)
        return -float(np.average(meant, weights=weights))

    limit = math.log(_HOTTEST)
    return math.exp(minimize_scalar(loss, bounds=(-limit, limit), method="bounded").x)


def error_of_mean(errors: np.ndarray, answers: np.ndarray, held_out: Sequence[np.ndarray]) -> float:
    """The error of the mean of all folds' answers, as a share of the error of one fold's.

    On a new row, the mean of the folds' squared errors is the squared error of their mean plus the
    variance of their answers (Krogh and Vedelsby, NeurIPS 1994). Every row was held out by one fold
    only, so the variance is estimated from the folds that were trained on the row. They agree more
    than they would on a new row, so the share tends to be too large; it can be too small if some
    folds have memorised a few extreme targets and others have not. (The distance to the fold that
    held the row out is no better: where the others have memorised targets, it is too large.)

    Parameters
    ----------
    errors : ndarray of shape (n,)
        Of each row, by the fold that held it out, in any order.
    answers : ndarray of shape (n_folds, n)
        Of every fold to every row.
    held_out : sequence of n_folds arrays
        Numbers of the rows that each fold held out.

    Returns
    -------
    float
        From 1 / sqrt(n_folds), which is that of uncorrelated errors, to 1. With two folds it is 1,
        because only one of them was trained on each row.
    """
    n_folds, square = len(answers), float(np.mean(errors**2))
    if n_folds < 3 or square == 0:
        return 1.0
    learnt = answers.copy()
    for fold, rows in zip(learnt, held_out, strict=True):
        fold[rows] = np.nan
    spread = float(np.nanvar(learnt, axis=0, ddof=1).mean()) * (1 - 1 / n_folds)
    return math.sqrt(max(1 - spread / square, 1 / n_folds))


def half_width(where: str, scores: np.ndarray, coverage: Any) -> float:
    """Half the width of intervals that cover a share of rows like those of the scores.

    Split conformal prediction (Lei et al., JASA 2018): the k-th smallest of n scores, with
    k = ceil((n + 1) coverage).

    Parameters
    ----------
    where : str
        For errors.
    scores : ndarray of shape (n,)
        Of held-out rows, in ascending order: how far a target is from its answer.
    coverage : float in (0, 1)
    """
    checks.number(where, "coverage", coverage, 0, 1, low_open=True, high_open=True)
    k = math.ceil((scores.size + 1) * coverage)
    if k > scores.size:
        raise InputError(
            where, f"more held-out rows for a coverage of {coverage:g}", f"{scores.size}",
            "ask for less, or train with n_folds, which holds out every row once",
        )  # fmt: skip
    return float(scores[k - 1])
