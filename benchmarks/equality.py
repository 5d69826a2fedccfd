"""Checks that two sides computed the same before anything is timed, with reasons for the bounds.

A comparison that fails raises `Mismatch`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# A float32 sum of some hundred products is accurate to about 1e-6 of its size, and sides add in
# different orders. Training amplifies this in two ways. Adam's first steps divide each gradient by
# its own size, so a gradient that is only rounding noise may move its parameter in either
# direction. And a unit whose sum is within rounding of 0 may be on for one side and off for the
# other, which moves its whole column slightly. So losses are compared over a whole epoch, and
# parameters by the distance between both results relative to the distance from the start. Sides
# that do the same stayed within 1e-5 of both without such a unit, and within 1e-4 and 1e-2 with one
# in a wide net; a wrong order, rate or bias gives a tenth or more.
LOSS_TOLERANCE = 1e-4
PARAMETER_TOLERANCE = 1e-2
# Probabilities are below 1; predicted numbers are compared relative to their size.
OUTPUT_TOLERANCE = 1e-5


class Mismatch(Exception):
    """Two sides that should have computed the same did not."""


def check_curves(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Compare losses epoch by epoch; returns the largest relative difference."""
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if a.shape != b.shape:
        raise Mismatch(f"{a.size} losses of ours, {b.size} of theirs")
    difference = np.abs(a - b) / np.abs(a)
    worst = int(np.argmax(_nan_is_infinite(difference)))
    if not difference[worst] <= LOSS_TOLERANCE:
        raise Mismatch(
            f"losses of epoch {worst + 1} differ: {a[worst]:.6g} and {b[worst]:.6g}, allowed "
            f"{LOSS_TOLERANCE:g} of their size"
        )
    return float(difference[worst])


def check_parameters(
    start: Sequence[np.ndarray],
    ours: Sequence[np.ndarray],
    theirs: Sequence[np.ndarray],
    tolerance: float = PARAMETER_TOLERANCE,
) -> float:
    """Compare two trainings' parameters array by array, relative to the distance from the start."""
    worst = 0.0
    for number, (first, a, b) in enumerate(zip(start, ours, theirs, strict=True)):
        if a.shape != b.shape:
            raise Mismatch(f"parameters {number} have shapes {a.shape} and {b.shape}")
        part = _norm(a - b.astype(a.dtype)) / _norm(a - first)
        if not part <= tolerance:
            raise Mismatch(
                f"parameters {number} end {part:.2g} of their way apart, allowed {tolerance:g}"
            )
        worst = max(worst, part)
    return worst


def check_outputs(
    ours: np.ndarray, theirs: np.ndarray, tolerance: float = OUTPUT_TOLERANCE
) -> float:
    """Compare predictions; returns the largest difference, relative where numbers are above 1."""
    if ours.size != theirs.size:
        raise Mismatch(f"outputs of shapes {ours.shape} and {theirs.shape}")
    a, b = np.asarray(ours, np.float64).ravel(), np.asarray(theirs, np.float64).ravel()
    difference = np.abs(a - b) / np.maximum(1.0, np.abs(a))
    worst = float(_nan_is_infinite(difference).max())
    if not worst <= tolerance:
        raise Mismatch(f"outputs differ by {worst:.2g}, allowed {tolerance:g}")
    return worst


def check_same_bits(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Compare bit by bit."""
    if ours.tobytes() != theirs.tobytes():
        raise Mismatch(f"{int((ours != theirs).sum())} of {ours.size} numbers differ in some bit")


def check_relative(ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> float:
    """Largest difference relative to the largest number."""
    worst = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    if not worst <= tolerance:
        raise Mismatch(f"a relative difference of {worst:.2g}, allowed {tolerance:g}")
    return worst


def _norm(values: np.ndarray) -> float:
    return float(np.linalg.norm(values.astype(np.float64)))


def _nan_is_infinite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), np.inf, values)
