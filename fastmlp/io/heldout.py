"""What a model file stores about its data, so that it can be evaluated on rows it has not seen.

It stores how the rows were split and hashes of all rows and of the test rows, but no rows.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np

from ..datasets import Dataset, Split
from ..errors import InputError, counted
from ..network import Network
from .serialization import add_array

PARTS = ("test", "validation", "training", "all")


class Chosen(NamedTuple):
    """Rows of a data set, and a text that describes which ones."""

    X: np.ndarray
    y: np.ndarray
    words: str


def description(
    data: Dataset, split: Split, validation: float, test: float, seed: int, wide: list[str]
) -> dict[str, Any]:
    """The description of the training data for the file, and columns that need float64."""
    names = data.target_name
    return {
        "name": data.name,
        "rows": len(data.X),
        "target": list(names) if isinstance(names, tuple) else names,
        "validation": validation,
        "test": test,
        "seed": seed,
        "all_rows": _fingerprint(data.X, data.y),
        "test_rows": _fingerprint(split.X_test, split.y_test),
        "needs_float64": wide,
    }


def target_of(network: Network) -> str | list[str] | None:
    """The target column or columns that a network was trained for, if its file has them."""
    target = (network.trained_on or {}).get("target")
    if isinstance(target, list) and target and all(isinstance(name, str) for name in target):
        return target
    return target if isinstance(target, str) else None


def choose(network: Network, data: Dataset, part: str | None) -> Chosen:
    """The rows for evaluating a network: by default those held out in training.

    Parameters
    ----------
    network : Network
    data : Dataset
        With its columns in the order of the training data.
    part : {"test", "validation", "training", "all"} or None
        None means the test rows if they are known, otherwise all rows.

    Raises
    ------
    InputError
        If the model file does not know the requested part of these data.
    """
    split, why = _known_split(network, data)
    if part == "all" or (part is None and split is None):
        return _all_rows(data, part, split, why)
    if split is None:
        raise InputError(
            "--rows", "a model file that knows how these rows were dealt", why,
            "leave --rows out, or pass the data of the training",
        )  # fmt: skip
    n = counted(len(data.X), "row")
    if part == "validation":
        return Chosen(split.X_val, split.y_val, f"the validation part of {n}")
    if part == "training":
        return Chosen(split.X_train, split.y_train, f"those of {n} that it was trained on")
    return Chosen(split.X_test, split.y_test, f"the test part, held out of the training on {n}")


def _all_rows(data: Dataset, part: str | None, split: Split | None, why: str) -> Chosen:
    if part is None and data.n_test:
        return Chosen(data.X[-data.n_test :], data.y[-data.n_test :], "the data's own test rows")
    words = "all, those of the training among them" if split is not None else f"all; {why}"
    return Chosen(data.X, data.y, words)


def _known_split(network: Network, data: Dataset) -> tuple[Split | None, str]:
    """How these rows were split in training; if that is not known, why."""
    known = network.trained_on
    if known is None:
        return None, "a model file that does not say which rows it was trained on"
    name, rows = known.get("name"), known.get("rows")
    other = f"other data than the training's {name!r} of {rows} rows"
    if rows != len(data.X) or known.get("all_rows") != _fingerprint(data.X, data.y):
        return None, other
    try:
        split = data.split(known["validation"], known["test"], random_state=known["seed"])
    except (KeyError, InputError):
        return None, other
    if known.get("test_rows") != _fingerprint(split.X_test, split.y_test):
        return None, "a split that another version of scikit-learn has made"
    return split, ""


def _fingerprint(X: np.ndarray, y: np.ndarray) -> str:
    digest = hashlib.blake2b(digest_size=16)
    add_array(digest, "X", X)
    if y.dtype.kind in "biuf":
        add_array(digest, "y", y)
    else:
        digest.update("\0".join(map(str, y.ravel())).encode())
    return digest.hexdigest()
