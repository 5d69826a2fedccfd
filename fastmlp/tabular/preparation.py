"""What is learnt about the columns of a table, and how they become the inputs of a network.

Numbers are centred by their median, scaled by their quartiles and softly clipped; categories become
one column each if there are few, and numbers for an embedding if there are many.
"""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from . import frames
from .frames import NUMBERS, TEXTS, TIMES, Column, Frame

HUGE = 1e300  # larger numbers count as this one
_TRUTH = {"False": 0, "True": 1}
CLIP = 3.0  # no prepared number is farther from 0
_DAY = 86_400.0
# What may matter about a time, from days since 1970 and whole days as datetime64[D].
_PARTS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "elapsed": lambda days, _: days,
    "month": lambda _, whole: (whole.astype("M8[M]").astype(int) % 12).astype(np.float64),
    "day of year": lambda _, whole: (whole - whole.astype("M8[Y]")).astype(np.float64),
    "weekday": lambda _, whole: (whole.astype(int) + 3) % 7 * 1.0,
    "hour": lambda days, _: (days - np.floor(days)) * 24.0,
}
# The same of one time, from days since 1970 and a datetime.
PARTS_OF_ONE: dict[str, Callable[[float, datetime.datetime], float]] = {
    "elapsed": lambda days, _: days,
    "month": lambda _, time: time.month - 1,
    "day of year": lambda _, time: time.timetuple().tm_yday - 1,
    "weekday": lambda _, time: time.weekday(),
    "hour": lambda days, _: (days - math.floor(days)) * 24.0,
}
_EPOCH, _MICROSECOND = datetime.datetime(1970, 1, 1), datetime.timedelta(microseconds=1)


def days_of(time: datetime.datetime) -> float:
    """Days since 1970 of a time without a time zone."""
    return (time - _EPOCH) // _MICROSECOND / (1e6 * _DAY)


class Layout(NamedTuple):
    """The columns of a prepared table: numbers, then flags, then numbers of categories.

    Attributes
    ----------
    n_numbers, n_flags, n_codes : int
        Columns of each kind.
    n_levels : int
        Categories of all columns of codes together; a column's numbers follow those of the one
        before, each beginning with one for what is missing or unknown.
    unknown : tuple of int
        The first number of each.
    """

    n_numbers: int
    n_flags: int
    n_codes: int
    n_levels: int
    unknown: tuple[int, ...]

    @property
    def n_columns(self) -> int:
        """All columns."""
        return self.n_numbers + self.n_flags + self.n_codes


def is_truth(levels: Sequence[str]) -> bool:
    """Whether categories are True and False."""
    return bool(levels) and set(levels) <= set(_TRUTH)


class Levels(dict[str | None, int]):
    """Numbers of categories, from 1; what is missing or unknown has 0.

    A name that is not there counts as another spelling of a number or truth value that is: files
    have 1.0 for the category 1 where a cell of the column is empty.

    Parameters
    ----------
    levels : sequence of str
    """

    def __init__(self, levels: Sequence[str]) -> None:
        super().__init__((level, number) for number, level in enumerate(levels, 1))
        self[None] = 0
        shortest = Counter(map(frames.shortest_number, levels))
        for number, level in enumerate(levels, 1):
            short = frames.shortest_number(level)
            if shortest[short] == 1:  # beside 1.00, 1.0 leaves open which one 1 is
                self.setdefault(short, number)
            if is_truth(levels):  # which files have as 0 and 1, too, and in any case
                others = (f"{_TRUTH[level]}", level.lower(), level.upper())
                self.update(dict.fromkeys(others, number))

    def __missing__(self, name: str) -> int:
        return self.get(frames.shortest_number(name), 0)


