"""The practical peak of all cores: register tiles on numbers that stay in the cache.

It is the most that any matrix product made of these tiles could reach, so a whole training step is
compared with it.
"""

from __future__ import annotations

import threading
import time

import numpy as np
from numba import njit

from fastmlp.kernels.compiler import memory
from fastmlp.kernels.products.tiles import tile_of_rows, tile_width
from fastmlp.kernels.tuning import TILE_ROWS
from fastmlp.kernels.views import Inputs, Matrix, Panel


def address_of(array: np.ndarray) -> int:
    """Address of a whole array, to be read or written."""
    return memory.address_of(array, "array", array.dtype, array.size, written=True)


_ONE = np.float32(1)
_PANEL_BYTES = 16_384  # of B, half of the smallest first-level cache
_CALLS = 2_000


@njit(nogil=True)
def _tiles(n_calls, a, a_stride, order, b, width, depth, bias, c, one):
    for _ in range(n_calls):
        rows, panel = Inputs(a, a_stride, order), Panel(b, width, width)
        tile_of_rows(rows, 0, TILE_ROWS, panel, depth, Matrix(bias, 0), Matrix(c, width), one)


class Tiles:
    """One core's tile and its operands; each core has its own memory."""

    def __init__(self) -> None:
        self.width = int(tile_width(_ONE))
        self.depth = _PANEL_BYTES // (4 * self.width)
        rng = np.random.default_rng(0)
        self.a = rng.random((TILE_ROWS, self.depth), np.float32)
        self.b = rng.random((self.depth, self.width), np.float32)
        self.bias, self.order = (
            np.zeros(self.width, np.float32),
            np.arange(TILE_ROWS, dtype=np.int32),
        )
        self.c = np.zeros((TILE_ROWS, self.width), np.float32)
        self.run(1)

    @property
    def flops(self) -> int:
        """Operations of one tile: a multiplication and an addition for each of its products."""
        return 2 * TILE_ROWS * self.width * self.depth

    def run(self, n_calls: int) -> None:
        """Compute the tile again and again."""
        _tiles(
            n_calls,
            address_of(self.a),
            self.a.strides[0],
            address_of(self.order),
            address_of(self.b),
            self.width,
            self.depth,
            address_of(self.bias),
            address_of(self.c),
            _ONE,
        )

    def is_right(self) -> bool:
        """Whether the tile holds the product."""
        return bool(np.allclose(self.c, self.a @ self.b, rtol=1e-5))


class Peak:
    """Several cores that compute tiles at the same time."""

    def __init__(self, n_threads: int) -> None:
        self.tiles = [Tiles() for _ in range(n_threads)]

    @property
    def flops(self) -> int:
        """Operations of one repeat on all cores."""
        return sum(tile.flops for tile in self.tiles) * _CALLS

    def sample(self, repeats: int) -> float:
        """Seconds of `repeats` repeats on all cores together: the mean over the cores."""
        seconds = [0.0] * len(self.tiles)
        start_line = threading.Barrier(len(self.tiles))

        def work(number: int) -> None:
            start_line.wait()
            start = time.perf_counter()
            self.tiles[number].run(repeats * _CALLS)
            seconds[number] = time.perf_counter() - start

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(self.tiles))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(seconds) / len(seconds)
