"""Fits of several networks side by side: what each needs, and the order in which they begin.

Python prepares a few fits beside those that run, and collects those that have ended, while threads
compute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..engine.fits import FitThreads, WholeFit
from ..engine.job import training_work
from ..engine.lowering import can_compile
from ..engine.spares import Spares
from ..errors import FileError, InputError, counted
from ..inputs.samples import adopt, undoing
from ..inputs.shared import SharedTable
from ..kernels.tuning import FITS_READY, READY_BYTES
from ..model.body import Body, Plan
from ..optim.optimizers import has_rule
from .early_stopping import EarlyStopping
from .finished import Finished
from .fit import CALMER, fit
from .history import History
from .interrupts import CtrlC
from .loop import Task
from .run import Callbacks, NotFinite, Run

MOST_STEPS = 1_000_000  # of a compiled call, which needs the hyperparameters of all its steps
_WAITING, _FINAL = "interrupted", ("finished", "early_stopping")
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.02  # seconds between looks at what has ended


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
    """

    number: int
    where: str
    shuffle: bool
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
    history: History = field(default_factory=lambda: History(stopped=_WAITING))
    identity: str = ""
    run: Run | None = None
    whole: WholeFit | None = None
    rates: np.ndarray | None = None

    def measure(self) -> None:
        """Set plan and work."""
        try:
            self.plan = self.table.plan(self.where, self.network)
            n_rows = self.table.numbers(self.where, self.rows).size
        except InputError as error:
            self.fail(error)
            return
        n_params = sum(group.size for group in self.plan.groups)
        self.work = self.epochs * training_work(n_params, n_rows)

    @property
    def is_done(self) -> bool:
        """Whether nothing remains to be done."""
        return self.history.stopped != _WAITING

    def begin(self, finished: Finished | None, spares: Spares) -> None:
        """Read the rows and build everything, for `whole`.

        There is none if the network is known to be done, or needs Python between its steps.
        """
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
                    return
            except FileError:
                undo()
                raise
        batch_size = min(self.batch_size, rows.size)
        is_long = self.epochs * -(-rows.size // batch_size) > MOST_STEPS
        if is_long or not can_compile(network.layers, network.loss, self.optimizer):
            return
        task = Task(
            network, samples, held_out, self.optimizer, batch_size,
            n_threads=1, spares=spares, rows=rows, held_out_rows=held_rows,
        )  # fmt: skip
        asked = Callbacks(stopping=self.stopping)
        run = Run(task, self.epochs, self.shuffle, asked, in_one_call=True)
        if not run.trainer.is_one_call(self.epochs):
            return
        numbers, self.rates = run.step_numbers(self.epochs)
        run.prepare_judge()
        assert run.trainer.engine is not None
        self.whole = WholeFit(
            run.trainer.engine, samples, rows, self.shuffle, run.state, numbers, self.epochs
        )
        self.run = run

    def _was_done(self, finished: Finished, X: Any, data: list[np.ndarray]) -> bool:
        """Whether a call before this one has trained the network, which has its parameters then."""
        network, stopping = self.network, self.stopping
        options = {
            "optimizer": self.optimizer, "epochs": self.epochs, "batch_size": self.batch_size,
            "shuffle": self.shuffle, "early stopping": stopping, "seed": network.seed,
        }  # fmt: skip
        self.identity = finished.identify(network, X, data, options)
        history = finished.find(self.number, self.identity, network.learned)
        if history is not None:
            self.history = history
        return history is not None

    def end(self, interrupted: bool = False) -> None:
        """Fill the history from what the steps have left, and release everything else."""
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
                shuffle=self.shuffle, n_threads=None, callbacks=callbacks, progress=False,
                keep_finite=False, gradient_accumulation_steps=1,
            )  # fmt: skip
        except InputError as error:
            self.fail(error)

    def fail(self, error: InputError) -> None:
        """Note why the network was not trained."""
        self.history = History(stopped="failed", error=str(error))


