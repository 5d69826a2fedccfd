"""Ensembles: members with the bits of lone models, averages, deviations, files and predictors."""

from __future__ import annotations

import copy
import pickle
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.model_selection import RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastmlp import EMA, MLPClassifier, MLPRegressor, SearchCV, to_onnx
from fastmlp.estimators.members import rows_of_members

X, y = make_classification(120, 6, n_informative=4, n_classes=3, random_state=0)
NUMBERS, TARGET = make_regression(90, 5, noise=2.0, random_state=0)
TARGET = TARGET / 100
QUICK: dict[str, Any] = {"max_iter": 5, "tol": 0.0, "random_state": 0, "batch_size": 16}
FEW: dict[str, Any] = {**QUICK, "hidden_layer_sizes": (7,), "n_members": 3}

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.thinned(2),
]


def rows_of(model: Any, groups: np.ndarray) -> list[Any]:
    """The rows that the members of a model with an int for `random_state` are trained on."""
    random = np.random.RandomState(model.random_state)
    return [*rows_of_members(model.member_rows, groups, model.n_members, random)]


@pytest.mark.parametrize("kind", ["all", "bootstrap", "folds"])
@pytest.mark.parametrize("n_threads", [None, 1, 3])
def test_members_have_the_bits_of_lone_models(kind: str, n_threads: int | None) -> None:
    weights = np.linspace(0.1, 2, len(y))
    model = MLPClassifier(**FEW, member_rows=kind, n_threads=n_threads).fit(X, y, weights)
    rows = rows_of(model, y)
    for member, part in zip(model.members_, rows, strict=True):
        chosen = np.arange(len(y)) if part.train is None else part.train
        lone = MLPClassifier(**QUICK, hidden_layer_sizes=(7,)).set_params(
            random_state=member.random_state
        )
        lone.fit(X[chosen], y[chosen], weights[chosen])
        np.testing.assert_array_equal(member.network_.params, lone.network_.params)
    seeds = {member.random_state for member in model.members_}
    assert len(seeds) == 3
    mean = np.mean([member.predict_proba(X) for member in model.members_], axis=0)
    np.testing.assert_allclose(model.predict_proba(X), mean, rtol=1e-14)
    np.testing.assert_array_equal(model.predict(X), model.classes_[mean.argmax(axis=1)])
    assert model.n_iter_ == 5
    assert model.loss_ == np.mean([member.loss_ for member in model.members_])


def test_members_disagree_and_their_deviation_is_told() -> None:
    model = MLPRegressor(**FEW).fit(NUMBERS, TARGET)
    mean, std = model.predict(NUMBERS, return_std=True)
    each = [member.predict(NUMBERS) for member in model.members_]
    np.testing.assert_allclose(mean, np.mean(each, axis=0), rtol=1e-13)
    np.testing.assert_array_equal(std, np.std(each, axis=0))
    np.testing.assert_array_equal(mean, model.predict(NUMBERS))
    assert (std > 0).all()
    far = 100 * NUMBERS
    assert model.predict(far, return_std=True)[1].mean() > 10 * std.mean()


def test_quantiles_of_members_do_not_cross() -> None:
    model = MLPRegressor("quantile", quantile=[0.1, 0.9], **FEW).fit(NUMBERS, TARGET)
    found, std = model.predict(NUMBERS, return_std=True)
    assert found.shape == std.shape == (90, 2)
    assert (found[:, 0] <= found[:, 1]).all()


@pytest.mark.parametrize("kind", ["bootstrap", "folds"])
def test_every_member_sees_all_classes(kind: str) -> None:
    groups = np.array([0] * 40 + [1] * 3 + [2])
    rows = [*rows_of_members(kind, groups, 5, np.random.RandomState(0))]
    for part in rows:
        assert part.train is not None
        assert set(groups[part.train]) == {0, 1, 2}
    if kind == "bootstrap":
        for part in rows:
            assert part.train.size == 44
            np.testing.assert_array_equal(
                np.sort(np.concatenate([np.unique(part.train), part.left_out])), np.arange(44)
            )
        assert 0.5 < np.unique(rows[0].train).size / 44 < 0.8
    else:
        left_out = np.sort(np.concatenate([part.left_out for part in rows]))
        np.testing.assert_array_equal(left_out, np.arange(43))  # the row of its own stays
        for part in rows:
            assert not set(part.train) & set(part.left_out)
            assert 8 <= part.left_out.size <= 9


