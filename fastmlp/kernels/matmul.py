"""The three matrix products of a dense layer, as loops over register tiles.

Every product takes the range of rows and columns it is to compute, so that threads can share one
out; each number's bits depend neither on the range nor on the thread. All memory is given by
address, all numbers have the type of `one`.
"""

from __future__ import annotations

from . import narrow, rows
from .jit import itemsize, jit, numbers
from .sums import input_part_start, n_parts, n_parts_of_any_width
from .tiles import (
    FEW_COLUMNS,
    tile_height,
    tile_of_columns,
    tile_of_rows,
    tile_width,
    transpose_block,
    transposed_width,
)

# Rows further apart than this many bytes start on too few cache sets and too many pages to be read
# in place; those of W, if at least so many rows of data share the cost of a copy.
_WIDE_BYTES, _PACK_ROWS = 1024, 16
_ROWS_AT_ONCE = 4  # whose sum takes one turn to memory


@jit
def is_wide(n_columns, one):
    """Whether numbers of one column lie so far apart that they are copied before they are used."""
    return n_columns * itemsize(one) > _WIDE_BYTES


@jit
def _packed(weights, first, last, j, columns, n_out, panel, one):
    """Copy rows first..last of W's columns j.. to where they are adjacent; returns the panel."""
    size, width = itemsize(one), tile_width(one)
    for k in range(first, last):
        row = numbers(panel + k * width * size, columns, one)
        source = numbers(weights + (k * n_out + j) * size, columns, one)
        for c in range(columns):
            row[c] = source[c]
    return panel


@jit
def _product_panel(
    a, a_stride, order, first, last, ahead, b, b_stride, columns, n_in, parts, begin, end, biases,
    out, part_bytes, n_out, one,
):  # fmt: skip
    """Parts begin..end, of all, of a product for one panel of columns, tile after tile of rows.

    Where part_bytes is 0 the parts are added up, from the biases on; else each goes to a place of
    its own, that many bytes apart. Rows up to `ahead` are asked for while those before are used.
    """
    size = itemsize(one)
    i = first
    while i < last:
        rows_ = tile_height(last - i)
        for part in range(begin, end):
            k, stop = input_part_start(n_in, parts, part), input_part_start(n_in, parts, part + 1)
            rows.prefetch_tile(a, a_stride, order, i, k, stop, ahead, one)
            c = out + part * part_bytes + i * n_out * size
            base, base_stride = biases, 0
            if part > 0 and part_bytes == 0:
                base, base_stride = c, n_out
            tile_of_rows(
                a + k * size, a_stride, order, i, rows_, b + k * b_stride * size, b_stride,
                columns, stop - k, base, base_stride, c, n_out, one,
            )  # fmt: skip
        i += rows_


@jit
def dense_forward(
    a, a_stride, order, first, last, left, right, weights, weights_stride, biases, n_in, n_out, out,
    out_stride, panel, one,
):  # fmt: skip
    """Z[r, j] <- b[j] + A[order[r]] W[:, j] for first <= r < last and left <= j < right.

    a read: rows of n_in numbers, `a_stride` bytes apart; order (int32) read; weights: W
    (n_in, n_out), `weights_stride` numbers a row, and biases (n_out,) read; out (batch, n_out),
    `out_stride` numbers a row, written; panel (n_in, one tile wide) scratch. 2 n_in n_out flops a
    row.
    """
    size, width, parts = itemsize(one), tile_width(one), n_parts(n_in, n_out)
    if n_out == 1 and left < right:
        narrow.product_of_one(
            a, a_stride, order, first, last, 0, weights, n_in, parts, 0, parts, biases, out, 0, one
        )
        return
    packs = is_wide(n_out, one) and last - first >= _PACK_ROWS
    for j in range(left, right, width):
        columns = min(width, right - j)
        b, b_stride = weights + j * size, weights_stride
        if packs:
            b, b_stride = _packed(weights, 0, n_in, j, columns, b_stride, panel, one), width
        step = 1 if packs else parts  # a part of the panel stays in the nearest cache
        for part in range(0, parts, step):
            _product_panel(
                a, a_stride, order, first, last, 0, b, b_stride, columns, n_in, parts, part,
                part + step, biases + j * size, out + j * size, 0, out_stride, one,
            )  # fmt: skip


