"""Held-out rows: the compiled call judges them exactly as Python does.

Early stopping of networks and estimators is decided there. It must be the same if a callback, a
user-defined part or a score that only Python can compute requires Python between epochs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import accuracy_score, r2_score

from fastmlp import (
    SGD,
    Adam,
    Checkpoint,
    Dense,
    Dropout,
    EarlyStopping,
    History,
    MLPClassifier,
    MLPRegressor,
    Network,
    Quantile,
    ReLU,
    Rescaling,
)
from fastmlp.engine import engine, judging
from fastmlp.errors import InputError
from fastmlp.estimators import stochastic
from fastmlp.kernels.compiler.memory import address_of
from fastmlp.kernels.step import judge as judge_kernels
from fastmlp.kernels.step import scores
from fastmlp.optim import schedules
from fastmlp.serving import evaluation
from fastmlp.training import loop

from ..support import Own, every_pair, layer_by_layer

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(330, 12))
Y = (X[:, :3].sum(axis=1) > 0).astype(int) + (X[:, 3] > 0.3)
NUMBERS = X[:, :2] @ [[1.0, 0.5], [-0.5, 2.0]] + 0.3 * RNG.normal(size=(330, 2))
LABELS = (X[:, :2] > 0).astype(int)
WEIGHTS = RNG.random(330) + 0.1
TRAIN, HELD = slice(0, 180), slice(180, None)

TASKS: dict[str, tuple[Any, Any, int]] = {
    "classes": ("softmax_cross_entropy", Y, 3),
    "rows of classes": ("softmax_cross_entropy", np.eye(3)[Y], 3),
    "yes or no": ("binary_cross_entropy", Y > 0, 1),
    "labels": ("binary_cross_entropy", LABELS, 2),
    "a number": ("mean_squared_error", NUMBERS[:, 0], 1),
    "numbers": ("huber", NUMBERS, 2),
    "quantiles": (Quantile((0.2, 0.5, 0.9)), NUMBERS[:, 0], 3),
}


def watch(network: Any, history: History) -> None:
    """A callback that changes nothing, but wants to see every epoch."""


def net(loss: Any = "softmax_cross_entropy", n_out: int = 3, *more: Any, **options: Any) -> Network:
    settings = {"dtype": "float64", "random_state": 2} | options
    return Network([Dense(9), ReLU(), *more, Dense(n_out)], loss, **settings)


def told(network: Network, history: History, stopping: EarlyStopping | None = None) -> list[Any]:
    """All that a fit leaves behind, but for its seconds."""
    left = {key: value for key, value in history.to_dict().items() if key != "seconds"}
    if stopping is None:
        return [network.params.tobytes(), left]
    best = stopping.best_epoch, stopping.best_value, stopping.n_stale
    return [network.params.tobytes(), left, *best]


def fit(network: Network, y: Any, *callbacks: Any, X: Any = X, **options: Any) -> History:
    settings = {"optimizer": Adam(0.03), "epochs": 40, "batch_size": 30, "callbacks": callbacks}
    held = (X[HELD], y[HELD])
    return network.fit(X[TRAIN], y[TRAIN], **{"validation_data": held} | settings | options)


@contextlib.contextmanager
def without_python(where: Any = evaluation, name: str = "judged") -> Iterator[None]:
    """Fail where Python looks at held-out rows."""

    def never(*arguments: Any) -> Any:
        raise AssertionError("judged in Python")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, name, never)
        yield


def both(made: Callable[[], Network], y: Any, *, X: Any = X, **options: Any) -> list[Any]:
    """What the compiled call and Python leave, which must be the same."""
    rule = {"patience": 4} | options.pop("rule", {})
    found: list[list[Any]] = []
    for watches in ((), (watch,)):
        network, stopping = made(), EarlyStopping(**rule)
        with contextlib.nullcontext() if watches else without_python():
            history = fit(network, y, stopping, *watches, X=X, **options)
        found.append(told(network, history, stopping))
    assert found[0] == found[1]
    return found[0]


# ---------------------------------------------------------------- networks


@pytest.mark.bounds
@pytest.mark.thinned
@every_pair(
    task=TASKS,
    weighted=[False, True],
    dtype=["float32", "float64"],
    n_threads=[1, 2, 3],
    monitor=["validation_score", "validation_loss"],
)
def test_the_compiled_call_decides_as_python_does(
    task: str, weighted: bool, dtype: str, n_threads: int, monitor: str
) -> None:
    loss, y, n_out = TASKS[task]
    held = (X[HELD], y[HELD], *([WEIGHTS[HELD]] if weighted else []))
    _, history, best_epoch, best_value, n_stale = both(
        lambda: net(loss, n_out, Dropout(0.2), dtype=dtype, l2=1e-3), y,
        n_threads=n_threads, rule={"monitor": monitor}, validation_data=held,
    )  # fmt: skip
    values = history[monitor]
    assert history["stopped"] in ("finished", "early_stopping")
    pick = np.argmin if monitor == "validation_loss" else np.argmax
    assert best_epoch == int(pick(values)) + 1
    assert values[best_epoch - 1] == best_value
    assert n_stale == len(values) - best_epoch
    assert (n_stale == 4) == (history["stopped"] == "early_stopping")


@pytest.mark.nojit
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_few_epochs_and_rows_are_judged_alike(task: str, weighted: bool) -> None:
    loss, y, n_out = TASKS[task]
    few, held_few = slice(0, 60), slice(0, 30)
    held = (X[held_few], y[held_few], *([WEIGHTS[held_few]] if weighted else []))
    made: Any = lambda: net(loss, n_out, Dropout(0.2))  # noqa: E731
    rule = {"monitor": "validation_loss", "patience": 2}
    both(made, y[few], X=X[few], epochs=3, batch_size=30, validation_data=held, rule=rule)


@pytest.mark.nojit
@pytest.mark.parametrize("case", ["two classes", "labels", "numbers", "number in float32"])
def test_few_epochs_of_estimators_are_judged_alike(case: str) -> None:
    kind, y, options = ESTIMATORS[case]
    settings = {"hidden_layer_sizes": (3,), "max_iter": 3, "random_state": 1} | options
    settings |= {"early_stopping": True, "n_iter_no_change": 1, "tol": 0.1}
    watched = kind(**settings, callbacks=lambda model, history: None)
    found = [fitted_estimator(model, X[:60], y[:60]) for model in (kind(**settings), watched)]
    assert found[0] == found[1]


@pytest.mark.bounds
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize(
    ("kind", "held_kind"),
    [("float32", "float64"), ("uint8", "uint8"), ("sparse", "float32"), ("float32", "sparse")],
)
def test_held_out_rows_may_be_of_another_kind(kind: str, held_kind: str, n_threads: int) -> None:
    def rows(kind: str) -> Any:
        whole = np.abs(X * 20).astype(np.uint8)
        return sparse.csr_array(np.float32(whole)) if kind == "sparse" else whole.astype(kind)

    held = rows(held_kind)[HELD], Y[HELD]
    options: Any = {"X": rows(kind), "validation_data": held, "n_threads": n_threads}

    def made() -> Network:
        first = [Rescaling(0.05)] if kind == "uint8" else []
        return Network([*first, Dense(9), ReLU(), Dense(3)], random_state=0)

    both(made, Y, **options)


@pytest.mark.bounds
@pytest.mark.thinned
@pytest.mark.parametrize("n_threads", [2, 3, 4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", ["shared first", "shared second", "columns", "alone"])
def test_threads_judge_alike_however_they_share_the_work(
    shape: str, dtype: str, n_threads: int
) -> None:
    wide = np.tile(X, (1, 34)) if shape == "shared first" else X
    sizes = {"shared first": [9], "shared second": [400], "columns": [1100], "alone": [20, 7]}
    layers = [part for size in sizes[shape] for part in (Dense(size), ReLU())]
    found = [
        both(
            lambda: Network([*layers_of(layers), Dense(3)], dtype=dtype, random_state=1), Y,
            X=wide, n_threads=n, epochs=6, rule={"patience": 2},
        )
        for n in (1, n_threads)
    ]  # fmt: skip
    assert found[0] == found[1]


def layers_of(layers: list[Any]) -> list[Any]:
    """The same again, as a layer belongs to one network."""
    return [ReLU() if isinstance(layer, ReLU) else Dense(layer.n_out) for layer in layers]


@pytest.mark.bounds
@pytest.mark.parametrize("n_epochs", [1, 2, 3, 7, 100])
def test_where_calls_end_changes_nothing(n_epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fitted() -> list[Any]:
        network, stopping = net(), EarlyStopping(patience=3, monitor="validation_loss")
        return told(network, fit(network, Y, stopping), stopping)

    whole = fitted()
    assert whole[1]["stopped"] == "early_stopping"
    monkeypatch.setattr(loop, "epochs_per_call", lambda work, n_rows: n_epochs)
    assert fitted() == whole

    def pieces(total: int, first: int) -> Iterator[tuple[int, int]]:
        for start in range(0, total, 4):
            yield start, min(total, start + 4)

    monkeypatch.setattr(engine, "in_pieces", pieces)
    assert fitted() == whole


def test_layers_of_ones_own_stop_by_the_same_rule() -> None:
    network, stopping = net("softmax_cross_entropy", 3, Own()), EarlyStopping(3)
    history = fit(network, Y, stopping)
    scores_ = history.validation_score
    assert (history.stopped, stopping.n_stale) == ("early_stopping", 3)
    assert stopping.best_epoch == len(scores_) - 3 == int(np.argmax(scores_)) + 1
    assert network.score(X[HELD], Y[HELD]) == max(scores_)


@pytest.mark.parametrize("task", TASKS)
def test_layer_by_layer_decides_alike(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loss, y, n_out = TASKS[task]

    def fitted() -> tuple[Any, ...]:
        network, stopping = net(loss, n_out), EarlyStopping(4, monitor="validation_loss")
        history = fit(network, y, stopping, epochs=15)
        return network.params, history.validation_loss, history.validation_score, (
            history.stopped, history.epochs, stopping.best_epoch, stopping.n_stale
        )  # fmt: skip

    compiled = fitted()
    layer_by_layer(monkeypatch)
    found = fitted()
    assert found[3] == compiled[3]
    for one, other in zip(found[:3], compiled[:3], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9)


def test_the_last_parameters_stay_where_they_are_wanted() -> None:
    last, best = net(), net()
    stopping = EarlyStopping(3, restore_best=False)
    history = fit(last, Y, stopping)
    fit(best, Y, EarlyStopping(3))
    assert history.stopped == "early_stopping"
    assert last.score(X[HELD], Y[HELD]) == history.validation_score[-1]
    assert best.score(X[HELD], Y[HELD]) == max(history.validation_score)
    plain = net()
    fit(plain, Y, epochs=history.epochs)
    assert plain.params.tobytes() == last.params.tobytes()


@pytest.mark.parametrize("watches", [False, True])
def test_small_gains_within_the_tolerance_are_none(watches: bool) -> None:
    network, stopping = net(), EarlyStopping(2, tolerance=0.5, monitor="validation_loss")
    more = [watch] if watches else []
    history = fit(network, Y, stopping, *more, optimizer=SGD(0.01))
    assert (history.epochs, history.stopped) == (3, "early_stopping")
    assert (stopping.best_epoch, stopping.best_value) == (1, history.validation_loss[0])


@pytest.mark.nojit
@pytest.mark.parametrize("watches", [False, True])
def test_the_best_is_kept_when_all_epochs_are_over(watches: bool) -> None:
    network, stopping = net(), EarlyStopping(100)
    history = fit(network, Y, stopping, *([watch] if watches else []), epochs=5)
    assert (history.stopped, history.epochs) == ("finished", 5)
    assert stopping.best_epoch == int(np.argmax(history.validation_score)) + 1
    assert network.score(X[HELD], Y[HELD]) == max(history.validation_score)


def test_another_fit_begins_anew() -> None:
    stopping = EarlyStopping(3)
    first, second = net(), net()
    fit(first, Y, stopping)
    kept = stopping.best_epoch, stopping.best_value, stopping.n_stale
    fit(second, Y, stopping)
    assert (stopping.best_epoch, stopping.best_value, stopping.n_stale) == kept
    assert first.params.tobytes() == second.params.tobytes()


@pytest.mark.nojit
def test_a_callback_may_end_the_fit_first() -> None:
    network, stopping = net(), EarlyStopping(30)
    history = fit(network, Y, stopping, lambda net, history: history.epochs == 5)
    assert (history.stopped, history.epochs) == ("callback", 5)
    assert network.score(X[HELD], Y[HELD]) == max(history.validation_score)


def test_batch_callbacks_and_keep_finite_leave_it_as_it_is() -> None:
    class Batches:
        def on_batch(self, network: Any, step: int, loss: float) -> None: ...

    found = []
    for callbacks, options in (([], {}), ([Batches()], {}), ([], {"keep_finite": True})):
        network, stopping = net(), EarlyStopping(3)
        history = fit(network, Y, stopping, *callbacks, **options)
        found.append(told(network, history, stopping))
    assert found[0] == found[1] == found[2]


def test_schedules_reach_the_same_epoch() -> None:
    both(net, Y, optimizer=Adam(schedules.Cosine(0.05)))


def test_many_rows_are_left_to_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiled call cannot hear Ctrl-C while it judges."""
    network, other, stopping = net(), net(), EarlyStopping(3)
    whole = told(network, fit(network, Y, stopping), stopping)
    monkeypatch.setattr(judging, "JUDGED_WORK", 0)
    with pytest.raises(AssertionError, match="judged in Python"), without_python():
        fit(net(), Y, stopping)
    assert told(other, fit(other, Y, stopping), stopping) == whole


