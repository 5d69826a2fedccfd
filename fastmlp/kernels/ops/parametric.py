"""ParametricActivation: an activation f whose strength is learned for each column.

Forward y = x + (f(x) - x) a; backward dx = dy (1 + (f'(x) - 1) a), and da is the sum over the batch
of dy (f(x) - x).
"""

from __future__ import annotations

from .. import interfaces
from ..compiler.jit import doubles, itemsize
from ..step import shares
from . import common
from .kind import Kind, Sizes
from .parameters import vector_gradient


def _kept_bytes(sizes: Sizes) -> int:
    """Bytes of f(x) - x of each value, and of f'(x)."""
    return 2 * sizes.batch_size * sizes.n_out * sizes.itemsize


@interfaces.OP.kernel
def forward(turn, s, one):
    """Activate this thread's rows by the kernel `inner`, then mix them with the inputs."""
    block, op, n = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["n_out"]
    x, factors = common.inputs_of(turn, s, one), common.weights_of(turn, s, one)
    option = doubles(op["options"], 1)[0]
    all_slopes = op["kept"] + turn.call["batch_size"] * n * itemsize(one)
    for r in range(block.first, block.last):
        row, kept = common.row_of(x, r, n, one), common.row_at(op["kept"], r, n, one)
        for j in range(n):
            kept[j] = row[j]
        place, size = r * n * itemsize(one), n
        common.activate(op["inner"], (op["kept"] + place, all_slopes + place, size, option, one))
        values = common.row_at(op["values"], r, n, one)
        for j in range(n):
            kept[j] -= row[j]
            values[j] = row[j] + kept[j] * factors[j]
    common.finish_forward(turn, s, block, one)


@interfaces.OP.kernel
def backward(turn, s, one):
    """The gradient of this thread's rows of the inputs."""
    block, op, n = shares.my_block(turn, s, one), turn.ops[s], turn.ops[s]["n_out"]
    gradient, factors = (
        common.source_gradient(turn, s, block.first, one),
        common.weights_of(turn, s, one),
    )
    all_slopes, unit = op["kept"] + turn.call["batch_size"] * n * itemsize(one), type(one)(1)
    for r in range(block.first, block.last):
        slopes, inner = (
            common.row_at(op["slopes"], r, n, one),
            common.row_at(all_slopes, r, n, one),
        )
        found = common.row_at(gradient, r, n, one)
        for j in range(n):
            found[j] = slopes[j] * (unit + (inner[j] - unit) * factors[j])


KIND = Kind(forward, backward, vector_gradient, _kept_bytes)
