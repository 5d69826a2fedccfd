"""Gaps and nullable columns of data frames, in all arguments of a network.

A gap in any form is refused with its row and column; a nullable column without gaps gives the same
numbers and labels as an ordinary one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fastmlp import Dense, Network, ReLU
from fastmlp.errors import InputError, InputTypeError

pytestmark = [pytest.mark.nojit, pytest.mark.thinned(2)]

A, B = [1.0, 2.0, 3.0, 4.0], [0, 1, 1, 0]
X, y = np.column_stack([A, B]), np.array([0, 1, 0, 1])


def classifier() -> Network:
    return Network([Dense(3), ReLU(), Dense(2)], dtype="float64")


def regressor() -> Network:
    return Network([Dense(1)], "mean_squared_error", dtype="float64")


def of_objects(values: Any) -> np.ndarray:
    """An array that holds just these objects, in their shape."""
    rows = [list(row) if isinstance(row, list) else [row] for row in values]
    found = np.empty((len(rows), len(rows[0])), object)
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            found[i, j] = value
    return found if isinstance(values[0], list) else found[:, 0]


def gap_in(a: str, b: str) -> pd.DataFrame:
    """A pandas frame of two types with a gap in row 2, column 1."""
    return pd.DataFrame({"a": pd.array(A, dtype=a), "b": pd.array([0, 1, None, 0], dtype=b)})


FRAMES_WITH_GAPS: dict[str, Any] = {
    **{
        f"pandas {a} {b}": gap_in(a, b)
        for a, b in [
            ("float64", "Int64"), ("Float64", "Float64"), ("Float32", "boolean"),
            ("Int64", "UInt8"), ("float64", "int64[pyarrow]"), ("double[pyarrow]", "bool[pyarrow]"),
            ("double[pyarrow]", "double[pyarrow]"), ("float32", "object"), ("float64", "category"),
        ]
    },
    "polars integers": pl.DataFrame({"a": A, "b": [0, 1, None, 0]}),
    "polars booleans": pl.DataFrame({"a": A, "b": [False, True, None, False]}),
    "pyarrow table": pa.table({"a": A, "b": [0, 1, None, 0]}),
    "objects with None": of_objects([[a, None if i == 2 else 0] for i, a in enumerate(A)]),
    "objects with pd.NA": of_objects([[a, pd.NA if i == 2 else 0] for i, a in enumerate(A)]),
    "objects with pd.NaT": of_objects([[a, pd.NaT if i == 2 else 0] for i, a in enumerate(A)]),
    "objects with nan": of_objects([[a, np.nan if i == 2 else 0] for i, a in enumerate(A)]),
    "lists": [[1.0, 0], [2.0, 1], [3.0, None], [4.0, 0]],
}  # fmt: skip

USES: dict[str, Callable[[Network, Any], Any]] = {
    "fit": lambda net, data: net.fit(data, y),
    "fit, validation_data": lambda net, data: net.fit(X, y, validation_data=(data, y)),
    "evaluate": lambda net, data: net.evaluate(data, y),
    "predict": lambda net, data: net.predict(data),
    "outputs": lambda net, data: net.outputs(data),
    "loss_and_gradient": lambda net, data: net.loss_and_gradient(data, y),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", FRAMES_WITH_GAPS)
def test_a_gap_among_inputs_is_named_by_row_and_column(name: str, use: str) -> None:
    net = classifier()
    net.fit(X, y, epochs=1)
    before = net.params.copy()
    with pytest.raises(InputError, match=r"X to be finite, got .+ in row 2, column 1; remove"):
        USES[use](net, FRAMES_WITH_GAPS[name])
    assert (net.params == before).all()


@pytest.mark.parametrize("name", FRAMES_WITH_GAPS)
def test_a_new_network_stays_new_when_there_is_a_gap(name: str) -> None:
    net = classifier()
    with pytest.raises(InputError, match=r"in row 2, column 1; remove"):
        net.fit(FRAMES_WITH_GAPS[name], y)
    assert not net.is_built
    assert net.coder is None


@pytest.mark.parametrize("name", FRAMES_WITH_GAPS)
def test_a_gap_among_several_targets_is_named_by_row_and_column(name: str) -> None:
    net = Network([Dense(2)], "mean_squared_error")
    with pytest.raises(InputError, match=r"y to be finite, got .+ in row 2, column 1; remove"):
        net.fit(X, FRAMES_WITH_GAPS[name])


def dates(*texts: str | None) -> list[Any]:
    return [pd.NaT if text is None else pd.Timestamp(text) for text in texts]


DAYS = dates("2020-01-01", "2021-01-01", None, "2020-01-01")
LABELS_WITH_GAPS: dict[str, Any] = {
    **{
        f"pandas {dtype}": pd.Series(["a", "b", None, "a"], dtype=dtype)
        for dtype in ("string", "string[pyarrow]", "category", "object", "str")
    },
    "pandas boolean": pd.Series([True, False, None, True], dtype="boolean"),
    "pandas Int64": pd.Series([0, 1, None, 0], dtype="Int64"),
    "pandas int64[pyarrow]": pd.Series([0, 1, None, 0], dtype="int64[pyarrow]"),
    "pandas objects": pd.Series([0, 1, pd.NA, 0], dtype=object),
    "pandas dates": pd.Series(DAYS),
    "pandas dates with a zone": pd.Series(DAYS).dt.tz_localize("UTC"),
    "pandas dates of pyarrow": pd.Series(DAYS).astype("timestamp[ns][pyarrow]"),
    "pandas periods": pd.Series(DAYS).dt.to_period("D"),
    "dates": np.array(["2020", "2021", "NaT", "2020"], "datetime64[D]"),
    "durations": np.array([1, 2, "NaT", 1], "timedelta64[s]"),
    "dates as objects": np.array(["2020", "2021", "NaT", "2020"], "datetime64[D]").astype(object),
    "NaT among texts": of_objects(["a", "b", pd.NaT, "a"]),
    "NA among texts": of_objects(["a", "b", pd.NA, "a"]),
    "polars texts": pl.Series(["a", "b", None, "a"]),
    "polars integers": pl.Series([0, 1, None, 0]),
    "polars booleans": pl.Series([True, False, None, True]),
    "pyarrow texts": pa.array(["a", "b", None, "a"]),
    **{
        f"NumPy's texts with {gap}": np.array(
            ["a", "b", gap, "a"], np.dtypes.StringDType(na_object=gap)
        )
        for gap in (np.nan, None)
    },
    "a list": ["a", "b", None, "a"],
}  # fmt: skip


@pytest.mark.parametrize("name", LABELS_WITH_GAPS)
def test_a_gap_is_no_class(name: str) -> None:
    net = Network([Dense(3)])  # as many outputs as there would be classes
    with pytest.raises(InputError, match=r" in row 2; "):
        net.fit(X, LABELS_WITH_GAPS[name])
    assert not net.is_built


@pytest.mark.parametrize("name", LABELS_WITH_GAPS)
def test_a_gap_among_labels_to_score_by_is_refused(name: str) -> None:
    net = classifier()
    net.fit(X, np.array(["a", "b", "a", "b"]), epochs=1)
    with pytest.raises(InputError, match=r" in row 2; "):
        net.score(X, LABELS_WITH_GAPS[name])


NO_NUMBERS: dict[str, Any] = {
    "dates": np.array(["2020", "2021", "2022", "2023"], "datetime64[D]"),
    "durations": np.array([1, 2, 3, 4], "timedelta64[s]"),
    "NumPy's dates as objects": of_objects([np.datetime64(f"202{i}") for i in range(4)]),
    "NumPy's durations as objects": of_objects([np.timedelta64(i, "D") for i in range(4)]),
    "NumPy's NaT as objects": of_objects([1.0, 2.0, np.datetime64("NaT"), 3.0]),
    "pandas dates": pd.Series(pd.date_range("2020", periods=4)),
    "pandas durations": pd.Series(pd.to_timedelta([1, 2, 3, 4], unit="s")),
    "dates among numbers": of_objects([1.0, 2.0, pd.Timestamp("2020"), 3.0]),
    "digits": np.array(["1", "2", "3", "4"]),
    "digits among numbers": of_objects([1.0, 2.0, "3", 4.0]),
    "pandas digits": pd.Series(["1", "2", "3", "4"], dtype="string"),
    "polars dates": pl.Series(pd.date_range("2020", periods=4).to_numpy()),
}


@pytest.mark.parametrize("name", NO_NUMBERS)
def test_dates_and_digits_as_text_are_no_numbers(name: str) -> None:
    column = NO_NUMBERS[name]
    with pytest.raises(InputTypeError, match="y to hold numbers, got dtype"):
        regressor().fit(X, column)
    with pytest.raises(InputTypeError, match="X to hold numbers, got dtype"):
        regressor().fit(np.asarray(column).reshape(-1, 1), y)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Float64", "Int64"), ("float64", "boolean"), ("Float32", "UInt8"), ("float64", "Int8"),
        ("double[pyarrow]", "int64[pyarrow]"), ("Float64", "bool[pyarrow]"), ("object", "Int64"),
        ("float64", "category"), ("Sparse[float]", "Sparse[int]"),
    ],
)  # fmt: skip
def test_nullable_columns_without_gaps_are_read_as_ordinary_ones(a: str, b: str) -> None:
    frame = pd.DataFrame({"a": pd.Series(A, dtype=a), "b": pd.Series(B, dtype=b)})
    ordinary, nullable = classifier(), classifier()
    wanted = ordinary.fit(X, y, epochs=3).loss
    assert nullable.fit(frame, y, epochs=3).loss == wanted
    assert (nullable.params == ordinary.params).all()
    assert (nullable.predict_proba(frame) == ordinary.predict_proba(X)).all()
    assert (nullable.compile_predictor()(frame) == ordinary.predict_proba(X)).all()


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (pd.Series([5, 7, 5, 7], dtype="Int64"), np.array([5, 7])),
        (pd.Series([5, 7, 5, 7], dtype="int64[pyarrow]"), np.array([5, 7])),
        (pd.Series([True, False] * 2, dtype="boolean"), np.array([False, True])),
        (pd.Series(["b", "a"] * 2, dtype="string"), np.array(["a", "b"], object)),
        (pl.Series(["b", "a"] * 2), np.array(["a", "b"])),
        (pl.Series([5, 7, 5, 7]), np.array([5, 7])),
    ],
)
def test_nullable_labels_without_gaps_are_classes(labels: Any, classes: np.ndarray) -> None:
    net = classifier()
    net.fit(X, labels, epochs=1)
    assert net.classes_ is not None
    assert net.classes_.dtype == classes.dtype
    assert (net.classes_ == classes).all()
    assert net.predict(X).dtype == classes.dtype


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "boolean", "double[pyarrow]"])
def test_nullable_targets_and_weights_without_gaps_are_numbers(dtype: str) -> None:
    column = pd.Series(B, dtype=dtype)
    ordinary, nullable = regressor(), regressor()
    wanted = ordinary.fit(X, np.array(B, float), sample_weight=np.array(B, float), epochs=3).loss
    assert nullable.fit(X, column, sample_weight=column, epochs=3).loss == wanted


@pytest.mark.parametrize("dtype", ["Int64", "boolean", "double[pyarrow]", "object"])
def test_a_gap_among_targets_and_weights_is_named_by_row(dtype: str) -> None:
    column = pd.Series([0, 1, None, 1], dtype=dtype)
    with pytest.raises(InputError, match=r"y to be finite, got .+ in row 2(, column 0)?; remove"):
        regressor().fit(X, column)
    with pytest.raises(InputError, match=r"sample_weight to be finite, got .+ in row 2; remove"):
        regressor().fit(X, y, sample_weight=column)


def test_whole_numbers_beyond_float64_stay_apart_as_labels() -> None:
    big = 2**60
    net = classifier()
    net.fit(X, pd.Series([big, big + 1] * 2, dtype="Int64"), epochs=1)
    assert net.classes_ is not None
    assert net.classes_.tolist() == [big, big + 1]
