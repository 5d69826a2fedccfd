"""The one decorator of all compiled code, and the few things NumPy code cannot say: views, bits.

Every kernel goes through `jit`, so flags and caching are decided here; under `NUMBA_DISABLE_JIT=1`
each intrinsic has a NumPy body, so that kernels can be stepped through and their branches counted.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import pathlib
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core import caching, cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

JIT_ENABLED = not numba.config.DISABLE_JIT


def _vector_bytes() -> int:
    """Bytes of the widest vector register that the host can multiply-add."""
    features = llvm.get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx2") else 16


VECTOR_BYTES = _vector_bytes()


def _package_hash() -> str:
    """Hash of every kernel source, because numba only watches the file a function stands in."""
    digest = hashlib.sha256()
    for path in sorted(pathlib.Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


_STAMP = _package_hash()


class _KernelCache(caching.FunctionCache):
    """numba's on-disk cache, renewed when any kernel file changes and apart under bounds checks."""

    def __init__(self, py_func: Callable[..., Any]) -> None:
        super().__init__(py_func)
        suffix = ".bounds" if numba.config.BOUNDSCHECK else ""
        name = self._impl.filename_base + suffix
        self._cache_file = caching.IndexDataCacheFile(self._cache_path, name, _STAMP)


def jit(function: Callable[..., Any]) -> Any:
    """Compile a kernel: no GIL, IEEE arithmetic without Python's division errors, cached on disk.

    `error_model="numpy"` drops the branch that would raise ZeroDivisionError and stop LLVM from
    vectorising. fastmath stays off, since it deletes nan checks and makes results depend on
    context; where an FMA is wanted, a kernel asks for it. Where no folder is writable, code is
    compiled once a process.
    """
    if not JIT_ENABLED:
        return _silent(function)
    dispatcher = numba.njit(nogil=True, error_model="numpy")(function)
    with contextlib.suppress(RuntimeError, OSError):
        dispatcher._cache = _KernelCache(function)
    return dispatcher


def cache_folder() -> str | None:
    """Where compiled code of this package is kept, or None if nowhere is writable."""
    try:
        return str(_KernelCache(_package_hash).cache_path)
    except (RuntimeError, OSError):
        return None


def _silent(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled arithmetic wraps and overflows silently; make interpreted kernels do the same."""

    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*args)

    return wrapper


def data_pointer(context: Any, builder: ir.IRBuilder, array_type: Any, array: Any) -> Any:
    return builder.bitcast(make_array(array_type)(context, builder, array).data, ir.PointerType())


def _borrowed_array(context, builder, array_type, pointer, size):
    """A one-dimensional array over foreign memory: no owner, so no reference counting.

    Slices of one shared array make threads fight over its reference count; these do not have one.
    """
    itemsize = context.get_constant(types.intp, array_type.dtype.bitwidth // 8)
    array = make_array(array_type)(context, builder)
    data = builder.bitcast(pointer, context.get_data_type(array_type.dtype).as_pointer())
    populate_array(
        array, data=data, shape=(size,), strides=(itemsize,), itemsize=itemsize, meminfo=None
    )
    return array._getvalue()


if JIT_ENABLED:

    @intrinsic
    def span(typingctx, array, start, size):
        """The view `array[start : start + size]` of a contiguous array, not reference-counted."""
        view = types.Array(array.dtype, 1, "C", readonly=not array.mutable)

        def codegen(context, builder, signature, args):
            pointer = data_pointer(context, builder, array, args[0])
            element = context.get_data_type(array.dtype)
            pointer = builder.gep(pointer, [args[1]], source_etype=element)
            return _borrowed_array(context, builder, view, pointer, args[2])

        return view(array, types.intp, types.intp), codegen

    @intrinsic
    def reinterpret(typingctx, memory, offset, size, like):
        """`size` numbers of the type of array `like`, read from bytes at `offset` of `memory`."""
        view = types.Array(like.dtype, 1, "C", readonly=True)

        def codegen(context, builder, signature, args):
            pointer = data_pointer(context, builder, memory, args[0])
            pointer = builder.gep(pointer, [args[1]], source_etype=ir.IntType(8))
            return _borrowed_array(context, builder, view, pointer, args[2])

        return view(memory, types.intp, types.intp, like), codegen

    @intrinsic
    def pick(typingctx, x, single, double):
        """`single` where x is a float32, `double` where it is a float64; anything may be picked."""
        position = 1 if x == types.float32 else 2
        chosen = (x, single, double)[position]
        return chosen(x, single, double), lambda _context, _builder, _sig, args: args[position]

    @intrinsic
    def fma(typingctx, a, b, c):
        """a b + c, rounded once, in the type of a."""
        return a(a, a, a), lambda _context, builder, _signature, args: builder.fma(*args)

    @intrinsic
    def polynomial(typingctx, x, coefficients):
        """Value at x of a polynomial, by Horner's rule in the type of x, highest power first."""

        def codegen(context, builder, signature, args):
            total, *others = [
                context.cast(builder, value, kind, x)
                for value, kind in zip(
                    cgutils.unpack_tuple(builder, args[1]), coefficients.types, strict=True
                )
            ]
            for coefficient in others:
                total = builder.fma(total, args[0], coefficient)
            return total

        return x(x, coefficients), codegen

    @intrinsic
    def to_bits(typingctx, x):
        """The bits of a floating-point number as a signed integer of its size."""
        integer = types.Integer.from_bitwidth(x.bitwidth)

        def codegen(context, builder, signature, args):
            return builder.bitcast(args[0], context.get_value_type(integer))

        return integer(x), codegen

    @intrinsic
    def from_bits(typingctx, bits, like):
        """The number of the type of `like` with these bits; those beyond its size are cut off."""

        def codegen(context, builder, signature, args):
            cut = context.cast(builder, args[0], bits, types.Integer.from_bitwidth(like.bitwidth))
            return builder.bitcast(cut, context.get_value_type(like))

        return like(bits, like), codegen

else:
    _WIDER: dict[type, Any] = {np.float32: np.float64, np.float64: np.longdouble}
    _INTEGER: dict[type, Any] = {np.float32: np.int32, np.float64: np.int64}

    def span(array: np.ndarray, start: int, size: int) -> np.ndarray:
        assert 0 <= start <= start + size <= array.size, (start, size, array.size)
        return array[start : start + size]

    def reinterpret(memory: np.ndarray, offset: int, size: int, like: np.ndarray) -> np.ndarray:
        stop = offset + size * like.dtype.itemsize
        assert 0 <= offset <= stop <= memory.size, (offset, stop, memory.size)
        return np.frombuffer(memory[offset:stop].data, like.dtype)

    def pick(x: Any, single: Any, double: Any) -> Any:
        return single if isinstance(x, np.float32) else double

    def fma(a: Any, b: Any, c: Any) -> Any:
        # Two roundings where the wider type cannot hold the sum: at most a trifle off one rounding.
        kind = type(a)
        wider = _WIDER[kind]
        return kind(wider(a) * wider(kind(b)) + wider(kind(c)))

    def polynomial(x: Any, coefficients: tuple[float, ...]) -> Any:
        total = type(x)(coefficients[0])
        for coefficient in coefficients[1:]:
            total = fma(total, x, coefficient)
        return total

    def to_bits(x: Any) -> Any:
        return x.view(_INTEGER[type(x)])

    def from_bits(bits: Any, like: Any) -> Any:
        return _INTEGER[type(like)](bits).view(type(like))
