"""A first layer on sparse rows: the same products as in `matmul`, over the non-zeros only.

Rows are given as in SciPy's CSR: the non-zeros of sample i are values[indptr[i] : indptr[i + 1]] in
the columns indices[...]. Each number is the same chain of fused multiply-adds as with dense rows,
without the zeros.
"""

from __future__ import annotations

import numpy as np

from .bits import fma
from .jit import integers, itemsize, jit, longs, numbers
from .matmul import input_part_start, n_parts
from .tiles import sparse_width, tile_of_sparse_row


@jit
def _non_zeros(indptr, sample):
    """Where a sample's non-zeros start and how many there are."""
    ends = longs(indptr + np.int64(sample) * 8, 2)
    return ends[0], ends[1] - ends[0]


@jit
def sparse_forward(
    values, indices, indptr, order, first, last, left, right, weights, biases, n_in, n_out, out, one
):
    """Z[r, j] <- b[j] + X[order[r]] W[:, j] for first <= r < last and left <= j < right.

    Addresses: values, indices (int32), indptr (int64), order (int32), weights: W (n_in, n_out),
    biases (n_out,) read; out (batch, n_out) written.
    """
    size, width = itemsize(one), sparse_width(one)
    samples = integers(order, last)
    for r in range(first, last):
        start, count = _non_zeros(indptr, samples[r])
        columns = integers(indices + start * 4, count)
        row = out + r * n_out * size
        base, at = biases, 0
        for part in range(n_parts(n_in)):
            before, end = at, input_part_start(n_in, part + 1)
            while at < count and columns[at] < end:
                at += 1
            place = start + before
            for j in range(left, right, width):
                tile_of_sparse_row(
                    values + place * size, indices + place * 4, at - before, weights + j * size,
                    n_out, min(width, right - j), base + j * size, row + j * size, one,
                )  # fmt: skip
            base = row


@jit
def sparse_weight_gradient(
    values, indices, indptr, order, batch, d, first, last, left, right, n_out, out, one
):
    """dW[i, j] <- sum over r of X[order[r], i] dZ[r, j] for first <= i < last, left <= j < right.

    Addresses as in `sparse_forward`; d: dZ (batch, n_out) read; out: dW (n_in, n_out) written.
    """
    size, length = itemsize(one), right - left
    for i in range(first, last):
        row = numbers(out + (i * n_out + left) * size, length, one)
        for j in range(row.size):
            row[j] = 0
    samples = integers(order, batch)
    for r in range(batch):
        start, count = _non_zeros(indptr, samples[r])
        columns, factors = (
            integers(indices + start * 4, count),
            numbers(values + start * size, count, one),
        )
        gradient = numbers(d + (r * n_out + left) * size, length, one)
        for k in range(count):
            column = np.int64(columns[k])
            if first <= column < last:
                row = numbers(out + (column * n_out + left) * size, length, one)
                factor = factors[k]
                for j in range(row.size):
                    row[j] = fma(factor, gradient[j], row[j])


@jit
def gather_sparse(values, indices, indptr, order, first, last, n_columns, scale, out, one):
    """out[r] <- sample order[r] with its zeros, times scale; out (batch, n_columns)."""
    size = itemsize(one)
    samples = integers(order, last)
    for r in range(first, last):
        row = numbers(out + r * n_columns * size, n_columns, one)
        for j in range(row.size):
            row[j] = 0
        start, count = _non_zeros(indptr, samples[r])
        columns, factors = (
            integers(indices + start * 4, count),
            numbers(values + start * size, count, one),
        )
        for k in range(count):
            row[columns[k]] += factors[k]
        if scale != 1:
            for j in range(row.size):
                row[j] *= type(one)(scale)
