"""Layers made of layers: Residual, which adds its input, and Columns, which splits the columns.

They can be used wherever a layer can, including inside each other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from ..errors import InputError, InputTypeError, counted
from ..inputs import checks
from .chain import chain_sizes, initialize_from
from .layer import LAYERS, Layer


class Container(Layer):
    """Base of layers that are made of others; `inner` has these by their places."""

    @property
    def inner(self) -> dict[str, Layer]:
        raise NotImplementedError

    def with_layers(self, replace: Callable[[Layer], Layer]) -> Self:
        """A copy with each inner layer replaced by `replace(layer)`.

        Parameters
        ----------
        replace : callable
            Takes a layer and returns the one that replaces it.

        Returns
        -------
        Layer
            Of the same class, not yet part of a network.
        """
        raise NotImplementedError

    def __copy__(self) -> Self:
        return self.with_layers(copy.copy)

    def _twin(self, **attributes: Any) -> Self:
        made = object.__new__(type(self))
        vars(made).update(vars(self) | attributes)
        vars(made).pop("is_taken", None)
        return made


def _chain(where: str, layers: Any) -> tuple[Layer, ...]:
    """A sequence of layers, as users pass it."""
    given = layers if isinstance(layers, Iterable) and not isinstance(layers, str) else None
    found = None if given is None else tuple(given)
    if found is None or not all(isinstance(layer, Layer) for layer in found):
        wrong = [] if found is None else [x for x in found if not isinstance(x, Layer)]
        got = type(wrong[0] if wrong else layers).__name__
        raise InputTypeError(where, "a list of layers", got, "write [Dense(32), ReLU(), ...]")
    return found


def _forward(layers: Iterable[Layer], values: np.ndarray, training: bool) -> np.ndarray:
    for layer in layers:
        values = layer.forward(values, training=training)
    return values


def _backward(layers: Sequence[Layer], flowing: np.ndarray) -> np.ndarray:
    for layer in reversed(layers):
        flowing = layer.backward(flowing)
    return flowing


@LAYERS.register
@dataclass
class Residual(Container):
    """Adds its input to the output of its layers.

    Parameters
    ----------
    layers : sequence of Layer
        In order, at least one; the last must have as many columns as the input.

    Raises
    ------
    InputError
        For no layers and, once sizes are known, for layers that change the number of columns.

    Notes
    -----
    y = x + f(x).

    References
    ----------
    He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import Dense, ReLU, Residual
    >>> layer = Residual([Dense(3, initializer="zeros"), ReLU()])
    >>> layer.forward(np.array([[1.0, 2.0, 3.0]]))
    array([[1., 2., 3.]])
    """

    name: ClassVar[str] = "residual"
    layers: Sequence[Layer]

    def __post_init__(self) -> None:
        self.layers: tuple[Layer, ...] = _chain("Residual", self.layers)
        if not self.layers:
            raise InputError("Residual", "at least one layer", "none", "start with Dense(n_units)")

    def __repr__(self) -> str:
        return f"Residual([{', '.join(map(repr, self.layers))}])"

    @property
    def inner(self) -> dict[str, Layer]:
        return {f"{number}": layer for number, layer in enumerate(self.layers)}

    def with_layers(self, replace: Callable[[Layer], Layer]) -> Self:
        return self._twin(layers=tuple(map(replace, self.layers)))

    def specification(self) -> dict[str, Any]:
        return {"name": self.name, "layers": [layer.specification() for layer in self.layers]}

    @classmethod
    def from_specification(cls, fields: dict[str, Any], make: Callable[[Any], Layer]) -> Layer:
        return cls(tuple(make(spec) for spec in fields["layers"]))

    def build(self, n_in: int) -> int:
        n_out = chain_sizes(self.layers, n_in)
        if n_out != n_in:
            raise InputError(
                "Residual", f"layers that give {counted(n_in, 'column')} for as many", f"{n_out}",
                "end with a Dense layer of that size",
            )  # fmt: skip
        return super().build(n_in)

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        X = self._input(X)
        if self.n_in is None:
            self.build(X.shape[1])
        self._values: np.ndarray = _forward(self.layers, X, training) + X
        return self._values

    def initialize_from(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return initialize_from(self.layers, X, rng) + X

    def backward(self, dY: np.ndarray) -> np.ndarray:
        if not hasattr(self, "_values"):
            raise self._before_forward()
        dY = self._incoming(dY, self._values)
        return _backward(self.layers, dY) + dY


class Branch(NamedTuple):
    """Some columns and the layers that they go through; without layers, they are passed on."""

    columns: tuple[int, ...]
    layers: tuple[Layer, ...]


@LAYERS.register
@dataclass(init=False)
class Columns(Container):
    """Sends columns through branches of layers, and concatenates the outputs.

    Parameters
    ----------
    *branches : (int or sequence of int, sequence of Layer)
        Columns, counted from 0, and the layers that they go through. A column may go through
        several branches. Columns that are in no branch are passed on unchanged, after all others.

    Attributes
    ----------
    branches : tuple of Branch
        As given.

    Raises
    ------
    InputError
        For no branches, and for columns that do not exist or occur twice in one branch.

    Notes
    -----
    y = (f1(x[columns 1]), f2(x[columns 2]), ..., x[other columns]), side by side.

    References
    ----------
    Gorishniy, Rubachev and Babenko, "On embeddings for numerical features in tabular deep
    learning", NeurIPS 2022, and Guo and Berkhahn, "Entity embeddings of categorical variables",
    arXiv:1604.06737, 2016, for tables of mixed columns.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import Columns, Dense, Embedding, Network, ReLU
    >>> first = Columns((0, [Embedding(7, 3)]), ([1, 2], [Dense(4), ReLU()]))
    >>> net = Network([first, Dense(2)]).build(4)
    >>> first.n_out  # 3 of the embedding, 4 units and column 3
    8
    >>> sorted(net.named_parameters())
    ['0.0.0.W', '0.1.0.W', '0.1.0.b', '1.W', '1.b']
    """

    name: ClassVar[str] = "columns"
    branches: tuple[Branch, ...]

    def __init__(self, *branches: Any) -> None:
        self.branches = tuple(_branch(number, given) for number, given in enumerate(branches))
        if not branches:
            raise InputError(
                "Columns", "at least one branch", "none", "write Columns(([0, 1], [Dense(4)]))"
            )

    def __repr__(self) -> str:
        inner = (f"({list(b.columns)}, {list(b.layers)})" for b in self.branches)
        return f"Columns({', '.join(inner)})"

    @property
    def inner(self) -> dict[str, Layer]:
        return {
            f"{number}.{place}": layer
            for number, branch in enumerate(self.branches)
            for place, layer in enumerate(branch.layers)
        }

    def with_layers(self, replace: Callable[[Layer], Layer]) -> Self:
        return self._twin(
            branches=tuple(
                Branch(columns, tuple(map(replace, layers))) for columns, layers in self.branches
            )
        )

    def specification(self) -> dict[str, Any]:
        branches = [
            [list(columns), [layer.specification() for layer in layers]]
            for columns, layers in self.branches
        ]
        return {"name": self.name, "branches": branches}

    @classmethod
    def from_specification(cls, fields: dict[str, Any], make: Callable[[Any], Layer]) -> Layer:
        branches = fields["branches"]
        return cls(*((columns, [make(spec) for spec in specs]) for columns, specs in branches))

    @property
    def all_branches(self) -> tuple[Branch, ...]:
        """The given branches and, once built, one without layers for all other columns."""
        taken = {column for branch in self.branches for column in branch.columns}
        rest = tuple(column for column in range(self.n_in or 0) if column not in taken)
        return (*self.branches, Branch(rest, ())) if rest else self.branches

    def build(self, n_in: int) -> int:
        n_out = 0
        for number, (columns, layers) in enumerate(self.branches):
            if max(columns) >= n_in:
                raise InputError(
                    f"Columns, branch {number}", f"columns below {n_in}", f"{max(columns)}",
                    "count columns from 0",
                )  # fmt: skip
            n_out += chain_sizes(layers, len(columns))
        n_out += n_in - len({column for branch in self.branches for column in branch.columns})
        if self.n_out is None:
            self.n_out = n_out
        return super().build(n_in)

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        X = self._input(X)
        if self.n_in is None:
            self.build(X.shape[1])
        ends = [
            _forward(layers, np.ascontiguousarray(X[:, columns]), training)
            for columns, layers in self.all_branches
        ]
        self._widths = [end.shape[1] for end in ends]
        self._values: np.ndarray = np.concatenate(ends, axis=1)
        return self._values

    def initialize_from(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        ends = [
            initialize_from(layers, np.ascontiguousarray(X[:, columns]), rng)
            for columns, layers in self.all_branches
        ]
        return np.concatenate(ends, axis=1)

    def backward(self, dY: np.ndarray) -> np.ndarray:
        if not hasattr(self, "_values"):
            raise self._before_forward()
        dY = self._incoming(dY, self._values)
        dX = np.zeros((len(dY), self.n_in or 0), dY.dtype)
        starts = np.cumsum([0, *self._widths])
        for number in reversed(range(len(self.all_branches))):  # the order of the fused step
            columns, layers = self.all_branches[number]
            end = dY[:, starts[number] : starts[number + 1]]
            dX[:, list(columns)] += _backward(layers, np.ascontiguousarray(end))
        return dX


def _branch(number: int, given: Any) -> Branch:
    """A branch as users pass it."""
    where = f"Columns, branch {number}"
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise InputTypeError(
            where, "a pair of columns and layers", type(given).__name__,
            "write ([0, 1], [Dense(4), ReLU()])",
        )  # fmt: skip
    columns, layers = given
    listed = (
        columns if isinstance(columns, Iterable) and not isinstance(columns, str) else [columns]
    )
    found = tuple(checks.whole_number(where, "a column", column, 0) for column in listed)
    if not found or len(set(found)) < len(found):
        got = "one twice" if found else "none"
        raise InputError(where, "some columns, each once", got, "list them by their numbers")
    return Branch(found, _chain(where, layers))
