"""BatchNorm: each column gets mean 0 and variance 1 over the batch, then is scaled and shifted.

With x^ = (x - mean) / sqrt(variance + epsilon) of a column of n numbers it is y = g x^ + b;
backward, with d = g dy, dx = (d - mean of d - x^ (mean of d x^)) / sqrt(variance + epsilon).
Outside of training the running mean and variance replace the batch's, as constants. Threads share
out columns for the statistics and rows for the rest, with a barrier in between.
"""

from __future__ import annotations

import numpy as np

from .. import interfaces
from ..compiler.jit import doubles, itemsize, jit, numbers
from ..step import shares
from ..step.threads import my_part
from . import common
from .kind import Kind, Sizes
from .parameters import vector_gradient

MEAN, INVERSE, SLOPE, ALONG = range(4)  # rows of n_out float64
_N_ROWS = 4


def _kept_bytes(sizes: Sizes) -> int:
    """Bytes of x^ of each value, rounded up to whole float64, and of the rows above."""
    normal = sizes.batch_size * sizes.n_out * sizes.itemsize
    return (normal + 7) // 8 * 8 + _N_ROWS * sizes.n_out * 8


@jit
def _statistics(turn, s, which, one):
    """One of the rows of float64, with all columns."""
    op, size = turn.ops[s], turn.call["batch_size"]
    normal = (size * op["n_out"] * itemsize(one) + 7) // 8 * 8
    return doubles(op["kept"] + normal + which * op["n_out"] * 8, op["n_out"])


@jit
def _my_columns(turn, s):
    return my_part(turn.ops[s]["n_out"], turn.crew["n_threads"], turn.thread)


@jit
def _running(turn, s, one):
    """The running means and variances: views of the network's buffers."""
    op, size = turn.ops[s], itemsize(one)
    at = turn.model["buffers"] + op["buffers"] * size
    return numbers(at, op["n_out"], one), numbers(at + op["n_out"] * size, op["n_out"], one)


@jit
def _measure(turn, s, left, right, one):
    """Mean and variance of columns left..right of the batch; updates the running ones as well."""
    op, x, batch = turn.ops[s], common.inputs_of(turn, s, one), turn.batch
    mean, inverse = _statistics(turn, s, MEAN, one), _statistics(turn, s, INVERSE, one)
    epsilon, momentum = doubles(op["options"], 2)[0], doubles(op["options"], 2)[1]
    for j in range(left, right):
        mean[j] = inverse[j] = 0.0
    for r in range(batch):
        row = common.row_of(x, r, op["n_out"], one)
        for j in range(left, right):
            mean[j] += row[j]
    for j in range(left, right):
        mean[j] /= batch
    for r in range(batch):
        row = common.row_of(x, r, op["n_out"], one)
        for j in range(left, right):
            away = np.float64(row[j]) - mean[j]
            inverse[j] += away * away
    means, variances = _running(turn, s, one)
    for j in range(left, right):
        unbiased = inverse[j] / max(1, batch - 1)
        means[j] += type(one)(momentum * (mean[j] - means[j]))
        variances[j] += type(one)(momentum * (unbiased - variances[j]))
        inverse[j] = 1.0 / np.sqrt(inverse[j] / batch + epsilon)


@jit
def _recall(turn, s, left, right, one):
    """Use the running mean and variance instead of the batch's."""
    mean, inverse = _statistics(turn, s, MEAN, one), _statistics(turn, s, INVERSE, one)
    means, variances = _running(turn, s, one)
    epsilon = doubles(turn.ops[s]["options"], 1)[0]
    for j in range(left, right):
        mean[j], inverse[j] = means[j], 1.0 / np.sqrt(np.float64(variances[j]) + epsilon)


@interfaces.OP.kernel
def forward(turn, s, one):
    """Normalise this thread's rows by the statistics of the whole batch."""
    block, op, n = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["n_out"]
    left, right = _my_columns(turn, s)
    if op["as_trained"]:
        shares.meet(turn)
        _measure(turn, s, left, right, one)
    else:
        _recall(turn, s, left, right, one)
    shares.meet(turn)
    x, factors, shifts = (
        common.inputs_of(turn, s, one),
        common.weights_of(turn, s, one),
        common.biases_of(turn, s, one),
    )
    mean, inverse = _statistics(turn, s, MEAN, one), _statistics(turn, s, INVERSE, one)
    for r in range(block.first, block.last):
        row, kept = common.row_of(x, r, n, one), common.row_at(op["kept"], r, n, one)
        values = common.row_at(op["values"], r, n, one)
        for j in range(n):
            normal = type(one)((np.float64(row[j]) - mean[j]) * inverse[j])
            kept[j] = normal
            values[j] = factors[j] * normal + shifts[j]
    common.finish_forward(turn, s, block, one)


@jit
def _measure_slopes(turn, s, left, right, one):
    """For columns left..right: means over the batch of the slopes and of the slopes times x^."""
    op, batch = turn.ops[s], turn.batch
    mean, along = _statistics(turn, s, SLOPE, one), _statistics(turn, s, ALONG, one)
    for j in range(left, right):
        mean[j] = along[j] = 0.0
    for r in range(batch):
        slopes = common.row_at(op["slopes"], r, op["n_out"], one)
        kept = common.row_at(op["kept"], r, op["n_out"], one)
        for j in range(left, right):
            mean[j] += slopes[j]
            along[j] += np.float64(slopes[j]) * np.float64(kept[j])
    for j in range(left, right):
        mean[j] /= batch
        along[j] /= batch


@interfaces.OP.kernel
def backward(turn, s, one):
    """Gradient of this thread's rows of the inputs, including that through the statistics."""
    block, op, n = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["n_out"]
    mean, along = _statistics(turn, s, SLOPE, one), _statistics(turn, s, ALONG, one)
    left, right = _my_columns(turn, s)
    if op["as_trained"]:
        shares.meet(turn)
        _measure_slopes(turn, s, left, right, one)
    else:  # they are constants
        for j in range(left, right):
            mean[j] = along[j] = 0.0
    shares.meet(turn)
    inverse, factors = _statistics(turn, s, INVERSE, one), common.weights_of(turn, s, one)
    gradient = common.source_gradient(turn, s, block.first, one)
    for r in range(block.first, block.last):
        slopes = common.row_at(op["slopes"], r, n, one)
        kept, found = common.row_at(op["kept"], r, n, one), common.row_at(gradient, r, n, one)
        for j in range(n):
            rest = np.float64(slopes[j]) - mean[j] - np.float64(kept[j]) * along[j]
            found[j] = type(one)(rest * factors[j] * inverse[j])


KIND = Kind(forward, backward, vector_gradient, _kept_bytes, meets=True)
