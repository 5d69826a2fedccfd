"""The three matrix products of a dense layer, as loops over register tiles.

Every product takes the range of rows and columns to compute, so that threads can divide it; the
bits of a number depend neither on the range nor on the thread. All memory is given by address, all
numbers have the type of `one`.
"""

from __future__ import annotations

from typing import Any

from .. import interfaces
from ..compiler.calls import Kernel
from ..compiler.jit import itemsize, jit, numbers
from ..plan import INT32_BYTES
from ..step import rows
from ..tuning import DEPTH, PACK_ROWS, PACKED_PANELS
from ..views import Block, Inputs, Matrix, Panel, Span, Sums
from .sums import input_part_start, n_parts, n_parts_of_any_width
from .tiles import (
    copy_tile_row,
    tile_height,
    tile_of_columns,
    tile_of_rows,
    tile_width,
    transpose_block,
    transposed_width,
)

# Rows that are transposed together. If their stride is a power of two, their lines fall on one set
# of the first-level cache, and such a set usually holds eight.
_ROWS_OF_A_SET = 8
_ROWS_AT_ONCE = 4  # rows that a bias gradient adds for each load and store of its sum


def product_with(tile: Any, name: str) -> Kernel:
    """The kernel that multiplies one panel of columns, tile after tile of rows.

    `product(inputs, span, panel, sums, base, out, part_bytes, one)`; base: address of the row that
    all sums start from. If part_bytes is 0, the parts are added up in out; otherwise each part is
    stored separately, that many bytes apart.

    tile: `tile(a, i, rows, b, depth, base, c, one)`, with views as in `tile_of_rows`.
    """

    def product(inputs, span, panel, sums, base, out, part_bytes, one):
        size, order, i = itemsize(one), inputs.order, span.first
        start_of_sums = input_part_start(sums.depth, sums.parts, sums.begin)
        end_of_first = input_part_start(sums.depth, sums.parts, sums.begin + 1)
        while i < span.last:
            height, k, stop = tile_height(span.last - i), start_of_sums, end_of_first
            for part in range(sums.begin, sums.end):
                if part > sums.begin:  # divisions take as long as many multiplications
                    k, stop = stop, input_part_start(sums.depth, sums.parts, part + 1)
                if span.ahead > 0:
                    rows.prefetch_tile(inputs.at, inputs.stride, order, i, k, stop, span.ahead, one)
                c = Matrix(out.at + part * part_bytes + i * out.stride * size, out.stride)
                start = Matrix(base, 0)
                if part > 0 and part_bytes == 0:
                    start = c
                a = Inputs(inputs.at + k * size, inputs.stride, order)
                b = Panel(panel.at + k * panel.stride * size, panel.stride, panel.columns)
                tile(a, i, height, b, stop - k, start, c, one)
            i += height

    return interfaces.PRODUCT.kernel(product, name)


product_of_panel = product_with(tile_of_rows, "product_of_panel")
_product = interfaces.PRODUCT.call


@jit
def dense_forward(tools, inputs, block, weights, out, one):
    """Z[r, j] <- b[j] + A[order[r]] W[:, j] for first <= r < last and left <= j < right.

    inputs: A (n, n_in) in its order, and weights read; out: Z (batch, n_out) written.
    2 n_in n_out flops per row.
    """
    size, width, n_in = itemsize(one), tile_width(one), weights.n_in
    parts, span = n_parts(n_in, weights.n_out), Span(block.first, block.last, 0)
    for j in range(block.left, block.right, width):
        panel = Panel(weights.at + j * size, weights.stride, min(width, block.right - j))
        _product(tools.product, (
            inputs, span, panel, Sums(n_in, parts, 0, parts), weights.biases + j * size,
            Matrix(out.at + j * size, out.stride), 0, one,
        ))  # fmt: skip


@jit
def forward_from_panels(product, inputs, span, weights, out, one):
    """Z[r] <- b + A[order[r]] W for the rows of the span, where W lies in panels.

    product: the kernel for panels; weights: `at` is the first panel (n_in, tile width), which the
    others follow. A part of a panel stays in the first-level cache for all rows, a part of the rows
    in the second-level cache for all panels.
    """
    size, width, n_in = itemsize(one), tile_width(one), weights.n_in
    parts = n_parts(n_in, weights.n_out)
    for part in range(parts):
        for j in range(0, weights.n_out, width):
            panel = Panel(weights.at + j * n_in * size, width, min(width, weights.n_out - j))
            _product(product, (
                inputs, span, panel, Sums(n_in, parts, part, part + 1), weights.biases + j * size,
                Matrix(out.at + j * size, out.stride), 0, one,
            ))  # fmt: skip


