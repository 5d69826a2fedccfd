"""Reads single columns of a table: the target, as labels or numbers, and columns of numbers.

What cannot be used is refused, naming the column and the first bad row but never the value.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, InputTypeError
from .columns import A_NUMBER, GAPS, not_numbers, problem_of, taken_as_text
from .dialect import advice_for
from .numeric import numeric_array, tidy
from .reading import Table, check_known, text_columns

if TYPE_CHECKING:
    import pandas as pd

# In a column of labels these words are labels; the user is told so.
_WORDS = ("None", "NA", "N/A", "n/a", "NULL", "null", "#NA")


def _refuse_gaps(file: Path, column: pd.Series, label: str) -> None:
    missing = column.isna().to_numpy()
    if missing.any():
        raise InputError(
            str(file),
            f"a value in every row of {label}",
            f"none in row {missing.argmax() + 1}",
            f"fill in or drop the rows with missing values ({GAPS})",
        )


def check_target(target: str | Sequence[str] | None) -> None:
    """Refuse anything but one name, or several different ones; None is refused later."""
    if target is None or isinstance(target, str):
        return
    names = list(target) if isinstance(target, Sequence) else [target]
    if not all(isinstance(name, str) for name in names):
        got = type(target).__name__ if len(names) < 2 else "names of other types"
        raise InputTypeError("load_table", "target as text or a list of text", got, "name columns")
    if not names or len(set(names)) < len(names):
        got = f"{len(names)} names, {len(set(names))} of them different"
        raise InputError("load_table", "one or more different targets", got, "name each once")


def check_dropped(where: str, targets: Sequence[str], drop: Sequence[str]) -> None:
    """Refuse targets that are to be dropped."""
    for name in drop:
        if name in targets:
            expected = f"the target {name!r} to be kept"
            raise InputError(where, expected, "it among the columns to drop", "leave one out")


def targets_and_features(
    table: Table, target: Any, columns: Sequence[str] | None, drop: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The names of targets and features, all of which the table has."""
    if target is None:
        advice = f"pass the name of a column as target (it has {', '.join(table.names[:10])})"
        raise InputError(str(table.file), "a target column", "none", advice)
    targets = [target] if isinstance(target, str) else list(target)
    for wanted in (*targets, *drop):
        check_known(table.file, "a column", wanted, table.names)
    check_dropped(str(table.file), targets, drop)
    left = [name for name in table.names if name not in targets and name not in drop]
    return targets, left if columns is None else list(columns)


def targets_of(table: Table, target: Any, text_labels: bool, notes: list[str]) -> np.ndarray:
    """One target column (n,), or several columns of numbers (n, n_targets)."""
    if isinstance(target, str):
        return _target_of(table, target, text_labels, notes)
    return np.stack(
        [numbers_of(table, t, f"the target column {t!r}", "float64") for t in target], axis=1
    )


def numbers_of(table: Table, name: str, label: str, dtype: str) -> np.ndarray:
    """One column as finite numbers of the dtype, or an error that names the first bad row."""
    file, column = table.file, table.frame[name]
    _refuse_gaps(file, column, label)
    problem = problem_of(tidy(column), table.dialect.decimal or ".")
    if problem is not None:
        raise InputError(str(file), f"numbers in {label}", problem.kind, ", ".join(problem.advice))
    if column.dtype == object and all(isinstance(v, int) for v in column):
        return numeric_array(file, column.to_numpy(), label, dtype)
    return numeric_array(file, tidy(column).to_numpy(), label, dtype)


def _target_of(table: Table, name: str, text_labels: bool, notes: list[str]) -> np.ndarray:
    """One target column: text as labels, whole numbers as int64, other numbers as float64."""
    from pandas.api import types

    file, label, column = table.file, f"the target column {name!r}", table.frame[name]
    is_text = text_labels or name in dict(text_columns(table.frame[[name]]))
    if is_text:
        refuse_numbers_as_text(table, column, label)
        gaps, present = column.isna(), column.dropna()
        odd = None if text_labels else not_numbers(present, gaps.to_numpy())
        if odd is not None and odd.n_cells:
            notes.append(taken_as_text(name, present, odd, A_NUMBER))
        column = table.labels(name)
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
        return numeric_target(file, column.to_numpy(), label)
    labels: np.ndarray = column.to_numpy(dtype=object)
    wrong = [not isinstance(value, str) for value in labels]
    if any(wrong):
        row = wrong.index(True)
        got = f"{type(labels[row]).__name__} in row {row + 1}"
        advice = "turn the column into text or numbers"
        raise InputError(str(file), f"text or numbers in {label}", got, advice)
    return labels


def refuse_numbers_as_text(table: Table, column: pd.Series, label: str) -> None:
    """Refuse numbers such as 1,234.50, which as text would be a class for each row."""
    advice = grouping_advice(table, column)
    if advice:
        got = "numbers with commas or points in them"
        raise InputError(str(table.file), f"labels or plain numbers in {label}", got, advice)


def grouping_advice(table: Table, column: pd.Series) -> str:
    """What to do about numbers such as 1,234.50 among texts, or nothing."""
    cells = [cell for cell in column.dropna() if isinstance(cell, str)]
    return advice_for(cells, table.dialect.decimal or ".") if cells else ""


def numeric_target(file: Path, values: np.ndarray, label: str) -> np.ndarray:
    """Whole numbers as int64, others as float64."""
    if values.dtype.kind in "bi":
        return values.astype(np.int64)
    if values.dtype.kind == "u" and values.max() <= np.iinfo(np.int64).max:
        return values.astype(np.int64)
    return numeric_array(file, values, label, "float64")
