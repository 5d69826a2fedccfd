"""Networks as nodes of an ONNX graph: each layer, and the loss's link.

`onnx_export` makes files of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..errors import InputError
from ..network import Network
from ..nn import (
    ELU,
    GELU,
    SELU,
    BatchNorm,
    Columns,
    Cosine,
    Dense,
    Dropout,
    Embedding,
    GroupedDense,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    Members,
    Mish,
    ParametricActivation,
    PiecewiseLinear,
    PReLU,
    ReLU,
    Rescaling,
    Residual,
    Scale,
    SharedDense,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)

# Activations that are one node: its name and attributes.
_NODES: dict[type, Callable[[Any], tuple[str, dict[str, Any]]]] = {
    Identity: lambda _: ("Identity", {}),
    ReLU: lambda _: ("Relu", {}),
    LeakyReLU: lambda layer: ("LeakyRelu", {"alpha": layer.option}),
    ELU: lambda layer: ("Elu", {"alpha": layer.option}),
    SELU: lambda _: ("Selu", {}),
    GELU: lambda _: ("Gelu", {}),
    Mish: lambda _: ("Mish", {}),
    Softplus: lambda _: ("Softplus", {}),
    Cosine: lambda _: ("Cos", {}),
    Sigmoid: lambda _: ("Sigmoid", {}),
    Tanh: lambda _: ("Tanh", {}),
}
_LINKS: dict[str, tuple[str, dict[str, Any]]] = {
    "identity": ("Identity", {}),
    "softmax": ("Softmax", {"axis": -1}),
    "sigmoid": ("Sigmoid", {}),
    "exp": ("Exp", {}),
}


class Graph:
    """Nodes and constants that are added one after the other."""

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.taken: set[str] = set()  # names of inputs

    def unique_name(self, kind: str) -> str:
        """A name that is not used in the graph."""
        name = f"{kind}_{len(self.nodes) + len(self.constants)}"
        while name in self.taken:
            name += "_"
        return name

    def add_node(self, kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        """Add a node that computes the named outputs."""
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, outputs, **attributes))

    def add_constant(self, name: str, values: np.ndarray) -> None:
        """Add an array under a name."""
        self.constants.append(self.onnx.numpy_helper.from_array(values, name))

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; returns the name of its output."""
        name = self.unique_name(kind.lower())
        self.add_node(kind, list(inputs), [name], **attributes)
        return name

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """Add an array; returns its name."""
        name = self.unique_name("constant")
        with np.errstate(over="ignore"):
            made = np.asarray(values, object if dtype is str else dtype)
        if made.dtype.kind == "f" and not np.isfinite(made).all():
            raise InputError(
                "to_onnx", "parameters within float32", "larger ones",
                "train on scaled data, or again with a lower learning rate",
            )  # fmt: skip
        self.add_constant(name, made)
        return name


def network_nodes(graph: Graph, networks: list[Network], name: str) -> str:
    """Nodes of all layers, of the loss's link and of the mean; returns the last output's name."""
    ends = []
    for network in networks:
        kind, attributes = _LINKS[network.loss.link_name]  # type: ignore[attr-defined]
        outputs, members = _chain(graph, network.layers, name), network.loss.n_members
        if members == 1:
            ends.append(graph.node(kind, outputs, **attributes))
            continue
        shape = graph.constant([-1, members, network.n_outputs], np.int64)
        linked = graph.node(kind, graph.node("Reshape", outputs, shape), **attributes)
        ends.append(graph.node("ReduceMean", linked, graph.constant([1], np.int64), keepdims=0))
    return ends[0] if len(ends) == 1 else graph.node("Mean", *ends)


def _chain(graph: Graph, layers: Iterable[Layer], name: str) -> str:
    """Add nodes for a sequence of layers; returns the name of the last output."""
    for layer in layers:
        name = _layer(graph, layer, name)
    return name


def _layer(graph: Graph, layer: Any, name: str) -> str:
    if type(layer) in _WRITERS:
        return _WRITERS[type(layer)](graph, layer, name)
    if type(layer) not in _NODES:
        raise InputError("to_onnx", "built-in layers", repr(layer), "export without it")
    kind, attributes = _NODES[type(layer)](layer)
    return graph.node(kind, name, **attributes)


def _layer_norm(graph: Graph, layer: LayerNorm, name: str) -> str:
    numbers = [graph.constant(layer.parameters[key]) for key in ("weight", "bias")]
    return graph.node("LayerNormalization", name, *numbers, epsilon=layer.epsilon)


