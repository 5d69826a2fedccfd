"""`SearchCV`: scikit-learn's candidates and scores, halving that continues fits, a picture."""

from __future__ import annotations

import pickle
import signal
import threading
import time
import warnings
from pathlib import Path
from typing import Any, ClassVar

import joblib
import numpy as np
import pytest
import sklearn
from scipy import stats
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import FitFailedWarning
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, PowerTransformer, StandardScaler

from fastmlp import EMA, MLPClassifier, MLPRegressor, SearchCV, SearchDisplay, search_space
from fastmlp.estimators.pausing import Pause, pause_at
from fastmlp.estimators.search.transformed import Transformed
from fastmlp.estimators.search.trials import Trials

X, y = make_classification(120, 6, n_informative=4, n_classes=3, random_state=0)
QUICK: dict[str, Any] = {"max_iter": 6, "tol": 0.0, "random_state": 0, "batch_size": 16}
SPACE = {"width": [4, 8, 16], "learning_rate_init": stats.loguniform(1e-3, 1e-1)}
SCORES = ("mean_test_score", "std_test_score", "rank_test_score", "split1_test_score")

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.thinned(2),
]


def same_results(ours: Any, theirs: Any, names: tuple[str, ...] = SCORES) -> None:
    """Both searches have tried the same and found the same."""
    assert ours.cv_results_["params"] == theirs.cv_results_["params"]
    for name in names:
        np.testing.assert_allclose(
            ours.cv_results_[name], theirs.cv_results_[name], rtol=0, atol=1e-12
        )
    assert ours.best_index_ == theirs.best_index_
    assert ours.best_params_ == theirs.best_params_
    assert ours.n_splits_ == theirs.n_splits_


# The same as scikit-learn's ----------------------------------------------------------------------


@pytest.mark.parametrize("n_jobs", [None, 1, 3])
def test_scores_are_those_of_a_randomized_search(n_jobs: int | None) -> None:
    model = MLPClassifier(**QUICK)
    ours = SearchCV(model, SPACE, 5, 3, random_state=3, n_jobs=n_jobs).fit(X, y)
    theirs = RandomizedSearchCV(model, SPACE, n_iter=5, cv=3, random_state=3).fit(X, y)
    same_results(ours, theirs)
    assert set(theirs.cv_results_) == set(ours.cv_results_)
    assert ours.score(X, y) == theirs.score(X, y)
    np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)


def test_lists_alone_are_a_grid() -> None:
    space = [{"width": [4, 8]}, {"activation": ["tanh"], "alpha": [0.0, 1.0]}]
    model = MLPClassifier(**QUICK)
    ours = SearchCV(model, space, cv=3).fit(X, y)
    theirs = GridSearchCV(model, space, cv=3).fit(X, y)

    def by_params(search: Any) -> dict[str, float]:
        found = search.cv_results_
        texts = [str(sorted(one.items())) for one in found["params"]]
        return dict(zip(texts, found["mean_test_score"], strict=True))

    assert by_params(ours) == by_params(theirs)
    assert len(by_params(ours)) == 4


def test_several_scores_weights_and_training_scores() -> None:
    numbers, target = make_regression(90, 5, noise=2.0, random_state=0)
    target, weights = target / 100, np.linspace(0.1, 2, 90)
    options: dict[str, Any] = {
        "scoring": ["r2", "neg_mean_absolute_error"], "refit": "r2", "return_train_score": True,
        "cv": 3, "random_state": 0,
    }  # fmt: skip
    model = MLPRegressor(**QUICK)
    ours = SearchCV(model, SPACE, 4, **options).fit(numbers, target, sample_weight=weights)
    theirs = RandomizedSearchCV(model, SPACE, n_iter=4, **options)
    theirs.fit(numbers, target, sample_weight=weights)
    names = ("mean_test_r2", "mean_train_neg_mean_absolute_error", "split0_train_r2")
    same_results(ours, theirs, names)
    assert ours.multimetric_
    assert set(ours.scorer_) == {"r2", "neg_mean_absolute_error"}
    assert ours.best_score_ == theirs.best_score_


