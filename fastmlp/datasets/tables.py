"""Loads a user's table as two arrays, or raises one error that lists the unusable columns.

Nothing is guessed: text features and missing values are refused, naming column, row and kind but
never the value, because encoding or filling them silently would change what the network learns.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FileError, InputError, InputTypeError, counted
from ..io.files import as_path
from .columns import GAPS, problem_of
from .dataset import Dataset
from .dialect import Dialect, advice_for
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
    table_suffix,
    text_columns,
)

if TYPE_CHECKING:
    import pandas as pd

# In a column of labels these words are labels; the user is told so.
_WORDS = ("None", "NA", "N/A", "n/a", "NULL", "null", "#NA")


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
    _check_target(target)
    suffix = check_file(file)
    if suffix == ".npz":
        _check_npz_options(file, dialect, drop)
        return _from_npz(file, "y" if target is None else target, dtype, text_labels)
    wanted = [target] if isinstance(target, str) else list(target or ())
    table = read(file, suffix, dialect, columns, wanted)
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
        return tuple(map(str, read_parquet(file).columns))
    return tuple(header(file, suffix, Dialect(separator).checked("column_names"))[0])


def _check_target(target: str | Sequence[str] | None) -> None:
    if target is None or isinstance(target, str):
        return
    names = list(target) if isinstance(target, Sequence) else [target]
    if not all(isinstance(name, str) for name in names):
        got = type(target).__name__ if len(names) < 2 else "names of other types"
        raise InputTypeError("load_table", "target as text or a list of text", got, "name columns")
    if not names or len(set(names)) < len(names):
        got = f"{len(names)} names, {len(set(names))} of them different"
        raise InputError("load_table", "one or more different targets", got, "name each once")


def _from_frame(
    table: Table,
    target: str | Sequence[str] | None,
    columns: Sequence[str] | None,
    drop: Sequence[str],
    dtype: str,
    text_labels: bool,
) -> Dataset:
    file, names = table.file, table.names
    if target is None:
        advice = f"pass the name of a column as target (it has {', '.join(names[:10])})"
        raise InputError(str(file), "a target column", "none", advice)
    targets = [target] if isinstance(target, str) else list(target)
    for wanted in (*targets, *drop):
        check_known(file, "a column", wanted, names)
    features = [name for name in names if name not in targets and name not in drop]
    features = features if columns is None else list(columns)
    X = _feature_matrix(table, features, dtype, targets)
    name, notes = _name(file), list(table.found)
    if isinstance(target, str):
        y = _target(table, target, text_labels, notes)
        return Dataset(X, y, name, tuple(features), target, notes=tuple(notes))
    numbers = [_numbers(table, t, f"the target column {t!r}", "float64") for t in targets]
    y = np.stack(numbers, axis=1)
    return Dataset(X, y, name, tuple(features), tuple(targets), notes=tuple(notes))


def _feature_matrix(
    table: Table, names: Sequence[str], dtype: str, targets: Sequence[str] = ()
) -> np.ndarray:
    """The named columns as a finite matrix; one error lists all columns that are not numbers."""
    file, frame = table.file, table.frame
    if not names:
        raise InputError(str(file), "a feature column", "only the target", "add features")
    if frame.empty:
        raise InputError(str(file), "at least one row", "none", "add rows below the header")
    _refuse_problems(table, names, targets)
    X = np.empty((len(frame), len(names)), dtype)
    for j, name in enumerate(names):
        X[:, j] = _numbers(table, name, f"the feature column {name!r}", dtype)
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
        n_gaps, written = int(column.isna().sum()), _advice_for_target(table, column)
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


def _name(file: Path) -> str:
    return file.name[: -len(table_suffix(file) or "")]


def _refuse_gaps(file: Path, column: pd.Series, label: str) -> None:
    missing = column.isna().to_numpy()
    if missing.any():
        raise InputError(
            str(file),
            f"a value in every row of {label}",
            f"none in row {missing.argmax() + 1}",
            f"fill in or drop the rows with missing values ({GAPS})",
        )


def _numbers(table: Table, name: str, label: str, dtype: str) -> np.ndarray:
    """One column as finite numbers of the dtype, or an error that names the first bad row."""
    file, column = table.file, table.frame[name]
    _refuse_gaps(file, column, label)
    problem = problem_of(tidy(column), table.dialect.decimal or ".")
    if problem is not None:
        raise InputError(str(file), f"numbers in {label}", problem.kind, ", ".join(problem.advice))
    if column.dtype == object and all(isinstance(v, int) for v in column):
        return numeric_array(file, column.to_numpy(), label, dtype)
    return numeric_array(file, tidy(column).to_numpy(), label, dtype)


def _target(table: Table, name: str, text_labels: bool, notes: list[str]) -> np.ndarray:
    """One target column: text as labels, whole numbers as int64, other numbers as float64."""
    from pandas.api import types

    file, label, column = table.file, f"the target column {name!r}", table.frame[name]
    is_text = text_labels or name in dict(text_columns(table.frame[[name]]))
    if is_text:
        _refuse_numbers_as_text(table, column, label)
        gaps, column = column.isna(), table.labels(name)
        words = [word for word in _WORDS if (column[gaps] == word).any()]
        if words:
            listed = " and ".join(map(repr, words))
            verb = "is a label" if len(words) == 1 else "are labels"
            notes.append(f"{listed} {verb} of {name!r}, not a gap")
    _refuse_gaps(file, column, label)
    if isinstance(column.dtype, types.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    column = tidy(column)
    if types.is_numeric_dtype(column):
        return _numeric_target(file, column.to_numpy(), label)
    labels: np.ndarray = column.to_numpy(dtype=object)
    wrong = [not isinstance(value, str) for value in labels]
    if any(wrong):
        row = wrong.index(True)
        got = f"{type(labels[row]).__name__} in row {row + 1}"
        advice = "turn the column into text or numbers"
        raise InputError(str(file), f"text or numbers in {label}", got, advice)
    return labels


def _refuse_numbers_as_text(table: Table, column: pd.Series, label: str) -> None:
    """Refuse numbers such as 1,234.50, which as text would be a class for each row."""
    advice = _advice_for_target(table, column)
    if advice:
        got = "numbers with commas or points in them"
        raise InputError(str(table.file), f"labels or plain numbers in {label}", got, advice)


def _advice_for_target(table: Table, column: pd.Series) -> str:
    cells = [cell for cell in column.dropna() if isinstance(cell, str)]
    return advice_for(cells, table.dialect.decimal or ".") if cells else ""


def _numeric_target(file: Path, values: np.ndarray, label: str) -> np.ndarray:
    if values.dtype.kind in "bi":
        return values.astype(np.int64)
    if values.dtype.kind == "u" and values.max() <= np.iinfo(np.int64).max:
        return values.astype(np.int64)
    return numeric_array(file, values, label, "float64")


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
        y = y.astype(str) if text_labels else _numeric_target(file, y, target)
    return Dataset(numeric_array(file, X, "X", dtype), y, _name(file), target_name=target)


def _npz_arrays(file: Path, names: Sequence[str]) -> list[np.ndarray]:
    """The named arrays of an npz file."""
    # Opened here, because np.load with a path leaves a damaged zip file open.
    with reading(file, "npz"), file.open("rb") as stream:
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
