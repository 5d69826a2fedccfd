"""PReLU: a rectifier with a learned slope below zero for each column.

Forward y = x above 0, else a x; backward dx = dy above 0, else a dy, and da is the sum over the
batch of x dy where x is not above 0.
"""

from __future__ import annotations

from .. import interfaces
from ..step import shares
from . import common
from .kind import Kind, one_each
from .parameters import vector_gradient


@interfaces.OP.kernel
def forward(turn, s, one):
    """This thread's rows, with numbers below zero multiplied by the factors."""
    block, op, n = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["n_out"]
    x, factors, zero = common.inputs_of(turn, s, one), common.weights_of(turn, s, one), type(one)(0)
    for r in range(block.first, block.last):
        row, kept = common.row_of(x, r, n, one), common.row_at(op["kept"], r, n, one)
        values = common.row_at(op["values"], r, n, one)
        for j in range(n):
            kept[j] = zero if row[j] > 0 else row[j]
            values[j] = row[j] if row[j] > 0 else factors[j] * row[j]
    common.finish_forward(turn, s, block, one)


@interfaces.OP.kernel
def backward(turn, s, one):
    """The gradient of this thread's rows of the inputs."""
    block, op, n = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["n_out"]
    x, factors = common.inputs_of(turn, s, one), common.weights_of(turn, s, one)
    gradient = common.source_gradient(turn, s, block.first, one)
    for r in range(block.first, block.last):
        row, slopes = common.row_of(x, r, n, one), common.row_at(op["slopes"], r, n, one)
        found = common.row_at(gradient, r, n, one)
        for j in range(n):
            found[j] = slopes[j] if row[j] > 0 else factors[j] * slopes[j]


KIND = Kind(forward, backward, vector_gradient, one_each)
