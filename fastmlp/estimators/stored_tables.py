"""What estimators read of stored tables before they train: columns, classes and weights.

Rows are read while they train; classes and weights take a pass over their own columns only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..datasets.blocks import Block
from ..datasets.stored import StoredTable
from ..errors import InputError
from ..inputs import stored
from ..inputs.targets import label_numbers
from . import class_weights
from .answers import Answers
from .edge import weights_of_samples

Part = tuple[Any, Any, Any]  # X, y and sample_weight


class ReadsTables(Answers):
    """An estimator that can be trained, and judged, on stored tables."""

    dtype: Any
    n_features_in_: int

    # ------------------------------------------------------------------ what a subclass says

    def _read_targets(self, y: np.ndarray, incremental: bool, reset: bool) -> np.ndarray:
        """y after the checks that it needs without X; sets the classes if there are any."""
        raise NotImplementedError

    def _some_targets(self, where: str, table: StoredTable) -> np.ndarray:
        """Targets from which `_read_targets` learns all that it learns from those of a table."""
        raise NotImplementedError

    def _weighted(self, table: StoredTable) -> StoredTable:
        """The table, with the weights of classes if there are any."""
        return table

    def _refuse_other_classes(self, y: Any, incremental: bool) -> None:
        """Refuse labels that the model was not made for, with scikit-learn's error."""

    # ------------------------------------------------------------------ tables

    def _read_table(self, table: StoredTable, reset: bool) -> StoredTable:
        """A table to train on, of which only targets have been read."""
        where = f"{type(self).__name__}.fit"
        stored.check_targets(where, table)
        table = self._with_columns(where, table, reset)
        y = self._read_targets(self._some_targets(where, table), False, reset)
        if not reset:
            self._refuse_other_classes(y, incremental=False)
        return table

    def _with_columns(self, where: str, table: StoredTable, reset: bool) -> StoredTable:
        """A table with the columns of the fit, which may begin with it, in their order."""
        if not reset:
            return stored.in_order(where, table, self._feature_names, self.n_features_in_)
        self.n_features_in_ = table.n_features
        self.__dict__.pop("feature_names_in_", None)
        if table.feature_names is not None:
            self.feature_names_in_ = np.array(table.feature_names, object)
        return table

    def _read_held_table(self, table: StoredTable, y: Any, sample_weight: Any) -> Part:
        """A table to judge epochs by, with its targets and weights."""
        where = f"{type(self).__name__}.fit"
        y, weights = stored.targets_of(where, table, y, sample_weight)
        table = self._with_columns(where, table, reset=False)
        y = self._read_targets(y, incremental=True, reset=False)
        return table, y, weights_of_samples(where, weights, y)

    def _dtype_for(self, X: Any) -> np.dtype:
        if self.dtype is not None:
            return np.dtype(self.dtype)
        return X.first_block().dtype if isinstance(X, StoredTable) else np.dtype(X.dtype)


def some_labels(where: str, table: StoredTable) -> np.ndarray:
    """Labels (n,) or (n, n_targets) among which are all those of a table, for what reads y."""
    if table.n_targets == 1:
        raise InputError(
            where, "labels of shape (n,) in a stored table", "shape (n, 1)",
            "name the column as text, not in a list, or use y.ravel()",
        )  # fmt: skip
    labels = stored.labels_of(where, table)
    if labels.size > stored.MOST_LABELS:
        raise InputError(
            where, f"at most {stored.MOST_LABELS} classes in a stored table", "more",
            "use a regressor, or name another target",
        )  # fmt: skip
    if table.n_targets is None:
        return np.repeat(labels, 3)  # scikit-learn warns if most labels occur only once
    return np.resize(labels, (labels.size, table.n_targets))


class Weighted(StoredTable):
    """A stored table whose rows also have the weights of their classes.

    Parameters
    ----------
    table : StoredTable
    weigh : callable
        From targets to weights (n,).
    """

    def __init__(self, table: StoredTable, weigh: Callable[[np.ndarray], np.ndarray]) -> None:
        self._table, self._weigh = table, weigh
        super().__init__(table.parts, table.n_features, table.window_rows, table.feature_names)
        self.has_targets, self.has_weights = table.has_targets, True
        self.n_targets, self.n_splits = table.n_targets, table.n_splits

    def blocks(self, part: int, features: bool = True, targets: bool = True) -> Iterator[Block]:
        """As `StoredTable` says."""
        for block in self._table.blocks(part, features, targets):
            if block.y is not None:
                weights = self._weigh(block.y)
                if block.weights is not None:
                    weights = weights * block.weights
                block = replace(block, weights=weights)
            yield block

    def identity(self) -> str:
        """As `StoredTable` says: that of the rows."""
        return self._table.identity()


def balanced(where: str, table: StoredTable, classes: np.ndarray) -> Any:
    """What "balanced" means as class_weight: a dict, or for several labels a list of them."""
    labels, n_columns = [classes], 1
    if table.n_targets is not None:
        n_columns = table.n_targets
        labels = [np.arange(2)] * n_columns
    counts = [np.zeros(len(some), np.int64) for some in labels]
    for block in stored.without_features(table):
        columns = np.asarray(block.y).reshape(-1, n_columns).T
        for count, column, known in zip(counts, columns, labels, strict=True):
            numbers = label_numbers(block.where, column, known)
            count += np.bincount(numbers, minlength=count.size)
    found = [
        class_weights.balanced(known[count > 0], count[count > 0])
        for known, count in zip(labels, counts, strict=True)
    ]
    return found if table.n_targets is not None else found[0]
