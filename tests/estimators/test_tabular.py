"""Tabular estimators: from raw tables to answers, intervals, files and predictors."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import signal
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score, make_scorer, roc_auc_score
from sklearn.model_selection import RandomizedSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastmlp import (
    MeanOfMembers,
    MLPRegressor,
    Network,
    SoftmaxCrossEntropy,
    TabularClassifier,
    TabularRegressor,
    search_space,
    to_onnx,
)
from fastmlp.errors import FileError, InputError
from fastmlp.estimators.tabular.calibration import error_of_mean, temperature
from fastmlp.optim.schedules import FlatCosine
from fastmlp.tabular.networks import Plan, Setting, network_for
from fastmlp.tabular.recipes import RECIPES
from fastmlp.training.run import Run

N = 150
RNG = np.random.default_rng(0)
TABLE: dict[str, Any] = {
    "age": np.where(RNG.random(N) < 0.1, np.nan, RNG.normal(40, 15, N)),
    "town": [None if i % 9 == 0 else ("Ulm", "Bonn", "Köln")[i % 3] for i in range(N)],
    "street": [f"street {i % 25}" for i in range(N)],
    "since": np.datetime64("2020-01-01") + RNG.integers(0, 900, N) * np.timedelta64(1, "D"),
    "member": RNG.random(N) < 0.5,
    "constant": np.ones(N),
    "empty": np.full(N, np.nan),
}
LABELS = np.where(np.nan_to_num(TABLE["age"], nan=30) + 20 * TABLE["member"] > 45, "yes", "no")
PRICES = 1000 + 20 * np.nan_to_num(TABLE["age"], nan=30) + 300 * TABLE["member"]
SMALL: dict[str, Any] = {"hidden_layer_sizes": (12,), "max_iter": 12, "random_state": 0}
KINDS = [(TabularClassifier, LABELS), (TabularRegressor, PRICES)]
both = pytest.mark.parametrize(("kind", "y"), KINDS)


def answers(model: Any, X: Any) -> np.ndarray:
    found: np.ndarray = getattr(model, "predict_proba", model.predict)(X)
    return found


def rows(table: dict[str, Any], chosen: Any) -> dict[str, Any]:
    return {name: np.asarray(values)[chosen] for name, values in table.items()}


def row(number: int) -> dict[str, Any]:
    found = {name: np.asarray(values)[number] for name, values in TABLE.items()}
    return {
        name: value.item() if isinstance(value, np.generic) and value.dtype.kind != "M" else value
        for name, value in found.items()
    }


NOT_EQUAL = {
    "check_sample_weight_equivalence_on_dense_data": "weights and repeated rows are other batches, "
    "and other rows are held out",
    "check_dataframe_column_names_consistency": "columns in another order are put back by name",
}


@parametrize_with_checks(
    [
        TabularClassifier(max_iter=40, hidden_layer_sizes=(32,), random_state=0),
        TabularRegressor(max_iter=60, hidden_layer_sizes=(32,), random_state=0),
    ],
    expected_failed_checks=lambda _: NOT_EQUAL,
)
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@both
@pytest.mark.parametrize("recipe", RECIPES)
def test_it_learns_and_comes_back(kind: Any, y: Any, recipe: str, tmp_path: Path) -> None:
    few = {"shared_members": 4} if RECIPES[recipe].n_members > 1 else {}
    options = SMALL | {"max_iter": 200, "hidden_layer_sizes": [64]} | few
    model = kind(recipe, **options).fit(TABLE, y)
    found = answers(model, TABLE)
    assert model.score(TABLE, y) > 0.75
    model.save(tmp_path / "model.safetensors")
    for again in (
        kind.load(tmp_path / "model.safetensors"), copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)), clone(model).fit(TABLE, y),
    ):  # fmt: skip
        assert np.array_equal(answers(again, TABLE), found)
        assert again.get_params() == model.get_params()
    loaded = kind.load(tmp_path / "model.safetensors")
    assert np.array_equal(loaded.predict(TABLE), model.predict(TABLE))
    assert loaded.n_features_in_ == 7
    if kind is TabularRegressor:
        for one, other in zip(
            loaded.predict_interval(TABLE), model.predict_interval(TABLE), strict=True
        ):
            assert np.array_equal(one, other)


@both
@pytest.mark.parametrize("options", [{}, {"n_members": 2}, {"n_folds": 3}])
def test_a_predictor_takes_raw_rows(kind: Any, y: Any, options: Any) -> None:
    pd = pytest.importorskip("pandas")
    model = kind(**SMALL, **options).fit(TABLE, y)
    predict, found = model.compile_predictor(), answers(model, TABLE)
    for number in range(0, N, 7):
        one = row(number)
        for given in (one, dict(reversed(one.items())), tuple(one.values()), list(one.values())):
            assert np.allclose(predict(given), found[number], rtol=1e-6, atol=1e-7)
    frame = pd.DataFrame(TABLE)
    assert np.allclose(predict(frame.iloc[11]), found[11], rtol=1e-6, atol=1e-7)
    assert np.allclose(predict(frame), found, rtol=1e-6, atol=1e-7)
    assert np.array_equal(pickle.loads(pickle.dumps(predict))(row(3)), predict(row(3)))
    assert "TablePredictor(7 columns, " in repr(predict)
    unknown = {**row(3), "town": "Rome", "street": "new", "age": None, "since": None}
    assert np.isfinite(predict(unknown)).all()
    as_table = {name: [value] for name, value in unknown.items()}
    assert np.allclose(predict(unknown), answers(model, as_table)[0], rtol=1e-6, atol=1e-7)


@both
@pytest.mark.nojit
def test_a_small_model_answers_alike_everywhere(kind: Any, y: Any, tmp_path: Path) -> None:
    some = rows(TABLE, slice(0, 30))
    model = kind(hidden_layer_sizes=(3,), max_iter=1, n_folds=None, number_embedding=None)
    model.set_params(random_state=0).fit(some, y[:30])
    found, predict = answers(model, some), model.compile_predictor()
    for given in (row(3), tuple(row(3).values()), pd.DataFrame(some).iloc[3]):
        assert np.allclose(predict(given), found[3], rtol=1e-6, atol=1e-7)
    model.save(tmp_path / "m.safetensors")
    assert np.array_equal(answers(kind.load(tmp_path / "m.safetensors"), some), found)
    to_onnx(model, tmp_path / "m.onnx")
    to_onnx(model, tmp_path / "by_example.onnx", some)


def test_a_predictor_refuses_rows_that_do_not_fit() -> None:
    predict = TabularRegressor(**SMALL).fit(TABLE, PRICES).compile_predictor()
    wrong: list[tuple[Any, str]] = [
        (tuple(row(3).values())[:4], "a row of 7 values, got 4"),
        ({**row(3), "more": 1}, "others named 'more'"),
        ({name: value for name, value in row(3).items() if name != "age"}, "none named 'age'"),
        ({**row(3), "age": "old"}, "a number, got str"),
        ({**row(3), "since": "May"}, "a time, got str"),
    ]
    for given, text in wrong:
        with pytest.raises((InputError, TypeError), match=f"predictor: expected .*{text}"):
            predict(given)
    by_place = TabularRegressor(**SMALL).fit(RNG.normal(size=(40, 2)), RNG.normal(size=40))
    with pytest.raises(InputError, match="as the columns of training had no names"):
        by_place.compile_predictor()({"a": 1.0, "b": 2.0})
    assert np.isfinite(by_place.compile_predictor()((1.0, 2.0)))


EXPORTED: list[tuple[Any, Any, dict[str, Any]]] = [
    (kind, y, options)
    for kind, y in KINDS
    for options in ({}, {"n_folds": 2}, {"number_embedding": "piecewise"})
]
EXPORTED += [(TabularRegressor, PRICES, {"quantile": [0.2, 0.8], "n_members": 2})]


@pytest.mark.parametrize(("kind", "y", "options"), EXPORTED)
def test_onnx_files_take_raw_columns(kind: Any, y: Any, options: Any, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    from fastmlp.io.onnx_tables import inputs_for
    from fastmlp.tabular import frames

    model = kind(**SMALL, **options).fit(TABLE, y)
    to_onnx(model, tmp_path / "made_up.onnx")
    to_onnx(model, tmp_path / "model.onnx", TABLE)
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"))
    inputs = inputs_for(model.preparation_, frames.read("", TABLE))
    assert [one.name for one in session.get_inputs()] == list(TABLE)[:5]
    found = session.run(None, {one.name: one.values for one in inputs})
    room = 1e-5 * (1 if kind is TabularClassifier else PRICES.std())
    assert np.allclose(found[-1].reshape(answers(model, TABLE).shape), answers(model, TABLE),
                       rtol=0, atol=room)  # fmt: skip
    if kind is TabularClassifier:
        assert np.array_equal(found[0], model.predict(TABLE))


def test_onnx_files_know_truth_as_files_spell_it(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    truth = np.arange(40) % 3 == 0
    model = TabularRegressor(**SMALL).fit({"t": truth}, truth + 0.5)
    to_onnx(model, tmp_path / "model.onnx")
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"))
    texts = np.array([["True"], ["TRUE"], ["true"], ["1"], ["False"], ["0"]], object)
    (found,) = session.run(None, {"t": texts})
    expected = model.predict({"t": [True] * 4 + [False] * 2})
    assert np.allclose(found.ravel(), expected, rtol=0, atol=1e-5)
    assert abs(expected[0] - expected[-1]) > 1e-3


def test_folds_hold_every_row_out_once() -> None:
    model = TabularClassifier(**SMALL, n_folds=3, n_members=2).fit(TABLE, LABELS)
    assert len(model.networks_) == 6
    assert model.oof_.shape == (N, 2)
    assert np.allclose(model.oof_.sum(axis=1), 1, atol=1e-6)
    assert not np.allclose(model.oof_, model.predict_proba(TABLE))
    regressor = TabularRegressor(**SMALL, n_folds=3).fit(TABLE, PRICES)
    share = regressor.errors_ / np.sort(np.abs(regressor.oof_ - PRICES))
    assert np.allclose(share, share[0])


def test_threads_and_members_do_not_change_answers() -> None:
    found = [
        TabularClassifier(**SMALL, n_members=2, n_threads=n).fit(TABLE, LABELS) for n in (1, 2)
    ]
    assert np.array_equal(*(model.predict_proba(TABLE) for model in found))


METRICS: list[tuple[Any, Any, Any]] = [
    (TabularClassifier, LABELS, metric)
    for metric in ("error", "log_loss", "auc", "brier", "balanced_accuracy",
                   make_scorer(accuracy_score))
]  # fmt: skip
METRICS += [(TabularRegressor, PRICES, metric) for metric in ("rmse", "mae", "neg_max_error")]


@pytest.mark.parametrize(("kind", "y", "metric"), METRICS)
def test_the_best_epoch_is_that_of_the_metric(kind: Any, y: Any, metric: Any) -> None:
    given = rows(TABLE, slice(100, None)), y[100:]
    options = {**SMALL, "calibration": None} if kind is TabularClassifier else SMALL
    model = kind(metric=metric, **options)
    model.fit(rows(TABLE, slice(0, 100)), y[:100], X_val=given[0], y_val=given[1])
    last = kind(metric=metric, **options | {"max_iter": 1})
    last.fit(rows(TABLE, slice(0, 100)), y[:100], X_val=given[0], y_val=given[1])
    assert np.isfinite(answers(model, TABLE)).all()
    if metric == "auc":
        proba = model.predict_proba(given[0])[:, 1]
        assert roc_auc_score(given[1] == "yes", proba) >= roc_auc_score(
            given[1] == "yes", last.predict_proba(given[0])[:, 1]
        )


def test_targets_are_in_raw_units_everywhere() -> None:
    """Held-out targets as well: standardised twice, they would choose the first epoch."""
    train, held_out = rows(TABLE, slice(0, 100)), rows(TABLE, slice(100, None))
    one = TabularRegressor(**SMALL).fit(train, PRICES[:100], X_val=held_out, y_val=PRICES[100:])
    scaled = TabularRegressor(**SMALL).fit(
        train, 1e6 * PRICES[:100] + 7, X_val=held_out, y_val=1e6 * PRICES[100:] + 7
    )
    assert np.allclose(scaled.predict(TABLE), 1e6 * one.predict(TABLE) + 7, rtol=1e-3)
    assert one.predict(TABLE).max() <= PRICES.max()


def test_intervals_cover_what_they_promise() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(3000, 3))
    y = X[:, 0] + rng.normal(size=3000)
    model = TabularRegressor(**SMALL, n_folds=None).fit(X[:1000], y[:1000])
    for coverage in (0.8, 0.9, 0.95):
        low, high = model.predict_interval(X[1000:], coverage)
        assert abs(np.mean((low <= y[1000:]) & (y[1000:] <= high)) - coverage) < 0.04
    for wrong in (0, 1, 1.5):
        with pytest.raises(InputError, match="predict_interval: expected coverage"):
            model.predict_interval(X, wrong)
    with pytest.raises(InputError, match=r"more held-out rows for a coverage of 0\.999"):
        model.predict_interval(X, 0.999)
    several = TabularRegressor(**SMALL).fit(X[:100], X[:100, :2])
    assert several.predict(X).shape == (3000, 2)
    with pytest.raises(InputError, match="one target, got 2"):
        several.predict_interval(X)


@pytest.mark.parametrize("n_folds", [3, 5])
@pytest.mark.parametrize("own", [0.5, 2.0])
def test_the_error_of_the_mean_is_told_from_rows_of_single_folds(n_folds: int, own: float) -> None:
    """Folds err together by 1, and each by itself by `own`; at rows they have learnt, by less."""
    rng = np.random.default_rng(0)
    n, together = 30_000, rng.normal(size=30_000)
    answers = together + own * rng.normal(size=(n_folds, n))
    held_out = np.array_split(rng.permutation(n), n_folds)
    errors = np.concatenate([answers[k, rows] for k, rows in enumerate(held_out)])
    true = np.std(answers.mean(axis=0)) / np.std(errors)
    assert error_of_mean(errors, answers, held_out) == pytest.approx(true, rel=0.02)

    learnt = together + 0.3 * (answers - together)
    assert true < error_of_mean(errors, learnt, held_out) < 1
    assert error_of_mean(errors, 100 * answers, held_out) == pytest.approx(n_folds**-0.5)
    assert error_of_mean(0 * errors, answers, held_out) == 1


def test_two_folds_do_not_tell_the_error_of_their_mean() -> None:
    answers = np.arange(8.0).reshape(2, 4)
    held_out = [np.array([0, 1]), np.array([2, 3])]
    assert error_of_mean(np.ones(4), answers, held_out) == 1


@pytest.mark.parametrize(
    ("n", "freedom", "options"),
    [
        (200, 100, {}), (200, 2, {}), (1000, 100, {}), (1000, 1, {}),
        (200, 2, {"n_folds": 3, "n_members": 2}), (1000, 100, {"quantile": 0.5}),
    ],
)  # fmt: skip
def test_intervals_of_folds_cover_what_they_promise(
    n: int, freedom: float, options: dict[str, Any]
) -> None:
    """With noise of Student's t, of two degrees of freedom or one as well: heavy tails."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(n + 4000, 6))
    y = X[:, 0] * X[:, 1] + X[:, 2] + rng.standard_t(freedom, len(X))
    settings = {"hidden_layer_sizes": (32,), "max_iter": 48, "random_state": 0, "n_threads": 1}
    model = TabularRegressor(**settings, **options).fit(X[:n], y[:n])
    unseen = np.sort(np.abs(model.oof_ - y[:n]))
    assert 1 / np.sqrt(len(model.networks_)) <= model.errors_[-1] / unseen[-1] < 1
    for coverage in (0.8, 0.9, 0.95):
        low, high = model.predict_interval(X[n:], coverage)
        covered = np.mean((low <= y[n:]) & (y[n:] <= high))
        assert abs(covered - coverage) < 3 * np.sqrt(coverage * (1 - coverage) / n)


