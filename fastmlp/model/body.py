"""Body: a sequence of layers and a loss, with all parameters in one flat vector.

It owns `params` and `grads` and gives its layers views of them; weights of all layers come first,
then all biases. `Network` adds training, prediction and saving.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from ..errors import InputError, InputTypeError, counted
from ..inputs import checks
from ..inputs.tables import is_sparse, sorted_csr
from ..inputs.targets import TargetCoder
from ..kernels.compiler.memory import aligned_copy, aligned_zeros
from ..nn import (
    LAYERS,
    Container,
    Dense,
    Layer,
    chain_sizes,
    every_layer,
    initialize_from,
    leaves,
)
from ..nn.compiled_layer import is_repeated
from ..nn.losses import LOSSES, Loss
from ..registry import checked_keywords
from .attributes import Checked, Fixed, Numbers, Views
from .groups import Group, remember

_MOST_ROWS_TO_START = 2_000  # initial weights estimate deviations from so many rows
_VIEWS = ("parameters", "gradients", "buffers")
_MOST_BYTES = 2**47  # the address space of processors


class Plan(NamedTuple):
    """A network's sizes for a number of features, and the names of the features."""

    n_features: int
    n_outputs: int
    groups: tuple[Group, ...]
    feature_names: tuple[str, ...] | None = None


