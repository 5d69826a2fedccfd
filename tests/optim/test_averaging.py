"""Averaged weights: the mean of parameters after steps, on every path and with all a fit has.

What a fit averages is compared with a mean in Python of the parameters that it had after each step.
"""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from fastmlp import (
    EMA,
    SGD,
    SWA,
    Adam,
    Averaging,
    BatchNorm,
    Checkpoint,
    Dense,
    Dropout,
    EarlyStopping,
    History,
    InputError,
    MLPClassifier,
    MLPRegressor,
    Network,
    ReLU,
    Tanh,
)
from fastmlp.engine import engine
from fastmlp.optim import schedules
from fastmlp.serving import evaluation
from fastmlp.training import loop

from ..support import Own, layer_by_layer

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(5)
N, BATCH, EPOCHS = 50, 16, 4
STEPS = 4  # of an epoch
X = RNG.normal(size=(N, 6))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
HELD = (X[:20], Y[:20])


def network(*more: Any, dtype: str = "float64") -> Network:
    layers = [Dense(9, max_norm=2.0), ReLU(), Dropout(0.2), *more, Dense(5), Tanh(), Dense(2)]
    return Network(layers, dtype=dtype, random_state=3, l2=1e-3)


def fit(net: Network, *callbacks: Any, **options: Any) -> History:
    settings = {"optimizer": Adam(0.03), "epochs": EPOCHS, "batch_size": BATCH}
    return net.fit(X, Y, callbacks=callbacks, **settings | options)


def own_layers(own: bool) -> list[Any]:
    return [Own()] if own else []


class Steps:
    """What a network has learned after each step."""

    def __init__(self) -> None:
        self.found: list[np.ndarray] = []

    def on_batch(self, network: Network, step: int, loss: float) -> None:
        self.found.append(network.learned.copy())


def steps_of(*more: Any, **options: Any) -> tuple[np.ndarray, list[np.ndarray]]:
    """Before the first step, and after each."""
    net, steps = network(*more), Steps()
    net.build(6)
    before = net.learned.copy()
    fit(net, steps, **options)
    return before, steps.found


def plain_ema(before: np.ndarray, steps: list[np.ndarray]) -> np.ndarray:
    """By the recursion, from the first parameters on."""
    average = before
    for found in steps:
        average = 0.9 * average + (1 - 0.9) * found
    return average


def debiased_ema(before: np.ndarray, steps: list[np.ndarray]) -> np.ndarray:
    """By what it is: weights that fall by the decay, divided by their sum."""
    weights = 0.9 ** np.arange(len(steps))[::-1]
    return np.average(steps, axis=0, weights=weights)


CASES: dict[str, tuple[Averaging, Callable[[np.ndarray, list[np.ndarray]], np.ndarray]]] = {
    "ema": (EMA(0.9), debiased_ema),
    "biased ema": (EMA(0.9, debias=False), plain_ema),
    "late ema": (EMA(0.9, start=2), lambda _, steps: debiased_ema(_, steps[2 * STEPS :])),
    "late biased ema": (
        EMA(0.9, start=0.5, debias=False),
        lambda _, steps: plain_ema(steps[2 * STEPS - 1], steps[2 * STEPS :]),
    ),
    "no decay": (EMA(0.0), lambda _, steps: steps[-1]),
    "swa": (SWA(1), lambda _, steps: np.mean(steps[2 * STEPS - 1 :: STEPS], axis=0)),
    "late swa": (SWA(), lambda _, steps: steps[-1]),
    "every step": (SWA(0, every=1), lambda _, steps: np.mean(steps, axis=0)),
    "every fifth": (SWA(0.25, every=5), lambda _, steps: np.mean(steps[STEPS + 4 :: 5], axis=0)),
}


@pytest.mark.nojit
@pytest.mark.parametrize("case", CASES)
def test_it_is_the_mean_that_its_name_says(case: str) -> None:
    averaging, mean = CASES[case]
    net = network(BatchNorm())
    fit(net, copy.copy(averaging))
    expected = mean(*steps_of(BatchNorm()))
    np.testing.assert_allclose(net.learned, expected, rtol=0, atol=1e-12)
    assert net.buffers.size


