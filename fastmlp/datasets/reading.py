"""Reads tables into data frames: text in common dialects, and Parquet.

Errors in a file, its header or its encoding are reported here in one sentence.
"""

from __future__ import annotations

import difflib
import glob
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import FileError, InputError, require
from .dialect import (
    SEPARATORS,
    Dialect,
    encoding_of,
    find_separator,
    grouped_numbers,
    has_decimal_commas,
)

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".npz")
_MANY_FILES = "read several with `open_table`, or on the command line with --stream"
# In a column of labels these words are labels; only empty text is a gap.
_NO_LABEL = ("", "nan", "NaN", "NAN", "<NA>", "#N/A")


class Table(NamedTuple):
    """A table as a pandas frame, and how it was read."""

    file: Path
    frame: pd.DataFrame
    dialect: Dialect
    found: tuple[str, ...]  # what the reader detected, in sentences
    csv_options: dict[str, Any] | None = None  # None for Parquet

    @property
    def names(self) -> list[str]:
        return list(self.frame.columns)

    def labels(self, name: str) -> pd.Series:
        """A column as text, exactly as in the file; only empty cells are missing."""
        column = self.frame[name]
        if self.csv_options is None:
            return column.where(column.isna(), column.astype(str)).astype(object)
        if not column.isna().any() and name in dict(text_columns(self.frame[[name]])):
            return column.astype(object)
        pandas = require("pandas", "load_table")
        with reading(self.file, "text"):
            return pandas.read_csv(
                self.file, usecols=[name], dtype=str, keep_default_na=False, na_values=_NO_LABEL,
                **self.csv_options,
            )[name].astype(object)  # fmt: skip


def table_suffix(path: Path) -> str | None:
    """The suffix that tells the table's format, or None if it is not one of `SUFFIXES`."""
    return next((s for s in SUFFIXES if path.name.lower().endswith(s)), None)