def test_metadata_reach_estimator_scorer_and_splitter() -> None:
    weights, groups = np.linspace(0.1, 2, len(y)), np.arange(len(y)) % 4
    with sklearn.config_context(enable_metadata_routing=True):
        model = MLPClassifier(**QUICK).set_fit_request(sample_weight=True)
        scorer = make_scorer(accuracy_score).set_score_request(sample_weight=True)
        options: dict[str, Any] = {"scoring": scorer, "cv": GroupKFold(4), "random_state": 1}
        given = {"sample_weight": weights, "groups": groups}
        ours = SearchCV(model, SPACE, 3, **options).fit(X, y, **given)
        theirs = RandomizedSearchCV(model, SPACE, n_iter=3, **options).fit(X, y, **given)
        same_results(ours, theirs)


def test_scoring_may_be_a_function_of_several_scores() -> None:
    def both(model: Any, X: Any, y: Any) -> dict[str, float]:
        return {"right": model.score(X, y), "wrong": 1 - model.score(X, y)}

    search = SearchCV(MLPClassifier(**QUICK), SPACE, 4, 3, both, True, "right", 0).fit(X, y)
    assert search.best_score_ == search.cv_results_["mean_test_right"][search.best_index_]
    with pytest.raises(ValueError, match="For multi-metric scoring"):
        SearchCV(MLPClassifier(**QUICK), SPACE, 2, 3, both).fit(X, y)


def test_a_function_may_choose_the_best() -> None:
    def last(results: dict[str, Any]) -> int:
        return len(results["params"]) - 1

    search = SearchCV(MLPClassifier(**QUICK), SPACE, 3, 2, refit=last, random_state=0).fit(X, y)
    assert search.best_index_ == 2
    assert not hasattr(search, "best_score_")


def test_without_refit_there_is_no_estimator() -> None:
    search = SearchCV(MLPClassifier(**QUICK), SPACE, 2, 2, refit=False, random_state=0).fit(X, y)
    assert search.best_params_ == search.cv_results_["params"][search.best_index_]
    assert not hasattr(search, "best_estimator_")
    with pytest.raises(AttributeError):
        search.predict(X)


# Pipelines ---------------------------------------------------------------------------------------


