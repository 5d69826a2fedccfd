"""Register tiles: the innermost block of every matrix product, emitted as LLVM vector code.

A tile keeps a few rows by one or two vectors of the result in registers while it walks the whole
depth, so each number of A and B is loaded once per tile. Each result is one chain of fused
multiply-adds in the order of the depth, added to a base. So its bits do not depend on where the
edges of tiles fall. Only dot products have one chain per vector lane.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..compiler.jit import JIT_ENABLED, VECTOR_BYTES, integers, itemsize, jit, numbers
from ..compiler.numba_internals import cgutils
from ..tuning import FEW_COLUMNS, SPARSE_VECTORS, TILE_HEIGHTS, TILE_ROWS, VECTORS
from ..views import Panel
from .emitter import TileEmitter
from .vectors import pointer


@jit
def tile_height(rows):
    """Height of the next tile if so many rows are left: usually of the tallest that fits.

    Two rows have too few sums to hide the latency of additions, so where the tallest tile would
    leave two of eight, there are two tiles of four.
    """
    if rows >= TILE_ROWS and (rows != 8 or TILE_ROWS == 8):
        return TILE_ROWS
    return 4 if rows >= 4 else 2 if rows >= 2 else 1


@jit
def tile_width_of(n_bytes):
    """Columns of a full tile, for numbers of `n_bytes` bytes."""
    return VECTORS * (VECTOR_BYTES // n_bytes)


@jit
def tile_width(one):
    """Columns of a full tile, for numbers of the type of `one`."""
    return tile_width_of(itemsize(one))


@jit
def transposed_width(one):
    """Rows and columns of a block for `transpose_block`."""
    return VECTOR_BYTES // itemsize(one)


@jit
def sparse_width(one):
    """Maximum number of columns of a sparse row's tile."""
    return SPARSE_VECTORS * (VECTOR_BYTES // itemsize(one))


def fields_of(code, view, kind):
    """The fields of a view, for code that is emitted."""
    values = zip(cgutils.unpack_tuple(code.builder, view), kind.types, strict=True)
    return [code.context.cast(code.builder, *value, types.intp) for value in values]


def _emit_row(code, x, b_row, columns, depth, base, c):
    """One row of a product, up to `sparse_width` columns wide: c = base + x B, all addresses."""
    row, nothing = pointer(code.builder, x), code.index(0)
    code.emit(
        (1,), SPARSE_VECTORS, code.index(1), columns,
        lambda height: lambda k: [code.element(row, k)], b_row, depth,
        code.rows_of(base, nothing), code.rows_written(c, nothing),
    )  # fmt: skip


if JIT_ENABLED:

    @intrinsic
    def tile_of_rows(typingctx, a, i, rows, b, depth, base, c, one):
        """C = base + A B, where row r of A is row `order[i + r]` of a table.

        Views: a Inputs, b Panel, base and c Matrix. A base with stride 0 is one row that is added
        to all rows; base may be c.
        """
        signature = types.void(a, types.intp, types.intp, b, types.intp, base, c, one)

        def codegen(context, builder, signature, args):
            code = TileEmitter(context, builder, one)
            a_, i_, rows_, b_, depth_, base_, c_, _ = args
            at, a_stride, order = fields_of(code, a_, a)
            b_at, b_stride, columns = fields_of(code, b_, b)
            code.emit(
                TILE_HEIGHTS, VECTORS, rows_, columns,
                code.table_rows(at, a_stride, order, i_), code.rows_of(b_at, b_stride), depth_,
                code.rows_of(*fields_of(code, base_, base)),
                code.rows_written(*fields_of(code, c_, c)),
            )  # fmt: skip
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def tile_of_dots(typingctx, a, i, rows, b, depth, base, c, one):
        """`tile_of_rows` for one column: b and each row of C are single numbers per row.

        b is the address of adjacent numbers, so vectors run along the sum.
        """
        signature = types.void(a, types.intp, types.intp, types.intp, types.intp, base, c, one)

        def codegen(context, builder, signature, args):
            code = TileEmitter(context, builder, one)
            a_, i_, rows_, b_, depth_, base_, c_, _ = args
            at, a_stride, order = fields_of(code, a_, a)
            code.emit_dots(
                TILE_HEIGHTS, rows_, code.table_rows(at, a_stride, order, i_),
                code.rows_of(b_, code.index(1)), depth_,
                code.rows_of(*fields_of(code, base_, base)), code.rows_of(*fields_of(code, c_, c)),
            )  # fmt: skip
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def tile_of_columns(typingctx, a, i, rows, b, depth, continues, c, one):
        """C = A^T B, where row k of A is row `order[k]` of a table, from column i on.

        Views as in `tile_of_rows`. If `continues`, sums begin at the C that is there, as if its
        terms and these were those of one call.
        """
        signature = types.void(a, types.intp, types.intp, b, types.intp, types.boolean, c, one)

        def codegen(context, builder, signature, args):
            code = TileEmitter(context, builder, one)
            a_, i_, rows_, b_, depth_, continues_, c_, _ = args
            at, a_stride, order = fields_of(code, a_, a)
            b_at, b_stride, columns = fields_of(code, b_, b)
            table, indices = pointer(builder, at), pointer(builder, order)
            c_at, c_stride = fields_of(code, c_, c)
            continued = builder.trunc(continues_, ir.IntType(1))

            def a_rows(height):
                def pointers(k):
                    start = code.element(code.table_row(table, a_stride, indices, k), i_)
                    return [code.element(start, code.index(r)) for r in range(height)]

                return pointers

            code.emit(
                TILE_HEIGHTS, VECTORS, rows_, columns, a_rows, code.rows_of(b_at, b_stride), depth_,
                None, code.rows_written(c_at, c_stride),
                code.zeros_or(continued, c_at, c_stride, VECTORS),
            )  # fmt: skip
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def tile_of_few_columns(typingctx, a, i, rows, b, depth, c, one):
        """`tile_of_columns` for up to FEW_COLUMNS columns: vectors run along the rows of C."""
        signature = types.void(a, types.intp, types.intp, b, types.intp, c, one)

        def codegen(context, builder, signature, args):
            code = TileEmitter(context, builder, one)
            a_, i_, rows_, b_, depth_, c_, _ = args
            at, a_stride, order = fields_of(code, a_, a)
            b_at, b_stride, columns = fields_of(code, b_, b)
            table, indices = pointer(builder, at), pointer(builder, order)
            row_of_b = code.rows_of(b_at, b_stride)

            def columns_of_b(count):
                places = [code.index(j) for j in range(count)]
                return lambda k: [code.element(row_of_b(k), place) for place in places]

            code.emit(
                tuple(range(FEW_COLUMNS, 0, -1)), VECTORS, columns, rows_, columns_of_b,
                lambda k: code.element(code.table_row(table, a_stride, indices, k), i_),
                depth_, None, code.columns_written(*fields_of(code, c_, c)),
            )  # fmt: skip
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def transpose_block(typingctx, a, a_stride, b, b_stride, one):
        """B = A^T for a block of `transposed_width` rows and columns, in registers.

        Addresses of numbers of the type of `one`, strides in numbers per row.
        """
        signature = types.void(*[types.intp] * 4, one)

        def codegen(context, builder, signature, args):
            code = TileEmitter(context, builder, one)
            a_, a_stride_, b_, b_stride_, _ = args
            code.transpose(code.rows_of(a_, a_stride_), code.rows_of(b_, b_stride_))
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def copy_tile_row(typingctx, source, target, one):
        """Copy as many adjacent numbers as a tile is wide, from one address to another."""
        signature = types.void(types.intp, types.intp, one)

        def codegen(context, builder, signature, args):
            code = TileEmitter(context, builder, one)
            code.copy(pointer(builder, args[0]), pointer(builder, args[1]), VECTORS)
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def _tile_of_row(typingctx, x, b, depth, base, c, one):
        """`tile_of_row`, inlined."""
        signature = types.void(types.intp, b, types.intp, types.intp, types.intp, one)

        def codegen(context, builder, signature, args):
            code = TileEmitter(context, builder, one)
            x_, b_, depth_, base_, c_, _ = args
            b_at, b_stride, columns = fields_of(code, b_, b)
            _emit_row(code, x_, code.rows_of(b_at, b_stride), columns, depth_, base_, c_)
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def _tile_of_sparse_row(typingctx, values, indices, depth, b, base, c, one):
        """c = base + sum over k of values[k] B[indices[k]]: a row with `depth` non-zeros.

        Addresses of numbers of the type of `one`, of int32 for `indices`; b: a Panel of up to
        `sparse_width` columns, with rows `stride` bytes apart; base may be c.
        """
        signature = types.void(*[types.intp] * 3, b, types.intp, types.intp, one)

        def codegen(context, builder, signature, args):
            code = TileEmitter(context, builder, one)
            values_, indices_, depth_, b_, base_, c_, _ = args
            b_at, b_stride, columns = fields_of(code, b_, b)
            table, order = pointer(builder, b_at), pointer(builder, indices_)
            _emit_row(
                code, values_, lambda k: code.table_row(table, b_stride, order, k), columns,
                depth_, base_, c_,
            )  # fmt: skip
            return context.get_dummy_value()

        return signature, codegen

else:

    def _tile_of_sparse_row(values, indices, depth, b, base, c, one):
        rows = _table(b.at, b.stride, integers(indices, depth), b.columns, one)
        product = numbers(values, depth, one) @ rows
        numbers(c, b.columns, one)[:] = numbers(base, b.columns, one) + product

    def _tile_of_row(x, b, depth, base, c, one):
        product = numbers(x, depth, one) @ _panel(b, depth, one)
        numbers(c, b.columns, one)[:] = numbers(base, b.columns, one) + product

    def _table(address, stride, rows, size, one):
        """Rows of `size` numbers at `address + row * stride`, as one matrix."""
        found = [numbers(address + int(row) * stride, size, one) for row in rows]
        return np.array(found, type(one)).reshape(len(found), size)

    def _panel(b, depth, one):
        return _table(b.at, b.stride * itemsize(one), range(depth), b.columns, one)

    def transpose_block(a, a_stride, b, b_stride, one):
        width = transposed_width(one)
        block = _table(a, a_stride * itemsize(one), range(width), width, one)
        _store_tile(b, b_stride, block.T, one)

    def _store_tile(c, c_stride, values, one):
        for r, row in enumerate(values):
            numbers(c + r * c_stride * itemsize(one), row.size, one)[:] = row

    def copy_tile_row(source, target, one):
        numbers(target, tile_width(one), one)[:] = numbers(source, tile_width(one), one)

    def tile_of_rows(a, i, rows, b, depth, base, c, one):
        index = integers(a.order, i + rows)[i:]
        product = _table(a.at, a.stride, index, depth, one) @ _panel(b, depth, one)
        before = _table(base.at, base.stride * itemsize(one), range(rows), b.columns, one)
        _store_tile(c.at, c.stride, before + product, one)

    def tile_of_dots(a, i, rows, b, depth, base, c, one):
        tile_of_rows(a, i, rows, Panel(b, 1, 1), depth, base, c, one)

    def tile_of_columns(a, i, rows, b, depth, continues, c, one):
        left = _table(a.at, a.stride, integers(a.order, depth), i + rows, one)[:, i:]
        product = left.T @ _panel(b, depth, one)
        if continues:
            product += _table(c.at, c.stride * itemsize(one), range(rows), b.columns, one)
        _store_tile(c.at, c.stride, product, one)

    def tile_of_few_columns(a, i, rows, b, depth, c, one):
        tile_of_columns(a, i, rows, b, depth, False, c, one)


@jit
def tile_of_row(x, b, depth, base, c, one):
    """c = base + x B for one row x and a Panel of up to `sparse_width` columns; base may be c.

    Addresses of numbers of the type of `one`. Compiled once for all callers.
    """
    _tile_of_row(x, b, depth, base, c, one)


@jit
def tile_of_sparse_row(values, indices, depth, b, base, c, one):
    """`_tile_of_sparse_row`, compiled once for all callers, because its many loops take a while."""
    _tile_of_sparse_row(values, indices, depth, b, base, c, one)
