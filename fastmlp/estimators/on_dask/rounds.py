"""Rounds of local steps: each lane trains a copy by itself, and the copies are averaged.

A round is a pure function of the averaged model and the lanes' rows, so a lost worker's lane is
trained again, with the same bits. The mean is taken in the order of the lanes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...cluster.workers import Workers
from ...engine.threads import n_cores
from ..stochastic import batch_size_of


class Lanes(NamedTuple):
    """Where the rows of all lanes are.

    Attributes
    ----------
    rows : list of object
        What stands for X, y and weights of each lane.
    n_rows : list of int
    """

    rows: list[Any]
    n_rows: list[int]


class Plan(NamedTuple):
    """How lanes are trained.

    Attributes
    ----------
    epochs_per_round : int
    seed : int
    classes : ndarray or None
        All labels.
    """

    epochs_per_round: int
    seed: int
    classes: np.ndarray | None


def train(workers: Workers, model: Any, lanes: Lanes, plan: Plan) -> Any:
    """Train a model for its `max_iter` epochs, unless the loss does not improve any more.

    Parameters
    ----------
    workers : Workers
    model : MLPClassifier or MLPRegressor
        Not fitted.
    lanes : Lanes
    plan : Plan

    Returns
    -------
    MLPClassifier or MLPRegressor
        Fitted.
    """
    curve, best, stale, most = list[float](), np.inf, 0, int(model.max_iter)
    parameters, learns_rate = model.get_params(deep=False), isinstance(model.learning_rate, str)
    stops = learns_rate and model.learning_rate in ("constant", "invscaling", "adaptive")
    while len(curve) < most:
        n_epochs = min(plan.epochs_per_round, most - len(curve))
        jobs = [(plan, lane, len(curve), n_epochs) for lane in range(len(lanes.rows))]
        found = dict(workers.run(_train, workers.share(model), jobs, needs=lanes.rows))
        models = [found[lane] for lane in range(len(jobs))]
        shares = np.asarray(lanes.n_rows) / sum(lanes.n_rows)
        model = averaged(models, shares)
        losses = np.array([one.loss_curve_[-n_epochs:] for one in models])
        curve += [float(loss) for loss in _mean(losses, shares)]
        improves = min(curve[-n_epochs:]) <= best - model.tol
        stale, best = 0 if improves else stale + n_epochs, min(best, *curve[-n_epochs:])
        if stops and stale > model.n_iter_no_change:
            break
    model.set_params(**parameters)
    model.loss_curve_, model.loss_, model.best_loss_ = curve, curve[-1], best
    model.n_iter_, model.t_ = len(curve), len(curve) * sum(lanes.n_rows)
    return model


def _train(model: Any, rows: tuple[Any, ...], plan: Plan, lane: int, epoch: int, n: int) -> Any:
    """Train a copy of a model on a lane for some epochs; workers run this."""
    model = copy.deepcopy(model)
    known = {} if plan.classes is None else {"classes": plan.classes}
    X, y, weights = (*rows, None)[:3]
    if model.n_threads is None:
        model.n_threads = n_cores()
    for number in range(epoch, epoch + n):
        # All lanes draw the same weights at first, and an order of their own from then on.
        parts = (plan.seed, lane, number) if number else (plan.seed,)
        model.random_state = int(np.random.SeedSequence(parts).generate_state(1)[0] >> 1)
        progress = vars(model).get("_progress")
        if progress is not None:  # lanes have different numbers of steps, but epochs in common
            n_rows = X.shape[0]
            progress.n_steps = number * -(-n_rows // batch_size_of(model, n_rows))
        model.partial_fit(X, y, weights, **known)
    return model


def averaged(models: Sequence[Any], shares: np.ndarray) -> Any:
    """The mean of fitted models, in parameters and in the optimizer's state.

    Parameters
    ----------
    models : sequence of MLPClassifier or MLPRegressor
        Changed.
    shares : ndarray of shape (n_models,)
        Weights, of sum 1.

    Returns
    -------
    MLPClassifier or MLPRegressor
    """
    model = models[0]
    for vectors in (
        [one.network_.learned for one in models],
        [vars(one)["_progress"].memory for one in models],
    ):
        vectors[0][...] = _mean(vectors, shares)
    return model


def _mean(vectors: Sequence[np.ndarray] | np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The weighted mean in float64, added up in order."""
    total = np.zeros(vectors[0].shape)
    for vector, share in zip(vectors, shares, strict=True):
        total += share * vector.astype(np.float64)
    return total
