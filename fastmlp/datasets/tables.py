"""Loads a user's table as two arrays, or raises one error that lists the unusable columns.

Nothing is guessed: text features and missing values are refused, naming column, row and kind but
never the value, because encoding or filling them silently would change what the network learns.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FileError, InputError, InputTypeError, counted
from ..io.files import as_path
from .columns import problem_of
from .dataset import Dataset
from .dialect import Dialect
from .inputs import check_dtype
from .numeric import numeric_array, tidy
from .reading import (
    Table,
    check_file,
    check_known,
    header,
    read,
    read_parquet,
    reading,
    refuse_empty,
    table_suffix,
)
from .target import (
    check_target,
    grouping_advice,
    numbers_of,
    numeric_target,
    targets_and_features,
    targets_of,
)

_ZIP, _NPY = b"PK", b"\x93NUMPY"  # the first bytes of files that NumPy writes


def load_table(
    path: str | os.PathLike[str],
    target: str | Sequence[str] | None = None,
    *,
    dtype: str = "float64",
    columns: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    text_labels: bool = False,
    separator: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
) -> Dataset:
    """Load a table: CSV, TSV (each also `.gz`), Parquet or npz.

    CSV and TSV need a header row with a distinct name for every column. Empty cells, NA, None, null
    and nan count as missing, except that None, NA and null are labels if they occur among other
    labels.

    Parameters
    ----------
    path : str or path
        The file; its suffix tells the format.
    target : str or sequence of str, optional
        The column to predict, or several numeric columns for a regression with several outputs.
        None only for npz, where it means "y".
    dtype : {"float32", "float64"}, default "float64"
        The dtype of X. With float32, numbers that are too large for it are refused, and so are
        columns whose differences it cannot represent, such as times in milliseconds.
    columns : sequence of str, optional
        The features, in this order; by default all columns but the target. An npz file has no
        names, so all of its X is read.
    drop : sequence of str, default ()
        Columns to leave out of the features; not for npz.
    text_labels : bool, default False
        Whether to read the target as text even if all of it looks like numbers, for a network
        whose labels are text.
    separator, decimal, thousands : str, optional
        For CSV and TSV, the characters between columns, before decimals and between thousands. By
        default the separator (a comma, semicolon, tab or bar) is detected from the first rows, a
        decimal comma is recognised unless commas separate columns, and thousands have no
        separator.

    Returns
    -------
    Dataset
        X of shape (n_rows, n_features) and the given dtype, from numeric and boolean columns;
        y of shape (n_rows,), or (n_rows, n_targets) when `target` is a sequence: text and
        categories as labels, booleans and whole numbers as int64, other numbers as float64.

    Raises
    ------
    InputTypeError
        An argument is of the wrong type.
    InputError
        The target does not exist, features are not numeric, values are missing or not finite (all
        such columns are named at once), a column name is missing or used twice, there are no rows
        or no features, or pandas or pyarrow is not installed.
    FileError
        The file is missing, empty, damaged, or not one of these formats.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from fastmlp.datasets import load_table
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "rooms.csv")
    ...     _ = path.write_text("width,length,area\\n2,3,6\\n2.5,4,10\\n")
    ...     load_table(path, "area")
    Dataset('rooms': X (2, 2) float64, y (2,) int64, 0 own test rows)
    """
    file = as_path("load_table", path)
    check_dtype("load_table", dtype, ("float32", "float64"))
    dialect = Dialect(separator, decimal, thousands).checked("load_table")
    check_target(target)
    suffix = check_file(file)
    if suffix == ".npz":
        _check_npz_options(file, dialect, drop)
        return _from_npz(file, "y" if target is None else target, dtype, text_labels)
    wanted = [target] if isinstance(target, str) else list(target or ())
    texts = wanted if text_labels and isinstance(target, str) else ()
    table = read(file, suffix, dialect, columns, wanted, texts)
    return _from_frame(table, target, columns, drop, dtype, text_labels)


def load_features(
    path: str | os.PathLike[str],
    drop: Sequence[str] = (),
    *,
    columns: Sequence[str] | None = None,
    dtype: str = "float64",
    separator: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Load only the features of a table, for predictions: some columns, or all except dropped ones.

    Parameters
    ----------
    path : str or path
        A table that `load_table` can read; from an npz file, the array `X`.
    drop : sequence of str, default ()
        Columns to leave out, such as the target; they need not exist.
    columns : sequence of str, optional
        The columns to read, in this order; the others may contain anything. An npz file has no
        names, so all of its X is read.
    dtype : {"float32", "float64"}, default "float64"
        The dtype of X.
    separator, decimal, thousands : str, optional
        As for `load_table`.

    Returns
    -------
    X : ndarray of shape (n_rows, n_features)
    feature_names : tuple of str or None
        None for npz, which has no names.

    Raises
    ------
    InputError, FileError
        As `load_table`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from fastmlp.datasets.tables import load_features
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "rooms.csv")
    ...     _ = path.write_text("width,length\\n2,3\\n")
    ...     load_features(path)
    (array([[2., 3.]]), ('width', 'length'))
    """
    file = as_path("load_features", path)
    check_dtype("load_features", dtype, ("float32", "float64"))
    dialect = Dialect(separator, decimal, thousands).checked("load_features")
    suffix = check_file(file)
    if suffix == ".npz":
        _check_npz_options(file, dialect, ())
        (X,) = _npz_arrays(file, ["X"])
        _check_features(file, X)
        return numeric_array(file, X, "X", dtype), None
    table = read(file, suffix, dialect, columns, ())
    names = table.names if columns is None else list(columns)
    names = [name for name in names if columns is not None or name not in drop]
    return _feature_matrix(table, names, dtype), tuple(names)


