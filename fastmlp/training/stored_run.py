"""One run of `Network.fit` on a stored table: an epoch is a sequence of windows.

Everything else is as in `run`. If the table fits into one window, the result has the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np

from ..inputs.windows import Window, Windows
from ..kernels.rules import random
from .checkpoint import InEpoch, Resumed
from .history import History
from .loop import Task
from .run import Callbacks, Run, Trained, bar_of


class StoredRun(Run):
    """One fit on a stored table.

    Parameters
    ----------
    windows : Windows
        Which read it; a window holds a multiple of the rows of a step.
    task, n_epochs, shuffle, asked, resumed, options
        As for `Run`.
    """

    def __init__(
        self, windows: Windows, task: Task, n_epochs: int, shuffle: bool, asked: Callbacks,
        resumed: Resumed | None, **options: bool,
    ) -> None:  # fmt: skip
        super().__init__(task, n_epochs, shuffle, asked, resumed=resumed, **options)
        self._windows = windows
        self._source: Iterator[Window] = iter(())
        # What has been done of the current epoch: its rows, the sum of their losses, seconds.
        self._rows, self._loss, self._seconds = InEpoch() if resumed is None else resumed.in_epoch
        if self._rows % windows.window_rows:  # of other windows: the epoch begins anew
            self._rows, self._loss, self._seconds = InEpoch()
            self.step = self.history.epochs * self.trainer.steps_per_epoch

    def fit(self) -> History:
        """As `Run.fit`, while a thread reads ahead."""
        source = self._windows.read(
            self.n_epochs - self.history.epochs, self.network.seed if self.shuffle else None,
            self.history.epochs, self._rows,
        )  # fmt: skip
        self._source = source
        with closing(source):
            return super().fit()

    def begin(self) -> None:
        """Start the clock, as if the part of an epoch that a checkpoint holds had just been run."""
        super().begin()
        self.started -= self._seconds

    def train(self, n_epochs: int) -> Trained:
        """Train an epoch, or the rest of it."""
        trainer, rates, why = self.trainer, np.full(1, np.nan), ""
        while self._rows < trainer.n_rows and not why:
            before = self._rows
            rates, why = self._train_window(next(self._source))
            if self.bar is not None:
                self.bar.update(self._rows - before)
            if self._rows < trainer.n_rows and not why:
                self._save_if_due(before)
        is_whole = self._rows == trainer.n_rows
        means = [self._loss / trainer.n_rows] if is_whole else []
        if is_whole:
            self._check_first_epoch()
            for _ in range(
                -(-trainer.n_rows // self._windows.window_rows), self._windows.n_windows
            ):
                next(self._source)  # rows that `drop_last` leaves out
        self._rows, self._loss, self._seconds = InEpoch()
        return Trained(means, rates[: len(means)].tolist(), why, "" if is_whole else why)

    def _train_window(self, window: Window) -> tuple[np.ndarray, str]:
        """Train on the rows of a window; returns the last learning rate, and why it ended early."""
        trainer, epoch, n = self.trainer, self.history.epochs, self.trainer.rows_per_step
        trainer.read_window(window.samples)
        order = self._order(window.n_rows, self._rows // self._windows.window_rows)
        order = order[: trainer.n_rows - self._rows]  # without a last step left out
        numbers, rates = self._numbers_of_steps(-(-order.size // n))
        losses, why = self._train_in_calls(order.reshape(1, -1), numbers, trainer.steps_per_call)
        self._refuse_divergence(losses, epoch, rates[-1:], self._rows // n)
        self.step += losses.size
        rows_of_steps = np.full(losses.size, float(n))
        if losses.size == len(numbers):
            rows_of_steps[-1] = order.size - (losses.size - 1) * n
        # One after the other, as `mean_of_batches` adds them.
        self._loss = float(np.cumsum([self._loss, *(losses * rows_of_steps)])[-1])
        self._rows += int(rows_of_steps.sum())
        return rates[-1:], why

    def _order(self, n_rows: int, window: int) -> np.ndarray:
        """The order of a window's rows; in the first, that of a fit in memory."""
        order = np.arange(n_rows, dtype=np.int32)
        if self.shuffle:
            seed = self.network.seed
            seed = seed if window == 0 else random.seed_of(seed, random.WINDOW_STREAM, window)
            random.shuffle(order, seed, self.history.epochs)
        return order

    def _save_if_due(self, rows_before: int) -> None:
        checkpoint = self.asked.checkpoint
        if checkpoint is not None and checkpoint.is_due(rows_before, self._rows):
            state = InEpoch(self._rows, self._loss, self.seconds_so_far)
            checkpoint.within_epoch(self.network, self.state_to_save(), state)

    def _progress_bar(self, compiles: bool) -> Any:
        """A bar that counts rows."""
        n_rows = self.trainer.n_rows
        done = self.history.epochs * n_rows + self._rows
        return bar_of(self.n_epochs * n_rows, done, "row", compiles)

    def _show(self) -> None:
        """The rows of the epoch have been counted."""
        if self.bar is not None:
            self.bar.set_postfix(self._shown())
