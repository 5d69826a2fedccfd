"""A first dense layer on sparse rows, which are read in place: its product and its gradient.

Activation and dropout are those of any dense op.
"""

from __future__ import annotations

from typing import Any

from .. import interfaces
from ..compiler.calls import Kernel
from ..compiler.jit import itemsize, jit
from ..plan import INT32_BYTES
from ..products import sparse
from ..step import rows, shares
from ..views import Block, ByColumns, Csr, Inputs, Matrix, Weights
from . import common, dense, parameters

OP = interfaces.OP.kernel


@jit
def _csr_of(turn):
    """The samples' sparse rows."""
    samples = turn.samples
    return Csr(samples["x"], samples["x_indices"], samples["x_indptr"])


def _forward_with(product: Any, name: str) -> Kernel:
    def forward(turn, s, one):
        op, size = turn.ops[s], itemsize(one)
        block, home = shares.my_block(turn, s, one), shares.home(turn, s, one)
        weights = Weights(
            home.params + home.weights * size, op["n_out"], home.params + home.biases * size,
            op["n_in"], op["n_out"],
        )  # fmt: skip
        panel = dense.panel_of(turn)
        product(_csr_of(turn), turn.order, block, weights, op["values"], panel, one)
        common.finish_forward(turn, s, block, one)

    return interfaces.OP.kernel(forward, name)


forward = _forward_with(sparse.sparse_forward, "sparse_forward")
forward_to_one = _forward_with(sparse.sparse_forward_to_one, "sparse_forward_to_one")


@jit
def _columns_of_batch(turn):
    """Where this thread stores the batch's non-zeros sorted by columns."""
    space, thread = turn.space, turn.thread
    starts = space["column_starts"] + thread * (turn.samples["n_features"] + 2) * INT32_BYTES
    return ByColumns(starts, space["column_places"], space["column_factors"])


@jit
def _slopes(turn, s, left, right, one):
    """Columns left..right of the linear output's gradient, read in place."""
    op, size, width = turn.ops[s], itemsize(one), right - left
    at, n_out = op["slopes"] + left * size, op["n_out"]
    if not op["packs_slopes"]:
        return Matrix(at, n_out)
    slopes, panel = Inputs(at, n_out * size, turn.space["positions"]), dense.panel_of(turn)
    rows.copy_rows(slopes, 0, turn.batch, width, Matrix(panel, width), one)
    return Matrix(panel, width)


@jit
def _few_non_zeros(turn, s, mine, one):
    """Gradient and update of this thread's share of W, computed sample by sample."""
    op, size = turn.ops[s], itemsize(one)
    n_out, grads = op["n_out"], turn.model["grads"] + op["weights"] * size
    slopes, out = Matrix(op["slopes"], n_out), Matrix(grads, n_out)
    sparse.sparse_weight_gradient(_csr_of(turn), turn.order, turn.batch, slopes, mine, out, one)
    grads += (mine.first * n_out + mine.left) * size
    parameters.use_gradient(turn, s, mine, grads, n_out, one)


@jit
def _sorted(turn, s, mine, one):
    """As `_few_non_zeros`, computed block by block and column by column."""
    op, found, csr = turn.ops[s], _columns_of_batch(turn), _csr_of(turn)
    n_in, n_out, zeros = op["n_in"], op["n_out"], turn.space["zeros"]
    sparse.sort_by_columns(csr, turn.order, turn.batch, mine.first, mine.last, n_in, found, one)
    height, width = op["block_rows"], op["block_columns"]
    for left in range(mine.left, mine.right, width):
        right = min(mine.right, left + width)
        slopes, n_columns = _slopes(turn, s, left, right, one), right - left
        for first in range(mine.first, mine.last, height):
            last = min(mine.last, first + height)
            start = op["weights"] + first * n_out + left
            grads, stride = parameters.gradient_place(turn, start, n_out, n_columns, one)
            sparse.sorted_weight_gradient(
                found, slopes, first, last, n_columns, zeros, Matrix(grads, stride), one
            )
            parameters.use_gradient(turn, s, Block(first, last, left, right), grads, stride, one)


@OP
def sparse_gradient(turn, s, one):
    """Gradient of this thread's weights and biases."""
    mine, n_in = shares.my_weights(turn, s, one), turn.ops[s]["n_in"]
    if sparse.fills_columns(turn.samples["x_indptr"], turn.order, turn.batch, n_in):
        _sorted(turn, s, mine, one)
    else:
        _few_non_zeros(turn, s, mine, one)
    parameters.bias_gradient(turn, s, one)
