"""Sparse inputs: the kernels against NumPy, and networks bit for bit against the same dense rows.

What a kernel may not read is nan or belongs to a nan row; what it may not write is a sentinel.
"""

from __future__ import annotations

import itertools
import re
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
from scipy import sparse as scipy_sparse

from fastmlp.engine import engine, layerwise
from fastmlp.errors import InputError, InputTypeError
from fastmlp.inputs.tables import is_sparse, table_of, without_zeros
from fastmlp.kernels import views
from fastmlp.kernels.compiler.jit import JIT_ENABLED, VECTOR_BYTES
from fastmlp.kernels.products import matmul, narrow, sparse
from fastmlp.kernels.products.tiles import sparse_width, tile_of_sparse_row, tile_width
from fastmlp.kernels.step.rows import SPARSE
from fastmlp.kernels.tuning import FEW_COLUMNS
from fastmlp.kernels.views import (
    Block,
    ByColumns,
    Csr,
    Inputs,
    Matrix,
    Panel,
    Panels,
    Tools,
    Weights,
)
from fastmlp.network import Network
from fastmlp.nn import Dense, Dropout, Layer, ReLU, Tanh
from fastmlp.nn.dense import product_for
from fastmlp.nn.losses import Loss, MeanSquaredError
from fastmlp.optim.optimizers import Adam

from ..support import Own, address_of, layer_by_layer

pytestmark = pytest.mark.thinned(1)

SENTINEL = -12345.0
DTYPES = [np.float32, np.float64]
both_types = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
needs_jit = pytest.mark.skipif(not JIT_ENABLED, reason="interpreted sums have another order")

# ---------------------------------------------------------------- kernels


class Rows(NamedTuple):
    """Sparse rows as kernels read them, and the dense matrix that they should see."""

    values: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    order: np.ndarray
    matrix: np.ndarray  # the rows in that order

    @property
    def csr(self) -> Csr:
        return Csr(*map(address_of, self[:3]))

    @property
    def order_at(self) -> int:
        return address_of(self.order)

    @property
    def batch(self) -> int:
        return len(self.order)


