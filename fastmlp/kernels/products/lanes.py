"""Products of numbers that lie in lanes: lane l of every vector belongs to network l.

A line of LANE_BYTES holds one number of every network side by side. So each vector instruction
multiplies or adds for all networks at once, in the order in which each would do so alone.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..compiler.bits import fma
from ..compiler.jit import JIT_ENABLED, VECTOR_BYTES, itemsize, jit, numbers
from ..compiler.numba_internals import cgutils
from ..tuning import LANE_BYTES, LANES_HEIGHTS
from ..views import Line, Lines
from .sums import input_part_start
from .tiles import fields_of
from .vectors import pointer


@jit
def n_lanes(one):
    """Networks side by side, for numbers of the type of `one`."""
    return LANE_BYTES // itemsize(one)


if JIT_ENABLED:

    class _Emitter:
        """Writes the code of sums for several outputs, each in all lanes."""

        def __init__(self, context, builder, dtype):
            self.context, self.builder, self.itemsize = context, builder, dtype.bitwidth // 8
            n, scalar = LANE_BYTES // self.itemsize, context.get_data_type(dtype)
            self.vector, self.index = ir.VectorType(scalar, n), ir.IntType(64)
            kind = ir.FunctionType(self.vector, [self.vector] * 3)
            name = f"llvm.fma.v{n}f{dtype.bitwidth}"
            self._fma = cgutils.get_or_insert_function(builder.module, kind, name)

        def load(self, address):
            at = pointer(self.builder, address)
            return self.builder.load(at, align=self.itemsize, typ=self.vector)

        def store(self, value, address):
            at = self.builder.inttoptr(address, self.vector.as_pointer())
            self.builder.store(value, at, align=self.itemsize)

        def place(self, start, number, step):
            """Address of a line's vector `number`."""
            return self.builder.add(start, self.builder.mul(step, number))

        def for_each_height(self, count, write):
            """Write the code for each number of outputs, one of which `count` is."""
            for height in LANES_HEIGHTS:
                is_it = self.builder.icmp_signed("==", count, self.index(height))
                with self.builder.if_then(is_it):
                    write(height)

        def chains(self, starts, a, b, depth):
            """The sums of a(k) b(k, j) for each j, as chains of multiply-adds from `starts`."""
            builder, slots = self.builder, []
            for start in starts:
                slots.append(cgutils.alloca_once(builder, self.vector))
                builder.store(start, slots[-1])
            (a_at, a_step), (b_at, b_step, b_next) = a, b
            with cgutils.for_range(builder, depth) as loop:
                number = self.load(self.place(a_at, loop.index, a_step))
                row = self.place(b_at, loop.index, b_step)
                for j, slot in enumerate(slots):
                    factor = self.load(self.place(row, self.index(j), b_next))
                    total = builder.load(slot, typ=self.vector)
                    builder.store(builder.call(self._fma, [number, factor, total]), slot)
            return [builder.load(slot, typ=self.vector) for slot in slots]

    @intrinsic
    def sums_after(typingctx, count, a, b, depth, base, c, one):
        """c(j) <- base(j) + (the sum over k of a(k) b(k, j)), for j < count.

        a, base, c: a Line each; b: Lines; count: one of LANES_HEIGHTS.
        """
        signature = types.void(types.intp, a, b, types.intp, base, c, one)

        def codegen(context, builder, signature, args):
            code = _Emitter(context, builder, one)
            count_, a_, b_, depth_, base_, c_, _ = args
            views = zip((a_, b_, base_, c_), (a, b, base, c), strict=True)
            a_of, b_of, base_of, c_of = (fields_of(code, view, kind) for view, kind in views)

            def write(height):
                zero = ir.Constant(code.vector, None)
                for j, total in enumerate(code.chains([zero] * height, a_of, b_of, depth_)):
                    before = code.load(code.place(base_of[0], code.index(j), base_of[1]))
                    place = code.place(c_of[0], code.index(j), c_of[1])
                    code.store(builder.fadd(before, total), place)

            code.for_each_height(count_, write)
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def sums_onto(typingctx, count, a, b, depth, continues, c, one):
        """c(j) <- the sum over k of a(k) b(k, j), which begins at the c(j) there if it continues.

        Arguments as in `sums_after`.
        """
        signature = types.void(types.intp, a, b, types.intp, types.boolean, c, one)

        def codegen(context, builder, signature, args):
            code = _Emitter(context, builder, one)
            count_, a_, b_, depth_, continues_, c_, _ = args
            views = zip((a_, b_, c_), (a, b, c), strict=True)
            a_of, b_of, c_of = (fields_of(code, view, kind) for view, kind in views)
            continued = builder.trunc(continues_, ir.IntType(1))

            def write(height):
                zero = ir.Constant(code.vector, None)
                places = [code.place(c_of[0], code.index(j), c_of[1]) for j in range(height)]
                starts = [builder.select(continued, code.load(at), zero) for at in places]
                for place, total in zip(
                    places, code.chains(starts, a_of, b_of, depth_), strict=True
                ):
                    code.store(total, place)

            code.for_each_height(count_, write)
            return context.get_dummy_value()

        return signature, codegen

