"""Scores that match losses, early stopping by them, and validation data on another scale."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning
from sklearn.metrics import (
    accuracy_score,
    d2_absolute_error_score,
    d2_pinball_score,
    d2_tweedie_score,
    make_scorer,
    mean_pinball_loss,
    r2_score,
)
from sklearn.model_selection import GridSearchCV, LeaveOneOut, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.errors import InputError
from fastmlp.estimators.outside import warn_of_other_scales
from fastmlp.estimators.scores import accuracy, r2
from fastmlp.kernels.compiler.jit import JIT_ENABLED

pytestmark = [
    pytest.mark.thinned(3),
    pytest.mark.nojit,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

RNG = np.random.default_rng(3)
X = RNG.normal(size=(60, 4))
COUNTS = RNG.poisson(np.exp(X[:, 0])).astype(float)
WEIGHTS = RNG.random(60) + 0.1
SMALL: dict[str, Any] = {"hidden_layer_sizes": (5,), "max_iter": 3, "random_state": 0}


# ---------------------------------------------------------------- scores of losses


def huber(t: Any, z: Any, delta: float) -> Any:
    r = np.abs(t - z)
    return np.where(r <= delta, r * r / 2, delta * (r - delta / 2))


def wanted_score(loss: str, y: Any, predicted: Any, weights: Any) -> float:
    if loss == "squared_error":
        return float(r2_score(y, predicted, sample_weight=weights))
    if loss == "absolute_error":
        return float(d2_absolute_error_score(y, predicted, sample_weight=weights))
    if loss == "quantile":
        return float(d2_pinball_score(y, predicted, alpha=0.8, sample_weight=weights))
    if loss == "poisson":
        return float(d2_tweedie_score(y, predicted, power=1, sample_weight=weights))
    constants = np.linspace(y.min(), y.max(), 20_001)
    least = min(np.average(huber(y, c, 0.7), weights=weights) for c in constants)
    return float(1 - np.average(huber(y, predicted, 0.7), weights=weights) / least)


@pytest.mark.parametrize(
    "loss", ["squared_error", "absolute_error", "huber", "quantile", "poisson"]
)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["even", "weighted"])
def test_score_and_early_stopping_go_by_the_loss(loss: str, weights: Any) -> None:
    model = MLPRegressor(loss, quantile=0.8, delta=0.7, early_stopping=True, **SMALL)
    model.fit(X, COUNTS, X_val=X, y_val=COUNTS, sample_weight_val=weights)
    best = wanted_score(loss, COUNTS, model.predict(X), weights)
    assert model.score(X, COUNTS, weights) == pytest.approx(best, rel=1e-6)
    assert model.best_validation_score_ == pytest.approx(best, rel=1e-6)
    if loss in ("squared_error", "absolute_error", "quantile"):
        assert model.score(X, COUNTS, weights) == best


def test_several_targets_and_levels_have_a_mean_score() -> None:
    y = np.c_[X[:, 0], X[:, 1] ** 2]
    levels = (0.1, 0.5, 0.9)
    model = MLPRegressor("quantile", quantile=levels, **SMALL).fit(X, y)
    found = model.predict(X).reshape(60, 2, 3)
    scores = [d2_pinball_score(y, found[:, :, k], alpha=level) for k, level in enumerate(levels)]
    assert model.score(X, y) == pytest.approx(np.mean(scores), rel=1e-12)
    for loss in ("huber", "poisson"):
        both = MLPRegressor(loss, **SMALL).fit(X, abs(y))
        predicted = both.predict(X)
        single = [
            MLPRegressor(loss, **SMALL)._score(abs(y)[:, j], predicted[:, j], None) for j in (0, 1)
        ]
        assert both.score(X, abs(y)) == pytest.approx(np.mean(single))


def test_several_levels_can_be_cross_validated_and_searched() -> None:
    model = MLPRegressor("quantile", quantile=[0.1, 0.9], **SMALL)
    assert np.isfinite(cross_val_score(model, X, COUNTS, cv=3)).all()
    search = GridSearchCV(model, {"alpha": [1e-4, 1.0]}, cv=2).fit(X, COUNTS)
    assert np.isfinite(search.best_score_)
    stopped = MLPRegressor("quantile", quantile=[0.1, 0.9], early_stopping=True, **SMALL)
    assert len(stopped.fit(X, COUNTS).validation_scores_) == 3


def test_scores_of_constant_targets_and_of_single_rows() -> None:
    model = MLPRegressor("poisson", **SMALL).fit(X, COUNTS)
    assert model._score(np.zeros(5), np.zeros(5), None) == 1.0
    assert model._score(np.zeros(5), np.ones(5), None) == 0.0
    assert model._score(np.ones(5), np.zeros(5), None) == 0.0
    assert model._score(np.array([0.0, 2.0]), np.zeros(2), None) == -np.inf
    for loss in ("poisson", "huber", "quantile"):
        one = MLPRegressor(loss, **SMALL).fit(X, COUNTS)
        with pytest.warns(UndefinedMetricWarning):
            assert np.isnan(one.score(X[:1], COUNTS[:1]))
    with pytest.warns(UndefinedMetricWarning):
        cross_val_score(MLPRegressor("huber", **SMALL), X[:3], COUNTS[:3], cv=LeaveOneOut())


def test_targets_to_score_must_fit() -> None:
    model = MLPRegressor("huber", **SMALL).fit(X, COUNTS)
    with pytest.raises(InputError, match=r"expected y of shape \(60, 1\), got shape \(59,\)"):
        model.score(X, COUNTS[:-1])
    with pytest.raises(InputError, match=r"expected y of shape \(60, 1\), got shape \(60, 2\)"):
        model.score(X, X[:, :2])
    with pytest.raises(ValueError, match="NaN"):
        model.score(X, np.full(60, np.nan))
    with pytest.raises(InputError, match="sample_weight of at least 0"):
        model.score(X, COUNTS, -WEIGHTS)
    assert model.score(X, COUNTS[:, None]) == model.score(X, COUNTS)


@pytest.mark.skipif(not JIT_ENABLED, reason="many epochs of many rows")
def test_an_early_stopped_quantile_covers_what_it_says() -> None:
    """By R^2 it would stop near the mean, which lies far below."""
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1, 1, (4000, 1))
    y = rows[:, 0] + np.exp(rows[:, 0]) * rng.standard_exponential(4000)
    train, test = slice(0, 2000), slice(2000, 4000)
    model = MLPRegressor(
        "quantile", (20,), quantile=0.95, early_stopping=True, max_iter=300, random_state=0,
        learning_rate_init=0.01,
    ).fit(rows[train], y[train])  # fmt: skip
    covered = [(y[part] <= model.predict(rows[part])).mean() for part in (train, test)]
    np.testing.assert_allclose(covered, 0.95, atol=0.02)
    assert mean_pinball_loss(y[test], model.predict(rows[test]), alpha=0.95) < 0.4


# ---------------------------------------------------------------- fits that diverge


@pytest.mark.parametrize("warm", [False, True])
def test_a_fit_that_diverges_while_stopping_early_goes_back_to_its_best_weights(warm: bool) -> None:
    model = MLPRegressor(
        solver="sgd", learning_rate_init=0.001, early_stopping=True, warm_start=True, **SMALL
    )
    if warm:
        model.fit(X, COUNTS)
        best = model.predict(X)
    model.set_params(learning_rate_init=1e200)
    with np.errstate(all="ignore"), pytest.warns(ConvergenceWarning, match="no longer a number"):
        model.fit(X, COUNTS)
    assert np.isnan(model.validation_scores_[-1])
    assert isinstance(model.validation_scores_[-1], float)
    assert len(model.loss_curve_) == len(model.validation_scores_)
    assert np.isfinite(model.predict(X)).all()
    if warm:
        np.testing.assert_array_equal(model.predict(X), best)
    model.set_params(learning_rate_init=0.001).fit(X, COUNTS)  # nothing of it is left
    assert np.isfinite(model.loss_)


def test_a_fit_that_diverges_says_so_in_scikit_learns_words() -> None:
    sentence = (
        "Solver produced non-finite parameter weights. The input data may contain large values and "
        "need to be preprocessed."
    )
    model = MLPRegressor(solver="sgd", learning_rate_init=1e200, **SMALL)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=sentence) as caught:
        model.fit(X, COUNTS)
    assert ", at learning rate 1e+200." in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 0, 0, 1], r"\['True'\] \('True' stands for the label 1\)"),
        (["a", "b", "b", "b"], r"\['False'\] \('False' stands for the label 'a'\)"),
    ],
)
def test_a_class_of_one_member_is_named_as_the_user_wrote_it(labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"too few members are: {message}"):
        MLPClassifier(early_stopping=True).fit(X[:4], labels)


# ---------------------------------------------------------------- validation data on another scale


def test_targets_left_unscaled_are_warned_of() -> None:
    y = 100 + 30 * X[:, 0]
    model = TransformedTargetRegressor(MLPRegressor(**SMALL), transformer=StandardScaler())
    with pytest.warns(UserWarning, match="y_val lies far outside of what y is"):
        model.fit(X, y, X_val=X[:20], y_val=y[:20])
    scaled = (y - y.mean()) / y.std()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y, X_val=X[:20], y_val=scaled[:20])
        MLPClassifier(**SMALL).fit(X, np.arange(60) % 3, X_val=X[:9], y_val=[2] * 9)


@pytest.mark.parametrize("factor", [1000.0, 1e-4])
def test_rows_left_unscaled_are_warned_of(factor: float) -> None:
    import sklearn

    rows = np.random.default_rng(0).normal(size=(300, 4)) * factor + (factor > 1) * 9e3
    y, part = rows[:, 0] / factor, slice(0, 60)
    held = {"X_val": rows[part], "y_val": y[part]}
    with sklearn.config_context(enable_metadata_routing=True):
        model = MLPRegressor(**SMALL).set_fit_request(X_val=True, y_val=True)
        pipeline = make_pipeline(StandardScaler(), model)
        with pytest.warns(
            UserWarning, match="X_val lies far outside of what X is, in column 0 and"
        ):
            pipeline.fit(rows, y, **held)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            warnings.simplefilter("ignore", ConvergenceWarning)
            right = make_pipeline(StandardScaler(), model, transform_input=["X_val"])
            right.fit(rows, y, **held)


def test_sparse_rows_left_unscaled_are_warned_of() -> None:
    rows = sparse.random_array((200, 5), density=0.9, rng=np.random.default_rng(0), format="csr")
    y = np.arange(200.0)
    with pytest.warns(UserWarning, match="X_val lies far outside of what X is"):
        MLPRegressor(**SMALL).fit(rows, y, X_val=1000 * rows + 0 * rows, y_val=y)


DRAWS: dict[str, Any] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "Cauchy": lambda rng, shape: rng.standard_cauchy(shape),
    "lognormal": lambda rng, shape: np.exp(3 * rng.normal(size=shape)),
    "mostly zero": lambda rng, shape: (rng.random(shape) < 0.01).astype(float),
    "counts": lambda rng, shape: rng.poisson(0.3, shape),
    "constant but for one": lambda rng, shape: np.where(rng.random(shape) < 0.003, 1e9, 1.0),
}


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize(
    "sizes", [(10, 1), (10, 10), (30, 2), (300, 5), (90, 10), (5, 500)], ids=str
)
def test_ordinary_splits_are_not_warned_of(draw: str, sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(40):
            train, held = (DRAWS[draw](rng, (n, 20)) for n in sizes)
            warn_of_other_scales(train, train[:, 0], held, held[:, 0], are_numbers=True)


def test_the_time_after_is_not_warned_of() -> None:
    """Rows in order of time go on where training ends."""
    time = np.linspace(0, 1, 1000)[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for end in (600, 900, 960):
            warn_of_other_scales(
                time[:end], time[:end, 0], time[end:], time[end:, 0], are_numbers=True
            )


def test_a_scorer_of_ones_own_still_decides() -> None:
    scorer = make_scorer(r2_score)
    model = MLPRegressor("poisson", early_stopping=True, scoring=scorer, **SMALL)
    model.fit(X, COUNTS, X_val=X, y_val=COUNTS)
    assert model.best_validation_score_ == pytest.approx(r2_score(COUNTS, model.predict(X)))


# ---------------------------------------------------------------- scores of validation rows


def test_scores_of_validation_rows_are_scikit_learns() -> None:
    """To the last bit, of any types, shapes and weights, and where its own rules are needed."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        n, shape = int(rng.integers(2, 200)), ()
        if rng.random() < 0.5:
            shape = (int(rng.integers(1, 4)),)
        y = (rng.normal(size=(n, *shape)) * 10.0 ** float(rng.integers(-3, 4))).astype(
            rng.choice(["f4", "f8"])
        )
        y = y if rng.random() < 0.9 else np.round(y).astype(np.int64)
        y = y if rng.random() < 0.9 else np.zeros_like(y)
        found = (y + rng.normal(size=y.shape)).astype(rng.choice(["f4", "f8"]))
        weights = rng.random(n) if rng.random() < 0.5 else None
        assert r2(y, found, weights) == r2_score(y, found, sample_weight=weights)
        labels, said = rng.integers(0, 3, (2, n))
        assert accuracy(labels, said, weights) == accuracy_score(
            labels, said, sample_weight=weights
        )
        several, answers = rng.integers(0, 2, (2, n, 2))
        assert accuracy(several, answers, weights) == accuracy_score(
            several, answers, sample_weight=weights
        )
    words = np.array(["no", "yes", "no"])
    assert accuracy(words, words[::-1], None) == accuracy_score(words, words[::-1])
