"""What a model file stores about its data, so that it can be evaluated on rows it has not seen.

It stores how the rows were split and hashes of all rows and of the test rows, but no rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..datasets.dataset import Dataset, Parts, deal
from ..datasets.dialect import Dialect
from ..errors import InputError, counted
from ..network import Network
from .serialization import add_array

_SOME = 0.15  # of the rows, which are dealt and then put back
PARTS = ("test", "validation", "training", "all")


class Chosen(NamedTuple):
    """Rows of a data set, as numbers or a slice, and a text that describes which ones."""

    rows: np.ndarray | slice
    words: str


def description(
    data: Dataset, parts: Parts, options: Any, test: float, wide: Sequence[str] = ()
) -> dict[str, Any]:
    """The description of the training data for the file.

    Parameters
    ----------
    data : Dataset
    parts : Parts
    options : Namespace
        With `validation` and `seed` and, for a text table, `separator`, `decimal` and `thousands`.
    test : float
        Fraction of the rows for the test.
    wide : sequence of str
        Columns that need float64.
    """
    names, rows, given = data.target_name, parts.test, vars(options)
    return {
        "name": data.name,
        "rows": len(data.X),
        "target": list(names) if isinstance(names, tuple) else names,
        "validation": options.validation,
        "test": test,
        "seed": options.seed,
        "all_rows": _fingerprint(data.X, data.y),
        "test_rows": _fingerprint(data.X[rows], data.y[rows]),
        "needs_float64": list(wide),
        "dialect": {name: given[name] for name in Dialect._fields if given.get(name) is not None},
    }


def parts_of(data: Dataset, validation: float | None, test: float, seed: int) -> Parts:
    """The rows for training, validation and test.

    Parameters
    ----------
    data : Dataset
    validation : float or None
        Fraction of the rows for validation; None for no such part, as for folds.
    test : float
        Fraction of the rows for the test, unless the data have test rows of their own.
    seed : int
    """
    found = deal(data.y, data.n_test, _SOME if validation is None else validation, test, seed)
    if validation is not None:
        return found
    return Parts(np.concatenate([found.train, found.val]), found.val[:0], found.test)


def target_of(network: Network) -> str | list[str] | None:
    """The target column or columns that a network was trained for, if its file has them."""
    target = (network.trained_on or {}).get("target")
    if isinstance(target, list) and target and all(isinstance(name, str) for name in target):
        return target
    return target if isinstance(target, str) else None


def dialect_of(network: Network) -> dict[str, str]:
    """How the text table was written that a network was trained on, as far as it was said."""
    found = (network.trained_on or {}).get("dialect")
    known = found if isinstance(found, dict) else {}
    return {
        name: known[name] for name in Dialect._fields if isinstance(known.get(name), str)
    }  # fmt: skip


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
    parts, why = _known_parts(network, data)
    if part == "all" or (part is None and parts is None):
        return _all_rows(data, part, parts, why)
    if parts is None:
        raise InputError(
            "--rows", "a model file that knows how these rows were dealt", why,
            "leave --rows out, or pass the data of the training",
        )  # fmt: skip
    n = counted(len(data.X), "row")
    if part == "validation":
        if not len(parts.val):
            raise InputError(
                "--rows", "a model with rows for its validation", "one trained in folds",
                "choose other rows",
            )  # fmt: skip
        return Chosen(parts.val, f"the validation part of {n}")
    if part == "training":
        return Chosen(parts.train, f"those of {n} that it was trained on")
    return Chosen(parts.test, f"the test part, held out of the training on {n}")


def _all_rows(data: Dataset, part: str | None, parts: Parts | None, why: str) -> Chosen:
    if part is None and data.n_test:
        return Chosen(slice(-data.n_test, None), "the data's own test rows")
    words = "all, those of the training among them" if parts is not None else f"all; {why}"
    return Chosen(slice(None), words)


def _known_parts(network: Network, data: Dataset) -> tuple[Parts | None, str]:
    """How these rows were split in training; if that is not known, why."""
    known = network.trained_on
    if known is None:
        return None, "a model file that does not say which rows it was trained on"
    name, rows = known.get("name"), known.get("rows")
    other = f"other data than the training's {name!r} of {rows} rows"
    if rows != len(data.X) or known.get("all_rows") != _fingerprint(data.X, data.y):
        return None, other
    try:
        found = parts_of(data, known["validation"], known["test"], known["seed"])
    except (KeyError, InputError):
        return None, other
    if known.get("test_rows") != _fingerprint(data.X[found.test], data.y[found.test]):
        return None, "a split that another version of scikit-learn has made"
    return found, ""


def _fingerprint(X: np.ndarray, y: np.ndarray) -> str:
    digest = hashlib.blake2b(digest_size=16)
    add_array(digest, "X", X)
    if y.dtype.kind in "biuf":
        add_array(digest, "y", y)
    else:
        digest.update("\0".join(map(str, y.ravel())).encode())
    return digest.hexdigest()
