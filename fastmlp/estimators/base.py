"""What classifier and regressor share: validation of inputs, the network, warm starts, prediction.

Fitted state is arrays and plain values; the network is made from them when it is needed, so models
pickle, copy and compare like scikit-learn's own.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from .. import checks, layerwise
from ..engine import Convention
from ..errors import InputError
from ..kernels.losses import LINK_EXP, LINK_IDENTITY, LINK_SIGMOID, LINK_SOFTMAX
from ..layers import Activation, Dense, Dropout, Layer
from ..losses import Loss
from ..network import Network
from ..tables import is_sparse, sorted_csr, without_zeros
from ..targets import Encoded, Samples, TargetCoder
from . import lbfgs, parameters, stochastic
from .callbacks import CallbackSupportMixin, Listeners
from .parameters import CONSTRAINTS, STOCHASTIC_SOLVERS
from .stochastic import Validation

if TYPE_CHECKING:
    from ..predictor import Predictor

# scikit-learn's names for what turns outputs into predictions.
_LINKS = {
    LINK_IDENTITY: "identity",
    LINK_SOFTMAX: "softmax",
    LINK_SIGMOID: "logistic",
    LINK_EXP: "exp",
}
_MADE_AGAIN = ("_net",)  # from coefs_ and intercepts_, when they are needed


def is_stochastic(estimator: Any) -> bool:
    """Whether `partial_fit` is there, in scikit-learn's words if not."""
    if estimator.solver not in STOCHASTIC_SOLVERS:
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. "
            f"{estimator.solver} is not stochastic."
        )
    return True


