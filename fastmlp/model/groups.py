"""Groups: which part of a network's flat parameters belongs to which weights or biases.

A network registers its vector here, so that in a user's own training loop an optimizer can look up
the groups of an array. The registry does not keep arrays alive.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..kernels.compiler.memory import address_of


class Group(NamedTuple):
    """The part of the flat parameters for one layer's weights or biases."""

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


_known: dict[int, _Known] = {}  # keyed by the id of the array that owns the memory


def owner_of(values: np.ndarray) -> np.ndarray:
    """The array that owns the memory of a view; the same array for all its views."""
    while isinstance(values.base, np.ndarray):
        values = values.base
    return values


def _address(params: np.ndarray) -> int:
    return address_of(params, "params", params.dtype, params.size)


def remember(params: np.ndarray, groups: Sequence[Group]) -> None:
    """Register the groups of a network's vector, for as long as its memory exists."""
    owner = owner_of(params)
    key = id(owner)
    reference = weakref.ref(owner, lambda _: _known.pop(key, None))
    _known[key] = _Known(reference, _address(params), groups)


def groups_of(params: np.ndarray) -> list[Group]:
    """Groups of a network's vector, or of a view of whole groups; otherwise one weight group."""
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