@dataclass
class ColumnPlan:
    """What is done with one column.

    Attributes
    ----------
    kind : {"numbers", "texts", "times", "nothing"}
    parts : tuple of str
        Those of a time that vary.
    has_missing : bool
        Whether some were missing in training, for which numbers and times have a flag.
    levels : tuple of str
        The categories of training, sorted.
    as_codes : bool
        Whether they become numbers for an embedding.
    """

    kind: str
    parts: tuple[str, ...] = ()
    has_missing: bool = False
    levels: tuple[str, ...] = ()
    as_codes: bool = False
    lookup: Levels = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.parts, self.levels = tuple(self.parts), tuple(self.levels)
        self.lookup = Levels(self.levels)

    @property
    def is_truth(self) -> bool:
        """Whether its categories are True and False."""
        return is_truth(self.levels)

    def numbers(self, column: Column) -> list[np.ndarray]:
        """Columns of numbers, with nan."""
        if self.kind == NUMBERS:
            return [column.values.astype(np.float64)]
        if self.kind == TIMES:
            return [part for name, part in parts_of(column.values) if name in self.parts]
        return []

    def flags(self, column: Column) -> list[np.ndarray]:
        """Columns of 0 and 1, or -1 and 1 for one of two."""
        if self.kind in (NUMBERS, TIMES):
            return [is_missing(column)] if self.has_missing else []
        if self.kind != TEXTS or self.as_codes:
            return []
        codes = self.codes(column)
        if len(self.levels) == 2:
            return [np.array([0.0, -1.0, 1.0])[codes]]
        return [(codes == number).astype(np.float64) for number in range(1, len(self.levels) + 1)]

    def codes(self, column: Column) -> np.ndarray:
        """The number of each category, from 1; 0 for those that are missing or unknown."""
        found = map(self.lookup.__getitem__, column.values.tolist())
        return np.fromiter(found, np.int64, column.values.size)


def is_missing(column: Column) -> np.ndarray:
    """Which values of a column are missing, as 0 and 1."""
    values = column.values
    if column.kind == TEXTS:
        return np.array([value is None for value in values.tolist()], np.float64)
    return (np.isnat(values) if column.kind == TIMES else np.isnan(values)).astype(np.float64)


