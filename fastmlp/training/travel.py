"""The changes of a network by training, sent back from the process that trained a copy.

They are applied to the caller's own objects, including layers, so a remote fit has the same effect
as a local one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..inputs.targets import TargetCoder
from ..model.body import Body
from .history import History


class Trained(NamedTuple):
    """What goes back of a network.

    Attributes
    ----------
    n_features : int
        0 if its rows could not be read.
    feature_names : tuple of str or None
    coder : TargetCoder or None
    learned : ndarray
    layers : list of dict
        What each layer knows beside its parameters; user-defined ones may count something.
    history : History
    """

    n_features: int
    feature_names: tuple[str, ...] | None
    coder: TargetCoder | None
    learned: np.ndarray
    layers: list[dict[str, Any]]
    history: History


def trained(network: Body, history: History) -> Trained:
    """What goes back of a network.

    Parameters
    ----------
    network : Body
    history : History

    Returns
    -------
    Trained
    """
    return Trained(
        network.n_features, network.feature_names, network.coder, network.learned,
        network.known_by_layers(), history,
    )  # fmt: skip


def put_back(network: Body, back: Trained) -> None:
    """Give a network what a copy of it has learned.

    Parameters
    ----------
    network : Body
    back : Trained
    """
    if back.n_features and not network.is_built:
        network.build(back.n_features)
    network.coder, network.feature_names = back.coder, back.feature_names
    network.learned[...] = back.learned
    for (_, layer), known in zip(network.leaves(), back.layers, strict=True):
        vars(layer).update(known)
