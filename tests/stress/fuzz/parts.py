"""Layers and losses used on their own, with arrays that fit and others.

What they answer is compared with a few lines of NumPy where there are such.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from fastmlp import Dense, Dropout
from fastmlp.nn import ACTIVATIONS, Activation
from fastmlp.nn.losses import LOSSES

from . import draw
from .case import Case
from .draw import Drawn, chance, one_of


def _dense(case: Case) -> None:
    """Dense forward and backward, with its arrays swapped in between."""
    rng = case.rng
    n, n_in, n_out = (int(one_of(rng, 1, 3, 8, 17)) for _ in range(3))
    dtype = one_of(rng, np.float32, np.float64)
    values, slopes = (rng.normal(size=(n, k)).astype(dtype) for k in (n_in, n_out))
    layer = Dense(n_in, n_out)
    if chance(rng, 0.7):
        layer.initialize_alone(n_in, dtype)
    is_whole = True  # nobody has put other arrays where its own were
    for _ in range(int(rng.integers(2, 6))):
        if chance(rng, 0.4) and layer.parameters:
            is_whole &= _swap(case, layer)
        if chance(rng, 0.1):
            is_whole = False
            _set(case, layer, one_of(rng, "n_in", "n_out"), 50)
        dY, found = _there_and_back(case, layer, values, slopes)
        if is_whole and isinstance(found, np.ndarray) and dY.plain is not None:
            wanted = np.float64(dY.plain) @ np.float64(layer.W).T
            if found.shape == wanted.shape and not _close(found, wanted):
                case.fail("Dense.backward: not dY W^T")


def _set(case: Case, layer: Any, name: str, value: Any) -> None:
    step = f"{name} = {value!r:.30}"
    case.attempt(step, lambda: setattr(layer, name, value), (), (AttributeError,))


def _swap(case: Case, layer: Dense) -> bool:
    """Set W or b, or what they are views of; says whether they still are views of its memory."""
    rng = case.rng
    key = one_of(rng, "W", "b")
    drawn = draw.vector_like(rng, layer.parameters[key])
    memory = one_of(rng, layer.parameters, layer.gradients, None)
    if memory is None:
        case.attempt(f"{key} = {drawn.label}", lambda: setattr(layer, key, drawn.value))
    else:
        step = f"memory of {key} = {drawn.label}"
        case.attempt(step, lambda: memory.__setitem__(key, drawn.value))
    return memory is None


def _there_and_back(
    case: Case, layer: Any, values: np.ndarray, slopes: np.ndarray, training: bool = False
) -> tuple[Drawn, Any]:
    """Forward with odd rows, backward with odd gradients, which are returned with the answer."""
    also = (AttributeError,)
    X, dY = (draw.rows(case.rng, part, case.folder) for part in (values, slopes))
    name = type(layer).__name__
    found = case.attempt(
        f"{name}.forward {X.label}", lambda: layer.forward(X.value, training), [X.value], also
    )
    is_comparable = isinstance(found, np.ndarray) and X.plain is not None
    if is_comparable and isinstance(layer, Activation):
        wanted = type(layer)().forward(np.float64(X.plain))
        if not _close(found, wanted):
            case.fail(f"{name}.forward {X.label}: other numbers than for plain rows")
    if hasattr(dY.value, "toarray"):
        return dY, None
    return dY, case.attempt(
        f"{name}.backward {dY.label}", lambda: layer.backward(dY.value), [dY.value], also
    )


def _close(found: np.ndarray, wanted: np.ndarray) -> bool:
    return np.allclose(found, wanted, rtol=1e-3, atol=1e-3, equal_nan=True)


def _activation(case: Case) -> None:
    """An activation or dropout, forward and backward, with its options and caches swapped."""
    rng = case.rng
    layer = one_of(rng, *ACTIVATIONS, Dropout)()
    values = rng.normal(size=(int(one_of(rng, 1, 3, 9)), int(one_of(rng, 1, 3, 17))))
    for _ in range(3):
        _there_and_back(case, layer, values, values, chance(rng, 0.5))
    name = one_of(rng, "_slope", "alpha", "rate", "code", "_last")
    value = one_of(rng, np.zeros(1), np.zeros((2, 2), np.float16), None, 10**6, np.nan)
    _set(case, layer, name, value)
    with contextlib.suppress(Exception):  # nonsense may raise anything, as long as it does not die
        layer.forward(values)
        layer.backward(values)


def _loss(case: Case) -> None:
    """Losses called as functions, as losses of the user's own may do."""
    rng = case.rng
    name = one_of(rng, *LOSSES.names)
    loss = LOSSES[name]()
    n, k = int(one_of(rng, 1, 4, 9)), int(one_of(rng, 1, 3, 5))
    if name == "quantile" and chance(rng, 0.5):
        loss = LOSSES[name]((0.1, 0.5, 0.9))
    dtype = one_of(rng, np.float32, np.float64)
    outputs, goals = rng.normal(size=(n, k)).astype(dtype), abs(rng.normal(size=(n, k)))
    arrays: dict[str, Any] = {"outputs": outputs, "targets": goals, "weights": np.ones(n)}
    which = one_of(rng, None, *arrays)
    label = ""
    if which is not None:
        drawn = draw.vector_like(rng, arrays[which])
        arrays[which], label = drawn.value, f"{which} {drawn.label}"
    case.attempt(f"{name}.value_and_gradient {label}",
        lambda: loss.value_and_gradient(*arrays.values()),
                 list(arrays.values()), (AttributeError,))  # fmt: skip
    case.attempt(
        f"{name}.link {label}",
        lambda: loss.link(arrays["outputs"]),
        [arrays["outputs"]],
        (AttributeError, IndexError),
    )


def _loss_of_rows(case: Case) -> None:
    """Losses given targets as kernels have them."""
    rng = case.rng
    loss = LOSSES[one_of(rng, *LOSSES.names)]()
    n, k = int(one_of(rng, 1, 4, 9)), int(one_of(rng, 1, 3, 5))
    outputs, nothing = rng.normal(size=(n, k)), np.empty(0)
    labels = one_of(rng, np.zeros(n, np.int32), np.full(n, k, np.int32), np.full(n, -1, np.int32),
                    np.full(n, 10**6, np.int32), np.zeros(n, np.int64),
                    np.zeros(0, np.int32))  # fmt: skip
    case.attempt(
        f"{loss.name}.rows",
        lambda: loss.rows(outputs, labels, nothing, nothing),
        (),
        (AttributeError,),
    )


def run(case: Case) -> None:
    """A case of this kind."""
    one_of(case.rng, *[_dense, _activation, _loss] * 4, _loss_of_rows)(case)
