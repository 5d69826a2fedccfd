"""Predictors: the numbers of `predict_proba` for rows and matrices, from any number of threads.

A predictor never changes, allocates nothing if it is given an output array, and its copies share no
memory with it.
"""

from __future__ import annotations

import copy
import gc
import itertools
import json
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from fastmlp.engine import outputs, threads
from fastmlp.errors import InputError, InputTypeError
from fastmlp.kernels.compiler import target
from fastmlp.kernels.compiler.jit import JIT_ENABLED
from fastmlp.kernels.products import one_row
from fastmlp.kernels.tuning import PREDICT_BLOCK, WORK_OF_ONE_THREAD
from fastmlp.kernels.views import Weights
from fastmlp.network import Network
from fastmlp.nn import ACTIVATIONS, GELU, Dense, Dropout, Layer, ReLU, Tanh
from fastmlp.nn.losses import LOSSES, MeanSquaredError, SoftmaxCrossEntropy
from fastmlp.serving import predictor
from fastmlp.serving.predictor import Predictor

from ..support import Own, address_of

ROOT = Path(__file__).resolve().parents[2]
N_FEATURES, N_OUTPUTS = 6, 3
both_types = pytest.mark.parametrize("dtype", ["float32", "float64"])


def deep(dtype: str = "float32", loss: Any = "softmax_cross_entropy") -> Network:
    layers = [Dense(N_FEATURES, 9), GELU(), Dropout(0.3), Dense(9, 5), Tanh(), Dense(5, N_OUTPUTS)]
    return Network(layers, loss, dtype=dtype).build(N_FEATURES)


def rows_of(rng: np.random.Generator, n: int, dtype: Any = "float32") -> np.ndarray:
    return rng.normal(size=(n, N_FEATURES)).astype(dtype)


_MOST_TERMS = 300  # in a sum; its error, in units of the last place, in a random order


def assert_equal(found: np.ndarray, wanted: np.ndarray) -> None:
    """The same bits; interpreted sums of one row and of many are in another order."""
    assert found.dtype == wanted.dtype
    assert found.shape == wanted.shape
    if JIT_ENABLED:
        np.testing.assert_array_equal(found, wanted)
    else:
        np.testing.assert_allclose(found, wanted, rtol=_MOST_TERMS * np.finfo(found.dtype).eps)


def check_equal(network: Network, X: np.ndarray) -> None:
    """One row after the other, with and without `out`, and all at once, as `predict_proba`."""
    wanted, compiled = network.predict_proba(X), network.compile_predictor()
    assert np.isfinite(wanted).all()
    out = np.empty(network.n_outputs, network.dtype)
    for row, right in zip(X, wanted, strict=True):
        assert_equal(compiled(row), right)
        assert compiled(row, out) is out
        assert_equal(out, right)
    assert_equal(compiled(X), wanted)


# ---------------------------------------------------------------- equal to predict_proba


@pytest.mark.nojit
@pytest.mark.bounds
@pytest.mark.parametrize("loss", LOSSES.names)
@both_types
def test_every_loss(loss: str, dtype: str, rng: np.random.Generator) -> None:
    """Softmax, sigmoid, exponential or nothing at the end."""
    network, X = deep(dtype, loss), rows_of(rng, 7, dtype)
    check_equal(network, X)
    assert np.ptp(network.predict_proba(X)) > 0.01


@pytest.mark.nojit
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=[kind.name for kind in ACTIVATIONS])
def test_every_activation(activation: Any, rng: np.random.Generator) -> None:
    network = Network([Dense(N_FEATURES, 4), activation(), Dense(4, 2)], dtype="float64")
    check_equal(network, 3 * rows_of(rng, 5, "float64"))


ARCHITECTURES: dict[str, list[Layer]] = {
    "one layer": [Dense(N_FEATURES, 2)],
    "one output": [Dense(N_FEATURES, 1)],
    "dropout first": [Dropout(0.4), Dense(N_FEATURES, 4), ReLU(), Dense(4, 2)],
    "activation first": [Tanh(), Dropout(0.4), Dense(N_FEATURES, 4), Dense(4, 2)],
    "dropout last": [Dense(N_FEATURES, 3), Dropout(0.5)],
    "wide": [Dense(N_FEATURES, 300), ReLU(), Dense(300, 260), ReLU(), Dense(260, 70)],
}


