"""A user's own table becomes two arrays, or one sentence saying which cell is in the way.

Nothing is guessed: text features and missing values are refused by column and row (and type, never
value), because silently encoded or filled they would change what the network learns.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FileError, InputError, InputTypeError, require
from ..files import as_path
from .dataset import Dataset
from .inputs import check_dtype

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".npz")


def load_table(
    path: str | os.PathLike[str],
    target: str | Sequence[str] | None = None,
    *,
    dtype: str = "float32",
) -> Dataset:
    """Load a table: CSV, TSV (each also `.gz`), Parquet or npz.

    CSV and TSV need a header row with a distinct name for every column. Empty cells, NA, null and
    nan count as missing. In an npz file, `X` holds the features and `target` names the array of
    targets.

    Parameters
    ----------
    path : str or path
        The file; its suffix says its format.
    target : str or sequence of str, optional
        The column to predict, or several numeric columns for a regression with several outputs.
        None only for npz, where it means "y".
    dtype : {"float32", "float64"}, default "float32"
        The dtype of X. Numbers too large for float32 are refused, not turned into infinity.

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
        The target does not exist, a feature is not numeric, a value is missing or not finite, a
        column name is missing or used twice, there are no rows or no features, or pandas or
        pyarrow is not installed.
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
    Dataset('rooms': X (2, 2) float32, y (2,) int64, 0 own test rows)
    """
    file = as_path("load_table", path)
    check_dtype("load_table", dtype, ("float32", "float64"))
    _check_target(target)
    suffix = _check_file(file)
    if suffix == ".npz":
        return _from_npz(file, "y" if target is None else target, dtype)
    return _from_frame(file, _read(file, suffix), target, dtype)


def load_features(
    path: str | os.PathLike[str],
    drop: Sequence[str] = (),
    *,
    columns: Sequence[str] | None = None,
    dtype: str = "float32",
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Load only the features of a table, to predict from: some columns, or all but those to drop.

    Parameters
    ----------
    path : str or path
        A table as `load_table` reads; of an npz file, the array `X`.
    drop : sequence of str, default ()
        Columns to leave out, such as the target; one that is not there is no error.
    columns : sequence of str, optional
        The columns to read, in this order; whatever the others hold is no error. An npz file has
        no names, so all of its X is read.
    dtype : {"float32", "float64"}, default "float32"
        The dtype of X.

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
    (array([[2., 3.]], dtype=float32), ('width', 'length'))
    """
    file = as_path("load_features", path)
    check_dtype("load_features", dtype, ("float32", "float64"))
    suffix = _check_file(file)
    if suffix == ".npz":
        (X,) = _npz_arrays(file, ["X"])
        _check_features(file, X)
        return _finite(file, X, "X", dtype), None
    frame = _read(file, suffix, columns)
    if columns is None:
        frame = frame.drop(columns=[name for name in drop if name in frame.columns])
    names = tuple(str(name) for name in frame.columns)
    return _feature_matrix(file, frame, names, dtype), names


def table_suffix(path: Path) -> str | None:
    """The ending that names the table's format, or None if it is not one of `SUFFIXES`."""
    return next((s for s in SUFFIXES if path.name.lower().endswith(s)), None)


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


def _check_file(file: Path) -> str:
    """Return the suffix of a file that exists, is not empty and has a known format."""
    suffix = table_suffix(file)
    if file.is_dir():
        got, advice = "a folder", "pass the path of a file"
    elif not file.exists():
        got, advice = "no such file", "check the path"
    elif suffix is None:
        ending = f"suffix {file.suffix!r}" if file.suffix else "no suffix"
        got, advice = ending, f"use one of {', '.join(SUFFIXES)}"
    elif file.stat().st_size == 0:
        got, advice = "an empty file", "write the table again"
    else:
        return suffix
    raise FileError(str(file), "a table", got, advice)


