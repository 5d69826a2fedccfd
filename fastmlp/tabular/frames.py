"""Reads tables of any kind as columns: arrays, frames of pandas, polars and Arrow, and dicts.

A column becomes numbers with nan, texts with None, or times; what it means is decided elsewhere.
"""

from __future__ import annotations

import datetime
import numbers
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError, InputTypeError, counted
from ..inputs import columns
from ..inputs.tables import is_sparse

NUMBERS, TEXTS, TIMES = "numbers", "texts", "times"
_REAL = (numbers.Real, Decimal)
DURATIONS = (datetime.timedelta, np.timedelta64)
_DATES = (datetime.date, datetime.datetime, np.datetime64)  # pandas' Timestamp is a datetime
_DECIMALS = re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]*")
_ADVICE = "pass a data frame or a matrix with one row for each sample"


class Column(NamedTuple):
    """Values of a column.

    Attributes
    ----------
    kind : {"numbers", "texts", "times"}
    values : ndarray of shape (n,)
        Numbers of any type, with nan; objects of text with None; or datetime64[us] with NaT.
    """

    kind: str
    values: np.ndarray


class Frame(NamedTuple):
    """A table.

    Attributes
    ----------
    names : tuple of str or None
        None for arrays.
    columns : list of Column
        With all rows of what was read.
    n_rows : int
    chosen : ndarray of shape (n_rows,) or None
        Numbers of the rows of the table in those columns; None means all, in order.
    """

    names: tuple[str, ...] | None
    columns: list[Column]
    n_rows: int
    chosen: np.ndarray | None = None

    def of_rows(self, rows: np.ndarray | None) -> Frame:
        """The same columns with some rows only, which are not copied."""
        return self if rows is None else Frame(self.names, self.columns, rows.size, rows)

    def column(self, place: int) -> Column:
        """The chosen rows of a column."""
        kind, values = self.columns[place]
        return Column(kind, values if self.chosen is None else values[self.chosen])


def read(where: str, X: Any, as_texts: frozenset[Any] = frozenset()) -> Frame:
    """A table of any kind as columns.

    Parameters
    ----------
    where : str
        For errors.
    X : array, frame of pandas, polars or pyarrow, mapping of names to columns, or list of rows
    as_texts : set of str or int
        Names of the columns whose numbers are names of categories, or their places.
    """
    if is_sparse(X):
        raise InputTypeError(where, "X as a table", "a sparse matrix", "pass X.toarray()")
    names = names_in(where, X)
    parts = list(X.values()) if isinstance(X, Mapping) else _parts(where, X)
    found = [
        _column(f"{where}, column {name!r}", part, name in as_texts)
        for name, part in zip(names or range(len(parts)), parts, strict=True)
    ]
    sizes = {column.values.size for column in found}
    if len(sizes) != 1:
        got = "none" if not sizes else "columns of several lengths"
        raise InputError(where, "a table with columns", got, _ADVICE)
    return Frame(names, found, sizes.pop())


def names_in(where: str, X: Any) -> tuple[str, ...] | None:
    """Names of a table's columns as text, if it has any; they may be whole numbers."""
    if isinstance(X, Mapping):
        return tuple(map(str, X))
    return columns.names_of(where, X) or columns.whole_number_names(X)


def are_places(names: tuple[str, ...]) -> bool:
    """Whether names are 0, 1, 2 and so on, which pandas gives to columns without names."""
    return names == tuple(map(str, range(len(names))))


def in_order(where: str, frame: Frame, names: tuple[str, ...] | None, n_columns: int) -> Frame:
    """A frame with the columns of training, in their order."""
    if names is not None and frame.names is not None:
        places = columns.places(where, frame.names, names, what="X with the")
        if places is not None:
            chosen = [frame.columns[place] for place in places]
            return Frame(names, chosen, frame.n_rows, frame.chosen)
    if len(frame.columns) != n_columns:
        raise InputError(
            where, f"X with {counted(n_columns, 'column')}, as in training",
            f"{len(frame.columns)}", "pass the columns of training",
        )  # fmt: skip
    return frame


def _parts(where: str, X: Any) -> Sequence[Any]:
    """The columns of a table, each something array-like."""
    if hasattr(X, "iloc"):
        return [X.iloc[:, i] for i in range(X.shape[1])]
    if hasattr(X, "get_columns"):  # polars
        return list(X.get_columns())
    if hasattr(X, "itercolumns"):  # pyarrow
        return list(X.itercolumns())
    try:
        rows = np.asarray(X)
    except ValueError:
        rows = np.empty(0)
    if rows.dtype.kind in "UST" and not isinstance(X, np.ndarray):  # NumPy made texts of numbers
        rows = np.array(X, object)
    if rows.ndim != 2:
        got = f"shape {rows.shape}" if rows.ndim else type(X).__name__
        raise InputTypeError(where, "X as a table of two dimensions", got, _ADVICE)
    return list(rows.T)


def _column(where: str, values: Any, as_text: bool) -> Column:
    is_category = as_text or "categor" in str(getattr(values, "dtype", "")).lower()
    found = _array(values)
    if found.ndim != 1:
        raise InputError(where, "one value for each row", f"shape {found.shape}", _ADVICE)
    if is_category:
        return Column(TEXTS, _texts(found))
    if found.dtype.kind == "M":
        return Column(TIMES, found.astype("datetime64[us]"))
    if found.dtype.kind == "m":
        return Column(NUMBERS, _seconds(found))
    if found.dtype.kind in "iuf":
        return Column(NUMBERS, found)
    if found.dtype.kind == "b":
        return Column(TEXTS, _texts(found))
    if found.dtype.kind in "OUTS":
        return _of_objects(where, found)
    raise InputTypeError(
        where, "numbers, texts or dates", f"values of type {found.dtype}", "convert the column"
    )


