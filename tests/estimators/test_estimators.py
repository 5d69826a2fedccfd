"""The estimators against scikit-learn: its numbers, its conventions, and additional features."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibrationDisplay
from sklearn.datasets import load_diabetes, load_digits, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.metrics import d2_tweedie_score, log_loss, r2_score
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastmlp import (
    Checkpoint,
    LeakyReLU,
    LossCurveDisplay,
    MLPClassifier,
    MLPRegressor,
    WeightsDisplay,
    search_space,
)
from fastmlp.engine.engine import Engine
from fastmlp.errors import InputError, InputTypeError
from fastmlp.inputs.tables import table_of
from fastmlp.optim import schedules

from ..support import Watcher

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DIGITS = load_digits(return_X_y=True)
X, Y = DIGITS[0][:600] / 16, DIGITS[1][:600]
DIABETES = load_diabetes(return_X_y=True)
XR, YR = DIABETES[0] * 10, DIABETES[1] / 100
XM, YM = make_multilabel_classification(300, 12, random_state=0)
WEIGHTS = np.random.default_rng(0).random(len(Y)) + 0.1

KINDS = {MLPClassifier: (X, Y), MLPRegressor: (XR, YR)}

SMALL = np.random.default_rng(5).normal(size=(24, 3))

Maker = Callable[..., Any]


def fitted_pair(
    ours: Maker, theirs: Maker, X: Any, y: Any, fit: dict[str, Any] | None = None, **parameters: Any
) -> tuple[Any, Any]:
    settings = {"random_state": 3, "max_iter": 20} | parameters
    return tuple(kind(**settings).fit(X, y, **(fit or {})) for kind in (ours, theirs))  # type: ignore[return-value]


def way(one: Any, other: Any) -> float:
    """Largest difference of two models' coefficients."""
    pairs = zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)


# ---------------------------------------------------------------- the same numbers

CLASSIFIER_CASES: dict[str, tuple[Any, Any, dict[str, Any], dict[str, Any]]] = {
    **{
        f"{activation}, {solver}": (
            X, Y, {}, {"activation": activation, "solver": solver, "hidden_layer_sizes": (20, 10)},
        )
        for activation in ("identity", "logistic", "tanh", "relu")
        for solver in ("sgd", "adam")
    },
    "plain sgd": (X, Y, {}, {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1}),
    "without nesterov": (X, Y, {}, {"solver": "sgd", "nesterovs_momentum": False}),
    "invscaling": (
        X, Y, {}, {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5},
    ),
    "adaptive": (
        X, Y, {},
        {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 0.1,
         "learning_rate_init": 0.1},
    ),
    "strong penalty, ragged batches": (X, Y, {}, {"alpha": 10.0, "batch_size": 64}),
    "without shuffling": (X, Y, {}, {"shuffle": False}),
    "early stopping": (X, Y, {}, {"early_stopping": True, "n_iter_no_change": 3, "tol": 0.01}),
    "early stopping of two classes": (X, Y > 4, {}, {"early_stopping": True}),
    "sample weights": (X, Y, {"sample_weight": WEIGHTS}, {}),
    "weights and early stopping": (X, Y, {"sample_weight": WEIGHTS}, {"early_stopping": True}),
    "text labels": (X, np.array(["a", "b", "c"])[Y % 3], {}, {}),
    "two classes": (X, Y > 4, {}, {}),
    "several labels": (XM, YM, {}, {}),
    "several labels and early stopping": (XM, YM, {}, {"early_stopping": True}),
    "CSR": (sparse.csr_matrix(X), Y, {}, {}),
    "CSC array": (sparse.csc_array(X), Y, {}, {}),
    "one layer as a number": (X, Y, {}, {"hidden_layer_sizes": 7}),
    "no hidden layer": (X, Y, {}, {"hidden_layer_sizes": ()}),
    "stops by itself": (X, Y, {}, {"tol": 1.0, "n_iter_no_change": 2}),
}  # fmt: skip


@pytest.mark.thinned(5)
@pytest.mark.parametrize("case", CLASSIFIER_CASES)
def test_classifier_has_the_numbers_of_scikit_learn(case: str) -> None:
    X, y, fit, parameters = CLASSIFIER_CASES[case]
    ours, theirs = fitted_pair(MLPClassifier, TheirClassifier, X, y, fit, **parameters)
    assert way(ours, theirs) < 1e-9
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
    for name in (
        "n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_",
        "validation_scores_", "best_validation_score_",
    ):  # fmt: skip
        assert getattr(ours, name) == getattr(theirs, name), name
    if theirs.best_loss_ is not None:
        assert ours.best_loss_ == pytest.approx(theirs.best_loss_, rel=1e-9)
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-9)
    np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), rtol=1e-6)
    assert ours.score(X, y) == theirs.score(X, y)


REGRESSOR_CASES: dict[str, dict[str, Any]] = {
    **{
        f"{activation}, {solver}": {"activation": activation, "solver": solver}
        for activation in ("identity", "logistic", "tanh", "relu")
        for solver in ("sgd", "adam")
    },
    "Poisson, sgd": {"loss": "poisson", "solver": "sgd"},
    "Poisson, adam": {"loss": "poisson"},
    "plain sgd": {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.01},
    "without nesterov": {"solver": "sgd", "nesterovs_momentum": False},
    "strong penalty": {"alpha": 10.0, "batch_size": 64},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 3, "tol": 0.01},
}


@pytest.mark.thinned(5)
@pytest.mark.parametrize("case", REGRESSOR_CASES)
@pytest.mark.parametrize("weights", [None, np.linspace(0.1, 2, len(YR))], ids=["even", "weighted"])
def test_regressor_has_the_numbers_of_scikit_learn(case: str, weights: Any) -> None:
    settings = REGRESSOR_CASES[case]
    fit = {"sample_weight": weights}
    ours, theirs = fitted_pair(MLPRegressor, TheirRegressor, XR, YR, fit, **settings)
    assert way(ours, theirs) < 1e-9
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(ours.predict(XR), theirs.predict(XR), rtol=1e-9)
    assert ours.out_activation_ == theirs.out_activation_
    assert r2_score(YR, ours.predict(XR)) == pytest.approx(theirs.score(XR, YR))
    if settings.get("loss") == "poisson":  # by deviance, as scikit-learn's PoissonRegressor
        wanted = d2_tweedie_score(YR, theirs.predict(XR), power=1)
        assert ours.score(XR, YR) == pytest.approx(wanted)
    else:
        assert ours.score(XR, YR) == pytest.approx(theirs.score(XR, YR))


