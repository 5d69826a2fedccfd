"""Validation after each epoch: scores of held-out rows, early stopping, and the best parameters.

A judge works within the compiled call, so that several epochs can share one. Its results are
bit for bit those that Python would compute after each epoch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..inputs.tables import table_of
from ..inputs.targets import Samples
from ..kernels.compiler.calls import Kernel
from ..kernels.compiler.memory import address_of, address_or_0
from ..kernels.rules.losses import total_weight
from ..kernels.step import judge, scores
from ..kernels.tuning import JUDGED_ROWS, JUDGED_WORK, TILE_ROWS
from ..model.body import Body
from .engine import Engine


class Grading(NamedTuple):
    """How predictions are scored: kernels of `kernels.step.scores` and the data for them.

    Attributes
    ----------
    grade, score : Kernel or None
        None if the score is minus the loss.
    truth : ndarray of shape (n, n_outputs) or (n,)
        Classes or labels as int32, or numbers.
    weights : ndarray of shape (n,)
        Empty if all are equal.
    spread : ndarray of shape (n_outputs,)
        Squared deviations of each output's targets, for R^2: their sum, divided by `divisor`.
    divisor : float
        Divisor of the sum over rows.
    """

    grade: Kernel | None
    score: Kernel | None
    truth: np.ndarray
    weights: np.ndarray
    spread: np.ndarray
    divisor: float


_NOTHING = np.empty(0)
BY_LOSS = Grading(None, None, _NOTHING, _NOTHING, _NOTHING, 1.0)


def share_of_right(truth: np.ndarray, weights: np.ndarray | None) -> Grading:
    """Accuracy. truth: classes (n,), or labels (n, n_outputs), all of which must be right."""
    held, divisor = _NOTHING, float(len(truth))
    if weights is not None:
        held = np.ascontiguousarray(weights, np.float64)
        divisor = float(weights.sum(dtype=np.float64))
    grade = scores.grade_classes if truth.ndim == 1 else scores.grade_labels
    truth = np.ascontiguousarray(truth, np.int32)
    return Grading(grade, scores.share_of_right, truth, held, np.empty(1), divisor)


def r_squared(
    truth: np.ndarray,
    spread: np.ndarray,
    weights: np.ndarray | None,
    divisor: float = 1.0,
    *,
    wide: bool = True,
) -> Grading:
    """R^2, computed in the type of truth (n, n_outputs): float64 if wide, else the network's."""
    held = np.empty(0, truth.dtype) if weights is None else weights.astype(truth.dtype)
    return Grading(
        scores.grade_squares if wide else scores.grade_own_squares,
        scores.r_squared if wide else scores.own_r_squared,
        np.ascontiguousarray(truth), held, np.ascontiguousarray(spread, truth.dtype), divisor,
    )  # fmt: skip


class Rule(NamedTuple):
    """When held-out rows end a fit early.

    Attributes
    ----------
    patience : int
        How many epochs in a row may be stale; -1 means any number.
    tolerance : float
        An epoch is stale if it is worse than the best so far plus this.
    by_loss : bool
        Whether the loss decides instead of the score.
    strict : bool
        Whether an epoch that exactly reaches that limit is stale as well. Then only epochs that are
        not stale become the best; otherwise any epoch that is better than the best does.
    keeps_last : bool
        Whether, if strict, an epoch as good as the best becomes the best nevertheless.
    """

    patience: int = -1
    tolerance: float = 0.0
    by_loss: bool = False
    strict: bool = False
    keeps_last: bool = False

    def compare(self, loss: float, score: float, best: float) -> tuple[bool, bool]:
        """Whether an epoch is better than the best so far, and whether it is stale.

        The compiled call decides in the same way.
        """
        value = self.value(loss, score)
        if self.strict:
            limit = best + self.tolerance
            is_better = value > limit
            is_tie = self.keeps_last and value == best > -np.inf
            return is_better or is_tie, not is_better
        return value > best, value < best + self.tolerance

    def value(self, loss: float, score: float) -> float:
        """The value that decides; larger is better."""
        return -loss if self.by_loss else score


