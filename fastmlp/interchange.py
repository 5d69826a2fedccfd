"""Models to and from other libraries: ONNX files, PyTorch state dicts, fitted scikit-learn models.

ONNX graphs are built node by node with `onnx.helper`, in float32, and need nothing of fastmlp to
run; PyTorch's parameters are those of a `torch.nn.Sequential` of the same layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError, InputTypeError, require
from .files import checked_path, replacing
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

if TYPE_CHECKING:
    from .estimators import MLPClassifier, MLPRegressor

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
    """Nodes and constants of an ONNX graph that grows from its input."""

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; returns the name of its output."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """Add an array; returns its name."""
        name = f"constant_{len(self.constants)}"
        array = np.array(values, object) if dtype is str else np.asarray(values, dtype)
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def rename_output(self, name: str, to: str) -> None:
        """Give what a node computes the name under which users ask for it."""
        self.nodes.append(self.onnx.helper.make_node("Identity", [name], [to]))

    def save(
        self, path: Any, n_features: int, outputs: Mapping[str, tuple[Any, int | None]]
    ) -> None:
        """Check and write the graph; `outputs` are types and columns by name."""
        helper = self.onnx.helper
        shape = ["n", n_features]
        inputs = [helper.make_tensor_value_info("X", self.onnx.TensorProto.FLOAT, shape)]
        found = [
            helper.make_tensor_value_info(name, kind, ["n"] if width is None else ["n", width])
            for name, (kind, width) in outputs.items()
        ]
        graph = helper.make_graph(self.nodes, "fastmlp", inputs, found, self.constants)
        opsets = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(
            graph, opset_imports=opsets, producer_name="fastmlp", ir_version=9
        )
        self.onnx.checker.check_model(model)
        with replacing("to_onnx", checked_path("to_onnx", path, (".onnx",))) as temporary:
            temporary.write_bytes(model.SerializeToString())


def to_onnx(model: Any, path: Any) -> None:
    """Write a network or a fitted estimator as an ONNX file.

    Its input "X" is float32 of shape (n, n_features). A classifier has the outputs "label" and
    "probabilities", as `predict` and `predict_proba` return them; other models have "predictions".

    Parameters
    ----------
    model : Network, MLPClassifier or MLPRegressor
    path : str or Path

    Raises
    ------
    InputError
        If onnx is not installed, or the model is not built or has layers or a loss of your own.
    """
    onnx = require("onnx", "to_onnx", "onnx")
    network, head = _network_and_head(model)
    graph = _Graph(onnx)
    linked = _forward(graph, network)
    graph.save(path, network.n_features, head(graph, linked))


def _network_of(where: str, model: Any) -> Network:
    """The network that a model is, or has."""
    network = model if isinstance(model, Network) else getattr(model, "_network", None)
    if not isinstance(network, Network):
        raise InputTypeError(
            where, "a Network, MLPClassifier or MLPRegressor", type(model).__name__,
            "fit one of those",
        )  # fmt: skip
    return network


def _network_and_head(model: Any) -> tuple[Network, Callable[[_Graph, str], dict[str, Any]]]:
    """The network, and what adds its outputs to a graph."""
    if isinstance(model, Network):
        if not (model.is_built and isinstance(model.loss, BuiltInLoss)):
            raise InputError(
                "to_onnx", "a built network with a built-in loss",
                "one with a loss of its own" if model.is_built else "one not built yet",
                "call fit first, or export with a built-in loss",
            )  # fmt: skip
        classes, n_outputs = model.classes_, model.n_outputs
        kind: str = model.loss.task if classes is not None else "numbers"
        return model, lambda graph, linked: _outputs(graph, linked, kind, classes, n_outputs, 1)
    network = _network_of("to_onnx", model)
    classes = getattr(model, "classes_", None)
    kind, n_levels = "numbers", getattr(model, "_n_levels", 1)
    if classes is not None:
        kind = {"softmax": "classes"}.get(model.out_activation_, "binary")
        if kind == "binary" and model.n_outputs_ > 1:
            kind = "labels"
    n_outputs = network.n_outputs
    return network, lambda graph, linked: _outputs(
        graph, linked, kind, classes, n_outputs, n_levels
    )


def _forward(graph: _Graph, network: Network) -> str:
    """Nodes of all layers and of the loss's link; returns the name of the last output."""
    name = "X"
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