def test_without_folds_errors_are_as_they_were_found() -> None:
    model = TabularRegressor(**SMALL).fit(TABLE, PRICES, X_val=TABLE, y_val=PRICES)
    np.testing.assert_array_equal(model.errors_, np.sort(np.abs(model.predict(TABLE) - PRICES)))


def test_a_temperature_makes_held_out_rows_most_likely() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3))
    proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(3, p=p) for p in proba])
    assert 2.8 < temperature(3 * logits, labels, None) < 3.2
    assert 0.45 < temperature(0.5 * logits, labels, np.ones(4000)) < 0.55


def test_weights_of_samples_and_classes_count() -> None:
    X, y = RNG.normal(size=(200, 2)), np.repeat([0, 1], 100)
    plain, *others = (
        TabularClassifier(**SMALL, class_weight=weight).fit(X, y, sample_weight=given)
        for weight, given in (
            (None, None), ({0: 9.0, 1: 1.0}, None), (None, np.where(y, 1.0, 9.0)),
            ("balanced", np.where(y, 1.0, 9.0)),
        )
    )  # fmt: skip
    for model in others[:2]:
        assert model.predict_proba(X)[:, 0].mean() > plain.predict_proba(X)[:, 0].mean() + 0.1
    with pytest.raises(InputError, match="sample_weight of at least 0"):
        plain.fit(X, y, sample_weight=-np.ones(200))


