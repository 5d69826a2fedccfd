"""Checks whether values read back from a file equal those that were written.

JSON has neither tuples nor NumPy numbers, so equal lists and plain numbers count as the same; other
types, classes or element types do not.
"""

from __future__ import annotations

import dataclasses
import inspect
import numbers
from typing import Any

import numpy as np

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)

_PLAIN = (type(None), bool, numbers.Number, np.generic, str, list, tuple)
_OF_ITS_PLACE = ("n_in", "n_out", "is_taken")  # attributes that a layer gets from its network


def alike(one: Any, other: Any) -> bool:
    """Whether a setting was read back unchanged; objects without settings compare by class."""
    if dataclasses.is_dataclass(one) and not isinstance(one, type):
        names = [field.name for field in dataclasses.fields(one) if field.init]
        return type(one) is type(other) and all(
            alike(getattr(one, name), getattr(other, name)) for name in names
        )
    if isinstance(one, list | tuple):
        return isinstance(other, list | tuple) and _all_alike(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and _all_alike([*one.items()], [*other.items()])
    if isinstance(one, bool | np.bool_) or isinstance(other, bool):
        return isinstance(one, bool | np.bool_) and isinstance(other, bool) and bool(one) == other
    if isinstance(one, numbers.Real):
        return isinstance(other, numbers.Real) and (one == other or (one != one and other != other))
    if isinstance(one, str):
        return isinstance(other, str) and one == other
    return type(one) is type(other)


def _all_alike(one: Any, other: Any) -> bool:
    return len(one) == len(other) and all(map(alike, one, other))


def loses_settings(value: Any, made: Any, specification: dict[str, Any]) -> bool:
    """Whether an object has settings that its specification, and so its copy `made`, lacks.

    This is possible only in a class with arguments that are not in the specification; they are
    looked for among the plain values that its constructor sets.
    """
    parameters = inspect.signature(type(value)).parameters.values()
    if all(p.name in specification for p in parameters if p.kind in _NAMED):
        return False
    return any(
        isinstance(again, _PLAIN)
        and isinstance(vars(value).get(name), _PLAIN)
        and not alike(vars(value).get(name), again)
        for name, again in vars(made).items()
        if name not in _OF_ITS_PLACE
    )


def same_labels(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """Whether two arrays of labels have the same dtype and the same labels in the same order."""
    if one is None or other is None:
        return one is other
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    # A tuple would come back as a list, which cannot be a label.
    pairs = zip(one.tolist(), other.tolist(), strict=True)
    return all(not isinstance(label, tuple) and alike(label, again) for label, again in pairs)