class Counting(TransformerMixin, BaseEstimator):
    """Scales, and counts how often it is fitted."""

    fits: ClassVar[list[float]] = []

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def fit(self, X: Any, y: Any = None) -> Counting:
        self.fits.append(self.factor)
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: Any) -> Any:
        return X * self.factor


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_transformers_are_fitted_once_per_fold(n_jobs: int) -> None:
    model = make_pipeline(StandardScaler(), Counting(), MLPClassifier(**QUICK))
    space = {"mlpclassifier__width": [4, 8], "counting__factor": [0.5, 1.0, 2.0]}
    Counting.fits = []
    ours = SearchCV(model, space, cv=3, n_jobs=n_jobs, refit=False).fit(X, y)
    n_fits = len(Counting.fits)
    theirs = RandomizedSearchCV(model, space, n_iter=6, cv=3, random_state=0, refit=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.fit(X, y)
    assert n_fits == 3 * 3
    found = dict(zip(map(str, theirs.cv_results_["params"]), theirs.cv_results_["mean_test_score"],
                     strict=True))  # fmt: skip
    for params, score in zip(
        ours.cv_results_["params"], ours.cv_results_["mean_test_score"], strict=True
    ):
        assert found[str(params)] == score


@pytest.mark.parametrize("n_jobs", [-1, -2])
def test_negative_numbers_of_jobs_share_as_well(n_jobs: int) -> None:
    model = make_pipeline(Counting(), MLPClassifier(**QUICK))
    Counting.fits.clear()
    space = {"mlpclassifier__width": [4, 8, 16]}
    SearchCV(model, space, cv=2, n_jobs=n_jobs, refit=False, error_score="raise").fit(X, y)
    assert len(Counting.fits) == 2


def test_steps_may_write_to_what_they_are_given() -> None:
    model = make_pipeline(
        StandardScaler(), MinMaxScaler(copy=False), PowerTransformer(copy=False),
        MLPClassifier(**QUICK),
    )  # fmt: skip
    space, options = {"mlpclassifier__alpha": [0.0, 0.1, 1.0, 10.0]}, {"cv": 2}
    ours = SearchCV(model, space, **options).fit(X, y)
    theirs = GridSearchCV(model, space, **options).fit(X, y)
    found = dict(zip(map(str, ours.cv_results_["params"]), ours.cv_results_["mean_test_score"],
                     strict=True))  # fmt: skip
    for params, score in zip(
        theirs.cv_results_["params"], theirs.cv_results_["mean_test_score"], strict=True
    ):
        assert found[str(params)] == score


def test_what_cannot_be_hashed_is_computed_each_time() -> None:
    memory, calls = Transformed(2), list[Any]()
    shared = memory.cache(lambda value: calls.append(value))
    unpicklable = threading.Lock()
    shared(unpicklable)
    shared(unpicklable)
    assert len(calls) == 2
    assert memory.n_computed == 0


def test_shared_results_are_few_and_errors_are_not_kept() -> None:
    memory, calls = Transformed(2), list[int]()

    def half(value: int) -> int:
        calls.append(value)
        if value % 2:
            raise ValueError("odd")
        return value // 2

    shared = memory.cache(half)
    assert [shared(2), shared(4), shared(2), shared(6), shared(4)] == [1, 2, 1, 3, 2]
    assert calls == [2, 4, 6, 4]
    for _ in range(2):
        with pytest.raises(ValueError, match="odd"):
            shared(3)
    assert calls[-2:] == [3, 3]


# Halving -----------------------------------------------------------------------------------------

KINDS: dict[str, dict[str, Any]] = {
    "adam": {},
    "early": {"early_stopping": True, "n_iter_no_change": 3},
    "early, by loss": {"early_stopping": True, "scoring": "loss", "n_iter_no_change": 2},
    "early, by a scorer": {"early_stopping": True, "scoring": "f1_macro", "n_iter_no_change": 2},
    "cosine": {"learning_rate": "cosine"},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 0.02},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling"},
    "dropout": {"dropout": 0.3},
    "average": {"callbacks": EMA(0.9)},
    "judged average": {"callbacks": EMA(0.9), "early_stopping": True, "n_iter_no_change": 4},
    "in order": {"shuffle": False},
    "stops": {"tol": 10.0, "n_iter_no_change": 2},
}
FITTED = ("loss_curve_", "n_iter_", "t_", "history_", "validation_scores_", "best_loss_",
          "best_validation_score_", "loss_")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_that_pauses_ends_with_the_same_bits(kind: str) -> None:
    options = {**QUICK, "max_iter": 12, "width": 5} | KINDS[kind]
    whole, pause = MLPClassifier(**options).fit(X, y), Pause(0)
    for until in (1, 4, 5, 12):
        model = MLPClassifier(**options)
        pause.until = until
        pause_at(model, pause)
        model.fit(X, y)
        short = clone(whole).set_params(max_iter=until)
        if kind not in ("cosine", "average", "judged average"):  # planned for all epochs
            np.testing.assert_array_equal(model.network_.params, short.fit(X, y).network_.params)
        assert model.n_iter_ == min(until, whole.n_iter_)
    np.testing.assert_array_equal(model.network_.params, whole.network_.params)
    for name in FITTED:
        found, wanted = getattr(model, name), getattr(whole, name)
        if name == "history_":
            found, wanted = ({**one, "seconds": []} for one in (found, wanted))
        assert found == wanted, name


