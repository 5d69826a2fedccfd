"""Calls in any order: after any sequence, a network agrees with its oracle.

Hypothesis draws the sequences. A network is compared with the per-sample reference, an estimator
with scikit-learn's; refused calls in between must change nothing.
"""

from __future__ import annotations

import copy
import pickle
import tempfile
import warnings
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor

from fastmlp import SGD, MLPClassifier, MLPRegressor, Network, reference
from fastmlp.errors import InputError
from fastmlp.kernels.rules import random
from fastmlp.tools import gradient_check

CASES = [case for case in gradient_check.cases() if case.layer in reference.ACTIVATIONS]
SHAPES = {
    "as it is": lambda X: X,
    "by columns": np.asfortranarray,
    "strided": lambda X: np.repeat(X, 2, axis=0)[::2],
    "CSR": sparse.csr_array,
    "CSC": sparse.csc_matrix,
    "lists": lambda X: X.tolist(),
}
FEW = settings(max_examples=25, stateful_step_count=10)


class NetworkInStep(RuleBasedStateMachine):
    """A network, and the reference doing the same a sample at a time."""

    @initialize(case=st.sampled_from(CASES), seed=st.integers(0, 50))
    def start(self, case: Any, seed: int) -> None:
        self.problem = gradient_check._problem(case, seed)
        self.network, self.oracle = self.problem.network, self.problem.oracle

    @rule(
        epochs=st.integers(1, 2),
        batch_size=st.integers(1, 9),
        rate=st.sampled_from([1e-3, 1e-2]),
        shuffle=st.booleans(),
        is_weighted=st.booleans(),
        n_threads=st.sampled_from([None, 1, 2]),
        shape=st.sampled_from(sorted(SHAPES)),
    )
    def fit(
        self, epochs: int, batch_size: int, rate: float, shuffle: bool, is_weighted: bool,
        n_threads: int | None, shape: str,
    ) -> None:  # fmt: skip
        X, T = self.problem.X, self.problem.targets
        weights = self.problem.weights if is_weighted else np.ones(len(X))
        self.network.fit(
            SHAPES[shape](X), self.problem.y, optimizer=SGD(rate), epochs=epochs,
            batch_size=batch_size, shuffle=shuffle, n_threads=n_threads,
            sample_weight=weights if is_weighted else None,
        )  # fmt: skip
        for epoch in range(epochs):
            order = np.arange(len(X), dtype=np.int32)
            if shuffle:
                random.shuffle(order, self.network.seed, epoch)
            for start in range(0, len(X), batch_size):
                rows = order[start : start + batch_size]
                gradient = self.oracle.flat_gradient(X[rows], T[rows], weights[rows])
                self.oracle.from_flat(self.oracle.to_flat() - rate * gradient)

    @rule(bad=st.sampled_from(["X", "y", "weights", "epochs"]))
    def refuse(self, bad: str) -> None:
        X, y = self.problem.X.copy(), self.problem.y
        options: dict[str, Any] = {"optimizer": "adam"}
        if bad == "X":
            X[-1, -1] = np.nan
        elif bad == "y":
            y = y[:-1]
        elif bad == "weights":
            options["sample_weight"] = -np.ones(len(X))
        else:
            options["epochs"] = 0
        with pytest.raises(InputError):
            self.network.fit(X, y, **options)

    @rule()
    def save_and_load(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.safetensors"
            self.network.save(path)
            self.network = Network.load(path)

    @rule(how=st.sampled_from([copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))]))
    def copy(self, how: Any) -> None:
        self.network = how(self.network)

    @rule(factor=st.sampled_from([0.5, -1.0]))
    def set_weights(self, factor: float) -> None:
        self.network.layers[0].W = self.network.layers[0].W * factor
        self.oracle.weights[0] *= factor

    @rule()
    def gradient(self) -> None:
        X, T, weights = self.problem.X, self.problem.targets, self.problem.weights
        loss, gradient = self.network.loss_and_gradient(X, self.problem.y, weights)
        assert loss == pytest.approx(self.oracle.objective(X, T, weights), rel=1e-9)
        np.testing.assert_allclose(gradient, self.oracle.flat_gradient(X, T, weights), atol=1e-9)

    @rule(shape=st.sampled_from(sorted(SHAPES)))
    def predict(self, shape: str) -> None:
        X = self.problem.X
        wanted = np.array([self.oracle.output(x).ravel() for x in X])
        np.testing.assert_allclose(self.network.outputs(SHAPES[shape](X)), wanted, atol=1e-9)

    @rule(row=st.integers(0, 3))
    def serve(self, row: int) -> None:
        x = self.problem.X[row]
        wanted = self.oracle.link(self.oracle.output(x)).ravel()
        found = self.network.compile_predictor()(x)
        np.testing.assert_allclose(np.sort(found), np.sort(wanted), atol=1e-9)

    @invariant()
    def is_where_the_oracle_is(self) -> None:
        if hasattr(self, "network"):
            np.testing.assert_allclose(self.network.params, self.oracle.to_flat(), atol=1e-9)


