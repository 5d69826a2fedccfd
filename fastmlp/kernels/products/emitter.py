"""LLVM vector code of register tiles, written instruction by instruction.

The tile for a shape is chosen at run time; the order in which each number is summed is fixed here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir

from ..compiler.jit import VECTOR_BYTES
from ..compiler.numba_internals import cgutils
from ..compiler.target import WIDEST


def pointer(builder, address):
    """A pointer to bytes from an address."""
    return builder.inttoptr(address, ir.IntType(8).as_pointer())


class Edge(NamedTuple):
    """How many lanes of a vector lie inside a matrix, and the mask of these."""

    inside: Any
    mask: Any


class TileEmitter:
    """Writes the code of every tile shape; `rows` and `columns` choose one at run time."""

    def __init__(self, context, builder, dtype):
        self.context, self.builder = context, builder
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
            for slot, pointer in zip(totals, a_of(k), strict=True):
                total = builder.load(slot, typ=self.vector)
                product = builder.call(fma, [self._load(pointer, edge), b_vector, total])
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

    def _sum_of_lanes(self, vector):
        half = self.lanes // 2
        while half:
            chosen = [c + half if c < half else c for c in range(self.lanes)]
            mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), chosen)
            vector = self.builder.fadd(vector, self.builder.shuffle_vector(vector, vector, mask))
            half //= 2
        return self.builder.extract_element(vector, ir.IntType(32)(0))

    def transpose(self, row, column):
        """Write block rows `row(r)` as columns: `column(c)[r] = row(r)[c]`, both pointers.

        Off-diagonal squares with sides of 1, 2, 4, ... are swapped with their mirror images.
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
            self._store(vector, column(self.index(c)))

    def copy(self, source, target, vectors):
        """Copy some vectors of adjacent numbers, both given as pointers."""
        for v, vector in enumerate(self._load_row(source, [None] * vectors)):
            self._store(vector, self.element(target, self.index(v * self.lanes)))

    def _select(self, upper, lower, step, offset):
        """Lanes of `upper`, or of `lower` where bit `step` of the lane number is set."""
        lanes = range(self.lanes)
        chosen = [c + offset if not c & step else self.lanes + c + offset - step for c in lanes]
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), chosen)
        return self.builder.shuffle_vector(upper, lower, mask)

    def _register(self, value):
        """A local variable, which LLVM promotes to a register."""
        slot = cgutils.alloca_once(self.builder, self.vector)
        self.builder.store(value, slot)
        return slot

    def _edge(self, columns, before):
        """The edge within the vector that starts at column `before`, or right at its end."""
        if isinstance(before, int):
            before = self.index(before)
        inside = self.builder.trunc(self.builder.sub(columns, before), ir.IntType(32))
        lane_numbers = ir.VectorType(ir.IntType(32), self.lanes)
        counts = ir.Constant(lane_numbers, list(range(self.lanes)))
        mask = self.builder.icmp_signed("<", counts, self._broadcast(inside, lane_numbers))
        return Edge(inside, mask)

    def _broadcast(self, value, vector_type):
        undefined = ir.Constant(vector_type, ir.Undefined)
        single = self.builder.insert_element(undefined, value, ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector_type.count), None)
        return self.builder.shuffle_vector(single, undefined, zeros)

    def _load_row(self, pointer, edges):
        return [
            self._load(self.element(pointer, self.index(v * self.lanes)), edge)
            for v, edge in enumerate(edges)
        ]

    def _load(self, pointer, edge):
        if edge is None:
            return self.builder.load(pointer, align=self.itemsize, typ=self.vector)
        load = self._intrinsic(
            "llvm.masked.load",
            self.vector,
            [ir.PointerType(), ir.IntType(32), self.mask_type, self.vector],
            ".p0",
        )
        align = ir.IntType(32)(self.itemsize)
        return self.builder.call(load, [pointer, align, edge.mask, ir.Constant(self.vector, None)])

    def _store(self, value, pointer):
        typed = self.builder.bitcast(pointer, value.type.as_pointer())
        self.builder.store(value, typed, align=self.itemsize)

    def _store_inside(self, vectors, places, edge):
        """Store the lanes inside the matrix of one vector per place."""
        if VECTOR_BYTES == WIDEST:
            for vector, place in zip(vectors, places, strict=True):
                self._store_masked(vector, place, edge.mask)
        else:
            self._store_pieces(vectors, places, edge.inside)

    def _store_pieces(self, vectors, places, inside):
        """Store the first `inside` lanes in pieces, whose sizes are the powers of 2 in their sum.

        A masked store of AVX2 takes 12 cycles on Zen, and instruction sets with shorter vectors
        have none. Every size is tested once for all rows.
        """
        builder, rest = self.builder, [self._register(vector) for vector in vectors]
        stored = cgutils.alloca_once_value(builder, self.index(0))
        size = self.lanes
        while size:
            wanted = builder.and_(inside, inside.type(size))
            with builder.if_then(builder.icmp_unsigned("!=", wanted, inside.type(0))):
                done = builder.load(stored, typ=self.index)
                for slot, place in zip(rest, places, strict=True):
                    vector = builder.load(slot, typ=self.vector)
                    self._store(self._lanes_from(vector, 0, size), self.element(place, done))
                    builder.store(self._lanes_from(vector, size, self.lanes), slot)
                builder.store(builder.add(done, self.index(size)), stored)
            size //= 2

    def _lanes_from(self, vector, first, count):
        """A vector of the lanes from `first` on; those past the end may be anything."""
        chosen = [(first + c) % self.lanes for c in range(count)]
        mask = ir.Constant(ir.VectorType(ir.IntType(32), count), chosen)
        return self.builder.shuffle_vector(vector, vector, mask)

    def _store_masked(self, value, pointer, mask):
        store = self._intrinsic(
            "llvm.masked.store",
            ir.VoidType(),
            [self.vector, ir.PointerType(), ir.IntType(32), self.mask_type],
            ".p0",
        )
        self.builder.call(store, [value, pointer, ir.IntType(32)(self.itemsize), mask])

    def _scatter(self, value, addresses, edge):
        pointers = ir.VectorType(ir.PointerType(), self.lanes)
        scatter = self._intrinsic(
            "llvm.masked.scatter",
            ir.VoidType(),
            [self.vector, pointers, ir.IntType(32), self.mask_type],
            f".v{self.lanes}p0",
        )
        mask = edge.mask if edge else ir.Constant(self.mask_type, [1] * self.lanes)
        places = self.builder.inttoptr(addresses, pointers)
        self.builder.call(scatter, [value, places, ir.IntType(32)(self.itemsize), mask])

    def _intrinsic(self, name, result, arguments, address_space=""):
        function_type = ir.FunctionType(result, arguments)
        full_name = f"{name}.{self.suffix}{address_space}"
        return cgutils.get_or_insert_function(self.builder.module, function_type, full_name)
