"""Networks of one shape that `fit_many` trains side by side in lanes: the bits of fits alone."""

from __future__ import annotations

import copy
import os
import signal
import threading
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import FitFailedWarning

from fastmlp import (
    GELU,
    SGD,
    Activation,
    Adagrad,
    Adam,
    AdamW,
    Dense,
    Dropout,
    Factor,
    Network,
    ReLU,
    RMSprop,
    Sigmoid,
    SiLU,
    Tanh,
    compiled_activation,
    fit_many,
    schedules,
)
from fastmlp.engine.engine import Engine
from fastmlp.engine.lockstep import LockstepFit, n_lanes, rows_at_once
from fastmlp.inputs.samples import adopt
from fastmlp.inputs.shared import SharedTable
from fastmlp.inputs.tables import table_of
from fastmlp.kernels.compiler.jit import JIT_ENABLED
from fastmlp.optim.schedules import rates_of
from fastmlp.training import alike, interrupts

RNG = np.random.default_rng(0)
N = 60
NUMBERS, LABELS = RNG.normal(size=(N, 3)), RNG.integers(0, 3, N)

pytestmark = pytest.mark.thinned(3)
compiled = pytest.mark.skipif(not JIT_ENABLED, reason="sums have another order in NumPy")


def rows(width: int, dtype: Any = np.float32) -> np.ndarray:
    if np.dtype(dtype).kind == "u":
        return RNG.integers(0, 255, (N, width)).astype(dtype)
    return RNG.normal(size=(N, width)).astype(dtype)


