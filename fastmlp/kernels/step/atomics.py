"""Numbers that threads share without a lock, and what a thread does while it waits for one.

Stores release and loads acquire: a thread that reads a number also sees everything that was written
before it.
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
from ..tuning import NAP_MICROSECONDS, SPINS, YIELDS

if JIT_ENABLED:

    def _place(builder, address):
        return builder.inttoptr(address, ir.IntType(64).as_pointer())

    @intrinsic
    def atomic_store(typingctx, address, value):
        """Write the int64 at an address, after all earlier writes of this thread (release)."""

        def codegen(context, builder, signature, args):
            builder.store_atomic(args[1], _place(builder, args[0]), "release", 8)
            return context.get_dummy_value()

        return types.void(types.intp, types.int64), codegen

    @intrinsic
    def atomic_load(typingctx, address):
        """Read the int64 at an address, and see all writes of the thread before it (acquire)."""

        def codegen(context, builder, signature, args):
            place = _place(builder, args[0])
            return builder.load_atomic(place, "acquire", 8, typ=ir.IntType(64))

        return types.int64(types.intp), codegen

    @intrinsic
    def atomic_add(typingctx, address, value):
        """Add to the int64 at an address; returns what it was before."""

        def codegen(context, builder, signature, args):
            return builder.atomic_rmw("add", _place(builder, args[0]), args[1], "acq_rel")

        return types.int64(types.intp, types.int64), codegen

    @intrinsic
    def atomic_replace(typingctx, address, expected, value):
        """Write the int64 at an address if it is as expected; returns whether it was."""

        def codegen(context, builder, signature, args):
            place, expected, value = _place(builder, args[0]), args[1], args[2]
            found = builder.cmpxchg(place, expected, value, "acq_rel", "acquire")
            return builder.extract_value(found, 1)

        return types.boolean(types.intp, types.int64, types.int64), codegen

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

    def atomic_store(address, value):
        longs(address, 1)[0] = value

    def atomic_load(address):
        return longs(address, 1)[0]

    def atomic_add(address, value):
        place = longs(address, 1)
        place[0] += value
        return place[0] - value

    def atomic_replace(address, expected, value):
        place = longs(address, 1)
        if place[0] != expected:
            return False
        place[0] = value
        return True

    def _sched_yield():
        return 0

    def _usleep(microseconds):
        return 0


@jit
def wait(waits):
    """What a thread does after so many vain checks.

    It spins for some microseconds, then yields its core between checks, then sleeps: that leaves
    its core to the thread it waits for, which may have lost its own to another process.
    """
    if waits > SPINS + YIELDS:
        _usleep(np.uint32(NAP_MICROSECONDS))
    elif waits > SPINS:
        _sched_yield()
