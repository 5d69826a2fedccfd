"""Scale: each column is multiplied by a learned factor.

Forward y = g x, backward dx = g dy, and dg is the sum over the batch of x dy.
"""

from __future__ import annotations

from .. import interfaces
from ..step import shares
from . import common
from .kind import Kind, one_each
from .parameters import vector_gradient


@interfaces.OP.kernel
def forward(turn, s, one):
    """This thread's rows times the factors."""
    block, op, n = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["n_out"]
    x, factors = common.inputs_of(turn, s, one), common.weights_of(turn, s, one)
    for r in range(block.first, block.last):
        row, kept = common.row_of(x, r, n, one), common.row_at(op["kept"], r, n, one)
        values = common.row_at(op["values"], r, n, one)
        for j in range(n):
            kept[j] = row[j]
            values[j] = factors[j] * row[j]
    common.finish_forward(turn, s, block, one)


@interfaces.OP.kernel
def backward(turn, s, one):
    """The gradient of this thread's rows of the inputs."""
    block, op, n = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["n_out"]
    gradient, factors = (
        common.source_gradient(turn, s, block.first, one),
        common.weights_of(turn, s, one),
    )
    for r in range(block.first, block.last):
        slopes, found = (
            common.row_at(op["slopes"], r, n, one),
            common.row_at(gradient, r, n, one),
        )
        for j in range(n):
            found[j] = factors[j] * slopes[j]


KIND = Kind(forward, backward, vector_gradient, one_each)
