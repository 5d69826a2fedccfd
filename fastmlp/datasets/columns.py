"""What a table's column contains, and advice for columns that are not numbers.

All columns of a table are checked before any is refused, so that one message lists them all.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import counted
from .dialect import advice_for, looks_like_number

if TYPE_CHECKING:
    import pandas as pd

GAPS = "empty cells, NA, None, null and nan are gaps"
A_NUMBER, A_DATE = "a number", "a date such as 2026-01-31"  # for `taken_as_text`
_LOOKED_AT = 1000  # number of texts in a column that are checked to find their kind
_DATE = re.compile(r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T]+\d{1,2}:.*)?\s*|\s*\d{1,2}:\d{2}.*")
# float32 has 24 binary digits. If rounding exceeds this fraction of the deviation, different values
# of a column may look the same to a network.
_ROUNDING = 2.0**-10
_LARGEST_EXACT = 2**53  # all integers up to this one are exact in float64


class Problem(NamedTuple):
    """Why a column cannot be used."""

    kind: str  # in words, without values
    advice: tuple[str, ...]


_ADVICE = {
    "text": "one-hot encode text (pandas.get_dummies)",
    "dates": "turn dates into numbers, such as days since the first",
    "gaps": f"fill gaps or drop their rows ({GAPS})",
}


def problem_of(column: pd.Series, decimal: str) -> Problem | None:
    """Why a column is not numbers, or None if it is."""
    from pandas.api import types

    missing = column.isna().to_numpy()
    gaps = ""
    if missing.any():
        first = int(missing.argmax()) + 1
        gaps = f"{counted(int(missing.sum()), 'gap')}, the first in row {first}"
    if missing.all():
        return Problem("nothing but gaps", (_ADVICE["gaps"],))
    if types.is_numeric_dtype(column):
        return Problem(gaps, (_ADVICE["gaps"],)) if gaps else None
    kind, advice = _kind_of(column[~missing], missing, decimal)
    if gaps:
        return Problem(f"{kind}, {gaps}", (advice, _ADVICE["gaps"]))
    return Problem(kind, (advice,))


def _kind_of(present: pd.Series, missing: np.ndarray, decimal: str) -> tuple[str, str]:
    """What the cells of a column without numbers are, in words, and what to do."""
    from pandas.api import types

    if types.is_datetime64_any_dtype(present) or types.is_timedelta64_dtype(present):
        return "dates or times", _ADVICE["dates"]
    if isinstance(present.dtype, types.CategoricalDtype):
        return _text(present)
    wrong = next((v for v in present if not isinstance(v, str)), None)
    if wrong is not None:
        name = type(wrong).__name__
        if name in ("date", "time", "datetime", "Timestamp"):
            return "dates or times", _ADVICE["dates"]
        return f"{name} objects", "turn them into numbers"
    cells = present.iloc[:_LOOKED_AT].tolist()
    if looks_like_dates(cells):
        return "dates or times", _ADVICE["dates"]
    written = advice_for(cells, decimal)
    if written:
        return "numbers with commas or points in them", written
    odd = not_numbers(present, missing)
    if odd is not None and not odd.n_cells:
        return "numbers as text", "turn text into numbers"
    if odd is not None:
        return f"numbers, but text in row {odd.row}", "mend the text between numbers"
    return _text(present)


def looks_like_dates(cells: list[str]) -> bool:
    """Whether texts, as far as they are looked at, are dates or times in any common form."""
    return all(map(_DATE.fullmatch, cells[:_LOOKED_AT]))


def are_mostly_dates(cells: list[str]) -> bool:
    """Whether more than half of the texts that are looked at are dates or times in any form."""
    some = cells[:_LOOKED_AT]
    return 2 * sum(_DATE.fullmatch(cell) is not None for cell in some) > len(some)


class Odd(NamedTuple):
    """Cells of a column that are not what most of its cells are.

    Attributes
    ----------
    n_cells : int
    row : int
        Of the first, from 1; 0 if there is none.
    """

    n_cells: int
    row: int


def not_numbers(present: pd.Series, missing: np.ndarray) -> Odd | None:
    """The texts among texts that are mostly numbers, in whatever form.

    Parameters
    ----------
    present : Series of str
        Without gaps.
    missing : ndarray of shape (n_rows,)
        Where there were some.

    Returns
    -------
    Odd or None
        None if half or more are no numbers.
    """
    import pandas

    is_odd = np.array(pandas.to_numeric(present, errors="coerce").isna())
    others = present[is_odd]
    numbers = {cell for cell in others.unique() if looks_like_number(cell)}
    is_odd[is_odd] = ~others.isin(numbers).to_numpy()
    return _odd(is_odd, missing)


def not_dates(present: pd.Series, missing: np.ndarray) -> Odd | None:
    """The texts among texts that are mostly dates of ISO 8601; as `not_numbers`."""
    import pandas

    times = pandas.to_datetime(present, format="ISO8601", utc=True, errors="coerce")
    return _odd(times.isna().to_numpy(), missing)


def taken_as_text(name: str, present: pd.Series, odd: Odd, kind: str) -> str:
    """What the user should know about a column of text that is mostly something else."""
    taken = f"{name!r} is taken as text with {counted(present.nunique(), 'different value')}"
    if not odd.n_cells:
        return f"{taken}, although each cell looks like {kind}: the file has them as text"
    cells = f"{odd.n_cells} of {counted(present.size, 'cell')} cannot be read as {kind}"
    return f"{taken}, because {cells} (the first in row {odd.row})"


def _odd(is_odd: np.ndarray, missing: np.ndarray) -> Odd | None:
    """Which of the cells that are present are odd, unless half or more are."""
    count = int(is_odd.sum())
    if 2 * count >= is_odd.size:
        return None
    # One word turns a whole column of numbers into text.
    return Odd(count, int(np.flatnonzero(~missing)[is_odd.argmax()]) + 1 if count else 0)


def _text(present: pd.Series) -> tuple[str, str]:
    kinds = counted(present.nunique(), "different value")
    return f"text, {kinds}", _ADVICE["text"]


def needs_float64(values: np.ndarray) -> np.ndarray:
    """Which columns (n, n_columns), or whether one (n,), would lose digits in float32.

    This happens if numbers are large compared with their deviation, such as times in milliseconds,
    or beyond the range of float32.
    """
    values = np.asarray(values, np.float64)
    with np.errstate(over="ignore"):
        deviation = values.std(axis=0)
    largest = np.abs(values).max(axis=0)
    varies = np.ptp(values, axis=0) > 0
    limit = float(np.finfo(np.float32).max)
    fine = (largest * 2.0**-24 <= deviation * _ROUNDING) | ~varies
    return np.asarray(~fine | (largest > limit))


def loses_integers(values: np.ndarray) -> bool:
    """Whether integers (n,) are so large that float64 cannot tell them apart."""
    low, high = int(values.min()), int(values.max())
    largest = max(abs(low), abs(high))
    if largest <= _LARGEST_EXACT or low == high:
        return False
    deviation = float((values.astype(object) - low).astype(np.float64).std())
    return largest * 2.0**-53 > deviation * _ROUNDING