def test_halving_goes_on_and_ends_with_the_scores_of_whole_fits() -> None:
    model, steps = MLPClassifier(**{**QUICK, "max_iter": 18, "learning_rate": "linear"}), []
    model.set_params(callbacks=[lambda estimator, history: steps.append(1)])
    search = SearchCV(model, SPACE, 10, 3, halving=True, random_state=1, refit=False).fit(X, y)
    assert (search.n_iterations_, search.n_candidates_, search.n_resources_) == (
        3, [10, 4, 2], [2, 6, 18],
    )  # fmt: skip
    epochs = 10 * 2 + 4 * 4 + 2 * 12  # what the earlier rounds have trained is not trained again
    assert len(steps) == 3 * epochs
    whole = RandomizedSearchCV(
        clone(model), SPACE, n_iter=10, cv=3, random_state=1, refit=False
    ).fit(X, y)
    found = search.cv_results_
    last = np.flatnonzero(found["iter"] == 2)
    assert list(found["n_resources"][last]) == [18, 18]
    for row in last:
        place = whole.cv_results_["params"].index(found["params"][row])
        assert found["mean_test_score"][row] == whole.cv_results_["mean_test_score"][place]
    assert search.best_index_ in last
    assert search.best_score_ == found["mean_test_score"][last].max()


@pytest.mark.parametrize("seed", [None, np.random.RandomState(0)])
@pytest.mark.parametrize("members", [{}, {"n_members": 2, "member_rows": "folds"}])
def test_any_seed_goes_on_with_the_same_rows(seed: Any, members: Any) -> None:
    model = MLPClassifier(**{**QUICK, "random_state": seed, "early_stopping": True, **members})
    pause, held_out, split = Pause(2), list[Any](), MLPClassifier._split

    def noted(self: Any, *given: Any) -> Any:
        found = split(self, *given)
        held_out.append(found[1])
        return found

    for until in (2, 4, 6):
        pause.until = until
        again = clone(model)
        pause_at(again, pause)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MLPClassifier, "_split", noted)
            again.fit(X, y)
    if not members:
        for found in held_out[1:]:
            np.testing.assert_array_equal(found[0], held_out[0][0])
    seeds = [child.random_state for child in vars(again).get("members_", [])]
    assert len(set(seeds)) == len(seeds)


def test_networks_that_are_done_or_left_behind_are_not_kept() -> None:
    kept = list[Any]()
    run = Trials.run

    def noted(self: Any, candidates: Any, until: Any = None) -> Any:
        found = run(self, candidates, until)
        kept.append(candidates)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trials, "run", noted)
        model = MLPClassifier(**{**QUICK, "max_iter": 9})
        SearchCV(model, SPACE, 9, 2, halving=True, random_state=0).fit(X, y)
    first, *_, last = kept
    assert [len(one.pauses) for one in first].count(2) == len(last)
    assert all(pause.is_empty for one in last for pause in one.pauses)


@pytest.mark.parametrize(
    ("n", "max_iter", "halving", "expected"),
    [
        (60, 200, True, ([60, 20, 7, 3], [8, 23, 67, 200])),
        (4, 50, 2, ([4, 2, 1], [13, 25, 50])),
        (50, 1, True, ([50], [1])),
        (1, 9, 5, ([1], [9])),
        (9, 2, 3, ([9, 3], [1, 2])),
    ],
)
def test_rounds(n: int, max_iter: int, halving: Any, expected: Any, monkeypatch: Any) -> None:
    class Stop(Exception):
        pass

    def stop(self: Any, candidates: Any, until: Any) -> None:
        raise Stop

    monkeypatch.setattr(Trials, "run", stop)
    model = MLPClassifier(max_iter=max_iter)
    search = SearchCV(model, {"alpha": stats.uniform()}, n, 2, halving=halving)
    with pytest.raises(Stop):
        search.fit(X, y)
    assert (search.n_candidates_, search.n_resources_) == expected


def test_candidates_may_have_fewer_epochs_and_solvers_without_any() -> None:
    space = [{"max_iter": [2, 9]}, {"solver": ["lbfgs"], "max_iter": [9]}]
    search = SearchCV(MLPClassifier(**QUICK), space, cv=2, halving=2, random_state=0).fit(X, y)
    found = search.cv_results_
    assert set(found["n_resources"]) <= {2, 3, 5, 9}
    for params, epochs in zip(found["params"], found["n_resources"], strict=True):
        assert epochs <= params["max_iter"]