@pytest.mark.nojit
@pytest.mark.bounds
@pytest.mark.parametrize("name", ARCHITECTURES)
@both_types
def test_every_architecture(name: str, dtype: str, rng: np.random.Generator) -> None:
    """Dropout is off; wide layers are packed for many rows and not for one."""
    layers = copy.deepcopy(ARCHITECTURES[name])
    n = 40 if JIT_ENABLED else 3
    check_equal(Network(layers, dtype=dtype).build(N_FEATURES), rows_of(rng, n, dtype))


@pytest.mark.nojit
def test_one_feature(rng: np.random.Generator) -> None:
    check_equal(Network([Dense(1, 4), Tanh(), Dense(4, 2)]), rng.normal(size=(5, 1)).astype("f4"))


@both_types
def test_more_rows_than_a_block(dtype: str, rng: np.random.Generator) -> None:
    """And so many that threads share them."""
    network = deep(dtype)
    X = rows_of(rng, 1 + 2 * WORK_OF_ONE_THREAD // network.params.size, dtype)
    used = outputs.threads_for(len(X) * network.params.size)
    assert used == (min(threads.n_cores(), 24) if JIT_ENABLED else 1)
    found = network.compile_predictor()(X)
    np.testing.assert_array_equal(found, network.predict_proba(X))
    np.testing.assert_array_equal(found[-1], network.compile_predictor()(X[-1]))


@pytest.mark.nojit
def test_a_fitted_network(rng: np.random.Generator) -> None:
    X, y = rows_of(rng, 20), np.array(["one", "two", "three", "two"] * 5)
    network = Network([Dense(5), ReLU(), Dense(3)])
    network.fit(X, y, epochs=2)
    check_equal(network, X)


# ---------------------------------------------------------------- inputs


def spread(X: np.ndarray) -> np.ndarray:
    """X between nans, so that it is neither contiguous nor at the start of its memory."""
    memory = np.full((2 * X.shape[0] + 1, 3 * X.shape[1] + 1), np.nan, X.dtype)
    view = memory[1::2, 1::3]
    view[...] = X
    return view


def unpickled(X: np.ndarray) -> np.ndarray:
    """Its dtype equals float32 but is another object."""
    found: np.ndarray = pickle.loads(pickle.dumps(X))
    assert found.dtype is not X.dtype
    return found


def read_only(X: np.ndarray) -> np.ndarray:
    X = X.copy()
    X.flags.writeable = False
    return X


def unaligned(X: np.ndarray) -> np.ndarray:
    memory = np.frombuffer(b"x" + X.tobytes(), np.uint8)[1:]
    return memory.view(X.dtype).reshape(X.shape)


INPUTS: dict[str, Callable[[np.ndarray], Any]] = {
    "contiguous": lambda X: X,
    "strided": spread,
    "backwards": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "Fortran": np.asfortranarray,
    "read-only": read_only,
    "unaligned": unaligned,
    "unpickled": unpickled,
    "big-endian": lambda X: X.astype(">f4"),
    "float64": lambda X: X.astype(np.float64),
    "float16": lambda X: X.astype(np.float16),
    "objects": lambda X: X.astype(object),
    "uint8": lambda X: (X + 9).astype(np.uint8),
    "int64": lambda X: (3 * X).astype(np.int64),
    "bool": lambda X: X > 0,
}


@pytest.mark.nojit
@pytest.mark.bounds
@pytest.mark.parametrize("kind", INPUTS)
@both_types
def test_every_kind_of_input(kind: str, dtype: str, rng: np.random.Generator) -> None:
    """As predict_proba of the same numbers, contiguous and of the network's type."""
    network = deep(dtype)
    compiled, X = network.compile_predictor(), INPUTS[kind](rows_of(rng, 5))
    before = X.copy()
    wanted = network.predict_proba(np.array(X, dtype, order="C"))
    assert np.ptp(wanted[:, 0]) > 0
    assert_equal(compiled(X), wanted)
    for row, right in zip(X, wanted, strict=True):
        assert_equal(compiled(row), right)
    np.testing.assert_array_equal(X, before)


@pytest.mark.nojit
def test_lists(rng: np.random.Generator) -> None:
    network = deep("float64")
    compiled, X = network.compile_predictor(), rows_of(rng, 4, "float64")
    wanted = network.predict_proba(X)
    assert_equal(compiled(X.tolist()), wanted)
    assert_equal(compiled(X[2].tolist()), wanted[2])
    assert_equal(compiled(tuple(X[2])), wanted[2])
    assert_equal(compiled([row.tolist() for row in X[:1]]), wanted[:1])


@pytest.mark.nojit
def test_a_memory_mapped_file(tmp_path: Path, rng: np.random.Generator) -> None:
    X, network = rows_of(rng, 6), deep()
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    compiled, wanted = network.compile_predictor(), network.predict_proba(X)
    for found, right in ((compiled(mapped), wanted), (compiled(mapped[3]), wanted[3])):
        assert type(found) is np.ndarray
        assert_equal(found, right)


@pytest.mark.nojit
def test_nan_and_infinity_are_let_through() -> None:
    """Nobody looks for them, so they come out as nan, and do no harm to the next row."""
    compiled, row = deep().compile_predictor(), np.ones(N_FEATURES, np.float32)
    before = compiled(row)
    for value in (np.nan, np.inf, 1e300):
        bad = [*row[:-1].tolist(), value]
        assert np.isnan(compiled(bad)).all()
        found = compiled([row.tolist(), bad])
        assert_equal(found[0], before)
        assert np.isnan(found[1]).all()
    np.testing.assert_array_equal(compiled(row), before)


@pytest.mark.nojit
@both_types
def test_an_empty_matrix(dtype: str) -> None:
    compiled = deep(dtype).compile_predictor()
    found = compiled(np.empty((0, N_FEATURES)))
    assert found.shape == (0, N_OUTPUTS)
    assert found.dtype == dtype
    out = np.empty((0, N_OUTPUTS), dtype)
    assert compiled(np.empty((0, N_FEATURES), dtype), out) is out


# ---------------------------------------------------------------- out


@pytest.mark.nojit
@pytest.mark.bounds
def test_out_is_written_and_nothing_around_it(rng: np.random.Generator) -> None:
    network, X = deep(), rows_of(rng, 4)
    compiled, wanted = network.compile_predictor(), network.predict_proba(X)
    memory = np.full((6, N_OUTPUTS), -9, np.float32)
    assert_equal(compiled(X[1], memory[2]), wanted[1])
    assert_equal(memory[2], wanted[1])
    assert (np.delete(memory, 2, axis=0) == -9).all()
    assert compiled(X, memory[1:5]).base is memory
    assert_equal(memory[1:5], wanted)
    assert (memory[[0, 5]] == -9).all()


@pytest.mark.nojit
def test_every_out_that_fits(tmp_path: Path, rng: np.random.Generator) -> None:
    """Unpickled arrays have a dtype of their own; a matrix need not be contiguous."""
    network, X = deep(), rows_of(rng, 4)
    compiled, wanted = network.compile_predictor(), network.predict_proba(X)
    mapped = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", np.float32, (N_OUTPUTS,))
    for out in (unpickled(np.zeros(N_OUTPUTS, np.float32)), mapped):
        assert compiled(X[2], out) is out
        assert_equal(np.asarray(out), wanted[2])
    matrices = np.zeros((4, N_OUTPUTS), np.float32), np.zeros((N_OUTPUTS, 4), np.float32).T
    for out in (*matrices, unpickled(matrices[0]), spread(matrices[0])):
        assert compiled(X, out) is out
        assert_equal(out, wanted)


@pytest.mark.nojit
def test_out_may_be_the_input(rng: np.random.Generator) -> None:
    """A row is read whole before its outputs are written, and a matrix too."""
    network = Network([Dense(4, 5), Tanh(), Dense(5, 4)], MeanSquaredError()).build(4)
    compiled, X = network.compile_predictor(), rng.normal(size=(9, 4)).astype(np.float32)
    wanted, row = network.predict_proba(X), X[3].copy()
    assert compiled(row, row) is row
    assert_equal(row, wanted[3])
    assert compiled(X, X) is X
    assert_equal(X, wanted)


@pytest.mark.nojit
def test_out_may_overlap_rows_that_are_not_read_yet(rng: np.random.Generator) -> None:
    """Outputs of the first block are wider than its rows, so they reach into the second block."""
    network = Network([Dense(2, 3), Tanh(), Dense(3, 4)], MeanSquaredError()).build(2)
    n = 2 * PREDICT_BLOCK + 3
    memory = rng.normal(size=4 * n).astype(np.float32)
    X, out = memory[: 2 * n].reshape(n, 2), memory.reshape(n, 4)
    wanted = network.predict_proba(X.copy())
    assert network.compile_predictor()(X, out) is out
    assert_equal(out, wanted)


@pytest.mark.nojit
@both_types
@pytest.mark.parametrize("n", [1, 2, 8, 63, PREDICT_BLOCK, PREDICT_BLOCK + 1, 1000])
def test_every_number_of_rows(n: int, dtype: str, rng: np.random.Generator) -> None:
    """The same bits, in any form, without an engine of their own."""
    network, X = deep(dtype), rows_of(rng, n, dtype)
    wanted, compiled = network.predict_proba(X), network.compile_predictor()
    read_only, out = X.copy(), np.empty((n, N_OUTPUTS), dtype)
    read_only.flags.writeable = False
    for given in (X, np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2], X.tolist(), read_only):
        assert_equal(compiled(given), wanted)
    assert compiled(X, out) is out
    assert_equal(out, wanted)
    assert compiled._batch is not None
    assert 1 <= len(compiled._batch._spare) <= threads.n_cores()  # a helper may have one, too
    assert not compiled._network.spare_engines


