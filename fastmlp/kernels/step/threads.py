"""Threads that share a step: a spinning barrier, and the range of rows of each thread.

Each number is computed by one thread in a fixed order, so results do not depend on the number of
threads.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..compiler.jit import JIT_ENABLED, jit, longs
from ..tuning import NAP_MICROSECONDS, SPINS, TILE_ROWS, YIELDS

# The state of a barrier is an int64 array: a flag, then how often each thread has arrived. Each
# number is on a separate cache line.
ABORTED = 0
_LINE = 8


if JIT_ENABLED:

    def _place(builder, address):
        return builder.inttoptr(address, ir.IntType(64).as_pointer())

    @intrinsic
    def _atomic_store(typingctx, address, value):
        """Write the int64 at an address, after all earlier writes of this thread (release)."""

        def codegen(context, builder, signature, args):
            builder.store_atomic(args[1], _place(builder, args[0]), "release", 8)
            return context.get_dummy_value()

        return types.void(types.intp, types.int64), codegen

    @intrinsic
    def _atomic_load(typingctx, address):
        """Read the int64 at an address, and see all writes of the thread before it (acquire)."""

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
        """Let compiled code call a C function, given by ctypes, under a name.

        Without this, a call of a name that the system's libraries lack kills the process.
        """
        address = ctypes.cast(function, ctypes.c_void_p).value
        assert address is not None
        llvm.add_symbol(name, address)

    # Windows lacks both. Its shortest sleep is too long here, so there a thread only yields; the
    # function for that ignores an argument.
    if sys.platform == "win32":
        for _name in ("sched_yield", "usleep"):
            define(_name, ctypes.windll.kernel32.SwitchToThread)

    _sched_yield = types.ExternalFunction("sched_yield", types.int32())
    _usleep = types.ExternalFunction("usleep", types.int32(types.uint32))

else:  # interpreted kernels run on a single thread, which never waits

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

    def _usleep(microseconds):
        return 0


def sync_size(n_threads: int) -> int:
    """Numbers in the state of a barrier for `n_threads` threads."""
    return _LINE * (n_threads + 1)


@jit
def arrivals(sync, thread):
    """Address of the count of a thread's arrivals at the barrier `sync`."""
    return sync + 8 * _LINE * (thread + 1)


@jit
def _wait(waits):
    """What a thread does after so many vain checks.

    It spins for some microseconds, then yields its core between checks, then sleeps: that leaves
    its core to the thread it waits for, which may have lost its own to another process.
    """
    if waits > SPINS + YIELDS:
        _usleep(np.uint32(NAP_MICROSECONDS))
    elif waits > SPINS:
        _sched_yield()


@jit
def barrier(sync, n_threads, thread):
    """Wait until all threads have arrived; False if one of them has failed and will never arrive.

    Each thread writes only its own count, so a barrier costs one transfer between cores.
    """
    if n_threads == 1:
        return True
    this_round = _atomic_load(arrivals(sync, thread)) + 1
    _atomic_store(arrivals(sync, thread), this_round)
    waits = 0
    for other in range(n_threads):
        while _atomic_load(arrivals(sync, other)) < this_round:
            waits += 1
            if waits > SPINS and _atomic_load(sync + ABORTED * 8) != 0:
                return False
            _wait(waits)
    return True


# The state of shared rows is an int64 array: how many are taken and how many are done, each on a
# cache line of its own.
SHARED_ROWS = 2 * _LINE


@jit
def take(shared, size):
    """Take the next `size` rows; returns where they start. shared: address of SHARED_ROWS int64."""
    return _atomic_add(shared, size)


@jit
def finish(shared, size):
    """Report as many rows as done."""
    _atomic_add(shared + 8 * _LINE, size)


@jit
def wait_for_rows(shared, n_rows):
    """Wait until so many rows are done, as `barrier` waits; not for threads that took none."""
    waits = 0
    while _atomic_load(shared + 8 * _LINE) < n_rows:
        waits += 1
        _wait(waits)


@jit
def part_start(size, n_threads, thread):
    """Where the part of `thread` starts if `size` rows are shared out in whole tiles."""
    tiles = (size + TILE_ROWS - 1) // TILE_ROWS
    return min(size, (tiles * thread // n_threads) * TILE_ROWS)


@jit
def my_part(size, n_threads, thread):
    """Where the part of `thread` starts and ends."""
    return part_start(size, n_threads, thread), part_start(size, n_threads, thread + 1)
