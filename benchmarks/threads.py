"""Thread scaling: the same bits with one thread and two, then the time of one against the other.

The widest network's step is also compared with the tile peak of the cores that it runs on.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import data, equality, measure, rows
from .cases import OURS, Net, PeakShare, Threads
from .machine import n_cores
from .peak import Peak
from .problem import Problem
from .rows import Row
from .settings import Settings
from .trainers import OurTrainer

ONE_THREAD = "one thread"
CHECKED_STEPS = 4


def run(case: Threads, settings: Settings) -> Iterator[Row]:
    """Check bits, then time."""
    row = rows.checked(case, ONE_THREAD, "numpy", lambda: same_bits(case, settings))
    if settings.quick or row.status != rows.EQUAL:
        yield row
        return
    if n_cores() < 2:
        note = "needs two cores"
        yield rows.plain(case, ONE_THREAD, rows.UNAVAILABLE, note)
        return
    problem = _problem(case.net, case.batch, case.n_rows, settings)
    sides = {OURS: OurTrainer(problem, case.n_threads), ONE_THREAD: OurTrainer(problem, 1)}
    samples = {name: side.sample for name, side in sides.items()}
    timing = measure.interleave(samples, settings.rounds, settings.min_seconds)
    scale = 1e6 / problem.n_steps
    target, lenient = case.target, case.target == 1
    yield rows.from_timing(
        case, ONE_THREAD, "us per step", timing, scale, target, row.note, lenient
    )


def run_peak_share(case: PeakShare, settings: Settings) -> Iterator[Row]:
    """One row: the step's arithmetic per second as a fraction of the tiles'."""
    peak = Peak(n_cores())
    if settings.quick:
        status = rows.EQUAL if all(tile.is_right() for tile in peak.tiles) else rows.MISMATCH
        yield rows.plain(case, rows.TILE_PEAK, status, "the tiles' product")
        return
    problem = _problem(case.net, case.batch, case.n_rows, settings)
    samples = {OURS: OurTrainer(problem).sample, rows.TILE_PEAK: peak.sample}
    timing = measure.interleave(samples, settings.rounds, settings.min_seconds)
    flops = step_flops(case.net, case.batch) * problem.n_steps
    ours = [flops / s / 1e9 for s in timing.seconds[OURS]]
    theirs = [peak.flops / s / 1e9 for s in timing.seconds[rows.TILE_PEAK]]
    ratio = measure.Spread.of([a / b for a, b in zip(ours, theirs, strict=True)])
    medians = measure.Spread.of(ours).median, measure.Spread.of(theirs).median
    yield rows.judged(case, rows.TILE_PEAK, "GFLOP/s", medians, ratio, case.target)


def step_flops(net: Net, batch: int) -> int:
    """Operations of a step's matrix products: forward and weight gradient of each layer, and the
    input gradient of all but the first."""
    products = [n_in * n_out for n_in, n_out in net.layers]
    return 2 * batch * (2 * sum(products) + sum(products[1:]))


def same_bits(case: Threads, settings: Settings) -> str:
    """Train with one thread and with two; the parameters must be the same to the last bit."""
    problem = _problem(case.net, case.batch, CHECKED_STEPS * case.batch, settings)
    ends = []
    for n_threads in (1, 2):
        ours = OurTrainer(problem, n_threads)
        ours.fit(2)
        ends.append(ours.net.params)
    equality.check_same_bits(*ends)
    return "the same bits"


def _problem(net: Net, batch: int, n_rows: int, settings: Settings) -> Problem:
    return Problem.of(net, data.rows_for(net, settings.data_home, n_rows), batch)
