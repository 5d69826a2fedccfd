"""Serving of ensembles: the mean of several predictors' outputs.

Every member is a `Predictor`, so an ensemble's answer takes as long as theirs together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..errors import counted
from ..inputs.targets import TargetCoder
from .predictor import Predictor, decoded


def mean_of(outputs: Iterable[np.ndarray]) -> np.ndarray:
    """The mean of arrays of one shape, added in their order.

    Parameters
    ----------
    outputs : iterable of ndarray
        At least one; none is changed.

    Returns
    -------
    ndarray
    """
    found = list(outputs)
    if len(found) == 1:
        return found[0]
    total = found[0] + found[1]
    for other in found[2:]:
        total += other
    total /= len(found)
    return total


class EnsemblePredictor:
    """The mean of the outputs of several predictors.

    Made by `compile_predictor` of an estimator with several members.

    Parameters
    ----------
    members : sequence of Predictor
        One for each network.
    coder : TargetCoder
        How `predict` reads outputs.

    Attributes
    ----------
    members : tuple of Predictor
        In the order of the estimator's `members_`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastmlp import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(n_members=3, learning_rate="cosine", random_state=0).fit(X, y)
    >>> predictor = model.compile_predictor()
    >>> predictor
    EnsemblePredictor(3 members, 4 inputs, 3 outputs, float64, 3 classes)
    >>> predictor(X[0]).shape, int(predictor.predict(X[0]))
    ((3,), 0)
    """

    __slots__ = ("_coder", "members")

    def __init__(self, members: Sequence[Predictor], coder: TargetCoder) -> None:
        self.members, self._coder = tuple(members), coder

    def __repr__(self) -> str:
        of_one = repr(self.members[0]).partition("(")[2]
        return f"EnsemblePredictor({counted(len(self.members), 'member')}, {of_one}"

    @property
    def classes_(self) -> np.ndarray | None:
        """Labels in the order of the outputs (of one output: no and yes), or None; read-only."""
        return self.members[0].classes_

    def __call__(self, X: Any, out: np.ndarray | None = None) -> np.ndarray:
        """Outputs of one row or many.

        Parameters
        ----------
        X : array of shape (n_features,) or (n, n_features), data frame or mapping
            As for `Predictor`.
        out : ndarray of shape (n_outputs,) or (n, n_outputs), optional
            Array for the outputs, of the members' dtype.

        Returns
        -------
        ndarray of shape (n_outputs,) or (n, n_outputs)
            `out` if it is given.

        Raises
        ------
        InputError
            As for `Predictor`.
        """
        first, *others = self.members
        added = [member(X) for member in others]  # before anything is written: `out` may be X
        total = first(X, out)
        for outputs in added:
            total += outputs
        total /= len(self.members)
        return total

    def predict(self, X: Any) -> Any:
        """Labels, or numbers for a regression loss, of one row or many.

        Parameters
        ----------
        X : array of shape (n_features,) or (n, n_features)
            As for a call.

        Returns
        -------
        label, number or ndarray of shape (n,) or (n, n_targets)
            As from `predict` of the estimator; for one row its only entry.

        Raises
        ------
        InputError
            As for `Predictor.predict`.
        """
        return decoded(self._coder, self(X))
