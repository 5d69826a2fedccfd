"""Trains the networks of a tabular estimator: one on all cores, or several side by side.

If compiled code has the metric, it finds the best epoch itself; other metrics are computed in
Python after each epoch.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...errors import InputError
from ...network import Network
from ...training.early_stopping import EarlyStopping
from ...training.history import History
from ...training.interrupts import CtrlC
from ...training.many import fit_many
from ...training.travel import Trained, put_back, trained
from ..side_by_side import side_by_side

_USED = 0.9  # of a time limit, since a measured epoch is not quite like the others
_LEAST_EPOCHS, _MEASURED = 8, 4


class Data(NamedTuple):
    """What all networks have in common.

    Attributes
    ----------
    X : ndarray of shape (n, n_columns)
        The prepared table.
    y : ndarray of shape (n,) or (n, n_outputs)
        Class numbers, or standardised numbers.
    given : ndarray of the same shape
        Labels, or numbers in the users' units.
    weights : ndarray of shape (n,) or None
    """

    X: np.ndarray
    y: np.ndarray
    given: np.ndarray
    weights: np.ndarray | None

    def rows(self, rows: Any) -> tuple[Any, ...]:
        """X, y and weights of some rows; a slice copies nothing."""
        return self.X[rows], self.y[rows], None if self.weights is None else self.weights[rows]


class One(NamedTuple):
    """A network, its optimizer, and its rows: slices or numbers."""

    network: Network
    optimizer: Any
    train: Any
    held_out: Any


class Options(NamedTuple):
    """How networks are trained.

    Attributes
    ----------
    epochs, batch_size : int
    patience : int or None
        After how many epochs without a better one training ends.
    monitor : str
        What compiled code compares, or "".
    score : callable or None
        `score(network, X, given, weights)` of held-out rows, where nothing is compared there.
    n_threads : int or None
    verbose : bool
    where : str
        For errors.
    """

    epochs: int
    batch_size: int
    patience: int | None
    monitor: str
    score: Callable[..., float] | None
    n_threads: int | None
    verbose: bool
    where: str


class BestEpoch:
    """Keeps the parameters of the best epoch, the last of equally good ones.

    Parameters
    ----------
    score : callable
        Of the network; larger is better.
    patience : int or None
        After how many epochs in a row that are not better it ends the fit.
    """

    def __init__(self, score: Callable[[Network], float], patience: int | None) -> None:
        self._score, self._best, self._learned = score, -math.inf, np.empty(0)
        self._patience, self._n_stale = math.inf if patience is None else patience, 0
        self.epoch = 0

    def __call__(self, network: Network, history: History) -> bool:
        found = self._score(network)
        self._n_stale = 0 if found > self._best else self._n_stale + 1
        if found >= self._best:
            self._best, self.epoch = found, history.epochs
            self._learned = network.learned.copy()
        return self.has_waited

    @property
    def has_waited(self) -> bool:
        """Whether its patience has run out."""
        return self._n_stale >= self._patience

    def restore(self, where: str, network: Network) -> None:
        """Give the network those parameters; refuse a metric that was never a number."""
        if not self.epoch:
            raise InputError(
                where, "a metric that is a number for the held-out rows", "nan in every epoch",
                "hold out rows of every class, or choose another metric",
            )  # fmt: skip
        network.learned[...] = self._learned


def train(ones: list[One], data: Data, options: Options) -> list[History]:
    """Train networks, each of which ends with its best epoch.

    Parameters
    ----------
    ones : list of One
    data : Data
    options : Options

    Returns
    -------
    list of History
    """
    if len(ones) == 1:
        return [_alone(ones[0], data, options)]
    if options.monitor:
        return _in_one_call(ones, data, options)
    with CtrlC() as ctrl_c:  # of all, since threads other than the main one never see it
        ctrl_c.is_computing = True
        jobs = [(one, options, ctrl_c) for one in ones]
        found = [*side_by_side(options.where, options.n_threads, _copied, data, jobs)]
    for one, back in zip(ones, found, strict=True):
        put_back(one.network, back)
    return [back.history for back in found]


def _copied(data: Data, one: One, options: Options, ctrl_c: CtrlC) -> Trained:
    """Train a network, or a copy of it in another process, until Ctrl-C is pressed."""
    if ctrl_c.pressed:
        return trained(one.network, History(stopped="interrupted"))
    history = _alone(one, data, options, lambda _, history: ctrl_c.pressed)
    if history.stopped == "callback":  # patience says "early_stopping"
        history.stopped = "interrupted"
    return trained(one.network, history)


def _in_one_call(ones: list[One], data: Data, options: Options) -> list[History]:
    stopping = EarlyStopping(options.patience, monitor=options.monitor, ties="last")
    numbers = np.arange(len(data.X))
    is_judged = all(one.held_out is not None for one in ones)
    return fit_many(
        [one.network for one in ones], data.X, data.y,
        optimizer=[one.optimizer for one in ones], epochs=options.epochs,
        batch_size=options.batch_size, rows=[numbers[one.train] for one in ones],
        validation_rows=[numbers[one.held_out] for one in ones] if is_judged else None,
        sample_weight=data.weights, patience=stopping if is_judged else None, drop_last=True,
        n_threads=options.n_threads, progress=options.verbose,
    )  # fmt: skip


def _alone(one: One, data: Data, options: Options, *functions: Any) -> History:
    X, y, weights = data.rows(one.train)
    held_out = None if one.held_out is None else data.rows(one.held_out)
    callbacks, best = list(functions), None
    if held_out is not None and options.monitor:
        callbacks.append(EarlyStopping(options.patience, monitor=options.monitor, ties="last"))
    elif held_out is not None and options.score is not None:
        score, judged, given = options.score, held_out, data.given[one.held_out]
        best = BestEpoch(
            lambda network: score(network, judged[0], given, judged[2]), options.patience
        )
        callbacks.append(best)
    history = one.network.fit(
        X, y, optimizer=one.optimizer, epochs=options.epochs, batch_size=options.batch_size,
        validation_data=held_out, sample_weight=weights, n_threads=options.n_threads,
        callbacks=callbacks, drop_last=True, progress=options.verbose,
    )  # fmt: skip
    if best is not None and best.has_waited and history.stopped == "callback":
        history.stopped = "early_stopping"
    if best is not None and history.epochs:
        best.restore(options.where, one.network)
    return history


def epochs_within(seconds: float, ones: list[One], data: Data, options: Options) -> int:
    """How many epochs of all networks fit into a time, at least a few.

    Fits of one epoch and of a few more are measured with copies, after one that may compile.
    """
    started = time.perf_counter()

    def took(epochs: int) -> float:
        copies = [one._replace(network=copy.deepcopy(one.network)) for one in ones]
        begun = time.perf_counter()
        histories = train(copies, data, options._replace(epochs=epochs, verbose=False))
        if any(history.stopped == "interrupted" for history in histories):
            raise KeyboardInterrupt
        return time.perf_counter() - begun

    took(1)
    alone, more = took(1), took(_MEASURED)
    of_one = max(more - alone, 1e-9) / (_MEASURED - 1)
    left = _USED * seconds - (time.perf_counter() - started) - max(alone - of_one, 0.0)
    return max(min(_LEAST_EPOCHS, options.epochs), min(options.epochs, int(left / of_one)))
