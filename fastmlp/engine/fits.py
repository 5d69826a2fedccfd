"""Fits that run to their end in compiled code, one after another on each of several threads.

Python prepares the next fits and collects those that have ended while threads compute. Threads
share only the queue, so no thread waits for another, or for Python while a prepared fit is in the
queue.
"""

from __future__ import annotations

import contextlib
import functools
import time

import numpy as np

from ..inputs.targets import Samples
from ..kernels import plan
from ..kernels.compiler.calls import Kernel
from ..kernels.compiler.jit import JIT_ENABLED, compile_for
from ..kernels.compiler.memory import address_of
from ..kernels.step import fits
from ..kernels.step.clock import seconds_between
from ..kernels.tuning import FIRST_WORK, WORK_OF_ANY_STEP
from .engine import Engine
from .helper import Cores, Helper
from .threads import wait_for


class CompiledFit:
    """What the threads know of the fit of a network, or of several side by side.

    Parameters
    ----------
    engine : Engine
        Of one thread.
    go_on : Kernel
        Runs some of its steps.
    n_steps : int
    shuffles : bool
    """

    def __init__(self, engine: Engine, go_on: Kernel, n_steps: int, shuffles: bool) -> None:
        self._engine, self._record = engine, np.zeros(1, plan.FIT)
        record = self._record[0]
        record["job"], record["go_on"] = engine.job_address, go_on.address(engine.dtype)
        record["double"], record["shuffles"] = engine.dtype == np.float64, shuffles
        record["n_steps"] = n_steps
        self.address = address_of(self._record, "a fit", plan.FIT, 1, written=True)

    def _set_piece(self, work_per_step: int) -> None:
        """Set after how many steps it looks whether it shall end."""
        piece = max(1, FIRST_WORK // (work_per_step + WORK_OF_ANY_STEP))
        self._record["piece"] = piece

    @property
    def n_bytes(self) -> int:
        """Memory for its steps alone."""
        raise NotImplementedError

    @property
    def is_over(self) -> bool:
        """Whether no more steps follow."""
        return bool(fits.is_over(self.address))

    @property
    def steps_done(self) -> int:
        """Steps that were run, once no thread works on it."""
        return int(self._record["step"][0])

    @property
    def seconds(self) -> float:
        """Seconds from the first step to the last, once no thread works on it."""
        record = self._record[0]
        start, end = (
            (int(record[name]), int(record[f"{name}_part"])) for name in ("started", "ended")
        )
        return seconds_between(start, end)

    def train(self) -> None:
        """Run some of its steps on this thread."""
        fits.train_piece(self.address)


class WholeFit(CompiledFit):
    """All steps of a fit, from the first one on, for one thread.

    Parameters
    ----------
    engine : Engine
        Of one thread.
    samples : Samples
    rows : ndarray of shape (n_samples,) int32
        The numbers of the samples to train on, as a fit without shuffling visits them.
    n_rows : int
        How many of them each epoch visits.
    shuffles : bool
    state : ndarray
        The optimizer's state.
    numbers : ndarray of shape (n_steps, n_numbers)
        Hyperparameters of all steps.
    n_epochs : int

    Attributes
    ----------
    losses : ndarray of shape (n_steps,)
        The loss of each step that was run.
    """

    def __init__(
        self,
        engine: Engine,
        samples: Samples,
        rows: np.ndarray,
        n_rows: int,
        shuffles: bool,
        state: np.ndarray,
        numbers: np.ndarray,
        n_epochs: int,
    ) -> None:
        n_steps, self._numbers = len(numbers), numbers
        self._rows, self._order = rows, rows.copy()
        losses = np.full(n_steps, np.nan)
        engine.begin(
            self._order[:n_rows],
            samples.encoded,
            samples.weights,
            state,
            numbers,
            losses,
            n_epochs,
        )
        call = engine.call
        call["first_step"] = call["enough_after"] = call["watch"] = 0
        super().__init__(engine, fits.go_on, n_steps, shuffles)
        self.losses, record = losses, self._record[0]
        self._set_piece(engine.work_per_step)
        record["n_samples"] = rows.size
        for field, memory in (("rows", self._rows), ("order", self._order)):
            is_written = field == "order"
            record[field] = address_of(memory, field, np.int32, rows.size, written=is_written)

    @property
    def n_bytes(self) -> int:
        """Memory for its steps alone."""
        arrays = self._rows, self._order, self.losses, self._numbers, self._engine.workspace.memory
        return sum(array.nbytes for array in arrays)


class FitThreads:
    """A context in which threads train what is put into their queue.

    Parameters
    ----------
    n_threads : int
        With one, fits run on the thread that waits for them.
    """

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads if JIT_ENABLED else 1
        self._queue = np.zeros(fits.QUEUE_SIZE, np.int64)
        self._at = address_of(self._queue, "a queue", np.int64, fits.QUEUE_SIZE, written=True)
        self._helpers, self._waiting = list[Helper](), list[CompiledFit]()
        self._failures = list[BaseException]()

    def __enter__(self) -> FitThreads:
        compile_fits()
        if self.n_threads > 1:
            try:
                with contextlib.suppress(RuntimeError):  # no more threads can be started
                    self._start(Cores())
            except BaseException:
                self._end()
                raise
            self.n_threads = max(1, sum(helper.is_alive() for helper in self._helpers))
        return self

    def _start(self, cores: Cores) -> None:
        for _ in range(self.n_threads):
            self._helpers.append(Helper(self._guarded, cores))
            self._helpers[-1].start()

    def __exit__(self, *error: object) -> None:
        self._end()

    def _end(self) -> None:
        self._say(fits.STOPPED)
        wait_for(self._helpers, given_all=False)

    def _guarded(self) -> None:
        try:
            fits.train_from_queue(self._at)
        except BaseException as failure:
            self._failures.append(failure)

    def _say(self, status: int) -> None:
        self._queue[fits.STATUS // 8] = status

    def put(self, fit: CompiledFit) -> None:
        """Let a thread train this after those that were put in before."""
        if self.n_threads > 1:
            fits.put(self._at, fit.address)
        else:
            self._waiting.append(fit)

    def halt(self) -> None:
        """Begin no more fits; those that have begun go on."""
        self._say(fits.HALTED)
        self._waiting = self._waiting[:1]

    def stop(self) -> None:
        """End those that have begun as well, after some more steps."""
        self._end()
        self._waiting = []

    @property
    def are_done(self) -> bool:
        """After `halt`: whether all fits that had begun have ended."""
        return not self._waiting and not any(helper.is_alive() for helper in self._helpers)

    def wait(self, seconds: float) -> None:
        """Let some time pass, in which threads compute."""
        if self._failures:
            raise self._failures[0]
        if self.n_threads > 1:
            time.sleep(seconds)
        elif self._waiting:
            self._waiting[0].train()
            if self._waiting[0].is_over:
                del self._waiting[0]


@functools.cache
def compile_fits() -> None:
    """Compile or load what runs fits of any kind."""
    compile_for(fits.is_over, 0)
    compile_for(fits.train_piece, 0)
    compile_for(fits.put, 0, 0)
    compile_for(fits.train_from_queue, 0)
