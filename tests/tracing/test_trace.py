"""Traces of one sample: every number is compared with the layers, the engine and a fit.

Tracing must not change the network, and the text shown must be short and correct.
"""

from __future__ import annotations

import ast
import copy
import json
import pickle
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from fastmlp import (
    SGD,
    Adam,
    Dense,
    Dropout,
    Huber,
    Identity,
    Layer,
    LeakyReLU,
    Loss,
    Network,
    Quantile,
    ReLU,
    Rescaling,
    SoftmaxCrossEntropy,
    Tanh,
    Trace,
    datasets,
    plotting,
    reference,
)
from fastmlp.errors import InputError
from fastmlp.nn import ACTIVATIONS, LAYERS
from fastmlp.nn.losses import LOSSES
from fastmlp.optim import schedules
from fastmlp.optim.optimizers import OPTIMIZERS
from fastmlp.tools import cli

pytestmark = [pytest.mark.nojit, pytest.mark.thinned(2)]

DTYPES = ["float32", "float64"]


def options_of(part: Any) -> dict[str, Any]:
    """Values apart from the defaults for the options of an activation or a loss."""
    values = {"label_smoothing": 0.1, "delta": 0.7, "levels": (0.1, 0.5, 0.8)}
    return {field.name: values.get(field.name, 0.3) for field in fields(part)}


def target_of(loss: Any) -> Any:
    """Of one sample, for three outputs."""
    if loss.task == "classes":
        return 2
    if loss.task == "binary":
        return [1.0, 0.0, 1.0]
    return 0.4 if loss is Quantile else [0.4, 2.0, 0.0]


def network_of(activation: Any, loss: Any, dtype: str, **options: Any) -> Network:
    made = [activation(**options_of(activation)) for _ in range(2)]
    layers = [Dense(5, 7), made[0], Dense(7, 4), made[1], Dense(4, 3)]
    return Network(layers, loss(**options_of(loss)), dtype=dtype, **options)


def row(network: Network, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=network.n_features or 5).astype(network.dtype)


def as_matrix(y: Any) -> Any:
    return np.asarray(y).reshape(1, -1) if np.ndim(y) else np.asarray([y])


def with_classes(network: Network) -> Network:
    """A network that has seen labels 0, 1 and 2, and lies otherwise as it did."""
    before = network.build(network.n_features or 5).params.copy()
    rows = np.random.default_rng(0).normal(size=(6, network.n_features))
    network.fit(rows, np.arange(6) % 3, epochs=1)
    network.params[...] = before
    return network


def put_together(trace: Trace, network: Network, kind: str = "d") -> np.ndarray:
    """Gradients, or what else is named after parameters, as the network's flat vector has them."""
    named = {group.name.replace(".", f".{kind}"): group for group in network.groups}
    flat = np.empty_like(network.params)
    for name, group in named.items():
        flat[group.start : group.start + group.size] = trace[name].ravel()
    return flat