@jit
def forward_parts(
    a, a_stride, order, batch, ahead, begin, end, weights, base, n_in, n_out, out, part_bytes,
    panel, one,
):  # fmt: skip
    """Parts begin..end of A[order] W, for the thread that owns their rows of W.

    Arguments as in `dense_forward`; the order goes on to `ahead`, and later rows are asked for
    ahead, since the processor does not foresee where parts of rows start. base (n_out,) is read;
    out (batch, n_out) of each part is written, `part_bytes` apart, or where that is 0 their sum.
    """
    size, width, parts = itemsize(one), tile_width(one), n_parts(n_in, n_out)
    if n_out == 1:
        narrow.product_of_one(
            a, a_stride, order, 0, batch, ahead, weights, n_in, parts, begin, end, base, out,
            part_bytes, one,
        )  # fmt: skip
        return
    packs = is_wide(n_out, one) and batch >= _PACK_ROWS
    k, stop = input_part_start(n_in, parts, begin), input_part_start(n_in, parts, end)
    for j in range(0, n_out, width):
        columns = min(width, n_out - j)
        b, b_stride = weights + j * size, n_out
        if packs:
            b, b_stride = _packed(weights, k, stop, j, columns, n_out, panel, one), width
        _product_panel(
            a, a_stride, order, 0, batch, ahead if j == 0 else 0, b, b_stride, columns, n_in, parts,
            begin, end, base + j * size, out + j * size, part_bytes, n_out, one,
        )  # fmt: skip


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
    _transpose_edge(source, whole_rows, n_rows, 0, n_columns, n_columns, out, stride, one)
    _transpose_edge(source, 0, whole_rows, whole_columns, n_columns, n_columns, out, stride, one)


@jit
def _transpose_edge(source, first, last, left, right, n_columns, out, stride, one):
    """Number by number, what is left over of whole blocks."""
    size = itemsize(one)
    for r in range(first, last):
        row = numbers(source + (r * n_columns + left) * size, right - left, one)
        for k in range(row.size):
            numbers(out + ((left + k) * stride + r) * size, 1, one)[0] = row[k]


@jit
def input_gradient(
    d, order, first, last, left, right, weights, n_in, n_out, zeros, out, out_stride, panel, one
):
    """dX[r, i] <- dZ[order[r]] W[i]^T for first <= r < last and left <= i < right.

    d read: dZ (batch, n_out); order (int32) read; weights: W (n_in, n_out) read; zeros (one tile
    wide) read; out (batch, n_in), `out_stride` numbers a row, written; panel (n_in or n_out,
    whichever is more, one tile wide) scratch. Sums over outputs come in parts, too, each of which
    takes a part of the panel that stays in the nearest cache.
    """
    size, width, parts = itemsize(one), tile_width(one), n_parts_of_any_width(n_out)
    if 1 <= n_out <= FEW_COLUMNS:
        for r in range(first, last):
            row = numbers(out + (r * out_stride + left) * size, right - left, one)
            for i in range(row.size):
                row[i] = 1
        narrow.times_input_gradient(
            d, order, first, last, left, right, weights, n_out, out, out_stride, panel, one
        )
        return
    for j in range(left, right, width):
        columns = min(width, right - j)
        _transpose(weights + j * n_out * size, columns, n_out, panel, width, one)
        for part in range(parts):
            _product_panel(
                d, n_out * size, order, first, last, 0, panel, width, columns, n_out, parts, part,
                part + 1, zeros, out + j * size, 0, out_stride, one,
            )  # fmt: skip


@jit
def pack_columns(d, n_rows, left, right, n_out, out, one):
    """Copy columns left..right of (n_rows, n_out) into panels one tile wide, one after the other.

    In place, numbers of one column lie so far apart that they push each other out of the cache.
    """
    size, width = itemsize(one), tile_width(one)
    for j in range(left, right, width):
        columns = min(width, right - j)
        panel = out + (j - left) * n_rows * size
        _packed(d, 0, n_rows, j, columns, n_out, panel, one)


@jit
def weight_gradient(
    a, a_stride, order, batch, d, d_stride, panel_bytes, n_in, n_out, out, out_stride, one
):
    """dW[i, j] <- sum over r of A[order[r], i] dZ[r, j] for i < n_in, j < n_out.

    a, a_stride, order read as in `dense_forward`; d read: dZ in panels one tile wide, `panel_bytes`
    apart, with `d_stride` numbers a row; out written: dW with `out_stride` numbers a row. Each may
    be a block of a larger matrix. 2 batch n_out flops a row.
    """
    size, width = itemsize(one), tile_width(one)
    if n_out <= FEW_COLUMNS:
        narrow.weight_gradient(
            a, a_stride, order, batch, d, d_stride, n_in, n_out, out, out_stride, one
        )
        return
    for j in range(0, n_out, width):
        columns, panel = min(width, n_out - j), d + j // width * panel_bytes
        i = 0
        while i < n_in:
            rows_ = tile_height(n_in - i)
            tile_of_columns(
                a, a_stride, order, i, rows_, panel, d_stride, columns, batch,
                out + (i * out_stride + j) * size, out_stride, one,
            )  # fmt: skip
            i += rows_


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
