"""Time to accuracy: a fixed recipe on the full MNIST, seconds inside `fit`, the mean of five seeds.

The test rows are used once, at the end; nothing is chosen by them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

import fastmlp
from fastmlp.optim.schedules import SCHEDULES

from . import data, rows
from .cases import Accuracy, Recipe
from .measure import no_garbage_collection
from .rows import Row
from .settings import Settings

SEEDS = range(5)


def network(recipe: Recipe, seed: int) -> fastmlp.Network:
    """The recipe's network, with a dropout layer for each rate that is not 0."""
    rates = (*recipe.dropout, *[0.0] * (len(recipe.hidden) + 1 - len(recipe.dropout)))
    layers: list[fastmlp.Layer] = [fastmlp.Dropout(rates[0])] if rates[0] else []
    for n_units, rate in zip(recipe.hidden, rates[1:], strict=True):
        layers += [fastmlp.Dense(n_units), fastmlp.ReLU()]
        layers += [fastmlp.Dropout(rate)] if rate else []
    return fastmlp.Network([*layers, fastmlp.Dense(10)], random_state=seed)


def train(recipe: Recipe, seed: int, X: np.ndarray, y: np.ndarray) -> tuple[fastmlp.Network, float]:
    """A network trained by the recipe, and the seconds inside `fit`."""
    net = network(recipe, seed)
    schedule = SCHEDULES[recipe.schedule](**recipe.options)
    start = time.perf_counter()
    net.fit(X, y, optimizer=fastmlp.Adam(schedule), epochs=recipe.epochs, batch_size=recipe.batch)
    return net, time.perf_counter() - start


def run(case: Accuracy, settings: Settings) -> Iterator[Row]:
    """One row: seconds against the limit; missed also if the mean accuracy misses its goal."""
    if settings.quick:
        return
    if not data.has_mnist(settings.data_home):
        note = "needs the full MNIST: --data-home or FASTMLP_MNIST"
        yield rows.plain(case, rows.LIMIT, rows.UNAVAILABLE, note)
        return
    X, y, X_test, y_test = data.mnist(settings.data_home)
    train(case.recipe, 0, X[:1024], y[:1024])  # so that nothing is compiled or loaded below
    seconds, scores = [], []
    with no_garbage_collection():
        for seed in SEEDS:
            net, elapsed = train(case.recipe, seed, X, y)
            seconds.append(elapsed)
            scores.append(net.score(X_test, y_test))
    yield judged(case, seconds, scores)


def judged(case: Accuracy, seconds: list[float], scores: list[float]) -> Row:
    """The row, judged by the mean (not the median) of seconds and of accuracies."""
    mean, accuracy = float(np.mean(seconds)), float(np.mean(scores))
    low, high = min(scores), max(scores)
    note = (
        f"accuracy {accuracy:.2%} ({low:.2%} to {high:.2%}); {case.recipe.epochs} epochs of batch "
        f"{case.recipe.batch}, hidden {case.recipe.hidden}"
    )
    row = rows.against_limit(case, "s in fit", seconds, case.seconds, note)
    row.ours = mean
    row.status = rows.PASS if mean <= case.seconds and accuracy >= case.goal else rows.MISSED
    return row
