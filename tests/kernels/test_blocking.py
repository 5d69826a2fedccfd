"""Blocks of matrix products: they cover what kernels read and write, and fit the caches."""

from __future__ import annotations

import itertools

import pytest

from fastmlp.kernels.compiler.jit import in_python
from fastmlp.kernels.compiler.memory import CACHE_LINE
from fastmlp.kernels.products import blocking, sums
from fastmlp.kernels.products.tiles import tile_width_of
from fastmlp.kernels.tuning import (
    BLOCK_TILES,
    GRADIENT_BYTES,
    PACKED_BYTES,
    PACKED_PANELS,
    SLOPES_BYTES,
    TILE_ROWS,
    WIDE_BYTES,
)

SIZES = [1, 2, 5, 96, 191, 255, 256, 257, 383, 384, 784, 1000, 1024, 4096, 50_001]
pytestmark = pytest.mark.fast


@pytest.mark.parametrize("itemsize", [4, 8])
@pytest.mark.parametrize("depth", SIZES)
def test_packed_rows_hold_each_part_of_the_sum(depth: int, itemsize: int) -> None:
    """Their stride is an odd number of cache lines, and as many are packed as the cache takes."""
    wide = WIDE_BYTES // itemsize
    packing = blocking.forward_packing(depth, wide, itemsize)
    n_parts = in_python(sums.n_parts)(depth, wide)
    starts = [in_python(sums.input_part_start)(depth, n_parts, p) for p in range(n_parts + 1)]
    longest = max(stop - start for start, stop in itertools.pairwise(starts))
    lines, rest = divmod(packing.stride * itemsize, CACHE_LINE)
    assert rest == 0
    assert lines % 2 == 1
    assert longest <= packing.stride < longest + 2 * CACHE_LINE // itemsize
    assert packing.rows % TILE_ROWS == 0
    bytes_of_rows = packing.rows * packing.stride * itemsize
    assert bytes_of_rows <= PACKED_BYTES or packing.rows == TILE_ROWS
    panels = PACKED_PANELS * in_python(tile_width_of)(itemsize) * longest
    assert blocking.room(depth, wide, itemsize) >= panels + packing.rows * packing.stride


@pytest.mark.parametrize("itemsize", [4, 8])
def test_narrow_layers_are_not_packed(itemsize: int) -> None:
    narrow = WIDE_BYTES // itemsize - 1
    assert blocking.forward_packing(784, narrow, itemsize) == (0, 0)
    assert blocking.backward_packing(narrow, itemsize) == (0, 0)
    assert blocking.backward_packing(narrow + 1, itemsize).rows > 0


@pytest.mark.parametrize("itemsize", [4, 8])
@pytest.mark.parametrize("batch", [1, 2, 17, 128, 1024, 50_001])
@pytest.mark.parametrize("n_out", SIZES)
def test_gradients_come_in_blocks_of_whole_tiles(n_out: int, batch: int, itemsize: int) -> None:
    """As large as the caches take, or as small as blocks may be."""
    unit = BLOCK_TILES * in_python(tile_width_of)(itemsize)
    rows, columns = blocking.gradient_block(batch, n_out, itemsize)
    assert rows > 0
    assert rows % TILE_ROWS == columns % unit == 0
    if blocking.is_wide(n_out, itemsize):
        assert columns < n_out + unit
        assert columns == unit or columns * batch * itemsize <= SLOPES_BYTES
        assert rows == TILE_ROWS or rows * columns * itemsize <= GRADIENT_BYTES
