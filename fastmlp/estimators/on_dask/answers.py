"""Lazy predictions for Dask collections, with one partition for each partition of X.

Predictions for tables in memory are computed at once.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np


def answer(model: Any, name: str, X: Any) -> Any:
    """What a method of the model says to X.

    Parameters
    ----------
    model : MLPClassifier or MLPRegressor
    name : str
        Of a method that has an answer for each row.
    X : Dask array or frame, or table in memory

    Returns
    -------
    Dask array, Dask frame or series, or ndarray
    """
    like = _of_part(model, name, np.zeros((0, model.n_features_in_), model.network_.dtype))
    of_part = functools.partial(_of_part, model, name)
    if hasattr(X, "map_blocks") and hasattr(X, "rechunk"):
        if X.numblocks[1] > 1:
            X = X.rechunk({1: -1})
        if like.ndim == 1:
            return X.map_blocks(of_part, dtype=like.dtype, drop_axis=1, meta=like)
        chunks = X.chunks[0], (like.shape[1],)
        return X.map_blocks(of_part, dtype=like.dtype, chunks=chunks, meta=like)
    if hasattr(X, "map_partitions") and hasattr(X, "columns"):
        return X.map_partitions(functools.partial(_of_frame, of_part), meta=_framed(like, None))
    return getattr(model, name)(X)


def _of_part(model: Any, name: str, X: Any) -> Any:
    """Answers to a partition, which may be empty."""
    if X.shape[0]:
        return getattr(model, name)(X)
    return _asked(model, name)[:0]


def _asked(model: Any, name: str) -> Any:
    """Answers to a row of zeros, whose type and columns are those of all answers."""
    row = np.zeros((1, model.n_features_in_), model.network_.dtype)
    names = getattr(model, "feature_names_in_", None)
    if names is not None:
        import pandas as pd

        row = pd.DataFrame(row, columns=names)
    return getattr(model, name)(row)


def _of_frame(of_part: Any, X: Any) -> Any:
    return _framed(of_part(X), X.index)


def _framed(values: np.ndarray, index: Any) -> Any:
    import pandas as pd

    kind = pd.Series if values.ndim == 1 else pd.DataFrame
    return kind(values, index=index)
