"""PiecewiseLinear: the position of each column's number within each of its bins, from 0 to 1.

Forward y = max(low, min(high, scale (x - start))) of the output's column x, where all columns have
the same number of bins; only the bin that x lies in has to be computed, and only it has a slope:
backward dx = scale dy of that bin.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import interfaces
from ..compiler.jit import itemsize, jit, numbers
from ..step import shares
from . import common
from .kind import Kind, one_each

SCALE, START, LOW, HIGH = range(4)  # rows of n_out options


class Bins(NamedTuple):
    """Of one column: a number for each bin."""

    scale: Any
    start: Any
    low: Any
    high: Any


@jit
def _part(at, row, n, first, count, one):
    """Numbers first..first + count of a row of a matrix of n columns."""
    return numbers(at + (row * n + first) * itemsize(one), count, one)


@jit
def _bin_of(x, bins):
    """The bin that x lies in; the first also has what lies below, and the last what lies above."""
    found, last = 0, bins.start.size - 1
    for j in range(1, last + 1):
        found += bins.start[j] <= x
    while bins.scale[found] == 0 and found < last:  # bins of no width before the first real one
        found += 1
    return found


@jit
def _encode(x, bins, values, kept):
    """How far x has come through the bins of its column, and the slopes."""
    k = _bin_of(x, bins)
    for j in range(values.size):
        kept[j] = 0
        values[j] = 0
    for j in range(k):
        values[j] = bins.high[j]
    low, high, far = bins.low[k], bins.high[k], (x - bins.start[k]) * bins.scale[k]
    kept[k] = bins.scale[k]
    values[k] = low if far < low else high if far > high else far  # nan stays nan


@interfaces.OP.kernel
def forward(turn, s, one):
    """This thread's rows."""
    block, op, n = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["n_out"]
    x, lines = common.inputs_of(turn, s, one), op["options"]
    count = n // op["n_in"]
    for r in range(block.first, block.last):
        row = common.row_of(x, r, op["n_in"], one)
        for i in range(op["n_in"]):
            first = i * count
            bins = Bins(
                _part(lines, SCALE, n, first, count, 1.0),
                _part(lines, START, n, first, count, 1.0),
                _part(lines, LOW, n, first, count, 1.0),
                _part(lines, HIGH, n, first, count, 1.0),
            )
            values = _part(op["values"], r, n, first, count, one)
            kept = _part(op["kept"], r, n, first, count, one)
            _encode(row[i], bins, values, kept)
    common.finish_forward(turn, s, block, one)


@interfaces.OP.kernel
def backward(turn, s, one):
    """The gradient of this thread's rows of the inputs."""
    block, op, n = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["n_out"]
    n_bins, zero = n // op["n_in"], type(one)(0)
    gradient = common.source_gradient(turn, s, block.first, one)
    for r in range(block.first, block.last):
        slopes, kept = common.row_at(op["slopes"], r, n, one), common.row_at(op["kept"], r, n, one)
        found = common.row_at(gradient, r, op["n_in"], one)
        for i in range(found.size):
            total = zero
            for j in range(i * n_bins, (i + 1) * n_bins):
                total += slopes[j] * kept[j]
            found[i] = total


KIND = Kind(forward, backward, kept_bytes=one_each)
