"""What people ask a network for beside its predictions: a summary, input gradients, labels of a
predictor, and a history that reads at a glance."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from fastmlp import (
    Dense,
    Dropout,
    History,
    MLPClassifier,
    MLPRegressor,
    Network,
    Quantile,
    ReLU,
    Tanh,
)
from fastmlp.nn import Layer

from ..support import Own, assert_rows_alike

pytestmark = pytest.mark.nojit

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 4))
NUMBERS = X[:, 0] - 2 * X[:, 1]
THREE = np.array(["cat", "dog", "owl"])[RNG.integers(0, 3, 40)]


# ----------------------------------------------------------------------------- summary


def test_a_summary_lists_layers_sizes_parameters_and_memory(capsys: Any) -> None:
    net = Network([Dense(1000, 2000), ReLU(), Dropout(0.5), Dense(2000, 10)], dtype="float64")
    text = net.summary()
    assert repr(text) == str(text)
    assert text.splitlines() == [
        "Network of float64, loss softmax_cross_entropy",
        "   layer              outputs  parameters",
        "0  Dense(1000, 2000)    2,000   2,002,000",
        "1  ReLU()               2,000           0",
        "2  Dropout(rate=0.5)    2,000           0",
        "3  Dense(2000, 10)         10      20,010",
        "1,000 inputs, 2,022,010 parameters: 16.2 MB, with gradients and the state of Adam 64.7 MB",
    ]
    assert capsys.readouterr().out == ""


def test_a_summary_of_a_network_not_built_says_what_is_not_known() -> None:
    text = Network([Dense(8), Tanh(), Dense(1)], "mse").summary()
    assert text.splitlines() == [
        "Network of float32, loss mean_squared_error",
        "   layer     outputs  parameters",
        "0  Dense(8)        8           ?",
        "1  Tanh()          ?           ?",
        "2  Dense(1)        1           ?",
        "not built yet: all sizes are known after the first fit, or build(n_features)",
    ]


def test_a_summary_counts_every_parameter_also_of_own_layers() -> None:
    class Gain(Own):
        name = "gain"

        def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
            return {"g": (self.n_in or 0,)}

    net = Network([Dense(4, 5), Gain(), Dense(5, 3)])
    counts = [line.split()[-1] for line in net.summary().splitlines()[2:5]]
    assert counts == ["25", "5", "18"]
    assert sum(map(int, counts)) == net.params.size
    assert (
        "48 parameters: 192 bytes, with gradients and the state of Adam 768 bytes" in net.summary()
    )


# ----------------------------------------------------------------------------- input gradients


def differences(net: Network, rows: np.ndarray, output: int) -> np.ndarray:
    step, found = 1e-5, np.empty(rows.shape)
    for column in range(rows.shape[1]):
        shift = step * np.eye(rows.shape[1])[column]
        up, down = net.outputs(rows + shift), net.outputs(rows - shift)
        found[:, column] = (up - down)[:, output] / (2 * step)
    return found


@pytest.mark.parametrize("own", [False, True])
def test_input_gradients_are_those_of_differences(own: bool) -> None:
    extra: list[Layer] = [Own()] if own else []
    net = Network([Dense(6), Tanh(), *extra, Dropout(0.5), Dense(3)], dtype="float64")
    net.fit(X, THREE, epochs=2)
    grads, params = net.grads.copy(), net.params.copy()
    for output in range(3):
        found = net.input_gradients(X[:7], output)
        assert found.dtype == np.float64
        assert np.allclose(found, differences(net, X[:7], output), atol=1e-8)
    assert (net.input_gradients(X[:7]) == net.input_gradients(X[:7], 0)).all()
    assert (net.grads == grads).all()
    assert (net.params == params).all()


def test_estimators_and_networks_share_their_input_gradients() -> None:
    model = MLPClassifier((6,), random_state=0, n_iter_no_change=5, tol=0.1).fit(X, THREE)
    for output in range(3):
        shared = model.network_.input_gradients(X, output)
        assert (model.input_gradients(X, output) == shared).all()


# ----------------------------------------------------------------------------- predictors


def fitted(y: Any, n_outputs: int, loss: Any) -> Network:
    net = Network([Dense(8), ReLU(), Dense(n_outputs)], loss)
    net.fit(X, y, epochs=5)
    return net


NETWORKS: dict[str, tuple[Any, int, Any]] = {
    "three classes": (THREE, 3, "softmax_cross_entropy"),
    "whole numbers": (RNG.integers(0, 3, 40), 3, "softmax_cross_entropy"),
    "one-hot rows": (np.eye(3)[RNG.integers(0, 3, 40)], 3, "softmax_cross_entropy"),
    "two classes": (THREE == "cat", 1, "binary_cross_entropy"),
    "labels": (X[:, :2] > 0, 2, "binary_cross_entropy"),
    "numbers": (NUMBERS, 1, "mse"),
    "rows of numbers": (X[:, :2], 2, "mae"),
    "quantiles": (NUMBERS, 2, Quantile([0.1, 0.9])),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_predictor_labels_as_its_network_predicts(kind: str) -> None:
    net = fitted(*NETWORKS[kind])
    wanted, rows = net.predict(X), X.astype(np.float32)
    predictor = net.compile_predictor()
    for again in (predictor, copy.deepcopy(predictor), pickle.loads(pickle.dumps(predictor))):
        found = again.predict(X)
        assert found.dtype == wanted.dtype
        assert (found == wanted).all()
        for row, label in zip(rows[:5], net.predict(rows[:5]), strict=True):
            one = again.predict(row)
            assert type(one) is type(label)
            assert_rows_alike(one, label)
            assert_rows_alike(again.predict(row.tolist()), label)
        if net.classes_ is None:
            assert again.classes_ is None
        else:
            assert (again.classes_ == net.classes_).all()
            assert not again.classes_.flags.writeable
    assert np.array_equal(predictor(X), net.predict_proba(X))


ESTIMATORS: dict[str, tuple[Any, Any]] = {
    "three classes": (MLPClassifier(), THREE),
    "two classes": (MLPClassifier(), THREE == "cat"),
    "two texts": (MLPClassifier(), np.where(NUMBERS > 0, "yes", "no")),
    "one class": (MLPClassifier(), np.full(40, "only")),
    "labels": (MLPClassifier(), (X[:, :2] > 0).astype(int)),
    "numbers": (MLPRegressor(), NUMBERS),
    "rows of numbers": (MLPRegressor(), X[:, :2]),
    "a quantile": (MLPRegressor("quantile", quantile=0.9), NUMBERS),
    "quantiles": (MLPRegressor("quantile", quantile=[0.9, 0.1, 0.5]), X[:, :2]),
}


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_predictor_labels_as_its_estimator_predicts(kind: str) -> None:
    given, y = ESTIMATORS[kind]
    model = copy.deepcopy(given).set_params(
        hidden_layer_sizes=(8,), solver="lbfgs", max_iter=3, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    predictor = pickle.loads(pickle.dumps(model.compile_predictor()))
    wanted = model.predict(X)
    assert (predictor.predict(X) == wanted).all()
    assert predictor.predict(X).dtype.kind == wanted.dtype.kind
    assert_rows_alike(predictor.predict(X[3]), wanted[3])
    if isinstance(model, MLPClassifier) and np.ndim(y) == 1:
        assert set(predictor.classes_) == set(model.classes_)
    else:
        assert predictor.classes_ is None


def test_a_predictor_keeps_its_classes_when_the_network_loses_them() -> None:
    net = fitted(*NETWORKS["three classes"])
    predictor, wanted = net.compile_predictor(), net.predict(X)
    assert net.classes_ is not None
    net.classes_[...] = "x"
    assert (predictor.predict(X) == wanted).all()


def test_predictors_tell_what_they_are() -> None:
    made = [fitted(*NETWORKS[kind]).compile_predictor() for kind in ("three classes", "numbers")]
    assert [repr(predictor) for predictor in made] == [
        "Predictor(4 inputs, 3 outputs, float32, 3 classes)",
        "Predictor(4 inputs, 1 output, float32)",
    ]


# ----------------------------------------------------------------------------- histories


def test_a_history_reads_at_a_glance() -> None:
    net = Network([Dense(8), ReLU(), Dense(3)])
    history = net.fit(X, THREE, epochs=20, validation_data=(X, THREE))
    text = repr(history)
    assert text.startswith("History(20 epochs in ")
    assert f", finished: loss {history.loss[0]:.4g} to {history.loss[-1]:.4g}, " in text
    assert f"validation_score {history.validation_score[0]:.4g} to " in text
    assert len(text) < 160
    assert "\n" not in text


@pytest.mark.parametrize(
    ("history", "text"),
    [
        (History(), "History(0 epochs in 0.00 s, finished)"),
        (History([0.5], seconds=[1.25]), "History(1 epoch in 1.25 s, finished: loss 0.5 to 0.5)"),
        (
            History([2.0, 1.0], stopped="interrupted"),
            "History(2 epochs in 0.00 s, interrupted: loss 2 to 1)",
        ),
    ],
)
def test_histories_of_any_length_have_a_repr(history: History, text: str) -> None:
    assert repr(history) == text
    assert copy.deepcopy(history) == history
