"""The fit loop: epochs, validation, callbacks, history, Ctrl-C.

Python is here once an epoch; all batches in between run in one compiled call where every part of
the network has a kernel, and layer by layer where one is the user's own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import checks, columns, engine, layerwise
from .checkpoint import Checkpoint, Resumed
from .errors import InputError, InputTypeError, counted
from .history import History
from .interrupts import CtrlC
from .kernels import random
from .kernels.cache import compile_seconds
from .kernels.losses import means_of_epochs
from .kernels.memory import address_of
from .optimizers import OPTIMIZERS, CustomOptimizer, Optimizer
from .tables import table_of
from .targets import Samples, TargetCoder

if TYPE_CHECKING:
    from .network import Network, Plan

_CALMER = "lower the learning rate, clip gradients (clip_norm=1.0) or scale the inputs"

Function = Callable[["Network", "History"], Any]
Callback = Function | Checkpoint


def fit(
    network: Network,
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
) -> History:
    """Train a network; `Network.fit` explains the parameters and has their defaults."""
    where = "Network.fit"
    epochs = checks.whole_number(where, "epochs", epochs, 1)
    batch_size = checks.whole_number(where, "batch_size", batch_size, 1)
    if n_threads is not None:
        checks.whole_number(where, "n_threads", n_threads, 1, engine.MOST_THREADS)
    if isinstance(optimizer, type) or not isinstance(optimizer, CustomOptimizer):
        optimizer = OPTIMIZERS.make(optimizer, Optimizer)
    callbacks, checkpoint = _checked_callbacks(where, callbacks)
    compiles = engine.can_compile(network.layers, network.loss, optimizer)
    # A network that is new has nothing to lose, so nan and infinities may show while it trains.
    search = network.is_built or not compiles
    samples, plan, coder = network._read(where, X, y, sample_weight, search)
    validation = _validation(where, coder, plan, network.dtype, validation_data)
    if isinstance(optimizer, Optimizer):
        optimizer.group_factors(plan.groups)
    undo = network._undo()
    network._adopt(plan, coder)
    batch_size = min(batch_size, samples.X.shape[0])
    resumed = None
    if checkpoint is not None:
        run_options = {
            "optimizer": optimizer, "batch_size": batch_size, "epochs": epochs, "shuffle": shuffle
        }  # fmt: skip
        resumed = checkpoint.begin(network, samples, run_options)
    if resumed is not None:
        network.seed = resumed.seed
        for name, values in network.named_parameters().items():
            values[...] = resumed.parameters[name]
    run = _Run(
        network, samples, validation, optimizer, batch_size, epochs, n_threads, resumed, compiles,
        keep_finite,
    )  # fmt: skip
    try:
        return run.epochs(shuffle, callbacks, progress, checkpoint)
    except _NotFinite as found:
        error = None if search else checks.not_finite(where, "X", samples.X)
        if error is not None:
            undo()
            raise error from None
        if run.finite_params is not None:
            network.params[...] = run.finite_params
        raise InputError(where, found.expected, found.got, _CALMER) from None


class _NotFinite(Exception):
    """An epoch brought a nan or an infinity, by the data or by too long steps."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(expected, got)
        self.expected, self.got = expected, got


def _checked_callbacks(
    where: str, callbacks: Any
) -> tuple[tuple[Function, ...], Checkpoint | None]:
    """The functions, and the checkpoint among them."""
    advice = "write callbacks=[function]"
    if callable(callbacks) or not isinstance(callbacks, Iterable):
        got = "one function" if callable(callbacks) else type(callbacks).__name__
        raise InputTypeError(where, "callbacks as a list", got, advice)
    given = tuple(callbacks)
    found = tuple(callback for callback in given if not isinstance(callback, Checkpoint))
    checkpoints = [callback for callback in given if isinstance(callback, Checkpoint)]
    if len(checkpoints) > 1:
        raise InputError(where, "one Checkpoint", f"{len(checkpoints)}", "pass one")
    for callback in found:
        if not callable(callback):
            raise InputTypeError(where, "callbacks of functions", type(callback).__name__, advice)
    return found, (checkpoints[0] if checkpoints else None)


