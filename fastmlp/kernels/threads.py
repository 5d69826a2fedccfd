"""Threads that share a step: a spinning barrier, and who does which part.

Parts are ranges of rows, so each number is computed by one thread in one fixed order and results
do not depend on how many threads there are.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .jit import JIT_ENABLED, jit
from .tiles import TILE_ROWS

# Places in the int64 array that threads meet at.
ARRIVED, ROUND, ABORTED = 0, 8, 16
SYNC_SIZE = 24  # one cache line each

_SPINS = 4000


if JIT_ENABLED:

    def _place(builder, address):
        return builder.inttoptr(address, ir.IntType(64).as_pointer())

    @intrinsic
    def _atomic_add(typingctx, address, value):
        """Add to the int64 at an address and return what it was."""

        def codegen(context, builder, signature, args):
            return builder.atomic_rmw("add", _place(builder, args[0]), args[1], "acq_rel")

        return types.int64(types.intp, types.int64), codegen

    @intrinsic
    def _atomic_load(typingctx, address):
        """Read the int64 at an address, after all writes of the thread that wrote it."""

        def codegen(context, builder, signature, args):
            place = _place(builder, args[0])
            return builder.load_atomic(place, "acquire", 8, typ=ir.IntType(64))

        return types.int64(types.intp), codegen

    _sched_yield = types.ExternalFunction("sched_yield", types.int32())

else:  # interpreted kernels run on one thread only, which never waits

    def _atomic_add(address, value):
        raise AssertionError("one thread")

    def _atomic_load(address):
        raise AssertionError("one thread")

    def _sched_yield():
        return 0


@jit
def barrier(sync, n_threads):
    """Wait until all threads are here; False if one of them has failed and will never come.

    A waiting thread spins for some microseconds, then offers its core to others between looks.
    """
    if n_threads == 1:
        return True
    this_round = _atomic_load(sync + ROUND * 8)
    if _atomic_add(sync + ARRIVED * 8, 1) == n_threads - 1:
        _atomic_add(sync + ARRIVED * 8, -n_threads)
        _atomic_add(sync + ROUND * 8, 1)
        return True
    spins = 0
    while _atomic_load(sync + ROUND * 8) == this_round:
        spins += 1
        if spins > _SPINS:
            if _atomic_load(sync + ABORTED * 8) != 0:
                return False
            _sched_yield()
    return True


@jit
def part_start(size, n_threads, thread):
    """Where the part of `thread` starts, when `size` rows are shared out in whole tiles."""
    tiles = (size + TILE_ROWS - 1) // TILE_ROWS
    return min(size, (tiles * thread // n_threads) * TILE_ROWS)