BAD_OUTS: dict[str, tuple[Any, str]] = {
    "too short": (np.empty(2, np.float32), "shape (2,) and type float32"),
    "a matrix": (np.empty((1, 3), np.float32), "shape (1, 3) and type float32"),
    "another type": (np.empty(3), "shape (3,) and type float64"),
    "integers": (np.empty(3, np.int32), "shape (3,) and type int32"),
    "strided": (
        np.empty(6, np.float32)[::2], "shape (3,) and type float32, strided or read-only"
    ),
    "read-only": (
        read_only(np.empty(3, np.float32)), "shape (3,) and type float32, strided or read-only"
    ),
    "a list": ([0.0, 0.0, 0.0], "list"),
    "a scalar": (np.float32(0), "float32"),
}  # fmt: skip


@pytest.mark.nojit
@pytest.mark.parametrize("name", BAD_OUTS)
def test_a_bad_out_for_a_row(name: str) -> None:
    out, got = BAD_OUTS[name]
    before = copy.deepcopy(out)
    with pytest.raises(InputError) as caught:
        deep().compile_predictor()(np.ones(N_FEATURES, np.float32), out)
    assert str(caught.value) == (
        f"predictor: expected out contiguous, of shape (3,) and type float32, got {got}; "
        "allocate it with np.empty"
    )
    np.testing.assert_array_equal(out, before)


