"""ONNX files of networks, estimators and pipelines, which run without fastmlp.

Our nodes are made one by one with `onnx.helper`, in float32. For a pipeline, skl2onnx writes the
other steps and calls this module for ours.
"""

from __future__ import annotations

from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError, InputTypeError, require
from ..inputs import checks, columns
from ..inputs.tables import is_sparse
from ..network import Network
from ..nn.losses import CompiledLoss, Loss, outputs_per_target
from ..tabular import frames
from .files import checked_path, replacing
from .interchange import is_ours, is_table_model, networks_of
from .onnx_graph import Graph, network_nodes
from .onnx_inputs import (
    Input,
    Layout,
    connected,
    inputs_of,
    layouts,
    refuse_names,
    some_rows,
    with_outputs,
)
from .onnx_runtime import check_answers, reason, session_of
from .onnx_tables import TableNodes, input_names, inputs_for, made_up

_OPSET = 20  # the first with GELU
_ML_OPSET = 3


class _PartOfGraph(Graph):
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
    """The outputs of a model for users: numbers, or labels and probabilities."""

    kind: str  # "numbers", "classes", "binary" or "labels"
    classes: Any
    n_outputs: int
    n_levels: int  # quantiles of each target

    def outputs(self) -> dict[str, tuple[str, int | None]]:
        """Type and number of columns of each output; without columns its shape is (n,)."""
        if self.kind == "numbers":
            return {"predictions": ("FLOAT", self.n_outputs)}
        if self.kind == "labels":
            label: tuple[str, int | None] = ("INT64", self.n_outputs)
        else:
            label = ("STRING" if isinstance(self.labels()[0], str) else "INT64", None)
        n_classes = 2 if self.kind == "binary" else self.n_outputs
        return {"label": label, "probabilities": ("FLOAT", n_classes)}

    def labels(self) -> list[str] | list[int]:
        """The classes in types that ONNX has: text, or 64-bit integers."""
        classes = np.asarray(self.classes).tolist()
        if all(isinstance(label, str) for label in classes):
            return classes
        if all(isinstance(label, Real) and _is_int64(label) for label in classes):
            return [int(label) for label in classes]
        raise InputTypeError(
            "to_onnx", "labels that are text or whole numbers of 64 bits",
            f"dtype {np.asarray(self.classes).dtype}", "fit on labels of those types",
        )  # fmt: skip

    def add(self, graph: Graph, linked: str) -> list[str]:
        """Add the nodes that compute them from the network's outputs; returns their names."""
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
        labels = self.labels()
        names = graph.constant(labels, str if isinstance(labels[0], str) else np.int64)
        return [graph.node("Gather", names, place), linked]


def _is_int64(label: Any) -> bool:
    return -(2**63) <= label < 2**63 and label == int(label)


def _has_known_link(loss: Loss) -> bool:
    """Whether a loss uses one of the package's links."""
    kind = type(loss)
    return isinstance(loss, CompiledLoss) and all(
        getattr(kind, name) is getattr(CompiledLoss, name) for name in ("link", "link_kernel")
    )


def _described(model: Any) -> tuple[list[Network], _Head]:
    """A model's networks, whose outputs are averaged, and the outputs that it needs."""
    if isinstance(model, Network):
        if not (model.is_built and _has_known_link(model.loss)):
            raise InputError(
                "to_onnx", "a built network with a built-in loss",
                "one with a loss of its own" if model.is_built else "one not built yet",
                "call fit first, or export with a built-in loss",
            )  # fmt: skip
        kind: str = model.loss.task if model.classes_ is not None else "numbers"
        return [model], _Head(kind, model.classes_, model.n_outputs, 1)
    if is_table_model(model):
        classes = getattr(model, "classes_", None)
        kind = "numbers" if classes is None else "classes"
        network = model.networks_[0]
        return model.networks_, _Head(
            kind, classes, network.n_outputs, outputs_per_target(network.loss)
        )
    networks = networks_of("to_onnx", model)
    network = networks[0]
    classes, kind = getattr(model, "classes_", None), "numbers"
    if classes is not None:
        kind = "classes" if model.out_activation_ == "softmax" else "binary"
        if kind == "binary" and model.n_outputs_ > 1:
            kind = "labels"
    return networks, _Head(kind, classes, network.n_outputs, outputs_per_target(network.loss))