# Its numbers are those of the layers and the engine --------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", [*LOSSES], ids=lambda loss: loss.name)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: activation.name)
def test_numbers_are_those_of_layers_engine_and_reference(
    activation: Any, loss: Any, dtype: str
) -> None:
    network = network_of(activation, loss, dtype)
    x, y = row(network), target_of(loss)
    trace = network.trace(x, y)

    values = x[np.newaxis]
    for layer, seen in zip(network.layers, trace, strict=True):
        came, values = values, layer.forward(values)
        if isinstance(layer, Dense):
            np.testing.assert_array_equal(seen.x, came[0])
            np.testing.assert_array_equal(seen.z, values[0])
        else:
            np.testing.assert_array_equal(seen.z, came[0])
            np.testing.assert_array_equal(seen.a, values[0])
            np.testing.assert_array_equal(seen.slope, layer.backward(np.ones_like(values))[0])
    np.testing.assert_array_equal(trace.prediction, network.loss.link(values)[0])

    targets = trace.target[np.newaxis]
    value, flowing = network.loss.value_and_gradient(values, targets, np.ones(1))
    assert trace.loss == value
    for layer, seen in zip(reversed(network.layers), reversed(trace.layers), strict=True):
        came, flowing = flowing, layer.backward(flowing)
        if isinstance(layer, Dense):
            np.testing.assert_array_equal(seen.delta, came[0])
            np.testing.assert_array_equal(seen.dx, flowing[0])
            np.testing.assert_array_equal(seen.dW, layer.dW)
            np.testing.assert_array_equal(seen.db, layer.db)
        else:
            np.testing.assert_array_equal(seen.da, came[0])
            np.testing.assert_array_equal(seen.delta, flowing[0])

    encoded = np.eye(3)[[y]] if loss.task == "classes" else as_matrix(y)
    objective, gradient = network.loss_and_gradient(x[np.newaxis], encoded)
    assert trace.loss == objective
    np.testing.assert_array_equal(put_together(trace, network), gradient)

    assert trace.no_reference == ""
    size = max(float(np.abs(values).max()) for values in trace.arrays.values())
    assert trace.largest_difference is not None
    assert trace.largest_difference <= size * (1e-13 if dtype == "float64" else 3e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_dense_layer_shows_its_activation_too(dtype: str) -> None:
    trace = network_of(Tanh, SoftmaxCrossEntropy, dtype).trace(np.ones(5), 1)
    for number in (0, 2):
        dense, activation = trace[number], trace[number + 1]
        for name in ("z", "a", "slope", "da", "delta"):
            assert dense[name] is trace[f"{number}.{name}"]
            np.testing.assert_array_equal(dense[name], activation[name])
        np.testing.assert_array_equal(dense.delta, dense.da * dense.slope)
        np.testing.assert_array_equal(dense.dW, np.outer(dense.x, dense.delta))
        np.testing.assert_array_equal(dense.db, dense.delta)
        np.testing.assert_array_equal(dense.da, trace[number + 2].dx)
    last = trace[4]
    np.testing.assert_array_equal(last.a, last.z)
    np.testing.assert_array_equal(last.slope, np.ones(3))
    np.testing.assert_array_equal(last.da, last.delta)


@pytest.mark.parametrize("dtype", DTYPES)
def test_penalties_are_part_of_the_gradient(dtype: str) -> None:
    plain = network_of(Tanh, SoftmaxCrossEntropy, dtype)
    network = network_of(Tanh, SoftmaxCrossEntropy, dtype, l1=0.01, l2=0.1)
    x = row(network)
    trace = network.trace(x, 1)
    loss, gradient = network.loss_and_gradient(x[np.newaxis], np.eye(3)[[1]])
    assert trace.loss + trace.penalty == pytest.approx(loss, rel=1e-12)
    assert trace.loss == plain.trace(x, 1).loss
    np.testing.assert_array_equal(put_together(trace, network), gradient)
    assert trace.differences["0.dW"] < 1e-6


# The reference beside it -------------------------------------------------------------------------


def test_reference_is_a_witness_of_its_own() -> None:
    """Its numbers come from `ReferenceNetwork`'s algorithm, and a wrong one would be seen."""
    network = network_of(LeakyReLU, Huber, "float64")
    x, y = row(network), target_of(Huber)
    trace = network.trace(x, y, optimizer=SGD(0.5))
    oracle = reference.ReferenceNetwork(
        (5, 7, 4, 3),
        "leaky_relu",
        "huber",
        activation_parameters={"negative_slope": 0.3},
        loss_parameters={"delta": 0.7},
    )
    oracle.from_flat(network.params)
    dW, db = oracle.gradients(x, y)
    for place, number in enumerate((0, 2, 4)):
        np.testing.assert_array_equal(trace.reference[f"{number}.dW"], dW[place].T)
        np.testing.assert_array_equal(trace.reference[f"{number}.db"], db[place][:, 0])
        np.testing.assert_array_equal(trace.reference[f"{number}.update_W"], -0.5 * dW[place].T)
    assert trace.reference["loss"] == oracle.loss(x, y)
    np.testing.assert_array_equal(trace.reference["prediction"], oracle.predict_proba(x))
    beside = {"x", "z", "a", "slope", "da", "delta", "dx", "dW", "db", "update_W", "update_b"}
    assert set(trace[2].differences) == beside
    assert set(trace[1].differences) == {"z", "a", "slope", "da", "delta"}


def test_a_wrong_number_of_the_engine_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    backward = Dense.backward

    def off(layer: Dense, dY: np.ndarray) -> np.ndarray:
        dX = backward(layer, dY)
        layer.dW[...] *= 1.001
        return dX

    network = network_of(Tanh, SoftmaxCrossEntropy, "float64")
    monkeypatch.setattr(Dense, "backward", off)
    trace = network.trace(row(network), 1)
    assert trace.differences["0.dW"] > 1e-5
    assert trace.differences["0.delta"] < 1e-14
    assert trace.largest_difference == max(trace.differences.values())
    assert f"largest difference from fastmlp.reference {trace.largest_difference:.1e} (" in repr(
        trace
    )


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [Dense(5, 3)],
        lambda: [Dense(5, 3), Identity()],
        lambda: [Dense(5, 4), Dense(4, 3)],
        lambda: [Rescaling(0.5), Dense(5, 4), Tanh(), Dense(4, 3)],
        lambda: [Dense(5, 4), Dropout(0.5), Tanh(), Dropout(0.1), Dense(4, 3)],
        lambda: [Dense(5, 4), Tanh(), Dense(4, 3), Tanh()],
        lambda: [Dropout(0.2), Dense(5, 4, initializer="ntk"), ReLU(), Dense(4, 3)],
    ],
    ids=["one", "identity", "no-activation", "rescaling", "dropout", "last-activation", "scaled"],
)
def test_reference_follows_networks_of_other_forms(layers: Callable[[], list[Layer]]) -> None:
    network = Network(layers(), dtype="float64")
    trace = network.trace(np.linspace(-1, 1, 5), 2)
    assert trace.no_reference == ""
    assert trace.largest_difference is not None
    assert trace.largest_difference < 1e-13
    denses = [n for n, layer in enumerate(network.layers) if isinstance(layer, Dense)]
    assert {f"{number}.dW" for number in denses} <= set(trace.differences)
    is_plain = all(group.scale == 1 for group in network.groups)
    assert (f"{denses[0]}.update_W" in trace.differences) is is_plain