@jit
def forward_parts(tools, inputs, span, sums, weights, out, part_bytes, one):
    """Some parts of A[order] W, for the thread that owns their rows of W.

    Arguments as in `dense_forward`; sums start from `weights.biases`. Rows up to `span.ahead` are
    prefetched, because the hardware cannot predict where parts of rows start. Each part is stored
    in a separate matrix (batch, n_out), `part_bytes` apart; if that is 0, their sum is stored.
    """
    size, width, n_out = itemsize(one), tile_width(one), weights.n_out
    for j in range(0, n_out, width):
        columns = min(width, n_out - j)
        once = Span(span.first, span.last, span.ahead if j == 0 else 0)
        _product(tools.product, (
            inputs, once, Panel(weights.at + j * size, weights.stride, columns), sums,
            weights.biases + j * size, Matrix(out.at + j * size, out.stride), part_bytes, one,
        ))  # fmt: skip


@jit
def add_parts(parts, part_bytes, count, first, last, n_out, out, one):
    """Z[r] <- the sum of row r of `count` parts, in order, for first <= r < last.

    parts: what `forward_parts` wrote, `part_bytes` apart; out (batch, n_out) written.
    """
    size = itemsize(one)
    place = first * n_out * size
    total = numbers(out + place, (last - first) * n_out, one)
    start = numbers(parts + place, total.size, one)
    for i in range(total.size):
        total[i] = start[i]
    for part in range(1, count):
        source = numbers(parts + part * part_bytes + place, total.size, one)
        for i in range(total.size):
            total[i] += source[i]


@jit
def _transpose(source, n_rows, n_columns, out, stride, one):
    """out[k, r] <- source[r, k], `stride` numbers from row to row of out; source: a Matrix."""
    size, width = itemsize(one), transposed_width(one)
    whole_rows, whole_columns = n_rows // width * width, n_columns // width * width
    rows_at_once = max(width, _ROWS_OF_A_SET)
    for first in range(0, whole_rows, rows_at_once):
        for k in range(0, whole_columns, width):
            for r in range(first, min(first + rows_at_once, whole_rows), width):
                block = source.at + (r * source.stride + k) * size
                transpose_block(block, source.stride, out + (k * stride + r) * size, stride, one)
    below = Block(whole_rows, n_rows, 0, n_columns)
    beside = Block(0, whole_rows, whole_columns, n_columns)
    _transpose_edge(source.at, source.stride, below, out, stride, one)
    _transpose_edge(source.at, source.stride, beside, out, stride, one)


@jit
def _transpose_edge(source, source_stride, block, out, stride, one):
    """Transpose what does not fill whole blocks, number by number."""
    size, left = itemsize(one), block.left
    for r in range(block.first, block.last):
        row = numbers(source + (r * source_stride + left) * size, block.right - left, one)
        for k in range(row.size):
            numbers(out + ((left + k) * stride + r) * size, 1, one)[0] = row[k]


@jit
def input_gradient(tools, slopes, block, weights, out, one):
    """dX[r, i] <- dZ[order[r]] W[i]^T for first <= r < last and left <= i < right.

    slopes: dZ (batch, n_out) in its order, and weights read; out: dX (batch, n_in) written. Sums
    over outputs are also split into parts, so that the part of the panel in use stays in the
    first-level cache.
    """
    size, width, n_out = itemsize(one), tile_width(one), weights.n_out
    parts, span = n_parts_of_any_width(n_out), Span(block.first, block.last, 0)
    for j in range(block.left, block.right, width):
        columns = min(width, block.right - j)
        at = weights.at + j * weights.stride * size
        _transpose(Matrix(at, weights.stride), columns, n_out, tools.panel, width, one)
        panel = Panel(tools.panel, width, columns)
        for part in range(parts):
            _product(tools.product, (
                slopes, span, panel, Sums(n_out, parts, part, part + 1), tools.zeros,
                Matrix(out.at + j * size, out.stride), 0, one,
            ))  # fmt: skip


@jit
def _multiply_packed(tools, inputs, block, weights, sums, out, part_bytes, one):
    """Parts of the product with W packed, some panels at a time, which stay in the cache."""
    size, width = itemsize(one), tile_width(one)
    group = PACKED_PANELS * width
    for part in range(sums.begin, sums.end):
        k = input_part_start(sums.depth, sums.parts, part)
        depth = input_part_start(sums.depth, sums.parts, part + 1) - k
        for left in range(block.left, block.right, group):
            right = min(block.right, left + group)
            source = Matrix(weights.at + (k * weights.stride + left) * size, weights.stride)
            pack_columns(source, depth, right - left, tools.panel, one)
            for j in range(left, right, width):
                # As if it began at the sum's first term, not at the part's.
                panel = tools.panel + ((j - left) * depth - k * width) * size
                _product(tools.product, (
                    inputs, Span(block.first, block.last, 0),
                    Panel(panel, width, min(width, right - j)),
                    Sums(sums.depth, sums.parts, part, part + 1), weights.biases + j * size,
                    Matrix(out.at + j * size, out.stride), part_bytes, one,
                ))  # fmt: skip


