"""How a long sum over a layer's inputs is cut into parts, which are added up in their order.

So threads can share a sum out, and a part of W stays in the nearest cache, without a change to a
bit: what the parts are depends on the layer alone.
"""

from __future__ import annotations

from ..compiler.jit import jit

_LEAST_PART, PART_UNIT = 96, 8  # inputs in a part of a sum: at least, and a multiple of
_FEW_OUTPUTS, _LEAST_PART_FOR_FEW = 16, 16  # shorter parts cost little where sums are few


@jit
def n_parts(n_in, n_out):
    """How many parts the sum over a layer's inputs has; each is one chain, added in this order."""
    if n_in >= 4 * _LEAST_PART:
        return 4
    if n_out <= _FEW_OUTPUTS and n_in >= 2 * _LEAST_PART_FOR_FEW:
        return 2
    return 2 if n_in >= 2 * _LEAST_PART else 1


@jit
def n_parts_of_any_width(depth):
    """How many parts a sum of so many products has in a matrix of any width."""
    return n_parts(depth, _FEW_OUTPUTS + 1)


@jit
def input_part_start(n_in, parts, part):
    """The first input of one of the parts; of the one after the last, the number of inputs."""
    return n_in if part == parts else n_in // PART_UNIT * part // parts * PART_UNIT
