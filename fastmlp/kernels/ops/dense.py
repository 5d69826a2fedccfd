"""A dense product with the activation and dropout that follow it, in one op.

There are variants for one or few outputs (vectors run along the inputs), for layers whose blocks
are packed before they are used, for one row, and for the op whose inputs threads share out.
"""

from __future__ import annotations

from typing import Any

from .. import interfaces
from ..compiler.calls import Kernel
from ..compiler.jit import inlined, itemsize, jit
from ..products import matmul, narrow, one_row, row_in_place
from ..products.sums import n_parts
from ..products.tiles import tile_width
from ..step import rows, shares
from ..tuning import FEW_COLUMNS
from ..views import Block, Inputs, Matrix, Panels, Span, Sums, Tools, Weights
from . import common
from .parameters import bias_gradient, gradient_place, use_gradient

OP = interfaces.OP.kernel
_gather, _weight_gradient = interfaces.GATHER.call, interfaces.WEIGHT_GRADIENT.call


@inlined
def panel_of(turn):
    """Address of this thread's memory for packed panels of a matrix."""
    return turn.space["panels"] + turn.thread * turn.space["panel_bytes"]


# ---------------------------------------------------------------- forward


@inlined
def _forward_tools(turn, s):
    """What the products of op s need beside their operands."""
    op, space = turn.ops[s], turn.space
    return Tools(op["product"], space["zeros"], space["positions"], panel_of(turn))


def _forward_with(product: Any, name: str) -> Kernel:
    def forward(turn, s, one):
        """This thread's block of the product, then its activation."""
        op, size = turn.ops[s], itemsize(one)
        block, home = shares.my_block(turn, s, one), shares.home(turn, s, one)
        offset, stride = shares.layout(turn, s, one)
        weights = Weights(
            home.params + home.weights * size, home.stride, home.params + home.biases * size,
            op["n_in"], op["n_out"],
        )  # fmt: skip
        out = Matrix(op["values"] + offset, stride)
        product(_forward_tools(turn, s), common.inputs_of(turn, s, one), block, weights, out, one)
        common.finish_forward(turn, s, block, one)

    return interfaces.OP.kernel(forward, name)


forward = _forward_with(matmul.dense_forward, "dense_forward")
forward_packed = _forward_with(matmul.dense_forward_packed, "dense_forward_packed")
forward_of_one = _forward_with(row_in_place.forward, "dense_forward_of_one")


@OP
def forward_from_panels(turn, s, one):
    """For one thread, and for weights that do not change: they lie in panels already."""
    op = turn.ops[s]
    n_out, biases = op["n_out"], turn.model["params"] + op["biases"] * itemsize(one)
    weights = Weights(op["panels"], tile_width(one), biases, op["n_in"], n_out)
    matmul.forward_from_panels(
        op["product"], common.inputs_of(turn, s, one), Span(0, turn.batch, 0), weights,
        Matrix(op["values"], n_out), one,
    )  # fmt: skip
    common.finish_forward(turn, s, Block(0, turn.batch, 0, n_out), one)


def _forward_of_row_with(stored: one_row.Stored) -> Kernel:
    product = one_row.forward_with(stored)

    def forward(turn, s, one):
        """For a batch of one row, and for weights in wide panels that do not change."""
        op, x = turn.ops[s], common.inputs_of(turn, s, one)
        n_out, biases = op["n_out"], turn.model["params"] + op["biases"] * itemsize(one)
        weights = Weights(op["panels"], 0, biases, op["n_in"], n_out)
        product(rows.row_address(x, 0), weights, op["values"], one)
        common.finish_forward(turn, s, Block(0, 1, 0, n_out), one)

    name = "_".join(filter(None, ("dense_forward_of_row", stored.name)))
    return interfaces.OP.kernel(forward, name)


FORWARD_OF_ROW = {stored.name: _forward_of_row_with(stored) for stored in one_row.STORED.values()}


