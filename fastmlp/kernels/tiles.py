"""Register tiles: the innermost block of every matrix product, emitted as LLVM vector code.

A tile keeps a few rows by one or two vectors of the result in registers while it walks the whole
depth, so each number of A and B is loaded once a tile. Each result is one chain of fused
multiply-adds in the order of the depth, added to what a base holds: the same bits wherever the
edges of a tile fall. Only dot products have a chain for each lane of a vector.
"""

from __future__ import annotations

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from .emitter import TileEmitter, pointer
from .jit import JIT_ENABLED, VECTOR_BYTES, integers, itemsize, jit, numbers

# Heights of tile that exist; the tallest fills most of the registers with accumulators (of 32 with
# 64-byte vectors, of 16 else) and leaves room for two vectors of B and one broadcast number of A.
TILE_ROWS = {64: 8, 32: 6, 16: 4}[VECTOR_BYTES]
TILE_HEIGHTS = (TILE_ROWS, 4, 2, 1) if TILE_ROWS > 4 else (4, 2, 1)
VECTORS = 2
FEW_COLUMNS = 4  # so narrow that vectors lie along the other side
SPARSE_VECTORS = 8  # a single row needs more columns to hide the latency of its additions


@jit
def tile_height(rows):
    """The tallest tile that fits into so many rows."""
    return TILE_ROWS if rows >= TILE_ROWS else 4 if rows >= 4 else 2 if rows >= 2 else 1