@contextmanager
def _reading(file: Path, kind: str) -> Iterator[None]:
    """Turn whatever a reader raises about a bad file into one FileError."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # Readers of damaged files raise errors of a dozen kinds.
        got = f"{type(error).__name__} ({' '.join(str(error).split())})"
        advice = "check that the file is whole and of this format"
        raise FileError(str(file), f"a readable {kind} file", got, advice) from error


def _read(file: Path, suffix: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """All columns, or those asked for in their order."""
    if suffix == ".parquet":
        frame = _read_parquet(file, columns)
    else:
        frame = _read_csv(file, suffix, columns)
    return frame if columns is None else frame[list(columns)]


def _read_csv(file: Path, suffix: str, columns: Sequence[str] | None) -> pd.DataFrame:
    pandas = require("pandas", "load_table", "data")
    options = {"sep": "\t" if suffix.startswith(".tsv") else ",", "encoding": "utf-8-sig"}
    with _reading(file, suffix[1:4].upper()):
        # pandas renames repeated and empty names and takes fields beyond the header for an index:
        # as plain text, the header is shown as it is and a longer first row is an error.
        top = pandas.read_csv(
            file, header=None, nrows=2, dtype=str, keep_default_na=False, **options
        )
        _check_names(file, top.iloc[0].tolist(), columns)
        # Whole columns at once: in chunks one column could get several types.
        return pandas.read_csv(file, low_memory=False, usecols=columns, **options)


def _read_parquet(file: Path, columns: Sequence[str] | None) -> pd.DataFrame:
    pandas = require("pandas", "load_table", "data")
    require("pyarrow", "load_table", "data")
    with _reading(file, "Parquet"):
        frame = pandas.read_parquet(file, engine="pyarrow")
        _check_names(file, frame.columns.tolist(), columns)
    return frame


def _check_names(file: Path, names: list[str], columns: Sequence[str] | None) -> None:
    """Each column has a name of its own, or at least each of those asked for."""
    if columns is not None:
        for wanted in columns:
            _check_known(file, "a column", wanted, names)
        names = [name for name in names if name in columns]
    if "" in names:
        raise InputError(
            str(file),
            "a name for every column",
            f"none for column {names.index('') + 1}",
            "name it or drop it (pandas writes row numbers so: use to_csv(index=False))",
        )
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        advice = "rename or drop one of them"
        raise InputError(str(file), "distinct column names", f"{twice[0]!r} twice", advice)


def _check_known(file: Path, kind: str, wanted: str, names: list[str]) -> None:
    """Refuse a name that is not there, and show what is."""
    if wanted in names:
        return
    close = difflib.get_close_matches(wanted, names)
    listed = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    advice = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    raise InputError(
        str(file),
        f"{kind} named {wanted!r}",
        "none of that name",
        f"{advice}it has {listed or 'none'}",
    )


def _from_frame(
    file: Path, frame: pd.DataFrame, target: str | Sequence[str] | None, dtype: str
) -> Dataset:
    names = [str(name) for name in frame.columns]
    if target is None:
        advice = f"pass the name of a column as target (it has {', '.join(names[:10])})"
        raise InputError(str(file), "a target column", "none", advice)
    targets = [target] if isinstance(target, str) else list(target)
    for wanted in targets:
        _check_known(file, "a column", wanted, names)
    features = [name for name in names if name not in targets]
    X = _feature_matrix(file, frame, features, dtype)
    if isinstance(target, str):
        y, target_name = _target(file, frame[target]), target
        return Dataset(X, y, _name(file), tuple(features), target_name)
    columns = [_numbers(file, frame[t], f"the target column {t!r}", "float64") for t in targets]
    return Dataset(X, np.stack(columns, axis=1), _name(file), tuple(features), tuple(targets))


def _feature_matrix(
    file: Path, frame: pd.DataFrame, names: Sequence[str], dtype: str
) -> np.ndarray:
    """The named columns as a finite matrix."""
    if not names:
        raise InputError(str(file), "a feature column", "only the target", "add features")
    if frame.empty:
        raise InputError(str(file), "at least one row", "none", "add rows below the header")
    X = np.empty((len(frame), len(names)), dtype)
    for j, name in enumerate(names):
        X[:, j] = _numbers(file, frame[name], f"the feature column {name!r}", dtype)
    return X


def _name(file: Path) -> str:
    return file.name[: -len(table_suffix(file) or "")]


def _present(file: Path, column: pd.Series, label: str) -> pd.Series:
    """The column as pandas' numbers if it has nothing else; an error if a value is missing."""
    missing = column.isna().to_numpy()
    if missing.any():
        raise InputError(
            str(file),
            f"a value in every row of {label}",
            f"none in row {missing.argmax() + 1}",
            "fill in or drop the rows with missing values",
        )
    # Whole numbers beyond 64 bits and decimals come as Python objects.
    if column.dtype == object and all(isinstance(v, int | float | Decimal) for v in column):
        return column.map(_as_float)
    return column


