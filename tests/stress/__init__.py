"""What must hold however rough it gets: kills, bad inputs, damaged files, many threads, processes.

`python -m tests.stress` runs all of it, seeded and bounded, and reports figures; the tests run a
short version.
"""

from __future__ import annotations

from collections.abc import Callable

from . import concurrency, files, fuzz, inputs, kills, soak
from .outcome import Outcome

# Each trial takes how many cases and a seed; the counts are those of a full run.
TRIALS: dict[str, tuple[Callable[[int, int], Outcome], int]] = {
    "kills": (kills.run, 100),
    "inputs": (inputs.run, 10_000),
    "files": (files.run, 1_000),
    "fuzz": (fuzz.run, 20_000),
    "threads": (concurrency.run_threads, 4_000),
    "processes": (concurrency.run_processes, 6),
    "cold cache": (concurrency.run_cold, 8),
    "soak": (soak.run, 400),
}
