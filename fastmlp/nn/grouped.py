"""GroupedDense and PiecewiseLinear: layers that treat input columns, or groups of them, separately.

Embeddings of numbers are made of them, as in the recipes for tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError, InputTypeError, counted
from ..inputs import checks
from ..kernels.compiler.calls import Kernel
from ..kernels.ops import grouped, piecewise
from ..kernels.ops.kind import Kind
from ..kernels.products import matmul, narrow
from ..kernels.tuning import FEW_COLUMNS
from .compiled_layer import CompiledLayer
from .dense import product_for
from .initializers import INITIALIZERS, Initializer
from .layer import LAYERS, refuse_once_bound

_LEAST_WIDTH = 4 * float(np.finfo(np.float32).tiny)  # whose reciprocal float32 holds
_NO_LIMIT = float(np.finfo(np.float32).max)


@LAYERS.register
@dataclass
class GroupedDense(CompiledLayer):
    """A dense layer for each group of neighbouring columns, which sees no other columns.

    Parameters
    ----------
    units : int
        Outputs of each group.
    group_size : int, default 1
        Input columns of each group; there are as many groups as the input has room for.
    initializer : str or Initializer, default "lecun_normal"
        Initial weights, drawn for each group by itself.
    bias_initializer : str or Initializer, default "zeros"
        Initial biases.

    Raises
    ------
    InputError
        For sizes below 1, an unknown initializer and, once sizes are known, for inputs that cannot
        be divided into groups.

    Notes
    -----
    With s columns in a group g, Y[:, g d : (g + 1) d] = X[:, g s : (g + 1) s] W[g s : (g + 1) s] +
    b[g d : (g + 1) d], with the parameters "W" of shape (n_in, units) and "b" of shape (n_out,).
    Penalties and weight decay apply to W.

    References
    ----------
    Gorishniy, Rubachev and Babenko, "On embeddings for numerical features in tabular deep
    learning", NeurIPS 2022, whose embeddings have such layers.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import GroupedDense
    >>> layer = GroupedDense(3, group_size=2)
    >>> layer.forward(np.ones((5, 4))).shape, layer.parameters["W"].shape
    ((5, 6), (4, 3))
    """

    name: ClassVar[str] = "grouped_dense"
    units: int
    group_size: int = 1
    initializer: Any = "lecun_normal"
    bias_initializer: Any = "zeros"

    def __post_init__(self) -> None:
        for name in ("units", "group_size"):
            size = checks.whole_number("GroupedDense", name, getattr(self, name), 1, 2**31 - 1)
            setattr(self, name, size)
        self.initializer: Initializer = INITIALIZERS.make(self.initializer, Initializer)
        self.bias_initializer: Initializer = INITIALIZERS.make(self.bias_initializer, Initializer)

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        """The kernels for groups of its size."""
        return grouped.KIND if self.group_size > 1 else grouped.OF_ONE

    @property
    def options(self) -> tuple[float, ...]:
        return (float(self.group_size),)

    @property
    def kernels(self) -> dict[str, Kernel]:
        if self.group_size == 1:
            return {}
        few = self.units <= FEW_COLUMNS
        return {
            "product": product_for(self.units),
            "back_product": matmul.product_of_panel,
            "weight_gradient": narrow.weight_gradient if few else matmul.weight_gradient,
        }

    def build(self, n_in: int) -> int:
        if n_in % self.group_size:
            raise InputError(
                repr(self), f"inputs in groups of {counted(self.group_size, 'column')}",
                counted(n_in, "column"), "choose another group_size",
            )  # fmt: skip
        if self.n_out is None:
            self.n_out = n_in // self.group_size * self.units
        return super().build(n_in)

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        assert self.n_in is not None
        assert self.n_out is not None
        return {"W": (self.n_in, self.units), "b": (self.n_out,)}

    def step_scale(self, key: str) -> float:
        return self.initializer.parameter_scale(self.group_size) if key == "W" else 1.0

    def __setattr__(self, name: str, value: Any) -> None:
        refuse_once_bound(self, name, ("units", "group_size"))
        super().__setattr__(name, value)

    def _groups(self) -> Iterator[tuple[slice, slice]]:
        """Inputs and outputs of each group."""
        for group in range(len(self.parameters["W"]) // self.group_size):
            yield (
                slice(group * self.group_size, (group + 1) * self.group_size),
                slice(group * self.units, (group + 1) * self.units),
            )

    def initialize(self, rng: np.random.Generator) -> None:
        W, b = self.parameters["W"], self.parameters["b"]
        for inputs, outputs in self._groups():
            W[inputs] = self.initializer.draw(rng, self.group_size, self.units)
            b[outputs] = self.bias_initializer.draw(rng, 1, self.units)[0]

    def initialize_from(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        W, b = self.parameters["W"], self.parameters["b"]
        for inputs, outputs in self._groups():
            W[inputs] = self.initializer.draw_for(rng, X[:, inputs], self.units)
            b[outputs] = self.bias_initializer.draw_for_outputs(rng, X[:, inputs] @ W[inputs])
        return self.forward(X)


@LAYERS.register
@dataclass
class PiecewiseLinear(CompiledLayer):
    """Encodes each number by how far it has come through each bin of its column.

    A dense layer after it computes a piecewise linear function of each column.

    Parameters
    ----------
    edges : sequence of sequence of float
        For each column the edges of its bins in ascending order, at least two; all columns have
        the same number. `quantile_edges` computes them from data.

    Raises
    ------
    InputError
        For edges that do not ascend, or are not finite, and for columns with different numbers.

    Notes
    -----
    With edges b_0 < ... < b_k it is y_j = (x - b_j) / (b_{j+1} - b_j), at least 0 and at most 1,
    except that the first goes below 0 and the last above 1. A bin of no width gives 0, and is
    neither the first nor the last.

    References
    ----------
    Gorishniy, Rubachev and Babenko, "On embeddings for numerical features in tabular deep
    learning", NeurIPS 2022.

    Examples
    --------
    >>> from fastmlp import PiecewiseLinear
    >>> PiecewiseLinear([[0.0, 1.0, 3.0]]).forward([[0.5], [2.0], [5.0]])
    array([[0.5, 0. ],
           [1. , 0.5],
           [1. , 2. ]])
    """

    name: ClassVar[str] = "piecewise_linear"
    kind: ClassVar[Kind] = piecewise.KIND
    edges: Any

    def __setattr__(self, name: str, value: Any) -> None:
        refuse_once_bound(self, name, ("edges",))
        if name != "edges":
            super().__setattr__(name, value)
            return
        super().__setattr__(name, self._checked(value))
        self.n_in = len(self.edges)
        self.numbers = tuple(self.lines().ravel().tolist())

    @staticmethod
    def _checked(edges: Any) -> tuple[tuple[float, ...], ...]:
        where, advice = "PiecewiseLinear", "write [[0.0, 1.0, 2.0], [5.0, 6.0, 9.0]]"
        if not isinstance(edges, Iterable) or isinstance(edges, str):
            raise InputTypeError(where, "edges for each column", type(edges).__name__, advice)
        try:
            made = np.array([list(column) for column in edges], np.float64)
        except (TypeError, ValueError):
            raise InputError(
                where, "edges as numbers, as many for each column", "others", advice
            ) from None
        if made.ndim != 2 or made.shape[1] < 2:
            raise InputError(where, "at least two edges for each column", "fewer", advice)
        if not (np.isfinite(made).all() and (np.diff(made, axis=1) >= 0).all()):
            raise InputError(where, "finite edges in ascending order", "others", advice)
        return tuple(map(tuple, made.tolist()))

    def __repr__(self) -> str:
        return f"PiecewiseLinear(<{self.n_bins} bins for {counted(len(self.edges), 'column')}>)"

    @property
    def n_bins(self) -> int:
        """Bins of each column."""
        return len(self.edges[0]) - 1

    def build(self, n_in: int) -> int:
        if self.n_out is None:
            self.n_out = len(self.edges) * self.n_bins
        return super().build(n_in)

    def lines(self) -> np.ndarray:
        """Scale, start, lower and upper limit of each output.

        Returns
        -------
        ndarray of shape (4, n_out)
            Float64.
        """
        edges = np.array(self.edges)
        start, width = edges[:, :-1], np.diff(edges, axis=1)
        is_bin = width > _LEAST_WIDTH
        scale = np.divide(1.0, width, out=np.zeros_like(width), where=is_bin)
        low, high = np.zeros_like(width), np.where(is_bin, 1.0, 0.0)
        for column, bins in enumerate(is_bin):
            places = np.flatnonzero(bins)
            if places.size:
                first, last = places[0], places[-1]
                low[column, first], high[column, last] = -_NO_LIMIT, _NO_LIMIT
                start[column, last + 1 :] = _NO_LIMIT  # which nothing reaches
        return np.array([part.ravel() for part in (scale, start, low, high)])

    @property
    def options(self) -> tuple[float, ...]:
        return self.numbers

    @property
    def settings(self) -> tuple[Any, ...]:
        return (id(self.numbers),)  # they never change, and are too many to compare


def quantile_edges(X: Any, n_bins: int = 48) -> list[list[float]]:
    """Edges of bins with about as many rows in each, for `PiecewiseLinear`.

    Parameters
    ----------
    X : array of shape (n, n_columns)
        Numbers; at least one row.
    n_bins : int, default 48
        Bins of each column. A column of fewer different numbers has bins of no width at its end.

    Returns
    -------
    list of list of float
        n_bins + 1 edges for each column.

    Raises
    ------
    InputError
        For numbers that are not finite, and fewer than one bin.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.nn.grouped import quantile_edges
    >>> quantile_edges(np.arange(9.0).reshape(-1, 1), 4)
    [[0.0, 2.0, 4.0, 6.0, 8.0]]
    """
    checks.whole_number("quantile_edges", "n_bins", n_bins, 1)
    X = checks.matrix("quantile_edges", "X", checks.array("quantile_edges", "X", X))
    quantiles, found = np.quantile(X, np.linspace(0, 1, n_bins + 1), axis=0).T, []
    for column in quantiles:
        edges = np.unique(column)
        found.append(np.pad(edges, (0, n_bins + 1 - edges.size), mode="edge").tolist())
    return found
