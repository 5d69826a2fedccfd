"""Training beside a busy process: `python -m benchmarks --busy` measures every training case so.

That is how laptops and shared machines are most of the time. The figure to compare with is our own
with one thread, which needs no second core, and our own on the quiet machine.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator

from . import data, measure, rows
from .cases import OURS, Training
from .measure import Timing
from .problem import Problem
from .rows import Row
from .settings import Settings
from .trainers import OurTrainer

ONE_THREAD, QUIET = "fastmlp, one thread", "fastmlp, quiet"
# How many times as fast we should at least be as each of these.
TARGETS = {ONE_THREAD: 1 / 1.3, QUIET: 1 / 2.5}


@contextlib.contextmanager
def company() -> Iterator[None]:
    """Another process that always computes, until the block ends."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            time.sleep(0.5)  # until it has started
            yield
        finally:
            process.kill()


def run(case: Training, settings: Settings) -> Iterator[Row]:
    """Two rows: beside a busy process with the default threads, against each of `TARGETS`."""
    if settings.quick:
        return
    table = data.rows_for(case.net, settings.data_home, case.n_rows)
    problem = Problem.of_case(case, table)
    ours, alone = OurTrainer(problem), OurTrainer(problem, n_threads=1)
    quiet = measure.interleave({OURS: ours.sample}, settings.rounds, settings.min_seconds)
    with company():
        sides = {OURS: ours.sample, ONE_THREAD: alone.sample}
        busy = measure.interleave(sides, settings.rounds, settings.min_seconds)
    timing = Timing({**busy.seconds, QUIET: quiet.seconds[OURS]})
    scale, note = 1e6 / problem.n_steps, f"{table.source}, beside a busy process"
    for name, target in TARGETS.items():
        yield rows.from_timing(case, name, "us per step", timing, scale, target, note)
