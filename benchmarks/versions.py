"""Two versions of fastmlp side by side: `python -m benchmarks.versions OLD NEW` compares speeds.

OLD and NEW are folders that each contain a `fastmlp` package. Each version runs in a separate
process, which sleeps while the other is timed; they take turns in going first. Measured are our
side of the training, inference, sparse and drop-in cases, and short calls.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import cases, data, measure
from .measure import Sample

MOST_ROWS = 20_000  # of a training table: the cost of a step does not depend on more


def samples() -> Iterator[tuple[str, Callable[[], Sample]]]:
    """The name of every row, and a function that prepares it."""
    for case in cases.CASES:
        if isinstance(case, cases.Training):
            for n_threads in (1, None):
                name = f"{case.key}, {'default' if n_threads is None else n_threads} threads"
                yield name, functools.partial(_training, case, n_threads)
        elif type(case) in _PREPARED_BY:
            yield case.key, functools.partial(_PREPARED_BY[type(case)], case)
    for n_rows in (1, 32, 256):
        yield f"calls/fit, {n_rows} rows", functools.partial(_short_fit, n_rows)
        yield f"calls/partial_fit, {n_rows} rows", functools.partial(_partial_fit, n_rows)


def _training(case: cases.Training, n_threads: int | None) -> Sample:
    from .problem import Problem
    from .trainers import OurTrainer

    table = data.rows_for(case.net, None, min(case.n_rows, MOST_ROWS))
    return OurTrainer(Problem.of_case(case, table), n_threads).sample


def _inference(case: cases.Inference) -> Sample:
    from .predictors import OurPredictor
    from .problem import initial_weights

    X = data.rows_for(case.net, None, case.n_rows).X
    return OurPredictor(case.net, initial_weights(case.net), X).sample


def _sparse(case: cases.Sparse) -> Sample:
    from .sparse import problem
    from .trainers import OurTrainer

    return OurTrainer(problem(case, min(case.n_rows, MOST_ROWS))).sample


def _fit(case: cases.DropIn) -> Sample:
    from sklearn.model_selection import train_test_split

    from .drop_in import TABLES, Split, fit, models

    split = Split(*train_test_split(*TABLES[case.table](None), random_state=0))
    model = models(case, max_iter=30, random_state=0)[cases.OURS]
    return lambda repeats: sum(fit(model, split) for _ in range(repeats))


_PREPARED_BY: dict[type[cases.Case], Callable[[Any], Sample]] = {
    cases.Inference: _inference,
    cases.Sparse: _sparse,
    cases.DropIn: _fit,
}


def _short_fit(n_rows: int) -> Sample:
    import fastmlp

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n_rows, 20)).astype(np.float32), rng.normal(size=n_rows)
    layers = [fastmlp.Dense(64), fastmlp.ReLU(), fastmlp.Dense(1)]
    net = fastmlp.Network(layers, loss="mean_squared_error")
    return measure.timed(lambda: net.fit(X, y, epochs=1))


def _partial_fit(n_rows: int) -> Sample:
    import fastmlp

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n_rows, 20)), rng.normal(size=n_rows)
    model = fastmlp.MLPRegressor(hidden_layer_sizes=(64, 64))
    return measure.timed(lambda: model.partial_fit(X, y))


# ---------------------------------------------------------------------- in each version's process


def _serve(place: str) -> None:
    """Read lines: prepare the row with that name, or time a number of repeats."""
    import fastmlp

    assert Path(fastmlp.__file__).parents[1] == Path(place), fastmlp.__file__
    warnings.simplefilter("ignore")
    rows, sample = dict(samples()), None
    for line in sys.stdin:
        question = json.loads(line)
        if isinstance(question, str):
            sample = rows[question]()
            answer: float = measure.repeats_for(sample)
        else:
            assert sample is not None
            with measure.no_garbage_collection():
                answer = sample(question) / question
        print(json.dumps(answer), flush=True)


class Version:
    """The process of one version."""

    def __init__(self, place: Path) -> None:
        root = Path(__file__).resolve().parents[1]
        # Only fastmlp is taken from the version; this checkout's benchmarks prepare the rows.
        start = (
            f"import sys; sys.path.insert(0, {str(place)!r}); import fastmlp;"
            f"sys.path[0] = {str(root)!r};"
            f"from benchmarks.versions import _serve; _serve({str(place)!r})"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", start], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        )  # fmt: skip

    def ask(self, question: Any) -> float:
        """Its answer to a row's name or a number of repeats."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(question), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"benchmarks.versions: a version ended at {question!r}")
        return float(json.loads(answer))


def compare(old: Version, new: Version, row: str, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds per repeat of both, one pair per round."""
    both = (old, new)
    seconds: tuple[list[float], list[float]] = ([], [])
    repeats = int(max(version.ask(row) for version in both))
    for number in range(rounds):
        for side in (0, 1) if number % 2 else (1, 0):
            time.sleep(measure.PAUSE_SECONDS)
            seconds[side].append(both[side].ask(repeats))
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.versions", description=__doc__)
    parser.add_argument("old", type=Path, help="a folder that holds a fastmlp package")
    parser.add_argument("new", type=Path, help="another one")
    parser.add_argument("--only", default="", help="rows whose names hold this text")
    parser.add_argument("--rounds", type=int, default=8, help="pairs of timings (default 8)")
    options = parser.parse_args()
    old, new = Version(options.old.resolve()), Version(options.new.resolve())
    print(f"{'row':58}{'old':>12}{'new':>12}  new / old: median (quartiles)")
    for name, _ in samples():
        if options.only not in name:
            continue
        before, after = compare(old, new, name, options.rounds)
        ratio = measure.Spread.of([b / a for a, b in zip(before, after, strict=True)])
        print(
            f"{name:58}{np.median(before) * 1e6:10.1f}us{np.median(after) * 1e6:10.1f}us  "
            f"{ratio.median:.3f} ({ratio.lower_quartile:.3f} to {ratio.upper_quartile:.3f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