class Sine(Layer):
    name = "sine"

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        self.calls = getattr(self, "calls", 0) + 1
        self.X = X
        return np.sin(X)

    def backward(self, dY: np.ndarray) -> np.ndarray:
        return dY * np.cos(self.X)


class Gain(Layer):
    """A factor for each column, under a name that the trace has for something else."""

    name = "gain"

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        assert self.n_in is not None
        return {"a": (self.n_in,), "bias": (self.n_in,)}

    def initialize(self, rng: np.random.Generator) -> None:
        self.parameters["a"][...] = 2.0

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        self.X = X
        return X * self.parameters["a"] + self.parameters["bias"]

    def backward(self, dY: np.ndarray) -> np.ndarray:
        self.gradients["a"][...] = (dY * self.X).sum(axis=0)
        self.gradients["bias"][...] = dY.sum(axis=0)
        return dY * self.parameters["a"]


class Cubic(Loss):
    name = "cubic"

    def value_and_gradient(
        self, outputs: np.ndarray, targets: np.ndarray, sample_weight: np.ndarray
    ) -> tuple[float, np.ndarray]:
        r = outputs - targets
        return float((abs(r) ** 3).mean()), 3 * r * abs(r) / r.size


class Doubling:
    """An optimizer of one's own, with memory."""

    def __init__(self) -> None:
        self.steps = 0

    def step(self, params: np.ndarray, grads: np.ndarray) -> None:
        self.steps += 1
        params -= 0.125 * self.steps * grads


@pytest.mark.parametrize(
    ("layers", "loss", "training", "missing"),
    [
        ([Dense(5, 4), Sine(), Dense(4, 3)], "huber", False, "Sine() as layer 1"),
        ([Dense(5, 3)], Cubic(), False, "the loss cubic"),
        ([Dense(5, 4), Tanh(), Tanh(), Dense(4, 3)], "huber", False, "Tanh() as layer 2"),
        ([Dense(5, 4), Dropout(0.5), Dense(4, 3)], "huber", True, "Dropout(rate=0.5) as layer 1"),
        ([Dense(5, 4), Rescaling(2.0), Dense(4, 3)], "huber", False, "Rescaling(scale=2.0)"),
    ],
    ids=["layer", "loss", "two-activations", "dropout", "rescaling"],
)
def test_where_the_reference_has_no_counterpart_it_says_so(
    layers: list[Layer], loss: Any, training: bool, missing: str
) -> None:
    trace = Network(copy.deepcopy(layers), loss).trace(
        np.ones(5), [1.0, 2.0, 3.0], training=training
    )
    assert trace.no_reference.startswith(missing)
    assert trace.largest_difference is None
    assert not trace.reference
    assert f"fastmlp.reference has no counterpart for {missing}" in repr(trace)
    assert "from reference" not in repr(trace)


def test_a_loss_of_ones_own_is_not_taken_for_a_built_in_one_of_its_name() -> None:
    class Squared(Cubic):
        name = "mean_squared_error"

    assert Network([Dense(5, 3)], Squared()).trace(np.ones(5), [0.0, 1.0, 2.0]).no_reference


def test_parts_of_ones_own_show_what_can_be_seen() -> None:
    network = Network([Dense(5, 4), Sine(), Gain(), Dense(4, 3)], Cubic(), dtype="float64")
    x, y = row(network), [0.0, 1.0, 2.0]
    optimizer = Doubling()
    trace = network.trace(x, y, optimizer=optimizer)
    assert optimizer.steps == 0
    assert set(trace[1].arrays) == {"z", "a", "da", "delta"}
    np.testing.assert_allclose(trace[1].a, np.sin(trace[0].z), rtol=1e-15)
    np.testing.assert_allclose(trace[1].delta, trace[1].da * np.cos(trace[1].z), rtol=1e-15)
    gain = trace[2]
    np.testing.assert_array_equal(gain.a, 2.0 * gain.z)
    np.testing.assert_array_equal(gain.dparameter_a, gain.da * gain.z)
    np.testing.assert_array_equal(gain.dbias, gain.da)
    np.testing.assert_array_equal(gain.parameter_a_after, 2.0 - 0.125 * gain.dparameter_a)
    assert (trace.optimizer, trace.learning_rate) == ("Doubling", None)
    fitted = copy.deepcopy(network)
    fitted.fit(x[np.newaxis], as_matrix(y), optimizer=Doubling(), epochs=1)
    np.testing.assert_array_equal(trace["0.W_after"], fitted.layers[0].W)
    assert trace.loss_after == fitted.evaluate(x[np.newaxis], as_matrix(y))[0]


