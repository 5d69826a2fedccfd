"""Tables become numbers: kinds of columns, what is missing or unknown, frames of any library."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fastmlp import InputError
from fastmlp.tabular import frames
from fastmlp.tabular.preparation import (
    PARTS_OF_ONE,
    Levels,
    Preparation,
    as_fields,
    days_of,
    from_fields,
    parts_of,
)

pytestmark = pytest.mark.nojit

N = 40
RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(5, 3, N)
TOWNS = np.array(["Ulm", "Bonn", "Köln"])[RNG.integers(0, 3, N)]
DAYS = np.datetime64("2019-12-20") + RNG.integers(0, 700, N) * np.timedelta64(1, "D")


def learnt(table: Any, max_one_hot: int = 8) -> tuple[Preparation, np.ndarray]:
    frame = frames.read("here", table)
    made = Preparation.learn("here", frame, max_one_hot)
    return made, made.transform("here", frame)


def test_numbers_are_centred_scaled_and_softly_clipped() -> None:
    _, X = learnt({"a": NUMBERS})
    low, middle, high = np.quantile(NUMBERS, [0.25, 0.5, 0.75])
    scaled = (NUMBERS - middle) / (high - low)
    assert np.allclose(X[:, 0], scaled / np.sqrt(1 + (scaled / 3) ** 2), atol=1e-6)
    assert X.dtype == np.float32
    made, _ = learnt({"a": NUMBERS})
    far = made.transform("here", frames.read("here", {"a": [1e300, -np.inf, np.inf, np.nan]}))
    assert far[:, 0].tolist() == [3.0, -3.0, 3.0, 0.0]


def test_equal_quartiles_are_scaled_by_the_range() -> None:
    _, X = learnt({"a": np.array([0.0] * 9 + [1.0])})
    assert np.allclose(np.unique(X), [0, 2 / np.sqrt(1 + 4 / 9)])


def test_missing_numbers_are_flagged_and_in_the_middle() -> None:
    values = NUMBERS.copy()
    values[::5] = np.nan
    made, X = learnt({"a": values})
    assert made.layout[:3] == (1, 1, 0)
    assert (X[::5, 0] == 0).all()
    assert len(np.unique(X[:, 1])) == 2
    assert (X[::5, 1] == X[0, 1]).all()


def test_few_categories_become_columns_and_many_become_numbers() -> None:
    many = np.array([f"level {i % 12}" for i in range(N)])
    made, X = learnt({"town": TOWNS, "many": many, "yes": TOWNS == "Ulm"})
    layout = made.layout
    assert (layout.n_numbers, layout.n_flags, layout.n_codes, layout.n_levels) == (0, 4, 1, 13)
    assert len(np.unique(X[:, :3], axis=0)) == 3
    assert set(np.unique(X[:, 4])) == set(range(1, 13))
    both = frames.read("here", {"town": ["Rome", None], "many": [None, "new"], "yes": [None, None]})
    unknown = made.transform("here", both)
    assert np.array_equal(unknown[0], unknown[1])
    assert unknown[0, 4] == 0


@pytest.mark.parametrize("names", [(3, 1), (1, 0), (0, 1)])
def test_whole_numbers_are_names_of_columns(names: tuple[int, int]) -> None:
    frame = pd.DataFrame({names[0]: NUMBERS, names[1]: np.arange(N) % 7})
    made = Preparation.learn("here", frames.read("here", frame), 8)
    assert made.names == tuple(map(str, names))
    expected = made.transform("here", frames.read("here", frame))
    for same in (frame[[names[1], names[0]]], frame.rename(columns=str), frame.to_numpy()):
        found = made.transform("here", frames.read("here", same))
        np.testing.assert_array_equal(found, expected)
    other = frames.read("here", frame.rename(columns={3: 2, 1: 4}))
    with pytest.raises(InputError, match="none named '"):
        made.transform("here", other)


@pytest.mark.parametrize("names", [[1, 1], [True, False], [("a", 1), ("a", 2)]])
def test_other_names_than_texts_and_different_numbers_do_not_count(names: list[Any]) -> None:
    frame = pd.DataFrame(np.eye(2))
    frame.columns = pd.Index(names)
    assert frames.read("here", frame).names is None


SPELLINGS: list[tuple[Any, list[Any]]] = [
    ([1, 2, 3], [1.0, "1", "1.0", "1.", np.float32(1), Decimal("1.00"), b"1", b"1.0"]),
    ([1.5, 2, 3], ["1.5", "1.50", b"1.50", Decimal("1.500")]),
    (["1.0", "2", "x"], [1, "1", 1.0, "1.00"]),
    (["a", "b", "c"], [b"a"]),
    ([b"a", b"b", b"c"], ["a"]),
    ([True, False], ["True", "TRUE", "true", b"true", 1, "1", 1.0, "1.0"]),
]


@pytest.mark.parametrize(("levels", "same"), SPELLINGS)
def test_other_spellings_of_a_category_are_the_category(levels: Any, same: list[Any]) -> None:
    table = {"a": np.array(levels * 8, object)}
    made = Preparation.learn("here", frames.read("here", table, frozenset(["a"])), 8)
    first, *others = (
        made.transform("here", frames.read("here", {"a": np.array([value], object)}))
        for value in (levels[0], *same, levels[1])
    )
    assert all(np.array_equal(first, other) for other in others[:-1])
    assert not np.array_equal(first, others[-1])


@pytest.mark.parametrize("value", ["007", "7.0.0", "1e0", "x1.0", ""])
def test_other_texts_are_not_numbers(value: str) -> None:
    levels = Levels(["1", "7", "x1"])
    assert levels[value] == 0


def test_a_number_with_several_spellings_among_the_categories_is_none_of_them() -> None:
    levels = Levels(["1.0", "1.00", "2"])
    assert [levels[name] for name in ("1.0", "1.00", "1", "2.0", None)] == [1, 2, 0, 3, 0]


def test_categories_have_the_numbers_of_their_column() -> None:
    levels = np.array([str(i % 10) for i in range(N)])
    made, X = learnt({"a": levels, "b": levels})
    assert made.layout.unknown == (0, 11)
    assert np.array_equal(X[:, 1], X[:, 0] + 11)


@pytest.mark.parametrize("value", [3, 3.0, "3", np.int8(3), np.float32(3), True])
def test_the_name_of_a_category_does_not_depend_on_its_type(value: Any) -> None:
    assert frames.text_of(value) == ("True" if value is True else "3")


def test_times_have_parts_that_agree_with_the_calendar() -> None:
    texts = ["1899-12-31 23:59", "2000-02-29 06:00", "2023-01-01", "2024-12-31 12:30"]
    moments = [datetime.datetime.fromisoformat(text) for text in texts]
    found = dict(parts_of(np.array(moments, "M8[us]")))
    for i, moment in enumerate(moments):
        days = days_of(moment)
        assert found["month"][i] == moment.month - 1
        assert found["weekday"][i] == moment.weekday()
        assert found["day of year"][i] == moment.timetuple().tm_yday - 1
        assert np.isclose(found["hour"][i], moment.hour + moment.minute / 60)
        for name, part in PARTS_OF_ONE.items():
            assert found[name][i] == part(days, moment), name


def test_only_parts_that_vary_are_used() -> None:
    made, _ = learnt({"day": DAYS})
    assert made.plans[0].parts == ("elapsed", "month", "day of year", "weekday")
    same = np.array(["2024-01-01", "2024-01-02"], "M8[D]")
    assert learnt({"day": same})[0].plans[0].parts == ("elapsed", "day of year", "weekday")


def test_constant_and_empty_columns_are_left_out() -> None:
    made, _ = learnt({"a": NUMBERS, "same": np.ones(N), "none": np.full(N, np.nan), "x": N * ["x"]})
    assert [plan.kind for plan in made.plans] == ["numbers", "nothing", "nothing", "nothing"]
    with pytest.raises(InputError, match="at least one column that is not constant, got none"):
        learnt({"same": np.ones(N)})
    partly = np.array(["x", None] * (N // 2), object)
    assert learnt({"x": partly})[0].plans[0].kind == "texts"


def test_columns_are_put_in_order_by_name() -> None:
    table = {"a": NUMBERS, "town": TOWNS}
    made, X = learnt(table)
    other = frames.read("here", dict(reversed(table.items())))
    assert np.array_equal(made.transform("here", other), X)
    for wrong, text in (
        ({"a": NUMBERS}, "none named 'town'"),
        ({**table, "b": NUMBERS}, "others named 'b'"),
    ):
        with pytest.raises(InputError, match=text):
            made.transform("here", frames.read("here", wrong))
    with pytest.raises(InputError, match="X with 2 columns, as in training, got 1"):
        made.transform("here", frames.read("here", NUMBERS.reshape(-1, 1)))


def test_a_column_of_another_kind_is_refused_unless_it_is_empty() -> None:
    made, _ = learnt({"a": NUMBERS, "day": DAYS})
    for wrong in ({"a": TOWNS, "day": DAYS}, {"a": NUMBERS, "day": TOWNS}):
        with pytest.raises(InputError, match=r"expected a column of (numbers|times), as in"):
            made.transform("here", frames.read("here", wrong))
    empty = frames.read("here", {"a": [None, None], "day": [None, None]})
    assert np.isfinite(made.transform("here", empty)).all()


def test_fields_bring_a_preparation_back() -> None:
    table = {"a": NUMBERS, "town": TOWNS, "day": DAYS}
    made, X = learnt(table)
    again = from_fields(as_fields(made), [made.center, made.scale])
    assert np.array_equal(again.transform("here", frames.read("here", table)), X)


def test_frames_of_all_libraries_are_the_same_table() -> None:
    pd, pl, pa = map(pytest.importorskip, ("pandas", "polars", "pyarrow"))
    times = np.array(DAYS, "M8[us]")
    times[3] = np.datetime64("NaT")
    plain = pd.DataFrame({
        "number": np.where(np.arange(N) % 7, NUMBERS, np.nan), "whole": np.arange(N),
        "town": [None if i % 5 == 0 else town for i, town in enumerate(TOWNS)],
        "day": times, "flag": TOWNS == "Ulm",
    })  # fmt: skip
    made, X = learnt(plain)
    tables = [
        pl.from_pandas(plain), pa.Table.from_pandas(plain), plain.convert_dtypes(),
        plain.to_dict("list"), plain.astype({"town": "category"}),
        pl.from_pandas(plain).with_columns(pl.col("town").cast(pl.Categorical)),
        pa.table({n: pa.array(plain[n]).dictionary_encode() if n == "town" else plain[n]
                  for n in plain}),
        plain.assign(day=plain.day.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")),
        plain.to_numpy(),
    ]  # fmt: skip
    for table in tables:
        found = made.transform("here", frames.read("here", table))
        assert np.array_equal(found, X), type(table)


def test_objects_are_numbers_if_all_of_them_are() -> None:
    mixed = np.array([1, 2.5, None, np.float32(3), Decimal(4)], object)
    found = frames.read("here", mixed.reshape(-1, 1)).columns[0]
    assert found.kind == "numbers"
    assert found.values[4] == 4
    assert np.isnan(found.values[2])
    waits = frames.read("here", {"w": np.array([1, "NaT"], "m8[s]")}).columns[0]
    assert waits.values[0] == 1
    assert np.isnan(waits.values[1])


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (np.zeros(3), "X as a table of two dimensions, got shape"),
        ({"a": [1, 2], "b": [1]}, "got columns of several lengths"),
        ({}, "a table with columns, got none"),
        ({"a": [[1], [2]]}, "one value for each row"),
        ({"a": np.array([{}, []], object)}, "numbers, texts or dates, got (dict|list)"),
        ({"a": np.zeros(2, complex)}, "numbers, texts or dates, got values of type complex128"),
    ],
)
def test_other_things_are_refused(table: Any, text: str) -> None:
    with pytest.raises((InputError, TypeError), match=text):
        frames.read("here", table)
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="X as a table, got a sparse matrix"):
        frames.read("here", sparse.eye(3))
