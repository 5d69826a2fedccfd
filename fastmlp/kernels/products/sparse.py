"""A first layer on sparse rows: the same products as in `matmul`, over the non-zeros only.

Rows are stored as in SciPy's CSR format: the non-zeros of sample i are
values[indptr[i] : indptr[i + 1]] in the columns indices[...], in ascending order. Each number is
the same chain of fused multiply-adds as with dense rows, without the zeros. For the gradient, a
batch with enough non-zeros per column is first sorted by columns.
"""

from __future__ import annotations

import numpy as np

from ..compiler.bits import fma
from ..compiler.jit import integers, itemsize, jit, longs, numbers
from ..tuning import WORTH_SORTING
from ..views import Panel
from .sums import input_part_start, n_parts
from .tiles import sparse_width, tile_of_sparse_row, transposed_width


@jit
def _non_zeros(indptr, sample):
    """Where a sample's non-zeros start and how many there are."""
    ends = longs(indptr + np.int64(sample) * 8, 2)
    return ends[0], ends[1] - ends[0]


@jit
def sparse_forward(csr, order, block, weights, out, panel, one):
    """Z[r, j] <- b[j] + X[order[r]] W[:, j] for first <= r < last and left <= j < right.

    csr, order (address of int32) and weights read; out: address of Z (batch, n_out), written;
    panel (one tile wide) scratch.
    """
    n_in, n_out, stride = weights.n_in, weights.n_out, weights.stride
    size, width, parts = itemsize(one), sparse_width(one), n_parts(n_in, n_out)
    samples = integers(order, block.last)
    for j in range(block.left, block.right, width):  # these columns of W stay cached for all rows
        panel_of_w = Panel(weights.at + j * size, stride * size, min(width, block.right - j))
        for r in range(block.first, block.last):
            start, count = _non_zeros(csr.indptr, samples[r])
            c = out + (r * n_out + j) * size
            base, at = weights.biases + j * size, 0
            for part in range(parts):
                begin, end = at, input_part_start(n_in, parts, part + 1)
                at = _before(csr.indices, start, count, begin, end, n_in)
                tile_of_sparse_row(
                    csr.values + (start + begin) * size, csr.indices + (start + begin) * 4,
                    at - begin, panel_of_w, base, c, one,
                )  # fmt: skip
                base = c


@jit
def sparse_forward_to_one(csr, order, block, weights, out, panel, one):
    """`sparse_forward` for one output, with one sum per lane as in `tile_of_dots`."""
    if block.left == block.right:
        return
    n_in = weights.n_in
    size, parts, lanes = itemsize(one), n_parts(n_in, 1), transposed_width(one)
    samples, totals = integers(order, block.last), numbers(panel, lanes, one)
    w, b = numbers(weights.at, n_in, one), numbers(weights.biases, 1, one)
    z = numbers(out, block.last, one)
    for r in range(block.first, block.last):
        start, count = _non_zeros(csr.indptr, samples[r])
        columns = integers(csr.indices + start * 4, count)
        factors = numbers(csr.values + start * size, count, one)
        z[r] = b[0]
        at = 0
        for part in range(parts):
            begin, begins = at, input_part_start(n_in, parts, part)
            ends = input_part_start(n_in, parts, part + 1)
            at = _before(csr.indices, start, count, begin, ends, n_in)
            for lane in range(lanes):
                totals[lane] = 0
            for k in range(begin, at):
                column = np.int64(columns[k])
                lane = (column - begins) % lanes
                totals[lane] = fma(factors[k], w[column], totals[lane])
            z[r] += _sum_of_lanes(totals)


@jit
def _sum_of_lanes(totals):
    """Pairwise sum of (lanes,) numbers, which are overwritten."""
    half = totals.size // 2
    while half > 0:
        for lane in range(half):
            totals[lane] += totals[lane + half]
        half //= 2
    return totals[0]


@jit
def _before(indices, start, count, at, column, n_in):
    """How many of a row's non-zeros are before a column; `at` of them are known to be."""
    if column == n_in:
        return count
    columns = integers(indices + start * 4, count)
    while at < count:
        middle = (at + count) // 2
        if columns[middle] < column:
            at = middle + 1
        else:
            count = middle
    return at


@jit
def sparse_weight_gradient(csr, order, batch, slopes, block, out, one):
    """dW[i, j] <- sum over r of X[order[r], i] dZ[r, j] for first <= i < last, left <= j < right.

    csr and order (address of int32) read; slopes: dZ (batch, n_out) read; out: dW (n_in, n_out)
    written.
    """
    size, left, length = itemsize(one), block.left, block.right - block.left
    for i in range(block.first, block.last):
        row = numbers(out.at + (i * out.stride + left) * size, length, one)
        for j in range(row.size):
            row[j] = 0
    samples = integers(order, batch)
    for r in range(batch):
        start, count = _non_zeros(csr.indptr, samples[r])
        columns = integers(csr.indices + start * 4, count)
        factors = numbers(csr.values + start * size, count, one)
        gradient = numbers(slopes.at + (r * slopes.stride + left) * size, length, one)
        for k in range(count):
            column = np.int64(columns[k])
            if block.first <= column < block.last:
                row = numbers(out.at + (column * out.stride + left) * size, length, one)
                factor = factors[k]
                for j in range(row.size):
                    row[j] = fma(factor, gradient[j], row[j])