@jit
def dense_forward_packed(tools, inputs, block, weights, out, one):
    """As `dense_forward`, with W packed if there are enough rows to share the cost."""
    if block.last - block.first < PACK_ROWS:
        dense_forward(tools, inputs, block, weights, out, one)
        return
    parts = n_parts(weights.n_in, weights.n_out)
    sums = Sums(weights.n_in, parts, 0, parts)
    _multiply_packed(tools, inputs, block, weights, sums, out, 0, one)


@jit
def forward_parts_packed(tools, inputs, span, sums, weights, out, part_bytes, one):
    """As `forward_parts`, with W packed if there are enough rows to share the cost."""
    if span.last - span.first < PACK_ROWS:
        forward_parts(tools, inputs, span, sums, weights, out, part_bytes, one)
        return
    block = Block(span.first, span.last, 0, weights.n_out)
    _multiply_packed(tools, inputs, block, weights, sums, out, part_bytes, one)


@jit
def pack_columns(source, n_rows, n_columns, out, one):
    """Copy a Matrix into consecutive panels, one tile wide.

    In place, the numbers of a column are so far apart that they evict each other from the cache.
    Some panels are written at a time, since reading long runs of each row is faster.
    """
    size, width = itemsize(one), tile_width(one)
    whole, panel = n_columns // width, n_rows * width
    for first in range(0, whole, PACKED_PANELS):
        last = min(whole, first + PACKED_PANELS)
        for r in range(n_rows):
            row = source.at + r * source.stride * size
            for p in range(first, last):
                copy_tile_row(row + p * width * size, out + (p * panel + r * width) * size, one)
    rest = n_columns - whole * width
    if rest > 0:
        for r in range(n_rows):
            row = numbers(out + (whole * panel + r * width) * size, rest, one)
            found = numbers(source.at + (r * source.stride + whole * width) * size, rest, one)
            for c in range(rest):
                row[c] = found[c]


@interfaces.WEIGHT_GRADIENT.kernel
def weight_gradient(inputs, batch, slopes, n_in, n_out, out, one):
    """dW[i, j] <- sum over r of A[order[r], i] dZ[r, j] for i < n_in, j < n_out.

    inputs: A in its order, and slopes: dZ in panels, are read; out: dW is written. Each may be a
    block of a larger matrix. 2 batch n_out flops per row. So many rows of the batch are added at a
    time that a panel of them stays in the first-level cache; that changes no bit.
    """
    size, width = itemsize(one), tile_width(one)
    times = max(1, (batch + DEPTH - 1) // DEPTH)
    for time in range(times):
        first, last = batch * time // times, batch * (time + 1) // times
        rows_of_a = Inputs(inputs.at, inputs.stride, inputs.order + first * INT32_BYTES)
        for j in range(0, n_out, width):
            at = slopes.at + j // width * slopes.panel_bytes + first * slopes.stride * size
            panel = Panel(at, slopes.stride, min(width, n_out - j))
            i = 0
            while i < n_in:
                height = tile_height(n_in - i)
                c = Matrix(out.at + (i * out.stride + j) * size, out.stride)
                tile_of_columns(rows_of_a, i, height, panel, last - first, time > 0, c, one)
                i += height


@jit
def bias_gradient(d, batch, first, last, n_out, out, one):
    """db[j] <- sum over r of dZ[r, j] for columns first <= j < last; out: address of db[first]."""
    total = numbers(out, last - first, one)
    for j in range(total.size):
        total[j] = 0
    whole = batch // _ROWS_AT_ONCE * _ROWS_AT_ONCE
    for r in range(0, whole, _ROWS_AT_ONCE):
        a = _row(d, r, n_out, first, last, one)
        b = _row(d, r + 1, n_out, first, last, one)
        c = _row(d, r + 2, n_out, first, last, one)
        e = _row(d, r + 3, n_out, first, last, one)
        for j in range(total.size):
            total[j] = total[j] + a[j] + b[j] + c[j] + e[j]
    for r in range(whole, batch):
        row = _row(d, r, n_out, first, last, one)
        for j in range(total.size):
            total[j] += row[j]


@jit
def _row(d, r, n_out, first, last, one):
    """Columns first..last of row r of (batch, n_out)."""
    return numbers(d + (r * n_out + first) * itemsize(one), last - first, one)
