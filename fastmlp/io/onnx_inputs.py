"""Users' rows as inputs of an ONNX file, and the casts to the types of the graph.

Each column of a data frame is an input with its name and type, a matrix is one input "X". skl2onnx
needs one number type throughout, so its graph is written for that type and follows casts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError, InputTypeError
from ..inputs import checks, columns
from ..inputs.tables import is_sparse

MATRIX = "X"
_PREFIX = (
    "fastmlp steps/"  # begins the names inside a graph, so that none is that of an input or output
)
_TYPES = {
    np.dtype(kind): name
    for kind, name in {
        "f2": "FLOAT16", "f4": "FLOAT", "f8": "DOUBLE", "i1": "INT8", "i2": "INT16", "i4": "INT32",
        "i8": "INT64", "u1": "UINT8", "u2": "UINT16", "u4": "UINT32", "u8": "UINT64", "?": "BOOL",
    }.items()
}  # fmt: skip
_MOST_ROWS = 200  # rows on which predictions are compared


class Input(NamedTuple):
    """One input of a file; it has no type if ONNX has none for its values."""

    name: str
    type: str
    values: np.ndarray  # (n, n_columns), as a session takes them
    gaps: np.ndarray | None = None  # rows (n,) in which text is missing


def some_rows(X: Any) -> Any:
    """The first rows of any table."""
    if isinstance(X, Mapping):
        return {name: values[:_MOST_ROWS] for name, values in X.items()}
    if hasattr(X, "iloc"):
        return X.iloc[:_MOST_ROWS]
    if isinstance(X, list | tuple):
        return X[:_MOST_ROWS]
    return X.slice(0, _MOST_ROWS) if hasattr(X, "column_names") else X[:_MOST_ROWS]


def inputs_of(X: Any) -> list[Input]:
    """Rows as inputs: one for each named column, or one matrix."""
    names = columns.names_of("to_onnx", X)
    values = X.toarray() if is_sparse(X) else checks.array("to_onnx", "X", X)
    if values.ndim != 2 or 0 in values.shape:
        raise InputError(
            "to_onnx", "X with at least one row and column", f"an array of shape {values.shape}",
            "pass some rows such as the model was fitted on",
        )  # fmt: skip
    if names is not None:
        return [_input(name, np.asarray(X[name]).reshape(-1, 1)) for name in names]
    found = _input(MATRIX, values)
    if not found.type:
        raise InputTypeError(
            "to_onnx", "X of numbers or of text", f"dtype {values.dtype}",
            "pass a data frame, whose columns may be of several types",
        )  # fmt: skip
    return [found]


def _input(name: str, values: np.ndarray) -> Input:
    if values.dtype.kind in "UT":
        return Input(name, "STRING", values.astype(object))
    if values.dtype.kind == "O":
        return _of_objects(name, values)
    native = values.astype(values.dtype.newbyteorder("="))
    return Input(name, _TYPES.get(native.dtype, ""), native)


def _of_objects(name: str, values: np.ndarray) -> Input:
    """Text with gaps, or numbers with gaps, as pandas keeps them."""
    gaps = np.array([_is_gap(value) for value in values.flat]).reshape(values.shape)
    present = values[~gaps].tolist()
    if present and all(isinstance(value, str) for value in present):
        return Input(
            name, "STRING", np.where(gaps, "", values).astype(object), np.any(gaps, axis=1)
        )
    if all(isinstance(value, bool | np.bool_) for value in present) and not gaps.any():
        return Input(name, "BOOL", values.astype(bool))
    if all(isinstance(value, int | float | np.number) for value in present):
        return Input(name, "DOUBLE", np.where(gaps, np.nan, values).astype(np.float64))
    return Input(name, "", values)


def _is_gap(value: Any) -> bool:
    """Whether it is None, nan, NaT or pandas' NA, whose comparison with itself is not a bool."""
    return value is None or type(value).__name__ == "NAType" or bool(value != value)


class Layout(NamedTuple):
    """How inputs enter a graph: separately or joined to one matrix, in one number type."""

    inputs: list[Input]
    numbers: str  # "DOUBLE" or "FLOAT"
    joined: bool

    def type_of(self, found: Input) -> str:
        """The type after the cast; an input without one is declared as text, and must be unused."""
        return "STRING" if found.type in ("STRING", "") else self.numbers

    def declared(self) -> list[tuple[str, str, int]]:
        """Name, type and columns of each input of the graph after the casts."""
        if self.joined:
            width = sum(found.values.shape[1] for found in self.inputs)
            return [(MATRIX, self.type_of(self.inputs[0]), width)]
        return [(found.name, self.type_of(found), found.values.shape[1]) for found in self.inputs]