def test_a_fold_judges_the_epochs_of_its_member() -> None:
    options = {**FEW, "early_stopping": True, "member_rows": "folds", "max_iter": 30}
    model = MLPClassifier(**options).fit(X, y)
    rows = rows_of(model, y)
    for member, part in zip(model.members_, rows, strict=True):
        assert member.best_validation_score_ == max(member.validation_scores_)
        assert member.score(X[part.left_out], y[part.left_out]) == member.best_validation_score_
    held_out = X[:30], y[:30]
    given = clone(model).fit(X, y, X_val=held_out[0], y_val=held_out[1])
    for member in given.members_:
        assert member.score(*held_out) == member.best_validation_score_


def test_one_network_and_several_follow_each_other() -> None:
    model = MLPClassifier(**FEW).set_params(n_members=1).fit(X, y)
    alone = model.predict_proba(X)
    model.set_params(n_members=3).fit(X, y)
    assert not hasattr(model, "coefs_")
    assert not hasattr(model, "loss_curve_")
    with pytest.raises(AttributeError, match="3 members has a network in each of members_"):
        model.network_  # noqa: B018
    model.set_params(n_members=1).fit(X, y)
    assert not hasattr(model, "members_")
    np.testing.assert_array_equal(model.predict_proba(X), alone)


def test_solvers_without_epochs_leave_folds_out_only() -> None:
    options = {**FEW, "solver": "lbfgs", "early_stopping": True, "member_rows": "folds"}
    assert MLPClassifier(**options).fit(X, y).score(X, y) > 0.5


def test_changed_parameters_reach_the_members() -> None:
    model = MLPClassifier(**FEW).partial_fit(X, y, classes=[0, 1, 2])
    lone = MLPClassifier(**QUICK, hidden_layer_sizes=(7,))
    lone.set_params(random_state=model.members_[1].random_state)
    lone.partial_fit(X, y, classes=[0, 1, 2]).set_params(batch_size=120).partial_fit(X, y)
    model.set_params(batch_size=120).partial_fit(X, y)
    np.testing.assert_array_equal(model.members_[1].network_.params, lone.network_.params)
    model.set_params(n_members=1, random_state=1).partial_fit(X, y, classes=[0, 1, 2])
    assert not hasattr(model, "members_")
    model.set_params(n_members=3).fit(X, y)
    model.set_params(n_members=1).partial_fit(X, y)
    assert model.network_.is_built


