"""Outputs, predictors, hidden features and input gradients of a fitted estimator.

`MLPClassifier` and `MLPRegressor` turn outputs into labels, probabilities and numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted, validate_data

from ..datasets.stored import StoredTable
from ..engine import layerwise
from ..errors import InputError
from ..inputs import checks
from ..inputs.stored import in_order
from ..inputs.tables import is_sparse, sorted_csr
from ..network import Network
from ..nn import Activation
from ..serving import evaluation
from ..serving.ensemble import EnsemblePredictor, mean_of
from ..serving.predictor import Predictor
from .fitted import checked_weights
from .held import HoldsNetwork
from .plain import is_plain
from .serving import RowPredictor


class Answers(HoldsNetwork):
    """Predictions, predictors, features and gradients of a fitted estimator."""

    n_layers_: int

    @property
    def _n_features_out(self) -> int:
        """Number of columns that `transform` returns, for the names of its outputs."""
        return sum(one.coefs_[-1].shape[0] for one in self._members)

    def _checked(self, X: Any, accept_sparse: bool = True) -> Any:
        """X with the columns of fit: in float32 or float64, sparse as sorted CSR, or stored."""
        if isinstance(X, StoredTable):
            of_fit = self._feature_names, self._networks[0].n_features
            return in_order(f"{type(self).__name__}.predict", X, *of_fit)
        where, formats = type(self).__name__, ["csr", "csc"] if accept_sparse else False
        checks.valid_sparse(where, "X", X)
        checks.numeric_type(f"{where}.predict", "X", X)
        X = validate_data(
            self, X, accept_sparse=formats, dtype=(np.float64, np.float32), reset=False
        )
        n_features = self._networks[0].n_features
        if X.shape[1] != n_features:  # n_features_in_ was set, or is missing
            raise InputError(
                where, f"X with {n_features} columns, as coefs_ have", f"{X.shape[1]}",
                "pass the columns that fit saw",
            )  # fmt: skip
        return sorted_csr(X) if is_sparse(X) else X

    @property
    def _feature_names(self) -> tuple[str, ...] | None:
        """The names of the columns of fit, if they had any."""
        names = vars(self).get("feature_names_in_")
        return None if names is None else tuple(names)

    def _outputs(self, X: Any) -> np.ndarray:
        """Outputs after the link (n, n_outputs)."""
        return self._mean_of(self._outputs_of_members(X))

    def _mean_of(self, outputs: list[np.ndarray]) -> np.ndarray:
        """The mean of what the members answer; nan is refused."""
        found = mean_of(outputs)
        if not np.isfinite(found).all():
            self._check_weights()
        return checks.answers(f"{type(self).__name__}.predict", found)

    def _check_weights(self) -> None:
        """Refuse weights that are not finite, since they may have been changed in place."""
        for one, network in zip(self._members, self._networks, strict=True):
            checked_weights(one, network.dtype)

    def _outputs_of_members(self, X: Any) -> list[np.ndarray]:
        """Outputs after the link of each member, or of the only network."""
        if not is_plain(self, X):
            check_is_fitted(self)
            X = self._checked(X)
        if X.shape[0] == 1 and type(X) is np.ndarray and not self._has_members:
            return [self._row_predictor(self.network_).answer(X)]
        networks = self._networks

        def answer(rows: Any) -> list[np.ndarray]:
            return [evaluation.outputs(network, rows, link=True) for network in networks]

        if isinstance(X, StoredTable):  # which is read once for all members
            found = evaluation.by_windows(networks[0], X, lambda rows: np.stack(answer(rows), 1))
            return [*np.moveaxis(found, 1, 0)]
        return answer(X)

    def _row_predictor(self, network: Network) -> RowPredictor:
        """The predictor for single rows with the network's current weights; it is kept."""
        kept: RowPredictor | None = self.__dict__.get("_rows")
        if kept is None or kept.network is not network:
            kept = self._rows = RowPredictor(network)
        return kept

    def compile_predictor(self, weights: str | None = None) -> Predictor | EnsemblePredictor:
        """An immutable copy for serving, which predicts a single row in about a microsecond.

        Parameters
        ----------
        weights : {"float16", "bfloat16"}, optional
            Round the weights of dense layers to numbers of 16 bits. Single rows of a wide network
            are then answered sooner; see `fastmlp.serving.predictor` for the error.

        Returns
        -------
        Predictor or EnsemblePredictor
            Called, it returns a regressor's numbers or a classifier's probabilities in the order of
            `classes_`, for two classes only that of the second; its `predict` returns labels.
            Several quantiles are the network's outputs, so they may cross; `predict` sorts them.

        Raises
        ------
        NotFittedError
            Before `fit`.
        InputError
            If `coefs_` or `intercepts_` were assigned and do not fit, or are not finite, and for
            weights that float16 cannot hold.

        Examples
        --------
        >>> import numpy as np
        >>> from fastmlp import MLPRegressor
        >>> X = np.linspace(-1, 1, 50).reshape(-1, 1)
        >>> model = MLPRegressor(solver="lbfgs", random_state=0).fit(X, X[:, 0] ** 2)
        >>> predict = model.compile_predictor()
        >>> bool(abs(predict(X[7]) - model.predict(X[[7]])) < 1e-12)
        True
        """
        check_is_fitted(self)
        self._check_weights()
        made = [Predictor(network, self._coder(), weights) for network in self._networks]
        return EnsemblePredictor(made, self._coder()) if self._has_members else made[0]

    def transform(self, X: Any, layer: int = -1) -> np.ndarray:
        """Activations of a hidden layer: the features that the network has learnt.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features), or StoredTable
            One row for each sample.
        layer : int, default -1
            Which hidden layer, counted from 0; -1 is the last.

        Returns
        -------
        ndarray of shape (n, n_units)
            In the dtype of the model; those of several members are side by side.

        Raises
        ------
        NotFittedError
            Before `fit`.
        InputError
            If there is no such layer.
        """
        check_is_fitted(self)
        X = self._checked(X)
        if self._has_members:
            return np.hstack([member.transform(X, layer) for member in self.members_])
        n_hidden = self.n_layers_ - 2
        if not -n_hidden <= layer < n_hidden:
            raise InputError(
                f"{type(self).__name__}.transform", f"layer below {n_hidden}", f"{layer}",
                "count hidden layers from 0",
            )  # fmt: skip
        self._check_weights()
        network = self.network_
        ends = [i for i, found in enumerate(network.layers) if isinstance(found, Activation)]

        def features(rows: Any) -> np.ndarray:
            values = rows.astype(network.dtype)
            for found in network.layers[: ends[layer] + 1]:
                values = found.forward(values)
            return np.asarray(values)

        return _of_rows(network, X, features)

    def input_gradients(self, X: Any, output: int = 0) -> np.ndarray:
        """Gradient of one linear output (before softmax, logistic or exp) with respect to X.

        Parameters
        ----------
        X : array or data frame of shape (n, n_features), or StoredTable
            One row for each sample.
        output : int, default 0
            Index of the output: that of the class in `classes_`, or of the target.

        Returns
        -------
        ndarray of shape (n, n_features)
            In the dtype of the model; of several members the mean.

        Raises
        ------
        NotFittedError
            Before `fit`.
        InputError
            If there is no such output.
        """
        check_is_fitted(self)
        X = self._checked(X, accept_sparse=False)
        if self._has_members:
            return mean_of([member.input_gradients(X, output) for member in self.members_])
        where, network = f"{type(self).__name__}.input_gradients", self.network_
        self._check_weights()

        def gradients(rows: np.ndarray) -> np.ndarray:
            return layerwise.input_gradients(network, where, rows, output)

        return _of_rows(network, X, gradients)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _of_rows(network: Network, X: Any, function: Callable[[Any], np.ndarray]) -> np.ndarray:
    """What a function says of rows in memory, or of a stored table's, a window at a time."""
    if isinstance(X, StoredTable):
        return evaluation.by_windows(network, X, function)
    return function(X)