@pytest.mark.nojit
def test_without_held_out_rows_nothing_of_it_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(dtype: Any) -> int:
        raise AssertionError("compiled")

    monkeypatch.setattr(judge_kernels.judge, "address", never)
    network = net()
    assert network.fit(X, Y, epochs=1).epochs == 1
    with pytest.raises(AssertionError, match="compiled"):
        fit(network, Y)


@pytest.mark.parametrize("watches", [False, True])
def test_divergence_is_an_error_as_ever(watches: bool) -> None:
    network = net("mean_squared_error", 1)
    with pytest.raises(InputError, match="finite loss"):
        fit(
            network, NUMBERS[:, 0], EarlyStopping(50), *([watch] if watches else []),
            optimizer=SGD(50.0),
        )  # fmt: skip


@pytest.mark.nojit
@pytest.mark.parametrize("watches", [False, True])
def test_answers_beyond_the_type_have_no_score(watches: bool) -> None:
    """Nor are they ever the best."""
    network = Network([Dense(12, 1)], "mean_squared_error", "float32")
    network.params[...] = 1
    far = np.full((150, 12), 3e38, np.float32), NUMBERS[HELD, 0]
    stopping = EarlyStopping(2)
    history = fit(
        network,
        NUMBERS[:, 0],
        stopping,
        *([watch] if watches else []),
        validation_data=far,
        optimizer=SGD(1e-3),
    )
    assert (history.stopped, history.epochs, stopping.best_epoch) == ("early_stopping", 2, 0)
    assert np.isnan(history.validation_score).all()


