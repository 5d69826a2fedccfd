"""A grid search on two workers against one, in new processes, with a warm cache and a cold one.

With one thread per fit, two workers can halve the time; by default, a single worker uses all cores
if that is worthwhile. Both must find the same scores, and a warning from a worker ends the case.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from . import data, rows
from .cases import OURS, Search
from .costs import seconds_of
from .equality import Mismatch
from .machine import n_cores
from .measure import Timing
from .rows import Row
from .settings import Settings

PEER = "one worker"
_SEARCH = """
import os, sys, time
import numpy as np
from sklearn.model_selection import GridSearchCV
from fastmlp import MLPClassifier
data = np.load(sys.argv[1])
grid = {"hidden_layer_sizes": [32, 48, 64, 96, (64, 64)], "alpha": [1e-6, 1e-4, 1e-2, 1.0]}
n_threads = int(os.environ["THREADS"]) or None
model = MLPClassifier(
    max_iter=int(os.environ["EPOCHS"]), tol=0.0, n_threads=n_threads, random_state=0
)
start = time.perf_counter()
search = GridSearchCV(model, grid, cv=5, n_jobs=int(os.environ["WORKERS"]), refit=False)
search.fit(data["X"], data["y"])
seconds = time.perf_counter() - start
np.save(os.environ["SCORES"], search.cv_results_["mean_test_score"])
print(seconds)
"""
_QUICK_EPOCHS, _EPOCHS = 1, 80


def run(case: Search, settings: Settings) -> Iterator[Row]:
    """Compare the scores of both on few rows, then time whole searches alternately."""
    if settings.quick and (case.cold or case.n_threads):  # the other case checks the same
        return
    table = data.digits(settings.data_home, 200 if settings.quick else 5000)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        np.savez(place / "data.npz", X=table.X, y=table.y)
        epochs = _QUICK_EPOCHS if settings.quick else _EPOCHS
        if not case.cold:
            searched(case, place, 1, _QUICK_EPOCHS)
        # Once is enough for a search that takes a minute.
        sides = ((OURS, 2), (PEER, 1))
        timing = Timing({name: [searched(case, place, n, epochs)] for name, n in sides})
        same_scores(place)
    if settings.quick:
        yield rows.plain(case, PEER, rows.EQUAL, "the same scores")
    elif n_cores() < 2:
        yield rows.plain(case, PEER, rows.UNAVAILABLE, "needs two cores")
    else:
        yield rows.from_timing(case, PEER, "s", timing, 1.0, case.target, "the same scores")


def searched(case: Search, place: Path, workers: int, epochs: int) -> float:
    """Seconds of one search; its scores are written to the folder."""
    environment = {
        "EPOCHS": f"{epochs}",
        "WORKERS": f"{workers}",
        "THREADS": f"{case.n_threads or 0}",
        "SCORES": f"{place / f'scores{workers}.npy'}",
        "PYTHONWARNINGS": "ignore:Stochastic Optimizer",
    }
    if case.cold:
        environment["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(dir=place)
    return seconds_of(_SEARCH, str(place / "data.npz"), **environment)


def same_scores(place: Path) -> None:
    """Refuse a search if several workers found other scores than one worker."""
    one, two = (np.load(place / f"scores{workers}.npy") for workers in (1, 2))
    if not np.array_equal(one, two):
        raise Mismatch("scores depend on the number of workers")
