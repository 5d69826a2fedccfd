"""Metrics by which the best epoch is chosen: those that compiled code has, and any scorer.

Larger is better here, so errors are negative.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn import metrics as sk
from sklearn.dummy import DummyRegressor
from sklearn.metrics import get_scorer

from ...errors import InputError, InputTypeError
from ...inputs import checks

_OF_PROBABILITIES = ("log_loss", "brier", "roc_auc", "average_precision")  # in scorers' names
_LEAST = 1e-15
Score = Callable[[Any, np.ndarray, Any], float]  # of y, answers and weights


class Metric(NamedTuple):
    """How epochs are compared.

    Attributes
    ----------
    monitor : str
        What `EarlyStopping` compares where compiled code can; else "".
    score : callable or None
        The score of y, probabilities or numbers, and weights; None where `monitor` says it.
    scorer : callable or None
        scikit-learn's, of a fitted estimator.
    by_probability : bool
        Whether probabilities count, so that smoothed labels would spoil them.
    weighs : bool
        Whether the scorer takes `sample_weight`.
    """

    monitor: str = ""
    score: Score | None = None
    scorer: Any = None
    by_probability: bool = False
    weighs: bool = True


def _area(y: np.ndarray, proba: np.ndarray, weights: Any) -> float:
    """Area under the ROC curve; of several classes, the mean of one against all others."""
    if proba.shape[1] == 2:
        return float(sk.roc_auc_score(y, proba[:, 1], sample_weight=weights))
    labels, present = np.arange(proba.shape[1]), np.unique(y)
    areas = [
        sk.roc_auc_score(y == label, proba[:, label], sample_weight=weights)
        for label in labels if label in present
    ]  # fmt: skip
    return float(np.mean(areas))


def _log_loss(y: np.ndarray, proba: np.ndarray, weights: Any) -> float:
    likely = np.clip(proba[np.arange(len(y)), y].astype(np.float64), _LEAST, 1.0)
    return float(np.average(np.log(likely), weights=weights))


def _brier(y: np.ndarray, proba: np.ndarray, weights: Any) -> float:
    wrong = proba.astype(np.float64) - np.eye(proba.shape[1])[y]
    return -float(np.average((wrong**2).sum(axis=1), weights=weights))


def _squared(y: np.ndarray, answers: np.ndarray, weights: Any) -> float:
    return -float(sk.mean_squared_error(y, answers, sample_weight=weights))


def _absolute(y: np.ndarray, answers: np.ndarray, weights: Any) -> float:
    return -float(sk.mean_absolute_error(y, answers, sample_weight=weights))


def _takes_weights(scorer: Any) -> bool:
    """Whether a scorer takes weights; scikit-learn's do."""
    names = inspect.signature(scorer).parameters
    kinds = {one.kind for one in names.values()}
    return "sample_weight" in names or inspect.Parameter.VAR_KEYWORD in kinds


OF_CLASSES: dict[str, Metric] = {
    "error": Metric("validation_score"),
    "log_loss": Metric("validation_loss", _log_loss, by_probability=True),
    "auc": Metric(score=_area, by_probability=True),
    "brier": Metric(score=_brier, by_probability=True),
}
OF_NUMBERS: dict[str, Metric] = {
    "rmse": Metric("validation_loss", _squared),
    "mae": Metric(score=_absolute),
}
OF_QUANTILES: dict[str, Metric] = {"pinball": Metric("validation_loss")}


def compares_numbers(name: str) -> bool | None:
    """Whether a metric is one of numbers, rather than of classes; None for unknown names."""
    if name in OF_NUMBERS or name in OF_QUANTILES or name in OF_CLASSES:
        return name not in OF_CLASSES
    try:
        scorer = get_scorer(name)
    except ValueError:
        return None
    y = np.array([0.5, 1.25, 2.5])  # no labels, which scorers of classes refuse
    model = DummyRegressor().fit(y.reshape(-1, 1), y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            scorer(model, y.reshape(-1, 1), y)
        except (AttributeError, TypeError, ValueError, UserWarning):
            return False
    return True


def metric_of(where: str, value: Any, known: dict[str, Metric]) -> Metric:
    """The metric of a name, of scikit-learn's name of a scorer, or of a scorer.

    Parameters
    ----------
    where : str
        For errors.
    value : str or callable
    known : dict of str to Metric
        Those of the estimator.
    """
    if callable(value):
        checks.takes(where, "a metric", value, "estimator", "X", "y")
        return Metric(scorer=value, weighs=_takes_weights(value))
    if not isinstance(value, str):
        raise InputTypeError(
            where, "metric as a name or a scorer", type(value).__name__, "pass a name"
        )
    if value in known:
        return known[value]
    try:
        by_probability = any(part in value for part in _OF_PROBABILITIES)
        return Metric(scorer=get_scorer(value), by_probability=by_probability)
    except (ValueError, KeyError):
        raise InputError(
            where, f"metric to be one of {', '.join(known)} or a name of scikit-learn's scorers",
            repr(value), "see sklearn.metrics.get_scorer_names()",
        ) from None  # fmt: skip