else:

    def _lines(view, count, one):
        """Vectors of a Line, as rows of a matrix."""
        n = n_lanes(one)
        return np.array([numbers(view.at + k * view.step, n, one) for k in range(count)])

    def _chains(starts, count, a, b, depth, one):
        left = _lines(a, depth, one)
        for j in range(count):
            right = _lines(Line(b.at + j * b.next, b.step), depth, one)
            for k in range(depth):
                starts[j] = [
                    fma(*three) for three in zip(left[k], right[k], starts[j], strict=True)
                ]
        return starts

    def _store(view, values, one):
        for j, row in enumerate(values):
            numbers(view.at + j * view.step, row.size, one)[:] = row

    def sums_after(count, a, b, depth, base, c, one):
        zeros = np.zeros((count, n_lanes(one)), type(one))
        _store(c, _lines(base, count, one) + _chains(zeros, count, a, b, depth, one), one)

    def sums_onto(count, a, b, depth, continues, c, one):
        starts = _lines(c, count, one) if continues else np.zeros((count, n_lanes(one)), type(one))
        _store(c, _chains(starts, count, a, b, depth, one), one)


@jit
def height_of(left):
    """How many of the outputs that are left to compute at a time."""
    for height in LANES_HEIGHTS:
        if left >= height:
            return height
    return 0


@jit
def forward(x, n_rows, weights, biases, sizes, parts, out, one):
    """Rows of every network: out[r, j] <- biases[j] + (the sum over k of x[r, k] W[k, j]).

    Addresses of lines LANE_BYTES apart; sizes: (n_in, n_out); sums in `parts` as in
    `matmul.product_with`. Some columns of W stay in the first-level cache for all rows.
    """
    n_in, n_out = sizes
    j = 0
    while j < n_out:
        height = height_of(n_out - j)
        for part in range(parts):
            first = input_part_start(n_in, parts, part)
            depth = input_part_start(n_in, parts, part + 1) - first
            at = weights + (first * n_out + j) * LANE_BYTES
            b = Lines(at, n_out * LANE_BYTES, LANE_BYTES)
            for r in range(n_rows):
                a = Line(x + (r * n_in + first) * LANE_BYTES, LANE_BYTES)
                c = Line(out + (r * n_out + j) * LANE_BYTES, LANE_BYTES)
                base = c if part > 0 else Line(biases + j * LANE_BYTES, LANE_BYTES)
                sums_after(height, a, b, depth, base, c, one)
        j += height


