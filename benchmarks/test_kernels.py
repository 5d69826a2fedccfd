"""Micro benchmarks of the kernels against NumPy, one thread each: `pytest benchmarks`.

Each pair is first checked to compute the same, then pytest-benchmark times both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy import special

from benchmarks.machine import blas_threads
from benchmarks.peak import address_of
from fastmlp import Adam
from fastmlp.kernels.compiler.calls import Kernel
from fastmlp.kernels.products import matmul, narrow
from fastmlp.kernels.products.blocking import room
from fastmlp.kernels.products.tiles import tile_width
from fastmlp.kernels.rules import activations, optimizers
from fastmlp.kernels.rules.activations import activation
from fastmlp.kernels.tuning import FEW_COLUMNS
from fastmlp.kernels.views import Block, Inputs, Matrix, Panels, Tools, Weights
from fastmlp.nn.dense import forward_for, input_gradient_for, product_for
from fastmlp.optim.optimizers import Group

ONE = np.float32(1)
TOLERANCE = 1e-5  # relative to the largest result: float32 sums of about a thousand products
FORWARD = [
    (32, 32, 784), (128, 32, 784), (128, 128, 784), (32, 16, 32), (126, 1024, 1020),
]  # fmt: skip
WEIGHT_GRADIENT = [(784, 32, 32), (784, 128, 128), (1020, 1024, 126)]
INPUT_GRADIENT = [(32, 32, 10), (128, 256, 128), (126, 1020, 1024)]
N_PARAMS = 25_450  # of 784-32-10
EPSILON = optimizers.DECAY + 1 + optimizers.AdamNumbers._fields.index("epsilon")  # in a row
SIDES = ("fastmlp", "numpy")


class Pair(NamedTuple):
    """The same work by both sides; each writes into its own result."""

    fastmlp: Callable[[], Any]
    numpy: Callable[[], Any]
    results: tuple[np.ndarray, np.ndarray]
    flops: int = 0

    def check(self) -> None:
        """Both sides agree."""
        self.fastmlp()
        self.numpy()
        ours, theirs = self.results
        largest = np.abs(theirs).max()
        assert np.abs(ours - theirs).max() <= TOLERANCE * max(largest, 1)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with blas_threads(1):
        yield


def random(*shape: int) -> np.ndarray:
    """Normal float32 numbers, the same for the same shape."""
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


def timed(benchmark: Any, pair: Pair, side: str, group: str) -> None:
    """Check a pair and time one side of it."""
    pair.check()
    benchmark.group = group
    benchmark(getattr(pair, side))
    if pair.flops and benchmark.stats is not None:
        benchmark.extra_info["GFLOP/s"] = round(pair.flops / benchmark.stats.stats.median / 1e9, 1)


def forward(m: int, n: int, k: int) -> Pair:
    """Z = X W."""
    X, W, b, order = random(m, k), random(k, n), np.zeros(n, np.float32), np.arange(m, dtype="i4")
    ours, theirs = np.empty((m, n), np.float32), np.empty((m, n), np.float32)
    panel = np.empty(room(k, n, 4), np.float32)
    arguments = (
        Tools(product_for(n).address(X.dtype), 0, address_of(order), address_of(panel)),
        Inputs(address_of(X), 4 * k, address_of(order)), Block(0, m, 0, n),
        Weights(address_of(W), n, address_of(b), k, n), Matrix(address_of(ours), n), ONE,
    )  # fmt: skip
    product = forward_for(k, n, X.dtype)

    def fastmlp() -> Any:
        keep = X, W, b, order, panel  # the kernel sees only addresses
        product(*arguments)
        return keep

    return Pair(fastmlp, lambda: np.dot(X, W, out=theirs), (ours, theirs), 2 * m * n * k)


def weight_gradient(n_in: int, n_out: int, batch: int) -> Pair:
    """dW = X^T dZ."""
    X, dZ, order = random(batch, n_in), random(batch, n_out), np.arange(batch, dtype="i4")
    ours, theirs = np.empty((n_in, n_out), np.float32), np.empty((n_in, n_out), np.float32)
    arguments = (
        Inputs(address_of(X), 4 * n_in, address_of(order)), batch,
        Panels(address_of(dZ), n_out, 4 * tile_width(ONE)), n_in, n_out,
        Matrix(address_of(ours), n_out), ONE,
    )  # fmt: skip
    product = (narrow if n_out <= FEW_COLUMNS else matmul).weight_gradient

    def fastmlp() -> Any:
        keep = X, dZ, order
        product(*arguments)
        return keep

    flops = 2 * n_in * n_out * batch
    return Pair(fastmlp, lambda: np.dot(X.T, dZ, out=theirs), (ours, theirs), flops)


def input_gradient(batch: int, n_in: int, n_out: int) -> Pair:
    """dX = dZ W^T."""
    dZ, W, order = random(batch, n_out), random(n_in, n_out), np.arange(batch, dtype="i4")
    width = int(tile_width(ONE))
    panel, zeros = np.empty(room(n_in, n_out, 4), np.float32), np.zeros(width, np.float32)
    kernel = matmul.product_of_panel.address(W.dtype)
    ours, theirs = np.empty((batch, n_in), np.float32), np.empty((batch, n_in), np.float32)
    arguments = (
        Tools(kernel, address_of(zeros), address_of(order), address_of(panel)),
        Inputs(address_of(dZ), 4 * n_out, address_of(order)), Block(0, batch, 0, n_in),
        Weights(address_of(W), n_out, 0, n_in, n_out), Matrix(address_of(ours), n_in), ONE,
    )  # fmt: skip
    product = input_gradient_for(n_out)

    def fastmlp() -> Any:
        keep = dZ, W, order, panel, zeros
        product(*arguments)
        return keep

    flops = 2 * n_in * n_out * batch
    return Pair(fastmlp, lambda: np.dot(dZ, W.T, out=theirs), (ours, theirs), flops)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("sizes", FORWARD, ids=str)
def test_dense_forward(benchmark: Any, sizes: tuple[int, int, int], side: str) -> None:
    timed(benchmark, forward(*sizes), side, f"forward {sizes}")


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("sizes", WEIGHT_GRADIENT, ids=str)
def test_weight_gradient(benchmark: Any, sizes: tuple[int, int, int], side: str) -> None:
    timed(benchmark, weight_gradient(*sizes), side, f"weight gradient {sizes}")


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("sizes", INPUT_GRADIENT, ids=str)
def test_input_gradient(benchmark: Any, sizes: tuple[int, int, int], side: str) -> None:
    timed(benchmark, input_gradient(*sizes), side, f"input gradient {sizes}")


def _sigmoid(z: np.ndarray) -> None:
    np.negative(z, out=z)
    np.exp(z, out=z)
    z += 1
    np.reciprocal(z, out=z)


def _silu(z: np.ndarray) -> None:
    gate = z.copy()
    _sigmoid(gate)
    z *= gate


def _gelu(z: np.ndarray) -> None:
    z *= np.float32(0.5) * (1 + special.erf(z * np.float32(np.sqrt(0.5))))


# Each works in place, as the kernels do.
ACTIVATIONS: dict[str, tuple[Kernel, Callable[[np.ndarray], Any]]] = {
    "relu": (activation(activations.relu), lambda z: np.maximum(z, 0, out=z)),
    "sigmoid": (activation(activations.sigmoid), _sigmoid),
    "tanh": (activation(activations.tanh), lambda z: np.tanh(z, out=z)),
    "softplus": (activation(activations.softplus), lambda z: np.logaddexp(0, z, out=z)),
    "silu": (activation(activations.silu), _silu),
    "gelu": (activation(activations.gelu), _gelu),
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(benchmark: Any, name: str, side: str) -> None:
    """Both sides first copy the same inputs, because both work in place."""
    kernel, rule = ACTIVATIONS[name]
    source = random(N_PARAMS)
    ours, theirs, slope = (np.empty_like(source) for _ in range(3))
    places = address_of(ours), address_of(slope)

    def fastmlp() -> None:
        ours[:] = source
        kernel(*places, N_PARAMS, 0.0, ONE)

    def numpy() -> None:
        theirs[:] = source
        rule(theirs)

    timed(benchmark, Pair(fastmlp, numpy, (ours, theirs)), side, f"activation {name}")


@pytest.mark.parametrize("side", SIDES)
def test_adam_update(benchmark: Any, side: str) -> None:
    """One step for all parameters of 784-32-10, NumPy with one temporary array."""
    optimizer, gradient = Adam(1e-3), random(N_PARAMS)
    ours, theirs = random(N_PARAMS).copy(), random(N_PARAMS).copy()
    state = optimizer.initial_state(N_PARAMS, ours.dtype)
    hyper = optimizer.step_numbers(0, np.array([1e-3]))[0]
    groups = [Group("W", 0, N_PARAMS, True, 1.0)]
    mean, square, scratch = (np.zeros_like(theirs) for _ in range(3))
    rate, epsilon = (np.float32(hyper[i]) for i in (optimizers.RATE, EPSILON))

    def numpy() -> None:
        nonlocal mean, square
        mean *= np.float32(0.9)
        np.multiply(gradient, np.float32(0.1), out=scratch)
        mean += scratch
        square *= np.float32(0.999)
        np.multiply(gradient, gradient, out=scratch)
        np.multiply(scratch, np.float32(0.001), out=scratch)
        square += scratch
        np.sqrt(square, out=scratch)
        np.add(scratch, epsilon, out=scratch)
        np.divide(mean, scratch, out=scratch)
        np.multiply(scratch, rate, out=scratch)
        np.subtract(theirs, scratch, out=theirs)

    def fastmlp() -> None:
        optimizer.update(hyper, groups, ours, gradient, state)

    timed(benchmark, Pair(fastmlp, numpy, (ours, theirs)), side, "Adam")
