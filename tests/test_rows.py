"""Tables over the user's memory: whatever the order, strides or number type of a matrix, the bytes
of its table read back as the matrix itself. Nothing is copied that need not be, nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

from fastmlp.kernels import rows
from fastmlp.kernels.jit import JIT_ENABLED, address_of
from fastmlp.layers import Dense, ReLU
from fastmlp.losses import MeanSquaredError
from fastmlp.network import Network
from fastmlp.tables import Table, table_of

SENTINEL = -99
KINDS = [np.uint8, np.float32, np.float64]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=["uint8", "float32", "float64"])
both_types = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def numbers(kind: Any, *shape: int) -> np.ndarray:
    """All different, also as uint8 for up to 256 of them, and no float64 a float32."""
    count = np.arange(np.prod(shape)).reshape(shape)
    return (count if kind == np.uint8 else count / 3 - 5).astype(kind)


def read_only(X: np.ndarray) -> np.ndarray:
    X.flags.writeable = False
    return X


# Matrices by how they lie in memory.
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "C": lambda X: X,
    "Fortran": np.asfortranarray,
    "transposed": lambda X: X.T,
    "rows sliced": lambda X: X[1::2],
    "columns sliced": lambda X: X[:, 1::3],
    "both sliced": lambda X: X[2:9:3, 3:-1:2],
    "columns of a Fortran matrix": lambda X: np.asfortranarray(X)[:, 2:7],
    "a block": lambda X: X[3:8, 2:6],
    "repeated row": lambda X: np.broadcast_to(X[4], (6, X.shape[1])),
    "repeated column": lambda X: np.broadcast_to(X[:, 3:4], (X.shape[0], 5)),
    "one row": lambda X: X[4:5],
    "one sliced row": lambda X: X[4:5, ::2],
    "one column": lambda X: X[:, 4:5],
    "one column of a Fortran matrix": lambda X: np.asfortranarray(X)[:, 4:5],
    "one number": lambda X: X[3:4, 5:6],
    "odd stride of one column": lambda X: as_strided(X, (3, 1), (X.strides[0], 77 * X.itemsize)),
    "odd stride of one row": lambda X: as_strided(X, (1, 3), (1000 * X.itemsize, X.itemsize)),
    "windows that overlap": lambda X: as_strided(X, (6, 5), (X.itemsize, X.itemsize)),
    "read-only": lambda X: read_only(X.copy()),
}
BACKWARDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rows upwards": lambda X: X[::-1],
    "columns backwards": lambda X: X[:, ::-1],
    "both backwards": lambda X: X[::-2, ::-3],
}
layouts = pytest.mark.parametrize("layout", [*LAYOUTS, *BACKWARDS])


def laid_out(layout: str, kind: Any) -> np.ndarray:
    return (LAYOUTS | BACKWARDS)[layout](numbers(kind, 11, 9))


def dense_table(X: np.ndarray) -> Table:
    return table_of(X, np.dtype(np.float32))


def gathered(
    table: Table, order: np.ndarray, dtype: Any, ends: tuple[int, int] | None = None
) -> np.ndarray:
    """Rows `order` of a table by the kernel; rows that it must not write are sentinels."""
    out = np.full(order.size * table.n_columns, SENTINEL, dtype)
    first, last = (0, order.size) if ends is None else ends
    rows.gather(
        address_of(table.values), table.row_stride, table.column_stride, table.kind, order,
        first, last, table.n_columns, address_of(out), np.dtype(dtype).type(1),
    )  # fmt: skip
    return out.reshape(order.size, table.n_columns)


@pytest.mark.nojit
@pytest.mark.bounds
@layouts
@every_kind
@both_types
def test_a_table_reads_as_its_matrix(
    layout: str, kind: Any, dtype: Any, rng: np.random.Generator
) -> None:
    """In any order, repeats included, converted as NumPy converts."""
    X = laid_out(layout, kind)
    table = dense_table(X)
    assert (table.n_rows, table.n_columns) == X.shape
    order = rng.integers(0, X.shape[0], 14).astype(np.int32)
    order[: min(14, X.shape[0])] = rng.permutation(X.shape[0])[:14]
    out = gathered(table, order, dtype)
    np.testing.assert_array_equal(out, X[order].astype(dtype))
    if layout not in ("one number", "repeated row", "repeated column"):
        assert np.ptp(out) > 0
    part = gathered(table, order, dtype, (3, 8))
    np.testing.assert_array_equal(part[3:8], out[3:8])
    assert (np.delete(part, np.r_[3:8], axis=0) == SENTINEL).all()


@pytest.mark.nojit
@layouts
@every_kind
def test_a_table_is_the_users_memory(layout: str, kind: Any) -> None:
    """Not a copy of it, whatever the strides, negative ones included."""
    X = laid_out(layout, kind)
    table = dense_table(X)
    assert address_of(table.values) == address_of(X)
    assert np.shares_memory(table.values, X)


@pytest.mark.nojit
@every_kind
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)], ids=str)
def test_an_empty_matrix_is_a_table(kind: Any, shape: tuple[int, int]) -> None:
    table = dense_table(np.empty(shape, kind))
    assert table.values.size == 0
    assert (table.n_rows, table.n_columns) == shape
    out = gathered(table, np.zeros(shape[0] and 2, np.int32), np.float64)
    assert out.size == 0


@pytest.mark.nojit
@every_kind
def test_a_memory_mapped_file_is_read_in_place(kind: Any, tmp_path: Path) -> None:
    saved = numbers(kind, 12, 7)
    for order in "C", "F":
        np.save(tmp_path / f"{order}.npy", np.asarray(saved, order=order))
        X = np.load(tmp_path / f"{order}.npy", mmap_mode="r")
        assert isinstance(X, np.memmap)
        table = dense_table(X[2:, 1:5])
        assert np.shares_memory(table.values, X)
        chosen = np.array([9, 0, 4], np.int32)
        out = gathered(table, chosen, np.float32)
        np.testing.assert_array_equal(out, saved[2:, 1:5][chosen].astype(np.float32))


@pytest.mark.nojit
def test_fields_of_records_are_read_right() -> None:
    """Also numbers that do not start at multiples of their size."""
    packed = np.zeros((5, 4), [("flag", np.uint8), ("x", np.float32)])
    aligned = np.zeros((5, 4), [("flag", np.int64), ("x", np.float64)])
    for records in (packed, aligned):
        records["x"] = numbers(np.float32, 5, 4)
        records["flag"] = 255
        out = gathered(dense_table(records["x"]), np.arange(5, dtype=np.int32), np.float64)
        np.testing.assert_array_equal(out, records["x"])


@pytest.mark.nojit
@every_kind
def test_in_place_only_with_the_same_type_and_adjacent_columns(kind: Any) -> None:
    X = numbers(kind, 11, 9)
    for dtype in (np.float32, np.float64):
        same = kind == dtype
        for usable in (X, X[::2], X[:, 2:5], X[:, 3:4], np.asfortranarray(X)[:, 3:4], X[::-1]):
            assert dense_table(usable).usable_as(np.dtype(dtype)) == same
        for other in (X[:, ::2], np.asfortranarray(X), X.T):
            assert not dense_table(other).usable_as(np.dtype(dtype))


slices = st.builds(slice, st.integers(-9, 9), st.none(), st.sampled_from([-3, -2, -1, 1, 2, 3]))


@given(rows_=slices, columns=slices, transposed=st.booleans(), kind=st.sampled_from(KINDS))
@settings(max_examples=200 if JIT_ENABLED else 30)
@pytest.mark.nojit
def test_any_slice_reads_as_itself(
    rows_: slice, columns: slice, transposed: bool, kind: Any
) -> None:
    X = numbers(kind, 11, 9)[rows_, columns]
    X = X.T if transposed else X
    order = np.arange(X.shape[0], dtype=np.int32)[::-1].copy()
    out = gathered(dense_table(X), order, np.float64)
    np.testing.assert_array_equal(out, X[order].astype(np.float64))


@pytest.mark.nojit
@layouts
@every_kind
def test_networks_read_every_layout_alike_and_write_none(layout: str, kind: Any) -> None:
    """Predictions and fits from a view are bit for bit those from a C-ordered copy."""
    X = laid_out(layout, kind)
    before, plain = X.copy(), np.ascontiguousarray(X)
    y = np.linspace(0, 1, X.shape[0])
    results = []
    for data in (X, plain):
        network = Network([Dense(3), ReLU(), Dense(1)], MeanSquaredError())
        network.fit(data, y, epochs=1, batch_size=4, optimizer="sgd")
        results.append((network.params, network.outputs(data)))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
    np.testing.assert_array_equal(X, before)
    assert results[0][0].any()
