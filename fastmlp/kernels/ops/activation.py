"""An activation, dropout or both without a dense product before them: rows are copied first.

In the backward pass, `common.scale_slopes` does everything.
"""

from __future__ import annotations

from .. import interfaces
from ..compiler.jit import itemsize
from ..step import rows, shares
from ..views import Inputs, Matrix
from . import common


@interfaces.OP.kernel
def forward(turn, s, one):
    """Copy this thread's block of the inputs, then activate it."""
    block, x = shares.my_block(turn, s, one), common.inputs_of(turn, s, one)
    offset, n_out = block.left * itemsize(one), turn.ops[s]["n_out"]
    rows.copy_rows(
        Inputs(x.at + offset, x.stride, x.order), block.first, block.last,
        block.right - block.left, Matrix(turn.ops[s]["values"] + offset, n_out), one,
    )  # fmt: skip
    common.finish_forward(turn, s, block, one)