def test_rows_without_weight_are_as_if_they_were_not_there() -> None:
    weights = np.ones(N)
    weights[::4] = 0
    spoilt = np.where(weights == 0, 1e7, PRICES)
    odd = {**TABLE, "age": np.where(weights == 0, 1e9, TABLE["age"])}
    found = TabularRegressor(**SMALL, n_folds=2).fit(odd, spoilt, sample_weight=weights)
    kept = rows(TABLE, weights > 0)
    plain = TabularRegressor(**SMALL, n_folds=2)
    plain.fit(kept, PRICES[weights > 0], sample_weight=weights[weights > 0])
    assert np.array_equal(found.predict(TABLE), plain.predict(TABLE))
    assert found.oof_.shape == (N,)
    assert np.array_equal(found.oof_[weights > 0], plain.oof_)


def test_a_value_is_the_same_however_it_comes() -> None:
    pd = pytest.importorskip("pandas")
    ids = RNG.integers(2**60, 2**61, 4)
    table = pd.DataFrame({"id": ids[RNG.integers(0, 4, 80)], "on": RNG.random(80) < 0.5,
                          "wait": pd.to_timedelta(RNG.integers(0, 9, 80), "h")})  # fmt: skip
    model = TabularRegressor(**SMALL, categorical_features=["id"])
    model.fit(table, table["on"] + table["id"] % 7)
    wanted, predict = model.predict(table), model.compile_predictor()
    assert len(model.preparation_.plans[0].levels) == 4
    for number in range(10):
        one = table[number : number + 1].to_dict("records")[0]
        for given in (one, {**one, "on": int(one["on"])}, {**one, "id": str(one["id"])},
                      {**one, "wait": one["wait"].to_pytimedelta()}):  # fmt: skip
            assert np.isclose(predict(given), wanted[number])
    assert np.allclose(model.predict(table[["wait", "on", "id"]]), wanted)


