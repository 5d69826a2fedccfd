"""The fused step and the layer-by-layer path must give the same bits in all cases.
One epoch of single samples must visit the same parameters as the per-sample reference.
"""

from __future__ import annotations

import copy
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from fastmlp import nn as layers
from fastmlp import reference
from fastmlp.engine import engine, helper, layerwise, lowering, outputs, spares, threads
from fastmlp.inputs.tables import table_of
from fastmlp.inputs.targets import Encoded
from fastmlp.kernels import tuning
from fastmlp.kernels.compiler.jit import JIT_ENABLED
from fastmlp.kernels.rules import random
from fastmlp.kernels.step.threads import ABORTED, sync_size
from fastmlp.network import Network
from fastmlp.nn import (
    ACTIVATIONS,
    ELU,
    Dense,
    Dropout,
    Identity,
    Layer,
    LeakyReLU,
    ReLU,
    Rescaling,
    Tanh,
)
from fastmlp.nn.losses import LOSSES, Loss, SoftmaxCrossEntropy
from fastmlp.optim.optimizers import OPTIMIZERS, SGD, Adam, Optimizer
from fastmlp.optim.schedules import Linear
from fastmlp.tools.gradient_check import _activation_options
from fastmlp.training import loop

from ..support import layer_by_layer, who_asks

pytestmark = pytest.mark.thinned

N, N_FEATURES, N_OUTPUTS = 23, 6, 3
FIT = {"epochs": 2, "batch_size": 8}  # the last batch of 23 rows has 7

Make = Callable[[], Network]
Agree = Callable[..., Network]


def targets(loss: Loss, rng: np.random.Generator, n: int = N) -> np.ndarray:
    """Targets for three outputs that suit a loss."""
    if loss.task == "classes":
        return np.arange(n) % N_OUTPUTS
    if loss.task == "binary":
        return rng.integers(0, 2, (n, N_OUTPUTS))
    if getattr(loss, "levels", ()):
        return rng.normal(size=(n, N_OUTPUTS // len(loss.levels)))  # type: ignore[attr-defined]
    return rng.poisson(1.0, (n, N_OUTPUTS)).astype(float)


def loss_with_options(cls: type[Loss]) -> Loss:
    values = {"label_smoothing": 0.1, "delta": 0.7, "levels": (0.1, 0.5, 0.8)}
    return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})  # type: ignore[arg-type]


def small(*inner: Any, **options: Any) -> Make:
    """A network of inputs, the given layers and three outputs, made anew at each call."""

    def make() -> Network:
        made = [layer() if isinstance(layer, type) else copy.deepcopy(layer) for layer in inner]
        return Network([*made, Dense(N_OUTPUTS)], **options)

    return make


def trace(make: Make, X: Any, y: Any, fit: dict[str, Any]) -> dict[str, Any]:
    """Everything that a fit leaves behind, as bytes and exact numbers."""
    network = make()
    history = network.fit(X, y, validation_data=(X, y), **{**FIT, **fit})
    loss, gradient = network.loss_and_gradient(X, y)
    return {
        "network": network,
        "losses": history.loss,
        "parameters": network.params.tobytes(),
        "last gradient": network.grads.tobytes(),
        "validation": (history.validation_loss, history.validation_score),
        "outputs": network.outputs(X).tobytes(),
        "loss": loss,
        "gradient": gradient.tobytes(),
    }


def forbidden(*_: Any, **__: Any) -> None:
    raise AssertionError("the wrong path was taken")


def fused_trace(make: Make, X: Any, y: Any, fit: dict[str, Any]) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layerwise, "gradient", forbidden)
        return trace(make, X, y, fit)


def layer_trace(make: Make, X: Any, y: Any, fit: dict[str, Any]) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        layer_by_layer(patch)
        for module in (spares, outputs):
            patch.setattr(module, "Engine", forbidden)
        return trace(make, X, y, fit)


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [key for key in one if key != "network" and one[key] != other[key]]


def assert_paths_agree(make: Make, X: Any, y: Any, **fit: Any) -> Network:
    """Train on both paths; returns the fused one."""
    fused = fused_trace(make, X, y, fit)
    start = make()
    start.build(fused["network"].n_features)
    assert fused["parameters"] != start.params.tobytes()  # else nothing would have been compared
    assert np.isfinite(fused["network"].params).all()
    assert differing(fused, layer_trace(make, X, y, fit)) == []
    network: Network = fused["network"]
    return network


# ------------------------------------------------------------------ every entry of the registries


@pytest.mark.thinned
@pytest.mark.bounds
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", list(LOSSES), ids=LOSSES.names)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=[a.name for a in ACTIVATIONS])
def test_paths_agree_for_every_activation_and_loss(
    activation: type, loss: type[Loss], dtype: str, rng: np.random.Generator
) -> None:
    chosen = loss_with_options(loss)
    options = _activation_options(activation.name)

    def make() -> Network:
        inner = [Dense(7), activation(**options), Dense(5), activation(**options)]
        return Network([*inner, Dense(N_OUTPUTS)], chosen, dtype=dtype)

    X = rng.normal(size=(N, N_FEATURES)).astype(dtype)
    assert_paths_agree(make, X, targets(chosen, rng))


@pytest.mark.nojit
@pytest.mark.parametrize("loss", list(LOSSES), ids=LOSSES.names)
def test_paths_agree_for_the_default_of_every_loss(
    loss: type[Loss], rng: np.random.Generator
) -> None:
    y = targets(loss(), rng)
    assert_paths_agree(small(Dense(4), ReLU, loss=loss()), rng.normal(size=(N, N_FEATURES)), y)


