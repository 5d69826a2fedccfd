"""DaskMLPRegressor: numbers in partitions on many machines.

Except for the targets, it works like the classifier.
"""

from __future__ import annotations

from typing import Any

from ..regressor import MLPRegressor
from .base import DaskMLP


class DaskMLPRegressor(DaskMLP):
    """Multi-layer perceptron regressor for Dask collections.

    It trains as `DaskMLPClassifier` does.

    Parameters
    ----------
    n_lanes : int, default 8
        At most so many copies are trained at once, and no more than there are partitions.
    epochs_per_round : int, default 1
        Epochs between two averages.
    client : distributed.Client, default None
        The cluster; by default the current one.
    **parameters : dict of str to object
        Parameters of `MLPRegressor`, except for those that need all rows at one place.

    Attributes
    ----------
    n_lanes_ : int
        Lanes of the last fit.
    loss_curve_ : list of float
        Mean loss of each epoch, over all lanes, of the copies before they are averaged.
    loss_, n_iter_, n_features_in_, n_outputs_
        As in `MLPRegressor`.

    Examples
    --------
    >>> from fastmlp.dask import DaskMLPRegressor
    >>> model = DaskMLPRegressor(loss="huber", max_iter=20)
    >>> model.fit(X, y).predict(X).compute()  # doctest: +SKIP
    """

    _KIND = MLPRegressor
    _HAS_CLASSES = False

    def _metric(self, true: Any, found: Any, weights: Any) -> float:
        from sklearn.metrics import r2_score

        return float(r2_score(true, found, sample_weight=weights))
