"""Tests an ONNX file before it is written: it must load, and reproduce the model's predictions.

This needs onnxruntime; without it, onnx itself checks names, shapes and types.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

import numpy as np

from ..errors import InputError, counted
from .onnx_inputs import Input

_NEAR = 1e-3  # tolerance for float32: of a probability, or of a prediction relative to its spread


def session_of(onnx: Any, made: Any) -> Any:
    """A session of ONNX Runtime for the file; None if it is not installed."""
    try:
        onnx.checker.check_model(made, full_check=True)
        try:
            onnxruntime = import_module("onnxruntime")
        except ImportError:
            return None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # print nothing: errors are raised instead
        return onnxruntime.InferenceSession(
            made.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # both have many of their own
        raise InputError(
            "to_onnx", "steps that ONNX can run", f"a file that it refuses ({reason(error)})",
            "leave out the step that it names",
        ) from error  # fmt: skip


def reason(error: Exception) -> str:
    """The first line of another library's error, shortened."""
    line = (str(error).strip() or type(error).__name__).split("\n")[0].rstrip(". ")
    return line if len(line) < 300 else line[:300] + "..."


def check_answers(
    session: Any, names: list[str], inputs: list[Input], model: Any, X: Any, given: bool = True
) -> None:
    """Refuse a file whose predictions on some rows differ from those of the model.

    If the rows were made up instead of given, the model may also refuse them.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the model warns when it is used
            wanted = _answers(model, X)
    except Exception as error:
        if not given:
            return
        raise InputError(
            "to_onnx", "X that the model can predict from",
            f"rows that it refuses ({reason(error)})", "pass some rows such as it was fitted on",
        ) from error  # fmt: skip
    try:
        found = dict(zip(names, session.run(None, _feed(inputs)), strict=True))
        wrong = _differing(found, wanted)
    except Exception as error:  # such as for a category that is not known
        raise InputError(
            "to_onnx", "a file that answers for the rows of X", f"an error ({reason(error)})",
            "leave out the step that it names",
        ) from error  # fmt: skip
    for each in inputs:
        if each.gaps is not None:  # ONNX has no missing text
            wrong &= ~each.gaps
    if wrong.any():
        raise InputError(
            "to_onnx", "steps whose answers ONNX can give",
            f"others in {int(wrong.sum())} of {counted(len(wrong), 'row')}",
            "leave out steps until they agree, or pass X in the types of fit",
        )  # fmt: skip


def _feed(inputs: list[Input]) -> dict[str, np.ndarray]:
    return {found.name: found.values for found in inputs if found.type}


def _answers(model: Any, X: Any) -> dict[str, np.ndarray]:
    """The expected outputs of a file, by name."""
    wanted: dict[str, np.ndarray] = {}
    if getattr(model, "classes_", None) is not None:
        wanted["label"] = np.asarray(model.predict(X))
    if hasattr(model, "predict_proba"):
        linked = np.asarray(model.predict_proba(X))
        wanted["predictions"] = wanted["probabilities"] = linked  # a Network has either of them
    elif hasattr(model, "predict"):
        wanted["predictions"] = np.asarray(model.predict(X))
    return wanted


def _differing(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> np.ndarray:
    """Rows with other results; if probabilities are almost equal, either label is accepted."""
    n = len(next(iter(found.values())))
    wrong = np.zeros(n, bool)
    for name in {"probabilities", "predictions"} & found.keys() & wanted.keys():
        one, other = found[name].reshape(n, -1), wanted[name].reshape(n, -1)
        if other.shape[1] == 1 < one.shape[1]:  # a Network has only that of the second class
            other = np.concatenate([1 - other, other], axis=1)
        room = _NEAR if name == "probabilities" else _NEAR * (_NEAR + other.std())
        wrong |= ~np.isclose(one, other, rtol=_NEAR, atol=room).all(axis=1)
    if "label" in found and "label" in wanted:
        labels = [_plain(values).reshape(n, -1) for values in (found["label"], wanted["label"])]
        wrong |= _clear(found.get("probabilities"), n) & (labels[0] != labels[1]).any(axis=1)
    return wrong


def _plain(labels: np.ndarray) -> np.ndarray:
    """Labels as text or integers, so that different types compare as equal."""
    values = labels.ravel().tolist()
    return np.array([v if isinstance(v, str) else int(v) for v in values], object)


def _clear(probabilities: np.ndarray | None, n: int) -> np.ndarray:
    """Rows whose label rounding cannot change."""
    if probabilities is None:
        return np.ones(n, bool)
    ordered = np.sort(probabilities.reshape(n, -1), axis=1)
    apart = np.diff(ordered[:, -2:], axis=1) > 2 * _NEAR
    far = np.abs(ordered - 0.5) > _NEAR
    return np.asarray(apart.all(axis=1) & far.all(axis=1))