class SideBySide:
    """Begins fits, the longest first, and collects what has ended.

    Parameters
    ----------
    fits : sequence of OneFit
    n_threads : int
    progress : bool
        Whether to show how far all of them are.
    finished : Finished or None
        Where those that are done are kept.
    """

    def __init__(
        self, fits: Sequence[OneFit], n_threads: int, progress: bool, finished: Finished | None
    ) -> None:
        for one in fits:
            one.measure()
        self._finished, self._spares = finished, Spares()
        self._fits = sorted((one for one in fits if one.plan), key=lambda one: -one.work)
        self._threads, self._ctrl_c = FitThreads(max(1, min(n_threads, len(self._fits)))), CtrlC()
        self._running, self._alone = list[OneFit](), list[OneFit]()
        self._shortest = _LONGEST_PAUSE
        self._bar = _Bar(self._fits, progress)

    def run(self) -> None:
        """Train all networks, unless Ctrl-C ends it earlier."""
        with self._bar, self._ctrl_c:
            self._ctrl_c.is_computing = True
            try:
                with self._threads:
                    self._run_compiled()
            except KeyboardInterrupt:
                self._alone = []
            finally:
                self._collect()
                for one in self._running:  # nobody works on them any more
                    one.end(interrupted=True)
                self._save()
            self._ctrl_c.is_computing = False
            for one in self._alone:
                if not self._ctrl_c.pressed:
                    one.alone()
                    self._note(one)
            self._save()

    def _save(self) -> None:
        if self._finished is not None:
            self._finished.save()

    def _note(self, one: OneFit) -> None:
        """Count a network that has ended, and keep it if it may not be trained again."""
        self._bar.add(one)
        if self._finished is not None and one.history.stopped in _FINAL:
            self._finished.add(one.number, one.identity, one.network.learned, one.history)

    def _run_compiled(self) -> None:
        for one in self._fits:
            while not self._has_room():
                self._pass_time()
            if self._ctrl_c.pressed:
                break
            self._begin(one)
        while self._running and not self._ctrl_c.pressed:
            self._pass_time()
        if self._running:
            self._threads.halt()
            while not self._threads.are_done and not self._ctrl_c.ends_epoch():
                self._pass_time()
            self._threads.stop()

    def _begin(self, one: OneFit) -> None:
        try:
            one.begin(self._finished, self._spares)
        except FileError:
            raise
        except InputError as error:
            one.fail(error)
        if one.whole is not None:
            self._running.append(one)
            self._threads.put(one.whole)
        elif one.is_done:
            self._bar.add(one)
        else:
            self._alone.append(one)

    def _has_room(self) -> bool:
        """Whether to prepare one more: one for each thread, and some more if they are small."""
        if len(self._running) < self._threads.n_threads or self._ctrl_c.pressed:
            return True
        if (
            self._threads.n_threads == 1
            or len(self._running) >= self._threads.n_threads + FITS_READY
        ):
            return False
        used = sum(one.whole.n_bytes for one in self._running if one.whole is not None)
        return used < READY_BYTES

    def _pass_time(self) -> None:
        self._threads.wait(min(max(self._shortest / 4, _SHORTEST_PAUSE), _LONGEST_PAUSE))
        self._collect()

    def _collect(self) -> None:
        """Read the results of fits that have ended."""
        ended = [one for one in self._running if one.whole is not None and one.whole.is_over]
        for one in ended:
            assert one.whole is not None
            self._shortest = min(self._shortest, one.whole.seconds)
            self._running.remove(one)
            one.end()
            self._note(one)


class _Bar:
    """A progress bar over the work of all networks, if wanted, which also counts networks."""

    def __init__(self, fits: Sequence[OneFit], wanted: bool) -> None:
        self._n, self._done, self._bar = len(fits), 0, None
        if wanted:
            from tqdm import tqdm

            layout = "{l_bar}{bar}| {postfix} [{elapsed}<{remaining}]"
            work = max(1, sum(one.work for one in fits))
            self._bar = tqdm(total=work, bar_format=layout, dynamic_ncols=True)
            self._bar.set_postfix_str(f"0 of {counted(self._n, 'network')}")

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def add(self, one: OneFit) -> None:
        """Count a network that has ended."""
        self._done += 1
        if self._bar is not None:
            self._bar.set_postfix_str(
                f"{self._done} of {counted(self._n, 'network')}", refresh=False
            )
            self._bar.update(one.work)