def test_several_targets_have_their_weights_and_a_loss_that_fits_the_gradient() -> None:
    """scikit-learn averages the loss over targets but not its gradient (its issue 8349)."""
    y = np.c_[YR, -YR, YR**2]
    ours, theirs = fitted_pair(MLPRegressor, TheirRegressor, XR, y, alpha=0.0)
    assert way(ours, theirs) < 1e-9
    np.testing.assert_allclose(ours.loss_curve_, 3 * np.array(theirs.loss_curve_), rtol=1e-9)
    np.testing.assert_allclose(ours.predict(XR), theirs.predict(XR), rtol=1e-9)
    ours = MLPRegressor(solver="lbfgs", random_state=0, max_iter=100, alpha=1.0).fit(XR, y)
    error = 0.5 * np.mean((ours.predict(XR) - y) ** 2, axis=0).sum()
    penalty = 0.5 * sum((W**2).sum() for W in ours.coefs_) / len(y)
    assert ours.loss_ == pytest.approx(error + penalty, rel=1e-9)


LBFGS: dict[str, Any] = {"solver": "lbfgs", "hidden_layer_sizes": (5,), "alpha": 1.0, "tol": 1e-7}


@pytest.mark.thinned(1)
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_lbfgs_goes_the_same_way(activation: str) -> None:
    """For so many iterations that rounding does not yet send it to another optimum of relu's."""
    settings = LBFGS | {"activation": activation, "max_iter": 30}
    for ours, theirs in (
        fitted_pair(MLPClassifier, TheirClassifier, X, Y, **settings),
        fitted_pair(MLPRegressor, TheirRegressor, XR, YR, **settings),
    ):
        assert way(ours, theirs) < 1e-9
        assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh"])
def test_lbfgs_reaches_the_same_optimum(activation: str) -> None:
    settings = LBFGS | {"activation": activation, "max_iter": 3000}
    ours, theirs = fitted_pair(MLPClassifier, TheirClassifier, X, Y, **settings)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-5)
    assert np.abs(ours.predict_proba(X) - theirs.predict_proba(X)).max() < 1e-2
    ours, theirs = fitted_pair(MLPRegressor, TheirRegressor, XR, YR, **settings)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-5)


def test_float32_stays_float32() -> None:
    ours, theirs = fitted_pair(MLPClassifier, TheirClassifier, X.astype("f4"), Y)
    assert {a.dtype for a in ours.coefs_} == {a.dtype for a in theirs.coefs_} == {np.dtype("f4")}
    assert ours.predict_proba(X.astype("f4")).dtype == np.float32
    assert way(ours, theirs) < 1e-3
    assert MLPClassifier(max_iter=1, dtype="float32").fit(X, Y).coefs_[0].dtype == np.float32


def test_partial_fit_has_the_numbers_of_scikit_learn() -> None:
    ours, theirs = MLPClassifier(random_state=3), TheirClassifier(random_state=3)
    for start in (0, 200, 400, 0):
        part = slice(start, start + 200)
        for model in (ours, theirs):
            model.partial_fit(X[part], Y[part], classes=np.arange(10))
    assert way(ours, theirs) < 1e-9
    assert (ours.t_, ours.n_iter_) == (theirs.t_, theirs.n_iter_)
    ours_, theirs_ = MLPRegressor(random_state=3), TheirRegressor(random_state=3)
    for _ in range(3):
        ours_.partial_fit(XR, YR), theirs_.partial_fit(XR, YR)
    assert way(ours_, theirs_) < 1e-9


def test_partial_fit_goes_on_where_engines_are_too_large_to_be_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept, made_anew = (MLPRegressor(hidden_layer_sizes=(9,), random_state=3) for _ in range(2))
    for _ in range(3):
        kept.partial_fit(XR, YR)
    monkeypatch.setattr("fastmlp.engine.spares.SPARE_BYTES", 0)
    for _ in range(3):
        made_anew.partial_fit(XR, YR)
    assert made_anew.network_.params.tobytes() == kept.network_.params.tobytes()
    counts = [sum(map(len, model.network_.spare_engines.values())) for model in (kept, made_anew)]
    assert counts == [1, 0]


def test_partial_fit_of_several_labels() -> None:
    model = MLPClassifier(random_state=0)
    for _ in range(60):
        model.partial_fit(XM, YM, classes=np.arange(5))
    assert model.loss_curve_[-1] < 0.7 * model.loss_curve_[0]
    assert model.predict(XM).shape == YM.shape


def test_a_warm_start_goes_on_where_scikit_learn_forgets() -> None:
    """Two fits of ten epochs are one of twenty, the optimizer's memory included (issue 6091)."""
    model = MLPClassifier(random_state=3, max_iter=10, warm_start=True, shuffle=False)
    model.fit(X, Y).fit(X, Y)
    whole = MLPClassifier(random_state=3, max_iter=20, shuffle=False).fit(X, Y)
    assert way(model, whole) == 0
    assert model.loss_curve_ == whole.loss_curve_


CHANGED: dict[str, tuple[Any, Any]] = {
    "alpha": (MLPClassifier, 10.0),
    "l1_ratio": (MLPClassifier, 1.0),
    "dropout": (MLPClassifier, 0.5),
    "label_smoothing": (MLPClassifier, 0.3),
    "max_norm": (MLPClassifier, 0.1),
    "activation": (MLPClassifier, "tanh"),
    "learning_rate_init": (MLPClassifier, 0.1),
    "solver": (MLPClassifier, "sgd"),
    "quantile": (MLPRegressor, 0.9),
}


@pytest.mark.parametrize("name", CHANGED)
def test_parameters_that_changed_count_in_a_warm_start(name: str) -> None:
    kind, value = CHANGED[name]
    rows = KINDS[kind]
    options = {"max_iter": 3, "warm_start": True, "random_state": 0, "alpha": 1.0}
    options |= {"loss": "quantile"} if name == "quantile" else {}
    kept, changed = (kind(**options).fit(*rows) for _ in range(2))
    assert way(kept, changed) == 0
    kept.fit(*rows), changed.set_params(**{name: value}).fit(*rows)
    assert way(kept, changed) > 1e-6


