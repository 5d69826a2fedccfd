"""Users' training loops with built-in optimizers: the steps of `Network.fit`, bit for bit."""

from __future__ import annotations

import copy
import dataclasses
import gc
import itertools
import pickle
from typing import Any

import numpy as np
import pytest

from fastmlp import SGD, Adagrad, Adam, AdamW, Dense, Network, ReLU, RMSprop
from fastmlp.errors import InputError
from fastmlp.model import groups
from fastmlp.nn import Layer
from fastmlp.nn.losses import Loss
from fastmlp.optim import schedules
from fastmlp.optim.optimizers import OPTIMIZERS, Optimizer

pytestmark = [pytest.mark.nojit, pytest.mark.thinned(3)]

RNG = np.random.default_rng(0)
X, y = RNG.normal(size=(30, 4)), RNG.integers(0, 3, 30)
N_STEPS = 12


def network(dtype: str = "float32", **options: Any) -> Network:
    layers = [
        Dense(8, max_norm=options.pop("max_norm", None)),
        ReLU(),
        Dense(3, initializer=options.pop("initializer", None)),
    ]
    return Network(layers, dtype=dtype, **options)


def fitted(net: Network, optimizer: Optimizer) -> Network:
    net.fit(
        X, y, optimizer=optimizer, epochs=N_STEPS, batch_size=len(X), shuffle=False, n_threads=1
    )
    return net


def looped(net: Network, optimizer: Optimizer, n_steps: int | None = N_STEPS) -> Network:
    for _ in range(N_STEPS):
        net.loss_and_gradient(X, y)
        optimizer.step(net.params, net.grads, n_steps)
    return net


OPTIONS: dict[str, Optimizer] = {
    **{f"{cls.name}": cls() for cls in OPTIMIZERS},
    "momentum": SGD(0.1, momentum=0.9),
    "nesterov": SGD(0.1, momentum=0.9, nesterov=True),
    "decay": Adam(0.05, weight_decay=0.1),
    "decay of momentum": SGD(0.1, momentum=0.9, weight_decay=0.3),
    "clipped": Adam(0.05, clip_norm=0.1),
    "factors": RMSprop(0.01, factors={"*.b": 0.1, "0.W": 6.0}),
    "a frozen layer": AdamW(0.1, factors={"2.*": 0.0}),
    "cosine": Adam(schedules.Cosine(0.1)),
    "warm-up": Adagrad(schedules.WarmUp(schedules.Linear(0.1), 4)),
    "a function": SGD(lambda step, n_steps: 0.1 / (1 + step)),
    "inverse scaling": SGD(schedules.InverseScaling(0.5)),
}
NETWORKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "penalties": {"l1": 0.01, "l2": 0.1},
    "max_norm": {"max_norm": 0.5},
    "parametrised": {"initializer": "ntk"},
    "float64": {"dtype": "float64"},
}


@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("optimizer", OPTIONS.values(), ids=OPTIONS)
def test_a_loop_takes_the_steps_of_fit(optimizer: Optimizer, options: dict[str, Any]) -> None:
    wanted = fitted(network(**options), optimizer)
    found = looped(network(**options), optimizer)
    assert found.params.tobytes() == wanted.params.tobytes()
    assert np.isfinite(found.params).all()


def test_schedules_that_need_no_end_step_without_one() -> None:
    for optimizer in (Adam(0.1), Adam(schedules.WarmUp(0.1, 3)), SGD("inverse_scaling")):
        wanted = fitted(network(), optimizer)
        assert (looped(network(), optimizer, None).params == wanted.params).all()
    for rate in ("linear", "step", schedules.WarmUp("cosine"), lambda step, n_steps: 0.1):
        with pytest.raises(InputError, match="expected n_steps, over which "):
            looped(network(), Adam(rate), None)


def test_layers_of_ones_own_take_the_same_steps() -> None:
    class Scale(Layer):
        name = "scale"

        def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
            return {"s": (self.n_in or 0,)}

        def initialize(self, rng: np.random.Generator) -> None:
            self.parameters["s"][...] = 1

        def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
            self.X = X
            return X * self.parameters["s"]

        def backward(self, dY: np.ndarray) -> np.ndarray:
            self.gradients["s"][...] = (dY * self.X).sum(axis=0)
            return dY * self.parameters["s"]

    optimizer = Adam(0.05, weight_decay=0.2)
    networks = [Network([Dense(5), Scale(), ReLU(), Dense(3)]) for _ in range(2)]
    assert (fitted(networks[0], optimizer).params == looped(networks[1], optimizer).params).all()


def test_each_array_has_a_state_of_its_own() -> None:
    optimizer = Adam(0.05)
    alone = looped(network(random_state=1), Adam(0.05))
    one, other = network(random_state=0), network(random_state=1)
    for _ in range(N_STEPS):
        for net in (one, other):
            net.loss_and_gradient(X, y)
            optimizer.step(net.params, net.grads)
    assert (other.params == alone.params).all()
    assert (one.params == looped(network(random_state=0), Adam(0.05)).params).all()


def test_views_of_one_array_share_its_state_and_fit_leaves_it_alone() -> None:
    optimizer, net = Adam(0.05), network().build(4)
    for _ in range(N_STEPS):
        net.loss_and_gradient(X, y)
        optimizer.step(net.params[:], net.grads.view())
        fitted(network(), optimizer)
    assert (net.params == looped(network(), Adam(0.05)).params).all()


