"""An activation, dropout or both, before which there is no dense product: rows are copied first.

On the way back `common.scale_slopes` does all there is to do.
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
