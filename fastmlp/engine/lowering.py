"""Lowering: a network becomes a program, a table of ops with the kernels that compute them.

A dense layer and the activation and dropout after it become one op; branches follow each other. If
a layer, loss or optimizer has no kernel, `can_compile` is false and `layerwise` is used instead.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..kernels import plan
from ..kernels.compiler.calls import Kernel
from ..kernels.compiler.jit import in_python
from ..kernels.ops import activation as activation_op
from ..kernels.ops import branches, common, dense, dense_sparse
from ..kernels.ops.kind import Kind
from ..kernels.products import matmul, row_in_place
from ..kernels.products.sums import n_parts
from ..kernels.products.tiles import tile_width_of
from ..kernels.rules.activations import activation, identity
from ..kernels.tuning import BLOCK_TILES, FEW_COLUMNS, PART_UNIT
from ..nn import (
    LAYERS,
    Activation,
    Columns,
    Dense,
    Dropout,
    Layer,
    Rescaling,
    Residual,
    every_layer,
)
from ..nn.compiled_layer import CompiledLayer, describe
from ..nn.dense import gradient_for_few, product_for
from ..nn.losses import LOSSES, CompiledLoss, Loss, loss_of_one
from ..optim.optimizers import OPTIMIZERS, Group, Optimizer
from ..optim.schedules import Schedule

if TYPE_CHECKING:
    from ..model.body import Body


identity_kernel = activation(identity)


class Sharing(NamedTuple):
    """How threads divide the work and what they read, as far as kernels depend on it.

    Attributes
    ----------
    shared : int
        The op whose inputs they share out, or -1.
    sparse : bool
        Whether the first op reads sparse rows.
    one_row : bool
        Whether batches to train on are of one row.
    """

    shared: int
    sparse: bool
    one_row: bool = False


def can_compile(layers: Sequence[Layer], loss: Loss, optimizer: object = None) -> bool:
    """Whether everything has a kernel: built-in classes, and classes that name one."""
    return (
        all(
            type(layer) in LAYERS or _has_kernel(layer, *_parts_of(layer))
            for layer in every_layer(layers)
        )
        and _has_kernel_of_loss(loss_of_one(loss))
        and (
            optimizer is None
            or type(optimizer) in OPTIMIZERS
            or _has_kernel(optimizer, Optimizer, "kernel", _BYPASSED_OPTIMIZER)
        )
    )


# Methods that kernels bypass.
_BYPASSED_ACTIVATION = "forward", "backward", "build", "parameter_shapes", "initialize", "bind"
_BYPASSED_LAYER = "forward", "backward", "bind", "bind_buffers"
_BYPASSED_LOSS = "value_and_gradient", "rows", "link"
_BYPASSED_OPTIMIZER = "step", "update", "initial_state"


def _has_kernel_of_loss(loss: Loss) -> bool:
    return type(loss) in LOSSES or _has_kernel(loss, CompiledLoss, "kernel", _BYPASSED_LOSS)


def _parts_of(layer: Layer) -> tuple[type, str, Sequence[str]]:
    """The base class for compiled user-defined layers, the attribute to set, bypassed methods."""
    if isinstance(layer, CompiledLayer):
        return CompiledLayer, "kind", _BYPASSED_LAYER
    return Activation, "kernel", _BYPASSED_ACTIVATION


def _has_kernel(part: Any, base: type, named: str, bypassed: Sequence[str]) -> bool:
    """Whether a user-defined part names a kernel and overrides no method that this bypasses.

    A subclass of a class with a kernel may have changed anything, so it must name the kernel again
    to confirm that it still applies.
    """
    cls = type(part)
    return named in vars(cls) and all(
        getattr(cls, name, None) is getattr(base, name) for name in bypassed
    )


class Stage:
    """The layers of one op: a dense product or another kind, then activation and dropout.

    Attributes
    ----------
    main : Layer or None
        The layer with parameters; None for only an activation or dropout, and for ends of branches.
    kind : Kind or None
        Its kernels; None for Dense and for only an activation or dropout.
    source : int
        The stage whose values it reads, or -1 for the samples.
    number : int
        Number of its dropout layer among all layers, counted from 1.
    places : list of int
        Numbers for an op of its kind, in its record.
    """

    def __init__(self, source: int, width: int, main: Layer | None, kind: Kind | None) -> None:
        self.source, self.n_in, self.n_out, self.main, self.kind = source, width, width, main, kind
        self.name = ""
        self.shapes = {} if main is None else main.parameter_shapes()
        self.activation: Activation | None = None
        self.dropout: Dropout | None = None
        self.number = 0
        self.places: list[int] = []
        self.follows_trained = False  # whether anything before it has parameters

    @property
    def is_trained(self) -> bool:
        """Whether it has parameters."""
        return bool(self.shapes)

    @property
    def is_elementwise(self) -> bool:
        """Whether it is only an activation or dropout."""
        return self.main is None and self.kind is None

    def takes(self, layer: Layer) -> bool:
        """Whether an activation or dropout layer can be added to this stage."""
        if isinstance(layer, Activation):
            return self.activation is None and self.dropout is None
        return self.dropout is None


class _Stages:
    """Stages of layers in execution order; branches one after the other."""

    def __init__(self) -> None:
        self.every: list[Stage] = []
        self.n_leaves = 0

    def _add(self, source: int, width: int, main: Any = None, kind: Any = None) -> int:
        stage = Stage(source, width, main, kind)
        if source >= 0:
            before = self.every[source]
            stage.follows_trained = before.follows_trained or before.is_trained
        self.every.append(stage)
        return len(self.every) - 1

    def chain(self, layers: Sequence[Layer], place: str, source: int, width: int) -> int:
        """Add a sequence of layers that reads from a stage; returns the last stage."""
        is_open = False  # whether activations and dropout may join the last stage
        for number, layer in enumerate(layers):
            if not layer.inner:
                self.n_leaves += 1
            if isinstance(layer, Activation | Dropout):
                if not (is_open and self.every[source].takes(layer)):
                    source = self._add(source, width)
                self._join(self.every[source], layer)
            elif isinstance(layer, Residual):
                source = self._residual(layer, f"{place}{number}.", source, width)
            elif isinstance(layer, Columns):
                source = self._columns(layer, f"{place}{number}.", source, width)
            else:
                source = self._add(source, width, layer, getattr(layer, "kind", None))
                self.every[source].name = f"{place}{number}"
                self.every[source].n_out = layer.n_out or 0
            is_open, width = True, self.every[source].n_out
        return source

    def _join(self, stage: Stage, layer: Activation | Dropout) -> None:
        if isinstance(layer, Activation):
            stage.activation = layer
        else:
            stage.dropout, stage.number = layer, self.n_leaves

    def _residual(self, layer: Residual, place: str, source: int, width: int) -> int:
        fork = self._add(source, width, kind=branches.FORK)
        end = self.chain(layer.layers, place, fork, width)
        total = self._add(end, width, kind=branches.ADD)
        self.every[fork].places, self.every[total].places = [total], [fork]
        return total

    def _columns(self, layer: Columns, place: str, source: int, width: int) -> int:
        ends, starts, left = list[tuple[int, int]](), list[int](), 0
        for number, (columns, layers) in enumerate(layer.all_branches):
            start = self._add(source, width, kind=branches.SELECT)
            before = ends[-1] if ends else (-1, 0)
            wanted = int(self.every[start].follows_trained)
            self.every[start].places = [-1, *before, wanted, *columns]
            self.every[start].n_out = len(columns)
            end = self.chain(layers, f"{place}{number}.", start, len(columns))
            starts.append(start)
            ends.append((end, left))
            left += self.every[end].n_out
        joined = self._add(ends[-1][0], width, kind=branches.JOINED)
        stage = self.every[joined]
        stage.n_out = left
        stage.places = [len(ends), *(number for end in ends for number in end)]
        stage.follows_trained = any(
            self.every[end].follows_trained or self.every[end].is_trained for end, _ in ends
        )
        for start in starts:
            self.every[start].places[branches.JOIN] = joined
        return joined


def stages_of(layers: Sequence[Layer], n_features: int) -> list[Stage]:
    """The stages of a network, one for each op."""
    stages = _Stages()
    stages.chain(layers, "", -1, n_features)
    return stages.every


class Program(NamedTuple):
    """A network's ops.

    Attributes
    ----------
    ops : ndarray of plan.OP
        Records of sizes and options; kernels are chosen later.
    stages : list of Stage
        The layers of each op.
    scale : float
        Factor of the inputs before the first op.
    """

    ops: np.ndarray
    stages: list[Stage]
    scale: float


def settings_of(layers: Sequence[Layer]) -> tuple[Any, ...]:
    """All settings of layers that a program uses and that may change after `build`."""
    found: list[Any] = []
    for layer in every_layer(layers):
        found += layer.n_in, layer.n_out
        if isinstance(layer, Activation):
            found += layer.kernel, layer.option
        elif isinstance(layer, Dense):
            found.append(layer.max_norm)
        elif isinstance(layer, Dropout):  # a schedule's values are passed with the steps
            found.append("by schedule" if isinstance(layer.rate, Schedule) else layer.rate)
        elif isinstance(layer, CompiledLayer):
            found += layer.kind, *layer.settings, *layer.kernels.values()
    return tuple(found)


def structure_of(layers: Sequence[Layer]) -> str:
    """What layers there are, and how they are made of others, as text that can be compared.

    Parts that are not plain data are told apart by their identity.
    """
    return json.dumps([layer.specification() for layer in layers], default=id)


class Link(NamedTuple):
    """A field of an op's record that holds a kernel's address."""

    op: int
    field: str
    kernel: Kernel


def lower(network: Body, optimizer: Optimizer, as_trained: bool = True) -> Program:
    """The program of a built network, with the optimizer's factors for each op's parameters.

    as_trained: whether dropout is active and BatchNorm uses the batch's statistics.
    """
    stages, scale = stages_of(network.layers, network.n_features), 1.0
    first, begins = stages[0].activation, stages[0].is_elementwise and stages[0].dropout is None
    if begins and isinstance(first, Rescaling) and len(stages) > 1:
        # Inputs are scaled while they are gathered, not in a separate op.
        stages, scale = _without_first(stages), first.option
    ops = _records(network, stages, optimizer)
    ops["as_trained"] = as_trained
    if not as_trained:
        ops["dropout"] = 0.0
    after = 0
    for op, stage in zip(ops[::-1], stages[::-1], strict=True):
        if any(len(shape) > 1 for shape in stage.shapes.values()):  # only matrices have penalties
            width = int(op["weight_width"])
            op["penalty_parts"] = in_python(n_parts)(width, after) if after else 1
            after = width
    _check_sizes(network, stages)
    return Program(ops, stages, scale)


def _without_first(stages: list[Stage]) -> list[Stage]:
    """The stages after the first, renumbered."""
    for stage in stages[1:]:
        stage.source -= 1
        if stage.kind in (branches.FORK, branches.ADD):
            stage.places = [stage.places[0] - 1]
        elif stage.kind is branches.SELECT:
            joined, before, *rest = stage.places
            stage.places = [joined - 1, max(-1, before - 1), *rest]
        elif stage.kind is branches.JOINED:
            count, *ends = stage.places
            stage.places = [count, *(n - (i % 2 == 0) for i, n in enumerate(ends))]
    return stages[1:]


def _records(network: Body, stages: list[Stage], optimizer: Optimizer) -> np.ndarray:
    """Each stage as a record, built from a dict because setting fields of a record is slow."""
    ops: list[dict[str, Any]] = [dict.fromkeys(plan.OP.names or (), 0) for _ in stages]
    factors = dict(
        zip(
            (group.name for group in network.groups),
            optimizer.group_factors(network.groups),
            strict=True,
        )
    )
    starts: dict[str, Group] = {group.name: group for group in network.groups}
    buffers, column = 0, optimizer.n_columns(network.groups)
    for op, stage in zip(ops, stages, strict=True):
        op["n_in"], op["n_out"], op["source"] = stage.n_in, stage.n_out, stage.source
        op["elementwise"] = stage.is_elementwise
        if stage.main is not None:
            describe(stage.main, op)
            names = [f"{stage.name}.{key}" for key in stage.shapes]
            for name, field in zip(names, ("weight", "bias"), strict=False):
                op["weights" if field == "weight" else "biases"] = starts[name].start
                op[f"{field}_rate"], op[f"{field}_decay"] = factors[name]
            op["buffers"] = buffers
            buffers += sum(map(math.prod, stage.main.buffer_shapes().values()))
        if isinstance(stage.main, Dense):
            op["dense"], op["max_norm"] = 1, stage.main.max_norm or 0.0
        if stage.activation is not None:
            op["activation_option"] = stage.activation.option
        if stage.dropout is not None:
            follows = isinstance(stage.dropout.rate, Schedule)
            op["dropout"] = 1 + column if follows else stage.dropout.rate
            op["dropout_stream"] = stage.number
            column += follows
    return np.array([tuple(op.values()) for op in ops], plan.OP)


def choose_kernels(
    program: Program, sharing: Sharing, training: bool, itemsize: int, packed: Kernel | None = None
) -> list[Link]:
    """The kernels of each op, among the variants of its kind.

    packed: the forward pass of dense ops whose weights are packed.
    """
    found = list[Link]()
    for s, (op, stage) in enumerate(zip(program.ops, program.stages, strict=True)):
        activates = identity_kernel if stage.activation is None else stage.activation.kernel
        chosen: dict[str, Kernel] = {"activate": activates}
        if training and op["dropout"] > 0:
            chosen["drop"] = common.drop_values if op["dropout"] < 1 else common.drop_by_schedule
        chosen |= _forward(op, stage, s, sharing)
        if packed is not None and op["panels"]:
            chosen["forward"] = packed
        if training:
            chosen |= _way_back(program, s, sharing, itemsize)
        found += [Link(s, field, kernel) for field, kernel in chosen.items()]
    return found


def first_trained(program: Program) -> int:
    """The first op that has parameters; ops before it need no gradient."""
    return next((s for s, stage in enumerate(program.stages) if stage.is_trained), len(program.ops))


def _way_back(program: Program, s: int, sharing: Sharing, itemsize: int) -> dict[str, Kernel]:
    """Kernels of op s's backward pass: slopes, gradient of its source, and of its parameters."""
    ops, op, stage = program.ops, program.ops[s], program.stages[s]
    chosen: dict[str, Kernel] = {}
    if s < first_trained(program):
        return chosen
    if stage.follows_trained or stage.is_trained:
        is_scaled = (
            s + 1 < ops.size and ops[s + 1]["source"] == s and _scales_slopes(ops[s + 1], op)
        )
        if not is_scaled:
            chosen["scale"] = common.scale_slopes
    if stage.kind is None:
        if op["dense"] and stage.follows_trained:
            chosen |= _backward(op, ops[stage.source])
        if op["dense"]:
            chosen |= _gradient(op, s, sharing, itemsize)
        return chosen
    # The start of a branch also passes on the gradient of the branch before it.
    if stage.kind.backward is not None and (stage.follows_trained or stage.kind is branches.SELECT):
        chosen["backward"] = stage.kind.backward
    if stage.kind.gradient is not None:
        chosen["gradient"] = stage.kind.gradient
    return chosen


