"""Fits of estimators side by side: joblib with threads, one for each core.

Compiled calls leave the interpreter to other threads, so processes would only cost their start and
copies of the data. Within `joblib.parallel_config` the backend named there is used.
"""

from __future__ import annotations

from typing import Any

from sklearn.utils.parallel import Parallel, delayed

from ..engine.threads import n_cores

__all__ = ["delayed", "in_threads"]


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
