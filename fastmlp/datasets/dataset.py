"""Data sets (two arrays with a description) and splits (the same rows in three parts).

Both are frozen, so nothing can change the data that a result was measured on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..errors import InputError, InputTypeError
from .inputs import check_seed

# Labels with more distinct values than this are taken for counts or ids, not for classes.
MAX_CLASSES = 100
_NONE = np.zeros(0, int)


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """The rows of a data set in three disjoint parts.

    Parameters
    ----------
    X_train, y_train, X_val, y_val, X_test, y_test : ndarray of shapes as in `Dataset`
        Features (n_rows, n_features) and targets (n_rows,) or (n_rows, n_outputs) of each part, of
        the data set's dtypes.
    name : str
        The data set's name.
    image_shape : tuple of two ints, optional
        Height and width in pixels when a row is an image.
    feature_names : tuple of str, optional
        One name for each column of X, if they have names.
    target_name : str or tuple of str, optional
        The name of y, or one name for each of its columns.

    Examples
    --------
    >>> from fastmlp.datasets import load_digits
    >>> load_digits().split()
    Split('digits': 1257 training, 270 validation, 270 test rows)
    """

    X_train: np.ndarray
    y_train: np.ndarray
    X_val: np.ndarray
    y_val: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    name: str
    image_shape: tuple[int, int] | None = None
    feature_names: tuple[str, ...] | None = None
    target_name: str | tuple[str, ...] | None = None

    def __repr__(self) -> str:
        n_train, n_val, n_test = len(self.X_train), len(self.X_val), len(self.X_test)
        return f"Split({self.name!r}: {n_train} training, {n_val} validation, {n_test} test rows)"


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Features, targets and their description.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Features, one row for each example.
    y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
        Class labels (text, booleans or whole numbers) or numbers to predict.
    name : str
        A short name for reports.
    feature_names : tuple of str, optional
        One name for each column of X, if they have names.
    target_name : str or tuple of str, optional
        The name of y, or one name for each of its columns.
    image_shape : tuple of two ints, optional
        Height and width in pixels when a row is an image.
    n_test : int, default 0
        How many rows at the end are the data's own standard test set; 0 if it has none.
    notes : tuple of str, default ()
        What a loader detected or decided, each as a phrase for the user.

    Raises
    ------
    InputTypeError
        X or y is not an array.
    InputError
        X is not two-dimensional, X and y differ in rows, or n_test leaves no training row.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.datasets import Dataset
    >>> Dataset(np.zeros((6, 2)), np.array([0, 1, 0, 1, 0, 1]), "toy")
    Dataset('toy': X (6, 2) float64, y (6,) int64, 0 own test rows)
    """

    X: np.ndarray
    y: np.ndarray
    name: str
    feature_names: tuple[str, ...] | None = None
    target_name: str | tuple[str, ...] | None = None
    image_shape: tuple[int, int] | None = None
    n_test: int = 0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for label, array in (("X", self.X), ("y", self.y)):
            if not isinstance(array, np.ndarray):
                raise InputTypeError(
                    "Dataset", f"{label} as an array", type(array).__name__, "use numpy.asarray"
                )
        if self.X.ndim != 2 or self.y.ndim not in (1, 2) or len(self.X) != len(self.y):
            raise InputError(
                "Dataset",
                "X of shape (n_rows, n_features) and as many rows of y",
                f"X {self.X.shape} and y {self.y.shape}",
                "pass one row and one target for each example",
            )
        if not 0 <= self.n_test < max(len(self.X), 1):
            raise InputError(
                "Dataset",
                "n_test from 0 to less than the number of rows",
                f"{self.n_test} of {len(self.X)} rows",
                "leave at least one row for training",
            )

    def __repr__(self) -> str:
        X, y = self.X, self.y
        arrays = f"X {X.shape} {X.dtype}, y {y.shape} {y.dtype}"
        return f"Dataset({self.name!r}: {arrays}, {self.n_test} own test rows)"

    def split(
        self,
        validation: float = 0.15,
        test: float = 0.15,
        random_state: int | None = 0,
        stratify: bool | None = None,
    ) -> Split:
        """Shuffle the rows and split them into training, validation and test parts.

        A set with its own test rows (`n_test` > 0) keeps them as the test part: `test` is then
        ignored, and `validation` is a fraction of the other rows.

        Parameters
        ----------
        validation, test : float, default 0.15
            Fractions of the rows, each above 0 and below 1; the rest is for training.
        random_state : int or None, default 0
            Seed of the shuffle; None draws another split at every call.
        stratify : bool, optional
            True keeps the share of every class equal in all parts, False ignores y.
            None stratifies class labels (text, booleans or whole numbers, at most 100 different
            ones) wherever each class has 2 rows and each part has room for all classes.

        Returns
        -------
        Split
            Copies of the rows (the set's own test rows are a view).

        Raises
        ------
        InputTypeError
            An argument is of the wrong type.
        InputError
            A fraction is out of range or leaves a part empty, or stratify=True cannot be done.

        Examples
        --------
        >>> import numpy as np
        >>> from fastmlp.datasets import Dataset
        >>> Dataset(np.zeros((20, 2)), np.arange(20) % 2, "toy").split(validation=0.2, test=0.2)
        Split('toy': 12 training, 4 validation, 4 test rows)
        """
        return cut(self, deal(self.y, self.n_test, validation, test, random_state, stratify))