# ---------------------------------------------------------------- checkpoints


class Crash(Exception):
    """Ends a fit the hard way."""


@pytest.mark.parametrize("restore_best", [True, False])
@pytest.mark.parametrize("crash", [2, 5, 9])
def test_a_resumed_fit_stops_where_the_whole_one_does(
    crash: int, restore_best: bool, tmp_path: Path
) -> None:
    def end(network: Any, history: History) -> None:
        if history.epochs == crash:
            raise Crash

    rule: dict[str, Any] = {"patience": 6, "restore_best": restore_best}
    whole, stopping = net(), EarlyStopping(**rule)
    expected = told(whole, fit(whole, Y, stopping), stopping)
    assert (expected[1]["stopped"], expected[1]["loss"][crash:] != []) == ("early_stopping", True)
    with contextlib.suppress(Crash):
        fit(net(), Y, EarlyStopping(**rule), Checkpoint(tmp_path), end)
    for _ in range(2):  # once more from the end, where there is nothing left to do
        resumed, stopping = net(random_state=9), EarlyStopping(**rule)
        history = fit(resumed, Y, stopping, Checkpoint(tmp_path, resume=True))
        assert told(resumed, history, stopping) == expected


def test_checkpoints_hold_the_last_epoch_and_tell_runs_apart(tmp_path: Path) -> None:
    network, stopping = net(), EarlyStopping(4)
    history = fit(network, Y, stopping, Checkpoint(tmp_path))
    last = Network.load(tmp_path / f"epoch-{history.epochs:06d}.safetensors")
    assert last.score(X[HELD], Y[HELD]) == history.validation_score[-1]
    for other in ([], [EarlyStopping(5)]):
        with pytest.raises(InputError, match="got another early stopping"):
            fit(net(), Y, *other, Checkpoint(tmp_path, resume=True))
    more, stopping = net(), EarlyStopping(8)
    checkpoint = Checkpoint(tmp_path, resume=True, allow_changes=True)
    assert fit(more, Y, stopping, checkpoint).epochs > history.epochs


