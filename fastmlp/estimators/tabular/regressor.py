"""TabularRegressor: numbers from tables of mixed columns, with intervals that hold.

Targets are standardised for the networks; answers are within the range of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_array, check_is_fitted

from ...errors import InputError, counted
from ...inputs.targets import TargetCoder
from ..parameters import take
from .base import BaseTabular, Split
from .calibration import half_width
from .docs import documented
from .metrics import OF_NUMBERS, Metric
from .training import Data
from .units import Standardised, Units


@documented
class TabularRegressor(RegressorMixin, BaseTabular):
    """Regressor for tables of numbers, categories and dates, with missing values.

    Parameters
    ----------
    {parameters}
    metric : {"rmse", "mae"}, name of a scorer or callable, default "rmse"
        What the best epoch is chosen by on held-out rows; a scorer of scikit-learn gets prepared
        rows.

    Attributes
    ----------
    {attributes}
    errors_ : ndarray of shape (n_held_out,)
        Absolute errors of held-out rows in ascending order, for intervals; for one target.

    Raises
    ------
    ValueError
        At `fit`, for parameters and data that cannot be used.

    References
    ----------
    Holzmüller, Grinsztajn and Steinwart, "Better by default: Strong pre-tuned MLPs and boosted
    trees on tabular data", NeurIPS 2024; Lei et al., "Distribution-free predictive inference for
    regression", JASA 113, 2018, for intervals.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import TabularRegressor
    >>> rng = np.random.default_rng(0)
    >>> table = {"size": rng.uniform(20, 200, 300), "town": rng.choice(["Bonn", "Ulm"], 300)}
    >>> y = table["size"] * np.where(table["town"] == "Ulm", 9.0, 12.0)
    >>> model = TabularRegressor(max_iter=32, random_state=0).fit(table, y)
    >>> low, high = model.predict_interval({"size": [100], "town": ["Ulm"]}, coverage=0.8)
    >>> bool(low[0] < 900 < high[0])
    True
    """

    _task: ClassVar[str] = "numbers"
    _metrics: ClassVar[dict[str, Metric]] = OF_NUMBERS

    def __init__(
        self,
        recipe: Any = "realmlp",
        *,
        metric: Any = "rmse",
        hidden_layer_sizes: Any = None,
        learning_rate_init: Any = None,
        max_iter: Any = None,
        batch_size: Any = None,
        categorical_features: Any = None,
        validation_fraction: Any = 0.2,
        n_members: Any = 1,
        n_folds: Any = None,
        time_limit: Any = None,
        random_state: Any = None,
        n_threads: Any = None,
        verbose: Any = False,
    ) -> None:
        take(self, locals())

    def _learn_targets(self, y: Any) -> np.ndarray:
        found = self._numbers(y)
        self.n_outputs_ = 1 if found.ndim == 1 else found.shape[1]
        return found

    def _targets_of(self, y: Any) -> np.ndarray:
        found = self._numbers(y)
        if (1 if found.ndim == 1 else found.shape[1]) != self.n_outputs_:
            raise InputError(
                f"{type(self).__name__}.fit", f"y of {counted(self.n_outputs_, 'target')}",
                f"shape {found.shape}", "pass the same targets",
            )  # fmt: skip
        return found

    def _numbers(self, y: Any) -> np.ndarray:
        found: np.ndarray = check_array(
            y, dtype=np.float64, ensure_2d=False, input_name="y", estimator=self
        )
        return found.ravel() if found.ndim == 2 and found.shape[1] == 1 else found

    def _prepare_targets(self, data: Data, train: Any) -> np.ndarray:
        """Standardise by the training rows; the range is that of all."""
        y, weights = data.y, None if data.weights is None else data.weights[train]
        learnt = y[train]
        self.target_mean_ = np.average(learnt, axis=0, weights=weights)
        squares = (learnt - self.target_mean_) ** 2
        deviation = np.sqrt(np.average(squares, axis=0, weights=weights))
        self.target_scale_ = np.where(deviation > 0, deviation, 1.0)
        self.target_range_ = y.min(axis=0), y.max(axis=0)
        found: np.ndarray = ((y - self.target_mean_) / self.target_scale_).astype(np.float32)
        return found

    def _coder(self) -> TargetCoder | None:
        return None

    def _n_network_outputs(self) -> int:
        return int(self.n_outputs_)

    def _units(self) -> Units:
        mean, scale = self.target_mean_, self.target_scale_
        return Standardised(mean, scale, *self.target_range_, self.n_outputs_ == 1)

    def _finish(self, splits: Sequence[Split], data: Data) -> None:
        errors = self._keep_held_out(splits, data)
        self.__dict__.pop("errors_", None)
        if errors.ndim == 1:
            self.errors_ = np.sort(errors)

    def predict(self, X: Any) -> np.ndarray:
        """Numbers.

        Parameters
        ----------
        X : data frame, array or dict of columns of shape (n, n_features)
            With the columns of training; those of a frame in any order.

        Returns
        -------
        ndarray of shape (n,) or (n, n_targets)
            Float64, within the range of the training targets.
        """
        return self._mean_answers(self._prepared(X))

    def predict_interval(self, X: Any, coverage: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """Intervals that hold the true number of a given share of rows.

        Parameters
        ----------
        X : data frame, array or dict of columns of shape (n, n_features)
            As for `predict`.
        coverage : float in (0, 1), default 0.9
            The share of rows like those of training whose interval holds their number.

        Returns
        -------
        low : ndarray of shape (n,)
            Float64.
        high : ndarray of shape (n,)
            Float64; all intervals have the same width, that of the errors of held-out rows.

        Raises
        ------
        NotFittedError
            Before `fit`.
        InputError
            For several targets, and if there were too few held-out rows for this coverage.

        Notes
        -----
        With n held-out errors, half the width is the k-th smallest, k = ceil((n + 1) coverage). The
        best epoch was chosen by the same rows, so intervals are slightly too narrow; `n_folds`
        makes up for that, as mean answers are better than those that these errors are of.
        """
        check_is_fitted(self)
        where = f"{type(self).__name__}.predict_interval"
        if self.n_outputs_ > 1:
            raise InputError(where, "one target", f"{self.n_outputs_}", "fit one after another")
        half, answers = half_width(where, self.errors_, coverage), self.predict(X)
        return answers - half, answers + half

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
