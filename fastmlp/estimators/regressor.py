"""MLPRegressor: predicts numbers, with squared, absolute, Huber, quantile or Poisson loss.

Losses of several targets are summed, so that loss and gradient are consistent.
"""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array, column_or_1d, validate_data

from ..datasets.stored import StoredTable
from ..engine.judging import Grading, r_squared
from ..errors import InputError
from ..inputs import checks
from ..inputs.stored import targets_of
from ..inputs.targets import Encoded, TargetCoder, reading
from ..network import Network
from ..nn.losses import (
    Huber,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    PoissonDeviance,
    Quantile,
    outputs_per_target,
    quantile_levels,
)
from ..registry import checked_keywords
from .base import BaseMLP, is_stochastic
from .docs import documented
from .edge import weights_of_samples
from .parameters import CONSTRAINTS, take
from .plain import are_plain_numbers
from .quantiles import levels_of, rearranged
from .scores import (
    d2_of_absolute_error,
    d2_of_huber,
    d2_of_poisson,
    d2_of_quantiles,
    r2,
    targets_and_spread,
)
from .stochastic import Validation

# The loss by its name, and its factor for each output: scikit-learn minimises halves of two.
_LOSSES: dict[str, tuple[type, float]] = {
    "squared_error": (MeanSquaredError, 0.5),
    "poisson": (PoissonDeviance, 0.5),
    "absolute_error": (MeanAbsoluteError, 1.0),
    "huber": (Huber, 1.0),
    "quantile": (Quantile, 1.0),
}
# Names that other libraries have for two of them.
_LOSSES |= {
    name: _LOSSES[known]
    for name, known in {
        "mse": "squared_error",
        "mean_squared_error": "squared_error",
        "mae": "absolute_error",
        "mean_absolute_error": "absolute_error",
    }.items()
}


class _Rearranged(TargetCoder):
    """The coder for several quantiles of each target, which sorts them."""

    def decode(self, linked: np.ndarray) -> np.ndarray:
        return rearranged(linked, self.n_levels)