def _batch_norm(graph: Graph, layer: BatchNorm, name: str) -> str:
    arrays = {**layer.parameters, **layer.buffers}
    numbers = [graph.constant(arrays[key]) for key in ("weight", "bias", "mean", "variance")]
    return graph.node("BatchNormalization", name, *numbers, epsilon=layer.epsilon)


def _embedding(graph: Graph, layer: Embedding, name: str) -> str:
    numbers = graph.node("Cast", name, to=graph.onnx.TensorProto.INT64)
    found = graph.node("Gather", graph.constant(layer.parameters["W"]), numbers)
    return graph.node("Reshape", found, graph.constant([-1, layer.n_out], np.int64))


def _parametric_activation(graph: Graph, layer: ParametricActivation, name: str) -> str:
    """(1 - weight) z + weight f(z)."""
    weight, activated = layer.parameters["weight"], _layer(graph, layer.activation, name)
    return graph.node("Add", _times(graph, name, 1 - weight), _times(graph, activated, weight))


def _members(graph: Graph, layer: Members, name: str) -> str:
    """The columns, in a dimension of their own, times the factors of each member."""
    factors = layer.parameters["weight"].reshape(layer.n_members, -1)
    row = graph.node("Reshape", name, graph.constant([-1, 1, layer.n_in], np.int64))
    shape = graph.constant([-1, layer.n_out], np.int64)
    return graph.node("Reshape", _times(graph, row, factors), shape)


def _shared_dense(graph: Graph, layer: SharedDense, name: str) -> str:
    """One product for the columns of every member, which are rows of their own."""
    W, b = layer.parameters["W"], layer.parameters["b"]
    rows = graph.node("Reshape", name, graph.constant([-1, len(W)], np.int64))
    found = graph.node("Gemm", rows, graph.constant(W), graph.constant(b))
    return graph.node("Reshape", found, graph.constant([-1, layer.n_out], np.int64))


def _grouped_dense(graph: Graph, layer: GroupedDense, name: str) -> str:
    """A product for each group, on columns that are moved to a dimension of their own."""
    W, size = layer.parameters["W"], layer.group_size
    grouped = graph.node("Reshape", name, graph.constant([-1, len(W) // size, size], np.int64))
    weights = graph.constant(W.reshape(-1, size, W.shape[1]))
    found = graph.node("Einsum", grouped, weights, equation="ngi,gio->ngo")
    flat = graph.node("Reshape", found, graph.constant([-1, layer.n_out], np.int64))
    return graph.node("Add", flat, graph.constant(layer.parameters["b"]))


def _piecewise_linear(graph: Graph, layer: PiecewiseLinear, name: str) -> str:
    """max(low, min(high, scale (x - start))), for each column and bin."""
    columns = np.repeat(np.arange(layer.n_in or 0), layer.n_bins)
    spread = graph.node("Gather", name, graph.constant(columns, np.int64), axis=1)
    scale, start, low, high = (graph.constant(part) for part in layer.lines())
    line = graph.node("Mul", graph.node("Sub", spread, start), scale)
    return graph.node("Max", graph.node("Min", line, high), low)


def _columns(graph: Graph, layer: Columns, name: str) -> str:
    ends = []
    for columns_of_branch, layers in layer.all_branches:
        some = graph.node("Gather", name, graph.constant(columns_of_branch, np.int64), axis=1)
        ends.append(_chain(graph, layers, some))
    return graph.node("Concat", *ends, axis=1)


def _times(graph: Graph, name: str, factors: Any) -> str:
    return graph.node("Mul", name, graph.constant(factors))


# Layers that need several nodes or have parameters.
_WRITERS: dict[type, Callable[[Graph, Any, str], str]] = {
    Dense: lambda graph, layer, name: graph.node(
        "Gemm", name, graph.constant(layer.W), graph.constant(layer.b)
    ),
    Dropout: lambda graph, layer, name: name,
    SiLU: lambda graph, layer, name: graph.node("Mul", name, graph.node("Sigmoid", name)),
    Rescaling: lambda graph, layer, name: _times(graph, name, layer.scale),
    Scale: lambda graph, layer, name: _times(graph, name, layer.parameters["weight"]),
    PReLU: lambda graph, layer, name: graph.node(
        "PRelu", name, graph.constant(layer.parameters["weight"])
    ),
    LayerNorm: _layer_norm,
    BatchNorm: _batch_norm,
    Embedding: _embedding,
    ParametricActivation: _parametric_activation,
    GroupedDense: _grouped_dense,
    Members: _members,
    SharedDense: _shared_dense,
    PiecewiseLinear: _piecewise_linear,
    Residual: lambda graph, layer, name: graph.node("Add", _chain(graph, layer.layers, name), name),
    Columns: _columns,
}
