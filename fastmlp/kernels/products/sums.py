"""How a long sum over a layer's inputs is cut into parts, which are added up in their order.

So threads can share a sum out, and a part of W stays in the nearest cache, without a change to a
bit: what the parts are depends on the layer alone.
"""

from __future__ import annotations

from ..compiler.jit import jit
from ..tuning import FEW_OUTPUTS, LEAST_PART, LEAST_PART_FOR_FEW, PART_UNIT


@jit
def n_parts(n_in, n_out):
    """How many parts the sum over a layer's inputs has; each is one chain, added in this order."""
    if n_in >= 4 * LEAST_PART:
        return 4
    if n_out <= FEW_OUTPUTS and n_in >= 2 * LEAST_PART_FOR_FEW:
        return 2
    return 2 if n_in >= 2 * LEAST_PART else 1


@jit
def n_parts_of_any_width(depth):
    """How many parts a sum of `depth` products has in a matrix of any width."""
    return n_parts(depth, FEW_OUTPUTS + 1)


@jit
def input_part_start(n_in, parts, part):
    """The first input of one of the parts; of the one after the last, the number of inputs."""
    return n_in if part == parts else n_in // PART_UNIT * part // parts * PART_UNIT