@pytest.mark.parametrize("way", ["partial_fit", "warm start"])
def test_copies_share_nothing_that_training_changes(way: str) -> None:
    model = MLPClassifier(**FEW, warm_start=way == "warm start").fit(X, y)
    before = model.predict_proba(X)
    other = copy.copy(model)
    train = other.partial_fit if way == "partial_fit" else other.fit
    train(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    assert (other.predict_proba(X) != before).any()
    train(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_callbacks_are_shared_and_older_files_have_one_network() -> None:
    class Logger:
        def __init__(self) -> None:
            self.lock, self.seen = threading.Lock(), 0

        def __call__(self, model: Any, history: Any) -> None:
            with self.lock:
                self.seen += 1

    logger = Logger()
    MLPClassifier(**FEW, callbacks=logger).fit(X, y)
    assert logger.seen == 3 * 5
    model = MLPClassifier(**QUICK).fit(X, y)
    for name in ("n_members", "member_rows"):
        del vars(model)[name]
    assert clone(pickle.loads(pickle.dumps(model))).n_members == 1
    assert model.fit(X, y).score(X, y) > 0.3


@pytest.mark.filterwarnings("ignore:X_val lies far")
def test_a_refused_fit_leaves_an_ensemble_as_it_was() -> None:
    model = MLPClassifier(**FEW).fit(X, y)
    before, members = model.predict_proba(X), model.members_
    with pytest.raises(ValueError, match="X_val and y_val must be given together"):
        model.fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="non-finite"):
        model.set_params(learning_rate_init=1e300).fit(X, y)
    assert model.members_ is members
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_partial_fit_and_warm_starts_go_on_with_all_members() -> None:
    model = MLPClassifier(**FEW)
    for _ in range(3):
        model.partial_fit(X, y, classes=[0, 1, 2])
    for member in model.members_:
        lone = MLPClassifier(**QUICK, hidden_layer_sizes=(7,)).set_params(
            random_state=member.random_state
        )
        for _ in range(3):
            lone.partial_fit(X, y, classes=[0, 1, 2])
        np.testing.assert_array_equal(member.network_.params, lone.network_.params)
    warm = MLPRegressor(**FEW, warm_start=True).fit(NUMBERS, TARGET)
    members = warm.members_
    lone = MLPRegressor(**{**QUICK, "random_state": members[1].random_state}, warm_start=True)
    lone.set_params(hidden_layer_sizes=(7,)).fit(NUMBERS, TARGET)
    warm.fit(NUMBERS, TARGET)
    assert warm.members_[1] is members[1]
    np.testing.assert_array_equal(
        warm.members_[1].network_.params, lone.fit(NUMBERS, TARGET).network_.params
    )


def test_members_with_rows_of_their_own_are_fitted_at_once() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'partial_fit'"):
        MLPClassifier(**FEW, member_rows="folds").partial_fit(X, y, classes=[0, 1, 2])


def test_ensembles_are_copied_whole() -> None:
    model = MLPClassifier(**FEW, callbacks=EMA(0.9)).fit(sparse.csr_matrix(X), y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert clone(model).n_members == 3


def test_hidden_features_and_gradients() -> None:
    model = MLPClassifier(**FEW).fit(X, y)
    features = model.transform(X)
    assert features.shape == (120, 21)
    assert model.get_feature_names_out().shape == (21,)
    np.testing.assert_array_equal(features[:, 7:14], model.members_[1].transform(X))
    each = [member.input_gradients(X, 2) for member in model.members_]
    np.testing.assert_allclose(model.input_gradients(X, 2), np.mean(each, axis=0), rtol=1e-12)


@pytest.mark.parametrize("weights", [None, "float16"])
def test_one_predictor_answers_for_all(weights: str | None) -> None:
    model = MLPClassifier(**FEW, dtype="float32").fit(X, y)
    predictor, rows = model.compile_predictor(weights), X.astype(np.float32)
    expected = model.predict_proba(X)
    tolerance = 1e-6 if weights is None else 1e-2
    out = np.empty((120, 3), np.float32)
    assert predictor(rows, out) is out
    np.testing.assert_allclose(out, expected, atol=tolerance)
    np.testing.assert_allclose(predictor(rows[5]), expected[5], atol=tolerance)
    np.testing.assert_array_equal(predictor.predict(rows), model.predict(X))
    assert predictor.predict(X[3]) == model.predict(X[[3]])[0]
    again = pickle.loads(pickle.dumps(predictor))
    np.testing.assert_array_equal(again(rows), predictor(rows))
    np.testing.assert_array_equal(predictor.classes_, model.classes_)
    before = predictor(rows)
    square = MLPRegressor(**FEW).fit(X, X).compile_predictor()
    expected, own = square(X), X.copy()
    np.testing.assert_array_equal(square(own, own), expected)
    model.members_[0].coefs_[0][...] = 0.0
    np.testing.assert_array_equal(predictor(rows), before)


def test_one_onnx_file_holds_all(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("skl2onnx")
    several = make_multilabel_classification(80, 6, n_classes=3, random_state=0)
    cases: list[tuple[Any, Any, Any]] = [
        (MLPClassifier(**FEW), X, y),
        (MLPClassifier(**FEW), X, np.where(y > 0, "yes", "no")),
        (MLPClassifier(**FEW), *several),
        (MLPRegressor(**FEW), NUMBERS, TARGET),
        (MLPRegressor("quantile", quantile=[0.1, 0.9], **FEW), NUMBERS, TARGET),
        (make_pipeline(StandardScaler(), MLPClassifier(**FEW)), X, y),
    ]
    for number, (model, rows, target) in enumerate(cases):
        path = tmp_path / f"{number}.onnx"
        to_onnx(model.fit(rows, target), path)
        session = onnxruntime.InferenceSession(str(path))
        found = session.run(None, {"X": rows.astype(np.float32)})
        expected = model.predict(rows)
        if isinstance(model, MLPRegressor):
            np.testing.assert_allclose(found[0].squeeze(), expected, atol=1e-4)
        else:
            np.testing.assert_array_equal(found[0], expected)
            np.testing.assert_allclose(found[1], model.predict_proba(rows), atol=1e-5)


def test_a_search_takes_ensembles() -> None:
    space = {"learning_rate_init": [1e-3, 1e-2, 1e-1]}
    model = MLPClassifier(**{**FEW, "max_iter": 9})
    search = SearchCV(model, space, cv=2, halving=True, random_state=0).fit(X, y)
    whole = RandomizedSearchCV(model, space, n_iter=3, cv=2, random_state=0).fit(X, y)
    last = search.best_index_
    place = whole.cv_results_["params"].index(search.best_params_)
    assert search.cv_results_["n_resources"][last] == 9
    assert search.best_score_ == whole.cv_results_["mean_test_score"][place]


def test_an_interrupt_ends_all_members(default_ctrl_c: None) -> None:
    seen = list[int]()

    def look(model: Any, history: Any) -> None:
        seen.append(threading.get_ident())
        if len(seen) == 20:
            signal.raise_signal(signal.SIGINT)

    endless = {**FEW, "max_iter": 10**7, "n_iter_no_change": 10**6, "callbacks": look}
    model = MLPClassifier(**endless)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert not hasattr(model, "members_")
