"""Accumulated gradients: steps of one large batch, made of several small ones, on every path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from fastmlp import (
    EMA,
    SGD,
    Adam,
    BatchNorm,
    Checkpoint,
    Dense,
    Dropout,
    EarlyStopping,
    Embedding,
    Factor,
    History,
    InputError,
    LayerNorm,
    Network,
    PReLU,
    ReLU,
    Residual,
    Scale,
)
from fastmlp.optim import schedules

from ..support import Own, layer_by_layer

RNG = np.random.default_rng(2)
N, BATCH = 53, 8
X = RNG.normal(size=(N, 6))
CLASSES = np.arange(N) % 3
NUMBERS = X[:, 0] * X[:, 1]
WEIGHTS = RNG.uniform(0.1, 2, N)
OPTIMIZERS: dict[str, Any] = {
    "adam": lambda: Adam(schedules.Cosine(0.02), weight_decay=1e-3),
    "clipped": lambda: SGD(0.1, momentum=0.9, clip_norm=0.05),
    "factors": lambda: Adam(0.01, factors={"*.W": Factor(schedules.Linear(1.0, 0.5))}),
}
LAYERS: dict[str, Any] = {
    "plain": lambda: [Dense(12), ReLU(), Dense(7), ReLU()],
    "max norm and dropout": lambda: [Dense(12, max_norm=0.8), ReLU(), Dropout(0.3), Dense(7)],
    "planned dropout": lambda: [Dense(12), ReLU(), Dropout(schedules.Linear(0.5, 0.1))],
    "learned": lambda: [Dense(12), PReLU(), Scale(), LayerNorm(), Residual([Dense(12), ReLU()])],
    "first dropout": lambda: [Dropout(0.2), Dense(12), ReLU()],
}


def network(layers: str = "plain", loss: str = "mse", dtype: str = "float64") -> Network:
    n_out = 3 if loss == "softmax_cross_entropy" else 1
    return Network([*LAYERS[layers](), Dense(n_out)], loss, dtype, random_state=4, l1=1e-4, l2=1e-3)


def fit(net: Network, batch_size: int, steps: int, rows: Any = X, **options: Any) -> History:
    settings = {"optimizer": Adam(0.02), "epochs": 3, "sample_weight": WEIGHTS}
    y = CLASSES if net.loss.name == "softmax_cross_entropy" else NUMBERS
    settings |= {"batch_size": batch_size, "gradient_accumulation_steps": steps}
    return net.fit(rows, y, **settings | options)


@pytest.mark.nojit
@pytest.mark.thinned
@pytest.mark.parametrize("loss", ["mse", "softmax_cross_entropy", "huber"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("steps", [2, 3, 7, 100])
@pytest.mark.parametrize("layers", LAYERS)
def test_it_is_one_large_batch(layers: str, steps: int, optimizer: str, loss: str) -> None:
    """The last group of an epoch has fewer rows, and the last batch of a group, too."""
    large, small = network(layers, loss), network(layers, loss)
    wanted = fit(large, BATCH * steps, 1, optimizer=OPTIMIZERS[optimizer]())
    found = fit(small, BATCH, steps, optimizer=OPTIMIZERS[optimizer]())
    np.testing.assert_allclose(small.params, large.params, rtol=0, atol=1e-12)
    np.testing.assert_allclose(small.grads, large.grads, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-12)
    assert found.learning_rate == wanted.learning_rate


def test_no_step_is_of_more_rows_than_there_are() -> None:
    large, small = network(), network()
    fit(large, N, 1)
    fit(small, BATCH, 10**15)  # work space is for one batch, and not for this
    np.testing.assert_allclose(small.params, large.params, rtol=0, atol=1e-12)
    one = network()
    fit(one, N, 7)
    assert one.params.tobytes() == large.params.tobytes()


@pytest.mark.parametrize("weighted", [False, True])
def test_rows_count_by_their_weights(weighted: bool) -> None:
    weights = WEIGHTS if weighted else None
    large, small = network(), network()
    fit(large, 24, 1, sample_weight=weights)
    fit(small, BATCH, 3, sample_weight=weights)
    np.testing.assert_allclose(small.params, large.params, rtol=0, atol=1e-12)


@pytest.mark.bounds
@pytest.mark.thinned
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("steps", [2, 3, 100])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("layers", LAYERS)
def test_every_path_has_the_same_bits(layers: str, optimizer: str, steps: int, dtype: str) -> None:
    found: list[Any] = []
    for n_threads in (1, 2, 3):
        net = network(layers, dtype=dtype)
        made = OPTIMIZERS[optimizer]()
        history = fit(net, BATCH, steps, n_threads=n_threads, optimizer=made)
        found.append([net.params.tobytes(), history.loss])
    with pytest.MonkeyPatch.context() as patch:
        layer_by_layer(patch)
        net = network(layers, dtype=dtype)
        history = fit(net, BATCH, steps, optimizer=OPTIMIZERS[optimizer]())
    assert all(one == [net.params.tobytes(), history.loss] for one in found)


@pytest.mark.bounds
@pytest.mark.thinned
@pytest.mark.parametrize("n_threads", [2, 3])
@pytest.mark.parametrize("kind", ["wide inputs", "wide", "sparse", "integers", "categories"])
def test_threads_accumulate_alike_however_they_share_the_work(kind: str, n_threads: int) -> None:
    rows: Any = {
        "wide inputs": np.tile(X, (1, 70)),
        "sparse": sparse.csr_array(np.where(X > 0.5, X, 0)),
        "integers": (10 * abs(X)).astype(np.uint8),
        "categories": (abs(X) > 1).astype(np.int32),
    }.get(kind, X)
    width = 1100 if kind == "wide" else 20

    def made(dtype: str) -> Network:
        first = [Embedding(2, 3)] if kind == "categories" else []
        return Network([*first, Dense(width), ReLU(), Dense(1)], "mse", dtype, random_state=1)

    options: Any = {"epochs": 2, "optimizer": SGD(1e-3)}
    found = []
    for n in (1, n_threads):
        net = made("float32")
        fit(net, BATCH, 3, rows, n_threads=n, **options)
        found.append(net.params.tobytes())
    assert found[0] == found[1]
    large, small = made("float64"), made("float64")
    fit(large, BATCH * 3, 1, rows, **options)
    fit(small, BATCH, 3, rows, **options)
    np.testing.assert_allclose(small.params, large.params, rtol=0, atol=1e-12)


@pytest.mark.nojit
def test_parts_of_ones_own_accumulate() -> None:
    def made() -> Network:
        return Network([Dense(7), Own(), Dense(1)], "mse", "float64", random_state=4, l2=1e-3)

    large, small = made(), made()
    fit(large, 24, 1)
    fit(small, BATCH, 3)
    np.testing.assert_allclose(small.params, large.params, rtol=0, atol=1e-12)


def test_an_own_loss_and_an_own_optimizer_accumulate() -> None:
    from fastmlp import Loss

    class Squares(Loss):
        name = "squares"

        def value_and_gradient(self, outputs: Any, targets: Any, weights: Any) -> Any:
            away, total = outputs - targets, weights.sum()
            value = (weights[:, None] * away**2).sum() / total
            return float(value), 2 * weights[:, None] * away / total

    class Plain:
        def step(self, params: np.ndarray, grads: np.ndarray) -> None:
            params -= 0.05 * grads

    def made() -> Network:
        return Network([Dense(7), ReLU(), Dense(1)], Squares(), "float64", random_state=4)

    large, small = made(), made()
    wanted = large.fit(X, NUMBERS, batch_size=24, epochs=3, optimizer=Plain())
    found = small.fit(
        X, NUMBERS, batch_size=8, gradient_accumulation_steps=3, epochs=3, optimizer=Plain()
    )
    np.testing.assert_allclose(small.params, large.params, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-12)


def test_batch_norm_sees_single_batches() -> None:
    """The running mean moves once for each batch; gradients differ from those of a large one."""
    found = []
    for batch_size, steps in ((8, 3), (24, 1)):
        net = Network([Dense(5), BatchNorm(), Dense(1)], "mse", "float64", random_state=1)
        fit(net, batch_size, steps, epochs=1, shuffle=False, optimizer=SGD(0.0 + 1e-12))
        found.append(net.buffers.copy())
    momentum = BatchNorm().momentum
    net = Network([Dense(5)], "mse", "float64", random_state=1).build(6)
    mean = np.zeros(5)
    for first in range(0, N, 8):
        values = X[first : first + 8] @ np.asarray(net.layers[0].W)
        mean += momentum * (values.mean(axis=0) - mean)
    np.testing.assert_allclose(found[0][:5], mean, atol=1e-9)
    assert abs(found[0] - found[1]).max() > 1e-3


def test_updates_are_what_callbacks_count() -> None:
    class Heard:
        def __init__(self) -> None:
            self.steps: list[int] = []
            self.losses: list[float] = []

        def on_batch(self, network: Network, step: int, loss: float) -> None:
            self.steps.append(step)
            self.losses.append(loss)

    alone, told, heard = network(), network(), Heard()
    fit(alone, BATCH, 3)
    history = fit(told, BATCH, 3, callbacks=[heard])
    assert heard.steps == list(range(3 * 3))
    assert told.params.tobytes() == alone.params.tobytes()
    rows = np.array([24, 24, 5])
    assert history.loss[0] == pytest.approx((heard.losses[:3] * rows).sum() / N, rel=1e-12)


def test_it_goes_with_averages_and_early_stopping() -> None:
    found, held = [], (X[:20], NUMBERS[:20])
    for watches in ([], [lambda net, history: None]):
        net, stopping = network(), EarlyStopping(3, monitor="validation_loss")
        history = fit(
            net, BATCH, 3, callbacks=[EMA(0.8), stopping, *watches], validation_data=held,
            epochs=30,
        )  # fmt: skip
        found.append([net.params.tobytes(), history.validation_loss, stopping.best_epoch])
    assert found[0] == found[1]
    large = network()
    fit(large, 24, 1, callbacks=[EMA(0.8)], epochs=5)
    small = network()
    fit(small, BATCH, 3, callbacks=[EMA(0.8)], epochs=5)
    np.testing.assert_allclose(small.params, large.params, rtol=0, atol=1e-12)


def test_a_resumed_fit_has_the_same_bits(tmp_path: Path) -> None:
    def crash(network: Network, history: History) -> None:
        if history.epochs == 2:
            raise ZeroDivisionError

    wanted, net = network("max norm and dropout"), network("max norm and dropout")
    fit(wanted, BATCH, 3)
    with pytest.raises(ZeroDivisionError):
        fit(network("max norm and dropout"), BATCH, 3, callbacks=[Checkpoint(tmp_path), crash])
    with pytest.raises(InputError, match="another gradient_accumulation_steps"):
        fit(net, BATCH, 2, callbacks=[Checkpoint(tmp_path, resume=True)])
    fit(net, BATCH, 3, callbacks=[Checkpoint(tmp_path, resume=True)])
    assert net.params.tobytes() == wanted.params.tobytes()
