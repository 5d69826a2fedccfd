"""An activation, dropout or both, before which there is no dense product: rows are copied first."""

from __future__ import annotations

from .. import interfaces, rows, shares
from ..jit import itemsize
from ..plan import turn_of
from . import common


@interfaces.OP.kernel
def forward(turn_at, s, one):
    """Copy this thread's block of the inputs, then activate it."""
    turn = turn_of(turn_at)
    block, x = shares.my_block(turn, s, one), common.inputs_of(turn, s, one)
    offset, n_out = block.left * itemsize(one), turn.ops[s]["n_out"]
    rows.copy_rows(
        x.at + offset, x.stride, x.order, block.first, block.last, block.right - block.left,
        turn.ops[s]["values"] + offset, n_out, one,
    )  # fmt: skip
    common.finish_forward(turn, s, block, turn_at, one)


@interfaces.OP.kernel
def backward(turn_at, s, one):
    """The gradient times the slopes goes on to the op before."""
    turn = turn_of(turn_at)
    if not turn.ops[s]["scaled"]:
        common.scale_slopes(turn, s, turn_at, one)