def _validation(
    where: str, coder: TargetCoder, plan: Plan, dtype: np.dtype, data: Any
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
    return Samples(X if order is None else X[:, order], coder.encode(inner, y, dtype), weights)


class _Run:
    """One fit: the optimizer's state, the step it is at, and the path it takes."""

    def __init__(
        self,
        network: Network,
        samples: Samples,
        validation: Samples | None,
        optimizer: Any,
        batch_size: int,
        n_epochs: int,
        n_threads: int | None,
        resumed: Resumed | None,
        compiles: bool,
        keep_finite: bool,
    ) -> None:
        self.network, self.samples, self.optimizer = network, samples, optimizer
        self.validation, self.n_rows = validation, samples.X.shape[0]
        self.batch_size, self.n_epochs = batch_size, n_epochs
        self.steps_per_epoch = math.ceil(self.n_rows / batch_size)
        self.step, self.history, self.ctrl_c = 0, History(), CtrlC()
        self.state = np.empty(0, network.dtype)
        if isinstance(optimizer, Optimizer):
            self.state = optimizer.initial_state(network.params.size, network.dtype)
        if resumed is not None:
            self.step, self.history = resumed.step, resumed.history
            if self.state.size == resumed.state.size:  # another optimizer starts with its own
                self.state[...] = resumed.state
        # Those of the last epoch that ended well, if they are wanted.
        self.finite_params = network.params.copy() if keep_finite else None
        self.engine: engine.Engine | None = None
        if compiles:
            self.engine = engine.Engine(
                network,
                table_of(samples.X, network.dtype),
                batch_size,
                n_threads,
                optimizer,
                steps_a_call=self.steps_per_epoch,
            )

    def epochs(
        self,
        shuffle: bool,
        callbacks: Sequence[Function],
        progress: bool,
        checkpoint: Checkpoint | None,
    ) -> History:
        """All epochs that are left, or those before a callback or Ctrl-C ends the fit.

        An epoch that Ctrl-C ends early leaves its steps in the parameters, and no entry in the
        history or among the checkpoints.
        """
        history = self.history
        compiles = self.engine is not None and engine.must_compile(self.network.dtype)
        if compiles:
            engine.announce_compilation(self.network.dtype)  # above the bar, not across it
        bar = _progress_bar(self.n_epochs, progress, history.epochs, compiles)
        try:
            if self.engine is not None:
                engine.compile_step(self.network.dtype)
            with self.ctrl_c:
                ends = history.epochs >= self.n_epochs
                while not ends:
                    wished = self._epoch(shuffle, callbacks, bar)
                    if self.ctrl_c.pressed:
                        history.stopped = "interrupted"
                    elif wished:
                        history.stopped = "callback"
                    ends = history.stopped != "finished" or history.epochs >= self.n_epochs
                    if (
                        checkpoint is not None
                        and self.step == history.epochs * self.steps_per_epoch
                    ):
                        checkpoint.after_epoch(self.network, history, self.state, self.step, ends)
        except KeyboardInterrupt:
            history.stopped = "interrupted"
        finally:
            if bar is not None:
                bar.close()
        return history

    def _epoch(self, shuffle: bool, callbacks: Sequence[Function], bar: Any) -> bool:
        """The next epoch: train, validate, record; whether a callback asks for the end."""
        started, compiled = time.perf_counter(), compile_seconds()
        found = self._train_epoch(self.history.epochs, shuffle)
        if found is None:
            return False
        loss, rate = found
        validation = self._validate()
        compiled = compile_seconds() - compiled
        self.history.add(loss, validation, rate, time.perf_counter() - started - compiled)
        _show(bar, self.history)
        # All are called before any is heard: every callback sees every epoch.
        wishes = [callback(self.network, self.history) for callback in callbacks]
        return any(wishes)

    def _train_epoch(self, epoch: int, shuffle: bool) -> tuple[float, float] | None:
        """All batches once; returns the mean loss and the last learning rate.

        None if Ctrl-C ended the epoch before its last batch.
        """
        samples = self.samples
        order = np.arange(self.n_rows, dtype=np.int32)
        if shuffle:
            random.shuffle(order, self.network.seed, epoch)
        numbers, rate = self._step_numbers()
        ends = self.ctrl_c.ends_epoch
        with self.ctrl_c.computing():
            if self.engine is not None:
                losses = self.engine.train(
                    order, samples.encoded, samples.weights, self.state, numbers, self.step,
                    ends=ends,
                )  # fmt: skip
            else:
                losses = layerwise.train(
                    self.network, samples.X, order, self.batch_size, samples.encoded,
                    samples.weights, self.optimizer, self.state, numbers, self.step, ends,
                )  # fmt: skip
        self._refuse_divergence(losses, epoch, rate)
        self.step += losses.size
        if losses.size < self.steps_per_epoch:
            return None
        (loss,) = mean_losses(losses[np.newaxis], self.n_rows, self.batch_size)
        return loss, rate

    def _step_numbers(self) -> tuple[np.ndarray, float]:
        """Hyperparameters of this epoch's steps, and the last learning rate."""
        if not isinstance(self.optimizer, Optimizer):
            return np.zeros((self.steps_per_epoch, 1)), float("nan")
        steps = self.step + np.arange(self.steps_per_epoch)
        rates = self.optimizer.schedule.rates(steps, self.steps_per_epoch * self.n_epochs)
        return self.optimizer.step_numbers(self.step, rates), float(rates[-1])

    def _refuse_divergence(self, losses: np.ndarray, epoch: int, rate: float) -> None:
        """Losses after the first that is not finite mean nothing: there the epoch ended."""
        if not np.isfinite(losses).all():
            step = int(np.argmin(np.isfinite(losses)))
            place = f"in epoch {epoch + 1}, step {step + 1}, at learning rate {rate:g}"
            raise _NotFinite("a finite loss", f"{losses[step]} {place}")
        if not np.isfinite(self.network.params).all():
            raise _NotFinite(
                "finite parameters", f"others after epoch {epoch + 1}, at learning rate {rate:g}"
            )
        if self.finite_params is not None:
            self.finite_params[...] = self.network.params

    def _validate(self) -> tuple[float, float] | None:
        """Loss and score on the validation data, if there are any."""
        if self.validation is None:
            return None
        return self.network._evaluate(*self.validation)


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