# The update ----------------------------------------------------------------------------------


def after_a_fit(network: Network, x: np.ndarray, y: Any, optimizer: Any) -> np.ndarray:
    network = copy.deepcopy(network)
    network.fit(x[np.newaxis], as_matrix(y), optimizer=optimizer, epochs=1, batch_size=1)
    return network.params


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS], ids=lambda optimizer: optimizer.name)
def test_update_is_that_of_a_fit_with_one_sample(optimizer: Any, dtype: str) -> None:
    network = with_classes(network_of(Tanh, SoftmaxCrossEntropy, dtype, l1=0.01, l2=0.1))
    x = row(network)
    for made in (
        optimizer(),
        optimizer(schedules.Linear(0.3), weight_decay=0.1, clip_norm=0.05),
        optimizer(0.2, factors={"0.W": 3.0, "*.b": 0.1}),
    ):
        trace, expected = network.trace(x, 1, optimizer=made), after_a_fit(network, x, 1, made)
        for name, values in network.named_parameters().items():
            np.testing.assert_array_equal(trace[name], values)
        after = np.concatenate([trace[f"{group.name}_after"].ravel() for group in network.groups])
        np.testing.assert_array_equal(after, expected)
        np.testing.assert_array_equal(
            put_together(trace, network, "update_"), expected - network.params
        )
        assert trace.optimizer == optimizer.name
        assert trace.learning_rate == made.schedule.rates(np.arange(1), 1)[0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_update_with_momentum_dropout_and_a_largest_norm_is_that_of_a_fit(dtype: str) -> None:
    layers = [Dropout(0.2), Dense(5, 7, max_norm=0.3), ReLU(), Dropout(0.5), Dense(7, 3)]
    network = with_classes(Network(layers, dtype=dtype))
    x, optimizer = row(network), SGD(0.1, momentum=0.9, nesterov=True)
    trace = network.trace(x, 1, optimizer=optimizer, training=True)
    after = np.concatenate([trace[f"{group.name}_after"].ravel() for group in network.groups])
    np.testing.assert_array_equal(after, after_a_fit(network, x, 1, optimizer))
    assert set(trace[3].slope.tolist()) == {0.0, 2.0}
    assert not np.array_equal(trace[3].a, network.trace(x, 1)[3].a)


def test_loss_after_the_update_is_the_loss_then() -> None:
    network = with_classes(network_of(Tanh, SoftmaxCrossEntropy, "float64"))
    x = row(network)
    trace = network.trace(x, 1, optimizer=SGD(0.5))
    network.params[...] = after_a_fit(network, x, 1, SGD(0.5))
    assert trace.loss_after == network.evaluate(x[np.newaxis], [1])[0]
    assert trace.loss_after < trace.loss


def test_without_an_optimizer_there_is_no_update() -> None:
    trace = network_of(Tanh, SoftmaxCrossEntropy, "float64").trace(np.ones(5), 1, optimizer=None)
    assert (trace.optimizer, trace.learning_rate, trace.loss_after) == (None, None, None)
    assert not any("update" in name or "after" in name for name in trace.arrays)
    assert "after one step" not in repr(trace)


# Looking changes nothing -----------------------------------------------------------------------


def everything(network: Network) -> list[Any]:
    caches = [
        {
            key: np.array(value).tobytes()
            for key, value in vars(layer).items()
            if key != "parameters"
        }
        for layer in network.layers
        if not isinstance(layer, Sine)
    ]
    kept = [network.params.tobytes(), network.grads.tobytes(), network.coder, network.seed]
    return [kept, list(map(id, network.layers)), id(network.params), str(caches)]


@pytest.mark.parametrize("built", [True, False])
def test_the_network_stays_as_it_is(built: bool) -> None:
    layers = [Dense(7), Sine(), Dropout(0.5), Dense(4), ReLU(), Dense(3)]
    network = Network(layers, dtype="float64", l2=0.1)
    x = np.ones(5)
    if built:
        with_classes(network)
        network.loss_and_gradient(x[np.newaxis], [1])
    before, calls = everything(network), getattr(network.layers[1], "calls", 0)
    optimizer, memory = Adam(0.1), Doubling()
    for training in (False, True):
        network.trace(x, 1, optimizer=optimizer, training=training)
        network.trace(x, 1, optimizer=memory, training=training)
    assert everything(network) == before
    assert getattr(network.layers[1], "calls", 0) == calls
    assert memory.steps == 0
    assert network.is_built is built
    if built:  # a pass that was under way goes on with its own batch
        flowing = np.ones((1, 3))
        for layer in reversed(network.layers):
            flowing = layer.backward(flowing)
        assert flowing.shape == (1, 5)


def test_an_unbuilt_network_is_traced_with_the_weights_it_will_start_from() -> None:
    network = Network([Dense(7), Tanh(), Dense(3)])
    trace = network.trace(np.ones(5), 1)
    network.build(5)
    np.testing.assert_array_equal(trace["0.W"], network.layers[0].W)


def test_arrays_are_read_only_copies() -> None:
    network = network_of(Tanh, SoftmaxCrossEntropy, "float32")
    x = np.ones(5, "float32")
    trace = network.trace(x, 1)
    before = {name: values.copy() for name, values in trace.arrays.items()}
    for values in [*trace.arrays.values(), trace.target, trace.prediction]:
        with pytest.raises(ValueError, match="read-only"):
            values[...] = 0
        assert not np.shares_memory(values, network.params)
        assert values.dtype == network.dtype
    x[...] = 7
    network.params[...] = 9
    for name, values in before.items():
        np.testing.assert_array_equal(trace[name], values)
    with pytest.raises(TypeError):
        trace.arrays["0.z"] = x  # type: ignore[index]


def test_a_layer_that_writes_into_its_input_does_not_spoil_the_trace() -> None:
    class Greedy(Layer):
        name = "greedy"

        def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
            X *= 3
            return X

        def backward(self, dY: np.ndarray) -> np.ndarray:
            dY *= 3
            return dY

    network = Network([Dense(5, 4), Greedy(), Dense(4, 3)], dtype="float64")
    trace = network.trace(np.ones(5), 1)
    np.testing.assert_allclose(trace[0].z, trace[0].W.sum(axis=0))
    np.testing.assert_array_equal(trace[1].a, 3 * trace[0].z)
    np.testing.assert_array_equal(trace[1].delta, 3 * trace[1].da)


# What is taken for a sample ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "x",
    [
        [1.0, 0.0, 2.0, 0.0, 3.0],
        np.array([[1, 0, 2, 0, 3]], np.uint8),
        sparse.csr_array([[1.0, 0.0, 2.0, 0.0, 3.0]]),
        sparse.coo_matrix([[1.0, 0.0, 2.0, 0.0, 3.0]]),
        pd.DataFrame([[1.0, 0.0, 2.0, 0.0, 3.0]]),
        pd.DataFrame([[1.0, 0.0, 2.0, 0.0, 3.0]]).iloc[0],
    ],
    ids=["list", "bytes", "csr", "coo", "frame", "series"],
)
def test_a_sample_may_come_in_any_form(x: Any) -> None:
    network = network_of(Tanh, SoftmaxCrossEntropy, "float64")
    expected, trace = network.trace(np.array([1.0, 0, 2, 0, 3]), 1), network.trace(x, 1)
    for name, values in expected.arrays.items():
        np.testing.assert_allclose(trace[name], values, rtol=1e-12, atol=1e-15)
    assert type(trace[0].x) is np.ndarray


