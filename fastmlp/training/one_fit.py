"""One network's fit among many: its options, its data and its result.

It reads its rows of the shared table, and has all its steps ready for one compiled call.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..engine.fits import WholeFit
from ..engine.job import training_work
from ..engine.lowering import can_compile
from ..engine.spares import Spares
from ..errors import FileError, InputError
from ..inputs.samples import adopt, undoing
from ..inputs.shared import SharedTable
from ..inputs.targets import Samples
from ..model.body import Body, Plan
from ..optim.optimizers import has_rule
from .early_stopping import EarlyStopping
from .finished import Finished
from .fit import CALMER, fit
from .history import History
from .loop import Task
from .run import Callbacks, NotFinite, Run

MOST_STEPS = 1_000_000  # of a compiled call, which needs the hyperparameters of all its steps
WAITING = "interrupted"  # what the history of a fit says that has not ended


class Data(NamedTuple):
    """What a network is trained on, and judged by.

    Attributes
    ----------
    samples : Samples
        The whole table.
    rows : ndarray of shape (n_rows,) int32
        The numbers of its rows.
    held_out : Samples or None
    held_out_rows : ndarray of shape (n_held_out,) int32, or None
    """

    samples: Samples
    rows: np.ndarray
    held_out: Samples | None
    held_out_rows: np.ndarray | None


@dataclass(eq=False)
class OneFit:
    """One network's fit: what was asked for, and what came of it.

    Attributes
    ----------
    where : str
        The network's number, for errors.
    identity : str
        What is trained how, if it is kept.
    plan : Plan or None
        None if the network cannot be trained on the table.
    work : int
        Multiplications, by which the longest begin first.
    n_rows, n_params : int
        Samples of an epoch, and parameters of the network.
    """

    number: int
    where: str
    shuffle: bool
    drop_last: bool
    network: Body
    table: SharedTable
    optimizer: Any
    epochs: int
    batch_size: int
    rows: Any
    validation_rows: Any
    stopping: EarlyStopping | None
    plan: Plan | None = None
    work: int = 0
    n_rows: int = 0
    n_params: int = 0
    history: History = field(default_factory=lambda: History(stopped=WAITING))
    identity: str = ""
    run: Run | None = None
    whole: WholeFit | None = None
    rates: np.ndarray | None = None

    def measure(self) -> None:
        """Set plan and work."""
        try:
            self.plan = self.table.plan(self.where, self.network)
            self.n_rows = self.table.numbers(self.where, self.rows).size
        except InputError as error:
            self.plan = None
            self.fail(error)
            return
        self.n_params = sum(group.size for group in self.plan.groups)
        self.work = self.epochs * training_work(self.n_params, self.n_rows)

    def without_table(self) -> OneFit:
        """A copy to be sent to a worker, which has the table already."""
        nothing: Any = None
        return dataclasses.replace(self, table=nothing)

    @property
    def is_done(self) -> bool:
        """Whether nothing remains to be done."""
        return self.history.stopped != WAITING

    @property
    def ones(self) -> list[OneFit]:
        """The fits that begin and end with it: itself."""
        return [self]

    @property
    def apart(self) -> list[OneFit]:
        """Fits that have to begin one by one instead."""
        return []

    def read(self, finished: Finished | None) -> Data | None:
        """Read the rows and build the network; None if it is known to be done."""
        assert self.plan is not None
        network, table, where, plan = self.network, self.table, self.where, self.plan
        samples, rows, coder = table.read(where, network, plan.n_outputs, self.rows)
        held_out = held_rows = None
        if self.validation_rows is not None:
            inner = f"{where}, validation rows"
            held_rows = table.numbers(inner, self.validation_rows)
            held_out = samples._replace(
                encoded=table.encoded(inner, coder, network.dtype, held_rows),
                weights=table.weights(inner, network.dtype, held_rows),
            )
        if has_rule(self.optimizer):
            self.optimizer.group_factors(plan.groups)
        undo = undoing(network)
        adopt(network, plan, coder)
        if finished is not None:
            data = [*samples.encoded, samples.weights, rows]
            if held_out is not None and held_rows is not None:
                data += [*held_out.encoded, held_rows]
            try:
                if self._was_done(finished, samples.X, data):
                    return None
            except FileError:
                undo()
                raise
        return Data(samples, rows, held_out, held_rows)

    def task(self, data: Data, spares: Spares) -> Task:
        """What is trained, by one thread."""
        return Task(
            self.network, data.samples, data.held_out, self.optimizer,
            min(self.batch_size, data.rows.size), n_threads=1, spares=spares, rows=data.rows,
            held_out_rows=data.held_out_rows, drop_last=self.drop_last,
        )  # fmt: skip

    def begin(self, finished: Finished | None, spares: Spares) -> None:
        """Read the rows and build everything, for `whole`.

        There is none if the network is known to be done, or needs Python between its steps.
        """
        data, network = self.read(finished), self.network
        if data is None:
            return
        task = self.task(data, spares)
        is_long = self.epochs * task.steps_per_epoch > MOST_STEPS
        if is_long or not can_compile(network.layers, network.loss, self.optimizer):
            return
        asked = Callbacks(stopping=self.stopping)
        run = Run(task, self.epochs, self.shuffle, asked, in_one_call=True)
        if not run.trainer.is_one_call(self.epochs):
            return
        numbers, self.rates = run.step_numbers(self.epochs)
        run.prepare_judge()
        assert run.trainer.engine is not None
        self.whole = WholeFit(
            run.trainer.engine, data.samples, data.rows, task.n_rows, self.shuffle, run.state,
            numbers, self.epochs,
        )  # fmt: skip
        self.run = run

    def _was_done(self, finished: Finished, X: Any, data: list[np.ndarray]) -> bool:
        """Whether a call before this one has trained the network, which has its parameters then."""
        network, stopping = self.network, self.stopping
        options = {
            "optimizer": self.optimizer, "epochs": self.epochs, "batch_size": self.batch_size,
            "shuffle": self.shuffle, "early stopping": stopping, "seed": network.seed,
        }  # fmt: skip
        if self.drop_last:
            options["drop_last"] = True
        self.identity = finished.identify(network, X, data, options)
        history = finished.find(self.number, self.identity, network.learned)
        if history is not None:
            self.history = history
        return history is not None

    def end(self, interrupted: bool = False) -> list[OneFit]:
        """Fill the history from what the steps have left, and release everything else.

        Returns the fits that have ended.
        """
        run, whole, rates = self.run, self.whole, self.rates
        assert run is not None
        assert whole is not None
        assert rates is not None
        try:
            losses = whole.losses[: whole.steps_done]
            run.take_over(losses, rates, whole.seconds, interrupted)
            self.history = run.history
        except NotFinite as found:
            self.fail(InputError(self.where, found.expected, found.got, CALMER))
        self.run = self.whole = self.rates = None
        return [self]

    def alone(self) -> None:
        """Train the network by `Network.fit`, which can call Python between steps."""
        table, callbacks = self.table, [] if self.stopping is None else [self.stopping]
        X, y, weights = table.of_rows(self.where, self.rows)
        held_out = None
        if self.validation_rows is not None:
            held_out = table.of_rows(self.where, self.validation_rows)
        try:
            self.history = fit(
                self.network, X, y, optimizer=self.optimizer, epochs=self.epochs,
                batch_size=self.batch_size, validation_data=held_out, sample_weight=weights,
                shuffle=self.shuffle, drop_last=self.drop_last, n_threads=None, callbacks=callbacks,
                progress=False, keep_finite=False, gradient_accumulation_steps=1, comm=None,
            )  # fmt: skip
        except InputError as error:
            self.fail(error)

    def fail(self, error: InputError) -> None:
        """Note why the network was not trained."""
        self.history = History(stopped="failed", error=str(error))
