"""Layers in sequence: each gets its number of inputs from the layer before.

Each Dense layer is also told which activation follows, which determines its initial weights.
User-defined layers are checked here for the requirements that all uses share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import InputError, InputTypeError
from ..inputs import checks
from .activations import Identity
from .dense import Dense
from .initializers import default_for
from .layer import LAYERS, Layer


def chain_sizes(layers: Sequence[Layer], n_in: int) -> int:
    """Build all layers one after the other; returns the width of the last one's output."""
    for i, layer in enumerate(layers):
        n_in = layer.build(n_in) if type(layer) in LAYERS else _build_own(layer, n_in)
        if isinstance(layer, Dense):
            after = (
                found.activation_name for found in layers[i + 1 :] if not found.is_before_activation
            )
            layer.default_initializer = default_for(next(after, Identity.name))
    return n_in


def initialize_from(layers: Sequence[Layer], X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Initial values of all layers that suit some inputs; returns the last one's outputs."""
    for layer in layers:
        known = set(vars(layer))
        X = layer.initialize_from(X, rng)
        if type(layer) in LAYERS:  # values for a backward pass, which would stay in memory
            for key in set(vars(layer)) - known:
                delattr(layer, key)
    return X


def leaves(layers: Iterable[Layer], before: str = "") -> Iterator[tuple[str, Layer]]:
    """Layers that contain no others, with their places: "2", or "1.0" inside layer 1."""
    for number, layer in enumerate(layers):
        place = f"{before}{number}"
        if not layer.inner:
            yield place, layer
        for within, inner in layer.inner.items():
            for below, leaf in leaves([inner]):
                yield f"{place}.{within}{below[1:]}", leaf


def every_layer(layers: Iterable[Layer]) -> list[Layer]:
    """All layers, each before those that it contains."""
    found: list[Layer] = []
    for layer in layers:
        found.append(layer)
        if inner := layer.inner:
            found += every_layer(inner.values())
    return found


def _build_own(layer: Layer, n_in: int) -> int:
    """Build a user-defined layer, and check its sizes and parameters."""
    name = type(layer).__name__
    if type(layer).forward is Layer.forward:
        advice = "define forward(self, X, training=False)"
        raise InputTypeError(f"{name}.forward", "a method", "none", advice)
    checks.takes(f"{name}.forward", "a method", layer.forward, "X", training=False)
    n_out: Any = layer.build(n_in)
    if not _is_size(n_out):
        got = type(n_out).__name__ if not isinstance(n_out, int) else f"{n_out}"
        raise InputTypeError(f"{name}.build", "the number of output columns", got, "return it")
    if layer.n_in != n_in or layer.n_out != n_out:
        raise InputError(
            f"{name}.build", f"self.n_in to be {n_in} and self.n_out {n_out}, which it returns",
            f"{layer.n_in} and {layer.n_out}", "set both in build",
        )  # fmt: skip
    shapes: Any = layer.parameter_shapes()
    if not (
        isinstance(shapes, dict)
        and all(isinstance(key, str) for key in shapes)
        and all(isinstance(shape, tuple) for shape in shapes.values())
        and all(_is_size(size, 0) for shape in shapes.values() for size in shape)
    ):
        raise InputTypeError(
            f"{name}.parameter_shapes", "a dict of tuples of whole numbers", "another",
            'return {"scale": (self.n_in,)}, say',
        )  # fmt: skip
    return int(n_out)


def _is_size(value: Any, least: int = 1) -> bool:
    return isinstance(value, int | np.integer) and type(value) is not bool and int(value) >= least
