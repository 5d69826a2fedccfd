"""ONNX files of networks, estimators and pipelines, which need nothing of fastmlp to run.

Our nodes are made one by one with `onnx.helper`, in float32; of a pipeline, skl2onnx writes the
other steps and asks for ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .errors import InputError, require
from .files import checked_path, replacing
from .interchange import network_of
from .kernels.losses import LINK_EXP, LINK_IDENTITY, LINK_SIGMOID, LINK_SOFTMAX
from .layers import (
    ELU,
    GELU,
    SELU,
    Dense,
    Dropout,
    Identity,
    Layer,
    LeakyReLU,
    Mish,
    ReLU,
    Rescaling,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from .losses import BuiltInLoss
from .network import Network

_OPSET = 20  # the first with GELU

# One node for most activations: its name and attributes.
_NODES: dict[type, Callable[[Any], tuple[str, dict[str, Any]]]] = {
    Identity: lambda _: ("Identity", {}),
    ReLU: lambda _: ("Relu", {}),
    LeakyReLU: lambda layer: ("LeakyRelu", {"alpha": layer.option}),
    ELU: lambda layer: ("Elu", {"alpha": layer.option}),
    SELU: lambda _: ("Selu", {}),
    GELU: lambda _: ("Gelu", {}),
    Mish: lambda _: ("Mish", {}),
    Softplus: lambda _: ("Softplus", {}),
    Sigmoid: lambda _: ("Sigmoid", {}),
    Tanh: lambda _: ("Tanh", {}),
}
_LINKS: dict[int, tuple[str, dict[str, Any]]] = {
    LINK_IDENTITY: ("Identity", {}),
    LINK_SOFTMAX: ("Softmax", {"axis": 1}),
    LINK_SIGMOID: ("Sigmoid", {}),
    LINK_EXP: ("Exp", {}),
}


class _Graph:
    """Nodes and constants that are added one after the other."""

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def unique_name(self, kind: str) -> str:
        """A name that nothing in the graph has."""
        return f"{kind}_{len(self.nodes) + len(self.constants)}"

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
        self.add_constant(name, np.asarray(values, object if dtype is str else dtype))
        return name


class _PartOfGraph(_Graph):
    """The same, as a part of a graph that skl2onnx builds."""

    def __init__(self, onnx: Any, scope: Any, container: Any) -> None:
        super().__init__(onnx)
        self.scope, self.container = scope, container

    def unique_name(self, kind: str) -> str:
        name: str = self.scope.get_unique_variable_name(kind)
        return name

    def add_node(self, kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        name = self.scope.get_unique_operator_name(kind)
        self.container.add_node(kind, inputs, outputs, name=name, **attributes)

    def add_constant(self, name: str, values: np.ndarray) -> None:
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
        self.container.add_initializer(name, kind, values.shape, values.ravel().tolist())


class _Head(NamedTuple):
    """What users ask of a model: numbers, or labels and probabilities."""

    kind: str  # "numbers", "classes", "binary" or "labels"
    classes: Any
    n_outputs: int
    n_levels: int  # quantiles of each target

    def outputs(self) -> dict[str, tuple[str, int | None]]:
        """Type and columns of each output; one without columns is (n,)."""
        if self.kind == "numbers":
            return {"predictions": ("FLOAT", self.n_outputs)}
        label: tuple[str, int | None] = ("STRING" if self._has_texts() else "INT64", None)
        if self.kind == "labels":
            label = ("INT64", self.n_outputs)
        n_classes = 2 if self.kind == "binary" else self.n_outputs
        return {"label": label, "probabilities": ("FLOAT", n_classes)}

    def _has_texts(self) -> bool:
        return np.asarray(self.classes).dtype.kind in "UO"

    def add(self, graph: _Graph, linked: str) -> list[str]:
        """Add what computes them from the network's outputs; returns their names."""
        if self.kind == "numbers":
            several = self.n_levels > 1
            return [_sorted(graph, linked, self.n_outputs, self.n_levels) if several else linked]
        if self.kind == "labels":
            above = graph.node("Greater", linked, graph.constant(0.5))
            return [graph.node("Cast", above, to=graph.onnx.TensorProto.INT64), linked]
        if self.kind == "binary":
            rest = graph.node("Sub", graph.constant(1.0), linked)
            linked = graph.node("Concat", rest, linked, axis=1)
        place = graph.node("ArgMax", linked, axis=1, keepdims=0)
        classes = np.asarray(self.classes).tolist()
        names = graph.constant(classes, str if self._has_texts() else np.int64)
        return [graph.node("Gather", names, place), linked]


