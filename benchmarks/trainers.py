"""Our side of a training case, and the interface that it shares with the other libraries.

A trainer starts from a problem's weights, trains for epochs, and returns losses and parameters.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

import fastmlp

from . import cases
from .cases import OURS
from .machine import n_cores
from .problem import Problem


class Trainer:
    """One side of a training case.

    Parameters
    ----------
    problem : Problem
        Everything that takes time once (copies, compilation) happens here.

    Attributes
    ----------
    name, package : str
        The side's name in tables, and the package that it needs.
    threads : int
        Set to the best of `thread_choices` before timing.
    """

    name: ClassVar[str]
    package: ClassVar[str]

    def __init__(self, problem: Problem) -> None:
        self.problem, self.threads = problem, n_cores()
        self._rng = np.random.default_rng(1)

    @property
    def thread_choices(self) -> Sequence[int]:
        """Numbers of threads that it can be asked to use; empty if it decides by itself."""
        return ()

    def on_threads(self) -> contextlib.AbstractContextManager[Any]:
        """Hold the side to `threads` while it works."""
        return contextlib.nullcontext()

    def epoch(self, order: np.ndarray) -> float:
        """Go through the rows in this order, a batch per step; returns the mean loss."""
        raise NotImplementedError

    def parameters(self) -> list[np.ndarray]:
        """W and b of each layer as they are now, W of shape (n_in, n_out)."""
        raise NotImplementedError

    def curve(self, orders: Sequence[np.ndarray]) -> list[float]:
        """Mean loss of each of some epochs."""
        return [self.epoch(order) for order in orders]

    def sample(self, n_epochs: int) -> float:
        """Seconds of `n_epochs` epochs. Their random orders are drawn before and not counted."""
        orders = [self._rng.permutation(self.problem.n_rows) for _ in range(n_epochs)]
        with self.on_threads():
            start = time.perf_counter()
            for order in orders:
                self.epoch(order)
            return time.perf_counter() - start


_ACTIVATIONS = {"relu": fastmlp.ReLU, "tanh": fastmlp.Tanh, "sigmoid": fastmlp.Sigmoid}


def network_for(problem: Problem) -> fastmlp.Network:
    """Our network with the problem's weights."""
    layers: list[fastmlp.Layer] = []
    for _, n_out in problem.net.layers:
        layers += [fastmlp.Dense(n_out), _ACTIVATIONS[problem.net.activation]()]
    loss = "softmax_cross_entropy" if problem.net.task == "classes" else "mean_squared_error"
    net = fastmlp.Network(layers[:-1], loss=loss, dtype=problem.dtype).build(problem.net.sizes[0])
    for layer, (W, b) in zip(net.layers[::2], problem.weights, strict=True):
        layer.W, layer.b = W, b
    return net


_OPTIMIZERS: dict[str, Callable[[float], Any]] = {
    cases.ADAM: fastmlp.Adam,
    cases.MOMENTUM: lambda rate: fastmlp.SGD(rate, momentum=cases.MOMENTUM_FACTOR),
}


class OurTrainer(Trainer):
    """fastmlp, whose epochs are one call of `fit` and include drawing random orders."""

    name, package = OURS, "fastmlp"

    def __init__(
        self,
        problem: Problem,
        n_threads: int | None = None,
        optimizer: Any = None,
    ) -> None:
        super().__init__(problem)
        self.net = network_for(problem)
        self.options = {
            "optimizer": optimizer or _OPTIMIZERS[problem.optimizer](problem.rate),
            "batch_size": problem.batch,
            "n_threads": n_threads,
        }

    def fit(self, n_epochs: int) -> fastmlp.History:
        """Continue training; the optimizer starts from zero in each call."""
        problem = self.problem
        return self.net.fit(problem.X, problem.y, epochs=n_epochs, **self.options)

    def orders(self, n_epochs: int) -> list[np.ndarray]:
        """The order in which `fit` visits the rows in each of its epochs."""
        from fastmlp.kernels.rules import random  # elsewhere in older versions; see `versions`

        found = []
        for epoch in range(n_epochs):
            order = np.arange(self.problem.n_rows, dtype=np.int32)
            random.shuffle(order, self.net.seed, epoch)
            found.append(order)
        return found

    def parameters(self) -> list[np.ndarray]:
        return [part for layer in self.net.layers[::2] for part in (layer.W, layer.b)]

    def sample(self, n_epochs: int) -> float:
        """Seconds inside the epochs; checking the data before them is a separate case."""
        return sum(self.fit(n_epochs).seconds)
