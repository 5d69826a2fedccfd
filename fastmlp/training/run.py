"""One run of `Network.fit` or of `fit_many`: its state, and its part of the fit loop.

It has the shuffling, history, callbacks, checkpoints and Ctrl-C. Running steps and judging epochs
is in `loop`, which the estimators share.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..datasets.stored import StoredTable
from ..distributed.ranks import together
from ..engine import judging
from ..engine.compiling import announce
from ..extending import own_parts
from ..kernels.compiler.cache import compile_seconds
from ..kernels.rules import random
from ..model.body import Body
from ..nn import dropout
from ..optim.averaging import Averaging
from ..optim.optimizers import has_rule
from ..optim.schedules import is_built_in, rates_of
from ..serving import evaluation
from . import loop
from .checkpoint import Checkpoint, FitState, Resumed
from .early_stopping import EarlyStopping
from .history import History
from .interrupts import CtrlC
from .loop import Looks, Task, Trainer

Function = Callable[[Any, History], Any]  # of the network
OnBatch = Callable[[Any, int, float], Any]


class Callbacks(NamedTuple):
    """Callbacks by kind: functions called after epochs or batches, and built-in ones."""

    functions: tuple[Function, ...] = ()
    on_batch: tuple[OnBatch, ...] = ()
    checkpoint: Checkpoint | None = None
    stopping: EarlyStopping | None = None
    averaging: Averaging | None = None


class _EndsInEpoch(Exception):
    """A callback or Ctrl-C ended the fit in the middle of an epoch."""


class NotFinite(Exception):
    """An epoch produced nan or infinity, because of the data or of steps that are too large."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(expected, got)
        self.expected, self.got = expected, got


class Trained(NamedTuple):
    """Some epochs: the mean loss and last learning rate of each, and why they ended early.

    Attributes
    ----------
    losses, rates : list of float
    ended : str
        Why no more were run, or nothing.
    cut_short : str
        The same, if the last one is not whole.
    """

    losses: list[float]
    rates: list[float]
    ended: str
    cut_short: str


