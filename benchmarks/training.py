"""Training cases: the same losses and parameters from the same start, then microseconds per step.

Each library uses one thread or all, whichever is faster for the case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from . import data, equality, measure, rows
from .cases import OURS, Training
from .peers import SLOW_TO_START, TRAINERS
from .predictors import Predictor
from .problem import Problem
from .rows import Row
from .settings import Settings
from .trainers import OurTrainer, Trainer

CHECKED_STEPS, CHECKED_EPOCHS, CHECKED_ROWS = 4, 2, 64
# In a narrow net, one unit within rounding of 0 can exceed the bounds (see `equality`), so other
# starts are tried. Sides that do not do the same agree from none of them.
STARTS = 3


def run(
    case: Training, settings: Settings, trainers: Mapping[str, type[Trainer]] = TRAINERS
) -> Iterator[Row]:
    """Check all libraries, then time those whose results equal ours."""
    table = data.rows_for(
        case.net, settings.data_home, max(CHECKED_STEPS * case.batch, CHECKED_ROWS)
    )
    starts = [Problem.of_case(case, table, seed) for seed in range(STARTS)]
    equal: dict[str, type[Trainer]] = {}
    for name, trainer in trainers.items():
        if name in SLOW_TO_START and name not in case.targets:
            continue
        row = rows.checked(case, name, trainer.package, lambda t=trainer: compare_any(starts, t))
        if row.status == rows.EQUAL:
            equal[name] = trainer
        if settings.quick or row.status != rows.EQUAL:
            yield row
    if not settings.quick and equal:
        yield from _timed(case, settings, equal)


def compare_any(problems: Sequence[Problem], trainer: type[Trainer]) -> str:
    """`compare` from the first start where both sides agree; raises the first mismatch if none."""
    mismatches = []
    for problem in problems:
        try:
            return compare(problem, trainer)
        except equality.Mismatch as mismatch:
            mismatches.append(mismatch)
    raise mismatches[0]


def compare(problem: Problem, trainer: type[Trainer]) -> str:
    """Train both sides from the same weights in the same order; returns how close they are."""
    ours, theirs = OurTrainer(problem), trainer(problem)
    orders = ours.orders(CHECKED_EPOCHS)
    losses = ours.fit(CHECKED_EPOCHS).loss
    with theirs.on_threads():
        curve = theirs.curve(orders)
    start = [part for layer in problem.weights for part in layer]
    loss = equality.check_curves(losses, curve)
    way = equality.check_parameters(start, ours.parameters(), theirs.parameters())
    return f"losses within {loss:.1g}, parameters within {way:.1g} of their way"


def _timed(
    case: Training, settings: Settings, trainers: Mapping[str, type[Trainer]]
) -> Iterator[Row]:
    table = data.rows_for(case.net, settings.data_home, case.n_rows)
    problem = Problem.of_case(case, table)
    sides = {name: trainer(problem) for name, trainer in trainers.items()}
    for side in sides.values():
        choose_threads(side, settings.min_seconds)
    samples = {OURS: OurTrainer(problem).sample} | {
        name: side.sample for name, side in sides.items()
    }
    timing = measure.interleave(samples, settings.rounds, settings.min_seconds)
    scale = 1e6 / problem.n_steps
    for name, side in sides.items():
        note, target = f"{table.source}{threads_used(side)}", case.targets.get(name, 1.0)
        yield rows.from_timing(case, name, "us per step", timing, scale, target, note)


def threads_used(side: Trainer | Predictor) -> str:
    """A note on how many threads a library used, if it lets us choose."""
    if not side.thread_choices:
        return ""
    return f", {side.threads} thread{'s' if side.threads > 1 else ''}"


def choose_threads(side: Trainer | Predictor, min_seconds: float) -> None:
    """Choose the number of threads with which a library is fastest."""

    def sample_on(threads: int) -> measure.Sample:
        def sample(repeats: int) -> float:
            side.threads = threads
            return side.sample(repeats)

        return sample

    if side.thread_choices:
        samples = {threads: sample_on(threads) for threads in side.thread_choices}
        side.threads = int(measure.fastest(samples, min_seconds))
