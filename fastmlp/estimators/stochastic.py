"""Training by mini-batches in scikit-learn's order of events: shuffle, epoch, score, stop.

Epochs that nobody watches share a compiled call, which ends where there is something to decide.
Random numbers are drawn as scikit-learn draws them, so from one `random_state` both see the same
initial weights and the same batches.
"""

from __future__ import annotations

import time
import warnings
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ..engine import ENDLESS, Engine, Patience, training_work
from ..kernels.memory import aligned_copy
from ..optimizers import Optimizer
from ..schedules import Schedule, rates_of
from ..tables import table_of
from ..targets import Samples
from ..training import mean_losses
from .callbacks import Listeners
from .parameters import optimizer_for, schedule_for

NOT_FINITE = (  # scikit-learn's sentence, which scripts and tests look for
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed."
)
_SMALLEST_ADAPTIVE_RATE = 1e-6
# At most so many rows in the order of visits, and multiplications before Ctrl-C is noticed, a call.
_ROWS_A_CALL, _WORK_A_CALL = 131_072, 2_000_000_000


class Validation(NamedTuple):
    """What the model is judged on after each epoch: rows, targets as given, and for the kernels."""

    X: Any
    y: Any
    sample_weight: Any
    samples: Samples


class Rule(NamedTuple):
    """What an estimator's parameters say about its steps; no schedule stands for scikit-learn's."""

    optimizer: Optimizer
    schedule: Schedule | None
    max_iter: int


def rule_of(estimator: Any) -> Rule:
    """The optimizer and the schedule that the parameters describe."""
    return Rule(optimizer_for(estimator), schedule_for(estimator), estimator.max_iter)


def train(
    estimator: Any,
    rule: Rule,
    samples: Samples,
    validation: Validation | None,
    incremental: bool,
    listeners: Listeners,
) -> None:
    """Train the estimator's network for `max_iter` epochs, or one if incremental."""
    e, network = estimator, estimator._network
    n_rows = samples.X.shape[0]
    batch_size = _batch_size(e, n_rows)
    _prepare(e, rule.optimizer, incremental)
    is_watched = validation is not None or incremental or bool(listeners) or e.verbose
    n_steps = -(-n_rows // batch_size)
    work = training_work(network, batch_size) * n_steps
    n_epochs = 1 if is_watched else _epochs_a_call(e, rule, work, n_rows)
    engine = Engine(
        network, table_of(samples.X, network.dtype), batch_size, e.n_threads, rule.optimizer,
        convention=e._convention(), steps_a_call=n_epochs * n_steps,
    )  # fmt: skip
    order = np.arange(n_rows)
    e.n_iter_, stops = 0, False
    e._best_params = network.params.copy() if e.early_stopping else None
    try:
        while not stops and e.n_iter_ < e.max_iter:
            started = time.perf_counter()
            listeners.epoch_begins()
            orders = _Orders(e, order, min(n_epochs, e.max_iter - e.n_iter_))
            losses = _epochs(e, engine, rule, samples, orders.visits)
            order = orders.after(len(losses))
            diverged = _count_epochs(e, losses, n_rows, time.perf_counter() - started)
            score = None if validation is None else (np.nan, np.nan)
            if validation is not None and not diverged:
                score = _validate(e, validation)
            _record_score(e, score)
            stops = _after_epochs(e, score, rule) or diverged
            stops = listeners.epoch_ends() or stops or incremental
        if not stops and rule.schedule is None:  # the end of a schedule is where it should end
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({e.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=4,
            )
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=4)
    if e._best_params is not None:
        network.params[...] = e._best_params


def _batch_size(e: Any, n_rows: int) -> int:
    if isinstance(e.batch_size, str):
        return min(200, n_rows)
    if e.batch_size > n_rows:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
            stacklevel=5,
        )
    return int(np.clip(e.batch_size, 1, n_rows))


