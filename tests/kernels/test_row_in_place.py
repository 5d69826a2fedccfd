"""Products for a batch of one row give the bits of the tiles, for any part of a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmlp import Adam, Dense, Network, ReLU, Tanh
from fastmlp.engine.engine import Engine
from fastmlp.inputs.tables import table_of
from fastmlp.inputs.targets import Encoded
from fastmlp.kernels.compiler.jit import JIT_ENABLED
from fastmlp.kernels.products import matmul, row_in_place, sums
from fastmlp.kernels.products.tiles import tile_width
from fastmlp.kernels.views import Block, Inputs, Matrix, Panels, Span, Sums, Weights

from ..support import address_of
from .test_matmul import room, tools_for

pytestmark = pytest.mark.nojit
SIZES = [(1, 5), (3, 16), (7, 17), (33, 63), (200, 64), (390, 65), (9, 130), (400, 301)]


def same(found: np.ndarray, wanted: np.ndarray) -> None:
    """The same bits; interpreted, NumPy adds the terms of a sum in another order."""
    if JIT_ENABLED:
        np.testing.assert_array_equal(found, wanted)
    else:
        np.testing.assert_allclose(found, wanted, 0, 1000 * np.finfo(found.dtype).eps)


class Case:
    """The second row of a table, and what its product with W reads and writes."""

    def __init__(self, n_in: int, n_out: int, dtype: Any) -> None:
        rng = np.random.default_rng(0)
        self.X, self.order = rng.normal(size=(3, n_in)).astype(dtype), np.array([1], np.int32)
        self.W, self.b = rng.normal(size=(n_in, n_out)).astype(dtype), np.ones(n_out, dtype)
        self.panel, self.out = room(n_in, n_out, self.X), np.full(3 * n_out, np.nan, dtype)
        self.tools = tools_for(n_in, n_out, self.panel)
        self.inputs = Inputs(address_of(self.X), self.X.strides[0], address_of(self.order))
        self.weights = Weights(address_of(self.W), n_out, address_of(self.b), n_in, n_out)
        self.place, self.one = Matrix(address_of(self.out), n_out), dtype(1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n_in", "n_out"), SIZES)
def test_forward(n_in: int, n_out: int, dtype: Any) -> None:
    found, wanted = Case(n_in, n_out, dtype), Case(n_in, n_out, dtype)
    for left, right in ((0, n_out), (2, n_out), (0, n_out - 2)):
        block = Block(0, 1, left, right)
        for case, forward in ((found, row_in_place.forward), (wanted, matmul.dense_forward)):
            case.out[:] = np.nan
            forward(case.tools, case.inputs, block, case.weights, case.place, case.one)
        same(found.out, wanted.out)
    found.out[:] = np.nan
    nothing = Block(1, 1, 0, n_out)  # of a thread without rows
    row_in_place.forward(found.tools, found.inputs, nothing, found.weights, found.place, found.one)
    assert np.isnan(found.out).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n_in", "n_out"), SIZES)
def test_parts(n_in: int, n_out: int, dtype: Any) -> None:
    n_parts = sums.n_parts(n_in, n_out)
    found, wanted = Case(n_in, n_out, dtype), Case(n_in, n_out, dtype)
    for begin, end, apart in ((0, n_parts, False), (n_parts // 2, n_parts, True)):
        part_bytes = found.out[:n_out].nbytes if apart else 0
        for case, multiply in (
            (found, row_in_place.forward_parts), (wanted, matmul.forward_parts)
        ):  # fmt: skip
            case.out[:] = np.nan
            place = Matrix(case.place.at - begin * part_bytes, n_out)
            multiply(
                case.tools, case.inputs, Span(0, 1, 0), Sums(n_in, n_parts, begin, end),
                case.weights, place, part_bytes, case.one,
            )  # fmt: skip
        same(found.out, wanted.out)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n_in", "n_out"), SIZES)
def test_weight_gradient(n_in: int, n_out: int, dtype: Any) -> None:
    case = Case(n_in, n_out, dtype)
    slopes = np.linspace(-1, 1, n_out, dtype=dtype)
    case.X[1, 0] = 0  # a product that is -0 must not stay so
    width = tile_width(case.one)
    panels = Panels(address_of(slopes), n_out, width * slopes.itemsize)
    results = []
    for kernel in (row_in_place.weight_gradient, matmul.weight_gradient):
        dW = np.full((n_in, n_out), np.nan, dtype)
        kernel(case.inputs, 1, panels, n_in, n_out, Matrix(address_of(dW), n_out), case.one)
        results.append(dW)
    same(*results)
    assert np.array_equal(*map(np.signbit, results))


@pytest.mark.skipif(not JIT_ENABLED, reason="of compiled kernels")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_a_step_of_one_row_has_the_bits_of_a_larger_batch(dtype: str, n_threads: int) -> None:
    """The same row in an engine for batches of several rows, which uses the tiles."""
    rng, params = np.random.default_rng(0), []
    X = rng.normal(size=(1, 210)).astype(dtype)
    for batch_size in (1, 8):
        net = Network([Dense(300), ReLU(), Dense(140), Tanh(), Dense(5)], dtype=dtype)
        net.build(210)
        adam, state = Adam(0.01), np.zeros(2 * net.params.size, net.dtype)
        engine = Engine(net, table_of(X, net.dtype), batch_size, n_threads, adam)
        numbers = adam.step_numbers(0, np.full(3, 0.01))
        order, encoded = np.zeros((3, 1), np.int32), Encoded(np.array([2], np.int32), np.empty(0))
        engine.train(order, encoded, np.empty(0), state, numbers, 0)
        params.append(net.params)
    np.testing.assert_array_equal(*params)
