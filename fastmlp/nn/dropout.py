"""Dropout: seed, layer, step and position determine which units are dropped.

So a run is reproducible with any number of threads, and nothing has to be stored to resume it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError
from ..kernels.rules import random
from ..optim.schedules import Schedule, number_or_schedule, rates_of
from .chain import every_layer
from .layer import LAYERS, Layer


@LAYERS.register
@dataclass
class Dropout(Layer):
    """In training, drops inputs at random and scales the rest to compensate.

    Which inputs are dropped depends only on the network's seed, the layer's position and the step.
    Outside of training the layer changes nothing.

    Parameters
    ----------
    rate : float in [0, 1), Schedule or callable, default 0.5
        Probability of being dropped; a schedule gives the rate at each step of a fit.

    Raises
    ------
    InputError
        For a rate out of range.

    Notes
    -----
    y = 0 with probability rate, else x / (1 - rate); the slope is 0 or 1 / (1 - rate) accordingly.

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, "Dropout: A simple way to prevent
    neural networks from overfitting", JMLR 15, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import Dropout
    >>> found = Dropout(0.5).forward(np.ones((10, 100)), training=True)
    >>> np.unique(found), bool(400 < (found == 0).sum() < 600)
    (array([0., 2.]), True)
    """

    name: ClassVar[str] = "dropout"
    keeps_width: ClassVar[bool] = True
    is_before_activation: ClassVar[bool] = True
    rate: Any = 0.5

    def __post_init__(self) -> None:
        self.rate = number_or_schedule("Dropout", "rate", self.rate, 1)
        self.seed, self.stream, self.step, self.first_row = 0, 1, -1, 0
        self._dropped = False
        self._given_rate: float | None = None

    def at_step(
        self, seed: int, stream: int, step: int, rate: float | None = None, first_row: int = 0
    ) -> None:
        """Say which random numbers the next forward pass uses; else they move on by themselves.

        Parameters
        ----------
        seed : int
            The network's seed.
        stream : int
            The layer's number.
        step : int
            Number of earlier steps in all epochs.
        rate : float, optional
            What a schedule gives for the step; by default, what it gives for the last one of a run.
        first_row : int, default 0
            Rows of the step that came in batches before.
        """
        self.seed, self.stream, self.step, self.first_row = seed, stream, step - 1, first_row
        self._given_rate = rate

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        values = self._input(X).copy()
        self._dropped = False
        self._last = values
        if training:
            self._used_rate = self._rate_of(self.step + 1)
            self._dropped = self._used_rate > 0
        if self._dropped:
            self.step += 1
            self._drop(values)
        return values

    def backward(self, dY: np.ndarray) -> np.ndarray:
        if not hasattr(self, "_last"):
            raise self._before_forward()
        values = self._incoming(dY, self._last).copy()
        if self._dropped:
            self._drop(values)
        return values

    def _rate_of(self, step: int) -> float:
        if self._given_rate is not None:
            return self._given_rate
        if isinstance(self.rate, Schedule):
            return float(rates_of_steps([self], np.array([step]), step + 1)[0, 0])
        return float(self.rate)

    def _drop(self, values: np.ndarray) -> None:
        key = np.uint64(random.stream_key(self.seed, self.stream, self.step))
        first = self.first_row * values.shape[1]
        random.drop(values.reshape(-1), self._used_rate, key, first)


def by_schedule(layers: Sequence[Layer]) -> list[Dropout]:
    """The dropout layers whose rates follow schedules, in order."""
    return [
        layer
        for layer in every_layer(layers)
        if isinstance(layer, Dropout) and isinstance(layer.rate, Schedule)
    ]


def rates_of_steps(layers: Sequence[Layer], steps: np.ndarray, n_steps: int) -> np.ndarray:
    """Rates at some steps of a run of the layers that follow schedules: (n_steps, n_layers)."""
    drops = by_schedule(layers)
    table = np.empty((steps.size, len(drops)))
    for column, layer in enumerate(drops):
        table[:, column] = rates_of(layer.rate, steps, n_steps)
        if (table[:, column] >= 1).any():
            place = int(steps[np.argmax(table[:, column] >= 1)])
            raise InputError(
                "Dropout, rate", "a schedule of rates below 1", f"another at step {place}",
                "a rate of 1 would drop everything",
            )  # fmt: skip
    return table
