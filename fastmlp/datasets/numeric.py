"""Converts columns to finite numbers of one type, or raises an error that names the position.

The input may include integers of any length and Parquet decimals.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .columns import loses_integers, needs_float64

if TYPE_CHECKING:
    import pandas as pd


def as_float(number: int | float | Decimal) -> float:
    try:
        return float(number)
    except OverflowError:
        return np.inf


def tidy(column: pd.Series) -> pd.Series:
    """The column as pandas numbers if it contains only numbers and gaps."""
    present = column.dropna() if column.dtype == object else column
    # Integers beyond 64 bits and decimals are Python objects.
    if column.dtype == object and all(isinstance(v, int | float | Decimal) for v in present):
        return column.map(as_float, na_action="ignore").astype(float)
    return column


def floats(values: Any) -> Any:
    """Python integers of any length as float64; everything else unchanged."""
    if isinstance(values, np.ndarray) and values.dtype == object:
        return np.array([as_float(value) for value in values])
    return as_float(values) if isinstance(values, int) else values


def numeric_array(file: Path, values: np.ndarray, label: str, dtype: str) -> np.ndarray:
    """The values in the dtype, finite and distinct, or an error with the first bad position."""
    with np.errstate(over="ignore"):
        numbers = floats(values).astype(dtype, order="C")
    finite = np.isfinite(numbers)
    if not finite.all():
        row, *column = (int(i) for i in np.argwhere(~finite)[0])
        number = float(floats(values[row, *column]))
        got = "nan" if np.isnan(number) else "infinity" if np.isinf(number) else "a larger number"
        place = f"column {column[0] + 1} of {label}" if column else label
        raise InputError(
            str(file),
            f"finite numbers within {dtype} in {place}",
            f"{got} in row {row + 1}",
            "mend or drop the row, or scale the column",
        )
    _refuse_lost_digits(file, values, numbers, label)
    return numbers


def _refuse_lost_digits(file: Path, values: np.ndarray, numbers: np.ndarray, label: str) -> None:
    """Refuse columns whose differences the type of `numbers` cannot hold."""
    if not numbers.size:
        return
    given, made = values.reshape(len(values), -1), numbers.reshape(len(numbers), -1)
    lost = np.zeros(made.shape[1], bool)
    if numbers.dtype == np.float32 and values.dtype.kind in "iuf":
        lost = needs_float64(given)
    advice = "read it as float64"
    if not lost.any() and values.dtype.kind in "iuO":
        lost = np.array([loses_integers(column) for column in given.T])
        advice = "subtract the smallest number from all, or drop the column"
    if lost.any():
        j = int(lost.argmax())
        raise InputError(
            str(file),
            f"a deviation that {numbers.dtype.name} can hold in "
            + (f"column {j + 1} of {label}" if values.ndim > 1 else label),
            "one too small beside such large numbers",
            advice,
        )