def test_parameters_that_were_not_kept_are_not_restored(tmp_path: Path) -> None:
    first = fit(net(), Y, EarlyStopping(4, restore_best=False), Checkpoint(tmp_path), epochs=3)
    checkpoint = Checkpoint(tmp_path, resume=True, allow_changes=True)
    network, stopping = net(random_state=8), EarlyStopping(4)
    history = fit(network, Y, stopping, checkpoint, epochs=5)
    assert history.loss[:3] == first.loss
    assert stopping.best_epoch > 3
    assert network.score(X[HELD], Y[HELD]) == max(history.validation_score[3:])


# ---------------------------------------------------------------- estimators


def fitted_estimator(model: Any, *data: Any, **fit: Any) -> list[Any]:
    model.fit(*data, **fit)
    kept = {key: values for key, values in model.history_.items() if key != "seconds"}
    return [
        [W.tobytes() for W in [*model.coefs_, *model.intercepts_]], kept, model.n_iter_, model.t_,
        model.loss_curve_, model.validation_scores_, model.best_validation_score_,
        model.best_loss_, model._no_improvement_count, model._random_state.randint(10**9),
    ]  # fmt: skip


ESTIMATORS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "classes": (MLPClassifier, Y, {}),
    "words": (MLPClassifier, np.array(["no", "so", "yes"])[Y], {}),
    "two classes": (MLPClassifier, Y > 0, {"tol": 0.01}),
    "labels": (MLPClassifier, LABELS, {}),
    "by the loss": (MLPClassifier, Y, {"scoring": "loss", "class_weight": "balanced"}),
    "adaptive": (MLPClassifier, Y, {"solver": "sgd", "learning_rate": "adaptive"}),
    "invscaling": (MLPClassifier, Y, {"solver": "sgd", "learning_rate": "invscaling"}),
    "schedule": (MLPClassifier, Y, {"learning_rate": "cosine", "dropout": 0.2}),
    "number": (MLPRegressor, NUMBERS[:, 0], {}),
    "number in float32": (MLPRegressor, NUMBERS[:, 0].astype(np.float32), {"dtype": "float32"}),
    "numbers": (MLPRegressor, NUMBERS, {"dtype": "float32"}),
    "whole numbers": (MLPRegressor, np.round(10 * NUMBERS[:, 0]).astype(int), {}),
    "numbers by the loss": (MLPRegressor, NUMBERS, {"scoring": "loss"}),
    "huber": (MLPRegressor, NUMBERS, {"loss": "huber"}),
}


