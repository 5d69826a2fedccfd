"""Fixed costs: the time a new process takes to import, for its first fit, and to compile.

Each is timed in a new process by the process itself, so that starting Python is not included.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import fastmlp
from fastmlp import datasets

from . import data, rows
from .cases import OURS, SMALL, Cost
from .machine import is_installed
from .measure import Spread, Timing
from .problem import Problem
from .rows import Row
from .settings import Settings
from .trainers import OurTrainer

_IMPORT = """
import sys, time
start = time.perf_counter()
__import__(sys.argv[1])
print(time.perf_counter() - start)
"""
# The caller's arrays, and therefore NumPy, are loaded before.
_FIT = """
import sys, time
import numpy as np
data = np.load(sys.argv[1])
X, y = data["X"], data["y"]
start = time.perf_counter()
import fastmlp
fastmlp.Network([fastmlp.Dense(32), fastmlp.ReLU(), fastmlp.Dense(10)]).fit(X, y, epochs=1)
print(time.perf_counter() - start)
"""
_TIMEOUT_SECONDS = 300


def seconds_of(script: str, argument: str, **environment: str) -> float:
    """Run a script in a new process; returns the seconds that it reports."""
    here = str(Path(fastmlp.__file__).parents[1])
    paths = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-c", script, argument],
        env=os.environ | {"PYTHONPATH": paths} | environment,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"a timed process failed: {done.stderr.strip()[-500:]}")
    if "Warning" in done.stderr:
        raise RuntimeError(f"a timed process warned: {done.stderr.strip()[-500:]}")
    return float(done.stdout.split()[-1])


def run(case: Cost, settings: Settings) -> Iterator[Row]:
    """The rows of one kind of cost."""
    if settings.quick:
        return
    yield from {"import": _imports, "fit": _fits, "compile": _compiles, "checks": _checks}[
        case.kind
    ](case, settings)


def _imports(case: Cost, settings: Settings) -> Iterator[Row]:
    """Our import against a limit and against those of other libraries, interleaved."""
    packages = {OURS: "fastmlp"}
    for name, package in case.packages.items():
        if is_installed(package.partition(".")[0]):
            packages[name] = package
        else:
            note = f"{package} is not installed"
            yield rows.plain(case, name, rows.SKIPPED, note)
    seconds: dict[str, list[float]] = {name: [] for name in packages}
    for turn in range(settings.rounds + 1):
        for name, package in packages.items():
            took = seconds_of(_IMPORT, package)
            if turn:  # the first reads files from disk
                seconds[name].append(took)
    ours = seconds.pop(OURS)
    assert case.seconds is not None
    yield rows.against_limit(case, "s", ours, case.seconds)
    for name, theirs in seconds.items():
        timing = Timing({OURS: ours, name: theirs})
        yield rows.from_timing(case, name, "s", timing, 1.0, 1.0)


def _fits(case: Cost, settings: Settings) -> Iterator[Row]:
    assert case.seconds is not None
    with tempfile.TemporaryDirectory() as folder:
        arrays = _digits_file(folder)
        seconds_of(_FIT, arrays)  # fills the cache
        values = [seconds_of(_FIT, arrays) for _ in range(settings.rounds)]
    yield rows.against_limit(case, "s", values, case.seconds)


def _compiles(case: Cost, settings: Settings) -> Iterator[Row]:
    assert case.seconds is not None
    values = []
    for _ in range(min(settings.rounds, 3)):
        with tempfile.TemporaryDirectory() as folder:
            cache = str(Path(folder) / "cache")
            values.append(seconds_of(_FIT, _digits_file(folder), NUMBA_CACHE_DIR=cache))
    yield rows.against_limit(case, "s", values, case.seconds)


def _checks(case: Cost, settings: Settings) -> Iterator[Row]:
    """The part of a fit outside of its epochs, which the training cases do not include."""
    table = data.digits(settings.data_home, 60_000)
    ours = OurTrainer(Problem.of(SMALL, table, 128))
    ours.fit(1)
    values = []
    for _ in range(settings.rounds):
        start = time.perf_counter()
        history = ours.fit(1)
        values.append(time.perf_counter() - start - sum(history.seconds))
    spread = Spread.of(values)
    note = f"{spread.low:.3g} to {spread.high:.3g}"
    yield Row(case.group, case.name, "nobody", rows.MEASURED, "s", spread.median, note=note)


def _digits_file(folder: str) -> str:
    """A file with the 1,797 x 64 digits."""
    digits = datasets.load_digits()
    path = Path(folder) / "digits.npz"
    np.savez(path, X=digits.X, y=digits.y)
    return str(path)
