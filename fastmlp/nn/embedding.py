"""Embedding: category numbers become learned vectors.

If only some columns are categories, it is used in a branch of `Columns`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..inputs import checks
from ..kernels.ops import embedding
from ..kernels.ops.kind import Kind
from .compiled_layer import CompiledLayer
from .layer import LAYERS


@LAYERS.register
@dataclass
class Embedding(CompiledLayer):
    """Looks each input column up in a table of learned vectors.

    Columns hold category numbers: 0, 1, ..., n_categories - 1. All columns that the layer gets
    share the table; their vectors are concatenated. If columns have different categories, give each
    an Embedding in a branch of `Columns`.

    Parameters
    ----------
    n_categories : int
        Rows of the table, at least 1.
    dim : int
        Length of the vectors, at least 1.

    Raises
    ------
    InputError
        For sizes below 1. If the layer reads a network's inputs, the network refuses rows with
        numbers that are not categories; elsewhere, and in predictors, such a number becomes nan.

    Notes
    -----
    Y[:, i dim : (i + 1) dim] = W[X[:, i]], with the parameter "W" of shape (n_categories, dim),
    drawn from a normal distribution with mean 0 and variance 1, as in PyTorch. Penalties and weight
    decay apply to it. Each step updates the whole table.

    References
    ----------
    Guo and Berkhahn, "Entity embeddings of categorical variables", arXiv:1604.06737, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import Embedding
    >>> layer = Embedding(3, 2)
    >>> Y = layer.forward(np.array([[2.0], [0.0]]))
    >>> Y.shape, bool((Y[0] == layer.parameters["W"][2]).all())
    ((2, 2), True)
    """

    name: ClassVar[str] = "embedding"
    kind: ClassVar[Kind] = embedding.KIND
    n_categories: int
    dim: int

    def __post_init__(self) -> None:
        for name in ("n_categories", "dim"):
            size = checks.whole_number("Embedding", name, getattr(self, name), 1, 2**31 - 1)
            setattr(self, name, size)  # Python's, which cannot overflow

    def build(self, n_in: int) -> int:
        if self.n_out is None:
            self.n_out = n_in * self.dim
        return super().build(n_in)

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"W": (self.n_categories, self.dim)}

    def initialize(self, rng: np.random.Generator) -> None:
        self.parameters["W"][...] = rng.normal(size=(self.n_categories, self.dim))