@pytest.mark.nojit
@pytest.mark.parametrize("n", [0, 2])
def test_a_bad_out_for_a_matrix(n: int) -> None:
    compiled = deep().compile_predictor()
    outs: list[tuple[Any, str]] = [
        (np.empty(3, np.float32), "shape (3,) and type float32"),
        (np.empty((n + 1, 3), np.float32), f"shape ({n + 1}, 3) and type float32"),
        (np.empty((n, 3)), f"shape ({n}, 3) and type float64"),
        (
            read_only(np.empty((n, 3), np.float32)),
            f"shape ({n}, 3) and type float32, strided or read-only",
        ),
        ([[0.0] * 3] * n, "list"),
    ]
    for out, got in outs:
        with pytest.raises(InputError) as caught:
            compiled(np.ones((n, N_FEATURES)), out)
        assert str(caught.value) == (
            f"predictor: expected out contiguous, of shape ({n}, 3) and type float32, got {got}; "
            "allocate it with np.empty"
        )


# ---------------------------------------------------------------- refusals


@pytest.mark.nojit
@pytest.mark.parametrize(
    "shape", [(5,), (7,), (0,), (1,), (2, 5), (6, 3), (0, 5), (2, 3, 6), ()], ids=str
)
def test_wrong_shapes(shape: tuple[int, ...]) -> None:
    for X in (np.zeros(shape), np.zeros(shape, np.float32), np.zeros(shape).tolist()):
        with pytest.raises(InputError) as caught:
            deep().compile_predictor()(X)
        got = np.shape(X)
        assert str(caught.value) == (
            f"predictor: expected X of shape (6,) or (n, 6), got shape {got}; "
            "pass the columns the network was built for"
        )