def test_a_penalty_that_changed_counts_as_in_scikit_learn() -> None:
    models = MLPClassifier(random_state=3), TheirClassifier(random_state=3)
    for model in models:
        model.partial_fit(X, Y, classes=np.arange(10)).set_params(alpha=50.0).partial_fit(X, Y)
    assert way(*models) < 1e-9


def test_the_memory_of_another_optimizer_is_not_used() -> None:
    """RMSprop's mean squares have the shape of momentum's velocity."""
    rows, options = (X, Y), {"max_iter": 2, "warm_start": True, "random_state": 0}
    model = MLPClassifier(solver="rmsprop", **options).fit(*rows).set_params(solver="sgd")
    fresh = copy.deepcopy(model)
    fresh._optimizer_state = None
    assert way(model.fit(*rows), fresh.fit(*rows)) == 0


def test_a_network_cannot_change_its_shape_in_a_warm_start() -> None:
    model = MLPClassifier((5, 4), max_iter=2, warm_start=True, random_state=0).fit(X, Y)
    before = pickle.dumps(model.coefs_)
    with pytest.raises(InputError, match=r"expected hidden layers of \[5, 4\] units as they are"):
        model.set_params(hidden_layer_sizes=(5, 3)).fit(X, Y)
    assert pickle.dumps(model.coefs_) == before