def _forward(op: Any, stage: Stage, s: int, sharing: Sharing) -> dict[str, Kernel]:
    if stage.kind is not None:
        return {"forward": stage.kind.forward, **getattr(stage.main, "kernels", {})}
    if not op["dense"]:
        return {"forward": activation_op.forward}
    to_one = op["n_out"] == 1
    if s == 0 and sharing.sparse:
        return {"forward": dense_sparse.forward_to_one if to_one else dense_sparse.forward}
    packs = op["packs_weights"]
    forward = dense.forward_packed if packs else dense.forward
    if s == sharing.shared:
        forward = dense.forward_shared_packed if packs else dense.forward_shared
    if sharing.one_row and not to_one:
        is_shared = s == sharing.shared
        forward = dense.forward_shared_of_one if is_shared else dense.forward_of_one
    return {"forward": forward, "product": product_for(int(op["n_out"]))}


def _backward(op: Any, before: Any) -> dict[str, Kernel]:
    """Backward kernels of a dense op, given the op before it."""
    if _scales_slopes(op, before):
        return {"backward": dense.backward_times_slopes}
    if op["n_out"] <= FEW_COLUMNS:
        return {"backward": dense.backward_from_few}
    return {"backward": dense.backward, "back_product": matmul.product_of_panel}


