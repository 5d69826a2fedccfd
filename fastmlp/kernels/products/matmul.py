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
from ..step import rows
from ..tuning import PACK_ROWS, WIDE_BYTES
from ..views import Block, Inputs, Matrix, Panel, Span, Sums
from .sums import input_part_start, n_parts, n_parts_of_any_width
from .tiles import (
    tile_height,
    tile_of_columns,
    tile_of_rows,
    tile_width,
    transpose_block,
    transposed_width,
)

_ROWS_AT_ONCE = 4  # rows that a bias gradient adds for each load and store of its sum


@jit
def is_wide(n_columns, n_bytes):
    """Whether rows are so long that columns are packed before they are used.

    n_bytes: size of one number.
    """
    return n_columns * n_bytes > WIDE_BYTES


@jit
def _packed(weights, first, last, j, columns, n_out, panel, one):
    """Pack rows first..last of W's columns j.. into adjacent memory; returns the panel."""
    size, width = itemsize(one), tile_width(one)
    for k in range(first, last):
        row = numbers(panel + k * width * size, columns, one)
        source = numbers(weights + (k * n_out + j) * size, columns, one)
        for c in range(columns):
            row[c] = source[c]
    return panel


def product_with(tile: Any, name: str) -> Kernel:
    """The kernel that multiplies one panel of columns, tile after tile of rows.

    `product(inputs, span, panel, sums, base, out, part_bytes, one)`; base: address of the row that
    all sums start from. If part_bytes is 0, the parts are added up in out; otherwise each part is
    stored separately, that many bytes apart.

    tile: `tile(a, i, rows, b, depth, base, c, one)`, with views as in `tile_of_rows`.
    """

    def product(inputs, span, panel, sums, base, out, part_bytes, one):
        size, order, i = itemsize(one), inputs.order, span.first
        while i < span.last:
            height = tile_height(span.last - i)
            for part in range(sums.begin, sums.end):
                k = input_part_start(sums.depth, sums.parts, part)
                stop = input_part_start(sums.depth, sums.parts, part + 1)
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

    inputs: A (n, n_in) in its order, and weights read; out: Z (batch, n_out) written. The panel of
    `tools` has n_in rows. 2 n_in n_out flops per row.
    """
    size, width, n_in = itemsize(one), tile_width(one), weights.n_in
    parts, span = n_parts(n_in, weights.n_out), Span(block.first, block.last, 0)
    packs = is_wide(weights.n_out, size) and block.last - block.first >= PACK_ROWS
    for j in range(block.left, block.right, width):
        columns = min(width, block.right - j)
        at, stride = weights.at + j * size, weights.stride
        if packs:
            at, stride = _packed(weights.at, 0, n_in, j, columns, stride, tools.panel, one), width
        step = 1 if packs else parts  # a packed part of the panel stays in the first-level cache
        for part in range(0, parts, step):
            _product(tools.product, (
                inputs, span, Panel(at, stride, columns), Sums(n_in, parts, part, part + step),
                weights.biases + j * size, Matrix(out.at + j * size, out.stride), 0, one,
            ))  # fmt: skip


@jit
def forward_parts(tools, inputs, span, sums, weights, out, part_bytes, one):
    """Some parts of A[order] W, for the thread that owns their rows of W.

    Arguments as in `dense_forward`; sums start from `weights.biases`. Rows up to `span.ahead` are
    prefetched, because the hardware cannot predict where parts of rows start. Each part is stored
    in a separate matrix (batch, n_out), `part_bytes` apart; if that is 0, their sum is stored.
    """
    size, width, n_out = itemsize(one), tile_width(one), weights.n_out
    packs = is_wide(n_out, size) and span.last >= PACK_ROWS
    k = input_part_start(sums.depth, sums.parts, sums.begin)
    stop = input_part_start(sums.depth, sums.parts, sums.end)
    for j in range(0, n_out, width):
        columns = min(width, n_out - j)
        at, stride = weights.at + j * size, weights.stride
        if packs:
            at, stride = _packed(weights.at, k, stop, j, columns, n_out, tools.panel, one), width
        once = Span(span.first, span.last, span.ahead if j == 0 else 0)
        _product(tools.product, (
            inputs, once, Panel(at, stride, columns), sums, weights.biases + j * size,
            Matrix(out.at + j * size, out.stride), part_bytes, one,
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
    """out[k, r] <- source[r, k], `stride` numbers from row to row of out."""
    size, width = itemsize(one), transposed_width(one)
    whole_rows, whole_columns = n_rows // width * width, n_columns // width * width
    for k in range(0, whole_columns, width):
        for r in range(0, whole_rows, width):
            block = source + (r * n_columns + k) * size
            transpose_block(block, n_columns, out + (k * stride + r) * size, stride, one)
    below = Block(whole_rows, n_rows, 0, n_columns)
    beside = Block(0, whole_rows, whole_columns, n_columns)
    _transpose_edge(source, n_columns, below, out, stride, one)
    _transpose_edge(source, n_columns, beside, out, stride, one)


@jit
def _transpose_edge(source, n_columns, block, out, stride, one):
    """Transpose what does not fill whole blocks, number by number."""
    size, left = itemsize(one), block.left
    for r in range(block.first, block.last):
        row = numbers(source + (r * n_columns + left) * size, block.right - left, one)
        for k in range(row.size):
            numbers(out + ((left + k) * stride + r) * size, 1, one)[0] = row[k]


@jit
def input_gradient(tools, slopes, block, weights, out, one):
    """dX[r, i] <- dZ[order[r]] W[i]^T for first <= r < last and left <= i < right.

    slopes: dZ (batch, n_out) in its order, and weights read; out: dX (batch, n_in) written. The
    panel of `tools` has n_in or n_out rows, whichever is more. Sums over outputs are also split
    into parts, so that the part of the panel in use stays in the first-level cache.
    """
    size, width, n_out = itemsize(one), tile_width(one), weights.n_out
    parts, span = n_parts_of_any_width(n_out), Span(block.first, block.last, 0)
    for j in range(block.left, block.right, width):
        columns = min(width, block.right - j)
        _transpose(weights.at + j * n_out * size, columns, n_out, tools.panel, width, one)
        panel = Panel(tools.panel, width, columns)
        for part in range(parts):
            _product(tools.product, (
                slopes, span, panel, Sums(n_out, parts, part, part + 1), tools.zeros,
                Matrix(out.at + j * size, out.stride), 0, one,
            ))  # fmt: skip


@jit
def pack_columns(d, n_rows, left, right, n_out, out, one):
    """Copy columns left..right of (n_rows, n_out) into consecutive panels, one tile wide.

    In place, the numbers of a column are so far apart that they evict each other from the cache.
    """
    size, width = itemsize(one), tile_width(one)
    for j in range(left, right, width):
        columns = min(width, right - j)
        panel = out + (j - left) * n_rows * size
        _packed(d, 0, n_rows, j, columns, n_out, panel, one)


@interfaces.WEIGHT_GRADIENT.kernel
def weight_gradient(inputs, batch, slopes, n_in, n_out, out, one):
    """dW[i, j] <- sum over r of A[order[r], i] dZ[r, j] for i < n_in, j < n_out.

    inputs: A in its order, and slopes: dZ in panels, are read; out: dW is written. Each may be a
    block of a larger matrix. 2 batch n_out flops per row.
    """
    size, width = itemsize(one), tile_width(one)
    for j in range(0, n_out, width):
        at = slopes.at + j // width * slopes.panel_bytes
        panel = Panel(at, slopes.stride, min(width, n_out - j))
        i = 0
        while i < n_in:
            height = tile_height(n_in - i)
            c = Matrix(out.at + (i * out.stride + j) * size, out.stride)
            tile_of_columns(inputs, i, height, panel, batch, c, one)
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
