"""A user's matrix as an address, strides and a number type, which compiled code reads in place.

Whatever the memory order or number type, compiled code sees the same few integers, so nothing is
compiled anew and nothing is copied whole.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .kernels.rows import KINDS, SPARSE


class Table(NamedTuple):
    """A matrix: its memory, strides in bytes, and the code of its number type.

    For a CSR matrix `values` are the non-zeros, `indices` their columns and `indptr` where each
    row starts; both are empty for a dense one.
    """

    values: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    row_stride: int
    column_stride: int
    kind: int
    n_rows: int
    n_columns: int

    def usable_as(self, dtype: np.dtype) -> bool:
        """Whether tiles can read it in place: this type, columns next to each other."""
        if self.kind == SPARSE:
            return True
        return self.kind == KINDS[dtype] and self.column_stride == dtype.itemsize


def is_sparse(X: Any) -> bool:
    """Whether X is a SciPy sparse matrix or array."""
    return hasattr(X, "tocsr") and hasattr(X, "nnz")


def sorted_csr(X: Any) -> Any:
    """A sparse matrix in CSR form with the columns of each row in order, as kernels read it."""
    X = X.tocsr()
    return X if X.has_sorted_indices else X.sorted_indices()


def table_of(X: Any, dtype: np.dtype) -> Table:
    """Description of a float16, float32, float64 or uint8 matrix, or of a CSR matrix.

    Dense memory is not copied; of a CSR matrix the non-zeros are, if they are not of `dtype`.
    """
    if is_sparse(X):
        values = np.ascontiguousarray(X.data, dtype)
        indices = np.ascontiguousarray(X.indices, np.int32)
        indptr = np.ascontiguousarray(X.indptr, np.int64)
        return Table(values, indices, indptr, 0, 0, SPARSE, *X.shape)
    row_stride, column_stride = X.strides
    if X.shape[1] == 1:
        column_stride = X.itemsize  # NumPy may report anything for an axis of length 1
    nothing = np.empty(0, np.int32)
    return Table(X, nothing, nothing, row_stride, column_stride, KINDS[X.dtype], *X.shape)
