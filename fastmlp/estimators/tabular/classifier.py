"""TabularClassifier: classification of rows of tables with mixed columns.

Probabilities are calibrated on held-out rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from ...errors import InputError
from ...inputs.targets import TargetCoder, label_numbers
from ...network import Network
from ...tabular.frames import is_missing
from ...tabular.recipes import RECIPES
from .. import class_weights
from ..parameters import take
from .base import CONSTRAINTS, BaseTabular, Split
from .calibration import temperature
from .docs import documented
from .metrics import OF_CLASSES, Metric
from .training import Data
from .units import Probabilities, Units


@documented
class TabularClassifier(ClassifierMixin, BaseTabular):
    """Classifier for tables of numbers, categories and dates, with missing values.

    Parameters
    ----------
    {parameters}
    metric : {"error", "log_loss", "auc", "brier"}, name of a scorer or callable, default "error"
        What the best epoch is chosen by on held-out rows; a scorer of scikit-learn gets prepared
        rows. Labels are smoothed only where probabilities do not count.
    label_smoothing : float in [0, 1) or "auto", default "auto"
        Share of each label that is spread over all classes; "auto" is the recipe's for "error", and
        for scorers, otherwise 0.
    class_weight : dict, "balanced" or None, default None
        Weights of the classes, which multiply those of the samples.
    calibration : {"temperature"} or None, default "temperature"
        Divide linear outputs by the number that makes the probabilities of held-out rows most
        likely.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels in the order of probabilities.
    {attributes}

    Raises
    ------
    ValueError
        At `fit`, for parameters and data that cannot be used.

    References
    ----------
    Holzmüller, Grinsztajn and Steinwart, "Better by default: Strong pre-tuned MLPs and boosted
    trees on tabular data", NeurIPS 2024; Guo et al., "On calibration of modern neural networks",
    ICML 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import TabularClassifier
    >>> rng = np.random.default_rng(0)
    >>> table = {"age": rng.uniform(18, 90, 300), "town": rng.choice(["Bonn", "Ulm", None], 300)}
    >>> y = np.where((table["age"] > 50) == (table["town"] == "Ulm"), "yes", "no")
    >>> model = TabularClassifier(max_iter=32, random_state=0).fit(table, y)
    >>> model.predict({"age": [30, 70, None], "town": ["Ulm", "Ulm", "Rome"]}).tolist()[:2]
    ['no', 'yes']
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **CONSTRAINTS,
        "label_smoothing": [Interval(Real, 0, 1, closed="left"), StrOptions({"auto"})],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "calibration": [StrOptions({"temperature"}), None],
    }
    _task: ClassVar[str] = "classes"
    _metrics: ClassVar[dict[str, Metric]] = OF_CLASSES

    def __init__(
        self,
        recipe: Any = "realmlp-piecewise",
        *,
        metric: Any = "error",
        hidden_layer_sizes: Any = None,
        learning_rate_init: Any = None,
        dropout: Any = None,
        weight_decay: Any = None,
        number_embedding: Any = "auto",
        shared_members: Any = None,
        max_iter: Any = None,
        batch_size: Any = None,
        label_smoothing: Any = "auto",
        class_weight: Any = None,
        categorical_features: Any = None,
        validation_fraction: Any = 0.2,
        n_members: Any = 1,
        n_folds: Any = "auto",
        calibration: Any = "temperature",
        time_limit: Any = None,
        random_state: Any = None,
        n_threads: Any = None,
        verbose: Any = False,
    ) -> None:
        take(self, locals())

    def _learn_targets(self, y: Any) -> np.ndarray:
        y = column_or_1d(y, warn=True)
        if y.dtype.kind == "O" and any(map(is_missing, y.tolist())):
            raise ValueError(f"{type(self).__name__}.fit: Input y contains NaN or None.")
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if self.classes_.size < 2:
            raise ValueError(
                f"{type(self).__name__}.fit: expected y of at least two classes, got 1 class; "
                "there is nothing to learn"
            )
        return numbers

    def _targets_of(self, y: Any, where: str) -> np.ndarray:
        found: np.ndarray = label_numbers(where, column_or_1d(y), self.classes_)
        return found

    def _as_given(self, targets: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.classes_[targets]
        return found

    def _weights(self, y: np.ndarray, sample_weight: Any) -> Any:
        if self.class_weight is None:
            return sample_weight
        where, labels = f"{type(self).__name__}.fit", self.classes_[y]
        by_class = class_weights.of_samples(where, self.class_weight, labels, self.classes_, False)
        found = by_class if sample_weight is None else by_class * sample_weight
        if not found.any():
            raise InputError(
                where, "some weight above 0 with class_weight counted in", "only zeros",
                "give a weight to a class that y has",
            )  # fmt: skip
        return found

    def _labels(self, targets: np.ndarray) -> np.ndarray | None:
        return targets if self._rarest(targets) > 1 else None

    def _rarest(self, targets: np.ndarray) -> int:
        counts = np.bincount(targets)
        return int(counts[counts > 0].min())

    def _coder(self) -> TargetCoder:
        n = self.classes_.size
        return TargetCoder(n, "classes", classes=np.arange(n), flat=True)

    def _n_network_outputs(self) -> int:
        return int(self.classes_.size)

    def _smoothing(self, metric: Metric) -> float:
        if self.label_smoothing != "auto":
            return float(self.label_smoothing)
        return 0.0 if metric.by_probability else RECIPES[self.recipe].label_smoothing

    def _units(self, network: Network) -> Units:
        return Probabilities()

    def _finish(self, splits: Sequence[Split], data: Data) -> None:
        """Calibrate the networks and, with folds, keep what they say about held-out rows."""
        for network, split in zip(self.networks_, splits, strict=True):
            if self.calibration is not None:
                X, y, weights = data.rows(split.held_out)
                logits = self._outputs(network, X, link=False)
                n_members = network.loss.n_members
                _divide_outputs(network, temperature(logits, y, weights, n_members))
            network.coder = TargetCoder(
                self.classes_.size, "classes", classes=self.classes_, flat=True
            )
        self._keep_held_out(splits, data)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes.

        Parameters
        ----------
        X : data frame, array or dict of columns of shape (n, n_features)
            With the columns of training; those of a frame in any order.

        Returns
        -------
        ndarray of shape (n, n_classes)
            Float32, in the order of `classes_`.
        """
        return self._mean_answers(self.prepare(X))

    def predict(self, X: Any) -> np.ndarray:
        """Labels.

        Parameters
        ----------
        X : data frame, array or dict of columns of shape (n, n_features)
            As for `predict_proba`.

        Returns
        -------
        ndarray of shape (n,)
            In the labels' own dtype.
        """
        proba = self.predict_proba(X)
        found: np.ndarray = self.classes_[np.argmax(proba, axis=1)]
        return found

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy.

        Parameters
        ----------
        X : data frame, array or dict of columns of shape (n, n_features)
            As for `predict`.
        y : array of shape (n,)
            Labels.
        sample_weight : array of shape (n,), optional
            Weights of the rows.

        Returns
        -------
        float
            Share of right labels.
        """
        return float(accuracy_score(y, self.predict(X), sample_weight=sample_weight))


def _divide_outputs(network: Network, divisor: float) -> None:
    """Divide the linear outputs of a network, whose last layer has weights and biases."""
    for values in network.layers[-1].parameters.values():
        values[...] = values / divisor
