"""Embedding: each input column holds category numbers, which are replaced by rows of a table.

In the backward pass, a row of the table gets the sum of the gradients of all places where it was
looked up. A number that is not a category becomes nan.
"""

from __future__ import annotations

import numpy as np

from .. import interfaces
from ..compiler.jit import itemsize, jit, numbers
from ..step import shares
from ..views import Block
from . import common
from .kind import Kind
from .parameters import gradient_place, use_gradient


@jit
def _category(value, n):
    """The category that a number stands for, or -1."""
    if not 0 <= value < n:
        return np.int64(-1)
    found = np.int64(value)
    return found if found == value else np.int64(-1)


@interfaces.OP.kernel
def forward(turn, s, one):
    """Look this thread's rows up."""
    block, op, x = shares.my_block(turn, s, one), turn.ops[s], common.inputs_of(turn, s, one)
    width, n_in, table = (
        op["weight_width"],
        op["n_in"],
        turn.model["params"] + op["weights"] * itemsize(one),
    )
    for r in range(block.first, block.last):
        row, values = (
            common.row_of(x, r, n_in, one),
            common.row_at(op["values"], r, op["n_out"], one),
        )
        for i in range(n_in):
            category = _category(row[i], op["weight_rows"])
            if category < 0:
                for j in range(width):
                    values[i * width + j] = np.nan
                continue
            found = common.row_at(table, category, width, one)
            for j in range(width):
                values[i * width + j] = found[j]
    common.finish_forward(turn, s, block, one)


@interfaces.OP.kernel
def backward(turn, s, one):
    """Category numbers have no gradient."""
    block, n_in = shares.my_block(turn, s, one), turn.ops[s]["n_in"]
    gradient = common.source_gradient(turn, s, block.first, one)
    for r in range(block.first, block.last):
        found = common.row_at(gradient, r, n_in, one)
        for i in range(n_in):
            found[i] = 0


@jit
def _add_slopes(turn, s, first, last, grads, one):
    """Add the batch's slopes to rows first..last of the table's gradient, which is at `grads`."""
    op, x, width = turn.ops[s], common.inputs_of(turn, s, one), turn.ops[s]["weight_width"]
    every = numbers(grads, (last - first) * width, one)
    for i in range(every.size):
        every[i] = 0
    for r in range(turn.batch):
        row, slopes = (
            common.row_of(x, r, op["n_in"], one),
            common.row_at(op["slopes"], r, op["n_out"], one),
        )
        for i in range(op["n_in"]):
            category = _category(row[i], op["weight_rows"])
            if first <= category < last:
                found = common.row_at(grads, category - first, width, one)
                for j in range(width):
                    found[j] += slopes[i * width + j]


@interfaces.OP.kernel
def gradient(turn, s, one):
    """Gradient of this thread's rows of the table, block by block, each updated while cached."""
    op, width = turn.ops[s], turn.ops[s]["weight_width"]
    mine, height = shares.my_weight_rows(turn, s), op["block_rows"]
    for first in range(mine[0], mine[1], height):
        last = min(mine[1], first + height)
        start = op["weights"] + first * width
        grads, stride = gradient_place(turn, start, width, width, one)
        _add_slopes(turn, s, first, last, grads, one)
        use_gradient(turn, s, Block(first, last, 0, width), grads, stride, one)


KIND = Kind(forward, backward, gradient)
