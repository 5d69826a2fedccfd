"""Groups: which part of a network's flat parameters belongs to which weights or biases.

A network notes its vector here, so that an optimizer in a loop of the user's own finds the groups
of an array that it is handed. Nothing is kept alive by that.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..kernels.compiler.memory import address_of


class Group(NamedTuple):
    """A part of the flat parameters that one layer's weights or biases take."""

    name: str  # "0.W": layer number and parameter
    start: int
    size: int
    is_weight: bool
    scale: float  # of the parametrisation, see Initializer.parameter_scale
    max_norm: float | None = None  # of each of `n_columns` columns
    n_columns: int = 1


class _Known(NamedTuple):
    owner: weakref.ref[np.ndarray]
    address: int
    groups: Sequence[Group]


_known: dict[int, _Known] = {}  # by the id of the array that owns the memory


def owner_of(values: np.ndarray) -> np.ndarray:
    """The array that owns the memory of a view, which is the same one for all views of it."""
    while isinstance(values.base, np.ndarray):
        values = values.base
    return values


def _address(params: np.ndarray) -> int:
    return address_of(params, "params", params.dtype, params.size)


def remember(params: np.ndarray, groups: Sequence[Group]) -> None:
    """Keep in mind, while its memory lives, what a network's vector consists of."""
    owner = owner_of(params)
    key = id(owner)
    reference = weakref.ref(owner, lambda _: _known.pop(key, None))
    _known[key] = _Known(reference, _address(params), groups)


def groups_of(params: np.ndarray) -> list[Group]:
    """Groups of a network's vector, or of a view of whole groups; else one group of weights."""
    known = _known.get(id(owner_of(params)))
    if known is not None:
        first = (_address(params) - known.address) // params.itemsize
        found = [
            group._replace(start=group.start - first)
            for group in known.groups
            if first <= group.start and group.start + group.size <= first + params.size
        ]
        if sum(group.size for group in found) == params.size:
            return found
    return [Group("params", 0, params.size, True, 1.0)]
