"""The common base of both tabular estimators: reading a table, the rows of each network, answers.

What they learn about the table is a `Preparation`, what they make of it is a `Recipe`.
"""

from __future__ import annotations

import copy
import os
import time
import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    check_array,
    check_is_fitted,
)

from ...errors import InputError, counted
from ...inputs import checks, stored
from ...inputs.targets import TargetCoder
from ...network import Network
from ...serving import evaluation
from ...serving.ensemble import mean_of
from ...tabular import frames
from ...tabular.frames import Frame
from ...tabular.members import MembersPlan
from ...tabular.networks import NUMBER_EMBEDDINGS, Plan, Setting, give_unknown_means, network_for
from ...tabular.preparation import Preparation
from ...tabular.recipes import AUTO, RECIPES, recipe_of
from ...training.history import History
from ..edge import held_out_names, weights_of_samples
from . import files
from .metrics import Metric, metric_of
from .predictor import TablePredictor
from .training import Data, One, Options, epochs_within, train
from .units import Units

_WHOLE = Interval(Integral, 1, None, closed="left")
_USUAL_FOLDS, _LEAST_TO_FOLD = 4, 20  # folds, and the rows that they need
_POSITIVE = Interval(Real, 0, None, closed="neither")


CONSTRAINTS: dict[str, Any] = {
    "recipe": [StrOptions(set(RECIPES))],
    "metric": [str, callable],
    "hidden_layer_sizes": ["array-like", _WHOLE, None],
    "learning_rate_init": [_POSITIVE, None],
    "dropout": [Interval(Real, 0, 1, closed="left"), None],
    "weight_decay": [Interval(Real, 0, None, closed="left"), None],
    "number_embedding": [StrOptions({AUTO, *NUMBER_EMBEDDINGS}), None],
    "shared_members": [_WHOLE, None],
    "max_iter": [_WHOLE, None],
    "batch_size": [_WHOLE, None],
    "categorical_features": ["array-like", None],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "n_members": [_WHOLE],
    "n_folds": [Interval(Integral, 2, None, closed="left"), StrOptions({AUTO}), None],
    "time_limit": [_POSITIVE, None],
    "random_state": ["random_state"],
    "n_threads": [_WHOLE, None],
    "verbose": ["verbose"],
}


class Split(NamedTuple):
    """Rows of a network: slices or numbers; None for no held-out rows."""

    train: Any
    held_out: Any