@pytest.mark.nojit
def test_what_are_no_numbers() -> None:
    compiled = deep().compile_predictor()
    with pytest.raises(InputTypeError, match=r"^predictor: expected X to hold numbers, got "):
        compiled(np.array(["a"] * 6))
    with pytest.raises(InputTypeError, match=r"^predictor: expected X to hold numbers, got "):
        compiled([{}] * 6)
    with pytest.raises(InputTypeError, match=r"numbers, got dtype complex128"):
        compiled(np.ones(6, complex))
    with pytest.raises(InputError, match=r"^predictor: expected X as a rectangular array, got "):
        compiled([[1.0] * 6, [1.0] * 5])
    for X in (sparse.csr_array(np.eye(6)), sparse.csc_matrix(np.eye(6))):
        with pytest.raises(InputTypeError) as caught:
            compiled(X)
        assert str(caught.value) == (
            f"predictor: expected X as a dense array, got {type(X).__name__}; "
            "call its .toarray() first"
        )


class OwnDense(Dense):
    """Derived from a layer with a kernel, and so perhaps another function."""


class OwnLoss(MeanSquaredError):
    pass


@pytest.mark.nojit
def test_parts_of_ones_own_are_refused() -> None:
    for network in (
        Network([Dense(2, 2), Own()]),
        Network([OwnDense(2, 2)]),
        Network([Dense(2, 2)], OwnLoss()),
    ):
        for make in (network.build(2).compile_predictor, lambda n=network: Predictor(n)):
            with pytest.raises(InputError) as caught:
                make()
            assert str(caught.value) == (
                "compile_predictor: expected a built network of built-in parts, got parts of your "
                "own; use predict_proba"
            )


@pytest.mark.nojit
def test_a_network_that_is_not_built_is_refused() -> None:
    for network in (Network([Dense(2)]), Network([Dense(4), Own(), Dense(2)])):
        with pytest.raises(InputError) as caught:
            network.compile_predictor()
        assert str(caught.value) == (
            "compile_predictor: expected a built network of built-in parts, got a network not "
            "built yet; call fit first"
        )


# ---------------------------------------------------------------- immutable


@pytest.mark.nojit
def test_later_training_does_not_reach_it(rng: np.random.Generator) -> None:
    X, y = rows_of(rng, 12), np.arange(12) % 3
    network = deep()
    compiled, wanted = network.compile_predictor(), network.predict_proba(X)
    compiled(X[0])
    network.fit(X, y, epochs=2, optimizer="sgd")
    network.params[:] = 7
    network.layers[0].W = 9  # type: ignore[attr-defined]
    network.loss = SoftmaxCrossEntropy(0.5)
    assert_equal(compiled(X), wanted)
    assert_equal(compiled(X[5]), wanted[5])
    assert (network.predict_proba(X) != wanted).any()


@pytest.mark.nojit
def test_it_outlives_its_network(rng: np.random.Generator) -> None:
    network, row = deep(), rows_of(rng, 1)[0]
    wanted, compiled = network.predict_proba([row])[0], network.compile_predictor()
    del network
    gc.collect()
    noise = [np.full(100, np.nan, np.float32) for _ in range(1000)]  # over what was freed
    assert_equal(compiled(row), wanted)
    assert len(noise) == 1000