@pytest.mark.parametrize("y", [1, np.int64(1), [1], 1.0, [0.0, 1.0, 0.0], np.eye(3)[[1]]])
def test_a_target_of_classes_may_come_in_any_form(y: Any) -> None:
    trace = network_of(Tanh, SoftmaxCrossEntropy, "float64").trace(np.ones(5), y)
    np.testing.assert_array_equal(trace.target, [0, 1, 0])
    assert trace.label_of(trace.target) == "1"


def test_labels_are_those_of_the_fit() -> None:
    network = Network([Dense(4), ReLU(), Dense(3)])
    rows, labels = np.random.default_rng(0).normal(size=(6, 5)), ["ape", "bee", "cat"] * 2
    network.fit(rows, labels, epochs=1)
    trace = network.trace(rows[1], "bee")
    np.testing.assert_array_equal(trace.target, [0, 1, 0])
    assert trace.label_of(trace.target) == "bee"
    assert trace.label_of(trace.prediction) == network.predict(rows[1:2])[0]
    assert f"target bee, prediction {network.predict(rows[1:2])[0]}, loss" in repr(trace)


def test_one_output_for_yes_and_no() -> None:
    network = Network([Dense(5, 1)], "binary_cross_entropy")
    for y in (True, 1, 1.0, [1]):
        trace = network.trace(np.ones(5), y)
        assert trace.target.tolist() == [1.0]
        assert trace.label_of(trace.target) == "1"
    assert network.trace(np.ones(5), False).target.tolist() == [0.0]
    network.fit(np.random.default_rng(0).normal(size=(4, 5)), ["no", "yes"] * 2, epochs=1)
    assert network.trace(np.ones(5), "yes").target.tolist() == [1.0]


def test_numbers_to_predict() -> None:
    network = Network([Dense(5, 2)], "mean_squared_error")
    trace = network.trace(np.ones(5), [0.5, 0.25])
    assert trace.classes is None
    assert trace.label_of(trace.target) == "0.5, 0.25"
    column = Network([Dense(5, 1)], "mean_squared_error")
    column.fit(np.ones((2, 5)), [[1.0], [2.0]], epochs=1)
    for y in (1.5, [1.5], [[1.5]]):
        assert column.trace(np.ones(5), y).target.tolist() == [1.5]


