"""The second half of a training step in loops of your own: the update by a gradient.

It keeps what has to last from step to step, the optimizer's state and the number of steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import layerwise
from ..inputs import checks
from ..kernels.compiler.denormals import flush_denormals, restore_denormals
from ..model.body import Body
from ..nn.dropout import by_schedule, rates_of_steps
from ..optim.optimizers import has_rule, optimizer_of
from ..optim.schedules import need_n_steps


class Updates:
    """Updates a network by the gradients in its `grads`.

    Parameters
    ----------
    network : Network
        Built before `begin` is called.
    optimizer : str, Optimizer or object with a method step
        What updates the parameters.
    n_steps : int, optional
        Steps of the whole loop, which some schedules need.

    Attributes
    ----------
    steps_done : int
        Number of steps so far. With `state` and the network's `params` it is all that a loop needs
        to continue elsewhere.
    state : ndarray
        The optimizer's state.
    """

    def __init__(self, network: Body, optimizer: Any, n_steps: int | None) -> None:
        if n_steps is not None:
            checks.whole_number(type(self).__name__, "n_steps", n_steps, 1)
        self.network, self.optimizer, self.n_steps = network, optimizer_of(optimizer), n_steps
        self.steps_done, self.state = 0, np.empty(0, network.dtype)

    def begin(self) -> None:
        """Start from step 0, with the optimizer's first state."""
        network, self.steps_done = self.network, 0
        if has_rule(self.optimizer):
            self.state = self.optimizer.initial_state(network.params.size, network.dtype)

    def dropout_rates(self) -> np.ndarray:
        """Rates of this step for layers of dropout that follow schedules.

        Returns
        -------
        ndarray of shape (n_layers,)
            In the order of the layers.
        """
        return self._dropout_rates(1)[0]

    def numbers(self, count: int) -> np.ndarray:
        """Hyperparameters of the next steps, as kernels read them.

        Parameters
        ----------
        count : int
            How many steps.

        Returns
        -------
        ndarray of shape (count, n_numbers)
            Those of the optimizer, then rates of dropout that follow schedules.
        """
        where, groups = type(self).__name__, self.network.groups
        drops = self._dropout_rates(count)
        numbers = self.optimizer.numbers_at(where, self.steps_done, self.n_steps, groups, count)
        return np.hstack([numbers, drops])

    def _dropout_rates(self, count: int) -> np.ndarray:
        layers, steps = self.network.layers, self.steps_done + np.arange(count)
        schedules = (layer.rate for layer in by_schedule(layers))
        need_n_steps(type(self).__name__, schedules, self.n_steps)
        return rates_of_steps(layers, steps, self.n_steps or self.steps_done + count)

    def apply(self, step: int | None = None) -> None:
        """Update the parameters by the network's `grads`.

        Parameters
        ----------
        step : int, optional
            Which step of the loop this is, from 0: for schedules, and for dropout in the gradients
            after it; by default the one after the last.

        Raises
        ------
        InputError
            For a schedule that needs `n_steps` without it.
        """
        where, network = f"{type(self).__name__}.apply", self.network
        if step is not None:
            self.steps_done = checks.whole_number(where, "step", step, 0)
        control = flush_denormals()
        try:
            if has_rule(self.optimizer):
                groups = network.groups
                numbers = self.optimizer.numbers_at(where, self.steps_done, self.n_steps, groups)[0]
                self.optimizer.update(numbers, groups, network.params, network.grads, self.state)
            else:
                self.optimizer.step(network.params, network.grads)
            layerwise.limit_norms(network)
        finally:
            restore_denormals(control)
        self.steps_done += 1