@pytest.mark.thinned(6)
@every_pair(case=ESTIMATORS, n_threads=[1, 2, 3], weighted=[False, True], early=[True, False])
def test_estimators_decide_the_same_in_a_call_and_after_each_epoch(
    case: str, n_threads: int, weighted: bool, early: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, y, options = ESTIMATORS[case]
    settings = {
        "hidden_layer_sizes": (11,), "max_iter": 40, "random_state": 1, "n_iter_no_change": 4,
        "batch_size": 40, "learning_rate_init": 0.02, "early_stopping": early,
        "n_threads": n_threads,
    } | options  # fmt: skip
    if early:
        data, fit = (X, y, *([WEIGHTS] if weighted else [])), {}
    else:
        data, fit = (X[TRAIN], y[TRAIN]), {"X_val": X[HELD], "y_val": y[HELD]}
        fit |= {"sample_weight_val": WEIGHTS[HELD]} if weighted else {}
    found = [fitted_estimator(kind(**settings), *data, **fit)]
    watched = kind(**settings, callbacks=lambda model, history: None)
    found.append(fitted_estimator(watched, *data, **fit))
    for n_epochs in (1, 3):
        monkeypatch.setattr(loop, "epochs_per_call", lambda work, n_rows, n=n_epochs: n)
        found.append(fitted_estimator(kind(**settings), *data, **fit))
    assert all(one == found[0] for one in found[1:])


@pytest.mark.parametrize("case", ["classes", "labels", "two classes", "number", "numbers"])
def test_scores_are_those_of_scikit_learn(case: str) -> None:
    kind, y, options = ESTIMATORS[case]
    settings = {"hidden_layer_sizes": (11,), "max_iter": 12, "random_state": 1} | options
    model = kind(**settings, early_stopping=True)
    with without_python(stochastic.Run, "_loss_and_score"):
        model.fit(X[TRAIN], y[TRAIN], X_val=X[HELD], y_val=y[HELD])
    judge = accuracy_score if kind is MLPClassifier else r2_score
    expected = judge(y[HELD], model.predict(X[HELD]))
    assert model.best_validation_score_ == pytest.approx(expected, rel=1e-6, abs=1e-7)
    assert max(model.validation_scores_) == model.best_validation_score_


@pytest.mark.parametrize("options", [{"scoring": "f1_macro"}, {"scoring": lambda m, X, y: 0.5}])
def test_other_scores_stay_in_python(options: dict[str, Any]) -> None:
    model = MLPClassifier((9,), early_stopping=True, max_iter=5, random_state=0, **options)
    unwanted = without_python(stochastic.Run, "_loss_and_score")
    with pytest.raises(AssertionError, match="judged"), unwanted:
        model.fit(X, Y)
    model.fit(X, Y)
    assert len(model.validation_scores_) == 5


def test_a_warm_start_goes_on_from_its_best_score() -> None:
    settings: dict[str, Any] = {
        "early_stopping": True, "warm_start": True, "random_state": 1, "n_iter_no_change": 3,
        "learning_rate_init": 0.02,
    }  # fmt: skip
    found = []
    for callbacks in (None, lambda model, history: None):
        model = MLPClassifier((11,), **settings, callbacks=callbacks)
        found.append([fitted_estimator(model, X, Y) for _ in range(3)])
    assert found[0] == found[1]


@pytest.mark.nojit
def test_a_warm_start_may_begin_or_end_to_stop_early() -> None:
    settings: dict[str, Any] = {"warm_start": True, "max_iter": 3, "random_state": 0}
    few, labels = X[:90], Y[:90]
    model = MLPClassifier((5,), **settings).fit(few, labels)
    model.set_params(early_stopping=True).fit(few, labels)
    assert len(model.validation_scores_) == 3
    assert model.best_validation_score_ == max(model.validation_scores_)
    model = MLPClassifier((5,), early_stopping=True, **settings).fit(few, labels)
    model.set_params(early_stopping=False).fit(few, labels)
    assert model.best_loss_ == min(model.loss_curve_[3:])
    assert model._no_improvement_count == 0


@pytest.mark.nojit
def test_an_estimator_that_diverges_goes_back_to_its_best_weights() -> None:
    settings: dict[str, Any] = {
        "solver": "sgd", "learning_rate_init": 0.9, "early_stopping": True, "random_state": 0,
        "n_iter_no_change": 30, "nesterovs_momentum": False,
    }  # fmt: skip
    found = []
    for callbacks in (None, lambda model, history: None):
        with np.errstate(all="ignore"):
            model = MLPRegressor(hidden_layer_sizes=(11,), **settings, callbacks=callbacks)
            found.append(fitted_estimator(model, X, 30 * NUMBERS[:, 0]))
        assert np.isnan(model.validation_scores_[-1])
        assert np.isfinite(model.coefs_[0]).all()
    assert repr(found[0]) == repr(found[1])


def test_ctrl_c_leaves_an_estimator_with_the_best_of_all_whole_epochs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options: dict[str, Any] = {
        "early_stopping": True, "batch_size": 40, "random_state": 1, "n_iter_no_change": 30,
        "max_iter": 30, "learning_rate_init": 0.02,
    }  # fmt: skip
    whole = MLPClassifier((11,), **options).fit(X, Y)

    def pieces(total: int, first: int) -> Iterator[tuple[int, int]]:
        yield 0, 60  # seven whole epochs of eight steps, and half of another
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "in_pieces", pieces)
    model = MLPClassifier((11,), **options)
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(X, Y)
    assert model.n_iter_ == len(model.loss_curve_) == 7
    assert model.validation_scores_ == whole.validation_scores_[:7]
    assert model.best_validation_score_ == max(model.validation_scores_)
    monkeypatch.undo()
    again = MLPClassifier((11,), **options | {"max_iter": 7}).fit(X, Y)
    assert [W.tobytes() for W in model.coefs_] == [W.tobytes() for W in again.coefs_]


