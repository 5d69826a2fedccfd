"""A user's matrix as an address, strides and a number type, which compiled code reads in place.

For any memory order and number type, compiled code gets the same few integers, so nothing has to be
compiled again and no matrix has to be copied as a whole.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..kernels.compiler.jit import VECTOR_BYTES
from ..kernels.compiler.memory import (
    address_of,
    index_address,
    laid_out,
    matrix_address,
    starts_address,
)
from ..kernels.products.sparse import non_zeros_of_rows
from ..kernels.step.rows import KINDS, SPARSE

# Skipping zeros pays if at most this fraction of a table is not zero: a smaller one if a row of the
# layer's outputs has fewer than so many bytes. With fewer columns or outputs than the last two,
# finding the non-zeros takes as long as skipping the zeros saves.
_FEW_NON_ZEROS, _FEW_FOR_NARROW, _NARROW_BYTES = 0.16, 0.08, 256
_LEAST_COLUMNS, _LEAST_VECTORS = 128, 4
WORTH_COMPRESSING = 4  # passes over the table; compressing it takes as long as one or two
_LOOKED_AT, _BLOCK = 64, 1024  # rows
DTYPES = {kind: dtype for dtype, kind in KINDS.items()}


class Table(NamedTuple):
    """A matrix: its memory, strides in bytes, and the code of its number type.

    For a CSR matrix, `values` are the non-zeros, `indices` their columns and `indptr` the start of
    each row; the last two are empty for a dense matrix.
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
        """Whether tiles can read it in place: it has this type and adjacent columns."""
        if self.kind == SPARSE:
            return True
        return self.kind == KINDS[dtype] and self.column_stride == dtype.itemsize

    def addresses(self) -> tuple[int, int, int]:
        """Addresses of the numbers and, in CSR form, of columns and row starts; otherwise 0."""
        shape = self.n_rows, self.n_columns
        if self.kind != SPARSE:
            dtype, strides = DTYPES[self.kind], (self.row_stride, self.column_stride)
            return matrix_address(self.values, "X", dtype, shape, strides), 0, 0
        n_values = self.values.size
        return (
            address_of(self.values, "X.data", self.values.dtype, n_values),
            index_address(self.indices, "X.indices", n_values, self.n_columns),
            starts_address(self.indptr, "X.indptr", self.n_rows, n_values),
        )


def is_sparse(X: Any) -> bool:
    """Whether X is a SciPy sparse matrix or array."""
    return hasattr(X, "tocsr") and hasattr(type(X), "nnz")  # X.nnz may fail in an invalid matrix


def sorted_csr(X: Any) -> Any:
    """A sparse matrix in CSR form with sorted columns in each row, as kernels need it."""
    X = X.tocsr()
    size = int(X.indptr[-1])
    if X.data.size > size:  # SciPy allows more behind the last row
        X = type(X)((X.data[:size], X.indices[:size], X.indptr), shape=X.shape)
    return X if X.has_sorted_indices else X.sorted_indices()


def without_zeros(X: np.ndarray, dtype: np.dtype, n_outputs: int) -> Any:
    """A dense matrix as CSR in `dtype` if products with `n_outputs` columns are faster, else X.

    The products have the same bits, because zeros add nothing.
    """
    n_bytes = n_outputs * dtype.itemsize
    if n_bytes < _LEAST_VECTORS * VECTOR_BYTES or X.shape[1] < _LEAST_COLUMNS:
        return X
    share = _FEW_FOR_NARROW if n_bytes < _NARROW_BYTES else _FEW_NON_ZEROS
    some = X[:: 1 + X.shape[0] // _LOOKED_AT]
    if np.count_nonzero(some) > 1.5 * share * some.size:
        return X
    n_values = int(np.count_nonzero(X))
    return _compressed(X, n_values, dtype) if n_values <= share * X.size else X


def _compressed(X: np.ndarray, n_values: int, dtype: np.dtype) -> Any:
    """X as CSR; rows in another order or type are converted a block at a time."""
    from scipy import sparse

    values, indices = np.empty(n_values + 1, dtype), np.empty(n_values + 1, np.int32)
    indptr = np.zeros(X.shape[0] + 1, np.int64)
    for start in range(0, X.shape[0], _BLOCK):
        block, at = laid_out(X[start : start + _BLOCK], dtype), indptr[start]
        ends = indptr[start + 1 : start + 1 + len(block)]
        room, rest = n_values - at, slice(at, None)
        non_zeros_of_rows(
            address_of(block, "X", dtype, block.size), *block.shape,
            address_of(values[rest], "non-zeros", dtype, room + 1, written=True),
            address_of(indices[rest], "their columns", np.int32, room + 1, written=True),
            address_of(ends, "ends of rows", np.int64, len(block), written=True),
            room, dtype.type(1),
        )  # fmt: skip
        ends += at
    return sparse.csr_array((values[:-1], indices[:-1], indptr), X.shape)


def table_of(X: Any, dtype: np.dtype) -> Table:
    """Description of a float16, float32, float64 or uint8 matrix, or of a CSR matrix.

    Dense memory is not copied unless it is misaligned; the non-zeros of a CSR matrix are copied if
    they are not of `dtype`. The table has its own views of the memory, so that no other code can
    change their type or shape.
    """
    if is_sparse(X):
        values = laid_out(X.data, dtype).view()
        indices = laid_out(X.indices, np.int32).view()
        indptr = laid_out(X.indptr, np.int64).view()
        return Table(values, indices, indptr, 0, 0, SPARSE, *X.shape)
    X = X.view() if X.flags.aligned else X.copy()
    row_stride, column_stride = X.strides
    if X.shape[1] == 1:
        column_stride = X.itemsize  # NumPy may report anything for an axis of length 1
    nothing = np.empty(0, np.int32)
    return Table(X, nothing, nothing, row_stride, column_stride, KINDS[X.dtype], *X.shape)
