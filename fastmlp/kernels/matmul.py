"""The three matrix products of a dense layer, as loops over register tiles.

Every product takes the range of rows and columns it is to compute, so that threads can share one
out; each number's bits depend neither on the range nor on the thread. All memory is given by
address, all numbers have the type of `one`.
"""

from __future__ import annotations

from .jit import itemsize, jit, numbers
from .tiles import tile_height, tile_of_columns, tile_of_rows, tile_width

# Rows of W further apart than this many bytes start on too few cache sets and too many pages to be
# read in place, if at least so many rows of data share the cost of a copy.
PACK_STRIDE = 1024
_PACK_ROWS = 16
_TRANSPOSED_COLUMNS = 16


@jit
def _rows_of_tiles(
    a, a_stride, order, first, last, b, b_stride, columns, depth, bias, c, c_stride, one
):
    """C[first:last] = bias + A[order] B for one panel of columns, C counted from row 0."""
    row_bytes = c_stride * itemsize(one)
    i = first
    while i < last:
        rows = tile_height(last - i)
        tile_of_rows(
            a, a_stride, order, i, rows, b, b_stride, columns, depth, bias, c + i * row_bytes,
            c_stride, one,
        )  # fmt: skip
        i += rows


@jit
def dense_forward(
    a, a_stride, order, first, last, left, right, weights, biases, n_in, n_out, out, panel, one
):
    """Z[r, j] <- A[order[r]] W[:, j] + b[j] for first <= r < last and left <= j < right.

    a read: rows of n_in numbers, `a_stride` bytes apart; order (int32) read; weights: W
    (n_in, n_out) and biases (n_out,) read; out (batch, n_out) written; panel (n_in, one tile wide)
    scratch. 2 n_in n_out flops a row.
    """
    size, width = itemsize(one), tile_width(one)
    packs = n_out * size > PACK_STRIDE and last - first >= _PACK_ROWS
    for j in range(left, right, width):
        columns = min(width, right - j)
        b, b_stride = weights + j * size, n_out
        if packs:
            for k in range(n_in):
                row = numbers(panel + k * width * size, columns, one)
                source = numbers(b + k * n_out * size, columns, one)
                for c in range(columns):
                    row[c] = source[c]
            b, b_stride = panel, width
        _rows_of_tiles(
            a, a_stride, order, first, last, b, b_stride, columns, n_in, biases + j * size,
            out + j * size, n_out, one,
        )  # fmt: skip


@jit
def _transpose(source, n_rows, n_columns, out, stride, one):
    """out[k, r] <- source[r, k], `stride` numbers from row to row of out.

    A few columns at a time, so that the rows of out that they are written to stay in the cache.
    """
    size = itemsize(one)
    for left in range(0, n_columns, _TRANSPOSED_COLUMNS):
        columns = min(_TRANSPOSED_COLUMNS, n_columns - left)
        block = numbers(out + left * stride * size, columns * stride, one)
        for r in range(n_rows):
            row = numbers(source + (r * n_columns + left) * size, columns, one)
            for k in range(columns):
                block[k * stride + r] = row[k]


@jit
def input_gradient(
    d, order, first, last, left, right, weights, n_in, n_out, zeros, out, panel, one
):
    """dX[r, i] <- dZ[order[r]] W[i]^T for first <= r < last and left <= i < right.

    d read: dZ (batch, n_out); order (int32) read; weights: W (n_in, n_out) read; zeros (one tile
    wide) read; out (batch, n_in) written; panel (n_out, one tile wide) scratch.
    """
    size, width = itemsize(one), tile_width(one)
    for j in range(left, right, width):
        columns = min(width, right - j)
        _transpose(weights + j * n_out * size, columns, n_out, panel, width, one)
        _rows_of_tiles(
            d, n_out * size, order, first, last, panel, width, columns, n_out, zeros,
            out + j * size, n_in, one,
        )  # fmt: skip


@jit
def weight_gradient(a, a_stride, order, batch, d, first, last, left, right, n_out, out, one):
    """dW[i, j] <- sum over r of A[order[r], i] dZ[r, j] for first <= i < last, left <= j < right.

    a, a_stride, order read as in `dense_forward`; d read: dZ (batch, n_out); out written: dW
    (n_in, n_out). 2 batch n_out flops a row.
    """
    size, width = itemsize(one), tile_width(one)
    for j in range(left, right, width):
        columns = min(width, right - j)
        i = first
        while i < last:
            rows = tile_height(last - i)
            tile_of_columns(
                a, a_stride, order, i, rows, d + j * size, n_out, columns, batch,
                out + (i * n_out + j) * size, n_out, one,
            )  # fmt: skip
            i += rows


@jit
def bias_gradient(d, batch, first, last, n_out, out, one):
    """db[j] <- sum over r of dZ[r, j] for columns first <= j < last."""
    size = itemsize(one)
    total = numbers(out + first * size, last - first, one)
    for j in range(total.size):
        total[j] = 0
    for r in range(batch):
        row = numbers(d + (r * n_out + first) * size, last - first, one)
        for j in range(total.size):
            total[j] += row[j]