# What is shown -----------------------------------------------------------------------------------


def test_arrays_are_found_by_name_and_number() -> None:
    trace = network_of(Tanh, SoftmaxCrossEntropy, "float64").trace(np.ones(5), 1)
    assert len(trace) == 5
    assert [layer.number for layer in trace] == [0, 1, 2, 3, 4]
    assert trace[-1] is trace[4] is trace[np.int64(4)]
    assert trace["4.dW"] is trace[4].dW is trace[4]["dW"]
    assert "0.z" in trace
    assert "z" in trace[0]
    assert "0.q" not in trace
    assert {"z", "a", "slope", "delta", "dW", "db", "update_W"} <= set(dir(trace[0]))
    assert not hasattr(trace[1], "dW")
    message = r"Trace, layer 1: expected one of z, a, slope, da, delta, got 'dW'; choose one"
    with pytest.raises(AttributeError, match=message):
        trace[1].dW  # noqa: B018
    assert [[part.number for part in block] for block in trace.blocks()] == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("depth", [0, 1, 3, 30])
def test_what_is_printed_is_a_short_table(depth: int) -> None:
    layers: list[Layer] = []
    for _ in range(depth):
        layers += [Dense(60), Tanh()]
    trace = Network([*layers, Dense(10)]).trace(np.ones(144), 3)
    text = repr(trace)
    assert len(text) < 9000
    assert max(map(len, text.splitlines())) <= 100
    assert "[" not in text.replace("trace[", "")
    assert text == str(trace)
    assert ("... " in text) is (depth == 30)
    if depth == 3:
        line = next(line for line in text.splitlines() if line.startswith("0 Dense(144, 60)"))
        assert line.split()[3:] == ["x", "(144,)", "1", "1", "12", "0.0e+00"]
        z = trace[0].z.astype(float)
        figures = [f"{value:.4g}" for value in (z.min(), z.max(), np.linalg.norm(z))]
        line = next(line for line in text.splitlines() if line.startswith("1 Tanh()"))
        assert line.split()[2:-1] == ["z", "(60,)", *figures]
    html = trace._repr_html_()
    assert html.count("<tr>") == html.count("</tr>") > 3
    assert repr(trace[0]).splitlines()[1].startswith("0 Dense(144, ")


def test_names_of_ones_own_are_safe_in_html() -> None:
    class Odd(Sine):
        def __repr__(self) -> str:
            return "<b>" + "x" * 100

    html = Network([Dense(5, 3), Odd()], Cubic()).trace(np.ones(5), [0.0, 1, 2])._repr_html_()
    assert "<b>" not in html
    assert "x" * 50 not in html.replace("no counterpart for &lt;b&gt;" + "x" * 100, "")


def test_numbers_beyond_all_bounds_are_shown() -> None:
    network = Network([Dense(5, 3)], "mean_squared_error")
    network.params[...] = 1e30
    trace = network.trace(np.full(5, 1e30), [0.0, 0.0, 0.0])
    assert "inf" in repr(trace)


def test_everything_goes_into_json() -> None:
    trace = network_of(Tanh, SoftmaxCrossEntropy, "float32").trace(np.ones(5), 1)
    found = json.loads(json.dumps(trace.to_dict()))
    assert found["loss"] == trace.loss
    assert found["layers"] == ["Dense(5, 7)", "Tanh()", "Dense(7, 4)", "Tanh()", "Dense(4, 3)"]
    for name, values in trace.arrays.items():
        np.testing.assert_array_equal(np.array(found["arrays"][name], "float32"), values)


def test_a_trace_can_be_copied_and_pickled() -> None:
    trace = network_of(Tanh, SoftmaxCrossEntropy, "float32").trace(np.ones(5), 1)
    for other in (copy.deepcopy(trace), pickle.loads(pickle.dumps(trace))):
        assert repr(other) == repr(trace)
        np.testing.assert_array_equal(other[0].z, trace[0].z)


# The picture -------------------------------------------------------------------------------------


def heights(ax: Any) -> list[float]:
    return [bar.get_height() for bar in ax.patches]


def test_picture_holds_the_numbers_it_claims_to() -> None:
    pytest.importorskip("matplotlib")
    network = Network([Dense(6, 4), Tanh(), Dense(4, 3)])
    x = np.arange(6.0)
    trace = network.trace(x, 2)
    figure = plotting.plot_trace(trace, (2, 3))
    image, hidden, outputs, gradient, delta, last = figure.axes
    np.testing.assert_array_equal(image.images[0].get_array(), x.reshape(2, 3))
    np.testing.assert_array_equal(gradient.images[0].get_array(), trace[0].dx.reshape(2, 3))
    np.testing.assert_allclose(heights(hidden), trace[0].a)
    np.testing.assert_allclose(heights(delta), trace[0].delta)
    np.testing.assert_allclose(heights(outputs), [*trace.prediction, *trace.target])
    np.testing.assert_allclose(heights(last), trace[2].delta)
    assert [label.get_text() for label in last.get_xticklabels()] == ["0", "1", "2"]
    assert hidden.get_title() == "0 Dense(6, 4)\n1 Tanh()"
    assert figure.get_suptitle().replace("\n", " ") == trace.summary()[0]


