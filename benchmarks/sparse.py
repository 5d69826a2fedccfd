"""A CSR input trained without making it dense, against the same numbers as a dense array.

If `fit` does not accept CSR, the row says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import fastmlp

from . import equality, measure, rows
from .cases import OURS, Sparse
from .problem import Problem, initial_weights
from .rows import Row
from .settings import Settings
from .trainers import OurTrainer

PEER = "dense"
QUICK_STEPS = 2


def run(case: Sparse, settings: Settings) -> Iterator[Row]:
    """Compare the two inputs on a few steps, then time them."""
    small = problem(case, QUICK_STEPS * case.batch)
    try:
        OurTrainer(small).fit(1)
    except fastmlp.InputError as refusal:
        yield rows.plain(case, PEER, rows.UNAVAILABLE, str(refusal))
        return
    row = rows.checked(case, PEER, "scipy", lambda: compare(small))
    if settings.quick or row.status != rows.EQUAL:
        yield row
        return
    large = problem(case, case.n_rows)
    samples = {OURS: OurTrainer(large).sample, PEER: OurTrainer(dense(large)).sample}
    timing = measure.interleave(samples, settings.rounds, settings.min_seconds)
    scale = 1e6 / large.n_steps
    yield rows.from_timing(case, PEER, "us per step", timing, scale, case.target, row.note)


def problem(case: Sparse, n_rows: int) -> Problem:
    """Random CSR rows of the case's density, with a class that depends on them."""
    from scipy import sparse

    rng = np.random.default_rng(0)
    X: Any = sparse.random_array(
        (n_rows, case.net.sizes[0]),
        density=case.density,
        format="csr",
        dtype=np.float32,
        rng=rng,
    )
    y = np.argmax(X[:, :1000] @ rng.standard_normal((1000, case.net.sizes[-1])), axis=1)
    return Problem(case.net, initial_weights(case.net), X, y, case.batch)


def dense(of: Problem) -> Problem:
    """The same problem with an ordinary array."""
    X: Any = of.X
    return Problem(of.net, of.weights, X.toarray(), of.y, of.batch)


def compare(small: Problem) -> str:
    """Train on both inputs; returns a text on how close they are."""
    ends, losses = [], []
    for at in (small, dense(small)):
        ours = OurTrainer(at)
        losses.append(ours.fit(2).loss)
        ends.append(ours.parameters())
    loss = equality.check_curves(*losses)
    way = equality.check_parameters([part for pair in small.weights for part in pair], *ends)
    return f"losses within {loss:.1g}, parameters within {way:.1g} of their way"