@jit
def _gather_my_inputs(turn, s, one):
    """Convert the columns that are this thread's; returns up to which row to ask for rows ahead."""
    samples, rows_per_step = turn.samples, turn.call["rows_per_step"]
    if s == 0 and samples["gather"] != 0:
        left, right = shares.my_inputs(turn)
        _gather(samples["gather"], (turn, 0, turn.batch, left, right, one))
    elif s == 0:
        n_steps = -(-samples["n_rows"] // rows_per_step)
        done = turn.step % n_steps * rows_per_step + turn.first_row
        return samples["n_rows"] - done  # left of the epoch
    return 0


def _forward_shared_with(product: Any, name: str) -> Kernel:
    @jit
    def multiply_my_inputs(turn, s, one):
        """This thread's contribution to the shared op; its rows of W stay in this core's cache."""
        op, crew, size, params = turn.ops[s], turn.crew, itemsize(one), turn.model["params"]
        span = Span(0, turn.batch, _gather_my_inputs(turn, s, one))
        parts, first, last = shares.my_parts(turn)
        base, out = turn.space["zeros"], crew["parts"]
        part_bytes = turn.call["batch_size"] * op["n_out"] * size
        if turn.thread == 0:  # its parts follow the biases in the sum, so it can add them up itself
            base, part_bytes = params + op["biases"] * size, 0
        else:
            out += (shares.stored_part(parts, crew["n_threads"], first) - first) * part_bytes
        weights = Weights(params + op["weights"] * size, op["n_out"], base, op["n_in"], op["n_out"])
        sums = Sums(op["n_in"], parts, first, last)
        product(
            _forward_tools(turn, s), common.inputs_of(turn, s, one), span, sums, weights,
            Matrix(out, op["n_out"]), part_bytes, one,
        )  # fmt: skip

    def forward_shared(turn, s, one):
        """For the op whose inputs threads share out: each multiplies those of its rows of W.

        All rows of the batch are multiplied before the first block of them goes on to the next op.
        """
        if shares.is_first_block(turn):
            multiply_my_inputs(turn, s, one)
            shares.meet(turn)
        op, crew, block = turn.ops[s], turn.crew, shares.my_block(turn, s, one)
        parts = n_parts(op["n_in"], op["n_out"])
        stored = shares.stored_part(parts, crew["n_threads"], parts)
        part_bytes = turn.call["batch_size"] * op["n_out"] * itemsize(one)
        matmul.add_parts(
            crew["parts"], part_bytes, stored, block.first, block.last, op["n_out"], op["values"],
            one,
        )  # fmt: skip
        common.finish_forward(turn, s, block, one)

    return interfaces.OP.kernel(forward_shared, name)


forward_shared = _forward_shared_with(matmul.forward_parts, "forward_shared")
forward_shared_packed = _forward_shared_with(matmul.forward_parts_packed, "forward_shared_packed")
forward_shared_of_one = _forward_shared_with(row_in_place.forward_parts, "forward_shared_of_one")


# ---------------------------------------------------------------- backward


@inlined
def _inputs_block(turn, s, one):
    """The block of the inputs whose gradient this thread computes, after a barrier if needed."""
    source = turn.ops[s]["source"]
    if shares.shares_columns(turn, source):
        shares.meet(turn)
    return shares.my_block(turn, source, one)


@inlined
def _backward_views(turn, s, one):
    """Operands of the product with W^T: its tools, the linear output's gradient, and W."""
    op = turn.ops[s]
    n_in, n_out = op["n_in"], op["n_out"]
    positions = turn.space["positions"]
    tools = Tools(op["back_product"], turn.space["zeros"], positions, panel_of(turn))
    slopes = Inputs(op["slopes"], n_out * itemsize(one), positions)
    at = turn.model["params"] + op["weights"] * itemsize(one)
    return tools, slopes, Weights(at, n_out, 0, n_in, n_out)


def _backward_with(product: Any, name: str) -> Kernel:
    def backward(turn, s, one):
        block = _inputs_block(turn, s, one)
        tools, slopes, weights = _backward_views(turn, s, one)
        gradient, stride = common.gradient_of(turn, turn.ops[s]["source"], block.first, one)
        product(tools, slopes, block, weights, Matrix(gradient, stride), one)

    return interfaces.OP.kernel(backward, name)


backward = _backward_with(matmul.input_gradient, "dense_backward")
backward_from_few = _backward_with(narrow.input_gradient, "dense_backward_from_few")


@OP
def backward_times_slopes(turn, s, one):
    """For few outputs: multiplies the source's slopes directly, so its `scale` is left out."""
    block = _inputs_block(turn, s, one)
    tools, slopes, weights = _backward_views(turn, s, one)
    source = turn.ops[s]["source"]
    offset, stride = shares.layout(turn, source, one)
    out = Matrix(turn.ops[source]["slopes"] + offset, stride)
    narrow.times_input_gradient(tools, slopes, block, weights, out, one)


# ---------------------------------------------------------------- gradient


@jit
def _slopes_packed(turn, s, left, right, one):
    """Columns left..right of the linear output's gradient, packed into panels."""
    op, panel, width = turn.ops[s], panel_of(turn), tile_width(one)
    offset, stride = shares.layout(turn, s, one)
    source = Matrix(op["slopes"] + offset + left * itemsize(one), stride)
    matmul.pack_columns(source, turn.batch, right - left, panel, one)
    return Panels(panel, width, turn.batch * width * itemsize(one))


@inlined
def _slopes_for_gradient(turn, s, left, right, one):
    """Those columns, packed into panels or read in place."""
    if turn.ops[s]["packs_slopes"]:
        return _slopes_packed(turn, s, left, right, one)
    offset, stride = shares.layout(turn, s, one)
    size = itemsize(one)
    at = turn.ops[s]["slopes"] + offset + left * size
    return Panels(at, stride, tile_width(one) * size)


@inlined
def _inputs_in_place(turn, s, first, last, one):
    """Columns first..last of the inputs, read in place."""
    x = common.inputs_of(turn, s, one)
    return Inputs(x.at + first * itemsize(one), x.stride, x.order)


@jit
def _inputs_packed(turn, s, first, last, one):
    """As `_inputs_in_place`, packed into adjacent memory after the panels of slopes."""
    x, size, width = common.inputs_of(turn, s, one), itemsize(one), last - first
    panel = panel_of(turn) + turn.ops[s]["block_columns"] * turn.batch * size
    columns = Inputs(x.at + first * size, x.stride, x.order)
    rows.copy_rows(columns, 0, turn.batch, width, Matrix(panel, width), one)
    return Inputs(panel, width * size, turn.space["positions"])


def _gradient_with(columns_of: Any, name: str) -> Kernel:
    @jit
    def weight_gradient(turn, s, one):
        """This thread's share of a W, block by block, each updated while it is in the cache."""
        mine, op = shares.my_weights(turn, s, one), turn.ops[s]
        height, width = op["block_rows"], op["block_columns"]
        for left in range(mine.left, mine.right, width):
            right = min(mine.right, left + width)
            d = _slopes_for_gradient(turn, s, left, right, one)
            product = op["weight_gradient"]
            if right - left <= FEW_COLUMNS and op["narrow_gradient"] != 0:
                product = op["narrow_gradient"]
            for first in range(mine.first, mine.last, height):
                last = min(mine.last, first + height)
                start = op["weights"] + first * op["n_out"] + left
                grads, stride = gradient_place(turn, start, op["n_out"], right - left, one)
                x = columns_of(turn, s, first, last, one)
                _weight_gradient(product, (
                    x, turn.batch, d, last - first, right - left, Matrix(grads, stride), one,
                ))  # fmt: skip
                block = Block(first, last, left, right)
                use_gradient(turn, s, block, grads, stride, one)

    def gradient(turn, s, one):
        weight_gradient(turn, s, one)
        bias_gradient(turn, s, one)

    return interfaces.OP.kernel(gradient, name)


gradient = _gradient_with(_inputs_in_place, "dense_gradient")
gradient_packed = _gradient_with(_inputs_packed, "dense_gradient_packed")
