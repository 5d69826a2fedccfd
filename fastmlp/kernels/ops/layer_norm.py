"""LayerNorm: each row gets mean 0 and variance 1, then columns are scaled and shifted.

With x^ = (x - mean) / sqrt(variance + epsilon) of a row of n numbers it is y = g x^ + b; backward,
with d = g dy, dx = (d - mean of d - x^ (mean of d x^)) / sqrt(variance + epsilon).
"""

from __future__ import annotations

import numpy as np

from .. import interfaces
from ..compiler.jit import doubles, itemsize, jit, numbers
from ..step import shares
from . import common
from .kind import Kind, Sizes
from .parameters import vector_gradient


def _kept_bytes(sizes: Sizes) -> int:
    """Bytes of x^ of each value, and of 1 / sqrt(variance + epsilon) of each row."""
    return sizes.batch_size * (sizes.n_out + 1) * sizes.itemsize


@jit
def _mean_of_products(a, b, shift):
    """Mean of (a[j] - shift) (b[j] - shift) in float64, in four independent sums for speed."""
    n, whole = a.size, a.size // 4 * 4
    s0 = s1 = s2 = s3 = 0.0
    for j in range(0, whole, 4):
        s0 += (np.float64(a[j]) - shift) * (np.float64(b[j]) - shift)
        s1 += (np.float64(a[j + 1]) - shift) * (np.float64(b[j + 1]) - shift)
        s2 += (np.float64(a[j + 2]) - shift) * (np.float64(b[j + 2]) - shift)
        s3 += (np.float64(a[j + 3]) - shift) * (np.float64(b[j + 3]) - shift)
    for j in range(whole, n):
        s0 += (np.float64(a[j]) - shift) * (np.float64(b[j]) - shift)
    return (s0 + s1 + s2 + s3) / n


@jit
def _mean(a):
    """Mean of a row in float64, in four independent sums."""
    n, whole = a.size, a.size // 4 * 4
    s0 = s1 = s2 = s3 = 0.0
    for j in range(0, whole, 4):
        s0 += np.float64(a[j])
        s1 += np.float64(a[j + 1])
        s2 += np.float64(a[j + 2])
        s3 += np.float64(a[j + 3])
    for j in range(whole, n):
        s0 += np.float64(a[j])
    return (s0 + s1 + s2 + s3) / n


@jit
def _inverse_deviations(turn, s, one):
    """Where 1 / sqrt(variance + epsilon) of each row is kept."""
    op = turn.ops[s]
    size = turn.call["batch_size"]
    return numbers(op["kept"] + size * op["n_out"] * itemsize(one), size, one)


@interfaces.OP.kernel
def forward(turn, s, one):
    """Normalise this thread's rows."""
    block, op, n = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["n_out"]
    x, epsilon = common.inputs_of(turn, s, one), doubles(op["options"], 1)[0]
    factors, shifts = common.weights_of(turn, s, one), common.biases_of(turn, s, one)
    inverse_deviations = _inverse_deviations(turn, s, one)
    for r in range(block.first, block.last):
        row, kept = common.row_of(x, r, n, one), common.row_at(op["kept"], r, n, one)
        values = common.row_at(op["values"], r, n, one)
        mean = _mean(row)
        inverse = 1.0 / np.sqrt(_mean_of_products(row, row, mean) + epsilon)
        inverse_deviations[r] = inverse
        for j in range(n):
            normal = type(one)((np.float64(row[j]) - mean) * inverse)
            kept[j] = normal
            values[j] = factors[j] * normal + shifts[j]
    common.finish_forward(turn, s, block, one)


@interfaces.OP.kernel
def backward(turn, s, one):
    """The gradient of this thread's rows of the inputs."""
    block, op, n = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["n_out"]
    factors, inverse_deviations = (
        common.weights_of(turn, s, one),
        _inverse_deviations(turn, s, one),
    )
    gradient = common.source_gradient(turn, s, block.first, one)
    for r in range(block.first, block.last):
        slopes, kept = (
            common.row_at(op["slopes"], r, n, one),
            common.row_at(op["kept"], r, n, one),
        )
        found = common.row_at(gradient, r, n, one)
        for j in range(n):
            found[j] = factors[j] * slopes[j]
        mean, along = _mean(found), _mean_of_products(found, kept, 0.0)
        inverse = np.float64(inverse_deviations[r])
        for j in range(n):
            rest = np.float64(found[j]) - mean - np.float64(kept[j]) * along
            found[j] = type(one)(rest * inverse)


KIND = Kind(forward, backward, vector_gradient, _kept_bytes)
