"""Calls of partial_fit in a row take a shorter way, with the same bits and the same refusals."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.estimators import stochastic
from fastmlp.estimators.base import BaseMLP

pytestmark = pytest.mark.nojit

N = 24


def rows(dtype: Any = np.float64) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(N, 5)).astype(dtype)


def numbers() -> np.ndarray:
    return np.random.default_rng(1).normal(size=N)


def labels(n_classes: int = 3) -> np.ndarray:
    return np.arange(N) % n_classes


@pytest.fixture
def repeats(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each call that went the shorter way."""
    found, again = list[int](), stochastic.Run.again

    def counted(self: stochastic.Run, *args: Any) -> None:
        found.append(1)
        again(self, *args)

    monkeypatch.setattr(stochastic.Run, "again", counted)
    return found


def regressor(**options: Any) -> MLPRegressor:
    return MLPRegressor(**{"hidden_layer_sizes": (6,), "random_state": 3} | options)


def classifier(**options: Any) -> MLPClassifier:
    return MLPClassifier(**{"hidden_layer_sizes": (6,), "random_state": 3} | options)


def state_of(model: Any) -> list[Any]:
    return [
        *model.coefs_, *model.intercepts_, np.array(model.loss_curve_), model._progress.memory,
        np.array([model.n_iter_, model.t_, model.loss_, model._progress.n_steps]),
    ]  # fmt: skip


def assert_alike(one: Any, other: Any) -> None:
    for found, wanted in zip(state_of(one), state_of(other), strict=True):
        np.testing.assert_array_equal(found, wanted)


def in_both_ways(run: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The model that `run` trains, the same with the shorter way as without it."""
    model = run()
    with monkeypatch.context() as patch:
        patch.setattr(BaseMLP, "_fit_again", lambda *_: False)
        assert_alike(model, run())
    return model


MODELS: dict[str, Callable[[], Any]] = {
    "numbers": regressor,
    "batches": lambda: regressor(batch_size=7),
    "float32": lambda: regressor(dtype="float32"),
    "sgd": lambda: regressor(solver="sgd", learning_rate="invscaling", shuffle=False),
    "schedule": lambda: regressor(learning_rate="cosine", max_iter=4),
    "dropout": lambda: regressor(dropout=0.3, activation=("tanh",)),
    "huber": lambda: regressor(loss="huber", alpha=0.1, l1_ratio=0.5),
    "classes": classifier,
    "two classes": classifier,
    "weights of classes": lambda: classifier(class_weight="balanced"),
}


@pytest.mark.parametrize("kind", MODELS)
def test_the_shorter_way_has_the_same_bits(
    kind: str, monkeypatch: pytest.MonkeyPatch, repeats: list[int]
) -> None:
    X = rows()
    y = (
        numbers()
        if isinstance(MODELS[kind](), MLPRegressor)
        else labels(2 + (kind != "two classes"))
    )

    def run() -> Any:
        model = MODELS[kind]()
        more = {} if isinstance(model, MLPRegressor) else {"classes": np.unique(y)}
        for _ in range(3):
            model.partial_fit(X, y, **more)
        return model.partial_fit(X[::-1], y[::-1], np.arange(N) + 1.0)

    in_both_ways(run, monkeypatch)
    assert len(repeats) == 3


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.set_params(alpha=0.5),
        lambda model: model.set_params(learning_rate_init=0.1, batch_size=5),
        lambda model: model.set_params(random_state=np.random.RandomState(4)),
        lambda model: model.set_params(callbacks=[lambda *_: None]),
        lambda model: setattr(model, "coefs_", [W * 2 for W in model.coefs_]),
        lambda model: setattr(model.network_.layers[-3], "rate", 0.6),
        lambda model: model.fit(rows(), numbers()),
    ],
    ids=["alpha", "batches", "generator", "callback", "weights", "layer", "fit"],
)
def test_what_changed_takes_effect(
    change: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> Any:
        model = regressor(dropout=0.2, max_iter=2, hidden_layer_sizes=(6, 4))
        for _ in range(2):
            model.partial_fit(rows(), numbers())
        change(model)
        for _ in range(2):
            model.partial_fit(rows(), numbers())
        return model

    in_both_ways(run, monkeypatch)


@pytest.mark.parametrize(
    "given",
    [
        (rows()[:7], numbers()[:7]),
        (rows(np.float32), numbers()),
        (np.asfortranarray(rows()), numbers()),
        (rows().tolist(), numbers().tolist()),
        (rows(), numbers().reshape(-1, 1).ravel().astype(np.float32)),
        (rows()[::2], numbers()[::2]),
    ],
)
def test_samples_of_another_kind(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> Any:
        model = regressor()
        for _ in range(2):
            model.partial_fit(rows(), numbers())
        for _ in range(2):
            model.partial_fit(*given)
        return model.partial_fit(rows(), numbers())

    in_both_ways(run, monkeypatch)


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_copies_train_apart(duplicate: Callable[[Any], Any]) -> None:
    model, alone = regressor(), regressor()
    for one in (model, alone):
        for _ in range(2):
            one.partial_fit(rows(), numbers())
    twin = duplicate(model)
    for _ in range(2):
        twin.partial_fit(-rows(), numbers())
    for one in (model, alone):
        one.partial_fit(rows(), numbers())
    assert_alike(model, alone)


def test_refusals_are_the_same_and_change_nothing() -> None:
    X, y = rows(), labels()
    model, number = classifier(), regressor()
    for _ in range(2):
        model.partial_fit(X, y, classes=[0, 1, 2])
        number.partial_fit(X, numbers())
    kept, kept_number = copy.deepcopy(state_of(model)), copy.deepcopy(state_of(number))
    bad = X.copy()
    bad[3, 2] = np.nan
    for call, words in (
        (lambda: model.partial_fit(bad, y), "NaN"),
        (lambda: model.partial_fit(X[:, :4], y), "4 features"),
        (lambda: model.partial_fit(X, y + 1), "classes"),
        (lambda: model.partial_fit(X, y[:-1]), "inconsistent"),
        (lambda: model.partial_fit(X, y, classes=[0, 1]), "classes"),
        (lambda: model.partial_fit(X, y, -np.ones(N)), "sample_weight of at least 0"),
        (lambda: number.partial_fit(X, np.full(N, np.inf)), "infinity"),
        (lambda: number.partial_fit(X, np.zeros((N, 2))), "2 outputs"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    for found, wanted in zip(state_of(model) + state_of(number), kept + kept_number, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_names_of_columns_are_still_compared() -> None:
    frame = pd.DataFrame(rows(), columns=list("abcde"))
    model = regressor()
    for _ in range(2):
        model.partial_fit(frame, numbers())
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.partial_fit(rows(), numbers())
    with pytest.raises(ValueError, match="feature names"):
        model.partial_fit(frame[list("edcba")], numbers())


def test_a_generator_that_users_passed_goes_on() -> None:
    generator = np.random.RandomState(0)
    model = regressor(random_state=generator)
    for _ in range(3):
        before = generator.get_state()[2]
        model.partial_fit(rows(), numbers())
        assert generator.get_state()[2] != before


def test_nothing_of_the_caller_is_kept() -> None:
    """Neither samples nor, by a circle of references, the model itself."""
    model = regressor()
    for _ in range(3):
        X = rows()
        seen = weakref.ref(X)
        model.partial_fit(X, numbers())
        del X
        assert seen() is None
    gone = weakref.ref(model)
    gc.collect()  # what scikit-learn and the first call left
    gc.disable()
    try:
        del model
        assert gone() is None
    finally:
        gc.enable()
