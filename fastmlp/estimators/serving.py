"""Fast paths for predictions: rows that need no validation, and single rows without set-up.

For a single row, most of the time would be spent on validation and on making an engine.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.lowering import can_compile
from ..inputs.checks import is_finite
from ..model.body import Body
from ..serving import evaluation
from ..serving.predictor import Predictor

_FLOATS = (np.dtype(np.float64), np.dtype(np.float32))
_MOST_PARAMETERS = 200_000  # larger networks release the GIL even for a single row


def is_plain(estimator: Any, X: Any) -> bool:
    """Whether validation of X can be skipped.

    It can for a finite matrix of float32 or float64 with as many columns as in fit, if these had no
    names; everything else goes through scikit-learn's validation.
    """
    known = vars(estimator)
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.dtype in _FLOATS
        and X.dtype.isnative
        and X.shape[0] > 0
        and "coefs_" in known
        and "feature_names_in_" not in known
        and X.shape[1] == known.get("n_features_in_") == estimator.network_.n_features
        and is_finite(X)
    )


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
        self._spare = []
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
        return self(X[0]).reshape(1, -1)
