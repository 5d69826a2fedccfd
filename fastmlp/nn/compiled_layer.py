"""Layers that are a kind of op: all their computation is in kernels.

Outside of a program such a layer runs its op alone. So a layer-by-layer network and gradient checks
use the same arithmetic as the fused step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, TypeGuard

import numpy as np

from ..kernels import plan
from ..kernels.compiler.calls import Kernel
from ..kernels.compiler.jit import in_python
from ..kernels.compiler.memory import address_of, aligned_zeros
from ..kernels.ops.kind import Kind, Sizes
from ..kernels.products import blocking
from ..kernels.products.tiles import tile_width_of
from ..kernels.rules.activations import activation, identity
from ..kernels.step.alone import run_op
from .layer import Layer


class CompiledLayer(Layer):
    """Base of layers whose forward and backward passes are kernels of one kind of op.

    A subclass names its `kind`. It has at most two parameters: weights with one or two dimensions,
    and one bias per output column. Where each row of the batch is `repeats` rows of a product, all
    of them have the same biases; 0 is for layers without such a product.
    """

    kind: ClassVar[Kind]
    repeats: int = 0
    _alone: _Alone | None = None

    @property
    def options(self) -> tuple[float, ...]:
        """Numbers for the kernels, which are put into the op's record."""
        return ()

    @property
    def settings(self) -> tuple[Any, ...]:
        """What tells its programs from those of a layer with other options."""
        return self.options

    @property
    def kernels(self) -> dict[str, Kernel]:
        """Kernels that those of its kind call, by their fields in the op's record."""
        return {}

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        X = self._input(X)
        if "parameters" not in vars(self):
            self.initialize_alone(X.shape[1], X.dtype)
        if self.buffers.keys() != self.buffer_shapes().keys():
            self.bind_own_buffers(X.dtype)
        dtype = next((values.dtype for values in self.parameters.values()), X.dtype)
        self._alone = _Alone(self, X.astype(dtype, copy=False), training)
        return self._alone.forward()

    def backward(self, dY: np.ndarray) -> np.ndarray:
        if self._alone is None:
            raise self._before_forward()
        return self._alone.backward(self._incoming(dY, self._alone.values))


def is_repeated(layer: Layer | None) -> TypeGuard[CompiledLayer]:
    """Whether each row of the batch is several rows of its product, or may be."""
    return isinstance(layer, CompiledLayer) and layer.repeats > 0


def repeats_of(layer: Layer | None) -> int:
    """Rows that it makes of each row of the batch."""
    return layer.repeats if is_repeated(layer) else 1


def cut_into_blocks(layer: CompiledLayer, op: Any, batch_size: int, itemsize: int) -> None:
    """Write into the record of a layer with `repeats` how its operands are packed."""
    n_out = int(op["weight_width"])
    sizes = blocking.gradient_block(batch_size * layer.repeats, n_out, itemsize, packs=True)
    op["block_rows"], op["block_columns"] = sizes
    op["packs_inputs"] = op["packs_slopes"] = True


def room(layer: Layer | None, op: Any, itemsize: int) -> int:
    """Numbers of memory that a layer's forward and backward pass pack operands into."""
    if not is_repeated(layer):
        return blocking.room(int(op["n_in"]), int(op["n_out"]), itemsize)
    return blocking.room(int(op["weight_rows"]), int(op["weight_width"]), itemsize)


def describe(layer: Layer, op: Any) -> None:
    """Write a layer's sizes into an op's record."""
    op["n_in"], op["n_out"] = layer.n_in or 0, layer.n_out or 0
    shapes = list(layer.parameter_shapes().values())
    if shapes:
        op["weight_rows"] = shapes[0][0] if len(shapes[0]) > 1 else 1
        op["weight_width"] = shapes[0][-1]
        op["block_rows"], op["block_columns"] = blocking.whole_rows(shapes[0][-1])
    op["n_biases"] = shapes[1][0] if len(shapes) > 1 else 0