def test_a_schedule_is_walked_to_its_end() -> None:
    settings: dict[str, Any] = {"max_iter": 12, "tol": 100.0, "n_iter_no_change": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = MLPClassifier((5,), learning_rate="cosine", **settings).fit(X, Y)
    assert model.n_iter_ == 12
    assert model.history_["learning_rate"][-1] < 1e-5
    settings |= {"early_stopping": True, "learning_rate": "cosine"}
    assert MLPClassifier((5,), **settings).fit(X, Y).n_iter_ < 12
    assert MLPClassifier((5,), max_iter=12, tol=100.0, n_iter_no_change=2).fit(X, Y).n_iter_ < 12


def test_scorers_see_every_class() -> None:
    """A part set aside at random would often lack the rare one."""
    y = np.r_[np.arange(290) % 2, np.full(10, 2)]
    for seed in range(4):
        model = MLPClassifier(
            (4,), scoring="neg_log_loss", early_stopping=True, max_iter=2, random_state=seed
        )
        assert np.isfinite(model.fit(X[:300], y).validation_scores_).all()


def test_a_row_is_served_as_it_is_predicted() -> None:
    model = MLPClassifier(max_iter=2, random_state=0).fit(X, Y)
    np.testing.assert_array_equal(model.compile_predictor()(X), model.predict_proba(X))
    two = MLPClassifier(max_iter=2, random_state=0).fit(X, Y > 4)
    assert two.compile_predictor()(X[3]) == pytest.approx(two.predict_proba(X[[3]])[0, 1:])
    with pytest.raises(NotFittedError):
        MLPClassifier().compile_predictor()


def test_callbacks_that_cannot_be_called_are_refused_before_the_fit(tmp_path: Path) -> None:
    model = MLPClassifier(callbacks=[Checkpoint(tmp_path)])
    with pytest.raises(InputTypeError, match="got Checkpoint; pass functions; a Checkpoint"):
        model.fit(X, Y)
    assert not hasattr(model, "coefs_")


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize(
    "extra", [{}, {"solver": "sgd", "learning_rate": "adaptive"}, {"shuffle": False}], ids=str
)
def test_epochs_that_share_a_call_are_the_same_epochs(
    extra: dict[str, Any], n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A callback hears of every epoch, so each is a call; without one, a call ends to decide."""
    calls, train = [], Engine.train

    def counted(self: Engine, order: np.ndarray, *rest: Any) -> np.ndarray:
        calls.append(order.shape)
        return train(self, order, *rest)

    monkeypatch.setattr(Engine, "train", counted)
    options: dict[str, Any] = {
        "random_state": 0, "max_iter": 60, "batch_size": 64, "tol": 0.02, "n_iter_no_change": 3,
        "learning_rate_init": 0.01, "n_threads": n_threads, **extra,
    }  # fmt: skip
    each = MLPClassifier(**options, callbacks=lambda model, history: False).fit(X, Y)
    assert calls == [(1, len(Y))] * each.n_iter_
    calls.clear()
    together = MLPClassifier(**options).fit(X, Y)
    assert calls[0] == (60, len(Y))
    assert (len(calls) > 2) == ("learning_rate" in extra)
    assert together.n_iter_ == each.n_iter_ < 60
    assert together.history_["learning_rate"] == each.history_["learning_rate"]
    assert together.loss_curve_ == each.loss_curve_
    assert len(together.history_["seconds"]) == each.n_iter_
    assert way(together, each) == 0
    assert together._random_state.random() == each._random_state.random()
    one = MLPClassifier(**options | {"n_iter_no_change": np.inf}).fit(X[:70], Y[:70])
    assert one.n_iter_ == 60


@pytest.mark.parametrize("options", [{}, {"early_stopping": True}, {"solver": "lbfgs"}], ids=str)
def test_tables_that_are_mostly_zero_are_read_without_zeros(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They give the same bits as with their zeros, and a single pass keeps them."""
    rng = np.random.default_rng(0)
    rows = np.where(rng.random((90, 150)) < 0.15, rng.normal(size=(90, 150)), 0)
    y = rows[:, :4].argmax(axis=1)
    kinds = []

    def watch(X: Any, dtype: Any) -> Any:
        kinds.append(sparse.issparse(X))
        return table_of(X, dtype)

    monkeypatch.setattr("fastmlp.training.loop.table_of", watch)
    monkeypatch.setattr("fastmlp.training.objective.table_of", watch)
    model = MLPClassifier(max_iter=5, random_state=0, **options)
    fitted = clone(model).fit(rows, y)
    if not options:
        clone(model).partial_fit(rows, y, classes=range(4))
        assert kinds == [True, False]
    assert kinds[0]
    monkeypatch.setattr("fastmlp.estimators.base.without_zeros", lambda X, dtype, n_outputs: X)
    with_zeros = clone(model).fit(rows, y)
    assert not kinds[-1]
    for found, wanted in zip(fitted.coefs_, with_zeros.coefs_, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert fitted.loss_curve_ == with_zeros.loss_curve_


# ---------------------------------------------------------------- scikit-learn's conventions

UNEQUAL = "weights and repeated rows drop other units, or have other folds"


def expected_failures(estimator: Any) -> dict[str, str]:
    """None but with dropout and folds, whose random numbers go by the place of a row."""
    if estimator.dropout == 0 and estimator.member_rows == "all":
        return {}
    kinds = ("dense", "sparse")
    return {f"check_sample_weight_equivalence_on_{kind}_data": UNEQUAL for kind in kinds}


CHECKED = [
    MLPClassifier(max_iter=60),
    MLPRegressor(max_iter=60),
    MLPClassifier((2,), "identity", solver="lbfgs", alpha=3.0, tol=1e-10, max_iter=5000),
    MLPRegressor(solver="lbfgs", max_iter=60),
    MLPRegressor("quantile", quantile=0.7, activation="gelu", dropout=0.1, max_iter=300),
    MLPClassifier(n_members=2, member_rows="folds", max_iter=60),
    MLPRegressor(n_members=2, max_iter=60),
]


@pytest.mark.thinned(30)
@parametrize_with_checks(CHECKED, expected_failed_checks=expected_failures)
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_all_parameters_of_scikit_learn_have_its_defaults(kind: Any) -> None:
    theirs = {MLPClassifier: TheirClassifier, MLPRegressor: TheirRegressor}[kind]()
    ours = kind().get_params()
    assert theirs.get_params().items() <= ours.items()
    assert list(ours) == sorted(ours)
    for name in ours:
        assert f"{name}" in kind.__doc__


@pytest.mark.parametrize("bad", [
    {"hidden_layer_sizes": (0,)}, {"activation": "hardtanh"}, {"solver": "newton"}, {"alpha": -1},
    {"learning_rate": "fast"}, {"dropout": 1.0}, {"l1_ratio": 2}, {"n_threads": 0},
    {"dtype": "float16"}, {"activation": ["relu", "tanh"]}, {"width": 0}, {"batch_size": 0},
    {"learning_rate": object}, {"learning_rate": lambda step: 0.1},
])  # fmt: skip
def test_bad_parameters_are_refused_before_anything_is_changed(bad: dict[str, Any]) -> None:
    model = MLPClassifier(**bad)
    with pytest.raises(ValueError, match=next(iter(bad))):
        model.fit(X, Y)
    assert not hasattr(model, "coefs_")


def test_copies_and_pickles_predict_and_train_alike() -> None:
    model = MLPClassifier(random_state=0, max_iter=5, dropout=0.2, warm_start=True).fit(X, Y)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(twin.predict_proba(X), model.predict_proba(X))
        twin.coefs_[0][...] += 1  # its own arrays
    assert not hasattr(clone(model), "coefs_")
    twin = pickle.loads(pickle.dumps(model))
    assert way(twin.fit(X, Y), model.fit(X, Y)) == 0


def test_fitted_state_is_plain() -> None:
    """Arrays, numbers, text and the objects that scikit-learn itself keeps."""
    state = MLPClassifier(max_iter=2).fit(X, Y).__getstate__()
    found = {type(value).__module__.partition(".")[0] for value in state.values()}
    assert found <= {"builtins", "numpy", "sklearn"}
    assert "numba" not in repr(pickle.dumps(state))


def test_weights_that_were_set_are_used() -> None:
    model = MLPClassifier(random_state=0, max_iter=5).fit(X, Y)
    other = MLPClassifier(random_state=1, max_iter=5).fit(X, Y)
    model.coefs_, model.intercepts_ = other.coefs_, other.intercepts_
    np.testing.assert_array_equal(model.predict_proba(X), other.predict_proba(X))


@pytest.mark.parametrize("backend", [pytest.param("loky", marks=pytest.mark.slow), "threading"])
def test_searches_in_parallel(backend: str) -> None:
    import joblib

    model = make_pipeline(StandardScaler(), MLPClassifier(max_iter=30, random_state=0))
    with joblib.parallel_backend(backend):
        search = GridSearchCV(model, {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=2, n_jobs=2)
        search.fit(X[:200], Y[:200])
    assert 0.7 < search.best_score_ < 1


@pytest.mark.slow
def test_the_search_space_fits_both() -> None:
    for model, X_, y in ((MLPClassifier(max_iter=2), X, Y), (MLPRegressor(max_iter=2), XR, YR)):
        search = RandomizedSearchCV(model, search_space(), n_iter=4, cv=2, random_state=0)
        assert np.isfinite(search.fit(X_, y).cv_results_["mean_test_score"]).all()


def test_metadata_is_routed() -> None:
    import sklearn

    with sklearn.config_context(enable_metadata_routing=True):
        model = MLPClassifier(max_iter=2).set_fit_request(
            sample_weight=True, X_val=True, y_val=True
        )
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), model)
        pipeline.fit(X, Y, sample_weight=WEIGHTS, X_val=X[:50], y_val=Y[:50])
    assert len(pipeline[-1].history_["validation_loss"]) == 2


@pytest.mark.slow
def test_skops_asks_to_trust_the_class_and_nothing_else() -> None:
    io = pytest.importorskip("skops.io")
    model = make_pipeline(StandardScaler(), MLPClassifier(max_iter=2, random_state=0)).fit(X, Y)
    file = io.dumps(model)
    names = io.get_untrusted_types(data=file)
    assert names == ["fastmlp.estimators.classifier.MLPClassifier"]
    twin = io.loads(file, trusted=names)
    np.testing.assert_array_equal(twin.predict_proba(X), model.predict_proba(X))


def test_polars_frames_keep_their_names() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(X, schema=[f"pixel {i}" for i in range(64)])
    model = MLPClassifier(max_iter=2, random_state=0).fit(frame, Y)
    assert list(model.feature_names_in_) == frame.columns
    alike = MLPClassifier(max_iter=2, random_state=0).fit(X, Y)
    np.testing.assert_array_equal(model.predict_proba(frame), alike.predict_proba(X))
    hidden = model.set_output(transform="polars").transform(frame)
    assert hidden.columns[0] == "mlpclassifier0"


def test_sparse_labels_are_read_like_dense_ones() -> None:
    models = [
        MLPClassifier(max_iter=3, random_state=0).fit(XM, y)
        for y in (YM, sparse.csr_matrix(YM), sparse.csr_array(YM))
    ]
    assert way(models[0], models[1]) == way(models[0], models[2]) == 0


def test_data_frames_keep_their_names() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=[f"pixel {i}" for i in range(64)])
    model = MLPClassifier(max_iter=2).fit(frame, Y)
    assert list(model.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[frame.columns[::-1]])


# ---------------------------------------------------------------- beyond


@pytest.mark.parametrize("solver", ["adamw", "rmsprop", "adagrad", "sgd", "adam"])
def test_every_solver_learns(solver: str) -> None:
    rate = {"sgd": 0.1, "adagrad": 0.05}.get(solver, 0.005)
    settings = {"learning_rate_init": rate, "weight_decay": 1e-3, "gradient_clip": 5.0}
    model = MLPClassifier(solver=solver, max_iter=40, random_state=0, **settings).fit(X, Y)
    assert model.score(X, Y) > 0.9


@pytest.mark.parametrize(
    "rate", ["linear", "cosine", "one_cycle", schedules.Step(0.01), lambda s, n: 0.01]
)
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_schedules_for_every_solver(rate: Any, solver: str) -> None:
    settings = {"learning_rate": rate, "learning_rate_init": 0.01, "solver": solver}
    model = MLPClassifier(max_iter=5, random_state=0, **settings).fit(X, Y)
    rates = model.history_["learning_rate"]
    assert len(rates) == 5
    assert (len(set(rates)) > 1) != callable(rate)


def test_activations_by_layer_and_by_object() -> None:
    settings: dict[str, Any] = {"hidden_layer_sizes": (30, 20), "batch_size": 20}
    settings["activation"] = ["gelu", LeakyReLU(0.2)]
    model = MLPClassifier(max_iter=30, random_state=0, **settings).fit(X, Y)
    assert model.score(X, Y) > 0.95
    values = model.transform(X, layer=-1)
    assert values.shape == (len(X), 20)
    wanted = model.transform(X, 0) @ model.coefs_[1] + model.intercepts_[1]
    np.testing.assert_allclose(values, np.where(wanted > 0, wanted, 0.2 * wanted), atol=1e-12)


def test_width_and_depth_override_sizes() -> None:
    model = MLPClassifier(max_iter=1, width=9, depth=3).fit(X, Y)
    assert [W.shape[1] for W in model.coefs_] == [9, 9, 9, 10]
    assert len(MLPClassifier(max_iter=1, depth=0).fit(X, Y).coefs_) == 1


def test_regularisers_do_what_they_say() -> None:
    plain = MLPClassifier(max_iter=60, random_state=0, alpha=5.0).fit(X, Y)
    sparse_ = MLPClassifier(max_iter=60, random_state=0, alpha=5.0, l1_ratio=1.0).fit(X, Y)
    assert (abs(sparse_.coefs_[0]) < 1e-3).mean() > (abs(plain.coefs_[0]) < 1e-3).mean() + 0.2
    limited = MLPClassifier(max_iter=30, random_state=0, max_norm=0.5).fit(X, Y)
    assert np.linalg.norm(limited.coefs_[0], axis=0).max() <= 0.5 + 1e-9
    kept, dropped = (
        MLPClassifier(max_iter=30, random_state=0, dropout=rate).fit(X, Y) for rate in (0.0, [0.5])
    )
    assert dropped.loss_ > 1.2 * kept.loss_
    smooth = MLPClassifier(max_iter=200, random_state=0, label_smoothing=0.2).fit(X, Y)
    assert smooth.predict_proba(X).max(axis=1).mean() < 0.9


def test_decay_and_clipping_change_a_step_by_what_they_say() -> None:
    settings: dict[str, Any] = {
        "solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1, "alpha": 0.0, "max_iter": 1,
        "batch_size": len(X), "random_state": 0,
    }  # fmt: skip
    plain = MLPClassifier(**settings).fit(X, Y)
    start = MLPClassifier(**settings | {"learning_rate_init": 1e-300}).fit(X, Y)
    decayed = MLPClassifier(**settings, weight_decay=0.5).fit(X, Y)
    for W, other, W0 in zip(plain.coefs_, decayed.coefs_, start.coefs_, strict=True):
        np.testing.assert_allclose(W - other, 0.1 * 0.5 * W0, atol=1e-15)
    np.testing.assert_array_equal(plain.intercepts_[0], decayed.intercepts_[0])
    clipped = MLPClassifier(**settings, gradient_clip=1e-3).fit(X, Y)
    moves = [
        a - b
        for a, b in zip(
            clipped.coefs_ + clipped.intercepts_, start.coefs_ + start.intercepts_, strict=True
        )
    ]
    length = np.sqrt(sum((move**2).sum() for move in moves))
    assert length == pytest.approx(0.1 * 1e-3, rel=1e-9)


def test_weights_of_held_out_samples_count() -> None:
    weights = np.linspace(0.1, 3, 200)
    model = MLPClassifier(max_iter=3, random_state=0)
    model.fit(X[:400], Y[:400], X_val=X[400:], y_val=Y[400:], sample_weight_val=weights)
    wanted = log_loss(Y[400:], model.predict_proba(X[400:]), sample_weight=weights)
    assert model.history_["validation_loss"][-1] == pytest.approx(wanted, rel=1e-9)
    score = model.score(X[400:], Y[400:], sample_weight=weights)
    assert model.history_["validation_score"][-1] == pytest.approx(score, rel=1e-9)
    assert min(model.history_["seconds"]) > 0
    assert model.history_["learning_rate"] == [0.001] * 3


@pytest.mark.nojit
def test_a_batch_without_weight_changes_nothing() -> None:
    """Neither by its samples nor by its share of the penalties, which would be 0 / 0."""
    rows, weights = (SMALL, SMALL[:, 0]), np.r_[np.ones(12), np.zeros(12)]
    settings: dict[str, Any] = {"solver": "sgd", "momentum": 0.0, "max_iter": 1, "shuffle": False}
    settings |= {"batch_size": 12, "alpha": 0.5, "random_state": 0}
    model = MLPRegressor(hidden_layer_sizes=(4,), **settings).fit(*rows, sample_weight=weights)
    first = MLPRegressor(hidden_layer_sizes=(4,), **settings).fit(SMALL[:12], SMALL[:12, 0])
    assert way(model, first) < 1e-15


def test_class_weights_are_sample_weights() -> None:
    by_class = {label: 1.0 + label for label in range(10)}
    one = MLPClassifier(max_iter=5, random_state=0, class_weight=by_class).fit(X, Y)
    other = MLPClassifier(max_iter=5, random_state=0).fit(X, Y, sample_weight=1.0 + Y)
    assert way(one, other) == 0
    rare = (Y == 3).astype(int)
    found = MLPClassifier(max_iter=30, random_state=0, class_weight="balanced").fit(X, rare)
    assert found.score(X[rare == 1], rare[rare == 1]) > 0.95


@pytest.mark.slow
def test_validation_data_of_ones_own() -> None:
    train, held = slice(0, 400), slice(400, 600)
    model = MLPClassifier(max_iter=300, random_state=0, early_stopping=True, n_iter_no_change=5)
    model.fit(X[train], Y[train], X_val=X[held], y_val=Y[held])
    assert model.n_iter_ < 300
    best = max(model.validation_scores_)
    assert model.score(X[held], Y[held]) == best == model.best_validation_score_
    losses = model.history_["validation_loss"]
    assert len(losses) == model.n_iter_
    by_loss = MLPClassifier(max_iter=300, random_state=0, early_stopping=True, scoring="loss")
    by_loss.fit(X[train], Y[train], X_val=X[held], y_val=Y[held])
    found = log_loss(Y[held], by_loss.predict_proba(X[held]))
    assert found == pytest.approx(min(by_loss.history_["validation_loss"]), rel=1e-6)


def test_validation_data_are_checked_like_any() -> None:
    model = MLPClassifier(max_iter=2, random_state=0)
    whole = model.fit(X, Y, X_val=np.ones((3, 64), np.int64), y_val=Y[:3])
    assert len(whole.history_["validation_loss"]) == 2
    for y in (Y, Y > 4):
        unseen = np.array([0, 1, 77])
        with pytest.raises(InputError, match="only labels seen in fit, got 1 unseen label"):
            model.fit(X, y, X_val=X[:3], y_val=unseen)
    with pytest.raises(ValueError, match="features"):
        model.fit(X, Y, X_val=X[:3, :9], y_val=Y[:3])


def test_any_scorer_stops_a_fit() -> None:
    settings: dict[str, Any] = {"random_state": 0, "early_stopping": True, "n_iter_no_change": 99}
    model = MLPClassifier(max_iter=15, scoring="neg_log_loss", **settings).fit(X, Y)
    assert len(model.validation_scores_) == 15
    assert max(model.validation_scores_) == model.best_validation_score_ < 0
    own = MLPClassifier(max_iter=3, scoring=lambda e, X, y: 1.0, **settings)
    assert own.fit(X, Y).validation_scores_ == [1.0] * 3


def test_callbacks_see_every_epoch_and_may_stop() -> None:
    seen: list[int] = []

    def stop(model: Any, history: dict[str, list[float]]) -> bool:
        seen.append(len(history["loss"]))
        return model.n_iter_ == 3

    model = MLPClassifier(max_iter=9, callbacks=[stop]).fit(X, Y)
    assert (seen, model.n_iter_) == ([1, 2, 3], 3)


def test_callbacks_see_iterations_of_lbfgs_and_their_weights() -> None:
    losses: list[float] = []

    def stop(model: Any, history: dict[str, list[float]]) -> bool:
        losses.append(log_loss(Y, model.predict_proba(X)))
        return len(history["loss"]) == 4

    model = MLPClassifier(solver="lbfgs", alpha=0, callbacks=stop, random_state=0).fit(X, Y)
    assert model.n_iter_ == 4
    np.testing.assert_allclose(losses, model.loss_curve_, rtol=1e-9)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks_of_scikit_learn_see_every_epoch_and_may_stop(solver: str) -> None:
    pytest.importorskip("sklearn.callback")
    watcher = Watcher(last=2)
    model = MLPClassifier(solver=solver, random_state=0).set_callbacks(watcher).fit(X, Y)
    epochs = ["epoch begins", "epoch ends"] * 3
    assert watcher.events == ["setup", "fit begins", *epochs, "fit ends", "teardown"]
    assert model.n_iter_ == 3
    assert watcher.scores[0] < watcher.scores[2] == watcher.scores[3] == model.score(X, Y)


class Propagated(Watcher):
    """One that a pipeline hands on to its steps."""

    max_propagation_depth = None


def test_callbacks_of_a_pipeline_see_the_epochs_of_its_last_step() -> None:
    pytest.importorskip("sklearn.callback")
    watcher = Propagated(last=9)
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(max_iter=2))
    pipeline.set_callbacks(watcher).fit(X, Y)
    assert watcher.events.count("epoch ends") == 2


