"""The matrix products against NumPy in float64, at every edge that a register tile can have.

Whatever a product may not read is nan and whatever it may not write is a sentinel, so that a wrong
offset, stride, range or mask shows up in the numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import pytest

from fastmlp.kernels.compiler.jit import VECTOR_BYTES
from fastmlp.kernels.products import blocking, matmul, narrow, sums
from fastmlp.kernels.products.tiles import tile_width
from fastmlp.kernels.step import rows as kernel_rows
from fastmlp.kernels.tuning import DEPTH, FEW_COLUMNS, PACK_ROWS, TILE_ROWS
from fastmlp.kernels.views import (
    Block,
    Inputs,
    Matrix,
    Panels,
    Span,
    Sums,
    Tools,
    Weights,
)
from fastmlp.nn.dense import input_gradient_for, product_for

from ..support import address_of

pytestmark = pytest.mark.thinned(1)

DTYPES = [np.float32, np.float64]
POSITIONS = np.arange(4096, dtype=np.int32)
SENTINEL = -12345.0
EDGES = range(1, 71)  # past two full tiles of the widest vectors in float32
# Few sizes with a different remainder for every tile height, and less and more than a full tile.
FEW = (0, 1, 2, 7, 33)

both_types = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])


class Rows(NamedTuple):
    """A matrix as the products read it: an address, the stride of a table, and its row order."""

    memory: np.ndarray
    offset: int
    stride: int
    order: np.ndarray
    matrix: np.ndarray  # what they should see: the rows in that order

    @property
    def inputs(self) -> Inputs:
        return Inputs(address_of(self.memory) + self.offset, self.stride, address_of(self.order))


def as_table(
    array: np.ndarray, order: Iterable[int] | None = None, gap: int = 0, offset: int = 0
) -> Rows:
    """The rows of an array, `gap` numbers apart, behind `offset` numbers; all else reads as nan."""
    n, width = array.shape
    memory = np.full(offset + n * (width + gap), np.nan, array.dtype)
    memory[offset:].reshape(n, width + gap)[:, :width] = array
    chosen = np.arange(n, dtype=np.int32) if order is None else np.array(order, np.int32)
    size = array.itemsize
    return Rows(memory, offset * size, (width + gap) * size, chosen, array[chosen])


def shuffled_table(rng: np.random.Generator, n: int, width: int, dtype: Any) -> Rows:
    """A table with three rows more than the order asks for, n of them, and one row used twice."""
    order = rng.permutation(n + 3)[:n]
    if n > 2:
        order[-1] = order[0]
    array = rng.normal(size=(n + 3, width)).astype(dtype)
    return as_table(array, order, gap=int(rng.integers(4)), offset=int(rng.integers(4)))


def inside_nan(array: np.ndarray, before: int = 3) -> tuple[np.ndarray, int]:
    """The array's numbers in flat memory between nans, and where they start."""
    memory = np.full(before + array.size + 5, np.nan, array.dtype)
    memory[before : before + array.size] = array.ravel()
    return memory, before


def scratch(depth: int, like: np.ndarray) -> np.ndarray:
    return np.full(depth * tile_width(like.dtype.type(1)) + 7, np.nan, like.dtype)


def room(n_in: int, n_out: int, like: np.ndarray) -> np.ndarray:
    return np.full(blocking.room(n_in, n_out, like.itemsize) + 7, np.nan, like.dtype)


def at(memory: np.ndarray, start: int = 0) -> int:
    return address_of(memory) + start * memory.itemsize


def tools_for(n_in: int, n_out: int, panel: np.ndarray) -> Tools:
    """What a product with W (n_in, n_out) works with."""
    return Tools(product_for(n_out).address(panel.dtype), 0, at(POSITIONS), at(panel))