def has_names(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that of a table whose columns have names, by its suffix."""
    suffix = table_suffix(Path(path))
    return suffix is not None and suffix != ".npz"


def is_text_table(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that of CSV or TSV, by its suffix."""
    return (table_suffix(Path(path)) or "").startswith((".csv", ".tsv"))


def check_file(file: Path) -> str:
    """Return the suffix of a file that exists, is not empty and has a known format."""
    suffix = table_suffix(file)
    if file.is_dir():
        got, advice = "a folder", f"pass the path of a file, or {_MANY_FILES}"
    elif glob.has_magic(str(file)) and not file.exists():
        got, advice = "a pattern", f"pass the path of a file, or {_MANY_FILES}"
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
def reading(file: Path, kind: str) -> Iterator[None]:
    """Turn any error of a reader about a bad file into a FileError."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except UnicodeDecodeError as error:
        raise FileError(
            str(file), f"a {kind} file in UTF-8", f"other bytes at place {error.start}",
            "save it as UTF-8 (in a spreadsheet: CSV UTF-8)",
        ) from error  # fmt: skip
    except PermissionError as error:
        got, advice = "no permission to read it", "change the permissions of the file"
        raise FileError(str(file), f"a readable {kind} file", got, advice) from error
    except Exception as error:  # Readers of damaged files raise errors of a dozen kinds.
        got = f"{type(error).__name__} ({' '.join(str(error).split())})"
        advice = "check that the file is whole and of this format"
        raise FileError(str(file), f"a readable {kind} file", got, advice) from error


def read(
    file: Path,
    suffix: str,
    dialect: Dialect,
    columns: Sequence[str] | None,
    targets: Sequence[str],
    texts: Sequence[str] = (),
) -> Table:
    """Read all columns, or the requested ones and the targets.

    Texts are columns that stay as CSV and TSV have them, even if all of their cells are numbers:
    "007" is not 7.
    """
    wanted = None if columns is None else list(dict.fromkeys([*columns, *targets]))
    if suffix == ".parquet":
        if any(dialect):
            raise InputError(
                str(file), "separator, decimal and thousands with CSV or TSV", "a Parquet file",
                "leave them out",
            )  # fmt: skip
        frame = read_parquet(file, wanted)
        return Table(file, frame if wanted is None else frame[wanted], Dialect(), ())
    return _read_csv(file, suffix, dialect, wanted, texts)


def header(file: Path, suffix: str, dialect: Dialect) -> tuple[list[str], Dialect, dict[str, Any]]:
    """The names in a text table's header, its dialect with the separator, options for pandas."""
    pandas = require("pandas", "load_table")
    kind = suffix[1:4].upper()
    with reading(file, kind):
        encoding = encoding_of(file)
        if dialect.separator is None:
            usual = "\t" if suffix.startswith(".tsv") else ","
            dialect = dialect._replace(separator=find_separator(file, encoding, usual))
        options = {"sep": dialect.separator, "encoding": encoding}
        # pandas renames repeated and empty names and takes fields beyond the header for an index:
        # as plain text, the header is shown as it is and a longer first row is an error.
        top = pandas.read_csv(
            file, header=None, nrows=2, dtype=str, keep_default_na=False, **options
        )
    return top.iloc[0].tolist(), dialect, options


def _read_csv(
    file: Path, suffix: str, asked: Dialect, columns: Sequence[str] | None, texts: Sequence[str]
) -> Table:
    pandas = require("pandas", "load_table")
    names, dialect, options = header(file, suffix, asked)
    _check_names(file, names, columns)

    def read(decimal: str) -> pd.DataFrame:
        with reading(file, suffix[1:4].upper()):
            # Whole columns: read in chunks, a column could get several types.
            frame: pd.DataFrame = pandas.read_csv(
                file, low_memory=False, usecols=columns, decimal=decimal,
                dtype=dict.fromkeys(texts, str), **options,
            )  # fmt: skip
            return frame

    frame = read(dialect.decimal or ".")
    if asked.decimal is None and dialect.separator != ",":
        comma = any(has_decimal_commas(cells) for _, cells in text_columns(frame))
        dialect = dialect._replace(decimal="," if comma else ".")
        frame = read(",") if comma else frame
    if dialect.thousands is not None:
        _remove_thousands(frame, texts, dialect.thousands, dialect.decimal or ".")
    unusual = dialect.separator != ("\t" if suffix.startswith(".tsv") else ",")
    unusual |= dialect.decimal == ","
    found = (dialect.described(),) if unusual and asked != dialect else ()
    return Table(file, frame, dialect, found, options)


def refuse_empty(table: Table, features: Sequence[str]) -> None:
    """Refuse a table without features or rows."""
    if not features:
        raise InputError(str(table.file), "a feature column", "only the target", "add features")
    if table.frame.empty:
        raise InputError(str(table.file), "at least one row", "none", "add rows below the header")


def text_columns(frame: pd.DataFrame) -> Iterator[tuple[str, list[str]]]:
    """Columns in which all cells except gaps are text, with those cells."""
    from pandas.api import types

    for name in frame.columns:
        if types.is_object_dtype(frame[name]) or types.is_string_dtype(frame[name]):
            cells = frame[name].dropna().tolist()
            if cells and all(isinstance(cell, str) for cell in cells):
                yield name, cells


def _remove_thousands(
    frame: pd.DataFrame, texts: Sequence[str], thousands: str, decimal: str
) -> None:
    """Convert text columns that hold only numbers; pandas would also convert dates."""
    import pandas

    for name, cells in list(text_columns(frame)):
        if name not in texts and grouped_numbers(cells, thousands, decimal):
            text = frame[name].str.replace(thousands, "", regex=False)
            frame[name] = pandas.to_numeric(text.str.replace(decimal, ".", regex=False))


def read_parquet(file: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    pandas = require("pandas", "load_table")
    require("pyarrow", "load_table")
    with reading(file, "Parquet"):
        frame: pd.DataFrame = pandas.read_parquet(file, engine="pyarrow")
        frame.columns = frame.columns.map(str)  # from pandas, names may be numbers
        _check_names(file, frame.columns.tolist(), columns)
    return frame


def _check_names(file: Path, names: list[str], columns: Sequence[str] | None) -> None:
    """Refuse missing and repeated column names, at least among the requested columns."""
    if columns is not None:
        for wanted in columns:
            check_known(file, "a column", wanted, names)
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


def check_known(file: Path, kind: str, wanted: str, names: list[str]) -> None:
    """Refuse a name that does not exist, and list those that do."""
    if wanted in names:
        return
    close = difflib.get_close_matches(wanted, names)
    listed = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    advice = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    if len(names) == 1:
        inside = [mark for mark in SEPARATORS if mark in names[0]]
        if inside:
            shown = " or ".join(f"{SEPARATORS[mark]} ({mark!r})" for mark in inside)
            advice += f"if a {shown} separates the columns, pass it as separator (--separator); "
    raise InputError(
        str(file),
        f"{kind} named {wanted!r}",
        "none of that name",
        f"{advice}it has {listed or 'none'}",
    )
