"""Lowering: a network becomes a program, a table of ops with the kernels that compute them.

Dense, activation and dropout in a row become one op. A layer, loss or optimizer that has no kernel
makes `can_compile` false, and the layer-by-layer path takes over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .errors import InputError
from .kernels import matmul, plan
from .kernels.activations import activation, identity
from .kernels.calls import Kernel
from .kernels.jit import in_python
from .kernels.ops import activation as activation_op
from .kernels.ops import common, dense, dense_sparse
from .kernels.sums import PART_UNIT, n_parts
from .kernels.tiles import FEW_COLUMNS, tile_width_of
from .layers import LAYERS, Activation, Dense, Dropout, Layer, Rescaling
from .layers.dense import gradient_for_few, product_for
from .losses import LOSSES, CompiledLoss, Loss
from .optimizers import OPTIMIZERS, Group, Optimizer
from .schedules import Schedule

if TYPE_CHECKING:
    from .body import Body


class Sharing(NamedTuple):
    """How threads share the work out, as far as it decides on kernels.

    Attributes
    ----------
    by_columns : bool
        Whether they share out the columns of every op.
    shared : int
        The op whose inputs they share out, or -1.
    sparse : bool
        Whether the first op reads sparse rows.
    """

    by_columns: bool
    shared: int
    sparse: bool


def can_compile(layers: Sequence[Layer], loss: Loss, optimizer: object = None) -> bool:
    """Whether everything has a kernel: built-in classes, and those that name one themselves."""
    return (
        all(_has_kernel(layer, LAYERS, Activation, _BYPASSED_LAYER) for layer in layers)
        and _has_kernel(loss, LOSSES, CompiledLoss, _BYPASSED_LOSS)
        and (
            optimizer is None or _has_kernel(optimizer, OPTIMIZERS, Optimizer, _BYPASSED_OPTIMIZER)
        )
    )


# Methods that are not called where kernels run.
_BYPASSED_LAYER = "forward", "backward", "build", "parameter_shapes", "initialize", "bind"
_BYPASSED_LOSS = "value_and_gradient", "rows", "link"
_BYPASSED_OPTIMIZER = "step", "update", "initial_state"


def _has_kernel(part: Any, built_in: Any, base: type, bypassed: Sequence[str]) -> bool:
    """Whether a part is built in, or names a kernel and leaves the methods alone that it bypasses.

    A class that is derived from another with a kernel may have changed anything, so it has to say
    that its own does the same.
    """
    cls = type(part)
    if cls in tuple(built_in):
        return True
    return "kernel" in vars(cls) and all(
        getattr(cls, name, None) is getattr(base, name) for name in bypassed
    )


def fold(layers: Sequence[Layer]) -> list[list[Layer]]:
    """Layers grouped into ops, each [Dense] [activation] [Dropout] with any part left out."""
    ops: list[list[Layer]] = []
    last = 2
    for layer in layers:
        place = 0 if isinstance(layer, Dense) else 1 if isinstance(layer, Activation) else 2
        if place <= last or not ops:
            ops.append([])
        ops[-1].append(layer)
        last = place
    return ops


class Program(NamedTuple):
    """A network's ops.

    Attributes
    ----------
    ops : ndarray of plan.OP
        Records of sizes and options; kernels are yet to be chosen.
    activations : list of Kernel
        That of each op.
    scale : float
        What inputs are multiplied by before the first op.
    """

    ops: np.ndarray
    activations: list[Kernel]
    scale: float


class Link(NamedTuple):
    """A field of an op's record that a kernel's address goes to."""

    op: int
    field: str
    kernel: Kernel


def lower(network: Body, optimizer: Optimizer, drops: bool = True) -> Program:
    """The program of a built network, with the optimizer's factors for each op's parameters.

    drops: whether dropout is active.
    """
    folded = fold(network.layers)
    ops, activations = _records(network, folded, optimizer), list[Kernel]()
    if not drops:
        ops["dropout"] = 0.0
    parts = 1
    for op in ops[::-1]:
        if op["dense"]:
            op["penalty_parts"], parts = (
                parts,
                in_python(n_parts)(int(op["n_in"]), int(op["n_out"])),
            )
    for layers in folded:
        kernels = [layer.kernel for layer in layers if isinstance(layer, Activation)]
        activations.append(kernels[0] if kernels else activation(identity))
    _check_sizes(network, ops)
    if len(folded) > 1 and [type(layer) for layer in folded[0]] == [Rescaling]:
        # Inputs are multiplied where they are gathered, not in an op of its own.
        return Program(ops[1:].copy(), activations[1:], float(ops[0]["activation_option"]))
    return Program(ops, activations, 1.0)


def _records(network: Body, folded: list[list[Layer]], optimizer: Optimizer) -> np.ndarray:
    """The layers of each op as a record."""
    ops = np.zeros(len(folded), plan.OP)
    factors = dict(
        zip(
            (group.name for group in network.groups),
            optimizer.group_factors(network.groups),
            strict=True,
        )
    )
    starts: dict[str, Group] = {group.name: group for group in network.groups}
    number, column = 0, optimizer.n_columns(network.groups)
    for op, layers in zip(ops, folded, strict=True):
        op["n_in"], op["n_out"] = layers[0].n_in or 0, layers[-1].n_out or 0
        for layer in layers:
            if isinstance(layer, Dense):
                weight, bias = f"{number}.W", f"{number}.b"
                op["dense"], op["max_norm"] = 1, layer.max_norm or 0.0
                op["weights"], op["biases"] = starts[weight].start, starts[bias].start
                op["weight_rate"], op["weight_decay"] = factors[weight]
                op["bias_rate"], op["bias_decay"] = factors[bias]
            elif isinstance(layer, Activation):
                op["activation_option"] = layer.option
            elif isinstance(layer, Dropout):
                op["dropout_stream"], follows = number + 1, isinstance(layer.rate, Schedule)
                op["dropout"] = 1 + column if follows else layer.rate
                column += follows
            number += 1
    return ops


def choose_kernels(program: Program, sharing: Sharing, training: bool, itemsize: int) -> list[Link]:
    """The kernels of each op, among the variants of its kind."""
    ops, found = program.ops, list[Link]()
    first_dense = int(np.argmax(ops["dense"])) if ops["dense"].any() else ops.size
    for s, op in enumerate(ops):
        chosen: dict[str, Kernel] = {"activate": program.activations[s]}
        if training and op["dropout"] > 0:
            chosen["drop"] = common.drop_values if op["dropout"] < 1 else common.drop_by_schedule
        chosen |= _forward(op, s, sharing)
        if training and s >= first_dense:
            if s + 1 == ops.size or not _scales_slopes(ops[s + 1], op):
                chosen["scale"] = common.scale_slopes
            if op["dense"] and s > first_dense:  # nobody wants the gradient of the inputs
                chosen |= _backward(op, ops[s - 1])
        if training and op["dense"]:
            chosen |= _gradient(op, s, sharing, itemsize)
        found += [Link(s, field, kernel) for field, kernel in chosen.items()]
    return found


def _forward(op: Any, s: int, sharing: Sharing) -> dict[str, Kernel]:
    if not op["dense"]:
        return {"forward": activation_op.forward}
    to_one = op["n_out"] == 1
    if s == 0 and sharing.sparse:
        return {"forward": dense_sparse.forward_to_one if to_one else dense_sparse.forward}
    forward = dense.forward_shared if s == sharing.shared else dense.forward
    return {"forward": forward, "product": product_for(int(op["n_out"]))}


def _backward(op: Any, before: Any) -> dict[str, Kernel]:
    """Of a dense op and the one before it."""
    if _scales_slopes(op, before):
        return {"backward": dense.backward_times_slopes}
    if op["n_out"] <= FEW_COLUMNS:
        return {"backward": dense.backward_from_few}
    return {"backward": dense.backward, "back_product": matmul.product_of_panel}


def _scales_slopes(op: Any, before: Any) -> bool:
    """Whether an op, on its way back, multiplies the slopes of the one before by their gradient."""
    few = op["dense"] and op["n_out"] <= FEW_COLUMNS
    return bool(few and before["dense"] and before["dropout"] == 0)


def _gradient(op: Any, s: int, sharing: Sharing, itemsize: int) -> dict[str, Kernel]:
    n_out = int(op["n_out"])
    if s == 0 and sharing.sparse:
        return {"gradient": dense_sparse.sparse_gradient}
    packs = in_python(matmul.is_wide)(n_out, itemsize)
    found = {"gradient": dense.gradient_of_wide if packs else dense.gradient}
    if n_out > FEW_COLUMNS:
        found["weight_gradient"] = matmul.weight_gradient
    # The last block of columns, or of those that a thread owns, may be narrow.
    unit = tile_width = in_python(tile_width_of)(itemsize)
    if s < sharing.shared:
        unit = PART_UNIT
    elif not sharing.by_columns:
        unit = dense.BLOCK_TILES * tile_width
    if 0 < n_out % unit <= FEW_COLUMNS:
        found["narrow_gradient"] = gradient_for_few(n_out)
    return found


def _check_sizes(network: Body, ops: np.ndarray) -> None:
    """Refuse layers and groups that no longer have the sizes that the parameters were made for."""
    width, sizes, end = network.n_features, dict[int, int](), 0
    for op in ops:
        n_in, n_out = int(op["n_in"]), int(op["n_out"])
        if n_in != width or not (op["dense"] or n_in == n_out):
            break
        if op["dense"]:
            sizes[int(op["weights"])], sizes[int(op["biases"])] = n_in * n_out, n_out
        width = n_out
    for start in sorted(sizes):
        end = end + sizes[start] if start == end else -1
    if (width, end) != (network.n_outputs, network.params.size):
        raise InputError(
            "Network", "layers of the sizes they were built with", "others",
            "make a new network for other sizes",
        )  # fmt: skip
