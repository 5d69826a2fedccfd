"""LLVM vector code of register tiles, written instruction by instruction.

The tile for a shape is chosen at run time; the order in which each number is summed is fixed here.
"""

from __future__ import annotations

from llvmlite import ir

from ..compiler.numba_internals import cgutils
from .vectors import VectorEmitter, pointer


class TileEmitter(VectorEmitter):
    """Writes the code of every tile shape; `rows` and `columns` choose one at run time."""

    def rows_of(self, address, stride):
        """A function of k: pointer to row k of a matrix with `stride` numbers per row."""
        start = pointer(self.builder, address)
        return lambda k: self.element(start, self.builder.mul(k, stride))

    def table_row(self, table, stride, order, position):
        """Pointer to the table's row `order[position]`."""
        at = self.builder.gep(order, [position], source_etype=ir.IntType(32))
        row = self.builder.sext(self.builder.load(at, typ=ir.IntType(32)), self.index)
        offset = self.builder.mul(row, stride)
        return self.builder.gep(table, [offset], source_etype=ir.IntType(8))

    def table_rows(self, a, stride, order, i):
        """An `a_rows` for `emit` below: rows `order[i]`, `order[i + 1]`, ... of a table."""
        table, indices = pointer(self.builder, a), pointer(self.builder, order)

        def a_rows(height):
            positions = [self.builder.add(i, self.index(r)) for r in range(height)]
            starts = [self.table_row(table, stride, indices, p) for p in positions]
            return lambda k: [self.element(start, k) for start in starts]

        return a_rows

    def rows_written(self, address, stride):
        """A `put` for `emit` below: writes to rows of a matrix with `stride` numbers per row."""
        row_of = self.rows_of(address, stride)

        def put(v, vectors, edge):
            rows = [row_of(self.index(r)) for r in range(len(vectors))]
            places = [self.element(row, self.index(v * self.lanes)) for row in rows]
            if edge is None:
                for vector, place in zip(vectors, places, strict=True):
                    self._store(vector, place)
            else:
                self._store_inside(vectors, places, edge)

        return put

    def columns_written(self, address, stride):
        """A `put` for `emit` below: writes row r of the tile to column r of a matrix."""
        builder, whole = self.builder, ir.VectorType(self.index, self.lanes)
        step = builder.mul(stride, self.index(self.itemsize))
        lanes = builder.mul(
            self._broadcast(step, whole), ir.Constant(whole, list(range(self.lanes)))
        )

        def put(v, vectors, edge):
            first = builder.add(address, builder.mul(step, self.index(v * self.lanes)))
            for r, vector in enumerate(vectors):
                start = builder.add(first, self.index(r * self.itemsize))
                addresses = builder.add(lanes, self._broadcast(start, whole))
                self._scatter(vector, addresses, edge)

        return put

    def zeros_or(self, is_wanted, address, stride, vectors):
        """`rows_of` a matrix if the condition holds, otherwise of as many vectors of zeros."""
        zeros = ir.ArrayType(self.scalar, vectors * self.lanes)(None)
        found = cgutils.global_constant(self.builder.module, f"zeros_{self.suffix}", zeros)
        nowhere = self.builder.ptrtoint(found, self.index)
        choose = self.builder.select
        return self.rows_of(
            choose(is_wanted, address, nowhere), choose(is_wanted, stride, self.index(0))
        )

    def emit(self, heights, vectors, rows, columns, a_rows, b_row, depth, base, put, start=None):
        """C(r)[:columns] = base(r) + sum over k of A(r, k) B(k)[:columns], for r < rows.

        Sums begin at start(r), if that is given, and otherwise at zero. One of `heights` is `rows`;
        `columns` fit into `vectors` vectors. `a_rows(height)` returns a function of k that gives
        the pointers of A(0..height-1, k), `b_row(k)` is that of B(k)[0], `base(r)` points at a row,
        None stands for zeros; `put(v, vectors, edge)` writes vector v of every C(r), up to the edge
        if it crosses one.
        """
        full = self.builder.icmp_signed("==", columns, self.index(vectors * self.lanes))
        operands = (a_rows, b_row, depth, base, put, start)
        for height in heights:
            is_height = self.builder.icmp_signed("==", rows, self.index(height))
            with self.builder.if_then(is_height), self.builder.if_else(full) as (whole, partial):
                with whole:
                    self._tile(height, vectors, None, *operands)
                with partial:
                    self._partial(height, vectors, columns, operands)

    def _partial(self, height, vectors, columns, operands):
        """A tile at the matrix's edge, which cuts its last vector, one of the first `vectors`."""
        before = (vectors - 1) * self.lanes
        if vectors == 1:
            self._tile(height, 1, self._edge(columns, 0), *operands)
            return
        reaches = self.builder.icmp_signed(">", columns, self.index(before))
        with self.builder.if_else(reaches) as (here, earlier):
            with here:
                self._tile(height, vectors, self._edge(columns, before), *operands)
            with earlier:
                self._partial(height, vectors - 1, columns, operands)

    def _tile(self, height, vectors, edge, a_rows, b_row, depth, base, put, start):
        builder = self.builder
        edges = [None] * (vectors - 1) + [edge]
        first = [[ir.Constant(self.vector, None)] * vectors] * height
        if start is not None:
            first = [self._load_row(start(self.index(r)), edges) for r in range(height)]
        totals = [[self._register(vector) for vector in row] for row in first]
        fma = self._intrinsic("llvm.fma", self.vector, [self.vector] * 3)
        a_of = a_rows(height)
        with cgutils.for_range(builder, depth) as loop:
            b_vectors = self.load_b(b_row(loop.index), edges)
            for row, pointer in zip(totals, a_of(loop.index), strict=True):
                number = builder.load(pointer, align=self.itemsize, typ=self.scalar)
                broadcast = self._broadcast(number, self.vector)
                for slot, b_vector in zip(row, b_vectors, strict=True):
                    total = builder.load(slot, typ=self.vector)
                    builder.store(builder.call(fma, [broadcast, b_vector, total]), slot)
        sums = [[builder.load(slot, typ=self.vector) for slot in row] for row in totals]
        if base is not None:
            for r, row in enumerate(sums):
                before = self._load_row(base(self.index(r)), edges)
                sums[r] = [builder.fadd(*pair) for pair in zip(before, row, strict=True)]
        for v, edge in enumerate(edges):
            put(v, [row[v] for row in sums], edge)

    def load_b(self, start, edges):
        """Vectors of one row of B."""
        return self._load_row(start, edges)

    def emit_dots(self, heights, rows, a_rows, b, depth, base, c_row):
        """C(r) = base(r) + sum over k of A(r, k) b(k), for r < rows, where rows is in `heights`.

        `a_rows(height)` returns a function of k that gives pointers to A(0..height-1, k), `b` is a
        function of k that gives the pointer to b(k). Lane i sums the terms with k % lanes == i;
        then the lanes are summed pairwise, one half of them added to the other.
        """
        for height in heights:
            is_height = self.builder.icmp_signed("==", rows, self.index(height))
            with self.builder.if_then(is_height):
                self._dots(height, a_rows(height), b, depth, base, c_row)

    def _dots(self, height, a_of, b, depth, base, c_row):
        builder, lanes = self.builder, self.index(self.lanes)
        totals = [self._register(ir.Constant(self.vector, None)) for _ in range(height)]
        fma = self._intrinsic("llvm.fma", self.vector, [self.vector] * 3)

        def add(k, edge):
            b_vector = self._load(b(k), edge)
            for slot, place in zip(totals, a_of(k), strict=True):
                total = builder.load(slot, typ=self.vector)
                product = builder.call(fma, [self._load(place, edge), b_vector, total])
                builder.store(product, slot)

        whole = builder.sdiv(depth, lanes)
        with cgutils.for_range(builder, whole) as loop:
            add(builder.mul(loop.index, lanes), None)
        done = builder.mul(whole, lanes)
        with builder.if_then(builder.icmp_signed("<", done, depth)):
            add(done, self._edge(depth, done))
        for r, slot in enumerate(totals):
            total = self._sum_of_lanes(builder.load(slot, typ=self.vector))
            before = builder.load(base(self.index(r)), align=self.itemsize, typ=self.scalar)
            place = builder.bitcast(c_row(self.index(r)), self.scalar.as_pointer())
            builder.store(builder.fadd(before, total), place, align=self.itemsize)
