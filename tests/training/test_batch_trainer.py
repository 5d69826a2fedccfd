"""Training on batches that are passed one by one: the bits of `fit`, and gradients by hand."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from fastmlp import (
    SGD,
    Adam,
    BatchNorm,
    Columns,
    Dense,
    Dropout,
    Embedding,
    InputError,
    Network,
    ReLU,
    Stepper,
    Tanh,
)
from fastmlp.engine import batch_outputs
from fastmlp.optim import schedules
from fastmlp.training import batches

from ..support import Own

pytestmark = pytest.mark.nojit

N, BATCH = 50, 16


def data(loss: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    X, weights = rng.normal(size=(N, 6)), rng.uniform(0.5, 2, N)
    targets = {
        "softmax_cross_entropy": np.arange(N) % 3,
        "binary_cross_entropy": (rng.random((N, 3)) > 0.5).astype(float),
        "mse": rng.normal(size=(N, 3)),
    }
    return X, targets[loss], weights


def network(loss: str, dtype: str = "float64", *more: Any, rate: Any = 0.3) -> Network:
    layers = [Dense(20, max_norm=1.2), BatchNorm(), ReLU(), Dropout(rate), Dense(7), Tanh()]
    made = Network([*layers, *more, Dense(3)], loss, dtype, random_state=8, l1=1e-4, l2=1e-3)
    return made.build(6)


def trained(net: Network, X: Any, y: Any, weights: Any, **options: Any) -> list[float]:
    trainer, losses = net.trainer(batch_size=BATCH, **options), []
    for _ in range(2):
        for start in range(0, N, BATCH):
            rows = slice(start, start + BATCH)
            some = None if weights is None else weights[rows]
            losses.append(trainer.step(X[rows], y[rows], some))
    assert trainer.steps_done == len(losses)
    return losses


def optimizers() -> list[Any]:
    return [
        Adam(schedules.Cosine(0.02), weight_decay=1e-3),
        SGD(0.05, momentum=0.9, clip_norm=0.3),
        Adam(0.01),
    ]


@pytest.mark.thinned
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "binary_cross_entropy", "mse"])
def test_steps_are_those_of_a_fit(loss: str, number: int, dtype: str, n_threads: int) -> None:
    (X, y, weights), optimizer = data(loss), optimizers()[number]
    some = weights if number else None
    options: dict[str, Any] = {"optimizer": optimizer, "n_threads": n_threads}
    for more in ((), (Own,)):
        rate = schedules.Linear(0.4, 0.1) if number == 0 else 0.3
        whole, net = (network(loss, dtype, *(kind() for kind in more), rate=rate) for _ in range(2))
        history = whole.fit(
            X, y, epochs=2, batch_size=BATCH, shuffle=False, sample_weight=some, **options
        )
        losses = trained(net, X, y, some, n_steps=8, **options)
        np.testing.assert_array_equal(net.learned, whole.learned)
        counts = (
            np.array([16, 16, 16, 2])
            if some is None
            else [weights[start : start + BATCH].sum() for start in range(0, N, BATCH)]
        )
        np.testing.assert_allclose(np.average(losses[:4], weights=counts), history.loss[0], 0.2)


def test_rows_of_every_kind() -> None:
    X, y, _ = data("mse")
    X = np.where(X > 0, np.round(X), 0)
    wanted = network("mse")
    trained(wanted, X, y, None)
    for given in (X.astype(np.float32), np.asfortranarray(X), sparse.csr_array(X), X[::-1][::-1]):
        net = network("mse")
        trained(net, given, y, None)
        np.testing.assert_array_equal(net.params, wanted.params)
    net = network("mse")
    trainer = net.trainer(batch_size=BATCH)
    loss = trainer.step(X[:3].tolist(), y[:3].tolist())
    assert loss == network("mse").trainer(batch_size=BATCH).step(X[:3], y[:3])


def test_weights_may_come_and_go() -> None:
    X, y, weights = data("mse")
    net, other = network("mse"), network("mse")
    trainer = net.trainer(batch_size=BATCH)
    stepper = Stepper(other, X, y, batch_size=BATCH, sample_weight=weights)
    for start, weighs in ((0, True), (16, False), (32, True), (16, True)):
        rows = slice(start, start + BATCH)
        loss = trainer.step(X[rows], y[rows], weights[rows] if weighs else None)
        stepper._samples = stepper._samples._replace(weights=weights if weighs else weights[:0])
        assert loss == stepper.gradient(np.arange(start, start + BATCH))
        stepper.apply()
        np.testing.assert_array_equal(net.params, other.params)


def test_state_moves_to_another_trainer() -> None:
    X, y, weights = data("mse")
    net = network("mse")
    trainer = net.trainer(batch_size=N)
    for _ in range(3):
        trainer.step(X, y, weights)
    other = network("mse")
    other.learned[...] = net.learned
    heir = other.trainer(batch_size=N)
    heir.state, heir.steps_done = trainer.state.copy(), trainer.steps_done
    for one in (trainer, heir):
        one.step(X, y, weights)
    np.testing.assert_array_equal(other.learned, net.learned)


@pytest.mark.parametrize("more", [(), (Own,)], ids=["compiled", "layers"])
def test_a_gradient_by_hand_is_that_of_the_loss(more: Any) -> None:
    X, y, _ = data("mse")
    nets = [network("mse", "float64", *(kind() for kind in more)) for _ in range(2)]
    ours, by_hand = (net.trainer(optimizer=SGD(0.1), batch_size=N) for net in nets)
    for _ in range(3):
        loss = ours.step(X, y)
        outputs = by_hand.forward(X)
        errors = outputs - y
        by_hand.backward(2 * errors / errors.size)
        by_hand.apply()
        np.testing.assert_allclose(nets[1].params, nets[0].params, 1e-11, 1e-14)
        assert np.mean(errors**2) == pytest.approx(loss, rel=0.2)  # which has penalties as well


PLAIN: dict[str, Any] = {
    "layers": lambda: network("mse", rate=0.0),
    "kernels": lambda: Network(
        [Dense(20, max_norm=1.2), Tanh(), Dense(7), Dense(3)], "mse", "float64", l2=1e-3
    ).build(6),
    "one layer": lambda: Network([Dense(3)], "mse", "float64").build(6),
    "one output": lambda: Network([Dense(9), Tanh(), Dense(1)], "mse", "float64").build(6),
    "wide": lambda: Network([Dense(270), Tanh(), Dense(3)], "mse", "float64").build(6),
}


@pytest.mark.parametrize("kind", PLAIN)
def test_the_gradient_of_the_inputs(kind: str) -> None:
    X, _, _ = data("mse")
    net = PLAIN[kind]()
    trainer, rng = net.trainer(batch_size=N), np.random.default_rng(1)
    dY = rng.normal(size=(N, net.n_outputs))
    trainer.forward(X)
    found = trainer.backward(dY)
    direction, small = rng.normal(size=X.shape), 1e-6
    ahead, behind = (trainer.forward(X + small * sign * direction) for sign in (1, -1))
    wanted = ((ahead - behind) * dY).sum() / (2 * small)
    assert (found * direction).sum() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("n", [1, 7, N])
def test_kernels_and_layers_have_the_same_gradients(
    kind: str, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, rng = data("mse")[0][:n], np.random.default_rng(2)
    net = PLAIN[kind]()
    dY, found = rng.normal(size=(n, net.n_outputs)), []
    for suits in (True, False):
        if not suits:
            monkeypatch.setattr(batches.ByHand, "suits", lambda _: False)
        trainer = net.trainer(batch_size=N)
        outputs = trainer.forward(X)
        found.append((outputs, trainer.backward(dY), net.grads.copy()))
        assert ("_by_hand" in vars(trainer)) == (suits and kind != "layers")
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-12, 1e-14)


def test_outputs_of_more_work_than_one_call_has(monkeypatch: pytest.MonkeyPatch) -> None:
    X, net = data("mse")[0], PLAIN["kernels"]()
    wanted = net.trainer(batch_size=N).forward(X)
    monkeypatch.setattr(batch_outputs, "FIRST_WORK", 1)
    found = copy.deepcopy(net).trainer(batch_size=N).forward(X)
    np.testing.assert_array_equal(found, wanted)


def test_more_rows_than_a_batch_can_be_passed_by_hand() -> None:
    X, net = data("mse")[0], PLAIN["kernels"]()
    trainer = net.trainer(batch_size=4)
    assert trainer.forward(X).shape == (N, 3)
    assert trainer.backward(np.ones((N, 3))).shape == X.shape
    assert trainer.forward(X[:4]).shape == (4, 3)
    assert trainer.backward(np.ones((4, 3))).shape == (4, 6)


def test_backward_may_be_called_again_and_keeps_its_argument() -> None:
    X, _, _ = data("mse")
    net = network("mse")
    trainer, dY = net.trainer(batch_size=N), np.ones((N, 3))
    outputs = trainer.forward(X)
    outputs[...] = np.nan  # the caller's own
    first, kept = trainer.backward(dY), net.grads.copy()
    np.testing.assert_array_equal(trainer.backward(dY), first)
    np.testing.assert_array_equal(net.grads, kept)
    assert (dY == 1).all()


@pytest.mark.parametrize("end", ["apply", "step"])
def test_backward_belongs_to_the_parameters_of_forward(end: str) -> None:
    X, y, _ = data("mse")
    trainer = network("mse").trainer(batch_size=N)
    trainer.forward(X)
    trainer.apply() if end == "apply" else trainer.step(X, y)
    with pytest.raises(InputError, match="a forward pass with these parameters, got none"):
        trainer.backward(np.ones((N, 3)))


def test_labels_of_a_new_network_count_from_0() -> None:
    X, y, _ = data("softmax_cross_entropy")
    net = network("softmax_cross_entropy")
    trainer = net.trainer(batch_size=N)
    trainer.step(X[:4], np.array([2, 2, 2, 2]))  # a batch of one class says nothing about others
    np.testing.assert_array_equal(net.classes_, [0, 1, 2])
    with pytest.raises(InputError, match="only labels seen in fit"):
        trainer.step(X[:2], np.array([0, 3]))
    refused = network("softmax_cross_entropy")
    with pytest.raises(InputError, match="only labels seen in fit"):
        refused.trainer().step(X[:2], np.array([0, 3]))
    assert refused.classes_ is None
    named = network("softmax_cross_entropy")
    named.fit(X, np.array(["a", "b", "c"])[y], epochs=1)
    named.trainer().step(X[:3], ["c", "c", "b"])


def test_numbers_of_categories_are_checked() -> None:
    net = Network([Columns(([0], [Embedding(4, 2)])), Dense(1)], "mse").build(2)
    trainer = net.trainer()
    trainer.step([[3, 0.5]], [1.0])
    kept = net.params.copy()
    with pytest.raises(InputError, match="numbers of categories from 0 to 3"):
        trainer.step(np.array([[4, 0.5]]), [1.0])
    np.testing.assert_array_equal(net.params, kept)


@pytest.mark.parametrize(
    ("rows", "targets", "weights"),
    [
        (np.full((2, 6), np.nan), np.zeros((2, 3)), None),
        (np.zeros((2, 5)), np.zeros((2, 3)), None),
        (np.zeros((0, 6)), np.zeros((0, 3)), None),
        (np.zeros((17, 6)), np.zeros((17, 3)), None),
        (np.zeros((2, 6)), np.zeros((3, 3)), None),
        (np.zeros((2, 6)), np.zeros((2, 2)), None),
        (np.zeros((2, 6)), np.full((2, 3), np.inf), None),
        (np.zeros((2, 6)), np.zeros((2, 3)), [1.0, -1.0]),
        (np.zeros((2, 6)), np.zeros((2, 3)), [1.0]),
    ],
)
def test_nothing_is_changed_by_what_cannot_be_used(rows: Any, targets: Any, weights: Any) -> None:
    net = network("mse")
    trainer = net.trainer(batch_size=BATCH)
    trainer.step(np.zeros((2, 6)), np.zeros((2, 3)))
    kept, state = net.learned.copy(), trainer.state.copy()
    with pytest.raises(InputError):
        trainer.step(rows, targets, weights)
    np.testing.assert_array_equal(net.learned, kept)
    np.testing.assert_array_equal(trainer.state, state)
    assert trainer.steps_done == 1


def test_a_trainer_needs_a_network_that_is_built() -> None:
    with pytest.raises(InputError, match=r"Network.trainer: expected a network that is built"):
        Network([Dense(3)]).trainer()
    with pytest.raises(InputError, match="n_steps, over which Cosine plans the rates"):
        network("mse").trainer(optimizer=Adam(schedules.Cosine(0.1))).step(
            np.zeros((1, 6)), np.zeros((1, 3))
        )
