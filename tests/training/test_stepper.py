"""The step in two halves: the bits of `fit` on every path, and gradients that add up.

Parts of a batch take the place of processes that would each have one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from fastmlp import SGD, Adam, Dense, Dropout, Factor, InputError, Network, ReLU, Stepper
from fastmlp.kernels.rules import random
from fastmlp.optim import schedules

from ..support import Own

pytestmark = pytest.mark.nojit

DTYPES = ("float32", "float64")
N, BATCH, EPOCHS = 50, 16, 2


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    X = rng.normal(size=(N, 6))
    return X, np.arange(N) % 3, rng.uniform(0.5, 2, N)


def network(dtype: str, *more: Any, rate: Any = 0.3) -> Network:
    layers = [Dense(20, max_norm=1.2), ReLU(), Dropout(rate), Dense(7), ReLU(), *more, Dense(3)]
    return Network(layers, dtype=dtype, random_state=8, l1=1e-4, l2=1e-3)


def optimizers() -> list[Any]:
    return [
        Adam(schedules.Cosine(0.02), weight_decay=1e-3),
        SGD(0.05, momentum=0.9, clip_norm=0.3),
        Adam(0.01, factors={"*.W": Factor(schedules.Linear(1.0, 0.5))}),
    ]


def batches(seed: int) -> list[np.ndarray]:
    found = []
    for epoch in range(EPOCHS):
        order = np.arange(N, dtype=np.int32)
        random.shuffle(order, seed, epoch)
        found += [order[start : start + BATCH] for start in range(0, N, BATCH)]
    return found


def stepped(net: Network, optimizer: Any, X: Any, n_threads: int | None = 1) -> Network:
    _, y, weights = data()
    rows = batches(net.seed)
    stepper = Stepper(
        net, X, y, optimizer=optimizer, batch_size=BATCH, sample_weight=weights,
        n_steps=len(rows), n_threads=n_threads,
    )  # fmt: skip
    for batch in rows:
        stepper.gradient(batch)
        stepper.apply()
    assert stepper.steps_done == len(rows)
    return net


@pytest.mark.thinned
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", range(3))
def test_both_halves_are_the_step_of_a_fit(number: int, dtype: str, n_threads: int) -> None:
    (X, y, weights), optimizer = data(), optimizers()[number]
    rate = schedules.Linear(0.4, 0.1) if number == 1 else 0.3
    whole, slow = network(dtype, rate=rate), network(dtype, Own(), rate=rate)
    for net in (whole, slow):
        net.fit(
            X, y, optimizer=optimizer, epochs=EPOCHS, batch_size=BATCH, sample_weight=weights,
            n_threads=1,
        )  # fmt: skip
    found = stepped(network(dtype, rate=rate), optimizer, X, n_threads)
    np.testing.assert_array_equal(found.params, whole.params)
    by_layers = stepped(network(dtype, Own(), rate=rate), optimizer, X)
    np.testing.assert_array_equal(by_layers.params, slow.params)


def test_sparse_rows() -> None:
    X = np.where(np.random.default_rng(0).random((N, 6)) < 0.5, 0.0, data()[0])
    dense, thin = (
        stepped(network("float64"), SGD(0.1), given) for given in (X, sparse.csr_array(X))
    )
    np.testing.assert_allclose(dense.params, thin.params, 1e-9, 1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("more", [(), (Own,)], ids=["compiled", "layers"])
def test_parts_of_a_batch_add_up(dtype: str, more: tuple[Any, ...]) -> None:
    X, y, weights = data()
    net = network(dtype, *(kind() for kind in more), rate=0.0)
    stepper = Stepper(net, X, y, batch_size=N, sample_weight=weights)
    loss, whole = stepper.gradient(np.arange(N)), net.grads.copy()
    total, parts, losses = float(weights.astype(dtype).sum(dtype="f8")), np.zeros_like(whole), 0.0
    for number, rows in enumerate(np.array_split(np.arange(N), 3)):
        losses += stepper.gradient(rows, total=total, penalties=number == 0)
        parts += net.grads
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    assert losses == pytest.approx(loss, rel=tolerance)
    np.testing.assert_allclose(parts, whole, tolerance, tolerance)


def test_a_loop_goes_on_elsewhere() -> None:
    X, y, _ = data()
    rows, optimizer = batches(8), Adam(0.01)
    whole, first, second = (network("float64") for _ in range(3))
    one, two, three = (Stepper(net, X, y, optimizer=optimizer) for net in (whole, first, second))
    for batch in rows:
        one.gradient(batch)
        one.apply()
    for batch in rows[:3]:
        two.gradient(batch)
        two.apply()
    second.params[...], three.state[...] = first.params, two.state
    three.steps_done = two.steps_done
    for number, batch in enumerate(rows[3:], 3):
        three.gradient(batch)
        three.apply(number)
    np.testing.assert_array_equal(second.params, whole.params)


def test_an_optimizer_of_ones_own_applies() -> None:
    class Plain:
        def step(self, params: np.ndarray, grads: np.ndarray) -> None:
            params -= 0.5 * grads

    one, two = network("float64"), network("float64")
    X = data()[0]
    stepped(one, Plain(), X)
    stepped(two, SGD(0.5), X)
    np.testing.assert_allclose(one.params, two.params, 1e-12)


def test_what_needs_the_number_of_steps_says_so() -> None:
    X, y, _ = data()
    stepper = Stepper(network("float32"), X, y, optimizer=Adam(schedules.Linear(0.1)))
    stepper.gradient([0, 1])
    with pytest.raises(InputError, match=r"Stepper.apply: expected n_steps, over which Linear"):
        stepper.apply()
