"""PiecewiseLinear: how far each column has come through each of its bins, from 0 to 1.

Forward y = max(low, min(high, scale x + shift)) of the output's column x; backward dx = scale dy
where y lies between both limits.
"""

from __future__ import annotations

import numpy as np

from .. import interfaces
from ..compiler.jit import doubles
from ..step import shares
from . import common
from .kind import Kind, one_each

COLUMN, SCALE, SHIFT, LOW, HIGH = range(5)  # rows of n_out options
N_OPTIONS = 5


@interfaces.OP.kernel
def forward(turn, s, one):
    """This thread's rows."""
    block, op, n = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["n_out"]
    x, lines = common.inputs_of(turn, s, one), doubles(op["options"], N_OPTIONS * n)
    kind, zero = type(one), type(one)(0)
    for r in range(block.first, block.last):
        row, kept = common.row_of(x, r, op["n_in"], one), common.row_at(op["kept"], r, n, one)
        values = common.row_at(op["values"], r, n, one)
        for j in range(n):
            scale, low, high = kind(lines[n + j]), kind(lines[3 * n + j]), kind(lines[4 * n + j])
            value = row[np.int64(lines[j])] * scale + kind(lines[2 * n + j])
            kept[j] = scale if low < value < high else zero
            values[j] = low if value < low else high if value > high else value
    common.finish_forward(turn, s, block, one)


@interfaces.OP.kernel
def backward(turn, s, one):
    """The gradient of this thread's rows of the inputs."""
    block, op, n = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["n_out"]
    lines = doubles(op["options"], N_OPTIONS * n)
    gradient = common.source_gradient(turn, s, block.first, one)
    for r in range(block.first, block.last):
        slopes, kept = common.row_at(op["slopes"], r, n, one), common.row_at(op["kept"], r, n, one)
        found = common.row_at(gradient, r, op["n_in"], one)
        for i in range(found.size):
            found[i] = 0
        for j in range(n):
            found[np.int64(lines[j])] += slopes[j] * kept[j]


KIND = Kind(forward, backward, kept_bytes=one_each)
