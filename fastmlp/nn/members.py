"""Members and SharedDense: several networks in one, which share most of their weights.

Each member has columns of its own next to those of the others, so any other layer may follow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError, InputTypeError, counted
from ..inputs import checks
from ..kernels.compiler.calls import Kernel
from ..kernels.ops import members, shared_dense
from ..kernels.ops.kind import Kind
from ..kernels.products import matmul
from .compiled_layer import CompiledLayer
from .initializers import INITIALIZERS, Initializer
from .layer import LAYERS, refuse_once_bound

_STARTS = ("signs", "normal")
_MOST = 2**31 - 1


@LAYERS.register
@dataclass
class Members(CompiledLayer):
    """Repeats its columns for each of several members, times learned factors of that member.

    Layers after it see one row as the columns of the first member, then those of the second and so
    on; `SharedDense`, `GroupedDense` and `MeanOfMembers` keep them apart.

    Parameters
    ----------
    n_members : int
        How many there are.
    start : {"signs", "normal"}, default "signs"
        The factors before training: -1 or 1 at random, or normally distributed.
    sizes : sequence of int, optional
        Neighbouring columns that stand for one feature, and so begin with the same factor, feature
        by feature. By default each column is one.

    Raises
    ------
    InputError
        For fewer than one member, an unknown start, sizes that are not whole numbers from 1 and,
        once the input is known, for sizes that do not add up to its columns.

    Notes
    -----
    With n columns y_{m n + j} = weight_{m n + j} x_j for member m, with the parameter "weight" of
    shape (n_members n,). Penalties and weight decay do not apply to it.

    References
    ----------
    Gorishniy, Kotelnikov and Babenko, "TabM: Advancing tabular deep learning with
    parameter-efficient ensembling", ICLR 2025, whose TabM-mini begins with such factors.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import Members
    >>> layer = Members(3, sizes=[1, 2])
    >>> abs(layer.forward(np.array([[2.0, 5.0, 7.0]])))
    array([[2., 5., 7., 2., 5., 7., 2., 5., 7.]])
    """

    name: ClassVar[str] = "members"
    kind: ClassVar[Kind] = members.KIND
    n_members: int
    start: str = "signs"
    sizes: Any = None

    def __post_init__(self) -> None:
        where = "Members"
        self.n_members = checks.whole_number(where, "n_members", self.n_members, 1, _MOST)
        if self.start not in _STARTS:
            raise InputError(
                where, f"start to be one of {', '.join(_STARTS)}", repr(self.start), "choose one"
            )
        if self.sizes is None:
            return
        if not isinstance(self.sizes, Iterable) or isinstance(self.sizes, str):
            got = type(self.sizes).__name__
            raise InputTypeError(where, "sizes as a list of whole numbers", got, "write [1, 4, 4]")
        found = (checks.whole_number(where, "sizes", size, 1, _MOST) for size in self.sizes)
        self.sizes: tuple[int, ...] | None = tuple(found)

    def __setattr__(self, name: str, value: Any) -> None:
        refuse_once_bound(self, name, ("n_members",))
        super().__setattr__(name, value)

    def build(self, n_in: int) -> int:
        if self.sizes is not None and sum(self.sizes) != n_in:
            raise InputError(
                repr(self), f"sizes that add up to {counted(n_in, 'column')}", f"{sum(self.sizes)}",
                "pass the columns of each feature",
            )  # fmt: skip
        if self.n_out is None:
            self.n_out = self.n_members * n_in
        return super().build(n_in)

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        assert self.n_out is not None
        return {"weight": (self.n_out,)}

    def initialize(self, rng: np.random.Generator) -> None:
        sizes = np.ones(self.n_in or 0, int) if self.sizes is None else np.array(self.sizes)
        shape = self.n_members, sizes.size
        drawn = rng.normal(size=shape) if self.start == "normal" else rng.choice([-1.0, 1.0], shape)
        self.parameters["weight"][...] = np.repeat(drawn, sizes, axis=1).reshape(-1)


@LAYERS.register
@dataclass
class SharedDense(CompiledLayer):
    """A dense layer that all members share: the same weights for the columns of each of them.

    Parameters
    ----------
    units : int
        Outputs of each member.
    n_members : int
        Into how many members the columns of the input are divided.
    initializer : str or Initializer, default "lecun_normal"
        Initial weights.
    bias_initializer : str or Initializer, default "zeros"
        Initial biases.

    Raises
    ------
    InputError
        For sizes below 1, an unknown initializer and, once sizes are known, for inputs that cannot
        be divided among the members.

    Notes
    -----
    With n columns and d outputs of each member m, Y[:, m d : (m + 1) d] = X[:, m n : (m + 1) n] W +
    b, with the parameters "W" of shape (n, d) and "b" of shape (d,). It takes n_members times as
    long as a Dense layer with as many parameters.

    References
    ----------
    Gorishniy, Kotelnikov and Babenko, "TabM: Advancing tabular deep learning with
    parameter-efficient ensembling", ICLR 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import SharedDense
    >>> layer = SharedDense(5, n_members=2)
    >>> layer.forward(np.ones((4, 6))).shape, layer.parameters["W"].shape
    ((4, 10), (3, 5))
    """

    name: ClassVar[str] = "shared_dense"
    kind: ClassVar[Kind] = shared_dense.KIND
    units: int
    n_members: int
    initializer: Any = "lecun_normal"
    bias_initializer: Any = "zeros"

    def __post_init__(self) -> None:
        for name in ("units", "n_members"):
            size = checks.whole_number("SharedDense", name, getattr(self, name), 1, _MOST)
            setattr(self, name, size)
        self.initializer: Initializer = INITIALIZERS.make(self.initializer, Initializer)
        self.bias_initializer: Initializer = INITIALIZERS.make(self.bias_initializer, Initializer)

    def __setattr__(self, name: str, value: Any) -> None:
        refuse_once_bound(self, name, ("units", "n_members"))
        super().__setattr__(name, value)

    @property
    def repeats(self) -> int:  # type: ignore[override]
        """Rows of its product for each row of the batch."""
        return self.n_members

    @property
    def options(self) -> tuple[float, ...]:
        return (float(self.n_members),)

    @property
    def kernels(self) -> dict[str, Kernel]:
        return {
            "product": matmul.product_of_panel,
            "back_product": matmul.product_of_panel,
            "weight_gradient": matmul.weight_gradient,
        }

    def build(self, n_in: int) -> int:
        if n_in % self.n_members:
            raise InputError(
                repr(self), f"inputs for each of {counted(self.n_members, 'member')}",
                counted(n_in, "column"), "begin with Members(n_members)",
            )  # fmt: skip
        if self.n_out is None:
            self.n_out = self.n_members * self.units
        return super().build(n_in)

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        assert self.n_in is not None
        return {"W": (self.n_in // self.n_members, self.units), "b": (self.units,)}

    def step_scale(self, key: str) -> float:
        n_in = (self.n_in or 1) // self.n_members
        return self.initializer.parameter_scale(n_in) if key == "W" else 1.0

    def initialize(self, rng: np.random.Generator) -> None:
        W, b = self.parameters["W"], self.parameters["b"]
        W[...] = self.initializer.draw(rng, *W.shape)
        b[...] = self.bias_initializer.draw(rng, 1, b.size)[0]

    def initialize_from(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        W, b = self.parameters["W"], self.parameters["b"]
        rows = X.reshape(-1, len(W))  # of all members
        W[...] = self.initializer.draw_for(rng, rows, self.units)
        b[...] = self.bias_initializer.draw_for_outputs(rng, rows @ W)
        return self.forward(X)