class BaseTabular(BaseEstimator):
    """Base of TabularClassifier and TabularRegressor."""

    _parameter_constraints: ClassVar[dict[str, Any]] = CONSTRAINTS
    _task: ClassVar[str]
    _metrics: ClassVar[dict[str, Metric]]
    _reads_prepared = False
    recipe: Any
    metric: Any
    hidden_layer_sizes: Any
    learning_rate_init: Any
    dropout: Any
    weight_decay: Any
    number_embedding: Any
    shared_members: Any
    max_iter: Any
    batch_size: Any
    categorical_features: Any
    validation_fraction: Any
    n_members: Any
    n_folds: Any
    time_limit: Any
    random_state: Any
    n_threads: Any
    verbose: Any
    n_folds_: int | None
    oof_: np.ndarray

    # ------------------------------------------------------------------ what a subclass says

    def _learn_targets(self, y: Any) -> np.ndarray:
        """y as networks learn it."""
        raise NotImplementedError

    def _targets_of(self, y: Any, where: str) -> np.ndarray:
        """Other targets in the same way, such as those of held-out rows."""
        raise NotImplementedError

    def _prepare_targets(self, data: Data, train: Any) -> np.ndarray:
        """Targets for the networks, given which rows they are trained on."""
        return data.y

    def _weights(self, y: np.ndarray, sample_weight: Any) -> Any:
        """Sample weights, with those of classes."""
        return sample_weight

    def _coder(self) -> TargetCoder | None:
        """How networks read the targets."""
        raise NotImplementedError

    def _n_network_outputs(self) -> int:
        raise NotImplementedError

    def _smoothing(self, metric: Metric) -> float:
        return 0.0

    def _metric(self) -> Any:
        """The metric for the best epoch, as users have chosen it."""
        return self.metric

    def _levels(self) -> tuple[float, ...]:
        """Of the quantiles that the networks learn, if they do."""
        return ()

    def _units(self, network: Network) -> Units:
        """What outputs of a network stand for."""
        raise NotImplementedError

    def _finish(self, splits: Sequence[Split], data: Data) -> None:
        """What is learnt from the held-out rows after training."""
        raise NotImplementedError

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
        """Train on a table.

        Parameters
        ----------
        X : data frame, array or dict of columns of shape (n, n_features)
            A frame of pandas, polars or Arrow as it is: numbers, booleans, texts, categories,
            dates, with missing values. Stored tables are refused: `load_table` loads their rows.
        y : array of shape (n,), or (n, n_targets) for a regressor, default None
            Labels or numbers, none missing. They are needed.
        sample_weight : array of shape (n,), optional
            Weights of the rows; by default equal ones.
        X_val, y_val, sample_weight_val : as X, y and sample_weight, optional
            Rows by which the best epoch is chosen, instead of a part of the training rows.

        Returns
        -------
        TabularClassifier or TabularRegressor
            Itself.

        Raises
        ------
        ValueError
            For data or parameters that cannot be used, before the model changes.
        """
        before = self.__dict__.copy()
        try:
            return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val))
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _fit(self, X: Any, y: Any, sample_weight: Any, held_out: tuple[Any, Any, Any]) -> Any:
        started, where = time.perf_counter(), f"{type(self).__name__}.fit"
        for table in (X, held_out[0]):
            stored.refuse(where, table, "load them with load_table")
        recipe = recipe_of(where, self.recipe)
        if self.shared_members is not None and recipe.n_members == 1:
            raise InputError(
                where, "shared_members with a recipe that has some", f"recipe={self.recipe!r}",
                "pass n_members for networks of their own",
            )  # fmt: skip
        metric = metric_of(where, self._metric(), self._metrics)
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y "
                "is None."
            )
        frame = self._read(where, X, reset=True)
        targets = self._learn_targets(y)
        checks.same_length(where, "y", targets, frame.n_rows)
        weights = self._weights(targets, weights_of_samples(where, sample_weight, targets))
        whole, has_weight = frame, weights
        frame, targets, weights = _with_weight(frame, targets, weights)
        random = check_random_state(self.random_state)
        given = self._read_held_out(where, held_out)
        self.n_folds_ = self._folds(where, targets, given)
        splits, order = self._splits(targets, given, random)
        learnt = order if order is None else order[splits[0].train]
        self.preparation_ = Preparation.learn(where, _part(frame, learnt), recipe.max_one_hot)
        data = self._samples(where, frame, targets, weights, given, order)
        learnt_rows = splits[0].train if self.n_folds_ is None else slice(None)
        data = data._replace(y=self._prepare_targets(data, learnt_rows))
        ones = self._networks_for(recipe, metric, splits, data, random)
        options = self._options(recipe, metric)
        if self.time_limit is not None:
            left = self.time_limit - (time.perf_counter() - started)
            options = options._replace(epochs=epochs_within(left, ones, data, options))
        histories = train(ones, data, options)
        ones, histories = _trained(where, ones, histories)
        self.networks_ = [one.network for one in ones]
        for one in ones:
            give_unknown_means(one.network, self.preparation_, data.X[one.train])
        self.histories_, self.n_iter_ = histories, max(history.epochs for history in histories)
        self._finish([Split(one.train, one.held_out) for one in ones], data)
        if whole is not frame and "oof_" in vars(self):
            self._answer_for_all(where, whole, np.flatnonzero(has_weight))
        return self

    def _answer_for_all(self, where: str, frame: Frame, used: np.ndarray) -> None:
        """Extend `oof_` to rows without weight, which no network has learnt."""
        found = self._mean_answers(self.preparation_.transform(where, frame))
        found[used] = self.oof_
        self.oof_ = found

    def _read(self, where: str, X: Any, reset: bool = False) -> Frame:
        """A table as columns; scikit-learn's own checks where they apply."""
        if isinstance(X, list | tuple):
            found = np.asarray(X) if _is_even(X) else np.array(X, object)
            X = found if found.dtype.kind in "iufb" else np.array(X, object)
        is_frame = hasattr(X, "columns") or hasattr(X, "keys")
        if not is_frame or getattr(X, "ndim", 2) == 1:
            X = check_array(X, dtype=None, ensure_all_finite=False, estimator=self, input_name="X")
        if reset or not hasattr(X, "columns"):
            if not hasattr(X, "keys") or hasattr(X, "columns"):
                _check_feature_names(self, X, reset=reset)
                _check_n_features(self, X, reset=reset)
            elif reset:
                self.n_features_in_ = len(X)
        if reset:
            names = frames.names_in(where, X)
            self.__dict__.pop("feature_names_in_", None)
            if names is not None and not frames.are_places(names):
                self.feature_names_in_ = np.array(names, object)
            self._as_texts = self._categorical(where, names)
        return frames.read(where, X, self._as_texts)

    def _categorical(self, where: str, names: tuple[str, ...] | None) -> frozenset[Any]:
        """The columns whose numbers are names of categories: by name if there are any."""
        chosen = self.categorical_features
        if chosen is None:
            return frozenset()
        values = np.asarray(chosen)
        if values.dtype.kind == "b":
            if values.size != self.n_features_in_:
                raise InputError(
                    where, f"categorical_features as a mask of {self.n_features_in_}",
                    f"{values.size}", "pass one for each column",
                )  # fmt: skip
            return _named(np.flatnonzero(values).tolist(), names)
        if values.dtype.kind in "iu":
            if values.size and not (values.min() >= 0 and values.max() < self.n_features_in_):
                raise InputError(
                    where, f"categorical_features below {self.n_features_in_}", "others",
                    "count columns from 0",
                )  # fmt: skip
            return _named(values.tolist(), names)
        missing = [name for name in chosen if name not in (names or ())]
        if missing:
            raise InputError(
                where, "categorical_features that are columns of X",
                f"{counted(len(missing), 'other name')}", "check their spelling",
            )  # fmt: skip
        return frozenset(chosen)

    def _read_held_out(self, where: str, held_out: tuple[Any, Any, Any]) -> Any:
        X, y, sample_weight = held_out
        if X is None and y is None and sample_weight is None:
            return None
        if X is None or y is None:
            raise InputError(where, "X_val and y_val", "not both", "pass both or neither")
        if self.n_folds not in (AUTO, None):
            raise InputError(where, "either n_folds or X_val", "both", "leave one of them out")
        with held_out_names():
            frame, targets = self._read(where, X), self._targets_of(y, where)
            checks.same_length(where, "y", targets, frame.n_rows)
            weights = self._weights(targets, weights_of_samples(where, sample_weight, targets))
        return _with_weight(frame, targets, weights)

    def _folds(self, where: str, targets: np.ndarray, given: Any) -> int | None:
        """Number of folds, or None for a single split."""
        n = len(targets)
        if self.n_folds is None:
            return None
        if self.n_folds == AUTO:
            is_enough = (
                given is None and self._rarest(targets) >= _USUAL_FOLDS and n >= _LEAST_TO_FOLD
            )
            return _USUAL_FOLDS if is_enough else None
        if self.n_folds > n:
            raise InputError(
                where, f"at least {counted(self.n_folds, 'row')}, one for each fold", f"{n}",
                "pass fewer n_folds",
            )  # fmt: skip
        return int(self.n_folds)

    def _splits(
        self, targets: np.ndarray, given: Any, random: np.random.RandomState
    ) -> tuple[list[Split], np.ndarray | None]:
        """The rows of each fold, and the order of all rows in which they are slices, or None."""
        n, labels = len(targets), self._labels(targets)
        if given is not None:
            return [Split(slice(0, n), slice(n, n + len(given[1])))], None
        if self.n_folds_ is not None:
            seed = random.randint(2**31 - 1)
            kind = KFold if labels is None else StratifiedKFold
            folds = kind(self.n_folds_, shuffle=True, random_state=seed)
            return [Split(*pair) for pair in folds.split(targets, labels)], None
        if n < 2:
            name = type(self).__name__
            raise ValueError(f"{name}.fit: Found array with {n} sample(s), at least 2 are needed")
        size = min(n - 1, max(1, round(self.validation_fraction * n)))
        if labels is not None:
            n_classes = np.unique(labels).size
            size = max(min(size, n - n_classes), n_classes)
        train, held_out = train_test_split(
            np.arange(n), test_size=size, random_state=random, stratify=labels
        )
        order = np.concatenate([train, held_out])
        return [Split(slice(0, train.size), slice(train.size, n))], order

    def _labels(self, targets: np.ndarray) -> np.ndarray | None:
        """Labels for a stratified split, or None."""
        return None

    def _rarest(self, targets: np.ndarray) -> int:
        """How many rows have the rarest label."""
        return len(targets)

    def _samples(
        self, where: str, frame: Frame, targets: np.ndarray, weights: Any, given: Any,
        order: np.ndarray | None,
    ) -> Data:  # fmt: skip
        """The prepared table: training rows, then those that are held out."""
        X = self.preparation_.transform(where, _part(frame, order))
        if order is not None:
            targets, weights = targets[order], None if weights is None else weights[order]
        if given is not None:
            X = np.concatenate([X, self.preparation_.transform(where, given[0])])
            if (weights is None) != (given[2] is None):
                weights = np.ones(len(targets)) if weights is None else weights
                given = (*given[:2], np.ones(len(given[1])) if given[2] is None else given[2])
            weights = None if weights is None else np.concatenate([weights, given[2]])
            targets = np.concatenate([targets, given[1]])
        return Data(X, targets, self._as_given(targets), weights)

    def _networks_for(
        self, recipe: Any, metric: Metric, splits: list[Split], data: Data, random: Any
    ) -> list[One]:
        hidden = self.hidden_layer_sizes
        setting = Setting(
            None if hidden is None else tuple(np.atleast_1d(hidden).tolist()),
            self.learning_rate_init, self.dropout, self.weight_decay, self._smoothing(metric),
            self.number_embedding, self._levels(), self.shared_members,
        )  # fmt: skip
        made, kind = list[One](), MembersPlan if recipe.n_members > 1 else Plan
        for _ in range(self.n_members):
            for split in splits:
                X, layout = data.X[split.train], self.preparation_.layout
                plan = kind(recipe, setting, layout, self._task, X)
                seed = int(random.randint(2**31 - 1))
                network, optimizer = network_for(plan, self._n_network_outputs(), seed)
                network.initialize(X)
                network.coder = self._coder()
                made.append(One(network, optimizer, *split))
        return made

    def _options(self, recipe: Any, metric: Metric) -> Options:
        monitor = metric.monitor
        is_of_mean = recipe.n_members == 1 or metric.score is None
        if monitor == "validation_loss" and not (self._smoothing(metric) == 0 and is_of_mean):
            monitor = ""  # the loss of smoothed labels, or the mean of members', is another one
        score = None if monitor else self._score_of(metric)
        return Options(
            self.max_iter or recipe.max_iter, self.batch_size or recipe.batch_size,
            recipe.patience, monitor, score, self.n_threads, bool(self.verbose),
            f"{type(self).__name__}.fit",
        )  # fmt: skip

    def _score_of(self, metric: Metric) -> Any:
        """`score(network, X, given, weights)` of prepared rows."""
        if metric.score is not None:
            own = metric.score
            where = f"{type(self).__name__}.fit"
            return lambda network, X, given, weights: own(
                self._targets_of(given, where), self._answers_of(network, X), weights
            )

        weighs = metric.weighs

        def by_scorer(network: Network, X: np.ndarray, given: np.ndarray, weights: Any) -> float:
            options = {"sample_weight": weights} if weighs and weights is not None else {}
            one = self.of_prepared()
            one.networks_ = [network]
            return float(metric.scorer(one, X, given, **options))

        return by_scorer

    def _as_given(self, targets: np.ndarray) -> np.ndarray:
        """What `_learn_targets` has read, in users' terms."""
        return targets

    # ------------------------------------------------------------------ answers

    def prepare(self, X: Any) -> np.ndarray:
        """The inputs of the networks.

        Parameters
        ----------
        X : data frame, array or dict of columns of shape (n, n_features)
            With the columns of training; those of a frame in any order.

        Returns
        -------
        ndarray of shape (n, n_columns)
            Float32: numbers, then flags, then numbers of categories; see ``preparation_.layout``.

        Raises
        ------
        NotFittedError
            Before `fit`.
        InputError
            For other columns than those of training.
        """
        check_is_fitted(self)
        if self._reads_prepared:
            return np.asarray(X)
        where = f"{type(self).__name__}.predict"
        return self.preparation_.transform(where, self._read(where, X))

    def of_prepared(self) -> Self:
        """A copy whose methods take rows that `prepare` has made, once for several of them.

        Returns
        -------
        TabularClassifier or TabularRegressor
            With the same networks.
        """
        made = copy.copy(self)
        made.__dict__["_reads_prepared"] = True
        return made

    def _answers_of(self, network: Network, X: np.ndarray) -> np.ndarray:
        """Answers of a network to prepared rows."""
        return self._units(network).of_rows(self._outputs(network, X))

    def _mean_answers(self, prepared: np.ndarray) -> np.ndarray:
        """What the mean of all networks' outputs stands for."""
        found = [self._outputs(network, prepared) for network in self.networks_]
        return self._units(self.networks_[0]).of_rows(mean_of(found))

    def _held_out_answers(
        self, splits: Sequence[Split], data: Data
    ) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of held-out rows, in ascending order, and the mean answers to them."""
        numbers, total, count = np.arange(len(data.X)), None, np.zeros(len(data.X), int)
        for network, split in zip(self.networks_, splits, strict=True):
            found = self._answers_of(network, data.X[split.held_out])
            if total is None:
                total = np.zeros((len(data.X), *found.shape[1:]), found.dtype)
            total[split.held_out] += found
            count[numbers[split.held_out]] += 1
        assert total is not None
        rows = np.flatnonzero(count)
        shape = (-1, *(1 for _ in total.shape[1:]))
        return rows, total[rows] / count[rows].reshape(shape).astype(total.dtype)

    def _keep_held_out(self, splits: Sequence[Split], data: Data) -> tuple[np.ndarray, np.ndarray]:
        """Keep, with folds, the answers to all rows by networks that did not learn them.

        Returns the answers to held-out rows, and their true labels or numbers.
        """
        rows, answers = self._held_out_answers(splits, data)
        self.__dict__.pop("oof_", None)
        if self.n_folds_ is not None and len(rows) == len(data.X):  # unless Ctrl-C ended it
            self.oof_ = answers
        return answers, data.given[rows]

    def compile_predictor(self, weights: str | None = None) -> TablePredictor:
        """An immutable copy for serving, which takes raw rows.

        Parameters
        ----------
        weights : {"float16", "bfloat16"}, optional
            Round the weights of dense layers to numbers of 16 bits, so that single rows are
            answered sooner; see `fastmlp.serving.predictor` for the error.

        Returns
        -------
        TablePredictor
            Called with a dict, a tuple or a frame; it returns what `predict_proba` of a classifier
            or `predict` of a regressor does.

        Raises
        ------
        NotFittedError
            Before `fit`.
        InputError
            For weights that float16 cannot hold.
        """
        check_is_fitted(self)
        return TablePredictor(
            self.preparation_, self.networks_, self._units(self.networks_[0]), weights
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write preparation and networks to one safetensors file, atomically.

        Parameters
        ----------
        path : str or path
            A name that ends in .safetensors, in a folder that exists.

        Raises
        ------
        NotFittedError
            Before `fit`.
        InputError
            For parameters that are functions or generators of random numbers.
        FileError
            If the file cannot be written.
        """
        check_is_fitted(self)
        files.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote; runs no code from the file.

        Parameters
        ----------
        path : str or path
            The file.

        Returns
        -------
        TabularClassifier or TabularRegressor
            Which gives the same answers.

        Raises
        ------
        FileError
            If the file is missing, damaged, of a newer format, or of another kind of model.
        """
        found: Self = files.load(cls, path)
        return found

    def _outputs(self, network: Network, X: np.ndarray, link: bool = True) -> np.ndarray:
        return evaluation.outputs(network, X, link=link)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags


def _with_weight(frame: Frame, targets: np.ndarray, weights: Any) -> tuple[Frame, np.ndarray, Any]:
    """The same without rows of weight 0, which are as if they were not there."""
    if weights is None or weights.all():
        return frame, targets, weights
    used = np.flatnonzero(weights)
    return frame.of_rows(used), targets[used], weights[used]


def _trained(
    where: str, ones: list[One], histories: list[History]
) -> tuple[list[One], list[History]]:
    """The networks that have been trained, which are fewer only if Ctrl-C ended the fit."""
    for history in histories:
        if history.stopped == "failed":
            raise InputError(where, "a loss that stays finite", "another", history.error)
    kept = [number for number, history in enumerate(histories) if history.epochs]
    if not kept:
        raise KeyboardInterrupt
    if any(history.stopped == "interrupted" for history in histories):
        left = len(ones) - len(kept)
        lost = f" {counted(left, 'network')} of {len(ones)} had not begun." if left else ""
        warnings.warn(f"Training interrupted by user.{lost}", stacklevel=5)
    return [ones[number] for number in kept], [histories[number] for number in kept]


def _part(frame: Frame, rows: np.ndarray | None) -> Frame:
    """Some of the rows of a frame, which may have some only."""
    if rows is None or frame.chosen is None:
        return frame.of_rows(rows)
    return frame.of_rows(frame.chosen[rows])


def _named(places: list[int], names: tuple[str, ...] | None) -> frozenset[Any]:
    return frozenset(places if names is None else [names[place] for place in places])


def _is_even(rows: Any) -> bool:
    """Whether all rows of a list have one length, so that they make an array."""
    return len({len(row) if isinstance(row, list | tuple) else -1 for row in rows}) <= 1