def layouts(inputs: list[Input]) -> list[Layout]:
    """All layouts worth trying, the most precise first."""
    can_join = len(inputs) > 1 and (
        len({found.type == "STRING" for found in inputs}) == 1 and all(f.type for f in inputs)
    )
    return [
        Layout(inputs, numbers, joined)
        for numbers in ("DOUBLE", "FLOAT")
        for joined in ((True, False) if can_join else (False,))
    ]


def connected(onnx: Any, made: Any, layout: Layout) -> Any:
    """The graph that skl2onnx wrote for a layout, connected to the users' inputs."""
    if layout.numbers == "DOUBLE":
        _fill_gaps_in_double(onnx, made.graph)
    made = onnx.compose.add_prefix(made, _PREFIX)
    graph, make_node = made.graph, onnx.helper.make_node
    inner = [found.name for found in graph.input]
    places = [f"{_PREFIX}cast {i}" for i in range(len(layout.inputs))] if layout.joined else inner
    used = {name for node in graph.node for name in node.input}
    nodes, given = [], []
    for found, place in zip(layout.inputs, places, strict=True):
        if found.type:
            code = _code(onnx, layout.type_of(found))
            nodes.append(make_node("Cast", [found.name], [place], to=code))
            shape = ["n", found.values.shape[1]]
            code = _code(onnx, found.type)
            given.append(onnx.helper.make_tensor_value_info(found.name, code, shape))
        elif place in used:
            raise InputTypeError(
                "to_onnx", f"numbers or text in the column {found.name!r}",
                f"dtype {found.values.dtype}", "turn it into numbers before the model",
            )  # fmt: skip
    if layout.joined:
        nodes.append(make_node("Concat", places, inner, axis=1))
    nodes += graph.node
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.extend(given)
    return made


def _code(onnx: Any, name: str) -> int:
    code: int = onnx.TensorProto.DataType.Value(name)
    return code


def _fill_gaps_in_double(onnx: Any, graph: Any) -> None:
    """Replace Imputer, which ONNX Runtime has only for float32, by nodes that it has for both."""
    nodes = []
    for number, node in enumerate(graph.node):
        if node.op_type != "Imputer":
            nodes.append(node)
            continue
        options = {found.name: found for found in node.attribute}
        gap = options["replaced_value_float"].f
        values = np.array(options["imputed_value_floats"].floats, np.float64)
        names = [f"imputer {number} {part}" for part in ("values", "mask", "gap")]
        constants, test = {names[0]: values}, ["IsNaN", [node.input[0]]]
        if not np.isnan(gap):
            constants[names[2]], test = np.array([gap]), ["Equal", [node.input[0], names[2]]]
        graph.initializer.extend(
            onnx.numpy_helper.from_array(value, name) for name, value in constants.items()
        )
        nodes.append(onnx.helper.make_node(*test, [names[1]]))
        filled = [names[1], names[0], node.input[0]]
        nodes.append(onnx.helper.make_node("Where", filled, list(node.output)))
    del graph.node[:]
    graph.node.extend(nodes)


def refuse_names(inputs: list[Input], outputs: list[str]) -> None:
    """Refuse columns with the name of an output."""
    taken = [repr(found.name) for found in inputs if found.name in outputs]
    if taken:
        raise InputError(
            "to_onnx", f"columns with other names than the outputs {' and '.join(outputs)}",
            f"one named {' and one named '.join(taken)}", "rename those columns",
        )  # fmt: skip


def with_outputs(onnx: Any, made: Any, names: list[str]) -> Any:
    """The graph with its outputs renamed, and numbers in float32."""
    graph, helper = made.graph, onnx.helper
    outputs = []
    for found, name in zip(list(graph.output), names, strict=True):
        kind = found.type.tensor_type.elem_type
        code = onnx.TensorProto.FLOAT if kind == onnx.TensorProto.DOUBLE else kind
        graph.node.append(helper.make_node("Cast", [found.name], [name], to=code))
        sizes = [d.dim_value or None for d in found.type.tensor_type.shape.dim]
        shape = ["n", *sizes[1:]] if sizes else None
        outputs.append(helper.make_tensor_value_info(name, code, shape))
    del graph.output[:]
    graph.output.extend(outputs)
    return made
