"""Rows of the user's data, whatever their number type and memory order, read where they lie.

Data of the network's own type with adjacent columns is used in place; anything else is converted a
batch at a time.
"""

from __future__ import annotations

import numpy as np

from .jit import itemsize, jit, numbers

FLOAT32, FLOAT64, UINT8, SPARSE = range(4)
KINDS = {np.dtype(np.float32): FLOAT32, np.dtype(np.float64): FLOAT64, np.dtype(np.uint8): UINT8}

_FLOAT32 = np.float32(1)
_FLOAT64 = np.float64(1)
_UINT8 = np.uint8(1)


@jit
def _convert_row(start, column_stride, kind, out):
    """out[j] <- number j, of the type of `kind`, of the row that starts at an address."""
    if column_stride == itemsize(kind):
        row = numbers(start, out.size, kind)
        for j in range(out.size):
            out[j] = row[j]
    else:
        for j in range(out.size):
            out[j] = numbers(start + j * column_stride, 1, kind)[0]


@jit
def gather(x, row_stride, column_stride, kind, order, first, last, n_columns, out, one):
    """out[r] <- row `order[r]` of the table at x for first <= r < last, converted.

    Strides in bytes; order (int32 array) read; out: address of (batch, n_columns) numbers of the
    type of `one`, written.
    """
    row_bytes = n_columns * itemsize(one)
    for r in range(first, last):
        start = x + np.int64(order[r]) * row_stride
        row = numbers(out + r * row_bytes, n_columns, one)
        if kind == FLOAT32:
            _convert_row(start, column_stride, _FLOAT32, row)
        elif kind == FLOAT64:
            _convert_row(start, column_stride, _FLOAT64, row)
        else:
            _convert_row(start, column_stride, _UINT8, row)