def test_scores_of_every_epoch_are_monitored_in_a_search() -> None:
    monitor = pytest.importorskip("sklearn.callback").ScoringMonitor(scoring="accuracy")
    model = MLPClassifier(max_iter=3, random_state=0).set_callbacks(monitor)
    GridSearchCV(model, {"alpha": [0.0, 1.0]}, cv=2, refit=False).fit(X[:200], Y[:200])
    entries = [entry for log in monitor.get_logs(select="all") for entry in log.data]
    assert sum(entry["task_name"] == "epoch" for entry in entries) == 2 * 2 * 3


@pytest.mark.parametrize(("parameters", "name"), [
    ({"dropout": [0.0, 0.1], "hidden_layer_sizes": (4, 4)}, "dropout"),
    ({"dropout": 0.1}, "dropout"), ({"weight_decay": 0.1}, "weight_decay"),
    ({"max_norm": 1.0}, "max_norm"), ({"gradient_clip": 1.0}, "gradient_clip"),
    ({"scoring": "accuracy"}, "scoring"), ({"learning_rate": "cosine"}, "schedule"),
])  # fmt: skip
def test_what_lbfgs_would_ignore_is_refused(parameters: dict[str, Any], name: str) -> None:
    model = MLPClassifier(solver="lbfgs", **parameters)
    wanted = f"fit: expected no {name} with solver='lbfgs', got one; leave it out or choose another"
    with pytest.raises(InputError, match=wanted):
        model.fit(X, Y)
    assert not hasattr(model, "coefs_")
    with pytest.raises(InputError, match="expected no X_val with solver='lbfgs'"):
        MLPClassifier(solver="lbfgs").fit(X, Y, X_val=X, y_val=Y)


