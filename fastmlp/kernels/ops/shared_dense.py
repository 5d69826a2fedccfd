"""SharedDense: one dense product for the columns of every member.

An array (batch, members * n) lies in memory like an array (batch * members, n), so this is an
ordinary dense product with `members` times as many rows. Its operands are packed like those of wide
layers.
"""

from __future__ import annotations

from .. import interfaces
from ..compiler.jit import doubles, itemsize, jit
from ..products import matmul
from ..products.tiles import tile_width
from ..step import rows, shares
from ..views import Block, Inputs, Matrix, Panels, Tools, Weights
from . import common
from .dense import panel_of
from .kind import Kind
from .parameters import bias_gradient, gradient_place, use_gradient

_weight_gradient = interfaces.WEIGHT_GRADIENT.call


@jit
def _members(op):
    """Rows of the product for each row of the batch."""
    return int(doubles(op["options"], 1)[0])


@jit
def _my_rows(turn, s, columns):
    """This thread's rows of the product, with so many columns."""
    members = _members(turn.ops[s])
    first, last = shares.my_rows(turn)
    return Block(first * members, last * members, 0, columns)


@jit
def _weights(turn, s, one):
    op, size = turn.ops[s], itemsize(one)
    biases = turn.model["params"] + op["biases"] * size
    at = turn.model["params"] + op["weights"] * size
    return Weights(at, op["weight_width"], biases, op["weight_rows"], op["weight_width"])


@jit
def _inputs(turn, s, one):
    """The inputs as rows of the product; a batch's rows follow each other in memory."""
    x, width = common.inputs_of(turn, s, one), turn.ops[s]["weight_rows"]
    return Inputs(x.at, width * itemsize(one), turn.space["positions"])


@interfaces.OP.kernel
def forward(turn, s, one):
    """This thread's rows of the product, then the activation."""
    op, space = turn.ops[s], turn.space
    tools = Tools(op["product"], space["zeros"], space["positions"], panel_of(turn))
    weights = _weights(turn, s, one)
    out, block = Matrix(op["values"], weights.n_out), _my_rows(turn, s, weights.n_out)
    matmul.dense_forward_packed(tools, _inputs(turn, s, one), block, weights, out, one)
    common.finish_forward(turn, s, shares.my_block(turn, s, one), one)


@interfaces.OP.kernel
def backward(turn, s, one):
    """The gradient of this thread's rows of the inputs."""
    op, space, weights = turn.ops[s], turn.space, _weights(turn, s, one)
    tools = Tools(op["back_product"], space["zeros"], space["positions"], panel_of(turn))
    slopes = Inputs(op["slopes"], weights.n_out * itemsize(one), space["positions"])
    first, _ = shares.my_rows(turn)
    out = Matrix(common.source_gradient(turn, s, first, one), weights.n_in)
    block = _my_rows(turn, s, weights.n_in)
    matmul.input_gradient(tools, slopes, block, weights, out, one)


@jit
def _gradient_of_block(turn, s, block, grads, stride, one):
    """The gradient of a block of W, at an address; panels of slopes are packed already."""
    op, size, n_rows = turn.ops[s], itemsize(one), turn.batch * _members(turn.ops[s])
    width, height, x = block.right - block.left, block.last - block.first, _inputs(turn, s, one)
    slopes = Panels(panel_of(turn), tile_width(one), n_rows * tile_width(one) * size)
    table = panel_of(turn) + op["block_columns"] * n_rows * size
    columns = Inputs(x.at + block.first * size, x.stride, x.order)
    rows.copy_rows(columns, 0, n_rows, height, Matrix(table, height), one)
    packed = Inputs(table, height * size, turn.space["positions"])
    _weight_gradient(op["weight_gradient"], (
        packed, n_rows, slopes, height, width, Matrix(grads, stride), one,
    ))  # fmt: skip


@interfaces.OP.kernel
def gradient(turn, s, one):
    """Of this thread's rows of W, block by block, each updated while it is cached; then of b."""
    op, size, width = turn.ops[s], itemsize(one), turn.ops[s]["weight_width"]
    first_of_mine, end = shares.my_weight_rows(turn, s)
    for left in range(0, width, op["block_columns"]):
        right = min(width, left + op["block_columns"])
        source = Matrix(op["slopes"] + left * size, width)
        n_rows = turn.batch * _members(op)
        matmul.pack_columns(source, n_rows, right - left, panel_of(turn), one)
        for first in range(first_of_mine, end, op["block_rows"]):
            block = Block(first, min(end, first + op["block_rows"]), left, right)
            start = op["weights"] + first * width + left
            grads, stride = gradient_place(turn, start, width, right - left, one)
            _gradient_of_block(turn, s, block, grads, stride, one)
            use_gradient(turn, s, block, grads, stride, one)
    bias_gradient(turn, s, one)


KIND = Kind(forward, backward, gradient)
