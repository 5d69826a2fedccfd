"""Reading samples for a network: data are read and checked before anything is changed.

Training, evaluation and tracing all start here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import InputError
from ..model.body import Body, Plan, planned
from ..nn import every_layer
from . import checks, columns
from .categories import check_categories
from .targets import Samples, TargetCoder


def matrix(body: Body, where: str, X: Any) -> np.ndarray:
    """Rows to predict, with the network's columns in its order."""
    check_built(body, where)
    order = columns.order_in(where, X, body.feature_names)
    values = checks.matrix(where, "X", X, body.n_features)
    values = values if order is None else values[:, order]
    check_categories(where, body.layers, values)
    return values


def check_built(body: Body, where: str) -> None:
    """Refuse a network that does not know its input columns."""
    if not body.is_built:
        raise InputError(
            where,
            "a network with known input columns",
            "one not built yet",
            "call fit or build(n_features) first",
        )


def read(
    body: Body,
    where: str,
    X: Any,
    y: Any,
    sample_weight: Any,
    search: bool = True,
    labels: np.ndarray | None = None,
) -> tuple[Samples, Plan, TargetCoder]:
    """Samples to train on, with the sizes and the reading of y that they lead to.

    Everything is checked and nothing is changed; `adopt` does that later. If X is not searched for
    nan and infinities here, a fit detects them by their effect.

    labels: those that a new network shall know, if y does not have all of them.
    """
    names = columns.names_of(where, X) if body.feature_names is None else body.feature_names
    order = columns.order_in(where, X, names)
    X, weights = checks.rows(
        where, X, y, sample_weight, body.n_features or None, body.dtype, search
    )
    X = X if order is None else X[:, order]
    plan = plan_for(where, body, X.shape[1], names)
    check_categories(where, body.layers, X)
    coder = body.coder or TargetCoder.learn(
        where, y if labels is None else labels, body.loss, plan.n_outputs
    )
    return Samples(X, coder.encode(where, y, body.dtype), weights), plan, coder


def plan_for(where: str, body: Body, n_features: int, names: columns.Names | None) -> Plan:
    """The sizes of a network for so many columns; `names` are theirs if it has none yet."""
    plan = planned(body, n_features)
    if not (plan.groups or body.is_built):
        raise InputError(
            where, "a layer with a number of units", "none", "end with Dense(n_outputs)"
        )
    names = body.feature_names or names
    return plan if names is None else plan._replace(feature_names=names)


def adopt(body: Body, plan: Plan, coder: TargetCoder) -> None:
    """Build the network if needed, and store how y is read and the names of X's columns."""
    if not body.is_built:
        body.build(plan.n_features)
    body.coder = coder
    if plan.feature_names is not None:
        body.feature_names = plan.feature_names


def undoing(body: Body) -> Callable[[], None]:
    """A function that resets a new network, for a fit that fails because of its data."""
    owners = [body, *every_layer(body.layers)]
    attributes = [vars(owner).copy() for owner in owners]

    def undo() -> None:
        for owner, kept in zip(owners, attributes, strict=True):
            vars(owner).clear()
            vars(owner).update(kept)

    return undo
