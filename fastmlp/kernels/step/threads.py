"""Threads that share a step: a spinning barrier, and the range of rows of each thread.

Each number is computed by one thread in a fixed order, so results do not depend on the number of
threads.
"""

from __future__ import annotations

from ..compiler.jit import jit
from ..tuning import SPINS, TILE_ROWS
from .atomics import atomic_load, atomic_store, wait

# The state of a barrier is an int64 array: a flag, then how often each thread has arrived. Each
# number is on a separate cache line.
ABORTED = 0
_LINE = 8


def sync_size(n_threads: int) -> int:
    """Numbers in the state of a barrier for `n_threads` threads."""
    return _LINE * (n_threads + 1)


@jit
def arrivals(sync, thread):
    """Address of the count of a thread's arrivals at the barrier `sync`."""
    return sync + 8 * _LINE * (thread + 1)


@jit
def barrier(sync, n_threads, thread):
    """Wait until all threads have arrived; False if one of them has failed and will never arrive.

    Each thread writes only its own count, so a barrier costs one transfer between cores.
    """
    if n_threads == 1:
        return True
    this_round = atomic_load(arrivals(sync, thread)) + 1
    atomic_store(arrivals(sync, thread), this_round)
    waits = 0
    for other in range(n_threads):
        while atomic_load(arrivals(sync, other)) < this_round:
            waits += 1
            if waits > SPINS and atomic_load(sync + ABORTED * 8) != 0:
                return False
            wait(waits)
    return True


@jit
def part_start(size, n_threads, thread):
    """Where the part of `thread` starts if `size` rows are shared out in whole tiles."""
    tiles = (size + TILE_ROWS - 1) // TILE_ROWS
    return min(size, (tiles * thread // n_threads) * TILE_ROWS)


@jit
def my_part(size, n_threads, thread):
    """Where the part of `thread` starts and ends."""
    if n_threads == 1:  # without the divisions
        return 0, size
    return part_start(size, n_threads, thread), part_start(size, n_threads, thread + 1)
