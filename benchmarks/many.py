"""Many small networks: `fit_many` against one thread, a loop of `fit`, and the other libraries.

All networks differ, or all have one shape and are trained in lanes. The other libraries train a
few of them, as wide as all on average, and the time for one is compared; JAX trains several of one
shape side by side (`vmap`), its compilation left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import fastmlp

from . import data, equality, measure, rows, training
from .cases import ACTIVATIONS, JAX, OURS, TORCH, Many, Net
from .machine import n_cores
from .peers import TRAINERS, jax_epoch
from .problem import Problem, initial_weights
from .rows import Row
from .settings import Settings
from .threads import ONE_THREAD
from .trainers import network_for

LOOP = "a loop of fit"
_OF_EACH_SHAPE, _N_SHAPES = 10, 3  # trained by JAX
_SOME = 6  # trained by the others, and in a quick run


def nets(case: Many, n: int) -> list[Net]:
    """Networks of the case's shape, or of 1 to 100 units, with each activation."""
    if case.net is not None:
        return n * [case.net]
    return [Net((10, 1 + i % 100, 1), "numbers", ACTIVATIONS[i // 100 % 3]) for i in range(n)]


def spread(problems: Sequence[Problem], n: int) -> list[Problem]:
    """So many of the problems, each from the middle of as many equal parts."""
    return [problems[len(problems) * (2 * i + 1) // (2 * n)] for i in range(n)]


def run(case: Many, settings: Settings) -> Iterator[Row]:
    """Check bits and equality, then time."""
    found = nets(case, _SOME if settings.quick else case.n_networks)
    table = data.rows_for(found[0], None, case.n_rows)
    problems = [
        Problem(net, initial_weights(net, seed=seed), table.X, table.y, case.batch)
        for seed, net in enumerate(found)
    ]
    some = spread(problems, _SOME)
    checked = {LOOP: rows.checked(case, LOOP, "numpy", lambda: same_bits(case, some))}
    for name in (TORCH, JAX):
        trainer = TRAINERS[name]
        checked[name] = rows.checked(
            case, name, trainer.package, lambda t=trainer: training.compare_any(some[-1:], t)
        )
    for row in checked.values():
        if settings.quick or row.status != rows.EQUAL:
            yield row
    if not settings.quick:
        equal = [name for name, row in checked.items() if row.status == rows.EQUAL]
        yield from _timed(case, settings, problems, some, equal)


def same_bits(case: Many, problems: Sequence[Problem]) -> str:
    """Train some networks together and alone."""
    together, alone = (list(map(network_for, problems)) for _ in range(2))
    train(case, problems, together)
    for problem, mine, other in zip(problems, together, alone, strict=True):
        other.fit(problem.X, problem.y, **options(case, problem))
        equality.check_same_bits(mine.params, other.params)
    return "the same bits as alone"


def options(case: Many, problem: Problem) -> dict[str, Any]:
    """Options of a fit."""
    adam = fastmlp.Adam(problem.rate)
    return {"optimizer": adam, "epochs": case.n_epochs, "batch_size": case.batch}


def train(
    case: Many, problems: Sequence[Problem], networks: Sequence[Any], n_threads: int | None = None
) -> None:
    """Train networks by `fit_many`."""
    first = problems[0]
    fastmlp.fit_many(networks, first.X, first.y, n_threads=n_threads, **options(case, first))


def _timed(
    case: Many, settings: Settings, problems: Sequence[Problem], some: Sequence[Problem],
    equal: Sequence[str],
) -> Iterator[Row]:  # fmt: skip
    def together(n_threads: int | None) -> float:
        networks = list(map(network_for, problems))
        work = measure.timed(train, case, problems, networks, n_threads)
        return work(1) / len(problems)

    def by_fit() -> float:
        networks = list(map(network_for, some))

        def work() -> None:
            for one, problem in zip(networks, some, strict=True):
                one.fit(problem.X, problem.y, **options(case, problem))

        return measure.timed(work)(1) / len(some)

    def by_torch() -> float:
        trainers = [TRAINERS[TORCH](problem) for problem in some]
        for trainer in trainers:
            trainer.threads = 1
        return sum(trainer.sample(case.n_epochs) for trainer in trainers) / len(some)

    sides: dict[str, Callable[[], float]] = {
        OURS: lambda: together(None), ONE_THREAD: lambda: together(1), LOOP: by_fit,
    }  # fmt: skip
    if TORCH in equal:
        sides[TORCH] = by_torch
    if JAX in equal:
        sides[JAX] = _side_by_side_in_jax(case, problems)
    samples = {name: _sample(side) for name, side in sides.items()}
    timing = measure.interleave(samples, settings.rounds, min_seconds=0)
    for name in sides:
        if name != OURS and not (name == ONE_THREAD and n_cores() < 2):
            yield rows.from_timing(
                case, name, "ms per network", timing, 1e3, case.targets.get(name, 1.0)
            )


def _sample(side: Callable[[], float]) -> measure.Sample:
    return lambda repeats: sum(side() for _ in range(repeats))


def _side_by_side_in_jax(case: Many, problems: Sequence[Problem]) -> Callable[[], float]:
    """A function that trains networks of a few shapes, those of one shape by one `vmap`."""
    import jax
    import jax.numpy as jnp

    groups = []
    for problem in spread(problems, _N_SHAPES):
        weights = [initial_weights(problem.net, seed=seed) for seed in range(_OF_EACH_SHAPE)]
        stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *weights)
        zeros = [jax.tree.map(jnp.zeros_like, stacked) for _ in range(2)]
        state = (stacked, *zeros, jnp.zeros(_OF_EACH_SHAPE))
        epoch = jax.jit(jax.vmap(jax_epoch(problem), in_axes=(0, None, None, 0)))
        groups.append((epoch, state))
    X, y, rng = jnp.array(problems[0].X), jnp.array(problems[0].y), np.random.default_rng(0)

    def train_all() -> float:
        seconds = 0.0
        for epoch, start in groups:
            state = start
            for _ in range(case.n_epochs):
                orders = [rng.permutation(case.n_rows) for _ in range(_OF_EACH_SHAPE)]
                order = np.array(orders, np.int32)
                begin = time.perf_counter()
                state, losses = epoch(state, X, y, order)
                losses.block_until_ready()
                seconds += time.perf_counter() - begin
        return seconds / (len(groups) * _OF_EACH_SHAPE)

    return train_all
