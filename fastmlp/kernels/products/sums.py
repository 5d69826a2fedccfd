"""How a long sum over a layer's inputs is split into parts, which are added in order.

Parts let threads divide a sum and keep a part of W in the first-level cache. They depend only on
the layer, so the number of threads does not change a bit.
"""

from __future__ import annotations

from ..compiler.jit import jit
from ..tuning import FEW_OUTPUTS, LEAST_PART, LEAST_PART_FOR_FEW, PART_UNIT


@jit
def n_parts(n_in, n_out):
    """Number of parts of the sum over a layer's inputs; each part is one chain of multiply-adds."""
    if n_in >= 4 * LEAST_PART:
        return 4
    if n_out <= FEW_OUTPUTS and n_in >= 2 * LEAST_PART_FOR_FEW:
        return 2
    return 2 if n_in >= 2 * LEAST_PART else 1


@jit
def n_parts_of_any_width(depth):
    """Number of parts of a sum of `depth` products that does not depend on the matrix's width."""
    return n_parts(depth, FEW_OUTPUTS + 1)


@jit
def input_part_start(n_in, parts, part):
    """Index of a part's first input; for `part == parts`, the number of inputs."""
    return n_in if part == parts else n_in // PART_UNIT * part // parts * PART_UNIT
