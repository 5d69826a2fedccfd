"""Every error outside `datasets` and `plotting`: its class, its whole text, and no side effects.

One table has a row for each mistake. The last tests read the source to check that every error has a
row, and that messages show only names, shapes and counts.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import contextlib
import copy
import dataclasses
import functools
import json
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy import sparse
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer, StandardScaler

import fastmlp
from fastmlp import (
    ELU,
    EMA,
    SGD,
    SWA,
    Activation,
    Adam,
    AdamW,
    Averaging,
    BatchNorm,
    Checkpoint,
    Columns,
    CompiledLoss,
    Dense,
    Dropout,
    EarlyStopping,
    Embedding,
    Factor,
    GroupedDense,
    Huber,
    Layer,
    LayerNorm,
    LeakyReLU,
    Loss,
    MeanOfMembers,
    Members,
    MLPClassifier,
    MLPRegressor,
    Network,
    ParametricActivation,
    PiecewiseLinear,
    Quantile,
    ReLU,
    Residual,
    RMSprop,
    Scale,
    SearchCV,
    SearchDisplay,
    SharedDense,
    SoftmaxCrossEntropy,
    TabularClassifier,
    TabularRegressor,
    Tanh,
    check_part,
    compiled_activation,
    compiled_link,
    compiled_loss,
    compiled_optimizer,
    find_learning_rate,
    fit_many,
    from_sklearn,
    from_torch,
    search_space,
    to_onnx,
    to_torch,
)
from fastmlp.cluster.on_dask import OnDask
from fastmlp.dask import DaskMLPClassifier
from fastmlp.datasets import Dataset, open_arrays, open_chunks
from fastmlp.distributed.ranks import Ranks
from fastmlp.engine.engine import Engine
from fastmlp.errors import FileError, InputError, InputTypeError, require
from fastmlp.estimators.on_dask.partitions import check, look, partitions_of
from fastmlp.estimators.quantiles import levels_of
from fastmlp.estimators.tabular.metrics import metric_of
from fastmlp.inputs.shared import SharedTable
from fastmlp.inputs.tables import table_of
from fastmlp.inputs.targets import Encoded
from fastmlp.io import files, heldout, onnx_inputs, onnx_runtime
from fastmlp.kernels.compiler.jit import JIT_ENABLED
from fastmlp.kernels.compiler.memory import matrix_address, starts_address
from fastmlp.model.attributes import FixedError
from fastmlp.nn.initializers import INITIALIZERS, Normal
from fastmlp.nn.losses import LOSSES
from fastmlp.optim import schedules
from fastmlp.optim.optimizers import OPTIMIZERS, Group, Optimizer
from fastmlp.optim.schedules import SCHEDULES
from fastmlp.tabular import frames
from fastmlp.tabular.files import Training, load_mixed_features
from fastmlp.tabular.recipes import recipe_of
from fastmlp.tools import cli, command_options, commands
from fastmlp.tools.standardize import Moments, absorb_inputs, absorb_outputs
from fastmlp.training.stepper import Stepper as Halves

from .cluster.here import Here
from .support import sealed

PACKAGE = Path(fastmlp.__file__).parent
# Their errors stand in tests/datasets/test_datasets.py and tests/test_plotting.py.
ELSEWHERE = {"datasets", "plotting.py"}

pytestmark = pytest.mark.nojit


class Setting:
    """Fresh data and networks for one row: nothing that a row spoils reaches the next."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.X = np.random.default_rng(0).normal(size=(8, 3))
        self.y = np.arange(8) % 2
        self.rows = np.eye(2)[self.y]
        self.new = self.classifier()
        self.fitted, self.on_rows = copy.deepcopy(self.once_fitted())
        self.line = Network([Dense(1)], "mean_squared_error")
        self.networks = (self.new, self.fitted, self.line, self.on_rows)

    @staticmethod
    @functools.cache
    def once_fitted() -> tuple[Network, Network]:
        """Classifiers that were fitted to labels and to rows of them, to be copied."""
        made = Setting.classifier(), Setting.classifier()
        X, y = np.random.default_rng(0).normal(size=(8, 3)), np.arange(8) % 2
        for network, targets in zip(made, (y, np.eye(2)[y]), strict=True):
            network.fit(X, targets, epochs=1)
        return made

    @staticmethod
    def classifier(**options: Any) -> Network:
        return Network([Dense(4), ReLU(), Dense(2)], **options)

    def state(self) -> list[Any]:
        """All that a refusal must leave as it was."""
        return [
            (
                network.is_built,
                network.params.tobytes(),
                network.grads.tobytes(),
                network.coder,
                [(layer.n_in, layer.n_out) for layer in network.layers],
            )
            for network in self.networks
        ]

    def saved(self, change: Callable[[dict[str, Any]], Any] = lambda header: None) -> Path:
        """A model file, after `change` has had its header."""
        path = self.folder / "model.safetensors"
        self.fitted.save(path)
        with safe_open(path, framework="numpy") as file:
            header = json.loads(file.metadata()["fastmlp"])
            tensors = {key: file.get_tensor(key) for key in list(file.keys())}
        result = change(header)
        text = result if isinstance(result, str) else json.dumps(header)
        save_file(tensors, path, metadata={"fastmlp": sealed(text, tensors)})
        return path

    def written(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def command(self, *arguments: str) -> int:
        """A command without the catching and printing that `cli.main` does around it."""
        chosen = cli.parser().parse_args(arguments)
        return commands.COMMANDS[chosen.command](chosen)

    def processes(self, *told: Any) -> Any:
        """A communicator of processes that say something; this one alone without arguments."""
        MPI = pytest.importorskip("mpi4py.MPI")

        class Pretended(MPI.Intracomm):  # type: ignore[misc]
            def Get_size(self) -> int:
                return len(told)

            def allgather(self, value: Any) -> list[Any]:
                return list(told)

            def bcast(self, value: Any) -> Any:
                return told[0]

        return Pretended(MPI.COMM_SELF) if told else MPI.COMM_SELF

    def table(self, text: str) -> str:
        return str(self.written("table.csv", text.encode()))


def by_two(*options: str) -> Callable[[Setting], Any]:
    """Train by a command that one of two processes runs."""

    def train(s: Setting) -> None:
        s.processes()
        with mock.patch.dict(os.environ, PMI_SIZE="2"):
            s.command("train", *options, "--data", s.table("a,b\n" + "1,2\n" * 40))

    return train


def alone_in(context: Any) -> None:
    with context:
        pass


def put(values: np.ndarray, value: Any, *place: int) -> np.ndarray:
    """A copy with another number in one place."""
    changed = values.astype(float)
    changed[place] = value
    return changed


class Wide(Layer):
    """A layer whose outputs are wider than it says."""

    name = "wide"

    def __repr__(self) -> str:
        return "Wide()"

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        return np.repeat(X, 2, axis=1)

    def backward(self, dY: np.ndarray) -> np.ndarray:
        return dY


class Own:
    """An optimizer of one's own."""

    def step(self, params: np.ndarray, grads: np.ndarray) -> None:
        params -= grads


class Odd:
    """An object that JSON does not know, but that can be a class label."""

    def __lt__(self, other: object) -> bool:
        return id(self) < id(other)


class Row(NamedTuple):
    name: str
    kind: type[InputError]
    text: str  # with {folder} for the temporary one
    call: Callable[[Setting], Any]


def outside_its_shape() -> sparse.csr_matrix:
    """A matrix whose second non-zero stands in a column that it does not have."""
    matrix = sparse.csr_matrix(np.eye(2))
    matrix.indices[1] = 7
    return matrix


def of_objects(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """What older versions of SciPy make themselves."""
    matrix.data = matrix.data.astype(object)
    return matrix


def fit_rows() -> Iterator[Row]:
    """What fit, and with the same words evaluate and the rest, say about X, y and weights."""
    matrix = "Network.fit: expected X of shape (n, n_features), got"
    rows = "pass one row of numbers for each sample"
    yield Row(
        "X of one dimension",
        InputError,
        f"{matrix} an array of shape (3,); use X.reshape(1, -1) for one row, "
        "X.reshape(-1, 1) for one column",
        lambda s: s.new.fit(s.X[0], s.y),
    )
    yield Row(
        "X of three dimensions",
        InputError,
        f"{matrix} an array of shape (1, 8, 3); use X.reshape(len(X), -1) to make each sample "
        "one row",
        lambda s: s.new.fit(s.X[None], s.y),
    )
    for value, got in ((None, "NoneType"), ("text", "str"), (3.0, "float")):
        yield Row(
            f"X is {got}",
            InputTypeError,
            f"{matrix} {got}; {rows}",
            lambda s, value=value: s.new.fit(value, s.y),
        )
    for name, shape in (("no rows", (0, 3)), ("no columns", (8, 0))):
        yield Row(
            f"X with {name}",
            InputError,
            "Network.fit: expected X with at least one row and column, "
            f"got an array of shape {shape}; check how the data was selected",
            lambda s, shape=shape: s.new.fit(np.zeros(shape), np.zeros(shape[0])),
        )
    yield Row(
        "X with other columns than before",
        InputError,
        "Network.fit: expected X of shape (n, 3), got an array of shape (8, 2); "
        "pass the columns the network was built for",
        lambda s: s.fitted.fit(s.X[:, :2], s.y),
    )
    yield Row(
        "ragged lists",
        InputError,
        "Network.fit: expected X as a rectangular array, got rows of different lengths; "
        "pad or cut them",
        lambda s: s.new.fit([[1.0, 2.0], [3.0]], [0, 1]),
    )
    yield Row(
        "sparse y",
        InputTypeError,
        "Network.fit: expected y as a dense array, got csr_matrix; call its .toarray() first",
        lambda s: s.new.fit(s.X, sparse.csr_matrix(s.rows)),
    )
    yield Row(
        "sparse X with nan",
        InputError,
        "Network.fit: expected X to be finite, got nan in row 1, column 2; "
        "remove, replace or impute it",
        lambda s: s.new.fit(sparse.csr_matrix(([1.0, np.nan], ([0, 1], [0, 2]))), [0, 1]),
    )
    yield Row(
        "sparse X with infinity",
        InputError,
        "Network.fit: expected X to be finite, got an infinity in row 0, column 1; "
        "remove, replace or impute it",
        lambda s: s.new.fit(sparse.coo_array(([np.inf, 1.0], ([0, 1], [1, 0]))), [0, 1]),
    )
    yield Row(
        "sparse X of complex numbers",
        InputTypeError,
        "Network.fit: expected X to hold real numbers, got dtype complex128; "
        "take the real part or the absolute value",
        lambda s: s.new.fit(sparse.csr_matrix(s.X.astype(complex)), s.y),
    )
    yield Row(
        "sparse X of objects",
        InputTypeError,
        "Network.fit: expected X to hold numbers, got dtype object; "
        "encode text and categories as numbers first, or drop those columns",
        lambda s: s.new.fit(of_objects(sparse.csr_matrix(s.X)), s.y),
    )
    yield Row(
        "X of complex numbers",
        InputTypeError,
        "Network.fit: expected X to hold real numbers, got dtype complex128; "
        "take the real part or the absolute value",
        lambda s: s.new.fit(s.X + 0j, s.y),
    )
    for name in ("X", "y", "sample_weight"):
        yield Row(
            f"masked {name}",
            InputError,
            f"Network.fit: expected {name} without masked values, got some; "
            "fill them in or drop their rows",
            lambda s, name=name: s.line.fit(
                **{
                    "X": s.X, "y": s.y, "sample_weight": np.ones(8),
                    name: np.ma.masked_less(s.X if name == "X" else s.y, 0.5),
                }
            ),
        )  # fmt: skip
    yield Row(
        "sparse X with a column outside",
        InputError,
        "Network.fit: expected X as a valid sparse matrix, got one whose indices do not fit its "
        "shape; build it again, for example with scipy.sparse.csr_array",
        lambda s: s.new.fit(outside_its_shape(), [0, 1]),
    )
    encode = "encode text and categories as numbers first, or drop those columns"
    count = "count days or seconds from a date of your choice"
    for dtype, advice in (
        ("object", encode), ("<U5", encode), ("|S5", encode), ("datetime64[s]", count),
    ):  # fmt: skip
        yield Row(
            f"X of dtype {dtype}",
            InputTypeError,
            f"Network.fit: expected X to hold numbers, got dtype {dtype}; {advice}",
            lambda s, dtype=dtype: s.new.fit(
                np.full(s.X.shape, 1 if dtype == "datetime64[s]" else "word", dtype), s.y
            ),
        )
    for dtype in ("object", "<U5", "|S5"):
        yield Row(
            f"X of numbers as text, dtype {dtype}",
            InputTypeError,
            f"Network.fit: expected X to hold numbers, got dtype {dtype}; {encode}",
            lambda s, dtype=dtype: s.new.fit(np.full(s.X.shape, "1.5", dtype), s.y),
        )
    yield Row(
        "numbers as text among others",
        InputTypeError,
        f"Network.fit: expected y to hold numbers, got dtype object; {encode}",
        lambda s: s.line.fit(s.X, np.array([1.5, "2"] * 4, object)),
    )
    yield Row(
        "a whole number beyond every float",
        InputTypeError,
        f"Network.fit: expected X to hold numbers, got dtype object; {encode}",
        lambda s: s.new.fit([[1, 10**400]], [0]),
    )
    for value, got in ((np.nan, "nan"), (np.inf, "an infinity"), (-np.inf, "an infinity")):
        remedy = "remove, replace or impute it"
        yield Row(
            f"{value} in X",
            InputError,
            f"Network.fit: expected X to be finite, got {got} in row 5, column 1; {remedy}",
            lambda s, value=value: s.new.fit(put(s.X, value, 5, 1), s.y),
        )
        yield Row(
            f"{value} in y",
            InputError,
            f"Network.fit: expected y to be finite, got {got} in row 2, column 0; {remedy}",
            lambda s, value=value: s.line.fit(s.X, put(s.y, value, 2)),
        )
        yield Row(
            f"{value} in sample_weight",
            InputError,
            f"Network.fit: expected sample_weight to be finite, got {got} in row 7; {remedy}",
            lambda s, value=value: s.new.fit(s.X, s.y, sample_weight=put(s.y, value, 7)),
        )
    yield Row(
        "nan among labels",
        InputError,
        "Network.fit: expected y to be finite, got nan in row 2; remove, replace or impute it",
        lambda s: s.new.fit(s.X, put(s.y, np.nan, 2)),
    )
    yield Row(
        "None in a list",
        InputError,
        "Network.fit: expected X to be finite, got a missing value in row 0, column 1; "
        "remove, replace or impute it",
        lambda s: s.new.fit([[1.0, None, 2.0]] * 8, s.y),
    )
    for value, got in ((np.arange(5), "5"), (None, "a single value"), (1, "a single value")):
        yield Row(
            f"y of another length: {got} of type {type(value).__name__}",
            InputError,
            f"Network.fit: expected y with 8 rows, as X has, got {got}; "
            "pass one entry for each row of X",
            lambda s, value=value: s.new.fit(s.X, value),
        )
    weights: list[tuple[str, Any, str, str]] = [
        (
            "of another length",
            np.ones(5),
            "sample_weight with 8 rows, as X has, got 5",
            "pass one entry for each row of X",
        ),
        (
            "as one number",
            2.0,
            "sample_weight of shape (8,), got an array of shape ()",
            "pass one weight for each row of X",
        ),
        (
            "as a column",
            np.ones((8, 1)),
            "sample_weight of shape (8,), got an array of shape (8, 1)",
            "pass one weight for each row of X",
        ),
        (
            "below 0",
            put(np.ones(8), -1, 3),
            "sample_weight of at least 0, got a negative one in row 3",
            "weights count how often a row is seen",
        ),
        ("all 0", np.zeros(8), "some sample_weight above 0, got only zeros", "give rows a weight"),
        (
            "all 0 in float32",
            np.full(8, 1e-60),
            "some sample_weight above 0, got only zeros",
            "give rows a weight",
        ),
        (
            "infinite in float32",
            np.full(8, 1e60),
            "sample_weight within float32, got a larger number in row 0",
            "scale it, or use dtype='float64'",
        ),
    ]
    for name, value, middle, advice in weights:
        yield Row(
            f"sample_weight {name}",
            InputError,
            f"Network.fit: expected {middle}; {advice}",
            lambda s, value=value: s.new.fit(s.X, s.y, sample_weight=value),
        )
    yield Row(
        "sample_weight of text",
        InputTypeError,
        f"Network.fit: expected sample_weight to hold numbers, got dtype <U1; {encode}",
        lambda s: s.new.fit(s.X, s.y, sample_weight=["a"] * 8),
    )


def target_rows() -> Iterator[Row]:
    yield Row(
        "y of three dimensions",
        InputError,
        "Network.fit: expected y of shape (n,) or (n, n_outputs) that is not empty, "
        "got shape (8, 1, 1); pass one target for each row of X",
        lambda s: s.new.fit(s.X, np.zeros((8, 1, 1))),
    )
    yield Row(
        "one class",
        InputError,
        "Network.fit: expected at least 2 classes in y, got 1; check the data or use regression",
        lambda s: s.new.fit(s.X, np.zeros(8, int)),
    )
    yield Row(
        "more classes than outputs",
        InputError,
        "Network.fit: expected y with 2 classes, one for each output, got 4; "
        "give the last Dense layer as many units as there are classes",
        lambda s: s.new.fit(s.X, np.arange(8) % 4),
    )
    yield Row(
        "fractions as labels",
        InputError,
        "Network.fit: expected class labels in y, got fractions; "
        "use a regression loss, or whole numbers as labels",
        lambda s: s.new.fit(s.X, s.X[:, 0]),
    )
    yield Row(
        "None among labels",
        InputError,
        "Network.fit: expected a label for every row of y, got a missing value in row 1; "
        "drop such rows or give them a label",
        lambda s: s.new.fit(s.X, np.array(["a", None] * 4, object)),
    )
    yield Row(
        "labels of two types",
        InputTypeError,
        "Network.fit: expected labels of one type in y, got int, str; "
        "turn all labels into strings or all into numbers",
        lambda s: s.new.fit(s.X, np.array(["a", 1] * 4, object)),
    )
    for name, value, count in (
        ("numbers", [0, 1, 2, 3, 4, 5, 6, 7], "6 unseen labels"),
        ("one number", [0, 1, 2, 0, 1, 2, 0, 1], "1 unseen label"),
        ("text", list("abababab"), "2 unseen labels"),
    ):
        yield Row(
            f"labels not seen in fit: {name}",
            InputError,
            f"Network.evaluate: expected only labels seen in fit, got {count}; "
            "fit on data that holds every class",
            lambda s, value=value: s.fitted.evaluate(s.X, value),
        )
    yield Row(
        "labels that cannot be compared with those of fit",
        InputError,
        "Network.evaluate: expected only labels seen in fit, got 1 unseen label; "
        "fit on data that holds every class",
        lambda s: s.fitted.evaluate(s.X, np.array(list("abababab"), object)),
    )
    yield Row(
        "one-hot rows after labels",
        InputError,
        "Network.evaluate: expected y of one dimension, as in fit, got shape (8, 2); "
        "pass targets of the same kind",
        lambda s: s.fitted.score(s.X, s.rows),
    )
    yield Row(
        "labels after one-hot rows",
        InputError,
        "Network.evaluate: expected y of shape (n, 2), as in fit, got shape (8,); "
        "pass targets of the same kind",
        lambda s: s.on_rows.score(s.X, s.y),
    )
    column = "Network.fit: expected labels of shape (n,), or y of shape (n, 2), got shape (8, 1);"
    for name, change in (("numbers", int), ("text", str)):
        yield Row(
            f"labels as a column of {name}",
            InputError,
            f"{column} use y.ravel() for labels",
            lambda s, change=change: s.new.fit(s.X, s.y.astype(change)[:, None]),
        )
    yield Row(
        "text as a column for a yes or no",
        InputError,
        "Network.fit: expected labels of shape (n,), or y of shape (n, 1), got shape (8, 1); "
        "use y.ravel() for labels",
        lambda s: Network([Dense(1)], "binary_cross_entropy").fit(s.X, s.y.astype(str)[:, None]),
    )
    yield Row(
        "a column after labels",
        InputError,
        "Network.evaluate: expected y of one dimension, as in fit, got shape (8, 1); use y.ravel()",
        lambda s: s.fitted.score(s.X, s.y[:, None]),
    )
    yield Row(
        "classes for one output",
        InputError,
        "Network.fit: expected y with 1 class, one for each output, got 2; "
        "give the last Dense layer as many units as there are classes",
        lambda s: Network([Dense(1)]).fit(s.X, s.y + 3),
    )
    yield Row(
        "a target for one row",
        InputError,
        "Network.fit: expected y with 1 row, as X has, got 8; pass one entry for each row of X",
        lambda s: s.new.fit(s.X[:1], s.y),
    )
    yield Row(
        "rows that do not sum to 1",
        InputError,
        "Network.fit: expected rows of y that sum to 1, got another sum in row 4; "
        "divide each row by its sum",
        lambda s: s.new.fit(s.X, put(s.rows, 0.5, 4, 0)),
    )
    yield Row(
        "rows outside 0 and 1",
        InputError,
        "Network.fit: expected y between 0 and 1, got numbers outside; "
        "pass labels, one-hot rows or probabilities",
        lambda s: s.new.fit(s.X, 3 * s.rows - 1),
    )
    yield Row(
        "more target columns than outputs",
        InputError,
        "Network.fit: expected y with one column for every target of the 1 output, "
        "got 2 columns; give the last Dense layer as many units",
        lambda s: s.line.fit(s.X, s.rows),
    )
    yield Row(
        "outputs that quantiles do not divide",
        InputError,
        "Network.fit: expected y with one column for every target of the 3 outputs, "
        "2 levels each, got 1 column; give the last Dense layer as many units",
        lambda s: Network([Dense(3)], Quantile((0.1, 0.9))).fit(s.X, s.y),
    )
    yield Row(
        "counts below 0",
        InputError,
        "Network.fit: expected y of at least 0 for a Poisson deviance, got negative numbers; "
        "use counts or rates, or another loss",
        lambda s: Network([Dense(1)], "poisson_deviance").fit(s.X, -s.y),
    )
    yield Row(
        "text for a regression",
        InputTypeError,
        "Network.fit: expected y to hold numbers, got dtype <U1; "
        "encode text and categories as numbers first, or drop those columns",
        lambda s: s.line.fit(s.X, list("abababab")),
    )
    yield Row(
        "three classes for a yes or no",
        InputError,
        "Network.fit: expected y with 2 classes for one output, got 3; "
        "use softmax_cross_entropy and a last Dense layer of 3 units",
        lambda s: Network([Dense(1)], "binary_cross_entropy").fit(s.X, np.arange(8) % 3),
    )
    yield Row(
        "one label a row for several yes or no",
        InputError,
        "Network.fit: expected y of shape (n, 2), yes or no for each label, "
        "got one label a row; give the last layer 1 unit, or use softmax_cross_entropy",
        lambda s: Network([Dense(2)], "binary_cross_entropy").fit(s.X, s.y),
    )


def option_rows() -> Iterator[Row]:
    """Options of fit and of Network."""
    for option in ("epochs", "batch_size", "n_threads"):
        expected = f"Network.fit: expected {option} to be a whole number of at least 1, got"
        for value, kind, end in (
            (0, InputError, "0; choose a larger one"),
            (-3, InputError, "-3; choose a larger one"),
            (1.5, InputTypeError, "float; pass an int"),
            (True, InputTypeError, "bool; pass an int"),
            ("8", InputTypeError, "str; pass an int"),
        ):
            yield Row(
                f"{option} {value!r}",
                kind,
                f"{expected} {end}",
                lambda s, chosen={option: value}: s.new.fit(s.X, s.y, **chosen),
            )
    names = {
        "loss": (LOSSES, "Loss"),
        "optimizer": (OPTIMIZERS, "Optimizer"),
        "initializer": (INITIALIZERS, "Initializer"),
    }
    calls: dict[str, Callable[[Setting, Any], Any]] = {
        "loss": lambda s, value: Network([Dense(2)], value),
        "optimizer": lambda s, value: s.new.fit(s.X, s.y, optimizer=value),
        "initializer": lambda s, value: Dense(2, initializer=value),
    }
    for kind_name, (registry, base) in names.items():
        listed = ", ".join(sorted(registry.names))
        yield Row(
            f"{kind_name} of an unknown name",
            InputError,
            f"{kind_name}: expected one of {listed}, got 'unheard'; check the spelling",
            lambda s, call=calls[kind_name]: call(s, "unheard"),
        )
        for value, got in ((3, "int"), (["a"], "list")):
            yield Row(
                f"{kind_name} of type {got}",
                InputTypeError,
                f"{kind_name}: expected a name or an object of fastmlp's {base}, got {got}; "
                f"use one of {listed}, or derive a class of your own",
                lambda s, call=calls[kind_name], value=value: call(s, value),
            )
    yield Row(
        "loss with a slip in its name",
        InputError,
        f"loss: expected one of {', '.join(sorted(LOSSES.names))}, got 'mean_sqared_error'; "
        "did you mean 'mean_squared_error'?",
        lambda s: Network([Dense(2)], "mean_sqared_error"),
    )
    yield Row(
        "an argument of another library",
        InputTypeError,
        "Adam: expected only arguments that it has, got lr; did you mean learning_rate?",
        lambda s: Adam(lr=0.1),  # type: ignore[call-arg]
    )
    yield Row(
        "an argument that nothing is like",
        InputTypeError,
        "Huber: expected only arguments that it has, got outliers; it has delta",
        lambda s: Huber(outliers=True),  # type: ignore[call-arg]
    )
    pair = "Network.fit: expected validation_data as (X, y) or (X, y, sample_weight), got"
    for value, got in ((np.zeros((8, 4)), "ndarray"), ({"X": 1}, "dict"), (7, "int")):
        yield Row(
            f"validation_data {got}",
            InputTypeError,
            f"{pair} {got}; pass a tuple",
            lambda s, value=value: s.new.fit(s.X, s.y, validation_data=value),
        )
    inner = "Network.fit, validation_data: expected"
    validations: list[tuple[str, Callable[[Setting], Any], str]] = [
        (
            "with other columns",
            lambda s: (s.X[:, :2], s.y),
            "X of shape (n, 3), got an array of shape (8, 2); "
            "pass the columns the network was built for",
        ),
        (
            "with fewer targets",
            lambda s: (s.X, s.y[:5]),
            "y with 8 rows, as X has, got 5; pass one entry for each row of X",
        ),
        (
            "without targets",
            lambda s: (s.X, None),
            "y with 8 rows, as X has, got a single value; pass one entry for each row of X",
        ),
        (
            "with another label",
            lambda s: (s.X, s.y + 1),
            "only labels seen in fit, got 1 unseen label; fit on data that holds every class",
        ),
        (
            "with nan",
            lambda s: (put(s.X, np.nan, 0, 2), s.y),
            "X to be finite, got nan in row 0, column 2; remove, replace or impute it",
        ),
        (
            "with negative weights",
            lambda s: (s.X, s.y, -np.ones(8)),
            "sample_weight of at least 0, got a negative one in row 0; "
            "weights count how often a row is seen",
        ),
    ]
    for name, make, rest in validations:
        yield Row(
            f"validation_data {name}",
            InputError,
            f"{inner} {rest}",
            lambda s, make=make: s.new.fit(s.X, s.y, validation_data=make(s)),
        )
    for value, got in (
        ("float16", "'float16'"),
        ("real", "'real'"),
        (np.float16, "float16"),
        (None, "None"),
        (3, "3"),
    ):
        yield Row(
            f"dtype {got}",
            InputError,
            f"Network: expected dtype float32 or float64, got {got}; use one of the two",
            lambda s, value=value: s.classifier(dtype=value),
        )
    for option in ("l1", "l2"):
        yield Row(
            f"{option} below 0",
            InputError,
            f"Network: expected {option} to be a number at least 0, got -0.5; "
            "choose a value in that range",
            lambda s, chosen={option: -0.5}: s.classifier(**chosen),
        )
    yield Row(
        "random_state below 0",
        InputError,
        "Network: expected random_state to be a whole number of at least 0, got -1; "
        "choose a larger one",
        lambda s: s.classifier(random_state=-1),
    )
    yield Row(
        "random_state of text",
        InputTypeError,
        "Network: expected random_state to be a whole number of at least 0, got str; pass an int",
        lambda s: s.classifier(random_state="luck"),
    )


def network_rows() -> Iterator[Row]:
    """How a network is put together, used, and seen to diverge."""
    yield Row(
        "no layers",
        InputError,
        "Network: expected at least one layer, got none; start with Dense(n_units)",
        lambda s: Network([]),
    )
    for value, got in ((ReLU, "the class ReLU"), ("relu", "str"), (32, "int"), (None, "NoneType")):
        yield Row(
            f"a layer that is {got}",
            InputTypeError,
            f"Network, layer 1: expected a Layer object, got {got}; "
            "pass objects such as Dense(32) or ReLU()",
            lambda s, value=value: Network([Dense(4), value, Dense(2)]),
        )
    relu = ReLU()
    yield Row(
        "one layer in two places",
        InputError,
        "Network: expected each layer once, got one object in two places; "
        "make a new layer for each place",
        lambda s: Network([Dense(4), relu, Dense(4), relu, Dense(2)]),
    )
    neighbours = "make sizes of neighbouring layers match"
    yield Row(
        "sizes that do not match",
        InputError,
        f"Dense(5, 2): expected an input of 5 columns, got 4; {neighbours}",
        lambda s: Network([Dense(3, 4), ReLU(), Dense(5, 2)]),
    )
    yield Row(
        "data that does not match the first layer",
        InputError,
        "Network.fit: expected X of shape (n, 2), got an array of shape (8, 3); "
        "pass the columns the network was built for",
        lambda s: Network([Dense(2, 2)]).fit(s.X, s.y),
    )
    yield Row(
        "no layer with a size",
        InputError,
        "Network.fit: expected a layer with a number of units, got none; end with Dense(n_outputs)",
        lambda s: Network([ReLU()]).fit(s.X, s.y),
    )
    for value, kind, end in (
        (0, InputError, "0; choose a larger one"),
        ("3", InputTypeError, "str; pass an int"),
    ):
        yield Row(
            f"build({value!r})",
            kind,
            "Network.build: expected n_features to be a whole number of at least 1, got " + end,
            lambda s, value=value: s.new.build(value),
        )
    unfitted = "expected a fitted network, got one that has seen no targets; call fit first"
    unbuilt = (
        "expected a network with known input columns, got one not built yet; "
        "call fit or build(n_features) first"
    )
    uses: list[tuple[str, str, Callable[[Setting], Any]]] = [
        ("predict", unfitted, lambda s: s.new.predict(s.X)),
        ("evaluate", unfitted, lambda s: s.new.score(s.X, s.y)),
        ("predict_proba", unbuilt, lambda s: s.new.predict_proba(s.X)),
        ("outputs", unbuilt, lambda s: s.new.outputs(s.X)),
    ]
    for method, rest, call in uses:
        yield Row(f"{method} before fit", InputError, f"Network.{method}: {rest}", call)
    for method in ("predict", "predict_proba", "outputs"):
        yield Row(
            f"{method} on other columns",
            InputError,
            f"Network.{method}: expected X of shape (n, 3), got an array of shape (8, 2); "
            "pass the columns the network was built for",
            lambda s, method=method: getattr(s.fitted, method)(s.X[:, :2]),
        )
    for method in ("evaluate", "loss_and_gradient"):
        yield Row(
            f"{method} with fewer targets",
            InputError,
            f"Network.{method}: expected y with 8 rows, as X has, got 5; "
            "pass one entry for each row of X",
            lambda s, method=method: getattr(s.fitted, method)(s.X, s.y[:5]),
        )
        yield Row(
            f"{method} with negative weights",
            InputError,
            f"Network.{method}: expected sample_weight of at least 0, got a negative one in row "
            "6; weights count how often a row is seen",
            lambda s, method=method: getattr(s.fitted, method)(s.X, s.y, put(s.y, -1, 6)),
        )
    remedy = "lower the learning rate, clip gradients (clip_norm=1.0) or scale the inputs"
    yield Row(
        "a loss that is not finite",
        InputError,
        "Network.fit: expected a finite loss, got nan in epoch 1, step 2, "
        f"at learning rate 1e+30; {remedy}",
        lambda s: s.classifier().fit(1e10 * s.X, s.y, optimizer=SGD(1e30), batch_size=4),
    )
    yield Row(
        "a user-defined layer with outputs of another width",
        InputError,
        "Wide().forward: expected outputs of shape (8, 3), got (8, 6); "
        "set n_out in build if the layer changes the width",
        lambda s: Network([Wide(), Dense(2)]).fit(s.X, s.y),
    )


def part_rows() -> Iterator[Row]:
    """Layers, losses, optimizers, schedules and initial weights, each on its own."""
    range_ = "choose a value in that range"
    numbers: list[tuple[str, Callable[[Any], Any], str, float]] = [
        ("Dropout: expected rate", lambda v: Dropout(v), "at least 0 and below 1", 1.0),
        ("Dense: expected max_norm", lambda v: Dense(2, max_norm=v), "above 0", 0.0),
        ("ELU: expected alpha", lambda v: ELU(v), "at least 0", -0.1),
        ("SoftmaxCrossEntropy: expected label_smoothing", lambda v: SoftmaxCrossEntropy(v),
         "at least 0 and below 1", 1.0),
        ("Huber: expected delta", lambda v: Huber(v), "above 0", 0.0),
        ("Quantile: expected levels", lambda v: Quantile((0.5, v)), "above 0 and below 1", 1.0),
        ("Adam: expected weight_decay", lambda v: Adam(weight_decay=v), "at least 0", -1.0),
        ("AdamW: expected clip_norm", lambda v: AdamW(clip_norm=v), "above 0", 0.0),
        ("Adam: expected factors['*.b']", lambda v: Adam(factors={"*.b": v}), "at least 0", -2.0),
        ("SGD: expected momentum", lambda v: SGD(0.1, v), "at least 0 and below 1", 1.0),
        ("RMSprop: expected rho", lambda v: RMSprop(rho=v), "at least 0 and below 1", 1.5),
        ("Adam: expected beta1", lambda v: Adam(beta1=v), "at least 0 and below 1", 1.0),
        ("Adam: expected epsilon", lambda v: Adam(epsilon=v), "at least 0", -1e-8),
        ("Constant: expected learning_rate", lambda v: schedules.Constant(v), "at least 0", -1.0),
        ("Step: expected factor", lambda v: schedules.Step(1.0, v), "at least 0 and at most 1",
         1.0000001),
        ("Linear: expected end", lambda v: schedules.Linear(1.0, v), "at least 0", -1.0),
        ("OneCycle: expected rise", lambda v: schedules.OneCycle(1.0, v),
         "at least 0 and at most 1", 2.0),
        ("Normal: expected scale", lambda v: Normal(v), "at least 0", -1.0),
    ]  # fmt: skip
    for start, make, limits, beyond in numbers:
        for value in (beyond, np.nan, np.inf, 10**400):
            got = repr(float(value) if value != 10**400 else np.inf).removesuffix(".0")
            yield Row(
                f"{start} {str(value)[:9]}",
                InputError,
                f"{start} to be a number {limits}, got {got}; {range_}",
                lambda s, make=make, value=value: make(value),
            )
        for value in ("0.5", True, 0.5j):
            yield Row(
                f"{start} {value!r}",
                InputTypeError,
                f"{start} to be a number {limits}, got {type(value).__name__}; pass a number",
                lambda s, make=make, value=value: make(value),
            )
    yield Row(
        "LeakyReLU(nan)",
        InputError,
        f"LeakyReLU: expected negative_slope to be a number, got nan; {range_}",
        lambda s: LeakyReLU(np.nan),
    )
    yield Row(
        "Adam(-1)",
        InputError,
        f"Constant: expected learning_rate to be a number at least 0, got -1; {range_}",
        lambda s: Adam(-1),
    )
    whole: list[tuple[str, Callable[[Any], Any], str]] = [
        ("Embedding(n)", lambda v: Embedding(v, 2), "Embedding: expected n_categories to be {} 1"),
        ("Embedding(2, n)", lambda v: Embedding(2, v), "Embedding: expected dim to be {} 1"),
        ("Dense(n)", lambda v: Dense(v), "Dense: expected its sizes to be {} 1"),
        ("Dense(3, n)", lambda v: Dense(3, v), "Dense: expected its sizes to be {} 1"),
        ("Step", lambda v: schedules.Step(n_drops=v), "Step: expected n_drops to be {} 0"),
        ("WarmUp", lambda v: schedules.WarmUp(0.1, v), "WarmUp: expected steps to be {} 0"),
    ]
    for name, make, text in whole:
        start = text.format("a whole number of at least")
        for value, kind, end in (
            (-1, InputError, "-1; choose a larger one"),
            (2.0, InputTypeError, "float; pass an int"),
        ):
            yield Row(
                f"{name} for {value}",
                kind,
                f"{start}, got {end}",
                lambda s, make=make, value=value: make(value),
            )
    yield Row(
        "no quantile levels",
        InputError,
        "Quantile: expected at least one level, got none; pass levels=0.5, say",
        lambda s: Quantile(()),
    )
    yield Row(
        "parameters before the input is known",
        InputError,
        "Dense(2): expected a layer that knows its input columns, got one that does not yet; "
        "call forward, fit or Network.build first",
        lambda s: Dense(2).W,
    )
    for layer, name in (
        (lambda: Dense(3, 2), "Dense(3, 2)"),
        (Tanh, "Tanh()"),
        (Dropout, "Dropout(rate=0.5)"),
    ):
        yield Row(
            f"{name}: backward first",
            InputError,
            f"{name}.backward: expected a forward pass before it, got none; call forward(X) first",
            lambda s, layer=layer: layer().backward(s.X),
        )
        wanted = (8, 2) if name.startswith("Dense") else (8, 3)
        yield Row(
            f"{name}: backward on another batch",
            InputError,
            f"{name}.backward: expected dY of shape {wanted}, as the last outputs, got (5, 3); "
            "call forward on the same batch first",
            lambda s, layer=layer: ((made := layer()).forward(s.X), made.backward(s.X[:5])),
        )
    yield Row(
        "forward with other columns",
        InputError,
        "Dense(4, 2).forward: expected X of shape (n, 4), got an array of shape (8, 3); "
        "pass the columns the network was built for",
        lambda s: Dense(4, 2).forward(s.X),
    )
    yield Row(
        "a layer built for two inputs",
        InputError,
        "Dense(3, 2): expected an input of 3 columns, got 4; make sizes of neighbouring layers "
        "match",
        lambda s: Dense(3, 2).build(4),
    )
    listed = ", ".join(sorted(SCHEDULES.names))
    yield Row(
        "a schedule of an unknown name",
        InputError,
        f"schedule: expected one of {listed}, got 'downhill'; check the spelling",
        lambda s: Adam("downhill"),
    )
    for value, got in ((None, "NoneType"), ([0.1], "list"), (True, "bool")):
        yield Row(
            f"learning_rate {got}",
            InputTypeError,
            "learning_rate: expected a number, a schedule or a function of (step, n_steps), "
            f"got {got}; see fastmlp.optim.schedules",
            lambda s, value=value: Adam(value),
        )
    for value in (-1.0, np.nan, np.inf):
        yield Row(
            f"a function that gives the learning rate {value}",
            InputError,
            "schedule: expected finite learning rates of at least 0, got another at step 2; "
            "check the function you passed",
            lambda s, value=value: s.classifier().fit(
                s.X, s.y, batch_size=2, optimizer=SGD(lambda step, n: value if step == 2 else 0.1)
            ),
        )
    yield Row(
        "factors for a parameter that there is not",
        InputError,
        "Adam: expected factors for some of 0.W, 2.W, 0.b, 2.b, got '7.W'; "
        "use a name or a pattern such as '*.b'",
        lambda s: s.fitted.fit(s.X, s.y, optimizer=Adam(factors={"7.W": 2.0})),
    )


def mended_rows() -> Iterator[Row]:
    """Refusals that were once raw errors, or came too late."""
    for items, n_items in (((1,), "1 item"), ((1, 2, 3, 4), "4 items")):
        yield Row(
            f"validation data of {n_items}",
            InputTypeError,
            "Network.fit: expected validation_data as (X, y) or (X, y, sample_weight), got "
            f"{n_items}; pass 2 or 3",
            lambda s, items=items: s.new.fit(s.X, s.y, validation_data=items),
        )
    yield Row(
        "factors that fit no parameter",
        InputError,
        "Adam: expected factors for some of 0.W, 2.W, 0.b, 2.b, got '7.W'; "
        "use a name or a pattern such as '*.b'",
        lambda s: s.new.fit(s.X, s.y, optimizer=Adam(factors={"7.W": 2.0})),
    )
    yield Row(
        "nan in y of loss_and_gradient",
        InputError,
        "Network.loss_and_gradient: expected y to be finite, got nan in row 2; "
        "remove, replace or impute it",
        lambda s: s.new.loss_and_gradient(s.X, put(s.y, np.nan, 2)),
    )
    for value, got in ((Dense(3), "Dense"), (None, "NoneType")):
        yield Row(
            f"{got} instead of a list",
            InputTypeError,
            f"Network: expected a list of layers, got {got}; write [Dense(32), ReLU(), ...]",
            lambda s, value=value: Network(value),
        )
    yield Row(
        "the class of a schedule",
        InputTypeError,
        "learning_rate: expected a number, a schedule or a function of (step, n_steps), got the "
        "class Linear; pass Linear()",
        lambda s: Adam(schedules.Linear),
    )
    for cls in (Adam, Own):
        yield Row(
            f"the class {cls.__name__} as an optimizer",
            InputTypeError,
            "optimizer: expected a name or an object of fastmlp's Optimizer, "
            f"got the class {cls.__name__}; pass {cls.__name__}()",
            lambda s, cls=cls: s.new.fit(s.X, s.y, optimizer=cls),
        )
    yield Row(
        "the class of an initializer",
        InputTypeError,
        "initializer: expected a name or an object of fastmlp's Initializer, got the class Normal; "
        "pass Normal()",
        lambda s: Dense(2, initializer=Normal),
    )
    for value in (None, "fast"):
        yield Row(
            f"a learning rate that is {value}",
            InputTypeError,
            f"schedule: expected a function that returns numbers, got {type(value).__name__}; "
            "check the function you passed",
            lambda s, value=value: s.classifier().fit(
                s.X, s.y, optimizer=Adam(lambda step, n_steps: value)
            ),
        )
    yield Row(
        "numbers in y beyond float32",
        InputError,
        "Network.fit: expected y within float32, got a larger number in row 1; "
        "scale it, or use dtype='float64'",
        lambda s: s.line.fit(s.X, 1e300 * s.y),
    )
    yield Row(
        "factors that are no mapping",
        InputTypeError,
        'Adam: expected factors as a mapping, got int; write {"*.b": 0.1}',
        lambda s: Adam(factors=3),  # type: ignore[arg-type]
    )
    yield Row(
        "factors of numbers",
        InputTypeError,
        'Adam: expected names in factors, got int; write {"*.b": 0.1}',
        lambda s: Adam(factors={0: 0.5}),  # type: ignore[dict-item]
    )
    yield Row(
        "one callback instead of a list",
        InputTypeError,
        "Network.fit: expected callbacks as a list, got one function; write callbacks=[function]",
        lambda s: s.new.fit(s.X, s.y, callbacks=print),
    )
    yield Row(
        "None instead of callbacks",
        InputTypeError,
        "Network.fit: expected callbacks as a list, got NoneType; write callbacks=[function]",
        lambda s: s.new.fit(s.X, s.y, callbacks=None),
    )
    yield Row(
        "a callback that is none",
        InputTypeError,
        "Network.fit: expected callbacks of functions, got str; write callbacks=[function]",
        lambda s: s.new.fit(s.X, s.y, callbacks=["stop"]),
    )
    yield Row(
        "loading from what is no path",
        InputTypeError,
        "Network.load: expected a path, got int; pass text or a pathlib.Path",
        lambda s: Network.load(5),
    )
    yield Row(
        "a layer beyond all memory",
        InputError,
        f"Dense: expected its sizes to be a whole number of at most 2147483647, got {10**30}; "
        "choose a smaller one",
        lambda s: Dense(3, 10**30),
    )
    yield Row(
        "layers beyond all memory",
        InputError,
        "Network: expected parameters that fit into memory, got 4,611,686,016,279,904,256; "
        "use smaller layers",
        lambda s: Network([Dense(2**31 - 1, 2**31 - 1), ReLU()]),
    )
    yield Row(
        "a layer of another network",
        InputError,
        "Network: expected layers of its own, got Dense(3, 4) of another network; "
        "make a new layer for each network",
        lambda s: Network([s.fitted.layers[0], ReLU(), Dense(2)]),
    )
    yield Row(
        "a last step that diverges",
        InputError,
        "Network.fit: expected finite parameters, got others after epoch 1, at learning rate "
        "1e+300; lower the learning rate, clip gradients (clip_norm=1.0) or scale the inputs",
        lambda s: s.classifier().fit(s.X, s.y, epochs=1, batch_size=8, optimizer=SGD(1e300)),
    )
    yield Row(
        "a chain that does not fit",
        InputError,
        "Dense(5, 2): expected an input of 5 columns, got 4; make sizes of neighbouring layers "
        "match",
        lambda s: Network([Dense(4), ReLU(), Dense(5, 2)]).fit(s.X, s.y),
    )
    yield Row(
        "a package that is missing",
        InputError,
        "plot_history: expected the package nothing, got none; run: pip install nothing",
        lambda s: require("nothing.figure", "plot_history"),
    )


def memory_rows() -> Iterator[Row]:
    """What is said of attributes that are set, and of memory that no kernel may see."""
    advice = "use arrays as fastmlp hands them out, and set attributes rather than what they hold"

    def put(name: str, value: Any) -> Callable[[Setting], Any]:
        return lambda s: setattr(s.fitted, name, value)

    def engine_of(s: Setting, n_steps: int) -> Any:
        table = table_of(s.X, s.fitted.dtype)
        made = Engine(s.fitted, table, 4, optimizer=SGD())
        order, labels = np.arange(8, dtype=np.int32), Encoded(s.y.astype(np.int32), np.empty(0))
        numbers = SGD().step_numbers(0, np.ones(n_steps))
        return made.train(order, labels, np.empty(0), np.empty(0, np.float32), numbers, 0)

    def with_another_kernel(s: Setting) -> Any:
        twin = copy.deepcopy(s.fitted)
        twin.layers[1].kernel = twin.loss.kernel
        return twin.outputs(s.X)

    def with_other_sizes(s: Setting) -> Any:
        twin = copy.deepcopy(s.fitted)
        vars(twin).update(_n_outputs=7)
        return twin.outputs(s.X)

    def updated(s: Setting) -> Any:
        numbers, groups = SGD().step_numbers(0, np.ones(1))[0], [Group("0.W", 0, 9, True, 1.0)]
        return SGD().update(numbers, groups, np.zeros(3), np.zeros(3), np.empty(0))

    only_read = "expected an attribute that is only read, got a new value"
    for row in (
        ("a dtype that is set", FixedError,
         f"Network.dtype: {only_read}; make a new network of another dtype", put("dtype", "f8")),
        ("parameters of another shape", InputError,
         "Network.params: expected values of shape (26,), got shape (3,); "
         "pass as many numbers as there are", put("params", np.zeros(3))),
        ("a loss for other targets", InputError,
         "Network.loss: expected a loss for targets like those of the first fit, got huber; "
         "make a new network", put("loss", "huber")),
        ("one text as names of columns", InputTypeError,
         "Network.feature_names: expected a sequence of texts, got str; "
         'write ["age", "income"]', put("feature_names", "abc")),
        ("numbers as names of columns", InputTypeError,
         "Network.feature_names: expected a sequence of texts, got int; turn names into text",
         put("feature_names", [1, 2, 3])),
        ("a name of columns twice", InputError,
         "Network.feature_names: expected each name once, got one twice; "
         "give columns different names", put("feature_names", ["a", "b", "a"])),
        ("too few names of columns", InputError,
         "Network.feature_names: expected 3 names, got 1 name; name every column",
         put("feature_names", ["a"])),
        ("an array in the place of a parameter", FixedError,
         "parameter 'W': expected an array that stays in place, got another one; "
         "copy numbers into it: parameters['W'][...] = values",
         lambda s: s.fitted.layers[0].parameters.__setitem__("W", s.X)),
        ("a parameter that is removed", FixedError,
         "parameters: expected names and arrays that stay, got a change of the dictionary; "
         "copy numbers into the arrays", lambda s: s.fitted.layers[0].parameters.clear()),
        ("a size that is set", FixedError,
         "Dense(3, 4).n_out: expected a size that is only read, got another one; "
         "make a new layer for other sizes", lambda s: setattr(s.fitted.layers[0], "n_out", 9)),
        ("layers of other sizes than they were", InputError,
         "Network: expected layers of the sizes they were built with, got others; "
         "make a new network for other sizes", with_other_sizes),
        ("a kernel of another kind", InputError,
         "Network: expected a kernel that can be called for 'activate', got one of another kind; "
         "leave the kernels of layers, losses and optimizers as they are", with_another_kernel),
        ("an order for other steps", InputError,
         "order: expected the samples of 3 steps, got another number of them; "
         "pass the numbers of as many steps", lambda s: engine_of(s, 3)),
        ("groups beyond the parameters", InputError,
         "group '0.W': expected a part of 3 parameters, got 9 from 0 on; "
         "pass the groups of the same network", updated),
        ("targets of another type", InputError,
         "targets: expected 4 adjacent numbers of type float64, got shape (4,) and type float32; "
         f"{advice}",
         lambda s: Huber().rows(np.zeros((4, 1)), np.empty(0, np.int32), np.zeros(4, np.float32),
                                np.empty(0))),
        ("labels that are no classes", InputError,
         f"labels: expected numbers from 0 to 2, got some outside; {advice}",
         lambda s: SoftmaxCrossEntropy().rows(np.zeros((2, 3)), np.array([0, 3], np.int32),
                                              np.empty(0), np.empty(0))),
        ("rows of a sparse matrix that end before they start", InputError,
         f"X.indptr: expected ascending numbers up to 2, got others; {advice}",
         lambda s: starts_address(np.array([0, 2, 1]), "X.indptr", 2, 2)),
        ("a matrix that is not the one that was described", InputError,
         "X: expected a matrix of shape (2, 2) and type float64, strided as it was, "
         f"got shape (4,) and type float64; {advice}",
         lambda s: matrix_address(np.zeros(4), "X", np.float64, (2, 2), (16, 8))),
    ):  # fmt: skip
        yield Row(*row)


def named_rows() -> Iterator[Row]:
    """What is said about the names of columns."""
    pandas = pytest.importorskip("pandas")

    def asked(names: list[Any], wanted: tuple[str, ...] = ("size", "age", "rent")) -> Any:
        def call(s: Setting) -> Any:
            network = s.fitted
            if len(wanted) != 3:
                network = Network([Dense(2)])
                network.fit(np.zeros((8, len(wanted))), s.y, epochs=1)
            network.feature_names = wanted
            X = np.zeros((2, len(names)))
            return network.predict(pandas.DataFrame(X, columns=names))

        return call

    def row(s: Setting, X: Any, names: tuple[str, ...] | None = ("a", "b", "c")) -> Any:
        s.fitted.feature_names = names
        return s.fitted.compile_predictor()(X)

    columns = "Network.predict: expected X with the 3 columns of training, got"
    many = tuple(f"x{i}" for i in range(100))
    for name, text, names, wanted in (
        (
            "missing columns",
            f"{columns} none named 'size', 'rent'; add the columns or train again",
            ["age"],
            ("size", "age", "rent"),
        ),
        (
            "misspelt columns",
            f"{columns} none named 'size', 'rent' and others named 'sizes', 'RENT'; "
            "did you mean 'size' by 'sizes' and 'rent' by 'RENT'? rename the columns",
            ["age", "sizes", "RENT"],
            ("size", "age", "rent"),
        ),
        (
            "other columns",
            f"{columns} others named 'id', 'floor'; leave them out",
            ["id", "age", "rent", "floor", "size"],
            ("size", "age", "rent"),
        ),
        (
            "a hundred missing columns",
            "Network.predict: expected X with the 100 columns of training, got none named 'x0', "
            "'x1', 'x2', 'x3', 'x4', 'x5', 'x6', 'x7', 'x8', 'x9' and 90 more and others named "
            "'size'; add the columns or train again",
            ["size"],
            many,
        ),
        (
            "columns of one name",
            "Network.predict: expected X with a different name for every column, "
            "got 'size' more than once; rename or drop those columns",
            ["size", "size", "rent"],
            ("size", "age", "rent"),
        ),
    ):
        yield Row(name, InputError, text, asked(list(names), wanted))
    yield Row(
        "columns of text and numbers",
        InputTypeError,
        "Network.predict: expected X with column names that are all text, "
        "got names of type int and str; rename the columns, or pass an array without names",
        asked(["size", 7, "rent"]),
    )
    yield Row(
        "a row by name for a network without names",
        InputError,
        "predictor: expected an array, as the network does not know the names of its columns, "
        "got a row by name; train on a data frame, or set network.feature_names",
        lambda s: row(s, {"a": 1, "b": 2, "c": 3}, None),
    )
    yield Row(
        "a row by name that lacks one",
        InputError,
        "predictor: expected a row with the 3 columns of training, got none named 'c'; "
        "add the column or train again",
        lambda s: row(s, {"a": 1, "b": 2}),
    )
    yield Row(
        "a row by name with arrays",
        InputError,
        "predictor: expected one number for each name, got several; "
        "pass a data frame for several rows",
        lambda s: row(s, dict.fromkeys("abc", np.ones(3))),
    )


class Renamed(ReLU):
    """An activation of one's own that has kept the name of ReLU."""


def saving_rows() -> Iterator[Row]:
    """What cannot be read back is not written."""

    def saved(s: Setting, change: Callable[[Network], Any]) -> None:
        network = copy.deepcopy(s.fitted)
        change(network)
        network.save(s.folder / "model.safetensors")

    def failing(s: Setting) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("safetensors.numpy.save_file", lambda *_, **__: None)
            patch.setattr("safetensors.safe_open", lambda *_, **__: 1 / 0)
            saved(s, lambda network: None)

    for value, got in ((np.nan, "nan"), (np.inf, "an infinity")):
        yield Row(
            f"a parameter of {value} to save",
            InputError,
            f"Network.save: expected finite parameters, got {got} in '2.b'; "
            "train again with a lower learning rate, or set them to finite numbers",
            lambda s, value=value: saved(s, lambda net: net.layers[2].b.fill(value)),
        )
    yield Row(
        "labels that would come back as others",
        InputTypeError,
        "Network.save: expected labels that a file gives back as they are, "
        "got some of dtype [('f0', '<i4'), ('f1', '<i4')]; turn them into numbers or text first",
        lambda s: (
            (net := s.classifier()).fit(s.X, np.array([(0, 1), (1, 0)] * 4, "i4,i4"), epochs=1),
            net.save(s.folder / "model.safetensors"),
        ),
    )
    yield Row(
        "settings that no file can hold",
        InputTypeError,
        "Network.save: expected labels and settings that are numbers or text, "
        "got some that JSON cannot hold; turn them into numbers or text first",
        lambda s: saved(s, lambda net: setattr(net, "trained_on", {(1, 2): 3})),
    )
    yield Row(
        "a layer that would come back as another",
        InputError,
        "Network.save: expected layers that a file can give back, got the class Renamed; "
        "give it a name of its own and make it a dataclass of numbers and text",
        lambda s: Network([Dense(3, 2), Renamed()]).save(s.folder / "model.safetensors"),
    )
    yield Row(
        "names of columns that no file can hold",
        InputError,
        "Network.save: expected feature_names that are text a file can hold, got others; "
        "rename those columns",
        lambda s: saved(s, lambda net: setattr(net, "feature_names", ("a", "b", "\ud83d\ude00"))),
    )
    yield Row(
        "a file that does not read as it was written",
        FileError,
        "Network.save: expected a file that reads as it was written, got division by zero; "
        "check the disk, and shorten labels and names if they are very many or long",
        failing,
    )


def with_a_large_weight(weight: float = 1e6) -> Network:
    network = Network([Dense(2, 2)]).build(2)
    network.params[0] = weight
    return network


def predictor_rows() -> Iterator[Row]:
    yield Row(
        "weights of another type",
        InputError,
        "compile_predictor: expected weights=None or one of float16, bfloat16, got 'int8'; "
        "choose one of them",
        lambda s: s.fitted.compile_predictor(weights="int8"),
    )
    yield Row(
        "weights too large for float16",
        InputError,
        "compile_predictor: expected weights that float16 can hold, got larger ones; use "
        'weights="bfloat16"',
        lambda s: with_a_large_weight().compile_predictor(weights="float16"),
    )
    yield Row(
        "weights too large for bfloat16",
        InputError,
        "compile_predictor: expected weights that bfloat16 can hold, got larger ones; leave "
        "weights out",
        lambda s: with_a_large_weight(3.4e38).compile_predictor(weights="bfloat16"),
    )
    yield Row(
        "a predictor of nothing",
        InputError,
        "compile_predictor: expected a built network of built-in parts, got a network not built "
        "yet; call fit first",
        lambda s: s.new.compile_predictor(),
    )
    yield Row(
        "a predictor of a user-defined layer",
        InputError,
        "compile_predictor: expected a built network of built-in parts, got parts of your own; "
        "use predict_proba",
        lambda s: Network([Dense(2, 2), Wide()]).compile_predictor(),
    )
    yield Row(
        "a row that is too short",
        InputError,
        "predictor: expected X of shape (3,) or (n, 3), got shape (2,); "
        "pass the columns the network was built for",
        lambda s: s.fitted.compile_predictor()([1.0, 2.0]),
    )
    for shape, X in (((2,), 0), ((8, 2), slice(None))):
        yield Row(
            f"out of another type for {shape}",
            InputError,
            f"predictor: expected out contiguous, of shape {shape} and type float32, got shape "
            f"{shape} and type float64; allocate it with np.empty",
            lambda s, shape=shape, X=X: s.fitted.compile_predictor()(s.X[X], np.empty(shape)),
        )


def path_rows() -> Iterator[Row]:
    """Names that no system has for a file."""
    for text, got in (
        ("{folder}/a\0b", "one with a NUL"),
        ("{folder}/a\ud800b", "one with characters that it does not know"),
        ("~nobody-of-that-name/a", "the home folder of an unknown user"),
    ):
        for where, use in (
            ("Network.save", lambda s, path: s.fitted.save(path)),
            ("Network.load", lambda s, path: Network.load(path)),
            ("to_onnx", lambda s, path: to_onnx(s.fitted, path)),
        ):
            yield Row(
                f"{where} of {got}",
                FileError,
                f"{where}: expected a path that the system can hold, got {got}; choose another one",
                lambda s, use=use, text=text: use(s, text.replace("{folder}", str(s.folder))),
            )


def file_rows() -> Iterator[Row]:
    """Model files, paths to write to, and what the command line checks itself."""
    yield Row(
        "saving before fit",
        InputError,
        "Network.save: expected a network with parameters, got one not built yet; call fit first",
        lambda s: s.new.save(s.folder / "a.safetensors"),
    )
    yield Row(
        "saving labels that JSON does not know",
        InputTypeError,
        "Network.save: expected labels and settings that are numbers or text, got Odd; "
        "turn them into numbers or text first",
        lambda s: (
            (net := s.classifier()).fit(s.X, np.array([Odd(), Odd()] * 4, object), epochs=1),
            net.save(s.folder / "a.safetensors"),
        ),
    )
    paths: list[tuple[str, Callable[[Setting], Any], type[InputError], str]] = [
        (
            "of another suffix",
            lambda s: s.folder / "a.pt",
            FileError,
            "a file name ending in .safetensors, got 'a.pt'; change the suffix",
        ),
        (
            "in a folder that is not there",
            lambda s: s.folder / "new" / "a.safetensors",
            FileError,
            "an existing folder to write to, got '{folder}/new'; create it first",
        ),
        (
            "of a name that is too long",
            lambda s: s.folder / f"{'a' * 300}.safetensors",
            FileError,
            "the name of a file, got File name too long; choose another name",
        ),
        (
            "that is none",
            lambda s: 5,
            InputTypeError,
            "a path, got int; pass text or a pathlib.Path",
        ),
        (
            "of a folder",
            lambda s: ((s.folder / "a.safetensors").mkdir(), s.folder / "a.safetensors")[1],
            FileError,
            "the name of a file, got the folder '{folder}/a.safetensors'; add a file name",
        ),
    ]
    for name, make, kind, rest in paths:
        yield Row(
            f"saving to a path {name}",
            kind,
            f"Network.save: expected {rest}",
            lambda s, make=make: s.fitted.save(make(s)),
        )

    def unwritable(s: Setting) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(files.os, "access", lambda path, mode: False)
            s.fitted.save(s.folder / "a.safetensors")

    yield Row(
        "saving to a folder without permission",
        FileError,
        "Network.save: expected a folder that can be written to, got '{folder}'; "
        "change its permissions or choose another one",
        unwritable,
    )

    def full(s: Setting) -> None:
        with files.replacing("Network.save", s.folder / "a.safetensors") as temporary:
            temporary.write_bytes(b"half of it")
            raise OSError(28, "No space left on device")

    yield Row(
        "saving to a full disk",
        FileError,
        "Network.save: expected to write '{folder}/a.safetensors', got No space left on device; "
        "check the folder's permissions and free space",
        full,
    )
    here = "Network.load('{folder}/model.safetensors')"
    whole = f"{here}: expected a whole model file, got"
    copy = "restore it from a copy"
    yield Row(
        "loading a file that is not there",
        FileError,
        f"{here}: expected a model file, got no such file; check the path",
        lambda s: Network.load(s.folder / "model.safetensors"),
    )
    yield Row(
        "loading what is no model",
        FileError,
        f"{here}: expected a model saved by fastmlp (.safetensors), got something else; "
        "pass a file that Network.save wrote",
        lambda s: Network.load(s.written("model.safetensors", b"GIF89a" * 9)),
    )
    yield Row(
        "loading an empty file",
        FileError,
        f"{here}: expected a model saved by fastmlp (.safetensors), got an empty file; "
        "pass a file that Network.save wrote",
        lambda s: Network.load(s.written("model.safetensors", b"")),
    )
    yield Row(
        "loading a folder",
        FileError,
        "Network.load('{folder}'): expected a model file, got a folder; check the path",
        lambda s: Network.load(s.folder),
    )
    for part in ("layer", "loss"):
        yield Row(
            f"loading a {part} of another program",
            FileError,
            f"{here}: expected a {part} that fastmlp knows, got 'odd'; pass its class in custom",
            lambda s, part=part: Network.load(
                s.saved(
                    lambda header: (
                        header["loss"] if part == "loss" else header["layers"][1]
                    ).update(name="odd")
                )
            ),
        )
    yield Row(
        "loading a model cut short",
        FileError,
        f"{whole} one that is cut short or damaged; {copy}",
        lambda s: Network.load(s.written("model.safetensors", s.saved().read_bytes()[:-5])),
    )

    def foreign(s: Setting) -> Path:
        save_file({"a": np.zeros(2)}, path := s.folder / "model.safetensors")
        return path

    yield Row(
        "loading another program's model",
        FileError,
        f"{here}: expected a model saved by fastmlp, got a safetensors file of another program; "
        "save it with Network.save",
        lambda s: Network.load(foreign(s)),
    )
    yield Row(
        "loading a newer format",
        FileError,
        f"{here}: expected format 2 or older, got format 99; update fastmlp",
        lambda s: Network.load(s.saved(lambda header: header.update(format=99))),
    )
    for name, change, got in (
        ("that is not JSON", lambda header: "{", "a header that is not JSON"),
        (
            "without a format",
            lambda header: header.pop("format"),
            "a header without a format number",
        ),
        (
            "with other sizes",
            lambda header: header["layers"][0].update(n_out=5),
            "a header with missing or wrong entries",
        ),
        (
            "with fewer layers",
            lambda header: header["layers"].pop(),
            "a header that does not fit its parameters",
        ),
        (
            "with another dtype",
            lambda header: header.update(dtype="float64"),
            "a header that does not fit its parameters",
        ),
    ):
        yield Row(
            f"loading a header {name}",
            FileError,
            f"{whole} {got}; {copy}",
            lambda s, change=change: Network.load(s.saved(change)),
        )

    def diverged(s: Setting) -> Path:
        path = s.saved()
        with safe_open(path, framework="numpy") as file:
            header = json.loads(file.metadata()["fastmlp"])
            tensors = {key: file.get_tensor(key) * np.nan for key in list(file.keys())}
        text = sealed(json.dumps(header), tensors)
        save_file(tensors, path, metadata={"fastmlp": text})
        return path

    yield Row(
        "loading nan",
        FileError,
        f"{whole} one with nan or infinity among its parameters; {copy}",
        lambda s: Network.load(diverged(s)),
    )
    yield Row(
        "absorbing into a first layer without weights",
        InputError,
        "absorb_inputs: expected a network that starts with Dense, got ReLU(); "
        "standardise the data yourself",
        lambda s: absorb_inputs(Network([ReLU(), Dense(1)]), Moments.of(s.X)),
    )
    yield Row(
        "absorbing into a last layer without weights",
        InputError,
        "absorb_outputs: expected a network that ends with Dense, got ReLU(); "
        "standardise the target yourself",
        lambda s: absorb_outputs(Network([Dense(1), ReLU()]), Moments.of(s.y)),
    )
    yield Row(
        "hidden sizes that are none",
        InputError,
        "--hidden: expected whole numbers from 1 to 999999 with commas between, got '8;4'; "
        "write for example --hidden 64,32",
        lambda s: s.command("train", "--hidden", "8;4"),
    )
    yield Row(
        "a loss for numbers on text",
        InputError,
        "--loss: expected a target of numbers for huber, got text; use softmax_cross_entropy",
        lambda s: s.command(
            "train",
            "--loss",
            "huber",
            "--target",
            "b",
            "--data",
            s.table("a,b\n" + "1,x\n2,y\n" * 9),
        ),
    )
    yield Row(
        "a yes or no of three classes",
        InputError,
        "--loss: expected a target with 2 classes for binary_cross_entropy, got 3; "
        "use softmax_cross_entropy",
        lambda s: s.command(
            *("train", "--loss", "binary_cross_entropy", "--target", "b", "--data"),
            s.table("a,b\n" + "1,x\n2,y\n3,z\n" * 9),
        ),
    )
    yield Row(
        "classes that no training row of a network has",
        InputError,
        "--target: expected each of 18 classes among the training rows, got 6 without any; "
        "add rows, drop rare classes or choose a loss for numbers",
        lambda s: s.command(
            *("train", "--recipe", "none", "--target", "b", "--data"),
            s.table("a,b\n" + "".join(f"{i},name {i}\n" for i in range(18))),
        ),
    )
    yield Row(
        "classes that no training row has",
        InputError,
        "--target: expected each of 18 classes among the training rows, got 15; "
        "add rows, or drop rare classes",
        lambda s: s.command(
            *("train", "--target", "b", "--data"),
            s.table("a,b\n" + "".join(f"{i},name {i}\n" for i in range(18))),
        ),
    )
    labels = ("train", "--target", "b", "--data")
    for name, option, text in (
        ("a class weight of a label that is not there", "z=2",
         "expected labels of the target, got 'z'; check the spelling"),
        ("a class weight that is no number", "x=much",
         "expected a number as the weight of 'x', got 'much'; write for example yes=5"),
        ("a class weight without a label", "2",
         "expected balanced, or LABEL=WEIGHT, got '2'; write for example yes=5"),
        ("class weights of 0", "x=0,y=0",
         "expected a class with a weight above 0, got none; raise a weight"),
    ):  # fmt: skip
        yield Row(
            name,
            InputError,
            f"--class-weight: {text}",
            lambda s, option=option: s.command(
                *labels, s.table("a,b\n" + "1,x\n2,y\n" * 9), "--class-weight", option
            ),
        )
    yield Row(
        "class weights of numbers",
        InputError,
        "--class-weight: expected one label for each row, got another target; leave it out",
        lambda s: s.command(
            *labels,
            *(s.table("a,b\n" + "1,.5\n2,.7\n" * 9), "--class-weight", "balanced"),
        ),
    )
    yield Row(
        "a test part of data with test rows of their own",
        InputError,
        "--test: expected data without test rows of their own, got own, which has some; "
        "leave --test out",
        lambda s: command_options.test_part(
            cli.parser().parse_args(["train", "--test", "0.3"]),
            Dataset(s.X, s.y, "own", n_test=2),
        ),
    )
    yield Row(
        "rows of a training that is not known",
        InputError,
        "--rows: expected a model file that knows how these rows were dealt, got a model file that "
        "does not say which rows it was trained on; "
        "leave --rows out, or pass the data of the training",
        lambda s: heldout.choose(s.fitted, Dataset(s.X, s.y, "rows"), "test"),
    )
    large = "a,b\n" + "".join(f"{1.7e12 + i:.0f},{i * i % 7}.5\n" for i in range(40))
    yield Row(
        "float32 for a column of large numbers",
        InputError,
        "--dtype: expected numbers whose differences float32 can hold, got others in the column "
        "'a'; use float64 or leave the type out, or subtract a number near the column's mean",
        lambda s: s.command(*labels, s.table(large), "--dtype", "float32"),
    )
    yield Row(
        "a column of tiny deviations",
        InputError,
        "--dtype: expected numbers with a deviation between 8e-37 and 1e+150 in the column 'a', "
        "got a deviation beyond that; scale the column",
        lambda s: s.command(
            *labels, s.table("a,b\n" + "1e-60,.5\n2e-60,.7\n" * 9), "--recipe", "none"
        ),
    )
    yield Row(
        "probabilities of a regression",
        InputError,
        "--probabilities: expected a network for classes, got one for numbers; omit it",
        lambda s: (
            (net := Network([Dense(1)], "huber")).fit(s.X, s.y, epochs=1),
            net.save(path := s.folder / "model.safetensors"),
            s.command("predict", str(path), "--data", "digits", "--probabilities"),
        ),
    )


def overflowing() -> Network:
    """Its two hidden sums of a large input are infinite, and then subtracted."""
    network = Network([Dense(1, 2), Dense(2, 1)], "mean_squared_error")
    network.params[...] = [1e30, 1e30, 0, 0, 1, -1, 0]
    return network


def classifier_rows() -> Iterator[Row]:
    """What the estimators say beyond scikit-learn's own words."""

    def fitted(s: Setting) -> MLPClassifier:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return MLPClassifier((4,), max_iter=1, batch_size=8).fit(s.X, s.y)

    yield Row(
        "a hidden layer too far",
        InputError,
        "MLPClassifier.transform: expected layer below 1, got 1; count hidden layers from 0",
        lambda s: fitted(s).transform(s.X, 1),
    )
    yield Row(
        "an output too far",
        InputError,
        "MLPClassifier.input_gradients: expected output below 1, got 2; count outputs from 0",
        lambda s: fitted(s).input_gradients(s.X, 2),
    )
    yield Row(
        "rows that outputs cannot hold",
        InputError,
        "Network.outputs: expected rows whose outputs float32 can hold, got nan for row 1; "
        "scale the inputs down, or use float64",
        lambda s: overflowing().outputs([[0.0], [1e20]]),
    )
    yield Row(
        "what L-BFGS would ignore",
        InputError,
        "MLPClassifier.fit: expected no dropout with solver='lbfgs', got one; "
        "leave it out or choose another solver, such as 'adam'",
        lambda s: MLPClassifier(solver="lbfgs", dropout=0.1).fit(s.X, s.y),
    )
    yield Row(
        "a score without samples",
        InputError,
        "MLPClassifier.fit: expected samples to be scored after each epoch, "
        "got scoring='accuracy' without them; pass early_stopping=True, or X_val and y_val",
        lambda s: MLPClassifier(scoring="accuracy").fit(s.X, s.y),
    )
    yield Row(
        "activations for other layers",
        InputError,
        "MLPClassifier: expected activation as one value or 1, one for each hidden layer, got 2; "
        "match hidden_layer_sizes",
        lambda s: MLPClassifier((4,), activation=["relu", "tanh"]).fit(s.X, s.y),
    )
    yield Row(
        "a checkpoint for an estimator",
        InputTypeError,
        "MLPClassifier.fit: expected callbacks that can be called as f(estimator, history), "
        "got Checkpoint; pass functions; a Checkpoint belongs to Network.fit",
        lambda s: MLPClassifier(callbacks=[Checkpoint(s.folder)]).fit(s.X, s.y),
    )
    yield Row(
        "another shape in a warm start",
        InputError,
        "MLPClassifier.fit: expected hidden layers of [4] units as they are, got [5]; "
        "start anew with a clone, or with warm_start=False",
        lambda s: (
            MLPClassifier((4,), warm_start=True, learning_rate="cosine", max_iter=1)
            .fit(s.X, s.y)
            .set_params(hidden_layer_sizes=(5,))
            .fit(s.X, s.y)
        ),
    )


def estimator_rows() -> Iterator[Row]:
    """Data, weights and attributes that the estimators refuse before anything changes."""

    def made(**options: Any) -> MLPClassifier:
        return MLPClassifier((4,), max_iter=1, batch_size=8, **options)

    def changed(s: Setting, change: Callable[[Any], Any]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = made().fit(s.X, s.y)
        change(model)
        model.predict(s.X[:, : model.n_features_in_])

    def setting(i: int, value: Any) -> Callable[[Any], Any]:
        return lambda model: model.coefs_.__setitem__(i, value)

    def weighted(s: Setting, weights: Any, y: Any = None) -> None:
        made(class_weight=weights).fit(s.X, s.y if y is None else y)

    shapes = "set arrays of the shapes that fit made"
    rows = "write [{0: 1.0, 1: 5.0}, ...]"
    yield Row(
        "coefs_ as a number",
        InputTypeError,
        f"MLPClassifier: expected coefs_ as a list of arrays, got int; {shapes}",
        lambda s: changed(s, lambda model: setattr(model, "coefs_", 3)),
    )
    yield Row(
        "coefs_ of fewer layers",
        InputError,
        f"MLPClassifier: expected coefs_ with 2 arrays, one for each layer, got 1; {shapes}",
        lambda s: changed(s, lambda model: model.coefs_.pop()),
    )
    yield Row(
        "coefs_ of another shape",
        InputError,
        "MLPClassifier: expected coefs_[0] of shape (3, n_units), got shape (2, 4); " + shapes,
        lambda s: changed(s, setting(0, np.ones((2, 4)))),
    )
    yield Row(
        "coefs_ with nan",
        InputError,
        "MLPClassifier: expected coefs_[0] finite in float64, got nan or infinite numbers; "
        "set other arrays, or start anew with a clone",
        lambda s: changed(s, setting(0, np.full((3, 4), np.nan))),
    )
    yield Row(
        "rows for another n_features_in_",
        InputError,
        "MLPClassifier: expected X with 3 columns, as coefs_ have, got 2; "
        "pass the columns that fit saw",
        lambda s: changed(s, lambda model: setattr(model, "n_features_in_", 2)),
    )
    yield Row(
        "weights of no validation rows",
        InputError,
        "MLPClassifier.fit: expected X_val and y_val with sample_weight_val, got neither; "
        "pass the rows that it weighs",
        lambda s: made().fit(s.X, s.y, sample_weight_val=s.y),
    )
    yield Row(
        "negative weights of validation rows",
        InputError,
        "MLPClassifier.fit: expected sample_weight_val of at least 0, got a negative one in row 1; "
        "weights count how often a row is seen",
        lambda s: made().fit(s.X, s.y, X_val=s.X, y_val=s.y, sample_weight_val=-s.y),
    )
    yield Row(
        "a split with all weight on one side",
        InputError,
        "MLPClassifier.fit: expected some sample_weight above 0 on both sides of the split for "
        "early stopping, got only zeros on one; use another validation_fraction, or pass X_val "
        "and y_val",
        lambda s: made(early_stopping=True, validation_fraction=0.3).fit(s.X, s.y, np.eye(8)[0]),
    )
    yield Row(
        "validation targets of another kind",
        InputError,
        "MLPClassifier.fit: expected y_val with one label per row, got shape (8, 2); "
        "pass targets of the same kind as before",
        lambda s: made().fit(s.X, s.y, X_val=s.X, y_val=np.ones((8, 2), int)),
    )
    yield Row(
        "text as targets of a regressor",
        InputTypeError,
        "MLPRegressor.fit: expected y to hold numbers, got dtype <U1; encode text and categories "
        "as numbers first, or drop those columns",
        lambda s: MLPRegressor().fit(s.X, s.y.astype("U1")),
    )
    yield Row(
        "dates as targets of a regressor",
        InputTypeError,
        "MLPRegressor.fit: expected y to hold numbers, got dtype datetime64[D]; "
        "count days or seconds from a date of your choice",
        lambda s: MLPRegressor().fit(s.X, s.y.astype("M8[D]")),
    )
    yield Row(
        "dates as rows of an estimator",
        InputTypeError,
        "MLPClassifier.fit: expected X to hold numbers, got dtype datetime64[D]; "
        "count days or seconds from a date of your choice",
        lambda s: MLPClassifier().fit(s.X.astype("M8[D]"), s.y),
    )
    yield Row(
        "layers of an estimator that are no whole numbers",
        InputTypeError,
        "MLPClassifier.fit: expected each of hidden_layer_sizes to be a whole number of at least "
        "1, got float; pass an int",
        lambda s: MLPClassifier((1.5,)).fit(s.X, s.y),
    )
    yield Row(
        "targets to score of another shape",
        InputError,
        "MLPRegressor.score: expected y of shape (8, 1), got shape (8, 3); "
        "pass the targets of the rows of X",
        lambda s: (
            MLPRegressor("huber", (2,), solver="lbfgs", alpha=9).fit(s.X, s.y).score(s.X, s.X)
        ),
    )
    yield Row(
        "class weights of labels that are not there",
        InputError,
        "MLPClassifier.fit: expected classes of y as the keys of class_weight, got 1 other key "
        "(str); use the labels of y, in their own type",
        lambda s: weighted(s, {"1": 2.0}),
    )
    yield Row(
        "class weights that are all zero",
        InputError,
        "MLPClassifier.fit: expected some class_weight above 0, got only zeros; "
        "give a class a weight",
        lambda s: weighted(s, {0: 0, 1: 0}),
    )
    yield Row(
        "class weights that leave no sample",
        InputError,
        "MLPClassifier.fit: expected some weight above 0 with class_weight counted in, "
        "got only zeros; give a weight to a class that y has",
        lambda s: made(class_weight={0: 0}).fit(s.X, s.y, 1 - s.y),
    )
    yield Row(
        "a list of class weights for one label per row",
        InputTypeError,
        "MLPClassifier.fit: expected class_weight as a dict or 'balanced' for one label per row, "
        "got list; write {label: weight, ...}",
        lambda s: weighted(s, [{0: 1}]),
    )
    yield Row(
        "a dict of class weights for several labels",
        InputTypeError,
        "MLPClassifier.fit: expected class_weight as 'balanced' or a list of 2 dicts, one for each "
        f"label, got dict; {rows}",
        lambda s: weighted(s, {0: 1}, s.rows.astype(int)[:, [0, 0]]),
    )
    yield Row(
        "a short list of class weights",
        InputError,
        "MLPClassifier.fit: expected class_weight with 2 dicts, one for each label, got 1; " + rows,
        lambda s: weighted(s, [{0: 1}], s.rows.astype(int)[:, [0, 0]]),
    )
    yield Row(
        "class weights of a label as a number",
        InputTypeError,
        f"MLPClassifier.fit: expected class_weight[0] as a dict, got int; {rows}",
        lambda s: weighted(s, [3, 4], s.rows.astype(int)[:, [0, 0]]),
    )


class Undone(Layer):
    name = "undone"

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        return X


def mine(base: type, **members: Any) -> Any:
    """An object of a class of one's own, which is as right as its members are."""
    return type("Mine", (base,), {"name": "mine", **members})()


def value_and_gradient(
    self: Any, outputs: np.ndarray, targets: np.ndarray, sample_weight: np.ndarray
) -> tuple[float, np.ndarray]:
    return float(((outputs - targets) ** 2).mean()), 2 * (outputs - targets) / outputs.size


def handy_rows() -> Iterator[Row]:
    """Input gradients and labels of predictors."""
    where = "Network.input_gradients: expected"
    yield Row(
        "labels of a predictor that has seen no targets",
        InputError,
        "predictor: expected a fitted network to predict labels with, "
        "got one that had seen no targets; call fit before compile_predictor",
        lambda s: Network([Dense(3, 2)]).compile_predictor().predict(s.X),
    )
    yield Row(
        "input gradients of an output that is not there",
        InputError,
        f"{where} output below 2, got 2; count outputs from 0",
        lambda s: s.fitted.input_gradients(s.X, 2),
    )
    yield Row(
        "input gradients of a negative output",
        InputError,
        f"{where} output to be a whole number of at least 0, got -1; choose a larger one",
        lambda s: s.fitted.input_gradients(s.X, -1),
    )
    yield Row(
        "input gradients of sparse rows",
        InputTypeError,
        f"{where} X as a dense array, got csr_matrix; call its .toarray() first",
        lambda s: s.fitted.input_gradients(sparse.csr_matrix(s.X)),
    )
    yield Row(
        "input gradients of a network not built",
        InputError,
        f"{where} a network with known input columns, got one not built yet; "
        "call fit or build(n_features) first",
        lambda s: s.new.input_gradients(s.X),
    )


def own_layer_rows() -> Iterator[Row]:
    """Layers of one's own that are written wrongly."""

    def forward(self: Any, X: np.ndarray, training: bool = False) -> np.ndarray:
        return X

    def backward(self: Any, dY: np.ndarray) -> np.ndarray:
        return dY

    right = {"forward": forward, "backward": backward, "__repr__": lambda self: "Mine()"}
    numbers = "return one number for each entry"
    arguments = "give it these arguments"
    wrong: list[tuple[str, dict[str, Any], type[InputError], str]] = [
        (
            "no forward",
            {"forward": Layer.forward},
            InputTypeError,
            "Mine.forward: expected a method, got none; define forward(self, X, training=False)",
        ),
        (
            "a forward of one argument",
            {"forward": lambda self, X: X},
            InputTypeError,
            f"Mine.forward: expected a method of (X, training=False), got one of (X); {arguments}",
        ),
        (
            "no backward",
            {"backward": Layer.backward},
            InputTypeError,
            "Mine.backward: expected a method, which training needs, got none; "
            "define backward(self, dY)",
        ),
        (
            "a backward of two arguments",
            {"backward": lambda self, X, dY: dY},
            InputTypeError,
            f"Mine.backward: expected a method of (dY), got one of (X, dY); {arguments}",
        ),
        (
            "a backward of another shape",
            {"backward": lambda self, dY: dY[:, :1]},
            InputError,
            f"Mine().backward: expected a gradient of shape (8, 4), got (8, 1); {numbers}",
        ),
        (
            "a backward that returns nothing",
            {"backward": lambda self, dY: None},
            InputError,
            f"Mine().backward: expected a gradient of shape (8, 4), got None; {numbers}",
        ),
        (
            "a backward of complex numbers",
            {"backward": lambda self, dY: dY + 0j},
            InputTypeError,
            "Mine().backward: expected a gradient of shape (8, 4) of real numbers, "
            "got dtype complex64; convert it",
        ),
        (
            "a forward of complex numbers",
            {"forward": lambda self, X, training: X + 0j},
            InputTypeError,
            "Mine().forward: expected outputs of real numbers, got dtype complex64; convert them",
        ),
        (
            "a build that returns nothing",
            {"build": lambda self, n_in: None},
            InputTypeError,
            "Mine.build: expected the number of output columns, got NoneType; return it",
        ),
        (
            "a build that returns 0",
            {"build": lambda self, n_in: 0},
            InputTypeError,
            "Mine.build: expected the number of output columns, got 0; return it",
        ),
        (
            "a build that sets nothing",
            {"build": lambda self, n_in: 6},
            InputError,
            "Mine.build: expected self.n_in to be 4 and self.n_out 6, which it returns, "
            "got None and None; set both in build",
        ),
    ]
    wrong_shapes: list[Any] = [[4], {"s": 4}, {"s": [4]}, {"s": (4.0,)}, {3: (4,)}, {"s": (-1,)}]
    wrong += [
        (
            f"parameter_shapes of {shapes}",
            {"parameter_shapes": lambda self, shapes=shapes: shapes},
            InputTypeError,
            "Mine.parameter_shapes: expected a dict of tuples of whole numbers, got "
            'another; return {"scale": (self.n_in,)}, say',
        )
        for shapes in wrong_shapes
    ]
    for name, members, kind, text in wrong:
        yield Row(
            f"a user-defined layer with {name}",
            kind,
            text,
            lambda s, members=members: Network(
                [Dense(4), mine(Layer, **(right | members)), Dense(2)]
            ).fit(s.X, s.y),
        )


def own_loss_rows() -> Iterator[Row]:
    """Losses of one's own that are written wrongly."""
    tasks = "Mine.task: expected one of classes, binary, regression, got"
    where, numbers = "Mine.value_and_gradient: expected", "return one number for each entry"
    wrong: list[tuple[str, dict[str, Any], type[InputError], str]] = [
        (
            "the task classification",
            {"task": "classification"},
            InputError,
            f"{tasks} 'classification'; write task = 'classes'",
        ),
        (
            "the task 3",
            {"task": 3},
            InputError,
            f"{tasks} 3; choose what its targets are",
        ),
        (
            "no value_and_gradient",
            {"value_and_gradient": Loss.value_and_gradient},
            InputTypeError,
            f"{where} a method, got none; "
            "define value_and_gradient(self, outputs, targets, sample_weight)",
        ),
        (
            "a value_and_gradient of two arguments",
            {"value_and_gradient": lambda self, z, t: (0.0, z)},
            InputTypeError,
            f"{where} a method of (outputs, targets, sample_weight), got one of (z, t); "
            "give it these arguments",
        ),
        (
            "a value alone",
            {"value_and_gradient": lambda self, z, t, w: 1.0},
            InputTypeError,
            f"{where} a loss and its gradient, got float; return value, gradient",
        ),
        (
            "a value for each row",
            {"value_and_gradient": lambda self, z, t, w: (z[:, 0], z)},
            InputTypeError,
            f"{where} one number as the loss, got shape (8,); return the mean of the batch",
        ),
        (
            "a text as value",
            {"value_and_gradient": lambda self, z, t, w: ("low", z)},
            InputTypeError,
            f"{where} one number as the loss, got str; return the mean of the batch",
        ),
        (
            "a gradient of another shape",
            {"value_and_gradient": lambda self, z, t, w: (1.0, z[:, 0])},
            InputError,
            f"{where} a gradient of shape (8, 2), got (8,); {numbers}",
        ),
        (
            "a gradient of nan",
            {"value_and_gradient": lambda self, z, t, w: (1.0, z * np.nan)},
            InputError,
            f"{where} a finite loss and gradient for finite outputs, got nan or an infinity; "
            "look for divisions by 0, logarithms of 0 and exponentials of large numbers",
        ),
        (
            "an infinite value",
            {"value_and_gradient": lambda self, z, t, w: (np.inf, z)},
            InputError,
            f"{where} a finite loss and gradient for finite outputs, got nan or an infinity; "
            "look for divisions by 0, logarithms of 0 and exponentials of large numbers",
        ),
        (
            "a link of another shape",
            {"link": lambda self, z: z[:, 0]},
            InputError,
            "Mine.link: expected an array of shape (8, 2) of numbers, got shape (8,) of float32; "
            "return one prediction for each output",
        ),
        (
            "a link that returns nothing",
            {"link": lambda self, z: None},
            InputError,
            "Mine.link: expected an array of shape (8, 2) of numbers, got None; "
            "return one prediction for each output",
        ),
    ]
    for name, members, kind, text in wrong:
        yield Row(
            f"a loss of one's own with {name}",
            kind,
            text,
            lambda s, members={"value_and_gradient": value_and_gradient} | members: Network(
                [Dense(4), ReLU(), Dense(2)], mine(Loss, **members)
            ).fit(s.X, s.rows),
        )
    yield Row(
        "a link of another shape at predictions",
        InputError,
        "Mine.link: expected an array of shape (8, 2) of numbers, got shape (2, 8) of float32; "
        "return one prediction for each output",
        lambda s: Network(
            [Dense(3, 2)],
            mine(Loss, value_and_gradient=value_and_gradient, link=lambda self, z: z.T),
        ).predict_proba(s.X),
    )


def own_optimizer_rows() -> Iterator[Row]:
    """Optimizers and schedules of one's own that are written wrongly, and loops of one's own."""
    arguments = "give it these arguments"
    optimizers: list[tuple[str, Any, type[InputError], str]] = [
        (
            "a step of one argument",
            mine(object, step=lambda self, params: None),
            InputTypeError,
            f"Mine.step: expected a method of (params, grads), got one of (params); {arguments}",
        ),
        (
            "a step that is a number",
            mine(object, step=3),
            InputTypeError,
            "Mine.step: expected a method, got int; define step(self, params, grads)",
        ),
        (
            "no step",
            mine(object),
            InputTypeError,
            "Mine.step: expected a method, got none; define step(self, params, grads)",
        ),
        (
            "neither a rule nor a step",
            mine(Optimizer),
            InputTypeError,
            "Mine: expected a method step(params, grads), got none; "
            "define it, or derive from an optimizer that has a rule, such as Adam",
        ),
        (
            "params that are replaced",
            mine(object, step=lambda self, params, grads: params - grads),
            InputError,
            "Mine.step: expected params to be changed in place, got the same ones after an epoch; "
            "write params -= ..., or params[...] = ...",
        ),
    ]
    for name, optimizer, kind, text in optimizers:
        yield Row(
            f"an optimizer of one's own with {name}",
            kind,
            text,
            lambda s, optimizer=optimizer: s.classifier().fit(s.X, s.y, optimizer=optimizer),
        )
    yield Row(
        "a function of one argument as learning rate",
        InputTypeError,
        f"learning_rate: expected a function of (step, n_steps), got one of (step); {arguments}",
        lambda s: Adam(lambda step: 0.1),
    )
    yield Row(
        "a schedule of what is no function",
        InputTypeError,
        "learning_rate: expected a function of (step, n_steps), got float; pass a function",
        lambda s: schedules.FromFunction(0.1),  # type: ignore[arg-type]
    )
    rates: list[tuple[str, Any, type[InputError], str]] = [
        (
            "no rates",
            schedules.Schedule.rates,
            InputTypeError,
            "Mine.rates: expected a method, got none; define rates(self, steps, n_steps)",
        ),
        (
            "rates of one argument",
            lambda self, steps: steps,
            InputTypeError,
            f"Mine.rates: expected a method of (steps, n_steps), got one of (steps); {arguments}",
        ),
        (
            "one rate for all steps",
            lambda self, steps, n_steps: 0.1,
            InputTypeError,
            "Mine.rates: expected an array of shape (1,) of numbers, got shape () and type "
            "float64; return one rate for each entry of steps",
        ),
        (
            "rates below 0",
            lambda self, steps, n_steps: steps - 1.0,
            InputError,
            "Mine.rates: expected finite learning rates of at least 0, got another at step 0; "
            "check the function you passed",
        ),
    ]
    for name, function, kind, text in rates:
        yield Row(
            f"a schedule of one's own with {name}",
            kind,
            text,
            lambda s, function=function: s.classifier().fit(
                s.X, s.y, optimizer=SGD(mine(schedules.Schedule, rates=function))
            ),
        )
    for name, callback, text in (
        (
            "that takes one argument",
            lambda network: None,
            f"that are functions of (network, history), got one of (network); {arguments}",
        ),
        ("as a class", Own, "of functions, got the class Own; pass Own()"),
    ):
        yield Row(
            f"a callback {name}",
            InputTypeError,
            f"Network.fit: expected callbacks {text}",
            lambda s, callback=callback: s.new.fit(s.X, s.y, callbacks=[callback]),
        )
    yield Row(
        "a callback of batches that takes two arguments",
        InputTypeError,
        "Network.fit: expected an on_batch of (network, step, loss), got one of (step, loss); "
        f"{arguments}",
        lambda s: s.new.fit(
            s.X, s.y, callbacks=[mine(object, on_batch=lambda self, step, loss: None)]
        ),
    )
    yield Row(
        "a callback of batches for an estimator",
        InputError,
        "MLPClassifier.fit: expected callbacks of epochs, got one with on_batch; "
        "pass it to Network.fit instead",
        lambda s: MLPClassifier(
            callbacks=[mine(object, on_batch=lambda self, network, step, loss: None)]
        ).fit(s.X, s.y),
    )
    kinds = "as a contiguous array of float32 or float64"
    written, copy = (
        f"params {kinds} that may be written to, got",
        "make a copy, or pass whole arrays",
    )
    pass_gradient = "pass the gradient of these params"
    as_params = "grads of shape (4,) and type float64, as params, got shape"
    four, strided, frozen = np.zeros(4), np.zeros(8)[::2], np.zeros(4)
    frozen.flags.writeable = False
    arrays: list[tuple[str, Any, Any, type[InputError], str]] = [
        ("a list", [0.0], four, InputTypeError, f"{written} list; pass net.params, say"),
        (
            "whole numbers", np.zeros(4, int), four, InputTypeError,
            f"{written} dtype int64; convert it",
        ),
        (
            "a masked array", np.ma.zeros(4), four, InputTypeError,
            f"{written} MaskedArray; pass net.params, say",
        ),
        (
            "other bytes", np.zeros(4, ">f8"), four, InputTypeError,
            f"{written} dtype >f8; convert it",
        ),
        ("a strided array", strided, four, InputError, f"{written} a strided one; {copy}"),
        ("a read-only array", frozen, four, InputError, f"{written} a read-only one; {copy}"),
        (
            "a strided gradient", four, strided, InputError,
            f"grads {kinds}, got a strided one; {copy}",
        ),
        (
            "a shorter gradient", four, np.zeros(3), InputError,
            f"{as_params} (3,) and type float64; {pass_gradient}",
        ),
        (
            "a gradient of another type", four, np.zeros(4, np.float32), InputError,
            f"{as_params} (4,) and type float32; {pass_gradient}",
        ),
    ]  # fmt: skip
    for name, first, second, kind, text in arrays:
        yield Row(
            f"a step on {name}",
            kind,
            f"Adam.step: expected {text}",
            lambda s, first=first, second=second: Adam().step(first, second),
        )
    yield Row(
        "a step of a schedule without an end",
        InputError,
        "Adam.step: expected n_steps, over which Linear plans the rates, got none; "
        "pass how many steps your loop has",
        lambda s: Adam("linear").step(np.zeros(4), np.zeros(4)),
    )


def checkpoint_rows() -> Iterator[Row]:
    """What checkpoints refuse to go on from, or to write."""

    def fit(s: Setting, *callbacks: Any, name: str = "run", **options: Any) -> None:
        resume = options.pop("resume", False)
        callbacks = callbacks or (Checkpoint(s.folder / name, resume=resume),)
        s.fitted.fit(s.X, s.y, epochs=1, callbacks=callbacks, **options)

    def held(s: Setting, write: Callable[[Path], Any]) -> None:
        (s.folder / "run").mkdir()
        write(s.folder / "run" / "epoch-000001.safetensors")
        fit(s, resume=True)

    def other(s: Setting) -> None:
        network = s.classifier()
        with contextlib.suppress(InputError):
            network.fit(s.X, s.y, epochs=1, callbacks=[Checkpoint(s.folder / "run")])
        fit(s, resume=True, batch_size=3)

    file = "Checkpoint('{folder}/run'), epoch-000001.safetensors"
    yield Row(
        "a checkpoint of an optimizer of one's own",
        InputError,
        "Checkpoint('{folder}/run'): expected an optimizer of fastmlp's, whose state can be saved, "
        "got Stepper; save the network in a callback instead",
        lambda s: fit(s, optimizer=Stepper()),
    )
    yield Row(
        "checkpoints where there are others",
        InputError,
        "Checkpoint('{folder}/run'): expected a folder without checkpoints, "
        "got epoch-000001.safetensors in it; pass resume=True to go on, or choose another folder",
        lambda s: (
            (s.folder / "run").mkdir(),
            (s.folder / "run" / "epoch-000001.safetensors").touch(),
            fit(s),
        ),
    )
    yield Row(
        "checkpoints in a file",
        FileError,
        "Checkpoint('{folder}/run'): expected a folder that can be written to, got File exists; "
        "choose another one",
        lambda s: ((s.folder / "run").touch(), fit(s)),
    )
    yield Row(
        "a model where a checkpoint should be",
        FileError,
        f"{file}: expected a checkpoint, got a file without one; remove it",
        lambda s: held(s, s.fitted.save),
    )
    yield Row(
        "a checkpoint of another run",
        InputError,
        f"{file}: expected a run like the one before, got another batch_size; "
        "choose another folder, or pass allow_changes=True",
        other,
    )
    yield Row(
        "two checkpoints",
        InputError,
        "Network.fit: expected one Checkpoint, got 2; pass one",
        lambda s: fit(s, Checkpoint(s.folder / "a"), Checkpoint(s.folder / "b")),
    )
    yield Row(
        "two kinds of early stopping",
        InputError,
        "Network.fit: expected one EarlyStopping, got 2; pass one",
        lambda s: fit(s, EarlyStopping(), EarlyStopping(3)),
    )
    yield Row(
        "early stopping by nothing",
        InputError,
        "Network.fit: expected validation_data for an EarlyStopping, got none; "
        "pass validation_data=(X, y)",
        lambda s: fit(s, EarlyStopping()),
    )
    yield Row(
        "early stopping by another name",
        InputError,
        "EarlyStopping: expected monitor to be one of validation_score, validation_loss, "
        "got 'val_loss'; did you mean 'validation_loss'?",
        lambda s: EarlyStopping(monitor="val_loss"),
    )
    yield Row(
        "early stopping without patience",
        InputError,
        "EarlyStopping: expected patience to be a whole number of at least 1, got 0; "
        "choose a larger one",
        lambda s: EarlyStopping(0),
    )
    yield Row(
        "early stopping by a step backwards",
        InputError,
        "EarlyStopping: expected tolerance to be a number at least 0, got -0.1; "
        "choose a value in that range",
        lambda s: EarlyStopping(tolerance=-0.1),
    )
    yield Row(
        "the best weights on which side",
        InputTypeError,
        "EarlyStopping: expected restore_best to be True or False, got str; choose one",
        lambda s: EarlyStopping(restore_best="last"),
    )
    yield Row(
        "going on from nowhere",
        InputError,
        "--resume: expected --checkpoint DIR with it, got none; name the folder",
        lambda s: commands.train(cli.parser().parse_args(["train", "--resume"])),
    )
    yield Row(
        "a model that was changed",
        FileError,
        "Network.load('{folder}/run'): expected a whole model file, "
        "got one that was changed after it was written; restore it from a copy",
        lambda s: Network.load(tampered(s)),
    )


def tampered(s: Setting) -> Path:
    """A model file with one changed bit in its last parameter."""
    s.fitted.save(path := s.folder / "run.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path = s.folder / "run"
    path.write_bytes(data)
    return path


class Stepper:
    def step(self, params: np.ndarray, grads: np.ndarray) -> None:
        params -= grads


def steps_on(name: str) -> Any:
    """A graph that passes on its one input."""
    helper, code = pytest.importorskip("onnx").helper, 1
    ends = [helper.make_tensor_value_info(end, code, ["n", 1]) for end in (name, "out")]
    nodes = [helper.make_node("Identity", [name], ["out"])]
    return helper.make_model(helper.make_graph(nodes, "steps", ends[:1], ends[1:]))


def interchange_rows() -> Iterator[Row]:
    """What exports and imports refuse."""
    yield Row(
        "ONNX of a network not built",
        InputError,
        "to_onnx: expected a built network with a built-in loss, got one not built yet; "
        "call fit first, or export with a built-in loss",
        lambda s: to_onnx(s.new, s.folder / "model.onnx"),
    )
    yield Row(
        "ONNX of a number",
        InputTypeError,
        "to_onnx: expected a Network, MLPClassifier or MLPRegressor, got int; fit one of those",
        lambda s: to_onnx(7, s.folder / "model.onnx"),
    )
    yield Row(
        "ONNX of a user-defined layer",
        InputError,
        "to_onnx: expected built-in layers, got Undone(); export without it",
        lambda s: to_onnx(Network([Dense(3, 3), Undone()]), s.folder / "model.onnx"),
    )
    yield Row(
        "ONNX of a network that needs float64",
        InputError,
        "to_onnx: expected a network of which float32 holds inputs and outputs, got one trained "
        "on columns that need float64; subtract a number near their mean and train again",
        lambda s: (
            setattr(s.fitted, "trained_on", {"needs_float64": ["the column 'a'"]}),
            to_onnx(s.fitted, s.folder / "model.onnx"),
        ),
    )
    yield Row(
        "ONNX of a step that skl2onnx does not know",
        InputError,
        "to_onnx: expected steps that skl2onnx can write, got one that it refuses (Unable to find "
        "a shape calculator for type "
        "'<class 'sklearn.preprocessing._polynomial.SplineTransformer'>'); leave out that step",
        lambda s: to_onnx(
            make_pipeline(SplineTransformer(), DummyClassifier()).fit(s.X, s.y),
            s.folder / "model.onnx",
        ),
    )
    pandas = pytest.importorskip("pandas")

    def scaled(s: Setting) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return make_pipeline(StandardScaler(), MLPClassifier((2,), max_iter=1)).fit(s.X, s.y)

    def answered(s: Setting, *values: np.ndarray) -> None:
        session = SimpleNamespace(run=lambda *_: values)
        onnx_runtime.check_answers(session, ["label", "probabilities"], [], s.fitted, s.X)

    def refused(*_: Any, **__: Any) -> None:
        raise ValueError("Nonsense is no operator.\nTraceback")

    yield Row(
        "ONNX with columns named as outputs",
        InputError,
        "to_onnx: expected columns with other names than the outputs label and probabilities, "
        "got one named 'label'; rename those columns",
        lambda s: to_onnx(
            scaled(s), s.folder / "model.onnx", pandas.DataFrame(s.X, columns=["label", "a", "b"])
        ),
    )
    yield Row(
        "ONNX of rows of mixed objects",
        InputTypeError,
        "to_onnx: expected X of numbers or of text, got dtype object; "
        "pass a data frame, whose columns may be of several types",
        lambda s: to_onnx(scaled(s), s.folder / "model.onnx", np.array([[1, "a", 2.0]], object)),
    )
    yield Row(
        "ONNX of no rows",
        InputError,
        "to_onnx: expected X with at least one row and column, got an array of shape (0, 3); "
        "pass some rows such as the model was fitted on",
        lambda s: to_onnx(scaled(s), s.folder / "model.onnx", s.X[:0]),
    )
    yield Row(
        "ONNX of a column of dates",
        InputTypeError,
        "to_onnx: expected numbers or text in the column 'day', got dtype datetime64[s]; "
        "turn it into numbers before the model",
        lambda s: onnx_inputs.connected(
            pytest.importorskip("onnx"),
            steps_on("day"),
            onnx_inputs.Layout(
                [onnx_inputs.Input("day", "", np.zeros((1, 1), "M8[s]"))], "FLOAT", False
            ),
        ),
    )
    yield Row(
        "ONNX of dates as labels",
        InputTypeError,
        "to_onnx: expected labels that are text or whole numbers of 64 bits, "
        "got dtype datetime64[D]; fit on labels of those types",
        lambda s: (
            (net := s.classifier()).fit(s.X, s.y.astype("M8[D]"), epochs=1),
            to_onnx(net, s.folder / "model.onnx"),
        ),
    )
    yield Row(
        "ONNX of parameters beyond float32",
        InputError,
        "to_onnx: expected parameters within float32, got larger ones; "
        "train on scaled data, or again with a lower learning rate",
        lambda s: (
            (net := s.classifier(dtype="float64").build(3)).params.fill(1e40),
            to_onnx(net, s.folder / "model.onnx"),
        ),
    )
    yield Row(
        "ONNX that onnx refuses",
        InputError,
        "to_onnx: expected steps that ONNX can run, got a file that it refuses "
        "(Nonsense is no operator); leave out the step that it names",
        lambda s: onnx_runtime.session_of(
            SimpleNamespace(checker=SimpleNamespace(check_model=refused)), None
        ),
    )
    yield Row(
        "ONNX of rows that the model refuses",
        InputError,
        "to_onnx: expected X that the model can predict from, got rows that it refuses "
        "(Network.predict: expected X of shape (n, 3), got an array of shape (8, 2); pass the "
        "columns the network was built for); pass some rows such as it was fitted on",
        lambda s: onnx_runtime.check_answers(None, ["label"], [], s.fitted, s.X[:, :2]),
    )
    yield Row(
        "ONNX that gives no answers",
        InputError,
        "to_onnx: expected a file that answers for the rows of X, got an error "
        "(zip() argument 2 is shorter than argument 1); leave out the step that it names",
        answered,
    )
    yield Row(
        "ONNX that gives other answers",
        InputError,
        "to_onnx: expected steps whose answers ONNX can give, got others in 8 of 8 rows; "
        "leave out steps until they agree, or pass X in the types of fit",
        lambda s: answered(s, s.y, 5 + s.fitted.predict_proba(s.X)),
    )
    yield Row(
        "PyTorch's parameters of another shape",
        InputError,
        "from_torch: expected parameters of shapes [(4, 3), (4,), (2, 4), (2,)], got [(2, 2)]; "
        "match the layers of both models",
        lambda s: from_torch({"0.weight": np.eye(2)}, s.fitted),
    )
    yield Row(
        "scikit-learn's model is a number",
        InputTypeError,
        "from_sklearn: expected scikit-learn's MLPClassifier or MLPRegressor, got int; "
        "pass one of those",
        lambda s: from_sklearn(7),
    )
    yield Row(
        "scikit-learn's model is not fitted",
        InputError,
        "from_sklearn: expected a fitted model, got one not fitted yet; call fit first",
        lambda s: from_sklearn(TheirClassifier()),
    )


class Uncopied(Own):
    """An optimizer that cannot be copied."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise RuntimeError("no")


def trace_rows() -> Iterator[Row]:
    """What is no sample, and what a trace does not have."""
    one = "Network.trace: expected x as one sample of shape (3,) or (1, 3), got an array of shape"
    yield Row(
        "a trace of several samples",
        InputError,
        f"{one} (8, 3); pass one row, such as X[0]",
        lambda s: s.fitted.trace(s.X, s.y[0]),
    )
    yield Row(
        "a trace of a sample with other columns",
        InputError,
        f"{one} (2,); pass one row, such as X[0]",
        lambda s: s.fitted.trace(s.X[0, :2], s.y[0]),
    )
    yield Row(
        "a trace with several targets",
        InputError,
        "Network.trace: expected y as the target of one sample, got an array of shape (8, 2); "
        "pass one entry, such as y[0]",
        lambda s: s.on_rows.trace(s.X[0], s.rows),
    )
    for value, got in ((2, "another number"), (0.5, "another number"), ("cat", "dtype <U3")):
        yield Row(
            f"a trace before any fit with the label {value!r}",
            InputError,
            "Network.trace: expected the number of a class, from 0 to 1, for a network that is not "
            f"fitted, got {got}; call fit first, or pass a one-hot row",
            lambda s, value=value: s.new.trace(s.X[0], value),
        )
    yield Row(
        "a trace with one label for several yes or no",
        InputError,
        "Network.trace: expected y with one column for every target of the 2 outputs, "
        "got 1 column; give the last Dense layer as many units",
        lambda s: Network([Dense(2)], "binary_cross_entropy").trace(s.X[0], 1),
    )
    yield Row(
        "a trace with an optimizer that cannot be copied",
        InputError,
        "Network.trace: expected parts that copy.deepcopy can copy, got RuntimeError; "
        "define __deepcopy__ for your own layers, loss or optimizer",
        lambda s: s.fitted.trace(s.X[0], s.y[0], optimizer=Uncopied()),
    )
    yield Row(
        "a layer that a trace does not have",
        InputError,
        "Trace: expected a layer from 0 to 2, got 3; count them as network.layers does",
        lambda s: s.fitted.trace(s.X[0], s.y[0])[3],
    )
    yield Row(
        "a slice of a trace",
        InputTypeError,
        "Trace: expected the number of a layer or a name such as '0.z', got slice; "
        "write trace[0].z or trace['0.z']",
        lambda s: s.fitted.trace(s.X[0], s.y[0])[:2],
    )
    names = "z, a, slope, da, delta"
    yield Row(
        "an array that a trace does not have",
        InputError,
        "Trace: expected the name of an array: "
        f"{', '.join(f'1.{name}' for name in names.split(', '))}, got '1.dW'; see trace.arrays",
        lambda s: s.fitted.trace(s.X[0], s.y[0])["1.dW"],
    )
    yield Row(
        "a name without a layer",
        InputError,
        "Trace: expected the name of an array: 0.z, 0.delta, say, got 'z'; see trace.arrays",
        lambda s: s.fitted.trace(s.X[0], s.y[0])["z"],
    )
    yield Row(
        "an array that a layer of a trace does not have",
        InputError,
        f"Trace, layer 1: expected one of {names}, got 'dW'; choose one of these",
        lambda s: s.fitted.trace(s.X[0], s.y[0])[1]["dW"],
    )
    yield Row(
        "fastmlp trace --model with --seed",
        InputError,
        "--seed: expected a new network, got --model; leave one of the two out",
        lambda s: s.command("trace", "--model", "m.safetensors", "--seed", "0"),
    )


def rate_range_rows() -> Iterator[Row]:
    """The learning-rate range test."""
    yield Row(
        "a range test of an optimizer without a rate",
        InputTypeError,
        "find_learning_rate: expected an optimizer of fastmlp's, whose learning rate can be set, "
        "got Own; pass a name or an Optimizer",
        lambda s: find_learning_rate(s.new, s.X, s.y, optimizer=Own()),
    )
    yield Row(
        "a range test of rates that are all too large",
        InputError,
        "find_learning_rate: expected finite losses for at least 3 rates, got 1; "
        "choose a lower lowest, or scale the data",
        lambda s: find_learning_rate(
            s.line, s.X, s.y, optimizer="sgd", lowest=1e300, highest=1e301, batch_size=4
        ),
    )


def branch_rows() -> Iterator[Row]:
    """Layers made of layers, and numbers of categories."""
    first = "call forward(X) first"
    layer: Any
    for layer, text in (
        (Residual([Dense(3)]), "Residual([Dense(3)])"),
        (Columns((0, [])), "Columns(([0], []))"),
        (Scale(), "Scale(start=1.0)"),
    ):
        yield Row(
            f"backward of {layer.name} without a forward pass",
            InputError,
            f"{text}.backward: expected a forward pass before it, got none; {first}",
            lambda s, layer=layer: layer.backward(s.X),
        )
    for name, bad, got in (
        ("a Residual of one layer", Dense(3), "Dense"),
        ("a Residual of a class", [ReLU], "type"),
    ):
        yield Row(
            name,
            InputTypeError,
            f"Residual: expected a list of layers, got {got}; write [Dense(32), ReLU(), ...]",
            lambda s, bad=bad: Residual(bad),  # type: ignore[arg-type]
        )
    yield Row(
        "a Residual of nothing",
        InputError,
        "Residual: expected at least one layer, got none; start with Dense(n_units)",
        lambda s: Residual([]),
    )
    yield Row(
        "a Residual of another width",
        InputError,
        "Residual: expected layers that give 3 columns for as many, got 4; end with a Dense layer "
        "of that size",
        lambda s: Network([Residual([Dense(4)])]).fit(s.X, s.y),
    )
    yield Row(
        "Columns of nothing",
        InputError,
        "Columns: expected at least one branch, got none; write Columns(([0, 1], [Dense(4)]))",
        lambda s: Columns(),
    )
    yield Row(
        "a branch without layers",
        InputTypeError,
        "Columns, branch 0: expected a pair of columns and layers, got int; "
        "write ([0, 1], [Dense(4), ReLU()])",
        lambda s: Columns(0),
    )
    for columns, got in (([], "none"), ([1, 1], "one twice")):
        yield Row(
            f"a branch with {got} of the columns",
            InputError,
            f"Columns, branch 0: expected some columns, each once, got {got}; "
            "list them by their numbers",
            lambda s, columns=columns: Columns((columns, [])),
        )
    yield Row(
        "a branch of columns that are not there",
        InputError,
        "Columns, branch 1: expected columns below 3, got 3; count columns from 0",
        lambda s: Network([Columns((0, []), (3, [])), Dense(2)]).fit(s.X, s.y),
    )
    yield Row(
        "numbers that are no categories",
        InputError,
        "Network.fit: expected numbers of categories from 0 to 1 in column 0, got another one in "
        "row 2; number the categories from 0",
        lambda s: Network([Embedding(2, 1), Dense(2)]).fit([[0], [1], [2]], [0, 1, 0]),
    )


def own_rule_rows() -> Iterator[Row]:
    """What is said of rules of the user's own, and of the classes that name them."""
    advice = "compute with numbers, math, and plain functions of numbers only"
    an_integer = "int64" if JIT_ENABLED else "int"

    def of(rule: Callable[..., Any], kind: str = "float32") -> Callable[[Setting], Any]:
        def call(s: Setting) -> Any:
            made = type("Own", (Activation,), {"kernel": compiled_activation(rule)})
            return made().forward(np.ones((1, 2), kind))

        return call

    def declared(base: type, **body: Any) -> Callable[[Setting], Any]:
        return lambda s: type("Own", (base,), {"name": "own", **body})

    def add_text(z: Any, alpha: Any) -> Any:
        return z + "a", z

    def positive(z: Any) -> Any:
        assert z > 0
        return z

    def raising(z: Any, alpha: Any) -> Any:
        return positive(z), z

    def nothing(z: Any, alpha: Any) -> Any:
        pass

    def one_number(z: Any, alpha: Any) -> Any:
        return z

    def whole_slope(z: Any, alpha: Any) -> Any:
        return z, 1 if z > 0 else 0

    text = "no way to compute add(float32, Literal[str](a)) in line {}, 'return z + \"a\", z'"
    text = text.format(add_text.__code__.co_firstlineno + 1)
    if not JIT_ENABLED:
        text = "UFuncTypeError: ufunc 'add' did not contain a loop with signature matching types "
        text += "(dtype('float32'), dtype('<U1')) -> None"
    dropped = Network([Dense(2), Dropout(lambda step, n_steps: float(step)), Dense(2)])
    kernel = compiled_optimizer(lambda p, g, rate, h: p - rate * h.mu * g, 0, ("mu",))
    no_field = type("Own", (Optimizer,), {"name": "own", "kernel": kernel})
    in_numpy = type("Own", (ReLU,), {"forward": lambda self, X, training=False: X})
    two = dataclasses.make_dataclass("Two", [("a", float, 1.0), ("b", float, 2.0)])
    for row in (
        ("a rule that is no function", InputTypeError,
         "compiled_loss: expected a function as the rule, got float; "
         "pass a function of numbers, plain or decorated by numba.njit",
         lambda s: compiled_loss(0.5)),
        ("a rule of other arguments", InputTypeError,
         "compiled_link(one_number): expected a rule of (z), got one of (z, alpha); "
         "give it these arguments", lambda s: compiled_link(one_number)),
        ("a rule that cannot be compiled", InputError,
         f"compiled_activation(add_text): expected a rule that can be compiled, got {text}; "
         f"{advice}", of(add_text)),
        ("a rule that raises", InputError,
         "compiled_activation(raising): expected a rule that can be compiled, got a rule that "
         f"raises errors, for which there is no way; {advice}", of(raising)),
        ("a rule that returns nothing", InputTypeError,
         "compiled_activation(nothing): expected value and slope as what it returns, got nothing; "
         "return value, slope", of(nothing)),
        ("a rule that returns one number", InputTypeError,
         "compiled_activation(one_number): expected value and slope as what it returns, "
         "got 1 of 2; return value, slope", of(one_number, "float64")),
        ("a rule that returns a whole number", InputTypeError,
         "compiled_activation(whole_slope): expected a float as the slope, "
         f"got {an_integer}; return type(z)(1) or 1.0 rather than 1, say", of(whole_slope)),
        ("a rule with too many states", InputError,
         "compiled_optimizer: expected n_states to be a whole number of at most 3, got 4; "
         "choose a smaller one", lambda s: compiled_optimizer(one_number, 4)),
        ("one text as names of numbers", InputTypeError,
         "compiled_optimizer: expected numbers as a sequence of names, got str; "
         'write ("mu",)', lambda s: compiled_optimizer(one_number, 0, "mu")),
        ("a name of numbers twice", InputError,
         "compiled_optimizer: expected numbers as names of fields, each once, got 'mu'; "
         'write ("mu",)', lambda s: compiled_optimizer(one_number, 0, ["mu", "mu"])),
        ("a plain function as a kernel", InputTypeError,
         "Own.kernel: expected a compiled rule, got function; "
         "write kernel = compiled_loss(rule)", declared(CompiledLoss, kernel=whole_slope)),
        ("another part's kernel", InputTypeError,
         "Own.kernel: expected a compiled rule, got one of another kind; "
         "write kernel = compiled_optimizer(rule)", declared(Optimizer, kernel=ReLU.kernel)),
        ("an activation without a kernel", InputTypeError,
         "Own: expected a kernel, or methods forward and backward, got neither; "
         "write kernel = compiled_activation(rule)",
         lambda s: declared(Activation)(s)().forward(s.X)),
        ("a compiled loss without a kernel", InputTypeError,
         "Own.kernel: expected a compiled rule, got none; write kernel = compiled_loss(rule)",
         lambda s: Network([Dense(2)], declared(CompiledLoss)(s)())),
        ("a rule's number among two", InputTypeError,
         "Own.option: expected one number as the only field, got 2 fields; "
         "define a property option, which returns the number for the rule",
         lambda s: type("Own", (two, Activation), {"kernel": ReLU.kernel})().forward(s.X)),
        ("an optimizer without its rule's number", InputTypeError,
         "Own: expected a field 'mu', which its rule reads, got none; "
         "write mu: float = ... in a frozen dataclass", lambda s: no_field()),
        ("an estimator with an activation in NumPy", InputTypeError,
         "MLPClassifier: expected activations that have a kernel, got Own; "
         "use a Network, or write kernel = compiled_activation(rule)",
         lambda s: MLPClassifier(activation=in_numpy()).fit(s.X, s.y)),
        ("a factor below 0", InputError,
         "Factor: expected rate to be a number at least 0, got -1; choose a value in that range",
         lambda s: Factor(-1)),
        ("a part to check that is none", InputTypeError,
         "check_part: expected a layer or a loss, got Adam; pass an object such as ReLU()",
         lambda s: check_part(Adam())),  # type: ignore[arg-type]
        ("dropout of everything at a step", InputError,
         "Dropout, rate: expected a schedule of rates below 1, got another at step 1; "
         "a rate of 1 would drop everything",
         lambda s: copy.deepcopy(dropped).fit(s.X, s.y, batch_size=4)),
    ):  # fmt: skip
        yield Row(*row)


def stepper_rows() -> Iterator[Row]:
    """What is said of the step in two halves."""

    def rows(given: Any) -> Callable[[Setting], Any]:
        return lambda s: Halves(copy.deepcopy(s.fitted), s.X, s.y, batch_size=4).gradient(given)

    expected = "Stepper.gradient: expected"
    for name, text, call in (
        ("rows that are no list",
         f"{expected} rows as a list of whole numbers, got shape () and type int64; "
         "pass numbers of samples", rows(np.int64(3))),
        ("more rows than fit",
         f"{expected} at most 4 rows, got 5; make batch_size larger", rows(range(5))),
        ("rows that are not there",
         f"{expected} rows from 0 to 7, got some outside; count from 0", rows([7, 8])),
        ("a gradient of a total of 0",
         f"{expected} total to be a number above 0, got 0; choose a value in that range",
         lambda s: Halves(copy.deepcopy(s.fitted), s.X, s.y).gradient([0], total=0)),
        ("a step of a schedule that plans",
         "Stepper.apply: expected n_steps, over which Linear plans the rates, got none; "
         "pass how many steps your loop has",
         lambda s: Halves(copy.deepcopy(s.fitted), s.X, s.y,
                           optimizer=SGD(schedules.Linear())).apply()),
    ):  # fmt: skip
        yield Row(name, InputError, text, call)


def trainer_rows() -> Iterator[Row]:
    """What is said where batches are passed one by one."""

    def trainer(s: Setting) -> Any:
        return copy.deepcopy(s.fitted).trainer(batch_size=4)

    def wrong_gradient(s: Setting) -> None:
        one = trainer(s)
        one.forward(s.X)
        one.backward(np.zeros((1, s.fitted.n_outputs)))

    for name, text, call in (
        ("a trainer of a network without sizes",
         "Network.trainer: expected a network that is built, got one without input columns; "
         "call build(n_features) first", lambda s: Network([Dense(2)]).trainer()),
        ("a batch that is too large",
         "BatchTrainer.step: expected at most 4 rows, got 8; make batch_size larger",
         lambda s: trainer(s).step(s.X, s.y)),
        ("a gradient without outputs",
         "BatchTrainer.backward: expected a forward pass with these parameters, got none; "
         "call forward(X) first", lambda s: trainer(s).backward(np.zeros((8, 3)))),
        ("a gradient of other outputs",
         "BatchTrainer.backward: expected dY with 8 rows, as forward had, got 1; "
         "pass one row for each row of outputs", wrong_gradient),
    ):  # fmt: skip
        yield Row(name, InputError, text, call)


def search_rows() -> Iterator[Row]:
    """What searches and their pictures refuse."""
    results = {"params": [{"alpha": 1}, {"alpha": 2}], "mean_test_score": np.zeros(2),
               "param_alpha": np.ma.array([1, 2])}  # fmt: skip

    def search(model: Any, **options: Any) -> Callable[[Setting], Any]:
        return lambda s: SearchCV(model, {}, **options).fit(s.X, s.y)

    def watched(s: Setting) -> None:
        made = SearchCV(MLPClassifier(), {})
        vars(made)["_skl_callbacks"] = [print]  # as set_callbacks of newer versions does
        made.fit(s.X, s.y)

    def members_watched(s: Setting) -> None:
        made = MLPClassifier(n_members=2)
        vars(made)["_skl_callbacks"] = [print]
        made.fit(s.X, s.y)

    def by_a_function(s: Setting) -> SearchCV:
        class First:
            def __call__(self, results: Any) -> int:
                return 0

            def __repr__(self) -> str:
                return "'by a function'"

        model, scores = MLPClassifier(learning_rate="linear"), ["accuracy", "neg_log_loss"]
        return SearchCV(model, {"alpha": [0.0]}, cv=2, scoring=scores, refit=First()).fit(s.X, s.y)

    def other_members(s: Setting) -> None:
        made = MLPClassifier(n_members=2).partial_fit(s.X, s.y, classes=[0, 1])
        made.set_params(n_members=3).partial_fit(s.X, s.y)

    def picture(score: str = "score", **options: Any) -> Callable[[Setting], Any]:
        return lambda s: SearchDisplay(results, 0, score).plot(**options)

    for name, kind, text, call in (
        ("a search of another estimator", InputTypeError,
         "SearchCV.fit: expected MLPClassifier, MLPRegressor, or a Pipeline that ends with one, "
         "got DummyClassifier; use scikit-learn's RandomizedSearchCV",
         search(make_pipeline(StandardScaler(), DummyClassifier()))),
        ("rows of members without any", InputError,
         "MLPClassifier.fit: expected several members with member_rows, got n_members=1; pass "
         "n_members=10, say", lambda s: MLPClassifier(member_rows="folds").fit(s.X, s.y)),
        ("the deviation of one network", InputError,
         "MLPRegressor.predict: expected several members for return_std, got one network; fit with "
         "n_members=10, say",
         lambda s: MLPRegressor(solver="lbfgs").fit(s.X, s.X[:, 0]).predict(s.X, return_std=True)),
        ("several networks for one", InputError,
         "to_torch: expected a single network, got 2 members; pass each of members_",
         lambda s: to_torch(MLPClassifier(n_members=2, learning_rate="linear").fit(s.X, s.y))),
        ("PyTorch's numbers of a network without any", InputError,
         "to_torch: expected a network that is built, got one not built yet; "
         "call build or fit first",
         lambda s: to_torch(Network([Dense(3)]))),
        ("PyTorch's numbers for a network without any", InputError,
         "from_torch: expected a network that is built, got one not built yet; "
         "call build or fit first",
         lambda s: from_torch({}, Network([Dense(3)]))),
        ("PyTorch's numbers for something else", InputTypeError,
         "from_torch: expected a Network, got int; pass one that is built",
         lambda s: from_torch({}, 7)),  # type: ignore[arg-type]
        ("something else for PyTorch's numbers", InputTypeError,
         "from_torch: expected a state dict, got list; pass module.state_dict()",
         lambda s: from_torch([], s.fitted)),  # type: ignore[arg-type]
        ("a bias in the place of a weight", InputError,
         "from_torch: expected '0.weight' in this place, got '0.bias'; "
         "match the layers of both models",
         lambda s: from_torch({"0.bias": np.ones(2), "0.weight": np.ones(2)},
                              Network([LayerNorm()]).build(2))),
        ("a search without splits", InputError,
         "SearchCV.fit: expected at least one split in cv, got none; pass some",
         search(MLPClassifier(), cv=[])),
        ("more folds than rows", InputError,
         "MLPClassifier.fit: expected at least 9 samples, one for each fold, got 8 samples; pass "
         "fewer n_members",
         lambda s: MLPClassifier(n_members=9, member_rows="folds").fit(s.X, s.y)),
        ("members with callbacks of scikit-learn", InputError,
         "MLPClassifier.fit: expected callbacks as a parameter with several members, got some by "
         "set_callbacks; pass functions as callbacks", members_watched),
        ("another number of members", InputError,
         "MLPClassifier.partial_fit: expected n_members=2, as were fitted, got 3; start anew with "
         "a clone", other_members),
        ("a picture of no single score", InputError,
         "SearchDisplay: expected the name of a score, got refit='by a function'; pass score=...",
         lambda s: SearchDisplay.from_estimator(by_a_function(s))),
        ("callbacks of a search", InputError,
         "SearchCV.fit: expected callbacks of the estimator, got some of the search; call "
         "set_callbacks on the estimator, and pass progress=True here", watched),
        ("halving by no score", InputError,
         "SearchCV.fit: expected a score to go by for halving, got refit=False; pass the name of "
         "one of the scores as refit",
         search(MLPClassifier(), scoring=["accuracy", "f1_macro"], refit=False, halving=True)),
        ("a picture of no parameter", InputError,
         "SearchDisplay.plot: expected what the search has, got 'param_alhpa'; did you mean "
         "'param_alpha'?", picture(params=["alhpa"])),
        ("a picture of no score", InputError,
         "SearchDisplay.plot: expected what the search has, got 'mean_test_f1'; did you mean "
         "'mean_test_score'?", picture(score="f1")),
        ("too few axes for a search", InputError,
         "SearchDisplay.plot: expected 1 axes, one for each panel, got 0; pass more axes, or fewer "
         "params", picture(axes=[])),
    ):  # fmt: skip
        yield Row(name, kind, text, call)


def many_rows() -> Iterator[Row]:
    """What `fit_many` refuses, and what a network's history says of rows that it refuses."""

    def many(networks: Any = None, **options: Any) -> Callable[[Setting], Any]:
        return lambda s: fit_many([s.new] if networks is None else networks, s.X, s.y, **options)

    def kept(s: Setting) -> Path:
        fit_many([copy.deepcopy(s.new)], s.X, s.y, epochs=1, checkpoint=s.folder)
        return s.folder / "fits-000001.safetensors"

    def other_options(s: Setting) -> None:
        kept(s)
        fit_many([s.new], s.X, s.y, epochs=2, checkpoint=s.folder)

    def a_model(s: Setting) -> None:
        s.fitted.save(s.folder / "fits-000001.safetensors")
        many(checkpoint=s.folder)(s)

    def a_file(s: Setting) -> None:
        (s.folder / "file").touch()
        many(checkpoint=s.folder / "file")(s)

    def numbers(given: Any) -> Callable[[Setting], Any]:
        return lambda s: SharedTable("fit_many, networks[0]", s.X, s.y, None).numbers(
            "fit_many, networks[0]", given
        )

    one = "fit_many, networks[0]: expected"
    for name, kind, text, call in (
        ("one network for many", InputTypeError,
         "fit_many: expected a list of networks, got int; pass a list of networks",
         many(networks=3)),
        ("something else among networks", InputTypeError,
         f"{one} a network, got str; pass a list of networks", many(networks=["mlp"])),
        ("no networks", InputError,
         "fit_many: expected different networks, got none; pass a list of networks",
         many(networks=[])),
        ("a text for a list", InputTypeError,
         "fit_many: expected rows as a list, one for each network, got str; pass a list",
         many(rows="all")),
        ("options for other networks", InputError,
         "fit_many: expected epochs for 1 network, got 2; pass one for each",
         many(epochs=[1, 2])),
        ("a patience without rows", InputError,
         f"{one} validation_rows for a patience, got none; pass the rows that judge each epoch",
         many(patience=2)),
        ("a checkpoint of other options", FileError,
         "fit_many, checkpoint '{folder}': expected the networks, rows and options of the call "
         "before, got others for networks[0]; choose another folder", other_options),
        ("a model for a checkpoint", FileError,
         "fit_many, checkpoint '{folder}', fits-000001.safetensors: expected networks that are "
         "done, got others; remove it", a_model),
        ("a file for a checkpoint", FileError,
         "fit_many, checkpoint '{folder}/file': expected a folder that can be written to, got "
         "File exists; choose another one", a_file),
        ("rows that are no numbers", InputTypeError,
         f"{one} rows as whole numbers or as a mask, got shape (2,) and type float64; "
         "pass np.array([0, 1, 2])", numbers(np.array([0.0, 1.0]))),
        ("a mask of other rows", InputError,
         f"{one} a mask of 8 rows, got 2; pass one for each", numbers(np.array([True, False]))),
        ("a mask of no rows", InputError,
         f"{one} at least one row, got none; choose some", numbers(np.zeros(8, bool))),
        ("rows beyond the table", InputError,
         f"{one} rows from 0 to 7, got some outside; count from 0", numbers(np.array([7, 8]))),
    ):  # fmt: skip
        yield Row(name, kind, text, call)


def averaging_rows() -> Iterator[Row]:
    """What averaged weights and accumulated gradients refuse."""

    def fit(*callbacks: Any, **options: Any) -> Callable[[Setting], Any]:
        return lambda s: s.new.fit(s.X, s.y, callbacks=callbacks, **options)

    def estimated(callbacks: Any, **options: Any) -> Callable[[Setting], Any]:
        return lambda s: MLPClassifier(callbacks=callbacks, **options).fit(s.X, s.y)

    def lent(s: Setting) -> None:
        averaging = EMA()
        Network([Dense(2)]).fit(s.X, s.y, callbacks=[averaging])
        with averaging.averaged(s.fitted):
            pass

    def own(weights: Any) -> Callable[[Setting], Any]:
        return fit(type("Own", (Averaging,), {"weights": lambda self, steps, n: weights})())

    start = "start as a number of epochs, or a float from 0 up to 1 as a share of them"
    advice, whole = "write start=5 or start=0.5", "a whole number of at least"
    for name, kind, text, call in (
        ("a share of more than all epochs", InputError,
         f"EMA: expected {start}, got 1.5; {advice}", lambda s: EMA(start=1.5)),
        ("a start in words", InputError,
         f"SWA: expected {start}, got 'late'; {advice}",
         lambda s: SWA("late")),  # type: ignore[arg-type]
        ("a start before the first epoch", InputError,
         f"SWA: expected start to be {whole} 0, got -1; choose a larger one", lambda s: SWA(-1)),
        ("an average applied in words", InputTypeError,
         "SWA: expected apply to be True or False, got str; choose one",
         lambda s: SWA(apply="yes")),  # type: ignore[arg-type]
        ("no decay at all", InputError,
         "EMA: expected decay to be a number at least 0 and below 1, got 1; "
         "choose a value in that range", lambda s: EMA(1)),
        ("a correction in words", InputTypeError,
         "EMA: expected debias to be True or False, got str; choose one",
         lambda s: EMA(debias="no")),  # type: ignore[arg-type]
        ("an average of no steps", InputError,
         f"SWA: expected every to be {whole} 1, got 0; choose a larger one",
         lambda s: SWA(every=0)),
        ("a start after the last epoch", InputError,
         "Network.fit: expected EMA to start before the last of 3 epochs, got start=3; "
         "let it start sooner", fit(EMA(start=3), epochs=3)),
        ("steps that are too far apart", InputError,
         "Network.fit: expected SWA every 4 steps or fewer, which are all from its start on, "
         "got every=5; make it smaller, or let it start sooner",
         fit(SWA(1, every=5), epochs=3, batch_size=4)),
        ("two averages", InputError,
         "Network.fit: expected one EMA or SWA, got 2; pass one", fit(EMA(), SWA())),
        ("an average before a fit", InputError,
         "EMA.params: expected weights that were averaged, got none; "
         "pass it to Network.fit first, callbacks=[...]", lambda s: EMA().params),
        ("an average of another network", InputError,
         "EMA.averaged: expected a network of 8 parameters, got 26; pass the one that was trained",
         lent),
        ("a rule of averages that gives one number", InputError,
         "Own.weights: expected numbers from 0 to 1, one for each step, in an array, "
         "got shape (); return one for each of steps", own(0.5)),
        ("a rule of averages that goes too far", InputError,
         "Own.weights: expected numbers from 0 to 1, one for each step, in an array, "
         "got others; return one for each of steps", own(np.full(10, 1.5))),
        ("accumulating nothing", InputError,
         f"Network.fit: expected gradient_accumulation_steps to be {whole} 1, got 0; "
         "choose a larger one", fit(gradient_accumulation_steps=0)),
        ("two averages of an estimator", InputError,
         "MLPClassifier.fit: expected one EMA or SWA, got 2; pass one",
         estimated([EMA(), SWA()])),
        ("an average with partial_fit", InputError,
         "MLPClassifier.fit: expected no EMA or SWA with partial_fit, got one; "
         "call fit, which averages all its steps",
         lambda s: MLPClassifier(callbacks=EMA()).partial_fit(s.X, s.y, classes=[0, 1])),
        ("an average with L-BFGS", InputError,
         "MLPClassifier.fit: expected no EMA or SWA with solver='lbfgs', got one; "
         "leave it out or choose another solver, such as 'adam'",
         estimated([EMA()], solver="lbfgs")),
        ("an average of an estimator that starts too late", InputError,
         "MLPClassifier.fit: expected EMA to start before the last of 5 epochs, got start=9; "
         "let it start sooner", estimated([EMA(start=9)], max_iter=5)),
    ):  # fmt: skip
        yield Row(name, kind, text, call)


def tabular_rows() -> Iterator[Row]:
    """What estimators for tables and their layers refuse."""

    table = {"a": np.arange(12.0), "b": 6 * ["x", "y"]}
    labels, few = np.arange(12) % 2, {"hidden_layer_sizes": (3,), "max_iter": 1, "random_state": 0}

    @functools.cache
    def fitted(kind: Any) -> Any:
        return kind(**few).fit(table, labels)

    def fit(kind: Any = TabularClassifier, args: Any = (table, labels), held_out: Any = (),
            **options: Any) -> Callable[[Setting], Any]:  # fmt: skip
        return lambda s: kind(**{**few, **options}).fit(*args, **dict(held_out))

    def predicts(row: Any, kind: Any = TabularRegressor) -> Callable[[Setting], Any]:
        return lambda s: fitted(kind).compile_predictor()(row)

    def interval(kind_of_y: Any, coverage: float) -> Callable[[Setting], Any]:
        model = TabularRegressor(**few)
        return lambda s: model.fit(table, kind_of_y).predict_interval(table, coverage)

    def saved(s: Setting, change: Callable[[dict[str, Any]], Any], kind: Any) -> Any:
        path = s.folder / "table.safetensors"
        fitted(TabularClassifier).save(path)
        with safe_open(path, framework="numpy") as file:
            header = json.loads(file.metadata()["fastmlp"])
            tensors = {key: file.get_tensor(key) for key in list(file.keys())}
        change(header)
        save_file(tensors, path, metadata={"fastmlp": sealed(json.dumps(header), tensors)})
        return kind.load(path)

    def of_table(s: Setting, kind: Any = TabularClassifier) -> Path:
        path = s.folder / "table.safetensors"
        fitted(kind).save(path)
        return path

    def of_array(s: Setting) -> str:
        model = TabularRegressor(**few).fit(np.arange(24.0).reshape(12, 2), labels)
        model.save(path := s.folder / "array.safetensors")
        return str(path)

    def in_folds(s: Setting) -> Any:
        data = Dataset(s.X, s.y, "rows")
        parts = heldout.parts_of(data, None, 0.25, 0)
        chosen = argparse.Namespace(validation=None, seed=0)
        s.fitted.trained_on = heldout.description(data, parts, chosen, 0.25)
        try:
            return heldout.choose(s.fitted, data, "validation")
        finally:
            s.fitted.trained_on = None

    def later(s: Setting) -> Path:
        def change(header: dict[str, Any]) -> None:
            header["estimator"] = "TabularTree"

        with contextlib.suppress(FileError):
            saved(s, change, TabularClassifier)
        return s.folder / "table.safetensors"

    def diverging(s: Setting) -> Any:
        X, y = np.ones((8, 2)), np.arange(8.0)
        X[:4] = 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return TabularRegressor(**few | {"max_iter": 3, "n_members": 2},
                                    learning_rate_init=1e38).fit(X, y)  # fmt: skip

    def of_one_class(s: Setting) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn warns of it too
            model = TabularClassifier(**few, metric="auc")
            return model.fit(table, labels, X_val=table, y_val=np.zeros(12, int))

    def reads(X: Any) -> Callable[[Setting], Any]:
        return lambda s: frames.read("Table", X)

    def transforms(X: Any) -> Callable[[Setting], Any]:
        return lambda s: fitted(TabularClassifier).predict(X)

    def own_metric(s: Setting) -> None:
        model = copy.deepcopy(fitted(TabularClassifier))
        model.set_params(metric=make_scorer(accuracy_score)).save(s.folder / "m.safetensors")

    def a_month(s: Setting) -> Any:
        times = {"t": np.arange(12).astype("M8[D]")}
        return TabularRegressor(**few).fit(times, labels).compile_predictor()(("May",))

    def empty_category(s: Setting) -> None:
        model = TabularRegressor(**few).fit({**table, "b": 6 * ["", "y"]}, labels)
        to_onnx(model, s.folder / "m.onnx")

    class Bare(Activation):
        name = "bare"

        def __repr__(self) -> str:
            return "Bare()"

    held_out = {"X_val": table, "y_val": labels}
    two = np.column_stack([labels, labels]).astype(float)
    for name, kind, text, call in (
        ("a table's loss that is not finite", InputError,
         "TabularRegressor.fit: expected a loss that stays finite, got another; "
         "fit_many, networks[0]: expected a finite loss, got nan in epoch 2, step 1, "
         "at learning rate 7.36189e+36; lower the learning rate, clip gradients "
         "(clip_norm=1.0) or scale the inputs",
         diverging),
        ("a metric without an answer for one class", InputError,
         "TabularClassifier.fit: expected a metric that is a number for the held-out rows, "
         "got nan in every epoch; hold out rows of every class, or choose another metric",
         of_one_class),
        ("a network in the file of a table's model", FileError,
         "Network.load('{folder}/table.safetensors'): expected the file of a network, got one of "
         "a TabularClassifier; use TabularClassifier.load",
         lambda s: saved(s, lambda header: None, Network)),
        ("a command for a model of a later version", FileError,
         "{folder}/table.safetensors: expected a model that fastmlp knows, got 'TabularTree'; "
         "update fastmlp",
         lambda s: s.command("predict", str(later(s)), "--data", s.table("a,b\n1,x\n"))),
        ("targets of another kind than a table's model", InputError,
         "--target: expected 1 number for each row, got 1 column of text; name others",
         lambda s: s.command("evaluate", str(of_table(s, TabularRegressor)), "--target", "y",
                             "--data", s.table("a,b,y\n1,x,u\n2,y,v\n"))),
        ("a command for a model of an array", InputError,
         "{folder}/array.safetensors: expected a model of named columns, got one of an array; "
         "use Python",
         lambda s: s.command("predict", of_array(s), "--data", s.table("a,b\n1,2\n"))),
        ("a metric that does not suit the labels", InputError,
         "--data: expected a table and a metric that suit each other, got pos_label=1 is not a "
         "valid label: It should be one of ['x' 'y']; change one of them",
         lambda s: s.command("train", "--metric", "f1", "--epochs", "1", "--hidden", "2", "--quiet",
                             "--target", "b", "--data", s.table("a,b\n" + "1,x\n2,y\n" * 20))),
        ("a command for a table's model on digits", InputError,
         "--data: expected a table with the columns of training, got 'digits'; "
         "pass CSV or Parquet",
         lambda s: s.command("predict", str(of_table(s)), "--data", "digits")),
        ("--stream with a table's model", InputError,
         "--stream: expected the file of a network of layers, got one of a TabularRegressor; "
         "leave --stream out",
         lambda s: s.command("predict", str(of_table(s, TabularRegressor)), "--stream",
                             "--data", "table.parquet")),
        ("probabilities of a table's numbers", InputError,
         "--probabilities: expected a model for classes, got one for numbers; omit it",
         lambda s: s.command("predict", str(of_table(s, TabularRegressor)), "--probabilities",
                             "--data", s.table("a,b\n1,x\n"))),
        ("a recipe and a network of one's own", InputError,
         "--optimizer: expected no option of a recipe, such as --members, got both; "
         "leave one of the two out",
         lambda s: s.command("train", "--optimizer", "sgd", "--members", "2")),
        ("an optimizer for a table", InputError,
         "--optimizer: expected a network of your own (--recipe none), got a table for a recipe, "
         "which has its own; leave it out, or add --recipe none",
         lambda s: s.command("train", "--optimizer", "sgd", "--data", s.table("a,b\n1,2\n"))),
        ("early stopping of a recipe", InputError,
         "--early-stopping: expected a network of your own (--recipe none), got a table for a "
         "recipe, which keeps the best epoch in any case; leave it out, or add --recipe none",
         lambda s: s.command("train", "--early-stopping", "--data", s.table("a,b\n1,2\n"))),
        ("a metric of numbers for labels", InputError,
         "--metric: expected a target of numbers for r2, got text; pass for example log_loss",
         lambda s: s.command("train", "--metric", "r2", "--target", "b",
                             "--data", s.table("a,b\n" + "1,x\n2,y\n" * 9))),
        ("a metric of labels for numbers", InputError,
         "--metric: expected a target of labels for auc, got numbers with decimals; "
         "pass for example mae",
         lambda s: s.command("train", "--metric", "auc", "--target", "b",
                             "--data", s.table("a,b\n" + "1,.5\n2,.7\n" * 9))),
        ("a metric of labels for several targets", InputError,
         "--metric: expected a target of labels for auc, got 2 columns; pass for example mae",
         lambda s: s.command("train", "--metric", "auc", "--target", "b,c",
                             "--data", s.table("a,b,c\n" + "1,2,3\n2,3,4\n" * 9))),
        ("folds and rows for validation", InputError,
         "--folds: expected no --validation, got both; leave one of the two out",
         lambda s: s.command("train", "--folds", "2", "--validation", "0.2", "--target", "b",
                             "--data", s.table("a,b\n" + "1,.5\n2,.7\n" * 9))),
        ("validation rows of a model trained in folds", InputError,
         "--rows: expected a model with rows for its validation, got one trained in folds; "
         "choose other rows",
         lambda s: in_folds(s)),
        ("a mixed table of nothing but the target", InputError,
         "{folder}/table.csv: expected a feature column, got only the target; add features",
         lambda s: s.command("train", "--target", "a", "--data", s.table("a\n1\n2\n"))),
        ("a mixed table without rows", InputError,
         "{folder}/table.csv: expected at least one row, got none; add rows below the header",
         lambda s: s.command("train", "--target", "a", "--data", s.table("a,b\n"))),
        ("other text than the dates of training", InputError,
         "{folder}/table.csv: expected dates in the column 'b', as in training, got other text; "
         "write them as 2026-01-31",
         lambda s: load_mixed_features(s.table("b\nlast May\n"), Training({"b": "times"}, False))),
        ("a recipe for digits", InputError,
         "--folds: expected a table with named columns, got 'digits'; pass CSV or Parquet",
         lambda s: s.command("train", "--folds", "2")),
        ("a search space of another kind", InputError,
         "search_space: expected kind to be one of mlp, tabular, got 'tabula'; "
         "did you mean 'tabular'?",
         lambda s: search_space(kind="tabula")),
        ("a metric of quantiles without any", InputError,
         "TabularRegressor.fit: expected metric rmse or mae without quantile, got 'pinball'; "
         "leave one of the two out",
         fit(TabularRegressor, metric="pinball")),
        ("a mask of categories of other columns", InputError,
         "TabularClassifier.fit: expected categorical_features as a mask of 2, got 1; "
         "pass one for each column",
         fit(categorical_features=[True])),
        ("categories beyond the columns", InputError,
         "TabularClassifier.fit: expected categorical_features below 2, got others; "
         "count columns from 0",
         fit(categorical_features=[2])),
        ("categories of other names", InputError,
         "TabularClassifier.fit: expected categorical_features that are columns of X, "
         "got 1 other name; check their spelling",
         fit(categorical_features=["c"])),
        ("held-out rows without targets", InputError,
         "TabularClassifier.fit: expected X_val and y_val, got not both; pass both or neither",
         fit(held_out={"X_val": table})),
        ("held-out rows and folds", InputError,
         "TabularClassifier.fit: expected either n_folds or X_val, got both; leave "
         "one of them out",
         fit(held_out=held_out, n_folds=2)),
        ("more folds than rows of a table", InputError,
         "TabularClassifier.fit: expected at least 13 rows, one for each fold, got "
         "12; pass fewer n_folds",
         fit(n_folds=13)),
        ("too few held-out rows", InputError,
         "TabularRegressor.predict_interval: expected more held-out rows for a "
         "coverage of 0.99, got 2; ask for less, or train with n_folds, which holds "
         "out every row once",
         interval(labels, 0.99)),
        ("class weights of nothing but zeros", InputError,
         "TabularClassifier.fit: expected some weight above 0 with class_weight "
         "counted in, got only zeros; give a weight to a class that y has",
         fit(class_weight={0: 0.0}, args=(table, labels, labels == 0))),
        ("a function in a file of a table's model", InputError,
         "TabularClassifier.save: expected parameters that are numbers or text, got "
         "others; pass names instead of functions, and a number as random_state",
         own_metric),
        ("a table's file of another model", FileError,
         "TabularRegressor.load('{folder}/table.safetensors'): expected a file of "
         "TabularRegressor, got a TabularClassifier; load it with its own class",
         lambda s: saved(s, lambda header: None, TabularRegressor)),
        ("a table's file with wrong entries", FileError,
         "TabularClassifier.load('{folder}/table.safetensors'): expected a whole "
         "model file, got a header with missing or wrong entries; restore it from a "
         "copy",
         lambda s: saved(s, lambda header: header.pop("params"), TabularClassifier)),
        ("a metric of type int", InputTypeError,
         "fit: expected metric as a name or a scorer, got int; pass a name",
         lambda s: metric_of("fit", 3, {})),
        ("a metric of an unknown name", InputError,
         "TabularClassifier.fit: expected metric to be one of error, log_loss, auc, "
         "brier or a name of scikit-learn's scorers, got 'acuracy'; see "
         "sklearn.metrics.get_scorer_names()",
         fit(metric="acuracy")),
        ("a row by name for a table without names", InputError,
         "predictor: expected a tuple, as the columns of training had no names, got a "
         "row by name; pass the values in order",
         lambda s: TabularRegressor(**few).fit(s.X, s.y).compile_predictor()({"a": 1.0})),
        ("a row of other columns", InputError,
         "predictor: expected a row of 2 values, got 1; pass one for each column of "
         "training",
         predicts((1.0,))),
        ("a text for a table's number", InputTypeError,
         "predictor: expected a number, got str; pass a number",
         predicts(("old", "x"))),
        ("an object for a table's number", InputTypeError,
         "predictor: expected a number, got object; pass a number",
         predicts((object(), "x"))),
        ("a text for a table's time", InputTypeError,
         "predictor: expected a time, got str; pass a datetime",
         a_month),
        ("held-out targets of other columns", InputError,
         "TabularRegressor.fit: expected y_val of 1 target, got shape (12, 2); pass "
         "the same targets",
         fit(TabularRegressor, held_out={"X_val": table, "y_val": two})),
        ("an interval of several targets", InputError,
         "TabularRegressor.predict_interval: expected one target, got 2; fit one "
         "after another",
         interval(two, 0.5)),
        ("columns that are not whole groups", InputError,
         "GroupedDense(units=2, group_size=2, initializer=LeCunNormal(), "
         "bias_initializer=Zeros()): expected inputs in groups of 2 columns, got 3 "
         "columns; choose another group_size",
         lambda s: GroupedDense(2, 2).forward(s.X)),
        ("members that are none", InputError,
         "Members: expected n_members to be a whole number of at least 1, got 0; choose a "
         "larger one",
         lambda s: Members(0)),
        ("members that begin in an unknown way", InputError,
         "Members: expected start to be one of signs, normal, got 'ones'; choose one",
         lambda s: Members(2, "ones")),
        ("features of one size", InputTypeError,
         "Members: expected sizes as a list of whole numbers, got int; write [1, 4, 4]",
         lambda s: Members(2, sizes=4)),
        ("features of other columns", InputError,
         "Members(n_members=2, start='signs', sizes=(1, 4)): expected sizes that add up to 3 "
         "columns, got 5; pass the columns of each feature",
         lambda s: Members(2, sizes=[1, 4]).forward(s.X)),
        ("columns that are not those of members", InputError,
         "SharedDense(units=4, n_members=2, initializer=LeCunNormal(), "
         "bias_initializer=Zeros()): expected inputs for each of 2 members, got 3 columns; "
         "begin with Members(n_members)",
         lambda s: SharedDense(4, 2).forward(s.X)),
        ("members of members", InputError,
         "MeanOfMembers: expected one of fastmlp's losses, got MeanOfMembers; use one of "
         f"{', '.join(sorted(LOSSES.names))}",
         lambda s: MeanOfMembers(MeanOfMembers("mse", 2), 2)),
        ("outputs that are not those of members", InputError,
         "Network: expected outputs for each of 2 members, got 3 outputs; end with a layer of a "
         "multiple of 2 units",
         lambda s: Network([Dense(3, 3)], MeanOfMembers("mse", 2))),
        ("a loss of other members", InputError,
         "Network.loss: expected a loss of 2 members, got 1; make a new network",
         lambda s: setattr(Network([Dense(3, 2)], MeanOfMembers("mse", 2)), "loss", "mse")),
        ("shared members of a recipe that has none", InputError,
         "TabularClassifier.fit: expected shared_members with a recipe that has some, got "
         "recipe='realmlp-piecewise'; pass n_members for networks of their own",
         fit(shared_members=4)),
        ("edges of type int", InputTypeError,
         "PiecewiseLinear: expected edges for each column, got int; write [[0.0, 1.0, "
         "2.0], [5.0, 6.0, 9.0]]",
         lambda s: PiecewiseLinear(3)),
        ("edges of different numbers", InputError,
         "PiecewiseLinear: expected edges as numbers, as many for each column, got "
         "others; write [[0.0, 1.0, 2.0], [5.0, 6.0, 9.0]]",
         lambda s: PiecewiseLinear([[0, 1], [2]])),
        ("edges of no bin", InputError,
         "PiecewiseLinear: expected at least two edges for each column, got fewer; "
         "write [[0.0, 1.0, 2.0], [5.0, 6.0, 9.0]]",
         lambda s: PiecewiseLinear([[0]])),
        ("edges that descend", InputError,
         "PiecewiseLinear: expected finite edges in ascending order, got others; "
         "write [[0.0, 1.0, 2.0], [5.0, 6.0, 9.0]]",
         lambda s: PiecewiseLinear([[1, 0]])),
        ("an activation without a rule inside", InputTypeError,
         "ParametricActivation: expected an activation with a compiled rule, got "
         "Bare(); use one of fastmlp's, or a compiled_activation",
         lambda s: ParametricActivation(Bare())),
        ("a sparse table", InputTypeError,
         "Table: expected X as a table, got a sparse matrix; pass X.toarray()",
         reads(sparse.eye(3).tocsr())),
        ("a table of no columns", InputError,
         "Table: expected a table with columns, got none; pass a data frame or a "
         "matrix with one row for each sample",
         reads({})),
        ("a table of columns of several lengths", InputError,
         "Table: expected a table with columns, got columns of several lengths; pass "
         "a data frame or a matrix with one row for each sample",
         reads({"a": [1], "b": [1, 2]})),
        ("a table of other columns", InputError,
         "predictor: expected X with 2 columns, as in training, got 3; pass the "
         "columns of training",
         predicts(np.zeros((2, 3)))),
        ("a table of one dimension", InputTypeError,
         "Table: expected X as a table of two dimensions, got shape (3,); pass a data "
         "frame or a matrix with one row for each sample",
         reads(np.zeros(3))),
        ("a table whose column has two", InputError,
         "Table, column 'a': expected one value for each row, got shape (2, 2); pass "
         "a data frame or a matrix with one row for each sample",
         reads({"a": np.zeros((2, 2))})),
        ("a table of complex numbers", InputTypeError,
         "Table, column 'a': expected numbers, texts or dates, got values of type "
         "complex128; convert the column",
         reads({"a": np.zeros(2, complex)})),
        ("a table of dicts", InputTypeError,
         "Table, column 'a': expected numbers, texts or dates, got dict; convert the "
         "column",
         reads({"a": [{}, {}]})),
        ("an empty category for ONNX", InputError,
         "to_onnx: expected categories that are not empty, which stand for what is missing, got an "
         "empty one in 'b'; give it a name and train again", empty_category),
        ("a table of constants", InputError,
         "TabularClassifier.fit: expected at least one column that is not constant, "
         "got none; pass other columns",
         fit(args=({"a": np.ones(12)}, labels))),
        ("a column of another kind", InputError,
         "TabularClassifier.predict, column 'a': expected a column of numbers, as in "
         "training, got texts; convert the column",
         transforms({"a": ["x"], "b": ["y"]})),
        ("a quantile twice", InputError,
         "fit: expected different quantiles, at least one, got one of them twice; pass "
         "[0.1, 0.9], say",
         lambda s: levels_of("fit", [0.5, 0.5])),
        ("a recipe of an unknown name", InputError,
         "fit: expected recipe to be one of realmlp-piecewise, realmlp, realmlp-simple, "
         "tabm-mini, got 'realmpl'; did you mean 'realmlp'?",
         lambda s: recipe_of("fit", "realmpl")),
        ("ties of an unknown name", InputError,
         "EarlyStopping: expected ties to be one of first, last, got 'both'; choose "
         "one",
         lambda s: EarlyStopping(ties="both")),
    ):  # fmt: skip
        yield Row(name, kind, text, call)


def stored_rows() -> Iterator[Row]:
    """What fits and predictions say about stored tables."""

    def changed(s: Setting) -> Any:
        chunks = [(s.X, s.y), (s.X, s.y)]
        table = open_chunks(chunks)
        chunks.pop()
        return table

    for name, kind, text, call in (
        ("a stored table beside y", InputError,
         "Network.fit: expected no y beside a stored table, got ndarray; name the column when you "
         "open the table",
         lambda s: s.new.fit(open_arrays(s.X, s.y), s.y)),
        ("an option that is no number", InputError,
         "--epochs: expected a whole number, got 'many'; see fastmlp train --help",
         lambda s: s.command("train", "--epochs", "many")),
        ("an option without its value", InputError,
         "--epochs: expected a value after it, got none; write --epochs=VALUE",
         lambda s: s.command("train", "--epochs")),
        ("a choice that does not exist", InputError,
         "--dtype: expected one of float32, float64, got 'float23'; did you mean 'float32'?",
         lambda s: s.command("train", "--dtype", "float23")),
        ("an abbreviation of two options", InputError,
         "--e: expected one of --epochs, --early-stopping, got an abbreviation of all; "
         "write it in full",
         lambda s: s.command("train", "--e", "3")),
        ("a command without what it needs", InputError,
         "predict: expected MODEL and --data, got none; see fastmlp predict --help",
         lambda s: s.command("predict")),
        ("an option that does not exist", InputError,
         "options: expected options of fastmlp, got '--bogus'; see fastmlp --help",
         lambda s: cli.parser().refuse_unknown(["--bogus"])),
        ("no rows for training", InputError,
         "--validation: expected less than 0.85, beside 0.15 of the rows for the test, got 0.9; "
         "lower it, so that rows are left for training",
         lambda s: s.command("train", "--validation", "0.9")),
        ("a recipe beside --stream", InputError,
         "--recipe: expected a table in memory, got --stream; leave one of the two out",
         lambda s: s.command("train", "--stream", "--recipe", "realmlp")),
        ("--stream of a data set", InputError,
         "--stream: expected the name of a file, a folder or a pattern, got 'digits'; pass one",
         lambda s: s.command("train", "--stream")),
        ("--stream without a target", InputError,
         "--stream: expected --target COLUMN with it, got none; name the column",
         lambda s: s.command("train", "--stream", "--data", "table.parquet")),
        ("a stored table beside weights", InputError,
         "Network.evaluate: expected no sample_weight beside a stored table, got list; name the "
         "column when you open the table",
         lambda s: s.fitted.evaluate(open_arrays(s.X, s.y), sample_weight=[1.0] * 8)),
        ("a stored table without a target", InputError,
         "Network.fit: expected a table with a target, got one without; name it when you open the "
         "table",
         lambda s: s.new.fit(open_arrays(s.X))),
        ("a stored table of other columns", InputError,
         "Network.predict: expected a table with 3 feature columns, got 2; choose those that the "
         "network was built for",
         lambda s: s.fitted.predict(open_arrays(s.X[:, :2]))),
        ("a stored table that has become shorter", FileError,
         "chunks: expected 16 rows, as when it was opened, got fewer; open it again",
         lambda s: s.new.fit(changed(s))),
        ("rows between checkpoints without a stored table", InputError,
         "Network.fit: expected a stored table for a Checkpoint with every_rows, got rows in "
         "memory; leave every_rows out",
         lambda s: fit_saved(s, every_rows=4)),
        ("a stored table for several processes", InputError,
         "Network.fit: expected rows in memory for several processes, got a stored table; leave "
         "comm out",
         lambda s: s.new.fit(
             open_arrays(s.X, s.y), comm=pytest.importorskip("mpi4py.MPI").COMM_SELF
         )),
        ("processes that are none", InputTypeError,
         "Ranks: expected a communicator of mpi4py, got int; pass MPI.COMM_WORLD",
         lambda s: Ranks(3) if s.processes() else None),
        ("a recipe in several processes", InputError,
         "fastmlp train: expected a network of layers in several processes, got a recipe for "
         "tables; add --recipe none",
         by_two("--target", "a")),
        ("a table on disk in several processes", InputError,
         "--stream: expected rows in memory for several processes, got a table on disk; leave it "
         "out",
         by_two("--target", "a", "--stream")),
        ("more processes than blocks", InputError,
         "Ranks: expected at least 9 blocks, one for each process, got 8; pass a larger number of "
         "blocks, or start fewer processes",
         lambda s: Ranks(s.processes(*range(9)))),
        ("rows that are not those of a process", InputError,
         "fit: expected 4 rows of 8 in process 0, got 5; cut the samples by Ranks.part_of",
         lambda s: Ranks(s.processes((5, None), (3, None))).with_rows("fit", 5, None)),
        ("another thing in another process", InputError,
         "fit: expected samples that are the same in all processes, got others; load the same",
         lambda s: Ranks(s.processes("a", "b")).need_same("fit", "samples", "b", "load the same")),
        ("an error in another process", InputError,
         "fit: expected no error in any process, got one in process 1 (no memory); mend what it "
         "says",
         lambda s: alone_in(Ranks(s.processes(None, "no memory")).together("fit"))),
        ("rows of a batch that blocks do not divide", InputError,
         "Network.fit: expected a batch_size that is a multiple of the 3 blocks, got 8; choose "
         "another one, or another number of blocks",
         lambda s: s.new.fit(s.X, s.y, comm=Ranks(s.processes(), True, blocks=3))),
        ("statistics of a batch in several processes", InputError,
         "Network.fit: expected layers without running statistics for several processes, got "
         "BatchNorm; use LayerNorm",
         lambda s: Network([BatchNorm(), Dense(3)]).fit(s.X, s.y, comm=s.processes())),
        ("an own optimizer in several processes", InputError,
         "Network.fit: expected an optimizer of fastmlp's for several processes, got Own; choose "
         "one, or derive it from Optimizer with a rule",
         lambda s: s.new.fit(s.X, s.y, optimizer=Own(), comm=s.processes())),
        ("rows between checkpoints that are none", InputError,
         "Checkpoint: expected every_rows to be a whole number of at least 1, got 0; choose a "
         "larger one",
         lambda s: fit_saved(s, every_rows=0)),
        ("a stored table whose weights are all 0", InputError,
         "Network.fit: expected some sample_weight above 0, got only zeros; give rows a weight",
         lambda s: s.new.fit(open_arrays(s.X, s.y, sample_weight=np.zeros(8)))),
        ("a stored table with labels of several types", InputTypeError,
         "X from row 0, rows from 0: expected labels of one type in y, got int, str; turn all "
         "labels into strings or all into numbers",
         lambda s: s.new.fit(open_arrays(s.X, np.array([0, "a"] * 4, object), window_rows=999))),
        ("a stored table with too many classes", InputError,
         "Network.fit: expected y with 2 classes, one for each output, got 8; give the last Dense "
         "layer as many units as there are classes",
         lambda s: s.new.fit(open_arrays(s.X, np.arange(8)))),
    ):  # fmt: skip
        yield Row(name, kind, text, call)


def stored_estimator_rows() -> Iterator[Row]:
    """What estimators say about stored tables."""

    def table(s: Setting) -> Any:
        return open_arrays(s.X, s.y, window_rows=4)

    at_once = (
        "ArrayTable: expected to be read a window at a time, got a use that needs all rows; train "
        "a Network, MLPClassifier or MLPRegressor, or load the rows with load_table"
    )
    for name, kind, text, call in (
        ("an estimator's stored table beside y", InputError,
         "MLPClassifier.fit: expected no y beside a stored table, got ndarray; name the column "
         "when you open the table",
         lambda s: MLPClassifier().fit(table(s), s.y)),
        ("an estimator's stored table beside weights", InputError,
         "MLPRegressor.score: expected no sample_weight beside a stored table, got str; name the "
         "column when you open the table",
         lambda s: MLPRegressor(width=2, max_iter=1, learning_rate="linear").fit(s.X, s.y).score(
             table(s), sample_weight="w"
         )),
        ("an estimator's stored table without a target", InputError,
         "MLPRegressor.fit: expected a table with a target, got one without; name it when you open "
         "the table",
         lambda s: MLPRegressor().fit(open_arrays(s.X))),
        ("an ensemble for a stored table", InputError,
         "MLPClassifier.fit: expected one network for a stored table, got n_members=3; fit several "
         "estimators with another random_state each",
         lambda s: MLPClassifier(n_members=3).fit(table(s))),
        ("lbfgs for a stored table", InputError,
         "MLPRegressor.fit: expected a solver of mini-batches for a stored table, got "
         "solver='lbfgs'; choose 'adam', say",
         lambda s: MLPRegressor(solver="lbfgs").fit(table(s))),
        ("early stopping of a stored table without held-out rows", InputError,
         "MLPClassifier.fit: expected X_val for early_stopping with a stored table, got none; hold "
         "rows out: rest, held_out = table.split(0.1), and X_val=held_out",
         lambda s: MLPClassifier(early_stopping=True).fit(table(s))),
        ("y_val beside a stored X_val", InputError,
         "MLPClassifier.fit: expected no y_val beside a stored table, got ndarray; name the column "
         "when you open the table",
         lambda s: MLPClassifier().fit(s.X, s.y, X_val=table(s), y_val=s.y)),
        ("a stored table with very many classes", InputError,
         "MLPClassifier.fit: expected at most 10000 classes in a stored table, got more; use a "
         "regressor, or name another target",
         lambda s: MLPClassifier().fit(open_arrays(np.zeros((10_001, 1)), np.arange(10_001)))),
        ("a stored table with labels in a column", InputError,
         "MLPClassifier.fit: expected labels of shape (n,) in a stored table, got shape (n, 1); "
         "name the column as text, not in a list, or use y.ravel()",
         lambda s: MLPClassifier().fit(open_arrays(s.X, s.y.reshape(-1, 1)))),
        ("partial_fit of a stored table", InputError,
         "MLPClassifier.partial_fit: expected rows in memory, got a stored table; call fit with "
         "warm_start=True, which reads it window by window",
         lambda s: MLPClassifier().partial_fit(table(s))),
        ("a tabular estimator's stored table", InputError,
         "TabularClassifier.fit: expected rows in memory, got a stored table; load them with "
         "load_table",
         lambda s: TabularClassifier().fit(table(s))),
        ("a tabular estimator's stored X_val", InputError,
         "TabularRegressor.fit: expected rows in memory, got a stored table; load them with "
         "load_table",
         lambda s: TabularRegressor().fit(s.X, s.y, X_val=table(s))),
        ("fit_many of a stored table", InputTypeError, at_once,
         lambda s: fit_many([s.new], table(s), s.y)),
        ("a search on a stored table", InputTypeError, at_once,
         lambda s: SearchCV(MLPClassifier(), {"width": [2]}).fit(table(s))),
        ("a transformer of a stored table", InputTypeError, at_once,
         lambda s: make_pipeline(StandardScaler(), MLPClassifier()).fit(table(s))),
        ("a scorer that needs all rows of a stored table", InputTypeError, at_once,
         lambda s: MLPClassifier((2,), max_iter=1, scoring=lambda model, X, y: len(np.array(X)))
         .fit(s.X, s.y, X_val=table(s))),
    ):  # fmt: skip
        yield Row(name, kind, text, call)


def fit_saved(s: Setting, **options: Any) -> Any:
    return s.new.fit(s.X, s.y, callbacks=[Checkpoint(s.folder / "run", **options)])


def cluster_rows() -> Iterator[Row]:
    """What is said of workers, and of what they are given."""

    def run(workers: Here, job: Any) -> list[Any]:
        return list(workers.run(print, workers.share(None), [(job,)]))

    yield Row(
        "workers that are lost again and again",
        InputError,
        "here: expected workers that last until a job is done, got 4 that were lost; "
        "see in their logs what ended them; most often they need more memory",
        lambda s: run(Here(losses=9), 1),
    )
    yield Row(
        "what cannot be sent to workers",
        InputError,
        "here: expected what can be pickled, for workers in other processes, got TypeError: "
        "cannot pickle '_thread.lock' object; leave joblib.parallel_config to train in this "
        "process",
        lambda s: run(Here(), threading.Lock()),
    )

    def late(*values: Any, **options: Any) -> None:
        raise TimeoutError

    yield Row(
        "a Dask cluster without workers",
        InputError,
        "fit_many: expected workers in the Dask cluster, got none for 60 seconds; "
        "start some, and call again",
        lambda s: OnDask("fit_many", SimpleNamespace(scatter=late)).share(1),
    )


class Chunked:
    """An array in chunks of rows, as Dask's look."""

    ndim = 1
    numblocks = (1,)

    def __init__(self, *sizes: int) -> None:
        self.chunks = (sizes,)

    def rechunk(self, chunks: Any) -> Any:
        return self

    def to_delayed(self) -> list[Any]:
        return list(self.chunks[0])


def dask_rows() -> Iterator[Row]:
    """What the estimators for Dask refuse."""
    where = "DaskMLPClassifier.fit"

    def parts(X: Any, y: Any) -> Callable[[Setting], Any]:
        return lambda s: partitions_of(where, X, y, None)

    def facts(*parts: tuple[Any, Any]) -> Callable[[Setting], Any]:
        return lambda s: check(where, [look(True, *part) for part in parts])

    X, y = np.ones((3, 2)), np.ones(3)
    yield Row(
        "a table in memory for Dask",
        InputTypeError,
        f"{where}: expected X as a Dask array, frame or bag, or a list of delayed parts or "
        "futures, got ndarray; use MLPClassifier or MLPRegressor for tables in memory",
        lambda s: DaskMLPClassifier().fit(s.X, s.y),
    )
    yield Row(
        "other rows in y for Dask",
        InputError,
        f"{where}: expected one row of y for each, got 4 for 5 rows of X; drop the others",
        parts(Chunked(2, 3), Chunked(4)),
    )
    yield Row(
        "other partitions of y",
        InputError,
        f"{where}: expected X, y and sample_weight in as many partitions, at least one, "
        "got 2, 1; give them the same chunks or divisions",
        parts(Chunked(2, np.nan), Chunked(4)),  # type: ignore[arg-type]
    )
    yield Row(
        "other rows in a partition of y",
        InputError,
        f"{where}, partition 1: expected 3 rows in X, y and weights, got 2 in y and 2 weights; "
        "give them the same chunks or divisions",
        facts((X, y), (X, y[:2])),
    )
    yield Row(
        "only empty partitions",
        InputError,
        f"{where}: expected a partition with rows, got only empty ones; pass some rows",
        facts((X[:0], y[:0])),
    )
    yield Row(
        "other columns in a partition",
        InputError,
        f"{where}: expected as many columns in each partition, got 1 to 2; select the same ones",
        facts((X, y), (X[:, :1], y)),
    )
    for name, value in (("solver", "lbfgs"), ("early_stopping", True)):
        yield Row(
            f"{name} for Dask",
            InputError,
            f"{where}: expected parameters for rows on many machines, got {name}={value!r}; "
            "leave it out, or fit the plain estimator on a sample",
            lambda s, given={name: value}: DaskMLPClassifier(**given).fit(s.X, s.y),
        )


ROWS = [
    *classifier_rows(),
    *averaging_rows(),
    *estimator_rows(),
    *checkpoint_rows(),
    *interchange_rows(),
    *fit_rows(),
    *target_rows(),
    *option_rows(),
    *network_rows(),
    *part_rows(),
    *branch_rows(),
    *rate_range_rows(),
    *file_rows(),
    *mended_rows(),
    *predictor_rows(),
    *trace_rows(),
    *memory_rows(),
    *named_rows(),
    *saving_rows(),
    *path_rows(),
    *handy_rows(),
    *own_layer_rows(),
    *own_loss_rows(),
    *own_optimizer_rows(),
    *own_rule_rows(),
    *stepper_rows(),
    *trainer_rows(),
    *many_rows(),
    *search_rows(),
    *tabular_rows(),
    *stored_rows(),
    *stored_estimator_rows(),
    *cluster_rows(),
    *dask_rows(),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_refusal_is_one_exact_sentence_and_changes_nothing(row: Row, tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    before = setting.state()
    with pytest.raises(InputError) as caught:
        row.call(setting)
    assert str(caught.value) == row.text.replace("{folder}", str(tmp_path))
    assert type(caught.value) is row.kind
    assert setting.state() == before


def test_rows_have_names_of_their_own() -> None:
    names = [row.name for row in ROWS]
    assert sorted(set(names)) == sorted(names)


def test_a_refused_fit_can_be_repeated_with_other_data(tmp_path: Path) -> None:
    s = Setting(tmp_path)
    for row in [*fit_rows(), *target_rows()]:
        with pytest.raises(InputError):
            row.call(s)
    assert s.new.fit(s.X[:, :2], list("ab" * 4), epochs=2).epochs == 2


def raised_at(error: BaseException | None) -> Iterator[tuple[str, int]]:
    """The file and line of the `raise` of an error and of those it was made from."""
    while error is not None:
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        if place is not None:
            yield place.tb_frame.f_code.co_filename, place.tb_lineno
        error = error.__cause__ or error.__context__


def raises(path: Path) -> Iterator[tuple[str, int]]:
    """Every `raise` in a file of an error that Python itself does not have."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            name = ast.unparse(node.exc.func)
            if not hasattr(builtins, name):
                yield str(path), node.lineno


@pytest.mark.slow
def test_no_error_is_without_a_row(tmp_path: Path) -> None:
    reached: set[tuple[str, int]] = set()
    for number, row in enumerate(ROWS):
        (folder := tmp_path / str(number)).mkdir()
        with pytest.raises(InputError) as caught:
            row.call(Setting(folder))
        reached.update(raised_at(caught.value))
    sources = [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] not in ELSEWHERE
    ]
    written = {place for path in sources for place in raises(path)}
    assert len(written) > 40
    missed = sorted(written - reached)
    assert [f"{Path(file).name}:{line}" for file, line in missed] == []


def test_refusals_can_be_caught_as_what_python_would_raise() -> None:
    assert issubclass(InputError, ValueError)
    assert issubclass(InputTypeError, TypeError)
    assert issubclass(FileError, OSError)
    assert not issubclass(InputError, TypeError)
    with pytest.raises(TypeError, match="got str"):
        Dropout("half")  # type: ignore[arg-type]


def test_an_error_tells_its_parts() -> None:
    error = InputError("here", "a cat", "a dog", "ask again")
    assert (error.where, error.expected, error.got, error.advice) == error.args
    assert str(error) == "here: expected a cat, got a dog; ask again"


def test_no_error_shows_contents(tmp_path: Path) -> None:
    """Data may be confidential, and an array is no help in a log."""
    s = Setting(tmp_path)
    secret, number = "hunter2", 123.456
    for bad in (
        lambda: s.new.fit(np.full((8, 3), secret), s.y),
        lambda: s.new.fit(np.full((8, 3), secret, object), s.y),
        lambda: s.line.fit(s.X, [secret] * 8),
        lambda: s.new.fit(s.X, [secret] * 8),
        lambda: s.fitted.score(s.X, [secret] * 8),
        lambda: s.new.fit(put(s.X, np.nan, 0, 0) + number, s.y),
        lambda: s.new.fit(s.X, s.y + number),
        lambda: s.new.fit(s.X, s.y, sample_weight=np.full(8, -number)),
        lambda: s.new.fit(s.X, s.y, validation_data=np.full((8, 3), number)),
    ):
        with pytest.raises(InputError) as caught:
            bad()
        assert secret not in str(caught.value)
        assert "123" not in str(caught.value)
        assert "[" not in str(caught.value)


# Still to be mended; a row that passes fails here, and then moves into the table with its text.
