"""Fits of estimators side by side: joblib with threads, one for each core, or a cluster's workers.

Compiled calls leave the interpreter to other threads, so processes would only cost their start and
copies of the data. Within `joblib.parallel_config` the backend named there is used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sklearn import config_context, get_config
from sklearn.utils.parallel import Parallel, delayed

from ..cluster.active import active_workers
from ..cluster.workers import Workers
from ..engine.threads import n_cores

Jobs = Iterable[tuple[Any, ...]]


def in_threads(n_jobs: int | None, **options: Any) -> Parallel:
    """joblib's `Parallel`, with threads unless the caller has configured another backend.

    Parameters
    ----------
    n_jobs : int or None
        How many at once; None means one per core, or as configured.
    **options : object
        Further options of `Parallel`.

    Returns
    -------
    Parallel
    """
    made = Parallel(n_jobs, prefer="threads", **options)
    if n_jobs is None and made.n_jobs == 1:
        made = Parallel(n_cores(), prefer="threads", **options)
    return made


def side_by_side(
    where: str, n_jobs: int | None, function: Callable[..., Any], shared: Any, jobs: Jobs,
    in_turn: bool = False,
) -> Iterable[Any]:  # fmt: skip
    """Results of ``function(shared, *job)``, in the order of the jobs.

    Parameters
    ----------
    where : str
        For errors.
    n_jobs : int or None
        How many at once, as for `in_threads`.
    function : callable
    shared : object
        What all jobs need; other machines get it once.
    jobs : iterable of tuple
    in_turn : bool, default False
        Whether each result is given as soon as those before it are there, instead of all at once.

    Returns
    -------
    iterable
    """
    workers = active_workers(where)
    if workers is not None:
        return _elsewhere(workers, n_jobs, function, shared, jobs)
    return in_threads(n_jobs, return_as="generator" if in_turn else "list")(
        delayed(function)(shared, *job) for job in jobs
    )


class _Configured:
    """A function that other processes call with the caller's settings of scikit-learn."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function, self._config = function, get_config()

    def __call__(self, *arguments: Any) -> Any:
        with config_context(**self._config):
            return self._function(*arguments)


def _elsewhere(
    workers: Workers, n_jobs: int | None, function: Callable[..., Any], shared: Any, jobs: Jobs
) -> Iterator[Any]:
    """Results of a cluster's workers."""
    most = n_jobs if n_jobs is not None and n_jobs > 0 else None
    found = workers.run(_Configured(function), workers.share(shared), jobs, most)
    early, due = dict[int, Any](), 0
    with contextlib.closing(found):
        for number, result in found:
            early[number] = result
            while due in early:
                yield early.pop(due)
                due += 1
