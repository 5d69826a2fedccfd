"""Scores of predictions for held-out rows: accuracy or R^2.

Each row's part is stored separately. One thread then adds the parts in NumPy's order of summation,
which depends only on their number, so scores equal scikit-learn's bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import interfaces
from ..compiler.calls import Kernel
from ..compiler.jit import doubles, integers, itemsize, jit, numbers
from ..plan import FLOAT64_BYTES, INT32_BYTES

# NumPy sums up to 128 numbers in eight chains, and splits longer sums into halves.
_CHAINS, _LONGEST = 8, 128
SPARE = 64  # numbers that scores need in addition to the parts and one number per column


@jit
def _sum_of_some(values):
    """Sum of at most `_LONGEST` numbers."""
    total = values.dtype.type(0)
    if values.size < _CHAINS:
        for i in range(values.size):
            total += values[i]
        return total
    whole = values.size - values.size % _CHAINS
    s0, s1, s2, s3, s4, s5, s6, s7 = (
        values[0], values[1], values[2], values[3], values[4], values[5], values[6], values[7],
    )  # fmt: skip
    for i in range(_CHAINS, whole, _CHAINS):
        s0 += values[i]
        s1 += values[i + 1]
        s2 += values[i + 2]
        s3 += values[i + 3]
        s4 += values[i + 4]
        s5 += values[i + 5]
        s6 += values[i + 6]
        s7 += values[i + 7]
    total = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
    for i in range(whole, values.size):
        total += values[i]
    return total


@jit
def _first_half(size):
    """How many of `size` numbers NumPy puts into the first of two halves."""
    half = size // 2
    return half - half % _CHAINS


@jit
def sum_in_pairs(at, count, spare, unit):
    """Pairwise sum of numbers at an address, as in NumPy: halves are split recursively.

    spare: address of `SPARE` numbers of the same type, for sums that wait for their other half;
    unit: a number of that type. The bits of `path` tell first and second halves, from the whole sum
    to the current part.
    """
    waiting, size, path, depth = numbers(spare, SPARE, unit), itemsize(unit), 0, 0
    while True:
        start, length = 0, count
        for level in range(depth - 1, -1, -1):
            half = _first_half(length)
            if (path >> level) & 1:
                start, length = start + half, length - half
            else:
                length = half
        while length > _LONGEST:
            length, path, depth = _first_half(length), path << 1, depth + 1
        total = _sum_of_some(numbers(at + start * size, length, unit))
        while depth > 0 and path & 1:
            total, path, depth = waiting[depth - 1] + total, path >> 1, depth - 1
        if depth == 0:
            return total
        waiting[depth - 1], path = total, path | 1


@jit
def _are_finite(row):
    n_finite = 0
    for j in range(row.size):
        n_finite += np.isfinite(row[j])
    return n_finite == row.size


@jit
def _weight(weights, r):
    return doubles(weights + r * FLOAT64_BYTES, 1)[0] if weights != 0 else 1.0


@interfaces.GRADE.kernel
def grade_classes(outputs, n_out, first, last, truth, weights, parts, one):
    """Whether the greatest output is that of the true class: the row's weight if so, 0 if not.

    For rows first..last, whose outputs begin at address `outputs`; nan if an output is not finite.
    truth: address of (n_rows,) int32 classes; weights: address of (n_rows,) float64, or 0; parts:
    address of (n_rows,) float64, written.
    """
    found, classes = doubles(parts, last), integers(truth, last)
    for r in range(first, last):
        row = numbers(outputs + (r - first) * n_out * itemsize(one), n_out, one)
        best = 0
        for j in range(1, n_out):
            if row[j] > row[best]:
                best = j
        found[r] = _weight(weights, r) if best == classes[r] else 0.0
        if not _are_finite(row):
            found[r] = np.nan


@interfaces.GRADE.kernel
def grade_labels(outputs, n_out, first, last, truth, weights, parts, one):
    """As `grade_classes`: whether exactly the true labels are above 1/2; truth (n_rows, n_out)."""
    found, half = doubles(parts, last), type(one)(0.5)
    for r in range(first, last):
        row = numbers(outputs + (r - first) * n_out * itemsize(one), n_out, one)
        labels, is_right = integers(truth + r * n_out * INT32_BYTES, n_out), True
        for j in range(n_out):
            if (row[j] > half) != (labels[j] != 0):
                is_right = False
        found[r] = _weight(weights, r) if is_right else 0.0
        if not _are_finite(row):
            found[r] = np.nan


@interfaces.SCORE.kernel
def share_of_right(parts, n_rows, n_parts, spread, divisor, found, one):
    """Write weighted accuracy, the sum of `parts` over `divisor`, to address `found` (float64).

    parts: address of (n_rows,) float64 and `n_parts` + `SPARE` more.
    """
    spare = parts + (n_rows + n_parts) * FLOAT64_BYTES
    doubles(found, 1)[0] = sum_in_pairs(parts, n_rows, spare, np.float64(1)) / divisor


@jit
def _sum_of_column(parts, n_rows, n_parts, column, unit):
    """Sum of one of several columns; NumPy sums these row by row."""
    size, total = itemsize(unit), type(unit)(0)
    for r in range(n_rows):
        total += numbers(parts + (r * n_parts + column) * size, 1, unit)[0]
    return total


def _grade_squares(unit_of: Any, name: str) -> Kernel:
    def grade(outputs, n_out, first, last, truth, weights, parts, one):
        unit = unit_of(one)
        size = itemsize(unit)
        for r in range(first, last):
            row = numbers(outputs + (r - first) * n_out * itemsize(one), n_out, one)
            true = numbers(truth + r * n_out * size, n_out, unit)
            part, weight = numbers(parts + r * n_out * size, n_out, unit), type(unit)(1)
            if weights != 0:
                weight = numbers(weights + r * size, 1, unit)[0]
            for j in range(n_out):
                lost = true[j] - type(unit)(row[j])
                part[j] = weight * (lost * lost) if np.isfinite(row[j]) else type(unit)(np.nan)

    return interfaces.GRADE.kernel(grade, name)


def _r_squared(unit_of: Any, name: str) -> Kernel:
    def score(parts, n_rows, n_parts, spread, divisor, found, one):
        unit = unit_of(one)
        columns = parts + n_rows * n_parts * itemsize(unit)
        spare, most = columns + n_parts * itemsize(unit), numbers(spread, n_parts, unit)
        saved = numbers(columns, n_parts, unit)
        for j in range(n_parts):
            if n_parts == 1:
                lost = sum_in_pairs(parts, n_rows, spare, unit)
            else:
                lost = _sum_of_column(parts, n_rows, n_parts, j, unit)
            lost /= type(unit)(divisor)
            if most[j] > 0:
                saved[j] = type(unit)(1) - lost / most[j]
            else:  # a constant target
                saved[j] = type(unit)(1 if lost == 0 else 0)
        doubles(found, 1)[0] = sum_in_pairs(columns, n_parts, spare, unit) / type(unit)(n_parts)

    return interfaces.SCORE.kernel(score, name)


@jit
def _in_float64(one):
    return np.float64(1)


@jit
def _as_they_are(one):
    return one


# R^2, computed in float64 or in the network's type, whichever type the targets have.
# grade: writes the weighted squared errors to parts (n_rows, n_out), given truth (n_rows, n_out)
# and weights (n_rows,), or 0. score: one minus the sums of parts over `divisor` and spread
# (n_parts,), averaged.
grade_squares = _grade_squares(_in_float64, "grade_squares")
grade_own_squares = _grade_squares(_as_they_are, "grade_own_squares")
r_squared = _r_squared(_in_float64, "r_squared")
own_r_squared = _r_squared(_as_they_are, "own_r_squared")