# What goes wrong ---------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
def test_a_fit_that_fails_has_the_error_score() -> None:
    space = {"hidden_layer_sizes": [(4,), (-1,)], "learning_rate_init": [1e-3, 1e300]}
    search = SearchCV(MLPClassifier(**QUICK), space, cv=2, random_state=0)
    with pytest.warns(FitFailedWarning, match="6 fits failed out of a total of 8"):
        search.fit(X, y)
    assert np.isnan(search.cv_results_["mean_test_score"]).sum() == 3
    halves = clone(search).set_params(halving=True)
    with pytest.warns(FitFailedWarning):
        halves.fit(X, y)
    assert halves.best_params_ == search.best_params_
    with pytest.raises(ValueError, match=r"hidden_layer_sizes must be > 0|non-finite"):
        clone(search).set_params(error_score="raise").fit(X, y)


def test_a_wrong_name_is_told() -> None:
    with pytest.raises(ValueError, match="Invalid parameter 'wdith'"):
        SearchCV(MLPClassifier(), {"wdith": [1]}).fit(X, y)


def test_it_can_be_copied_pickled_and_drawn() -> None:
    search = SearchCV(MLPClassifier(**QUICK), SPACE, 2, 2, random_state=0).fit(X, y)
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict(X), search.predict(X))
    assert clone(search).get_params()["n_candidates"] == 2
    assert "SearchCV" in search._repr_html_()


def test_a_progress_bar_counts_fits(capsys: Any) -> None:
    SearchCV(MLPClassifier(**QUICK), SPACE, 2, 3, random_state=0, progress=True).fit(X, y)
    assert "6/6" in capsys.readouterr().err


def test_an_interrupt_ends_the_threads(default_ctrl_c: None) -> None:
    seen = list[int]()

    def look(model: Any, history: Any) -> None:
        seen.append(threading.get_ident())
        if len(seen) == 20:
            signal.raise_signal(signal.SIGINT)

    model = MLPClassifier(**{**QUICK, "max_iter": 10**7}, n_iter_no_change=10**6, callbacks=look)
    with pytest.raises(KeyboardInterrupt):
        SearchCV(model, {"alpha": [0.0, 0.1, 0.2]}, cv=2, n_jobs=2).fit(X, y)
    for _ in range(200):
        n_seen = len(seen)
        time.sleep(0.05)
        if len(seen) == n_seen:
            return
    raise AssertionError("the threads go on")


def test_a_picture_has_a_panel_for_each_parameter(tmp_path: Path) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    space = search_space("mlpclassifier__") | {"mlpclassifier__batch_size": [16]}
    model = make_pipeline(StandardScaler(), MLPClassifier(**QUICK))
    search = SearchCV(model, space, 9, 2, halving=True, random_state=0).fit(X, y)
    display = SearchDisplay.from_estimator(search)
    labels = [ax.get_xlabel() for ax in display.axes_]
    assert labels == [
        "epochs", "activation", "alpha", "depth", "dropout", "learning_rate",
        "learning_rate_init", "solver", "width",
    ]  # fmt: skip
    for ax in display.axes_[1:]:
        grey, blue, ring = ax.lines
        assert (len(grey.get_xdata()), len(blue.get_xdata())) == (8, 1)
        assert ring.get_ydata() == [search.best_score_]
    display.figure_.savefig(tmp_path / "search.png")
    figure, pair = pyplot.subplots(1, 2)
    again = SearchDisplay.from_estimator(search, params=["mlpclassifier__width"], axes=pair)
    assert again.axes_ == list(pair)
    assert again.figure_ is figure
    pyplot.close("all")


@pytest.mark.slow
def test_other_backends_find_the_same() -> None:
    options: dict[str, Any] = {"cv": 2, "halving": True, "random_state": 0}
    here = SearchCV(MLPClassifier(**QUICK), SPACE, 6, **options).fit(X, y)
    with joblib.parallel_config(backend="loky", n_jobs=2):
        there = SearchCV(MLPClassifier(**QUICK), SPACE, 6, **options).fit(X, y)
    same_results(there, here)