def test_layers_may_be_stepped_one_by_one() -> None:
    """Of each array the network is asked whether it is weights or a bias, which do not decay."""
    optimizer, net = AdamW(0.05, weight_decay=0.3, factors={"2.b": 0.5}), network().build(4)
    dense = [layer for layer in net.layers if isinstance(layer, Dense)]
    last = dense[-1]
    for _ in range(N_STEPS):
        net.loss_and_gradient(X, y)
        AdamW(0.05).step(net.params.copy(), net.grads)
        for layer in dense:
            with pytest.raises(InputError, match=r"factors for some of \d\.W, got '2\.b'"):
                optimizer.step(layer.W, layer.dW)
        optimizer.step(last.b, last.db)
    plain = AdamW(0.05, weight_decay=0.3)
    whole, parts = network(), network().build(4)
    looped(whole, plain)
    for _ in range(N_STEPS):
        parts.loss_and_gradient(X, y)
        for layer in parts.layers:
            if isinstance(layer, Dense):
                plain.step(layer.W, layer.dW)
                plain.step(layer.b, layer.db)
    assert (parts.params == whole.params).all()


def test_arrays_of_ones_own_are_one_group_of_weights() -> None:
    params, grads = np.full((2, 3), 2.0), np.zeros((2, 3))
    SGD(0.1, weight_decay=0.5).step(params, grads)
    assert np.allclose(params, 2 * (1 - 0.1 * 0.5))
    assert groups.groups_of(params) == [groups.Group("params", 0, 6, True, 1.0)]
    SGD(0.1, factors={"params": 0.0}).step(params, grads + 1)
    assert np.allclose(params, 2 * (1 - 0.1 * 0.5))


def test_the_gradient_is_not_written_to() -> None:
    params, grads = np.zeros(4), np.full(4, 10.0)
    grads.flags.writeable = False
    SGD(1.0, clip_norm=1.0).step(params, grads)
    assert np.allclose(np.linalg.norm(params), 1)
    assert (grads == 10).all()


@pytest.mark.slow
def test_a_state_ends_with_its_array() -> None:
    """Memory that is given out anew begins anew, and nothing is kept alive."""
    gc.collect()  # the networks of other tests
    optimizer, known = Adam(0.1), len(groups._known)
    for _ in range(50):
        params = np.zeros(1000)
        optimizer.step(params, np.ones(1000))
        assert np.allclose(params, -0.1)
        looped(network(), optimizer)
    del params
    gc.collect()
    assert optimizer.__dict__["_kept"] == {}
    assert len(groups._known) == known


@pytest.mark.parametrize("optimizer", OPTIONS.values(), ids=OPTIONS)
def test_a_used_optimizer_is_the_dataclass_it_was(optimizer: Optimizer) -> None:
    fresh = dataclasses.replace(optimizer)
    net = looped(network(), optimizer)
    assert fresh == optimizer
    assert repr(fresh) == repr(optimizer)
    copies = [copy.copy(optimizer), copy.deepcopy(optimizer), dataclasses.replace(optimizer)]
    if not isinstance(optimizer.schedule, schedules.FromFunction):
        copies.append(pickle.loads(pickle.dumps(optimizer)))
    for other in copies:
        assert other == optimizer
        again = copy.deepcopy(net)
        again.loss_and_gradient(X, y)
        kept = again.params.copy()
        other.step(again.params, again.grads, N_STEPS)
        fresh_net = copy.deepcopy(net)
        fresh_net.loss_and_gradient(X, y)
        dataclasses.replace(optimizer).step(fresh_net.params, fresh_net.grads, N_STEPS)
        assert (again.params == fresh_net.params).all()  # the first step of a copy
        assert (again.params != kept).any()


def test_a_copied_or_pickled_network_tells_its_groups() -> None:
    optimizer = SGD(0.1, weight_decay=0.5)
    for twin in (copy.deepcopy(network().build(4)), pickle.loads(pickle.dumps(network().build(4)))):
        assert (looped(twin, optimizer).params == fitted(network(), optimizer).params).all()


def test_a_class_derived_from_an_optimizer_steps_as_it_says() -> None:
    class Signs(Optimizer):
        def step(self, params: np.ndarray, grads: np.ndarray, n_steps: int | None = None) -> None:
            params -= 0.01 * np.sign(grads)

    class Twice(Adam):
        def step(self, params: np.ndarray, grads: np.ndarray, n_steps: int | None = None) -> None:
            super().step(params, grads)
            params -= 0.001

    for optimizer in (Signs(), Twice(0.1)):
        net = fitted(network(), optimizer)
        assert (net.params == looped(network(), optimizer).params).all()
    assert not (fitted(network(), Twice(0.1)).params == fitted(network(), Adam(0.1)).params).all()


def test_parts_of_ones_own_are_looked_at_in_the_first_batch_only() -> None:
    calls: list[str] = []

    class Counted(Loss):
        name = "counted"

        def value_and_gradient(
            self, outputs: np.ndarray, targets: np.ndarray, sample_weight: np.ndarray
        ) -> tuple[float, np.ndarray]:
            calls.append("value")
            return float(((outputs - targets) ** 2).mean()), outputs - targets

        def link(self, outputs: np.ndarray) -> np.ndarray:
            calls.append("link")
            return outputs

    Network([Dense(4, 1)], Counted()).fit(X, X[:, 0], epochs=3, batch_size=5)
    assert calls.count("value") == 3 * 6
    assert calls.count("link") <= 3  # at most once for each compiled call's worth of steps


def test_callables_without_a_signature_are_taken_as_they_are() -> None:
    assert isinstance(Adam(max).schedule, schedules.FromFunction)
    calls = itertools.count()
    network().fit(X, y, epochs=2, callbacks=[lambda *arguments: next(calls) > 5])
    assert next(calls) == 2