@pytest.mark.bounds
@pytest.mark.thinned
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("clip_norm", [None, 0.2])
@pytest.mark.parametrize("case", CASES)
def test_every_path_has_the_same_bits(case: str, clip_norm: float | None, dtype: str) -> None:
    found, options = [], {"optimizer": SGD(0.1, momentum=0.9, clip_norm=clip_norm)}
    for n_threads in (1, 2, 3):
        net, averaging = network(BatchNorm(), dtype=dtype), copy.copy(CASES[case][0])
        history = fit(net, averaging, n_threads=n_threads, validation_data=HELD, **options)
        found.append([net.learned.tobytes(), history.validation_loss, averaging.learned.tobytes()])
    net, averaging = network(BatchNorm(), dtype=dtype), copy.copy(CASES[case][0])
    with pytest.MonkeyPatch.context() as patch:
        layer_by_layer(patch)
        history = fit(net, averaging, validation_data=HELD, **options)
    assert all(one == found[0] for one in found[1:])
    assert net.learned.tobytes() == found[0][0] == averaging.learned.tobytes()
    np.testing.assert_allclose(history.validation_loss, found[0][1], rtol=1e-5)


@pytest.mark.parametrize("n_threads", [2, 3])
@pytest.mark.parametrize("width", [400, 1100])  # threads share units, and columns
def test_threads_that_share_units_or_columns_average_alike(width: int, n_threads: int) -> None:
    found = []
    for n in (1, n_threads):
        net = Network([Dense(width), ReLU(), Dense(2)], random_state=1)
        fit(net, EMA(0.8), n_threads=n, epochs=2)
        found.append(net.params.tobytes())
    assert found[0] == found[1]


@pytest.mark.nojit
def test_steps_are_those_of_a_fit_without() -> None:
    plain, kept, averaging = network(), network(), EMA(0.9, apply=False)
    fit(plain)
    fit(kept, averaging)
    assert kept.learned.tobytes() == plain.learned.tobytes()
    own, ends = kept.learned.copy(), network()
    fit(ends, EMA(0.9))
    with averaging.averaged(kept) as same:
        assert same is kept
        assert kept.learned.tobytes() == ends.learned.tobytes()
        assert kept.params.tobytes() == averaging.params.tobytes()
        assert kept.predict_proba(X).tobytes() == ends.predict_proba(X).tobytes()
    assert kept.learned.tobytes() == own.tobytes()
    with contextlib.suppress(ZeroDivisionError), averaging.averaged(kept):
        raise ZeroDivisionError
    assert kept.learned.tobytes() == own.tobytes()


@pytest.mark.nojit
@pytest.mark.parametrize("apply", [True, False])
@pytest.mark.parametrize("watches", [False, True])
def test_what_the_fit_leaves_is_what_is_judged(watches: bool, apply: bool) -> None:
    net, averaging = network(), EMA(0.9, apply=apply)
    more = [lambda net, history: None] if watches else []
    with pytest.MonkeyPatch.context() as patch:
        if not watches:
            patch.setattr(evaluation, "judged", None)  # it is done in the compiled call
        history = fit(net, averaging, *more, validation_data=HELD)
    assert history.validation_score[-1] == net.score(*HELD)
    proba = net.predict_proba(HELD[0])[np.arange(20), HELD[1]]
    assert history.validation_loss[-1] == pytest.approx(-np.log(proba).mean(), rel=1e-12)


@pytest.mark.parametrize("apply", [True, False])
@pytest.mark.parametrize("own", [False, True])
def test_early_stopping_goes_back_to_the_best_average(own: bool, apply: bool) -> None:
    found = []
    for watches in ([], [lambda net, history: None]):
        net, averaging = network(*own_layers(own)), EMA(0.9, apply=apply)
        stopping = EarlyStopping(4, monitor="validation_loss")
        history = fit(net, averaging, stopping, *watches, epochs=60, validation_data=HELD)
        assert history.stopped == "early_stopping"
        assert net.score(*HELD) == history.validation_score[stopping.best_epoch - 1]
        assert (averaging.learned.tobytes() == net.learned.tobytes()) == apply
        found.append([net.learned.tobytes(), history.validation_loss, stopping.best_epoch])
    assert found[0] == found[1]


def test_where_calls_end_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = network()
    fit(whole, SWA(0, every=3), validation_data=HELD)
    for n_epochs in (1, 3):
        monkeypatch.setattr(loop, "epochs_per_call", lambda work, n_rows, n=n_epochs: n)
        cut = network()
        fit(cut, SWA(0, every=3), validation_data=HELD)
        assert cut.learned.tobytes() == whole.learned.tobytes()
    by_batches = network()
    fit(by_batches, SWA(0, every=3), Steps())
    assert by_batches.learned.tobytes() == whole.learned.tobytes()