def test_picture_of_many_layers_and_units_leaves_some_out() -> None:
    pytest.importorskip("matplotlib")
    layers: list[Layer] = []
    for _ in range(9):
        layers += [Dense(101), ReLU(), Dropout(0.1)]
    trace = Network([*layers, Dense(2)], "mean_squared_error").trace(np.ones(3), [1.0, 2.0])
    figure = plotting.plot_trace(trace)
    assert len(figure.axes) == 12
    assert figure.get_suptitle().replace("\n", " ").endswith("(5 hidden layers not shown)")
    np.testing.assert_allclose(figure.axes[1].patches[0].get_data().values, trace[0].a)
    assert heights(figure.axes[0]) == [1, 1, 1]


def test_plot_is_seen_by_pyplot_and_refuses_first() -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    before = pyplot.get_fignums()
    trace = Network([Dense(6, 3)]).trace(np.ones(6), 2)
    with pytest.raises(InputError, match=r"^Trace.plot: expected image_shape as .* of 6 pixels"):
        trace.plot((2, 2))
    assert pyplot.get_fignums() == before
    figure = trace.plot((2, 3))
    try:
        assert figure.number in pyplot.get_fignums()
    finally:
        pyplot.close(figure)


def test_without_matplotlib_the_plot_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = Network([Dense(6, 3)]).trace(np.ones(6), 2)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"^Trace.plot: expected the package matplotlib, got none"):
        trace.plot()
    with pytest.raises(InputError, match=r"^plot_trace: expected the package matplotlib"):
        plotting.plot_trace(trace)


# The reference's file ----------------------------------------------------------------------------


def test_reference_opens_with_its_fifteen_lines() -> None:
    text = Path(reference.__file__).read_text(encoding="utf-8")
    docstring, *rest = ast.parse(text).body
    assert isinstance(docstring, ast.Expr)
    first = [node for node in rest if not isinstance(node, ast.Import | ast.ImportFrom)][:2]
    assert [getattr(node, "name", "") for node in first] == ["forward", "backward"]
    n_lines = 0
    for node in first:
        assert isinstance(node, ast.FunctionDef)
        body = "\n".join(ast.unparse(line) for line in node.body[1:])
        n_lines += len(body.splitlines())
    assert n_lines <= 15
    assert len([node for node in rest if isinstance(node, ast.FunctionDef)]) > 5


def test_reference_networks_run_on_those_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    for name in ("forward", "backward"):
        real = getattr(reference, name)

        def spy(*given: Any, real: Any = real, name: str = name) -> Any:
            called.append(name)
            return real(*given)

        monkeypatch.setattr(reference, name, spy)
    for network in (reference.ReferenceNetwork((3, 2, 2)), reference.PublishedNetwork((3, 2, 2))):
        network.gradients([1.0, 2.0, 3.0], [1.0, 0.0])
    assert called == ["forward", "backward"] * 2


# The command -------------------------------------------------------------------------------------


