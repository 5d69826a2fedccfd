"""Evaluating a network: outputs, predictions, losses and scores.

Outputs are computed by compiled code if every part has a kernel, otherwise layer by layer.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np

from ..datasets.stored import StoredTable
from ..engine import layerwise
from ..engine import outputs as compiled_outputs
from ..engine.judging import BY_LOSS, Grading, r_squared, share_of_right
from ..engine.lowering import can_compile
from ..errors import InputError
from ..inputs import checks, samples, stored
from ..inputs.targets import Encoded, Samples, TargetCoder
from ..inputs.windows import Windows
from ..model.body import Body
from ..nn.losses import linked, outputs_per_target


def outputs(body: Body, X: np.ndarray, link: bool) -> np.ndarray:
    """Outputs for rows that `samples` has read, after the loss's link if wanted."""
    found = compiled_outputs.outputs_in_place(body, X, link)
    if found is not None:
        return found
    if can_compile(body.layers, body.loss):
        return compiled_outputs.outputs(body, X, link)
    checks.valid_sparse("Network.outputs", "X", X)  # callbacks may have changed held-out rows
    values = layerwise.forward(body, X)
    return linked(body.loss, values) if link else values


def answers(body: Body, where: str, X: Any, link: bool) -> np.ndarray:
    """Outputs for rows as users pass them, in memory or stored; nan is refused."""
    if isinstance(X, StoredTable):
        return checks.answers(where, _stored_outputs(body, stored.to_predict(body, where, X), link))
    return checks.answers(where, outputs(body, samples.matrix(body, where, X), link))


def predict(body: Body, where: str, X: Any) -> np.ndarray:
    """Labels, or numbers for a regression loss."""
    coder = _coder(body, where)
    return coder.decode(answers(body, where, X, link=True))


def evaluate(body: Body, where: str, X: Any, y: Any, sample_weight: Any) -> tuple[float, float]:
    """Mean loss and score on samples as users pass them."""
    coder = _coder(body, where)
    if not isinstance(X, StoredTable):
        return judged(body, samples.read(body, where, X, y, sample_weight)[0])
    stored.refuse_others(where, y, sample_weight)
    plan = samples.plan_for(where, body, body.n_features, None)
    return judged(body, stored.held_out(body, where, plan, coder, X))


def _stored_outputs(body: Body, table: StoredTable, link: bool) -> np.ndarray:
    """Outputs for all rows of a stored table, which are read a window at a time."""
    found, row = np.empty((table.n_rows, body.width_of_outputs(link)), body.dtype), 0
    with closing(Windows(table, body, body.n_outputs, None).read()) as windows:
        for window in windows:
            some = window.samples.X[: window.n_rows]
            found[row : row + window.n_rows] = outputs(body, some, link)
            row += window.n_rows
    return found


def _coder(body: Body, where: str) -> TargetCoder:
    if body.coder is None:
        raise InputError(
            where, "a fitted network", "one that has seen no targets", "call fit first"
        )
    return body.coder


def judged(body: Body, held_out: Samples) -> tuple[float, float]:
    """Mean loss without penalties, and score on samples."""
    X, encoded, weights = held_out
    of_rows = _stored_outputs if isinstance(X, StoredTable) else outputs
    found = of_rows(body, X, link=False)
    loss, _ = layerwise.loss_and_slopes(body, found, encoded, weights)
    return loss, _score(body, found, encoded, weights, loss)


def _score(
    body: Body, found: np.ndarray, encoded: Encoded, weights: np.ndarray, loss: float
) -> float:
    if outputs_per_target(body.loss) > 1:
        return -loss
    targets, predicted = encoded.dense(body.n_outputs), linked(body.loss, found)
    if not np.isfinite(predicted).all():
        return np.nan
    even = weights if weights.size else None
    if body.loss.task == "classes":
        right = np.argmax(predicted, axis=1) == np.argmax(targets, axis=1)
        return float(np.average(right, weights=even))
    if body.loss.task == "binary":
        right = ((predicted > 0.5) == (targets > 0.5)).all(axis=1)
        return float(np.average(right, weights=even))
    return _r_squared(predicted.astype(np.float64), targets.astype(np.float64), even)


def grading(body: Body, held_out: Samples) -> Grading:
    """How the compiled call computes the score that `judged` returns."""
    _, encoded, weights = held_out
    if outputs_per_target(body.loss) > 1:
        return BY_LOSS
    targets, even = encoded.dense(body.n_outputs), weights if weights.size else None
    if body.loss.task == "classes":
        return share_of_right(np.argmax(targets, axis=1), even)
    if body.loss.task == "binary":
        return share_of_right(targets > 0.5, even)
    true = targets.astype(np.float64)
    return r_squared(true, _spread(true, even), even, _total(true, even))


def _spread(true: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Variance of each output's targets."""
    mean = np.average(true, axis=0, weights=weights)
    return np.asarray(np.average((true - mean) ** 2, axis=0, weights=weights))


def _total(true: np.ndarray, weights: np.ndarray | None) -> float:
    """The divisor of weighted averages."""
    return float(np.average(true, axis=0, weights=weights, returned=True)[1][0])


def _r_squared(predicted: np.ndarray, true: np.ndarray, weights: np.ndarray | None) -> float:
    """Coefficient of determination, averaged over the outputs; a constant target scores 0 or 1."""
    residual = np.average((true - predicted) ** 2, axis=0, weights=weights)
    spread = _spread(true, weights)
    constant = np.where(residual == 0, 1.0, 0.0)
    safe = np.where(spread > 0, spread, 1.0)
    return float(np.mean(np.where(spread > 0, 1.0 - residual / safe, constant)))
