"""LLVM code for vectors of adjacent numbers: loads and stores, up to the edge of a matrix too.

A vector that crosses the edge is loaded through a mask, and stored in the way that is fastest for
the instruction set.
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


class VectorEmitter:
    """Writes operations on vectors as wide as the registers of the target."""

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

    def _sum_of_lanes(self, vector):
        half = self.lanes // 2
        while half:
            chosen = [c + half if c < half else c for c in range(self.lanes)]
            mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), chosen)
            vector = self.builder.fadd(vector, self.builder.shuffle_vector(vector, vector, mask))
            half //= 2
        return self.builder.extract_element(vector, ir.IntType(32)(0))

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
        """Store the first `inside` lanes in pieces of 8, 4, 2, 1: one for each bit of `inside`.

        A masked store of AVX2 takes some 12 cycles on Zen 3, and instruction sets with shorter
        vectors have none. Each bit is tested once for all rows.
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