@checked_keywords
@documented
class MLPRegressor(RegressorMixin, BaseMLP):
    """Multi-layer perceptron regressor, with scikit-learn's interface and numbers.

    Parameters
    ----------
    loss : str, default "squared_error"
        What to minimise: "squared_error" or "poisson", which are halved as in scikit-learn,
        "absolute_error", "huber" or "quantile". The losses of several targets are summed, so that
        loss and gradient are consistent.
    {parameters}
    quantile : float or sequence of float in (0, 1), default 0.5
        Level of the quantile loss. With several, `predict` returns a column for each, in ascending
        order; they are rearranged, so they never cross.
    delta : float, default 1.0
        Where the Huber loss turns from a parabola into a line, in the units of the target.

    Attributes
    ----------
    {attributes}

    References
    ----------
    Chernozhukov, Fernandez-Val and Galichon, "Quantile and probability curves without crossing",
    Econometrica 78, 2010 (rearrangement).

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import MLPRegressor
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> model = MLPRegressor(solver="lbfgs", random_state=0).fit(X, X[:, 0] ** 2)
    >>> model.score(X, X[:, 0] ** 2) > 0.95
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **CONSTRAINTS,
        "loss": [StrOptions(set(_LOSSES))],
        "quantile": [Interval(Real, 0, 1, closed="neither"), "array-like"],
        "delta": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: Any = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: Any = 0.001,
        power_t: Any = 0.5,
        max_iter: Any = 200,
        shuffle: Any = True,
        random_state: Any = None,
        tol: Any = 1e-4,
        verbose: Any = False,
        warm_start: Any = False,
        momentum: Any = 0.9,
        nesterovs_momentum: Any = True,
        early_stopping: Any = False,
        validation_fraction: Any = 0.1,
        beta_1: Any = 0.9,
        beta_2: Any = 0.999,
        epsilon: Any = 1e-8,
        n_iter_no_change: Any = 10,
        max_fun: Any = 15000,
        width: Any = None,
        depth: Any = None,
        dropout: Any = 0.0,
        l1_ratio: Any = 0.0,
        weight_decay: Any = 0.0,
        max_norm: Any = None,
        gradient_clip: Any = None,
        quantile: Any = 0.5,
        delta: Any = 1.0,
        n_members: Any = 1,
        member_rows: Any = "all",
        scoring: Any = None,
        callbacks: Any = None,
        n_threads: Any = None,
        dtype: Any = None,
    ) -> None:
        take(self, locals())

    @available_if(is_stochastic)
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> MLPRegressor:
        """Train for one more epoch, continuing from the current state.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features)
            As for `fit`.
        y : array of shape (n,) or (n, n_outputs), default None
            As for `fit`, but always needed: a stored table is refused.
        sample_weight : array of shape (n,), optional
            As for `fit`.

        Returns
        -------
        MLPRegressor
            Itself.
        """
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Predicted numbers of rows.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features), or StoredTable
            One row for each sample.
        return_std : bool, default False
            Whether to return the standard deviation of the members' predictions, too.

        Returns
        -------
        ndarray of shape (n,), (n, n_targets) or (n, n_targets * n_levels)
            In the dtype of the model. The quantiles of a target are adjacent columns in ascending
            order, followed by those of the next target.
        ndarray of the same shape
            With `return_std` only. It says how much the members disagree, which they do where they
            have seen no rows; it does not contain the noise of the targets.

        Raises
        ------
        NotFittedError
            Before `fit`.
        InputError
            For `return_std` with a single network, and for rows whose predictions are nan.
        ValueError
            For X that cannot be used, as in scikit-learn.
        """
        outputs = self._outputs_of_members(X)
        found = self._decode(self._mean_of(outputs))
        if not return_std:
            return found
        if not self._has_members:
            raise InputError(
                f"{type(self).__name__}.predict", "several members for return_std", "one network",
                "fit with n_members=10, say",
            )  # fmt: skip
        return found, np.std([self._decode(of_one) for of_one in outputs], axis=0)

    @property
    def _levels(self) -> tuple[float, ...]:
        """The quantiles that a fit is to learn; none for other losses."""
        is_asked = self.loss == "quantile"
        return levels_of(f"{type(self).__name__}.fit", self.quantile) if is_asked else ()

    @property
    def _n_learnt(self) -> int:
        """Outputs of each target, whatever the parameters are since the fit."""
        return outputs_per_target(self._networks[0].loss)

    def _loss(self) -> Loss:
        options: dict[str, Any] = {}
        if self.loss == "huber":
            options = {"delta": float(self.delta)}
        elif self.loss == "quantile":
            options = {"levels": self._levels}
        made: Loss = _LOSSES[self.loss][0](**options)
        return made

    def _loss_scale(self) -> float:
        return _LOSSES[self.loss][1] * self.n_outputs_

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        where = f"{type(self).__name__}.fit"
        if y is not None:
            checks.real_numbers(where, "y", y)
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True, y_numeric=True,
            dtype=(np.float64, np.float32), reset=reset,
        )  # fmt: skip
        return X, self._read_targets(y, incremental, reset)

    def _read_targets(self, y: np.ndarray, incremental: bool, reset: bool) -> np.ndarray:
        where = f"{type(self).__name__}.fit"
        checks.real_numbers(where, "y", y)  # of a stored table
        checks.finite(where, "y", y)  # scikit-learn does not check for None
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        self._refuse_negative_counts(y)
        n_outputs = (1 if y.ndim == 1 else y.shape[1]) * max(len(self._levels), 1)
        if not reset and n_outputs != self.n_outputs_:
            raise ValueError(
                f"y has {n_outputs} outputs, but this {type(self).__name__} was fitted with "
                f"{self.n_outputs_}."
            )
        self.n_outputs_ = n_outputs
        return y

    def _some_targets(self, where: str, table: StoredTable) -> np.ndarray:
        return np.zeros((1,) if table.n_targets is None else (1, table.n_targets))

    def _is_plain_target(self, y: Any, n_rows: int, network: Network) -> bool:
        is_one = self.n_outputs_ == network.n_outputs == 1 and self.loss != "poisson"
        return is_one and are_plain_numbers(y, n_rows)

    def _refuse_negative_counts(self, y: np.ndarray) -> None:
        if self.loss == "poisson" and (y < 0).any():
            raise ValueError("loss='poisson' needs targets of at least 0, got negative ones in y.")

    def _encode(self, y: Any, network: Network) -> Encoded:
        columns = checks.converted(f"{type(self).__name__}.fit", "y", y, network.dtype)
        targets = columns.reshape(len(y), -1).repeat(outputs_per_target(network.loss), axis=1)
        return Encoded(np.empty(0, np.int32), targets.reshape(-1))

    def _decode(self, linked: np.ndarray) -> np.ndarray:
        if self._n_learnt > 1:
            return rearranged(linked, self._n_learnt)
        return linked.ravel() if self.n_outputs_ == 1 else linked

    def _coder(self) -> TargetCoder:
        made = TargetCoder if self._n_learnt == 1 else _Rearranged
        return made(self.n_outputs_, *reading(self._networks[0].loss), flat=True)

    def _default_score(self, validation: Validation, linked: np.ndarray) -> float:
        y, predicted, weights = validation.y, self._decode(linked), validation.sample_weight
        judge = r2 if self.loss == "squared_error" else self._score
        return judge(y, predicted, weights)

    def _default_grading(self, validation: Validation) -> Grading | None:
        y, weights, dtype = validation.y, validation.sample_weight, self.network_.dtype
        if self.loss != "squared_error" or type(y) is not np.ndarray:
            return None
        true, most = targets_and_spread(y, dtype, weights)
        if true.dtype not in (np.float64, dtype) or not (most.size and most.all()):
            return None
        return r_squared(true, most, weights, wide=true.dtype != dtype)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """The fraction by which the model's loss is lower than that of a constant prediction.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features), or StoredTable
            One row for each sample.
        y : array of shape (n,) or (n, n_targets), optional
            True numbers. Needed unless X is a stored table, which has targets and weights of its
            own.
        sample_weight : array of shape (n,), optional
            Weights of the samples; by default equal ones.

        Returns
        -------
        float
            R^2 for the squared error. For other losses D^2, which is
            1 - loss / (loss of the best constant), for the pinball loss (averaged over levels), the
            absolute error, the Huber loss or the Poisson deviance. Several targets are averaged.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            For data that do not fit the model.

        Examples
        --------
        >>> import numpy as np
        >>> from fastmlp import MLPRegressor
        >>> X, y = np.linspace(0, 1, 100).reshape(-1, 1), np.linspace(0, 1, 100)
        >>> model = MLPRegressor("absolute_error", max_iter=500, random_state=0).fit(X, y)
        >>> model.score(X, y) > 0.9
        True
        """
        where = f"{type(self).__name__}.score"
        y, sample_weight = targets_of(where, X, y, sample_weight)
        predicted = self.predict(X)
        checks.real_numbers(where, "y", y)
        if self.loss == "squared_error":
            return self._score(y, predicted, sample_weight)
        y = check_array(y, ensure_2d=False, dtype="numeric", input_name="y")
        self._refuse_negative_counts(y)
        y = y.reshape(len(y), -1) if predicted.ndim > 1 or y.ndim > 1 else y
        n_targets = self.n_outputs_ // self._n_learnt
        if len(y) != len(predicted) or y.size != len(y) * n_targets:
            raise InputError(
                where, f"y of shape ({len(predicted)}, {n_targets})", f"shape {y.shape}",
                "pass the targets of the rows of X",
            )  # fmt: skip
        return self._score(y, predicted, weights_of_samples(where, sample_weight, y))

    def _score(self, y: Any, predicted: np.ndarray, sample_weight: Any) -> float:
        """Score of predictions that `predict` returned."""
        levels = quantile_levels(self._networks[0].loss) if self.loss == "quantile" else ()
        if levels:
            return d2_of_quantiles(y, predicted, levels, sample_weight)
        if self.loss == "absolute_error":
            return d2_of_absolute_error(y, predicted, sample_weight)
        if self.loss == "huber":
            return d2_of_huber(y, predicted, float(self.delta), sample_weight)
        if self.loss == "poisson":
            return d2_of_poisson(y, predicted, sample_weight)
        return float(r2_score(y, predicted, sample_weight=sample_weight))
