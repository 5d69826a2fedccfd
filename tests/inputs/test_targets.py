"""Targets on their way in and out: how y is read, what is remembered of it, and what is refused.
Kernels see either label numbers or flat rows of numbers, never both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastmlp.errors import InputError, InputTypeError
from fastmlp.inputs.targets import Encoded, TargetCoder
from fastmlp.nn.losses import (
    BinaryCrossEntropy,
    Huber,
    Loss,
    MeanSquaredError,
    PoissonDeviance,
    Quantile,
    SoftmaxCrossEntropy,
)

pytestmark = pytest.mark.nojit

SOFTMAX, BINARY, SQUARE, POISSON = (
    SoftmaxCrossEntropy(),
    BinaryCrossEntropy(),
    MeanSquaredError(),
    PoissonDeviance(),
)
DOUBLE = np.dtype(np.float64)


def learned(y: Any, loss: Loss, n_outputs: int) -> TargetCoder:
    return TargetCoder.learn("fit", y, loss, n_outputs)


def encoded(y: Any, loss: Loss, n_outputs: int, dtype: np.dtype = DOUBLE) -> Encoded:
    return learned(y, loss, n_outputs).encode("fit", y, dtype)


def message(call: Callable[[], Any]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value)


# ----------------------------------------------------------------------------------------- classes

LABELS: dict[str, tuple[Any, list[Any], list[int]]] = {
    "integers": ([2, 0, 1, 0], [0, 1, 2], [2, 0, 1, 0]),
    "integers from nought with one absent": ([2, 0, 0, 2], [0, 1, 2], [2, 0, 0, 2]),
    "other integers": ([7, -1, 4, 7], [-1, 4, 7], [2, 0, 1, 2]),
    "bytes": (np.array([2, 0, 1], np.uint8), [0, 1, 2], [2, 0, 1]),
    "whole floats": ([2.0, 0.0, 5.0], [0.0, 2.0, 5.0], [1, 0, 2]),
    "strings": (["b", "a", "c", "a"], ["a", "b", "c"], [1, 0, 2, 0]),
    "objects": (np.array(["b", "a", "c"], object), ["a", "b", "c"], [1, 0, 2]),
    "tuples of Python": ((5, 6, 7), [5, 6, 7], [0, 1, 2]),
    "bytestrings": ([b"x", b"y", b"z"], [b"x", b"y", b"z"], [0, 1, 2]),
    "dates": (np.array(["2024-02", "2024-01", "2025-01"], "M8[M]"), None, [1, 0, 2]),
}


@pytest.mark.parametrize(("y", "classes", "numbers"), LABELS.values(), ids=LABELS)
def test_labels_become_the_numbers_of_their_outputs(
    y: Any, classes: list[Any] | None, numbers: list[int]
) -> None:
    coder = learned(y, SOFTMAX, 3)
    assert coder.classes is not None
    if classes is not None:
        assert coder.classes.tolist() == classes
    assert coder.flat
    found = coder.encode("fit", y, DOUBLE)
    assert found.labels.dtype == np.int32
    assert found.labels.tolist() == numbers
    assert found.targets.size == 0
    assert coder.decode(np.eye(3)[numbers]).tolist() == np.asarray(y).tolist()
    assert coder.decode(np.eye(3)).dtype == np.asarray(y).dtype


def test_two_classes_may_have_two_outputs_or_one() -> None:
    y = np.array([True, False, True])
    two, one = learned(y, SOFTMAX, 2), learned(y, BINARY, 1)
    assert two.classes.tolist() == one.classes.tolist() == [False, True]
    assert two.encode("fit", y, DOUBLE).labels.tolist() == [1, 0, 1]
    found = one.encode("fit", y, DOUBLE)
    assert (found.labels.size, found.targets.tolist()) == (0, [1.0, 0.0, 1.0])
    assert found.targets.dtype == DOUBLE
    assert one.decode(np.array([[0.9], [0.5], [0.51]])).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("y", "classes"),
    [([3, 5, 3], [3, 5]), (["no", "yes", "no"], ["no", "yes"]), ([0, 1, 0], [0, 1])],
)
def test_yes_or_no_is_the_second_of_two_sorted_labels(y: list[Any], classes: list[Any]) -> None:
    coder = learned(y, BINARY, 1)
    assert coder.classes.tolist() == classes
    assert coder.encode("fit", y, DOUBLE).targets.tolist() == [0.0, 1.0, 0.0]
    assert coder.decode(np.array([[0.2], [0.8], [0.2]])).tolist() == y


def test_integers_from_nought_are_no_plain_places_for_one_output() -> None:
    assert learned([1, 2], BINARY, 1).classes.tolist() == [1, 2]


def test_rows_of_probabilities_are_taken_as_they_are() -> None:
    for y in (np.eye(3), np.eye(3, dtype=int), np.eye(3, dtype=bool), [[0.2, 0.3, 0.5]]):
        coder = learned(y, SOFTMAX, 3)
        assert (coder.classes, coder.flat) == (None, False)
        found = coder.encode("fit", y, DOUBLE)
        assert found.labels.size == 0
        assert found.targets.tolist() == np.asarray(y, float).ravel().tolist()
    assert coder.decode(np.array([[0.1, 0.6, 0.3]])).tolist() == [1]
    nearly = np.array([[0.3333, 0.3333, 0.3333]])  # rounded in a file, say
    assert encoded(nearly, SOFTMAX, 3).targets.sum() == pytest.approx(0.9999)


def test_several_labels_of_yes_or_no() -> None:
    y = np.array([[1, 0, 1], [0, 0, 1]])
    coder = learned(y, BINARY, 3)
    assert coder.classes is None
    assert coder.encode("fit", y, DOUBLE).targets.tolist() == [1, 0, 1, 0, 0, 1]
    decoded = coder.decode(np.array([[0.9, 0.5, 0.6], [0.1, 0.2, 0.7]]))
    assert decoded.tolist() == y.tolist()
    assert decoded.dtype == np.int64
    column = learned([[1], [0]], BINARY, 1)
    assert column.decode(np.array([[0.7], [0.3]])).tolist() == [[1], [0]]


# ----------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, np.uint8, bool, object])
def test_numbers_become_flat_rows_of_the_networks_type(kind: type, dtype: str) -> None:
    y = np.arange(6).reshape(3, 2).astype(kind)
    for given in (y, np.asfortranarray(y), y.tolist()):
        found = encoded(given, SQUARE, 2, np.dtype(dtype))
        assert found.labels.size == 0
        assert (found.targets.dtype, found.targets.ndim) == (np.dtype(dtype), 1)
        assert found.targets.tolist() == y.astype(float).ravel().tolist()
        assert found.targets.flags.c_contiguous


def test_numbers_are_predicted_in_the_shape_of_y() -> None:
    linked = np.array([[1.5], [2.5]])
    assert learned([1.0, 2.0], SQUARE, 1).decode(linked).tolist() == [1.5, 2.5]
    assert learned([[1.0], [2.0]], SQUARE, 1).decode(linked).tolist() == [[1.5], [2.5]]
    assert learned(np.ones((2, 3)), Huber(), 3).decode(np.ones((2, 3))).shape == (2, 3)


def test_levels_share_their_target() -> None:
    loss = Quantile((0.1, 0.5, 0.9))
    coder = learned([1.0, 2.0], loss, 3)
    assert (coder.n_levels, coder.n_columns) == (3, 1)
    assert coder.encode("fit", [1.0, 2.0], DOUBLE).targets.tolist() == [1, 1, 1, 2, 2, 2]
    assert coder.decode(np.ones((2, 3))).shape == (2, 3)
    coder = learned([[1.0, 7.0]], loss, 6)
    assert (coder.n_levels, coder.n_columns) == (3, 2)
    assert coder.encode("fit", [[1.0, 7.0]], DOUBLE).targets.tolist() == [1, 1, 1, 7, 7, 7]
    one = learned([1.0, 2.0], Quantile(0.9), 1)
    assert one.encode("fit", [1.0, 2.0], DOUBLE).targets.tolist() == [1, 2]


def test_counts_may_be_nought_and_other_numbers_negative() -> None:
    assert encoded([0.0, 2.5], POISSON, 1).targets.tolist() == [0.0, 2.5]
    assert encoded([-1.0, 2.5], SQUARE, 1).targets.tolist() == [-1.0, 2.5]


# ----------------------------------------------------------------------------- parts and dense rows


def test_some_samples_and_dense_rows() -> None:
    index = np.array([2, 0])
    labels = encoded(["a", "c", "b"], SOFTMAX, 3)
    assert labels.rows(index, 3).labels.tolist() == [1, 0]
    assert labels.dense(3).tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert labels.rows(index, 3).dense(3).tolist() == [[0, 1, 0], [1, 0, 0]]
    numbers = encoded([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], SQUARE, 2)
    assert numbers.rows(index, 2).targets.tolist() == [5, 6, 1, 2]
    assert numbers.dense(2).tolist() == [[1, 2], [3, 4], [5, 6]]
    assert labels.dense(3).dtype == numbers.dense(2).dtype == DOUBLE


# ------------------------------------------------------------------------------------------ errors

FIT_ERRORS: dict[str, tuple[Any, Loss, int, str]] = {
    "three dimensions": (
        np.ones((2, 2, 2)), SQUARE, 2,
        "fit: expected y of shape (n,) or (n, n_outputs) that is not empty, got shape (2, 2, 2); "
        "pass one target for each row of X",
    ),
    "one value": (
        3, SQUARE, 1,
        "fit: expected y of shape (n,) or (n, n_outputs) that is not empty, got shape (); "
        "pass one target for each row of X",
    ),
    "nothing": (
        [], SQUARE, 1,
        "fit: expected y of shape (n,) or (n, n_outputs) that is not empty, got shape (0,); "
        "pass one target for each row of X",
    ),
    "no columns": (
        np.ones((3, 0)), SQUARE, 1,
        "fit: expected y of shape (n,) or (n, n_outputs) that is not empty, got shape (3, 0); "
        "pass one target for each row of X",
    ),
    "ragged": (
        [[1, 2], [3]], SQUARE, 2,
        "fit: expected y as a rectangular array, got rows of different lengths; pad or cut them",
    ),
    "fractions as labels": (
        [0.5, 1.0, 2.0], SOFTMAX, 3,
        "fit: expected class labels in y, got fractions; "
        "use a regression loss, or whole numbers as labels",
    ),
    "nan among labels": (
        [0.0, np.nan, 2.0], SOFTMAX, 3,
        "fit: expected y to be finite, got nan in row 1; remove, replace or impute it",
    ),
    "None among labels": (
        np.array(["a", None, "b"], object), SOFTMAX, 2,
        "fit: expected a label for every row of y, got a missing value in row 1; "
        "drop such rows or give them a label",
    ),
    "nan among objects": (
        np.array(["a", np.nan, "b"], object), SOFTMAX, 2,
        "fit: expected a label for every row of y, got a missing value in row 1; "
        "drop such rows or give them a label",
    ),
    "mixed labels": (
        np.array(["a", 1, 2.5, 1], object), SOFTMAX, 3,
        "fit: expected labels of one type in y, got float, int, str; "
        "turn all labels into strings or all into numbers",
    ),
    "one class": (
        [4, 4, 4], SOFTMAX, 3,
        "fit: expected at least 2 classes in y, got 1; check the data or use regression",
    ),
    "one class of yes or no": (
        ["a", "a"], BINARY, 1,
        "fit: expected at least 2 classes in y, got 1; check the data or use regression",
    ),
    "too many classes": (
        ["a", "b", "c"], SOFTMAX, 2,
        "fit: expected y with 2 classes, one for each output, got 3; "
        "give the last Dense layer as many units as there are classes",
    ),
    "too few strings": (
        ["a", "b"], SOFTMAX, 3,
        "fit: expected y with 3 classes, one for each output, got 2; "
        "give the last Dense layer as many units as there are classes",
    ),
    "an integer too large for its place": (
        [0, 3], SOFTMAX, 3,
        "fit: expected y with 3 classes, one for each output, got 2; "
        "give the last Dense layer as many units as there are classes",
    ),
    "three classes for one output": (
        [0, 1, 2], BINARY, 1,
        "fit: expected y with 2 classes for one output, got 3; "
        "use softmax_cross_entropy and a last Dense layer of 3 units",
    ),
    "one label a row for many outputs": (
        [0, 1, 0], BINARY, 3,
        "fit: expected y of shape (n, 3), yes or no for each label, got one label a row; "
        "give the last layer 1 unit, or use softmax_cross_entropy",
    ),
    "too few columns": (
        np.eye(2), SOFTMAX, 3,
        "fit: expected y with one column for every target of the 3 outputs, got 2 columns; "
        "give the last Dense layer as many units",
    ),
    "one column for many outputs": (
        [1.0, 2.0], SQUARE, 3,
        "fit: expected y with one column for every target of the 3 outputs, got 1 column; "
        "give the last Dense layer as many units",
    ),
    "columns that levels do not share out": (
        [1.0, 2.0], Quantile((0.1, 0.9)), 3,
        "fit: expected y with one column for every target of the 3 outputs, 2 levels each, "
        "got 1 column; give the last Dense layer as many units",
    ),
    "levels for too few outputs": (
        np.ones((2, 2)), Quantile((0.1, 0.9)), 2,
        "fit: expected y with one column for every target of the 2 outputs, 2 levels each, "
        "got 2 columns; give the last Dense layer as many units",
    ),
    "text as numbers": (
        ["1", "2"], SQUARE, 1,
        "fit: expected y to hold numbers, got dtype <U1; "
        "encode text and categories as numbers first, or drop those columns",
    ),
    "nan among numbers": (
        [[1.0, 2.0], [3.0, np.nan]], SQUARE, 2,
        "fit: expected y to be finite, got nan in row 1, column 1; remove, replace or impute it",
    ),
    "infinity among numbers": (
        [1.0, -np.inf], SQUARE, 1,
        "fit: expected y to be finite, got an infinity in row 1, column 0; "
        "remove, replace or impute it",
    ),
    "more than one": (
        [[0.0, 1.5]], BINARY, 2,
        "fit: expected y between 0 and 1, got numbers outside; "
        "pass labels, one-hot rows or probabilities",
    ),
    "less than nought": (
        [[-0.5, 1.5]], SOFTMAX, 2,
        "fit: expected y between 0 and 1, got numbers outside; "
        "pass labels, one-hot rows or probabilities",
    ),
    "rows that do not sum to one": (
        [[0.5, 0.5], [1.0, 1.0]], SOFTMAX, 2,
        "fit: expected rows of y that sum to 1, got another sum in row 1; "
        "divide each row by its sum",
    ),
    "negative counts": (
        [1.0, -1.0], POISSON, 1,
        "fit: expected y of at least 0 for a Poisson deviance, got negative numbers; "
        "use counts or rates, or another loss",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("y", "loss", "n_outputs", "text"), FIT_ERRORS.values(), ids=FIT_ERRORS)
def test_refused_targets(y: Any, loss: Loss, n_outputs: int, text: str) -> None:
    assert message(lambda: encoded(y, loss, n_outputs)) == text


def test_mixed_labels_and_text_are_type_errors_too() -> None:
    with pytest.raises(InputTypeError):
        learned(np.array(["a", 1], object), SOFTMAX, 2)
    with pytest.raises(InputTypeError):
        encoded(["1", "2"], SQUARE, 1)


@pytest.mark.parametrize(
    ("fitted", "loss", "n_outputs", "later", "text"),
    [
        (
            [0, 1, 2], SOFTMAX, 3, np.eye(3),
            "score: expected y of one dimension, as in fit, got shape (3, 3); "
            "pass targets of the same kind",
        ),
        (
            np.eye(3), SOFTMAX, 3, [0, 1, 2],
            "score: expected y of shape (n, 3), as in fit, got shape (3,); "
            "pass targets of the same kind",
        ),
        (
            np.ones((2, 2)), Quantile((0.1, 0.9)), 4, [1.0, 2.0],
            "score: expected y of shape (n, 2), as in fit, got shape (2,); "
            "pass targets of the same kind",
        ),
        (
            ["a", "b"], SOFTMAX, 2, ["a", "c"],
            "score: expected only labels seen in fit, got 1 unseen label; "
            "fit on data that holds every class",
        ),
        (
            ["a", "b"], SOFTMAX, 2, ["d", "c", "a"],
            "score: expected only labels seen in fit, got 2 unseen labels; "
            "fit on data that holds every class",
        ),
        (
            [0, 1], BINARY, 1, [0, 2],
            "score: expected only labels seen in fit, got 1 unseen label; "
            "fit on data that holds every class",
        ),
        (
            [0, 1], SOFTMAX, 2, ["0", "1"],
            "score: expected only labels seen in fit, got 2 unseen labels; "
            "fit on data that holds every class",
        ),
        (
            np.array(["a", "b"], object), SOFTMAX, 2, np.array([0, 1], object),
            "score: expected only labels seen in fit, got 1 unseen label; "
            "fit on data that holds every class",
        ),
        (
            [0, 1], SOFTMAX, 2, [0.5, 1.0],
            "score: expected class labels in y, got fractions; "
            "use a regression loss, or whole numbers as labels",
        ),
        (
            [1.0, 2.0], POISSON, 1, [1.0, -2.0],
            "score: expected y of at least 0 for a Poisson deviance, got negative numbers; "
            "use counts or rates, or another loss",
        ),
    ],
)  # fmt: skip
def test_refused_targets_after_the_fit(
    fitted: Any, loss: Loss, n_outputs: int, later: Any, text: str
) -> None:
    coder = learned(fitted, loss, n_outputs)
    assert message(lambda: coder.encode("score", later, DOUBLE)) == text


def test_labels_of_another_type_with_the_same_values_are_understood() -> None:
    coder = learned([0, 1, 2], SOFTMAX, 3)
    for later in ([2.0, 1.0], np.array([2, 1], np.uint8), np.array([2, 1], object)):
        assert coder.encode("score", later, DOUBLE).labels.tolist() == [2, 1]
    coder = learned(["a", "b"], SOFTMAX, 2)
    assert coder.encode("score", np.array(["b"], object), DOUBLE).labels.tolist() == [1]


def test_later_targets_may_hold_fewer_classes() -> None:
    coder = learned(["a", "b", "c"], SOFTMAX, 3)
    assert coder.encode("score", ["c", "c"], DOUBLE).labels.tolist() == [2, 2]
    assert learned([0, 1], BINARY, 1).encode("score", [1], DOUBLE).targets.tolist() == [1.0]
