"""Changes to the library inside a process of the fuzzer, so that faults are always detected.

Memory of the kernels gets no slack for alignment, and each part of a workspace becomes a separate
array. A fault can be injected, to show that it would be found.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from fastmlp.engine import outputs, workspace


def _memory_without_slack() -> None:
    """`aligned_zeros` becomes `np.zeros` in every module that has it."""
    import fastmlp.estimators
    import fastmlp.serving.predictor
    import fastmlp.training.fit  # noqa: F401

    for name, module in list(sys.modules.items()):
        if name.startswith("fastmlp.") and hasattr(module, "aligned_zeros"):
            module.aligned_zeros = np.zeros  # type: ignore[attr-defined]


def _parts_apart() -> None:
    """Each part of an engine's workspace is a separate array."""
    allocate = workspace.Workspace.__init__

    def apart(self: Any, job: Any, training: bool) -> None:
        allocate(self, job, training)
        self.apart = []
        for record, field, size in workspace.places_of(job, training):
            self.apart.append(np.zeros(size, np.uint8))
            record[field] = self.apart[-1].ctypes.data

    workspace.Workspace.__init__ = apart  # type: ignore[method-assign]


def _no_check_of_width() -> None:
    from fastmlp.inputs import checks

    matrix = checks.matrix

    def blind(where: str, name: str, value: Any, n_columns: Any = None, search: bool = True) -> Any:
        return matrix(where, name, value, None, search)

    checks.matrix = blind


def _no_check_of_places() -> None:
    from fastmlp.inputs import checks

    checks.valid_sparse = lambda where, name, value: None  # type: ignore[attr-defined]


def _short_outputs() -> None:
    """Predictions are written into memory that is one number too short."""
    empty = np.empty

    class Numpy:
        def __getattr__(self, name: str) -> Any:
            return getattr(np, name)

        def empty(self, shape: Any, dtype: Any = float) -> np.ndarray:
            if isinstance(shape, tuple) and len(shape) == 2:
                size = shape[0] * shape[1]
                return np.lib.stride_tricks.as_strided(empty(max(size - 1, 1), dtype), shape)
            return empty(shape, dtype)

    outputs.np = Numpy()  # type: ignore[attr-defined]


def _wrong_slope() -> None:
    """A number that is wrong without a crash."""
    from fastmlp.estimators.regressor import MLPRegressor

    predict = MLPRegressor.predict
    MLPRegressor.predict = lambda self, X: predict(self, X) * 1.001  # type: ignore[method-assign]


def _scaled_input() -> None:
    """Rows are scaled in place."""
    from fastmlp.serving import evaluation

    answers = evaluation.answers

    def scaled(body: Any, where: str, X: Any, link: bool) -> np.ndarray:
        found: np.ndarray = answers(body, where, X, link)
        if isinstance(X, np.ndarray) and X.flags.writeable and X.dtype.kind == "f":
            X *= 0.5
        return found

    evaluation.answers = scaled


def _endless() -> None:
    """Predictions of estimators never come."""
    from fastmlp.estimators.answers import Answers

    def forever(self: Any, X: Any) -> Any:
        while True:
            pass

    Answers._outputs_of_members = forever  # type: ignore[method-assign]


PLANTS: dict[str, Callable[[], None]] = {
    "width": _no_check_of_width,
    "places": _no_check_of_places,
    "short": _short_outputs,
    "numbers": _wrong_slope,
    "input": _scaled_input,
    "endless": _endless,
}


def prepare(plant: str | None = None) -> None:
    """Once in each process, before its first case."""
    _memory_without_slack()
    _parts_apart()
    if plant is not None:
        PLANTS[plant]()