@jit
def forward_to_one(x, weights, biases, n_in, parts, scratch, out, one):
    """As `forward` for one output, summed as `tile_of_dots` does: in as many chains as a vector
    has numbers, which are added pairwise.

    scratch: address of a line for each of these chains.
    """
    n, chains = n_lanes(one), VECTOR_BYTES // itemsize(one)
    result, base = numbers(out, n, one), numbers(biases, n, one)
    totals = numbers(scratch, chains * n, one)
    for part in range(parts):
        first, last = input_part_start(n_in, parts, part), input_part_start(n_in, parts, part + 1)
        for i in range(totals.size):
            totals[i] = 0
        for k in range(first, last):
            a, b = numbers(x + k * LANE_BYTES, n, one), numbers(weights + k * LANE_BYTES, n, one)
            total = numbers(scratch + (k - first) % chains * LANE_BYTES, n, one)
            for i in range(n):
                total[i] = fma(a[i], b[i], total[i])
        half = chains // 2
        while half > 0:
            for i in range(half * n):
                totals[i] += totals[half * n + i]
            half //= 2
        for i in range(n):
            result[i] = base[i] + totals[i]
        base = result


@jit
def backward(d, n_rows, weights, sizes, parts, out, one):
    """Rows of every network: out[r, i] <- the sum over j of d[r, j] W[i, j]."""
    n_in, n_out = sizes
    i = 0
    while i < n_in:
        height = height_of(n_in - i)
        for part in range(parts):
            first = input_part_start(n_out, parts, part)
            depth = input_part_start(n_out, parts, part + 1) - first
            at = weights + (i * n_out + first) * LANE_BYTES
            b = Lines(at, LANE_BYTES, n_out * LANE_BYTES)
            for r in range(n_rows):
                a = Line(d + (r * n_out + first) * LANE_BYTES, LANE_BYTES)
                c = Line(out + (r * n_in + i) * LANE_BYTES, LANE_BYTES)
                if part == 0:
                    sums_onto(height, a, b, depth, False, c, one)
                else:
                    sums_after(height, a, b, depth, c, c, one)
        i += height


@jit
def gradient(x, d, n_rows, sizes, continues, out, one):
    """out[i, j] <- the sum over rows of x[r, i] d[r, j], which goes on from what is there."""
    n_in, n_out = sizes
    j = 0
    while j < n_out:
        height = height_of(n_out - j)
        b = Lines(d + j * LANE_BYTES, n_out * LANE_BYTES, LANE_BYTES)
        for i in range(n_in):
            a = Line(x + i * LANE_BYTES, n_in * LANE_BYTES)
            c = Line(out + (i * n_out + j) * LANE_BYTES, LANE_BYTES)
            sums_onto(height, a, b, n_rows, continues, c, one)
        j += height


@jit
def add_rows(d, n_rows, n_out, continues, out, one):
    """out[j] <- the sum over rows of d[r, j], which goes on from what is there."""
    total = numbers(out, n_out * n_lanes(one), one)
    if not continues:
        for i in range(total.size):
            total[i] = 0
    for r in range(n_rows):
        row = numbers(d + r * n_out * LANE_BYTES, total.size, one)
        for i in range(total.size):
            total[i] += row[i]


@jit
def to_lanes(rows, n_rows, width, out, one):
    """out[r, j, l] <- row r of network l, column j; rows: address of (n_rows, lanes, width)."""
    n = n_lanes(one)
    for r in range(n_rows):
        for lane in range(n):
            source = numbers(rows + (r * n + lane) * width * itemsize(one), width, one)
            block = numbers(out + r * width * LANE_BYTES, width * n, one)
            for j in range(width):
                block[j * n + lane] = source[j]


@jit
def from_lanes(lines, n_rows, width, out, one):
    """The opposite of `to_lanes`."""
    n = n_lanes(one)
    for r in range(n_rows):
        block = numbers(lines + r * width * LANE_BYTES, width * n, one)
        for lane in range(n):
            row = numbers(out + (r * n + lane) * width * itemsize(one), width, one)
            for j in range(width):
                row[j] = block[j * n + lane]
