"""What both estimators for Dask share: parameters, the fit, predictions and the local model.

Each wraps an estimator for tables in memory and has the same parameters.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ...cluster.on_dask import OnDask
from ...errors import InputError
from ...inputs import checks
from . import rounds
from .answers import answer
from .partitions import check, joined, lanes_of, look, partitions_of

_OWN = ("n_lanes", "epochs_per_round")


class DaskMLP:
    """Base of DaskMLPClassifier and DaskMLPRegressor."""

    _KIND: ClassVar[Any]
    _HAS_CLASSES: ClassVar[bool]
    _local: Any = None

    def __init__(
        self, *, n_lanes: int = 8, epochs_per_round: int = 1, client: Any = None, **parameters: Any
    ) -> None:
        self.n_lanes, self.epochs_per_round, self.client = n_lanes, epochs_per_round, client
        self._unfitted = self._KIND(**parameters)

    def __repr__(self) -> str:
        return f"Dask{self._unfitted!r}"

    def __getstate__(self) -> dict[str, Any]:
        """The state of a copy, which looks for a client itself."""
        return {**vars(self), "client": None}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All parameters but the client, which belongs to a process.

        Parameters
        ----------
        deep : bool, default True
            As in scikit-learn.

        Returns
        -------
        dict of str to object
            Those of the plain estimator, `n_lanes` and `epochs_per_round`.
        """
        return self._unfitted.get_params(deep) | {name: getattr(self, name) for name in _OWN}

    def set_params(self, **parameters: Any) -> Self:
        """Set parameters.

        Parameters
        ----------
        **parameters : dict of str to object
            New values by name.

        Returns
        -------
        DaskMLPClassifier or DaskMLPRegressor
            Itself.
        """
        for name in _OWN:
            if name in parameters:
                setattr(self, name, parameters.pop(name))
        self._unfitted.set_params(**parameters)
        return self

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on the partitions where they are.

        Parameters
        ----------
        X : Dask array, frame or bag of shape (n, n_features), or list of delayed parts or futures
            Partitions may be empty.
        y : the same of shape (n,) or (n, n_outputs)
            In as many partitions.
        sample_weight : the same of shape (n,), optional
            Weights of the samples in the loss.

        Returns
        -------
        DaskMLPClassifier or DaskMLPRegressor
            Itself.

        Raises
        ------
        InputError
            For parameters that need all rows at one place, for partitions that do not fit together,
            and if there are no workers, or none that lasts.
        """
        where = f"{type(self).__name__}.fit"
        self._refuse(where)
        delayed = partitions_of(where, X, y, sample_weight)
        from distributed import get_client

        client = self.client if self.client is not None else get_client()
        workers = OnDask(where, client)
        parts = [client.compute(list(part)) for part in delayed]
        asked = [client.submit(look, self._HAS_CLASSES, *part, pure=False) for part in parts]
        facts = client.gather(asked)
        filled = check(where, facts)
        chosen = [facts[number] for number in filled]
        dtype = np.result_type(*(one.dtype for one in chosen))
        n_rows = [one.n_rows for one in chosen]
        places = lanes_of(n_rows, self.n_lanes)
        rows = [
            client.submit(joined, dtype, [parts[filled[place]] for place in lane], pure=False)
            for lane in places
        ]
        lanes = rounds.Lanes(rows, [sum(n_rows[place] for place in lane) for lane in places])
        classes = None
        if self._HAS_CLASSES:
            classes = np.unique(np.concatenate([one.classes for one in chosen]))
        model = self._KIND(**self._unfitted.get_params(deep=False))
        adapt(model, sum(n_rows), len(places))
        self._prepare(model, chosen, classes)
        plan = rounds.Plan(self.epochs_per_round, _seed(model.random_state), classes)
        fitted = rounds.train(workers, model, lanes, plan)
        fitted.set_params(**self._unfitted.get_params(deep=False))
        self._local, self.n_lanes_ = fitted, len(places)
        self._take_attributes(fitted)
        return self

    def _refuse(self, where: str) -> None:
        """Refuse parameters that need all rows at one place."""
        checks.whole_number(where, "n_lanes", self.n_lanes, 1)
        checks.whole_number(where, "epochs_per_round", self.epochs_per_round, 1)
        alone, given = self._KIND(), self._unfitted
        for name in _OF_ONE_PLACE:
            found = getattr(given, name)
            if (found == "lbfgs") if name == "solver" else found != getattr(alone, name):
                raise InputError(
                    where, "parameters for rows on many machines", f"{name}={found!r}",
                    "leave it out, or fit the plain estimator on a sample",
                )  # fmt: skip

    def _prepare(self, model: Any, facts: list[Any], classes: np.ndarray | None) -> None:
        """Set what a model must know of all rows."""

    def _take_attributes(self, fitted: Any) -> None:
        for name in ("loss_curve_", "loss_", "n_iter_", "n_features_in_", "n_outputs_"):
            setattr(self, name, getattr(fitted, name))

    def to_local(self) -> Any:
        """The plain estimator, fitted, which needs no Dask.

        Returns
        -------
        MLPClassifier or MLPRegressor
            With the parameters and the network of this one.

        Raises
        ------
        NotFittedError
            Before the first fit.
        """
        check_is_fitted(self._unfitted if self._local is None else self._local)
        return self._local

    def predict(self, X: Any) -> Any:
        """Labels or numbers for rows.

        Parameters
        ----------
        X : Dask array or frame of shape (n, n_features), or table in memory
            One row for each sample.

        Returns
        -------
        Dask array or series, or ndarray, of shape (n,) or (n, n_outputs)
            Lazy, with the partitions of X; at once for a table in memory.
        """
        return answer(self.to_local(), "predict", X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy or R^2; y and the predictions come to this process.

        Parameters
        ----------
        X : Dask array or frame of shape (n, n_features), or table in memory
            One row for each sample.
        y : the same of shape (n,) or (n, n_outputs)
            True labels or numbers.
        sample_weight : the same of shape (n,), optional
            Weights of the samples; by default equal ones.

        Returns
        -------
        float
            At most 1.
        """
        import dask

        found, true, weights = dask.compute(self.predict(X), y, sample_weight)
        weights = None if weights is None else np.asarray(weights)
        return self._metric(np.asarray(true), np.asarray(found), weights)

    def _metric(self, true: Any, found: Any, weights: Any) -> float:
        raise NotImplementedError


# What the plain estimators can and lanes cannot; only its default is taken.
_OF_ONE_PLACE = ("solver", "early_stopping", "n_members", "warm_start", "callbacks", "scoring")


def adapt(model: Any, n_rows: int, n_lanes: int) -> None:
    """Let lanes together train as the plain estimator would.

    Each has its share of a batch, so that an epoch has as many steps. Solvers that divide a step by
    the size of earlier gradients make smaller ones then, by the root of the number of lanes,
    because gradients of fewer rows vary more (Malladi et al., "On the SDEs and scaling rules for
    adaptive gradient algorithms", 2022).
    """
    size = min(200, n_rows) if isinstance(model.batch_size, str) else model.batch_size
    model.batch_size = max(1, round(size / n_lanes))
    if model.solver != "sgd":
        model.learning_rate_init *= math.sqrt(n_lanes)


def _seed(random_state: Any) -> int:
    """A number that all lanes start from."""
    from sklearn.utils import check_random_state

    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))
