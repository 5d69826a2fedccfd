"""Flushes denormal numbers to zero while kernels run, and restores the thread's setting afterwards.

Adam's moments of rarely lit pixels decay into denormals, which are a hundred times as slow as other
numbers and too small to matter to a network.
"""

from __future__ import annotations

import platform

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .jit import JIT_ENABLED, jit
from .numba_internals import cgutils

# Bits of the x86 control register MXCSR: flush results to zero, take denormal inputs as zero.
_FLUSH = 0x8040
_IS_X86 = platform.machine().lower() in ("x86_64", "amd64")

if JIT_ENABLED and _IS_X86:

    def _call(builder, name, slot):
        pointer = ir.IntType(8).as_pointer()
        function_type = ir.FunctionType(ir.VoidType(), [pointer])
        function = cgutils.get_or_insert_function(builder.module, function_type, name)
        builder.call(function, [builder.bitcast(slot, pointer)])

    @intrinsic
    def _read_control(typingctx):
        def codegen(context, builder, signature, args):
            slot = cgutils.alloca_once(builder, ir.IntType(32))
            _call(builder, "llvm.x86.sse.stmxcsr", slot)
            return builder.load(slot)

        return types.uint32(), codegen

    @intrinsic
    def _write_control(typingctx, value):
        def codegen(context, builder, signature, args):
            slot = cgutils.alloca_once(builder, ir.IntType(32))
            builder.store(args[0], slot)
            _call(builder, "llvm.x86.sse.ldmxcsr", slot)
            return context.get_dummy_value()

        return types.void(types.uint32), codegen

else:  # other processors, where denormals are as fast as other numbers, or interpreted code

    def _read_control():
        return 0

    def _write_control(value):
        return None

    if JIT_ENABLED:
        _read_control, _write_control = jit(_read_control), jit(_write_control)


@jit
def flush_denormals():
    """Start flushing on this thread; returns the setting for `restore_denormals`."""
    before = np.int64(_read_control())  # the type in which Python passes it back
    _write_control(np.uint32(before | _FLUSH))
    return before


@jit
def keep_denormals():
    """Stop flushing on this thread; returns the setting for `restore_denormals`."""
    before = np.int64(_read_control())
    _write_control(np.uint32(before & ~_FLUSH))
    return before


@jit
def restore_denormals(before):
    """Restore the setting from before `flush_denormals` or `keep_denormals`."""
    _write_control(np.uint32(before))