@jit
def tile_width_of(n_bytes):
    """Columns of a full tile, for numbers of so many bytes."""
    return VECTORS * (VECTOR_BYTES // n_bytes)


@jit
def tile_width(one):
    """Columns of a full tile, for numbers of the type of `one`."""
    return tile_width_of(itemsize(one))


@jit
def transposed_width(one):
    """Rows and columns of a block that `transpose_block` turns over."""
    return VECTOR_BYTES // itemsize(one)


@jit
def sparse_width(one):
    """Most columns of a sparse row's tile."""
    return SPARSE_VECTORS * (VECTOR_BYTES // itemsize(one))


if JIT_ENABLED:

    @intrinsic
    def tile_of_rows(
        typingctx, a, a_stride, order, i, rows, b, b_stride, columns, depth, base, base_stride, c,
        c_stride, one,
    ):  # fmt: skip
        """C = base + A B, where row r of A is row `order[i + r]` of the table at `a`.

        Addresses of numbers of the type of `one`: a table with rows `a_stride` bytes apart; b with
        `b_stride`, base with `base_stride` (0 for one row to be added to all) and c with `c_stride`
        numbers a row; base may be c. `order` is that of int32.
        """
        signature = types.void(*[types.intp] * 13, one)

        def codegen(context, builder, signature, args):
            code = TileEmitter(context, builder, one)
            a_, a_stride_, order_, i_, rows_, b_, b_stride_, columns_, depth_ = args[:9]
            base_, base_stride_, c_, c_stride_, _ = args[9:]
            code.emit(
                TILE_HEIGHTS, VECTORS, rows_, columns_,
                code.table_rows(a_, a_stride_, order_, i_), code.rows_of(b_, b_stride_), depth_,
                code.rows_of(base_, base_stride_), code.rows_written(c_, c_stride_),
            )  # fmt: skip
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def tile_of_dots(
        typingctx, a, a_stride, order, i, rows, b, depth, base, base_stride, c, c_stride, one
    ):
        """`tile_of_rows` for one column: b and each row of C are single numbers a row.

        b is contiguous, so vectors lie along the sum.
        """
        signature = types.void(*[types.intp] * 11, one)

        def codegen(context, builder, signature, args):
            code = TileEmitter(context, builder, one)
            a_, a_stride_, order_, i_, rows_, b_, depth_, base_, base_stride_, c_, c_stride_, _ = (
                args
            )
            code.emit_dots(
                TILE_HEIGHTS, rows_, code.table_rows(a_, a_stride_, order_, i_),
                code.rows_of(b_, code.index(1)), depth_, code.rows_of(base_, base_stride_),
                code.rows_of(c_, c_stride_),
            )  # fmt: skip
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def tile_of_columns(
        typingctx, a, a_stride, order, i, rows, b, b_stride, columns, depth, c, c_stride, one
    ):
        """C = A^T B, where row k of A is row `order[k]` of the table at `a`, from column i on.

        Addresses and strides as in `tile_of_rows`.
        """
        signature = types.void(*[types.intp] * 11, one)

        def codegen(context, builder, signature, args):
            code = TileEmitter(context, builder, one)
            a_, a_stride_, order_, i_, rows_, b_, b_stride_, columns_, depth_ = args[:9]
            c_, c_stride_, _ = args[9:]
            table, indices = pointer(builder, a_), pointer(builder, order_)

            def a_rows(height):
                def pointers(k):
                    start = code.element(code.table_row(table, a_stride_, indices, k), i_)
                    return [code.element(start, code.index(r)) for r in range(height)]

                return pointers

            code.emit(
                TILE_HEIGHTS, VECTORS, rows_, columns_, a_rows, code.rows_of(b_, b_stride_), depth_,
                None, code.rows_written(c_, c_stride_),
            )  # fmt: skip
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def tile_of_few_columns(
        typingctx, a, a_stride, order, i, rows, b, b_stride, columns, depth, c, c_stride, one
    ):
        """`tile_of_columns` for up to FEW_COLUMNS columns: vectors lie along the rows of C."""
        signature = types.void(*[types.intp] * 11, one)

        def codegen(context, builder, signature, args):
            code = TileEmitter(context, builder, one)
            a_, a_stride_, order_, i_, rows_, b_, b_stride_, columns_, depth_ = args[:9]
            c_, c_stride_, _ = args[9:]
            table, indices = pointer(builder, a_), pointer(builder, order_)
            row_of_b = code.rows_of(b_, b_stride_)

            def columns_of_b(count):
                places = [code.index(j) for j in range(count)]
                return lambda k: [code.element(row_of_b(k), place) for place in places]

            code.emit(
                tuple(range(FEW_COLUMNS, 0, -1)), VECTORS, columns_, rows_, columns_of_b,
                lambda k: code.element(code.table_row(table, a_stride_, indices, k), i_),
                depth_, None, code.columns_written(c_, c_stride_),
            )  # fmt: skip
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def transpose_block(typingctx, a, a_stride, b, b_stride, one):
        """B = A^T for a block of `transposed_width` rows and columns, in registers.

        Addresses of numbers of the type of `one`, strides in numbers a row.
        """
        signature = types.void(*[types.intp] * 4, one)

        def codegen(context, builder, signature, args):
            code = TileEmitter(context, builder, one)
            a_, a_stride_, b_, b_stride_, _ = args
            code.transpose(code.rows_of(a_, a_stride_), code.rows_of(b_, b_stride_))
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def _tile_of_sparse_row(typingctx, values, indices, depth, b, b_stride, columns, base, c, one):
        """c = base + sum over k of values[k] B[indices[k]]: a row with `depth` non-zeros.

        Addresses of numbers of the type of `one`, of int32 for `indices`; b with rows `b_stride`
        bytes apart; `columns` up to `sparse_width`; base may be c.
        """
        signature = types.void(*[types.intp] * 8, one)

        def codegen(context, builder, signature, args):
            code = TileEmitter(context, builder, one)
            values_, indices_, depth_, b_, b_stride_, columns_, base_, c_, _ = args
            numbers_, table, order = (pointer(builder, x) for x in (values_, b_, indices_))
            code.emit(
                (1,), SPARSE_VECTORS, code.index(1), columns_,
                lambda height: lambda k: [code.element(numbers_, k)],
                lambda k: code.table_row(table, b_stride_, order, k),
                depth_, code.rows_of(base_, code.index(0)), code.rows_written(c_, code.index(0)),
            )  # fmt: skip
            return context.get_dummy_value()

        return signature, codegen

else:

    def _tile_of_sparse_row(values, indices, depth, b, b_stride, columns, base, c, one):
        rows = _table(b, b_stride, integers(indices, depth), columns, one)
        product = numbers(values, depth, one) @ rows
        numbers(c, columns, one)[:] = numbers(base, columns, one) + product

    def _table(address, stride, rows, size, one):
        """Rows of `size` numbers at `address + row * stride`, as one matrix."""
        found = [numbers(address + int(row) * stride, size, one) for row in rows]
        return np.array(found, type(one)).reshape(len(found), size)

    def _panel(b, b_stride, depth, columns, one):
        return _table(b, b_stride * itemsize(one), range(depth), columns, one)

    def transpose_block(a, a_stride, b, b_stride, one):
        width = transposed_width(one)
        block = _table(a, a_stride * itemsize(one), range(width), width, one)
        _store_tile(b, b_stride, block.T, one)

    def _store_tile(c, c_stride, values, one):
        for r, row in enumerate(values):
            numbers(c + r * c_stride * itemsize(one), row.size, one)[:] = row

    def tile_of_rows(
        a, a_stride, order, i, rows, b, b_stride, columns, depth, base, base_stride, c, c_stride,
        one,
    ):  # fmt: skip
        index = integers(order, i + rows)[i:]
        product = _table(a, a_stride, index, depth, one) @ _panel(b, b_stride, depth, columns, one)
        before = _table(base, base_stride * itemsize(one), range(rows), columns, one)
        _store_tile(c, c_stride, before + product, one)

    def tile_of_dots(a, a_stride, order, i, rows, b, depth, base, base_stride, c, c_stride, one):
        tile_of_rows(
            a, a_stride, order, i, rows, b, 1, 1, depth, base, base_stride, c, c_stride, one
        )

    def tile_of_columns(a, a_stride, order, i, rows, b, b_stride, columns, depth, c, c_stride, one):
        left = _table(a, a_stride, integers(order, depth), i + rows, one)[:, i:]
        _store_tile(c, c_stride, left.T @ _panel(b, b_stride, depth, columns, one), one)

    tile_of_few_columns = tile_of_columns


@jit
def tile_of_sparse_row(values, indices, depth, b, b_stride, columns, base, c, one):
    """`_tile_of_sparse_row`, compiled once for all who call it: its many loops take a while."""
    _tile_of_sparse_row(values, indices, depth, b, b_stride, columns, base, c, one)
