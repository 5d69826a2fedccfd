"""A user's matrix as an address, strides and a number type, which compiled code reads in place.

Whatever the memory order or number type, compiled code sees the same few integers, so nothing is
compiled anew and nothing is copied whole.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .kernels.rows import KINDS


class Table(NamedTuple):
    """A matrix: its memory, strides in bytes, and the code of its number type."""

    X: np.ndarray
    row_stride: int
    column_stride: int
    kind: int

    @property
    def n_rows(self) -> int:
        return self.X.shape[0]

    @property
    def n_columns(self) -> int:
        return self.X.shape[1]

    def usable_as(self, dtype: np.dtype) -> bool:
        """Whether tiles can read it in place: this type, columns next to each other."""
        return self.kind == KINDS[dtype] and self.column_stride == dtype.itemsize


def table_of(X: np.ndarray) -> Table:
    """Description of a float32, float64 or uint8 matrix, which is not copied."""
    row_stride, column_stride = X.strides
    if X.shape[1] == 1:
        column_stride = X.itemsize  # NumPy may report anything for an axis of length 1
    return Table(X, row_stride, column_stride, KINDS[X.dtype])
