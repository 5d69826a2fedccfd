"""Rounds of local steps: lanes are averaged, whoever trains them and however often one is lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.estimators.on_dask.rounds import Lanes, Plan, averaged, train

from .here import Here

pytestmark = pytest.mark.nojit

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 2))
LABELS, NUMBERS = np.where(X[:, 0] > 0, "yes", "no"), X[:, 0] - X[:, 1]
SMALL: dict[str, Any] = {"hidden_layer_sizes": (3,), "batch_size": 10, "random_state": 0}


def rounds(model: Any, y: np.ndarray, losses: int = 0, epochs: int = 1, lanes: int = 2) -> Any:
    cuts = np.linspace(0, len(X), lanes + 1, dtype=int)
    rows = [(X[a:b], y[a:b], None) for a, b in zip(cuts, cuts[1:], strict=False)]  # noqa: RUF007
    classes = np.unique(y) if y.dtype.kind == "U" else None
    counts = np.diff(cuts).tolist()
    return train(Here(losses), model, Lanes(rows, counts), Plan(epochs, 0, classes))


def test_lost_lanes_are_trained_again_with_the_same_bits() -> None:
    found = [rounds(MLPClassifier(max_iter=2, **SMALL), LABELS, losses) for losses in (0, 2)]
    first, again = (one.network_.params for one in found)
    np.testing.assert_array_equal(first, again)
    assert found[0].n_iter_ == len(found[0].loss_curve_) == 2
    assert found[0].max_iter == 2
    assert set(found[0].predict(X)) <= {"yes", "no"}


def test_a_round_of_several_epochs_and_a_loss_that_stays() -> None:
    model = rounds(MLPRegressor(max_iter=3, **SMALL), NUMBERS, epochs=2)
    assert len(model.loss_curve_) == 3
    still = MLPRegressor(max_iter=20, tol=1e9, n_iter_no_change=1, **SMALL)
    assert rounds(still, NUMBERS).n_iter_ < 20


def test_models_are_averaged_by_their_shares() -> None:
    models = [rounds(MLPRegressor(max_iter=1, **SMALL), y, lanes=1) for y in (NUMBERS, -NUMBERS)]
    first, second = (one.network_.params.copy() for one in models)
    found = averaged(models, np.array([0.25, 0.75])).network_.params
    np.testing.assert_allclose(found, 0.25 * first + 0.75 * second, rtol=1e-5, atol=1e-7)