class Parts(NamedTuple):
    """Numbers of the rows of a split, or a slice of them."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray | slice


def deal(
    y: np.ndarray,
    n_own_test: int,
    validation: float,
    test: float,
    random_state: int | None,
    stratify: bool | None = None,
) -> Parts:
    """The rows that `Dataset.split` puts into each part."""
    check_seed("Dataset.split", random_state)
    if type(stratify) not in (bool, type(None)):
        got = type(stratify).__name__
        raise InputTypeError("Dataset.split", "stratify True, False or None", got, "pass one")
    n_rows = len(y) - n_own_test
    n_val = _part_size("validation", validation, n_rows)
    n_test = n_own_test or _part_size("test", test, n_rows)
    n_train = len(y) - n_val - n_test
    if min(n_train, n_val, n_test) < 1:
        raise InputError(
            "Dataset.split",
            "at least one row in every part",
            f"{n_train} training, {n_val} validation and {n_test} test rows",
            "change the fractions or add rows",
        )
    rows = np.arange(n_rows)
    test_rows: np.ndarray | slice = slice(n_rows, None)
    if not n_own_test:
        rows, test_rows = _deal(rows, n_test, y, random_state, stratify)
    return Parts(*_deal(rows, n_val, y, random_state, stratify), test_rows)


def cut(data: Dataset, parts: Parts) -> Split:
    """Make a split from the given rows of a data set."""
    X, y = data.X, data.y
    about = (data.name, data.image_shape, data.feature_names, data.target_name)
    train, val, test = parts
    return Split(X[train], y[train], X[val], y[val], X[test], y[test], *about)


def _part_size(name: str, fraction: float, n_rows: int) -> int:
    number = isinstance(fraction, float | int | np.floating) and not isinstance(fraction, bool)
    if number and 0 < fraction < 1:
        return round(float(fraction) * n_rows)
    kind = InputError if number else InputTypeError
    raise kind(
        "Dataset.split",
        f"{name} as a fraction above 0 and below 1",
        str(fraction) if number else type(fraction).__name__,
        f"pass for example {name}=0.15",
    )


def _deal(
    rows: np.ndarray, n_taken: int, y: np.ndarray, random_state: int | None, stratify: bool | None
) -> tuple[np.ndarray, np.ndarray]:
    """Shuffle `rows` and return (those left, the `n_taken` ones)."""
    from sklearn.model_selection import train_test_split

    classes, counts = (None, _NONE) if stratify is False else _classes(y[rows])
    smaller = min(n_taken, len(rows) - n_taken)
    possible = 0 < len(counts) <= smaller and counts.min() >= 2
    if stratify and not possible:
        found = f"{len(counts)} classes of {counts.min()} or more rows" if len(counts) else "none"
        raise InputError(
            "Dataset.split",
            "class labels with 2 rows or more each, and parts with room for all, to stratify",
            f"{found}, for parts of {len(rows) - n_taken} and {n_taken} rows",
            "pass stratify=False",
        )
    if not possible or (stratify is None and len(counts) > MAX_CLASSES):
        classes = None
    left, taken = train_test_split(
        rows, test_size=n_taken, random_state=random_state, stratify=classes
    )
    return left, taken


def _classes(labels: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """The class number of each row and the size of each class; None if y is not classes."""
    if labels.ndim != 1 or labels.dtype.kind not in "OTUSbiu":
        return None, _NONE
    # Objects are compared as text: numpy cannot sort objects of mixed types.
    comparable = labels.astype(str) if labels.dtype.kind in "OT" else labels
    _, classes, counts = np.unique(comparable, return_inverse=True, return_counts=True)
    return classes, counts
