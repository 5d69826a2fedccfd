"""A user's matrix as bytes, strides and a number type, which compiled code reads where it lies.

Whatever the memory order or number type, compiled code sees one Python type, so nothing is compiled
anew and nothing is copied whole.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .kernels.rows import KINDS


class Table(NamedTuple):
    """A matrix: `bytes_` (n_bytes,) uint8 read-only, strides in bytes, and the code of its type."""

    bytes_: np.ndarray
    row_stride: int
    column_stride: int
    kind: int
    n_rows: int
    n_columns: int

    def usable_as(self, dtype: np.dtype) -> bool:
        """Whether tiles can read it in place: this type, columns next to each other."""
        return self.kind == KINDS[dtype] and self.column_stride == dtype.itemsize


def table_of(X: np.ndarray) -> Table:
    """View of a float32, float64 or uint8 matrix; copies only if a stride is negative or odd."""
    itemsize = X.dtype.itemsize
    if X.size and (min(X.strides) < 0 or any(s % itemsize for s in X.strides)):
        X = np.ascontiguousarray(X)
    row_stride, column_stride = X.strides
    if X.shape[1] == 1:
        column_stride = itemsize  # NumPy may report anything for an axis of length 1
    if X.size == 0:
        return Table(
            _read_only(np.empty(0, np.uint8)), row_stride, column_stride, KINDS[X.dtype], *X.shape
        )
    last = (X.shape[0] - 1) * row_stride + (X.shape[1] - 1) * column_stride
    first_number = X[:1, :1].reshape(1).view(np.uint8)
    memory = as_strided(first_number, (last + itemsize,), (1,), writeable=False)
    return Table(memory, row_stride, column_stride, KINDS[X.dtype], *X.shape)


def bytes_of(array: np.ndarray) -> np.ndarray:
    """The memory of a contiguous array as read-only bytes."""
    return _read_only(array.reshape(-1).view(np.uint8))


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view