@pytest.mark.nojit
def test_no_attribute_can_be_added() -> None:
    compiled = deep().compile_predictor()
    for name in ("params", "network", "dtype", "__dict__", "n_features"):
        with pytest.raises(AttributeError):
            setattr(compiled, name, 1)
    assert not hasattr(compiled, "__dict__")


# ---------------------------------------------------------------- weights of 16 bits


HALVES = pytest.mark.parametrize("stored", [one_row.FLOAT16, one_row.BFLOAT16])


@pytest.mark.nojit
@pytest.mark.bounds
@HALVES
@both_types
def test_weights_of_16_bits(stored: one_row.Stored, dtype: str, rng: np.random.Generator) -> None:
    """One row and many get what the network would answer with rounded weights."""
    layers = [Dense(N_FEATURES, 300), ReLU(), Dense(300, 65), Tanh(), Dense(65, 1), Dense(1, 9)]
    network = Network(layers, dtype=dtype).build(N_FEATURES)
    X = rows_of(rng, 40 if JIT_ENABLED else 3, dtype)
    before, compiled = network.predict_proba(X), network.compile_predictor(weights=stored.name)
    for layer in layers[::2] + layers[-1:]:
        assert isinstance(layer, Dense)
        assert not np.array_equal(layer.W, stored.rounded(layer.W))
        layer.W = stored.rounded(layer.W)
    wanted = network.predict_proba(X)
    assert_equal(compiled(X), wanted)
    for row, right in zip(X, wanted, strict=True):
        assert_equal(compiled(row), right)
        assert_equal(compiled(row.reshape(1, -1)), right.reshape(1, -1))
    np.testing.assert_allclose(wanted, before, atol=0.03)
    assert_equal(by_pickle(compiled)(X[0]), wanted[0])
    assert repr(compiled) == f"Predictor(6 inputs, 9 outputs, {dtype}, weights in {stored.name})"


@pytest.mark.nojit
def test_work_spaces_share_the_weights_in_their_order(rng: np.random.Generator) -> None:
    compiled = deep().compile_predictor(weights="float16")
    compiled(rows_of(rng, 1)[0])
    packed = [compiled._new_space()[1]._packed, *(made._packed for _, made in compiled._spare)]
    assert len(packed) == 2
    assert packed[0] is packed[1] is compiled._packed


@pytest.mark.nojit
def test_how_weights_are_rounded() -> None:
    third, tie, odd_tie = 1 / 3, 1 + 2**-8, 1 + 3 * 2**-8
    W = np.array([[third, -third, tie, odd_tie, 1e30, 0.0, -0.0]], np.float32)
    found = one_row.BFLOAT16.rounded(W)[0]
    assert found.tolist() == [0.333984375, -0.333984375, 1.0, 1 + 2**-6, found[4], 0.0, -0.0]
    assert abs(found[4] / np.float32(1e30) - 1) < 2**-8
    assert np.signbit(found[-1])
    W = np.array([[third, 1e-7, 65504.0]])
    np.testing.assert_array_equal(one_row.FLOAT16.rounded(W), W.astype(np.float16))


