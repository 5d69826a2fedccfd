"""The common base of both estimators: input validation, the network, warm starts, prediction.

Fitted state is arrays and plain values; the network is made from them when it is needed, so models
can be pickled, copied and compared like scikit-learn's own.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import operator
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ..engine import layerwise
from ..engine.job import Convention
from ..engine.judging import BY_LOSS, Grading
from ..engine.lowering import can_compile, settings_of
from ..errors import InputError, InputTypeError
from ..inputs import checks
from ..inputs.tables import WORTH_COMPRESSING, is_sparse, sorted_csr, without_zeros
from ..inputs.targets import Encoded, Samples, TargetCoder
from ..kernels.compiler.memory import aligned_copy
from ..network import Network
from ..nn import Activation, Dense, Dropout, Layer
from ..nn.losses import Loss
from ..optim.averaging import Averaging
from ..serving import evaluation
from ..serving.ensemble import EnsemblePredictor, mean_of
from ..serving.predictor import Predictor
from . import lbfgs, parameters, stochastic
from .callbacks import CallbackSupportMixin, Listeners, averaging_of
from .edge import held_out_names, weights_of_samples
from .fitted import checked_weights
from .members import EnsembleMixin, rows_of_members
from .outside import warn_of_other_scales
from .parameters import CONSTRAINTS, STOCHASTIC_SOLVERS
from .pausing import pause_of
from .plain import is_plain
from .serving import RowPredictor
from .stochastic import NOT_FINITE, Progress, Validation

Part = tuple[Any, Any, Any]  # X, y and sample_weight

# scikit-learn's names for links.
_LINKS = {
    "identity": "identity",
    "softmax": "softmax",
    "sigmoid": "logistic",
    "exp": "exp",
}
# Made from coefs_ and intercepts_ when needed, so they are not copied or pickled.
_MADE_AGAIN = (
    "_held", "_rows", "_owns_memory", "_made_with", "_last_run", "_seeded", "_pause",
)  # fmt: skip
_UNCHANGING = (str, int, float, type(None))
_SHAPE_NETWORK = ("activation", "dropout", "max_norm", "alpha", "l1_ratio", "dtype")


def is_stochastic(estimator: Any) -> bool:
    """Whether `partial_fit` is available; if not, raises scikit-learn's error."""
    if estimator.solver not in STOCHASTIC_SOLVERS:
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. "
            f"{estimator.solver} is not stochastic."
        )
    if estimator.member_rows != "all":
        raise AttributeError("partial_fit is only available for member_rows='all'.")
    return True


