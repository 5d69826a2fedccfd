"""Checks of the results of user-defined layers, losses and optimizers.

Missing methods are found before a fit begins, results of a wrong shape or type in the first batch;
later batches are not checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InputError, InputTypeError
from ..inputs import checks
from ..nn import LAYERS, Layer, every_layer
from ..nn.losses import CompiledLoss, Loss, has_kernel, linked
from ..optim.optimizers import has_rule

_NUMBERS = "biuf"


def check_trainable(layers: Sequence[Layer]) -> None:
    """Refuse layers without a backward pass."""
    for layer in every_layer(layers):
        if type(layer) in LAYERS:
            continue
        where = f"{type(layer).__name__}.backward"
        if type(layer).backward is Layer.backward:
            raise InputTypeError(
                where, "a method, which training needs", "none", "define backward(self, dY)"
            )
        checks.takes(where, "a method", layer.backward, "dY")


def check_backward(layer: Layer, dY: np.ndarray, dX: Any) -> None:
    """Refuse a gradient with respect to inputs of another shape than the inputs."""
    if type(layer) not in LAYERS:
        _check_array(f"{layer!r}.backward", "a gradient", dX, (dY.shape[0], layer.n_in))


def check_loss(loss: Loss, outputs: np.ndarray, found: Any) -> None:
    """Refuse invalid results of a loss, and predictions of another shape."""
    if has_kernel(loss):
        if type(loss).link is not CompiledLoss.link:
            linked(loss, outputs)
        return
    where = f"{type(loss).__name__}.value_and_gradient"
    if not (isinstance(found, tuple | list) and len(found) == 2):
        got = type(found).__name__
        raise InputTypeError(where, "a loss and its gradient", got, "return value, gradient")
    value, gradient = found
    if np.ndim(value) or not hasattr(value, "__float__"):
        got = f"shape {np.shape(value)}" if np.ndim(value) else type(value).__name__
        raise InputTypeError(where, "one number as the loss", got, "return the mean of the batch")
    _check_array(where, "a gradient", gradient, outputs.shape)
    if np.isfinite(outputs).all() and not (np.isfinite(value) and np.isfinite(gradient).all()):
        raise InputError(
            where, "a finite loss and gradient for finite outputs", "nan or an infinity",
            "look for divisions by 0, logarithms of 0 and exponentials of large numbers",
        )  # fmt: skip
    linked(loss, outputs)


def _check_array(where: str, what: str, values: Any, shape: tuple[Any, ...]) -> None:
    expected = f"{what} of shape {shape}"
    if np.shape(values) != shape:
        got = "None" if values is None else f"{np.shape(values)}"
        raise InputError(where, expected, got, "return one number for each entry")
    dtype = np.asarray(values).dtype
    if dtype.kind not in _NUMBERS:
        raise InputTypeError(where, f"{expected} of real numbers", f"dtype {dtype}", "convert it")


def check_moved(optimizer: Any, before: np.ndarray, params: np.ndarray, grads: np.ndarray) -> None:
    """Refuse a user-defined optimizer that has not changed the parameters in a whole epoch."""
    if not has_rule(optimizer) and grads.any() and np.array_equal(before, params):
        raise InputError(
            f"{type(optimizer).__name__}.step", "params to be changed in place",
            "the same ones after an epoch", "write params -= ..., or params[...] = ...",
        )  # fmt: skip
