"""Branches: ops that copy values or select columns, and that add or concatenate branches.

A program remains a list of ops in execution order, with one branch after the other. An op's record
names the op that it reads, and `places` the others that it works with. In the backward pass, one
gradient is passed along at a time; those of other branches wait in the op that joins them.
"""

from __future__ import annotations

from .. import interfaces
from ..compiler.jit import itemsize, jit, longs
from ..step import rows, shares
from ..views import Inputs, Matrix
from . import activation, common
from .kind import Kind, Sizes

# `places` of a fork: the sum in which its branch ends. Of a sum: its fork.
# Of a selection: JOIN, the op in which its branch ends; BEFORE, the last op of the previous branch,
# or -1, and that branch's first column in the join; WANTED, whether its source needs a gradient;
# then the columns. Of a join: the number of branches, then last op and first column of each.
JOIN, BEFORE, BEFORE_LEFT, WANTED, COLUMNS = range(5)


def _kept_bytes_of_join(sizes: Sizes) -> int:
    """Bytes of the gradient of the branches' common inputs, which is accumulated in the join."""
    return sizes.batch_size * sizes.n_in * sizes.itemsize


@jit
def _copy(turn, source, width, block, n, target, one):
    """Copy n columns of this thread's rows from an address in a matrix `width` wide to another."""
    read = Inputs(source, width * itemsize(one), turn.space["positions"])
    rows.copy_rows(read, block.first, block.last, n, target, one)


@interfaces.OP.kernel
def fork_backward(turn, s, one):
    """Add the gradient of the branch and that of the sum."""
    block, op, n = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["n_out"]
    gradient, joined = (
        common.source_gradient(turn, s, block.first, one),
        turn.ops[longs(op["places"], 1)[0]]["slopes"],
    )
    for r in range(block.first, block.last):
        found, slopes = common.row_at(gradient, r, n, one), common.row_at(op["slopes"], r, n, one)
        waiting = common.row_at(joined, r, n, one)
        for j in range(n):
            found[j] = slopes[j] + waiting[j]


@interfaces.OP.kernel
def add(turn, s, one):
    """Add the outputs and the inputs of a branch."""
    block, op, n = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["n_out"]
    branch, start = (
        turn.ops[op["source"]]["values"],
        turn.ops[longs(op["places"], 1)[0]]["values"],
    )
    for r in range(block.first, block.last):
        a, b = common.row_at(branch, r, n, one), common.row_at(start, r, n, one)
        values = common.row_at(op["values"], r, n, one)
        for j in range(n):
            values[j] = a[j] + b[j]
    common.finish_forward(turn, s, block, one)


@interfaces.OP.kernel
def add_backward(turn, s, one):
    """Pass the gradient on to the branch; the fork reads it here as well."""
    block, op, n = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["n_out"]
    gradient = common.source_gradient(turn, s, block.first, one)
    _copy(turn, op["slopes"], n, block, n, Matrix(gradient, n), one)


@interfaces.OP.kernel
def select(turn, s, one):
    """Copy the selected columns of this thread's rows."""
    block, op, n = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["n_out"]
    x, columns = common.inputs_of(turn, s, one), longs(op["places"], COLUMNS + n)
    for r in range(block.first, block.last):
        row, values = (
            common.row_of(x, r, op["n_in"], one),
            common.row_at(op["values"], r, n, one),
        )
        for j in range(n):
            values[j] = row[columns[COLUMNS + j]]
    common.finish_forward(turn, s, block, one)


@jit
def _hand_to(turn, end, joined, left, block, one):
    """Pass on the gradient of a branch's last op: columns from `left` on of the join's slopes."""
    n, width = turn.ops[end]["n_out"], turn.ops[joined]["n_out"]
    gradient, _ = common.gradient_of(turn, end, block.first, one)
    slopes = turn.ops[joined]["slopes"] + left * itemsize(one)
    _copy(turn, slopes, width, block, n, Matrix(gradient, n), one)


@interfaces.OP.kernel
def select_backward(turn, s, one):
    """Add the columns' gradient to the join's; pass on that of the previous branch or of all."""
    block, op, n = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["n_out"]
    places, n_in = longs(op["places"], COLUMNS + n), op["n_in"]
    joined = turn.ops[places[JOIN]]
    if places[WANTED]:
        for r in range(block.first, block.last):
            slopes = common.row_at(op["slopes"], r, n, one)
            gathered = common.row_at(joined["kept"], r, n_in, one)
            for j in range(n):
                gathered[places[COLUMNS + j]] += slopes[j]
    if places[BEFORE] >= 0:
        _hand_to(turn, places[BEFORE], places[JOIN], places[BEFORE_LEFT], block, one)
    elif places[WANTED]:
        gradient = common.source_gradient(turn, s, block.first, one)
        _copy(turn, joined["kept"], n_in, block, n_in, Matrix(gradient, n_in), one)


@interfaces.OP.kernel
def join(turn, s, one):
    """Concatenate the values of all branches."""
    block, op, n = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["n_out"]
    n_branches = longs(op["places"], 1)[0]
    ends = longs(op["places"], 1 + 2 * n_branches)
    for i in range(n_branches):
        end, left = ends[1 + 2 * i], ends[2 + 2 * i]
        width, values = turn.ops[end]["n_out"], op["values"] + left * itemsize(one)
        _copy(turn, turn.ops[end]["values"], width, block, width, Matrix(values, n), one)
    common.finish_forward(turn, s, block, one)


@interfaces.OP.kernel
def join_backward(turn, s, one):
    """Zero the accumulated gradient, and pass the gradient of the last branch on to it."""
    block, op = shares.my_block(turn, s, one), turn.ops[s]
    for r in range(block.first, block.last):
        gathered = common.row_at(op["kept"], r, op["n_in"], one)
        for j in range(op["n_in"]):
            gathered[j] = 0
    n_branches = longs(op["places"], 1)[0]
    ends = longs(op["places"], 1 + 2 * n_branches)
    _hand_to(turn, ends[2 * n_branches - 1], s, ends[2 * n_branches], block, one)


FORK = Kind(activation.forward, fork_backward)  # a copy, whose gradient gets that of the sum
ADD = Kind(add, add_backward)
SELECT = Kind(select, select_backward)
JOINED = Kind(join, join_backward, None, _kept_bytes_of_join)
