"""GroupedDense: groups of neighbouring columns, each with a dense product of its own.

Row i of W has the weights of input i for the d outputs of its group. With one column in a group,
y = x W + b is a line for each output.
"""

from __future__ import annotations

from .. import interfaces
from ..compiler.jit import doubles, itemsize, jit, numbers
from ..step import shares
from ..tuning import HOT_NUMBERS
from ..views import Block
from . import common
from .kind import Kind
from .parameters import bias_gradient, gradient_place, use_gradient


@jit
def _group_size(op):
    """Columns of a group."""
    return int(doubles(op["options"], 1)[0])


@jit
def _weights(turn, s, one):
    """W, row after row."""
    op = turn.ops[s]
    at = turn.model["params"] + op["weights"] * itemsize(one)
    return numbers(at, op["weight_rows"] * op["weight_width"], one)


@jit
def _add_product(x, factors, values):
    """values[o] += x factors[o]."""
    for o in range(values.size):
        values[o] += x * factors[o]


@interfaces.OP.kernel
def forward(turn, s, one):
    """This thread's rows times W, group by group."""
    block, op, d = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["weight_width"]
    x, weights, biases = (
        common.inputs_of(turn, s, one), _weights(turn, s, one), common.biases_of(turn, s, one),
    )  # fmt: skip
    size, n_in = _group_size(op), op["n_in"]
    for r in range(block.first, block.last):
        row, values = (
            common.row_of(x, r, n_in, one),
            common.row_at(op["values"], r, op["n_out"], one),
        )
        for j in range(values.size):
            values[j] = biases[j]
        for i in range(n_in):
            start = i // size * d
            _add_product(row[i], weights[i * d : (i + 1) * d], values[start : start + d])
    common.finish_forward(turn, s, block, one)


@interfaces.OP.kernel
def backward(turn, s, one):
    """The gradient of this thread's rows of the inputs."""
    block, op, d = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["weight_width"]
    weights, size = _weights(turn, s, one), _group_size(op)
    gradient = common.source_gradient(turn, s, block.first, one)
    for r in range(block.first, block.last):
        slopes, found = (
            common.row_at(op["slopes"], r, op["n_out"], one),
            common.row_at(gradient, r, op["n_in"], one),
        )
        for i in range(op["n_in"]):
            start, total = i // size * d, type(one)(0)
            for o in range(d):
                total += slopes[start + o] * weights[i * d + o]
            found[i] = total


@jit
def _sum_products(turn, s, first, last, grads, one):
    """The gradient of rows first..last of W, at the address `grads`: sums over the batch."""
    op, x, d = turn.ops[s], common.inputs_of(turn, s, one), turn.ops[s]["weight_width"]
    size, found = _group_size(op), numbers(grads, (last - first) * d, one)
    for j in range(found.size):
        found[j] = 0
    for r in range(turn.batch):
        row, slopes = (
            common.row_of(x, r, op["n_in"], one),
            common.row_at(op["slopes"], r, op["n_out"], one),
        )
        for i in range(first, last):
            start, place = i // size * d, (i - first) * d
            _add_product(row[i], slopes[start : start + d], found[place : place + d])


@interfaces.OP.kernel
def gradient(turn, s, one):
    """Gradient of this thread's rows of W, block by block, each updated while cached; then of b."""
    op, d = turn.ops[s], turn.ops[s]["weight_width"]
    mine, height = shares.my_weight_rows(turn, s), max(1, HOT_NUMBERS // d)
    for first in range(mine[0], mine[1], height):
        last = min(mine[1], first + height)
        grads, _ = gradient_place(turn, op["weights"] + first * d, d, d, one)
        _sum_products(turn, s, first, last, grads, one)
        use_gradient(turn, s, Block(first, last, 0, d), grads, d, one)
    bias_gradient(turn, s, one)


KIND = Kind(forward, backward, gradient)
