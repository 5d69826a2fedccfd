"""Loads a user's table as it is: numbers, texts, categories and dates, with gaps.

Only tables that are certainly read wrongly are refused, such as numbers with a thousands separator,
which as text would become one category per row.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..datasets.columns import (
    A_DATE,
    A_NUMBER,
    are_mostly_dates,
    looks_like_dates,
    not_dates,
    not_numbers,
    taken_as_text,
)
from ..datasets.dialect import Dialect
from ..datasets.reading import Table, check_file, read, refuse_empty, text_columns
from ..datasets.tables import name_of
from ..datasets.target import (
    check_target,
    refuse_numbers_as_text,
    targets_and_features,
    targets_of,
)
from ..errors import InputError
from ..io.files import as_path
from .frames import TEXTS, TIMES

if TYPE_CHECKING:
    import pandas as pd

_DECIMAL_COMMA = re.compile(r"^([+-]?\d+),(\d+)$")


@dataclass(frozen=True, eq=False)
class MixedTable:
    """A table with columns of any kind.

    Attributes
    ----------
    frame : DataFrame of shape (n_rows, n_features)
        Features; texts that are dates in the form of ISO 8601 have become dates.
    y : ndarray of shape (n_rows,) or (n_rows, n_targets)
        Labels or numbers.
    name : str
        A short name for reports.
    target_name : str or tuple of str
        Of y.
    notes : tuple of str
        What was detected or decided, each as a phrase for the user.
    """

    frame: pd.DataFrame
    y: np.ndarray
    name: str
    target_name: str | tuple[str, ...]
    notes: tuple[str, ...]


class Training(NamedTuple):
    """How a model's training data were read.

    Attributes
    ----------
    kinds : dict of str to {"numbers", "texts", "times", "truth", "nothing"}
        The kind of each column, by name; "truth" for texts that are True and False, however a file
        spells them.
    has_text_labels : bool
        Whether the target is text even where all of it looks like numbers.
    """

    kinds: dict[str, str]
    has_text_labels: bool


def load_mixed(
    path: str | os.PathLike[str],
    target: str | Sequence[str] | None,
    *,
    drop: Sequence[str] = (),
    training: Training | None = None,
    **dialect: str | None,
) -> MixedTable:
    """Load a table with columns of any kind, and its target.

    Parameters
    ----------
    path : str or path
        CSV, TSV or Parquet.
    target : str or sequence of str
        What to predict.
    drop : sequence of str
        Columns to leave out.
    training : Training, optional
        What columns and labels were in training, so that they are read in the same way.
    **dialect : str or None
        `separator`, `decimal` and `thousands` of CSV and TSV, as for `load_table`.

    Raises
    ------
    InputError, FileError
        As `load_table`.
    """
    check_target(target)
    named = [target] if isinstance(target, str) else list(target or ())
    table = _table(path, training, named, dialect)
    columns = None if training is None else list(training.kinds)
    targets, features = targets_and_features(table, target, columns, drop)
    frame, notes = _frame(table, features, training)
    y = targets_of(table, target, training is not None and training.has_text_labels, notes)
    target_name = target if isinstance(target, str) else tuple(targets)
    return MixedTable(frame, y, name_of(table.file), target_name, tuple(notes))


def load_mixed_features(
    path: str | os.PathLike[str], training: Training, **dialect: str | None
) -> pd.DataFrame:
    """Load only the columns of training; arguments as for `load_mixed`."""
    return _frame(_table(path, training, (), dialect), list(training.kinds), training)[0]


def _table(
    path: str | os.PathLike[str],
    training: Training | None,
    targets: Sequence[str],
    dialect: Mapping[str, str | None],
) -> Table:
    file = as_path("load_table", path)
    written = Dialect(**dialect).checked("load_table")
    if training is None:
        return read(file, check_file(file), written, None, targets)
    texts = [name for name, kind in training.kinds.items() if kind == TEXTS]
    texts += targets if training.has_text_labels and len(targets) == 1 else []
    return read(file, check_file(file), written, list(training.kinds), targets, texts)


def _frame(
    table: Table, features: Sequence[str], training: Training | None
) -> tuple[pd.DataFrame, list[str]]:
    """The features, read as in training or as what they look like, and notes about them."""
    refuse_empty(table, features)
    notes = list(table.found)
    kinds = None if training is None else training.kinds
    return _with_kinds(table, features, kinds, notes), notes


def _with_kinds(
    table: Table, names: Sequence[str], kinds: Mapping[str, str] | None, notes: list[str]
) -> pd.DataFrame:
    """The named columns, read as in training or, before that, as what they look like."""
    frame = table.frame[list(names)].copy()
    texts = dict(text_columns(frame))
    for name in texts:
        if kinds is None:
            frame[name] = _text_or_dates(table, name, texts[name], notes)
        elif kinds[name] == TIMES:
            frame[name] = _dates(table, name)
        elif kinds[name] == TEXTS:
            frame[name] = _names(table, name)
    return frame


def _text_or_dates(table: Table, name: str, cells: list[str], notes: list[str]) -> pd.Series:
    """A column of text, or of the dates that it holds."""
    column = table.frame[name]
    missing = column.isna().to_numpy()
    present = column[~missing]
    if looks_like_dates(cells):
        try:
            return _from_iso(column)
        except ValueError:
            pass
    if are_mostly_dates(cells):
        odd = not_dates(present, missing)
        notes.append(
            f"{name!r} is read as text; to have dates, write them as 2026-01-31"
            if odd is None
            else taken_as_text(name, present, odd, A_DATE)
        )
        return column
    refuse_numbers_as_text(table, column, f"the column {name!r}")
    odd = not_numbers(present, missing)
    if odd is not None:
        notes.append(taken_as_text(name, present, odd, A_NUMBER))
    return _names(table, name)


def _names(table: Table, name: str) -> pd.Series:
    """A column of text as names of categories: those that are numbers have a decimal point."""
    column = table.frame[name].astype(object)
    if table.dialect.decimal != ",":
        return column
    return column.str.replace(_DECIMAL_COMMA, r"\1.\2", regex=True)


def _from_iso(column: pd.Series) -> pd.Series:
    """Texts as times, in UTC without a time zone."""
    import pandas

    return pandas.to_datetime(column, format="ISO8601", utc=True).dt.tz_localize(None)


def _dates(table: Table, name: str) -> pd.Series:
    """A column of text as dates, which it was in training."""
    try:
        return _from_iso(table.frame[name])
    except ValueError:
        raise InputError(
            str(table.file), f"dates in the column {name!r}, as in training", "other text",
            "write them as 2026-01-31",
        ) from None  # fmt: skip
