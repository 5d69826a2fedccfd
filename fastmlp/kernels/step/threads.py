"""Threads that share a step: a spinning barrier, and who does which part.

Parts are ranges of rows, so each number is computed by one thread in one fixed order and results
do not depend on how many threads there are.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..compiler.jit import JIT_ENABLED, jit, longs
from ..tuning import SPINS, TILE_ROWS

# Threads meet at an int64 array: a flag, then how often each thread has arrived, each number on a
# cache line of its own.
ABORTED = 0
_LINE = 8


if JIT_ENABLED:

    def _place(builder, address):
        return builder.inttoptr(address, ir.IntType(64).as_pointer())

    @intrinsic
    def _atomic_store(typingctx, address, value):
        """Write the int64 at an address, after all that this thread wrote before."""

        def codegen(context, builder, signature, args):
            builder.store_atomic(args[1], _place(builder, args[0]), "release", 8)
            return context.get_dummy_value()

        return types.void(types.intp, types.int64), codegen

    @intrinsic
    def _atomic_load(typingctx, address):
        """Read the int64 at an address, after all writes of the thread that wrote it."""

        def codegen(context, builder, signature, args):
            place = _place(builder, args[0])
            return builder.load_atomic(place, "acquire", 8, typ=ir.IntType(64))

        return types.int64(types.intp), codegen

    @intrinsic
    def _atomic_add(typingctx, address, value):
        """Add to the int64 at an address; returns what it was before."""

        def codegen(context, builder, signature, args):
            return builder.atomic_rmw("add", _place(builder, args[0]), args[1], "acq_rel")

        return types.int64(types.intp, types.int64), codegen

    def define(name: str, function: Any) -> None:
        """Let compiled code call a function of C, given by ctypes, under a name of its own.

        Without this, code that calls a name which the system's libraries lack ends the process.
        """
        address = ctypes.cast(function, ctypes.c_void_p).value
        assert address is not None
        llvm.add_symbol(name, address)

    # Windows has no sched_yield, but a function with the same signature that does the same.
    if sys.platform == "win32":
        define("sched_yield", ctypes.windll.kernel32.SwitchToThread)

    _sched_yield = types.ExternalFunction("sched_yield", types.int32())

else:  # interpreted kernels run on one thread only, which never waits

    def _atomic_store(address, value):
        raise AssertionError("one thread")

    def _atomic_load(address):
        raise AssertionError("one thread")

    def _atomic_add(address, value):
        place = longs(address, 1)
        place[0] += value
        return place[0] - value

    def _sched_yield():
        return 0


def sync_size(n_threads: int) -> int:
    """Numbers in the array that `n_threads` threads meet at."""
    return _LINE * (n_threads + 1)


@jit
def arrivals(sync, thread):
    """Address of the number of times that a thread has arrived at the meetings at `sync`."""
    return sync + 8 * _LINE * (thread + 1)


@jit
def barrier(sync, n_threads, thread):
    """Wait until all threads are here; False if one of them has failed and will never come.

    Each thread writes its own number only, so a meeting costs one transfer between cores. A waiting
    thread spins for some microseconds, then offers its core to others between looks.
    """
    if n_threads == 1:
        return True
    this_round = _atomic_load(arrivals(sync, thread)) + 1
    _atomic_store(arrivals(sync, thread), this_round)
    spins = 0
    for other in range(n_threads):
        while _atomic_load(arrivals(sync, other)) < this_round:
            spins += 1
            if spins > SPINS:
                if _atomic_load(sync + ABORTED * 8) != 0:
                    return False
                _sched_yield()
    return True


@jit
def take(taken, size):
    """Take the next `size` rows: where they start. taken: address of how many are taken, int64."""
    return _atomic_add(taken, size)


@jit
def part_start(size, n_threads, thread):
    """Where the part of `thread` starts, when `size` rows are shared out in whole tiles."""
    tiles = (size + TILE_ROWS - 1) // TILE_ROWS
    return min(size, (tiles * thread // n_threads) * TILE_ROWS)


@jit
def my_part(size, n_threads, thread):
    """Where the part of `thread` starts and ends."""
    return part_start(size, n_threads, thread), part_start(size, n_threads, thread + 1)
