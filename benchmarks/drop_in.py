"""A scikit-learn script with one import changed: default fits of well-known tables.

Loss curves are compared before anything is timed. Then both sides alternately fit five seeds, and
their scores on held-out rows must agree within the noise between seeds.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn import datasets, neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler, scale

import fastmlp

from . import data, equality, measure, rows
from .cases import OURS, SKLEARN, DropIn
from .machine import blas_threads, one_or_all_cores
from .measure import Timing
from .rows import Row
from .settings import Settings

SEEDS = range(5)
_CHECKED_EPOCHS = 3
_NOISE = 3.0  # allowed difference of two mean scores, in standard errors
_SCORE_STEP = 0.002  # allowed difference if five seeds happen to agree


class Split(NamedTuple):
    """Rows to fit and rows to score."""

    X: Any
    X_test: Any
    y: np.ndarray
    y_test: np.ndarray


def _scaled(load: Callable[..., Any]) -> tuple[np.ndarray, np.ndarray]:
    X, y = load(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def _diabetes(_: Path | None) -> tuple[np.ndarray, np.ndarray]:
    X, y = _scaled(datasets.load_diabetes)
    return X, scale(y)


def _texts(_: Path | None) -> tuple[Any, np.ndarray]:
    """Similar to word counts: 4,000 sparse rows of four topics with different words."""
    from scipy import sparse

    rng = np.random.default_rng(0)
    y, n_words = rng.integers(0, 4, 4000), 5000
    common = 1 / np.arange(1, n_words + 1)
    topics = common * np.where(rng.random((4, n_words)) < 0.05, 4, 1)
    counts = rng.poisson(50 * topics[y] / topics.sum(axis=1)[y, None])
    return sparse.csr_matrix(np.log1p(counts)), y


def _mnist(home: Path | None) -> tuple[np.ndarray, np.ndarray]:
    return data.digits(home, 5000)[:2]


def _mnist_float64(home: Path | None) -> tuple[np.ndarray, np.ndarray]:
    X, y = _mnist(home)
    return X.astype(np.float64), y


TABLES: dict[str, Callable[[Path | None], tuple[Any, np.ndarray]]] = {
    "digits": lambda _: _scaled(datasets.load_digits),
    "MNIST": _mnist_float64,
    "MNIST float32": _mnist,
    "breast_cancer": lambda _: _scaled(datasets.load_breast_cancer),
    "wine": lambda _: _scaled(datasets.load_wine),
    "diabetes": _diabetes,
    "sparse texts": _texts,
}


def run(case: DropIn, settings: Settings) -> Iterator[Row]:
    """Compare the first epochs of both, then time whole fits of some seeds."""
    split = Split(*train_test_split(*TABLES[case.table](settings.data_home), random_state=0))
    row = rows.checked(case, SKLEARN, "sklearn", lambda: compare(case, split))
    if settings.quick or row.status != rows.EQUAL:
        yield row
        return
    yield timed(case, split, row)


def models(case: DropIn, **options: Any) -> dict[str, Any]:
    """One model of each side."""
    return {
        OURS: getattr(fastmlp, case.kind)(**options),
        SKLEARN: getattr(neural_network, case.kind)(**options),
    }


def fit(model: Any, split: Split) -> float:
    """Seconds of a fit, which need not converge in the default 200 epochs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        start = time.perf_counter()
        model.fit(split.X, split.y)
        return time.perf_counter() - start


def compare(case: DropIn, split: Split) -> str:
    """Fit some epochs from one seed; returns a text on how close the losses are."""
    both = models(case, max_iter=_CHECKED_EPOCHS, random_state=0)
    for model in both.values():
        fit(model, split)
    ours, theirs = (model.loss_curve_ for model in both.values())
    return f"losses within {equality.check_curves(ours, theirs):.1g}"


def timed(case: DropIn, split: Split, checked: Row) -> Row:
    """The row of five default fits; scikit-learn uses its best number of threads."""
    n_threads = measure.fastest({n: brief(case, split, n) for n in one_or_all_cores()})
    seconds: dict[str, list[float]] = {OURS: [], SKLEARN: []}
    scores: dict[str, list[float]] = {OURS: [], SKLEARN: []}
    with measure.no_garbage_collection(), blas_threads(n_threads):
        for seed in SEEDS:
            for name, model in models(case, random_state=seed).items():
                time.sleep(measure.PAUSE_SECONDS)
                seconds[name].append(fit(model, split))
                scores[name].append(model.score(split.X_test, split.y_test))
    try:
        note = f"{checked.note}; {same_scores(scores)}; {n_threads} threads"
    except equality.Mismatch as mismatch:
        return rows.plain(case, SKLEARN, rows.MISMATCH, str(mismatch))
    return rows.from_timing(case, SKLEARN, "s per fit", Timing(seconds), 1.0, case.target, note)


def brief(case: DropIn, split: Split, n_threads: int) -> measure.Sample:
    """scikit-learn's first epochs on `n_threads` threads, to find its best number."""
    model = models(case, max_iter=10, random_state=0)[SKLEARN]

    def sample(repeats: int) -> float:
        with blas_threads(n_threads):
            return sum(fit(model, split) for _ in range(repeats))

    return sample


def same_scores(scores: dict[str, list[float]]) -> str:
    """Compare mean scores; returns them as text."""
    ours, theirs = (np.asarray(scores[name]) for name in (OURS, SKLEARN))
    noise = np.sqrt((ours.var(ddof=1) + theirs.var(ddof=1)) / ours.size)
    if not abs(ours.mean() - theirs.mean()) <= max(_NOISE * noise, _SCORE_STEP):
        raise equality.Mismatch(f"mean scores are {ours.mean():.4f} and {theirs.mean():.4f}")
    return f"scores {ours.mean():.4f} and {theirs.mean():.4f} (+-{ours.std(ddof=1):.2g})"
