"""The learning-rate range test: rates, losses, the suggestion, and what it must not change."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp import SGD, Adam, Dense, Network, ReLU, find_learning_rate
from fastmlp.plotting import plot_rates

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4))
Y = X[:, 0] * X[:, 1]


def network() -> Network:
    return Network([Dense(16), ReLU(), Dense(1)], loss="mse", random_state=0)


def test_the_losses_are_those_of_a_fit_with_these_rates() -> None:
    found = find_learning_rate(network(), X, Y, optimizer="sgd", lowest=1e-4, highest=1e-2)
    assert found.rates.size == found.losses.size == found.smoothed.size == 100
    assert np.allclose(found.rates, np.geomspace(1e-4, 1e-2, 100))
    losses: list[float] = []

    class Note:
        def on_batch(self, _: Network, step: int, loss: float) -> bool:
            losses.append(loss)
            return step == 99

    def rate(step: int, n_steps: int) -> float:
        return float(found.rates[min(step, 99)])

    network().fit(X, Y, optimizer=SGD(rate), epochs=20, callbacks=[Note()])
    assert losses == found.losses.tolist()
    still = find_learning_rate(network(), X, Y, optimizer="sgd", lowest=1e-14, highest=1e-12)
    change = np.array(losses) - still.losses
    assert np.allclose(still.smoothed, still.losses.mean())  # nothing was learned
    means = [change[0], (0.9 * change[0] + change[1]) / 1.9]
    assert np.allclose(found.smoothed[:2], means + still.losses.mean(), rtol=0, atol=1e-6)


def test_the_suggestion_trains_and_rates_far_from_it_do_not() -> None:
    found = find_learning_rate(network(), X, Y, highest=100.0)
    assert found.rates.size < 100  # it ended when the losses had grown
    assert found.smoothed[-1] > 4 * found.smoothed.min()
    scores = {}
    for factor in (1e-4, 1, 1e4):
        trained = network()
        trained.fit(X, Y, optimizer=Adam(factor * found.suggestion), epochs=40)
        scores[factor] = trained.score(X, Y)
    assert scores[1] > 0.8
    assert scores[1] > max(scores[1e-4], scores[1e4]) + 0.3


def test_the_network_stays_as_it_is() -> None:
    built = network().build(4)
    before = built.params.copy()
    find_learning_rate(built, X, Y, n_steps=20)
    assert np.array_equal(built.params, before)
    new = network()
    find_learning_rate(new, X, Y, n_steps=20)
    assert not new.is_built


def test_an_infinite_loss_ends_the_run() -> None:
    found = find_learning_rate(network(), X, Y, optimizer="sgd", highest=1e30, n_steps=30)
    assert np.isfinite(found.losses).all()
    assert found.rates.size < 30


def test_the_picture_shows_rates_losses_and_the_suggestion() -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    found = find_learning_rate(network(), X, Y, highest=100.0)
    ax = found.plot()
    assert ax.get_xscale() == "log"
    assert [line.get_label() for line in ax.lines][-1] == f"suggestion: {found.suggestion:.2g}"
    assert ax.get_ylim()[1] < found.losses.max()  # what diverges does not set the scale
    same = plot_rates(found, plt.figure().gca())
    assert same.get_xlabel() == ax.get_xlabel() == "learning rate"
    plt.close("all")