X = np.random.default_rng(0).normal(size=(30, 4))
TASKS: dict[str, tuple[Any, Any, np.ndarray]] = {
    "classes": (MLPClassifier, TheirClassifier, np.array(list("abc"))[np.arange(30) % 3]),
    "two classes": (MLPClassifier, TheirClassifier, X[:, 0] > 0),
    "several labels": (MLPClassifier, TheirClassifier, (X > 0).astype(int)),
    "a number": (MLPRegressor, TheirRegressor, X[:, 0] ** 2),
}


class EstimatorInStep(RuleBasedStateMachine):
    """An estimator and scikit-learn's, told the same."""

    @initialize(
        task=st.sampled_from(sorted(TASKS)),
        solver=st.sampled_from(["adam", "sgd"]),
        activation=st.sampled_from(["relu", "tanh", "logistic"]),
        batch_size=st.sampled_from(["auto", 7]),
    )
    def start(self, task: str, solver: str, activation: str, batch_size: Any) -> None:
        ours, theirs, self.y = TASKS[task]
        options = {
            "hidden_layer_sizes": (5, 3), "max_iter": 3, "random_state": 1, "solver": solver,
            "activation": activation, "batch_size": batch_size,
        }  # fmt: skip
        # scikit-learn's partial_fit on several labels fails before a fit; see docs/scikit-learn.md
        self.has_partial_fit = task != "several labels"
        self.pair = [ours(**options), theirs(**options)]

    def is_fitted(self) -> bool:
        return hasattr(self.pair[0], "coefs_")

    def both(self, call: Any) -> list[Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return [call(model) for model in self.pair]

    @rule(is_sparse=st.booleans(), n_rows=st.sampled_from([20, 30]))
    def fit(self, is_sparse: bool, n_rows: int) -> None:
        rows = sparse.csr_matrix(X[:n_rows]) if is_sparse else X[:n_rows]
        self.both(lambda model: model.fit(rows, self.y[:n_rows]))

    @rule(start=st.integers(0, 10))
    def partial_fit(self, start: int) -> None:
        if not self.has_partial_fit:
            return
        more = {"classes": np.unique(self.y)} if self.y.dtype.kind in "Ub" else {}
        part = slice(start, start + 15)
        self.both(lambda model: model.partial_fit(X[part], self.y[part], **more))

    @rule(how=st.sampled_from([copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), clone]))
    def copy(self, how: Any) -> None:
        self.pair = [how(model) for model in self.pair]

    @rule(alpha=st.sampled_from([0.0, 1e-4, 0.5]), seed=st.integers(0, 3))
    def set_params(self, alpha: float, seed: int) -> None:
        self.both(lambda model: model.set_params(alpha=alpha, random_state=seed))

    @rule(bad=st.sampled_from(["X", "y", "parameter"]))
    def refuse(self, bad: str) -> None:
        ours, spoilt = self.pair[0], X.copy()
        spoilt[3, 3] = np.nan
        kept = ours.alpha
        if bad == "parameter":
            ours.set_params(alpha=-1.0)
        with pytest.raises(ValueError, match=r"NaN|inconsistent|alpha"):
            ours.fit(spoilt if bad == "X" else X, self.y[:-1] if bad == "y" else self.y)
        ours.set_params(alpha=kept)

    @rule()
    def predict(self) -> None:
        if not self.is_fitted():
            return
        ours, theirs = self.both(lambda model: model.predict(X))
        if self.y.dtype.kind == "f":
            np.testing.assert_allclose(ours, theirs, atol=1e-9)
        else:
            np.testing.assert_array_equal(ours, theirs)

    @invariant()
    def is_where_scikit_learn_is(self) -> None:
        if hasattr(self, "pair") and self.is_fitted():
            ours, theirs = self.pair
            assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_)
            for a, b in zip(
                ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True
            ):
                np.testing.assert_allclose(a, b, atol=1e-9)


class TestNetworkInStep(NetworkInStep.TestCase):  # type: ignore[name-defined, misc]
    settings = FEW


class TestEstimatorInStep(EstimatorInStep.TestCase):  # type: ignore[name-defined, misc]
    settings = FEW
