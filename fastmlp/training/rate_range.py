"""A learning-rate range test: the losses of a short run whose rates grow from step to step.

It trains a copy, so the network itself stays as it is.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, InputTypeError, counted
from ..inputs import checks
from ..network import Network
from ..optim.optimizers import has_rule, optimizer_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SMOOTHING = 0.9  # weight of the past in the smoothed losses
_DIVERGED = 4.0  # times the least of them
_FEWEST = 3  # rates needed for a slope


@dataclasses.dataclass(frozen=True, repr=False)
class RateRange:
    """What `find_learning_rate` found.

    Parameters
    ----------
    rates : ndarray of shape (n_steps,)
        Learning rates of the steps, each larger than the one before.
    losses : ndarray of shape (n_steps,)
        Loss of each step's batch, before the step.
    smoothed : ndarray of shape (n_steps,)
        The effect of training on the loss: the difference of each loss from that of the same batch
        before any training, exponentially smoothed, plus the mean loss before any training.
    suggestion : float
        The rate at which the smoothed losses fall fastest.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.training.rate_range import RateRange
    >>> RateRange(np.array([0.1, 1.0]), np.ones(2), np.ones(2), 0.1)
    RateRange(2 rates from 0.1 to 1, suggestion 0.1)
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    suggestion: float

    def __repr__(self) -> str:
        """How many rates, from where to where, and the one to try."""
        many, first, last = counted(self.rates.size, "rate"), self.rates[0], self.rates[-1]
        return f"RateRange({many} from {first:.3g} to {last:.3g}, suggestion {self.suggestion:.3g})"

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw losses by rate, and the suggestion.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            By default those of a new figure.

        Returns
        -------
        Axes
            With the picture of `fastmlp.plotting.plot_rates`.

        Raises
        ------
        InputError
            Without matplotlib.
        """
        from ..plotting import plot_rates

        return plot_rates(self, ax)


class _Recorder:
    """A callback of batches that records losses and ends the run once they have grown too much."""

    def __init__(self, n_steps: int, most_growth: float) -> None:
        self.n_steps, self.most_growth, self.losses = n_steps, most_growth, list[float]()
        self._mean, self._least = _RecentMean(), np.inf

    def on_batch(self, network: Any, step: int, loss: float) -> bool:
        self.losses.append(loss)
        mean = self._mean.add(loss)
        self._least = min(self._least, mean)
        has_grown = mean - self._least > (self.most_growth - 1) * abs(self._least)
        return len(self.losses) >= self.n_steps or has_grown


class _RecentMean:
    """Exponentially weighted mean of the values so far."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def add(self, value: float) -> float:
        """Add a value; returns the new mean."""
        self._sum, self._count = _SMOOTHING * self._sum + (1 - _SMOOTHING) * value, self._count + 1
        return self._sum / (1 - _SMOOTHING**self._count)


def find_learning_rate(
    network: Network,
    X: Any,
    y: Any,
    *,
    optimizer: Any = "adam",
    lowest: float = 1e-6,
    highest: float = 10.0,
    n_steps: int = 100,
    batch_size: int = 32,
    sample_weight: Any = None,
    n_threads: int | None = None,
) -> RateRange:
    """Train a copy of a network for some steps at growing learning rates, and suggest one.

    Parameters
    ----------
    network : Network
        Where the run starts; it stays as it is.
    X : array, data frame or sparse matrix of shape (n, n_features)
        Samples, as for `Network.fit`.
    y : array of shape (n,) or (n, n_targets)
        Targets, as for `Network.fit`.
    optimizer : str or Optimizer, default "adam"
        What makes the steps; its own learning rate does not count.
    lowest, highest : float, default 1e-6 and 10
        The rates of the first and the last step.
    n_steps : int, default 100
        Steps, at least 10. The run ends before if the smoothed loss is four times its least, or no
        longer a number.
    batch_size : int, default 32
        Samples of a step.
    sample_weight : array of shape (n,), optional
        Weights of the samples.
    n_threads : int, optional
        As for `Network.fit`.

    Returns
    -------
    RateRange
        Rates, losses, the suggestion, and `plot()`.

    Raises
    ------
    InputError
        For options out of range, an optimizer without a learning rate of ours, data that
        `Network.fit` refuses, and if losses diverge within three steps.

    Notes
    -----
    The rate of step i is lowest (highest / lowest)^(i / (n_steps - 1)). The suggestion is the rate
    at which the smoothed loss has its steepest slope by the logarithm of the rate, up to its least.
    Batches differ more than a few steps of training change them, so a second copy, which does not
    train, tells what each batch would have lost anyway.

    References
    ----------
    Smith, "Cyclical learning rates for training neural networks", WACV 2017.

    Examples
    --------
    >>> from fastmlp import Dense, Network, ReLU, datasets, find_learning_rate
    >>> digits = datasets.load_digits()
    >>> network = Network([Dense(32), ReLU(), Dense(10)], random_state=0)
    >>> found = find_learning_rate(network, digits.X, digits.y)
    >>> 1e-4 < found.suggestion < 0.1, network.is_built
    (True, False)
    """
    where = "find_learning_rate"
    checks.number(where, "lowest", lowest, 0, low_open=True)
    checks.number(where, "highest", highest, lowest, low_open=True)
    checks.whole_number(where, "n_steps", n_steps, 10)
    checks.whole_number(where, "batch_size", batch_size, 1)
    made = optimizer_of(optimizer)
    if not has_rule(made):
        raise InputTypeError(
            where, "an optimizer of fastmlp's, whose learning rate can be set",
            type(made).__name__, "pass a name or an Optimizer",
        )  # fmt: skip

    def growing(step: int, n_all: int) -> float:
        return float(lowest * (highest / lowest) ** (min(step, n_steps - 1) / (n_steps - 1)))

    def run(rate: Any, n: int, most_growth: float) -> np.ndarray:
        """Losses of a copy's steps at some rate."""
        trial, recorder = copy.deepcopy(network), _Recorder(n, most_growth)
        try:
            # More epochs than are needed, as the recorder ends the run.
            trial.fit(
                X, y, optimizer=dataclasses.replace(made, learning_rate=rate), epochs=n,
                batch_size=batch_size, sample_weight=sample_weight, n_threads=n_threads,
                callbacks=[recorder],
            )  # fmt: skip
        except InputError:
            if not recorder.losses:  # else it trained, so that only a loss can have been refused
                raise
        return np.array(recorder.losses)

    losses = run(growing, n_steps, _DIVERGED)
    if losses.size < _FEWEST:
        raise InputError(
            where, f"finite losses for at least {_FEWEST} rates", f"{losses.size}",
            "choose a lower lowest, or scale the data",
        )  # fmt: skip
    untrained = run(0.0, losses.size, np.inf)
    rates = np.array([growing(step, 0) for step in range(losses.size)])
    mean = _RecentMean()
    smoothed = np.array([mean.add(change) for change in losses - untrained]) + untrained.mean()
    last = max(_FEWEST, int(np.argmin(smoothed)) + 1)
    slopes = np.gradient(smoothed[:last], np.log(rates[:last]))
    return RateRange(rates, losses, smoothed, float(rates[np.argmin(slopes)]))
