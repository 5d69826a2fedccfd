"""DaskMLPClassifier: labels in partitions on many machines.

All classes are known before the first step, from all partitions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..class_weights import balanced
from ..classifier import MLPClassifier
from .answers import answer
from .base import DaskMLP


class DaskMLPClassifier(DaskMLP):
    """Multi-layer perceptron classifier for Dask collections.

    Partitions are divided among lanes. In each round, every lane trains a copy of the network on
    its rows, and the copies are averaged. The result depends on the partitions and `n_lanes`, but
    not on the workers.

    Parameters
    ----------
    n_lanes : int, default 8
        At most so many copies are trained at once, and no more than there are partitions. With one,
        the training is that of `MLPClassifier.partial_fit`, on one worker at a time.
    epochs_per_round : int, default 1
        Epochs between two averages.
    client : distributed.Client, default None
        The cluster; by default the current one.
    **parameters : dict of str to object
        Parameters of `MLPClassifier`, except for those that need all rows at one place: "lbfgs",
        `early_stopping`, `scoring`, `n_members`, `warm_start` and `callbacks`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels in the order of the outputs.
    n_lanes_ : int
        Lanes of the last fit.
    loss_curve_ : list of float
        Mean loss of each epoch, over all lanes, of the copies before they are averaged.
    loss_, n_iter_, n_features_in_, n_outputs_
        As in `MLPClassifier`.

    Examples
    --------
    >>> from dask import array  # doctest: +SKIP
    >>> from distributed import Client  # doctest: +SKIP
    >>> from fastmlp.dask import DaskMLPClassifier
    >>> client = Client(n_workers=2)  # doctest: +SKIP
    >>> X = array.random.normal(size=(10_000, 20), chunks=(1_000, 20))  # doctest: +SKIP
    >>> y = (X.sum(axis=1) > 0).astype(int)  # doctest: +SKIP
    >>> model = DaskMLPClassifier(max_iter=10, client=client).fit(X, y)  # doctest: +SKIP
    >>> plain = model.to_local()  # doctest: +SKIP
    """

    _KIND = MLPClassifier
    _HAS_CLASSES = True

    def _prepare(self, model: Any, facts: list[Any], classes: np.ndarray | None) -> None:
        """Turn balanced weights of classes into numbers, which lanes cannot know."""
        if isinstance(model.class_weight, str) and classes is not None:
            counts = np.zeros(len(classes))
            for one in facts:
                counts[np.searchsorted(classes, one.classes)] += one.counts
            model.class_weight = balanced(classes, counts)

    def _take_attributes(self, fitted: Any) -> None:
        super()._take_attributes(fitted)
        self.classes_ = fitted.classes_

    def predict_proba(self, X: Any) -> Any:
        """Probabilities of classes.

        Parameters
        ----------
        X : Dask array or frame of shape (n, n_features), or table in memory
            One row for each sample.

        Returns
        -------
        Dask array or frame, or ndarray, of shape (n, n_classes)
            As for `predict`; columns are in the order of `classes_`.
        """
        return answer(self.to_local(), "predict_proba", X)

    def _metric(self, true: Any, found: Any, weights: Any) -> float:
        from sklearn.metrics import accuracy_score

        return float(accuracy_score(true, found, sample_weight=weights))
