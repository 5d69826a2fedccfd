"""Helpers for several test files: layers, networks, kernels, callbacks, paths and model files."""

from __future__ import annotations

import importlib
import itertools
import json
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fastmlp.estimators
import fastmlp.kernels
from fastmlp.engine import lowering
from fastmlp.io import serialization
from fastmlp.kernels.compiler import memory
from fastmlp.kernels.compiler.calls import Kernel
from fastmlp.kernels.compiler.jit import JIT_ENABLED
from fastmlp.kernels.ops import dense, gather
from fastmlp.nn import (
    LAYERS,
    Activation,
    BatchNorm,
    Columns,
    Cosine,
    Dense,
    Dropout,
    Embedding,
    GroupedDense,
    Layer,
    LayerNorm,
    Members,
    ParametricActivation,
    PiecewiseLinear,
    PReLU,
    ReLU,
    Rescaling,
    Residual,
    Scale,
    SharedDense,
    Tanh,
)
from fastmlp.nn.losses import LINKS, LOSSES
from fastmlp.optim.optimizers import OPTIMIZERS, SGD

# -------------------------------------------------------------------------------------------- cases


def every_pair(**choices: Iterable[Any]) -> pytest.MarkDecorator:
    """Parametrise a test so that each two values of two of its parameters meet in some case.

    That needs far fewer cases than all combinations of three parameters or more.
    """
    values = [list(given) for given in choices.values()]
    combinations = list(itertools.product(*(range(len(given)) for given in values)))

    def pairs(case: tuple[int, ...]) -> set[Any]:
        return set(itertools.combinations(enumerate(case), 2))

    chosen, missing = list[tuple[int, ...]](), set[Any]().union(*map(pairs, combinations))
    while missing:
        best = max(combinations, key=lambda case: len(pairs(case) & missing))
        chosen.append(best)
        missing -= pairs(best)
    cases = [[given[i] for given, i in zip(values, case, strict=True)] for case in chosen]
    return pytest.mark.parametrize(list(choices), cases)


# ------------------------------------------------------------------------------ layers and networks


class Own(Layer):
    """Passes everything on and has no kernel.

    A network with it runs layer by layer and cannot be served or exported.
    """

    name = "own"

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        return X

    def backward(self, dY: np.ndarray) -> np.ndarray:
        return dY


N_CATEGORIES, N_FEATURES, N_CLASSES = 7, 5, 3


def _mixed() -> list[Layer]:
    first = Columns((0, [Embedding(N_CATEGORIES, 3)]), ([1, 2], [Dense(4), ReLU()]), ([2, 3], []))
    return [first, Dense(N_CLASSES)]


def _deep() -> list[Layer]:
    inner = Residual([BatchNorm(), Dense(2), LayerNorm(), Dropout(0.2)])
    middle = Columns(([0, 1, 2], [Dense(4), Tanh()]), ([2, 5], [Scale(), inner]))
    return [Dense(8), ReLU(), middle, PReLU(), Dropout(0.3), Dense(N_CLASSES)]


# Fresh layers by name: all that learn more than a Dense one, in every place that they may have.
NETWORKS: dict[str, Callable[[], list[Layer]]] = {
    "scale": lambda: [Scale(), Dense(8), ReLU(), Scale(0.5), Dense(N_CLASSES)],
    "prelu": lambda: [Dense(8), PReLU(), Dropout(0.2), Dense(N_CLASSES)],
    "layer norm": lambda: [LayerNorm(), Dense(8), LayerNorm(), Tanh(), Dense(N_CLASSES)],
    "batch norm": lambda: [BatchNorm(), Dense(8), BatchNorm(), ReLU(), Dense(N_CLASSES)],
    "residual": lambda: [
        Dense(8), Residual([Dense(16), ReLU(), Dense(8)]), Tanh(), Residual([LayerNorm()]),
        Dense(N_CLASSES),
    ],
    "residual first": lambda: [Residual([Dense(16), ReLU(), Dense(N_FEATURES)]), Dense(N_CLASSES)],
    "embedding": lambda: [
        Columns((0, [Embedding(N_CATEGORIES, 2), Scale()])), Dense(N_CLASSES),
    ],
    "columns": _mixed,
    "rescaled": lambda: [Rescaling(0.5), Columns((0, [Rescaling(2.0), Embedding(7, 3)])),
                         BatchNorm(), Dense(N_CLASSES)],
    "deep": _deep,
    "parametric": lambda: [
        Dense(8), ParametricActivation("selu"), Dropout(0.2),
        ParametricActivation("leaky_relu", 0.5), Dense(N_CLASSES),
    ],
    "numbers": lambda: [
        Columns(
            ([1, 2, 3], [GroupedDense(16, 1, "normal", "uniform"), Cosine(), GroupedDense(3, 16)]),
            ([3, 4], [PiecewiseLinear([[-3.0, -1.0, 2.0, 2.0], [-2.0, 0.0, 1.0, 3.0]]), Dense(4)]),
        ),
        Dense(6, initializer="unit_variance", bias_initializer="he_plus"), GroupedDense(2, 3),
        ReLU(), Dense(N_CLASSES),
    ],
    "members": lambda: [
        Members(3, "normal"), SharedDense(7, 3), ReLU(), Dropout(0.2), LayerNorm(),
        Residual([SharedDense(5, 3), Tanh(), SharedDense(7, 3)]), SharedDense(300, 3), Tanh(),
        Dense(N_CLASSES),
    ],
    "shared first": lambda: [
        SharedDense(4, N_FEATURES), Members(2), GroupedDense(2, 4), SharedDense(N_CLASSES, 1),
    ],
    "one output": lambda: [Dense(6), LayerNorm(), ReLU(), Residual([Dense(6)]), Dense(1)],
    "wide": lambda: [Dense(300), LayerNorm(), ReLU(), Dense(N_CLASSES)],
}  # fmt: skip


