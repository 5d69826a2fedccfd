"""Targets: converts labels, one-hot rows, probabilities and numbers for the kernels, and back.

The loss's task and y's shape determine what y means. The coder stores it, so that validation data
and predictions are read and written in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError, InputTypeError, counted
from ..nn.losses import Loss, PoissonDeviance, loss_of_one, outputs_per_target
from . import checks


class Encoded(NamedTuple):
    """Targets as the kernels read them: either labels or flat rows of numbers."""

    labels: np.ndarray  # (n,) int32 or empty
    targets: np.ndarray  # (n * n_outputs,) or empty

    def rows(self, index: np.ndarray, n_outputs: int) -> Encoded:
        """The targets of some samples."""
        if self.labels.size:
            return Encoded(self.labels[index], self.targets)
        chosen = self.targets.reshape(-1, n_outputs)[index]
        return Encoded(self.labels, chosen.reshape(-1))

    def spread(self, index: np.ndarray, n_rows: int, n_outputs: int) -> Encoded:
        """The targets in a table of `n_rows` rows, in which these are the rows `index`."""
        labels, targets = self
        if labels.size:
            labels = np.zeros(n_rows, labels.dtype)
            labels[index] = self.labels
        else:
            targets = np.zeros((n_rows, n_outputs), targets.dtype)
            targets[index] = self.targets.reshape(-1, n_outputs)
        return Encoded(labels, targets.reshape(-1))

    def dense(self, n_outputs: int) -> np.ndarray:
        """One row of numbers per sample; labels become one-hot rows."""
        if self.labels.size:
            return np.eye(n_outputs, dtype=self.targets.dtype)[self.labels]
        return self.targets.reshape(-1, n_outputs)


class Samples(NamedTuple):
    """Checked rows for training or evaluating a network."""

    X: Any
    encoded: Encoded
    weights: np.ndarray  # (n,) or empty

    def of_rows(self, index: np.ndarray, n_outputs: int) -> Samples:
        """The targets and weights of some samples, still with all rows of X."""
        weights = self.weights[index] if self.weights.size else self.weights
        return Samples(self.X, self.encoded.rows(index, n_outputs), weights)


@dataclass
class TargetCoder:
    """How y is read for one network.

    Parameters
    ----------
    n_outputs : int
        Outputs of the network.
    task : str
        The loss's task.
    n_levels : int
        Outputs for each target column; above 1 for several quantiles.
    non_negative : bool
        Whether targets below 0 are refused.
    classes : ndarray or None
        Labels in the order of the outputs; None for numbers, one-hot rows and multi-label targets.
    flat : bool
        Whether y, and therefore predictions, have one dimension.
    """

    n_outputs: int
    task: str
    n_levels: int = 1
    non_negative: bool = False
    classes: np.ndarray | None = None
    flat: bool = False

    @classmethod
    def learn(cls, where: str, y: object, loss: Loss, n_outputs: int) -> TargetCoder:
        """Decide from y's shape and values how to read it."""
        coder = cls(n_outputs, *reading(loss))
        values = _array(where, y)
        coder.flat = values.ndim == 1
        _refuse_labels_in_a_column(coder, where, values)
        if coder.task != "regression" and coder.flat:
            coder.classes = _classes(where, values, coder.task, n_outputs)
        return coder

    @classmethod
    def numbered(cls, where: str, y: object, loss: Loss, n_outputs: int) -> TargetCoder:
        """As `learn`, from a first batch that need not hold every class: labels count from 0."""
        values, kind = _array(where, y), cls(n_outputs, *reading(loss), flat=True)
        is_label = kind.task == "classes" or (kind.task == "binary" and n_outputs == 1)
        if not (is_label and values.ndim == 1 and values.dtype.kind in "iu"):
            return cls.learn(where, y, loss, n_outputs)
        kind.classes = np.arange(2 if kind.task == "binary" else n_outputs)
        return kind

    def suits(self, loss: Loss) -> bool:
        """Whether a loss reads targets in the same way."""
        return (self.task, self.n_levels, self.non_negative) == reading(loss)

    @property
    def n_columns(self) -> int:
        """Number of columns of a two-dimensional y."""
        return self.n_outputs // self.n_levels

    @property
    def gives_labels(self) -> bool:
        """Whether kernels read the numbers of classes, and not rows of numbers."""
        return self.classes is not None and self.task == "classes"

    def encode(self, where: str, y: object, dtype: np.dtype) -> Encoded:
        """y for the kernels, or an error that says what is wrong with it."""
        if type(y) is np.ndarray and self._is_as_kernels_read(y, dtype):
            return Encoded(np.empty(0, np.int32), y.reshape(-1))
        values = _array(where, y)
        if (values.ndim == 1) != self.flat:
            wanted = "one dimension" if self.flat else f"shape (n, {self.n_columns})"
            is_column = self.flat and values.shape[1] == 1
            raise InputError(
                where,
                f"y of {wanted}, as in fit",
                f"shape {values.shape}",
                "use y.ravel()" if is_column else "pass targets of the same kind",
            )
        nothing = np.empty(0, dtype)
        if self.classes is not None:
            labels = label_numbers(where, values, self.classes)
            if self.gives_labels:
                return Encoded(labels, nothing)
            return Encoded(np.empty(0, np.int32), labels.astype(dtype))
        numbers = self._numbers(where, values)
        if self.n_levels > 1:
            numbers = np.repeat(numbers, self.n_levels, axis=1)
        numbers = checks.converted(where, "y", numbers, dtype)
        return Encoded(np.empty(0, np.int32), numbers.reshape(-1))

    def _is_as_kernels_read(self, y: np.ndarray, dtype: np.dtype) -> bool:
        """Whether an array holds valid numbers in the form that kernels read, for a quick path."""
        return (
            self.task == "regression"
            and not (self.non_negative or self.n_levels > 1)
            and y.dtype == dtype
            and y.shape[1:] == (() if self.flat else (self.n_outputs,))
            and (not self.flat or self.n_outputs == 1)
            and y.size > 0
            and y.flags.c_contiguous
            and y.flags.aligned
            and checks.is_finite(y)
        )

    def _numbers(self, where: str, values: np.ndarray) -> np.ndarray:
        """y as a finite matrix (n, n_columns) that suits the task."""
        values = checks.numeric(where, "y", values)
        values = values.reshape(-1, 1) if values.ndim == 1 else values
        if values.shape[1] != self.n_columns or self.n_outputs % self.n_levels:
            each = f", {self.n_levels} levels each" if self.n_levels > 1 else ""
            outputs = counted(self.n_outputs, "output")
            raise InputError(
                where,
                f"y with one column for every target of the {outputs}{each}",
                counted(values.shape[1], "column"),
                "give the last Dense layer as many units",
            )
        checks.finite(where, "y", values)
        if self.task != "regression" and ((values < 0) | (values > 1)).any():
            raise InputError(
                where,
                "y between 0 and 1",
                "numbers outside",
                "pass labels, one-hot rows or probabilities",
            )
        if self.task == "classes":
            off = np.abs(values.sum(axis=1, dtype=np.float64) - 1) > 1e-3
            if off.any():
                raise InputError(
                    where,
                    "rows of y that sum to 1",
                    f"another sum in row {int(np.argmax(off))}",
                    "divide each row by its sum",
                )
        if self.non_negative and (values < 0).any():
            raise InputError(
                where,
                "y of at least 0 for a Poisson deviance",
                "negative numbers",
                "use counts or rates, or another loss",
            )
        return values

    def decode(self, linked: np.ndarray) -> np.ndarray:
        """Predictions from the outputs after the link."""
        if self.task == "regression":
            return linked[:, 0] if self.flat and self.n_outputs == 1 else linked
        if self.task == "binary":
            yes = linked > 0.5
            if self.classes is not None:
                return self.classes[yes[:, 0].astype(np.intp)]
            return yes.astype(np.int64)
        best = np.argmax(linked, axis=1)
        return best if self.classes is None else self.classes[best]