def test_scoring_without_samples_to_score_is_refused() -> None:
    with pytest.raises(InputError, match="samples to be scored after each epoch, got scoring='r2'"):
        MLPRegressor(scoring="r2").fit(XR, YR)


def test_ctrl_c_keeps_what_was_learnt() -> None:
    def interrupt(model: Any, history: Any) -> None:
        if model.n_iter_ == 2:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="interrupted"):
        model = MLPClassifier(callbacks=interrupt, random_state=0).fit(X, Y)
    assert model.n_iter_ == 2
    assert model.predict(X).shape == Y.shape


def test_quantiles_never_cross_and_cover_what_they_say(rng: np.random.Generator) -> None:
    X_ = rng.uniform(-1, 1, (3000, 1))
    y = X_[:, 0] + (0.2 + np.abs(X_[:, 0])) * rng.normal(size=3000)
    model = MLPRegressor("quantile", quantile=(0.9, 0.1, 0.5), random_state=0, max_iter=60)
    found = model.fit(X_, y).predict(X_)
    assert found.shape == (3000, 3)
    assert (np.diff(found, axis=1) >= 0).all()
    covered = (y[:, None] <= found).mean(axis=0)
    np.testing.assert_allclose(covered, [0.1, 0.5, 0.9], atol=0.03)


