"""Layers and losses used on their own, with arrays that fit and others.

What they answer is compared with a few lines of NumPy where there are such.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp import Dense, Dropout
from fastmlp.layers import ACTIVATIONS
from fastmlp.losses import LOSSES

from . import draw
from .case import Case, Refused
from .draw import Drawn, chance, one_of


def _dense(case: Case) -> None:
    """Dense forward and backward, with its arrays swapped in between."""
    rng = case.rng
    n, n_in, n_out = (int(one_of(rng, 1, 3, 8, 17)) for _ in range(3))
    dtype = one_of(rng, np.float32, np.float64)
    values = rng.normal(size=(n, n_in)).astype(dtype)
    layer = Dense(n_in, n_out)
    if chance(rng, 0.7):
        layer.initialize_alone(n_in, dtype)
    is_whole = True  # nobody has put other arrays where its own were
    for _ in range(int(rng.integers(2, 6))):
        if chance(rng, 0.4) and layer.parameters:
            key = one_of(rng, "W", "b")
            drawn = draw.vector_like(rng, layer.parameters[key])
            where = one_of(rng, layer.parameters, layer.gradients, None)
            if where is None:
                case.attempt(f"{key} = {drawn.label}", lambda: setattr(layer, key, drawn.value))  # noqa: B023
            else:
                is_whole = False
                case.attempt(f"memory of {key} = {drawn.label}", lambda: where.__setitem__(key, drawn.value))  # noqa: B023
        if chance(rng, 0.1):
            name = one_of(rng, "n_in", "n_out")
            case.attempt(f"{name} = 50", lambda: setattr(layer, name, 50), (), (AttributeError,))  # noqa: B023
        X = draw.rows(rng, values, case.folder)
        case.attempt(f"forward {X.label}", lambda: layer.forward(X.value), [X.value], (AttributeError,))  # noqa: B023
        dY = draw.rows(rng, rng.normal(size=(n, n_out)).astype(dtype), case.folder)
        if hasattr(dY.value, "toarray"):
            continue
        found = case.attempt(f"backward {dY.label}", lambda: layer.backward(dY.value), [dY.value], (AttributeError,))  # noqa: B023
        if (
            is_whole and not isinstance(found, Refused) and isinstance(found, np.ndarray)
            and dY.plain is not None and found.shape == (n, n_in)
            and np.isfinite(layer.W).all()
        ):  # fmt: skip
            wanted = np.float64(dY.plain) @ np.float64(layer.W).T
            if not np.allclose(found, wanted, rtol=1e-3, atol=1e-3):
                case.fail("Dense.backward: not dY W^T")


def _activation(case: Case) -> None:
    rng = case.rng
    kind = one_of(rng, *ACTIVATIONS, Dropout)
    layer = kind()
    values = rng.normal(size=(int(one_of(rng, 1, 3, 9)), int(one_of(rng, 1, 3, 17))))
    for _ in range(3):
        X = draw.rows(rng, values, case.folder)
        training = chance(rng, 0.5)
        found = case.attempt(f"{kind.__name__}.forward {X.label}", lambda: layer.forward(X.value, training=training), [X.value])  # noqa: B023
        if isinstance(found, np.ndarray) and X.plain is not None and kind is not Dropout:
            wanted = kind().forward(np.float64(X.plain))
            if not np.allclose(found, wanted, rtol=1e-3, atol=1e-3):
                case.fail(f"{kind.__name__}.forward {X.label}: other numbers than for plain rows")
        dY = draw.rows(rng, values, case.folder)
        case.attempt(f"{kind.__name__}.backward {dY.label}", lambda: layer.backward(dY.value), [dY.value])  # noqa: B023
        if chance(rng, 0.2):
            name = one_of(rng, "_slope", "alpha", "rate", "code", "_last")
            value = one_of(rng, np.zeros(1), np.zeros((2, 2), np.float16), None, 10**6, np.nan)
            case.tell(f"{name} = {value!r:.30}")
            setattr(layer, name, value)
            try:
                layer.forward(values)
                layer.backward(values)
            except Exception:
                return


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
    case.attempt(f"{name}.value_and_gradient {label}", lambda: loss.value_and_gradient(*arrays.values()),
                 list(arrays.values()), (AttributeError,))  # fmt: skip
    case.attempt(f"{name}.link {label}", lambda: loss.link(arrays["outputs"]), [arrays["outputs"]], (AttributeError, IndexError))


def _loss_of_rows(case: Case) -> None:
    """Losses given targets as kernels have them."""
    rng = case.rng
    loss = LOSSES[one_of(rng, *LOSSES.names)]()
    n, k = int(one_of(rng, 1, 4, 9)), int(one_of(rng, 1, 3, 5))
    outputs, nothing = rng.normal(size=(n, k)), np.empty(0)
    labels = one_of(rng, np.zeros(n, np.int32), np.full(n, k, np.int32), np.full(n, -1, np.int32),
                    np.full(n, 10**6, np.int32), np.zeros(n, np.int64), np.zeros(0, np.int32))  # fmt: skip
    case.attempt(f"{loss.name}.rows", lambda: loss.rows(outputs, labels, nothing, nothing), (), (AttributeError,))


def run(case: Case) -> None:
    """A case of this kind."""
    one_of(case.rng, *[_dense, _activation, _loss] * 4, _loss_of_rows)(case)