# ---------------------------------------------------------------- sums


@pytest.mark.nojit
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_have_numpys_bits(dtype: Any, rng: np.random.Generator) -> None:
    spare = np.empty(scores.SPARE, dtype)
    spare_at = address_of(spare, "spare", dtype, spare.size, written=True)
    for count in (
        0,
        1,
        2,
        7,
        8,
        9,
        15,
        127,
        128,
        129,
        130,
        136,
        255,
        257,
        1000,
        1025,
        4099,
        20_001,
    ):
        values = rng.normal(size=count).astype(dtype)
        at = address_of(values, "values", dtype, count)
        found = scores.sum_in_pairs(at, count, spare_at, dtype(1))
        assert found == values.sum(), count


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("tolerance", [0.0, 1e-3])
def test_the_last_of_equally_good_epochs_if_wanted(tolerance: float, watched: bool) -> None:
    """Without a step that changes anything, all epochs are equally good."""
    X, y = np.ones((8, 2)), np.arange(8) % 2
    for ties, best in (("first", 1), ("last", 5)):
        stopping = EarlyStopping(None, tolerance, ties=ties)
        callbacks: list[Any] = [stopping, *[lambda network, history: False] * watched]
        history = Network([Dense(2)]).fit(
            X, y, optimizer=SGD(0.0), epochs=5, validation_data=(X, y), callbacks=callbacks
        )
        assert (history.epochs, stopping.best_epoch) == (5, best)
        assert not stopping.is_over


def test_epochs_may_leave_out_a_last_step_that_is_not_full() -> None:
    X, y = np.random.default_rng(0).normal(size=(50, 3)), np.arange(50) % 2
    found = []
    for rows, options in ((50, {"drop_last": True}), (48, {})):
        network = Network([Dense(4), Dense(2)], random_state=1)
        network.fit(X[:rows], y[:rows], epochs=3, batch_size=16, shuffle=False, **options)
        found.append(network.params)
    assert np.array_equal(*found)
    few = Network([Dense(4), Dense(2)], random_state=1)
    assert few.fit(X[:9], y[:9], epochs=2, batch_size=16, drop_last=True).epochs == 2
    seen = set()
    shuffled = Network([Dense(4), Dense(2)], random_state=1)
    for number in range(4):
        shuffled.fit(X, y, epochs=number + 1, batch_size=16, drop_last=True)
        seen.add(shuffled.params.tobytes())
    assert len(seen) == 4
