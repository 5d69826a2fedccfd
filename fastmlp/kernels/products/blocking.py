"""How matrix products are cut into blocks that fit the caches, chosen in Python for each op.

Compiled code gets the sizes with its operands. They never change a bit, only the speed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compiler.jit import in_python
from ..compiler.memory import aligned_copy
from ..tuning import (
    BLOCK_TILES,
    DEPTH,
    GRADIENT_PART,
    HOT_NUMBERS,
    INPUTS_PART,
    LEAST_ROWS_AT_ONCE,
    PACK_DEPTH,
    PACK_INPUTS,
    PACK_SLOPES_BYTES,
    PACK_SLOPES_TILES,
    PACKED_PANELS,
    ROWS_PART,
    SLOPES_PART,
    TILE_ROWS,
    WEIGHTS_PART,
    WIDE_BYTES,
)
from .caches import caches
from .sums import input_part_start, n_parts
from .tiles import tile_width_of


class GradientBlock(NamedTuple):
    """Rows and columns of the blocks in which a gradient is computed and applied."""

    rows: int
    columns: int


def is_wide(n_columns: int, itemsize: int) -> bool:
    """Whether rows are so long that they fall on too few sets of the first-level cache."""
    return n_columns * itemsize >= WIDE_BYTES


def packs_weights(n_in: int, n_out: int, itemsize: int) -> bool:
    """Whether W (n_in, n_out) is packed for the forward product: if it fills most of a cache."""
    is_large = n_in * n_out * itemsize >= WEIGHTS_PART * caches().second
    return is_large and n_out >= _columns_of_block(itemsize)


def packs_inputs(batch: int, n_in: int, n_out: int, itemsize: int) -> bool:
    """Whether the gradient of W (n_in, n_out) packs the inputs, and the slopes, of a batch."""
    is_large = batch >= PACK_DEPTH and n_in >= PACK_INPUTS and n_out >= _columns_of_block(itemsize)
    return is_large or is_wide(n_out, itemsize)


def _columns_of_block(itemsize: int) -> int:
    return BLOCK_TILES * int(in_python(tile_width_of)(itemsize))


def room(n_in: int, n_out: int, itemsize: int) -> int:
    """Numbers of memory that a layer's forward and backward pass pack panels of W into."""
    parts = int(in_python(n_parts)(n_in, n_out))
    longest = n_in - int(in_python(input_part_start)(n_in, parts, parts - 1))  # the last part
    width = int(in_python(tile_width_of)(itemsize))
    return width * max(PACKED_PANELS * longest, n_in, n_out)


def gradient_block(batch: int, n_out: int, itemsize: int, packs: bool) -> GradientBlock:
    """For batches of up to so many rows; packs: whether inputs and slopes are packed.

    Slopes are packed once for all rows of W. Blocks are then so wide that the update, which reads W
    and the optimizer's state row by row, reads long runs.
    """
    unit = _columns_of_block(itemsize)
    if not packs:
        height = HOT_NUMBERS // min(unit, n_out)
        return GradientBlock(_whole_tiles(height), unit)
    first, second = caches()
    fitting = max(1, int(SLOPES_PART * second) // (batch * unit * itemsize))
    width = min(fitting, -(-n_out // unit)) * unit
    of_inputs = int(INPUTS_PART * first) // (min(batch, DEPTH) * itemsize)
    height = min(of_inputs, int(GRADIENT_PART * second) // (width * itemsize))
    return GradientBlock(_whole_tiles(height), width)


def whole_rows(width: int) -> GradientBlock:
    """Of ops that compute the gradients of whole rows of their W, which have `width` numbers."""
    return GradientBlock(max(1, HOT_NUMBERS // width), width)


def rows_at_once(n_params: int, n_in: int, n_values: int, itemsize: int) -> int:
    """Rows that a thread takes through all layers at a time.

    As many as stay in the second-level cache, or so many that it pays to read all weights for them
    once more.

    n_values: outputs of all layers for one row; each has a slope as well.
    """
    fitting = int(ROWS_PART * caches().second) // ((n_in + 2 * n_values) * itemsize)
    return _whole_tiles(max(fitting, LEAST_ROWS_AT_ONCE, n_params // (2 * n_values)))


def in_panels(W: np.ndarray) -> np.ndarray:
    """A copy of W (n_in, n_out) in panels (n_panels, n_in, tile width), with zeros at the end."""
    width = int(in_python(tile_width_of)(W.itemsize))
    return aligned_copy(panels_of(W, width, width))


def panels_of(W: np.ndarray, width: int, unit: int) -> np.ndarray:
    """W in panels of up to `width` columns, one after another, in one vector.

    Rows of the last panel are filled up with zeros to whole units of columns.
    """
    n_in, n_out = W.shape
    padded = np.zeros((n_in, -(-n_out // unit) * unit), W.dtype)
    padded[:, :n_out] = W
    return np.concatenate([padded[:, j : j + width].ravel() for j in range(0, n_out, width)])


def packs_slopes(n_in: int, n_out: int, itemsize: int) -> bool:
    """Whether the gradient of W (n_in, n_out) packs that of the outputs before tiles reread it.

    In place, its rows would fall on too few sets of the first-level cache.
    """
    return n_out * itemsize >= PACK_SLOPES_BYTES and n_in >= PACK_SLOPES_TILES * TILE_ROWS


def _whole_tiles(rows: int) -> int:
    return max(1, rows // TILE_ROWS) * TILE_ROWS
