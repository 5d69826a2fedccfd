"""Members: the columns once for each member, times learned factors.

Forward y = w_m x for member m, backward dx = the sum over the members of w_m dy_m, and dw is the
sum over the batch of x dy.
"""

from __future__ import annotations

from .. import interfaces
from ..step import shares
from . import common
from .kind import Kind, one_each
from .parameters import vector_gradient


@interfaces.OP.kernel
def forward(turn, s, one):
    """This thread's rows times the factors of each member."""
    block, op = shares.my_block(turn, s, one), turn.ops[s]
    x, factors = common.inputs_of(turn, s, one), common.weights_of(turn, s, one)
    n_in, n_out = op["n_in"], op["n_out"]
    for r in range(block.first, block.last):
        row = common.row_of(x, r, n_in, one)
        kept = common.row_at(op["kept"], r, n_out, one)
        values = common.row_at(op["values"], r, n_out, one)
        for left in range(0, n_out, n_in):
            for j in range(n_in):
                kept[left + j] = row[j]
                values[left + j] = factors[left + j] * row[j]
    common.finish_forward(turn, s, block, one)


@interfaces.OP.kernel
def backward(turn, s, one):
    """The gradient of this thread's rows of the inputs: sums over the members."""
    block, op = shares.my_block(turn, s, one), turn.ops[s]
    gradient = common.source_gradient(turn, s, block.first, one)
    factors, n_in, n_out = common.weights_of(turn, s, one), op["n_in"], op["n_out"]
    for r in range(block.first, block.last):
        slopes = common.row_at(op["slopes"], r, n_out, one)
        found = common.row_at(gradient, r, n_in, one)
        for j in range(n_in):
            found[j] = factors[j] * slopes[j]
        for left in range(n_in, n_out, n_in):
            for j in range(n_in):
                found[j] += factors[left + j] * slopes[left + j]


KIND = Kind(forward, backward, vector_gradient, one_each)