@pytest.mark.nojit
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=[a.name for a in ACTIVATIONS])
def test_paths_agree_for_the_default_of_every_activation(
    activation: type, rng: np.random.Generator
) -> None:
    X, y = rng.normal(size=(N, N_FEATURES)), targets(SoftmaxCrossEntropy(), rng)
    assert_paths_agree(small(Dense(4), activation, dtype="float64"), X, y)


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "decayed": {"weight_decay": 0.1},
    "clipped": {"clip_norm": 0.05},
    "never clipped": {"clip_norm": 1e6},
    "factored": {"factors": {"*": 0.5, "*.b": 0.1, "0.W": 6.0}},
    "scheduled": {"learning_rate": Linear(0.02, 0.001)},
    "everything": {
        "learning_rate": Linear(0.02, 0.001),
        "weight_decay": 0.1,
        "clip_norm": 0.1,
        "factors": {"2.*": 3.0},
    },
}
MOMENTA: dict[str, dict[str, Any]] = {
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "nesterov without momentum": {"nesterov": True},
    "everything": {"momentum": 0.5, "nesterov": True, **SETTINGS["everything"]},
}
OPTIMIZER_CASES = [
    pytest.param(cls(**options), id=f"{cls.name}-{setting}")
    for cls in OPTIMIZERS
    for setting, options in SETTINGS.items()
] + [pytest.param(SGD(**options), id=f"sgd-{setting}") for setting, options in MOMENTA.items()]


@pytest.mark.thinned
@pytest.mark.nojit
@pytest.mark.bounds
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZER_CASES)
def test_paths_agree_for_every_optimizer(
    optimizer: Optimizer, dtype: str, rng: np.random.Generator
) -> None:
    X, y = rng.normal(size=(N, N_FEATURES)), targets(SoftmaxCrossEntropy(), rng)
    assert_paths_agree(small(Dense(5), Tanh, dtype=dtype), X, y, optimizer=optimizer)


def test_settings_of_an_optimizer_change_what_is_trained(rng: np.random.Generator) -> None:
    X, y = rng.normal(size=(N, N_FEATURES)), targets(SoftmaxCrossEntropy(), rng)
    results = {
        setting: fused_trace(small(Dense(5), Tanh), X, y, {"optimizer": SGD(**options)})[
            "parameters"
        ]
        for setting, options in {**SETTINGS, **MOMENTA}.items()
    }
    plain = [results.pop(name) for name in ("never clipped", "nesterov without momentum")]
    assert plain == [results["plain"]] * 2
    assert len(set(results.values())) == len(results)


# --------------------------------------------------------------------------------- architectures

ARCHITECTURES: dict[str, list[Any]] = {
    "no hidden layer": [],
    "dense after dense": [Dense(5), Dense(4)],
    "three hidden layers": [Dense(9), ReLU(), Dense(8), Tanh(), Dense(7), ELU()],
    "one wide, one narrow": [Dense(40), ReLU(), Dense(1), Tanh()],
    "input dropout": [Dropout(0.2), Dense(5), ReLU()],
    "dropout after activation": [Dense(5), ReLU(), Dropout(0.4)],
    "dropout before activation": [Dense(5), Dropout(0.4), Tanh()],
    "dropout everywhere": [Dropout(0.2), Dense(8), ReLU(), Dropout(0.5), Dense(6), Dropout(0.1)],
    "dropout twice in a row": [Dense(8), ReLU(), Dropout(0.3), Dropout(0.2)],
    "input dropout twice": [Dropout(0.3), Dropout(0.2), Dense(5), ReLU()],
    "dropout of nothing": [Dense(5), Dropout(0.0), ReLU()],
    "dropout right after dense": [Dense(5), Dropout(0.4)],
    "activation first": [Tanh(), Dense(5), ReLU()],
    "activation and dropout first": [Tanh(), Dropout(0.3), Dense(5), ReLU()],
    "dropout and activation first": [Dropout(0.3), LeakyReLU(0.2), Dense(5), ReLU()],
    "two activations first": [Tanh(), LeakyReLU(0.2), Dense(5)],
    "two activations in a row": [Dense(5), Tanh(), LeakyReLU(0.2)],
    "three activations in a row": [Dense(5), Tanh(), Identity(), LeakyReLU(0.2), Dense(4)],
    "activation, dropout, activation": [Dense(6), Tanh(), Dropout(0.3), LeakyReLU(0.2)],
    "limited norms": [Dense(5, max_norm=0.3), ReLU(), Dense(4), Tanh()],
    "rescaling first": [Rescaling(0.3), Dense(5), ReLU()],
    "doubling first": [Rescaling(2.0), Dense(5), ReLU()],
    "rescaling and dropout first": [Rescaling(0.3), Dropout(0.2), Dense(5), ReLU()],
    "rescaling and activation first": [Rescaling(0.3), Tanh(), Dense(5)],
    "rescaling twice first": [Rescaling(0.3), Rescaling(3), Dense(5)],
    "rescaling inside": [Dense(5), Rescaling(3), Dense(4), Tanh(), Rescaling(-0.5)],
    "neural tangent kernel": [Dense(5, initializer="ntk"), ReLU()],
}


