"""Weights of a network that does not change, copied in the order in which kernels read them.

Predictors use them, in one order for blocks of rows and in another for single rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..kernels.compiler.calls import Kernel
from ..kernels.ops import dense
from ..kernels.products import blocking, one_row
from ..optim.optimizers import SGD
from .lowering import lower

if TYPE_CHECKING:
    from ..model.body import Body


class PackedWeights(NamedTuple):
    """Copies of the weights of some ops, and the kernel of their forward pass, on one thread.

    Attributes
    ----------
    copies : dict from int to ndarray
        For the number of an op in the program.
    forward : Kernel
        Reads the copies.
    """

    copies: dict[int, np.ndarray]
    forward: Kernel


def packed_for_rows(network: Body) -> PackedWeights:
    """For blocks of rows: in panels as wide as a tile."""
    return PackedWeights(_copies(network, blocking.in_panels), dense.forward_from_panels)


def packed_for_one_row(network: Body, stored: one_row.Stored) -> PackedWeights:
    """For batches of one row: in wide panels, perhaps of 16-bit numbers."""
    copies = _copies(network, lambda W: one_row.in_wide_panels(W, stored))
    return PackedWeights(copies, dense.FORWARD_OF_ROW[stored.name])


def _copies(network: Body, pack: Callable[[np.ndarray], np.ndarray]) -> dict[int, np.ndarray]:
    """Of all dense ops but those of one output, which other kernels read."""
    return {s: pack(W) for s, W in weights_of_ops(network).items() if W.shape[1] > 1}


def weights_of_ops(network: Body) -> dict[int, np.ndarray]:
    """The weights (n_in, n_out) of each dense op of the network's program: views."""
    ops = lower(network, SGD(), as_trained=False).ops
    found = dict[int, np.ndarray]()
    for s, op in enumerate(ops):
        if op["dense"]:
            n_in, n_out, start = int(op["n_in"]), int(op["n_out"]), int(op["weights"])
            found[s] = network.params[start : start + n_in * n_out].reshape(n_in, n_out)
    return found
