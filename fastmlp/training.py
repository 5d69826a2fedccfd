"""The fit loop: epochs, validation, callbacks, history, Ctrl-C.

Python is here once an epoch; all batches in between run in one compiled call where every part of
the network has a kernel, and layer by layer where one is the user's own.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from . import checks, columns, engine, evaluation, judging, layerwise, own_parts
from .averaging import Averaging
from .body import Body, Plan
from .categories import check_categories
from .checkpoint import Checkpoint, Resumed
from .compiling import announce
from .early_stopping import EarlyStopping
from .errors import InputError, InputTypeError, counted
from .history import History
from .interrupts import CtrlC
from .kernels import random
from .kernels.cache import compile_seconds
from .kernels.losses import means_of_epochs
from .kernels.memory import address_of
from .layers import dropout
from .lowering import can_compile
from .optimizers import has_rule, optimizer_of
from .samples import adopt, read, undoing
from .schedules import is_built_in, rates_of
from .tables import table_of
from .targets import Samples, TargetCoder
from .threads import MOST_THREADS

_CALMER = "lower the learning rate, clip gradients (clip_norm=1.0) or scale the inputs"


class BatchCallback(Protocol):
    """A callback of batches: anything with this method."""

    def on_batch(self, network: Any, step: int, loss: float, /) -> Any: ...


Function = Callable[[Any, History], Any]  # of the network
OnBatch = Callable[[Any, int, float], Any]
Callback = Function | Checkpoint | EarlyStopping | Averaging | BatchCallback


def fit(
    network: Body,
    X: Any,
    y: Any,
    *,
    optimizer: Any,
    epochs: int,
    batch_size: int,
    validation_data: Any,
    sample_weight: Any,
    shuffle: bool,
    n_threads: int | None,
    callbacks: Sequence[Callback],
    progress: bool,
    keep_finite: bool,
    gradient_accumulation_steps: int,
) -> History:
    """Train a network; `Network.fit` explains the parameters and has their defaults."""
    where = "Network.fit"
    epochs = checks.whole_number(where, "epochs", epochs, 1)
    batch_size = checks.whole_number(where, "batch_size", batch_size, 1)
    accumulate = checks.whole_number(
        where, "gradient_accumulation_steps", gradient_accumulation_steps, 1
    )
    if n_threads is not None:
        checks.whole_number(where, "n_threads", n_threads, 1, MOST_THREADS)
    optimizer = optimizer_of(optimizer)
    asked = _checked_callbacks(where, callbacks)
    if asked.stopping is not None and validation_data is None:
        raise InputError(
            where, "validation_data for an EarlyStopping", "none", "pass validation_data=(X, y)"
        )
    compiles = can_compile(network.layers, network.loss, optimizer)
    own_parts.check_trainable(network.layers)
    # A network that is new has nothing to lose, so nan and infinities may show while it trains.
    search = network.is_built or not compiles
    samples, plan, coder = read(network, where, X, y, sample_weight, search)
    validation = _validation(where, coder, plan, network.dtype, network.layers, validation_data)
    batch_size = min(batch_size, samples.X.shape[0])
    if asked.averaging is not None:
        steps_per_epoch = math.ceil(samples.X.shape[0] / (batch_size * accumulate))
        asked.averaging.plan(where, epochs, steps_per_epoch)
    if has_rule(optimizer):
        optimizer.group_factors(plan.groups)
    undo = undoing(network)
    adopt(network, plan, coder)
    run_options = {
        "optimizer": optimizer, "batch_size": batch_size, "epochs": epochs, "shuffle": shuffle
    }  # fmt: skip
    if accumulate > 1:
        run_options["gradient_accumulation_steps"] = accumulate
    resumed = _resumed(network, samples, asked, run_options)
    run = _Run(
        network, samples, validation, optimizer, batch_size, accumulate, epochs, n_threads, resumed,
        compiles, keep_finite, asked, progress,
    )  # fmt: skip
    try:
        return run.epochs(shuffle)
    except InputError:
        if run.step == 0:  # by a part of the user's own, in the first epoch
            undo()
        raise
    except _NotFinite as found:
        error = None if search else checks.not_finite(where, "X", samples.X)
        if error is not None:
            undo()
            raise error from None
        if run.finite_params is not None:
            network.learned[...] = run.finite_params
        raise InputError(where, found.expected, found.got, _CALMER) from None


class _Callbacks(NamedTuple):
    """Who is called: functions after epochs, others after batches, and what is built in."""

    functions: tuple[Function, ...]
    on_batch: tuple[OnBatch, ...]
    checkpoint: Checkpoint | None
    stopping: EarlyStopping | None
    averaging: Averaging | None


def _resumed(
    network: Body, samples: Samples, asked: _Callbacks, run_options: dict[str, Any]
) -> Resumed | None:
    """Where a fit goes on, if there are checkpoints to go on from; the network is there then."""
    if asked.checkpoint is None:
        return None
    if asked.stopping is not None:
        run_options = run_options | {"early stopping": asked.stopping}
    if asked.averaging is not None:
        averaging = {"of": type(asked.averaging).__name__, "as": asked.averaging}
        run_options = run_options | {"averaging": averaging}
    resumed = asked.checkpoint.begin(network, samples, run_options)
    if resumed is not None:
        resumed.put_into(network)
    return resumed


class _EndsInEpoch(Exception):
    """A callback of batches, or Ctrl-C, ended the fit before its epoch was over."""


class _NotFinite(Exception):
    """An epoch brought a nan or an infinity, by the data or by too long steps."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(expected, got)
        self.expected, self.got = expected, got


