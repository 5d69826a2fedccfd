"""Shapes that nobody chose: `python -m benchmarks --sweep 30 --seed 1` draws and measures them.

A listed case can be tuned to, knowingly or not. These are drawn evenly on a logarithmic scale over
the sizes that people use, so that what falls apart between the listed cases is seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from . import rows
from .cases import ACTIVATIONS, ADAM, MOMENTUM, Case, Inference, Net, Training
from .rows import Row

INPUTS, WIDTHS, BATCHES = (5, 2_000), (8, 1_024), (1, 2_048)
DTYPES = ("float32", "float32", "float64")
CLASSES, MOST_LAYERS = (3, 100), 6  # of two, scikit-learn makes one output
MOST_WORK = 4e8  # multiplications of a forward pass, so that one case does not take all the time
MOST_NUMBERS = 4e7  # of a table
LEAST_ROWS = 2_048


def drawn(count: int, seed: int) -> Iterator[Case]:
    """Cases of training and as many of prediction, the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        net, n_rows = _net_and_rows(rng)
        most = int(MOST_NUMBERS / net.sizes[0])
        in_all = max(n_rows, min(LEAST_ROWS, 64 * n_rows, most))
        name = f"sweep {seed}.{number}: {net}"
        optimizer, dtype = str(rng.choice((ADAM, MOMENTUM))), str(rng.choice(DTYPES))
        how = f"{name}, batch {n_rows}, {optimizer}, {dtype}"
        yield Training(how, net, n_rows, {}, in_all, optimizer, dtype)
        yield Inference(f"{name}, {n_rows} rows", net, n_rows)


def _net_and_rows(rng: np.random.Generator) -> tuple[Net, int]:
    """A network, and a number of rows for a batch."""
    while True:
        hidden = [_between(rng, *WIDTHS) for _ in range(rng.integers(1, MOST_LAYERS + 1))]
        n_inputs, n_rows = _between(rng, *INPUTS), _between(rng, *BATCHES)
        task, n_outputs = "numbers", 1
        if rng.random() < 0.5:
            task, n_outputs = "classes", _between(rng, *CLASSES)
        activation = str(rng.choice(ACTIVATIONS))
        net = Net((n_inputs, *hidden, n_outputs), task, activation)
        if net.n_params * n_rows <= MOST_WORK:
            return net, n_rows


def _between(rng: np.random.Generator, low: int, high: int) -> int:
    return round(math.exp(rng.uniform(math.log(low), math.log(high))))


class Summary(NamedTuple):
    """How a group of cases fared against the best of the other libraries.

    Attributes
    ----------
    group : str
    n_cases, n_lost : int
        Cases that were timed, and those in which another library's median is better.
    mean, least : float
        Geometric mean and minimum of their time divided by ours.
    """

    group: str
    n_cases: int
    n_lost: int
    mean: float
    least: float

    def __str__(self) -> str:
        return (
            f"{self.group}: {self.n_cases} cases, best other library / fastmlp: geometric mean "
            f"{self.mean:.2f}, least {self.least:.2f}, {self.n_lost} below 1"
        )


def summaries(found: Sequence[Row]) -> list[Summary]:
    """A summary for each group that has timed rows."""
    best: dict[tuple[str, str], float] = {}
    for row in found:
        if row.ratio is not None and row.peer in rows.PEERS:
            place = row.group, row.case
            best[place] = min(row.ratio.median, best.get(place, math.inf))
    made = []
    for group in dict.fromkeys(group for group, _ in best):
        ratios = np.array([ratio for (of, _), ratio in best.items() if of == group])
        mean, least = float(np.exp(np.log(ratios).mean())), float(ratios.min())
        made.append(Summary(group, ratios.size, int((ratios < 1).sum()), mean, least))
    return made