class Run:
    """One fit: the optimizer's state, the current step and the history."""

    def __init__(
        self, task: Task, n_epochs: int, shuffle: bool, asked: Callbacks, *,
        resumed: Resumed | None = None, compiles: bool = True, keep_finite: bool = False,
        progress: bool = False, in_one_call: bool = False,
    ) -> None:  # fmt: skip
        network = task.network
        self.task, self.network, self.optimizer = task, network, task.optimizer
        self.n_epochs, self.shuffle = n_epochs, shuffle
        self.step, self.history, self.ctrl_c = 0, History(), CtrlC()
        self.asked, self.ranks = asked, task.ranks
        self.shows_progress = progress and (self.ranks is None or self.ranks.rank == 0)
        self.bar: Any = None
        self.state = np.empty(0, network.dtype)
        if has_rule(self.optimizer):
            self.state = self.optimizer.initial_state(network.params.size, network.dtype)
        if resumed is not None:
            self.step, self.history = resumed.step, resumed.history
            if self.state.size == resumed.state.size:  # another optimizer starts with its own
                self.state[...] = resumed.state
        # The parameters after the last epoch without nan or infinity, if they are to be kept.
        self.finite_params = network.learned.copy() if keep_finite else None
        # The parameters before the first epoch, to detect an optimizer that changes nothing.
        self.first_params = None if has_rule(self.optimizer) else network.params.copy()
        self.stopping, best_params = asked.stopping, None
        if self.stopping is not None:
            best_params = self.stopping.begin(network)
            if resumed is not None and resumed.stopping is not None:
                self.stopping.recall(*resumed.stopping)
        looks = self._looks(best_params, keep_finite, in_one_call)
        self.trainer = Trainer(task, looks, compiles)
        if self.trainer.average is not None and resumed is not None and resumed.average is not None:
            self.trainer.average[...] = resumed.average

    def _looks(self, best_params: np.ndarray | None, keep_finite: bool, in_one_call: bool) -> Looks:
        network, held_out, asked = self.network, self.task.held_out, self.asked
        judged: Any = held_out
        if held_out is not None and isinstance(held_out.X, StoredTable):
            judged = None  # by Python
        if self.task.held_out_rows is not None:
            judged = judged.of_rows(self.task.held_out_rows, network.n_outputs)
        return Looks(
            self.n_epochs,
            watched=bool(
                asked.functions
                or asked.on_batch
                or asked.checkpoint
                or self.shows_progress
                or self.task.n_stored
            ),
            by_batches=bool(asked.on_batch),
            may_share=self.n_epochs > 1 and not keep_finite and self._plans_ahead(),
            grading=None if judged is None else lambda: evaluation.grading(network, judged),
            rule=judging.Rule() if self.stopping is None else self.stopping.rule,
            best_params=best_params,
            in_one_call=in_one_call,
        )

    def _plans_ahead(self) -> bool:
        """Whether schedules may be asked for several epochs: one's own may depend on the last."""
        schedules = [layer.rate for layer in dropout.by_schedule(self.network.layers)]
        own = self.optimizer.schedules if has_rule(self.optimizer) else ()
        return all(map(is_built_in, [*own, *schedules]))

    def fit(self) -> History:
        """Run the epochs that are left, until a callback, early stopping or Ctrl-C ends the fit.

        The steps of an epoch that is cut short stay in the parameters, but it has no entry in the
        history and no checkpoint.
        """
        history, engine = self.history, self.trainer.engine
        compiles = engine is not None and engine.must_compile()
        if compiles:
            announce(self.network.dtype)  # before the progress bar is drawn
        if self.shows_progress:
            self.bar = self._progress_bar(compiles)
        try:
            if engine is not None:
                engine.compile()
            with self.ctrl_c:
                if self.n_left and self._is_enough():  # when the checkpoint was written
                    history.stopped = "early_stopping"
                loop.run(self)
        except KeyboardInterrupt:
            history.stopped = "interrupted"
        except _EndsInEpoch as end:
            history.stopped = str(end)
        finally:
            if self.bar is not None:
                self.bar.close()
        self._finish()
        return history

    def _finish(self) -> None:
        self.trainer.finish(self.stopping is not None and self.stopping.restore(self.network))

    @property
    def n_left(self) -> int:
        """Number of epochs left; 0 once the fit has ended."""
        if self.history.stopped != "finished":
            return 0
        return max(0, self.n_epochs - self.history.epochs)

    def _is_enough(self) -> bool:
        return self.stopping is not None and self.stopping.is_over

    def begin(self) -> None:
        """Start the clock for the epochs of a call."""
        self.started, self.compiled = time.perf_counter(), compile_seconds()

    @property
    def seconds_so_far(self) -> float:
        """Time since `begin`, without compiling."""
        return time.perf_counter() - self.started - (compile_seconds() - self.compiled)

    def train(self, n_epochs: int) -> Trained:
        """Train some epochs, until a loss is not finite, a callback asks to stop, or Ctrl-C."""
        trainer, first, n_samples = self.trainer, self.history.epochs, self.task.n_samples
        order = np.empty((n_epochs, n_samples), np.int32)
        order[...] = np.arange(n_samples, dtype=np.int32)
        own = None if self.ranks is None else self.ranks.own
        for number, visits in enumerate(order, first):
            if own is not None:
                seed = self.network.seed if self.shuffle else None
                visits[...] = own.order(self.task.rows_per_step, seed, number)
            elif self.shuffle:
                random.shuffle(visits, self.network.seed, number)
        if trainer.n_rows < n_samples:  # a last step is left out
            order = np.ascontiguousarray(order[:, : trainer.n_rows])
        numbers, rates = self.step_numbers(n_epochs)
        losses, why = self._train_in_calls(order, numbers, trainer.steps_per_call * n_epochs)
        return self._summed_up(losses, rates, why)

    def _train_in_calls(
        self, order: np.ndarray, numbers: np.ndarray, steps_per_call: int
    ) -> tuple[np.ndarray, str]:
        """Run all steps of `order`; returns their losses, and why there are fewer, if there are."""
        trainer, n_steps = self.trainer, len(numbers)
        parts: list[np.ndarray] = []
        done, why = 0, ""
        while done < n_steps and not why:
            stop = min(done + steps_per_call, n_steps)
            self.ctrl_c.is_computing = True
            try:
                part = self._train_steps(order, numbers, done, stop)
            finally:
                self.ctrl_c.is_computing = False
            enough = trainer.enough_after
            if enough:
                part, why = part[: enough * trainer.steps_per_epoch], "early_stopping"
            parts.append(part)
            done += part.size
            if not math.isfinite(part[-1]):
                break
            if self._any(self._after_batch(done - 1, part[-1])):
                why = "callback"
            if self._any(self.ctrl_c.ends_epoch()):
                why = "interrupted"
        return parts[0] if len(parts) == 1 else np.concatenate(parts), why

    def _summed_up(self, losses: np.ndarray, rates: np.ndarray, why: str) -> Trained:
        """The epochs of some steps, which must have left finite numbers.

        rates: the last learning rate of each epoch; why: what ended the steps early, if anything.
        """
        self._refuse_divergence(losses, self.history.epochs, rates)
        self.step += losses.size
        whole, rest = divmod(losses.size, self.trainer.steps_per_epoch)
        means = self.trainer.mean_losses(losses[: losses.size - rest]) if whole else []
        if not (rest and why):
            self._check_first_epoch()
        return Trained(means, rates[:whole].tolist(), why, why if rest else "")

    def take_over(
        self, losses: np.ndarray, rates: np.ndarray, seconds: float, interrupted: bool
    ) -> None:
        """Record steps that `engine.fits` has run, from the first one on, and end the fit.

        losses: of all steps that were run.
        """
        self.note(losses, rates, seconds, interrupted)
        self._finish()

    def serve(self, network: Body) -> None:
        """Stand for the fit of another network of the same shape from now on.

        Only for `note`: the engine and what judges stay those of the first one.
        """
        self.network, self.history, self.step = network, History(), 0

    def note(
        self, losses: np.ndarray, rates: np.ndarray, seconds: float, interrupted: bool
    ) -> None:
        """As `take_over`, without ending the fit."""
        history, trainer = self.history, self.trainer
        if trainer.enough_after:
            losses = losses[: trainer.enough_after * trainer.steps_per_epoch]
        if losses.size:
            trained = self._summed_up(losses, rates, "interrupted" if interrupted else "")
            self._add(trained, self.judge(trained), seconds)
        if self._is_enough():
            history.stopped = "early_stopping"
        if interrupted:
            history.stopped = "interrupted"

    def _train_steps(
        self, order: np.ndarray, numbers: np.ndarray, first: int, last: int
    ) -> np.ndarray:
        """Run steps `first` to `last`; returns their losses, fewer if Ctrl-C ended the epoch.

        They are all steps of `order`, or some of its only epoch.

        order: row numbers (n_epochs, n_rows) in the order of training; numbers: of all steps.
        """
        rows, n = order, self.trainer.rows_per_step
        if len(order) == 1:
            rows = order[0, first * n : last * n]
        self.prepare_judge()
        return self.trainer.train(
            rows, numbers[first:last], self.state, self.step + first, ends=self.ctrl_c.ends_epoch
        )

    def prepare_judge(self) -> None:
        """Let the next call judge its epochs, if it does, from where the last one ended."""
        judge = self.trainer.judge
        if judge is not None:
            self.stopping.tell(judge) if self.stopping is not None else judge.begin()

    def _after_batch(self, step: int, loss: float) -> bool:
        """Call the callbacks of batches, if any; returns whether one of them asks to stop."""
        if not self.asked.on_batch:
            return False
        with self._together():
            wishes = [
                tell(self.network, self.step + step, float(loss)) for tell in self.asked.on_batch
            ]
        return any(wishes)

    def step_numbers(self, n_epochs: int) -> tuple[np.ndarray, np.ndarray]:
        """Hyperparameters of the next epochs' steps, and the last learning rate of each epoch."""
        per_epoch = self.trainer.steps_per_epoch
        numbers, rates = self._numbers_of_steps(per_epoch * n_epochs)
        return numbers, rates[per_epoch - 1 :: per_epoch]

    def _numbers_of_steps(self, n_steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Hyperparameters of the next steps, and the learning rate of each."""
        steps = np.arange(self.step, self.step + n_steps)
        in_all = self.trainer.steps_per_epoch * self.n_epochs
        drops = dropout.rates_of_steps(self.network.layers, steps, in_all)
        if not has_rule(self.optimizer):
            return np.hstack([np.zeros((n_steps, 1)), drops]), np.full(n_steps, np.nan)
        rates = rates_of(self.optimizer.schedule, steps, in_all)
        numbers = self.optimizer.step_numbers(self.step, rates, in_all, self.network.groups)
        return np.hstack([numbers, drops]) if drops.size else numbers, rates

    def _refuse_divergence(
        self, losses: np.ndarray, epoch: int, rates: np.ndarray, first: int = 0
    ) -> None:
        """Raise `NotFinite` if a loss or a parameter is not finite.

        Losses after the first that is not finite are meaningless, because the epoch ended there.

        epoch: the epoch of the first loss; rates: learning rates of it and of those after it;
        first: the number of its first step.
        """
        per_epoch = self.trainer.steps_per_epoch
        if not np.isfinite(losses).all():
            step = int(np.argmin(np.isfinite(losses)))
            later, in_epoch = divmod(first + step, per_epoch)
            place = f"in epoch {epoch + later + 1}, step {in_epoch + 1}"
            got = f"{losses[step]} {place}, at learning rate {rates[later]:g}"
            raise NotFinite("a finite loss", got)
        if not np.isfinite(self.network.params).all():
            epoch += (first + len(losses) - 1) // per_epoch
            raise NotFinite(
                "finite parameters",
                f"others after epoch {epoch + 1}, at learning rate {rates[-1]:g}",
            )
        if self.finite_params is not None:
            self.finite_params[...] = self.network.learned

    def _check_first_epoch(self) -> None:
        if self.first_params is not None:
            network = self.network
            own_parts.check_moved(self.optimizer, self.first_params, network.params, network.grads)
            self.first_params = None

    def judge(self, trained: Trained) -> list[tuple[float, float]]:
        """Loss and score of the epochs on the validation data, if there are any."""
        before, n_epochs = self.history.epochs, len(trained.losses)
        if self.trainer.judge is not None and self.stopping is not None and n_epochs:
            self.stopping.hear(self.trainer.judge, before)
        return self.trainer.judged(n_epochs, self._look_at_held_out)

    def _look_at_held_out(self) -> tuple[float, float]:
        assert self.task.held_out is not None
        loss, score = evaluation.judged(self.network, self.task.held_out)
        if self.stopping is not None:
            self.stopping.look(self.network, self.history.epochs + 1, loss, score)
        return loss, score

    def record(self, trained: Trained, found: list[tuple[float, float]]) -> None:
        """Add the epochs to the history; an epoch that was cut short ends the fit."""
        self._add(trained, found, self.seconds_so_far)
        if trained.cut_short:
            end = _EndsInEpoch(trained.cut_short)
            raise end

    def _add(self, trained: Trained, found: list[tuple[float, float]], seconds: float) -> None:
        judged: list[Any] = found or [None] * len(trained.losses)
        for loss, rate, validation in zip(trained.losses, trained.rates, judged, strict=True):
            self.history.add(loss, validation, rate, seconds / len(trained.losses))

    def look(self, trained: Trained, found: list[tuple[float, float]]) -> None:
        """Update the bar, call the callbacks, decide whether to stop, and save if due."""
        history = self.history
        self._show()
        # All are called before any result is used, so that every callback sees every epoch.
        with self._together():
            wishes = [callback(self.network, history) for callback in self.asked.functions]
        if self._any(any(wishes)) or trained.ended == "callback":
            history.stopped = "callback"
        elif self._is_enough():
            history.stopped = "early_stopping"
        if self._any(self.ctrl_c.pressed):
            history.stopped = "interrupted"
        if self.asked.checkpoint is not None:
            with self._together():
                self._save(self.asked.checkpoint)

    def _save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint if it is due, in the first process if there are several."""
        if self.trainer.shared is not None:
            self.trainer.shared.gather_state(self.state)
        if self.ranks is None or self.ranks.rank == 0:
            checkpoint.after_epoch(self.network, self.state_to_save(), self.n_left == 0)

    def state_to_save(self) -> FitState:
        """All that a checkpoint keeps beside the network."""
        stopping = None if self.stopping is None else self.stopping.remembered(self.network)
        return FitState(self.history, self.state, self.step, stopping, self.task.averaging)

    def _progress_bar(self, compiles: bool) -> Any:
        """The bar at its start; compiles: whether the fit will wait for the compiler first."""
        return bar_of(self.n_epochs, self.history.epochs, "epoch", compiles)

    def _show(self) -> None:
        """Update the bar after an epoch."""
        if self.bar is not None:
            self.bar.set_postfix(self._shown(), refresh=False)
            self.bar.update()

    def _shown(self) -> dict[str, str]:
        """What the bar says beside the number of epochs."""
        history = self.history
        shown = {"loss": f"{history.loss[-1]:.4f}"} if history.loss else {}
        if history.validation_score:
            shown["validation"] = f"{history.validation_score[-1]:.4f}"
        return shown

    def _any(self, here: bool) -> bool:
        """Whether something holds here or in another process of the fit."""
        return here if self.ranks is None else self.ranks.any(here)

    def _together(self) -> contextlib.AbstractContextManager[None]:
        return together(self.ranks, "Network.fit")


def bar_of(total: int, done: int, unit: str, compiles: bool) -> Any:
    """A progress bar that says when it waits for the compiler, and does not count that time."""
    from tqdm import tqdm

    compiled = compile_seconds()

    class Bar(tqdm):  # type: ignore[misc]
        def update(self, n: float | None = 1) -> bool | None:
            nonlocal compiled
            waited, compiled = compile_seconds() - compiled, compile_seconds()
            if not self.disable:  # by TQDM_DISABLE, where it has no clock
                self.start_t += waited
                self.last_print_t += waited
            self.set_description(refresh=False)
            return super().update(n)

    waits = "compiling, once on this machine" if compiles else None
    return Bar(
        total=total, initial=done, desc=waits, unit=unit, unit_scale=unit != "epoch",
        dynamic_ncols=True,
    )  # fmt: skip