def _sorted(graph: Graph, linked: str, n_outputs: int, n_levels: int) -> str:
    """Sort the quantiles of each target in ascending order."""
    shape = graph.constant([-1, n_outputs // n_levels, n_levels], np.int64)
    by_target, count = graph.node("Reshape", linked, shape), graph.constant([n_levels], np.int64)
    values, places = graph.unique_name("quantiles"), graph.unique_name("places")
    graph.add_node("TopK", [by_target, count], [values, places], axis=2, largest=0, sorted=1)
    return graph.node("Reshape", values, graph.constant([-1, n_outputs], np.int64))


def to_onnx(model: Any, path: Any, X: Any = None) -> None:
    """Write a network, a fitted estimator or a pipeline as an ONNX file.

    The input "X" is float32 of shape (n, n_features). A classifier has the outputs "label", text or
    int64, and "probabilities", float32, as `predict` and `predict_proba` return them; other models
    have "predictions". If onnxruntime is installed, the file is loaded in ONNX Runtime before it is
    written, and must reproduce the model's predictions on the first 200 rows of X.

    Parameters
    ----------
    model : Network, MLPClassifier, MLPRegressor, or scikit-learn model that holds one of those
        Or a TabularClassifier or TabularRegressor, whose raw columns become inputs of shape (n, 1):
        numbers as double with nan, texts with "" for what is missing, times as int64 of
        microseconds since 1970, of which the smallest is what is missing. Other steps of a pipeline
        (scalers, encoders, column transformers) are written by skl2onnx.
    path : str or path
        A name that ends in .onnx, in a folder that exists.
    X : data frame or array of shape (n, n_features), optional
        Some rows, needed if inputs of a pipeline are not float32 numbers: inputs get the types of
        X. The columns of a data frame of pandas, polars or another library become inputs with their
        names, of shape (n, 1).

    Raises
    ------
    InputError
        If onnx or, for a pipeline, skl2onnx is not installed; if the model is not built or fitted,
        or has user-defined layers or losses, a step that skl2onnx cannot write, labels that are
        neither text nor whole numbers, or columns with names of outputs; and if ONNX Runtime
        refuses the file or its predictions differ from the model's.
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
    onnx = require("onnx", "to_onnx")
    path = checked_path("to_onnx", path, (".onnx",))
    X = None if X is None else some_rows(X)
    if is_ours(model) or not hasattr(model, "get_params"):
        written = _own_model(onnx, model, X)
    else:
        written = _with_skl2onnx(onnx, model, X)
    with replacing("to_onnx", path) as temporary:
        temporary.write_bytes(written.SerializeToString())


def _tried(onnx: Any, made: Any, names: list[str], inputs: list[Input], model: Any, X: Any) -> Any:
    """The same file, after it was loaded and tested on rows, either given or made up."""
    session = session_of(onnx, made)
    if session is not None:
        rows = inputs[0].values if X is None else X
        check_answers(session, names, inputs, model, rows, given=X is not None)
    return made


def _made_up(n_features: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(20, n_features)).astype(np.float32)


def _own_model(onnx: Any, model: Any, X: Any) -> Any:
    """The file's content for a fastmlp network or estimator."""
    if is_table_model(model):
        return _table_model(onnx, model, X)
    networks, head = _described(model)
    network = networks[0]
    if (network.trained_on or {}).get("needs_float64"):
        raise InputError(
            "to_onnx",
            "a network of which float32 holds inputs and outputs",
            "one trained on columns that need float64",
            "subtract a number near their mean and train again",
        )
    graph = Graph(onnx)
    found = head.add(graph, network_nodes(graph, networks, "X"))
    rows = _made_up(network.n_features) if X is None else _rows(network, X)
    inputs = [Input("X", "FLOAT", rows)]
    made = _whole(graph, head, found, inputs)
    return _tried(onnx, made, list(head.outputs()), inputs, model, X)


def _whole(graph: Graph, head: _Head, found: list[str], inputs: list[Input]) -> Any:
    """The file's content; found: what the head has made, which become the outputs."""
    helper, types, outputs = graph.onnx.helper, graph.onnx.TensorProto, []
    for name, (output, (kind, width)) in zip(found, head.outputs().items(), strict=True):
        graph.add_node("Identity", [name], [output])
        shape = ["n"] if width is None else ["n", width]
        outputs.append(helper.make_tensor_value_info(output, types.DataType.Value(kind), shape))
    given = [
        helper.make_tensor_value_info(
            one.name, types.DataType.Value(one.type), ["n", one.values.shape[1]]
        )
        for one in inputs
    ]
    made = helper.make_graph(graph.nodes, "fastmlp", given, outputs, graph.constants)
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
    return helper.make_model(made, opset_imports=opsets, producer_name="fastmlp", ir_version=9)


def _table_model(onnx: Any, model: Any, X: Any) -> Any:
    """The file's content for an estimator for tables: its inputs are raw columns."""
    (networks, head), preparation, graph = _described(model), model.preparation_, Graph(onnx)
    frame = made_up(preparation) if X is None else frames.read("to_onnx", X)
    frame = frames.in_order("to_onnx", frame, preparation.names, len(preparation.plans))
    inputs = inputs_for(preparation, frame)
    refuse_names(inputs, list(head.outputs()))
    linked = network_nodes(graph, networks, TableNodes(graph, preparation).prepared())
    if head.kind == "numbers":
        linked = _in_units(graph, model, linked, head.n_levels)
    made = _whole(graph, head, head.add(graph, linked), inputs)
    columns_of_frame = {
        name: column.values.tolist()
        for name, column in zip(input_names(preparation), frame.columns, strict=True)
    }
    rows: Any = columns_of_frame
    if preparation.names is None:
        rows = np.array(list(columns_of_frame.values()), object).T
    return _tried(onnx, made, list(head.outputs()), inputs, model, rows)


def _in_units(graph: Graph, model: Any, linked: str, n_levels: int) -> str:
    """Numbers in the units of the targets, within their range."""
    double, (low, high) = graph.onnx.TensorProto.DOUBLE, model.target_range_
    found = graph.node("Cast", linked, to=double)
    for kind, values in (
        ("Mul", model.target_scale_), ("Add", model.target_mean_), ("Max", low), ("Min", high)
    ):  # fmt: skip
        each = np.repeat(values, n_levels)
        found = graph.node(kind, found, graph.constant(each, np.float64))
    return graph.node("Cast", found, to=graph.onnx.TensorProto.FLOAT)


def _rows(network: Network, X: Any) -> np.ndarray:
    """Rows in float32, in the order of the network's columns if both have names."""
    order = columns.order_in("to_onnx", X, network.feature_names)
    values = checks.matrix("to_onnx", "X", X, network.n_features)
    values = values.toarray() if is_sparse(values) else values
    with np.errstate(over="ignore"):
        return (values if order is None else values[:, order]).astype(np.float32)


def _with_skl2onnx(onnx: Any, model: Any, X: Any) -> Any:
    """The file's content for a scikit-learn model with one of our estimators in it."""
    from sklearn.base import is_classifier
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(model)
    skl2onnx = require("skl2onnx", "to_onnx")
    _teach(onnx, skl2onnx)
    inputs = inputs_of(_made_up(model.n_features_in_) if X is None else X)
    outputs = ["label", "probabilities"] if is_classifier(model) else ["predictions"]
    refuse_names(inputs, outputs)
    errors: dict[bool, InputError] = {}
    for layout in layouts(inputs) if X is not None else [Layout(inputs, "FLOAT", False)]:
        try:
            made = _laid_out(onnx, skl2onnx, model, layout, outputs)
            names = [found.name for found in made.graph.output]
            return _tried(onnx, made, names, inputs, model, X)
        except InputError as error:
            errors.setdefault(layout.joined, error)
    raise errors[False]  # with joined columns, the error may only be that names are missing


def _laid_out(onnx: Any, skl2onnx: Any, model: Any, layout: Layout, outputs: list[str]) -> Any:
    """The file's content with inputs in one of the layouts that steps may need."""
    kinds = skl2onnx.common.data_types
    types = {
        "STRING": kinds.StringTensorType,
        "DOUBLE": kinds.DoubleTensorType,
        "FLOAT": kinds.FloatTensorType,
    }
    declared = [(name, types[kind]([None, width])) for name, kind, width in layout.declared()]
    options = {id(model): {"zipmap": False}} if len(outputs) > 1 else {}
    try:
        made = skl2onnx.to_onnx(model, initial_types=declared, options=options, target_opset=_OPSET)
        made = connected(onnx, made, layout)
    except InputError:
        raise
    except Exception as failure:  # skl2onnx raises errors of every kind
        raise InputError(
            "to_onnx", "steps that skl2onnx can write", f"one that it refuses ({reason(failure)})",
            "leave out that step",
        ) from failure  # fmt: skip
    if len(made.graph.output) != len(outputs):  # such as one output for each of several models
        outputs = [f"output_{number}" for number, _ in enumerate(made.graph.output)]
    return with_outputs(onnx, made, outputs)


def _teach(onnx: Any, skl2onnx: Any) -> None:
    """Register our estimators in skl2onnx, so that they can be steps of any model."""
    from skl2onnx.common.data_types import (
        DoubleTensorType,
        FloatTensorType,
        Int64TensorType,
        StringTensorType,
    )

    from ..estimators import MLPClassifier, MLPRegressor

    types = {"FLOAT": FloatTensorType, "INT64": Int64TensorType, "STRING": StringTensorType}

    def shapes(operator: Any) -> None:
        """Meta-estimators compute with our outputs and their own inputs in one type."""
        n, (_, head) = operator.inputs[0].get_first_dimension(), _described(operator.raw_operator)
        numbers = DoubleTensorType if _is_double(operator) else FloatTensorType
        for variable, (kind, width) in zip(operator.outputs, head.outputs().values(), strict=True):
            made = numbers if kind == "FLOAT" else types[kind]
            variable.set_type(made([n] if width is None else [n, width]))

    def _is_double(operator: Any) -> bool:
        return isinstance(operator.inputs[0].type, DoubleTensorType)

    def convert(scope: Any, operator: Any, container: Any) -> None:
        graph = _PartOfGraph(onnx, scope, container)
        networks, head = _described(operator.raw_operator)
        X = graph.node("Cast", operator.inputs[0].full_name, to=onnx.TensorProto.FLOAT)
        found = head.add(graph, network_nodes(graph, networks, X))
        for name, variable in zip(found, operator.outputs, strict=True):
            if isinstance(variable.type, DoubleTensorType):
                name = graph.node("Cast", name, to=onnx.TensorProto.DOUBLE)
            graph.add_node("Identity", [name], [variable.full_name])

    def parse(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
        """skl2onnx takes labels for text that are neither int32, int64 nor bool."""
        operator = scope.declare_local_operator(f"Fastmlp{type(model).__name__}", model)
        operator.inputs = inputs
        for name, (kind, _) in _described(model)[1].outputs().items():
            operator.outputs.append(scope.declare_local_variable(name, types[kind]()))
        return operator.outputs

    for kind in (MLPClassifier, MLPRegressor):
        options = {"zipmap": [True, False, "columns"]} if kind is MLPClassifier else None
        skl2onnx.update_registered_converter(
            kind, f"Fastmlp{kind.__name__}", shapes, convert, parser=parse, options=options
        )