def _outputs(
    graph: _Graph, linked: str, kind: str, classes: Any, n_outputs: int, n_levels: int
) -> dict[str, tuple[Any, int | None]]:
    """Add the outputs that users ask for; returns their types and columns."""
    types = graph.onnx.TensorProto
    if kind == "numbers":
        if n_levels > 1:
            linked = _sorted(graph, linked, n_outputs, n_levels)
        graph.rename_output(linked, "predictions")
        return {"predictions": (types.FLOAT, n_outputs)}
    probabilities, n_classes = linked, n_outputs
    if kind == "labels":
        above = graph.node("Greater", linked, graph.constant(0.5))
        label = graph.node("Cast", above, to=types.INT64)
        label_type: tuple[Any, int | None] = (types.INT64, n_outputs)
    else:
        if kind == "binary":
            rest = graph.node("Sub", graph.constant(1.0), linked)
            probabilities, n_classes = graph.node("Concat", rest, linked, axis=1), 2
        place = graph.node("ArgMax", probabilities, axis=1, keepdims=0)
        as_text = np.asarray(classes).dtype.kind in "UO"
        names = graph.constant(np.asarray(classes).tolist(), str if as_text else np.int64)
        label = graph.node("Gather", names, place)
        label_type = (types.STRING if as_text else types.INT64, None)
    graph.rename_output(label, "label")
    graph.rename_output(probabilities, "probabilities")
    return {"label": label_type, "probabilities": (types.FLOAT, n_classes)}


def _sorted(graph: _Graph, linked: str, n_outputs: int, n_levels: int) -> str:
    """Quantiles of each target in ascending order."""
    shape = graph.constant([-1, n_outputs // n_levels, n_levels], np.int64)
    by_target, values = graph.node("Reshape", linked, shape), f"quantiles_{len(graph.nodes)}"
    ascending = graph.onnx.helper.make_node(
        "TopK", [by_target, graph.constant([n_levels], np.int64)], [values, values + "_places"],
        axis=2, largest=0, sorted=1,
    )  # fmt: skip
    graph.nodes.append(ascending)
    return graph.node("Reshape", values, graph.constant([-1, n_outputs], np.int64))


def to_torch(model: Any) -> dict[str, Any]:
    """State dict for a `torch.nn.Sequential` of the same layers in the same order.

    Parameters
    ----------
    model : Network, MLPClassifier or MLPRegressor

    Returns
    -------
    dict of str to torch.Tensor
        "0.weight" (n_out, n_in) and "0.bias" (n_out,) of layer 0, and so on; copies.
    """
    torch = require("torch", "to_torch", "bench")
    network, found = _network_of("to_torch", model), dict[str, Any]()
    for number, layer in enumerate(network.layers):
        if isinstance(layer, Dense):
            found[f"{number}.weight"] = torch.from_numpy(np.array(layer.W.T, order="C"))
            found[f"{number}.bias"] = torch.from_numpy(layer.b.copy())
    return found


def from_torch(state: Mapping[str, Any], network: Network) -> Network:
    """Take over the linear layers of a PyTorch model's state dict, in their order.

    Parameters
    ----------
    state : mapping of str to torch.Tensor or ndarray
        As ``module.state_dict()`` returns it: weights and biases in turn.
    network : Network
        Built, with Dense layers of the same sizes; its parameters are overwritten.

    Returns
    -------
    Network
        The same one.

    Raises
    ------
    InputError
        If numbers or shapes of the layers differ, before anything is changed.
    """
    arrays = [_as_array(value) for value in state.values()]
    dense = [layer for layer in network.layers if isinstance(layer, Dense)]
    wanted = [shape for layer in dense for shape in (layer.W.T.shape, layer.b.shape)]
    if [array.shape for array in arrays] != wanted:
        raise InputError(
            "from_torch", f"parameters of shapes {wanted}",
            f"{[array.shape for array in arrays]}", "match the layers of both models",
        )  # fmt: skip
    for layer, W, b in zip(dense, arrays[::2], arrays[1::2], strict=True):
        layer.W, layer.b = W.T, b
    return network


def _as_array(value: Any) -> np.ndarray:
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def from_sklearn(model: Any) -> MLPClassifier | MLPRegressor:
    """Our estimator with the parameters and weights of a fitted one of scikit-learn.

    Parameters
    ----------
    model : sklearn.neural_network.MLPClassifier or MLPRegressor
        Fitted.

    Returns
    -------
    MLPClassifier or MLPRegressor
        Fitted; it predicts the same and can train on.

    Raises
    ------
    InputError
        For anything else, and for a model that is not fitted.
    """
    from . import estimators

    kind = getattr(estimators, type(model).__name__, None)
    if kind is None or not hasattr(model, "hidden_layer_sizes"):
        raise InputTypeError(
            "from_sklearn", "scikit-learn's MLPClassifier or MLPRegressor", type(model).__name__,
            "pass one of those",
        )  # fmt: skip
    if not hasattr(model, "coefs_"):
        raise InputError("from_sklearn", "a fitted model", "one not fitted yet", "call fit first")
    made: MLPClassifier | MLPRegressor = kind(**model.get_params())
    return made._take_over(model)