def column_names(
    path: str | os.PathLike[str], separator: str | None = None
) -> tuple[str, ...] | None:
    """The names in a table's header, unchanged; None for npz, which has none.

    Parameters
    ----------
    path : str or path
        A table that `load_table` can read.
    separator : str, optional
        As for `load_table`.

    Returns
    -------
    tuple of str or None

    Raises
    ------
    InputError, FileError
        As `load_table`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from fastmlp.datasets.tables import column_names
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "rooms.csv")
    ...     _ = path.write_text("width;length\\n2;3\\n")
    ...     column_names(path)
    ('width', 'length')
    """
    file = as_path("column_names", path)
    suffix = check_file(file)
    if suffix == ".npz":
        return None
    if suffix == ".parquet":
        return tuple(read_parquet(file).columns)
    return tuple(header(file, suffix, Dialect(separator).checked("column_names"))[0])


def _from_frame(
    table: Table,
    target: str | Sequence[str] | None,
    columns: Sequence[str] | None,
    drop: Sequence[str],
    dtype: str,
    text_labels: bool,
) -> Dataset:
    file = table.file
    targets, features = targets_and_features(table, target, columns, drop)
    X = _feature_matrix(table, features, dtype, targets)
    name, notes = name_of(file), list(table.found)
    y = targets_of(table, target, text_labels, notes)
    named = target if isinstance(target, str) else tuple(targets)
    return Dataset(X, y, name, tuple(features), named, notes=tuple(notes))


def _feature_matrix(
    table: Table, names: Sequence[str], dtype: str, targets: Sequence[str] = ()
) -> np.ndarray:
    """The named columns as a finite matrix; one error lists all columns that are not numbers."""
    refuse_empty(table, names)
    _refuse_problems(table, names, targets)
    X = np.empty((len(table.frame), len(names)), dtype)
    for j, name in enumerate(names):
        X[:, j] = numbers_of(table, name, f"the feature column {name!r}", dtype)
    return X