def sparse_rows(rng: np.random.Generator, n_in: int, dtype: Any, batch: int = 9) -> Rows:
    """Rows with 0, 1, 2, some and all non-zeros, visited in any order, some of them twice.

    Around the non-zeros are nans in a column too many, so a wrong count or start shows.
    """
    counts = [min(count, n_in) for count in (0, 1, 2, n_in // 2, n_in, 0, n_in, 1)]
    matrix = np.zeros((len(counts), n_in), dtype)
    columns = [np.sort(rng.permutation(n_in)[:count]) for count in counts]
    for row, chosen in zip(matrix, columns, strict=True):
        row[chosen] = rng.normal(size=chosen.size)
    gap, n_values = 3, sum(counts)
    values = np.full(n_values + 2 * gap, np.nan, dtype)
    indices = np.full(n_values + 2 * gap, n_in, np.int32)
    values[gap : gap + n_values] = matrix[matrix != 0]
    indices[gap : gap + n_values] = np.concatenate(columns)
    indptr = np.append(0, np.cumsum(counts)) + gap
    order = np.append(rng.permutation(len(counts)), rng.integers(0, len(counts), batch))[:batch]
    order = order.astype(np.int32)
    return Rows(values, indices, indptr, order, matrix[order])


def with_nan_row(W: np.ndarray) -> np.ndarray:
    """W with a row behind it that nobody may read."""
    return np.vstack([W, np.full((1, W.shape[1]), np.nan, W.dtype)])


def sentinels(size: int, dtype: Any) -> np.ndarray:
    return np.full(size, SENTINEL, dtype)


def forward(rows: Rows, W: np.ndarray, b: np.ndarray, out: np.ndarray, *block: int) -> np.ndarray:
    """Rows block[0]..block[1] and columns block[2]..block[3] of the product, into out."""
    padded, panel = with_nan_row(W), np.empty(tile_width(W.dtype.type(1)), W.dtype)
    product = sparse.sparse_forward_to_one if W.shape[1] == 1 else sparse.sparse_forward
    product(
        rows.csr, rows.order_at, Block(*block),
        Weights(address_of(padded), W.shape[1], address_of(b), *W.shape), address_of(out),
        address_of(panel), W.dtype.type(1),
    )  # fmt: skip
    return out


def weights(rows: Rows, d: np.ndarray, out: np.ndarray, *block: int) -> np.ndarray:
    """Features block[0]..block[1] and columns block[2]..block[3] of the gradient, into out.

    Sorted by columns they are the same.
    """
    (first, last, left, right), one, n_out = block, d.dtype.type(1), d.shape[1]
    n_in, n_values = rows.matrix.shape[1], int(np.diff(rows.indptr)[rows.order].sum())
    starts = np.full(n_in + 3, -7, np.int32)
    places, factors = np.full(n_values + 1, -7, np.int32), sentinels(n_values + 1, d.dtype)
    sorted_ = ByColumns(address_of(starts), address_of(places), address_of(factors))
    sparse.sort_by_columns(rows.csr, rows.order_at, rows.batch, first, last, n_in, sorted_, one)
    check_sorted(rows, first, last, starts, places, factors)
    zeros = np.append(np.zeros(n_out, d.dtype), np.full(1, np.nan, d.dtype))
    walked = out.copy()
    sparse.sparse_weight_gradient(
        rows.csr, rows.order_at, rows.batch, Matrix(address_of(d), n_out), Block(*block),
        Matrix(address_of(walked), n_out), one,
    )  # fmt: skip
    slopes = Matrix(address_of(d) + left * d.itemsize, n_out)
    place = Matrix(address_of(out) + (first * n_out + left) * d.itemsize, n_out)
    sparse.sorted_weight_gradient(
        sorted_, slopes, first, last, right - left, address_of(zeros), place, one
    )
    if JIT_ENABLED:
        np.testing.assert_array_equal(out, walked)
    return walked


def check_sorted(
    rows: Rows, first: int, last: int, starts: np.ndarray, places: np.ndarray, factors: np.ndarray
) -> None:
    """Column by column the batch's numbers in its order, and nothing written elsewhere."""
    matrix = np.zeros_like(rows.matrix)
    at = starts[first : last + 1]
    for column, (start, end) in enumerate(itertools.pairwise(at), first):
        assert (np.diff(places[start:end]) >= 0).all()
        np.add.at(matrix[:, column], places[start:end], factors[start:end])
    np.testing.assert_array_equal(matrix[:, first:last], rows.matrix[:, first:last])
    assert at[0] == np.count_nonzero(rows.matrix[:, :first])
    outside = np.r_[0 : at[0], at[-1] : len(places)]
    assert (places[outside] == -7).all()
    assert (factors[outside] == SENTINEL).all()
    assert (np.delete(starts, np.r_[first : last + 2]) == -7).all()


def check(
    out: np.ndarray, block: tuple[int, ...], left: np.ndarray, right: np.ndarray, add: Any = 0.0
) -> None:
    """A block of out is that of `left @ right + add`, all other numbers are sentinels.

    A chain of m fused operations is off by at most m eps / 2 times the sum of absolute terms; in
    interpreted kernels, and in the truth, products are rounded too.
    """
    eps = np.finfo(out.dtype).eps
    left, right, add = (np.asarray(part, np.float64) for part in (left, right, add))
    truth = left @ right + add
    bound = (left.shape[1] + 2) * eps * (np.abs(left) @ np.abs(right) + np.abs(add))
    first, last, start, stop = block
    got = out[: truth.size].reshape(truth.shape)
    inside = np.zeros(truth.shape, bool)
    inside[first:last, start:stop] = True
    assert (np.abs(got - truth)[inside] <= bound[inside]).all()
    assert (got[~inside] == SENTINEL).all(), "wrote outside its block"
    assert (out[truth.size :] == SENTINEL).all(), "wrote behind the last row"


def check_products(
    rng: np.random.Generator, dtype: Any, n_in: int, n_out: int, columns: tuple[int, int]
) -> None:
    """All rows and features, and a part of them, of both products with some of their columns."""
    rows = sparse_rows(rng, n_in, dtype)
    W, b = rng.normal(size=(n_in, n_out)).astype(dtype), rng.normal(size=n_out).astype(dtype)
    d = rng.normal(size=(rows.batch, n_out)).astype(dtype)
    for first, last in ((0, rows.batch), (2, 7), (4, 4)):
        out = forward(rows, W, b, sentinels(d.size + 7, dtype), first, last, *columns)
        check(out, (first, last, *columns), rows.matrix, W, b)
    for first, last in ((0, n_in), (n_in // 3, n_in - n_in // 4), (n_in, n_in)):
        out = weights(rows, d, sentinels(W.size + 7, dtype), first, last, *columns)
        check(out, (first, last, *columns), rows.matrix.T, d)


@pytest.mark.slow
@both_types
def test_every_number_of_columns(dtype: Any, rng: np.random.Generator) -> None:
    """Past two full tiles of the widest vectors in float32, at every edge of a tile."""
    assert 2 * sparse_width(dtype(1)) < 270
    for n_out in (*range(1, 141), 255, 256, 257, 270):
        check_products(rng, dtype, 7, n_out, (0, n_out))


@both_types
def test_every_range_of_columns(dtype: Any, rng: np.random.Generator) -> None:
    for n_out in (1, 5, 64, 133):
        for _ in range(12):
            left, right = np.sort(rng.integers(0, n_out + 1, 2))
            check_products(rng, dtype, 6, n_out, (int(left), int(right)))


@both_types
def test_every_number_of_features(dtype: Any, rng: np.random.Generator) -> None:
    for n_in in (*range(20), 300):
        for n_out in (1, 3, 40):
            check_products(rng, dtype, n_in, n_out, (0, n_out))


@pytest.mark.nojit
@pytest.mark.bounds
@pytest.mark.parametrize("n_in", [0, 1, 2, 9])
@pytest.mark.parametrize("n_out", [1, 2, VECTOR_BYTES // 2 + 3])
@both_types
def test_small_products(n_in: int, n_out: int, dtype: Any, rng: np.random.Generator) -> None:
    for columns in ((0, n_out), (n_out // 2, n_out), (0, n_out // 3), (1, 1)):
        check_products(rng, dtype, n_in, n_out, columns)


@numba.njit
def one_tile(values, indices, depth, b, b_stride, columns, bias, c, one):  # type: ignore[no-untyped-def]
    tile_of_sparse_row(values, indices, depth, Panel(b, b_stride, columns), bias, c, one)


@pytest.mark.nojit
@both_types
def test_one_tile(dtype: Any, rng: np.random.Generator) -> None:
    """Every width up to the widest: adds nothing to the columns on its right, and reads none."""
    width, n_in = int(sparse_width(dtype(1))), 5
    stride = width + 4
    B = rng.normal(size=(n_in, stride)).astype(dtype)
    for columns in range(1, width + 1):
        for depth in (0, 1, 3):
            indices = rng.permutation(n_in)[:depth].astype(np.int32)
            values, bias = rng.normal(size=depth).astype(dtype), np.full(width, np.nan, dtype)
            bias[:columns] = rng.normal(size=columns)
            hidden = B.copy()
            hidden[:, columns:] = np.nan
            hidden[np.setdiff1d(range(n_in), indices)] = np.nan
            out = sentinels(stride, dtype)
            one_tile(
                address_of(values), address_of(indices), depth, address_of(hidden),
                stride * hidden.itemsize, columns,
                address_of(bias), address_of(out), dtype(1),
            )  # fmt: skip
            left, right = values[np.newaxis], B[indices, :columns]
            check(out, (0, 1, 0, columns), left, right, bias[:columns])


@pytest.mark.nojit
@pytest.mark.bounds
@both_types
def test_rows_with_their_zeros(dtype: Any, rng: np.random.Generator) -> None:
    for n_in in (0, 1, 9):
        rows = sparse_rows(rng, n_in, dtype)
        for first, last in ((0, rows.batch), (2, 7), (3, 3)):
            out = sentinels(rows.matrix.size + 5, dtype)
            batch = views.Rows(rows.order_at, first, last)
            sparse.gather_sparse(rows.csr, batch, n_in, 1.0, address_of(out), dtype(1))
            got = out[: rows.matrix.size].reshape(rows.matrix.shape)
            np.testing.assert_array_equal(got[first:last], rows.matrix[first:last])
            assert (np.delete(got, np.r_[first:last], axis=0) == SENTINEL).all()
            assert (out[rows.matrix.size :] == SENTINEL).all()


@pytest.mark.nojit
@both_types
def test_numbers_in_one_place_are_added(dtype: Any) -> None:
    """As SciPy understands two entries for one column."""
    values, indices = np.array([1, 2, 4, 8], dtype), np.array([1, 0, 1, 2], np.int32)
    indptr, order = np.array([0, 3, 4], np.int64), np.array([1, 0], np.int32)
    rows = Rows(values, indices, indptr, order, np.array([[0, 0, 8], [2, 5, 0]], dtype))
    out = np.empty((2, 3), dtype)
    batch = views.Rows(rows.order_at, 0, 2)
    sparse.gather_sparse(rows.csr, batch, 3, 1.0, address_of(out), dtype(1))
    np.testing.assert_array_equal(out, rows.matrix)
    W, b = np.arange(6, dtype=dtype).reshape(3, 2), np.ones(2, dtype)
    Z = forward(rows, W, b, np.empty(4, dtype), 0, 2, 0, 2).reshape(2, 2)
    np.testing.assert_array_equal(Z, rows.matrix @ W + 1)
    d = np.array([[3, 1], [7, 5]], dtype)
    dW = weights(rows, d, np.empty(6, dtype), 0, 3, 0, 2).reshape(3, 2)
    np.testing.assert_array_equal(dW, rows.matrix.T @ d)


@needs_jit
@both_types
@pytest.mark.parametrize("n_out", [1, 2, 4, 5, 70, 140])
def test_products_have_the_bits_of_the_dense_ones(
    n_out: int, dtype: Any, rng: np.random.Generator
) -> None:
    """Whatever the block: a chain of fused multiply-adds does not notice a zero."""
    n_in, one = 23 if n_out % 2 else 500, dtype(1)  # sums in one part or in four
    rows = sparse_rows(rng, n_in, dtype, batch=17)
    W, b = rng.normal(size=(n_in, n_out)).astype(dtype), rng.normal(size=n_out).astype(dtype)
    d = rng.normal(size=(rows.batch, n_out)).astype(dtype)
    positions = np.arange(rows.batch, dtype=np.int32)
    x, stride, index = address_of(rows.matrix), n_in * one.itemsize, address_of(positions)
    Z, panel = sentinels(d.size, dtype), np.empty(n_in * tile_width(one), dtype)
    inputs = Inputs(x, stride, index)
    matmul.dense_forward(
        Tools(product_for(n_out).address(np.dtype(dtype)), 0, 0, address_of(panel)),
        inputs,
        Block(0, rows.batch, 0, n_out), Weights(address_of(W), n_out, address_of(b), n_in, n_out),
        Matrix(address_of(Z), n_out), one,
    )  # fmt: skip
    dW = sentinels(W.size, dtype)
    (narrow if n_out <= FEW_COLUMNS else matmul).weight_gradient(
        inputs, rows.batch, Panels(address_of(d), n_out, tile_width(one) * one.itemsize), n_in,
        n_out, Matrix(address_of(dW), n_out), one,
    )  # fmt: skip
    assert np.ptp(Z) > 1
    assert np.ptp(dW) > 1
    for row_ends, column_ends in (
        ((0, rows.batch), (0, n_out)),
        ((0, 3, 4, 11, rows.batch), (0, 1, n_out // 2, n_out)),
    ):
        out, gradient = sentinels(Z.size, dtype), sentinels(dW.size, dtype)
        for columns in itertools.pairwise(column_ends):
            for part in itertools.pairwise(row_ends):
                forward(rows, W, b, out, *part, *columns)
            for part in itertools.pairwise((0, n_in // 2, n_in)):
                weights(rows, d, gradient, *part, *columns)
        np.testing.assert_array_equal(out, Z)
        np.testing.assert_array_equal(gradient, dW)


@pytest.mark.nojit
@both_types
def test_nan_and_infinity_stay_in_their_own_row(dtype: Any) -> None:
    values, indices = np.array([1, np.nan, np.inf, 1], dtype), np.array([0, 1, 0, 1], np.int32)
    indptr, order = np.array([0, 1, 2, 3, 4], np.int64), np.arange(4, dtype=np.int32)
    rows = Rows(values, indices, indptr, order, np.empty((4, 2), dtype))
    Z = forward(rows, np.ones((2, 37), dtype), np.zeros(37, dtype), sentinels(4 * 37, dtype),
                0, 4, 0, 37).reshape(4, 37)  # fmt: skip
    assert np.isnan(Z[1]).all()
    assert (Z[2] == np.inf).all()
    np.testing.assert_array_equal(Z[[0, 3]], np.ones((2, 37)))


# ---------------------------------------------------------------- tables


@pytest.mark.nojit
@both_types
def test_a_table_of_the_networks_type_is_the_users_memory(dtype: Any) -> None:
    X = scipy_sparse.csr_array(np.eye(4, 5, dtype=dtype))
    table = table_of(X, np.dtype(dtype))
    assert np.shares_memory(table.values, X.data)
    assert np.shares_memory(table.indices, X.indices)
    assert (table.indices.dtype, table.indptr.dtype) == (np.int32, np.int64)
    assert (table.kind, table.n_rows, table.n_columns) == (SPARSE, 4, 5)
    assert table.usable_as(np.dtype(dtype))
    np.testing.assert_array_equal(table.indptr, X.indptr)


@pytest.mark.nojit
@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.int64, np.float64, ">f4"])
def test_of_another_type_only_the_non_zeros_are_converted(kind: Any) -> None:
    X = scipy_sparse.csr_array(np.eye(3, dtype=np.float32))
    X.data = X.data.astype(kind)
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    table = table_of(X, np.dtype(np.float32))
    assert table.values.dtype == np.float32
    assert table.indices.dtype == np.int32
    np.testing.assert_array_equal(table.values, np.ones(3))
    assert np.shares_memory(table.indptr, X.indptr)


@pytest.mark.nojit
def test_what_is_sparse() -> None:
    assert is_sparse(scipy_sparse.csr_array((2, 3)))
    assert is_sparse(scipy_sparse.dok_matrix((2, 3)))
    for dense in (np.eye(2), [[1.0]], "text", None):
        assert not is_sparse(dense)


def mostly_zero(rng: np.random.Generator, share: float, shape: tuple[int, int]) -> np.ndarray:
    return np.where(rng.random(shape) < share, rng.normal(size=shape), 0)


@pytest.mark.nojit
@pytest.mark.parametrize("order", ["C", "F", "every other"])
@pytest.mark.parametrize("kind", DTYPES)
@both_types
def test_without_zeros_is_scipys_form(
    dtype: Any, kind: Any, order: str, rng: np.random.Generator
) -> None:
    """Of any memory order and type, and of more rows than are compressed at a time."""
    X = mostly_zero(rng, 0.12, (1030 if JIT_ENABLED else 40, 256)).astype(kind)
    X[[0, 7, -1]] = 0
    X[9] = 1
    X = X[::2, ::2] if order == "every other" else np.asarray(X, order=order)  # type: ignore[call-overload]
    found, wanted = without_zeros(X, np.dtype(dtype), 200), scipy_sparse.csr_array(X.astype(dtype))
    assert found.shape == wanted.shape
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), err_msg=name)
    assert found.dtype == dtype
    assert found.has_sorted_indices


@pytest.mark.nojit
def test_only_where_it_is_faster(rng: np.random.Generator) -> None:
    double = np.dtype(np.float64)
    X = mostly_zero(rng, 0.1, (50, 200))
    assert is_sparse(without_zeros(X, double, 100))
    assert without_zeros(X, double, 4) is X
    narrow = X[:, :60]
    assert without_zeros(narrow, double, 100) is narrow
    full = mostly_zero(rng, 0.3, (50, 200))
    assert without_zeros(full, double, 100) is full
    fuller = np.concatenate([np.zeros((60, 200)), np.ones((68, 200))])
    fuller = fuller[np.argsort(np.arange(128) % 2, kind="stable")]  # zeros where it looks first
    assert without_zeros(fuller, double, 100) is fuller


# ---------------------------------------------------------------- networks

N, N_FEATURES, N_OUTPUTS = 23, 11, 3
FIT = {"epochs": 2, "batch_size": 8}  # the last batch of 23 rows has 7

FORMATS: dict[str, Callable[[Any], Any]] = {
    "csr_matrix": scipy_sparse.csr_matrix,
    "csr_array": scipy_sparse.csr_array,
    "csc_matrix": scipy_sparse.csc_matrix,
    "csc_array": scipy_sparse.csc_array,
    "coo_matrix": scipy_sparse.coo_matrix,
    "coo_array": scipy_sparse.coo_array,
    "lil_array": scipy_sparse.lil_array,
    "dok_array": scipy_sparse.dok_array,
    "bsr_array": scipy_sparse.bsr_array,  # which stores zeros inside its blocks
}
every_format = pytest.mark.parametrize("name", FORMATS)


FIRST: dict[str, Callable[[], list[Layer]]] = {
    "Dense": lambda: [Dense(7), Tanh(), Dropout(0.2)],
    "Dropout": lambda: [Dropout(0.3), Dense(7), ReLU()],
    "activation": lambda: [Tanh(), Dense(7), ReLU()],
    "dropout twice": lambda: [Dropout(0.3), Dropout(0.1), Dense(7)],
    "nothing but Dense": list,
    "wide": lambda: [Dense(300), Tanh()],
    "Dense, then a user-defined layer": lambda: [Dense(7), Own(), Tanh()],
    "a user-defined layer": lambda: [Own(), Dense(7), Tanh()],
}
every_first = pytest.mark.parametrize("first", FIRST)


def data(rng: np.random.Generator, kind: Any = np.float64) -> np.ndarray:
    """Rows and columns of all fillings: empty ones, single non-zeros, and full ones."""
    X = rng.integers(1, 9, (N, N_FEATURES)) * (rng.random((N, N_FEATURES)) < 0.25)
    X[[0, 9, N - 1]] = 0
    X[:, [4, N_FEATURES - 1]] = 0
    X[3] = rng.integers(1, 9, N_FEATURES)
    X[5], X[5, 2] = 0, 3
    factor = 1 / 7 if np.dtype(kind).kind == "f" else 1
    return (X * factor).astype(kind)


def trace(first: str, X: Any, dtype: Any, **options: Any) -> dict[str, Any]:
    """Everything that a network says of X, and is after it."""
    y, weight = np.arange(N) % N_OUTPUTS, np.linspace(0, 2, N)
    network = Network([*FIRST[first](), Dense(N_OUTPUTS)], dtype=np.dtype(dtype).name, l2=1e-3)
    options = {"validation_data": (X, y), "sample_weight": weight, **FIT, **options}
    history = network.fit(X, y, **options)
    loss, gradient = network.loss_and_gradient(X, y, weight)
    return {
        "parameters": network.params.copy(),
        "losses": (history.loss, history.validation_loss, history.validation_score),
        "outputs": network.outputs(X),
        "probabilities": network.predict_proba(X),
        "labels": network.predict(X),
        "score": network.score(X, y),
        "evaluation": network.evaluate(X, y, weight),
        "loss": loss,
        "gradient": gradient,
    }


def assert_same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """The same bits; interpreted sums have another order, so there only nearly the same."""
    assert np.ptp(wanted["parameters"]) > 0
    assert wanted["gradient"].any()
    single = wanted["parameters"].dtype == np.float32
    for key, value in wanted.items():
        if JIT_ENABLED:
            np.testing.assert_array_equal(found[key], value, err_msg=key)
        else:
            tolerance = 1e-5 if single else 1e-12
            np.testing.assert_allclose(
                found[key], value, rtol=tolerance, atol=tolerance, err_msg=key
            )


@pytest.mark.thinned
@every_first
@every_format
@both_types
def test_sparse_equals_dense(first: str, name: str, dtype: Any, rng: np.random.Generator) -> None:
    X = data(rng, dtype)
    wanted = trace(first, X, dtype)
    for n_threads in (1, 2):
        assert_same(trace(first, FORMATS[name](X), dtype, n_threads=n_threads), wanted)


@pytest.mark.nojit
@pytest.mark.bounds
@pytest.mark.parametrize("first", [name for name in FIRST if name != "wide"])
@pytest.mark.parametrize("name", ["csr_matrix", "csc_array"])
@both_types
def test_sparse_equals_dense_in_one_epoch(
    first: str, name: str, dtype: Any, rng: np.random.Generator
) -> None:
    X = data(rng, dtype)
    wanted = trace(first, X, dtype, epochs=1)
    assert_same(trace(first, FORMATS[name](X), dtype, epochs=1), wanted)


@needs_jit
@both_types
@pytest.mark.parametrize("n_threads", [1, 2, 3, 5])
def test_wide_layers_give_the_bits_of_dense_rows(
    n_threads: int, dtype: Any, rng: np.random.Generator
) -> None:
    """With and without gathered inputs, with all that needs another meeting of the threads."""
    X = np.vstack([data(rng, dtype)] * 5)
    y, options = np.arange(len(X)) % 4, {"epochs": 2, "batch_size": 50}
    for inner in ([], [Dropout(0.2)]):
        results = []
        for rows, count in ((X, 1), (scipy_sparse.csr_array(X), n_threads)):
            layers = [Dense(300, max_norm=0.5), ReLU(), Dense(4)]
            begin = [Dropout(layer.rate) for layer in inner]
            network = Network([*begin, *layers], dtype=np.dtype(dtype).name, l1=1e-4)
            optimizer = Adam(0.01, clip_norm=0.1)
            if count > 1:
                built = network.build(N_FEATURES)
                table = table_of(rows, built.dtype)
                made = engine.Engine(built, table, 50, n_threads=count)
                made.link()
                assert (made.samples["gather"] != 0) == bool(inner)
            history = network.fit(rows, y, optimizer=optimizer, n_threads=count, **options)
            results.append((network.params, history.loss))
        np.testing.assert_array_equal(results[0][0], results[1][0])
        assert results[0][1] == results[1][1]


@pytest.mark.nojit
@both_types
def test_both_paths_agree(dtype: Any, rng: np.random.Generator) -> None:
    """Fused and layer by layer, on sparse rows."""
    X = FORMATS["csr_array"](data(rng, dtype))
    for first in ("Dense", "Dropout"):
        fused = trace(first, X, dtype)
        with pytest.MonkeyPatch.context() as patch:
            layer_by_layer(patch)
            layered = trace(first, X, dtype)
        for key, value in fused.items():
            np.testing.assert_array_equal(layered[key], value, err_msg=key)


@pytest.mark.nojit
def test_the_layer_path_keeps_rows_sparse(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """A first Dense layer is given what the user gave, not its dense form."""
    seen = []
    plain = Dense.forward

    def forward(self: Dense, X: Any, training: bool = False) -> Any:
        seen.append(is_sparse(X))
        return plain(self, X, training)

    network = Network([Dense(N_FEATURES, 7), Own(), Dense(7, N_OUTPUTS)])
    monkeypatch.setattr(Dense, "forward", forward)
    layerwise.forward(network, FORMATS["csr_array"](data(rng)))
    assert seen == [True, False]


KINDS = [np.bool_, np.uint8, np.int8, np.int32, np.int64, np.uint64, np.float32, np.float64]


@pytest.mark.nojit
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", ["Dense", "Dropout"])
@both_types
def test_every_type_of_number(kind: Any, first: str, dtype: Any, rng: np.random.Generator) -> None:
    """Also where a float32 network is given whole numbers or float64."""
    X = data(rng, kind)
    found = trace(first, FORMATS["csr_array"](X), dtype, epochs=1)
    assert_same(found, trace(first, X, dtype, epochs=1))


def stored(X: np.ndarray, **arrays: Any) -> Any:
    """CSR form of X with some of its arrays replaced."""
    matrix = scipy_sparse.csr_array(X)
    parts = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr} | arrays
    return scipy_sparse.csr_array(tuple(parts.values()), shape=X.shape)


def reversed_rows(matrix: Any) -> Any:
    """The same matrix with the entries of each row in reverse."""
    found = matrix.copy()
    for start, stop in itertools.pairwise(matrix.indptr):
        found.indices[start:stop] = matrix.indices[start:stop][::-1]
        found.data[start:stop] = matrix.data[start:stop][::-1]
    found.has_sorted_indices = False
    return found


def with_zeros(matrix: Any) -> Any:
    """The same matrix with all zeros stored."""
    full = np.ones(matrix.shape, bool)
    indptr = np.arange(matrix.shape[0] + 1) * matrix.shape[1]
    return stored(
        matrix.toarray(), data=matrix.toarray().ravel(), indices=np.nonzero(full)[1], indptr=indptr
    )


def read_only(matrix: Any) -> Any:
    for part in (matrix.data, matrix.indices, matrix.indptr):
        part.flags.writeable = False
    return matrix


def wide_indices(matrix: Any) -> Any:
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)
    return matrix


STORED: dict[str, Callable[[Any], Any]] = {
    "unsorted": reversed_rows,
    "stored zeros": with_zeros,
    "read-only": read_only,
    "int64 indices": wide_indices,
    "some rows of another": lambda matrix: scipy_sparse.vstack([matrix, matrix]).tocsr()[:N],
}


@pytest.mark.nojit
@pytest.mark.parametrize("first", ["Dense", "Dropout"])
@pytest.mark.parametrize("way", STORED)
def test_every_way_to_store_a_matrix(way: str, first: str, rng: np.random.Generator) -> None:
    """The same bits, and the user's matrix is left as it was."""
    dense = data(rng, np.float32)
    X = STORED[way](scipy_sparse.csr_array(dense))
    before = [part.copy() for part in (X.data, X.indices, X.indptr)]
    np.testing.assert_array_equal(X.toarray(), dense)
    assert_same(trace(first, X, "float32", epochs=1), trace(first, dense, "float32", epochs=1))
    for part, old in zip((X.data, X.indices, X.indptr), before, strict=True):
        np.testing.assert_array_equal(part, old)


@pytest.mark.nojit
def test_arrays_may_be_longer_than_their_matrix(rng: np.random.Generator) -> None:
    """As SciPy allows; what stands behind the last row is not a part of the matrix."""
    dense = data(rng)
    X = scipy_sparse.csr_array(dense)
    X.data = np.append(X.data, [np.nan] * 3)
    X.indices = np.append(X.indices, [10**6] * 3).astype(np.int32)
    found = trace("Dense", X, "float64", epochs=1)
    assert_same(found, trace("Dense", dense, "float64", epochs=1))


@pytest.mark.nojit
@pytest.mark.parametrize("first", ["Dense", "Dropout"])
@both_types
def test_duplicates_are_summed(first: str, dtype: Any, rng: np.random.Generator) -> None:
    """Each number in two halves; halves are exact, so only the order of sums differs."""
    dense = data(rng, dtype)
    whole = scipy_sparse.csr_array(dense)
    X = stored(
        dense, data=np.repeat(whole.data / 2, 2).astype(dtype), indptr=whole.indptr * 2,
        indices=np.repeat(whole.indices, 2),
    )  # fmt: skip
    assert not X.has_canonical_format
    found, wanted = (trace(first, matrix, dtype, epochs=1) for matrix in (X, dense))
    tolerance = 1e-5 if dtype is np.float32 else 1e-13
    for key, value in wanted.items():
        np.testing.assert_allclose(found[key], value, rtol=tolerance, atol=tolerance, err_msg=key)
    assert X.nnz == 2 * whole.nnz


@pytest.mark.nojit
def test_a_matrix_of_zeros(rng: np.random.Generator) -> None:
    dense = np.zeros((N, N_FEATURES))
    for first in ("Dense", "Dropout"):
        found = trace(first, scipy_sparse.csr_array(dense.shape), "float64", epochs=1)
        assert_same(found, trace(first, dense, "float64", epochs=1))


@pytest.mark.nojit
def test_formats_can_change_from_call_to_call(rng: np.random.Generator) -> None:
    """A network that was trained on dense rows reads sparse ones, and the other way round."""
    X, y = data(rng), np.arange(N) % N_OUTPUTS
    network = Network([Dense(7), ReLU(), Dense(N_OUTPUTS)], dtype="float64")
    network.fit(FORMATS["csc_matrix"](X), y, validation_data=(X, y), **FIT)
    other = Network([Dense(7), ReLU(), Dense(N_OUTPUTS)], dtype="float64")
    other.fit(X, y, validation_data=(FORMATS["coo_array"](X), y), **FIT)
    tolerance = 0 if JIT_ENABLED else 1e-12
    np.testing.assert_allclose(network.params, other.params, rtol=0, atol=tolerance)
    found = network.predict_proba(FORMATS["csr_array"](X))
    np.testing.assert_allclose(found, other.predict_proba(X), rtol=0, atol=tolerance)
    one_row = network.predict_proba(FORMATS["csr_array"](X)[3:4])
    np.testing.assert_allclose(one_row, found[3:4], rtol=0, atol=tolerance)


@needs_jit
@both_types
def test_predictions_in_blocks(dtype: Any, rng: np.random.Generator) -> None:
    """More rows than a block, on every path: rows keep their bits and their places."""
    X = np.vstack([data(rng, dtype)[rng.permutation(N)] for _ in range(30)])
    for first in FIRST:
        network = Network([*FIRST[first](), Dense(2)], MeanSquaredError(), dtype=dtype)
        network.build(N_FEATURES)
        found = network.predict_proba(FORMATS["csr_array"](X))
        np.testing.assert_array_equal(found, network.predict_proba(X))
        assert np.ptp(found) > 0
    loss = network.loss_and_gradient(FORMATS["csr_array"](X), X[:, :2])
    np.testing.assert_array_equal(loss[1], network.loss_and_gradient(X, X[:, :2])[1])


# ---------------------------------------------------------------- refusals

MISFIT = (
    ": expected X as a valid sparse matrix, got one whose indices do not fit its shape; build it "
    "again, for example with scipy.sparse.csr_array"
)


def changed(part: str, place: int, value: int) -> Callable[[Any], None]:
    def change(matrix: Any) -> None:
        getattr(matrix, part)[place] = value

    return change


def shortened(part: str) -> Callable[[Any], None]:
    def change(matrix: Any) -> None:
        setattr(matrix, part, getattr(matrix, part)[:-1])

    return change


SPOILT: dict[str, Callable[[Any], None]] = {
    "a column that there is not": changed("indices", 1, N_FEATURES),
    "a column far away": changed("indices", 0, 2**31 - 1),
    "a negative column": changed("indices", -1, -1),
    "rows that end before they start": changed("indptr", 4, 10**6),
    "a row that ends too early": changed("indptr", 6, 0),
    "a negative start": changed("indptr", 2, -5),
    "a first row that starts late": changed("indptr", 0, 1),
    "more entries than there are": changed("indptr", -1, 10**6),
    "fewer rows": shortened("indptr"),
    "fewer columns than numbers": shortened("indices"),
    "fewer numbers than columns": shortened("data"),
}
CALLS: dict[str, Callable[[Network, Any, np.ndarray], Any]] = {
    "fit": lambda network, X, y: network.fit(X, y),
    "outputs": lambda network, X, y: network.outputs(X),
    "predict": lambda network, X, y: network.predict(X),
    "predict_proba": lambda network, X, y: network.predict_proba(X),
    "evaluate": lambda network, X, y: network.evaluate(X, y),
    "loss_and_gradient": lambda network, X, y: network.loss_and_gradient(X, y),
}


@pytest.fixture(scope="module")
def trained() -> tuple[Network, np.ndarray, np.ndarray]:
    X, y = data(np.random.default_rng(0)), np.arange(N) % N_OUTPUTS
    network = Network([Dense(7), ReLU(), Dense(N_OUTPUTS)])
    network.fit(X, y, epochs=1)
    return network, X, y


Trained = tuple[Network, np.ndarray, np.ndarray]


@pytest.mark.nojit
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", SPOILT)
@pytest.mark.parametrize("make", [scipy_sparse.csr_array, scipy_sparse.csr_matrix])
def test_a_matrix_that_was_spoilt_is_refused(
    make: Any, fault: str, call: str, trained: Trained
) -> None:
    """Before any kernel reads it, and before the network changes."""
    network, dense, y = trained
    X, before = make(dense), network.params.copy()
    SPOILT[fault](X)
    with pytest.raises(InputError, match=f"^{re.escape(f'Network.{call}{MISFIT}')}$"):
        CALLS[call](network, X, y)
    np.testing.assert_array_equal(network.params, before)


@pytest.mark.nojit
@pytest.mark.parametrize("fault", [f for f in SPOILT if f != "a column that there is not"])
def test_a_matrix_of_columns_that_was_spoilt_is_refused(fault: str, trained: Trained) -> None:
    """SciPy's own conversion to CSR would crash; the number left out is a row that there is."""
    X = scipy_sparse.csc_array(trained[1])
    SPOILT[fault](X)
    with pytest.raises(InputError, match=re.escape(f"Network.predict{MISFIT}")):
        trained[0].predict(X)


@pytest.mark.nojit
@pytest.mark.parametrize("axis", ["row", "col"])
@pytest.mark.parametrize("place", [2**31 - 1, N, -1])
@pytest.mark.parametrize("make", [scipy_sparse.coo_array, scipy_sparse.coo_matrix])
def test_places_outside_a_coordinate_matrix_are_refused(
    make: Any, place: int, axis: str, trained: Trained
) -> None:
    """SciPy's own conversion to CSR would crash the process."""
    X = make(trained[1])
    getattr(X, axis)[1] = place
    with pytest.raises(InputError, match=re.escape(f"Network.predict{MISFIT}")):
        trained[0].predict(X)


@pytest.mark.nojit
def test_a_loss_of_ones_own_scores_sparse_rows(rng: np.random.Generator) -> None:
    class Halved(Loss):
        name = "halved"

        def value_and_gradient(self, outputs: Any, targets: Any, sample_weight: Any) -> Any:
            r = outputs - targets
            return float((r**2).mean() / 2), r / r.size

    X, y = data(rng), rng.normal(size=N)
    network = Network([Dense(1)], Halved(), dtype="float64")
    network.fit(scipy_sparse.csr_array(X), y, epochs=2, validation_data=(X, y))
    assert network.score(scipy_sparse.csc_array(X), y) == network.score(X, y)


@pytest.mark.nojit
@pytest.mark.parametrize("fault", SPOILT)
def test_a_layer_alone_refuses_a_spoilt_matrix(fault: str, rng: np.random.Generator) -> None:
    layer, X = Dense(N_FEATURES, 4), scipy_sparse.csr_array(data(rng))
    layer.forward(X)
    SPOILT[fault](X)
    with pytest.raises(InputError, match=re.escape(f"{layer!r}.forward{MISFIT}")):
        layer.forward(X)


@pytest.mark.nojit
def test_other_refusals(trained: Trained) -> None:
    """Shapes as for dense rows; nan and infinity by their place."""
    network, dense, y = trained
    with pytest.raises(InputError) as caught:
        network.predict(scipy_sparse.csr_array(dense[:, :-1]))
    assert str(caught.value) == (
        "Network.predict: expected X of shape (n, 11), got an array of shape (23, 10); "
        "pass the columns the network was built for"
    )
    for empty in ((0, N_FEATURES), (N, 0)):
        with pytest.raises(InputError, match="at least one row and column"):
            network.fit(scipy_sparse.csc_array(empty), y[: empty[0]])
    with pytest.raises(InputError, match=r"y with 23 rows, as X has, got 22"):
        network.fit(scipy_sparse.csr_array(dense), y[1:])
    for value, what in ((np.nan, "nan"), (-np.inf, "an infinity")):
        X = scipy_sparse.csc_array(dense)
        X.data[:] = 1
        X[5, 2] = value
        with pytest.raises(InputError) as caught:
            network.score(X, y)
        assert str(caught.value) == (
            f"Network.evaluate: expected X to be finite, got {what} in row 5, column 2; "
            "remove, replace or impute it"
        )
    with pytest.raises(InputTypeError, match="numbers, got dtype complex128"):
        network.predict(scipy_sparse.csr_array(dense.astype(complex)))
    with pytest.raises(InputTypeError, match="y as a dense array, got csr_matrix"):
        network.fit(dense, scipy_sparse.csr_matrix(np.eye(N, 3)))


# ---------------------------------------------------------------- memory


@pytest.fixture(scope="module")
def wide() -> tuple[Any, np.ndarray]:
    """2000 rows of 50 non-zeros in 50,000 columns; dense, 400 MB in float32."""
    n, n_columns, count = 2000, 50_000, 50
    rng = np.random.default_rng(0)
    indices = np.sort(rng.integers(0, n_columns, (n, count)), axis=1).ravel()
    values = rng.normal(size=n * count).astype(np.float32)
    X = scipy_sparse.csr_array((values, indices, np.arange(n + 1) * count), shape=(n, n_columns))
    X.sum_duplicates()
    return X, np.arange(n) % 3


CALLS_OF_ALL: dict[str, Callable[[Network, Any, np.ndarray], Any]] = {
    "fit": lambda network, X, y: network.fit(X, y, epochs=1),
    "fit on two threads": lambda network, X, y: network.fit(
        X, y, epochs=1, n_threads=2, batch_size=512
    ),
    "predict_proba": lambda network, X, y: network.predict_proba(X),
    "score": lambda network, X, y: network.score(X, y),
    "loss_and_gradient": lambda network, X, y: network.loss_and_gradient(X, y),
}


@needs_jit
@pytest.mark.parametrize("call", CALLS_OF_ALL)
def test_wide_rows_stay_sparse(call: str, wide: tuple[Any, np.ndarray]) -> None:
    """Nothing as large as a tenth of the dense matrix is ever made, nor a batch of its rows."""
    X, y = wide
    network = Network([Dense(8), ReLU(), Dense(3)])
    network.fit(X[:10], y[:10], epochs=1)  # compiles what a trace would count
    dense_size = X.shape[0] * X.shape[1] * 4
    tracemalloc.start()
    try:
        CALLS_OF_ALL[call](network, X, y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < dense_size / 10


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("first", "width"), [("Dense", 7), ("Dropout", 7), ("activation", 7), ("nothing but Dense", 3)]
)
def test_no_room_is_made_for_a_gradient_of_the_inputs(first: str, width: int) -> None:
    """However many columns they have; where they are dropped out first, too."""
    network = Network([*FIRST[first](), Dense(N_OUTPUTS)]).build(1000)
    table = table_of(scipy_sparse.csr_array((4, 1000)), network.dtype)
    assert engine.Engine(network, table, 4).space["gradient_width"] == width
