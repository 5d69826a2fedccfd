"""GroupedDense: groups of neighbouring columns, each with a dense product of its own.

Row i of W has the weights of input i for the d outputs of its group. Groups of one column, whose
products are lines, have kernels of their own; others use the tiles of dense layers, group by group.
"""

from __future__ import annotations

from typing import Any

from .. import interfaces
from ..compiler.calls import Kernel
from ..compiler.jit import doubles, itemsize, jit, numbers
from ..products import matmul
from ..products.tiles import tile_width
from ..step import shares
from ..views import Block, Inputs, Matrix, Panels, Tools, Weights
from . import common
from .dense import panel_of
from .kind import Kind
from .parameters import bias_gradient, gradient_place, use_gradient

_weight_gradient = interfaces.WEIGHT_GRADIENT.call


@jit
def _group_size(op):
    """Columns of a group."""
    return int(doubles(op["options"], 1)[0])


@jit
def _tools(turn, s, product):
    """What products need besides their operands."""
    space = turn.space
    return Tools(product, space["zeros"], space["positions"], panel_of(turn))


@jit
def _weights_of_group(turn, s, group, one):
    """The weights and biases of a group."""
    op, size, params = turn.ops[s], itemsize(one), turn.model["params"]
    d, n = op["weight_width"], _group_size(op)
    return Weights(
        params + (op["weights"] + group * n * d) * size, d,
        params + (op["biases"] + group * d) * size, n, d,
    )  # fmt: skip


@interfaces.OP.kernel
def forward(turn, s, one):
    """This thread's rows times W, group by group."""
    block, op, size = shares.my_block(turn, s, one), turn.ops[s], itemsize(one)
    x, d, n = common.inputs_of(turn, s, one), op["weight_width"], _group_size(op)
    tools, columns = _tools(turn, s, op["product"]), Block(block.first, block.last, 0, d)
    for group in range(op["n_in"] // n):
        inputs = Inputs(x.at + group * n * size, x.stride, x.order)
        out = Matrix(op["values"] + group * d * size, op["n_out"])
        weights = _weights_of_group(turn, s, group, one)
        matmul.dense_forward(tools, inputs, columns, weights, out, one)
    common.finish_forward(turn, s, block, one)


@interfaces.OP.kernel
def backward(turn, s, one):
    """The gradient of this thread's rows of the inputs."""
    block, op, size = shares.my_block(turn, s, one), turn.ops[s], itemsize(one)
    d, n, positions = op["weight_width"], _group_size(op), turn.space["positions"]
    gradient = common.source_gradient(turn, s, block.first, one)
    tools, columns = _tools(turn, s, op["back_product"]), Block(block.first, block.last, 0, n)
    for group in range(op["n_in"] // n):
        slopes = Inputs(op["slopes"] + group * d * size, op["n_out"] * size, positions)
        out = Matrix(gradient + group * n * size, op["n_in"])
        weights = _weights_of_group(turn, s, group, one)
        matmul.input_gradient(tools, slopes, columns, weights, out, one)


@jit
def _sums_of_groups(turn, s, first, last, grads, one):
    """The gradient of rows first..last of W, at the address `grads`."""
    op, size, x = turn.ops[s], itemsize(one), common.inputs_of(turn, s, one)
    d, n, panel_bytes = op["weight_width"], _group_size(op), tile_width(one) * size
    begin = first
    while begin < last:
        group = begin // n
        end = min(last, (group + 1) * n)
        slopes = Panels(op["slopes"] + group * d * size, op["n_out"], panel_bytes)
        _weight_gradient(op["weight_gradient"], (
            Inputs(x.at + begin * size, x.stride, x.order), turn.batch, slopes, end - begin, d,
            Matrix(grads + (begin - first) * d * size, d), one,
        ))  # fmt: skip
        begin = end


# ---------------------------------------------------------------- groups of one column


@interfaces.OP.kernel
def forward_of_one(turn, s, one):
    """A line for each output."""
    block, op, d = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["weight_width"]
    size, x, biases = itemsize(one), common.inputs_of(turn, s, one), common.biases_of(turn, s, one)
    at = turn.model["params"] + op["weights"] * size
    for r in range(block.first, block.last):
        row, values = common.row_of(x, r, op["n_in"], one), op["values"] + r * op["n_out"] * size
        for i in range(op["n_in"]):
            value, place = row[i], i * d * size
            factors, found = numbers(at + place, d, one), numbers(values + place, d, one)
            shifts = biases[i * d : (i + 1) * d]
            for j in range(d):
                found[j] = value * factors[j] + shifts[j]
    common.finish_forward(turn, s, block, one)


@interfaces.OP.kernel
def backward_of_one(turn, s, one):
    """The gradient of this thread's rows of the inputs: sums over each column's outputs."""
    block, op, d = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["weight_width"]
    at = turn.model["params"] + op["weights"] * itemsize(one)
    weights = numbers(at, op["n_out"], one)
    gradient = common.source_gradient(turn, s, block.first, one)
    for r in range(block.first, block.last):
        slopes = common.row_at(op["slopes"], r, op["n_out"], one)
        found = common.row_at(gradient, r, op["n_in"], one)
        for i in range(op["n_in"]):
            total = type(one)(0)
            for j in range(i * d, (i + 1) * d):
                total += slopes[j] * weights[j]
            found[i] = total


@jit
def _sums_of_columns(turn, s, first, last, grads, one):
    """As `_sums_of_groups`."""
    op, x, d = turn.ops[s], common.inputs_of(turn, s, one), turn.ops[s]["weight_width"]
    size, every = itemsize(one), numbers(grads, (last - first) * d, one)
    for j in range(every.size):
        every[j] = 0
    for r in range(turn.batch):
        row, slopes = common.row_of(x, r, op["n_in"], one), op["slopes"] + r * op["n_out"] * size
        for i in range(first, last):
            value, found = row[i], numbers(grads + (i - first) * d * size, d, one)
            dy = numbers(slopes + i * d * size, d, one)
            for j in range(d):
                found[j] += value * dy[j]


# ---------------------------------------------------------------- gradients of the parameters


def _gradient_with(sums: Any, name: str) -> Kernel:
    def gradient(turn, s, one):
        """Of this thread's rows of W, block by block, each updated while cached; then of b."""
        op, d = turn.ops[s], turn.ops[s]["weight_width"]
        mine, height = shares.my_weight_rows(turn, s), op["block_rows"]
        for first in range(mine[0], mine[1], height):
            last = min(mine[1], first + height)
            grads, _ = gradient_place(turn, op["weights"] + first * d, d, d, one)
            sums(turn, s, first, last, grads, one)
            use_gradient(turn, s, Block(first, last, 0, d), grads, d, one)
        bias_gradient(turn, s, one)

    return interfaces.OP.kernel(gradient, name)


gradient = _gradient_with(_sums_of_groups, "grouped_gradient")
gradient_of_one = _gradient_with(_sums_of_columns, "gradient_of_single_columns")

KIND = Kind(forward, backward, gradient)
OF_ONE = Kind(forward_of_one, backward_of_one, gradient_of_one)