def _refuse_problems(table: Table, names: Sequence[str], targets: Sequence[str]) -> None:
    """Raise an error that lists all feature columns without numbers in every row, with advice."""
    decimal = table.dialect.decimal or "."
    columns = {name: tidy(table.frame[name]) for name in names}
    found = {name: problem_of(column, decimal) for name, column in columns.items()}
    problems = {name: problem for name, problem in found.items() if problem is not None}
    if not problems:
        return
    listed = ", ".join(f"{name!r} ({problem.kind})" for name, problem in problems.items())
    advice = list(dict.fromkeys(a for problem in problems.values() for a in problem.advice))
    for name in targets:
        column = table.frame[name]
        n_gaps, written = int(column.isna().sum()), grouping_advice(table, column)
        kinds = [counted(n_gaps, "gap")] if n_gaps else []
        kinds += ["numbers with commas or points in them"] if written else []
        listed += f" and the target {name!r} ({', '.join(kinds)})" if kinds else ""
        advice += [written] if written and written not in advice else []
    raise InputError(
        str(table.file),
        "numbers in every row of all feature columns",
        listed,
        ", ".join([*advice, "or leave columns out (--drop, or drop in Python)"]),
    )


def name_of(file: Path) -> str:
    """A table's name for reports: the file's, without its suffix."""
    return file.name[: -len(table_suffix(file) or "")]


def _check_npz_options(file: Path, dialect: Dialect, drop: Sequence[str]) -> None:
    if drop or any(dialect):
        given = "drop" if drop else "separator, decimal and thousands"
        raise InputError(str(file), f"{given} with a table of columns", "an npz file", "omit it")


def _from_npz(file: Path, target: str | Sequence[str], dtype: str, text_labels: bool) -> Dataset:
    if not isinstance(target, str):
        advice = "name one array, of shape (n_rows, n_targets) for several"
        raise InputTypeError(str(file), "target as text", type(target).__name__, advice)
    X, y = _npz_arrays(file, ["X", target])
    shapes = f"X {X.shape} and {target} {y.shape}"
    if X.ndim != 2 or y.ndim not in (1, 2) or len(X) != len(y) or 0 in X.shape or 0 in y.shape:
        expected = f"X of shape (n_rows, n_features) and as many rows of {target}, none empty"
        raise InputError(str(file), expected, shapes, "reshape the arrays and write them again")
    _check_kind(file, "numbers", "X", X, "biuf")
    _check_kind(file, "numbers or text", target, y, "biufU")
    if y.dtype.kind != "U":
        y = y.astype(str) if text_labels else numeric_target(file, y, target)
    return Dataset(numeric_array(file, X, "X", dtype), y, name_of(file), target_name=target)


def _npz_arrays(file: Path, names: Sequence[str]) -> list[np.ndarray]:
    """The named arrays of an npz file."""
    # Opened here, because np.load with a path leaves a damaged zip file open.
    with reading(file, "npz"), file.open("rb") as stream:
        if not stream.read(len(_NPY)).startswith((_ZIP, _NPY)):
            # NumPy would advise to load the file in a way that may run code.
            raise FileError(str(file), "an npz file", "another kind", "write it with numpy.savez")
        stream.seek(0)
        archive: Any = np.load(stream, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise FileError(str(file), "an npz file", "an npy file", "write it with numpy.savez")
        with archive:
            for wanted in names:
                check_known(file, "an array", wanted, archive.files)
            return [archive[name] for name in names]


def _check_features(file: Path, X: np.ndarray) -> None:
    """Check the X of a file without looking at targets."""
    if X.ndim != 2 or 0 in X.shape:
        expected = "X of shape (n_rows, n_features) that is not empty"
        advice = "reshape the array and write it again"
        raise InputError(str(file), expected, f"shape {X.shape}", advice)
    _check_kind(file, "numbers", "X", X, "biuf")


def _check_kind(file: Path, what: str, label: str, array: np.ndarray, kinds: str) -> None:
    if array.dtype.kind not in kinds:
        advice = "convert it and write it again"
        raise InputError(str(file), f"{what} in {label}", f"dtype {array.dtype}", advice)
