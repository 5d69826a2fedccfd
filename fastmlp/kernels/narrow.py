"""Products of a layer with few outputs, where vectors lie along its inputs.

In the tiles of `matmul` most lanes would be empty, since they lie along the outputs. Classifiers of
two classes and most regressors end in such a layer.
"""

from __future__ import annotations

import numpy as np

from . import rows
from .bits import fma
from .jit import integers, itemsize, jit, numbers
from .sums import input_part_start
from .tiles import (
    FEW_COLUMNS,
    sparse_width,
    tile_height,
    tile_of_dots,
    tile_of_few_columns,
    tile_of_sparse_row,
    tile_width,
)


@jit
def product_of_one(
    a, a_stride, order, first, last, ahead, weights, n_in, parts, begin, end, bias, out, part_bytes,
    one,
):  # fmt: skip
    """z[r] <- b + A[order[r]] w for rows first..last and parts begin..end of the sums.

    For one output. Arguments as in `matmul.dense_forward`, out (batch,). Where part_bytes is 0 the
    parts are added up, from the bias on; else each goes to a place of its own, that many bytes
    apart. Rows up to `ahead` are asked for while those before are used.
    """
    size, i = itemsize(one), first
    while i < last:
        rows_ = tile_height(last - i)
        for part in range(begin, end):
            k, stop = input_part_start(n_in, parts, part), input_part_start(n_in, parts, part + 1)
            rows.prefetch_tile(a, a_stride, order, i, k, stop, ahead, one)
            c = out + part * part_bytes + i * size
            base, base_stride = bias, 0
            if part > 0 and part_bytes == 0:
                base, base_stride = c, 1
            tile_of_dots(
                a + k * size, a_stride, order, i, rows_, weights + k * size, stop - k, base,
                base_stride, c, 1, one,
            )  # fmt: skip
        i += rows_


@jit
def times_input_gradient(
    d, order, first, last, left, right, weights, n_out, slopes, slopes_stride, panel, one
):
    """S[r, i] <- S[r, i] (dZ[order[r]] W[i]^T) for first <= r < last and left <= i < right.

    For up to FEW_COLUMNS outputs, whose sums are so short that they are not worth a tile, nor to be
    stored. Arguments as in `matmul.input_gradient`; slopes: S (batch, n_in), `slopes_stride`
    numbers a row, updated.
    """
    size, width, zero = itemsize(one), right - left, type(one)(0)
    block = weights + left * n_out * size
    w = numbers(panel, FEW_COLUMNS * width, one)
    for j in range(n_out):
        column = numbers(block, n_out * width, one)
        for i in range(width):
            w[j * width + i] = column[i * n_out + j]
    for k in range(n_out * width, w.size):
        w[k] = 0
    w0, w1 = numbers(panel, width, one), numbers(panel + width * size, width, one)
    w2 = numbers(panel + 2 * width * size, width, one)
    w3 = numbers(panel + 3 * width * size, width, one)
    samples = integers(order, last)
    for r in range(first, last):
        row = numbers(slopes + (r * slopes_stride + left) * size, width, one)
        z = numbers(d + np.int64(samples[r]) * n_out * size, n_out, one)
        z0 = z[0]
        z1 = z[1] if n_out > 1 else zero
        z2 = z[2] if n_out > 2 else zero
        z3 = z[3] if n_out > 3 else zero
        if n_out == 1:
            for i in range(width):
                row[i] *= z0 * w0[i]
        elif n_out == 2:
            for i in range(width):
                row[i] *= fma(z1, w1[i], z0 * w0[i])
        else:
            for i in range(width):
                row[i] *= fma(z3, w3[i], fma(z2, w2[i], fma(z1, w1[i], z0 * w0[i])))


@jit
def _weight_gradient_of_one(a, a_stride, order, batch, d, n_in, out, one):
    """`weight_gradient` for one output: so many vectors at once that additions need not wait."""
    size, width = itemsize(one), sparse_width(one)
    for i in range(0, n_in, width):
        columns, place = min(width, n_in - i), out + i * size
        total = numbers(place, columns, one)
        for k in range(columns):
            total[k] = 0
        tile_of_sparse_row(
            d, order, batch, a + i * size, a_stride, columns, place, place, one,
        )  # fmt: skip


@jit
def weight_gradient(a, a_stride, order, batch, d, d_stride, n_in, n_out, out, out_stride, one):
    """A[order]^T dZ; arguments as in `matmul.weight_gradient`."""
    if n_out == 1 and d_stride == 1 and out_stride == 1:
        _weight_gradient_of_one(a, a_stride, order, batch, d, n_in, out, one)
        return
    size, width = itemsize(one), tile_width(one)
    for i in range(0, n_in, width):
        tile_of_few_columns(
            a, a_stride, order, i, min(width, n_in - i), d, d_stride, n_out, batch,
            out + i * out_stride * size, out_stride, one,
        )  # fmt: skip