class BaseMLP(
    CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Base of MLPClassifier and MLPRegressor."""

    _parameter_constraints: ClassVar[dict[str, Any]] = CONSTRAINTS
    _best_params: np.ndarray | None = None
    n_outputs_: int

    def _take(self, arguments: dict[str, Any]) -> None:
        """Set the constructor's arguments as attributes, unchanged."""
        for name, value in arguments.items():
            if name not in ("self", "__class__"):
                setattr(self, name, value)

    # ------------------------------------------------------------------ what a subclass says

    def _loss(self) -> Loss:
        """The loss to minimise."""
        raise NotImplementedError

    def _convention(self) -> Convention:
        """How losses add up: scikit-learn's penalties are shared by the samples of a batch."""
        return Convention(self._loss_scale(), shares_penalty=True)

    def _loss_scale(self) -> float:
        return 1.0

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        """X and y checked; learns the classes where there are any."""
        raise NotImplementedError

    def _encode(self, y: Any, dtype: np.dtype) -> Encoded:
        """y for the kernels."""
        raise NotImplementedError

    def _coder(self) -> TargetCoder:
        """How a predictor turns outputs into what `predict` gives."""
        raise NotImplementedError

    def _stratification(self, y: Any) -> Any:
        """Labels whose shares a split keeps, or None."""
        return None

    def _default_score(self, validation: Validation, linked: np.ndarray) -> float:
        """Accuracy or R^2."""
        raise NotImplementedError

    # ------------------------------------------------------------------ fitting

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Train on X and y.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features)
            One row for each sample: finite numbers.
        y : array of shape (n,) or (n, n_outputs)
            Of a classifier labels, or yes and no for each of several; of a regressor numbers.
        sample_weight : array of shape (n,), optional
            Weights of the samples in the loss; by default equal ones.
        X_val, y_val, sample_weight_val : array of shape as X, y and sample_weight, optional
            Samples to judge by after each epoch, instead of a part set aside.

        Returns
        -------
        MLPClassifier or MLPRegressor
            Itself.

        Raises
        ------
        ValueError
            For data or parameters that cannot be used, and for a loss that is no longer finite.
        InputError
            For parameters beyond scikit-learn's that the solver would ignore. It is a ValueError.
        """
        held_out = (X_val, y_val, sample_weight_val)
        return self._fit(X, y, sample_weight, validation_data=held_out)

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        incremental: bool = False,
        validation_data: tuple[Any, Any, Any] = (None, None, None),
    ) -> Any:
        hidden = parameters.hidden_sizes(self)
        parameters.check_together(self, validates=validation_data[0] is not None)
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        if not first_pass:
            self._refuse_other_sizes(hidden)
        X, y = self._validate_input(X, y, incremental, reset=first_pass)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        self._random_state = check_random_state(self.random_state)
        if first_pass:
            self._start(X.shape[1], hidden, self._dtype_for(X))
        else:
            self._go_on()
        parts = self._split(X, y, sample_weight, validation_data)
        samples = self._samples(*parts[0], passes=1 if incremental else self.max_iter)
        self._best_params = None
        listeners = Listeners(self, X, y, sample_weight)
        if self.solver in STOCHASTIC_SOLVERS:
            validation = self._validation(parts[1])
            stochastic.train(self, samples, validation, incremental, listeners)
        else:
            lbfgs.train(self, samples, listeners)
        self._best_params = None
        if not np.isfinite(self._network.params).all():
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed."
            )
        listeners.fit_ends()
        return self

    def _dtype_for(self, X: Any) -> np.dtype:
        return np.dtype(self.dtype if self.dtype is not None else X.dtype)

    def _start(self, n_features: int, hidden: list[int], dtype: np.dtype) -> None:
        """A new network with weights drawn in scikit-learn's order; counts and curves at zero."""
        sizes = [n_features, *hidden, self.n_outputs_]
        self._net = self._make_network(sizes, dtype)
        self._net.seed = self._dropout_seed()
        factor = 2.0 if self.activation == "logistic" else 6.0
        for layer, n_in, n_out in zip(self._dense_layers(), sizes, sizes[1:], strict=False):
            bound = np.sqrt(factor / (n_in + n_out))
            layer.W = self._random_state.uniform(-bound, bound, (n_in, n_out))
            layer.b = self._random_state.uniform(-bound, bound, n_out)
        self._set_coefs()
        self.n_iter_, self.t_, self.n_layers_ = 0, 0, len(sizes)
        self.out_activation_ = _LINKS[self._net.loss.link_code]  # type: ignore[attr-defined]
        self._optimizer_state: np.ndarray | None = None
        self.loss_curve_: list[float] = []
        self.history_: dict[str, list[float]] = {}
        self._no_improvement_count = 0
        watches = bool(self.early_stopping)
        self.validation_scores_: list[float] | None = [] if watches else None
        self.best_validation_score_: float | None = -np.inf if watches else None
        self.best_loss_: float | None = None if watches else np.inf

    def _refuse_other_sizes(self, hidden: list[int]) -> None:
        found = [len(b) for b in self.intercepts_[:-1]]
        if hidden != found:
            raise InputError(
                f"{type(self).__name__}.fit", f"hidden layers of {found} units as they are",
                f"{hidden}", "start anew with a clone, or with warm_start=False",
            )  # fmt: skip

    def _go_on(self) -> None:
        """The same weights in a network of the parameters as they are now."""
        seed = self._network.seed
        self._remake()
        self._net.seed = seed or self._dropout_seed()

    def _dropout_seed(self) -> int:
        """Drawn only where it is used, so that batches are scikit-learn's without dropout."""
        drops = any(isinstance(layer, Dropout) for layer in self._net.layers)
        return int(self._random_state.randint(2**31 - 1)) if drops else 0

    def _make_network(self, sizes: list[int], dtype: np.dtype) -> Network:
        n_hidden, where = len(sizes) - 2, type(self).__name__
        activations = parameters.per_layer(where, "activation", self.activation, n_hidden)
        rates = parameters.per_layer(where, "dropout", self.dropout, n_hidden)
        layers: list[Layer] = []
        for n_in, n_out, activation, rate in zip(
            sizes, sizes[1:-1], activations, rates, strict=False
        ):
            layers += [
                Dense(n_in, n_out, initializer="zeros", max_norm=self.max_norm),
                parameters.activation_of(activation),
            ]
            if rate > 0:
                layers.append(Dropout(float(rate)))
        layers.append(Dense(sizes[-2], sizes[-1], initializer="zeros"))
        alpha, ratio = float(self.alpha), float(self.l1_ratio)
        return Network(layers, self._loss(), dtype, 0, l1=alpha * ratio, l2=alpha * (1 - ratio))

    def _take_over(self, other: Any) -> Any:
        """Become fitted as another estimator of scikit-learn's kind is."""
        renamed = {"_label_binarizer": "_binarizer"}
        wanted = {"_no_improvement_count", *renamed}
        for name, value in vars(other).items():
            if (name.endswith("_") and not name.startswith("_")) or name in wanted:
                setattr(self, renamed.get(name, name), copy.deepcopy(value))
        self._optimizer_state, self.history_ = None, {}
        self.loss_curve_ = list(getattr(other, "loss_curve_", []))
        assert self._network.is_built  # makes the network from coefs_ and intercepts_
        return self

    def _dense_layers(self) -> list[Dense]:
        return [layer for layer in self._net.layers if isinstance(layer, Dense)]

    def _set_coefs(self) -> None:
        """Fitted attributes that view the network's parameters."""
        self.coefs_ = [layer.W for layer in self._dense_layers()]
        self.intercepts_ = [layer.b for layer in self._dense_layers()]

    @property
    def _network(self) -> Network:
        """The network whose parameters are `coefs_` and `intercepts_`, also if those were set."""
        net = self.__dict__.get("_net")
        arrays = [*self.coefs_, *self.intercepts_]
        if net is not None:
            dense = self._dense_layers()
            views = [*(layer.W for layer in dense), *(layer.b for layer in dense)]
            if all(a is b for a, b in zip(arrays, views, strict=True)):
                return net
        return self._remake()

    def _remake(self) -> Network:
        """Make the network from `coefs_`, `intercepts_` and the parameters as they are now."""
        sizes = [self.coefs_[0].shape[0], *(W.shape[1] for W in self.coefs_)]
        self._net = self._make_network(sizes, self.coefs_[0].dtype)
        for layer, W, b in zip(self._dense_layers(), self.coefs_, self.intercepts_, strict=True):
            layer.W, layer.b = W, b
        self._set_coefs()
        return self._net

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        for name in _MADE_AGAIN:
            state.pop(name, None)
        return state

    # ------------------------------------------------------------------ samples

    def _samples(self, X: Any, y: Any, sample_weight: Any, passes: int) -> Samples:
        """Rows as kernels read them fastest so many times."""
        dtype = self._network.dtype
        weights = self._weights(y, sample_weight)
        held = np.empty(0, dtype) if weights is None else np.asarray(weights, dtype)
        readable = X
        if is_sparse(X):
            readable = sorted_csr(X)
        elif passes > 1:
            readable = without_zeros(X, dtype, self.coefs_[0].shape[1])
        return Samples(readable, self._encode(y, dtype), held)

    def _weights(self, y: Any, sample_weight: Any) -> Any:
        """Sample weights, times those of classes where there are any."""
        return sample_weight

    def _split(
        self, X: Any, y: Any, sample_weight: Any, given: tuple[Any, Any, Any]
    ) -> tuple[tuple[Any, Any, Any], tuple[Any, Any, Any] | None]:
        """Samples to train on and to judge by: those given, or a part set aside."""
        X_val, y_val, weight_val = given
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val must be given together.")
        if X_val is not None:
            X_val, y_val = self._checked(X_val), np.asarray(y_val)
            if weight_val is not None:
                weight_val = _check_sample_weight(weight_val, X_val)
            return (X, y, sample_weight), (X_val, y_val, weight_val)
        if not (self.early_stopping and self.solver in STOCHASTIC_SOLVERS):
            return (X, y, sample_weight), None
        from sklearn.model_selection import train_test_split

        arrays = [X, y] if sample_weight is None else [X, y, sample_weight]
        parts = train_test_split(
            *arrays,
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=self._stratification(y),
        )
        if sample_weight is None:
            parts += [None, None]
        if parts[1].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        return (parts[0], parts[2], parts[4]), (parts[1], parts[3], parts[5])

    def _validation(self, part: tuple[Any, Any, Any] | None) -> Validation | None:
        if part is None:
            return None
        return Validation(*part, self._samples(*part, passes=self.max_iter))

    def _validation_score(self, validation: Validation, outputs: np.ndarray) -> float:
        if self.scoring is None:
            linked = self._network.loss.link(outputs)
            if not np.isfinite(linked).all():
                return np.nan
            return self._default_score(validation, linked)
        from sklearn.metrics import get_scorer

        scorer = get_scorer(self.scoring) if isinstance(self.scoring, str) else self.scoring
        weights = validation.sample_weight
        options = {} if weights is None else {"sample_weight": weights}
        return float(scorer(self, validation.X, validation.y, **options))

    # ------------------------------------------------------------------ using

    @property
    def _n_features_out(self) -> int:
        """Columns that `transform` returns, which its names are made for."""
        return int(self.coefs_[-1].shape[0])

    def _checked(self, X: Any, accept_sparse: bool = True) -> Any:
        """X of the columns that fit saw, in float32 or float64; sparse ones as sorted CSR."""
        formats = ["csr", "csc"] if accept_sparse else False
        X = validate_data(
            self, X, accept_sparse=formats, dtype=(np.float64, np.float32), reset=False
        )
        return sorted_csr(X) if is_sparse(X) else X

    def _outputs(self, X: Any) -> np.ndarray:
        """Outputs after the link (n, n_outputs)."""
        check_is_fitted(self)
        found = self._network._outputs(self._checked(X), link=True)
        return checks.answers(f"{type(self).__name__}.predict", found)

    def compile_predictor(self) -> Predictor:
        """An immutable copy for serving, which answers a single row in about a microsecond.

        Returns
        -------
        Predictor
            Called, it gives a regressor's numbers or a classifier's probabilities in the order of
            `classes_`, for two classes the second one's alone; its `predict` gives labels.

        Raises
        ------
        NotFittedError
            Before `fit`.

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
        from ..predictor import Predictor

        check_is_fitted(self)
        return Predictor(self._network, self._coder())

    def transform(self, X: Any, layer: int = -1) -> np.ndarray:
        """Activations of a hidden layer: the features that the network has learnt.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features)
            One row for each sample.
        layer : int, default -1
            Which hidden layer, counted from 0; -1 is the last.

        Returns
        -------
        ndarray of shape (n, n_units)
            In the dtype of the model.

        Raises
        ------
        NotFittedError
            Before `fit`.
        InputError
            If there is no such layer.
        """
        check_is_fitted(self)
        X = self._checked(X)
        n_hidden = self.n_layers_ - 2
        if not -n_hidden <= layer < n_hidden:
            raise InputError(
                f"{type(self).__name__}.transform", f"layer below {n_hidden}", f"{layer}",
                "count hidden layers from 0",
            )  # fmt: skip
        network = self._network
        ends = [i for i, found in enumerate(network.layers) if isinstance(found, Activation)]
        values = X.astype(network.dtype)
        for found in network.layers[: ends[layer] + 1]:
            values = found.forward(values)
        return np.asarray(values)

    def input_gradients(self, X: Any, output: int = 0) -> np.ndarray:
        """Gradient of one linear output (before softmax, logistic or exp) with respect to X.

        Parameters
        ----------
        X : array or data frame of shape (n, n_features)
            One row for each sample.
        output : int, default 0
            Which output: the class's place in `classes_`, or the target's.

        Returns
        -------
        ndarray of shape (n, n_features)
            In the dtype of the model.

        Raises
        ------
        NotFittedError
            Before `fit`.
        InputError
            If there is no such output.
        """
        check_is_fitted(self)
        X = self._checked(X, accept_sparse=False)
        where = f"{type(self).__name__}.input_gradients"
        return layerwise.input_gradients(self._network, where, X, output)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