def _array(values: Any) -> np.ndarray:
    """A column of any library as an array, without losing which values are missing."""
    dtype: Any = getattr(values, "dtype", None)
    if hasattr(values, "dictionary_encode"):  # pyarrow
        values = values.combine_chunks() if hasattr(values, "combine_chunks") else values
        if hasattr(values, "dictionary_decode"):
            values = values.dictionary_decode()
        return np.asarray(values.to_numpy(zero_copy_only=False))
    if hasattr(values, "to_physical"):  # polars
        if str(dtype).startswith(("Categorical", "Enum")):
            return np.array(values.to_list(), object)
        if str(dtype) in ("Boolean", "Null", "Decimal") and values.null_count():
            return np.array(values.to_list(), object)
        return np.asarray(values.to_numpy())
    if getattr(dtype, "tz", None) is not None:
        times = getattr(values, "dt", values)  # an index has no `dt`
        in_utc = times.tz_convert("UTC")
        values = getattr(in_utc, "dt", in_utc).tz_localize(None)
    if hasattr(values, "to_numpy") and hasattr(dtype, "kind") and not isinstance(dtype, np.dtype):
        kind = dtype.kind if hasattr(dtype, "na_value") else "O"
        if kind in "iuf":
            return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))
        return np.asarray(values.to_numpy(dtype=object))
    found = np.asarray(values)
    if found.dtype.kind in "US" and not isinstance(values, np.ndarray):
        return np.array(values, object)  # NumPy made texts of numbers
    return found


def _of_objects(where: str, values: np.ndarray) -> Column:
    """Objects as numbers or times if all are, else as texts."""
    present = [value for value in values.tolist() if not is_missing(value)]
    if all(isinstance(value, _REAL) and not isinstance(value, bool) for value in present):
        found = [np.nan if is_missing(value) else float(value) for value in values.tolist()]
        return Column(NUMBERS, np.array(found, np.float64))
    if present and all(isinstance(value, DURATIONS) for value in present):
        spans = [np.nan if is_missing(v) else seconds_of(v) for v in values.tolist()]
        return Column(NUMBERS, np.array(spans, np.float64))
    if all(isinstance(value, _DATES) for value in present):
        times = [np.datetime64("NaT") if is_missing(v) else _naive(v) for v in values.tolist()]
        return Column(TIMES, np.array(times, "datetime64[us]"))
    for value in present:
        if isinstance(value, list | dict | set | np.ndarray):
            raise InputTypeError(
                where, "numbers, texts or dates", type(value).__name__, "convert the column"
            )
    return Column(TEXTS, _texts(values))


def seconds_of(value: Any) -> float:
    """A time difference as a number."""
    if isinstance(value, np.timedelta64):
        return float(value / np.timedelta64(1, "us")) * 1e-6
    return float(value / datetime.timedelta(microseconds=1)) * 1e-6


def time_of(value: Any) -> datetime.datetime | None:
    """A date or time of any kind, in UTC without a time zone; None for anything else."""
    if isinstance(value, np.datetime64):
        value = value.astype("M8[us]").item()
    if isinstance(value, datetime.datetime):
        if value.tzinfo is not None:
            value = value.astimezone(datetime.UTC).replace(tzinfo=None)
        return value
    if isinstance(value, datetime.date):
        return datetime.datetime(value.year, value.month, value.day)
    return None


def _naive(value: Any) -> np.datetime64:
    return np.datetime64(time_of(value), "us")


def _seconds(values: np.ndarray) -> np.ndarray:
    found = values.astype("timedelta64[us]").astype(np.float64) * 1e-6
    found[np.isnat(values)] = np.nan
    return found


def is_missing(value: Any) -> bool:
    """Whether a value is None, nan, NaT or pandas' NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    kinds = float | np.floating | np.datetime64 | np.timedelta64
    return bool(isinstance(value, kinds) and value != value)


def text_of(value: Any) -> str:
    """The name of a category: 3, 3.0 and "3" are the same, and so are "a" and the bytes b"a"."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return str(value)


def shortest_number(name: str) -> str:
    """A text without zeros after its decimals, if it is a number; other texts, as 007, as they are.

    Whatever reads a file may have added them: "1.0" for 1, if there are gaps between whole numbers.
    """
    return name.rstrip("0").rstrip(".") if _DECIMALS.fullmatch(name) else name


def _texts(values: np.ndarray) -> np.ndarray:
    """Names of categories (n,), None for what is missing."""
    if values.dtype.kind == "M":
        values = values.astype("M8[us]")
    is_short = values.dtype.kind == "f" and values.itemsize < np.dtype(np.float64).itemsize
    every = list(values) if is_short else values.tolist()  # 0.1 of float32 is 0.1
    found = np.empty(values.size, object)
    found[:] = [None if is_missing(value) else text_of(value) for value in every]
    return found


def as_texts(column: Column) -> Column:
    """A column as names of categories."""
    return column if column.kind == TEXTS else Column(TEXTS, _texts(column.values))
