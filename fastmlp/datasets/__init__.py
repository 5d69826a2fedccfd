"""Data sets: digits that come with other packages, MNIST, and users' tables.

Every loader returns a `Dataset`; `load` chooses the loader for a name or a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import InputError, did_you_mean
from ..io.files import as_path
from .arrow import open_table
from .chunks import open_arrays, open_chunks
from .dataset import Dataset, Split
from .digits import load_digits, load_mnist_5k, load_seed_protocol
from .mnist import load_mnist, read_idx
from .reading import SUFFIXES, table_suffix
from .stored import StoredTable
from .tables import load_table

__all__ = [
    "DATASETS",
    "Dataset",
    "Split",
    "StoredTable",
    "load",
    "load_digits",
    "load_mnist",
    "load_mnist_5k",
    "load_seed_protocol",
    "load_table",
    "open_arrays",
    "open_chunks",
    "open_table",
    "read_idx",
]

DATASETS: dict[str, Callable[..., Dataset]] = {
    "digits": load_digits,
    "mnist-5k": load_mnist_5k,
    "mnist": load_mnist,
}


def load(
    name_or_path: str | os.PathLike[str],
    *,
    data_home: str | os.PathLike[str] | None = None,
    target: str | Sequence[str] | None = None,
    **options: Any,
) -> Dataset:
    """Load a data set by its name in `DATASETS`, or a table by its path.

    Parameters
    ----------
    name_or_path : str or path
        "digits", "mnist-5k" or "mnist"; anything else is the path of a table.
    data_home : str or path, optional
        The folder of MNIST's files (see `load_mnist`); not used for other data.
    target : str or sequence of str, optional
        What to predict from a table (see `load_table`).
    **options : object
        Other options of `load_table`, for a table.

    Returns
    -------
    Dataset
        As the loader returns it.

    Raises
    ------
    InputTypeError
        The first argument is neither text nor a path.
    InputError
        There is no such name and no such kind of table, or an option of tables is given with a
        name.
    FileError
        The file is missing or damaged.

    Examples
    --------
    >>> from fastmlp.datasets import load
    >>> load("digits").X.shape
    (1797, 64)
    """
    path = as_path("load", name_or_path)
    name = str(name_or_path)
    if name in DATASETS:
        if target is not None:
            advice = "leave target out: it is for tables"
            raise InputError("load", f"no target with the data set {name}", "a target", advice)
        for option, value in options.items():
            if value:
                advice = f"leave {option} out: it is for tables"
                raise InputError("load", f"the data set {name} alone", option, advice)
        return DATASETS[name](data_home=data_home) if name == "mnist" else DATASETS[name]()
    if table_suffix(path) is None and not path.is_dir():
        advice = did_you_mean(name, DATASETS, "check the spelling")
        expected = f"one of {', '.join(DATASETS)}, or a file named {', '.join(SUFFIXES)}"
        raise InputError("load", expected, repr(name), advice)
    return load_table(path, target, **options)
