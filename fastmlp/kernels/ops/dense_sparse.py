"""A first dense layer on sparse rows, which are read as they lie: its products and its gradient.

What follows the product is that of any dense op.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import interfaces, matmul, rows, shares, sparse
from ..calls import Kernel
from ..jit import itemsize, jit
from ..plan import INT32_BYTES
from ..views import Block, Panels
from . import common, dense

OP = interfaces.OP.kernel


class Columns(NamedTuple):
    """Where a thread has the batch's non-zeros by columns: their starts, rows and values."""

    starts: Any
    places: Any
    factors: Any


def _forward_with(product: Any, name: str) -> Kernel:
    def forward(turn, s, one):
        op, samples, size = turn.ops[s], turn.samples, itemsize(one)
        block, home = shares.my_block(turn, s, one), shares.home(turn, s, one)
        product(
            samples["x"], samples["x_indices"], samples["x_indptr"], turn.order, block.first,
            block.last, block.left, block.right, home.params + home.weights * size,
            home.params + home.biases * size, op["n_in"], op["n_out"], op["values"],
            dense.panel_of(turn), one,
        )  # fmt: skip
        common.finish_forward(turn, s, block, one)

    return interfaces.OP.kernel(forward, name)


forward = _forward_with(sparse.sparse_forward, "sparse_forward")
forward_to_one = _forward_with(sparse.sparse_forward_to_one, "sparse_forward_to_one")


@jit
def _columns_of_batch(turn, one):
    space, thread = turn.space, turn.thread
    starts = space["column_starts"] + thread * (turn.samples["n_features"] + 2) * INT32_BYTES
    offset = thread * space["most_non_zeros"] if turn.crew["by_columns"] else 0
    places = space["column_places"] + offset * INT32_BYTES
    return Columns(starts, places, space["column_factors"] + offset * itemsize(one))


@jit
def _slopes(turn, s, left, right, one):
    """Where columns left..right of the linear output's gradient are read from."""
    op, size, width = turn.ops[s], itemsize(one), right - left
    at, n_out = op["slopes"] + left * size, op["n_out"]
    if not matmul.is_wide(n_out, size):
        return Panels(at, n_out, 0)
    panel = dense.panel_of(turn)
    rows.copy_rows(
        at, n_out * size, turn.space["positions"], 0, turn.batch, width, panel, width, one
    )
    return Panels(panel, width, 0)


@jit
def _few_non_zeros(turn, s, mine, one):
    """Gradient of all of W that is this thread's, and what comes of it, sample by sample."""
    op, samples, size = turn.ops[s], turn.samples, itemsize(one)
    n_out, grads = op["n_out"], turn.model["grads"] + op["weights"] * size
    sparse.sparse_weight_gradient(
        samples["x"], samples["x_indices"], samples["x_indptr"], turn.order, turn.batch,
        op["slopes"], mine.first, mine.last, mine.left, mine.right, n_out, grads, one,
    )  # fmt: skip
    grads += (mine.first * n_out + mine.left) * size
    dense.use_gradient(turn, s, mine, grads, n_out, one)


@jit
def _sorted(turn, s, mine, one):
    """As `_few_non_zeros`, block by block and column by column."""
    op, samples, found = turn.ops[s], turn.samples, _columns_of_batch(turn, one)
    sparse.sort_by_columns(
        samples["x"], samples["x_indices"], samples["x_indptr"], turn.order, turn.batch,
        mine.first, mine.last, op["n_in"], found.starts, found.places, found.factors, one,
    )  # fmt: skip
    height, width = dense.block_sizes(op["n_out"], one)
    for left in range(mine.left, mine.right, width):
        right = min(mine.right, left + width)
        d = _slopes(turn, s, left, right, one)
        for first in range(mine.first, mine.last, height):
            block = Block(first, min(mine.last, first + height), left, right)
            start = op["weights"] + first * op["n_out"] + left
            grads, stride = dense.gradient_place(turn, start, op["n_out"], right - left, one)
            sparse.sorted_weight_gradient(
                found.starts, found.places, found.factors, d.at, d.stride, first, block.last,
                right - left, turn.space["zeros"], grads, stride, one,
            )  # fmt: skip
            dense.use_gradient(turn, s, block, grads, stride, one)


@OP
def sparse_gradient(turn, s, one):
    """Gradient of this thread's weights and biases."""
    mine, n_in = shares.my_weights(turn, s, one), turn.ops[s]["n_in"]
    if sparse.fills_columns(turn.samples["x_indptr"], turn.order, turn.batch, n_in):
        _sorted(turn, s, mine, one)
    else:
        _few_non_zeros(turn, s, mine, one)
    dense.bias_gradient(turn, s, one)