def _scales_slopes(op: Any, before: Any) -> bool:
    """Whether an op's backward pass multiplies the slopes of the op before by their gradient."""
    few = op["dense"] and op["n_out"] <= FEW_COLUMNS
    return bool(few and before["dense"] and before["dropout"] == 0)


def _gradient(op: Any, s: int, sharing: Sharing, itemsize: int) -> dict[str, Kernel]:
    n_out = int(op["n_out"])
    if s == 0 and sharing.sparse:
        return {"gradient": dense_sparse.sparse_gradient}
    found = {"gradient": dense.gradient_packed if op["packs_inputs"] else dense.gradient}
    if n_out > FEW_COLUMNS:
        product = row_in_place if sharing.one_row else matmul
        found["weight_gradient"] = product.weight_gradient
    # The last block of columns, or of a thread's columns, may be narrow.
    unit = PART_UNIT if s < sharing.shared else BLOCK_TILES * in_python(tile_width_of)(itemsize)
    if 0 < n_out % unit <= FEW_COLUMNS:
        found["narrow_gradient"] = gradient_for_few(n_out)
    return found


def _check_sizes(network: Body, stages: list[Stage]) -> None:
    """Refuse layers and groups whose sizes have changed since the parameters were allocated."""
    wanted = {
        f"{stage.name}.{key}": math.prod(shape)
        for stage in stages
        for key, shape in stage.shapes.items()
    }
    found, end = {group.name: group.size for group in network.groups}, 0
    for group in network.groups:
        end = end + group.size if group.start == end else -1
    fits = all(
        (stage.main is None or stage.main.n_in == stage.n_in)
        and all(
            part is None or (part.n_in, part.n_out) == (stage.n_out, stage.n_out)
            for part in (stage.activation, stage.dropout)
        )
        for stage in stages
    )
    sizes = network.width_of_outputs(link=False), network.params.size
    if not fits or wanted != found or (stages[-1].n_out, end) != sizes:
        raise InputError(
            "Network", "layers of the sizes they were built with", "others",
            "make a new network for other sizes",
        )  # fmt: skip
