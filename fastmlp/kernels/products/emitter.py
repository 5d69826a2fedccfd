"""LLVM vector code of register tiles, written instruction by instruction.

The tile for a shape is chosen at run time; the order in which each number is summed is fixed here.
"""

from __future__ import annotations

from llvmlite import ir

from ..compiler.jit import VECTOR_BYTES
from ..compiler.numba_internals import cgutils


def pointer(builder, address):
    """A pointer to bytes from an address."""
    return builder.inttoptr(address, ir.IntType(8).as_pointer())


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

        def put(r, v, vector, mask):
            at = self.element(row_of(self.index(r)), self.index(v * self.lanes))
            self._store(vector, at, mask)

        return put

    def columns_written(self, address, stride):
        """A `put` for `emit` below: writes row r of the tile to column r of a matrix."""
        builder, whole = self.builder, ir.VectorType(self.index, self.lanes)
        step = builder.mul(stride, self.index(self.itemsize))
        lanes = builder.mul(
            self._broadcast(step, whole), ir.Constant(whole, list(range(self.lanes)))
        )

        def put(r, v, vector, mask):
            start = builder.add(address, builder.mul(step, self.index(v * self.lanes)))
            start = builder.add(start, self.index(r * self.itemsize))
            addresses = builder.add(lanes, self._broadcast(start, whole))
            self._scatter(vector, addresses, mask)

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
        None stands for zeros; `put(r, v, vector, mask)` writes vector v of C(r), only in the lanes
        of the mask if there is one.
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
            self._tile(height, 1, self._edge_mask(columns, 0), *operands)
            return
        reaches = self.builder.icmp_signed(">", columns, self.index(before))
        with self.builder.if_else(reaches) as (here, earlier):
            with here:
                self._tile(height, vectors, self._edge_mask(columns, before), *operands)
            with earlier:
                self._partial(height, vectors - 1, columns, operands)

    def _tile(self, height, vectors, mask, a_rows, b_row, depth, base, put, start):
        builder = self.builder
        masks = [None] * (vectors - 1) + [mask]
        first = [[ir.Constant(self.vector, None)] * vectors] * height
        if start is not None:
            first = [self._load_row(start(self.index(r)), masks) for r in range(height)]
        totals = [[self._register(vector) for vector in row] for row in first]
        fma = self._intrinsic("llvm.fma", self.vector, [self.vector] * 3)
        a_of = a_rows(height)
        with cgutils.for_range(builder, depth) as loop:
            b_vectors = self.load_b(b_row(loop.index), masks)
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
                put(r, v, total, masks[v])

    def load_b(self, start, masks):
        """Vectors of one row of B."""
        return self._load_row(start, masks)

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

        def add(k, mask):
            b_vector = self._load(b(k), mask)
            for slot, pointer in zip(totals, a_of(k), strict=True):
                total = builder.load(slot, typ=self.vector)
                product = builder.call(fma, [self._load(pointer, mask), b_vector, total])
                builder.store(product, slot)

        whole = builder.sdiv(depth, lanes)
        with cgutils.for_range(builder, whole) as loop:
            add(builder.mul(loop.index, lanes), None)
        done = builder.mul(whole, lanes)
        with builder.if_then(builder.icmp_signed("<", done, depth)):
            add(done, self._edge_mask(depth, done))
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
            self._store(vector, column(self.index(c)), None)

    def copy(self, source, target, vectors):
        """Copy some vectors of adjacent numbers, both given as pointers."""
        masks = [None] * vectors
        for v, vector in enumerate(self._load_row(source, masks)):
            self._store(vector, self.element(target, self.index(v * self.lanes)), None)

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

    def _edge_mask(self, columns, before):
        """Mask of the lanes inside the matrix, for the vector that starts at column `before`."""
        if isinstance(before, int):
            before = self.index(before)
        inside = self.builder.trunc(self.builder.sub(columns, before), ir.IntType(32))
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

    def _scatter(self, value, addresses, mask):
        pointers = ir.VectorType(ir.PointerType(), self.lanes)
        scatter = self._intrinsic(
            "llvm.masked.scatter",
            ir.VoidType(),
            [self.vector, pointers, ir.IntType(32), self.mask_type],
            f".v{self.lanes}p0",
        )
        mask = mask or ir.Constant(self.mask_type, [1] * self.lanes)
        places = self.builder.inttoptr(addresses, pointers)
        self.builder.call(scatter, [value, places, ir.IntType(32)(self.itemsize), mask])

    def _intrinsic(self, name, result, arguments, address_space=""):
        function_type = ir.FunctionType(result, arguments)
        full_name = f"{name}.{self.suffix}{address_space}"
        return cgutils.get_or_insert_function(self.builder.module, function_type, full_name)