def reading(loss: Loss) -> tuple[str, int, bool]:
    """How a loss reads targets: its task, outputs per target, and whether they may be negative."""
    return loss.task, outputs_per_target(loss), isinstance(loss_of_one(loss), PoissonDeviance)


def _refuse_labels_in_a_column(coder: TargetCoder, where: str, values: np.ndarray) -> None:
    """Refuse labels of shape (n, 1), which would be read as rows of yes and no."""
    if coder.flat or values.shape[1] != 1 or coder.task == "regression":
        return
    if (coder.task == "classes" and coder.n_outputs > 1) or values.dtype.kind not in "biuf":
        wanted = f"labels of shape (n,), or y of shape (n, {coder.n_outputs})"
        raise InputError(where, wanted, f"shape {values.shape}", "use y.ravel() for labels")


def _array(where: str, y: object) -> np.ndarray:
    values = checks.array(where, "y", y)
    if values.ndim not in (1, 2) or values.size == 0:
        raise InputError(
            where,
            "y of shape (n,) or (n, n_outputs) that is not empty",
            f"shape {values.shape}",
            "pass one target for each row of X",
        )
    return values


def distinct(where: str, values: np.ndarray) -> np.ndarray:
    """Sorted distinct labels."""
    if values.dtype.kind == "f":
        checks.finite(where, "y", values)
        if (values != np.floor(values)).any():
            raise InputError(
                where,
                "class labels in y",
                "fractions",
                "use a regression loss, or whole numbers as labels",
            )
    checks.complete(
        where, "a label for every row of y", values, "drop such rows or give them a label"
    )
    try:
        return np.unique(values)
    except TypeError:
        kinds = ", ".join(sorted({type(value).__name__ for value in values}))
        raise InputTypeError(
            where,
            "labels of one type in y",
            kinds,
            "turn all labels into strings or all into numbers",
        ) from None