def _checked_callbacks(where: str, callbacks: Any) -> _Callbacks:
    advice = "write callbacks=[function]"
    if callable(callbacks) or not isinstance(callbacks, Iterable):
        got = "one function" if callable(callbacks) else type(callbacks).__name__
        raise InputTypeError(where, "callbacks as a list", got, advice)
    given = tuple(callbacks)
    others = [one for one in given if not isinstance(one, Checkpoint | EarlyStopping | Averaging)]
    built_in: list[Any] = []
    for kind, name in (
        (Checkpoint, "Checkpoint"), (EarlyStopping, "EarlyStopping"), (Averaging, "EMA or SWA")
    ):  # fmt: skip
        some = [one for one in given if isinstance(one, kind)]
        if len(some) > 1:
            raise InputError(where, f"one {name}", f"{len(some)}", "pass one")
        built_in.append(next(iter(some), None))
    found: list[Function] = []
    on_batch: list[OnBatch] = []
    for callback in others:
        if hasattr(callback, "on_batch") and not isinstance(callback, type):
            names = ("network", "step", "loss")
            checks.takes(where, "an on_batch", callback.on_batch, *names)
            on_batch.append(callback.on_batch)
            if not callable(callback):
                continue
        if isinstance(callback, type) or not callable(callback):
            got, advice = type(callback).__name__, advice
            if isinstance(callback, type):
                got, advice = f"the class {callback.__name__}", f"pass {callback.__name__}()"
            raise InputTypeError(where, "callbacks of functions", got, advice)
        checks.takes(where, "callbacks that are functions", callback, "network", "history")
        found.append(callback)
    return _Callbacks(tuple(found), tuple(on_batch), *built_in)


def _validation(
    where: str, coder: TargetCoder, plan: Plan, dtype: np.dtype, layers: Any, data: Any
) -> Samples | None:
    if data is None:
        return None
    expected = "validation_data as (X, y) or (X, y, sample_weight)"
    if not isinstance(data, tuple | list):
        raise InputTypeError(where, expected, type(data).__name__, "pass a tuple")
    if len(data) not in (2, 3):
        raise InputTypeError(where, expected, counted(len(data), "item"), "pass 2 or 3")
    inner = f"{where}, validation_data"
    X, y, sample_weight = (*data, None)[:3]
    order = columns.order_in(inner, X, plan.feature_names)
    X, weights = checks.rows(inner, X, y, sample_weight, plan.n_features, dtype)
    X = X if order is None else X[:, order]
    check_categories(inner, layers, X)
    return Samples(X, coder.encode(inner, y, dtype), weights)


class _Trained(NamedTuple):
    """Some epochs: the mean loss and the last learning rate of each, and why they ended early."""

    losses: list[float]
    rates: list[float]
    ended: str
    cut_short: str


