"""Preparation of tables as nodes of an ONNX graph, which takes raw columns.

Each column is an input: numbers as double with nan, texts with "" for what is missing, and times as
microseconds since 1970, with the smallest int64 for missing ones, as in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..tabular.frames import NUMBERS, TEXTS, TIMES, Column, Frame
from ..tabular.preparation import CLIP, ColumnPlan, Preparation
from .onnx_graph import Graph
from .onnx_inputs import Input

_TYPES = {NUMBERS: "DOUBLE", TIMES: "INT64", TEXTS: "STRING", "nothing": "STRING"}
_MISSING_TIME = np.iinfo(np.int64).min
_DAY = 86_400_000_000  # microseconds
_N_MADE_UP = 20
_HUGE = 1e150


def input_names(preparation: Preparation) -> list[str]:
    """Names of the inputs: those of the columns, or their numbers."""
    if preparation.names is not None:
        return list(preparation.names)
    return [f"column_{number}" for number, _ in enumerate(preparation.plans)]


def inputs_for(preparation: Preparation, frame: Frame) -> list[Input]:
    """The values of a frame, as a session takes them; constant columns are no inputs."""
    found = []
    for i, (name, plan) in enumerate(zip(input_names(preparation), preparation.plans, strict=True)):
        if plan.kind != "nothing":
            column = preparation.column("to_onnx", frame, i)
            values = _as_onnx(plan, column).reshape(-1, 1)
            found.append(Input(name, _TYPES[plan.kind], values))
    return found


def _as_onnx(plan: ColumnPlan, column: Column) -> np.ndarray:
    if plan.kind == TIMES:
        return column.values.astype(np.int64)
    if plan.kind == NUMBERS:
        return column.values.astype(np.float64)
    return np.array(["" if value is None else value for value in column.values], object)


def made_up(preparation: Preparation) -> Frame:
    """Rows like those of training."""
    rng, columns = np.random.default_rng(0), list[Column]()
    place = 0
    for plan in preparation.plans:
        if plan.kind == "nothing":
            columns.append(Column(NUMBERS, np.ones(_N_MADE_UP)))
            continue
        if plan.kind == TEXTS:
            values = np.array([None, "another", *plan.levels], object)
            columns.append(Column(TEXTS, values[rng.integers(values.size, size=_N_MADE_UP)]))
            continue
        width = 1 / preparation.scale[place]
        numbers = preparation.center[place] + width * rng.normal(size=_N_MADE_UP)
        if plan.kind == TIMES:
            days = preparation.center[place] if plan.parts[0] == "elapsed" else 18_000.0
            times = ((days + 400 * rng.normal(size=_N_MADE_UP)) * _DAY).astype("M8[us]")
            columns.append(Column(TIMES, times))
        else:
            numbers[:3] = np.nan, np.inf, -1e200
            columns.append(Column(NUMBERS, numbers))
        place += len(plan.parts) if plan.kind == TIMES else int(plan.kind == NUMBERS)
    return Frame(preparation.names, columns, _N_MADE_UP)


class _Column(NamedTuple):
    """What the nodes of a column have made, each (n, k): scaled numbers, flags and codes."""

    numbers: list[str]
    flags: list[str]
    codes: list[str]


class TableNodes:
    """Writes the nodes of a preparation.

    Parameters
    ----------
    graph : Graph
    preparation : Preparation
    """

    def __init__(self, graph: Graph, preparation: Preparation) -> None:
        self._graph, self._preparation = graph, preparation
        graph.taken |= set(input_names(preparation))
        self._number, self._flag = 0, preparation.layout.n_numbers
        self._unknown = iter(preparation.layout.unknown)

    def prepared(self) -> str:
        """The name of the networks' inputs."""
        names = input_names(self._preparation)
        plans = self._preparation.plans
        found = [self._column(name, plan) for name, plan in zip(names, plans, strict=True)]
        parts = [part for kind in zip(*found, strict=True) for column in kind for part in column]
        return self._graph.node("Concat", *parts, axis=1)

    def _column(self, name: str, plan: ColumnPlan) -> _Column:
        if plan.kind == "nothing":
            return _Column([], [], [])
        if plan.kind == TEXTS:
            return self._of_texts(name, plan)
        if plan.kind == NUMBERS:
            is_missing, parts = self._graph.node("IsNaN", name), [name]
        else:
            is_missing, parts = self._of_time(name, plan)
        numbers = [self._scaled_number(part, is_missing) for part in parts]
        return _Column(numbers, [self._missing(is_missing)] if plan.has_missing else [], [])

    def _double(self, values: Any) -> str:
        return self._graph.constant(values, np.float64)

    def _scaled_number(self, name: str, is_missing: str) -> str:
        """(x - center) scale, softly clipped; 0 for what is missing."""
        graph, preparation = self._graph, self._preparation
        center = self._double(preparation.center[self._number])
        scale = self._double(preparation.scale[self._number])
        self._number += 1
        moved = graph.node("Mul", graph.node("Sub", name, center), scale)
        # Squares of larger numbers would be infinite.
        moved = graph.node(
            "Min", graph.node("Max", moved, self._double(-_HUGE)), self._double(_HUGE)
        )
        third = graph.node("Div", moved, self._double(CLIP))
        root = graph.node(
            "Sqrt", graph.node("Add", self._double(1.0), graph.node("Mul", third, third))
        )
        clipped = graph.node("Div", moved, root)
        known = graph.node("Where", is_missing, self._double(0.0), clipped)
        return graph.node("Cast", known, to=graph.onnx.TensorProto.FLOAT)

    def _levels(self, flags: list[np.ndarray]) -> np.ndarray:
        """What flags become when they are scaled, (n_levels, n_flags)."""
        scaled = [self._preparation.scaled(self._flag + i, flag) for i, flag in enumerate(flags)]
        self._flag += len(flags)
        return np.column_stack(scaled).astype(np.float32)

    def _missing(self, is_missing: str) -> str:
        graph, values = self._graph, self._levels([np.array([0.0, 1.0])])
        there, not_there = graph.constant(values[1:, 0]), graph.constant(values[:1, 0])
        return graph.node("Where", is_missing, there, not_there)

    def _of_texts(self, name: str, plan: ColumnPlan) -> _Column:
        graph = self._graph
        if "" in plan.levels:
            raise InputError(
                "to_onnx", "categories that are not empty, which stand for what is missing",
                f"an empty one in {name!r}", "give it a name and train again",
            )  # fmt: skip
        code = graph.unique_name("code")
        spellings = {text: number for text, number in plan.lookup.items() if text is not None}
        graph.add_node(
            "LabelEncoder", [name], [code], domain="ai.onnx.ml", keys_strings=list(spellings),
            values_int64s=list(spellings.values()), default_int64=0,
        )  # fmt: skip
        if plan.as_codes:
            shifted = graph.node("Add", code, graph.constant([next(self._unknown)], np.int64))
            return _Column([], [], [graph.node("Cast", shifted, to=graph.onnx.TensorProto.FLOAT)])
        values = self._levels(plan.flags(Column(TEXTS, np.array([None, *plan.levels], object))))
        rows = graph.node("Gather", graph.constant(values), code)
        width = graph.constant([-1, values.shape[1]], np.int64)
        return _Column([], [graph.node("Reshape", rows, width)], [])

    # ------------------------------------------------------------------ times

    def _of_time(self, name: str, plan: ColumnPlan) -> tuple[str, list[str]]:
        """Whether a time is missing, and its parts as doubles."""
        graph = self._graph
        missing = graph.node("Equal", name, self._whole(_MISSING_TIME))
        time = graph.node("Where", missing, self._whole(0), name)
        day = self._floor_division(time, _DAY)
        days = graph.node("Div", self._as_double(time), self._double(float(_DAY)))
        makers: dict[str, Callable[[], str]] = {
            "elapsed": lambda: days,
            "month": lambda: self._as_double(self._calendar(day)[0]),
            "day of year": lambda: self._as_double(self._calendar(day)[1]),
            "weekday": lambda: self._as_double(
                self._remainder(graph.node("Add", day, self._whole(3)), 7)
            ),
            "hour": lambda: graph.node(
                "Mul", graph.node("Sub", days, graph.node("Floor", days)), self._double(24.0)
            ),
        }
        return missing, [makers[part]() for part in plan.parts]

    def _whole(self, value: int) -> str:
        return self._graph.constant([value], np.int64)

    def _as_double(self, name: str) -> str:
        return self._graph.node("Cast", name, to=self._graph.onnx.TensorProto.DOUBLE)

    def _remainder(self, name: str, divisor: int) -> str:
        return self._graph.node("Mod", name, self._whole(divisor))  # of the divisor's sign

    def _floor_division(self, name: str, divisor: int) -> str:
        graph, rest = self._graph, self._remainder(name, divisor)
        return graph.node("Div", graph.node("Sub", name, rest), self._whole(divisor))

    def _calendar(self, day: str) -> tuple[str, str]:
        """Month, from 0, and day of the year, from 0, of days since 1970.

        Years begin in March and come in eras of 400, as in Hinnant, "chrono-compatible low-level
        date algorithms", 2013.
        """
        node, whole = self._graph.node, self._whole

        def over(name: str, divisor: int) -> str:
            return node("Div", name, whole(divisor))  # of numbers that are not negative

        shifted = node("Add", day, whole(719_468))
        era = self._floor_division(shifted, 146_097)
        in_era = self._remainder(shifted, 146_097)
        corrected = node("Sub", in_era, over(in_era, 1460))
        corrected = node("Add", corrected, over(in_era, 36_524))
        year = over(node("Sub", corrected, over(in_era, 146_096)), 365)
        leaps = node("Sub", over(year, 4), over(year, 100))
        from_march = node("Sub", in_era, node("Add", node("Mul", year, whole(365)), leaps))
        month = over(node("Add", node("Mul", from_march, whole(5)), whole(2)), 153)
        is_later = node("Less", month, whole(10))  # March to December
        in_all = node("Add", year, node("Mul", era, whole(400)))
        by_4 = node("Equal", self._remainder(in_all, 4), whole(0))
        by_100 = node("Equal", self._remainder(in_all, 100), whole(0))
        by_400 = node("Equal", self._remainder(in_all, 400), whole(0))
        is_leap = node("Or", node("And", by_4, node("Not", by_100)), by_400)
        february = node("Where", is_leap, whole(60), whole(59))
        day_of_year = node(
            "Where", is_later, node("Add", from_march, february),
            node("Sub", from_march, whole(306)),
        )  # fmt: skip
        from_january = node(
            "Where", is_later, node("Add", month, whole(2)), node("Sub", month, whole(10))
        )
        return from_january, day_of_year
