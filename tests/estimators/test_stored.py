"""Estimators on stored tables: the bits of rows in memory, and what several windows change."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.class_weight import compute_sample_weight

from fastmlp import EMA, MLPClassifier, MLPRegressor
from fastmlp.datasets import StoredTable, open_arrays, open_chunks, open_table
from fastmlp.datasets.blocks import Block
from fastmlp.errors import InputError
from fastmlp.estimators.stored_run import StoredRun

from ..support import Watcher

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
N = 211
X = RNG.normal(size=(N, 5))
PRICE = X[:, 0] * X[:, 1] + X[:, 2]
PAIR = np.column_stack([PRICE, X[:, 3]])
COUNT = RNG.poisson(np.exp(X[:, 0] / 2)).astype(float)
TWO = np.where(PRICE > 0, "high", "low").astype(object)
THREE = np.digitize(PRICE, [-0.5, 0.5])
LABELS = (PAIR > 0).astype(int)
WEIGHT = RNG.uniform(0, 2, N)
NAMES = [f"x{j}" for j in range(5)]
WINDOWS = pytest.mark.parametrize("rows", [1000, 64], ids=["one window", "windows"])
COMMON = {"hidden_layer_sizes": (8,), "random_state": 3, "batch_size": 16, "max_iter": 6}


def classifier(**options: Any) -> MLPClassifier:
    return MLPClassifier(**COMMON | options)


def regressor(**options: Any) -> MLPRegressor:
    return MLPRegressor(**COMMON | options)


def table(rows: int, y: Any, weights: Any = None, of: np.ndarray = X) -> StoredTable:
    return open_arrays(of, y, sample_weight=weights, window_rows=rows)


def state(model: Any) -> list[Any]:
    """What a fit leaves, but for the times."""
    history = {name: values for name, values in model.history_.items() if name != "seconds"}
    known = vars(model)
    counts = ("n_iter_", "t_", "loss_", "best_loss_", "best_validation_score_", "n_outputs_")
    return [
        model.network_.learned.tobytes(), history, model.loss_curve_, model.validation_scores_,
        model._progress.n_steps, model._progress.n_stale, model._progress.learning_rate,
        model._progress.memory.tobytes(), *(known.get(name) for name in counts),
    ]  # fmt: skip


def both(make: Any, y: Any, rows: int, weights: Any = None, **options: Any) -> tuple[Any, Any]:
    """A model of rows in memory, and one of the same rows as a stored table."""
    settings = options | ({} if rows > N else {"shuffle": False})
    in_memory = make(**settings).fit(X, y, weights)
    stored = make(**settings).fit(table(rows, y, weights))
    return in_memory, stored


CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "two classes": (classifier, TWO, {}),
    "classes": (classifier, THREE, {"label_smoothing": 0.1}),
    "labels": (classifier, LABELS, {}),
    "one class": (classifier, np.ones(N, int), {}),
    "one target": (regressor, PRICE, {}),
    "several targets": (regressor, PAIR, {}),
    "quantiles": (regressor, PAIR, {"loss": "quantile", "quantile": [0.1, 0.5, 0.9]}),
    "counts": (regressor, COUNT, {"loss": "poisson"}),
    "float32": (classifier, THREE, {"dtype": "float32"}),
    "sgd, invscaling": (regressor, PRICE, {"solver": "sgd", "learning_rate": "invscaling"}),
    "sgd, adaptive": (
        regressor, PRICE,
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1},
    ),
    "adamw, schedule": (classifier, TWO, {"solver": "adamw", "learning_rate": "one_cycle"}),
    "rmsprop, dropout": (classifier, TWO, {"solver": "rmsprop", "dropout": 0.3}),
    "adagrad, penalties": (regressor, PRICE, {"solver": "adagrad", "alpha": 0.1, "l1_ratio": 0.5}),
    "patience": (regressor, PRICE, {"tol": 0.5, "n_iter_no_change": 1}),
    "endless patience": (regressor, PRICE, {"n_iter_no_change": np.inf}),
    "batches that do not divide windows": (regressor, PRICE, {"batch_size": 24}),
    "batches larger than windows": (regressor, PRICE, {"batch_size": 100}),
    "usual batches": (regressor, PRICE, {"batch_size": "auto"}),
    "average": (regressor, PRICE, {"callbacks": EMA(0.9)}),
    "callback": (regressor, PRICE, {"callbacks": lambda model, history: model.n_iter_ == 3}),
}  # fmt: skip


@WINDOWS
@pytest.mark.thinned
@pytest.mark.parametrize("name", CASES)
def test_the_bits_are_those_of_rows_in_memory(name: str, rows: int) -> None:
    make, y, options = CASES[name]
    in_memory, stored = both(make, y, rows, **options)
    assert state(stored) == state(in_memory)


@WINDOWS
@pytest.mark.parametrize(
    ("make", "y", "class_weight"),
    [
        (regressor, PRICE, None),
        (classifier, TWO, {"high": 3.0}),
        (classifier, THREE, "balanced"),
        (classifier, LABELS, "balanced"),
        (classifier, LABELS, [{0: 2.0}, {1: 0.5}]),
    ],
    ids=["none", "two", "three", "labels", "of each label"],
)
def test_weights_count_as_in_memory(rows: int, make: Any, y: Any, class_weight: Any) -> None:
    options = {} if class_weight is None else {"class_weight": class_weight}
    for weights in (None, WEIGHT) if options else (WEIGHT,):
        in_memory, stored = both(make, y, rows, weights, **options)
        assert state(stored) == state(in_memory)


@WINDOWS
@pytest.mark.parametrize("scoring", [None, "loss", "balanced_accuracy"])
@pytest.mark.parametrize("is_stored", [True, False])
def test_early_stopping_is_as_in_memory(rows: int, scoring: Any, is_stored: bool) -> None:
    options: dict[str, Any] = {
        "early_stopping": True, "n_iter_no_change": 2, "max_iter": 40, "scoring": scoring,
        "learning_rate_init": 0.02, "class_weight": {1: 2.0}, "shuffle": rows > N,
    }  # fmt: skip
    given = {"X_val": X[:50] + 0.1, "y_val": THREE[:50], "sample_weight_val": WEIGHT[:50]}
    in_memory = classifier(**options).fit(X, THREE, **given)
    if is_stored:
        given = {"X_val": table(16, THREE[:50], WEIGHT[:50], given["X_val"])}
    stored = classifier(**options).fit(table(rows, THREE), **given)
    assert scoring == "loss" or stored.n_iter_ < 40
    assert state(stored) == state(in_memory)


@pytest.mark.parametrize("name", ["two classes", "labels", "several targets", "quantiles"])
def test_rows_in_memory_may_be_judged_by_a_stored_table(name: str) -> None:
    make, y, options = CASES[name]
    in_memory = make(**options).fit(X, y, X_val=X[:50], y_val=y[:50])
    judged = make(**options).fit(X, y, X_val=table(16, y[:50], of=X[:50]))
    assert state(judged) == state(in_memory)
    members = make(**options, n_members=2).fit(X, y, X_val=table(16, y[:50], of=X[:50]))
    assert all("validation_score" in member.history_ for member in members.members_)


@pytest.mark.parametrize(("make", "y"), [(classifier, THREE), (regressor, PRICE)])
def test_windows_are_shuffled_by_the_seed(make: Any, y: Any) -> None:
    options = {"learning_rate_init": 0.01, "max_iter": 60}
    stored = table(64, y)
    first, again = (make(**options).fit(stored) for _ in range(2))
    other, in_order = make(random_state=4).fit(stored), make(shuffle=False, **options).fit(stored)
    assert state(first) == state(again)
    assert len({model.loss_curve_[1] for model in (first, other, in_order)}) == 3
    assert first.score(stored) > 0.8


@pytest.mark.nojit
def test_each_epoch_visits_every_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, train = list[Any](), StoredRun._train_window

    def watched(self: StoredRun, window: Any) -> np.ndarray:
        seen.append(window.samples.X[: window.n_rows, 0].tolist())
        return train(self, window)

    monkeypatch.setattr(StoredRun, "_train_window", watched)
    regressor(max_iter=2).fit(table(64, PRICE))
    first, second = np.concatenate(seen[:4]).tolist(), np.concatenate(seen[4:]).tolist()
    assert sorted(first) == sorted(second) == sorted(X[:, 0].tolist())
    assert first != second


@pytest.mark.nojit
def test_a_warm_start_goes_on() -> None:
    whole = regressor(shuffle=False, max_iter=2)
    parts = regressor(shuffle=False, warm_start=True, max_iter=1)
    whole.fit(table(64, PRICE))
    parts.fit(table(64, PRICE)).fit(table(64, PRICE))
    assert parts.network_.learned.tobytes() == whole.network_.learned.tobytes()
    assert parts.loss_curve_ == whole.loss_curve_
    warm = classifier(warm_start=True).fit(table(64, TWO))
    with pytest.raises(ValueError, match="warm_start can only be used where"):
        warm.fit(table(64, THREE))


def test_rows_are_answered_as_in_memory() -> None:
    for make, y in ((classifier, TWO), (classifier, LABELS), (regressor, PAIR)):
        model, stored = make().fit(X, y), table(64, y, WEIGHT)
        for name in ("predict", "predict_proba", "predict_log_proba", "transform"):
            if hasattr(model, name):
                found, expected = getattr(model, name)(stored), getattr(model, name)(X)
                assert found.tolist() == expected.tolist()
        assert (model.input_gradients(stored) == model.input_gradients(X)).all()
        assert model.score(stored) == model.score(X, y, WEIGHT)
    members = regressor(n_members=3).fit(X, PRICE)
    for found, expected in zip(
        members.predict(table(64, None), return_std=True), members.predict(X, return_std=True),
        strict=True,
    ):  # fmt: skip
        assert (found == expected).all()
    assert (members.transform(table(64, None)) == members.transform(X)).all()


def test_callbacks_of_scikit_learn_may_score_the_table() -> None:
    pytest.importorskip("sklearn.callback")
    in_memory, stored = Watcher(last=1), Watcher(last=1)
    options = {"class_weight": {0: 9.0}, "shuffle": False}
    classifier(**options).set_callbacks(in_memory).fit(X, THREE)
    model = classifier(**options).set_callbacks(stored).fit(table(64, THREE))
    assert model.n_iter_ == 2
    assert stored.scores == in_memory.scores


def test_scorers_of_scikit_learn_take_a_table() -> None:
    from sklearn.metrics import get_scorer

    model = classifier().fit(table(64, TWO))
    assert get_scorer("accuracy")(model, table(64, None), TWO) == model.score(X, TWO)
    assert get_scorer("roc_auc")(model, table(64, None), TWO) > 0.4


def written(path: Path) -> Path:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = dict(zip(NAMES, X.T, strict=True))
    whole = pa.table({**columns, "price": PRICE, "label": TWO.tolist(), "weight": WEIGHT})
    parquet.write_table(whole, path, row_group_size=50)
    return path


def test_columns_of_parquet_are_known_by_name(tmp_path: Path) -> None:
    import pandas as pd

    path, frame = written(tmp_path / "a.parquet"), pd.DataFrame(X, columns=NAMES)
    options = {"columns": NAMES, "window_rows": 64, "sample_weight": "weight"}
    stored = classifier(shuffle=False).fit(open_table(path, "label", **options))
    in_memory = classifier(shuffle=False).fit(frame, TWO, WEIGHT)
    assert state(stored) == state(in_memory)
    assert stored.feature_names_in_.tolist() == NAMES
    turned = open_table(path, "label", columns=NAMES[::-1], window_rows=64)
    assert (stored.predict_proba(turned) == stored.predict_proba(frame)).all()
    assert stored.score(turned) == accuracy_score(TWO, stored.predict(frame))
    judged = classifier(shuffle=False).fit(frame, TWO, WEIGHT, X_val=turned)
    assert judged.history_["validation_score"][-1] == stored.score(turned)
    with pytest.raises(InputError, match="a table with the 5 columns of training, got none named"):
        stored.predict(open_table(path, columns=NAMES[1:]))
    stored.fit(X, TWO)
    assert not hasattr(stored, "feature_names_in_")


@pytest.mark.parametrize(("dtype", "expected"), [(np.float32, "float32"), (np.int8, "float32"),
                                                 (np.float64, "float64")])  # fmt: skip
def test_the_type_is_that_of_the_features(dtype: Any, expected: str) -> None:
    for part in table(16, PRICE, of=X.astype(dtype)).split(0.5):  # one begins with an empty part
        assert regressor(max_iter=1).fit(part).network_.dtype == np.dtype(expected)


def test_chunks_and_computed_features_are_learnt_from() -> None:
    def chunks() -> Iterator[tuple[np.ndarray, ...]]:
        for start in range(0, N, 50):
            yield X[start : start + 50], THREE[start : start + 50], WEIGHT[start : start + 50]

    in_memory = classifier(shuffle=False).fit(X / 2, THREE, WEIGHT)
    mapped = open_chunks(chunks, window_rows=64).map(lambda rows: rows / 2)
    assert state(classifier(shuffle=False).fit(mapped)) == state(in_memory)


@pytest.mark.parametrize("rows", [64, 1000])
def test_a_model_is_unchanged_by_rows_that_cannot_be_used(rows: int) -> None:
    bad = X.copy()
    bad[200, 3] = np.nan
    model = classifier().fit(X, TWO)
    before = state(model)
    with pytest.raises(InputError, match=r"X from row [0-9]+: expected finite numbers"):
        model.fit(table(rows, THREE, of=bad))
    assert state(model) == before
    assert model.classes_.tolist() == ["high", "low"]
    new = regressor(loss="poisson")
    with pytest.raises(InputError, match="y of at least 0 for a Poisson deviance"):
        new.fit(table(rows, np.where(np.arange(N) == 200, -1.0, COUNT)))
    assert not hasattr(new, "coefs_")
    assert readers() == []


def readers() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("fastmlp-reader")]


def test_divergence_and_ctrl_c_are_as_in_memory() -> None:
    options = {"solver": "sgd", "learning_rate_init": 1e30, "shuffle": False}
    with pytest.raises(ValueError, match=r"non-finite parameter weights.* in epoch 1, at"):
        regressor(**options).fit(table(64, PRICE))
    restored = regressor(**options, early_stopping=True)
    with pytest.warns(ConvergenceWarning, match="The best weights before it are restored"):
        restored.fit(table(64, PRICE), X_val=X, y_val=PRICE)
    assert np.isfinite(restored.network_.params).all()

    class Pressing(type(table(64, PRICE))):  # type: ignore[misc]
        n_reads = 0

        def blocks(self, part: int, features: bool = True, targets: bool = True) -> Iterator[Block]:
            self.n_reads += part == 30
            if part == 30 and self.n_reads == 3:  # in the second epoch or the third
                signal.raise_signal(signal.SIGINT)
            yield from super().blocks(part, features, targets)

    with pytest.warns(UserWarning, match="Training interrupted by user"):
        regressor(shuffle=False).fit(Pressing(X, PRICE, None, 64))
    assert readers() == []


@pytest.mark.nojit
def test_validation_data_are_checked() -> None:
    stored = table(64, THREE)
    model = classifier()
    for given, text in (
        ({"X_val": stored, "y_val": THREE}, "no y_val beside a stored table, got ndarray"),
        ({"X_val": table(64, None)}, "a table with a target, got one without"),
        ({"X_val": table(64, THREE + 1)}, "only labels seen in fit, got 1 unseen label"),
        ({"X_val": table(64, LABELS)}, "y_val with one label per row, got shape"),
        ({"X_val": table(64, THREE, of=X[:, :4])}, "a table with 5 feature columns, got 4"),
    ):
        with pytest.raises(InputError, match=text):
            model.fit(stored, **given)
        assert not hasattr(model, "coefs_")
    with pytest.raises(ValueError, match="y_val has 2 outputs, but this MLPRegressor was fitted"):
        regressor().fit(table(64, PRICE), X_val=table(64, PAIR))


def test_many_labels_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = classifier(max_iter=1).fit(table(64, np.arange(N) // 2))
    assert model.n_outputs_ == 106


@pytest.mark.nojit
def test_balanced_weights_are_scikit_learns() -> None:
    options = {"shuffle": False, "max_iter": 1}
    model = classifier(class_weight="balanced", **options).fit(table(64, THREE))
    by_hand = classifier(**options).fit(X, THREE, compute_sample_weight("balanced", THREE))
    assert state(model) == state(by_hand)


@pytest.mark.nojit
def test_score_is_that_of_predictions() -> None:
    model = regressor().fit(table(64, PRICE))
    assert model.score(table(64, PRICE)) == r2_score(PRICE, model.predict(X))