def _classes(where: str, values: np.ndarray, task: str, n_outputs: int) -> np.ndarray:
    """The label of each output. Integers 0..n-1 stand for themselves, even if some are absent."""
    found = distinct(where, values)
    if found.size < 2:
        raise InputError(where, "at least 2 classes in y", "1", "check the data or use regression")
    wanted = 2 if task == "binary" else n_outputs
    if task == "binary" and n_outputs != 1:
        raise InputError(
            where,
            f"y of shape (n, {n_outputs}), yes or no for each label",
            "one label a row",
            "give the last layer 1 unit, or use softmax_cross_entropy",
        )
    if task == "classes" and found.dtype.kind in "iu" and found[0] >= 0 and found[-1] < wanted:
        return np.arange(wanted, dtype=found.dtype)
    if found.size == wanted:
        return found
    if task == "binary":
        advice = f"use softmax_cross_entropy and a last Dense layer of {found.size} units"
        raise InputError(where, "y with 2 classes for one output", f"{found.size}", advice)
    raise InputError(
        where,
        f"y with {wanted} class{'' if wanted == 1 else 'es'}, one for each output",
        f"{found.size}",
        "give the last Dense layer as many units as there are classes",
    )


def count_from_0(classes: np.ndarray) -> bool:
    """Whether sorted, distinct whole numbers are 0, 1, 2 and so on."""
    return bool(classes[0] == 0 and classes[-1] == classes.size - 1)


def label_numbers(where: str, values: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Position of each label among the classes, int32."""
    are_whole = classes.dtype.kind in "iu" and values.dtype.kind in "iu"
    if are_whole and count_from_0(classes) and 0 <= values.min() <= values.max() < classes.size:
        return values.astype(np.int32)
    found = distinct(where, values)
    try:
        unseen = ~np.isin(found, classes)
        positions = np.searchsorted(classes, values)
    except TypeError:
        unseen = np.ones(1, bool)
    if unseen.any():
        raise InputError(
            where,
            "only labels seen in fit",
            counted(int(unseen.sum()), "unseen label"),
            "fit on data that holds every class",
        )
    return positions.astype(np.int32)
