"""One table that several networks read, each all of its rows or some of them.

What does not depend on the network is checked and converted once, and X is never copied.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..errors import InputError, InputTypeError, counted
from ..model.body import Body, Plan
from . import checks, columns
from .categories import check_categories
from .samples import plan_for
from .tables import is_sparse
from .targets import Encoded, Samples, TargetCoder, reading

_MOST_KEPT = 64  # numbers and targets of different rows
_Found = TypeVar("_Found")


class Reading(NamedTuple):
    """What a network needs to train on some rows of a table.

    Attributes
    ----------
    samples : Samples
        The whole table; targets of other rows may be anything.
    rows : ndarray of shape (n_rows,) int32
        The numbers of the rows.
    coder : TargetCoder
    """

    samples: Samples
    rows: np.ndarray
    coder: TargetCoder


class SharedTable:
    """Rows, targets and weights for several networks.

    What was read for some of the rows is kept for a while, by the identity of the object that names
    them. So the caller keeps these objects as long as the table.

    Parameters
    ----------
    where : str
        For errors.
    X : array, data frame or sparse matrix of shape (n, n_features)
    y : array of shape (n,) or (n, n_targets)
    sample_weight : array of shape (n,), optional
    """

    def __init__(self, where: str, X: Any, y: Any, sample_weight: Any) -> None:
        self.names = columns.names_of(where, X)
        self.X = checks.matrix(where, "X", X, search=False)
        self.n_rows = int(self.X.shape[0])
        self.y = checks.array(where, "y", y)
        checks.same_length(where, "y", self.y, self.n_rows)
        self._weights_as_given = sample_weight
        weights = checks.sample_weights(where, sample_weight, self.n_rows, np.dtype(np.float64))
        self._weights = {weights.dtype: weights}
        self._is_finite = bool(checks.is_finite(self.X.data if is_sparse(self.X) else self.X))
        self._kept = dict[tuple[Hashable, ...], Any]()
        self._all = np.arange(self.n_rows, dtype=np.int32)

    def __getstate__(self) -> dict[str, Any]:
        """The state of a copy, which keeps what it reads to itself."""
        return self.__dict__ | {"_kept": {}, "_weights": dict(self._weights)}

    @property
    def has_weights(self) -> bool:
        """Whether rows have weights."""
        return self._weights_as_given is not None

    @property
    def is_sparse(self) -> bool:
        """Whether X is a sparse matrix."""
        return is_sparse(self.X)

    def numbers(self, where: str, rows: Any) -> np.ndarray:
        """Numbers of rows as int32, from None for all, from numbers, or from a mask."""
        if rows is None:
            return self._all
        return self._once((id(rows),), lambda: row_numbers(where, rows, self.n_rows))

    def plan(self, where: str, body: Body) -> Plan:
        """The sizes of a network for these columns."""
        checks.matrix(where, "X", self.X, body.n_features or None, search=False)
        return plan_for(where, body, self.X.shape[1], self.names)

    def read(self, where: str, body: Body, n_outputs: int, rows: Any) -> Reading:
        """Check these rows, as for `numbers`, for a network; nothing is changed."""
        X, numbers = self._in_order_of(where, body), self.numbers(where, rows)
        check_categories(where, body.layers, X)
        if not self._is_finite:
            checks.finite(where, "X", X[numbers])
        if body.coder is None:
            key = id(rows), reading(body.loss), n_outputs, body.dtype
            coder, encoded = self._once(key, lambda: self._learned(where, body, n_outputs, numbers))
        else:
            coder, encoded = body.coder, self.encoded(where, body.coder, body.dtype, numbers)
        weights = self.weights(where, body.dtype, numbers)
        return Reading(Samples(X, encoded, weights), numbers, coder)

    def _in_order_of(self, where: str, body: Body) -> Any:
        """X with its columns in the order that a network knows by their names."""
        if self.names is None or body.feature_names is None:
            return self.X
        order = columns.places(where, self.names, body.feature_names, what="X with the")
        if order is None:
            return self.X
        return self._once(("order", *order.tolist()), lambda: self.X[:, order])

    def _learned(
        self, where: str, body: Body, n_outputs: int, rows: np.ndarray
    ) -> tuple[TargetCoder, Encoded]:
        coder = TargetCoder.learn(where, self.y[rows], body.loss, n_outputs)
        return coder, self.encoded(where, coder, body.dtype, rows)

    def encoded(self, where: str, coder: TargetCoder, dtype: np.dtype, rows: np.ndarray) -> Encoded:
        """Targets of the whole table as kernels read them; those of other rows are 0."""
        found = coder.encode(where, self.y[rows], dtype)
        return found if rows is self._all else found.spread(rows, self.n_rows, coder.n_outputs)

    def weights(self, where: str, dtype: np.dtype, rows: np.ndarray) -> np.ndarray:
        """Weights of the whole table in a type; those of the rows must not all be 0."""
        if dtype not in self._weights:
            self._weights[dtype] = checks.sample_weights(
                where, self._weights_as_given, self.n_rows, dtype
            )
        weights = self._weights[dtype]
        if weights.size and rows is not self._all:
            checks.some_weight(where, weights[rows])
        return weights

    def of_rows(self, where: str, rows: Any) -> tuple[Any, np.ndarray, np.ndarray | None]:
        """X, y and the weights of some rows, copied; None for no weights."""
        numbers, (weights, *_) = self.numbers(where, rows), self._weights.values()
        return self.X[numbers], self.y[numbers], weights[numbers] if weights.size else None

    def _once(self, key: tuple[Hashable, ...], make: Callable[[], _Found]) -> _Found:
        if key not in self._kept:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[key] = make()
        found: _Found = self._kept[key]
        return found


def row_numbers(where: str, rows: Any, n_rows: int) -> np.ndarray:
    """Numbers of rows (n,) int32 from whole numbers or from a mask (n_rows,)."""
    found = np.asarray(rows)
    expected, advice = "rows as whole numbers or as a mask", "pass np.array([0, 1, 2])"
    if found.ndim != 1 or found.dtype.kind not in "iub":
        raise InputTypeError(where, expected, f"shape {found.shape} and type {found.dtype}", advice)
    if found.dtype.kind == "b":
        if found.size != n_rows:
            raise InputError(
                where, f"a mask of {counted(n_rows, 'row')}", f"{found.size}", "pass one for each"
            )
        found = np.flatnonzero(found)
    if found.size == 0:
        raise InputError(where, "at least one row", "none", "choose some")
    if found.min() < 0 or found.max() >= n_rows:
        raise InputError(where, f"rows from 0 to {n_rows - 1}", "some outside", "count from 0")
    return np.ascontiguousarray(found, np.int32)
