"""Our plain SGD against the per-sample NumPy program: the same gradients, then samples per second.

In float64 gradients must be equal to 1e-12 of the largest; in float32 to float32's precision.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

import fastmlp
from fastmlp.reference import ReferenceNetwork

from . import data, equality, measure, rows
from .cases import OURS, Reference
from .problem import Problem, initial_weights
from .rows import Row
from .settings import Settings
from .trainers import OurTrainer

PEER = "per-sample reference"
RATE = 0.01
N_ROWS = 4_096  # timed: a tenth of a second and more for the reference
CHECKED_ROWS, CHECKED_BATCH = 256, 32
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
# After some hundred steps, each of which adds its rounding.
TRAINED_TOLERANCE = {"float64": 1e-10, "float32": 1e-3}


class PerSample:
    """The reference with a problem's weights."""

    def __init__(self, problem: Problem) -> None:
        self.net = ReferenceNetwork(problem.net.sizes)
        self.net.weights = [W.T.astype(np.float64) for W, _ in problem.weights]
        self.net.biases = [b.astype(np.float64)[:, None] for _, b in problem.weights]
        self.X = problem.X.astype(np.float64)
        self.T = np.eye(problem.net.sizes[-1])[problem.y]

    def gradient(self, n_rows: int) -> np.ndarray:
        """Mean gradient of the first rows, as one vector."""
        return self.net.flat_gradient(self.X[:n_rows], self.T[:n_rows])

    def sample(self, n_epochs: int) -> float:
        """Seconds of `n_epochs` epochs."""
        order = np.arange(len(self.X))
        start = time.perf_counter()
        for _ in range(n_epochs):
            self.net.train_epoch(self.X, self.T, order, RATE)
        return time.perf_counter() - start


def run(
    case: Reference, settings: Settings, reference: type[PerSample] = PerSample
) -> Iterator[Row]:
    """Check gradients and, for one sample at a time, a whole epoch; then time."""
    small = problem(case, settings, CHECKED_ROWS)
    row = rows.checked(case, PEER, "numpy", lambda: compare(case, small, reference))
    if settings.quick or row.status != rows.EQUAL:
        yield row
        return
    large = problem(case, settings, N_ROWS)
    sides = {OURS: trainer(case, large).sample, PEER: reference(large).sample}
    timing = measure.interleave(sides, settings.rounds, settings.min_seconds)
    scale = 1e6 / large.n_rows
    yield rows.from_timing(case, PEER, "us per sample", timing, scale, case.target, row.note)


def problem(case: Reference, settings: Settings, n_rows: int) -> Problem:
    """Rows and weights of the case's number type."""
    X, y, _ = data.digits(settings.data_home, n_rows)
    weights = initial_weights(case.net, case.dtype)
    return Problem(case.net, weights, X.astype(case.dtype), y, case.batch, RATE)


def trainer(case: Reference, at: Problem) -> OurTrainer:
    """Our side, with plain gradient descent."""
    return OurTrainer(at, optimizer=fastmlp.SGD(at.rate))


def compare(case: Reference, small: Problem, reference: type[PerSample]) -> str:
    """Compare gradients of some rows and, where batches are single samples, where an epoch ends."""
    ours, theirs = trainer(case, small), reference(small)
    n_rows = max(case.batch, CHECKED_BATCH)
    _, gradient = ours.net.loss_and_gradient(small.X[:n_rows], small.y[:n_rows])
    worst = equality.check_relative(gradient, theirs.gradient(n_rows), TOLERANCE[case.dtype])
    note = f"gradients within {worst:.1g}"
    if case.batch == 1:
        order = ours.orders(1)[0]
        start = theirs.net.to_flat()
        ours.fit(1)
        theirs.net.train_epoch(theirs.X, theirs.T, order, RATE)
        way = equality.check_parameters(
            [start], [ours.net.params], [theirs.net.to_flat()], TRAINED_TOLERANCE[case.dtype]
        )
        note += f", parameters within {way:.1g} of their way"
    return note
