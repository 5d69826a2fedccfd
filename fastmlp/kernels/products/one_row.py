"""The product of one row with a matrix in wide panels, whose numbers may be stored in 16 bits.

One row uses each weight once, so it takes as long as the weights take to arrive from the cache or
from memory; those of 16 bits take half of that time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..compiler.jit import JIT_ENABLED, in_python, itemsize, jit, numbers
from ..compiler.memory import aligned_copy
from ..compiler.target import widens_float16
from ..step.rows import EXPONENT, REBIAS
from ..tuning import SPARSE_VECTORS
from ..views import Panel
from .blocking import panels_of
from .emitter import TileEmitter
from .sums import input_part_start, n_parts
from .tiles import fields_of, sparse_width, transposed_width
from .vectors import pointer


class Stored(NamedTuple):
    """How weights are stored.

    Attributes
    ----------
    name : str
        The type of number; "" is the network's own.
    n_bytes : int
        Of one number; 0 for as many as one of the network's.
    to_bits : callable
        What is stored for an array of numbers.
    to_numbers : callable
        The numbers, in float32 or as they are stored, that this means.
    widen : callable
        `widen(builder, lanes, vector)` emits that for a vector: lanes of float32.
    """

    name: str
    n_bytes: int
    to_bits: Callable[[np.ndarray], np.ndarray]
    to_numbers: Callable[[np.ndarray], np.ndarray]
    widen: Callable[[Any, int, Any], Any]

    def rounded(self, W: np.ndarray) -> np.ndarray:
        """What W becomes by being stored, in its own type; too large a number becomes infinite."""
        with np.errstate(over="ignore"):
            return self.to_numbers(self.to_bits(W)).astype(W.dtype)


def _bits_of_bfloat16(W: np.ndarray) -> np.ndarray:
    """The upper half of each float32, rounded to nearest, ties to even."""
    bits = W.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _widen_bfloat16(builder: Any, lanes: int, vector: Any) -> Any:
    upper = builder.shl(_whole(builder, lanes, vector), _integers(lanes, 16))
    return builder.bitcast(upper, _floats(lanes))


def _widen_float16(builder: Any, lanes: int, vector: Any) -> Any:
    """One instruction, or what `rows.half_to_single` does where the processor has none."""
    if widens_float16():
        halves = builder.bitcast(vector, ir.VectorType(ir.HalfType(), lanes))
        return builder.fpext(halves, _floats(lanes))
    bits = _whole(builder, lanes, vector)
    moved = builder.shl(builder.and_(bits, _integers(lanes, 0x7FFF)), _integers(lanes, 13))
    sign = builder.shl(builder.and_(bits, _integers(lanes, 0x8000)), _integers(lanes, 16))
    normal = builder.add(moved, _integers(lanes, REBIAS))
    smallest = _integers(lanes, REBIAS + EXPONENT)
    above = builder.bitcast(builder.add(moved, smallest), _floats(lanes))
    subnormal = builder.fsub(above, builder.bitcast(smallest, _floats(lanes)))
    is_normal = builder.icmp_unsigned(">=", moved, _integers(lanes, EXPONENT))
    size = builder.select(is_normal, normal, builder.bitcast(subnormal, normal.type))
    return builder.bitcast(builder.or_(size, sign), _floats(lanes))


def _floats(lanes: int) -> Any:
    return ir.VectorType(ir.FloatType(), lanes)


def _integers(lanes: int, number: Any) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), lanes), [int(number)] * lanes)


def _whole(builder: Any, lanes: int, vector: Any) -> Any:
    """16-bit numbers as the lower halves of 32-bit ones."""
    return builder.zext(vector, ir.VectorType(ir.IntType(32), lanes))


OWN = Stored("", 0, lambda W: W, lambda W: W, lambda builder, lanes, vector: vector)
FLOAT16 = Stored(
    "float16", 2, lambda W: W.astype(np.float16).view(np.uint16),
    lambda bits: bits.view(np.float16).astype(np.float32), _widen_float16,
)  # fmt: skip
BFLOAT16 = Stored(
    "bfloat16", 2, _bits_of_bfloat16,
    lambda bits: (bits.astype(np.uint32) << 16).view(np.float32), _widen_bfloat16,
)  # fmt: skip
STORED = {stored.name: stored for stored in (OWN, FLOAT16, BFLOAT16)}


def in_wide_panels(W: np.ndarray, stored: Stored) -> np.ndarray:
    """A copy of W (n_in, n_out) in panels of up to `sparse_width` columns, of whole vectors."""
    one = W.dtype.type(1)
    width, lanes = int(in_python(sparse_width)(one)), int(in_python(transposed_width)(one))
    return aligned_copy(stored.to_bits(panels_of(W, width, lanes)))


class _RowEmitter(TileEmitter):
    """Writes a tile whose B is stored in another type; its rows are whole vectors."""

    def __init__(self, context: Any, builder: Any, dtype: Any, stored: Stored) -> None:
        super().__init__(context, builder, dtype)
        self._stored = stored
        self.stored_bytes = stored.n_bytes or self.itemsize
        self._stored_type = ir.IntType(8 * stored.n_bytes) if stored.n_bytes else self.scalar

    def rows_of_panel(self, address: Any, stride: Any) -> Callable[[Any], Any]:
        """A function of k: pointer to row k of a panel."""
        start, builder = pointer(self.builder, address), self.builder
        return lambda k: builder.gep(
            start, [builder.mul(k, stride)], source_etype=self._stored_type
        )

    def load_b(self, start: Any, edges: Any) -> list[Any]:
        """One row of the panel, in the network's type."""
        vector, found = ir.VectorType(self._stored_type, self.lanes), []
        for v in range(len(edges)):
            place = self.index(v * self.lanes)
            at = self.builder.gep(start, [place], source_etype=self._stored_type)
            loaded = self.builder.load(at, align=self.stored_bytes, typ=vector)
            wide = self._stored.widen(self.builder, self.lanes, loaded)
            if wide.type != self.vector:
                wide = self.builder.fpext(wide, self.vector)
            found.append(wide)
        return found


