"""Register tiles: the innermost block of every matrix product, emitted as LLVM vector code.

A tile keeps a few rows by one or two vectors of the result in registers while it walks the whole
depth, so each number of A and B is loaded once a tile. Each result is one chain of fused
multiply-adds in the order of the depth, added to what a base holds: the same bits wherever the
edges of a tile fall.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .jit import JIT_ENABLED, VECTOR_BYTES, integers, itemsize, jit, numbers

# Heights of tile that exist; the tallest fills most of the registers with accumulators (of 32 with
# 64-byte vectors, of 16 else) and leaves room for two vectors of B and one broadcast number of A.
TILE_ROWS = {64: 8, 32: 6, 16: 4}[VECTOR_BYTES]
TILE_HEIGHTS = (TILE_ROWS, 4, 2, 1) if TILE_ROWS > 4 else (4, 2, 1)
VECTORS = 2
SPARSE_VECTORS = 8  # a single row needs more columns to hide the latency of its additions


@jit
def tile_height(rows):
    """The tallest tile that fits into so many rows."""
    return TILE_ROWS if rows >= TILE_ROWS else 4 if rows >= 4 else 2 if rows >= 2 else 1


@jit
def tile_width(one):
    """Columns of a full tile, for numbers of the type of `one`."""
    return VECTORS * (VECTOR_BYTES // itemsize(one))


@jit
def transposed_width(one):
    """Rows and columns of a block that `transpose_block` turns over."""
    return VECTOR_BYTES // itemsize(one)


@jit
def sparse_width(one):
    """Most columns of a sparse row's tile."""
    return SPARSE_VECTORS * (VECTOR_BYTES // itemsize(one))


def _memory(builder, address):
    """A pointer to bytes from an address."""
    return builder.inttoptr(address, ir.IntType(8).as_pointer())


class _TileEmitter:
    """Writes the code of every tile shape; which one runs is decided by `rows` and `columns`."""

    def __init__(self, context, builder, dtype):
        self.builder = builder
        self.itemsize = dtype.bitwidth // 8
        self.lanes = VECTOR_BYTES // self.itemsize
        self.scalar = context.get_data_type(dtype)
        self.vector = ir.VectorType(self.scalar, self.lanes)
        self.mask_type = ir.VectorType(ir.IntType(1), self.lanes)
        self.index = ir.IntType(64)
        self.suffix = f"v{self.lanes}f{self.itemsize * 8}"

    def element(self, pointer, index):
        return self.builder.gep(pointer, [index], source_etype=self.scalar)

    def rows_of(self, address, stride):
        """A function of k: pointer to row k of a matrix with `stride` numbers a row."""
        memory = _memory(self.builder, address)
        return lambda k: self.element(memory, self.builder.mul(k, stride))

    def table_row(self, table, stride, order, position):
        """Pointer to the table's row `order[position]`."""
        at = self.builder.gep(order, [position], source_etype=ir.IntType(32))
        row = self.builder.sext(self.builder.load(at, typ=ir.IntType(32)), self.index)
        offset = self.builder.mul(row, stride)
        return self.builder.gep(table, [offset], source_etype=ir.IntType(8))

    def emit(self, heights, vectors, rows, columns, a_rows, b_row, depth, base, c_row):
        """C(r)[:columns] = base(r) + sum over k of A(r, k) B(k)[:columns], for r < rows.

        One of `heights` is `rows`; `columns` fit into `vectors` vectors. `a_rows(height)` returns a
        function of k that gives the pointers of A(0..height-1, k), `b_row(k)` is that of B(k)[0],
        `base(r)` and `c_row(r)` point at rows; None as base stands for zeros.
        """
        full = self.builder.icmp_signed("==", columns, self.index(vectors * self.lanes))
        operands = (a_rows, b_row, depth, base, c_row)
        for height in heights:
            is_height = self.builder.icmp_signed("==", rows, self.index(height))
            with self.builder.if_then(is_height), self.builder.if_else(full) as (whole, partial):
                with whole:
                    self._tile(height, vectors, None, *operands)
                with partial:
                    self._partial(height, vectors, columns, operands)

    def _partial(self, height, vectors, columns, operands):
        """A tile whose last vector, one of the first `vectors`, is cut by the matrix's edge."""
        before = (vectors - 1) * self.lanes
        if vectors == 1:
            self._tile(height, 1, self._edge_mask(columns, 0), *operands)
            return
        reaches = self.builder.icmp_signed(">", columns, self.index(before))
        with self.builder.if_else(reaches) as (here, earlier):
            with here:
                self._tile(height, vectors, self._edge_mask(columns, before), *operands)
            with earlier:
                self._partial(height, vectors - 1, columns, operands)

    def _tile(self, height, vectors, mask, a_rows, b_row, depth, base, c_row):
        builder = self.builder
        masks = [None] * (vectors - 1) + [mask]
        zero = ir.Constant(self.vector, None)
        totals = [[self._register(zero) for _ in masks] for _ in range(height)]
        fma = self._intrinsic("llvm.fma", self.vector, [self.vector] * 3)
        a_of = a_rows(height)
        with cgutils.for_range(builder, depth) as loop:
            b_vectors = self._load_row(b_row(loop.index), masks)
            for row, pointer in zip(totals, a_of(loop.index), strict=True):
                number = builder.load(pointer, align=self.itemsize, typ=self.scalar)
                broadcast = self._broadcast(number, self.vector)
                for slot, b_vector in zip(row, b_vectors, strict=True):
                    total = builder.load(slot, typ=self.vector)
                    builder.store(builder.call(fma, [broadcast, b_vector, total]), slot)
        for r, row in enumerate(totals):
            sums = [builder.load(slot, typ=self.vector) for slot in row]
            if base is not None:
                before = self._load_row(base(self.index(r)), masks)
                sums = [builder.fadd(*pair) for pair in zip(before, sums, strict=True)]
            for v, total in enumerate(sums):
                at = self.element(c_row(self.index(r)), self.index(v * self.lanes))
                self._store(total, at, masks[v])

    def transpose(self, row, column):
        """Write block rows `row(r)` as columns: `column(c)[r] = row(r)[c]`, both pointers.

        Squares of 1, 2, 4, ... on a side change places with their mirror images.
        """
        rows = [self._load(row(self.index(r)), None) for r in range(self.lanes)]
        step = 1
        while step < self.lanes:
            for r in range(self.lanes):
                if not r & step:
                    upper, lower = rows[r], rows[r + step]
                    rows[r] = self._select(upper, lower, step, 0)
                    rows[r + step] = self._select(upper, lower, step, step)
            step *= 2
        for c, vector in enumerate(rows):
            self._store(vector, column(self.index(c)), None)

    def _select(self, upper, lower, step, offset):
        """Lanes of `upper`, and those of `lower` where bit `step` of the lane is set."""
        lanes = range(self.lanes)
        chosen = [c + offset if not c & step else self.lanes + c + offset - step for c in lanes]
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), chosen)
        return self.builder.shuffle_vector(upper, lower, mask)

    def _register(self, value):
        """A local variable, which LLVM promotes to a register."""
        slot = cgutils.alloca_once(self.builder, self.vector)
        self.builder.store(value, slot)
        return slot

    def _edge_mask(self, columns, before):
        """Which lanes of the last vector, `before` columns from the left, are inside the matrix."""
        inside = self.builder.trunc(self.builder.sub(columns, self.index(before)), ir.IntType(32))
        lane_numbers = ir.VectorType(ir.IntType(32), self.lanes)
        counts = ir.Constant(lane_numbers, list(range(self.lanes)))
        return self.builder.icmp_signed("<", counts, self._broadcast(inside, lane_numbers))

    def _broadcast(self, value, vector_type):
        undefined = ir.Constant(vector_type, ir.Undefined)
        single = self.builder.insert_element(undefined, value, ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector_type.count), None)
        return self.builder.shuffle_vector(single, undefined, zeros)

    def _load_row(self, pointer, masks):
        return [
            self._load(self.element(pointer, self.index(v * self.lanes)), mask)
            for v, mask in enumerate(masks)
        ]

    def _load(self, pointer, mask):
        if mask is None:
            return self.builder.load(pointer, align=self.itemsize, typ=self.vector)
        load = self._intrinsic(
            "llvm.masked.load",
            self.vector,
            [ir.PointerType(), ir.IntType(32), self.mask_type, self.vector],
            ".p0",
        )
        align = ir.IntType(32)(self.itemsize)
        return self.builder.call(load, [pointer, align, mask, ir.Constant(self.vector, None)])

    def _store(self, value, pointer, mask):
        if mask is None:
            typed = self.builder.bitcast(pointer, self.vector.as_pointer())
            self.builder.store(value, typed, align=self.itemsize)
            return
        store = self._intrinsic(
            "llvm.masked.store",
            ir.VoidType(),
            [self.vector, ir.PointerType(), ir.IntType(32), self.mask_type],
            ".p0",
        )
        self.builder.call(store, [value, pointer, ir.IntType(32)(self.itemsize), mask])

    def _intrinsic(self, name, result, arguments, address_space=""):
        function_type = ir.FunctionType(result, arguments)
        full_name = f"{name}.{self.suffix}{address_space}"
        return cgutils.get_or_insert_function(self.builder.module, function_type, full_name)


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
            code = _TileEmitter(context, builder, one)
            a_, a_stride_, order_, i_, rows_, b_, b_stride_, columns_, depth_ = args[:9]
            base_, base_stride_, c_, c_stride_, _ = args[9:]
            table, indices = _memory(builder, a_), _memory(builder, order_)

            def a_rows(height):
                positions = [builder.add(i_, code.index(r)) for r in range(height)]
                starts = [code.table_row(table, a_stride_, indices, p) for p in positions]
                return lambda k: [code.element(start, k) for start in starts]

            code.emit(
                TILE_HEIGHTS, VECTORS, rows_, columns_, a_rows, code.rows_of(b_, b_stride_), depth_,
                code.rows_of(base_, base_stride_), code.rows_of(c_, c_stride_),
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
            code = _TileEmitter(context, builder, one)
            a_, a_stride_, order_, i_, rows_, b_, b_stride_, columns_, depth_ = args[:9]
            c_, c_stride_, _ = args[9:]
            table, indices = _memory(builder, a_), _memory(builder, order_)

            def a_rows(height):
                def pointers(k):
                    start = code.element(code.table_row(table, a_stride_, indices, k), i_)
                    return [code.element(start, code.index(r)) for r in range(height)]

                return pointers

            code.emit(
                TILE_HEIGHTS, VECTORS, rows_, columns_, a_rows, code.rows_of(b_, b_stride_), depth_,
                None, code.rows_of(c_, c_stride_),
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
            code = _TileEmitter(context, builder, one)
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
            code = _TileEmitter(context, builder, one)
            values_, indices_, depth_, b_, b_stride_, columns_, base_, c_, _ = args
            numbers_, table, order = (_memory(builder, x) for x in (values_, b_, indices_))
            code.emit(
                (1,), SPARSE_VECTORS, code.index(1), columns_,
                lambda height: lambda k: [code.element(numbers_, k)],
                lambda k: code.table_row(table, b_stride_, order, k),
                depth_, code.rows_of(base_, code.index(0)), code.rows_of(c_, code.index(0)),
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

    def tile_of_columns(a, a_stride, order, i, rows, b, b_stride, columns, depth, c, c_stride, one):
        left = _table(a, a_stride, integers(order, depth), i + rows, one)[:, i:]
        _store_tile(c, c_stride, left.T @ _panel(b, b_stride, depth, columns, one), one)


@jit
def tile_of_sparse_row(values, indices, depth, b, b_stride, columns, base, c, one):
    """`_tile_of_sparse_row`, compiled once for all who call it: its many loops take a while."""
    _tile_of_sparse_row(values, indices, depth, b, b_stride, columns, base, c, one)
