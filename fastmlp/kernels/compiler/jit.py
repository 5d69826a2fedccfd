"""The decorator of all compiled code, and its access to memory: numbers at an address.

Kernels take addresses rather than arrays, so all arrays (read-only, strided, memory-mapped) have
one type and need one compilation. With `NUMBA_DISABLE_JIT=1` each intrinsic has a NumPy
implementation, so kernels can be debugged step by step and their coverage measured.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import TypingError, types
from numba.extending import intrinsic

from . import memory
from .cache import keep
from .numba_internals import KernelCompiler, array_at, refuse_other_types
from .parts import Parts
from .target import vector_bytes

JIT_ENABLED = not numba.config.DISABLE_JIT


VECTOR_BYTES = vector_bytes()


def jit(function: Callable[..., Any], nogil: bool = True, **options: Any) -> Any:
    """Compile a kernel: no GIL, IEEE arithmetic without Python's division errors, cached on disk.

    `error_model="numpy"` removes the branch that would raise ZeroDivisionError, because it keeps
    LLVM from vectorising. fastmath stays off, because it removes nan checks and makes results
    depend on context; kernels request fused multiply-adds or reordered sums explicitly. If no
    folder is writable, code is compiled once per process.
    """
    if not JIT_ENABLED:
        return _silent(function)
    dispatcher = numba.njit(
        nogil=nogil,
        error_model="numpy",
        no_cfunc_wrapper=True,  # only Python and other kernels call kernels
        pipeline_class=KernelCompiler,
        **options,
    )(function)
    Parts(dispatcher)
    keep(dispatcher)
    return dispatcher


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a kernel that is always inlined: a short one, which a call would slow down.

    By default LLVM would decide by the size of the code, which differs between Python versions.
    """
    return jit(function, forceinline=True)


def rule(function: Callable[..., Any]) -> Any:
    """Compile a rule for one number. It is always inlined, so that loops over it are vectorised."""
    return inlined(function)


def in_python(kernel: Any) -> Any:
    """The Python function of a kernel that calls no other kernels, for use without compiling."""
    return getattr(kernel, "py_func", kernel)


def compile_for(kernel: Any, *examples: Any) -> None:
    """Compile or load a kernel for the types of these arguments, unless that has been done."""
    if JIT_ENABLED:
        kernel.compile(tuple(map(numba.typeof, examples)))


# What a call with other argument types raises: usually TypeError, sometimes numba's own errors.
REFUSALS = (TypeError, ValueError, TypingError)


def exactly(function: Callable[..., Any], *examples: Any, nogil: bool = False) -> Any:
    """Compile a function for the types of these arguments only; others raise one of REFUSALS.

    numba checks types, dimensions, memory order, alignment and writability of arguments in any
    case, and faster than Python could, so the caller needs no further checks.

    nogil: whether it releases the GIL, which takes longer than a very short call.
    """
    if not JIT_ENABLED:
        return _particular(_silent(function), examples)
    return _only_for(function, tuple(map(numba.typeof, examples)), nogil)


@functools.cache
def holding_gil(function: Callable[..., Any]) -> Any:
    """The kernel of a function that keeps the GIL; it shares the function's cached code."""
    return jit(function, nogil=False)


@functools.cache
def _only_for(function: Callable[..., Any], signature: tuple[Any, ...], nogil: bool) -> Any:
    kernel = jit(function, nogil=nogil)
    kernel.compile(signature)
    kernel.disable_compile()
    refuse_other_types(kernel, _refuse)
    return kernel


def _refuse(*args: Any, **keywords: Any) -> None:
    raise TypeError


def _particular(kernel: Callable[..., Any], examples: tuple[Any, ...]) -> Callable[..., Any]:
    """An interpreted kernel that is as strict about its arguments as a compiled one."""

    def looks(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, np.ndarray):
            return (type(value),)
        return value.dtype, value.ndim, value.flags.carray

    wanted = list(map(looks, examples))

    def checked(*args: Any) -> Any:
        if list(map(looks, args)) != wanted:
            raise TypeError
        for value in args:
            if isinstance(value, np.ndarray):
                memory.address_of(value, "an argument", value.dtype, value.size)
        return kernel(*args)

    return checked


def _silent(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled arithmetic wraps and overflows silently; make interpreted kernels do the same."""

    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*args)

    return wrapper


if JIT_ENABLED:

    def records(dtype: np.dtype) -> Any:
        """An intrinsic `f(address, size)` that returns the array of records at an address."""
        view = types.Array(numba.from_dtype(dtype), 1, "C")

        @intrinsic
        def records_at(typingctx, address, size):
            def codegen(context, builder, signature, args):
                return array_at(context, builder, view, args[0], args[1])

            return view(types.intp, types.intp), codegen

        return records_at

    @intrinsic
    def numbers(typingctx, address, size, one):
        """The array of `size` numbers of the type of `one` that starts at an address."""
        view = types.Array(one, 1, "C")

        def codegen(context, builder, signature, args):
            return array_at(context, builder, view, args[0], args[1])

        return view(types.intp, types.intp, one), codegen

else:

    def _memory_at(address: int, size: int, dtype: np.dtype) -> np.ndarray:
        if size == 0:
            return np.empty(0, dtype)
        start, n_bytes = int(address), int(size) * dtype.itemsize
        assert memory.PASSED is not None
        assert memory.PASSED.holds(start, start + n_bytes), "memory that did not pass the gate"
        found: Any = (ctypes.c_char * n_bytes).from_address(start)
        return np.frombuffer(found, dtype)

    def records(dtype: np.dtype) -> Any:
        return lambda address, size: _memory_at(address, size, dtype)

    def numbers(address: int, size: int, one: Any) -> np.ndarray:
        return _memory_at(address, size, np.dtype(type(one)))


@jit
def itemsize(one):
    """Bytes of the number `one`."""
    return numbers(0, 0, one).itemsize


_FLOAT64 = np.float64(1)
_INT32 = np.int32(1)
_INT64 = np.int64(1)


@jit
def doubles(address, size):
    """The array of `size` float64 at an address."""
    return numbers(address, size, _FLOAT64)


@jit
def longs(address, size):
    """The array of `size` int64 at an address."""
    return numbers(address, size, _INT64)


@jit
def integers(address, size):
    """The array of `size` int32 at an address."""
    return numbers(address, size, _INT32)