Told = Callable[..., tuple[int, str, str]]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    def call(*arguments: Any) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main(["trace", *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


def test_a_digit_is_followed(told: Told, tmp_path: Path) -> None:
    code, out, err = told("--row", 5, "--json", tmp_path / "t.json", "--plot", tmp_path / "t.png")
    assert (code, err) == (0, "")
    assert out.startswith(
        "digits, row 5, target 5, and a new network that has learnt nothing yet\n"
    )
    parts = ["FORWARD", "LOSS", "BACKWARD", "UPDATE", "CHECK"]
    assert [
        line.split(",")[0].split()[0] for line in out.splitlines() if line[:1].isupper()
    ] == parts
    assert max(map(len, out.splitlines())) <= 115
    assert len(out.splitlines()) < 65
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
    digits = datasets.load_digits()
    network = Network([Dense(16), Tanh(), Dense(10)], dtype="float64")
    trace = network.trace(digits.X[5], digits.y[5])
    content = json.loads((tmp_path / "t.json").read_text())
    assert (content["data"], content["row"]) == ("digits", 5)
    assert content["arrays"]["0.dW"] == trace["0.dW"].tolist()
    z = " ".join(f"{value:10.3g}" for value in trace["0.z"][:4])
    line = next(line for line in out.splitlines() if "0 Dense(64, 16)" in line)
    assert line.endswith(f"{z} ...")
    assert f"loss of this sample {trace.loss:.6g} -> {trace.loss_after:.6g}" in out
    assert out.count("@@") > 5  # the digit itself


def test_a_saved_network_is_followed(told: Told, tmp_path: Path) -> None:
    digits = datasets.load_digits()
    network = Network([Dense(8), ReLU(), Dropout(0.1), Dense(10)])
    network.fit(digits.X[:20], digits.y[:20], epochs=1)
    network.save(model := tmp_path / "m.safetensors")
    code, out, err = told("--model", model, "--row", 7, "--optimizer", "adam")
    assert (code, err) == (0, "")
    trace = network.trace(digits.X[7], digits.y[7], optimizer="adam")
    assert f"loss of this sample {trace.loss:.6g} -> {trace.loss_after:.6g}" in out
    assert "UPDATE, one step of adam at learning rate 0.001" in out


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Large numbers, a text to predict, and a number."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(1e6, 1e3, (40, 3)), columns=["p", "q", "r"])
    frame["kind"] = ["ape", "bee"] * 20
    frame.to_csv(path := tmp_path / "t.csv", index=False)
    return path


def test_a_row_of_a_table_is_followed_with_its_labels(told: Told, table: Path) -> None:
    code, out, err = told("--data", table, "--target", "kind", "--row", 3, "--hidden", "4,3")
    assert (code, err) == (0, "")
    assert out.startswith(
        "t, row 3, target bee, and a new network that has learnt nothing yet (col"
    )
    assert [
        line.split()[0] for line in out.splitlines() if line.split()[2:3] in (["0"], ["1"])
    ] == [
        "ape",
        "bee",
    ]


def test_numbers_to_predict_are_standardised_for_a_new_network(told: Told, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(1e6, 1e3, (40, 4)), columns=["p", "q", "r", "s"])
    frame.to_csv(path := tmp_path / "t.csv", index=False)
    code, out, err = told("--data", path, "--target", "s", "--row", 3)
    assert (code, err) == (0, "")
    s = frame["s"]
    assert out.startswith(f"t, row 3, target {(s[3] - s.mean()) / s.std(ddof=0):.4g}, and")


def test_columns_of_a_table_find_their_places_in_a_model(
    told: Told, table: Path, tmp_path: Path
) -> None:
    arguments = [
        "train",
        "--quiet",
        "--recipe",
        "none",
        "--data",
        table,
        "--target",
        "kind",
        "--hidden",
        4,
        "--epochs",
        1,
    ]
    model = tmp_path / "m.safetensors"
    assert cli.main([*map(str, arguments), "--save", str(model)]) == 0
    _, expected, _ = told("--data", table, "--target", "kind", "--row", 3, "--model", model)
    frame = pd.read_csv(table)
    frame[["kind", "r", "p", "q"]].to_csv(table, index=False)
    code, out, err = told("--data", table, "--target", "kind", "--row", 3, "--model", model)
    assert (code, err) == (0, "")
    assert out == expected


@pytest.mark.parametrize("activation", [a.name for a in ACTIVATIONS])
def test_new_networks_take_their_options(told: Told, activation: str) -> None:
    arguments = ("--activation", activation, "--hidden", "3", "--seed", 4, "--learning-rate", 0.5)
    code, out, _ = told(*arguments)
    assert code == 0
    layer = LAYERS[activation]()
    network = Network([Dense(3), layer, Dense(10)], dtype="float64", random_state=4)
    digits = datasets.load_digits()
    trace = network.trace(digits.X[0], digits.y[0], optimizer=SGD(0.5))
    assert f"loss of this sample {trace.loss:.6g} -> {trace.loss_after:.6g}" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--row", 1797],
            "--row: expected it to be a whole number of at most 1796, got 1797; choose a",
        ),
        (["--row", -1], "--row: expected it to be a whole number of at least 0, got -1; "),
        (["--model", "none.safetensors"], "expected a model file, got no such file; "),
        (["--plot", "a.jpg"], "--plot: expected a file name ending in .png or .svg or .pdf, got "),
        (
            ["--json", "none/a.json"],
            "--json: expected an existing folder to write to, got 'none'; ",
        ),
        (["--learning-rate", 0], "--learning-rate: expected it to be a number above 0, got 0; "),
        (["--hidden", 0], "--hidden: expected whole numbers from 1 to 999999 with commas between"),
        (["--seed", -1], "--seed: expected it to be a whole number of at least 0, got -1; "),
    ],
    ids=lambda value: str(value)[:30],
)
def test_the_command_refuses_in_one_line(
    told: Told, arguments: list[Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = told(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "value"), [("hidden", "8"), ("activation", "relu"), ("seed", 0)]
)
def test_options_of_a_new_network_are_refused_beside_a_model(
    told: Told, option: str, value: Any
) -> None:
    code, out, err = told("--model", "m.safetensors", f"--{option}", value)
    assert (code, out) == (2, "")
    expected = (
        f"fastmlp: --{option}: expected a new network, got --model; leave one of the two out\n"
    )
    assert err == expected
