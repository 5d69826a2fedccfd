"""Threads that share a step: a spinning barrier, and who does which part.

Parts are ranges of rows, so each number is computed by one thread in one fixed order and results
do not depend on how many threads there are.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from .jit import JIT_ENABLED, jit
from .tiles import TILE_ROWS

# Places in the array that threads meet at.
ARRIVED, ROUND, ABORTED = 0, 8, 16
SYNC_SIZE = 24  # one cache line each

_SPINS = 4000


if JIT_ENABLED:

    def _place(context, builder, array_type, array, index):
        pointer = make_array(array_type)(context, builder, array).data
        return builder.gep(pointer, [index], source_etype=ir.IntType(64))

    @intrinsic
    def _atomic_add(typingctx, array, index, value):
        """Add to `array[index]` (int64) and return what it was."""

        def codegen(context, builder, signature, args):
            place = _place(context, builder, array, args[0], args[1])
            return builder.atomic_rmw("add", place, args[2], "acq_rel")

        return types.int64(array, types.intp, types.int64), codegen

    @intrinsic
    def _atomic_load(typingctx, array, index):
        """Read `array[index]` (int64) after all writes of the thread that wrote it."""

        def codegen(context, builder, signature, args):
            place = _place(context, builder, array, args[0], args[1])
            return builder.load_atomic(place, "acquire", 8, typ=ir.IntType(64))

        return types.int64(array, types.intp), codegen

    _sched_yield = types.ExternalFunction("sched_yield", types.int32())

else:  # one thread only

    def _atomic_add(array, index, value):
        before = array[index]
        array[index] += value
        return before

    def _atomic_load(array, index):
        return array[index]

    def _sched_yield():
        return 0


@jit
def barrier(sync, n_threads):
    """Wait until all threads are here, or one of them has failed and will never come.

    A waiting thread spins for some microseconds, then offers its core to others between looks.
    """
    if n_threads == 1:
        return
    this_round = _atomic_load(sync, ROUND)
    if _atomic_add(sync, ARRIVED, 1) == n_threads - 1:
        _atomic_add(sync, ARRIVED, -n_threads)
        _atomic_add(sync, ROUND, 1)
        return
    spins = 0
    while _atomic_load(sync, ROUND) == this_round:
        spins += 1
        if spins > _SPINS:
            if _atomic_load(sync, ABORTED) != 0:
                return
            _sched_yield()


@jit
def part_start(size, n_threads, thread):
    """Where the part of `thread` starts, when `size` rows are shared out in whole tiles."""
    tiles = (size + TILE_ROWS - 1) // TILE_ROWS
    return min(size, (tiles * thread // n_threads) * TILE_ROWS)