@pytest.mark.parametrize("missing", [None, np.nan, np.datetime64("NaT")])
def test_an_empty_text_is_not_missing(missing: Any) -> None:
    texts = ["", "x", "y", missing] * 15
    model = TabularRegressor(**SMALL).fit({"t": texts}, np.arange(60.0) % 4)
    predict = model.compile_predictor()
    assert np.allclose([predict((text,)) for text in texts[:4]], model.predict({"t": texts[:4]}))
    assert len({round(predict((text,)), 9) for text in texts[:4]}) == 4


def test_few_held_out_rows_do_not_make_anything_certain() -> None:
    right = np.array([[9.0, 0.0], [0.0, 9.0]] * 4)
    sure = temperature(right, np.array([0, 1] * 4), None)
    proba = 1 / (1 + np.exp(-9.0 / sure))
    assert 0.9 < proba < 0.96


@pytest.mark.parametrize("names", [(3, 1), (0, 1)])
def test_rows_by_whole_numbers_as_names(names: tuple[int, int]) -> None:
    pandas = pytest.importorskip("pandas")
    x = np.arange(60.0)
    frame = pandas.DataFrame({names[0]: x, names[1]: x % 7})
    model = TabularRegressor(hidden_layer_sizes=4, max_iter=2, random_state=0).fit(frame, x % 7)
    assert hasattr(model, "feature_names_in_") == (names != (0, 1))
    predict, turned = model.compile_predictor(), frame[[names[1], names[0]]]
    expected = model.predict(frame)
    np.testing.assert_array_equal(model.predict(turned), expected)
    for row in (dict(frame.iloc[5]), frame.iloc[5], turned.iloc[5], tuple(frame.iloc[5])):
        assert predict(row) == pytest.approx(expected[5], rel=1e-12)
    with pytest.raises(InputError, match="none named '1'"):
        predict({names[0]: 1.0, 9: 2.0})