def _described(model: Any) -> tuple[Network, _Head]:
    """A model's network and what it answers with."""
    if isinstance(model, Network):
        if not (model.is_built and isinstance(model.loss, BuiltInLoss)):
            raise InputError(
                "to_onnx", "a built network with a built-in loss",
                "one with a loss of its own" if model.is_built else "one not built yet",
                "call fit first, or export with a built-in loss",
            )  # fmt: skip
        kind: str = model.loss.task if model.classes_ is not None else "numbers"
        return model, _Head(kind, model.classes_, model.n_outputs, 1)
    network = network_of("to_onnx", model)
    classes, kind = getattr(model, "classes_", None), "numbers"
    if classes is not None:
        kind = "classes" if model.out_activation_ == "softmax" else "binary"
        if kind == "binary" and model.n_outputs_ > 1:
            kind = "labels"
    return network, _Head(kind, classes, network.n_outputs, getattr(model, "_n_levels", 1))


def _forward(graph: _Graph, network: Network, name: str) -> str:
    """Nodes of all layers and of the loss's link; returns the name of the last output."""
    for layer in network.layers:
        name = _layer(graph, layer, name)
    kind, attributes = _LINKS[network.loss.link_code]  # type: ignore[attr-defined]
    return graph.node(kind, name, **attributes)


def _layer(graph: _Graph, layer: Layer, name: str) -> str:
    if isinstance(layer, Dense):
        return graph.node("Gemm", name, graph.constant(layer.W), graph.constant(layer.b))
    if isinstance(layer, Dropout):
        return name
    if isinstance(layer, SiLU):
        return graph.node("Mul", name, graph.node("Sigmoid", name))
    if isinstance(layer, Rescaling):
        return graph.node("Mul", name, graph.constant(layer.scale))
    if type(layer) not in _NODES:
        raise InputError("to_onnx", "built-in layers", repr(layer), "export without it")
    kind, attributes = _NODES[type(layer)](layer)
    return graph.node(kind, name, **attributes)


