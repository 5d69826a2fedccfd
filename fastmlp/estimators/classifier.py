"""MLPClassifier: trains on labels, predicts labels and probabilities.

As in scikit-learn, outputs are logistic for two classes and for several labels, otherwise softmax.
"""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    type_of_target,
    unique_labels,
)
from sklearn.utils.validation import column_or_1d, validate_data

from ..datasets.stored import StoredTable
from ..engine.judging import Grading, share_of_right
from ..errors import InputError
from ..inputs import checks
from ..inputs.stored import targets_of
from ..inputs.targets import Encoded, TargetCoder, label_numbers
from ..network import Network
from ..nn.losses import BinaryCrossEntropy, Loss, SoftmaxCrossEntropy
from ..registry import checked_keywords
from . import class_weights, stored_tables
from .base import BaseMLP, is_stochastic
from .docs import documented
from .parameters import CONSTRAINTS, take
from .plain import are_plain_labels
from .scores import accuracy
from .stochastic import Validation


@checked_keywords
@documented
class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multi-layer perceptron classifier, with scikit-learn's interface and numbers.

    Parameters
    ----------
    {parameters}
    label_smoothing : float in [0, 1), default 0
        Share of each target that is spread evenly over all classes (see `SoftmaxCrossEntropy`).
    class_weight : dict, list of dict, "balanced" or None, default None
        Weights of classes, at least 0, which are multiplied by sample weights; missing classes have
        weight 1. For several labels a list of dicts, one for each, with the weights of 0 and 1.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,), or list of them
        Labels in the order of the outputs.
    {attributes}

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastmlp import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(solver="lbfgs", random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **CONSTRAINTS,
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
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
        label_smoothing: Any = 0.0,
        l1_ratio: Any = 0.0,
        weight_decay: Any = 0.0,
        max_norm: Any = None,
        gradient_clip: Any = None,
        class_weight: Any = None,
        n_members: Any = 1,
        member_rows: Any = "all",
        scoring: Any = None,
        callbacks: Any = None,
        n_threads: Any = None,
        dtype: Any = None,
    ) -> None:
        take(self, locals())

    @available_if(is_stochastic)
    def partial_fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, classes: Any = None
    ) -> MLPClassifier:
        """Train for one more epoch, continuing from the current state.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features)
            As for `fit`.
        y : array of shape (n,) or (n, n_outputs), default None
            As for `fit`, but always needed: a stored table is refused.
        sample_weight : array of shape (n,), optional
            As for `fit`.
        classes : array of shape (n_classes,), optional
            All labels that will occur; needed only in the first call.

        Returns
        -------
        MLPClassifier
            Itself.
        """
        return self._partial_fit(X, y, sample_weight, classes)

    def _meet_classes(self, y: Any, classes: Any) -> None:
        if self._are_known(classes):
            return
        if _check_partial_fit_first_call(self, classes):
            checks.valid_sparse(f"{type(self).__name__}.partial_fit", "y", y)
            self._binarizer = LabelBinarizer()
            multilabel = type_of_target(y).startswith("multilabel")
            self._binarizer.fit(y if multilabel else classes)

    def predict(self, X: Any) -> np.ndarray:
        """Labels of rows.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features), or StoredTable
            One row for each sample.

        Returns
        -------
        ndarray of shape (n,) or (n, n_labels)
            Labels in their own dtype; for several labels per sample, 1 and 0.
        """
        return self._decode(self._outputs(X))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of classes, or of each of several labels.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features), or StoredTable
            One row for each sample.

        Returns
        -------
        ndarray of shape (n, n_classes) or (n, n_labels)
            In the dtype of the model; columns are in the order of `classes_`.
        """
        found = self._outputs(X)
        if self.n_outputs_ == 1:
            return np.hstack([1 - found, found])
        return found

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Natural logarithms of `predict_proba`.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features), or StoredTable
            One row for each sample.

        Returns
        -------
        ndarray of shape (n, n_classes) or (n, n_labels)
            In the dtype of the model; -inf for a probability of 0.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Accuracy: the share of the rows whose labels are predicted.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features), or StoredTable
            One row for each sample.
        y : array of shape (n,) or (n, n_labels), optional
            True labels; of several labels per sample, all must be right. Needed unless X is a
            stored table, which has targets and weights of its own.
        sample_weight : array of shape (n,), optional
            Weights of the samples; by default equal ones.

        Returns
        -------
        float
            From 0 to 1.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            For data that do not fit the model.

        Examples
        --------
        >>> import numpy as np
        >>> from fastmlp import MLPClassifier
        >>> from fastmlp.datasets import open_arrays
        >>> X = np.random.default_rng(0).normal(size=(1000, 2))
        >>> table = open_arrays(X, X[:, 0] > X[:, 1], window_rows=400)
        >>> model = MLPClassifier(learning_rate="linear", max_iter=20, random_state=0).fit(table)
        >>> model.score(table) > 0.9
        True
        """
        y, sample_weight = targets_of(f"{type(self).__name__}.score", X, y, sample_weight)
        return float(super().score(X, y, sample_weight))

    def _loss(self) -> Loss:
        smoothing = float(self.label_smoothing)
        if self._binarizer.y_type_ == "multiclass":
            return SoftmaxCrossEntropy(smoothing)
        return BinaryCrossEntropy(smoothing)

    def _loss_scale(self) -> float:
        multilabel = self._binarizer.y_type_.startswith("multilabel")
        return float(self.n_outputs_) if multilabel else 1.0

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True,
            dtype=(np.float64, np.float32), reset=reset,
        )  # fmt: skip
        return X, self._read_targets(y, incremental, reset)

    def _read_targets(self, y: np.ndarray, incremental: bool, reset: bool) -> np.ndarray:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not y.dtype.isnative:  # scores make a sparse matrix of labels, which fails for these
            y = y.astype(y.dtype.newbyteorder("="))
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._binarizer.classes_
        else:
            self._refuse_other_kind(y)
        multiclass = self._binarizer.y_type_ == "multiclass"
        multilabel = self._binarizer.y_type_.startswith("multilabel")
        self.n_outputs_ = len(self.classes_) if multiclass or multilabel else 1
        return y

    def _some_targets(self, where: str, table: StoredTable) -> np.ndarray:
        return stored_tables.some_labels(where, table)

    def _weighted(self, table: StoredTable) -> StoredTable:
        weights, classes = self.class_weight, self.classes_
        if weights is None:
            return table
        where, multilabel = f"{type(self).__name__}.fit", table.n_targets is not None
        if isinstance(weights, str):
            weights = stored_tables.balanced(where, table, classes)

        def weigh(y: np.ndarray) -> np.ndarray:
            return class_weights.of_samples(where, weights, y, classes, multilabel)

        return stored_tables.Weighted(table, weigh)

    def _is_plain_target(self, y: Any, n_rows: int, network: Network) -> bool:
        n_outputs = len(self.classes_) if self._binarizer.y_type_ == "multiclass" else 1
        return (
            not self.warm_start  # a warm start must have all classes
            and not self._binarizer.y_type_.startswith("multilabel")
            and n_outputs == self.n_outputs_ == network.n_outputs
            and are_plain_labels(y, self.classes_, n_rows)
        )

    def _refuse_other_kind(self, y: Any) -> None:
        """Refuse labels where rows of 0 and 1 were fitted, and the other way round."""
        n_labels = len(self.classes_)
        was_multilabel = self._binarizer.y_type_.startswith("multilabel")
        is_multilabel = type_of_target(y, input_name="y").startswith("multilabel")
        if was_multilabel != is_multilabel or (is_multilabel and y.shape[1] != n_labels):
            wanted = f"y of shape (n, {n_labels}), yes or no for each label"
            raise InputError(
                f"{type(self).__name__}.fit", wanted if was_multilabel else "y with one label per "
                "row", f"shape {y.shape}", "pass targets of the same kind as before",
            )  # fmt: skip

    def _refuse_other_classes(self, y: Any, incremental: bool) -> None:
        found = unique_labels(y)
        if self.warm_start and not incremental and set(found) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes_}, `y` has {found}"
            )
        if len(np.setdiff1d(found, self.classes_, assume_unique=True)):
            raise ValueError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {self.classes_}. 'y' has {found}."
            )

    def _encode(self, y: Any, network: Network) -> Encoded:
        dtype, nothing = network.dtype, np.empty(0, np.int32)
        kind = self._binarizer.y_type_
        if kind.startswith("multilabel"):
            return Encoded(nothing, self._binarizer.transform(y).astype(dtype).reshape(-1))
        labels = label_numbers(type(self).__name__, np.asarray(y), self.classes_)
        if kind == "multiclass":
            return Encoded(labels, np.empty(0, dtype))
        return Encoded(nothing, labels.astype(dtype))

    def _decode(self, linked: np.ndarray) -> np.ndarray:
        if self._binarizer.y_type_ == "multiclass":
            labels: np.ndarray = self.classes_[np.argmax(linked, axis=1)]
            return labels
        flat = linked.ravel() if self.n_outputs_ == 1 else linked
        if self.n_outputs_ == 1 and len(self.classes_) == 2:
            of_two: np.ndarray = self.classes_[(flat > 0.5).astype(np.intp)]
            return of_two
        found: np.ndarray = self._binarizer.inverse_transform(flat)
        return found

    def _coder(self) -> TargetCoder:
        if self._binarizer.y_type_.startswith("multilabel"):
            return TargetCoder(self.n_outputs_, "binary")
        if self.n_outputs_ > 1:
            return TargetCoder(self.n_outputs_, "classes", classes=self.classes_, flat=True)
        both = np.resize(self.classes_, 2)  # a single class is repeated
        return TargetCoder(1, "binary", classes=both, flat=True)

    def _weights(self, y: Any, sample_weight: Any) -> Any:
        if self.class_weight is None:
            return sample_weight
        multilabel = self._binarizer.y_type_.startswith("multilabel")
        where = f"{type(self).__name__}.fit"
        by_class = class_weights.of_samples(where, self.class_weight, y, self.classes_, multilabel)
        weights = by_class if sample_weight is None else by_class * sample_weight
        if not weights.any():
            raise InputError(
                where, "some weight above 0 with class_weight counted in", "only zeros",
                "give a weight to a class that y has",
            )  # fmt: skip
        return weights

    def _stratification(self, y: Any) -> Any:
        """Labels for the validation split: as in scikit-learn, only two classes are stratified.

        With a scorer all classes are, because some scorers fail if a class has no sample.
        """
        if self.n_outputs_ == 1:
            return (y == self.classes_[-1]).reshape(-1, 1)  # a column, as in scikit-learn
        scores_classes = self.scoring not in (None, "loss")
        return y if scores_classes and self._binarizer.y_type_ == "multiclass" else None

    def _groups(self, y: Any, n_rows: int) -> np.ndarray:
        if self._binarizer.y_type_.startswith("multilabel"):
            return super()._groups(y, n_rows)
        return label_numbers(type(self).__name__, np.asarray(y), self.classes_)

    def _name_classes(self, error: ValueError) -> None:
        """Replace False and True, scikit-learn's names of two classes, by the user's labels."""
        text, classes = str(error), self.classes_.tolist()
        if self.n_outputs_ == 1 and len(classes) == 2:
            for place, name in enumerate(("'False'", "'True'")):
                if f"[{name}]" in text:
                    error.args = (f"{text} ({name} stands for the label {classes[place]!r})",)

    def _default_score(self, validation: Validation, linked: np.ndarray) -> float:
        return accuracy(validation.y, self._decode(linked), validation.sample_weight)

    def _default_grading(self, validation: Validation) -> Grading | None:
        encoded, weights = validation.samples.encoded, validation.sample_weight
        if self._binarizer.y_type_ == "multiclass":
            return share_of_right(encoded.labels, weights)
        if self.n_outputs_ == 1 and len(self.classes_) != 2:
            return None
        return share_of_right(encoded.targets.reshape(-1, self.n_outputs_) > 0.5, weights)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