def test_columns_named_as_categories_are_categories() -> None:
    X = np.column_stack([RNG.integers(0, 4, 100), RNG.normal(size=100)])
    y = (X[:, 0] % 2).astype(int)
    for chosen in ([0], [True, False]):
        model = TabularClassifier(**SMALL, categorical_features=chosen).fit(X, y)
        assert model.preparation_.plans[0].levels == ("0", "1", "2", "3")
        assert np.isfinite(model.predict_proba([[7.0, 0.0], [np.nan, np.nan]])).all()
        assert np.isfinite(model.compile_predictor()((3.0, 1.0))).all()
    table = {"a": X[:, 0], "b": X[:, 1]}
    assert TabularClassifier(**SMALL, categorical_features=["a"]).fit(table, y)
    for wrong, text in (
        ([2], "below 2"), ([True], "a mask of 2"), (["c"], "columns of X, got 1 other name"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"expected categorical_features .*{text}"):
            TabularClassifier(**SMALL, categorical_features=wrong).fit(table, y)


def test_a_time_limit_plans_fewer_epochs() -> None:
    model = TabularClassifier(time_limit=1e-3, random_state=0, hidden_layer_sizes=(12,))
    assert model.fit(TABLE, LABELS).n_iter_ == 8
    long, plain = (
        TabularClassifier(time_limit=limit, **SMALL).fit(TABLE, LABELS) for limit in (60.0, None)
    )
    assert np.array_equal(long.predict_proba(TABLE), plain.predict_proba(TABLE))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"metric": "accuracyy"}, "metric to be one of error, log_loss, auc, brier or a name"),
        ({"n_folds": 200}, "at least 200 rows, one for each fold, got 150"),
    ],
)
def test_options_that_cannot_be_are_refused_and_change_nothing(options: Any, text: str) -> None:
    model = TabularClassifier(**SMALL | options)
    with pytest.raises(InputError, match=f"TabularClassifier.fit: expected {text}"):
        model.fit(TABLE, LABELS)
    assert not hasattr(model, "networks_")
    fitted = TabularClassifier(**SMALL).fit(TABLE, LABELS)
    before = fitted.predict_proba(TABLE)
    for args, held_out in (
        ((TABLE, LABELS[:-1]), {}), ((TABLE, LABELS), {"X_val": TABLE}),
        ((TABLE, np.ones(N)), {}), ((rows(TABLE, slice(0, 1)), LABELS[:1]), {}),
        (({"a": np.ones(N)}, LABELS), {}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="TabularClassifier"):
            fitted.fit(*args, **held_out)
    assert np.array_equal(fitted.predict_proba(TABLE), before)


def test_files_of_other_models_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = TabularClassifier(**SMALL)
    with pytest.raises(NotFittedError):
        model.save(path)
    model.fit(TABLE, LABELS).save(path)
    with pytest.raises(FileError, match="a file of TabularRegressor, got a TabularClassifier"):
        TabularRegressor.load(path)
    with pytest.raises(FileError, match="expected"):
        Network.load(path)
    model.networks_[0].save(path)
    with pytest.raises(FileError, match="a file of TabularClassifier, got a network"):
        TabularClassifier.load(path)
    model.set_params(metric=make_scorer(accuracy_score))
    with pytest.raises(InputError, match="parameters that are numbers or text"):
        model.save(path)


def test_unknown_categories_are_the_mean_of_the_known() -> None:
    model = TabularClassifier(**SMALL).fit(rows(TABLE, slice(None)), LABELS)
    (table,) = [W for name, W in model.networks_[0].named_parameters().items() if len(W) == 26]
    assert np.allclose(table[0], table[1:].mean(axis=0))
    gaps = [None, *TABLE["street"][1:]]
    learnt = TabularClassifier(**SMALL).fit({**TABLE, "street": gaps}, LABELS)
    (table,) = [W for name, W in learnt.networks_[0].named_parameters().items() if len(W) == 26]
    assert not np.allclose(table[0], table[1:].mean(axis=0))


def test_many_levels_and_many_columns() -> None:
    rng = np.random.default_rng(0)
    many = {"id": [f"{i}" for i in rng.integers(0, 10_000, 2000)], "x": rng.normal(size=2000)}
    model = TabularClassifier(**SMALL | {"max_iter": 2}).fit(many, rng.integers(0, 3, 2000))
    assert model.preparation_.layout.n_levels > 1400
    wide = {f"c{i}": rng.choice(list("abcdefghijkl"), 60) for i in range(100)}
    model = TabularClassifier(**SMALL | {"max_iter": 2}).fit(wide, rng.integers(0, 2, 60))
    assert model.preparation_.layout.n_codes == 100
    assert np.isfinite(model.predict_proba(wide)).all()


@both
@pytest.mark.parametrize("embedding", ["periodic", "piecewise", None])
def test_embeddings_of_numbers(kind: Any, y: Any, embedding: Any, tmp_path: Path) -> None:
    """They are made of layers, whose answers files and predictors give too."""
    model = kind(number_embedding=embedding, dropout=0.3, weight_decay=0.1, **SMALL).fit(TABLE, y)
    layers = [type(layer).__name__ for _, layer in model.networks_[0].leaves()]
    found = {"periodic": "Cosine", "piecewise": "PiecewiseLinear"}
    for name, layer in found.items():
        assert (layer in layers) == (name == embedding)
    dropout = next(x for _, x in model.networks_[0].leaves() if type(x).__name__ == "Dropout")
    assert dropout.rate == FlatCosine(0.3)
    expected = answers(model, TABLE)
    model.save(tmp_path / "m.safetensors")
    again = kind.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(answers(again, TABLE), expected)
    np.testing.assert_allclose(model.compile_predictor()(row(3)), expected[3], rtol=1e-5)


def test_the_first_recipe_is_the_default() -> None:
    for kind, _ in KINDS:
        assert kind().recipe == next(iter(RECIPES))


def test_settings_of_the_recipe_are_used() -> None:
    plain = TabularRegressor(**SMALL).fit(TABLE, PRICES).predict(TABLE)
    for option in ({"dropout": 0.0}, {"weight_decay": 0.5}, {"number_embedding": None}):
        other = TabularRegressor(**SMALL, **option).fit(TABLE, PRICES).predict(TABLE)
        assert not np.array_equal(other, plain)


MEMBERS: dict[str, Any] = {
    "recipe": "tabm-mini", "shared_members": 3, "hidden_layer_sizes": (16,), "random_state": 0,
}  # fmt: skip


def test_members_that_share_weights_are_one_network(tmp_path: Path) -> None:
    model = TabularClassifier(**MEMBERS, n_folds=None, max_iter=3).fit(TABLE, LABELS)
    network = model.networks_[0]
    assert network.loss == MeanOfMembers(SoftmaxCrossEntropy(), 3)
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds == ["Columns", "Members", "SharedDense", "ReLU", "Dropout", "GroupedDense"]
    first: Any = network.layers[1]
    shared: Any = network.layers[2]
    layout = model.preparation_.layout
    own = layout.n_numbers * (4,) + (layout.n_numbers + layout.n_flags) * (1,)
    assert first.sizes == own + layout.n_codes * (8,)  # of one feature begin alike
    assert (shared.units, shared.n_members) == (16, 3)
    found = model.predict_proba(TABLE)
    assert found.shape == (N, len(model.classes_))
    np.testing.assert_allclose(model.compile_predictor()(row(3)), found[3], rtol=1e-5)
    to_onnx(model, tmp_path / "model.onnx", TABLE)  # which compares predictions


@both
@pytest.mark.parametrize("metric", ["usual", "other"])
def test_members_stop_early_and_keep_the_best_epoch_of_their_mean(
    kind: Any, y: Any, metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = {"classes": 0.05, "numbers": 0.05}
    recipe = dataclasses.replace(RECIPES["tabm-mini"], patience=3, rates=rates)
    monkeypatch.setitem(RECIPES, "tabm-mini", recipe)
    names = ("error", "log_loss") if kind is TabularClassifier else ("rmse", "mae")
    model = kind(**MEMBERS, metric=names[metric == "other"], n_folds=None).fit(TABLE, y)
    assert [history.stopped for history in model.histories_] == ["early_stopping"]
    assert model.n_iter_ < recipe.max_iter
    several = kind(**MEMBERS, metric=names[metric == "other"], n_folds=2).fit(TABLE, y)
    assert {history.stopped for history in several.histories_} == {"early_stopping"}


@pytest.mark.nojit
def test_the_temperature_of_members_is_that_of_their_mean() -> None:
    rng = np.random.default_rng(0)
    logits, labels = 5 * rng.normal(size=(200, 3, 4)), rng.integers(0, 4, 200)
    logits += 3 * np.eye(4)[labels][:, None]
    alike = np.repeat(logits[:, :1], 3, axis=1)
    assert temperature(alike.reshape(200, -1), labels, None, 3) == pytest.approx(
        temperature(logits[:, 0], labels, None), rel=1e-6
    )
    found = temperature(logits.reshape(200, -1), labels, None, 3)

    def loss(t: float) -> float:
        scaled = np.exp(logits / t)
        proba = (scaled / scaled.sum(axis=2, keepdims=True)).mean(axis=1)
        floor = 1 / 202
        target = np.eye(4)[labels] * (1 - floor) + floor / 4
        return float(-(target * np.log(proba)).sum(axis=1).mean())

    assert loss(found) < min(loss(0.97 * found), loss(1.03 * found))


QUANTILES: dict[str, Any] = {"quantile": (0.9, 0.1, 0.5), "max_iter": 60, "random_state": 0}


def skewed(n: int, seed: int) -> tuple[dict[str, Any], np.ndarray]:
    """Numbers whose spread grows with x, to one side more than to the other."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 4, n)
    return {"x": x}, 3 * x + (0.2 + x) * rng.exponential(1.0, n)


@pytest.mark.parametrize("folds", [None, 3])
def test_quantiles(folds: int | None, tmp_path: Path) -> None:
    X, y = skewed(900, 0)
    new, true = skewed(2000, 1)
    model = TabularRegressor(n_folds=folds, **QUANTILES).fit(X, y)
    found = model.predict(new)
    assert found.shape == (2000, 3)
    assert (np.diff(found, axis=1) >= 0).all()
    shares = (true[:, None] <= found).mean(axis=0)
    np.testing.assert_allclose(shares, [0.1, 0.5, 0.9], atol=0.1)
    for coverage in (0.7, 0.9):
        low, high = model.predict_interval(new, coverage)
        assert ((low <= true) & (true <= high)).mean() == pytest.approx(coverage, abs=0.05)
        assert np.corrcoef(high - low, new["x"])[0, 1] > 0.7  # wide where the spread is
    assert 0.2 < model.score(new, true) < 1
    if folds:
        assert model.oof_.shape == (900, 3)
    model.save(tmp_path / "m.safetensors")
    again = TabularRegressor.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.predict(new), found)
    np.testing.assert_array_equal(again.predict_interval(new), model.predict_interval(new))
    np.testing.assert_allclose(model.compile_predictor()({"x": new["x"][5]}), found[5], rtol=1e-6)


def test_one_quantile_and_several_of_several_targets() -> None:
    X, y = skewed(300, 0)
    one = TabularRegressor(**SMALL, quantile=0.9).fit(X, y)
    assert one.predict(X).shape == (300,)
    assert np.isfinite(one.score(X, y))
    both_ = TabularRegressor(**SMALL, quantile=[0.25, 0.75]).fit(X, np.column_stack([y, -y]))
    found = both_.predict(X)
    assert found.shape == (300, 4)
    assert (found[:, [0, 2]] <= found[:, [1, 3]]).all()
    assert not hasattr(both_, "errors_")
    assert np.isfinite(both_.score(X, np.column_stack([y, -y])))


@pytest.mark.parametrize("quantile", [[], [0.5, 0.5], [[0.1, 0.9]], [0.0, 0.5], "0.5"])
def test_quantiles_that_cannot_be_are_refused(quantile: Any) -> None:
    models = (
        TabularRegressor(**SMALL, quantile=quantile),
        MLPRegressor("quantile", quantile=quantile, max_iter=2),
    )
    for model, X in zip(models, (TABLE, np.arange(float(N)).reshape(-1, 1)), strict=True):
        with pytest.raises((ValueError, TypeError), match="quantile"):
            model.fit(X, PRICES)
        assert not hasattr(model, "n_iter_")


def test_parameters_set_after_a_fit_wait_for_the_next() -> None:
    X, y = skewed(200, 0)
    columns = np.column_stack([X["x"]])
    for model, table in (
        (TabularRegressor(**SMALL, quantile=[0.25, 0.75]), X),
        (MLPRegressor("quantile", quantile=[0.25, 0.75], tol=1.0, random_state=0), columns),
    ):
        model.fit(table, y)
        before, score = model.predict(table), model.score(table, y)
        for quantile in (0.5, [0.1, 0.5, 0.9]):
            model.set_params(quantile=quantile)
            np.testing.assert_array_equal(model.predict(table), before)
            assert model.score(table, y) == score


def test_folds_by_the_rows_there_are() -> None:
    def folds(model: Any, *data: Any, **options: Any) -> int | None:
        found: int | None = model.fit(*data, **options).n_folds_
        return found

    options: dict[str, Any] = {**SMALL, "max_iter": 1}
    x, y = np.arange(60.0).reshape(-1, 1), np.arange(60) % 2
    assert folds(TabularRegressor(**options), x, y) == 4
    assert folds(TabularRegressor(**options), x[:19], y[:19]) is None
    assert folds(TabularClassifier(**options), x, y) == 4
    for rare in (1, 3):
        assert folds(TabularClassifier(**options), x, np.arange(60) < rare) is None
    assert folds(TabularRegressor(**options), x, y, X_val=x, y_val=y) is None


def test_held_out_rows_of_no_weight_are_as_if_not_there() -> None:
    X, y = skewed(60, 0)
    new, true = skewed(20, 1)
    plain = TabularRegressor(**SMALL).fit(X, y, X_val=new, y_val=true)
    more = {"x": np.append(new["x"], 1e3)}
    weights = np.append(np.ones(20), 0)
    model = TabularRegressor(**SMALL).fit(
        X, y, X_val=more, y_val=np.append(true, 1e6), sample_weight_val=weights
    )
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    np.testing.assert_array_equal(model.errors_, plain.errors_)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_ctrl_c_keeps_the_networks_that_are_trained(n_threads: int) -> None:
    calls = []

    def pressed(model: Any, X: Any, y: Any) -> float:
        calls.append(0)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.1)  # for the main thread to notice
        return 0.0

    model = TabularRegressor(**SMALL, metric=pressed, n_folds=6, n_threads=n_threads)
    with pytest.warns(UserWarning, match=r"interrupted by user. \d networks of 6 had not begun"):
        model.fit(TABLE, PRICES)
    assert 1 <= len(model.networks_) <= n_threads
    assert not hasattr(model, "oof_")
    assert np.isfinite(model.predict(TABLE)).all()
    assert np.isfinite(model.predict_interval(TABLE, 0.5)).all()


@pytest.mark.parametrize("options", [{}, {"n_folds": 3}, {"time_limit": 60.0}])
def test_ctrl_c_before_an_epoch_has_ended(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(self: Any, *args: Any) -> Any:
        raise KeyboardInterrupt

    model = TabularRegressor(**SMALL, metric="mae", n_threads=1, **options)
    monkeypatch.setattr(Run, "train", pressed)
    with pytest.raises(KeyboardInterrupt):
        model.fit(TABLE, PRICES)
    assert not hasattr(model, "networks_")


@both
def test_the_search_space_fits(kind: Any, y: Any) -> None:
    space = search_space(kind="tabular")
    model = kind(max_iter=1, random_state=0)
    assert set(space) <= set(model.get_params())
    frame = pd.DataFrame(TABLE)
    search = RandomizedSearchCV(
        model, space | {"hidden_layer_sizes": [(4,), (5, 3)]}, n_iter=3, cv=2, random_state=0,
        error_score="raise",
    ).fit(frame, y)  # fmt: skip
    assert np.isfinite(search.best_score_)


@pytest.mark.nojit
@pytest.mark.parametrize("task", ["classes", "numbers"])
def test_the_recipe_is_the_published_one(task: str) -> None:
    model = TabularClassifier(**SMALL | {"max_iter": 1}).fit(TABLE, LABELS)
    layout, setting = model.preparation_.layout, Setting(label_smoothing=0.1)
    plan = Plan(RECIPES["realmlp"], setting, layout, task, model.prepare(TABLE))
    network, optimizer = network_for(plan, 2, 0)
    network.build(layout.n_columns)
    kinds = [type(layer).__name__ for layer in network.layers]
    block = ["Dense", "ParametricActivation", "Dropout"]
    assert kinds == ["Columns", "Scale", *(3 * block), "Dense"]
    assert (optimizer.beta1, optimizer.beta2, optimizer.epsilon) == (0.9, 0.95, 1e-8)
    rates = optimizer.learning_rate.rates(np.arange(1024), 1024)
    peak = {"classes": 0.04, "numbers": 0.2}[task]
    assert np.isclose(rates.max(), peak, rtol=1e-3)
    assert ((rates[1:-1] > rates[:-2]) & (rates[1:-1] > rates[2:])).sum() == 4
    factors = dict(zip([g.name for g in network.groups], optimizer.group_factors(network.groups),
                       strict=True))  # fmt: skip
    assert factors["1.weight"] == (6.0, 6.0)
    assert factors["2.b"] == (0.1, 0.0)
    assert np.isclose(factors["2.W"][0] * factors["2.W"][1], 1)