def _sorted(graph: _Graph, linked: str, n_outputs: int, n_levels: int) -> str:
    """Quantiles of each target in ascending order."""
    shape = graph.constant([-1, n_outputs // n_levels, n_levels], np.int64)
    by_target, count = graph.node("Reshape", linked, shape), graph.constant([n_levels], np.int64)
    values, places = graph.unique_name("quantiles"), graph.unique_name("places")
    graph.add_node("TopK", [by_target, count], [values, places], axis=2, largest=0, sorted=1)
    return graph.node("Reshape", values, graph.constant([-1, n_outputs], np.int64))


def to_onnx(model: Any, path: Any, X: Any = None) -> None:
    """Write a network, a fitted estimator or a pipeline as an ONNX file.

    The input "X" is float32 of shape (n, n_features). A classifier has the outputs "label" and
    "probabilities", as `predict` and `predict_proba` return them; other models have "predictions".

    Parameters
    ----------
    model : Network, MLPClassifier, MLPRegressor, or scikit-learn model that holds one of those
        Other steps of a pipeline (scalers, encoders, column transformers) are written by skl2onnx.
    path : str or path
        A name that ends in .onnx, in a folder that exists.
    X : data frame or array of shape (n, n_features), optional
        Some rows, needed where inputs of a pipeline are not numbers in float32; the columns of a
        data frame become inputs of their names, of shape (n, 1).

    Raises
    ------
    InputError
        If onnx or, for a pipeline, skl2onnx is not installed; if the model is not built or fitted,
        or has layers or a loss of your own, or a step that skl2onnx cannot write.
    FileError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from fastmlp import Dense, Network, ReLU, to_onnx
    >>> path = Path(tempfile.mkdtemp(), "network.onnx")
    >>> to_onnx(Network([Dense(4, 8), ReLU(), Dense(8, 2)]), path)
    >>> path.is_file()
    True
    """
    onnx = require("onnx", "to_onnx", "onnx")
    path = checked_path("to_onnx", path, (".onnx",))
    if isinstance(model, Network) or hasattr(model, "_network") or not hasattr(model, "get_params"):
        written = _own_model(onnx, model)
    else:
        written = _with_skl2onnx(onnx, model, X)
    onnx.checker.check_model(written)
    with replacing("to_onnx", path) as temporary:
        temporary.write_bytes(written.SerializeToString())


def _own_model(onnx: Any, model: Any) -> Any:
    """The file's content for a network or an estimator of ours."""
    network, head = _described(model)
    if (network.trained_on or {}).get("needs_float64"):
        raise InputError(
            "to_onnx",
            "a network of which float32 holds inputs and outputs",
            "one trained on columns that need float64",
            "subtract a number near their mean and train again",
        )
    graph, helper, types = _Graph(onnx), onnx.helper, onnx.TensorProto
    found = head.add(graph, _forward(graph, network, "X"))
    outputs = []
    for name, (output, (kind, width)) in zip(found, head.outputs().items(), strict=True):
        graph.add_node("Identity", [name], [output])
        shape = ["n"] if width is None else ["n", width]
        outputs.append(helper.make_tensor_value_info(output, types.DataType.Value(kind), shape))
    inputs = [helper.make_tensor_value_info("X", types.FLOAT, ["n", network.n_features])]
    made = helper.make_graph(graph.nodes, "fastmlp", inputs, outputs, graph.constants)
    opsets = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(made, opset_imports=opsets, producer_name="fastmlp", ir_version=9)


def _with_skl2onnx(onnx: Any, model: Any, X: Any) -> Any:
    """The file's content for a scikit-learn model with one of our estimators in it."""
    from sklearn.base import is_classifier
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(model)
    skl2onnx = require("skl2onnx", "to_onnx", "onnx")
    from skl2onnx.common import exceptions

    _teach(onnx, skl2onnx)
    options = {id(model): {"zipmap": False}} if is_classifier(model) else {}
    types = None
    if X is None:
        shape = [None, model.n_features_in_]
        types = [("X", skl2onnx.common.data_types.FloatTensorType(shape))]
    try:
        return skl2onnx.to_onnx(
            model, None if X is None else X[:1], initial_types=types, options=options,
            target_opset=_OPSET,
        )  # fmt: skip
    except (
        exceptions.MissingShapeCalculator, exceptions.MissingConverter, RuntimeError
    ) as failure:  # fmt: skip
        reason = str(failure).split("\n")[0].rstrip(".")
        raise InputError(
            "to_onnx", "steps that skl2onnx can write", f"one that it refuses ({reason})",
            "leave out that step",
        ) from failure  # fmt: skip


def _teach(onnx: Any, skl2onnx: Any) -> None:
    """Tell skl2onnx how our estimators are written, so that they may be steps of anything."""
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType

    from .estimators import MLPClassifier, MLPRegressor

    types = {"FLOAT": FloatTensorType, "INT64": Int64TensorType, "STRING": StringTensorType}

    def shapes(operator: Any) -> None:
        n, (_, head) = operator.inputs[0].get_first_dimension(), _described(operator.raw_operator)
        for variable, (kind, width) in zip(operator.outputs, head.outputs().values(), strict=True):
            variable.set_type(types[kind]([n] if width is None else [n, width]))

    def convert(scope: Any, operator: Any, container: Any) -> None:
        graph = _PartOfGraph(onnx, scope, container)
        network, head = _described(operator.raw_operator)
        X = graph.node("Cast", operator.inputs[0].full_name, to=onnx.TensorProto.FLOAT)
        found = head.add(graph, _forward(graph, network, X))
        for name, variable in zip(found, operator.outputs, strict=True):
            graph.add_node("Identity", [name], [variable.full_name])

    for kind in (MLPClassifier, MLPRegressor):
        options = {"zipmap": [True, False, "columns"]} if kind is MLPClassifier else None
        skl2onnx.update_registered_converter(
            kind, f"Fastmlp{kind.__name__}", shapes, convert, options=options
        )