def _tile_with(stored: Stored) -> Any:
    """A function `tile(x, b, depth, base, c, one)`: c = base + x B for one row.

    Addresses; b: a Panel of stored numbers, with rows `stride` numbers apart.
    """
    if not JIT_ENABLED:

        def interpreted(x, b, depth, base, c, one):
            dtype = np.dtype(np.uint16) if stored.n_bytes else np.dtype(type(one))
            bits = numbers(b.at, depth * b.stride, dtype.type(1)).reshape(depth, b.stride)
            product = numbers(x, depth, one) @ stored.to_numbers(bits.copy())[:, : b.columns]
            numbers(c, b.columns, one)[:] = numbers(base, b.columns, one) + product

        return interpreted

    @intrinsic
    def tile(typingctx, x, b, depth, base, c, one):
        signature = types.void(types.intp, b, types.intp, types.intp, types.intp, one)

        def codegen(context, builder, signature, args):
            code = _RowEmitter(context, builder, one, stored)
            x_, b_, depth_, base_, c_, _ = args
            b_at, b_stride, columns = fields_of(code, b_, b)
            row, nothing = pointer(builder, x_), code.index(0)
            code.emit(
                (1,), SPARSE_VECTORS, code.index(1), columns,
                lambda height: lambda k: [code.element(row, k)],
                code.rows_of_panel(b_at, b_stride), depth_, code.rows_of(base_, nothing),
                code.rows_written(c_, nothing),
            )  # fmt: skip
            return context.get_dummy_value()

        return signature, codegen

    return tile


def forward_with(stored: Stored) -> Any:
    """A function `forward(x, weights, out, one)`: z <- b + x W, with the same bits as tiles.

    Addresses of a row x (n_in,) and of out (n_out,); `weights.at`: what `in_wide_panels` returned.
    """
    tile, bytes_of_halves = _tile_with(stored), stored.n_bytes

    @jit
    def forward(x, weights, out, one):
        size, width, lanes = itemsize(one), sparse_width(one), transposed_width(one)
        n_in, n_out, parts = weights.n_in, weights.n_out, n_parts(weights.n_in, weights.n_out)
        stored_bytes = bytes_of_halves if bytes_of_halves > 0 else size
        for j in range(0, n_out, width):
            columns, place = min(width, n_out - j), out + j * size
            stride = (columns + lanes - 1) // lanes * lanes
            for part in range(parts):
                k = input_part_start(n_in, parts, part)
                depth = input_part_start(n_in, parts, part + 1) - k
                at = weights.at + (j * n_in + k * stride) * stored_bytes
                base = weights.biases + j * size if part == 0 else place
                tile(x + k * size, Panel(at, stride, columns), depth, base, place, one)

    return forward
