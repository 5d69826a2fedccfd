"""Stored tables for a network: columns in its order, and what a fit must know before it reads rows.

Classes and weights take a pass over their own columns only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..datasets.blocks import Block
from ..datasets.stored import StoredTable
from ..errors import InputError, counted
from ..model.body import Body, Plan
from ..nn.losses import Loss
from . import checks, columns, samples
from .targets import Encoded, Samples, TargetCoder, distinct

MOST_LABELS = 10_000  # to be told apart; with more there is no need to read on


def refuse_others(where: str, y: Any, sample_weight: Any) -> None:
    """Refuse targets and weights beside a stored table, which has its own."""
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise InputError(
                where, f"no {name} beside a stored table", type(value).__name__,
                "name the column when you open the table",
            )  # fmt: skip


def refuse(where: str, X: Any, advice: str) -> None:
    """Refuse a stored table where all rows are needed at once."""
    if isinstance(X, StoredTable):
        raise InputError(where, "rows in memory", "a stored table", advice)


def to_predict(body: Body, where: str, table: StoredTable) -> StoredTable:
    """The table with the columns that a network was built for."""
    samples.check_built(body, where)
    return in_order(where, table, body.feature_names, body.n_features)


def in_order(
    where: str, table: StoredTable, wanted: tuple[str, ...] | None, n_features: int
) -> StoredTable:
    """The table with the columns of a network, in its order; n_features: 0 if there are none."""
    names = table.feature_names
    if names is not None and wanted is not None:
        if columns.places(where, names, wanted, what="a table with the") is not None:
            table = table.in_order(wanted)
    elif n_features and table.n_features != n_features:
        raise InputError(
            where, f"a table with {counted(n_features, 'feature column')}",
            f"{table.n_features}", "choose those that the network was built for",
        )  # fmt: skip
    return table


def check_targets(where: str, table: StoredTable) -> None:
    if not table.has_targets:
        raise InputError(
            where, "a table with a target", "one without", "name it when you open the table"
        )


def read(body: Body, where: str, table: StoredTable) -> tuple[StoredTable, Plan, TargetCoder]:
    """As `samples.read`, but for the rows, which are checked when they are read."""
    check_targets(where, table)
    table = in_order(where, table, body.feature_names, body.n_features)
    plan = samples.plan_for(where, body, table.n_features, table.feature_names)
    coder = body.coder or _learned(where, table, body.loss, plan.n_outputs)
    check_weights(where, table, body.dtype)
    return table, plan, coder


def _learned(where: str, table: StoredTable, loss: Loss, n_outputs: int) -> TargetCoder:
    """How targets are read: by their shape, and by all labels if they are labels."""
    shape = (2,) if table.n_targets is None else (2, table.n_targets)
    if loss.task == "regression" or table.n_targets is not None:
        return TargetCoder.learn(where, np.zeros(shape), loss, n_outputs)
    return TargetCoder.learn(where, labels_of(where, table), loss, n_outputs)


def labels_of(where: str, table: StoredTable) -> np.ndarray:
    """The labels of all rows, sorted, or the first of them if they are more than `MOST_LABELS`."""
    labels = np.empty(0, np.int8)
    for block in without_features(table):
        assert block.y is not None
        found = distinct(block.where, block.y)
        if labels.size:
            found = distinct(where, np.concatenate([labels, found]))
        labels = found
        if labels.size > MOST_LABELS:
            break
    return labels


def without_features(table: StoredTable) -> Iterator[Block]:
    """Targets and weights of all rows, some at a time."""
    for number in range(len(table.parts)):
        yield from table.blocks(number, features=False)


def targets_of(
    where: str, X: Any, y: Any = None, sample_weight: Any = None
) -> tuple[Any, np.ndarray | None]:
    """Targets and weights of all rows: those of a stored table, or those beside rows in memory."""
    if not isinstance(X, StoredTable):
        return y, sample_weight
    refuse_others(where, y, sample_weight)
    check_targets(where, X)
    ys, weights = list[Any](), list[Any]()
    for block in without_features(X):
        ys.append(block.y)
        weights.append(block.weights)
    return np.concatenate(ys), np.concatenate(weights) if X.has_weights else None


def check_weights(where: str, table: StoredTable, dtype: np.dtype) -> None:
    """Refuse weights that are negative or not finite, or all zero."""
    if not table.has_weights:
        return
    largest = np.zeros(1, dtype)
    for block in without_features(table):
        found = checks.weights_of(block.where, block.weights, block.n_rows, dtype)
        largest = np.maximum(largest, found.max(keepdims=True))
    checks.some_weight(where, largest)


def held_out(body: Body, where: str, plan: Plan, coder: TargetCoder, table: StoredTable) -> Samples:
    """Rows to judge a network by, which need not be built; targets are read now, rows each time."""
    check_targets(where, table)
    table = in_order(where, table, plan.feature_names, plan.n_features)
    labels, numbers, weights = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    for block in without_features(table):
        found = coder.encode(block.where, block.y, body.dtype)
        labels.append(found.labels)
        numbers.append(found.targets)
        if block.weights is not None:
            weights.append(checks.weights_of(block.where, block.weights, block.n_rows, body.dtype))
    encoded = Encoded(np.concatenate(labels), np.concatenate(numbers))
    if not weights:
        return Samples(table, encoded, np.empty(0, body.dtype))
    together = np.concatenate(weights)
    checks.some_weight(where, together)
    return Samples(table, encoded, together)