def _prepare(e: Any, optimizer: Optimizer, incremental: bool) -> None:
    """The optimizer's memory: kept by partial_fit and, unlike in scikit-learn, by a warm start."""
    network, size = e._network, optimizer.n_vectors * e._network.params.size
    kept = e._optimizer_state
    layout = (optimizer.name, *(W.shape for W in e.coefs_))
    is_new = kept is None or kept.size != size or e._state_of != layout
    if is_new or not (incremental or e.warm_start):
        e._optimizer_state = optimizer.initial_state(network.params.size, network.dtype)
        e._state_of, e._n_steps = layout, 0
    elif kept.dtype != network.dtype:
        e._optimizer_state = aligned_copy(kept.astype(network.dtype))
    if incremental and not is_new:
        return
    e._learning_rate = float(e.learning_rate_init)


def _step_numbers(e: Any, rule: Rule, n_steps: int) -> np.ndarray:
    """Hyperparameters of the next epoch's steps; the last rate is remembered."""
    if rule.schedule is None:
        rates = np.full(n_steps, e._learning_rate)
    else:
        steps = e._n_steps + np.arange(n_steps)
        rates = rates_of(rule.schedule, steps, n_steps * rule.max_iter)
        e._learning_rate = float(rates[-1])
    return rule.optimizer.step_numbers(e._n_steps, rates)