@pytest.mark.parametrize("has_instruction", [False, True])
def test_every_float16(has_instruction: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processors without an instruction for it compute the same numbers by others."""
    if has_instruction and not target.widens_float16():
        pytest.skip("this processor has no such instruction")
    monkeypatch.setattr(one_row, "widens_float16", lambda: has_instruction)
    bits = np.arange(2**16, dtype=np.uint16)
    W = bits.view(np.float16).astype(np.float32).reshape(1, -1)
    W[~np.isfinite(W)] = 0
    panels, x = one_row.in_wide_panels(W, one_row.FLOAT16), np.ones(1, np.float32)
    biases, out = np.zeros(W.size, np.float32), np.empty(W.size, np.float32)
    weights = Weights(address_of(panels), 0, address_of(biases), 1, W.size)
    one_row.forward_with(one_row.FLOAT16)(address_of(x), weights, address_of(out), np.float32(1))
    np.testing.assert_array_equal(out, W[0] + 0.0)  # a sum that begins at 0 is never -0


@HALVES
def test_the_error_of_rounded_weights_is_as_documented(
    stored: one_row.Stored, rng: np.random.Generator
) -> None:
    W = rng.normal(size=(100, 100)).astype(np.float32)
    most = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[stored.name]
    off = np.abs(stored.rounded(W) - W)
    assert (off <= np.maximum(most * np.abs(W), 3e-8)).all()
    assert off.max() > 0.2 * most


# ---------------------------------------------------------------- copies


def by_pickle(compiled: Predictor) -> Predictor:
    found: Predictor = pickle.loads(pickle.dumps(compiled))
    return found


@pytest.mark.thinned(2)
@pytest.mark.nojit
@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, by_pickle])
@pytest.mark.parametrize("used", [False, True])
def test_a_copy_stands_alone(how: Any, used: bool, rng: np.random.Generator) -> None:
    """Work spaces hold addresses, so a copy of them would write into the original's memory."""
    X = rows_of(rng, 4)
    compiled = deep().compile_predictor()
    wanted = compiled(X)
    if used:
        compiled(X[0])
    twin = how(compiled)
    assert type(twin) is Predictor
    assert_equal(twin(X[1]), wanted[1])
    addresses = [[address for address, _ in each._spare] for each in (compiled, twin)]
    assert len(addresses[1]) == 1
    assert not set(addresses[0]) & set(addresses[1])
    del compiled
    gc.collect()
    noise = [np.full(500, np.nan, np.float32) for _ in range(200)]
    assert_equal(twin(X[2]), wanted[2])
    assert_equal(twin(X), wanted)
    assert len(noise) == 200


@pytest.mark.slow
def test_a_pickle_works_in_another_process(tmp_path: Path, rng: np.random.Generator) -> None:
    X, compiled = rows_of(rng, 4), deep().compile_predictor()
    compiled(X[0])  # now it has a workspace, whose addresses mean nothing elsewhere
    (tmp_path / "predictor.pickle").write_bytes(pickle.dumps((compiled, X)))
    code = """
import json, pickle, sys
compiled, X = pickle.load(open(sys.argv[1], "rb"))
print(json.dumps([compiled(row).tolist() for row in X]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "predictor.pickle")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.array(json.loads(done.stdout), np.float32), compiled(X))


# ---------------------------------------------------------------- threads


@pytest.mark.parametrize("size", [1, 9, 700])
def test_eight_threads_call_one_predictor(size: int, rng: np.random.Generator) -> None:
    """Each gets the answers to its own rows, whether alone, in a small matrix or in blocks."""
    network = deep()
    compiled = network.compile_predictor()
    parts = [rows_of(rng, size) for _ in range(8)]
    wanted = [network.predict_proba(part) for part in parts]
    assert len({right.tobytes() for right in wanted}) == 8
    start = threading.Barrier(8)

    def run(number: int) -> bool:
        X = parts[number][0] if size == 1 else parts[number]
        right = wanted[number][0] if size == 1 else wanted[number]
        out = np.empty_like(right)
        start.wait()
        for call in range(400 if size == 1 else 20):
            found = compiled(X, out if call % 2 else None)
            if not np.array_equal(found, right):
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(run, range(8)))


def first_row_as(kind: str) -> Callable[[np.ndarray], np.ndarray]:
    return lambda row: INPUTS[kind](row[np.newaxis])[0]


ODD_ROWS: dict[str, Callable[[np.ndarray], Any]] = {
    kind: first_row_as(kind)
    for kind in INPUTS
    if kind not in ("contiguous", "uint8", "int64", "bool")  # the same type, or other numbers
} | {
    "list": lambda row: row.tolist(),
    "tuple": lambda row: tuple(row.tolist()),
    "whole numbers": lambda row: row.astype(np.int8),
    "masked": np.ma.masked_array,
    "of a class": lambda row: row.view(type("Own", (np.ndarray,), {})),
}


@pytest.mark.nojit
@pytest.mark.parametrize("kind", ODD_ROWS)
def test_rows_that_the_kernel_refuses_are_tidied(kind: str, rng: np.random.Generator) -> None:
    row = np.round(rows_of(rng, 1)[0] * 4)
    compiled = deep().compile_predictor()
    wanted = compiled(row)
    out = np.zeros_like(wanted)
    odd = ODD_ROWS[kind](row)
    assert_equal(compiled(odd), wanted)
    assert compiled(odd, out) is out
    assert_equal(out, wanted)
    for wrong in (row[:-1], np.append(row, 0).astype(row.dtype), row[0]):
        with pytest.raises(InputError, match="expected X of shape"):
            compiled(wrong)


@pytest.mark.nojit
def test_out_may_be_of_a_class_of_its_own(rng: np.random.Generator) -> None:
    row, compiled = rows_of(rng, 1)[0], deep().compile_predictor()
    out = np.ma.zeros(N_OUTPUTS, np.float32)
    assert compiled(row, out) is out
    assert_equal(out.data, compiled(row))


@pytest.mark.nojit
def test_threads_inside_at_once_have_spaces_of_their_own(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """Three that are held inside the kernel use three; a later one takes one of these."""
    X, compiled = rows_of(rng, 3), deep().compile_predictor()
    wanted = compiled(X)
    inside, seen, kernel = threading.Barrier(3), [], compiled._kernel

    def outputs_of_row(address: int, x: np.ndarray, out: np.ndarray) -> bool:
        seen.append(address)
        inside.wait(60)
        return bool(kernel(address, x, out))

    with monkeypatch.context() as patch, ThreadPoolExecutor(3) as pool:
        patch.setattr(predictor, "exactly", lambda kernel, *examples: outputs_of_row)
        compiled._spare.clear()
        compiled._kernel = outputs_of_row
        for found, right in zip(pool.map(compiled, X), wanted, strict=True):
            assert_equal(found, right)
    compiled._kernel = kernel
    assert len(set(seen)) == 3
    assert {address for address, _ in compiled._spare} == set(seen)
    compiled(X[0])
    assert len(compiled._spare) == 3


# ---------------------------------------------------------------- memory


def traced_calls(compiled: Predictor, *args: np.ndarray) -> tuple[int, int]:
    """Bytes that a thousand calls leave behind, and the most that they had in between."""
    gc.collect()
    gc.disable()  # it empties Python's store of tuples, which then shows as growth
    tracemalloc.start()
    try:
        for _ in itertools.repeat(None, 10):  # what Python keeps of first calls
            compiled(*args)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in itertools.repeat(None, 1000):
            compiled(*args)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    return after - before, peak - before


@pytest.mark.thinned(1)
@both_types
@pytest.mark.parametrize("shape", ["row", "matrix"])
def test_a_call_with_out_allocates_nothing(
    shape: str, dtype: str, rng: np.random.Generator
) -> None:
    """Neither for good nor for a moment; without `out`, one array at a time shows in the trace."""
    compiled = deep(dtype).compile_predictor()
    rows, outs = rows_of(rng, 40, dtype), np.empty((40, N_OUTPUTS), dtype)
    row, out = (rows[0], outs[0]) if shape == "row" else (rows, outs)
    compiled(row, out)
    left, peak = traced_calls(compiled, row, out)
    left_without, peak_without = traced_calls(compiled, row)
    assert max(left, left_without) < 500, "more than half a byte a call"
    # Of a function without arguments it is 128; a tuple of arguments takes 96, if it is traced.
    assert peak < 128 + 96 + 32, "more than tuples of Python's"
    assert peak_without >= peak + out.nbytes + 64, (peak, peak_without)


def test_work_spaces_are_used_again(rng: np.random.Generator) -> None:
    compiled, X = deep().compile_predictor(), rows_of(rng, 50)
    for row in X:
        compiled(row)
    assert len(compiled._spare) == 1


@pytest.mark.nojit
def test_results_are_arrays_of_their_own(rng: np.random.Generator) -> None:
    """The next call does not write over them, nor into the input."""
    compiled, X = deep().compile_predictor(), rows_of(rng, 2)
    before = X.copy()
    first = compiled(X[0])
    kept = first.copy()
    compiled(X[1])
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(X, before)
    assert first.flags.owndata
    assert first.flags.writeable