def test_a_fit_that_is_ended_within_an_epoch_leaves_the_average() -> None:
    class Ends:
        def on_batch(self, network: Network, step: int, loss: float) -> bool:
            return step == 5

    net = network()
    assert fit(net, SWA(0, every=1), Ends()).stopped == "callback"
    _, steps = steps_of()
    np.testing.assert_allclose(net.learned, np.mean(steps[:6], axis=0), rtol=0, atol=1e-13)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("made", [lambda: EMA(0.9), lambda: SWA(1, every=3, apply=False)])
def test_a_resumed_fit_has_the_same_bits(
    made: Callable[[], Averaging], own: bool, tmp_path: Path
) -> None:
    def crash(network: Network, history: History) -> None:
        if history.epochs == 2:
            raise ZeroDivisionError

    wanted, averaging = network(*own_layers(own)), made()
    stopping = EarlyStopping(50, monitor="validation_loss")
    fit(wanted, averaging, stopping, validation_data=HELD)
    with contextlib.suppress(ZeroDivisionError):
        fit(
            network(*own_layers(own)), made(), EarlyStopping(50, monitor="validation_loss"),
            Checkpoint(tmp_path), crash, validation_data=HELD,
        )  # fmt: skip
    net, again = network(*own_layers(own)), made()
    checkpoint = Checkpoint(tmp_path, resume=True)
    stopping = EarlyStopping(50, monitor="validation_loss")
    history = fit(net, again, stopping, checkpoint, validation_data=HELD)
    assert history.epochs == EPOCHS
    assert net.learned.tobytes() == wanted.learned.tobytes()
    assert again.learned.tobytes() == averaging.learned.tobytes()


def test_the_best_file_holds_what_was_judged(tmp_path: Path) -> None:
    net = network()
    history = fit(net, EMA(0.9), Checkpoint(tmp_path), validation_data=HELD)
    best = Network.load(tmp_path / "best.safetensors")
    assert best.score(*HELD) == max(history.validation_score)


@pytest.mark.parametrize("changed", [EMA(0.8), SWA(1), None])
def test_another_average_is_another_run(changed: Averaging | None, tmp_path: Path) -> None:
    fit(network(), EMA(0.9), Checkpoint(tmp_path))
    callbacks = [one for one in (changed, Checkpoint(tmp_path, resume=True)) if one is not None]
    with pytest.raises(InputError, match="another averaging"):
        fit(network(), *callbacks)
    fit(network(), *callbacks[:-1], Checkpoint(tmp_path, resume=True, allow_changes=True))


def test_another_fit_begins_anew() -> None:
    averaging, first, second = EMA(0.9), network(), network()
    fit(first, averaging)
    fit(second, averaging)
    assert first.learned.tobytes() == second.learned.tobytes()


@pytest.mark.nojit
def test_a_rule_of_ones_own_runs_compiled() -> None:
    @dataclass
    class Halves(Averaging):
        start: float = 0
        apply: bool = True

        def weights(self, steps: np.ndarray, steps_per_epoch: int) -> np.ndarray:
            return np.full(len(steps), 0.5)

    own, built_in = network(), network()
    fit(own, Halves())
    fit(built_in, EMA(0.5, debias=False))
    assert own.learned.tobytes() == built_in.learned.tobytes()


def test_an_optimizer_of_ones_own_is_averaged_too() -> None:
    class Slow:
        def step(self, params: np.ndarray, grads: np.ndarray) -> None:
            params -= 0.05 * grads

    net, other = network(), network()
    fit(net, EMA(0.9), optimizer=Slow())
    fit(other, EMA(0.9), optimizer=SGD(0.05))
    np.testing.assert_allclose(net.learned, other.learned, rtol=0, atol=1e-12)


def test_dropout_by_schedule_stands_beside_it() -> None:

    def made() -> Network:
        drop = Dropout(schedules.Linear(0.5, 0.0))
        return Network([Dense(9), ReLU(), drop, Dense(2)], dtype="float64", random_state=3)

    found = [made(), made()]
    fit(found[0], EMA(0.9))
    with pytest.MonkeyPatch.context() as patch:
        layer_by_layer(patch)
        fit(found[1], EMA(0.9))
    assert found[0].learned.tobytes() == found[1].learned.tobytes()


def test_a_fit_that_diverges_is_given_no_average() -> None:
    net = network()
    net.build(6)
    with pytest.raises(InputError, match="a finite loss"):
        fit(net, EMA(0.9), optimizer=SGD(1e200), keep_finite=True)
    assert np.isfinite(net.learned).all()


# ---------------------------------------------------------------- estimators

OPTIONS: dict[str, Any] = {
    "hidden_layer_sizes": (9,), "max_iter": 20, "random_state": 1, "batch_size": 16,
    "learning_rate_init": 0.03,
}  # fmt: skip


