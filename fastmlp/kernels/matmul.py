"""The three matrix products of a dense layer, as loops over register tiles.

Every product takes the range of rows or columns it is to compute, so that threads can share one
out; each number's bits depend neither on the range nor on the thread.
"""

from __future__ import annotations

from .jit import jit, span
from .tiles import tile_height, tile_of_columns, tile_of_rows, tile_width

# Rows of W further apart than this many bytes start on too few cache sets and too many pages to be
# read in place, if at least so many rows of data share the cost of a copy.
_PACK_STRIDE = 1024
_PACK_ROWS = 16


@jit
def dense_forward(
    a, a_offset, a_stride, order, first, last, w, weights, bias, biases, n_in, n_out, out, panel
):
    """Z[r] <- A[order[r]] W + b for first <= r < last.

    a (bytes) read: rows of n_in numbers, `a_stride` bytes apart from `a_offset` on; order (int32)
    read; w read: W (n_in, n_out) at `weights`; bias read: b (n_out,) at `biases`; out
    (batch, n_out) written; panel (n_in, one tile wide) scratch. 2 n_in n_out flops a row.
    """
    width = tile_width(out)
    for j in range(0, n_out, width):
        columns = min(width, n_out - j)
        b, b_offset, b_stride = w, weights + j, n_out
        if n_out * w.itemsize > _PACK_STRIDE and last - first >= _PACK_ROWS:
            for k in range(n_in):
                row = span(panel, k * width, columns)
                source = span(w, weights + k * n_out + j, columns)
                for c in range(columns):
                    row[c] = source[c]
            b, b_offset, b_stride = panel, 0, width
        i = first
        while i < last:
            rows = tile_height(last - i)
            tile_of_rows(
                a, a_offset, a_stride, order, i, rows, b, b_offset, b_stride, columns, n_in,
                bias, biases + j, out, i * n_out + j, n_out,
            )  # fmt: skip
            i += rows


@jit
def input_gradient(
    d, d_offset, d_stride, order, first, last, w, weights, n_in, n_out, zeros, out, panel
):
    """dX[r] <- dZ[order[r]] W^T for first <= r < last.

    d (bytes) read: rows of dZ, n_out numbers each; w read: W (n_in, n_out) at `weights`; zeros
    (one tile wide) read; out (batch, n_in) written; panel (n_out, one tile wide) scratch.
    """
    width = tile_width(out)
    for j in range(0, n_in, width):
        columns = min(width, n_in - j)
        for c in range(columns):
            row = span(w, weights + (j + c) * n_out, n_out)
            for k in range(n_out):
                panel[k * width + c] = row[k]
        i = first
        while i < last:
            rows = tile_height(last - i)
            tile_of_rows(
                d, d_offset, d_stride, order, i, rows, panel, 0, width, columns, n_out,
                zeros, 0, out, i * n_in + j, n_in,
            )  # fmt: skip
            i += rows


@jit
def weight_gradient(
    a, a_offset, a_stride, order, batch, d, d_offset, first, last, n_out, grads, weights
):
    """dW[i] <- sum over r of A[order[r], i] dZ[r] for rows first <= i < last of W.

    a (bytes) read as in `dense_forward`; d read: dZ (batch, n_out) at `d_offset`; grads written:
    dW (n_in, n_out) at `weights`. 2 batch n_out flops a row.
    """
    width = tile_width(grads)
    for j in range(0, n_out, width):
        columns = min(width, n_out - j)
        i = first
        while i < last:
            rows = tile_height(last - i)
            tile_of_columns(
                a, a_offset, a_stride, order, i, rows, d, d_offset + j, n_out, columns, batch,
                grads, weights + i * n_out + j, n_out,
            )  # fmt: skip
            i += rows


@jit
def bias_gradient(d, d_offset, batch, first, last, n_out, grads, biases):
    """db[j] <- sum over r of dZ[r, j] for columns first <= j < last."""
    total = span(grads, biases + first, last - first)
    for j in range(total.size):
        total[j] = 0
    for r in range(batch):
        row = span(d, d_offset + r * n_out + first, last - first)
        for j in range(total.size):
            total[j] += row[j]
