"""Rows of the user's data, of any number type and memory order.

Data of the network's own type with adjacent columns are used in place; any other data are converted
one batch at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..compiler.bits import from_bits
from ..compiler.jit import JIT_ENABLED, integers, itemsize, jit, numbers, rule
from ..compiler.memory import CACHE_LINE
from ..compiler.numba_internals import cgutils
from ..tuning import TILE_ROWS

FLOAT32, FLOAT64, UINT8, FLOAT16, SPARSE = range(5)
KINDS = {
    np.dtype(np.float32): FLOAT32,
    np.dtype(np.float64): FLOAT64,
    np.dtype(np.uint8): UINT8,
    np.dtype(np.float16): FLOAT16,
}

_FLOAT32 = np.float32(1)

_FRACTION = 23 - 10  # fraction bits of a float32 minus those of a float16
REBIAS = np.int32((127 - 15) << 23)  # from the exponent of a float16 to that of a float32
EXPONENT = np.int32(1 << 23)


@rule
def half_to_single(bits):
    """The float32 equal to the float16 with these bits; LLVM has no portable cast for it.

    A subnormal float16 is a normal float32: its fraction is placed after a leading 1, which is then
    subtracted.
    """
    bits = np.int32(bits)
    moved = (bits & np.int32(0x7FFF)) << np.int32(_FRACTION)
    normal = from_bits(moved + REBIAS, _FLOAT32)
    smallest = REBIAS + EXPONENT
    subnormal = from_bits(moved + smallest, _FLOAT32) - from_bits(smallest, _FLOAT32)
    special = from_bits(moved + REBIAS + REBIAS, _FLOAT32)
    size = normal if moved < np.int32(31 << 23) else special
    size = size if moved >= EXPONENT else subnormal
    return size if bits < np.int32(0x8000) else -size


if JIT_ENABLED:

    @intrinsic
    def _prefetch(typingctx, address):
        """Prefetch the cache line at an address into the second-level cache."""

        def codegen(context, builder, signature, args):
            pointer = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
            kind = ir.FunctionType(ir.VoidType(), [pointer.type, *[ir.IntType(32)] * 3])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            read, second_cache, data = (ir.IntType(32)(number) for number in (0, 2, 1))
            builder.call(function, [pointer, read, second_cache, data])
            return context.get_dummy_value()

        return types.void(types.intp), codegen

else:

    def _prefetch(address):
        pass


@jit
def prefetch(x, row_stride, row_bytes, order, first, last):
    """Prefetch rows `order[first:last]` of the table at x; order: address of int32."""
    samples = integers(order, last)
    for r in range(first, last):
        start = x + np.int64(samples[r]) * row_stride
        for at in range(0, row_bytes, CACHE_LINE):
            _prefetch(start + at)


@jit
def prefetch_tile(a, a_stride, order, i, k, stop, ahead, one):
    """Prefetch numbers k..stop of the rows of the tile after the one that starts at row i.

    ahead: the row to stop at.
    """
    near, far = min(i + TILE_ROWS, ahead), min(i + 2 * TILE_ROWS, ahead)
    size = itemsize(one)
    prefetch(a + k * size, a_stride, (stop - k) * size, order, near, far)


@jit
def row_address(inputs, r):
    """Address of row `order[r]` of a table."""
    return inputs.at + np.int64(integers(inputs.order, r + 1)[r]) * inputs.stride


@jit
def copy_rows(inputs, first, last, n_columns, out, one):
    """out[r] <- n_columns numbers of row `order[r]` of a table, for first <= r < last.

    The table has the type of `one`, and adjacent columns.
    """
    samples, size = integers(inputs.order, last), itemsize(one)
    for r in range(first, last):
        source = numbers(inputs.at + np.int64(samples[r]) * inputs.stride, n_columns, one)
        row = numbers(out.at + r * out.stride * size, n_columns, one)
        for j in range(row.size):
            row[j] = source[j]


def _gather_of(kind: Any, convert: Any, name: str) -> Any:
    """The kernel that converts rows of numbers of the type of `kind` to the network's type."""

    def gather(table, order, block, n_columns, scale, out, one):
        """out[r] <- row `order[r]` of a strided table, converted, times scale.

        For a block of rows and columns of out (batch, n_columns), of the type of `one`; order:
        address of int32.
        """
        factor, samples, stride = type(one)(scale), integers(order, block.last), table.column_stride
        for r in range(block.first, block.last):
            start = table.at + np.int64(samples[r]) * table.row_stride + block.left * stride
            place = out + (r * n_columns + block.left) * itemsize(one)
            row = numbers(place, block.right - block.left, one)
            if stride == itemsize(kind):
                source = numbers(start, row.size, kind)
                for j in range(row.size):
                    row[j] = convert(source[j])
            else:
                for j in range(row.size):
                    row[j] = convert(numbers(start + j * stride, 1, kind)[0])
            if scale != 1:
                for j in range(row.size):
                    row[j] *= factor

    gather.__qualname__ = name
    return jit(gather)


@rule
def _as_it_is(number):
    """No conversion: storing the number converts it."""
    return number


GATHERS = {
    FLOAT32: _gather_of(np.float32(1), _as_it_is, "gather_float32"),
    FLOAT64: _gather_of(np.float64(1), _as_it_is, "gather_float64"),
    UINT8: _gather_of(np.uint8(1), _as_it_is, "gather_uint8"),
    FLOAT16: _gather_of(np.uint16(1), half_to_single, "gather_float16"),
}
