"""How matrix products are cut into blocks that fit the caches, chosen in Python for each op.

Compiled code gets the sizes with its operands. They never change a bit, only the speed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compiler.jit import in_python
from ..compiler.memory import CACHE_LINE, aligned_copy
from ..tuning import (
    BLOCK_TILES,
    DEPTH,
    GRADIENT_PART,
    HOT_NUMBERS,
    INPUTS_PART,
    LARGE_PART,
    LEAST_ROWS_AT_ONCE,
    LONG_BYTES,
    PACK_SLOPES_BYTES,
    PACK_SLOPES_TILES,
    PACKED_PANELS,
    PACKED_PART,
    ROWS_PART,
    SLOPES_PART,
    TILE_ROWS,
    WIDE_BYTES,
)
from .caches import caches
from .sums import input_part_start, n_parts, n_parts_of_any_width
from .tiles import tile_width_of


class Packing(NamedTuple):
    """How many rows are packed at a time, and numbers from one to the next; zeros for none."""

    rows: int = 0
    stride: int = 0


class GradientBlock(NamedTuple):
    """Rows and columns of the blocks in which a gradient is computed and applied."""

    rows: int
    columns: int


def is_wide(n_in: int, n_out: int, itemsize: int) -> bool:
    """Whether rows of W (n_in, n_out) are so long that they are packed before they are used."""
    row = n_out * itemsize
    is_large = n_in * row >= LARGE_PART * caches().first
    return row >= WIDE_BYTES or (row >= LONG_BYTES and is_large)


def forward_packing(n_in: int, n_out: int, itemsize: int) -> Packing:
    """For the product with W (n_in, n_out)."""
    parts = in_python(n_parts)(n_in, n_out)
    return _packing(n_in, parts, itemsize) if is_wide(n_in, n_out, itemsize) else Packing()


def backward_packing(n_in: int, n_out: int, itemsize: int) -> Packing:
    """For the product with the transpose of W (n_in, n_out)."""
    parts = in_python(n_parts_of_any_width)(n_out)
    return _packing(n_out, parts, itemsize) if is_wide(n_in, n_out, itemsize) else Packing()


def both_packings(n_in: int, n_out: int, itemsize: int) -> tuple[Packing, Packing]:
    """For the products with W (n_in, n_out) and with its transpose, however wide it is."""
    parts = in_python(n_parts)(n_in, n_out), in_python(n_parts_of_any_width)(n_out)
    return _packing(n_in, parts[0], itemsize), _packing(n_out, parts[1], itemsize)


def _packing(depth: int, parts: int, itemsize: int) -> Packing:
    """The stride is an odd number of cache lines, so that rows fall on different cache sets."""
    line = CACHE_LINE // itemsize
    stride = (-(-_longest_part(depth, parts) // line) | 1) * line
    fitting = int(PACKED_PART * caches().second) // (stride * itemsize * TILE_ROWS)
    return Packing(max(1, fitting) * TILE_ROWS, stride)


def _longest_part(depth: int, parts: int) -> int:
    """Length of the last part of a sum; no other part is longer."""
    return int(depth - in_python(input_part_start)(depth, parts, parts - 1))


def room(n_in: int, n_out: int, itemsize: int) -> int:
    """Numbers of memory that a layer's forward and backward pass pack operands into."""
    width = in_python(tile_width_of)(itemsize)
    packings = forward_packing(n_in, n_out, itemsize), backward_packing(n_in, n_out, itemsize)
    # Or only a panel of whole columns.
    packed = [room_for(packing, itemsize) for packing in packings]
    return int(max(*packed, max(n_in, n_out) * width))


def room_for(packing: Packing, itemsize: int) -> int:
    """Numbers of memory for panels, whose depth is at most the stride, and for the rows."""
    columns = PACKED_PANELS * int(in_python(tile_width_of)(itemsize))
    return (packing.rows + columns) * packing.stride


def gradient_block(batch: int, n_in: int, n_out: int, itemsize: int) -> GradientBlock:
    """Of W (n_in, n_out), for batches of up to so many rows.

    In wide layers, slopes are packed once for all rows of W. Blocks are so wide that the update,
    which reads W and the optimizer's state row by row, reads long runs.
    """
    unit = BLOCK_TILES * int(in_python(tile_width_of)(itemsize))
    if not is_wide(n_in, n_out, itemsize):
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