@pytest.mark.parametrize("loss", ["absolute_error", "huber"])
def test_robust_losses_ignore_outliers(loss: str, rng: np.random.Generator) -> None:
    X_ = rng.normal(size=(400, 2))
    clean = X_ @ [1.0, -2.0]
    y = clean.copy()
    y[::20] += 50
    robust = MLPRegressor(
        loss, solver="adam", max_iter=300, learning_rate_init=0.01, random_state=0
    )
    plain = clone(robust).set_params(loss="squared_error")
    errors = [np.abs(m.fit(X_, y).predict(X_) - clean)[y == clean].mean() for m in (robust, plain)]
    assert errors[0] < errors[1] / 2


def test_input_gradients_are_those_of_differences() -> None:
    model = MLPRegressor(activation="tanh", max_iter=20, random_state=0).fit(XR, YR)
    found = model.input_gradients(XR[:5])
    h = 1e-6
    for j in range(XR.shape[1]):
        shift = h * np.eye(XR.shape[1])[j]
        differences = (model.predict(XR[:5] + shift) - model.predict(XR[:5] - shift)) / (2 * h)
        np.testing.assert_allclose(found[:, j], differences, atol=1e-7)


def test_results_do_not_depend_on_threads() -> None:
    models = [
        MLPClassifier((64, 64), max_iter=3, random_state=0, n_threads=n, dropout=0.1).fit(X, Y)
        for n in (1, 2, 3)
    ]
    assert way(models[0], models[1]) == way(models[0], models[2]) == 0


def test_errors_name_what_was_given() -> None:
    model = MLPClassifier(max_iter=1).fit(X, Y)
    with pytest.raises(InputError, match=r"layer below 1, got 1; count hidden layers from 0"):
        model.transform(X, 1)
    with pytest.raises(InputError, match=r"output below 10, got 10; count outputs from 0"):
        model.input_gradients(X, 10)
    with pytest.raises(ValueError, match="must be given together"):
        model.fit(X, Y, X_val=X)
    with pytest.raises(ValueError, match="does not support early_stopping"):
        MLPClassifier(early_stopping=True).partial_fit(X, Y, classes=np.arange(10))
    with pytest.raises(AttributeError, match="partial_fit"):
        _ = MLPClassifier(solver="lbfgs").partial_fit
    with pytest.raises(ValueError, match="at least 0"):
        MLPRegressor("poisson").fit(XR, -YR)
    with pytest.raises(ValueError, match="non-finite"), np.errstate(all="ignore"):
        MLPRegressor(solver="sgd", learning_rate_init=1e9, momentum=0.0).fit(XR * 1e6, YR * 1e9)
    with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge"):
        MLPClassifier(solver="lbfgs", max_iter=2).fit(X, Y)


def test_digits_are_learnt_well() -> None:
    parts = train_test_split(*DIGITS, random_state=0, stratify=DIGITS[1])
    X_train, X_test, y_train, y_test = parts
    model = MLPClassifier(max_iter=100, random_state=0, batch_size=32, dtype="float32")
    assert model.fit(X_train / 16, y_train).score(X_test / 16, y_test) > 0.96


# ---------------------------------------------------------------- pictures


def test_pictures_are_drawn_where_asked(tmp_path: Path) -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure()
    left, right = figure.subplots(1, 2)
    model = MLPClassifier((9,), max_iter=4, early_stopping=True, random_state=0).fit(X, Y)
    curves = LossCurveDisplay.from_estimator(model, ax=left)
    assert curves.ax_ is left
    assert curves.figure_ is figure
    np.testing.assert_array_equal(curves.lines_[0].get_ydata(), model.loss_curve_)
    weights = WeightsDisplay.from_estimator(model, image_shape=(8, 8), ax=right)
    assert weights.im_.axes is right
    assert WeightsDisplay.from_estimator(model, layer=1).im_ is not None
    figure.savefig(tmp_path / "both.png")
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(MLPClassifier())


def test_displays_of_scikit_learn_take_the_estimators() -> None:
    pytest.importorskip("matplotlib")
    X2, y2 = X[:, [20, 43]] + np.linspace(0, 0.01, len(X))[:, None], Y > 4
    model = MLPClassifier((9,), max_iter=4, random_state=0).fit(X2, y2)
    assert DecisionBoundaryDisplay.from_estimator(model, X2, grid_resolution=9).surface_ is not None
    assert len(CalibrationDisplay.from_estimator(model, X2, y2).prob_true) > 0


# ---------------------------------------------------------------- small enough to be interpreted

SMALL_TARGETS: dict[str, tuple[Any, Any]] = {
    "three classes": (MLPClassifier, np.array(list("abc"))[np.arange(24) % 3]),
    "two classes": (MLPClassifier, SMALL[:, 0] > 0),
    "several labels": (MLPClassifier, (SMALL > 0).astype(int)),
    "one number": (MLPRegressor, SMALL[:, 0] ** 2),
    "two numbers": (MLPRegressor, SMALL[:, :2] ** 2),
}
SMALL_FITS: list[dict[str, Any]] = [
    {"solver": "adam"},
    {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 10.0},
    {"solver": "sgd", "learning_rate": "invscaling", "early_stopping": True, "verbose": True},
    {"solver": "lbfgs", "max_iter": 2},
    {"solver": "adam", "hidden_layer_sizes": (), "batch_size": 100},
]