def parts_of(times: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """All parts of times, by name, with nan for those that are missing."""
    missing = np.isnat(times)
    known = np.where(missing, np.datetime64(0, "us"), times)
    days = known.astype(np.int64) / (1e6 * _DAY)
    found = [(name, part(days, known.astype("M8[D]"))) for name, part in _PARTS.items()]
    return [(name, np.where(missing, np.nan, part)) for name, part in found]


@dataclass(eq=False)
class Preparation:
    """What was learnt from a table.

    Attributes
    ----------
    names : tuple of str or None
        Of the columns, if they have any.
    plans : list of ColumnPlan
        One for each column.
    center, scale : ndarray of shape (n_numbers + n_flags,)
        Subtracted from, and then multiplied with, each column.
    """

    names: tuple[str, ...] | None
    plans: list[ColumnPlan]
    center: np.ndarray
    scale: np.ndarray

    @classmethod
    def learn(cls, where: str, frame: Frame, max_one_hot: int) -> Preparation:
        """Learn from a table.

        Parameters
        ----------
        where : str
            For errors.
        frame : Frame
        max_one_hot : int
            Columns with at most so many categories get a column for each.
        """
        plans = [_plan(frame.column(i), max_one_hot) for i, _ in enumerate(frame.columns)]
        made = cls(frame.names, plans, np.zeros(0), np.zeros(0))
        if made.layout.n_columns == 0:
            raise InputError(
                where, "at least one column that is not constant", "none", "pass other columns"
            )
        found = [_center_and_scale(values) for values in made.columns_of(where, frame)]
        made.center, made.scale = np.array(found).reshape(-1, 2).T.copy()
        return made

    @property
    def layout(self) -> Layout:
        """The columns of a prepared table."""
        n_numbers = n_flags = n_codes = n_levels = 0
        unknown = list[int]()
        for plan in self.plans:
            n_numbers += {NUMBERS: 1, TIMES: len(plan.parts)}.get(plan.kind, 0)
            n_flags += plan.has_missing and plan.kind != TEXTS
            if plan.as_codes:
                unknown.append(n_levels)
                n_codes, n_levels = n_codes + 1, n_levels + 1 + len(plan.levels)
            elif plan.kind == TEXTS:
                n_flags += 1 if len(plan.levels) == 2 else len(plan.levels)
        return Layout(n_numbers, n_flags, n_codes, n_levels, tuple(unknown))

    def columns_of(self, where: str, frame: Frame) -> Iterator[np.ndarray]:
        """Numbers, then flags, as they are: one column after the other, which saves memory."""
        for i, plan in enumerate(self.plans):
            yield from plan.numbers(self.column(where, frame, i))
        for i, plan in enumerate(self.plans):
            yield from plan.flags(self.column(where, frame, i))

    def transform(self, where: str, frame: Frame) -> np.ndarray:
        """The inputs of a network.

        Parameters
        ----------
        where : str
            For errors.
        frame : Frame
            With the columns of training, in any order if they have names.

        Returns
        -------
        ndarray of shape (n, layout.n_columns)
            Float32.
        """
        frame = frames.in_order(where, frame, self.names, len(self.plans))
        layout = self.layout
        prepared = np.empty((frame.n_rows, layout.n_columns), np.float32)
        for place, values in enumerate(self.columns_of(where, frame)):
            prepared[:, place] = self.scaled(place, values)
        place, coded = layout.n_numbers + layout.n_flags, iter(layout.unknown)
        for i, plan in enumerate(self.plans):
            if plan.as_codes:
                prepared[:, place] = next(coded) + plan.codes(self.column(where, frame, i))
                place += 1
        return prepared

    def column(self, where: str, frame: Frame, place: int) -> Column:
        """A column, of the kind that it had in training."""
        name = place if self.names is None else self.names[place]
        return _as_planned(f"{where}, column {name!r}", self.plans[place], frame.column(place))

    def scaled(self, place: int, values: np.ndarray) -> np.ndarray:
        """A column of numbers or flags, centred, scaled and clipped; 0 for what is missing."""
        moved = (values - self.center[place]) * self.scale[place]
        return clipped(np.where(np.isnan(moved), 0.0, moved))


def clipped(values: np.ndarray) -> np.ndarray:
    """x / sqrt(1 + (x / 3)^2), which is between -3 and 3."""
    bounded = np.clip(values, -HUGE, HUGE)
    return bounded / np.hypot(1.0, bounded / CLIP)


def _plan(column: Column, max_one_hot: int) -> ColumnPlan:
    missing = bool(is_missing(column).any())
    if column.kind == TEXTS:
        levels = sorted({value for value in column.values.tolist() if value is not None})
        if len(levels) + missing < 2:
            return ColumnPlan("nothing")
        as_codes = len(levels) > max_one_hot
        return ColumnPlan(TEXTS, (), missing, tuple(levels), as_codes)
    values = parts_of(column.values) if column.kind == TIMES else [("", column.values)]
    varying = [name for name, part in values if _varies(part)]
    if not varying:
        return ColumnPlan("nothing")
    parts = tuple(varying) if column.kind == TIMES else ()
    return ColumnPlan(column.kind, parts, has_missing=missing)


def _varies(values: np.ndarray) -> bool:
    known = values[~np.isnan(values)]
    return bool(known.size and known.min() < known.max())


def _as_planned(where: str, plan: ColumnPlan, column: Column) -> Column:
    """A column of another kind than in training, as far as its values can be read so."""
    if plan.kind in ("nothing", column.kind):
        return column
    if plan.kind == TEXTS:
        return frames.as_texts(column)
    if is_missing(column).all():
        empty = np.full(column.values.size, np.nan)
        return Column(plan.kind, empty if plan.kind == NUMBERS else empty.astype("M8[us]"))
    if plan.kind == NUMBERS and set(column.values.tolist()) <= {None, *_TRUTH}:
        truth = [np.nan if value is None else _TRUTH[value] for value in column.values.tolist()]
        return Column(NUMBERS, np.array(truth, np.float64))
    raise InputError(
        where, f"a column of {plan.kind}, as in training", column.kind, "convert the column"
    )


def _center_and_scale(values: np.ndarray) -> tuple[float, float]:
    """Median, and reciprocal of the distance of the quartiles or, if 0, of half the range.

    Infinities count as the largest numbers there are.
    """
    largest = np.finfo(np.float64).max
    known = np.clip(values[~np.isnan(values)], -largest, largest)
    low, center, high = np.quantile(known, [0.25, 0.5, 0.75])
    with np.errstate(over="ignore"):
        spread = high - low if high > low else 0.5 * (known.max() - known.min())
    return float(center), float(1.0 / spread) if spread > 0 else 0.0


def as_fields(preparation: Preparation) -> dict[str, Any]:
    """All but the arrays, as plain data for files."""
    columns = [
        {
            "kind": plan.kind, "parts": list(plan.parts), "has_missing": plan.has_missing,
            "levels": list(plan.levels), "as_codes": plan.as_codes,
        }
        for plan in preparation.plans
    ]  # fmt: skip
    names = preparation.names
    return {"names": None if names is None else list(names), "columns": columns}


def from_fields(fields: dict[str, Any], arrays: Sequence[np.ndarray]) -> Preparation:
    """The inverse of `as_fields`; arrays: center and scale."""
    names = fields["names"]
    plans = [ColumnPlan(**column) for column in fields["columns"]]
    return Preparation(None if names is None else tuple(names), plans, *arrays)