def made(n: int, widths: Any, activation: Any = ReLU, **options: Any) -> list[Network]:
    """Networks that differ in their seeds."""
    found = []
    for seed in range(n):
        layers: list[Any] = []
        for width in widths[:-1]:
            layers += [Dense(width), activation()]
        found.append(Network([*layers, Dense(widths[-1])], random_state=seed, **options))
    return found


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many networks each fit in lanes had."""
    counts = list[int]()

    class Counted(LockstepFit):
        def __init__(self, engine: Any, networks: Any, *rest: Any) -> None:
            counts.append(len(networks))
            super().__init__(engine, networks, *rest)

    monkeypatch.setattr(alike, "LockstepFit", Counted)
    return counts


def same_as_alone(networks: list[Network], X: Any, y: Any, **options: Any) -> None:
    """Train them together, and each of them alone."""
    others = [made_again(one) for one in networks]
    chosen = options.pop("rows", len(networks) * [None])
    histories = fit_many(networks, X, y, rows=chosen, **options)
    options.pop("n_threads", None)
    for one, other, own, history in zip(networks, others, chosen, histories, strict=True):
        mine = (X, y) if own is None else (X[own], y[own])
        alone = other.fit(*mine, **options)
        np.testing.assert_array_equal(one.params, other.params)
        np.testing.assert_array_equal(one.grads, other.grads)
        assert history.loss == alone.loss
        assert history.learning_rate == alone.learning_rate
        assert history.stopped == "finished"


def made_again(network: Network) -> Network:
    layers = [
        Dense(one.n_out) if isinstance(one, Dense) else copy.copy(one) for one in network.layers
    ]
    return Network(layers, network.loss, dtype=network.dtype, random_state=network.seed)


LOSSES: dict[str, Any] = {
    "mean_squared_error": NUMBERS[:, 0],
    "mean_absolute_error": NUMBERS[:, :2],
    "huber": NUMBERS,
    "poisson_deviance": np.abs(NUMBERS[:, 0]),
    "quantile": NUMBERS[:, 0],
    "softmax_cross_entropy": LABELS,
    "binary_cross_entropy": LABELS == 1,
}


@compiled
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_loss_has_the_same_bits(loss: str, dtype: str, together: list[int]) -> None:
    y = LOSSES[loss]
    n_out = 3 if loss.startswith("softmax") else 1 if y.ndim == 1 else y.shape[1]
    networks = made(5, (6, n_out), Tanh, loss=loss, dtype=dtype)
    same_as_alone(networks, rows(7), y, epochs=3, batch_size=8, n_threads=1)
    assert together == [5]


SHAPES = [(1,), (5,), (1, 1), (40, 1), (33, 7, 3), (4, 4, 4, 2), (9, 1, 5)]


@compiled
@pytest.mark.parametrize("widths", SHAPES)
@pytest.mark.parametrize("batch_size", [1, 7, 60])
@pytest.mark.parametrize("n_features", [1, 5, 50])
def test_every_shape_has_the_same_bits(
    widths: Any, batch_size: int, n_features: int, together: list[int], monkeypatch: Any
) -> None:
    monkeypatch.setattr(alike, "LANES_WORK", 10**9)
    y = RNG.normal(size=(N, widths[-1])).squeeze()
    networks = made(3, widths, loss="mean_squared_error")
    same_as_alone(networks, rows(n_features), y, epochs=2, batch_size=batch_size)
    assert sum(together) == 3


@compiled
def test_long_sums_have_the_same_bits(together: list[int], monkeypatch: Any) -> None:
    monkeypatch.setattr(alike, "LANES_WORK", 10**9)
    for widths in ((1,), (12,), (200, 5), (3, 400, 2)):
        y = RNG.normal(size=(N, widths[-1])).squeeze()
        same_as_alone(made(3, widths, loss="mean_squared_error"), rows(400), y, epochs=1)
    assert sum(together) == 12


@compiled
@pytest.mark.parametrize(
    "optimizer",
    [SGD(0.01), SGD(0.01, momentum=0.9, nesterov=True), Adam(schedules.Cosine(0.01, 0)),
     AdamW(0.01, weight_decay=0.1), RMSprop(0.01), Adagrad(0.01)],
    ids=lambda one: one.name,
)  # fmt: skip
@pytest.mark.parametrize("activation", [ReLU, Sigmoid, GELU, SiLU])
def test_every_optimizer_and_activation(
    optimizer: Any, activation: Any, together: list[int]
) -> None:
    networks = made(4, (5, 3), activation)
    same_as_alone(networks, rows(4), LABELS, epochs=3, batch_size=16, optimizer=optimizer)
    assert sum(together) == 4


@compiled
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.uint8])
@pytest.mark.parametrize("order", ["C", "F"])
def test_tables_of_every_type(dtype: Any, order: Any, together: list[int]) -> None:
    X = np.array(rows(5, dtype), order=order)
    same_as_alone(made(4, (5, 3)), X, LABELS, epochs=3, batch_size=4)
    assert sum(together) == 4


@compiled
@pytest.mark.parametrize("n", [2, 7, 16, 17, 50])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_any_number_of_networks(n: int, n_threads: int, together: list[int]) -> None:
    same_as_alone(made(n, (4, 3)), rows(5), LABELS, epochs=2, batch_size=4, n_threads=n_threads)
    assert sum(together) == n
    assert max(together) <= 16


@compiled
def test_bootstrap_samples_and_orders(together: list[int]) -> None:
    X, chosen = rows(5), [RNG.integers(0, N, 40) for _ in range(6)]
    chosen[0] = np.arange(40)
    for shuffle in (True, False):
        same_as_alone(
            made(6, (4, 3)), X, LABELS, rows=chosen, epochs=3, batch_size=7, shuffle=shuffle
        )
    y = NUMBERS[:, :2]
    same_as_alone(made(6, (4, 2), loss="huber"), X, y, rows=chosen, epochs=3, batch_size=7)
    assert sum(together) == 18


@compiled
def test_classes_that_some_have_not_seen_are_theirs_alone(together: list[int]) -> None:
    text = np.array(["a", "b", "c", "d"])[np.where(LABELS == 0, 3, LABELS)]
    halves = [np.flatnonzero(text != "d"), np.flatnonzero(text != "b")]
    size = min(map(len, halves))
    chosen = [halves[i % 2][:size] for i in range(6)]
    X, networks = rows(5), made(6, (4, 2))
    same_as_alone(networks, X, text, rows=chosen, epochs=2, batch_size=5)
    assert len({tuple(one.coder.classes) for one in networks if one.coder}) == 2
    assert together == []


@compiled
def test_a_second_fit_goes_on(together: list[int]) -> None:
    X, networks = rows(5), made(5, (4, 3))
    others = [made_again(one) for one in networks]
    for _ in range(2):
        fit_many(networks, X, LABELS, epochs=2)
        for one in others:
            one.fit(X, LABELS, epochs=2)
    for one, other in zip(networks, others, strict=True):
        np.testing.assert_array_equal(one.params, other.params)
    assert sum(together) == 10


@compiled
def test_own_activations_and_layers_without_one(together: list[int]) -> None:
    def bent(z: Any, alpha: Any) -> Any:
        return z + 0.1 * z * z, 1 + 0.2 * z

    class Bent(Tanh):
        name = "bent"
        kernel = compiled_activation(bent)

    layers = [[Dense(4), Bent(), Dense(3), Dense(3)] for _ in range(4)]
    networks = [Network(some, random_state=i) for i, some in enumerate(layers)]
    same_as_alone(networks, rows(5), LABELS, epochs=2)
    assert sum(together) == 4


@compiled
def test_a_network_that_diverges_is_reported_and_the_others_finish(together: list[int]) -> None:
    X, networks = rows(5), made(6, (4, 3))
    for one in networks:
        one.build(5)
    networks[2].params[...] = 1e30
    others = [made_again(one) for one in networks]
    with pytest.warns(
        FitFailedWarning, match=r"1 network of 6 failed: 2\. The first: .* a finite loss"
    ):
        histories = fit_many(networks, X, LABELS, epochs=3, batch_size=8)
    assert [history.stopped for history in histories].count("failed") == 1
    for number in (0, 5):
        others[number].fit(X, LABELS, epochs=3, batch_size=8)
        np.testing.assert_array_equal(networks[number].params, others[number].params)
    assert sum(together) == 6


@compiled
def test_columns_are_put_in_order_for_each(together: list[int]) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(rows(3), columns=["a", "b", "c"])
    orders, networks = [["a", "b", "c"], ["c", "a", "b"]], made(6, (4, 3))
    others = [made_again(one) for one in networks]
    for number, (one, other) in enumerate(zip(networks, others, strict=True)):
        for each in (one, other):
            each.fit(frame[orders[number % 2]], LABELS, epochs=1)
    fit_many(networks, frame, LABELS, epochs=2)
    for one, other in zip(networks, others, strict=True):
        other.fit(frame, LABELS, epochs=2)
        np.testing.assert_array_equal(one.params, other.params)
    assert together == [3, 3]


@compiled
def test_options_of_activations_are_their_own(together: list[int]) -> None:
    class Slope(Activation):
        name = "slope"
        kernel = compiled_activation(lambda z, alpha: (alpha * z * z, 2 * alpha * z))

        def __init__(self, a: float) -> None:
            self.a = a

        @property
        def option(self) -> float:
            return self.a

    networks = [Network([Dense(4), Slope(1 + i % 2), Dense(3)], random_state=i) for i in range(4)]
    same_as_alone(networks, rows(5), LABELS, epochs=2)
    assert together == [2, 2]


@compiled
def test_groups_have_rates_of_their_own(together: list[int]) -> None:
    factors = {"*.b": Factor(0.1, decay=0.0), "0.*": Factor(schedules.Linear(1.0, 0.1))}
    optimizer = AdamW(0.01, weight_decay=0.1, factors=factors)
    same_as_alone(made(4, (5, 3)), rows(5), LABELS, epochs=3, optimizer=optimizer)
    assert together == [4]


@compiled
def test_an_engine_serves_lanes_and_a_fit_alone(together: list[int]) -> None:
    at_once = rows_at_once(made(1, (4, 3))[0].build(5), N) * n_lanes(np.dtype(np.float32))
    X, y = np.tile(rows(5), (20, 1)), np.tile(LABELS, 20)
    networks, options = made(3, (4, 3)), {"epochs": [2, 2, 3], "batch_size": [N, N, at_once]}
    others = [made_again(one) for one in networks]
    fit_many(networks, X, y, n_threads=1, **options)
    for number, (one, other) in enumerate(zip(networks, others, strict=True)):
        epochs, batch_size = (options[name][number] for name in ("epochs", "batch_size"))
        other.fit(X, y, epochs=epochs, batch_size=batch_size)
        np.testing.assert_array_equal(one.params, other.params)
    assert together == [2]


@compiled
def test_a_bar_counts_all_of_them(together: list[int], capsys: Any) -> None:
    networks = made(7, (4, 3)) + made(2, (6, 3))
    networks[3].build(8)  # other columns
    with pytest.warns(FitFailedWarning):
        fit_many(networks, rows(5), LABELS, epochs=1, progress=True)
    assert "8 of 8 networks" in capsys.readouterr().err
    assert sorted(together) == [2, 6]


@compiled
def test_ctrl_c_keeps_what_they_have_learned(
    together: list[int], default_ctrl_c: None, monkeypatch: Any
) -> None:
    monkeypatch.setattr(interrupts, "GRACE", 0.2)
    monkeypatch.setattr(alike, "LANES_WORK", 10**9)
    X, networks = rows(5), made(20, (40, 40, 3))  # which take several seconds
    fit_many(made(20, (4, 3)), X, LABELS, epochs=1)  # compiled before
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    histories = fit_many(networks, X, LABELS, epochs=4_000, batch_size=1, n_threads=1)
    timer.join()
    begun = [history.epochs for history in histories if history.epochs]
    assert {history.stopped for history in histories} == {"interrupted"}
    assert 10 <= len(begun) <= 16
    assert len(set(begun)) == 1
    for one, history in zip(networks, histories, strict=True):
        assert one.is_built == bool(history.epochs)
        if history.epochs:
            assert np.isfinite(one.params).all()


NOT_IN_LANES: dict[str, Any] = {
    "penalty": ({"l2": 0.1}, {}),
    "weights": ({}, {"sample_weight": np.linspace(0.1, 1, N)}),
    "held out": ({}, {"validation_rows": 4 * [np.arange(9)]}),
    "clipping": ({}, {"optimizer": Adam(clip_norm=1.0)}),
    "large": ({}, {"batch_size": 60}),
}


@compiled
@pytest.mark.parametrize("kind", NOT_IN_LANES)
def test_others_are_trained_one_by_one(kind: str, together: list[int]) -> None:
    of_network, options = NOT_IN_LANES[kind]
    widths = (300, 3) if kind == "large" else (4, 3)
    fit_many(made(4, widths, **of_network), rows(5), LABELS, **{"epochs": 1, **options})
    dropped = [Network([Dense(4), Dropout(0.2), Dense(3)]) for _ in range(4)]
    normed = [Network([Dense(4, max_norm=1.0), Dense(3)]) for _ in range(4)]
    fit_many([*dropped, *normed], rows(5), LABELS, epochs=1)
    fit_many(made(4, (4, 3)), sparse.csr_matrix(rows(5)), LABELS, epochs=1)
    fit_many(made(2, (4, 3)) + made(1, (5, 3)), rows(5), LABELS, epochs=1)
    assert together == [2]


@compiled
def test_a_checkpoint_knows_them(tmp_path: Any, together: list[int]) -> None:
    X, networks = rows(5), made(20, (4, 3))
    first = fit_many(networks, X, LABELS, epochs=2, checkpoint=tmp_path)
    again = made(20, (4, 3))
    second = fit_many(again, X, LABELS, epochs=2, checkpoint=tmp_path)
    for one, other in zip(networks, again, strict=True):
        np.testing.assert_array_equal(one.params, other.params)
    assert [history.loss for history in first] == [history.loss for history in second]
    assert sum(together) == 20


@pytest.mark.nojit
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("widths", [(6, 1), (9, 5)])
def test_lanes_agree_with_networks_alone(dtype: str, widths: Any) -> None:
    """Also without the compiler, where the order of sums differs."""
    X, y = rows(4), RNG.normal(size=(N, widths[-1])).squeeze()
    networks = made(3, widths, Tanh, loss="mean_squared_error", dtype=dtype)
    others, optimizer, table = [made_again(one) for one in networks], Adam(0.01), SharedTable
    shared = table("test", X, y, None)
    for one in networks:
        plan = shared.plan("test", one)
        samples, numbers, coder = shared.read("test", one, plan.n_outputs, None)
        adopt(one, plan, coder)
    optimizer.group_factors(networks[0].groups)
    at_once = rows_at_once(networks[0], 16) * n_lanes(networks[0].dtype)
    engine = Engine(networks[0], table_of(samples.X, networks[0].dtype), at_once, 1, optimizer)
    steps = np.arange(2 * 4)
    step_numbers = optimizer.step_numbers(
        0, rates_of(optimizer.schedule, steps, steps.size), steps.size, networks[0].groups
    )
    fit = LockstepFit(
        engine, networks, samples, 3 * [numbers], True, optimizer, step_numbers, 16, 2
    )
    while not fit.is_over:
        fit.train()
    fit.bring_back()
    for lane, (one, other) in enumerate(zip(networks, others, strict=True)):
        history = other.fit(X, y, optimizer=optimizer, epochs=2, batch_size=16)
        tolerance = 0 if JIT_ENABLED else 1e-5
        np.testing.assert_allclose(one.params, other.params, rtol=tolerance, atol=tolerance)
        assert fit.losses[4:, lane].mean() == pytest.approx(history.loss[1], rel=0.2)
