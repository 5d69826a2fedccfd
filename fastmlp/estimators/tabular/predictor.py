"""Serving of tabular estimators: one raw row, a dict or a tuple, is answered in microseconds.

Each column has an encoder made in advance, which writes its numbers into a row for the networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import InputError, InputTypeError, counted
from ...inputs import columns
from ...serving.ensemble import EnsemblePredictor
from ...serving.predictor import Predictor
from ...tabular import frames
from ...tabular.frames import NUMBERS, TEXTS, Column
from ...tabular.preparation import CLIP, HUGE, PARTS_OF_ONE, ColumnPlan, Preparation, days_of
from .units import Units

Write = Callable[[Any, list[float]], None]  # the value of a column into a row
_SCALARS = (float, str, int, bool)  # told apart faster than by what other values can do
_TRUTH = tuple(frames.text_of(value) for value in (False, True))


class TablePredictor:
    """Answers to raw rows of a table, from an immutable copy of an estimator.

    Made by `compile_predictor` of a tabular estimator.

    Parameters
    ----------
    preparation : Preparation
    networks : sequence of Network
    units : Units
        Answers from the mean outputs of prepared rows.
    weights : {"float16", "bfloat16"}, optional
        As for `Predictor`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import TabularRegressor
    >>> rng = np.random.default_rng(0)
    >>> table = {"size": rng.uniform(20, 200, 300), "town": rng.choice(["Bonn", "Ulm"], 300)}
    >>> y = table["size"] * np.where(table["town"] == "Ulm", 9.0, 12.0)
    >>> model = TabularRegressor(max_iter=128, random_state=0).fit(table, y)
    >>> predict = model.compile_predictor()
    >>> bool(700 < predict({"size": 100, "town": "Ulm"}) < 1100)
    True
    """

    def __init__(
        self,
        preparation: Preparation,
        networks: Sequence[Any],
        units: Units,
        weights: str | None = None,
    ) -> None:
        self._preparation, self._networks = preparation, tuple(networks)
        self._units, self._weights = units, weights
        made = [Predictor(network, None, weights) for network in networks]
        self._predictor: Any = made[0]
        if len(made) > 1:
            coder = self._networks[0].coder
            self._predictor = EnsemblePredictor(made, coder)
        self._names = preparation.names
        self._writers = _writers(preparation)
        self._blank = preparation.layout.n_columns * [0.0]

    def __reduce__(self) -> tuple[Any, ...]:
        parts = self._preparation, self._networks, self._units, self._weights
        return TablePredictor, parts

    def __repr__(self) -> str:
        return f"TablePredictor({counted(len(self._writers), 'column')}, {self._predictor!r})"

    def __call__(self, X: Any) -> Any:
        """Answers to one row or many.

        Parameters
        ----------
        X : dict of values, tuple, list or row of a pandas frame; or a frame or matrix of rows
            A row has one value for each column, a dict or a row of a frame in any order.

        Returns
        -------
        float or ndarray
            Of a row its number, or its probabilities (n_classes,); of rows an array.

        Raises
        ------
        InputError
            For missing or unknown columns, and for values of another kind than in training.
        """
        row = self._row_of(X)
        if row is None:
            frame = frames.read("predictor", X)
            prepared = self._preparation.transform("predictor", frame)
            return self._units.of_rows(self._predictor(prepared))
        numbers = self._blank.copy()
        for value, write in zip(row, self._writers, strict=True):
            write(value, numbers)
        return self._units.of_row(self._predictor(np.array(numbers, np.float32)))

    def _row_of(self, X: Any) -> Sequence[Any] | None:
        """The values of one row in order; None for a table."""
        if type(X) is dict or isinstance(X, Mapping):
            first: Any = next(iter(X.values()), None)
            if _is_column(first):
                return None
            return self._by_name(X, X)
        if isinstance(X, tuple | list) and not (X and _is_column(X[0])):
            return self._checked(X)
        if getattr(X, "ndim", 0) == 1:
            index = getattr(X, "index", None)
            if index is not None and not callable(index) and self._names is not None:
                return self._by_name(X, tuple(index))
            return self._checked(X.tolist())
        return None

    def _by_name(self, row: Any, found: Collection[Any]) -> list[Any]:
        if self._names is None:
            raise InputError(
                "predictor", "a tuple, as the columns of training had no names", "a row by name",
                "pass the values in order",
            )  # fmt: skip
        try:
            values = [row[name] for name in self._names]
        except KeyError:  # names that are whole numbers are text here
            named = {str(name): row[name] for name in found}
            values, found = [named.get(name) for name in self._names], tuple(named)
            if set(found) != set(self._names):
                values = []
        if len(found) != len(self._names) or not values:
            columns.places("predictor", tuple(found), self._names, what="a row with the")
        return values

    def _checked(self, row: Sequence[Any]) -> Sequence[Any]:
        if len(row) != len(self._writers):
            raise InputError(
                "predictor", f"a row of {counted(len(self._writers), 'value')}", f"{len(row)}",
                "pass one for each column of training",
            )  # fmt: skip
        return row


def _is_column(value: Any) -> bool:
    """Whether it has several values, as opposed to one."""
    if type(value) in _SCALARS:
        return False
    is_scalar = isinstance(value, str | bytes) or getattr(value, "shape", None) == ()
    return hasattr(value, "__len__") and not is_scalar


def _writers(preparation: Preparation) -> list[Write]:
    """What writes each column's value."""
    layout, found = preparation.layout, list[Write]()
    number, flag = 0, layout.n_numbers
    code = layout.n_numbers + layout.n_flags
    unknown = iter(layout.unknown)
    for plan in preparation.plans:
        if plan.kind == "nothing":
            found.append(_nothing)
        elif plan.as_codes:
            found.append(_write_code(plan, code, next(unknown)))
            code += 1
        elif plan.kind == TEXTS:
            values = _flags_of_levels(preparation, plan, flag)
            found.append(_write_level(plan, flag, values))
            flag += len(values[0])
        elif plan.kind == NUMBERS:
            place = flag if plan.has_missing else None
            found.append(_write_number(preparation, number, place))
            number, flag = number + 1, flag + plan.has_missing
        else:
            place = flag if plan.has_missing else None
            found.append(_write_time(preparation, plan, number, place))
            number, flag = number + len(plan.parts), flag + plan.has_missing
    return found


