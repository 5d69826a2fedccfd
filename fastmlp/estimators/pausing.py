"""Fits that pause after some epochs and go on later, as successive halving needs.

To continue, a fit starts again from the same random numbers and restores the state that the earlier
epochs left. So it ends with the bits of a fit that never paused, and only parameters and counts
have to be kept in between.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import check_random_state

# Attributes in which a fit of an estimator counts.
_COUNTS = (
    "n_iter_", "t_", "loss_", "loss_curve_", "history_", "validation_scores_",
    "best_validation_score_", "best_loss_",
)  # fmt: skip


class _Left(NamedTuple):
    """What a paused fit leaves."""

    random: dict[str, Any]
    order: np.ndarray
    learned: np.ndarray
    best_params: np.ndarray | None
    average: np.ndarray | None
    progress: Any
    counts: dict[str, Any]
    stops: bool


class Wish:
    """Whether all fits that share this object shall end; it can be set from another thread."""

    to_end = False


@dataclass(eq=False)
class Pause:
    """Until which epoch a fit runs, and from where it goes on then.

    Attributes
    ----------
    until : int
        Number of epochs, counted from the first.
    wish : Wish
        Ends the fit earlier, if it is set.
    members : list of Pause
        Of an ensemble's members.
    """

    until: int
    wish: Wish = field(default_factory=Wish)
    members: list[Pause] = field(default_factory=list)
    _seed: dict[str, Any] | None = None  # the random generator's state when the fit began
    _left: _Left | None = None

    def seeded(self, random: np.random.RandomState) -> np.random.RandomState:
        """The generator for a fit that begins, or begins again: its own, never NumPy's global one.

        Threads share that, and would draw from it in between.
        """
        if self._seed is None:
            if random is check_random_state(None):
                random = np.random.RandomState(random.randint(2**31 - 1))
            self._seed = random.get_state(legacy=False)
        own = np.random.RandomState()
        own.set_state(self._seed)
        return own

    def take_over(self, run: Any) -> None:
        """Let a run that has just been prepared go on from where the last one paused.

        Parameters
        ----------
        run : stochastic.Run
        """
        left = self._left
        if left is None:
            return
        network, progress = run.estimator.network_, run.progress
        for name, value in left.counts.items():
            setattr(run.estimator, name, value)
        for one in dataclasses.fields(progress):
            setattr(progress, one.name, getattr(left.progress, one.name))
        network.learned[...] = left.learned
        if left.best_params is not None:
            run.best_params[...] = left.best_params
        if left.average is not None:
            run.trainer.average[...] = left.average
        run.random.set_state(left.random)
        run.order, run.stops = left.order, left.stops

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to go on from."""
        return self._left is None

    def keep(self, run: Any, goes_on: bool) -> None:
        """Keep what a run leaves, before the best parameters are restored.

        Parameters
        ----------
        run : stochastic.Run
        goes_on : bool
            Whether epochs are left; if not, nothing is kept.
        """
        self._left = None
        if not goes_on:
            return
        average, best, found = run.trainer.average, run.best_params, vars(run.estimator)
        self._left = _Left(
            run.random.get_state(legacy=False), run.order, run.estimator.network_.learned.copy(),
            None if best is None else best.copy(), None if average is None else average.copy(),
            run.progress, {name: found[name] for name in _COUNTS if name in found}, run.stops,
        )  # fmt: skip


def pause_at(estimator: Any, pause: Pause | None) -> None:
    """Let the next call of `fit` pause, or none.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
    pause : Pause or None
    """
    vars(estimator)["_pause"] = pause


def pause_of(estimator: Any) -> Pause | None:
    """Where the estimator's fit shall pause; None means at its end."""
    found: Pause | None = vars(estimator).get("_pause")
    return found