def forward(
    rows: Rows, W: np.ndarray, b: np.ndarray, first: int, last: int, out: np.ndarray,
    left: int = 0, right: int | None = None, panel: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    n_in, n_out = W.shape
    panel = room(n_in, n_out, out) if panel is None else panel
    flat_W, flat_b = inside_nan(W), inside_nan(b, 2)
    block = Block(first, last, left, n_out if right is None else right)
    weights = Weights(at(*flat_W), n_out, at(*flat_b), n_in, n_out)
    tools = tools_for(n_in, n_out, panel)
    packed, one = out.copy(), out.dtype.type(1)
    matmul.dense_forward(tools, rows.inputs, block, weights, Matrix(at(out), n_out), one)
    if n_out > 1:
        place = Matrix(at(packed), n_out)
        matmul.dense_forward_packed(tools, rows.inputs, block, weights, place, one)
        np.testing.assert_array_equal(packed, out)
    assert np.isnan(panel[-7:]).all(), "wrote behind the panel"
    return out


def backward(
    rows: Rows, W: np.ndarray, first: int, last: int, out: np.ndarray, left: int = 0,
    right: int | None = None,
) -> np.ndarray:  # fmt: skip
    n_in, n_out = W.shape
    one = out.dtype.type(1)
    panel, flat_W = room(n_in, n_out, out), inside_nan(W)
    zeros = np.zeros(tile_width(one), out.dtype)
    # The rows in reverse, read in reverse: an order that is not 0, 1, 2, ...
    d, order = inside_nan(rows.matrix[::-1]), np.arange(len(rows.matrix), dtype=np.int32)[::-1]
    order = np.ascontiguousarray(order)
    kernel = matmul.product_of_panel.address(out.dtype)
    tools = Tools(kernel, at(zeros), at(POSITIONS), at(panel))
    slopes = Inputs(at(*d), n_out * out.itemsize, address_of(order))
    block = Block(first, last, left, n_in if right is None else right)
    weights = Weights(at(*flat_W), n_out, 0, n_in, n_out)
    product = input_gradient_for(n_out) if n_out else matmul.input_gradient
    product(tools, slopes, block, weights, Matrix(at(out), n_in), one)
    assert np.isnan(panel[-7:]).all(), "wrote behind the panel"
    assert not zeros.any()
    return out


def weights(
    rows: Rows, d: np.ndarray, first: int, last: int, out: np.ndarray, start: int = 0,
    left: int = 0, right: int | None = None,
) -> np.ndarray:  # fmt: skip
    """Of dZ in place and, which must be the same, of packed panels and rows."""
    batch, n_out = d.shape
    right, one, size = n_out if right is None else right, out.dtype.type(1), out.itemsize
    width, flat = tile_width(one), inside_nan(d)
    x, stride, order = rows.inputs
    place = Matrix(at(out, start + first * n_out + left), n_out)
    sizes = (last - first, right - left, place, one)
    panels, table = scratch(batch * (-(-(right - left) // width)), out), scratch(1, out)
    source = Matrix(at(*flat) + left * size, n_out)
    matmul.pack_columns(source, batch, right - left, at(panels), one)
    if last > first and batch:
        table = np.full(batch * (last - first), np.nan, out.dtype)
        source, width_ = Inputs(x + first * size, stride, order), last - first
        kernel_rows.copy_rows(source, 0, batch, width_, Matrix(at(table), width_), one)
    index = np.arange(batch, dtype=np.int32)
    inputs = Inputs(at(table), (last - first) * size, address_of(index))
    in_panels = Panels(at(panels), width, batch * width * size)
    product = (narrow if right - left <= FEW_COLUMNS else matmul).weight_gradient
    product(inputs, batch, in_panels, *sizes)
    packed, inputs = out.copy(), Inputs(x + first * size, stride, order)
    in_place = Panels(at(*flat) + left * size, n_out, width * size)
    product(inputs, batch, in_place, *sizes)
    np.testing.assert_array_equal(out, packed)
    return out


def biases(d: np.ndarray, first: int, last: int, out: np.ndarray, start: int = 0) -> np.ndarray:
    batch, n_out = d.shape
    flat = inside_nan(d)
    place = at(out, start + first)
    matmul.bias_gradient(at(*flat), batch, first, last, n_out, place, out.dtype.type(1))
    return out


def sentinels(size: int, dtype: Any) -> np.ndarray:
    return np.full(size, SENTINEL, dtype)


def check(
    out: np.ndarray, first: int, last: int, left: np.ndarray, right: np.ndarray, add: Any = 0.0
) -> None:
    """Rows first..last of out are those of `left @ right + add`; all other numbers are sentinels.

    A chain of m rounded operations is off by at most m eps / 2 times the sum of absolute terms; the
    other half of eps is NumPy's, in float64.
    """
    eps = np.finfo(out.dtype).eps
    left, right, add = (np.asarray(part, np.float64) for part in (left, right, add))
    shape, depth = (left.shape[0], right.shape[1]), right.shape[0]
    truth = np.broadcast_to(left @ right + add, shape)
    bound = (depth + 1) * eps * (np.abs(left) @ np.abs(right) + np.abs(add))
    got = out[: truth.size].reshape(shape)
    off = np.abs(got[first:last] - truth[first:last])
    np.testing.assert_array_less(off, bound[first:last] + 1e-300, strict=False)
    outside = np.concatenate([got[:first].ravel(), got[last:].ravel(), out[truth.size :]])
    assert (outside == SENTINEL).all(), "wrote outside its range"
    if depth > 1 and (last - first) * shape[1] > 3:
        assert np.ptp(got[first:last]) > 0, "nothing varies"


def check_forward(rng: np.random.Generator, dtype: Any, n: int, n_in: int, n_out: int) -> None:
    rows = shuffled_table(rng, n, n_in, dtype)
    W, b = rng.normal(size=(n_in, n_out)).astype(dtype), rng.normal(size=n_out).astype(dtype)
    first, last = (0, n) if n < 3 else (1, n - 1)
    out = forward(rows, W, b, first, last, sentinels(n * n_out + 9, dtype))
    check(out, first, last, rows.matrix, W, b)


def check_backward(rng: np.random.Generator, dtype: Any, n: int, n_in: int, n_out: int) -> None:
    rows = shuffled_table(rng, n, n_out, dtype)
    W = rng.normal(size=(n_in, n_out)).astype(dtype)
    first, last = (0, n) if n < 3 else (2, n)
    out = backward(rows, W, first, last, sentinels(n * n_in + 9, dtype))
    check(out, first, last, rows.matrix, W.T)


def check_weights(rng: np.random.Generator, dtype: Any, n: int, n_in: int, n_out: int) -> None:
    rows = shuffled_table(rng, n, n_in, dtype)
    d = rng.normal(size=(n, n_out)).astype(dtype)
    first, last = (0, n_in) if n_in < 3 else (1, n_in - 1)
    out = weights(rows, d, first, last, sentinels(n_in * n_out + 14, dtype), start=5)
    assert (out[:5] == SENTINEL).all()
    check(out[5:], first, last, rows.matrix.T, d)


def check_biases(rng: np.random.Generator, dtype: Any, n: int, n_in: int, n_out: int) -> None:
    d = rng.normal(size=(n, n_out)).astype(dtype)
    first, last = (0, n_out) if n_out < 3 else (1, n_out - 1)
    out = biases(d, first, last, sentinels(n_out + 14, dtype), start=5)
    assert (out[:5] == SENTINEL).all()
    check(out[5:], first, last, d.T, np.ones((n, 1)))


PRODUCTS = [check_forward, check_backward, check_weights, check_biases]
all_products = pytest.mark.parametrize(
    "product", PRODUCTS, ids=[product.__name__.removeprefix("check_") for product in PRODUCTS]
)
Product = Callable[[np.random.Generator, Any, int, int, int], None]


@pytest.mark.thinned(2)
@all_products
@both_types
def test_every_number_of_columns(product: Product, dtype: Any, rng: np.random.Generator) -> None:
    for n_out in EDGES:
        for n_in in FEW:
            product(rng, dtype, 9, n_in, n_out)


@pytest.mark.thinned(2)
@all_products
@both_types
def test_every_number_of_inputs(product: Product, dtype: Any, rng: np.random.Generator) -> None:
    for n_in in EDGES:
        for n_out in FEW:
            product(rng, dtype, 5, n_in, n_out)


@pytest.mark.thinned(2)
@all_products
@both_types
def test_every_batch_size(product: Product, dtype: Any, rng: np.random.Generator) -> None:
    for n in (0, *EDGES):
        for n_in, n_out in ((3, 1), (1, 3), (5, 35), (35, 5), (0, 4), (4, 0)):
            product(rng, dtype, n, n_in, n_out)


@all_products
@both_types
def test_wide_layers(product: Product, dtype: Any, rng: np.random.Generator) -> None:
    """Inputs and slopes with wide rows are packed, so go around the limit."""
    for n in (14, 17, 18, 19, 40):
        for n_in, n_out in ((3, 256), (3, 257), (9, 300), (1, 129), (0, 300), (300, 7), (513, 4)):
            product(rng, dtype, n, n_in, n_out)
        product(rng, dtype, n, 700, 128)


@both_types
def test_only_many_rows_are_multiplied_with_packed_weights(
    dtype: Any, rng: np.random.Generator
) -> None:
    """So the tests above do go around the limit; the panel shows whether it was used."""
    for n, n_out, packed in ((PACK_ROWS, 300, True), (PACK_ROWS - 1, 300, False)):
        rows, W = as_table(rng.normal(size=(n, 3)).astype(dtype)), np.ones((3, n_out), dtype)
        out, b = sentinels(n * n_out, dtype), np.zeros(n_out, dtype)
        panel = room(3, n_out, out)
        forward(rows, W, b, 0, n, out, panel=panel)
        np.testing.assert_array_equal(out.reshape(n, n_out)[:, :1], out.reshape(n, n_out)[:, 5:6])
        assert np.isnan(panel).all() != packed


@pytest.mark.bounds
@pytest.mark.nojit
@pytest.mark.parametrize(
    "sizes",
    [
        (2 * TILE_ROWS - 1, 3, 4),  # every tile height
        (5, 2 * TILE_ROWS - 1, VECTOR_BYTES // 8 + 1),  # a second, masked vector
        (3, VECTOR_BYTES // 2, VECTOR_BYTES // 4 + 1),  # a full tile and a part of one
        (18, 3, 130),  # packed panels
        (17, 3, 130),  # too few rows for them
        (4, 0, 3), (4, 3, 0), (0, 3, 4), (1, 1, 1),
    ],
    ids=str,
)  # fmt: skip
@all_products
def test_small_shapes_that_take_every_branch(
    product: Product, sizes: tuple[int, int, int], rng: np.random.Generator
) -> None:
    product(rng, np.float64, *sizes)


@pytest.mark.bounds
@all_products
def test_packed_panels_in_float32(product: Product, rng: np.random.Generator) -> None:
    product(rng, np.float32, 20, 2, 258)


@both_types
def test_no_inputs_give_the_biases(dtype: Any) -> None:
    b = np.arange(1, 38).astype(dtype)
    rows = as_table(np.empty((3, 0), dtype))
    out = forward(rows, np.empty((0, 37), dtype), b, 0, 3, sentinels(3 * 37, dtype))
    np.testing.assert_array_equal(out.reshape(3, 37), np.tile(b, (3, 1)))


@pytest.mark.parametrize("n_out", [20, 140])
def test_gradients_of_many_rows_are_one_chain(n_out: int, rng: np.random.Generator) -> None:
    """They are added some rows at a time, but as if at once: one fused multiply-add after another.

    In float64, the product of two float32 is exact.
    """
    n, n_in = 2 * DEPTH + 9, 7
    rows = shuffled_table(rng, n, n_in, np.float32)
    d = rng.normal(size=(n, n_out)).astype(np.float32)
    found = weights(rows, d, 0, n_in, sentinels(n_in * n_out + 14, np.float32))
    wanted = np.zeros((n_in, n_out), np.float32)
    for r in range(n):
        product = np.outer(rows.matrix[r].astype(np.float64), d[r].astype(np.float64))
        wanted = (product + wanted).astype(np.float32)
    np.testing.assert_array_equal(found[: n_in * n_out].reshape(n_in, n_out), wanted)


@both_types
def test_an_empty_batch_has_gradients_of_zero(dtype: Any) -> None:
    d = np.empty((0, 5), dtype)
    np.testing.assert_array_equal(
        weights(as_table(np.empty((0, 3), dtype)), d, 0, 3, sentinels(15, dtype)), np.zeros(15)
    )
    np.testing.assert_array_equal(biases(d, 0, 5, sentinels(5, dtype)), np.zeros(5))


@both_types
def test_nan_and_infinity_stay_in_their_own_row(dtype: Any, rng: np.random.Generator) -> None:
    """A row of nan in a batch must not leak into the rows that share its tile."""
    A = rng.normal(size=(11, 4)).astype(dtype)
    A[6, 2], A[9, 0] = np.nan, np.inf
    W, b = rng.uniform(1, 2, (4, 37)).astype(dtype), np.zeros(37, dtype)
    out = forward(as_table(A), W, b, 0, 11, sentinels(11 * 37, dtype)).reshape(11, 37)
    assert np.isnan(out[6]).all()
    assert (out[9] == np.inf).all()
    assert np.isfinite(np.delete(out, [6, 9], axis=0)).all()


# ---------------------------------------------------------------- the same bits whatever the range


def cuts(rng: np.random.Generator, n: int) -> list[tuple[int, int]]:
    """0..n in ranges of random sizes, small and large, one of them empty."""
    ends, position = [0, 0], 0
    while position < n:
        position = min(n, position + int(rng.choice([1, 2, 3, 5, 8, 13, 21])))
        ends.append(position)
    return list(itertools.pairwise(ends))


def same_in_parts(
    rng: np.random.Generator, n: int, size: int, dtype: Any, run: Callable[[int, int, Any], Any]
) -> None:
    """`run(first, last, out)` over 0..n at once and in several calls: the same bits."""
    whole = run(0, n, sentinels(size, dtype))
    assert not (whole == SENTINEL).any()
    for _ in range(3):
        out = sentinels(size, dtype)
        for first, last in cuts(rng, n):
            run(first, last, out)
        np.testing.assert_array_equal(out, whole)


@both_types
@pytest.mark.parametrize(("n_in", "n_out"), [(5, 7), (33, 66), (40, 300)])
def test_bits_do_not_depend_on_the_range(
    dtype: Any, n_in: int, n_out: int, rng: np.random.Generator
) -> None:
    n = 53
    X, D = shuffled_table(rng, n, n_in, dtype), shuffled_table(rng, n, n_out, dtype)
    W, b = rng.normal(size=(n_in, n_out)).astype(dtype), rng.normal(size=n_out).astype(dtype)
    d = D.matrix
    same_in_parts(rng, n, n * n_out, dtype, lambda i, j, out: forward(X, W, b, i, j, out))
    same_in_parts(rng, n, n * n_in, dtype, lambda i, j, out: backward(D, W, i, j, out))
    same_in_parts(rng, n_in, n_in * n_out, dtype, lambda i, j, out: weights(X, d, i, j, out))
    same_in_parts(rng, n_out, n_out, dtype, lambda i, j, out: biases(d, i, j, out))


@pytest.mark.bounds
@pytest.mark.nojit
@both_types
@pytest.mark.parametrize("n_out", [1, 2, 70])
def test_who_has_no_part_writes_nothing(dtype: Any, n_out: int, rng: np.random.Generator) -> None:
    """Of one bias two threads cannot both have a part; the other's is another's to write."""
    n, n_in = 9, 5
    X = shuffled_table(rng, n, n_in, dtype)
    W, d = rng.normal(size=(n_in, n_out)).astype(dtype), rng.normal(size=(n, n_out)).astype(dtype)
    for none in (0, 1):
        for out in (
            forward(X, W, W[0], none, none, sentinels(n * n_out, dtype)),
            backward(as_table(d), W, none, none, sentinels(n * n_in, dtype)),
            weights(X, d, none, none, sentinels(n_in * n_out, dtype)),
            biases(d, none, none, sentinels(n_out + 1, dtype)),
        ):
            assert (out == SENTINEL).all()


@both_types
@pytest.mark.parametrize("n_out", [2, FEW_COLUMNS, FEW_COLUMNS + 1, 70, 300])
def test_bits_do_not_depend_on_the_column(dtype: Any, n_out: int, rng: np.random.Generator) -> None:
    """Each column alone, where it is the first lane of a masked vector, gives the same bits.

    The sums of a layer with a single output have another order, so alone means with one beside it.
    """
    n, n_in, least = 21, 19, 2
    X = shuffled_table(rng, n, n_in, dtype)
    W, b = rng.normal(size=(n_in, n_out)).astype(dtype), rng.normal(size=n_out).astype(dtype)
    d = rng.normal(size=(n, n_out)).astype(dtype)
    Z = forward(X, W, b, 0, n, sentinels(n * n_out, dtype)).reshape(n, n_out)
    dW = weights(X, d, 0, n_in, sentinels(W.size, dtype)).reshape(W.shape)
    db = biases(d, 0, n_out, sentinels(n_out, dtype))
    dX = backward(as_table(W), W, 0, n_in, sentinels(n_in * n_in, dtype)).reshape(n_in, n_in)
    for j in range(n_out):
        one, some = slice(j, j + 1), (j + np.arange(least)) % n_out
        alone = forward(X, W[:, some], b[some], 0, n, sentinels(n * least, dtype))
        np.testing.assert_array_equal(alone.reshape(n, least)[:, 0], Z[:, j])
        np.testing.assert_array_equal(
            weights(X, d[:, one], 0, n_in, sentinels(n_in, dtype)), dW[:, j]
        )
        np.testing.assert_array_equal(biases(d[:, one], 0, 1, sentinels(1, dtype)), db[one])
    for i in range(n_in):
        alone = backward(as_table(W), W[i : i + 1], 0, n_in, sentinels(n_in, dtype))
        np.testing.assert_array_equal(alone, dX[:, i])


@pytest.mark.thinned(2)
@pytest.mark.bounds
@pytest.mark.nojit
@both_types
@pytest.mark.parametrize("n_out", range(1, FEW_COLUMNS + 1))
def test_slopes_times_the_gradient_of_few_outputs(
    dtype: Any, n_out: int, rng: np.random.Generator
) -> None:
    """A block of columns is multiplied by their gradient, to the last bit, and nothing else is."""
    n, n_in, left, right = 6, 37, 3, 36
    d, W = rng.normal(size=(n, n_out)).astype(dtype), rng.normal(size=(n_in, n_out)).astype(dtype)
    slopes = rng.normal(size=(n, n_in)).astype(dtype)
    dX = backward(as_table(d), W, 0, n, sentinels(n * n_in, dtype)).reshape(n, n_in)
    np.testing.assert_allclose(dX, d @ W.T, rtol=0, atol=8 * np.finfo(dtype).eps)
    wanted = slopes.copy()
    wanted[1:5, left:right] *= dX[1:5, left:right]
    panel, order = scratch(n_in, slopes), np.arange(n, dtype=np.int32)
    given = Inputs(at(d), n_out * d.itemsize, address_of(order))
    narrow.times_input_gradient(
        Tools(0, 0, 0, at(panel)), given, Block(1, 5, left, right),
        Weights(at(W), n_out, 0, n_in, n_out), Matrix(at(slopes), n_in), dtype(1),
    )  # fmt: skip
    np.testing.assert_array_equal(slopes, wanted)


@both_types
@pytest.mark.parametrize("n_out", [70, 300])
def test_columns_in_parts_give_the_same_bits(
    dtype: Any, n_out: int, rng: np.random.Generator
) -> None:
    """Threads that share out columns must neither miss one nor touch another's."""
    n, n_in = 21, n_out + 3
    X = shuffled_table(rng, n, n_in, dtype)
    W, b = rng.normal(size=(n_in, n_out)).astype(dtype), rng.normal(size=n_out).astype(dtype)
    D = shuffled_table(rng, n, n_out, dtype)

    def columns_forward(i: int, j: int, out: Any) -> Any:
        return forward(X, W, b, 0, n, out, left=i, right=j)

    def columns_backward(i: int, j: int, out: Any) -> Any:
        return backward(D, W, 0, n, out, left=i, right=j)

    def columns_weights(i: int, j: int, out: Any) -> Any:
        return weights(X, D.matrix, 0, n_in, out, left=i, right=j)

    same_in_parts(rng, n_out, n * n_out, dtype, columns_forward)
    same_in_parts(rng, n_in, n * n_in, dtype, columns_backward)
    same_in_parts(rng, n_out, n_in * n_out, dtype, columns_weights)


@both_types
def test_products_are_fused_with_sums(dtype: Any) -> None:
    """-1 + (1 + h)(1 - h) is -h^2 in one rounding and 0 in two, at every place of every tile."""
    h = 2.0 ** -(np.finfo(dtype).nmant // 2 + 2)
    n, n_out = 2 * TILE_ROWS - 1, 70
    A = np.tile(np.array([1, 1 + h], dtype), (n, 1))
    W = np.tile(np.array([[-1], [1 - h]], dtype), (1, n_out))
    out = forward(as_table(A), W, np.zeros(n_out, dtype), 0, n, sentinels(n * n_out, dtype))
    np.testing.assert_array_equal(out, np.full(n * n_out, -h * h, dtype))


@pytest.mark.thinned
@pytest.mark.nojit
@pytest.mark.bounds
@both_types
@pytest.mark.parametrize("multiply_parts", [matmul.forward_parts, matmul.forward_parts_packed])
@pytest.mark.parametrize("n_out", [3, 37, 260])
@pytest.mark.parametrize("n_in", [1, 7, 31, 32, 191, 192, 200, 383, 384, 391, 784])
def test_sums_over_inputs_come_in_parts(
    dtype: Any, n_in: int, n_out: int, multiply_parts: Any, rng: np.random.Generator
) -> None:
    """Whoever computes the parts, they are the same and added in the same order."""
    n = PACK_ROWS + 2  # so many that W is packed where it is large
    n_parts = sums.n_parts(n_in, n_out)
    starts = [sums.input_part_start(n_in, n_parts, part) for part in range(n_parts + 1)]
    assert (starts[0], starts[-1]) == (0, n_in)
    assert starts == sorted(set(starts))
    assert len(starts) == (5 if n_in >= 384 else 3 if n_in >= (192 if n_out > 16 else 32) else 2)
    X = shuffled_table(rng, n, n_in, dtype)
    W, b = rng.normal(size=(n_in, n_out)).astype(dtype), rng.normal(size=n_out).astype(dtype)
    whole = forward(X, W, b, 0, n, sentinels(n * n_out, dtype)).reshape(n, n_out)
    parts = np.full((len(starts) - 1, n, n_out), np.nan, dtype)
    one, zeros = dtype(1), np.zeros(n_out, dtype)
    panel = room(n_in, n_out, X.memory)
    tools = tools_for(n_in, n_out, panel)

    def multiply(begin: int, end: int, base: np.ndarray, out: int, part_bytes: int) -> None:
        weights = Weights(address_of(W), n_out, address_of(base), n_in, n_out)
        multiply_parts(
            tools, X.inputs, Span(0, n, n),
            Sums(n_in, len(parts), begin, end), weights, Matrix(out, n_out), part_bytes, one,
        )  # fmt: skip

    place, part_bytes = address_of(parts), parts[0].nbytes
    multiply(0, len(parts), zeros, place, part_bytes)
    total = np.tile(b, (n, 1))
    for part, (left, right) in enumerate(itertools.pairwise(starts)):
        np.testing.assert_allclose(
            parts[part], X.matrix[:, left:right] @ W[left:right],
            rtol=0, atol=1000 * np.finfo(dtype).eps,
        )  # fmt: skip
        total += parts[part]
    np.testing.assert_array_equal(whole, total)
    shared = max(1, len(parts) // 2)  # some thread's, which it adds up, are stored in one place
    multiply(0, shared, b, place, 0)
    multiply(shared, len(parts), zeros, place + (1 - shared) * part_bytes, part_bytes)
    out, count = sentinels(n * n_out, dtype), len(parts) - shared + 1
    matmul.add_parts(place, part_bytes, count, 2, n, n_out, address_of(out), one)
    np.testing.assert_array_equal(out.reshape(n, n_out)[2:], whole[2:])
    assert (out.reshape(n, n_out)[:2] == sentinels(2 * n_out, dtype).reshape(2, n_out)).all()
