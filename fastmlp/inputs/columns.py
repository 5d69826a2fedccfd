"""Columns by name: a data frame's columns are put into the order that a network was trained on.

Frames of pandas, polars, pyarrow and other libraries that name columns are read in the same way, by
scikit-learn's rules; arrays have no names, so the order of their columns counts.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from ..errors import InputError, InputTypeError, counted

Names = tuple[str, ...]

_LISTED = 10  # maximum number of names in a message
_COMPARED = 1000  # maximum number of names that a missing one is compared with


def names_of(where: str, X: Any) -> Names | None:
    """Names of a frame's columns if all of them are text; None for arrays and other names."""
    labels = _labels(X)
    if not labels:
        return None
    texts = [isinstance(label, str) for label in labels]
    if not any(texts):
        return None
    if not all(texts):
        kinds = " and ".join(sorted({type(label).__name__ for label in labels}))
        raise InputTypeError(
            where, "X with column names that are all text", f"names of type {kinds}",
            "rename the columns, or pass an array without names",
        )  # fmt: skip
    names = tuple(str(label) for label in labels)
    if len(set(names)) < len(names):
        twice = [name for name, count in Counter(names).items() if count > 1]
        raise InputError(
            where, "X with a different name for every column", f"{_listed(twice)} more than once",
            "rename or drop those columns",
        )  # fmt: skip
    return names


def whole_number_names(X: Any) -> Names | None:
    """Names of a frame's columns, as text, if all are different whole numbers; else None."""
    labels = _labels(X) or ()
    are_numbers = all(isinstance(one, Integral) and not isinstance(one, bool) for one in labels)
    if not labels or not are_numbers or len(set(labels)) < len(labels):
        return None
    return tuple(map(str, labels))


def _labels(X: Any) -> Sequence[Any] | None:
    """A table's column names, or None if it is not a table with names."""
    if isinstance(X, np.ndarray) or len(getattr(X, "shape", ())) != 2:
        return None
    labels = getattr(X, "column_names", None)  # in pyarrow, `columns` are the columns themselves
    if labels is None:
        labels = getattr(X, "columns", None)
    return None if labels is None else list(labels)


def order_in(where: str, X: Any, wanted: Names | None) -> np.ndarray | None:
    """Positions of the wanted columns in a frame, or None if X can be used unchanged.

    X must have exactly these columns; any order is accepted.
    """
    found = names_of(where, X)
    if found is None or wanted is None:
        return None
    return places(where, found, wanted, what="X with the")


def places(
    where: str, found: Names, wanted: Names, *, what: str = "the", extra: bool = False
) -> np.ndarray | None:
    """Positions of the wanted names among those found; None if both are equal, in order.

    The error lists all missing names, and all unknown ones unless `extra` columns are allowed.
    """
    if found == wanted:
        return None
    position = {name: place for place, name in enumerate(found)}
    missing = [name for name in wanted if name not in position]
    known = set(wanted)
    others = [] if extra and not missing else [name for name in found if name not in known]
    if missing or others:
        raise _misfit(
            where, f"{what} {counted(len(wanted), 'column')} of training", missing, others, extra
        )
    return np.array([position[name] for name in wanted], np.intp)


def _misfit(
    where: str, expected: str, missing: list[str], others: list[str], extra: bool
) -> InputError:
    """The error that lists missing and new names, and suggests which new ones may be meant."""
    parts = [f"none named {_listed(missing)}"] if missing else []
    if others and not extra:
        parts.append(f"others named {_listed(others)}")
    near = _near(missing, others)
    if near:
        meant = " and ".join(f"{name!r} by {other!r}" for name, other in near)
        advice = f"did you mean {meant}? rename the column{'' if len(near) == 1 else 's'}"
    elif missing:
        advice = f"add the column{'' if len(missing) == 1 else 's'} or train again"
    else:
        advice = "leave them out"
    return InputError(where, expected, " and ".join(parts), advice)


def _near(missing: list[str], others: list[str]) -> list[tuple[str, str]]:
    """Missing names, each with the most similar new name, ignoring case."""
    if len(missing) > _LISTED or len(others) > _COMPARED:
        return []
    folded = {name.casefold(): name for name in others if isinstance(name, str)}
    return [
        (name, folded[near])
        for name in missing
        for near in difflib.get_close_matches(name.casefold(), folded, 1)
    ]


def _listed(names: list[str]) -> str:
    """Names in quotes, separated by commas; only the first few of many."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(map(repr, names[:_LISTED])) + more


def by_name(where: str, X: Any, wanted: Names | None) -> Any:
    """A frame, a row of a pandas frame or a mapping from names to numbers, in training order.

    Values without names are returned unchanged.
    """
    if isinstance(X, Mapping):
        return _row_of_mapping(where, X, wanted)
    order = order_in(where, X, wanted)
    if order is None and wanted is not None:
        order = _order_of_series(where, X, wanted)
    return X if order is None else np.asarray(X)[..., order]


def _row_of_mapping(where: str, X: Mapping[Any, Any], wanted: Names | None) -> np.ndarray:
    if wanted is None:
        raise InputError(
            where, "an array, as the network does not know the names of its columns",
            "a row by name", "train on a data frame, or set network.feature_names",
        )  # fmt: skip
    places(where, tuple(X), wanted, what="a row with the")
    if any(np.ndim(X[name]) for name in wanted):
        raise InputError(
            where, "one number for each name", "several", "pass a data frame for several rows"
        )
    return np.array([X[name] for name in wanted])


def _order_of_series(where: str, X: Any, wanted: Names) -> np.ndarray | None:
    """As `order_in`, for a row of a pandas frame, whose index has the column names."""
    index = getattr(X, "index", None)
    if isinstance(X, np.ndarray) or len(getattr(X, "shape", ())) != 1 or callable(index):
        return None
    names = tuple(() if index is None else index)
    if not names or not all(isinstance(name, str) for name in names):
        return None
    return places(where, names, wanted, what="a row with the")