class Judge:
    """Evaluates held-out rows after each epoch of an engine's calls.

    Parameters
    ----------
    engine : Engine
        Not linked yet.
    network : Body
        The network that the engine trains.
    held_out : Samples
    grading : Grading
    rule : Rule
    n_epochs : int
        Maximum number per call.
    best_params : ndarray like `Body.learned`, optional
        Where the parameters and buffers of the best epoch go.
    judged : ndarray like `Body.learned`, optional
        The parameters and buffers to judge, an average, say; by default the network's own.
    rows : ndarray of shape (n,) int32, optional
        The numbers of the held-out samples; by default all. `grading` is for these.

    Attributes
    ----------
    losses, scores : ndarray of shape (n_epochs,)
        Results of the last call, for `n_judged` epochs.
    """

    def __init__(
        self,
        engine: Engine,
        network: Body,
        held_out: Samples,
        grading: Grading,
        rule: Rule,
        n_epochs: int,
        best_params: np.ndarray | None = None,
        judged: np.ndarray | None = None,
        rows: np.ndarray | None = None,
    ) -> None:
        self.record, self.n_epochs = engine.held_out, n_epochs
        self.order = np.arange(held_out.X.shape[0], dtype=np.int32) if rows is None else rows
        n_rows, n_kept = self.order.size, network.learned.size
        self.row_losses = np.empty(n_rows * network.loss.n_members)
        self.losses, self.scores = np.empty(n_epochs), np.empty(n_epochs)
        kept = best_params if best_params is not None else np.empty(0, network.dtype)
        self.best_params = kept
        self.judged = network.learned if judged is None else judged
        self._answer(engine, network, held_out)
        kernels = {"judge": judge.judge} | self._grade_by(grading, n_rows, network)
        engine.judge_with(kernels, self.answering, self)
        record = self.record
        record["n_rows"], record["patience"] = n_rows, rule.patience
        record["tolerance"], record["by_loss"] = rule.tolerance, rule.by_loss
        record["strict"], record["keeps_last"] = rule.strict, rule.keeps_last
        record["best_params"], record["n_kept"] = 0, n_kept
        for field, own in (
            ("jobs", self.jobs), ("row_losses", self.row_losses), ("losses", self.losses),
            ("scores", self.scores),
        ):  # fmt: skip
            record[field] = address_of(own, field, own.dtype, own.size, written=True)
        record["order"] = address_of(self.order, "order", np.int32, n_rows)
        if kept.size:
            record["judged"] = address_of(
                self.judged, "parameters and buffers", network.dtype, n_kept
            )
            record["best_params"] = address_of(
                kept, "best parameters", network.dtype, n_kept, written=True
            )

    def _answer(self, engine: Engine, network: Body, held_out: Samples) -> None:
        """Make a job for predictions for each thread that has a block of rows."""
        n_rows, n_threads, dtype = self.order.size, engine.n_threads, network.dtype
        share = -(-n_rows // n_threads)
        block = min(JUDGED_ROWS, -(-share // TILE_ROWS) * TILE_ROWS)
        table = table_of(held_out.X, dtype)
        weights_at = address_or_0(held_out.weights, "sample weights", dtype, table.n_rows)
        total = float(total_weight(self.order, weights_at, dtype.type(1)))
        self.answering, self.copies = list[Engine](), list[np.ndarray]()
        for _ in range(min(n_threads, -(-n_rows // block))):
            answers = Engine(network, table, block, training=False, learned=self.judged)
            answers.point_at(self.order, held_out.encoded, held_out.weights, -(-n_rows // block))
            answers.loss["total_weight"] = total
            copy = np.empty(block * network.width_of_outputs(link=False), dtype)
            answers.space["gradient"] = address_of(copy, "answers", dtype, copy.size, written=True)
            self.answering.append(answers)
            self.copies.append(copy)
        self.held_out = held_out  # must live as long as the judge
        self.jobs = np.zeros(n_threads, np.int64)
        self.jobs[: len(self.answering)] = [answers.job_address for answers in self.answering]

    def _grade_by(self, grading: Grading, n_rows: int, network: Body) -> dict[str, Kernel]:
        """Set the data that predictions are compared with; returns the kernels."""
        self.grading = grading
        if grading.grade is None or grading.score is None:
            return {}
        n_outputs, record, kind = network.n_outputs, self.record, grading.spread.dtype
        n_parts = grading.spread.size
        self.parts = np.empty((n_rows + 1) * n_parts + scores.SPARE, kind)
        n_truth = n_rows * (n_outputs if grading.truth.ndim == 2 else 1)
        record["truth"] = address_of(grading.truth, "truth", grading.truth.dtype, n_truth)
        record["weights"] = address_or_0(grading.weights, "weights", kind, n_rows)
        record["spread"] = address_of(grading.spread, "spread", kind, n_parts)
        record["parts"] = address_of(self.parts, "parts", kind, self.parts.size, written=True)
        record["n_parts"], record["divisor"] = n_parts, grading.divisor
        return {"grade": grading.grade, "score": grading.score}

    def begin(self, best_value: float = -np.inf, n_stale: int = 0) -> None:
        """Set the state after earlier epochs; called before each call of the engine."""
        record = self.record
        record["n_judged"] = record["best_epoch"] = 0
        record["best_value"], record["n_stale"] = best_value, n_stale

    @property
    def n_judged(self) -> int:
        """How many epochs of the last call were judged."""
        return int(self.record["n_judged"])

    @property
    def best_epoch(self) -> int:
        """The best epoch of the last call, counted from 1; 0 if none was the best so far."""
        return int(self.record["best_epoch"])

    @property
    def best_value(self) -> float:
        """The value of the best epoch so far."""
        return float(self.record["best_value"])

    @property
    def n_stale(self) -> int:
        """How many of the last epochs in a row were stale."""
        return int(self.record["n_stale"])


def work_of(network: Body, n_rows: int) -> int:
    """Multiplications for one evaluation of held-out rows."""
    return n_rows * network.work_per_row


def is_quick(network: Body, n_rows: int) -> bool:
    """Whether rows are few enough to be judged within the compiled call."""
    return work_of(network, n_rows) <= JUDGED_WORK