@jit
def _non_zeros_within(indices, indptr, sample, first, last, n_in):
    """How many of a sample's non-zeros precede a range of columns; start and count of those within.

    For the range of all columns, the columns need not be in order.
    """
    start, count = _non_zeros(indptr, sample)
    begin = _before(indices, start, count, 0, first, n_in) if first > 0 else 0
    end = _before(indices, start, count, begin, last, n_in)
    return begin, start + begin, end - begin


@jit
def fills_columns(indptr, order, batch, n_in):
    """Whether a batch has enough non-zeros per column to be worth sorting by columns.

    A sorted column is summed in registers, but visiting a column costs as much as several
    non-zeros.
    """
    samples, count = integers(order, batch), 0
    for r in range(batch):
        count += _non_zeros(indptr, samples[r])[1]
    return count >= WORTH_SORTING * n_in


@jit
def sort_by_columns(csr, order, batch, first, last, n_in, out, one):
    """The non-zeros of a batch in the columns first <= i < last, one column after the other.

    out: `ByColumns` with starts (n_in + 2,), and places and factors with one number per non-zero of
    the batch. Column i is then X[order[places[k]], i] = factors[k] for
    starts[i] <= k < starts[i + 1]; room for the non-zeros left of `first` comes before.
    """
    size, samples = itemsize(one), integers(order, batch)
    at = integers(out.starts, last + 2)
    for i in range(first, last + 2):
        at[i] = 0
    before = 0
    for r in range(batch):
        sample = samples[r]
        left_of, start, count = _non_zeros_within(
            csr.indices, csr.indptr, sample, first, last, n_in
        )
        before += left_of
        columns = integers(csr.indices + start * 4, count)
        for k in range(count):
            at[np.int64(columns[k]) + 2] += 1
    at[first] += before
    at[first + 1] += before
    for i in range(first + 2, last + 2):
        at[i] += at[i - 1]
    # starts[i + 1] is now the start of column i; once the column is filled, it is its end.
    n_values = at[last + 1]
    place, factor = integers(out.places, n_values), numbers(out.factors, n_values, one)
    for r in range(batch):
        _, start, count = _non_zeros_within(csr.indices, csr.indptr, samples[r], first, last, n_in)
        columns = integers(csr.indices + start * 4, count)
        row = numbers(csr.values + start * size, count, one)
        for k in range(count):
            column = np.int64(columns[k]) + 1
            place[at[column]] = r
            factor[at[column]] = row[k]
            at[column] += 1


@jit
def sorted_weight_gradient(found, slopes, first, last, n_columns, zeros, out, one):
    """dW[i, j] <- sum over r of X[order[r], i] dZ[r, j] for first <= i < last and j < n_columns.

    found: result of `sort_by_columns`; slopes: dZ, and zeros (n_columns,) read; out: dW from row
    `first` on, written.
    """
    size, width, ends = itemsize(one), sparse_width(one), integers(found.starts, last + 1)
    for j in range(0, n_columns, width):
        columns = min(width, n_columns - j)
        panel = Panel(slopes.at + j * size, slopes.stride * size, columns)
        for i in range(first, last):
            start = np.int64(ends[i])
            tile_of_sparse_row(
                found.factors + start * size, found.places + start * 4, ends[i + 1] - start, panel,
                zeros, out.at + ((i - first) * out.stride + j) * size, one,
            )  # fmt: skip


@jit
def gather_sparse(csr, rows, n_columns, scale, out, one):
    """out[r] <- sample order[r] as a dense row, times scale; out (batch, n_columns)."""
    size, samples = itemsize(one), integers(rows.order, rows.last)
    for r in range(rows.first, rows.last):
        row = numbers(out + r * n_columns * size, n_columns, one)
        for j in range(row.size):
            row[j] = 0
        start, count = _non_zeros(csr.indptr, samples[r])
        columns = integers(csr.indices + start * 4, count)
        factors = numbers(csr.values + start * size, count, one)
        for k in range(count):
            row[columns[k]] += factors[k]
        if scale != 1:
            for j in range(row.size):
                row[j] *= type(one)(scale)


@jit
def non_zeros_of_rows(x, n_rows, n_columns, values, indices, ends, n_values, one):
    """The non-zeros of dense rows, one row after the other.

    Addresses: x (n_rows, n_columns) read; values and indices (int32), of n_values + 1 numbers, and
    ends (n_rows,) int64 written. The additional number is a target for writing zeros, which saves a
    branch.
    """
    value, column = numbers(values, n_values + 1, one), integers(indices, n_values + 1)
    end, at = longs(ends, n_rows), np.int64(0)
    for r in range(n_rows):
        row = numbers(x + r * n_columns * itemsize(one), n_columns, one)
        for j in range(n_columns):
            value[at], column[at] = row[j], j
            at += row[j] != 0
        end[r] = at
