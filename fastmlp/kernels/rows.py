"""Rows of the user's data, whatever their number type and memory order, read where they lie.

Data of the network's own type with adjacent columns is used in place; anything else is converted a
batch at a time.
"""

from __future__ import annotations

import numpy as np

from .jit import jit, reinterpret, span

FLOAT32, FLOAT64, UINT8 = range(3)
KINDS = {np.dtype(np.float32): FLOAT32, np.dtype(np.float64): FLOAT64, np.dtype(np.uint8): UINT8}

_FLOAT32_LIKE = np.empty(0, np.float32)
_FLOAT64_LIKE = np.empty(0, np.float64)
_UINT8_LIKE = np.empty(0, np.uint8)


@jit
def _gather_row(x, offset, column_stride, like, out):
    """out[j] <- number j of the row of `like`'s type that starts at byte `offset` of x."""
    if column_stride == like.itemsize:
        row = reinterpret(x, offset, out.size, like)
        for j in range(out.size):
            out[j] = row[j]
    else:
        for j in range(out.size):
            out[j] = reinterpret(x, offset + j * column_stride, 1, like)[0]


@jit
def gather(x, offset, row_stride, column_stride, kind, order, first, last, n_columns, out):
    """out[r] <- row `order[r]` of x for first <= r < last, converted to the type of out.

    x (bytes) read, strides in bytes; out (batch, n_columns) written.
    """
    for r in range(first, last):
        start = offset + order[r] * row_stride
        row = span(out, r * n_columns, n_columns)
        if kind == FLOAT32:
            _gather_row(x, start, column_stride, _FLOAT32_LIKE, row)
        elif kind == FLOAT64:
            _gather_row(x, start, column_stride, _FLOAT64_LIKE, row)
        else:
            _gather_row(x, start, column_stride, _UINT8_LIKE, row)


@jit
def copy_rows(x, offset, stride, order, first, last, n_columns, out):
    """out[r] <- row `order[r]` of a table of the type of out, for first <= r < last."""
    for r in range(first, last):
        source = reinterpret(x, offset + order[r] * stride, n_columns, out)
        row = span(out, r * n_columns, n_columns)
        for j in range(n_columns):
            row[j] = source[j]