@pytest.mark.thinned
@pytest.mark.nojit
@pytest.mark.bounds
@pytest.mark.parametrize("clip_norm", [None, 0.1])
@pytest.mark.parametrize("inner", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_paths_agree_for_every_architecture(
    inner: list[Any], clip_norm: float | None, rng: np.random.Generator
) -> None:
    def make() -> Network:
        return Network([*copy.deepcopy(inner), Dense(N_OUTPUTS)], random_state=3)

    X, y = rng.normal(size=(N, N_FEATURES)), targets(SoftmaxCrossEntropy(), rng)
    assert_paths_agree(make, X, y, optimizer=Adam(0.01, clip_norm=clip_norm))


@pytest.mark.nojit
@pytest.mark.parametrize(
    "last", [[Tanh()], [Dropout(0.3)], [Tanh(), Dropout(0.3)], [Dropout(0.3), Tanh()]]
)
def test_paths_agree_when_the_last_layer_is_not_dense(
    last: list[Any], rng: np.random.Generator
) -> None:
    def make() -> Network:
        return Network([Dense(5), ReLU(), Dense(N_OUTPUTS), *copy.deepcopy(last)])

    X, y = rng.normal(size=(N, N_FEATURES)), targets(SoftmaxCrossEntropy(), rng)
    assert_paths_agree(make, X, y)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_paths_agree_for_wide_layers_and_several_threads(
    dtype: str, n_threads: int, rng: np.random.Generator
) -> None:
    # Wide enough for packed panels, for several tiles a row and for gradients in several parts.
    inner = (Dropout(0.1), Dense(301), ReLU, Dropout(0.2), Dense(70, max_norm=1.0), Tanh)
    make = small(*inner, dtype=dtype, l2=1e-4)
    X, y = rng.normal(size=(75, 130)).astype(dtype), np.arange(75) % N_OUTPUTS
    fit = {"batch_size": 40, "optimizer": Adam(0.01, clip_norm=1.0), "n_threads": n_threads}
    assert_paths_agree(make, X, y, **fit)


MANY_INPUTS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "plain": ([Dense(9), ReLU()], {}),
    "packed": ([Dense(250), Tanh()], {}),
    "clipped": ([Dense(9), Tanh(), Dense(5)], {"optimizer": Adam(0.01, clip_norm=0.1)}),
    "limited": ([Dense(9, max_norm=0.5), Tanh()], {"optimizer": SGD(0.1, momentum=0.9)}),
    "dropped": ([Dense(9), Tanh(), Dropout(0.3)], {"batch_size": 5}),
    "rescaled": ([Rescaling(0.5), Dense(9), Tanh()], {}),
    "dropout first": ([Dropout(0.3), Dense(9), Tanh()], {}),
    "by columns": ([Dense(9), Tanh(), Dense(270), Tanh()], {}),
}


@pytest.mark.thinned(5)
@pytest.mark.parametrize("n_features", [193, 390])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", MANY_INPUTS)
def test_paths_agree_where_threads_share_out_inputs(
    case: str, dtype: str, n_features: int, rng: np.random.Generator
) -> None:
    layers, fit = MANY_INPUTS[case]
    X, y = rng.normal(size=(45, n_features)), np.arange(45) % N_OUTPUTS
    make = small(*layers, dtype=dtype, l1=1e-5, l2=1e-4)
    for kind in (np.dtype(dtype), np.float16):
        values = X.astype(kind)
        found = {
            threads: assert_paths_agree(make, values, y, **{"n_threads": threads, **fit})
            for threads in (1, 2, 3, 4)
        }
        assert len({network.params.tobytes() for network in found.values()}) == 1


UNITS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "one hidden layer": ([Dense(40), ReLU], {}),
    "nothing but products": ([Dense(33)], {"batch_size": 17}),
    "more layers": ([Dense(120), Tanh, Dense(16), ReLU, Dropout(0.2), Dense(5)], {}),
    "dropout behind the sums": ([Dense(40), Tanh, Dense(7), ReLU, Dropout(0.3)], {}),
    "rescaled": ([Rescaling(0.5), Dense(50), ReLU], {"optimizer": SGD(0.1, momentum=0.9)}),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", UNITS)
def test_paths_agree_where_threads_share_out_units(
    case: str, dtype: str, rng: np.random.Generator
) -> None:
    """Each computes some units of the first layer for all rows, and their part of the next sums."""
    layers, fit = UNITS[case]
    X, y = rng.normal(size=(45, 13)), np.arange(45) % N_OUTPUTS
    make = small(*layers, dtype=dtype, l1=1e-5, l2=1e-4)
    network = make().build(13)
    assert engine.Engine(network, table_of(X, network.dtype), 8, n_threads=2).crew["shared"] == 1
    for kind in (np.dtype(dtype), np.float16):
        found = {
            threads: assert_paths_agree(make, X.astype(kind), y, **{"n_threads": threads, **fit})
            for threads in (1, 2, 3)
        }
        assert len({network.params.tobytes() for network in found.values()}) == 1