def _epochs_a_call(e: Any, rule: Rule, work: int, n_rows: int) -> int:
    """How many epochs may run without a look at them: one where the next has other rates.

    work: multiplications of an epoch.
    """
    if rule.schedule is not None or e.learning_rate == "invscaling":
        return 1
    return int(max(1, min(_ROWS_A_CALL // n_rows, _WORK_A_CALL // work, e.max_iter)))


class _Orders:
    """Orders of visits (n_epochs, n_rows), each a shuffle of the one before, drawn ahead.

    If fewer epochs are trained than were drawn for, `after` takes the other draws back. Shuffling
    an order is what scikit-learn's choice of its elements by a permutation comes to, and int64
    numbers are those that NumPy shuffles fastest.
    """

    def __init__(self, e: Any, order: np.ndarray, n_epochs: int) -> None:
        self._random, self._shuffles = e._random_state, e.shuffle
        self._before = self._random.get_state() if n_epochs > 1 else None
        self.visits = np.empty((n_epochs, order.size), np.int32)
        order = order.astype(np.int64)
        for place in self.visits:
            self._shuffle(order)
            place[...] = order

    def _shuffle(self, order: np.ndarray) -> None:
        if self._shuffles:
            self._random.shuffle(order)

    def after(self, n_epochs: int) -> np.ndarray:
        """The order of the last of so many epochs, which are then all that were drawn."""
        if n_epochs < len(self.visits):
            self._random.set_state(self._before)
            again = np.arange(self.visits.shape[1])
            for _ in range(n_epochs):
                self._shuffle(again)
        return self.visits[n_epochs - 1]


def _epochs(
    e: Any, engine: Engine, rule: Rule, samples: Samples, orders: np.ndarray
) -> list[float]:
    """All batches once in each of the orders (n_epochs, n_rows), up to an epoch to decide after.

    Returns the mean loss of each epoch.
    """
    (n_epochs, n_rows), batch_size = orders.shape, engine.batch_size
    n_steps = -(-n_rows // batch_size)
    patience = ENDLESS
    if not e.early_stopping:
        most = min(e.n_iter_no_change, np.iinfo(np.int32).max)  # it may be infinite
        patience = Patience(most, e.tol, e.best_loss_, e._no_improvement_count)
    losses = engine.train(
        orders, samples.encoded, samples.weights, e._optimizer_state,
        _step_numbers(e, rule, n_epochs * n_steps), e._n_steps, patience,
    ).reshape(n_epochs, n_steps)  # fmt: skip
    if not e.early_stopping:
        e.best_loss_, e._no_improvement_count = engine.patience.best_loss, engine.patience.n_stale
    n_done = int(engine.call["enough_after"]) or n_epochs
    e._n_steps += n_done * n_steps
    return mean_losses(losses[:n_done], n_rows, batch_size)


def _count_epochs(e: Any, losses: list[float], n_rows: int, seconds: float) -> bool:
    """Take down the losses of some epochs, up to the first that is not finite.

    Says whether there is one. Without early stopping, which has better weights to go back to, that
    is an error.
    """
    finite = np.isfinite(losses)
    diverged = not finite.all()
    n_good = int(np.argmin(finite)) + bool(e.early_stopping) if diverged else len(losses)
    e.n_iter_ += n_good
    e.t_ += n_good * n_rows
    good, rate = losses[:n_good], e._learning_rate
    entries = {
        "loss": good,
        "learning_rate": [rate] * n_good,
        "seconds": [seconds / len(losses)] * n_good,
    }
    e.loss_curve_ += good
    for key, values in entries.items():
        e.history_.setdefault(key, []).extend(values)
    if diverged:  # as soon as one batch's is not
        epoch = e.n_iter_ + (not e.early_stopping)
        place = f"The loss is no longer a number in epoch {epoch}, at learning rate {rate:g}."
        e._optimizer_state = None  # it holds such numbers, too
        if not e.early_stopping:
            raise ValueError(f"{NOT_FINITE} {place}")
        warnings.warn(
            f"{place} The best weights before it are restored; lower the learning rate or scale "
            "the data.",
            ConvergenceWarning,
            stacklevel=6,
        )
    e.loss_ = losses[n_good - 1]
    return diverged


def _validate(e: Any, validation: Validation) -> tuple[float, float]:
    """Loss and score on the validation data; the score is the loss, negated, if that is wanted."""
    outputs = e._network._outputs(validation.samples.X, link=False)
    loss, _ = e._network.loss.rows(outputs, *validation.samples.encoded, validation.samples.weights)
    loss *= e._convention().loss_scale
    if e.scoring == "loss":
        return loss, -loss
    return loss, e._validation_score(validation, outputs)


def _record_score(e: Any, score: tuple[float, float] | None) -> None:
    if score is not None:
        for key, value in zip(("validation_loss", "validation_score"), score, strict=True):
            e.history_.setdefault(key, []).append(value)
    if e.verbose:
        print(f"Iteration {e.n_iter_}, loss = {e.loss_:.8f}")
        if score is not None:
            print(f"Validation score: {score[1]:f}")


def _after_epochs(e: Any, score: tuple[float, float] | None, rule: Rule) -> bool:
    """See whether patience is worn out, change the rate; says whether to stop.

    A schedule plans all epochs, of which the last, with the smallest rates, bring much: only
    held-out samples end it sooner.
    """
    what = f"Training loss did not improve more than tol={e.tol:f}"
    if e.early_stopping:
        assert score is not None
        _keep_best(e, score[1])
        what = f"Validation score did not improve more than tol={e.tol:f}"
    if e.learning_rate == "invscaling" and e.solver != "adam":
        e._learning_rate = float(e.learning_rate_init) / (e.t_ + 1) ** e.power_t
    is_planned = rule.schedule is not None and not e.early_stopping
    if e._no_improvement_count <= e.n_iter_no_change or is_planned:
        return False
    stops = _out_of_patience(e, f"{what} for {e.n_iter_no_change} consecutive epochs.")
    if not stops:
        e._no_improvement_count = 0
    return stops


def _keep_best(e: Any, score: float) -> None:
    e.validation_scores_.append(score)
    worse = score < e.best_validation_score_ + e.tol
    e._no_improvement_count = e._no_improvement_count + 1 if worse else 0
    if score > e.best_validation_score_:
        e.best_validation_score_ = score
        e._best_params = e._network.params.copy()


def _out_of_patience(e: Any, message: str) -> bool:
    """Stop, or go on at a fifth of the rate where it adapts."""
    adapts = e.learning_rate == "adaptive" and e.solver != "adam"
    if adapts and e._learning_rate > _SMALLEST_ADAPTIVE_RATE:
        e._learning_rate /= 5.0
        ending = f"Setting learning rate to {e._learning_rate:f}"
    else:
        adapts, ending = False, "Learning rate too small. Stopping." if adapts else "Stopping."
    if e.verbose:
        print(f"{message} {ending}")
    return not adapts
