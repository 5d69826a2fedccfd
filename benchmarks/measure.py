"""Timing without bias from a noisy machine: sides take turns, and ratios are taken per pair.

Each sample repeats its work until it takes long enough to be timed well, after a pause in which the
worker threads of the previous side go to sleep; garbage collection is off.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

# Runs so many repeats and returns the seconds they took.
Sample = Callable[[int], float]
Clock = Callable[[], float]

MIN_SECONDS = 0.05
PAUSE_SECONDS = 0.25  # OpenBLAS and similar libraries keep spinning for about 0.1 s
_MAX_GROWTH = 100  # maximum growth of the number of repeats between two trials


class Spread(NamedTuple):
    """Five numbers that describe how a quantity varied."""

    low: float
    lower_quartile: float
    median: float
    upper_quartile: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(*(float(v) for v in np.percentile(values, [0, 25, 50, 75, 100])))


@dataclass(frozen=True)
class Timing:
    """Seconds per repeat, one entry per round, by the name of the side."""

    seconds: Mapping[str, Sequence[float]]

    def median(self, name: str) -> float:
        return float(np.median(self.seconds[name]))

    def ratio(self, slow: str, fast: str) -> Spread:
        """How many times as long `slow` took as `fast`, from the two of the same round."""
        pairs = zip(self.seconds[slow], self.seconds[fast], strict=True)
        return Spread.of([a / b for a, b in pairs])


def timed(function: Callable[..., Any], *args: Any, clock: Clock = time.perf_counter) -> Sample:
    """A sample that calls a function again and again."""

    def sample(repeats: int) -> float:
        start = clock()
        for _ in itertools.repeat(None, repeats):
            function(*args)
        return clock() - start

    return sample


def repeats_for(sample: Sample, min_seconds: float = MIN_SECONDS) -> int:
    """How many repeats take `min_seconds`; the trials also warm the side up."""
    repeats = 1
    sample(repeats)
    while (seconds := sample(repeats)) < min_seconds:
        wanted = 1.2 * repeats * min_seconds / max(seconds, 1e-9)
        repeats = min(max(int(wanted), repeats + 1), repeats * _MAX_GROWTH)
    return repeats


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collect now, then not until the block ends."""
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def interleave(
    sides: Mapping[str, Sample],
    rounds: int,
    min_seconds: float = MIN_SECONDS,
    pause: float = PAUSE_SECONDS,
) -> Timing:
    """Time all sides alternately, A B C A B C, for a number of rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    with no_garbage_collection():
        repeats = {name: repeats_for(sample, min_seconds) for name, sample in sides.items()}
        for _ in range(rounds):
            for name, sample in sides.items():
                time.sleep(pause)
                seconds[name].append(sample(repeats[name]) / repeats[name])
    return Timing(seconds)


def fastest(choices: Mapping[Any, Sample], min_seconds: float = MIN_SECONDS) -> Any:
    """Which of several settings of one side is the fastest."""
    if len(choices) == 1:
        return next(iter(choices))
    timing = interleave(choices, 2, min_seconds)
    return min(choices, key=lambda name: min(timing.seconds[name]))
