"""Weights that users assign: checked, and copied into the model's own memory.

Users assign averages of models, pruned layers or arrays from a file to `coefs_` and `intercepts_`.
Kernels only get arrays that were checked here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError, InputTypeError, counted
from ..inputs import checks

_ADVICE = "set arrays of the shapes that fit made"


def checked_weights(estimator: Any, dtype: np.dtype) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Copies of `coefs_` and `intercepts_` in `dtype`, whose shapes fit the model and each other.

    Hidden layers may have other sizes than in fit, for example after pruning.
    """
    e, where = estimator, type(estimator).__name__
    n_layers = e.n_layers_ - 1 if hasattr(e, "n_layers_") else len(e.coefs_)
    coefs = _arrays(where, "coefs_", e.coefs_, n_layers)
    intercepts = _arrays(where, "intercepts_", e.intercepts_, n_layers)
    n_in = getattr(e, "n_features_in_", None)
    for i, (W, b) in enumerate(zip(coefs, intercepts, strict=True)):
        n_out = getattr(e, "n_outputs_", None) if i == n_layers - 1 else None
        _expect(where, f"coefs_[{i}]", W, (n_in, n_out), ("n_features", "n_units"))
        _expect(where, f"intercepts_[{i}]", b, (W.shape[1],), ("n_units",))
        n_in = W.shape[1]
    for name, arrays in (("coefs_", coefs), ("intercepts_", intercepts)):
        for i, values in enumerate(arrays):
            arrays[i] = _converted(where, f"{name}[{i}]", values, dtype)
    return coefs, intercepts


def _arrays(where: str, name: str, value: Any, n_layers: int) -> list[np.ndarray]:
    """One array of numbers for each layer."""
    try:
        found = list(value)
    except TypeError:
        raise InputTypeError(
            where, f"{name} as a list of arrays", type(value).__name__, _ADVICE
        ) from None
    if len(found) != n_layers:
        raise InputError(
            where, f"{name} with {counted(n_layers, 'array')}, one for each layer",
            f"{len(found)}", _ADVICE,
        )  # fmt: skip
    names = [f"{name}[{i}]" for i in range(n_layers)]
    return [
        checks.numeric(where, label, checks.array(where, label, values))
        for label, values in zip(names, found, strict=True)
    ]


def _expect(
    where: str,
    name: str,
    values: np.ndarray,
    sizes: tuple[int | None, ...],
    words: tuple[str, ...],
) -> None:
    """Refuse another shape; None in the shape means any number of at least 1."""
    fits = values.ndim == len(sizes) and all(
        n == size or (size is None and n > 0) for n, size in zip(values.shape, sizes, strict=True)
    )
    if not fits:
        shown = [word if n is None else str(n) for n, word in zip(sizes, words, strict=True)]
        wanted = f"({shown[0]},)" if len(shown) == 1 else f"({', '.join(shown)})"
        raise InputError(where, f"{name} of shape {wanted}", f"shape {values.shape}", _ADVICE)


def _converted(where: str, name: str, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A copy in `dtype` if all are finite, also in that type."""
    with np.errstate(over="ignore", under="ignore"):
        copied = np.array(values, dtype, order="C")
    if not np.isfinite(copied).all():
        raise InputError(
            where, f"{name} finite in {dtype.name}", "nan or infinite numbers",
            "set other arrays, or start anew with a clone",
        )  # fmt: skip
    return copied