@pytest.mark.nojit
@pytest.mark.bounds
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("patience", [0, 2, 9])
def test_a_call_ends_when_patience_is_worn_out(
    patience: int, n_threads: int, rng: np.random.Generator
) -> None:
    """No loss is better by infinitely much; parameters are those after the epochs that count."""
    X, n_epochs, n_steps = rng.normal(size=(N, N_FEATURES)), 6, 3
    encoded = Encoded(np.arange(N, dtype=np.int32) % N_OUTPUTS, np.empty(0))
    orders = np.array([rng.permutation(N) for _ in range(n_epochs)], np.int32)

    def trained(n_epochs: int, patience: engine.Patience) -> tuple[Network, np.ndarray, int]:
        network, optimizer = small(Dense(40), ReLU, dtype="float64")().build(N_FEATURES), SGD(0.1)
        built = engine.Engine(network, table_of(X, network.dtype), 8, n_threads, optimizer)
        numbers = optimizer.step_numbers(0, np.full(n_epochs * n_steps, 0.1))
        nothing = np.empty(0)
        losses = built.train(orders[:n_epochs], encoded, nothing, nothing, numbers, 0, patience)
        return network, losses, int(built.call["enough_after"])

    network, losses, enough_after = trained(n_epochs, engine.Patience(patience, np.inf))
    n_done = min(patience + 1, n_epochs)
    assert enough_after == (n_done if patience < n_epochs else 0)
    assert np.isfinite(losses).tolist() == [i < n_done * n_steps for i in range(losses.size)]
    wanted, expected, _ = trained(n_done, engine.ENDLESS)
    np.testing.assert_array_equal(network.params, wanted.params)
    np.testing.assert_array_equal(losses[: expected.size], expected)


