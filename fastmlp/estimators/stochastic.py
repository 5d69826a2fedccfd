"""Mini-batch training of the estimators, in scikit-learn's order: shuffle, train, score, stop.

Epochs that nothing observes share a compiled call, which ends when a decision is due. Random
numbers are drawn exactly as in scikit-learn, so the same `random_state` gives the same initial
weights and batches in both.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ..engine.engine import ENDLESS, Patience
from ..engine.job import Convention
from ..engine.judging import Grading, Rule
from ..inputs.targets import Samples
from ..kernels.compiler.memory import aligned_copy
from ..model.body import Body
from ..network import Network
from ..optim.averaging import Averaging
from ..optim.optimizers import Optimizer
from ..optim.schedules import Schedule, rates_of
from ..serving import evaluation
from ..training import loop
from ..training.loop import Looks, Task, Trainer
from .callbacks import Listeners
from .parameters import optimizer_for, schedule_for
from .pausing import Pause, pause_of

NOT_FINITE = (  # scikit-learn's sentence, which scripts and tests look for
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed."
)
_SMALLEST_ADAPTIVE_RATE = 1e-6
_MOST_EPOCHS = np.iinfo(np.int32).max  # where kernels count them; patience may be infinite


class Validation(NamedTuple):
    """The data that each epoch is judged by: as users passed them, and as samples for kernels."""

    X: Any
    y: Any
    sample_weight: Any
    samples: Samples


class Training(NamedTuple):
    """How an estimator's parameters define its steps; without a schedule, as in scikit-learn."""

    optimizer: Optimizer
    schedule: Schedule | None
    max_iter: int


def rule_of(estimator: Any) -> Training:
    """The optimizer and schedule that the estimator's parameters define."""
    return Training(optimizer_for(estimator), schedule_for(estimator), estimator.max_iter)


def batch_size_of(estimator: Any, n_rows: int) -> int:
    """Number of samples per step, if there are `n_rows`."""
    size = estimator.batch_size
    return min(200, n_rows) if isinstance(size, str) else int(np.clip(size, 1, n_rows))


@dataclass(eq=False)
class Progress:
    """The state of mini-batch training, from which partial_fit and a warm start continue."""

    memory: np.ndarray | None = None  # the optimizer's state
    layout: tuple[Any, ...] = ()  # the optimizer and sizes that it belongs to
    n_steps: int = 0
    learning_rate: float = 0.0
    n_stale: int = 0  # epochs in a row without improvement


class _Trained(NamedTuple):
    """Number of epochs in a call, and whether the last one's loss was not finite."""

    n_epochs: int
    diverged: bool


class Orders:
    """Orders of rows (n_epochs, n_rows) drawn in advance, each a shuffle of the previous one.

    If fewer epochs are trained than were drawn, `after` undoes the other draws. Shuffling an order
    in place is equivalent to scikit-learn's indexing with a permutation. It is int64 because NumPy
    shuffles that type fastest.
    """

    def __init__(
        self, random: np.random.RandomState, shuffles: bool, order: np.ndarray, n_epochs: int
    ) -> None:
        self._random, self._shuffles = random, shuffles
        self._before: Any = self._random.get_state() if n_epochs > 1 else None
        self.visits = np.empty((n_epochs, order.size), np.int32)
        order = order.astype(np.int64)
        for place in self.visits:
            self._shuffle(order)
            place[...] = order

    def _shuffle(self, order: np.ndarray) -> None:
        if self._shuffles:
            self._random.shuffle(order)

    def after(self, n_epochs: int) -> np.ndarray:
        """The order after `n_epochs` epochs; the generator's state is as if no more were drawn."""
        if n_epochs < len(self.visits):
            self._random.set_state(self._before)
            again = np.arange(self.visits.shape[1])
            for _ in range(n_epochs):
                self._shuffle(again)
        return self.visits[n_epochs - 1]