class BaseMLP(
    EnsembleMixin,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Base of MLPClassifier and MLPRegressor."""

    _parameter_constraints: ClassVar[dict[str, Any]] = CONSTRAINTS
    _dropout_seed = 0
    _progress: Progress | None = None
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
        """How loss and penalties are combined: as in scikit-learn, penalties are per sample."""
        return Convention(self._loss_scale(), shares_penalty=True)

    def _loss_scale(self) -> float:
        return 1.0

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        """X and y after validation; sets the classes if there are any."""
        raise NotImplementedError

    def _encode(self, y: Any, dtype: np.dtype) -> Encoded:
        """y for the kernels."""
        raise NotImplementedError

    def _coder(self) -> TargetCoder:
        """How a predictor turns outputs into the results of `predict`."""
        raise NotImplementedError

    def _stratification(self, y: Any) -> Any:
        """Labels for a stratified split, or None."""
        return None

    def _groups(self, y: Any, n_rows: int) -> np.ndarray:
        """The number of each row's class, if every member must see all classes; otherwise 0."""
        return np.zeros(n_rows, int)

    def _default_score(self, validation: Validation, linked: np.ndarray) -> float:
        """Accuracy or R^2."""
        raise NotImplementedError

    def _default_grading(self, validation: Validation) -> Grading | None:
        """How a compiled call computes that score; None if it cannot."""
        return None

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
            For a classifier labels, or rows of 0 and 1 for several labels; for a regressor numbers.
        sample_weight : array of shape (n,), optional
            Weights of the samples in the loss; by default equal ones.
        X_val, y_val, sample_weight_val : array of shape as X, y and sample_weight, optional
            Samples for evaluation after each epoch, instead of a part of the training data. A
            warning is given if they are far outside the range of the training data, as if a scaler
            had been left out.

        Returns
        -------
        MLPClassifier or MLPRegressor
            Itself.

        Raises
        ------
        ValueError
            For data or parameters that cannot be used, before the model changes, and for a loss
            that is not finite.
        InputError
            For checks that scikit-learn does not have. It is a ValueError.
        """
        held_out = (X_val, y_val, sample_weight_val)
        if self.n_members > 1:
            return self._fit_members(X, y, sample_weight, held_out)
        return self._fit(X, y, sample_weight, validation_data=held_out)

    def _fit_members(self, X: Any, y: Any, sample_weight: Any, held_out: Part) -> Any:
        goes_on = bool(self.warm_start) and self._has_members
        with self._unchanged_if_refused():
            X, y, weights = self._read(X, y, sample_weight, False, not goes_on, goes_on)
            given = self._read_held_out(X, y, held_out) or (None, None, None)
            random = self._random_for_members()
            groups = self._groups(y, X.shape[0])
            rows = [*rows_of_members(self.member_rows, groups, self.n_members, random)]

            def train(member: Any, number: int) -> None:
                part, judged = rows[number], given
                if judged[0] is None and part.left_out is not None and self.early_stopping:
                    judged = _chosen((X, y, weights), part.left_out)
                names = ("X_val", "y_val", "sample_weight_val")
                options = dict(zip(names, judged, strict=True))
                member.fit(*_chosen((X, y, weights), part.train), **options)

            self._train_members(self._new_members(random), train, self.max_iter)
        return self

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, classes: Any = None) -> Any:
        if self.n_members > 1:
            return self._partial_fit_members(X, y, sample_weight, classes)
        if self._fit_again(X, y, sample_weight, classes):
            return self
        return self._fit_once_more(X, y, sample_weight, classes)

    @_fit_context(prefer_skip_nested_validation=True)
    def _fit_once_more(self, X: Any, y: Any, sample_weight: Any, classes: Any) -> Any:
        return self._fit(X, y, sample_weight, incremental=True, classes=classes)

    @_fit_context(prefer_skip_nested_validation=True)
    def _partial_fit_members(self, X: Any, y: Any, sample_weight: Any, classes: Any) -> Any:
        with self._unchanged_if_refused():
            is_first = not self._has_members
            self._meet_classes(y, classes)
            X, y, weights = self._read(X, y, sample_weight, True, is_first, goes_on=True)
            known = {"classes": self.classes_} if hasattr(self, "classes_") else {}

            def train(member: Any, number: int) -> None:
                member.partial_fit(X, y, weights, **known)

            made = self._new_members(self._random_for_members()) if is_first else self.members_
            self._train_members(made, train, self.max_iter)
        return self

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        incremental: bool = False,
        validation_data: Part = (None, None, None),
        classes: Any = None,
    ) -> Any:
        with self._unchanged_if_refused():
            self.__dict__.pop("_last_run", None)  # it holds the network that may be replaced
            validates = validation_data[0] is not None
            parameters.check_together(self, validates, incremental)
            rule = stochastic.rule_of(self) if self.solver in STOCHASTIC_SOLVERS else None
            if incremental:
                self._meet_classes(y, classes)
            whole, parts = self._begin(X, y, sample_weight, incremental, validation_data)
            passes = 1 if incremental else self.max_iter
            samples, validation = self._samples(*parts[0], passes), None
            if parts[1] is not None:
                names = held_out_names() if validation_data[0] is not None else None
                with names or contextlib.nullcontext():
                    validation = Validation(*parts[1], self._samples(*parts[1], passes))
            averaging = self._planned_averaging(samples)
        listeners, convention = Listeners(self, self._context(), *whole), self._convention()
        if rule is not None:
            assert self._progress is not None
            run = stochastic.Run(
                self, rule, convention, samples, validation, self._validation_score,
                self._grading(validation), self._progress, self._random_state, listeners, averaging,
            )  # fmt: skip
            run.fit(incremental)
            if incremental and not listeners and averaging is None:
                self._keep(run)
        else:
            lbfgs.train(self, convention, samples, listeners)
        self._refuse_infinite()
        listeners.fit_ends()
        return self

    def _keep(self, run: stochastic.Run) -> None:
        """Keep a run of partial_fit for the next call, unless a parameter may change within."""
        parameters = self._parameters()
        inner = [value if isinstance(value, tuple) else (value,) for value in parameters]
        if all(isinstance(value, _UNCHANGING) for values in inner for value in values):
            run.keep()
            self._last_run = parameters, settings_of(self.network_.layers), run

    def _refuse_infinite(self) -> None:
        if not np.isfinite(self.network_.params).all():
            raise ValueError(NOT_FINITE)

    def _fit_again(self, X: Any, y: Any, sample_weight: Any, classes: Any) -> bool:
        """Call partial_fit's last run again if nothing but plain samples has changed since.

        Setting up a run takes several times as long as training on a few rows.
        """
        is_alone, last = bool(self.__dict__.get("_owns_memory")), self.__dict__.get("_last_run")
        if last is None or not is_alone or last[0] != self._parameters():
            return False
        network, (_, settings, run) = self.network_, last
        if settings != settings_of(network.layers):
            return False
        if not (is_plain(self, X) and self._is_plain_target(y, X.shape[0])):
            return False
        if self._context() is not None or not (classes is None or self._are_known(classes)):
            return False
        if network.loss != self._loss() or not run.can_repeat(X, network):
            return False
        weights = weights_of_samples(f"{type(self).__name__}.fit", sample_weight, X)
        samples = self._samples(X, y, weights, passes=1)
        self._random_state = self._random_of_fit()
        try:
            run.again(self, samples, self._random_state)
        finally:
            run.keep()
        self._refuse_infinite()
        return True

    def _parameters(self) -> tuple[Any, ...]:
        """The values of all parameters."""
        found: tuple[Any, ...] = operator.attrgetter(*self._parameter_constraints)(self)
        return found

    def _planned_averaging(self, samples: Samples) -> Averaging | None:
        """What averages weights in this fit, if something shall; `averaging_` has it then."""
        averaging = averaging_of(self.callbacks)
        self.__dict__.pop("averaging_", None)
        if averaging is not None:
            n_steps = -(-samples.X.shape[0] // stochastic.batch_size_of(self, samples))
            averaging.plan(f"{type(self).__name__}.fit", self.max_iter, n_steps)
            self.averaging_ = averaging
        return averaging

    def _context(self) -> Any:
        """The context of this fit for scikit-learn's callbacks, if it has any."""
        if hasattr(self, "_skl_callbacks") or hasattr(self, "_parent_callback_ctx"):
            return self._init_callback_context(max_subtasks=self.max_iter)
        return None

    @contextlib.contextmanager
    def _unchanged_if_refused(self) -> Iterator[None]:
        """A context that restores the model if an error occurs before the first step."""
        before = self.__dict__.copy()
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _begin(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool, held_out: Part
    ) -> tuple[Part, tuple[Part, Part | None]]:
        """Check all data and make the network; returns all, training and validation samples."""
        hidden = parameters.hidden_sizes(self)
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        is_alone = bool(self.__dict__.get("_owns_memory"))
        if not first_pass:
            self._own_memory()
            self._refuse_other_sizes(hidden, self.network_)
        X, y, sample_weight = self._read(
            X, y, sample_weight, incremental, first_pass, goes_on=incremental or not first_pass
        )
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        given = self._read_held_out(X, y, held_out)
        self._random_state = self._random_for_members()
        if first_pass:
            self._start(X.shape[1], hidden, self._dtype_for(X))
        else:
            self._go_on(is_alone)
        whole = X, y, sample_weight
        return whole, (whole, given) if given is not None else self._split(*whole)

    def _random_for_members(self) -> np.random.RandomState:
        """The generator of a fit that begins, or goes on after a pause."""
        random, pause = self._random_of_fit(), pause_of(self)
        return random if pause is None else pause.seeded(random)

    def _random_of_fit(self) -> np.random.RandomState:
        """The generator that `random_state` stands for.

        A new one takes a quarter of a millisecond, because NumPy asks the system for random bits.
        So the one of an earlier fit is seeded again.
        """
        seed, made = self.random_state, self.__dict__.get("_seeded")
        if isinstance(seed, bool) or not isinstance(seed, int):
            return check_random_state(seed)
        if made is None:
            made = self._seeded = check_random_state(seed)
        else:
            made.seed(seed)
        found: np.random.RandomState = made
        return found

    def _meet_classes(self, y: Any, classes: Any) -> None:
        """Set the classes at the first call of partial_fit, if there are any."""

    def _are_known(self, classes: Any) -> bool:
        """Whether these are the classes of the model, in order."""
        known = self.__dict__.get("classes_")
        return classes is not None and known is not None and np.array_equal(classes, known)

    def _read(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool, reset: bool, goes_on: bool
    ) -> tuple[Any, Any, Any]:
        """X, y and weights, checked before they are converted.

        goes_on: whether they are training data for a model that already has its classes.
        """
        where = f"{type(self).__name__}.fit"
        if not reset and is_plain(self, X) and self._is_plain_target(y, X.shape[0]):
            return X, y, weights_of_samples(where, sample_weight, X)
        checks.valid_sparse(where, "X", X)
        checks.valid_sparse(where, "y", y)
        checks.numeric_type(where, "X", X)
        X, y = self._validate_input(X, y, incremental, reset)
        if goes_on:
            self._refuse_other_classes(y, incremental)
        return X, y, weights_of_samples(where, sample_weight, X)

    def _is_plain_target(self, y: Any, n_rows: int) -> bool:
        """Whether y surely passes all checks, without any conversion."""
        raise NotImplementedError

    def _refuse_other_classes(self, y: Any, incremental: bool) -> None:
        """Refuse labels that the model was not made for, with scikit-learn's error."""

    def _read_held_out(self, X: Any, y: Any, given: Part) -> Part | None:
        """The validation data passed to `fit`, checked like all data."""
        X_val, y_val, weights = given
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val must be given together.")
        if X_val is None:
            if weights is not None:
                raise InputError(
                    f"{type(self).__name__}.fit", "X_val and y_val with sample_weight_val",
                    "neither", "pass the rows that it weighs",
                )  # fmt: skip
            return None
        with held_out_names():
            read = self._read(X_val, y_val, weights, incremental=True, reset=False, goes_on=False)
        warn_of_other_scales(X, y, *read[:2], are_numbers=not hasattr(self, "classes_"))
        return read

    def _dtype_for(self, X: Any) -> np.dtype:
        return np.dtype(self.dtype if self.dtype is not None else X.dtype)

    def _start(self, n_features: int, hidden: list[int], dtype: np.dtype) -> None:
        """Make a new network with weights drawn in scikit-learn's order, and reset all counts."""
        sizes = [n_features, *hidden, self.n_outputs_]
        network = self._make_network(sizes, dtype)
        network.seed = self._seed_of_dropout(network)
        factor = 2.0 if self.activation == "logistic" else 6.0
        for layer, n_in, n_out in zip(_dense(network), sizes, sizes[1:], strict=False):
            bound = np.sqrt(factor / (n_in + n_out))
            layer.W[...] = self._random_state.uniform(-bound, bound, (n_in, n_out))
            layer.b[...] = self._random_state.uniform(-bound, bound, n_out)
        self._hold(network)
        self._owns_memory = True
        self.__dict__.pop("members_", None)
        self.n_iter_, self.t_, self.n_layers_ = 0, 0, len(sizes)
        self.out_activation_ = _LINKS[network.loss.link_name]  # type: ignore[attr-defined]
        self._progress = Progress()
        self.loss_curve_: list[float] = []
        self.history_: dict[str, list[float]] = {}
        watches = bool(self.early_stopping)
        self.validation_scores_: list[float] | None = [] if watches else None
        self.best_validation_score_: float | None = -np.inf if watches else None
        self.best_loss_: float | None = None if watches else np.inf

    def _refuse_other_sizes(self, hidden: list[int], network: Network) -> None:
        found = [layer.n_out for layer in _dense(network)[:-1]]
        if hidden != found:
            raise InputError(
                f"{type(self).__name__}.fit", f"hidden layers of {found} units as they are",
                f"{hidden}", "start anew with a clone, or with warm_start=False",
            )  # fmt: skip

    def _go_on(self, is_alone: bool) -> None:
        """Continue with the same weights in a network with the estimator's current parameters.

        is_alone: whether no copy of the model shares the network's parameters.
        """
        if self.dtype is not None:
            self._dtype_name = np.dtype(self.dtype).name
        network = self._kept_network() if is_alone else None
        if network is None:
            network = self._network_of(*checked_weights(self, self._fitted_dtype))
        network.seed = self._dropout_seed or self._seed_of_dropout(network)
        self._hold(network)
        self._watch_from_now_on()

    def _kept_network(self) -> Network | None:
        """The existing network, if weights and parameters have not been set since it was made."""
        network, views = self.__dict__.get("_held") or (None, ())
        made_with = self.__dict__.get("_made_with")
        if network is None or not made_with or made_with != self._network_parameters():
            return None
        if (network.n_features, network.n_outputs) != (self.n_features_in_, self.n_outputs_):
            return None  # to be refused
        is_same = _are_same((self.coefs_, self.intercepts_), views)
        is_good = network.loss == self._loss() and np.isfinite(network.params).all()
        return network if is_same and is_good else None

    def _network_parameters(self) -> tuple[Any, ...] | None:
        """The parameters (not sizes and loss) that determine a network, if comparable."""
        found = [getattr(self, name) for name in _SHAPE_NETWORK]
        found = [tuple(value) if isinstance(value, list) else value for value in found]
        names = found[0] if isinstance(found[0], tuple) else found[:1]
        # An object might have changed within.
        return tuple(found) if all(isinstance(name, str) for name in names) else None

    def _watch_from_now_on(self) -> None:
        """Reset the counts if the previous fit was stopped by the other of both losses."""
        if self.early_stopping and getattr(self, "validation_scores_", None) is None:
            self.validation_scores_, self.best_validation_score_ = [], -np.inf
        elif not self.early_stopping and getattr(self, "best_loss_", None) is None:
            self.best_loss_ = np.inf
        else:
            return
        self._no_improvement_count = 0

    def _own_memory(self) -> None:
        """Copy arrays that training writes to: they may be read-only (from a file) or shared."""
        if self.__dict__.get("_owns_memory"):
            return
        before = self._progress or Progress()
        memory = None if before.memory is None else aligned_copy(np.asarray(before.memory))
        self._progress = dataclasses.replace(before, memory=memory)
        self.loss_curve_ = list(getattr(self, "loss_curve_", ()))
        history = getattr(self, "history_", {})
        self.history_ = {name: list(values) for name, values in history.items()}
        scores = getattr(self, "validation_scores_", None)
        self.validation_scores_ = scores if scores is None else list(scores)
        self._owns_memory = True

    def _seed_of_dropout(self, network: Network) -> int:
        """The seed of dropout; drawn only if used, so that otherwise batches are scikit-learn's."""
        drops = any(isinstance(layer, Dropout) for layer in network.layers)
        self._dropout_seed = int(self._random_state.randint(2**31 - 1)) if drops else 0
        return self._dropout_seed

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
        alpha, ratio, loss = float(self.alpha), float(self.l1_ratio), self._loss()
        for layer in layers:
            if not can_compile([layer], loss):
                raise InputTypeError(
                    where, "activations that have a kernel", type(layer).__name__,
                    "use a Network, or write kernel = compiled_activation(rule)",
                )  # fmt: skip
        self._made_with = self._network_parameters()
        return Network(layers, loss, dtype, 0, l1=alpha * ratio, l2=alpha * (1 - ratio))

    def take_over(self, model: Any) -> Any:
        """Copy the fitted state of one of scikit-learn's estimators.

        Parameters
        ----------
        model : sklearn.neural_network.MLPClassifier or MLPRegressor
            Fitted, with the same parameters as this one.

        Returns
        -------
        MLPClassifier or MLPRegressor
            Itself.
        """
        kept = vars(model)
        for name, value in kept.items():
            if name.endswith("_") and not name.startswith("_"):
                setattr(self, name, copy.deepcopy(value))
        if "_label_binarizer" in kept:
            self._binarizer = copy.deepcopy(kept["_label_binarizer"])
        self._progress = Progress(n_stale=kept.get("_no_improvement_count", 0))
        self.history_, self._dropout_seed = {}, 0
        self.loss_curve_ = list(kept.get("loss_curve_", []))
        assert self.network_.is_built  # makes the network from coefs_ and intercepts_
        return self

    @property
    def _no_improvement_count(self) -> int:
        """Epochs without improvement, under the name that scikit-learn's tests use."""
        return 0 if self._progress is None else self._progress.n_stale

    @_no_improvement_count.setter
    def _no_improvement_count(self, count: int) -> None:
        self._progress = dataclasses.replace(self._progress or Progress(), n_stale=count)

    @property
    def _fitted_dtype(self) -> np.dtype:
        """float32 or float64, as the model was fitted, whatever arrays were set since."""
        name = self.__dict__.get("_dtype_name")
        if name is None:  # made by hand, or taken over from scikit-learn
            name = "float32" if np.asarray(self.coefs_[0]).dtype == np.float32 else "float64"
        return np.dtype(name)

    @property
    def network_(self) -> Network:
        """The network whose parameters are `coefs_` and `intercepts_`, even if assigned."""
        self._refuse_network()
        held: tuple[Network, tuple[np.ndarray, ...]] | None = self.__dict__.get("_held")
        if held is not None:
            network, views = held
            if _are_same((self.coefs_, self.intercepts_), views):
                return network
        arrays = checked_weights(self, self._fitted_dtype)
        if held is not None and _sizes(_dense(held[0])) == _sizes(arrays[0]):
            network = held[0]
            _fill(network, *arrays)  # in place, because a running fit may use that memory
        else:
            network = self._network_of(*arrays)
        return self._hold(network)

    def _network_of(self, coefs: list[np.ndarray], intercepts: list[np.ndarray]) -> Network:
        """A network for the estimator's current parameters, with these weights."""
        sizes = [coefs[0].shape[0], *(W.shape[1] for W in coefs)]
        network = self._make_network(sizes, coefs[0].dtype)
        _fill(network, coefs, intercepts)
        return network

    def _hold(self, network: Network) -> Network:
        """Let fitted attributes view the network's parameters."""
        named = network.named_parameters()
        self.coefs_ = [view for name, view in named.items() if name.endswith(".W")]
        self.intercepts_ = [view for name, view in named.items() if name.endswith(".b")]
        self._held = network, (*self.coefs_, *self.intercepts_)
        self._dtype_name = network.dtype.name
        return network

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        self._owns_memory = False  # a shallow copy shares it
        for name in _MADE_AGAIN:
            state.pop(name, None)
        if self._progress is not None:
            state["_progress"] = dict(vars(self._progress))
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_progress" in state:
            state = {**state, "_progress": Progress(**state["_progress"])}
        super().__setstate__(state)

    # ------------------------------------------------------------------ samples

    def _samples(self, X: Any, y: Any, sample_weight: Any, passes: int) -> Samples:
        """Samples in the form that kernels read fastest for this number of passes."""
        dtype, where = self.network_.dtype, f"{type(self).__name__}.fit"
        weights = self._weights(y, sample_weight)
        held = checks.sample_weights(where, weights, X.shape[0], dtype)
        readable = X
        if is_sparse(X):
            readable = sorted_csr(X)
        elif passes >= WORTH_COMPRESSING:
            readable = without_zeros(X, dtype, self.coefs_[0].shape[1])
        return Samples(readable, self._encode(y, dtype), held)

    def _weights(self, y: Any, sample_weight: Any) -> Any:
        """Sample weights, multiplied by class weights if there are any."""
        return sample_weight

    def _split(self, X: Any, y: Any, sample_weight: Any) -> tuple[Part, Part | None]:
        """Training samples, and a part set aside for validation if needed."""
        if not (self.early_stopping and self.solver in STOCHASTIC_SOLVERS):
            return (X, y, sample_weight), None
        from sklearn.model_selection import train_test_split

        arrays = [X, y] if sample_weight is None else [X, y, sample_weight]
        try:
            parts = train_test_split(
                *arrays,
                random_state=self._random_state,
                test_size=self.validation_fraction,
                stratify=self._stratification(y),
            )
        except ValueError as error:
            self._name_classes(error)
            raise
        if sample_weight is None:
            parts += [None, None]
        if parts[1].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        if sample_weight is not None and not (parts[4].any() and parts[5].any()):
            raise InputError(
                f"{type(self).__name__}.fit", "some sample_weight above 0 on both sides of the "
                "split for early stopping", "only zeros on one",
                "use another validation_fraction, or pass X_val and y_val",
            )  # fmt: skip
        return (parts[0], parts[2], parts[4]), (parts[1], parts[3], parts[5])

    def _name_classes(self, error: ValueError) -> None:
        """Put the user's labels into the error of a split."""

    def _validation_score(self, validation: Validation, outputs: np.ndarray) -> float:
        if self.scoring is None:
            linked = self.network_.loss.link(outputs)
            if not np.isfinite(linked).all():
                return np.nan
            return self._default_score(validation, linked)
        from sklearn.metrics import get_scorer

        scorer = get_scorer(self.scoring) if isinstance(self.scoring, str) else self.scoring
        weights = validation.sample_weight
        options = {} if weights is None else {"sample_weight": weights}
        return float(scorer(self, validation.X, validation.y, **options))

    def _grading(self, validation: Validation | None) -> Grading | None:
        """How a compiled call computes the score; None if only Python can."""
        if validation is None or self.scoring not in (None, "loss"):
            return None
        return BY_LOSS if self.scoring == "loss" else self._default_grading(validation)

    # ------------------------------------------------------------------ using

    @property
    def _n_features_out(self) -> int:
        """Number of columns that `transform` returns, for the names of its outputs."""
        return sum(one.coefs_[-1].shape[0] for one in self._members)

    def _checked(self, X: Any, accept_sparse: bool = True) -> Any:
        """X with the columns of fit, in float32 or float64; a sparse one as sorted CSR."""
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

    def _outputs(self, X: Any) -> np.ndarray:
        """Outputs after the link (n, n_outputs)."""
        if not is_plain(self, X):
            check_is_fitted(self)
            X = self._checked(X)
        found = mean_of(self._outputs_of_members(X))
        if not np.isfinite(found).all():
            for one, network in zip(self._members, self._networks, strict=True):
                checked_weights(one, network.dtype)  # they may have been changed in place
        return checks.answers(f"{type(self).__name__}.predict", found)

    def _outputs_of_members(self, X: Any) -> list[np.ndarray]:
        """Outputs after the link of each member, or of the only network, for checked rows."""
        if X.shape[0] == 1 and type(X) is np.ndarray and not self._has_members:
            return [self._row_predictor(self.network_).answer(X)]
        return [evaluation.outputs(network, X, link=True) for network in self._networks]

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
        made = []
        for one, network in zip(self._members, self._networks, strict=True):
            checked_weights(one, network.dtype)  # they may have been changed in place
            made.append(Predictor(network, self._coder(), weights))
        return EnsemblePredictor(made, self._coder()) if self._has_members else made[0]

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
        network = self.network_
        checked_weights(self, network.dtype)  # they may have been changed in place
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
        checked_weights(self, network.dtype)  # they may have been changed in place
        return layerwise.input_gradients(network, where, X, output)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _chosen(part: Part, rows: np.ndarray | None) -> Part:
    """Some rows of samples; None means all."""
    if rows is None:
        return part
    X, y, weights = part
    return X[rows], y[rows], None if weights is None else weights[rows]


def _are_same(lists: tuple[Any, ...], views: tuple[np.ndarray, ...]) -> bool:
    """Whether the lists hold exactly these arrays, in order."""
    try:
        found = [array for arrays in lists for array in arrays]
    except TypeError:  # something else than a list was assigned
        return False
    return len(found) == len(views) and all(map(operator.is_, found, views))


def _dense(network: Network) -> list[Dense]:
    return [layer for layer in network.layers if isinstance(layer, Dense)]


def _sizes(layers: list[Any]) -> list[tuple[int, ...]]:
    """Shapes of the weights of layers, or of arrays."""
    return [getattr(layer, "W", layer).shape for layer in layers]


def _fill(network: Network, coefs: list[np.ndarray], intercepts: list[np.ndarray]) -> None:
    for layer, W, b in zip(_dense(network), coefs, intercepts, strict=True):
        layer.W, layer.b = W, b
