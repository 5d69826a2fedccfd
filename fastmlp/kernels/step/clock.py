"""The time for compiled code, which cannot ask Python for it.

A reading is two int64 numbers in memory: seconds and nanoseconds, or ticks and 0 on Windows.
"""

from __future__ import annotations

import ctypes
import sys
import time

from numba import types

from ..compiler.jit import JIT_ENABLED, jit, longs
from . import atomics

_UNIT, _CLOCK = 1.0, getattr(time, "CLOCK_MONOTONIC", 0)

if not JIT_ENABLED:

    def read_clock(at):
        """Write the time to the two numbers at an address."""
        longs(at, 2)[:] = divmod(time.monotonic_ns(), 1_000_000_000)

elif sys.platform == "win32":
    _UNIT = time.get_clock_info("perf_counter").resolution
    atomics.define("fastmlp_ticks", ctypes.windll.kernel32.QueryPerformanceCounter)
    _ticks = types.ExternalFunction("fastmlp_ticks", types.int32(types.intp))

    @jit
    def read_clock(at):
        longs(at, 2)[1] = 0
        _ticks(at)

else:
    _clock_gettime = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.intp))

    @jit
    def read_clock(at):
        _clock_gettime(_CLOCK, at)


def seconds_between(start: tuple[int, int], end: tuple[int, int]) -> float:
    """Seconds from one reading to a later one."""
    return (end[0] - start[0]) * _UNIT + (end[1] - start[1]) * 1e-9