@pytest.mark.nojit
def test_units_are_shared_out_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small steps only if a call has many of them, and nothing needs all gradients at once."""
    monkeypatch.setattr(threads, "n_cores", lambda: 4)
    monkeypatch.setattr(threads, "JIT_ENABLED", True)
    table = table_of(np.ones((133, 13)), np.dtype(np.float64))

    def chosen(*layers: Layer, steps: int = 200, **options: Any) -> int:
        network = Network([*layers, Dense(3)], dtype="float64").build(13)
        built = engine.Engine(
            network, table, 133, n_threads=None, optimizer=Adam(**options), steps_per_call=steps
        )
        return built.n_threads

    assert chosen(Dense(100), ReLU()) == 2
    assert chosen(Dense(100), ReLU(), steps=1) == 1
    assert chosen(Dense(20), ReLU()) == 1
    assert chosen(Dense(100), ReLU(), Dropout(0.1)) == 1
    assert chosen(Dense(100, max_norm=1.0), ReLU()) == 1
    assert chosen(Dense(100), ReLU(), clip_norm=1.0) == 1
    assert chosen(Dense(120), ReLU(), Dense(120), ReLU()) == 4  # by rows


@pytest.mark.bounds
@pytest.mark.parametrize("n_rows", range(1, 20))
def test_paths_agree_for_every_size_of_batch(n_rows: int, rng: np.random.Generator) -> None:
    X, y = rng.normal(size=(19, N_FEATURES)), np.arange(19) % N_OUTPUTS
    assert_paths_agree(small(Dense(17), ReLU), X, y, batch_size=n_rows, n_threads=2)


# ------------------------------------------------------------------------------------------ data


def kinds_of_X(rng: np.random.Generator) -> dict[str, np.ndarray]:
    X = rng.integers(0, 255, (N, N_FEATURES)).astype(np.float64) / 64
    doubled = np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)
    return {
        "C, float64": X,
        "C, float32": X.astype(np.float32),
        "Fortran, float64": np.asfortranarray(X),
        "Fortran, float32": np.asfortranarray(X, np.float32),
        "uint8": (X * 64).astype(np.uint8),
        "uint8, Fortran": np.asfortranarray((X * 64).astype(np.uint8)),
        "every second row and column": doubled[::2, ::2],
        "backwards": X[::-1, ::-1],
        "every row alike": np.broadcast_to(X[3], X.shape),
        "int64": (X * 8).astype(np.int64),
        "bool": X > 2,
        "float16": X.astype(np.float16),
        "float16, Fortran": np.asfortranarray(X, np.float16),
        "big-endian": X.astype(">f8"),
        "unaligned": np.frombuffer(b"x" + X.tobytes(), np.uint8)[1:]
        .view(np.float64)[:138]
        .reshape(N, N_FEATURES),
        "objects": X.astype(object),
        "read-only": np.frombuffer(X.tobytes()).reshape(X.shape),
    }


KINDS = list(kinds_of_X(np.random.default_rng(0)))


@pytest.mark.nojit
@pytest.mark.bounds
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_paths_agree_for_every_kind_of_X(kind: str, dtype: str, rng: np.random.Generator) -> None:
    X = kinds_of_X(rng)[kind]
    y = np.arange(N) % N_OUTPUTS
    network = assert_paths_agree(small(Dense(5), ReLU, dtype=dtype), X, y)
    # And the same as for the plain copy of the same numbers, which shows that they were read right.
    plain = np.array(X, dtype, order="C")
    assert (
        network.params.tobytes()
        == fused_trace(small(Dense(5), ReLU, dtype=dtype), plain, y, {})["parameters"]
    )


@pytest.mark.nojit
@pytest.mark.bounds
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_rescaling_is_a_multiplication_of_X(
    kind: str, dtype: str, rng: np.random.Generator
) -> None:
    X, y, scale = kinds_of_X(rng)[kind], np.arange(N) % N_OUTPUTS, np.dtype(dtype).type(1 / 255)
    network = assert_paths_agree(small(Rescaling(), Dense(5), ReLU, dtype=dtype), X, y)
    scaled = np.array(X, dtype, order="C") * scale
    plain = fused_trace(small(Identity(), Dense(5), ReLU, dtype=dtype), scaled, y, {})
    assert network.params.tobytes() == plain["parameters"]
    rounding = 0 if JIT_ENABLED else 1e-5  # NumPy sums one row in another order than many
    served = network.compile_predictor()(X[3])
    np.testing.assert_allclose(served, network.predict_proba(X)[3], rtol=rounding)


@pytest.mark.nojit
@pytest.mark.parametrize("threads", [1, 2])
def test_rescaling_of_sparse_rows(threads: int, rng: np.random.Generator) -> None:
    X, y = rng.integers(0, 3, (N, N_FEATURES)).astype(np.float64), np.arange(N) % N_OUTPUTS
    dense = assert_paths_agree(small(Rescaling(0.5), Dense(5), ReLU), X, y, n_threads=threads)
    network = small(Rescaling(0.5), Dense(5), ReLU)()
    trace = fused_trace(lambda: network, sparse.csr_array(X), y, {"n_threads": threads})
    assert trace["parameters"] == dense.params.tobytes()


@pytest.mark.nojit
@pytest.mark.bounds
@pytest.mark.parametrize("shape", [(1, 1), (1, N_FEATURES), (N, 1), (2, 2)])
def test_paths_agree_for_the_smallest_tables(
    shape: tuple[int, int], rng: np.random.Generator
) -> None:
    y = rng.normal(size=(shape[0], N_OUTPUTS))
    make = small(Dense(5), Tanh, loss="mean_squared_error")
    for X in (rng.normal(size=shape), np.asfortranarray(rng.normal(size=shape))):
        assert_paths_agree(make, X, y)


@pytest.mark.nojit
@pytest.mark.parametrize(
    "options", [{"l1": 0.01}, {"l2": 0.1}, {"l1": 0.01, "l2": 0.1}], ids=["l1", "l2", "both"]
)
@pytest.mark.parametrize("clip_norm", [None, 0.2])
def test_paths_agree_with_penalties(
    options: dict[str, float], clip_norm: float | None, rng: np.random.Generator
) -> None:
    X, y = rng.normal(size=(N, N_FEATURES)), np.arange(N) % N_OUTPUTS
    optimizer = SGD(0.1, clip_norm=clip_norm)
    assert_paths_agree(small(Dense(5), ReLU, **options), X, y, optimizer=optimizer)


@pytest.mark.nojit
@pytest.mark.parametrize("loss", list(LOSSES), ids=LOSSES.names)
def test_paths_agree_with_sample_weights(loss: type[Loss], rng: np.random.Generator) -> None:
    chosen = loss_with_options(loss)
    weights = rng.uniform(0, 2, N)
    weights[::4] = 0
    weights[:8] = 0  # without shuffling, the first batch weighs nothing at all
    X, y = rng.normal(size=(N, N_FEATURES)), targets(chosen, rng)
    for shuffle in (True, False):
        make = small(Dense(4), Tanh, loss=chosen)
        assert_paths_agree(make, X, y, sample_weight=weights, shuffle=shuffle)


@pytest.mark.nojit
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(
    "kind", ["labels", "strings", "one-hot", "probabilities", "binary labels", "yes or no"]
)
def test_paths_agree_for_every_kind_of_target(
    kind: str, smoothing: float, rng: np.random.Generator
) -> None:
    labels = np.arange(N) % N_OUTPUTS
    y = {
        "labels": labels + 5,
        "strings": np.array(["blue", "green", "red"])[labels],
        "one-hot": np.eye(N_OUTPUTS)[labels],
        "probabilities": rng.dirichlet(np.ones(N_OUTPUTS), N),
        "binary labels": np.array(["no", "yes"])[labels % 2],
        "yes or no": labels % 2 == 0,
    }[kind]
    binary = kind in ("binary labels", "yes or no")
    loss = LOSSES["binary_cross_entropy" if binary else "softmax_cross_entropy"](
        label_smoothing=smoothing  # type: ignore[call-arg]
    )

    def make() -> Network:
        return Network([Dense(5), ReLU(), Dense(1 if binary else N_OUTPUTS)], loss)

    assert_paths_agree(make, rng.normal(size=(N, N_FEATURES)), y)


@pytest.mark.nojit
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("batch_size", [1, 5, N - 1, N, N + 1, 1000])
def test_paths_agree_for_every_batch_size(
    batch_size: int, shuffle: bool, rng: np.random.Generator
) -> None:
    X, y = rng.normal(size=(N, N_FEATURES)), np.arange(N) % N_OUTPUTS
    assert_paths_agree(small(Dense(4), ReLU), X, y, batch_size=batch_size, shuffle=shuffle)


@pytest.mark.nojit
def test_shuffling_and_dropout_go_on_from_epoch_to_epoch(rng: np.random.Generator) -> None:
    X, y = rng.normal(size=(N, N_FEATURES)), np.arange(N) % N_OUTPUTS
    make = small(Dropout(0.5), Dense(4), ReLU)
    one = assert_paths_agree(make, X, y, epochs=1, optimizer=SGD(1e-30))
    two = make().fit(X, y, epochs=3, batch_size=8, optimizer=SGD(1e-30))
    assert one is not None
    assert len(set(two.loss)) == 3  # with parameters at rest, only drops and order can differ


# ------------------------------------------------------------------- the comparison can also fail


@pytest.mark.nojit
def test_slopes_off_by_their_last_bit_are_noticed(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    X, y = rng.normal(size=(N, N_FEATURES)), np.arange(N) % N_OUTPUTS
    make, fit = small(Dense(4), Tanh, dtype="float64"), {}
    fused = fused_trace(make, X, y, fit)
    backward = Tanh.backward

    def off(layer: Any, dY: np.ndarray) -> np.ndarray:
        layer._slope = np.nextafter(layer._slope, 2.0)
        return backward(layer, dY)

    monkeypatch.setattr(Tanh, "backward", off)
    assert "parameters" in differing(fused, layer_trace(make, X, y, fit))


@pytest.mark.nojit
@pytest.mark.parametrize("change", ["seed", "rate", "order", "dropout"])
def test_different_fits_are_told_apart(change: str, rng: np.random.Generator) -> None:
    X, y = rng.normal(size=(N, N_FEATURES)), np.arange(N) % N_OUTPUTS
    make = small(Dense(4), Tanh, Dropout(0.1))
    other, fit = make, {}
    if change == "seed":
        other = small(Dense(4), Tanh, Dropout(0.1), random_state=1)
    elif change == "dropout":
        other = small(Dense(4), Tanh, Dropout(0.2))
    else:
        fit = {"optimizer": Adam(0.002)} if change == "rate" else {"shuffle": False}
    found = differing(fused_trace(make, X, y, {}), layer_trace(other, X, y, fit))
    assert {"parameters", "losses"} <= set(found)


# --------------------------------------------------------------------- which path, which threads


@pytest.mark.nojit
def test_only_built_in_parts_are_compiled() -> None:
    class MyReLU(ReLU):
        name = "my_relu"

    class MyLoss(SoftmaxCrossEntropy):
        name = "my_loss"

    class MyAdam(Adam):
        name = "my_adam"

    built_in = [Dense(2), ReLU(), Dropout()]
    assert lowering.can_compile(built_in, SoftmaxCrossEntropy(), Adam())
    assert lowering.can_compile(built_in, SoftmaxCrossEntropy())
    assert not lowering.can_compile([Dense(2), MyReLU()], SoftmaxCrossEntropy(), Adam())
    assert not lowering.can_compile(built_in, MyLoss(), Adam())
    assert not lowering.can_compile(built_in, SoftmaxCrossEntropy(), MyAdam())
    assert not lowering.can_compile(built_in, SoftmaxCrossEntropy(), object())


@pytest.mark.nojit
def test_a_class_derived_from_a_built_in_one_trains_alike(rng: np.random.Generator) -> None:
    class MyTanh(Tanh):
        name = "my_tanh"

    X, y = rng.normal(size=(N, N_FEATURES)), np.arange(N) % N_OUTPUTS
    fused = fused_trace(small(Dense(4), Tanh), X, y, {})
    own = trace(small(Dense(4), MyTanh), X, y, {})
    assert differing(fused, own) == []


@pytest.mark.nojit
def test_layers_fold_into_ops_of_dense_activation_and_dropout() -> None:
    made = [Dropout(), Dense(4), ReLU(), Dropout(), Dropout(), Tanh(), ReLU(), Dense(3), Dropout()]
    for layer in made:
        layer.build(5)
    parts = [(stage.main, stage.activation, stage.dropout) for stage in lowering.stages_of(made, 5)]
    folded = [[type(layer).__name__ for layer in op if layer is not None] for op in parts]
    assert folded == [
        ["Dropout"],
        ["Dense", "ReLU", "Dropout"],
        ["Dropout"],
        ["Tanh"],
        ["ReLU"],
        ["Dense", "Dropout"],
    ]


@pytest.mark.nojit
def test_threads_are_as_many_as_pay_or_as_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "n_cores", lambda: 4)
    monkeypatch.setattr(threads, "JIT_ENABLED", True)
    work = tuning.WORK_A_THREAD
    assert threads.choose_threads(None, 0) == 1
    assert threads.choose_threads(None, 2 * work - 1) == 1
    assert threads.choose_threads(None, 2 * work) == 2
    assert threads.choose_threads(None, 100 * work) == 4
    assert threads.choose_threads(7, 0) == 7
    monkeypatch.setattr(threads, "JIT_ENABLED", False)
    assert threads.choose_threads(7, 100 * work) == 1  # interpreted kernels know no threads


@pytest.mark.nojit
def test_cores_are_counted_with_and_without_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    assert threads.n_cores() >= 1
    monkeypatch.delattr(threads.os, "sched_getaffinity", raising=False)
    for name in threads._THREAD_LIMITS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 6)
    assert threads.n_cores() == 6
    monkeypatch.setattr(threads.os, "cpu_count", lambda: None)
    assert threads.n_cores() == 1


@pytest.mark.nojit
def test_parallel_workers_use_the_threads_their_pool_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(threads.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 8)
    for value, wanted in (("3", 3), ("99", 8), ("0", 1), ("4,2", 8), ("", 8)):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert threads.n_cores() == wanted
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    assert threads.n_cores() == 2
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(threads.n_cores).result() == 1


@pytest.mark.nojit
@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_failure_on_any_thread_is_raised_here(failing: int) -> None:
    sync, called = np.zeros(sync_size(2), np.int64), []

    def run(thread: int) -> None:
        called.append(thread)
        if thread == failing:
            raise MemoryError(f"thread {thread}")

    with pytest.raises(MemoryError, match=f"thread {failing}"):
        threads.on_threads(run, 3, sync)
    assert sorted(called) == [0, 1, 2]
    assert sync[ABORTED] == 1


@pytest.mark.nojit
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux lets threads choose")
def test_helpers_start_on_other_cores_and_may_leave_them() -> None:
    allowed, found = os.sched_getaffinity(0), {}

    def run(thread: int) -> None:
        found[thread] = helper._get_core(), os.sched_getaffinity(0)

    for _ in range(20):
        threads.on_threads(run, 2, np.zeros(sync_size(2), np.int64))
        assert found[0][1] == found[1][1] == allowed
    assert os.sched_getaffinity(0) == allowed


@pytest.mark.nojit
def test_helpers_run_where_nobody_may_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: Any) -> None:
        raise PermissionError

    done: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "sched_setaffinity", forbid, raising=False)
        threads.on_threads(done.append, 3, np.zeros(sync_size(3), np.int64))
    assert sorted(done) == [0, 1, 2]
    monkeypatch.setattr(helper, "_set_cores", None)
    assert helper.Cores().allowed == frozenset()
    threads.on_threads(done.append, 2, np.zeros(sync_size(2), np.int64))
    assert sorted(done) == [0, 0, 1, 1, 2]


@pytest.mark.nojit
def test_where_threads_wake(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the core that they slept on, unless it is in use or others keep it busy."""
    moved = list[int]()

    def set_cores(_: int, n_bytes: int, bits: bytes) -> None:
        moved.append(int.from_bytes(bits[:n_bytes], "little").bit_length() - 1)

    def placed(*workers: tuple[int, bool]) -> list[int]:
        moved.clear()
        cores = helper.Cores()
        for core, was_late in workers:
            cores.place(SimpleNamespace(core=core, was_late=was_late, ident=0))  # type: ignore[arg-type]
        return moved.copy()

    monkeypatch.setattr(helper, "_set_cores", set_cores)
    monkeypatch.setattr(helper, "_get_core", lambda: 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    assert placed((2, False), (0, False)) == []
    assert placed((1, False), (2, False)) == [2, 3]  # where the caller is; where the first went
    assert placed((-1, False), (-1, False), (-1, False)) == [0, 2, 3]
    assert placed((2, True)) == [3]
    assert placed((3, True)) == [0]
    assert placed((7, False)) == [0]  # it may not be used any more
    assert placed((0, False), (2, False), (3, False), (3, False)) == []  # one more than cores


@pytest.mark.nojit
@pytest.mark.parametrize("core", [0, 7, 63, 64, 1000])
def test_sets_of_cores_as_the_system_takes_them(core: int) -> None:
    bits = helper._as_bits(core)
    assert (len(bits) % 8, int.from_bytes(bits, "little")) == (0, 1 << core)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_outputs", [1, 5])
def test_engines_of_small_networks_are_kept(
    n_outputs: int, dtype: str, rng: np.random.Generator
) -> None:
    """Their workspace is about as large as what a batch needs, so the next fit has it again."""
    network = Network([Dense(130), ReLU(), Dense(64), ReLU(), Dense(n_outputs)], "mse", dtype)
    X, y = rng.normal(size=(200, 20)), rng.normal(size=(200, n_outputs))
    network.fit(X, y, epochs=1, batch_size=200, n_threads=2)
    (kept,) = network.spare_engines.values()
    assert [engine.workspace.memory.size < tuning.SPARE_BYTES // 2 for engine in kept] == [True]


@pytest.mark.nojit
def test_threads_are_joined_before_anything_is_returned() -> None:
    sync, done = np.zeros(sync_size(2), np.int64), []

    def run(thread: int) -> None:
        time.sleep(0.02 * thread)
        done.append(thread)

    threads.on_threads(run, 3, sync)
    assert sorted(done) == [0, 1, 2]
    assert sync[ABORTED] == 0


@pytest.mark.nojit
def test_an_interrupt_between_the_starts_of_threads_releases_those_that_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sync = np.zeros(sync_size(2), np.int64)
    started: list[helper.Helper] = []

    class Interrupting(helper.Helper):
        def start(self) -> None:
            started.append(self)
            super().start()
            raise KeyboardInterrupt

    def run(thread: int) -> None:  # waits, as at a barrier, for a caller who never comes
        deadline = time.monotonic() + 10
        while sync[ABORTED] == 0 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert sync[ABORTED] == 1

    monkeypatch.setattr(threads, "Helper", Interrupting)
    with pytest.raises(KeyboardInterrupt):
        threads.on_threads(run, 3, sync)
    assert len(started) == 1
    assert not started[0].is_alive()


@pytest.mark.nojit
@pytest.mark.parametrize("given", [False, True])
def test_an_interrupt_while_a_thread_is_given_its_work(
    given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller cannot know which of the two it was; nothing runs later, and nobody waits."""
    sync, done, made = np.zeros(sync_size(2), np.int64), list[int](), list[helper.Helper]()

    class Interrupted(helper.Helper):
        def start(self) -> None:
            made.append(self)
            self._worker = worker = helper._Worker()
            if given:
                worker.given.put(self)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threads, "Helper", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            threads.on_threads(done.append, 2, sync)
    assert not made[0].is_alive()
    before = done.copy()
    assert before in ([], [1] if given else [])
    for _ in range(3):
        threads.on_threads(done.append, 3, sync)
    assert sorted(done[len(before) :]) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert len({id(worker) for worker in helper._idle}) == len(helper._idle)


@pytest.mark.nojit
def test_threads_wait_for_the_next_call_and_end_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = list[int]()

    def run(thread: int) -> None:
        if thread == 1:
            found.append(threading.get_ident())

    with monkeypatch.context() as patch:
        patch.setattr(helper, "_idle", [])
        patch.setattr(helper, "IDLE_SECONDS", 0.05)
        for _ in range(3):
            threads.on_threads(run, 2, np.zeros(sync_size(2), np.int64))
        assert len(set(found)) == len(helper._idle) == 1
        deadline = time.monotonic() + 10
        while helper._idle and time.monotonic() < deadline:
            time.sleep(0.01)
        assert helper._idle == []
        threads.on_threads(run, 2, np.zeros(sync_size(2), np.int64))
        assert (len(found), len(helper._idle)) == (4, 1)


@pytest.mark.skipif(not JIT_ENABLED, reason="interpreted kernels run on one thread")
def test_an_interrupted_fit_leaves_no_thread_behind(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    X, y = rng.normal(size=(N, N_FEATURES)), np.arange(N) % N_OUTPUTS
    network = small(Dense(4), ReLU)()
    network.fit(X, y, n_threads=2, epochs=1)
    before, started, real = network.params.copy(), list[helper.Helper](), helper.Helper.start

    def start(one: helper.Helper) -> None:
        real(one)
        started.append(one)
        raise KeyboardInterrupt

    monkeypatch.setattr(helper.Helper, "start", start)
    history = network.fit(X, y, n_threads=2, epochs=3)
    assert (history.stopped, history.epochs) == ("interrupted", 0)
    assert [one.is_alive() for one in started] == [False]
    assert network.params.tobytes() == before.tobytes()


# --------------------------------------------------------------------------- against the reference


def reference_case(
    activation: str, loss: str, rng: np.random.Generator, **options: float
) -> tuple[Network, reference.ReferenceNetwork, np.ndarray, np.ndarray, np.ndarray]:
    cls = next(found for found in ACTIVATIONS if found.name == activation)
    settings = _activation_options(activation)
    chosen = loss_with_options(LOSSES[loss])
    inner = [Dense(5, 7), cls(**settings), Dense(4), cls(**settings), Dense(N_OUTPUTS)]
    network = Network(inner, chosen, dtype="float64", **options)
    oracle = reference.ReferenceNetwork(
        [5, 7, 4, N_OUTPUTS],
        activation,
        loss,
        loss_parameters={f.name: getattr(chosen, f.name) for f in fields(chosen)},  # type: ignore[arg-type]
        activation_parameters=settings,
        **options,
    )
    network.params[...] = rng.normal(0, 0.3, network.params.size)
    oracle.from_flat(network.params)
    X, y = rng.normal(size=(N, 5)), targets(chosen, rng)
    T = np.eye(N_OUTPUTS)[y] if chosen.task == "classes" else np.broadcast_to(y, (N, N_OUTPUTS))
    return network, oracle, X, y, T


@pytest.mark.thinned(20)
@pytest.mark.parametrize("loss", LOSSES.names)
@pytest.mark.parametrize("activation", [a.name for a in ACTIVATIONS])
def test_single_samples_visit_the_parameters_of_the_reference(
    activation: str, loss: str, rng: np.random.Generator
) -> None:
    network, oracle, X, y, T = reference_case(activation, loss, rng)
    rate = 0.01
    fit = {"optimizer": SGD(rate), "batch_size": 1, "shuffle": False, "epochs": 1}
    before = network.params.copy()
    for _ in range(3):
        network.fit(X, y, **fit)
        oracle.train_epoch(X, T, range(N), rate)
        np.testing.assert_allclose(network.params, oracle.to_flat(), rtol=0, atol=1e-10)
    assert np.abs(network.params - before).max() > 1e-3
    # A rate that is off by one part in a thousand would not have passed.
    oracle.from_flat(before)
    for _ in range(3):
        oracle.train_epoch(X, T, range(N), rate * 1.001)
    assert np.abs(network.params - oracle.to_flat()).max() > 1e-7


@pytest.mark.nojit
@pytest.mark.parametrize("options", [{"l1": 0.01}, {"l2": 0.05}, {"l1": 0.01, "l2": 0.05}])
def test_single_samples_visit_the_parameters_of_the_reference_with_penalties(
    options: dict[str, float], rng: np.random.Generator
) -> None:
    network, oracle, X, y, T = reference_case("tanh", "softmax_cross_entropy", rng, **options)
    history = network.fit(X, y, optimizer=SGD(0.05), batch_size=1, shuffle=False, epochs=1)
    losses = []
    for i in range(N):
        losses.append(oracle.objective(X[i : i + 1], T[i : i + 1]))
        oracle.train_epoch(X, T, [i], 0.05)
    np.testing.assert_allclose(network.params, oracle.to_flat(), rtol=0, atol=1e-10)
    assert history.loss[0] == pytest.approx(np.mean(losses), rel=1e-12)


@pytest.mark.nojit
def test_shuffled_epochs_visit_the_reference_in_the_shuffled_order(
    rng: np.random.Generator,
) -> None:
    network, oracle, X, y, T = reference_case("relu", "mean_squared_error", rng)
    network.fit(X, y, optimizer=SGD(0.01), batch_size=1, epochs=2)
    for epoch in range(2):
        order = np.arange(N, dtype=np.int32)
        random.shuffle(order, network.seed, epoch)
        assert sorted(order) == list(range(N))
        assert list(order) != list(range(N))
        oracle.train_epoch(X, T, order, 0.01)
    np.testing.assert_allclose(network.params, oracle.to_flat(), rtol=0, atol=1e-10)


@pytest.mark.nojit
def test_the_path_is_chosen_where_the_modules_look_it_up() -> None:
    # The comparisons above replace these; if a module held its own copy, they would prove nothing.
    assert loop.training_engine is spares.training_engine
    assert loop.layerwise is layerwise
    assert layers.LAYERS is lowering.LAYERS
    assert {"fit", "network", "evaluation", "predictor"} <= {
        module.__name__.rpartition(".")[2] for module in who_asks()
    }
    with pytest.MonkeyPatch.context() as patch:
        layer_by_layer(patch)
        assert list(who_asks()) == []