def weights_of(model: Any) -> np.ndarray:
    return np.concatenate([W.ravel() for W in [*model.coefs_, *model.intercepts_]])


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_estimators_end_with_the_average(kind: Any) -> None:
    found: list[np.ndarray] = []

    def watch(model: Any, history: Any) -> None:
        found.append(weights_of(model))

    model = kind(**OPTIONS, callbacks=[SWA(0.5), watch]).fit(X, Y)
    np.testing.assert_allclose(weights_of(model), np.mean(found[10:], axis=0), rtol=0, atol=1e-13)
    alone = kind(**OPTIONS, callbacks=SWA(0.5)).fit(X, Y)
    assert weights_of(alone).tobytes() == weights_of(model).tobytes()
    plain = kind(**OPTIONS).fit(X, Y)
    assert weights_of(plain).tobytes() == found[-1].tobytes()
    assert not hasattr(plain, "averaging_")
    kept = kind(**OPTIONS, callbacks=[SWA(0.5, apply=False)]).fit(X, Y)
    assert weights_of(kept).tobytes() == weights_of(plain).tobytes()
    kept = pickle.loads(pickle.dumps(kept))
    with kept.averaging_.averaged(kept.network_):
        assert weights_of(kept).tobytes() == weights_of(model).tobytes()
        assert kept.predict(X).tobytes() == model.predict(X).tobytes()
        assert kept.predict(X[:1]).tobytes() == model.predict(X[:1]).tobytes()
    assert kept.predict(X).tobytes() == plain.predict(X).tobytes()


@pytest.mark.parametrize("apply", [True, False])
@pytest.mark.parametrize("watches", [False, True])
def test_estimators_stop_by_what_they_end_with(watches: bool, apply: bool) -> None:
    more = [lambda model, history: None] if watches else []
    options = OPTIONS | {"max_iter": 60, "early_stopping": True, "n_iter_no_change": 4}
    model = MLPClassifier(**options, callbacks=[EMA(0.9, apply=apply), *more])
    model.fit(X, Y, X_val=X[:20], y_val=Y[:20])
    assert model.score(X[:20], Y[:20]) == model.best_validation_score_
    assert (model.averaging_.params.sum() == weights_of(model).sum()) == apply


def test_parameters_of_estimators_stay_as_they_were() -> None:
    given = EMA(0.9)
    model = MLPClassifier(**OPTIONS, callbacks=[given]).fit(X, Y)
    assert given == EMA(0.9)
    with pytest.raises(InputError, match="weights that were averaged"):
        _ = given.params
    again = clone(model).fit(X, Y)
    assert weights_of(again).tobytes() == weights_of(model).tobytes()


def test_a_warm_start_averages_anew() -> None:
    model = MLPClassifier(**OPTIONS, warm_start=True, callbacks=[SWA(0.95)]).fit(X, Y)
    seen: list[np.ndarray] = []
    model.callbacks = [SWA(0.95), lambda model, history: seen.append(weights_of(model))]
    model.fit(X, Y)
    assert len(seen) == OPTIONS["max_iter"]
    assert weights_of(model).tobytes() == seen[-1].tobytes()


# ---------------------------------------------------------------- numbers


@pytest.mark.nojit
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999, 1 - 1e-9])
def test_the_first_step_of_a_debiased_mean_is_all_of_it(decay: float) -> None:
    weights = EMA(decay).weights(np.arange(3), 1)
    assert weights[0] == 1
    assert (np.diff(weights) <= 0).all() or decay == 0


@pytest.mark.nojit
def test_shares_of_epochs_are_whole_ones() -> None:
    for n_epochs, share, first in ((100, 0.29, 29), (10, 0.75, 7), (1, 0.75, 0), (3, 0.99, 2)):
        averaging = SWA(share)
        averaging.plan("here", n_epochs, 4)
        weights = averaging.numbers(np.arange(n_epochs * 4))[:, 0]
        assert (weights[: 4 * first + 4] == 1).all()
        assert weights[4 * first + 4 :: 4].sum() == 0


def test_nothing_else_is_compiled_without_it() -> None:
    task = loop.Task(network().build(6), None, None, Adam(), 4)  # type: ignore[arg-type]
    assert task.rows_per_step == 4
    net = network()
    fit(net)
    made = engine.Engine(net, _table(net), 16, 1, Adam())
    fields = {field for _, field, _ in made._links}
    assert not fields & {"average", "accumulate"}
    assert not made.update["average"]
    assert not made.update["accumulate"]


def _table(net: Network) -> Any:
    from fastmlp.inputs.tables import table_of

    return table_of(X, net.dtype)