class _Alone:
    """A layer's op with its own memory, for one batch."""

    def __init__(self, layer: CompiledLayer, X: np.ndarray, training: bool) -> None:
        self.layer, self.X, self.one = layer, X, X.dtype.type(1)
        self.n, n_in = X.shape
        self.job, self.ops = np.zeros(1, plan.JOB), np.zeros(2, plan.OP)
        before, op = self.ops
        before["n_out"], before["source"] = n_in, -1
        describe(layer, op)
        op["as_trained"] = training
        n_out, dtype = int(op["n_out"]), X.dtype
        self.values, self.slopes = (np.empty((self.n, n_out), dtype) for _ in range(2))
        sizes = Sizes(self.n, n_in, n_out, dtype.itemsize)
        self.kept = aligned_zeros(layer.kind.kept_bytes(sizes), np.uint8)
        self.gradient = np.empty((self.n, max(n_in, n_out)), dtype)
        self.turn, self.options = np.zeros(plan.TURN_BYTES, np.uint8), np.array(layer.options)
        of_gradient = 0
        if is_repeated(layer):
            cut_into_blocks(layer, op, self.n, dtype.itemsize)
            of_gradient = self.n * layer.repeats * int(op["block_rows"] + op["block_columns"])
        self.positions = np.arange(self.n * repeats_of(layer), dtype=np.int32)
        self.zeros = np.zeros(max(n_out, in_python(tile_width_of)(dtype.itemsize)), dtype)
        self.panel = np.empty(max(room(layer, op, dtype.itemsize), of_gradient), dtype)
        before["values"] = self._at(X, "X")
        op["values"], op["slopes"] = self._at(self.values), self._at(self.slopes)
        op["kept"], op["options"] = self._at(self.kept), self._at(self.options)
        op["activate"] = activation(identity).address(dtype)
        for field, kernel in layer.kernels.items():
            op[field] = kernel.address(dtype)
        self._point()

    def _at(self, array: np.ndarray, what: str = "workspace") -> int:
        return address_of(array, what, array.dtype, array.size, written=array is not self.X)

    def _point(self) -> None:
        """Write the addresses of all memory into the records."""
        model, call, crew, space = (
            self.job[name][0] for name in ("model", "call", "crew", "space")
        )
        model["ops"], model["n_ops"] = self._at(self.ops), 2
        layer, dtype = self.layer, self.X.dtype
        self.params = _flat(layer.parameters, dtype)
        self.grads, self.buffers = self.params.copy(), _flat(layer.buffers, dtype)
        for name, shapes in (
            ("params", layer.parameter_shapes()), ("grads", layer.parameter_shapes()),
            ("buffers", layer.buffer_shapes()),
        ):  # fmt: skip
            size = sum(map(math.prod, shapes.values()))
            model[name] = address_of(getattr(self, name), name, dtype, size, written=True)
        self.ops[1]["biases"] = self.ops[1]["weight_rows"] * self.ops[1]["weight_width"]
        call["batch_size"] = call["rows_per_step"] = self.n
        crew["n_threads"], crew["shared"], crew["turns"] = 1, -1, self._at(self.turn)
        space["gradient"], space["gradient_width"] = self._at(self.gradient), self.gradient.shape[1]
        space["positions"], space["zeros"] = self._at(self.positions), self._at(self.zeros)
        space["panels"] = self._at(self.panel)
        self.job_at = self._at(self.job)

    def _run(self, kernel: Kernel) -> None:
        run_op(kernel.address(self.X.dtype), self.job_at, 1, self.n, self.one)

    def forward(self) -> np.ndarray:
        self._run(self.layer.kind.forward)
        _spread(self.buffers, self.layer.buffers)
        return self.values.copy()

    def backward(self, dY: np.ndarray) -> np.ndarray:
        """The gradient of X; that of the parameters is written to the layer's gradients."""
        kind, n_in = self.layer.kind, self.X.shape[1]
        self.slopes[...] = dY
        if kind.gradient is not None:
            self._run(kind.gradient)
            _spread(self.grads, self.layer.gradients)
        if kind.backward is None:
            return np.zeros_like(self.X)
        self._run(kind.backward)
        return self.gradient.reshape(-1)[: self.n * n_in].reshape(self.n, n_in).copy()


def _flat(views: Mapping[str, np.ndarray], dtype: np.dtype) -> np.ndarray:
    """One array with copies of all views in order."""
    return np.concatenate([np.empty(0, dtype), *(values.reshape(-1) for values in views.values())])


def _spread(flat: np.ndarray, views: Mapping[str, np.ndarray]) -> None:
    """The inverse of `_flat`: copy the numbers back into the views."""
    start = 0
    for values in views.values():
        values[...] = flat[start : start + values.size].reshape(values.shape)
        start += values.size
