"""The short way to predictions: rows that need no conversion, and single ones without set-up.

Most of the time of one row would go into validation that finds nothing and into making an engine.
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
_MOST_PARAMETERS = 200_000  # a single row of larger networks may as well let other threads run


def is_plain(estimator: Any, X: Any) -> bool:
    """Whether validation would find nothing and change nothing.

    That is a finite matrix of float32 or float64 with as many columns as the model was fitted on,
    which had no names; for all else scikit-learn's validation has the word.
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
    """Answers single rows from a network as it is at the moment, unlike other predictors.

    Parameters
    ----------
    network : Network
        Built; not copied, so that its later parameters count.
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
        """Whose answers these are."""
        return self._network

    def answer(self, X: np.ndarray) -> np.ndarray:
        """Outputs after the link (1, n_outputs) of one row (1, n_features)."""
        if not self.is_short:
            return evaluation.outputs(self._network, X, link=True)
        return self(X[0]).reshape(1, -1)