@pytest.mark.nojit
@pytest.mark.filterwarnings("ignore:Got `batch_size`")
@pytest.mark.parametrize("settings", SMALL_FITS, ids=str)
@pytest.mark.parametrize("target", SMALL_TARGETS)
def test_small_models_have_the_numbers_of_scikit_learn(
    target: str, settings: dict[str, Any], capsys: Any
) -> None:
    kind, y = SMALL_TARGETS[target]
    theirs = {MLPClassifier: TheirClassifier, MLPRegressor: TheirRegressor}[kind]
    defaults = {"hidden_layer_sizes": (4,), "max_iter": 3, "batch_size": 10, "random_state": 1}
    defaults |= {"validation_fraction": 0.2}
    ours, other = (k(**(defaults | settings)).fit(SMALL, y) for k in (kind, theirs))
    if target != "two numbers" or settings["solver"] != "lbfgs":  # there scikit-learn is wrong
        assert way(ours, other) < 1e-7
        np.testing.assert_allclose(
            np.asarray(ours.predict(SMALL) == other.predict(SMALL), float).mean()
            if kind is MLPClassifier
            else ours.predict(SMALL) - other.predict(SMALL),
            1.0 if kind is MLPClassifier else 0.0,
            atol=1e-6,
        )
    assert ours.n_iter_ == other.n_iter_
    if settings.get("verbose"):
        assert "Iteration 1, loss = " in capsys.readouterr().out


@pytest.mark.nojit
def test_small_models_do_what_scikit_learn_cannot() -> None:
    settings: dict[str, Any] = {"hidden_layer_sizes": (4, 3), "max_iter": 2, "random_state": 1}
    y = np.arange(24) % 3
    model = MLPClassifier(
        activation=["gelu", LeakyReLU(0.2)], solver="adamw", learning_rate="linear", dropout=0.2,
        label_smoothing=0.1, l1_ratio=0.5, max_norm=2.0, gradient_clip=1.0,
        class_weight="balanced", callbacks=print, dtype="float32", **settings,
    ).fit(SMALL, y, X_val=SMALL[:6], y_val=y[:6], sample_weight_val=np.ones(6))  # fmt: skip
    assert len(model.history_["validation_score"]) == 2
    assert model.transform(SMALL, -1).shape == (24, 3)
    assert model.input_gradients(SMALL, 1).shape == (24, 3)
    twin = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(twin.predict_proba(SMALL), model.predict_proba(SMALL))
    numbers = SMALL[:, 0] ** 2
    for solver in ("rmsprop", "adagrad"):
        for loss in ("absolute_error", "huber", "poisson"):
            MLPRegressor(loss, solver=solver, **settings).fit(SMALL, numbers)
    bands = MLPRegressor("quantile", quantile=[0.9, 0.1], width=3, depth=1, **settings)
    assert (np.diff(bands.fit(SMALL, numbers).predict(SMALL), axis=1) >= 0).all()
    stopped = MLPClassifier(
        early_stopping=True, scoring="loss", validation_fraction=0.2, **settings
    )
    assert len(stopped.fit(SMALL, y).validation_scores_) == 2
    warm = MLPClassifier(warm_start=True, **settings).fit(SMALL, y).fit(SMALL, y)
    assert len(warm.loss_curve_) == 4
    assert warm.partial_fit(SMALL, y).n_iter_ == 1
    with pytest.raises(ValueError, match="same classes"):
        warm.fit(SMALL, y + 1)


# ---------------------------------------------------------------- every parameter

# A value of each parameter that changes a fit, and what it takes for that.
CHANGES: dict[str, tuple[dict[str, Any], Any]] = {
    "hidden_layer_sizes": ({}, (7,)),
    "activation": ({}, "tanh"),
    "solver": ({}, "sgd"),
    "alpha": ({}, 1.0),
    "batch_size": ({}, 50),
    "learning_rate": ({}, "cosine"),
    "learning_rate_init": ({}, 0.01),
    "power_t": ({"solver": "sgd", "learning_rate": "invscaling"}, 0.1),
    "max_iter": ({}, 9),
    "shuffle": ({}, False),
    "random_state": ({}, 1),
    "tol": ({"n_iter_no_change": 1}, 100.0),
    "warm_start": ({}, True),
    "momentum": ({"solver": "sgd"}, 0.5),
    "nesterovs_momentum": ({"solver": "sgd"}, False),
    "early_stopping": ({}, True),
    "validation_fraction": ({"early_stopping": True}, 0.3),
    "beta_1": ({}, 0.5),
    "beta_2": ({}, 0.5),
    "epsilon": ({}, 0.1),
    "n_iter_no_change": ({"tol": 100.0}, 1),
    "max_fun": ({"solver": "lbfgs"}, 3),
    "width": ({}, 7),
    "depth": ({}, 2),
    "dropout": ({}, 0.5),
    "l1_ratio": ({"alpha": 1.0}, 1.0),
    "weight_decay": ({}, 0.5),
    "max_norm": ({}, 0.5),
    "gradient_clip": ({}, 0.01),
    "n_members": ({}, 2),
    "member_rows": ({"n_members": 2}, "bootstrap"),
    "scoring": ({"early_stopping": True}, "loss"),
    "dtype": ({}, "float32"),
    "label_smoothing": ({}, 0.1),
    "class_weight": ({}, {0: 5.0}),
    "loss": ({}, "huber"),
    "quantile": ({"loss": "quantile"}, 0.2),
    "delta": ({"loss": "huber"}, 0.1),
}
# What changes no number has tests of its own.
UNSEEN = {
    "callbacks": test_callbacks_see_every_epoch_and_may_stop,
    "n_threads": test_results_do_not_depend_on_threads,
    "verbose": test_small_models_have_the_numbers_of_scikit_learn,
}


def outcome(kind: Any, **parameters: Any) -> bytes:
    """All that comes out of two fits in a row."""
    model = kind(**({"hidden_layer_sizes": (6,), "max_iter": 8, "random_state": 0} | parameters))
    model.fit(*KINDS[kind]).fit(*KINDS[kind])
    arrays = [
        array
        for one in vars(model).get("members_", [model])
        for array in (*one.coefs_, *one.intercepts_, one.loss_curve_, one.validation_scores_ or [])
    ]
    return b"".join(np.asarray(array).tobytes() for array in arrays)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in KINDS for name in kind().get_params() if name not in UNSEEN],
)
def test_no_parameter_is_ignored(kind: Any, name: str) -> None:
    needs, value = CHANGES[name]
    assert outcome(kind, **needs, **{name: value}) != outcome(kind, **needs)
