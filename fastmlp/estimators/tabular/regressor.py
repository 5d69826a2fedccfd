"""TabularRegressor: regression on tables of mixed columns, with calibrated intervals.

Targets are standardised for the networks; predictions stay within the range of the training
targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_array, check_is_fitted

from ...errors import InputError, counted
from ...inputs import checks
from ...inputs.targets import TargetCoder
from ...network import Network
from ...nn.losses import outputs_per_target, quantile_levels
from ...tabular.recipes import AUTO
from ..parameters import take
from ..quantiles import levels_of
from ..scores import d2_of_quantiles
from .base import CONSTRAINTS, BaseTabular, Split
from .calibration import error_of_mean, half_width
from .docs import documented
from .metrics import OF_NUMBERS, OF_QUANTILES, Metric
from .training import Data
from .units import Standardised, Units


@documented
class TabularRegressor(RegressorMixin, BaseTabular):
    """Regressor for tables of numbers, categories and dates, with missing values.

    Parameters
    ----------
    {parameters}
    metric : {"auto", "rmse", "mae", "pinball"}, name of a scorer or callable, default "auto"
        What the best epoch is chosen by on held-out rows; a scorer of scikit-learn gets prepared
        rows. "auto" is "rmse", or "pinball" with `quantile`.
    quantile : float or sequence of float in (0, 1), optional
        Predict quantiles of these levels instead of means. With several, `predict` returns a column
        for each, in ascending order; those of a target are adjacent.

    Attributes
    ----------
    {attributes}
    errors_ : ndarray of shape (n_held_out,) or (n_levels // 2, n_held_out)
        Absolute errors of held-out rows in ascending order, for intervals; for one target. With
        folds they are smaller by one factor for all, as the mean of all folds is better than one.
        With several quantiles, how far the targets are outside of each pair of them. Every row
        counts once, whatever its weight, unless that is 0.

    Raises
    ------
    ValueError
        At `fit`, for parameters and data that cannot be used.

    References
    ----------
    Holzmüller, Grinsztajn and Steinwart, "Better by default: Strong pre-tuned MLPs and boosted
    trees on tabular data", NeurIPS 2024; Lei et al., "Distribution-free predictive inference for
    regression", JASA 113, 2018, and Romano, Patterson and Candes, "Conformalized quantile
    regression", NeurIPS 2019, for intervals.

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

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **CONSTRAINTS,
        "quantile": [Interval(Real, 0, 1, closed="neither"), "array-like", None],
    }
    _task: ClassVar[str] = "numbers"
    _metrics: ClassVar[dict[str, Metric]] = OF_NUMBERS | OF_QUANTILES

    def __init__(
        self,
        recipe: Any = "realmlp-piecewise",
        *,
        metric: Any = "auto",
        quantile: Any = None,
        hidden_layer_sizes: Any = None,
        learning_rate_init: Any = None,
        dropout: Any = None,
        weight_decay: Any = None,
        number_embedding: Any = "auto",
        shared_members: Any = None,
        max_iter: Any = None,
        batch_size: Any = None,
        categorical_features: Any = None,
        validation_fraction: Any = 0.2,
        n_members: Any = 1,
        n_folds: Any = "auto",
        time_limit: Any = None,
        random_state: Any = None,
        n_threads: Any = None,
        verbose: Any = False,
    ) -> None:
        take(self, locals())

    def _levels(self) -> tuple[float, ...]:
        if self.quantile is None:
            return ()
        return levels_of(f"{type(self).__name__}.fit", self.quantile)

    @property
    def _learnt_levels(self) -> tuple[float, ...]:
        """Of the fitted networks, whatever the parameters are since the fit."""
        return quantile_levels(self.networks_[0].loss)

    def _metric(self) -> Any:
        usual = OF_NUMBERS if self.quantile is None else OF_QUANTILES
        if self.metric == AUTO:
            return next(iter(usual))
        if self.metric in self._metrics and self.metric not in usual:
            raise InputError(
                f"{type(self).__name__}.fit",
                f"metric {' or '.join(usual)} {'without' if usual is OF_NUMBERS else 'with'} "
                "quantile",
                repr(self.metric), "leave one of the two out",
            )  # fmt: skip
        return self.metric

    def _learn_targets(self, y: Any) -> np.ndarray:
        found = self._numbers(y)
        self.n_outputs_ = 1 if found.ndim == 1 else found.shape[1]
        return found

    def _targets_of(self, y: Any, where: str) -> np.ndarray:
        found = self._numbers(y)
        if (1 if found.ndim == 1 else found.shape[1]) != self.n_outputs_:
            raise InputError(
                where, f"y of {counted(self.n_outputs_, 'target')}",
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
        return int(self.n_outputs_) * max(len(self._levels()), 1)

    def _units(self, network: Network) -> Units:
        n_levels = outputs_per_target(network.loss)
        is_one = self.n_outputs_ * n_levels == 1
        mean, scale, low, high = (
            np.asarray(values) if is_one else np.repeat(values, n_levels)
            for values in (self.target_mean_, self.target_scale_, *self.target_range_)
        )
        return Standardised(mean, scale, low, high, n_levels)

    def _finish(self, splits: Sequence[Split], data: Data) -> None:
        answers, y = self._keep_held_out(splits, data)
        self.__dict__.pop("errors_", None)
        if answers.ndim == 1:
            errors = np.sort(np.abs(answers - y))
            self.errors_ = errors * self._error_of_mean(errors, splits, data)
        elif y.ndim == 1:
            outside = [
                np.maximum(answers[:, k] - y, y - answers[:, -1 - k])
                for k in range(len(self._learnt_levels) // 2)
            ]
            self.errors_ = np.sort(outside, axis=1)

    def _error_of_mean(self, errors: np.ndarray, splits: Sequence[Split], data: Data) -> float:
        """The factor for held-out errors: each is one fold's, but predictions are means of all."""
        n_folds = self.n_folds_
        if n_folds is None or len(self.networks_) < n_folds * self.n_members:  # Ctrl-C ended it
            return 1.0
        found = np.array([self._answers_of(network, data.X) for network in self.networks_])
        answers = found.reshape(self.n_members, n_folds, -1).mean(axis=0)
        return error_of_mean(errors, answers, [split.held_out for split in splits[:n_folds]])

    def predict(self, X: Any) -> np.ndarray:
        """Numbers.

        Parameters
        ----------
        X : data frame, array or dict of columns of shape (n, n_features)
            With the columns of training; those of a frame in any order.

        Returns
        -------
        ndarray of shape (n,) or (n, n_targets)
            Float64, within the range of the training targets. With several quantiles, a column for
            each level of each target, in ascending order.
        """
        return self._mean_answers(self.prepare(X))

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
            Float64.

        Raises
        ------
        NotFittedError
            Before `fit`.
        InputError
            For several targets, and if there were too few held-out rows for this coverage.

        Notes
        -----
        With n held-out errors, half the width is the k-th smallest, k = ceil((n + 1) coverage), for
        all rows; the middle is what `predict` returns, a mean or a single quantile. Trained for
        several quantiles, intervals are as wide as the row demands: from one quantile to another,
        of the pair nearest to the coverage, and on both sides farther by the k-th smallest of the
        distances by which held-out targets were outside, which may be negative.

        The guarantee of split conformal prediction, that new rows are covered with at least this
        probability, is for errors that played no part in training. Here the best epoch was chosen
        by the same rows, which makes intervals slightly too narrow. With folds, each error is that
        of a network that was not trained on the row, but predictions are means over all folds and
        have smaller errors. So ``errors_`` are multiplied by a factor below 1, estimated from how
        much the folds differ. This is not guaranteed but measured: see "Intervals and quantiles" in
        the guide to tables. The factor comes from means of squares, so noise without a variance can
        make it too small; it is at least 1 / sqrt(n_folds), and 1 with two folds or after Ctrl-C.
        Intervals from several quantiles have no factor, and are slightly too wide with folds.
        """
        check_is_fitted(self)
        where = f"{type(self).__name__}.predict_interval"
        if self.n_outputs_ > 1:
            raise InputError(where, "one target", f"{self.n_outputs_}", "fit one after another")
        answers = self.predict(X)
        if answers.ndim == 1:
            half = half_width(where, self.errors_, coverage)
            return answers - half, answers + half
        levels = np.array(self._learnt_levels)
        covered = (levels[::-1] - levels)[: len(self.errors_)]  # by each pair, outermost first
        k = int(np.argmin(np.abs(covered - coverage)))
        more = half_width(where, self.errors_[k], coverage)
        low, high = answers[:, k] - more, answers[:, -1 - k] + more
        middle = (low + high) / 2  # where they have met
        return np.minimum(low, middle), np.maximum(high, middle)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R^2 or, for quantiles, the mean D^2 of their pinball losses.

        Parameters
        ----------
        X : data frame, array or dict of columns of shape (n, n_features)
            As for `predict`.
        y : array of shape (n,) or (n, n_targets)
            Numbers.
        sample_weight : array of shape (n,), optional
            Weights of the rows.

        Returns
        -------
        float
            At most 1; 0 is as good as the best constant.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            For data that do not fit the model.
        """
        where, predicted = f"{type(self).__name__}.score", self.predict(X)
        y = self._targets_of(y, where)
        checks.same_length(where, "y", y, len(predicted))
        levels = self._learnt_levels
        if not levels:
            return float(r2_score(y, predicted, sample_weight=sample_weight))
        return d2_of_quantiles(y, predicted, levels, sample_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