class _Run:
    """One fit: the optimizer's state, the step it is at, and the path it takes."""

    def __init__(
        self,
        network: Body,
        samples: Samples,
        validation: Samples | None,
        optimizer: Any,
        batch_size: int,
        accumulate: int,
        n_epochs: int,
        n_threads: int | None,
        resumed: Resumed | None,
        compiles: bool,
        keep_finite: bool,
        asked: _Callbacks,
        progress: bool,
    ) -> None:
        self.network, self.samples, self.optimizer = network, samples, optimizer
        self.validation, self.n_rows = validation, samples.X.shape[0]
        self.batch_size, self.accumulate, self.n_epochs = batch_size, accumulate, n_epochs
        self.rows_a_step = batch_size * accumulate
        self.steps_per_epoch = math.ceil(self.n_rows / self.rows_a_step)
        self.step, self.history, self.ctrl_c = 0, History(), CtrlC()
        self.asked, self.shows_progress = asked, progress
        self.steps_per_call = 1 if asked.on_batch else self.steps_per_epoch
        self.state = np.empty(0, network.dtype)
        if has_rule(optimizer):
            self.state = optimizer.initial_state(network.params.size, network.dtype)
        if resumed is not None:
            self.step, self.history = resumed.step, resumed.history
            if self.state.size == resumed.state.size:  # another optimizer starts with its own
                self.state[...] = resumed.state
        # Those of the last epoch that ended well, if they are wanted.
        self.finite_params = network.learned.copy() if keep_finite else None
        # Those before the first epoch, for an optimizer that may do nothing.
        self.first_params = None if has_rule(optimizer) else network.params.copy()
        self.stopping, self.best_params = asked.stopping, None
        if self.stopping is not None:
            self.best_params = self.stopping.begin(network)
            if resumed is not None and resumed.stopping is not None:
                self.stopping.recall(*resumed.stopping)
        self.averaging, self.average = asked.averaging, None
        if self.averaging is not None:
            self.average = self.averaging.begin(network)
            if resumed is not None and resumed.average is not None:
                self.average[...] = resumed.average
        self.engine: engine.Engine | None = None
        self.judge: judging.Judge | None = None
        self.epochs_per_call = 1
        if compiles:
            self._compile(n_threads, keep_finite)

    def _compile(self, n_threads: int | None, keep_finite: bool) -> None:
        """The engine and, where nobody else looks at each epoch, the judge within it."""
        network, held_out, asked = self.network, self.validation, self.asked
        watched = bool(asked.functions or asked.on_batch or asked.checkpoint or self.shows_progress)
        judges = not watched and held_out is not None and judging.is_quick(network, held_out)
        # Schedules of the user's own may look at what happened so far.
        schedules = [layer.rate for layer in dropout.by_schedule(network.layers)]
        alone = all(map(is_built_in, [*self.optimizer.schedules, *schedules]))
        if alone and not (watched or keep_finite) and (judges or held_out is None):
            work = engine.training_work(network, self.rows_a_step) * self.steps_per_epoch
            if held_out is not None:
                work += judging.work_of(network, held_out)
            most = engine.epochs_per_call(work, self.n_rows)
            self.epochs_per_call = min(most, self.n_epochs)
        self.engine = engine.Engine(
            network, table_of(self.samples.X, network.dtype), self.batch_size, n_threads,
            self.optimizer, steps_a_call=self.steps_per_call * self.epochs_per_call,
            accumulate=self.accumulate, averaged=self.average,
        )  # fmt: skip
        if judges and held_out is not None:
            rule = judging.Rule() if self.stopping is None else self.stopping.rule
            self.judge = judging.Judge(
                self.engine, network, held_out, evaluation.grading(network, held_out), rule,
                self.epochs_per_call, self.best_params, self._judged_average(),
            )  # fmt: skip

    def _judged_average(self) -> np.ndarray | None:
        """The average, if validation judges that."""
        return self.average if self.averaging is not None and self.averaging.apply else None

    def epochs(self, shuffle: bool) -> History:
        """All epochs that are left, or those before a callback or Ctrl-C ends the fit.

        An epoch that is ended early leaves its steps in the parameters, and no entry in the
        history or among the checkpoints.
        """
        history = self.history
        compiles = self.engine is not None and self.engine.must_compile()
        if compiles:
            announce(self.network.dtype)  # above the bar, not across it
        bar = _progress_bar(self.n_epochs, self.shows_progress, history.epochs, compiles)
        try:
            if self.engine is not None:
                self.engine.compile()
            with self.ctrl_c:
                ends = history.epochs >= self.n_epochs
                if not ends and self._is_enough():  # already where a resumed fit goes on
                    ends, history.stopped = True, "early_stopping"
                while not ends:
                    history.stopped = self._epochs(shuffle, bar)
                    if self.ctrl_c.pressed:
                        history.stopped = "interrupted"
                    ends = history.stopped != "finished" or history.epochs >= self.n_epochs
                    if self.asked.checkpoint is not None:
                        self._save(self.asked.checkpoint, ends)
        except KeyboardInterrupt:
            history.stopped = "interrupted"
        except _EndsInEpoch as end:
            history.stopped = str(end)
        finally:
            if bar is not None:
                bar.close()
        is_restored = self.stopping is not None and self.stopping.restore(self.network)
        if self.averaging is not None:
            self.averaging.finish(self.network, is_restored)
        return history

    def _save(self, checkpoint: Checkpoint, is_last: bool) -> None:
        stopping = None if self.stopping is None else self.stopping.remembered(self.network)
        checkpoint.after_epoch(
            self.network, self.history, self.state, self.step, is_last, stopping, self.averaging
        )

    def _is_enough(self) -> bool:
        return self.stopping is not None and self.stopping.is_over

    def _epochs(self, shuffle: bool, bar: Any) -> str:
        """The next epochs, up to where somebody looks: train, validate, record.

        Returns why they are the last, or "finished".
        """
        started, compiled = time.perf_counter(), compile_seconds()
        n_epochs = min(self.epochs_per_call, self.n_epochs - self.history.epochs)
        trained = self._train_epochs(self.history.epochs, n_epochs, shuffle)
        if not trained.cut_short:
            self._check_first_epoch()
        judged = self._validate(len(trained.losses))
        compiled = compile_seconds() - compiled
        seconds = time.perf_counter() - started - compiled
        for loss, rate, validation in zip(trained.losses, trained.rates, judged, strict=False):
            self.history.add(loss, validation, rate, seconds / len(trained.losses))
        if trained.cut_short:
            end = _EndsInEpoch(trained.cut_short)
            raise end
        _show(bar, self.history)
        # All are called before any is heard: every callback sees every epoch.
        wishes = [callback(self.network, self.history) for callback in self.asked.functions]
        if any(wishes) or trained.ended == "callback":
            return "callback"
        return "early_stopping" if self._is_enough() else "finished"

    def _train_epochs(self, first: int, n_epochs: int, shuffle: bool) -> _Trained:
        """All batches of some epochs, or up to a non-finite loss, a wish to end or Ctrl-C."""
        order = np.empty((n_epochs, self.n_rows), np.int32)
        order[...] = np.arange(self.n_rows, dtype=np.int32)
        if shuffle:
            for number, visits in enumerate(order, first):
                random.shuffle(visits, self.network.seed, number)
        numbers, rates = self._step_numbers(n_epochs)
        n_steps, steps_per_call = len(numbers), self.steps_per_call * n_epochs
        parts, done, why = list[np.ndarray](), 0, ""
        while done < n_steps and not why:
            stop = min(done + steps_per_call, n_steps)
            self.ctrl_c.is_computing = True
            try:
                part = self._train_steps(order, numbers, done, stop)
            finally:
                self.ctrl_c.is_computing = False
            enough = 0 if self.engine is None else int(self.engine.call["enough_after"])
            if enough:
                part, why = part[: enough * self.steps_per_epoch], "early_stopping"
            parts.append(part)
            done += part.size
            if not math.isfinite(part[-1]):
                break
            if self._after_batch(done - 1, part[-1]):
                why = "callback"
            if self.ctrl_c.ends_epoch():
                why = "interrupted"
        losses = parts[0] if len(parts) == 1 else np.concatenate(parts)
        self._refuse_divergence(losses, first, rates)
        self.step += done
        whole = done // self.steps_per_epoch
        of_epochs = losses[: whole * self.steps_per_epoch].reshape(whole, self.steps_per_epoch)
        return _Trained(
            mean_losses(of_epochs, self.n_rows, self.rows_a_step) if whole else [],
            rates[:whole].tolist(),
            ended=why,
            cut_short=why if done % self.steps_per_epoch else "",
        )

    def _train_steps(
        self, order: np.ndarray, numbers: np.ndarray, first: int, last: int
    ) -> np.ndarray:
        """Some steps, whose bits do not depend on where calls begin; returns their losses.

        They are fewer if Ctrl-C ended an epoch. The steps are all those of `order`, or some of its
        only epoch.

        order: rows (n_epochs, n_rows) in the order of visits; numbers: of all steps.
        """
        samples, step, rows = self.samples, self.step + first, order
        if len(order) == 1:
            rows = order[0, first * self.rows_a_step : last * self.rows_a_step]
        numbers = numbers[first:last]
        if self.judge is not None:
            self.stopping.tell(self.judge) if self.stopping is not None else self.judge.begin()
        if self.engine is not None:
            return self.engine.train(
                rows, samples.encoded, samples.weights, self.state, numbers, step,
                ends=self.ctrl_c.ends_epoch,
            )  # fmt: skip
        return layerwise.train(
            self.network, samples.X, rows, self.batch_size, samples.encoded, samples.weights,
            self.optimizer, self.state, numbers, step, self.ctrl_c.ends_epoch, self.accumulate,
            self.averaging,
        )  # fmt: skip

    def _after_batch(self, step: int, loss: float) -> bool:
        """Tell the callbacks of batches, where there are any; whether one asks for the end."""
        wishes = [tell(self.network, self.step + step, float(loss)) for tell in self.asked.on_batch]
        return any(wishes)

    def _step_numbers(self, n_epochs: int) -> tuple[np.ndarray, np.ndarray]:
        """Hyperparameters of the next epochs' steps, and the last learning rate of each epoch."""
        n_steps = self.steps_per_epoch * n_epochs
        steps, in_all = self.step + np.arange(n_steps), self.steps_per_epoch * self.n_epochs
        drops = dropout.rates_of_steps(self.network.layers, steps, in_all)
        if self.averaging is not None:
            drops = np.hstack([drops, self.averaging.numbers(steps)])
        if not has_rule(self.optimizer):
            return np.hstack([np.zeros((n_steps, 1)), drops]), np.full(n_epochs, np.nan)
        rates = rates_of(self.optimizer.schedule, steps, in_all)
        last = rates[self.steps_per_epoch - 1 :: self.steps_per_epoch]
        numbers = self.optimizer.step_numbers(self.step, rates, in_all, self.network.groups)
        return np.hstack([numbers, drops]) if drops.size else numbers, last

    def _refuse_divergence(self, losses: np.ndarray, epoch: int, rates: np.ndarray) -> None:
        """Losses after the first that is not finite mean nothing: there the epoch ended.

        epoch: that of the first loss; rates: of it and those after it.
        """
        if not np.isfinite(losses).all():
            step = int(np.argmin(np.isfinite(losses)))
            later, in_epoch = divmod(step, self.steps_per_epoch)
            place = f"in epoch {epoch + later + 1}, step {in_epoch + 1}"
            got = f"{losses[step]} {place}, at learning rate {rates[later]:g}"
            raise _NotFinite("a finite loss", got)
        if not np.isfinite(self.network.params).all():
            epoch += (len(losses) - 1) // self.steps_per_epoch
            raise _NotFinite(
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

    def _validate(self, n_epochs: int) -> list[tuple[float, float] | None]:
        """Loss and score of so many epochs on the validation data, if there are any."""
        if self.validation is None or n_epochs == 0:
            return [None] * n_epochs
        before = self.history.epochs
        if self.judge is not None:
            if self.stopping is not None:
                self.stopping.hear(self.judge, before)
            found = self.judge.losses[:n_epochs], self.judge.scores[:n_epochs]
            return [*zip(*(values.tolist() for values in found), strict=True)]
        averages: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if self.averaging is not None:
            averages = self.averaging.judged(self.network)
        with averages:
            loss, score = evaluation.judged(self.network, self.validation)
            if self.stopping is not None:
                self.stopping.look(self.network, before + 1, loss, score)
        return [(loss, score)]


def mean_losses(losses: np.ndarray, n_rows: int, batch_size: int) -> list[float]:
    """Mean loss of each epoch from those of its batches (n_epochs, n_batches), the last smaller."""
    (n_epochs, n_batches), means = losses.shape, np.empty(len(losses))
    means_of_epochs(
        address_of(losses, "losses", np.float64, n_epochs * n_batches), n_epochs, n_batches,
        batch_size, n_rows, address_of(means, "means", np.float64, n_epochs, written=True),
    )  # fmt: skip
    return means.tolist()


def _progress_bar(n_epochs: int, wanted: bool, done: int, compiles: bool) -> Any:
    """A bar that says when it waits for the compiler, whose seconds its clock leaves out."""
    if not wanted:
        return None
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
    return Bar(total=n_epochs, initial=done, desc=waits, unit="epoch", dynamic_ncols=True)


def _show(bar: Any, history: History) -> None:
    if bar is not None:
        shown = {"loss": f"{history.loss[-1]:.4f}"}
        if history.validation_score:
            shown["validation"] = f"{history.validation_score[-1]:.4f}"
        bar.set_postfix(shown, refresh=False)
        bar.update()
