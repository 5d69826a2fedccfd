"""`fit_many`: many networks in one compiled call, each trained by one thread from start to end.

The longest fits begin first, and a thread takes the next as soon as it is free; small networks of
one shape are one fit. Every network ends with the bits that `Network.fit` on the same rows gives.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..cluster.active import active_workers
from ..engine.threads import MOST_THREADS, n_cores
from ..errors import InputError, InputTypeError, counted
from ..inputs import checks
from ..inputs.shared import SharedTable
from ..model.body import Body
from ..optim.optimizers import optimizer_of
from .early_stopping import EarlyStopping
from .elsewhere import Elsewhere
from .finished import Finished
from .history import History
from .one_fit import OneFit
from .side_by_side import SideBySide

_NAMED = 10  # failed networks in a warning


def fit_many(
    networks: Sequence[Body],
    X: Any,
    y: Any,
    *,
    optimizer: Any = "adam",
    epochs: int | Sequence[int] = 10,
    batch_size: int | Sequence[int] = 32,
    rows: Sequence[Any] | None = None,
    validation_rows: Sequence[Any] | None = None,
    sample_weight: Any = None,
    patience: int | EarlyStopping | Sequence[int | EarlyStopping | None] | None = None,
    restore_best: bool = True,
    shuffle: bool = True,
    drop_last: bool = False,
    checkpoint: Any = None,
    n_threads: int | None = None,
    progress: bool = False,
) -> list[History]:
    """Train many networks, side by side on all cores.

    Each network ends with the same bits as if it were trained alone by ``network.fit(X[rows],
    y[rows], ...)`` with the same options. Rows are read where they are, so folds and bootstrap
    samples of one table take no memory.

    Parameters
    ----------
    networks : sequence of Network
        Any mixture of layers, losses and dtypes; trained in place.
    X : array, data frame or sparse matrix of shape (n, n_features), or a list of one per network
        One table for all networks, or one for each.
    y : array of shape (n,) or (n, n_targets), or a list of one per network
        As `X`.
    optimizer : str or Optimizer, or a list of one per network, default "adam"
        As for `Network.fit`.
    epochs : int, or a list of one per network, default 10
        Maximum number of epochs.
    batch_size : int, or a list of one per network, default 32
        Maximum number of rows per step.
    rows : sequence of arrays, optional
        For each network the numbers of the rows to train on, in which a row may occur more than
        once, or a mask; None stands for all rows.
    validation_rows : sequence of arrays, optional
        For each network the rows that each epoch is judged by; None stands for none.
    sample_weight : array of shape (n,), or a list of one per network, optional
        Weights of all rows, as for `Network.fit`.
    patience : int or EarlyStopping, or a list of one per network, optional
        A network's fit ends once its validation score has not improved for so many epochs, or as an
        `EarlyStopping` says, of which each network gets a copy.
    restore_best : bool, default True
        Whether networks with a number as `patience` end with the parameters of their best epoch.
    shuffle : bool, default True
        As for `Network.fit`.
    drop_last : bool, default False
        As for `Network.fit`.
    checkpoint : str or path, optional
        A folder in which networks that are done are kept, in a file every ten seconds. A call with
        the same networks, rows and options, after a crash or Ctrl-C, takes them from there and
        trains the others, which end with the same bits.
    n_threads : int, optional
        By default one per core.
    progress : bool, default False
        Whether to show a progress bar with the time left.

    Returns
    -------
    list of History
        One per network, in their order. A network whose rows cannot be used, or whose loss is no
        longer finite, has a history that is "failed", with the reason as its `error`, and a warning
        names it; the others are trained nevertheless. After Ctrl-C, those that had not ended are
        "interrupted": the first press lets those end that have begun, for up to two seconds.

    Raises
    ------
    InputError
        For options and tables that cannot be used. Nothing is trained then.
    FileError
        If the checkpoint's folder cannot be written, or has a damaged file, or a network that
        differs from the one with this number.

    Notes
    -----
    Small networks of one shape, with the same options and without validation rows, are trained side
    by side in the lanes of vectors; each history's seconds are then its share of their time.
    Networks with user-defined parts that have no kernel, and fits of more than a million steps, are
    left to `Network.fit`, one after another at the end.

    Within ``joblib.parallel_config(backend="dask")`` or ``"ray"``, the workers of that cluster
    train chunks of the networks, each with `n_threads` or as many as the worker has. Results are
    the same bits. After Ctrl-C, networks that have not come back are as they were.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import Dense, Network, ReLU, fit_many
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 3))
    >>> y = (X.sum(axis=1) > 0).astype(int)
    >>> networks = [Network([Dense(width), ReLU(), Dense(2)]) for width in (4, 8, 16)]
    >>> halves = [np.arange(100), np.arange(100, 200)]
    >>> histories = fit_many(
    ...     networks, X, y, epochs=20, rows=3 * halves[:1], validation_rows=3 * halves[1:]
    ... )
    >>> [history.epochs for history in histories]
    [20, 20, 20]
    >>> best = max(range(3), key=lambda i: histories[i].validation_score[-1])
    """
    where = "fit_many"
    if n_threads is not None:
        checks.whole_number(where, "n_threads", n_threads, 1, MOST_THREADS)
    networks = _checked_networks(where, networks)
    each = _Each(where, len(networks))
    tables = _tables(where, X, y, sample_weight, len(networks))
    fits = [
        OneFit(number, f"{where}, networks[{number}]", shuffle, drop_last, *values)
        for number, values in enumerate(
            zip(
                networks, tables, each.optimizer(optimizer), each.number("epochs", epochs),
                each.number("batch_size", batch_size), each.rows("rows", rows),
                each.rows("validation_rows", validation_rows),
                each.stopping(patience, restore_best, validation_rows), strict=True,
            )
        )
    ]  # fmt: skip
    finished = None if checkpoint is None else Finished(where, checkpoint)
    workers = active_workers(where)
    if workers is None:
        SideBySide(fits, n_threads or n_cores(), progress, finished).run()
    else:
        Elsewhere(workers, fits, n_threads, progress, finished).run()
    _warn_of_failures(where, fits)
    return [one.history for one in fits]


def _checked_networks(where: str, networks: Any) -> list[Body]:
    """Different networks, at least one."""
    advice = "pass a list of networks"
    if isinstance(networks, Body) or not isinstance(networks, Iterable):
        raise InputTypeError(where, "a list of networks", type(networks).__name__, advice)
    found = list(networks)
    for number, one in enumerate(found):
        if not isinstance(one, Body):
            got = type(one).__name__
            raise InputTypeError(f"{where}, networks[{number}]", "a network", got, advice)
    if not found or len({id(one) for one in found}) < len(found):
        got = "none" if not found else "one of them twice"
        raise InputError(where, "different networks", got, advice)
    return found


def _tables(where: str, X: Any, y: Any, sample_weight: Any, n: int) -> list[SharedTable]:
    """The table of each network; most often one object for all."""
    if not _is_one_each(X):
        return n * [SharedTable(where, X, y, sample_weight)]
    given = {"X": X, "y": y}
    if sample_weight is not None:
        given["sample_weight"] = sample_weight
    for name, values in given.items():
        _check_count(where, name, values, n)
    weights = n * [None] if sample_weight is None else sample_weight
    made = dict[tuple[int, ...], SharedTable]()
    found = []
    for number, parts in enumerate(zip(X, y, weights, strict=True)):
        key = tuple(map(id, parts))
        if key not in made:
            made[key] = SharedTable(f"{where}, X[{number}]", *parts)
        found.append(made[key])
    return found


def _is_one_each(X: Any) -> bool:
    """Whether X is a list of tables."""
    return isinstance(X, list | tuple) and all(len(getattr(one, "shape", ())) == 2 for one in X)


def _check_count(where: str, name: str, values: Any, n: int) -> None:
    if not isinstance(values, Sequence | np.ndarray) or isinstance(values, str):
        raise InputTypeError(
            where, f"{name} as a list, one for each network", type(values).__name__, "pass a list"
        )
    if len(values) != n:
        got = f"{len(values)}"
        raise InputError(where, f"{name} for {counted(n, 'network')}", got, "pass one for each")


class _Each:
    """Options for each of n networks, from one for all or from a list of them."""

    def __init__(self, where: str, n: int) -> None:
        self._where, self._n = where, n

    def _spread(self, name: str, value: Any) -> list[Any]:
        if not isinstance(value, list | tuple | np.ndarray):
            return self._n * [value]
        _check_count(self._where, name, value, self._n)
        return list(value)

    def optimizer(self, value: Any) -> list[Any]:
        """Optimizers for names, or as they are."""
        return list(map(optimizer_of, self._spread("optimizer", value)))

    def number(self, name: str, value: Any) -> list[int]:
        """Whole numbers of at least 1."""
        values = self._spread(name, value)
        return [checks.whole_number(self._where, name, one, 1) for one in values]

    def rows(self, name: str, value: Any) -> list[Any]:
        """Rows of each network, or None."""
        if value is None:
            return self._n * [None]
        _check_count(self._where, name, value, self._n)
        return list(value)

    def stopping(
        self, patience: Any, restore_best: bool, validation_rows: Any
    ) -> list[EarlyStopping | None]:
        """Early stopping for those that have a patience, which need rows to judge them by."""
        found = list[EarlyStopping | None]()
        judged = self.rows("validation_rows", validation_rows)
        for number, (one, rows) in enumerate(
            zip(self._spread("patience", patience), judged, strict=True)
        ):
            if one is not None and rows is None:
                raise InputError(
                    f"{self._where}, networks[{number}]", "validation_rows for a patience", "none",
                    "pass the rows that judge each epoch",
                )  # fmt: skip
            if one is None or isinstance(one, EarlyStopping):
                found.append(copy.copy(one))
            else:
                found.append(EarlyStopping(one, restore_best=restore_best))
        return found


def _warn_of_failures(where: str, fits: Sequence[OneFit]) -> None:
    """Name the networks that were not trained."""
    failed = [number for number, one in enumerate(fits) if one.history.stopped == "failed"]
    if not failed:
        return
    from sklearn.exceptions import FitFailedWarning

    numbers = ", ".join(map(str, failed[:_NAMED])) + (", ..." if len(failed) > _NAMED else "")
    warnings.warn(
        f"{where}: {counted(len(failed), 'network')} of {len(fits)} failed: {numbers}. The first: "
        f"{fits[failed[0]].history.error}",
        FitFailedWarning,
        stacklevel=3,
    )
