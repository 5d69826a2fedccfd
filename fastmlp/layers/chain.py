"""Layers in a row: each learns its number of inputs from the one before.

And each Dense learns which activation comes next, by which its weights start.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..initializers import default_for
from .activations import Identity
from .base import Layer
from .dense import Dense
from .dropout import Dropout


def chain_sizes(layers: Sequence[Layer], n_in: int) -> int:
    """Build all layers one after the other; returns the width of the last one's output."""
    for i, layer in enumerate(layers):
        n_in = layer.build(n_in)
        if isinstance(layer, Dense):
            after = (found.name for found in layers[i + 1 :] if not isinstance(found, Dropout))
            layer.default_initializer = default_for(next(after, Identity.name))
    return n_in
