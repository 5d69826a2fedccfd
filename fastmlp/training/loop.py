"""The fit loop that `Network.fit` and the estimators share.

A `Trainer` runs epochs, compiled or layer by layer, and judges them by held-out rows, within the
compiled call if possible. What differs between the two kinds of fit (the order of rows, the numbers
of each step, what is recorded, when to stop) is in the methods of the protocol `Fit`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..distributed.ranks import Ranks
from ..distributed.steps import SharedSteps
from ..engine import judging, layerwise
from ..engine.engine import ENDLESS, Engine, Patience, epochs_per_call, never
from ..engine.job import Convention, training_work
from ..engine.spares import Spares, give_back, take, training_engine
from ..inputs.tables import table_of
from ..inputs.targets import Samples
from ..kernels.compiler.memory import address_of
from ..kernels.rules.losses import means_of_epochs
from ..kernels.tuning import SHARED_SPARE_BYTES
from ..model.body import Body
from ..optim.averaging import Averaging


class Task(NamedTuple):
    """What a fit trains, and what one of its steps consists of.

    Attributes
    ----------
    network : Body
        Built.
    samples : Samples
    held_out : Samples or None
        The rows that each epoch is judged by.
    optimizer : object
        One with a rule, or a user-defined one.
    batch_size : int
    accumulate : int
        Batches per step.
    averaging : Averaging or None
    convention : Convention or None
        How loss and penalties are combined; None means as in `Network`.
    n_threads : int or None
    keeps_engine : bool
        Whether the engine is kept for a fit that may follow.
    spares : Spares or None
        Where it is kept, for networks of any structure; None means in the network.
    rows, held_out_rows : ndarray of shape (n,) int32, or None
        The numbers of the samples that are used; None means all.
    drop_last : bool
        Whether the rows of an epoch that do not fill its last step are left out.
    n_stored : int
        Rows of a stored table, of which `samples` are a window; 0 if they are all there are.
    ranks : Ranks or None
        The processes that share each step.
    """

    network: Body
    samples: Samples
    held_out: Samples | None
    optimizer: Any
    batch_size: int
    accumulate: int = 1
    averaging: Averaging | None = None
    convention: Convention | None = None
    n_threads: int | None = None
    keeps_engine: bool = True
    spares: Spares | None = None
    rows: np.ndarray | None = None
    held_out_rows: np.ndarray | None = None
    drop_last: bool = False
    n_stored: int = 0
    ranks: Ranks | None = None

    @property
    def n_samples(self) -> int:
        """Samples that epochs draw from."""
        if self.n_stored:
            return self.n_stored
        if self.ranks is not None and self.ranks.own is not None:
            return self.ranks.own.n_rows
        return int(self.samples.X.shape[0]) if self.rows is None else self.rows.size

    @property
    def n_rows(self) -> int:
        """Samples of an epoch: at least those of one step."""
        return rows_of_epoch(self.n_samples, self.rows_per_step, self.drop_last)

    @property
    def n_held_out(self) -> int:
        """Held-out samples."""
        if self.held_out_rows is not None:
            return self.held_out_rows.size
        return 0 if self.held_out is None else int(self.held_out.X.shape[0])

    @property
    def rows_per_step(self) -> int:
        """Rows per update of the parameters."""
        return self.batch_size * self.accumulate

    @property
    def steps_per_epoch(self) -> int:
        """Updates per epoch."""
        return -(-self.n_rows // self.rows_per_step)


def rows_of_epoch(n_samples: int, rows_per_step: int, drop_last: bool) -> int:
    """How many samples an epoch visits; a step that is not full is left out if others are."""
    n_full = n_samples // rows_per_step * rows_per_step
    return n_full if drop_last and n_full else n_samples


class Looks(NamedTuple):
    """Who observes a fit while it runs, which decides how much of it can be one compiled call.

    Attributes
    ----------
    n_epochs : int
        Maximum number of epochs.
    watched : bool
        Whether something in Python (a callback, a progress bar) observes each epoch.
    by_batches : bool
        Whether a callback observes each step.
    may_share : bool
        Whether epochs may share a call if nothing observes them.
    grading : callable or None
        Makes the grading by which the compiled call scores held-out rows; None if only Python can
        score them.
    rule : Rule
        When the held-out rows end the fit.
    best_params : ndarray like `Body.learned`, optional
        Memory for the parameters of the best epoch.
    in_one_call : bool
        Whether all epochs must be one compiled call, however long it takes.
    """

    n_epochs: int
    watched: bool
    by_batches: bool = False
    may_share: bool = True
    grading: Callable[[], judging.Grading] | None = None
    rule: judging.Rule = judging.Rule()
    best_params: np.ndarray | None = None
    in_one_call: bool = False


class Trainer:
    """Runs steps of a fit, and judges its epochs.

    Parameters
    ----------
    task : Task
    looks : Looks
    compiles : bool, default True
        Whether all parts have kernels.
    first_step : int, default 0
        Number of the fit's first step, if it continues an earlier one.

    Attributes
    ----------
    steps_per_epoch, rows_per_step, steps_per_call, epochs_per_call : int
        A call runs `epochs_per_call` epochs, or a part of one.
    samples : Samples or None
        What it trains on; None once they are let go.
    average : ndarray or None
        The averaged parameters and buffers.
    engine : Engine or None
        None if steps run layer by layer.
    shared : SharedSteps or None
        Steps that several processes make together.
    judge : Judge or None
        Judges epochs within the compiled call; None if Python does.
    """

    def __init__(
        self, task: Task, looks: Looks, compiles: bool = True, first_step: int = 0
    ) -> None:
        self.task, self.n_rows, self._first_step = task, task.n_rows, first_step
        self.samples: Samples | None = task.samples
        self.rows_per_step, self.steps_per_epoch = task.rows_per_step, task.steps_per_epoch
        n_at_once = min(self.n_rows, task.samples.X.shape[0]) if task.n_stored else self.n_rows
        self.steps_per_call = 1 if looks.by_batches else -(-n_at_once // self.rows_per_step)
        self.epochs_per_call = 1
        self.average = None if task.averaging is None else task.averaging.begin(task.network)
        self.engine: Engine | None = None
        self.judge: judging.Judge | None = None
        self.shared: SharedSteps | None = None
        if task.ranks is not None:
            self.shared = SharedSteps(
                task.ranks, task.network, task.samples, task.optimizer, task.rows_per_step,
                task.n_threads,
            )  # fmt: skip
            self.engine = self.shared.engine
        elif compiles:
            self._compile(looks)

    def _compile(self, looks: Looks) -> None:
        """Make the engine and, if nothing in Python observes each epoch, its judge."""
        task, network, held_out = self.task, self.task.network, self.task.held_out
        judges = (
            held_out is not None
            and looks.grading is not None
            and not looks.watched
            and (looks.in_one_call or judging.is_quick(network, task.n_held_out))
        )
        if looks.may_share and not looks.watched and (judges or held_out is None):
            work = training_work(network.work_per_row, self.rows_per_step) * self.steps_per_epoch
            if held_out is not None:
                work += judging.work_of(network, task.n_held_out)
            most = epochs_per_call(work, self.n_rows) if not looks.in_one_call else looks.n_epochs
            self.epochs_per_call = int(min(most, looks.n_epochs))
        self.engine = training_engine(
            network, table_of(task.samples.X, network.dtype), task.batch_size, task.n_threads,
            task.optimizer, task.convention,
            steps_per_call=self.steps_per_call * self.epochs_per_call,
            accumulate=task.accumulate, averaged=self.average, is_kept=task.keeps_engine,
            shared=task.spares,
        )  # fmt: skip
        if judges and held_out is not None and looks.grading is not None:
            self.judge = judging.Judge(
                self.engine, network, held_out, looks.grading(), looks.rule, self.epochs_per_call,
                looks.best_params, self.judged_params, task.held_out_rows,
            )  # fmt: skip

    def is_one_call(self, n_epochs: int) -> bool:
        """Whether a compiled call can run so many epochs, and judge them.

        Parameters
        ----------
        n_epochs : int
        """
        judges = self.task.held_out is None or self.judge is not None
        return self.engine is not None and judges and self.epochs_per_call == n_epochs

    def read(self, samples: Samples) -> None:
        """Train on other samples from now on, as many as before and of the same kind.

        Parameters
        ----------
        samples : Samples
        """
        assert self.engine is not None
        network, self.samples = self.task.network, samples
        spares, table = network.spare_engines, table_of(samples.X, network.dtype)
        self.engine = take(spares, self.engine.key, table, _no_other)

    def let_go(self) -> None:
        """Release the samples, until `read`."""
        nothing: Any = None
        if self.task.samples is not None:
            self.task = self.task._replace(samples=nothing)
        self.samples = None

    def read_window(self, samples: Samples) -> None:
        """Train on a window of a stored table from now on.

        Parameters
        ----------
        samples : Samples
            In memory of the same size and kind as before.
        """
        self.samples = samples
        if self.engine is not None:
            self.engine.read_from(table_of(samples.X, self.task.network.dtype))

    @property
    def judged_params(self) -> np.ndarray:
        """The parameters and buffers that are judged, and kept if they are the best so far."""
        averaging, average = self.task.averaging, self.average
        if average is not None and averaging is not None and averaging.apply:
            return average
        return self.task.network.learned

    def train(
        self,
        order: np.ndarray,
        numbers: np.ndarray,
        memory: np.ndarray,
        step: int,
        patience: Patience = ENDLESS,
        ends: Callable[[], bool] = never,
    ) -> np.ndarray:
        """Run some steps; the resulting bits do not depend on how steps are divided into calls.

        Parameters
        ----------
        order : ndarray of shape (n_epochs, n_rows) or (n,)
            Row numbers in the order of training: whole epochs, or some steps of one epoch.
        numbers : ndarray of shape (n_steps, n_numbers)
            Hyperparameters of each step.
        memory : ndarray
            The optimizer's state.
        step : int
            The number of the first of these steps.
        patience : Patience, default endless
            When the training loss ends the call.
        ends : callable, optional
            Returns whether Ctrl-C has asked to stop.

        Returns
        -------
        ndarray of shape (n_steps,)
            The loss of each step; fewer steps if Ctrl-C ended the call.
        """
        task, samples = self.task, self.samples
        assert samples is not None
        if task.averaging is not None:
            steps = step - self._first_step + np.arange(len(numbers))
            numbers = np.hstack([numbers, task.averaging.numbers(steps)])
        if self.shared is not None:
            return self.shared.train(order.ravel(), numbers, memory, step, ends, task.averaging)
        if self.engine is not None:
            return self.engine.train(
                order, samples.encoded, samples.weights, memory, numbers, step, patience, ends
            )
        return layerwise.train(
            task.network, samples.X, order, task.batch_size, samples.encoded, samples.weights,
            task.optimizer, memory, numbers, step, ends, task.accumulate, task.averaging,
        )  # fmt: skip

    @property
    def enough_after(self) -> int:
        """The number of epochs after which the last call stopped early, or 0."""
        return 0 if self.engine is None else int(self.engine.call["enough_after"])

    @property
    def best_and_stale(self) -> tuple[float, int]:
        """The state of patience after the last call: its `best_loss` and `n_stale`."""
        if self.engine is None:
            return ENDLESS.best_loss, ENDLESS.n_stale
        return self.engine.best_and_stale

    def mean_losses(self, losses: np.ndarray) -> list[float]:
        """Mean loss of each epoch, from the losses of all its steps (n_steps,)."""
        n_steps = self.steps_per_epoch
        losses, means = np.ascontiguousarray(losses), np.empty(len(losses) // n_steps)
        means_of_epochs(
            address_of(losses, "losses", np.float64, losses.size), means.size, n_steps,
            self.rows_per_step, self.n_rows,
            address_of(means, "means", np.float64, means.size, written=True),
        )  # fmt: skip
        return means.tolist()

    def judged(
        self, n_epochs: int, look: Callable[[], tuple[float, float]]
    ) -> list[tuple[float, float]]:
        """Loss and score on the held-out rows, if there are any, for the epochs of the last call.

        Parameters
        ----------
        n_epochs : int
            How many epochs; one if Python judges.
        look : callable
            Computes both for the network as it is.

        Returns
        -------
        list of (float, float)
        """
        if self.task.held_out is None or n_epochs == 0:
            return []
        if self.judge is not None:
            found = self.judge.losses[:n_epochs], self.judge.scores[:n_epochs]
            return [*zip(*(values.tolist() for values in found), strict=True)]
        averaging = self.task.averaging
        with contextlib.nullcontext() if averaging is None else averaging.judged(self.task.network):
            return [look()]

    def finish(self, is_restored: bool) -> None:
        """End a fit: apply the average if that is wanted, and keep the engine for the next fit.

        Parameters
        ----------
        is_restored : bool
            Whether early stopping has restored the parameters of the best epoch.
        """
        if self.task.averaging is not None:
            self.task.averaging.finish(self.task.network, is_restored)
        if self.engine is not None and self.task.spares is not None:
            give_back(self.task.spares, [self.engine], SHARED_SPARE_BYTES)
        elif self.engine is not None:
            give_back(self.task.network.spare_engines, [self.engine])


def _no_other() -> Engine:
    raise AssertionError("an engine that was given back")


class Fit(Protocol):
    """What one kind of fit defines, in the order in which `run` calls it."""

    trainer: Trainer

    @property
    def n_left(self) -> int:
        """Number of epochs left; 0 ends the fit."""

    def begin(self) -> None:
        """Called before the epochs of a call."""

    def train(self, n_epochs: int) -> Any:
        """Train up to `n_epochs` epochs; returns what `judge`, `record` and `look` need."""

    def judge(self, trained: Any) -> Any:
        """Compute loss and score on the held-out rows."""

    def record(self, trained: Any, found: Any) -> None:
        """Add the epochs to the history."""

    def look(self, trained: Any, found: Any) -> None:
        """Notify callbacks, and decide whether to continue."""


def run(fit: Fit) -> None:
    """Run a fit until no epochs are left: train, judge, record, decide."""
    while fit.n_left > 0:
        fit.begin()
        trained = fit.train(min(fit.trainer.epochs_per_call, fit.n_left))
        found = fit.judge(trained)
        fit.record(trained, found)
        fit.look(trained, found)