def samples(n: int = 50, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows that all of these networks can read, and labels.

    They are small whole numbers, the first of each a category.
    """
    rng = np.random.default_rng(seed)
    X = rng.integers(-4, 5, (n, N_FEATURES)).astype(np.float64)
    X[:, 0] = rng.integers(0, N_CATEGORIES, n)
    return X, rng.integers(0, N_CLASSES, n)


def loss_of(name: str) -> str:
    """The loss that a network of that name can have with these labels."""
    return "mse" if name == "one output" else "softmax_cross_entropy"


# ----------------------------------------------------------------------- which path a network takes

_can_compile = lowering.can_compile


def who_asks() -> Iterator[ModuleType]:
    """The modules of the package that ask whether a network has kernels."""
    for name, module in list(sys.modules.items()):
        if name.startswith("fastmlp.") and vars(module).get("can_compile") is _can_compile:
            yield module


def layer_by_layer(patch: pytest.MonkeyPatch) -> None:
    """From now on every network is computed layer by layer."""
    for module in who_asks():
        patch.setattr(module, "can_compile", lambda *_: False)


# ---------------------------------------------------------------------------- kernels and addresses


def kernels_by_address() -> list[Kernel]:
    """All that programs call by address, each of them once.

    These are the ones that modules have by name, and those that parts are made with.
    """
    found: list[Any] = []
    for info in pkgutil.walk_packages(fastmlp.kernels.__path__, "fastmlp.kernels."):
        found += vars(importlib.import_module(info.name)).values()
    found += gather.BY_KIND.values()
    found += dense.FORWARD_OF_ROW.values()
    found += [layer.kernel for layer in LAYERS if issubclass(layer, Activation)]
    found += [loss.kernel for loss in LOSSES]
    found += LINKS.values()
    found += [kind().kernel for kind in OPTIMIZERS]
    found += [SGD(momentum=0.5).kernel]
    return list(dict.fromkeys(value for value in found if isinstance(value, Kernel)))


def name_of(kernel: Kernel) -> str:
    """Module and name, by which its code is kept."""
    module = kernel.called.__module__.rpartition(".")[2]
    return f"{module}.{kernel.called.__qualname__}"


def address_of(array: np.ndarray) -> int:
    """Where an array starts that a test made itself and hands to a kernel, whatever it is like.

    It is noted as the gate notes its own, so that interpreted kernels accept it.
    """
    if memory.PASSED is not None:
        memory.PASSED.add(*np.lib.array_utils.byte_bounds(array))
    return int(array.ctypes.data)


# -------------------------------------------------------------------------------- results and files


def assert_rows_alike(one: Any, many: Any) -> None:
    """Compiled kernels give a row the same bits alone and among others.

    Interpreted ones leave products to NumPy, which adds them up in another order.
    """
    one, many = np.asarray(one), np.asarray(many)
    assert one.dtype == many.dtype
    if JIT_ENABLED or one.dtype.kind != "f":
        np.testing.assert_array_equal(one, many)
    else:
        eps = 300 * np.finfo(one.dtype).eps
        np.testing.assert_allclose(one, many, eps, eps)


def sealed(text: str, tensors: dict[str, np.ndarray]) -> str:
    """A model file's header with the checksum that it must have, as a forger would write it."""
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(header, dict) or header.get("format") != serialization.FORMAT:
        return text
    header.pop("checksum", None)
    return json.dumps(header | {"checksum": serialization._checksum(header, tensors)})


class Watcher:
    """A callback of scikit-learn's protocol that scores the model after each epoch."""

    def __init__(self, last: int) -> None:
        self.last, self.events, self.scores = last, list[str](), list[float]()

    def setup(self, estimator: Any, context: Any) -> None:
        self.events.append("setup")

    def teardown(self, estimator: Any, context: Any) -> None:
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        self.events.append(f"{context.task_name} begins")

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, X: Any, y: Any, fitted_estimator: Any
    ) -> bool:
        self.events.append(f"{context.task_name} ends")
        if hasattr(fitted_estimator, "score"):  # other steps of a pipeline may have none
            self.scores.append(fitted_estimator.score(X, y))
        return context.task_name == "epoch" and context.task_id == self.last
