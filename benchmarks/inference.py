"""Inference cases: the same outputs for the same rows, then microseconds per call from Python.

The rows are real digits if the net takes 784 numbers; each library uses its best number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from . import data, equality, measure, rows
from .cases import OURS, Inference
from .predictors import PREDICTORS, OurPredictor, Predictor
from .problem import initial_weights
from .rows import Row
from .settings import Settings
from .training import choose_threads, threads_used

QUICK_ROWS = 512


def run(
    case: Inference,
    settings: Settings,
    predictors: Mapping[str, type[Predictor]] = PREDICTORS,
) -> Iterator[Row]:
    """Compare the outputs of all peers with ours, then time those that agree."""
    n_rows = min(case.n_rows, QUICK_ROWS) if settings.quick else case.n_rows
    X = data.rows_for(case.net, settings.data_home, n_rows).X
    weights = initial_weights(case.net)
    ours = OurPredictor(case.net, weights, X)
    expected, sides = ours.output(), dict[str, Predictor]()
    for name, predictor in predictors.items():

        def check(name: str = name, predictor: type[Predictor] = predictor) -> str:
            sides[name] = predictor(case.net, weights, X)
            return compare(expected, sides[name])

        row = rows.checked(case, name, predictor.package, check)
        if row.status != rows.EQUAL:
            sides.pop(name, None)
        if settings.quick or row.status != rows.EQUAL:
            yield row
    if not settings.quick:
        yield from _timed(case, settings, ours, sides)


def compare(expected: np.ndarray, side: Predictor) -> str:
    """Check a side's outputs; returns a text on how close they are."""
    return f"outputs within {equality.check_outputs(expected, side.output()):.1g}"


def _timed(
    case: Inference, settings: Settings, ours: OurPredictor, sides: Mapping[str, Predictor]
) -> Iterator[Row]:
    for side in sides.values():
        choose_threads(side, settings.min_seconds)
    samples = {OURS: ours.sample} | {name: side.sample for name, side in sides.items()}
    timing = measure.interleave(samples, settings.rounds, settings.min_seconds)
    how = "compiled predictor" if ours.is_compiled else "predict_proba: no compiled predictor"
    for name, side in sides.items():
        note, target = how + threads_used(side), case.targets.get(name, 1.0)
        yield rows.from_timing(case, name, "us per call", timing, 1e6, target, note)
    if case.microseconds is not None:
        values = [seconds * 1e6 for seconds in timing.seconds[OURS]]
        yield rows.against_limit(case, "us per call", values, case.microseconds, how)
