"""Trials of a search: each trains a candidate's parameters on a fold and scores them on the rest.

With several cores, threads run them side by side. A trial can pause and go on with more epochs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.model_selection._validation import _fit_and_score
from sklearn.pipeline import Pipeline

from ...engine.job import training_work
from ...errors import InputTypeError
from ..base import BaseMLP
from ..parameters import STOCHASTIC_SOLVERS, hidden_sizes
from ..pausing import Pause, Wish, pause_at
from ..side_by_side import in_threads, side_by_side
from .transformed import Transformed


class Data(NamedTuple):
    """What all trials have in common.

    Attributes
    ----------
    estimator : MLPClassifier, MLPRegressor or Pipeline
        Not fitted; each trial has a clone.
    X, y
        All rows.
    splits : list of (ndarray, ndarray)
        Numbers of the rows of each fold to train on, and to score.
    options : dict
        Further arguments of scikit-learn's `_fit_and_score`: scorers, metadata and so on.
    """

    estimator: Any
    X: Any
    y: Any
    splits: list[tuple[Any, Any]]
    options: dict[str, Any]


@dataclass(eq=False)
class Candidate:
    """Parameters that are tried, and how far each fold has got with them.

    Attributes
    ----------
    params : dict of str to object
    max_iter : int
        The number of epochs with which it is complete.
    work : float
        Multiplications of an epoch, roughly; candidates with the most begin first.
    pauses : list of Pause
        By fold.
    """

    params: dict[str, Any]
    max_iter: int = 0
    work: float = 0.0
    pauses: list[Pause] = field(default_factory=list)


def last_step(estimator: Any) -> Any:
    """The estimator itself, or that at the end of a pipeline; others are refused."""
    if isinstance(estimator, Pipeline):
        return last_step(estimator.steps[-1][1])
    if not isinstance(estimator, BaseMLP):
        raise InputTypeError(
            "SearchCV.fit", "MLPClassifier, MLPRegressor, or a Pipeline that ends with one",
            type(estimator).__name__, "use scikit-learn's RandomizedSearchCV",
        )  # fmt: skip
    return estimator


def candidate(data: Data, params: dict[str, Any]) -> Candidate:
    """A candidate that has not been trained.

    Parameters
    ----------
    data : Data
    params : dict of str to object

    Returns
    -------
    Candidate
    """
    made = Candidate(params, pauses=[Pause(0) for _ in data.splits])
    model = last_step(_with_parameters(data.estimator, params))
    try:
        sizes = [getattr(data.X, "shape", (0, 1))[-1], *hidden_sizes(model), 1]
        made.max_iter = int(model.max_iter)
        n_params = model.n_members * int(np.dot(sizes[:-1], sizes[1:]))
        made.work = training_work(n_params, len(data.splits[0][0]))
    except (ValueError, TypeError):
        made.max_iter = 1  # its fit refuses its parameters, too, which is recorded
    return made


def _with_parameters(estimator: Any, params: dict[str, Any]) -> Any:
    return clone(estimator).set_params(**clone(params, safe=False))


class Trials:
    """Runs trials of candidates, several side by side.

    Parameters
    ----------
    data : Data
    n_jobs : int or None
        How many at once; None means one per core, or as joblib's configuration says.
    bar : tqdm or None
        Shows how many trials are done.
    """

    def __init__(self, data: Data, n_jobs: int | None, bar: Any = None) -> None:
        self._given, self._bar, self._wish, self._n_jobs = data, bar, Wish(), n_jobs
        n_shared = len(data.estimator.steps) - 1 if isinstance(data.estimator, Pipeline) else 0
        at_once = joblib.effective_n_jobs(in_threads(n_jobs).n_jobs)
        self._shared = data, Transformed(max(1, (at_once + 1) * n_shared))

    def run(self, candidates: Sequence[Candidate], until: int | None = None) -> list[Any]:
        """Train all candidates on all folds, from where each has paused.

        Parameters
        ----------
        candidates : sequence of Candidate
        until : int, optional
            The number of epochs at which they pause again; by default none do.

        Returns
        -------
        list of dict
            The results of the first candidate on each fold, then those of the second and so on.
        """
        n_splits = len(self._given.splits)
        found: list[Any] = [None] * (len(candidates) * n_splits)
        order = [*self._in_order(candidates)]
        jobs = (self._job(candidates[number], fold, until) for number, fold in order)
        in_turn = self._bar is not None
        try:
            ended = side_by_side("SearchCV.fit", self._n_jobs, _trial, self._shared, jobs, in_turn)
            for (number, fold), (result, pause) in zip(order, ended, strict=True):
                found[number * n_splits + fold] = result
                candidates[number].pauses[fold] = pause
                if self._bar is not None:
                    self._bar.update()
        except BaseException:  # Ctrl-C, which only the main thread sees
            self._wish.to_end = True
            raise
        return found

    def _in_order(self, candidates: Sequence[Candidate]) -> Iterator[tuple[int, int]]:
        """Numbers of candidates and folds: fold by fold, so that they share transformed data."""
        largest_first = sorted(range(len(candidates)), key=lambda number: -candidates[number].work)
        for fold in range(len(self._given.splits)):
            for number in largest_first:
                yield number, fold

    def _job(self, one: Candidate, fold: int, until: int | None) -> tuple[Any, ...]:
        pause = one.pauses[fold]
        pause.until = one.max_iter if until is None else min(until, one.max_iter)
        pause.wish = self._wish
        return one.params, fold, pause


def _trial(
    shared: tuple[Data, Transformed], params: dict[str, Any], fold: int, pause: Pause
) -> tuple[dict[str, Any], Pause]:
    """The scores of a candidate on a fold, and where it has paused."""
    data, transformed = shared
    train, test = data.splits[fold]
    model = _prepared(_with_parameters(data.estimator, params), pause, transformed)
    result = _fit_and_score(
        model, data.X, data.y, train=train, test=test, parameters=None, verbose=0,
        return_n_test_samples=True, return_times=True, **data.options,
    )  # fmt: skip
    return result, pause


def _prepared(model: Any, pause: Pause, transformed: Transformed) -> Any:
    """The model with shared memory for a pipeline's transformers, and told when to pause."""
    if isinstance(model, Pipeline) and model.memory is None:
        model.memory = transformed
    last = last_step(model)
    if last.solver in STOCHASTIC_SOLVERS:
        pause_at(last, pause)
    else:  # L-BFGS has no state to go on from
        last.max_iter = pause.until
    return model
