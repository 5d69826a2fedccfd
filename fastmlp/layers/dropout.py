"""Dropout: which units are dropped follows from seed, layer, step and place.

So a run can be repeated for any number of threads, and nothing has to be stored to resume it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .. import checks
from ..kernels import random
from .base import LAYERS, Layer


@LAYERS.register
@dataclass
class Dropout(Layer):
    """In training, drops each input at random and scales the rest to make up for it.

    Which inputs are dropped depends on the network's seed, the layer's position and the step only.
    Outside of training the layer changes nothing.

    Parameters
    ----------
    rate : float in [0, 1), default 0.5
        Probability of being dropped.

    Raises
    ------
    InputError
        For a rate out of range.

    Notes
    -----
    y = 0 with probability rate, else x / (1 - rate); the slope is 0 or 1 / (1 - rate) alike.

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
    rate: float = 0.5

    def __post_init__(self) -> None:
        checks.number("Dropout", "rate", self.rate, 0, 1, high_open=True)
        self.seed, self.stream, self.step = 0, 1, -1
        self._dropped = False

    def at_step(self, seed: int, stream: int, step: int) -> None:
        """Say which random numbers the next forward pass uses; else they move on by themselves.

        Parameters
        ----------
        seed : int
            The network's seed.
        stream : int
            The layer's number.
        step : int
            Steps done before, by all epochs.
        """
        self.seed, self.stream, self.step = seed, stream, step - 1

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        values = self._input(X).copy()
        self._dropped = training and self.rate > 0
        self._last = values
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

    def _drop(self, values: np.ndarray) -> None:
        key = np.uint64(random.stream_key(self.seed, self.stream, self.step))
        random.drop(values.reshape(-1), self.rate, key, 0)
