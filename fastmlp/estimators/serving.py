"""A fast path for predictions of single rows, without set-up.

For a single row, most of the time would be spent on making an engine.
"""

from __future__ import annotations

import numpy as np

from ..engine.lowering import can_compile
from ..model.body import Body
from ..serving import evaluation
from ..serving.predictor import Predictor

_MOST_PARAMETERS = 200_000  # larger networks release the GIL even for a single row


class RowPredictor(Predictor):
    """Predicts single rows with a network's current parameters, unlike other predictors.

    Parameters
    ----------
    network : Network
        Built; it is not copied, so later changes of its parameters take effect.
    """

    __slots__ = ("is_short",)

    def __init__(self, network: Body) -> None:
        self._network = network
        self._dtype = np.dtype(network.dtype.name)
        self._n_features, self._n_outputs = network.n_features, network.n_outputs
        self._shapes = (network.n_outputs,), (1, network.n_outputs)
        self._spare, self._batch = [], None
        self._packed = None  # weights are read where they are, because they may change
        is_small = network.params.size <= _MOST_PARAMETERS
        self.is_short = is_small and can_compile(network.layers, network.loss)

    @property
    def network(self) -> Body:
        """The network that it predicts with."""
        return self._network

    def answer(self, X: np.ndarray) -> np.ndarray:
        """Outputs after the link (1, n_outputs) of one row (1, n_features)."""
        if not self.is_short:
            return evaluation.outputs(self._network, X, link=True)
        if not self._spare:
            self._spare.append(self._new_space())
        return self(X[0]).reshape(1, -1)
