"""Partitions of Dask collections: what is in each, and how they are grouped into lanes.

Lanes depend only on the partitions, so neither the number of workers nor their speed changes the
result. Empty partitions belong to no lane.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...errors import InputError, InputTypeError, counted
from ...inputs.tables import is_sparse


class Facts(NamedTuple):
    """What the caller must know of a partition, whose rows stay where they are.

    Attributes
    ----------
    n_rows, n_targets, n_weights : int
    n_features : int
    dtype : dtype
        Of X as the estimators read it.
    classes : ndarray or None
        The labels that occur, in order.
    counts : ndarray or None
        How often each does.
    """

    n_rows: int
    n_targets: int
    n_weights: int
    n_features: int
    dtype: np.dtype
    classes: np.ndarray | None
    counts: np.ndarray | None


def partitions_of(where: str, X: Any, y: Any, sample_weight: Any) -> list[tuple[Any, ...]]:
    """The parts of X, y and weights that belong together, as delayed objects.

    Parameters
    ----------
    where : str
        For errors.
    X, y, sample_weight
        Dask arrays, frames or bags, or lists of delayed objects or futures; weights may be None.

    Returns
    -------
    list of tuple
    """
    chunks = getattr(X, "chunks", None)
    parts = [_parts(where, "X", X, None), _parts(where, "y", y, chunks)]
    if sample_weight is not None:
        parts.append(_parts(where, "sample_weight", sample_weight, chunks))
    counts = list(map(len, parts))
    if len(set(counts)) > 1 or not counts[0]:
        names = ", ".join(map(str, counts))
        raise InputError(
            where, "X, y and sample_weight in as many partitions, at least one", names,
            "give them the same chunks or divisions",
        )  # fmt: skip
    return list(zip(*parts, strict=True))


def _parts(where: str, name: str, value: Any, chunks: Any) -> list[Any]:
    """Delayed parts of a collection; those of an array have whole rows, as many as in X."""
    if hasattr(value, "rechunk") and hasattr(value, "chunks"):
        if value.ndim > 1 and value.numblocks[1] > 1:
            value = value.rechunk({1: -1})
        has_sizes = chunks is not None and not np.isnan(chunks[0]).any()
        if has_sizes and not np.isnan(value.chunks[0]).any() and value.chunks[0] != chunks[0]:
            if sum(value.chunks[0]) != sum(chunks[0]):
                got = f"{sum(value.chunks[0])} for {sum(chunks[0])} rows of X"
                raise InputError(where, f"one row of {name} for each", got, "drop the others")
            value = value.rechunk({0: chunks[0]})
    if hasattr(value, "to_delayed"):
        return list(np.ravel(np.asarray(value.to_delayed(), dtype=object)))
    if isinstance(value, list | tuple):
        from dask.delayed import Delayed
        from distributed import Future

        if all(isinstance(part, Delayed | Future) for part in value):
            return list(value)
    raise InputTypeError(
        where, f"{name} as a Dask array, frame or bag, or a list of delayed parts or futures",
        type(value).__name__, "use MLPClassifier or MLPRegressor for tables in memory",
    )  # fmt: skip


def look(has_classes: bool, X: Any, y: Any, weights: Any = None) -> Facts:
    """Facts of a partition; workers run this."""
    X, y = _table(X), np.asarray(y)
    shape = np.shape(X)
    classes = counts = None
    if has_classes and y.size:
        classes, counts = np.unique(y, return_counts=True)
    n_weights = len(y) if weights is None else len(weights)
    kinds = X.dtypes.unique().tolist() if hasattr(X, "dtypes") else [X.dtype]
    dtype = np.result_type(*(kind if isinstance(kind, np.dtype) else np.float64 for kind in kinds))
    dtype = dtype if dtype in (np.float32, np.float64) else np.dtype(np.float64)
    width = shape[1] if len(shape) > 1 else 0
    return Facts(shape[0], len(y), n_weights, width, dtype, classes, counts)


def _table(X: Any) -> Any:
    """A partition as a frame, a sparse matrix or an array; bags have lists of rows."""
    return X if hasattr(X, "dtypes") or is_sparse(X) else np.asarray(X)


def check(where: str, facts: Sequence[Facts]) -> list[int]:
    """Numbers of the partitions that have rows, which must be alike.

    Parameters
    ----------
    where : str
        For errors.
    facts : sequence of Facts

    Returns
    -------
    list of int
    """
    for number, one in enumerate(facts):
        if not one.n_rows == one.n_targets == one.n_weights:
            raise InputError(
                f"{where}, partition {number}", f"{counted(one.n_rows, 'row')} in X, y and weights",
                f"{one.n_targets} in y and {one.n_weights} weights",
                "give them the same chunks or divisions",
            )  # fmt: skip
    filled = [number for number, one in enumerate(facts) if one.n_rows]
    if not filled:
        raise InputError(where, "a partition with rows", "only empty ones", "pass some rows")
    widths = {facts[number].n_features for number in filled}
    if len(widths) > 1:
        raise InputError(
            where, "as many columns in each partition", f"{min(widths)} to {max(widths)}",
            "select the same ones",
        )  # fmt: skip
    return filled


def lanes_of(n_rows: Sequence[int], n_lanes: int) -> list[list[int]]:
    """Places of partitions in lanes of about as many rows: each goes where there are fewest.

    Parameters
    ----------
    n_rows : sequence of int
        Of each partition.
    n_lanes : int

    Returns
    -------
    list of list of int
    """
    lanes = [list[int]() for _ in range(min(n_lanes, len(n_rows)))]
    sums = [0] * len(lanes)
    for place in sorted(range(len(n_rows)), key=lambda place: -n_rows[place]):
        lane = sums.index(min(sums))
        lanes[lane].append(place)
        sums[lane] += n_rows[place]
    return [sorted(lane) for lane in lanes]


def joined(dtype: np.dtype, parts: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """X, y and weights of a lane, or X and y; workers run this."""
    tables = [_table(X).astype(dtype) for X, *_ in parts]
    if is_sparse(tables[0]):
        from scipy import sparse

        X = sparse.vstack(tables, format="csr")
    elif hasattr(tables[0], "dtypes"):
        import pandas as pd

        X = pd.concat(tables)
    else:
        X = np.concatenate(tables)
    _, *others = zip(*parts, strict=True)
    rest = [np.concatenate([np.asarray(one) for one in kind]) for kind in others]
    return X, *rest
