"""Fits of estimators on stored tables: an epoch is a sequence of windows, each shuffled.

A table that fits one window is read once and trained on like rows in memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine.engine import ENDLESS
from ..errors import InputError
from ..inputs import stored
from ..inputs.windows import Window, Windows
from . import stochastic
from .parameters import STOCHASTIC_SOLVERS


def check(estimator: Any, y: Any, sample_weight: Any, validates: bool) -> None:
    """Refuse what needs all rows at once; validates: whether X_val is given."""
    e, where = estimator, f"{type(estimator).__name__}.fit"
    stored.refuse_others(where, y, sample_weight)
    if e.n_members > 1:
        raise InputError(
            where, "one network for a stored table", f"n_members={e.n_members}",
            "fit several estimators with another random_state each",
        )  # fmt: skip
    if e.solver not in STOCHASTIC_SOLVERS:
        raise InputError(
            where, "a solver of mini-batches for a stored table", f"solver={e.solver!r}",
            "choose 'adam', say",
        )  # fmt: skip
    if e.early_stopping and not validates:
        raise InputError(
            where, "X_val for early_stopping with a stored table", "none",
            "hold rows out: rest, held_out = table.split(0.1), and X_val=held_out",
        )  # fmt: skip


@dataclass(eq=False, kw_only=True)
class StoredRun(stochastic.Run):
    """One call of `fit` on a table of several windows; `samples` are the memory of the first."""

    windows: Windows

    def fit(self, incremental: bool) -> None:
        """As `Run.fit`, while a thread reads ahead."""
        e = self.estimator
        seed = int(self.random.randint(2**31 - 1)) if e.shuffle else None
        source = self.windows.read(e.max_iter, seed)
        self._source: Iterator[Window] = source
        with closing(source):
            super().fit(incremental)

    @property
    def n_stored(self) -> int:
        """Rows of the table."""
        return self.windows.n_rows

    def _train_epochs(self, n_epochs: int) -> list[float]:
        """Train one epoch, or up to the first window with a loss that is not finite."""
        trainer, size, total = self.trainer, self.trainer.rows_per_step, 0.0
        for window in itertools.islice(self._source, self.windows.n_windows):
            losses = self._train_window(window)
            rows_of_steps = np.full(losses.size, float(size))
            rows_of_steps[-1] = window.n_rows - (losses.size - 1) * size
            # One after the other, as a compiled call adds them.
            total = float(np.cumsum([total, *(losses * rows_of_steps)])[-1])
            if not np.isfinite(total):
                break
        loss = total / trainer.n_rows
        if not self.estimator.early_stopping:
            self._count_stale(loss)
        return [loss]

    def _train_window(self, window: Window) -> np.ndarray:
        """Train on the rows of a window; returns the loss of each step."""
        trainer, now = self.trainer, self.progress
        trainer.read_window(window.samples)
        is_full = window.n_rows == self.order.size
        before = self.order if is_full else np.arange(window.n_rows)
        orders = stochastic.Orders(self.random, self.estimator.shuffle, before, 1)
        if is_full:
            self.order = orders.after(1)
        numbers = self._step_numbers(-(-window.n_rows // trainer.rows_per_step))
        losses = self._losses(orders.visits, numbers, ENDLESS)
        now.n_steps += losses.size
        return losses

    def _count_stale(self, loss: float) -> None:
        """Count the epochs without improvement, as a compiled call does."""
        e, now = self.estimator, self.progress
        now.n_stale = 0 if loss <= e.best_loss_ - e.tol else now.n_stale + 1
        e.best_loss_ = min(e.best_loss_, loss)