@dataclass(eq=False)
class Run:
    """One call of `fit` or `partial_fit`: the estimator, and everything else its epochs need."""

    estimator: Any
    rule: Training
    convention: Convention
    samples: Samples
    validation: Validation | None
    score: Callable[[Validation, np.ndarray], float]
    grading: Grading | None  # how the compiled call computes that score; None if it cannot
    progress: Progress
    random: np.random.RandomState
    listeners: Listeners
    averaging: Averaging | None = None
    best_params: np.ndarray | None = None  # with early stopping
    pause: Pause | None = None
    pressed: bool = False  # whether Ctrl-C ended a call in which epochs had been judged
    incremental: bool = False
    stops: bool = False
    kind: tuple[Any, ...] | None = None  # of the last samples, if there may be more like them

    def fit(self, incremental: bool) -> None:
        """Train the estimator's network for `max_iter` epochs, or one if incremental."""
        e, self.incremental = self.estimator, incremental
        batch_size, network = self._batch_size(), e.network_
        self._prepare(network)
        self.best_params = aligned_copy(network.learned) if e.early_stopping else None
        self.trainer = self._trainer(network, batch_size)
        pause = self.pause = pause_of(e)
        if pause is not None:
            self.until = min(pause.until, e.max_iter)
            pause.take_over(self)
        self._run_epochs()

    def keep(self) -> None:
        """Let go of the estimator and its samples, until `again`: only the engine's kind stays."""
        X, trainer = self.samples.X, self.trainer
        self.kind = None
        if type(X) is np.ndarray and trainer.engine is not None:
            self.kind = trainer.engine.key, X.shape, X.dtype, X.strides[1]
        nothing: Any = None
        self.estimator = self.samples = self.score = self.listeners = self.pause = nothing
        trainer.let_go()

    def can_repeat(self, X: np.ndarray, network: Network) -> bool:
        """Whether `again` can train on these rows: as many, and of the kind of the last ones."""
        if self.kind is None or self.kind[1:] != (X.shape, X.dtype, X.strides[1]):
            return False
        # A large engine is not kept, although its kind is known.
        has_engine = bool(network.spare_engines.get(self.kind[0]))
        return network is self.trainer.task.network and has_engine

    def again(self, estimator: Any, samples: Samples, random: np.random.RandomState) -> None:
        """One more epoch of incremental training, on other samples."""
        self.estimator, self.samples, self.random, self.stops = estimator, samples, random, False
        self.listeners, self.pause = Listeners(estimator, None, *samples), pause_of(estimator)
        self._prepare(self.trainer.task.network)
        self.trainer.read(samples)
        self._run_epochs()

    def _run_epochs(self) -> None:
        e, rule, network = self.estimator, self.rule, self.trainer.task.network
        pause, is_over = self.pause, self.until == e.max_iter
        try:
            loop.run(self)
            if is_over and not self.stops and rule.schedule is None:  # it is meant to use them all
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({e.max_iter}) reached and the "
                    "optimization hasn't converged yet.",
                    ConvergenceWarning,
                    stacklevel=4,
                )
        except KeyboardInterrupt:
            if pause is not None:  # it ends the search, or all members
                raise
            warnings.warn("Training interrupted by user.", stacklevel=4)
        if pause is not None:
            pause.keep(self, goes_on=not is_over)
        if self.best_params is not None:
            network.learned[...] = self.best_params
        self.trainer.finish(self.best_params is not None)

    def _trainer(self, network: Network, batch_size: int) -> Trainer:
        """Runs the epochs: several per call, and judged within it, if nothing observes them."""
        e, grading, held_out = self.estimator, self.grading, self.validation
        rule = Rule()
        if e.early_stopping:
            rule = Rule(min(e.n_iter_no_change, _MOST_EPOCHS), e.tol)
        task = Task(
            network, self.samples, None if held_out is None else held_out.samples,
            self.rule.optimizer, batch_size, averaging=self.averaging, convention=self.convention,
            n_threads=e.n_threads, n_stored=self.n_stored,
            keeps_engine=self.incremental or bool(e.warm_start),  # else the next fit starts anew
        )  # fmt: skip
        looks = Looks(
            e.max_iter,
            watched=bool(self.incremental or self.listeners or e.verbose or self.n_stored),
            # Not if the learning rate changes between epochs.
            may_share=self.rule.schedule is None and e.learning_rate != "invscaling",
            grading=None if grading is None else lambda: grading,
            rule=rule,
            best_params=self.best_params,
        )
        return Trainer(task, looks, first_step=self.progress.n_steps)

    @property
    def n_stored(self) -> int:
        """Rows of a stored table, of which the samples are a window; 0 if they are in memory."""
        return 0

    @property
    def n_left(self) -> int:
        """Number of epochs left; 0 after a decision to stop."""
        if self.stops or (self.pause is not None and self.pause.wish.to_end):
            return 0
        return int(self.until - self.estimator.n_iter_)

    def begin(self) -> None:
        """Notify callbacks that an epoch begins."""
        self.started = time.perf_counter()
        self.listeners.epoch_begins()

    def _batch_size(self) -> int:
        size, n_rows = self.estimator.batch_size, self.n_stored or self.samples.X.shape[0]
        if not isinstance(size, str) and size > n_rows:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be "
                "clipped",
                stacklevel=5,
            )
        return batch_size_of(self.estimator, n_rows)

    def _prepare(self, network: Body) -> None:
        """Set up the optimizer's state; unlike in scikit-learn, a warm start keeps it, too."""
        e, now, optimizer = self.estimator, self.progress, self.rule.optimizer
        self.order, self.until = np.arange(self.samples.X.shape[0]), e.max_iter
        e.n_iter_ = 0
        incremental, kept = self.incremental, now.memory
        size = optimizer.n_vectors * network.params.size
        layout = (optimizer.name, *(W.shape for W in e.coefs_))
        is_new = kept is None or kept.size != size or now.layout != layout
        if is_new or not (incremental or e.warm_start):
            now.memory = optimizer.initial_state(network.params.size, network.dtype)
            now.layout, now.n_steps = layout, 0
        elif kept is not None and kept.dtype != network.dtype:
            now.memory = aligned_copy(kept.astype(network.dtype))
        if is_new or not incremental:
            now.learning_rate = float(e.learning_rate_init)

    def _step_numbers(self, n_steps: int) -> np.ndarray:
        """Hyperparameters of the next steps; the last learning rate is stored."""
        rule, now = self.rule, self.progress
        if rule.schedule is None:
            rates = np.full(n_steps, now.learning_rate)
        else:
            steps = now.n_steps + np.arange(n_steps)
            in_all = self.trainer.steps_per_epoch * rule.max_iter
            rates = rates_of(rule.schedule, steps, in_all)
            now.learning_rate = float(rates[-1])
        return rule.optimizer.step_numbers(now.n_steps, rates)

    def train(self, n_epochs: int) -> _Trained:
        """Train up to `n_epochs` epochs; fewer if training should stop."""
        losses = self._train_epochs(n_epochs)
        seconds = time.perf_counter() - self.started
        diverged = self._count_epochs(losses, self.trainer.n_rows, seconds)
        return _Trained(len(losses), diverged)

    def _train_epochs(self, n_epochs: int) -> list[float]:
        """Train some epochs in orders of their own; returns the mean loss of each."""
        orders = Orders(self.random, self.estimator.shuffle, self.order, n_epochs)
        losses = self._mean_losses(orders.visits)
        self.order = orders.after(len(losses))
        return losses

    def _mean_losses(self, orders: np.ndarray) -> list[float]:
        """Train one epoch per order (n_epochs, n_rows); returns the mean loss of each."""
        e, now, trainer = self.estimator, self.progress, self.trainer
        n_epochs, n_steps = len(orders), trainer.steps_per_epoch
        patience = ENDLESS
        if trainer.judge is not None:
            best = e.best_validation_score_ if e.early_stopping else np.inf
            trainer.judge.begin(best, now.n_stale)
        if not e.early_stopping:
            most = min(e.n_iter_no_change, _MOST_EPOCHS)
            patience = Patience(most, e.tol, e.best_loss_, now.n_stale)
        losses = self._losses(orders, self._step_numbers(n_epochs * n_steps), patience)
        if not e.early_stopping:
            e.best_loss_, now.n_stale = trainer.best_and_stale
        n_done = trainer.enough_after or n_epochs
        if self.pressed and trainer.judge is not None:
            n_done = trainer.judge.n_judged
        if e.early_stopping:
            spoilt = ~np.isfinite(losses[: n_done * n_steps].reshape(n_done, n_steps)).all(axis=1)
            if spoilt.any():  # the epoch in which it diverged still counts
                n_done = int(np.argmax(spoilt)) + 1
        now.n_steps += n_done * n_steps
        return trainer.mean_losses(losses[: n_done * n_steps])

    def _losses(self, orders: np.ndarray, numbers: np.ndarray, patience: Patience) -> np.ndarray:
        """The loss of each step of a call.

        If Ctrl-C ends it, epochs that were judged still count: one of them may be the best.
        """
        now, trainer = self.progress, self.trainer
        assert now.memory is not None
        try:
            return trainer.train(orders, numbers, now.memory, now.n_steps, patience)
        except KeyboardInterrupt:
            if trainer.judge is None or trainer.engine is None or trainer.judge.n_judged == 0:
                raise
            self.pressed = True
            return trainer.engine.losses

    def _count_epochs(self, losses: list[float], n_rows: int, seconds: float) -> bool:
        """Record the losses of some epochs, up to the first that is not finite.

        Returns whether there is one. That is an error, except with early stopping, which can
        restore earlier weights.
        """
        e, now = self.estimator, self.progress
        bad = next((place for place, loss in enumerate(losses) if not math.isfinite(loss)), None)
        diverged = bad is not None
        n_good = len(losses) if bad is None else bad + bool(e.early_stopping)
        e.n_iter_ += n_good
        e.t_ += n_good * n_rows
        good, rate = losses[:n_good], now.learning_rate
        entries = {
            "loss": good,
            "learning_rate": [rate] * n_good,
            "seconds": [seconds / len(losses)] * n_good,
        }
        e.loss_curve_ += good
        for key, values in entries.items():
            e.history_.setdefault(key, []).extend(values)
        if diverged:  # one batch whose loss is not finite is enough
            epoch = e.n_iter_ + (not e.early_stopping)
            place = f"The loss is no longer a number in epoch {epoch}, at learning rate {rate:g}."
            now.memory = None  # it also has numbers that are not finite
            if not e.early_stopping:
                raise ValueError(f"{NOT_FINITE} {place}")
            warnings.warn(
                f"{place} The best weights before it are restored; lower the learning rate or "
                "scale the data.",
                ConvergenceWarning,
                stacklevel=8,
            )
        e.loss_ = losses[n_good - 1]
        return diverged

    def judge(self, trained: _Trained) -> list[tuple[float, float]]:
        """Loss and score on the validation data for each epoch, if there are such data."""
        if self.validation is None:
            return []
        judge, n_good = self.trainer.judge, trained.n_epochs
        if trained.diverged:
            n_good = 0 if judge is None else judge.n_judged
        found = self.trainer.judged(n_good, self._loss_and_score)
        return [*found, (np.nan, np.nan)] if trained.diverged else found

    def _loss_and_score(self) -> tuple[float, float]:
        """Loss and score on the validation data; with `scoring="loss"` the score is -loss."""
        assert self.validation is not None
        network, (X, encoded, weights) = self.estimator.network_, self.validation.samples
        outputs = evaluation.outputs(network, X, link=False)
        loss, _ = network.loss.rows(outputs, *encoded, weights)
        loss *= self.convention.loss_scale
        if self.estimator.scoring == "loss":
            return loss, -loss
        return loss, self.score(self.validation, outputs)

    def record(self, trained: _Trained, found: list[tuple[float, float]]) -> None:
        """Add loss and score of each epoch to the history."""
        e = self.estimator
        for score in found:
            for key, value in zip(("validation_loss", "validation_score"), score, strict=True):
                e.history_.setdefault(key, []).append(value)
        if e.verbose:
            print(f"Iteration {e.n_iter_}, loss = {e.loss_:.8f}")
            for _, value in found:
                print(f"Validation score: {value:f}")

    def look(self, trained: _Trained, found: list[tuple[float, float]]) -> None:
        """Decide whether to stop, and notify callbacks."""
        stops = self._after_epochs(found) or trained.diverged
        self.stops = self.listeners.epoch_ends() or stops or self.incremental
        if self.pressed:
            raise KeyboardInterrupt

    def _after_epochs(self, found: list[tuple[float, float]]) -> bool:
        """Check patience and adapt the learning rate; returns whether to stop.

        A schedule is planned for all epochs, and the last ones, with the smallest rates, help
        most. So only held-out samples can end it early.
        """
        e, now = self.estimator, self.progress
        what = f"Training loss did not improve more than tol={e.tol:f}"
        if e.early_stopping:
            self._keep_best([score for _, score in found])
            what = f"Validation score did not improve more than tol={e.tol:f}"
        if e.learning_rate == "invscaling" and e.solver != "adam":
            now.learning_rate = float(e.learning_rate_init) / (e.t_ + 1) ** e.power_t
        is_planned = self.rule.schedule is not None and not e.early_stopping
        if now.n_stale <= e.n_iter_no_change or is_planned:
            return False
        stops = self._out_of_patience(f"{what} for {e.n_iter_no_change} consecutive epochs.")
        if not stops:
            now.n_stale = 0
        return stops

    def _keep_best(self, scores: list[float]) -> None:
        e, now, judge = self.estimator, self.progress, self.trainer.judge
        e.validation_scores_ += scores
        n_judged = 0
        if judge is not None and judge.n_judged:
            e.best_validation_score_, now.n_stale = judge.best_value, judge.n_stale
            n_judged = judge.n_judged
        for score in scores[n_judged:]:
            is_best, is_stale = Rule(tolerance=e.tol).compare(0, score, e.best_validation_score_)
            now.n_stale = now.n_stale + 1 if is_stale else 0
            if is_best:
                e.best_validation_score_ = score
                self.best_params = self.trainer.judged_params.copy()

    def _out_of_patience(self, message: str) -> bool:
        """Whether to stop when patience runs out; an adaptive rate is divided by 5 instead."""
        e, now = self.estimator, self.progress
        adapts = e.learning_rate == "adaptive" and e.solver != "adam"
        if adapts and now.learning_rate > _SMALLEST_ADAPTIVE_RATE:
            now.learning_rate /= 5.0
            ending = f"Setting learning rate to {now.learning_rate:f}"
        else:
            adapts, ending = False, "Learning rate too small. Stopping." if adapts else "Stopping."
        if e.verbose:
            print(f"{message} {ending}")
        return not adapts
