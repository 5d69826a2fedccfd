"""What commands share: refusing paths early, printing reports, writing JSON and predictions.

Reports go to standard error if JSON goes to standard output.
"""

from __future__ import annotations

import argparse
import csv
import functools
import io
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from ..datasets import Dataset
from ..datasets.dataset import Parts
from ..errors import InputError, counted
from ..io import serialization
from ..io.files import checked_path, replacing
from ..io.heldout import Chosen
from ..kernels.compiler.cache import compile_seconds

STANDARD_OUTPUT = "-"
_LOADING = 5.0  # seconds; compiling takes longer, loading compiled code takes less
_LABELS = {"test_accuracy": "test accuracy", "test_rmse": "test RMSE", "test_r2": "test R2"}
Show = Callable[[str], None]


def shown_beside(json_path: str | None) -> Show:
    """The function that prints reports: to standard error if JSON goes to standard output."""
    return functools.partial(print, file=sys.stderr if json_path == STANDARD_OUTPUT else sys.stdout)


def show_nothing(text: str) -> None:
    """Print nothing, in processes other than the first."""


def show_rows(rows: Iterable[tuple[str, str]], show: Show) -> None:
    """Print labels, and what they say, in two columns."""
    for label, text in rows:
        show(f"{label:>14}  {text}")


def show_notes(notes: Sequence[str], show: Show) -> None:
    """Print what a loader detected or decided."""
    show_rows((("note", note) for note in notes), show)


def show_parts(name: str, parts: Parts, y: np.ndarray, n_columns: int, show: Show) -> None:
    """Print how many rows each part of some data has; no validation part is not mentioned."""
    n_train, n_val, n_test = (len(y[rows]) for rows in parts)
    held_out = f"{n_val} validation and " if n_val else ""
    rows = f"{n_train} training, {held_out}{n_test} test rows"
    show(f"{name}: {rows} of {counted(n_columns, 'column')}")


def figure_rows(figures: Mapping[str, float]) -> list[tuple[str, str]]:
    """How good a model is on the test rows, for `show_rows`."""
    return [
        (label, f"{figures[key]:.2%}" if key == "test_accuracy" else f"{figures[key]:.4g}")
        for key, label in _LABELS.items()
        if key in figures
    ]


def numeric_figures(predicted: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Root mean squared error of numbers or, of several quantiles, of the middle one."""
    true = np.asarray(y, np.float64)
    if predicted.shape != true.shape:
        predicted = predicted[:, predicted.shape[1] // 2]
    return {"test_rmse": float(np.sqrt(np.mean((predicted - true) ** 2)))}


class Stopwatch:
    """Times a block: `seconds` without compiling, and the `compiled` seconds."""

    seconds = compiled = 0.0

    def __enter__(self) -> Self:
        self._started, self._compiled = time.perf_counter(), compile_seconds()
        return self

    def __exit__(self, *error: object) -> None:
        self.compiled = compile_seconds() - self._compiled
        self.seconds = time.perf_counter() - self._started - self.compiled


def duration(epochs: str, watch: Stopwatch, ended: str = "") -> str:
    """How long a training took, and how it ended if not by itself."""
    compiling = f" and {watch.compiled:.0f} s of compiling" * (watch.compiled >= _LOADING)
    took = f"{epochs} in {watch.seconds:.2f} s{compiling}"
    return f"{took} ({ended})" if ended else took


def check_outputs(options: argparse.Namespace) -> None:
    """Refuse paths that cannot be written before any work is done."""
    if options.resume and not options.checkpoint:
        raise InputError("--resume", "--checkpoint DIR with it", "none", "name the folder")
    if options.save:
        checked_path("--save", options.save, serialization.SUFFIXES)
    check_json(options.json)
    check_plot(options.plot)


def check_plot(path: str | None) -> None:
    """Refuse a picture that cannot be written."""
    if path:
        from .. import plotting

        checked_path("--plot", path, plotting.SUFFIXES)
        plotting.require_matplotlib("--plot")


def check_json(path: str | None) -> None:
    """Refuse a file of figures that cannot be written."""
    if path and path != STANDARD_OUTPUT:
        checked_path("--json", path)


def write_json(path: str, content: dict[str, Any]) -> None:
    """Write figures atomically, or print them."""
    write_text("--json", path, json.dumps(content, indent=2) + "\n")


def write_figures(path: str | None, content: dict[str, Any], show: Show) -> None:
    """Write figures, if they are wanted, and say so."""
    if path:
        write_json(path, content)
        if path != STANDARD_OUTPUT:
            show_rows([("figures", path)], show)


def show_evaluation(
    path: str | None, data: Dataset, chosen: Chosen, figures: Mapping[str, float], show: Show
) -> None:
    """Print how good a model is on some rows, and write it as JSON if that is wanted."""
    n_rows = len(data.y[chosen.rows])
    show(f"{data.name}: {counted(n_rows, 'row')} ({chosen.words})")
    show_notes(data.notes, show)
    rows = ((key.removeprefix("test_"), f"{value:.4g}") for key, value in figures.items())
    show_rows(rows, show)
    if path:
        write_json(path, dict(figures))


def check_output(path: str | None) -> None:
    """Refuse a file of predictions that cannot be written."""
    if path and path != STANDARD_OUTPUT:
        checked_path("--output", path, (".csv",))


def write_predictions(
    path: str | None,
    predicted: np.ndarray,
    is_numbers: bool,
    proba: tuple[np.ndarray, Sequence[Any]] | None,
) -> None:
    """Write predictions as CSV, or print them; arguments as for `prediction_table`."""
    text = prediction_table(predicted, is_numbers, proba)
    write_text("--output", path or STANDARD_OUTPUT, text)
    sys.stdout.flush()


def write_text(option: str, path: str, text: str) -> None:
    """Write text atomically, or print it."""
    if path == STANDARD_OUTPUT:
        sys.stdout.write(text)
        return
    with replacing(option, checked_path(option, path)) as temporary:
        temporary.write_text(text, encoding="utf-8")


def prediction_table(
    predicted: np.ndarray, is_numbers: bool, proba: tuple[np.ndarray, Sequence[Any]] | None
) -> str:
    """Predictions as CSV.

    Parameters
    ----------
    predicted : ndarray of shape (n,) or (n, n_columns)
        Labels or numbers.
    is_numbers : bool
        Whether they are numbers, which have the digits of their type.
    proba : tuple of ndarray of shape (n, n_classes) and labels, or None
        Probabilities to add, and the classes that they are of.
    """
    columns = predicted.reshape(len(predicted), -1)
    header = (
        ["prediction"]
        if columns.shape[1] == 1
        else [f"prediction_{j}" for j in range(columns.shape[1])]
    )
    rows = [_digits(row) if is_numbers else row.tolist() for row in columns]
    if proba is not None:
        shares, labels = proba
        header += [f"probability_{label}" for label in labels]
        for row, share in zip(rows, shares.tolist(), strict=True):
            row += [f"{value:.6g}" for value in share]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _digits(row: np.ndarray) -> list[str]:
    """Numbers with the digits of their type; printed as float64, a float32 has nine wrong ones."""
    if row.dtype == np.float32:
        return [str(value) for value in row]
    return [f"{value:.15g}" for value in row.tolist()]