def _as_float(number: int | float | Decimal) -> float:
    try:
        return float(number)
    except OverflowError:
        return np.inf


def _numbers(file: Path, column: pd.Series, label: str, dtype: str) -> np.ndarray:
    """One column as finite numbers of the dtype, or an error that names the first bad row."""
    from pandas.api import types

    column = _present(file, column, label)
    if not types.is_numeric_dtype(column):
        row = _first_not_number(column)
        raise InputError(
            str(file),
            f"numbers in {label}",
            f"{type(column.iloc[row]).__name__} in row {row + 1}",
            "one-hot encode the column, turn it into numbers or drop it",
        )
    return _finite(file, column.to_numpy(), label, dtype)


def _first_not_number(column: pd.Series) -> int:
    """Where a column that is not numeric stops being so; 0 when no cell is a number."""
    from pandas.api import types

    if types.is_object_dtype(column) or types.is_string_dtype(column):
        import pandas

        # In a CSV, one word turns a whole column of numbers into text: find that word.
        wrong: np.ndarray = pandas.to_numeric(column, errors="coerce").isna().to_numpy()
        return int(wrong.argmax())
    return 0


def _target(file: Path, column: pd.Series) -> np.ndarray:
    """One target column: text as labels, whole numbers as int64, other numbers as float64."""
    from pandas.api import types

    label = f"the target column {column.name!r}"
    column = _present(file, column, label)
    if isinstance(column.dtype, types.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
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


def _numeric_target(file: Path, values: np.ndarray, label: str) -> np.ndarray:
    if values.dtype.kind in "bi":
        return values.astype(np.int64)
    if values.dtype.kind == "u" and values.max() <= np.iinfo(np.int64).max:
        return values.astype(np.int64)
    return _finite(file, values, label, "float64")


def _finite(file: Path, values: np.ndarray, label: str, dtype: str) -> np.ndarray:
    """The values in the dtype, all finite, or an error that names the first bad row."""
    with np.errstate(over="ignore"):
        numbers = values.astype(dtype, order="C")
    finite = np.isfinite(numbers)
    if not finite.all():
        row, *column = (int(i) for i in np.argwhere(~finite)[0])
        number = float(values[row, *column])
        got = "nan" if np.isnan(number) else "infinity" if np.isinf(number) else "a larger number"
        place = f"column {column[0] + 1} of {label}" if column else label
        raise InputError(
            str(file),
            f"finite numbers within {dtype} in {place}",
            f"{got} in row {row + 1}",
            "mend or drop the row, or scale the column",
        )
    return numbers


def _from_npz(file: Path, target: str | Sequence[str], dtype: str) -> Dataset:
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
        y = _numeric_target(file, y, target)
    return Dataset(_finite(file, X, "X", dtype), y, _name(file), target_name=target)


def _npz_arrays(file: Path, names: Sequence[str]) -> list[np.ndarray]:
    """The named arrays of an npz file."""
    # Opened here: given a path, np.load leaves a damaged zip file open.
    with _reading(file, "npz"), file.open("rb") as stream:
        archive: Any = np.load(stream, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise FileError(str(file), "an npz file", "an npy file", "write it with numpy.savez")
        with archive:
            for wanted in names:
                _check_known(file, "an array", wanted, archive.files)
            return [archive[name] for name in names]


def _check_features(file: Path, X: np.ndarray) -> None:
    """X alone, without targets that it must have as many rows as."""
    if X.ndim != 2 or 0 in X.shape:
        expected = "X of shape (n_rows, n_features) that is not empty"
        advice = "reshape the array and write it again"
        raise InputError(str(file), expected, f"shape {X.shape}", advice)
    _check_kind(file, "numbers", "X", X, "biuf")


def _check_kind(file: Path, what: str, label: str, array: np.ndarray, kinds: str) -> None:
    if array.dtype.kind not in kinds:
        advice = "convert it and write it again"
        raise InputError(str(file), f"{what} in {label}", f"dtype {array.dtype}", advice)
