"""The common base of both estimators: checks of the data, fits, warm starts, ensembles.

`held` has their network, `answers` what they can be asked, `stochastic` and `lbfgs` the training.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import operator
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils.validation import _num_samples

from ..datasets.stored import StoredTable
from ..engine.job import Convention
from ..engine.judging import BY_LOSS, Grading
from ..engine.lowering import settings_of
from ..engine.threads import company
from ..errors import InputError
from ..inputs import checks
from ..inputs.stored import check_weights
from ..inputs.stored import refuse as refuse_stored
from ..inputs.tables import WORTH_COMPRESSING, is_sparse, sorted_csr, without_zeros
from ..inputs.targets import Encoded, Samples
from ..inputs.windows import Windows
from ..kernels.compiler.memory import aligned_copy
from ..network import Network
from ..nn import Dropout
from ..optim.averaging import Averaging
from . import lbfgs, parameters, stochastic, stored_run
from .callbacks import CallbackSupportMixin, Listeners, averaging_of
from .edge import held_out_names, weights_of_samples
from .fitted import checked_weights
from .held import dense_layers
from .members import check_ensemble, check_number_kept, rows_of_members
from .outside import warn_of_other_scales
from .parameters import CONSTRAINTS, STOCHASTIC_SOLVERS
from .pausing import pause_of
from .plain import is_plain
from .stochastic import NOT_FINITE, Progress, Validation
from .stored_tables import Part, ReadsTables

# scikit-learn's names for links.
_LINKS = {
    "identity": "identity",
    "softmax": "softmax",
    "sigmoid": "logistic",
    "exp": "exp",
}
_UNCHANGING = (str, int, float, type(None))


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


class BaseMLP(CallbackSupportMixin, ReadsTables):
    """Base of MLPClassifier and MLPRegressor."""

    _parameter_constraints: ClassVar[dict[str, Any]] = CONSTRAINTS
    _dropout_seed = 0

    # ------------------------------------------------------------------ what a subclass says

    def _convention(self) -> Convention:
        """How loss and penalties are combined: as in scikit-learn, penalties are per sample."""
        return Convention(self._loss_scale(), shares_penalty=True)

    def _loss_scale(self) -> float:
        return 1.0

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        """X and y after validation; sets the classes if there are any."""
        raise NotImplementedError

    def _encode(self, y: Any, network: Network) -> Encoded:
        """y for the kernels."""
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
        y: Any = None,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Train on X and y.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features), or StoredTable
            One row for each sample: finite numbers. A stored table (see
            `fastmlp.datasets.open_table`) is read a window at a time, and has targets and weights
            of its own; if it fits one window, results are those of its rows in memory.
        y : array of shape (n,) or (n, n_outputs), optional
            For a classifier labels, or rows of 0 and 1 for several labels; for a regressor numbers.
            Needed unless X is a stored table.
        sample_weight : array of shape (n,), optional
            Weights of the samples in the loss; by default equal ones.
        X_val, y_val, sample_weight_val : array of shape as X, y and sample_weight, optional
            Samples for evaluation after each epoch, instead of a part of the training data; X_val
            may be a stored table. If both X and X_val are in memory, a warning is given if the
            second is far outside the range of the first, as if a scaler had been left out.

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
            For checks that scikit-learn does not have. It is a ValueError. If rows of a stored
            table cannot be used, the model is as it was before, unless it is a warm start.
        """
        held_out = (X_val, y_val, sample_weight_val)
        if isinstance(X, StoredTable):
            return self._fit_stored(X, y, sample_weight, held_out)
        if self.n_members > 1:
            return self._fit_members(X, y, sample_weight, held_out)
        return self._fit(X, y, sample_weight, validation_data=held_out)

    def _fit_stored(self, table: StoredTable, y: Any, sample_weight: Any, held_out: Part) -> Any:
        stored_run.check(self, y, sample_weight, held_out[0] is not None)
        if self.warm_start and hasattr(self, "coefs_"):
            return self._fit(table, None, validation_data=held_out)
        with self._unchanged_if_refused(InputError):  # rows are checked when they are read
            return self._fit(table, None, validation_data=held_out)

    def _fit_members(self, X: Any, y: Any, sample_weight: Any, held_out: Part) -> Any:
        goes_on = bool(self.warm_start) and self._has_members
        with self._unchanged_if_refused():
            check_ensemble(self, None if self.member_rows != "folds" else _num_samples(X))
            X, y, weights = self._read(X, y, sample_weight, False, not goes_on, goes_on)
            given = self._read_held_out(X, y, held_out) or (None, None, None)
            if isinstance(given[0], StoredTable):
                given = held_out  # each member reads its columns
            random = self._random_to_begin_with()
            judges = self.early_stopping and self.solver in STOCHASTIC_SOLVERS
            groups = self._groups(y, X.shape[0])
            rows = [*rows_of_members(self.member_rows, groups, self.n_members, random)]

            def train(member: Any, number: int) -> None:
                part, judged = rows[number], given
                if judged[0] is None and part.left_out is not None and judges:
                    judged = _chosen((X, y, weights), part.left_out)
                names = ("X_val", "y_val", "sample_weight_val")
                options = dict(zip(names, judged, strict=True))
                member.fit(*_chosen((X, y, weights), part.train), **options)

            self._train_members(self._new_members(random), train, self.max_iter)
        return self

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, classes: Any = None) -> Any:
        advice = "call fit with warm_start=True, which reads it window by window"
        refuse_stored(f"{type(self).__name__}.partial_fit", X, advice)
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
            check_ensemble(self)
            is_first = not self._has_members
            self._meet_classes(y, classes)
            X, y, weights = self._read(X, y, sample_weight, True, is_first, goes_on=True)
            known = {"classes": self.classes_} if hasattr(self, "classes_") else {}

            def train(member: Any, number: int) -> None:
                member.partial_fit(X, y, weights, **known)

            if is_first:
                members = self._new_members(self._random_to_begin_with())
            else:
                check_number_kept(self)
                members = self._members_to_train()
            self._train_members(members, train, self.max_iter)
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
            samples, windows = self._training_samples(parts[0], passes)
            validation = None
            if parts[1] is not None:
                names = held_out_names() if validation_data[0] is not None else None
                with names or contextlib.nullcontext():
                    held_out = self._samples(*parts[1], passes, self.network_)
                    validation = Validation(*parts[1], held_out)
            averaging = self._planned_averaging(parts[0][0].shape[0])
        listeners, convention = Listeners(self, self._context(), *whole), self._convention()
        if rule is not None:
            assert self._progress is not None
            fields: Any = (
                self, rule, convention, samples, validation, self._validation_score,
                self._grading(validation), self._progress, self._random_state, listeners, averaging,
            )  # fmt: skip
            run = stochastic.Run(*fields)
            if windows is not None:
                run = stored_run.StoredRun(*fields, windows=windows)
            run.fit(incremental)
            if incremental and not listeners and averaging is None:
                self._keep(run)
        else:
            lbfgs.train(self, convention, samples, listeners)
        self._refuse_infinite(self.network_)
        listeners.fit_ends()
        return self

    def _keep(self, run: stochastic.Run) -> None:
        """Keep a run of partial_fit for the next call, unless a parameter may change within."""
        parameters = self._parameters()
        inner = [value if isinstance(value, tuple) else (value,) for value in parameters]
        if all(isinstance(value, _UNCHANGING) for values in inner for value in values):
            run.keep()
            self._last_run = parameters, settings_of(self.network_.layers), run

    def _refuse_infinite(self, network: Network) -> None:
        if not np.isfinite(network.params).all():
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
        if not (is_plain(self, X, network) and self._is_plain_target(y, X.shape[0], network)):
            return False
        if self._context() is not None or not (classes is None or self._are_known(classes)):
            return False
        if network.loss != self._loss() or not run.can_repeat(X, network):
            return False
        weights = weights_of_samples(f"{type(self).__name__}.fit", sample_weight, X)
        samples = self._samples(X, y, weights, 1, network)
        self._random_state = self._random_of_fit()
        try:
            run.again(self, samples, self._random_state)
        finally:
            run.keep()
        self._refuse_infinite(network)
        return True

    def _parameters(self) -> tuple[Any, ...]:
        """The values of all parameters."""
        found: tuple[Any, ...] = operator.attrgetter(*self._parameter_constraints)(self)
        return found

    def _planned_averaging(self, n_rows: int) -> Averaging | None:
        """What averages weights in this fit, if something shall; `averaging_` has it then."""
        averaging = averaging_of(self.callbacks)
        self.__dict__.pop("averaging_", None)
        if averaging is not None:
            n_steps = -(-n_rows // stochastic.batch_size_of(self, n_rows))
            averaging.plan(f"{type(self).__name__}.fit", self.max_iter, n_steps)
            self.averaging_ = averaging
        return averaging

    def _context(self) -> Any:
        """The context of this fit for scikit-learn's callbacks, if it has any."""
        if hasattr(self, "_skl_callbacks") or hasattr(self, "_parent_callback_ctx"):
            return self._init_callback_context(max_subtasks=self.max_iter)
        return None

    @contextlib.contextmanager
    def _unchanged_if_refused(self, by: type[BaseException] = BaseException) -> Iterator[None]:
        """A context that restores a model that only gets new attributes, if an error occurs."""
        before = self.__dict__.copy()
        try:
            yield
        except by:
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
        if isinstance(X, StoredTable):
            X = self._read_table(X, first_pass)
        else:
            X, y, sample_weight = self._read(
                X, y, sample_weight, incremental, first_pass, goes_on=incremental or not first_pass
            )
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        given = self._read_held_out(X, y, held_out)
        self._random_state = self._random_to_begin_with()
        if first_pass:
            self._start(X.shape[1], hidden, self._dtype_for(X))
        else:
            self._go_on(is_alone)
        whole = X, y, sample_weight
        return whole, (whole, given) if given is not None else self._split(*whole)

    def _random_to_begin_with(self) -> np.random.RandomState:
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
        if not reset and is_plain(self, X) and self._is_plain_target(y, len(X), self.network_):
            return X, y, weights_of_samples(where, sample_weight, X)
        checks.valid_sparse(where, "X", X)
        checks.valid_sparse(where, "y", y)
        checks.numeric_type(where, "X", X)
        X, y = self._validate_input(X, y, incremental, reset)
        if goes_on:
            self._refuse_other_classes(y, incremental)
        return X, y, weights_of_samples(where, sample_weight, X)

    def _is_plain_target(self, y: Any, n_rows: int, network: Network) -> bool:
        """Whether y surely passes all checks, without any conversion."""
        raise NotImplementedError

    def _read_held_out(self, X: Any, y: Any, given: Part) -> Part | None:
        """The validation data passed to `fit`, checked like all data."""
        X_val, y_val, weights = given
        if isinstance(X_val, StoredTable):
            with held_out_names():
                return self._read_held_table(X_val, y_val, weights)
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
        if not isinstance(X, StoredTable):
            warn_of_other_scales(X, y, *read[:2], are_numbers=not hasattr(self, "classes_"))
        return read

    def _start(self, n_features: int, hidden: list[int], dtype: np.dtype) -> None:
        """Make a new network with weights drawn in scikit-learn's order, and reset all counts."""
        sizes = [n_features, *hidden, self.n_outputs_]
        network = self._make_network(sizes, dtype)
        network.seed = self._seed_of_dropout(network)
        factor = 2.0 if self.activation == "logistic" else 6.0
        for layer, n_in, n_out in zip(dense_layers(network), sizes, sizes[1:], strict=False):
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
        found = [layer.n_out for layer in dense_layers(network)[:-1]]
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

    # ------------------------------------------------------------------ samples

    def _training_samples(self, part: Part, passes: int) -> tuple[Samples, Windows | None]:
        """Samples to train on, and what reads the others where they are a window of a table."""
        if not isinstance(part[0], StoredTable):
            return self._samples(*part, passes, self.network_), None
        table = self._weighted(part[0])
        check_weights(f"{type(self).__name__}.fit", table, self.network_.dtype)
        coder = dataclasses.replace(self._coder(), flat=table.n_targets is None)
        batch_size = stochastic.batch_size_of(self, table.n_rows)
        windows = Windows(table, self.network_, self.n_outputs_, coder, batch_size, company.busy)
        if windows.n_windows > 1:
            return windows.first, windows
        samples = next(windows.read()).samples
        return samples._replace(X=self._fastest(samples.X, passes)), None

    def _samples(
        self, X: Any, y: Any, sample_weight: Any, passes: int, network: Network
    ) -> Samples:
        """Samples in the form that kernels read fastest for this number of passes."""
        where, weights = f"{type(self).__name__}.fit", self._weights(y, sample_weight)
        held = checks.sample_weights(where, weights, X.shape[0], network.dtype)
        return Samples(self._fastest(X, passes), self._encode(y, network), held)

    def _fastest(self, X: Any, passes: int) -> Any:
        """Rows in that form, with the same bits."""
        if is_sparse(X):
            return sorted_csr(X)
        if passes < WORTH_COMPRESSING or isinstance(X, StoredTable):
            return X
        return without_zeros(X, self.network_.dtype, self.coefs_[0].shape[1])

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
        if validation is None or isinstance(validation.X, StoredTable):
            return None
        if self.scoring not in (None, "loss"):
            return None
        return BY_LOSS if self.scoring == "loss" else self._default_grading(validation)


def _chosen(part: Part, rows: np.ndarray | None) -> Part:
    """Some rows of samples; None means all."""
    if rows is None:
        return part
    X, y, weights = part
    return X[rows], y[rows], None if weights is None else weights[rows]