@checked_keywords
class Body:
    """Layers, a loss and their parameters; `Network` explains arguments and attributes."""

    layers = Fixed[tuple[Layer, ...]]("Layers, in order.", "make a new network of other layers")
    dtype = Fixed[np.dtype]("Type of all parameters.", "make a new network of another dtype")
    n_features = Fixed[int]("Columns of the inputs.", "make a new network for other columns")
    n_outputs = Fixed[int]("Columns of the predictions.", "make a new network for other outputs")
    groups = Fixed[tuple[Group, ...]]("Parts of `params`, by name.", "make a new network")
    params = Numbers("All parameters, in one vector.")
    grads = Numbers("The gradient of the last batch, in one vector.")
    learned = Fixed[np.ndarray](
        "All that training changes, in one vector: parameters, then buffers.",
        "write into params or buffers",
    )
    buffers = Numbers("Numbers that are saved with the parameters but not trained, in one vector.")
    loss = Checked[Loss](
        "What is minimised.", lambda body, where, value: _fitting_loss(body, value)
    )
    seed = Checked[int](
        "Seed of initial weights, shuffling and dropout.",
        lambda body, where, value: checks.seed("Network", value),
    )
    l1 = Checked[float](
        "Factor of the sum of the weights' absolute values.",
        lambda body, where, value: checks.number("Network", "l1", value, 0),
    )
    l2 = Checked[float](
        "Factor of half the sum of the weights' squares.",
        lambda body, where, value: checks.number("Network", "l2", value, 0),
    )
    feature_names = Checked[tuple[str, ...] | None](
        "Names of the input columns, or None.",
        lambda body, where, value: _checked_names(where, value, body.n_features),
    )

    def __init__(
        self,
        layers: Iterable[Layer],
        loss: str | Loss = "softmax_cross_entropy",
        dtype: Any = "float32",
        random_state: Any = 0,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        self._layers = _checked_layers(layers)
        self._dtype = checks.float_type("Network", dtype)
        self._n_features = self._n_outputs = 0
        self.coder: TargetCoder | None = None
        self.loss, self.seed, self.l1, self.l2 = loss, random_state, l1, l2
        self.feature_names = None
        self.trained_on: dict[str, Any] | None = None
        self._groups: tuple[Group, ...] = ()
        self.spare_engines: dict[tuple[Any, ...], list[Any]] = {}
        self._learned = self._params = self._grads = self._buffers = np.empty(0, self._dtype)
        n_in = _known_width(self.layers)
        if n_in is not None:
            self.build(n_in)
        for layer in every_layer(self.layers):
            layer.is_taken = True

    def __repr__(self) -> str:
        inner = ", ".join(repr(layer) for layer in self.layers)
        return f"Network([{inner}], loss={self.loss.name!r}, dtype={self.dtype.name!r})"

    @property
    def is_built(self) -> bool:
        """Whether all sizes are known and parameters are allocated."""
        return self.n_features > 0

    def build(self, n_features: int) -> Self:
        """Set all sizes, allocate the flat vectors and draw initial weights.

        Called automatically with the first data, or by the constructor if the first layer knows its
        number of inputs.

        Parameters
        ----------
        n_features : int
            Columns of the inputs.

        Returns
        -------
        Network
            Itself.

        Raises
        ------
        InputError
            For layers whose sizes do not match.
        """
        n_features = checks.whole_number("Network.build", "n_features", n_features, 1)
        self._build(planned(self, n_features))
        return self

    def _build(self, plan: Plan) -> None:
        size = sum(group.size for group in plan.groups)
        if size * self.dtype.itemsize > _MOST_BYTES:
            raise InputError(
                "Network", "parameters that fit into memory", f"{size:,}", "use smaller layers"
            )
        self._n_features, self._n_outputs, self._groups = plan[:3]
        chain_sizes(self.layers, plan.n_features)
        shapes = [shape for _, layer in self.leaves() for shape in layer.buffer_shapes().values()]
        self._learned = aligned_zeros(size + sum(map(math.prod, shapes)), self.dtype)
        self._params, self._buffers = self.learned[:size], self.learned[size:]
        self._grads = aligned_zeros(size, self.dtype)
        self._bind()
        rng = np.random.default_rng(self.seed)
        for _, layer in self.leaves():
            layer.initialize(rng)
            layer.initialize_buffers()

    def initialize(self, X: Any, random_state: Any = None) -> Self:
        """Draw initial parameters that suit the data, for initializers that depend on it.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features)
            Rows like those of the training; of more than 2,000, so many are drawn.
        random_state : int, numpy Generator or None, default None
            Seed; by default that of the network.

        Returns
        -------
        Network
            Itself, built for these columns if it was not.

        Raises
        ------
        InputError
            For data that do not fit the network, and an invalid seed.

        Examples
        --------
        >>> import numpy as np
        >>> from fastmlp import Dense, Network
        >>> X = np.random.default_rng(0).normal(3.0, 5.0, (100, 4))
        >>> net = Network([Dense(8, initializer="unit_variance", bias_initializer="he_plus")])
        >>> net.initialize(X).outputs(X).std(axis=0).round(2)
        array([1., 1., 1., 1., 1., 1., 1., 1.], dtype=float32)
        """
        where = "Network.initialize"
        seed = self.seed if random_state is None else checks.seed(where, random_state)
        X = checks.matrix(where, "X", X, self.n_features or None)
        rng = np.random.default_rng(seed)
        if not self.is_built:
            self.build(X.shape[1])
        if X.shape[0] > _MOST_ROWS_TO_START:
            some = np.sort(rng.choice(X.shape[0], _MOST_ROWS_TO_START, replace=False))
            X = (sorted_csr(X) if is_sparse(X) else X)[some]
        values = (X.toarray() if is_sparse(X) else X).astype(self.dtype)
        checks.finite(where, "X", values)
        initialize_from(self.layers, values, rng)
        for _, layer in self.leaves():
            layer.initialize_buffers()
        return self

    def leaves(self) -> list[tuple[str, Layer]]:
        """Layers that do not contain other layers.

        Returns
        -------
        list of (str, Layer)
            Each with its place: "2", or "1.0" for the first in layer 1.
        """
        return list(leaves(self.layers))

    def _bind(self) -> None:
        """Give each layer its views of the flat vectors."""
        self.spare_engines = {}  # they hold addresses of the previous vectors
        remember(self.params, self.groups)
        starts, first = {group.name: group for group in self.groups}, 0
        for place, layer in self.leaves():
            views: list[dict[str, np.ndarray]] = [{}, {}]
            for key, shape in layer.parameter_shapes().items():
                group = starts[f"{place}.{key}"]
                for view, flat in zip(views, (self.params, self.grads), strict=True):
                    view[key] = flat[group.start : group.start + group.size].reshape(shape)
            layer.bind(Views(views[0]), Views(views[1]))
            kept = {}
            for key, shape in layer.buffer_shapes().items():
                size = math.prod(shape)
                kept[key] = self.buffers[first : first + size].reshape(shape)
                first += size
            if kept:
                layer.bind_buffers(Views(kept))

    def __getstate__(self) -> dict[str, Any]:
        """Everything except views, which `__setstate__` recreates."""
        state = self.__dict__ | {"spare_engines": {}}
        del state["_params"], state["_buffers"]
        state["_layers"] = tuple(_unbound(layer) for layer in self.layers)
        return state

    def known_by_layers(self) -> list[dict[str, Any]]:
        """What each of the leaves knows beside views and the last batch, to go to another copy.

        Returns
        -------
        list of dict of str to object
            Attributes by name.
        """
        found = (vars(_unbound(layer)) for _, layer in self.leaves())
        return [{key: one[key] for key in one if key not in _VIEWS} for one in found]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        learned = state["_learned"] if "_learned" in state else state["_params"]  # older pickles
        self._learned, n_params = aligned_copy(learned), sum(group.size for group in self.groups)
        self._params, self._buffers = self.learned[:n_params], self.learned[n_params:]
        self._grads = aligned_copy(self.grads)
        for layer in every_layer(self.layers):
            layer.is_taken = True
        if self.is_built:
            self._bind()

    @property
    def work_per_row(self) -> int:
        """Multiplications for a row's outputs: the parameters, as often as each is used."""
        repeated = (
            (layer.repeats - 1) * math.prod(next(iter(layer.parameter_shapes().values())))
            for layer in every_layer(self.layers)
            if is_repeated(layer) and layer.repeats > 1
        )
        return int(self.params.size) + sum(repeated)

    def width_of_outputs(self, link: bool) -> int:
        """Columns of the last layer or, after the loss's link, of predictions.

        Parameters
        ----------
        link : bool
            Whether the loss's link is applied, which averages members if there are several.

        Returns
        -------
        int
            `n_outputs` or, without the link, those of each member.
        """
        return self.n_outputs * (1 if link else self.loss.n_members)

    def named_parameters(self) -> dict[str, np.ndarray]:
        """Views of all parameters by name.

        Returns
        -------
        dict of str to ndarray
            "0.W" has the weights of layer 0, "1.0.W" those of layer 0 inside layer 1; writing to a
            view changes the network.
        """
        return {
            f"{place}.{key}": view
            for place, layer in self.leaves()
            for key, view in getattr(layer, "parameters", {}).items()
        }

    def named_buffers(self) -> dict[str, np.ndarray]:
        """Views of all buffers by name.

        Returns
        -------
        dict of str to ndarray
            "1.mean" is the running mean of layer 1, a BatchNorm; writing to a view changes the
            network.
        """
        return {
            f"{place}.{key}": view
            for place, layer in self.leaves()
            for key, view in layer.buffers.items()
        }

    def named_arrays(self) -> dict[str, np.ndarray]:
        """All arrays that are saved with the network.

        Returns
        -------
        dict of str to ndarray
            Views of parameters and buffers by name.
        """
        return self.named_parameters() | self.named_buffers()

    @property
    def classes_(self) -> np.ndarray | None:
        """Labels in the order of the outputs, or None."""
        return None if self.coder is None else self.coder.classes


def planned(body: Body, n_features: int) -> Plan:
    """Sizes for a number of features, computed on copies so that an error changes no layer."""
    if n_features == body.n_features:
        return Plan(n_features, body.n_outputs, body.groups)
    trial = [copy.copy(layer) for layer in body.layers]
    width, members = chain_sizes(trial, n_features), body.loss.n_members
    if width % members:
        raise InputError(
            "Network", f"outputs for each of {members} members", counted(width, "output"),
            f"end with a layer of a multiple of {members} units",
        )  # fmt: skip
    return Plan(n_features, width // members, _groups(trial))


def _fitting_loss(body: Body, value: Any) -> Loss:
    """The loss for a name or object, if it reads targets in the same way as the first fit."""
    loss: Loss = LOSSES.make(value, Loss)
    if body.is_built and loss.n_members != body.loss.n_members:
        raise InputError(
            "Network.loss", f"a loss of {counted(body.loss.n_members, 'member')}",
            f"{loss.n_members}", "make a new network",
        )  # fmt: skip
    if body.coder is not None and not body.coder.suits(loss):
        raise InputError(
            "Network.loss", "a loss for targets like those of the first fit", loss.name,
            "make a new network",
        )  # fmt: skip
    return loss


def _checked_layers(layers: Iterable[Any]) -> tuple[Layer, ...]:
    try:
        found = tuple(layers)
    except TypeError:
        raise InputTypeError(
            "Network", "a list of layers", type(layers).__name__, "write [Dense(32), ReLU(), ...]"
        ) from None
    if not found:
        raise InputError("Network", "at least one layer", "none", "start with Dense(n_units)")
    for number, layer in enumerate(found):
        if not isinstance(layer, Layer):
            got = f"the class {layer.__name__}" if isinstance(layer, type) else type(layer).__name__
            raise InputTypeError(
                f"Network, layer {number}",
                "a Layer object",
                got,
                "pass objects such as Dense(32) or ReLU()",
            )
    every = every_layer(found)
    for layer in every:
        if layer.is_taken:
            raise InputError(
                "Network",
                "layers of its own",
                f"{layer!r} of another network",
                "make a new layer for each network",
            )
    if len({id(layer) for layer in every}) < len(every):
        raise InputError(
            "Network",
            "each layer once",
            "one object in two places",
            "make a new layer for each place",
        )
    return found


def _checked_names(where: str, names: Any, n_features: int) -> tuple[str, ...] | None:
    """Names of all columns, each once; None for none."""
    if names is None:
        return None
    expected = "a sequence of texts"
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise InputTypeError(where, expected, type(names).__name__, 'write ["age", "income"]')
    found = tuple(names)
    for name in found:
        if not isinstance(name, str):
            raise InputTypeError(where, expected, type(name).__name__, "turn names into text")
    if len(set(found)) < len(found):
        raise InputError(where, "each name once", "one twice", "give columns different names")
    if n_features and len(found) != n_features:
        got = counted(len(found), "name")
        raise InputError(where, f"{counted(n_features, 'name')}", got, "name every column")
    return found


def _known_width(layers: Sequence[Layer]) -> int | None:
    """Columns of the input if a layer defines them, possibly after layers that keep the width."""
    sized = [layer for layer in layers if not layer.keeps_width]
    return sized[0].n_in if sized else None


def _groups(layers: Sequence[Layer]) -> tuple[Group, ...]:
    """Positions of all parameters in the flat vectors: matrices first, then vectors."""
    found = []
    for place, layer in leaves(layers):
        for key, shape in layer.parameter_shapes().items():
            is_weight = len(shape) > 1
            scale = layer.step_scale(key)
            limit = layer.max_norm if isinstance(layer, Dense) and is_weight else None
            size, n_columns = math.prod(shape), shape[-1] if shape else 1
            name = f"{place}.{key}"
            found.append(Group(name, 0, size, is_weight, scale, limit, n_columns))
    found.sort(key=lambda group: not group.is_weight)  # stable: layers stay in order
    start, placed = 0, []
    for group in found:
        placed.append(group._replace(start=start))
        start += group.size
    return tuple(placed)


def _unbound(layer: Layer) -> Layer:
    """A shallow copy without views, caches or values of the last batch."""
    twin: Layer
    twin = layer.with_layers(_unbound) if isinstance(layer, Container) else copy.copy(layer)
    built_in = type(layer) in LAYERS  # in other layers, caches cannot be told from state
    for key in list(twin.__dict__):
        if key in _VIEWS or (built_in and key.startswith("_")):
            del twin.__dict__[key]
    if isinstance(layer, Dense):
        twin.parameters = {}
    return twin
