"""Detects validation data that were not scaled like the training data.

Inside a pipeline or a `TransformedTargetRegressor` only the training data are transformed, and
early stopping would silently use meaningless scores.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from ..inputs.tables import is_sparse

# Upper bound on false alarms for rows that were split at random: one fit in this many. The test
# uses ranks, so neither heavy tails nor small parts increase it.
_ONE_FALSE_ALARM_IN = 10_000
# How far outside counts as far, as a fraction of the range of the training data: rows ordered by
# time may well continue for half of that range.
_FAR = 0.5
# A missing scaler affects most columns, a trend only one or two.
_SHARE_OF_COLUMNS = 0.25
# A validation range is too narrow if training data lie outside it even when it is widened by this
# factor. Data of one hour, for example, may well be narrower than those of a year.
_WIDENED = 50.0


def warn_of_other_scales(X: Any, y: Any, X_val: Any, y_val: Any, are_numbers: bool) -> None:
    """Warn if most validation rows, or their targets, are far outside the training range."""
    named = {"X_val": _far_columns(X, X_val)}
    if are_numbers:
        named["y_val"] = _far_columns(_columns(y), _columns(y_val))
    for name, columns in named.items():
        if columns and len(columns) >= _SHARE_OF_COLUMNS * (1 if name == "y_val" else X.shape[1]):
            warnings.warn(
                f"{name} lies far outside of what {name.removesuffix('_val')} is, in column "
                f"{columns[0]}{' and others' if len(columns) > 1 else ''}. Pipelines and "
                "TransformedTargetRegressor transform training data only: pass validation data "
                "transformed in the same way (in a pipeline, by transform_input=['X_val']).",
                UserWarning,
                stacklevel=7,
            )


def _columns(y: Any) -> np.ndarray:
    return np.asarray(y).reshape(len(y), -1)


def _far_columns(A: Any, B: Any) -> list[int]:
    """Columns in which most rows of B are far outside of A, or B is far too narrow for A."""
    n, m, d = A.shape[0], B.shape[0], A.shape[1]
    low, high = _range(A)
    far = _is_no_chance(*_beyond(B, low, high, _FAR), n, m, d)
    if not (is_sparse(A) or is_sparse(B)):
        far |= _is_no_chance(*_beyond(A, *_range(B), _WIDENED), m, n, d)
    return [int(column) for column in np.flatnonzero(far)]


def _range(A: Any) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest number of each column."""
    if is_sparse(A):
        return tuple(side.toarray().ravel() for side in (A.min(axis=0), A.max(axis=0)))
    return A.min(axis=0), A.max(axis=0)


def _beyond(
    B: Any, low: np.ndarray, high: np.ndarray, widened: float
) -> tuple[np.ndarray, np.ndarray]:
    """How many rows lie below and above each column's range, after widening it on both sides.

    widened: by how many times its length. If the range is a single number it has no length, and no
    rows are counted.
    """
    with np.errstate(over="ignore"):
        length = high.astype(np.float64) - low
        floor, ceiling = low - widened * length, high + widened * length
    has_length = length > 0
    if is_sparse(B):
        rows = B.tocsr()
        stored, columns = rows.data, rows.indices
        sides = stored < floor[columns], stored > ceiling[columns]
        below, above = (np.bincount(columns[side], minlength=low.size) for side in sides)
    else:
        below, above = (floor > B).sum(axis=0), (ceiling < B).sum(axis=0)
    return below * has_length, above * has_length


def _is_no_chance(
    below: np.ndarray, above: np.ndarray, n: int, m: int, n_columns: int
) -> np.ndarray:
    """Whether the number of m rows outside of the range of n others rules out a random split.

    If a of the m are below all n and b above, then the a lowest and b highest of all are among
    the m. For a random split this has the probability m! (n + m - k)! / ((m - k)! (n + m)!), where
    k = a + b, for any distribution; there are k + 1 ways to divide k between the sides.
    """
    counts = below + above
    by_count = {int(k): _log_chance(int(k), n, m) for k in np.unique(counts)}
    chances = np.array([by_count[int(k)] for k in counts])
    enough = -math.log(_ONE_FALSE_ALARM_IN * n_columns)
    return (2 * counts > m) & (chances < enough)


def _log_chance(k: int, n: int, m: int) -> float:
    lg = math.lgamma
    chosen = lg(m + 1) + lg(n + m - k + 1) - lg(m - k + 1) - lg(n + m + 1)
    return chosen + math.log(k + 1)