def _nothing(value: Any, row: list[float]) -> None:
    """A column that was constant in training."""


def _scaled(preparation: Preparation, place: int, values: Any) -> list[float]:
    """Numbers of a prepared column, which float32 holds."""
    found = preparation.scaled(place, np.asarray(values, np.float64)).astype(np.float32)
    return found.tolist()


def _write_number(preparation: Preparation, place: int, flag: int | None) -> Write:
    center, scale = float(preparation.center[place]), float(preparation.scale[place])
    present, missing = (0.0, 0.0) if flag is None else _scaled(preparation, flag, [0.0, 1.0])
    most = HUGE / math.hypot(1.0, HUGE / CLIP)

    def write(value: Any, row: list[float]) -> None:
        if type(value) is not float and not isinstance(value, float | int):
            value = math.nan if frames.is_missing(value) else _number(value)
        moved = (value - center) * scale
        if -HUGE <= moved <= HUGE:
            row[place] = moved / math.hypot(1.0, moved / CLIP)
        elif moved != moved:
            if flag is not None:
                row[flag] = missing
            return
        else:
            row[place] = math.copysign(most, moved)
        if flag is not None:
            row[flag] = present

    return write


def _number(value: Any) -> float:
    if isinstance(value, frames.DURATIONS):
        return frames.seconds_of(value)
    if isinstance(value, str | bytes):
        raise InputTypeError("predictor", "a number", type(value).__name__, "pass a number")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputTypeError(
            "predictor", "a number", type(value).__name__, "pass a number"
        ) from None


def _write_time(preparation: Preparation, plan: ColumnPlan, place: int, flag: int | None) -> Write:
    present, missing = (0.0, 0.0) if flag is None else _scaled(preparation, flag, [0.0, 1.0])
    writers = [
        (PARTS_OF_ONE[name], _write_number(preparation, place + i, None))
        for i, name in enumerate(plan.parts)
    ]

    def write(value: Any, row: list[float]) -> None:
        if frames.is_missing(value):
            if flag is not None:
                row[flag] = missing
            return
        time = frames.time_of(value)
        if time is None:
            raise InputTypeError("predictor", "a time", type(value).__name__, "pass a datetime")
        days = days_of(time)
        for part, write_part in writers:
            write_part(part(days, time), row)
        if flag is not None:
            row[flag] = present

    return write


def _flags_of_levels(
    preparation: Preparation, plan: ColumnPlan, place: int
) -> list[tuple[float, ...]]:
    """What is written for each level; the first is for others."""
    values = np.array([None, *plan.levels], object)
    found = plan.flags(Column(TEXTS, values))
    scaled = [_scaled(preparation, place + i, flag) for i, flag in enumerate(found)]
    return list(zip(*scaled, strict=True))


def _write_level(plan: ColumnPlan, place: int, values: list[tuple[float, ...]]) -> Write:
    find, end = plan.lookup.__getitem__, place + len(values[0])

    def write(value: Any, row: list[float]) -> None:
        row[place:end] = values[find(_text(value))]

    return write


def _write_code(plan: ColumnPlan, place: int, first: int) -> Write:
    find = plan.lookup.__getitem__

    def write(value: Any, row: list[float]) -> None:
        row[place] = first + find(_text(value))

    return write


def _text(value: Any) -> Any:
    """The name of a category; None for what is missing."""
    if type(value) is str:
        return value
    if type(value) is bool:
        return _TRUTH[value]
    if isinstance(value, np.datetime64):
        value = value.astype("M8[us]").item()
    return None if frames.is_missing(value) else frames.text_of(value)
