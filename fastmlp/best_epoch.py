"""Early stopping as a callback of `Network.fit`: it remembers the best epoch's parameters.

What counts is the loss on the validation data, which every network has.
"""

from __future__ import annotations

import numpy as np

from . import checks
from .history import History
from .network import Network


class BestEpoch:
    """Ends a fit once the validation loss has not fallen for a while; keeps the best parameters.

    Parameters
    ----------
    patience : int
        After how many epochs without a lower validation loss the fit ends.

    Attributes
    ----------
    epoch : int
        The best one so far, counted from 1; 0 before the first.
    """

    def __init__(self, patience: int) -> None:
        self.patience = checks.whole_number("--early-stopping", "it", patience, 1)
        self.epoch, self._loss = 0, np.inf
        self._params: np.ndarray | None = None

    def __call__(self, network: Network, history: History) -> bool:
        """Look at the epoch that has just ended; whether the fit should end."""
        if history.validation_loss[-1] < self._loss:
            self.epoch, self._loss = history.epochs, history.validation_loss[-1]
            self._params = network.params.copy()
        return history.epochs - self.epoch >= self.patience

    def restore(self, network: Network) -> None:
        """Give the network the parameters of the best epoch."""
        if self._params is not None:
            network.params[...] = self._params
