"""Columns by name: for any order of a frame's columns, a network reads those it was trained on.

Every kind of frame goes through every method that takes X, and is compared with the plain array.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastmlp import Checkpoint, Dense, Network, ReLU
from fastmlp.errors import InputError
from fastmlp.inputs import columns

pandas = pytest.importorskip("pandas")

pytestmark = [pytest.mark.nojit, pytest.mark.thinned(4)]

NAMES = ("size", "age", "rent")
SHUFFLED = ["rent", "size", "age"]
A = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
Y = A @ np.array([1, 2, 3], np.float32)
FRAME = pandas.DataFrame(A, columns=list(NAMES))


def as_polars(frame: Any) -> Any:
    return pytest.importorskip("polars").DataFrame({name: frame[name].to_numpy() for name in frame})


def as_arrow(frame: Any) -> Any:
    return pytest.importorskip("pyarrow").Table.from_pandas(frame)


def as_batch(frame: Any) -> Any:
    return pytest.importorskip("pyarrow").RecordBatch.from_pandas(frame)


class Minimal:
    """A table of any other library: a shape, names, and a conversion to an array."""

    def __init__(self, frame: Any) -> None:
        self.values, self.columns = frame.to_numpy(), tuple(frame.columns)
        self.shape = self.values.shape

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.values if dtype is None else self.values.astype(dtype)


KINDS: dict[str, Callable[[Any], Any]] = {
    "pandas": lambda frame: frame,
    "pandas, nullable": lambda frame: frame.convert_dtypes(),
    "polars": as_polars,
    "pyarrow table": as_arrow,
    "pyarrow batch": as_batch,
    "another library": Minimal,
}


def network(**options: Any) -> Network:
    return Network([Dense(4), ReLU(), Dense(1)], "mean_squared_error", **options)


@pytest.fixture
def fitted() -> Network:
    made = network()
    made.fit(FRAME, Y, epochs=2)
    return made


USES: dict[str, Callable[[Network, Any], Any]] = {
    "predict": lambda net, X: net.predict(X),
    "predict_proba": lambda net, X: net.predict_proba(X),
    "outputs": lambda net, X: net.outputs(X),
    "evaluate": lambda net, X: net.evaluate(X, Y),
    "score": lambda net, X: net.score(X, Y),
    "loss_and_gradient": lambda net, X: net.loss_and_gradient(X, Y)[1],
    "fit": lambda net, X: (net.fit(X, Y, epochs=1), net.params.copy())[1],
    "validation": lambda net, X: net.fit(A, Y, epochs=1, validation_data=(X, Y)).validation_loss,
    "predictor": lambda net, X: net.compile_predictor()(X),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use", USES)
def test_columns_are_read_by_name(use: str, kind: str, fitted: Network) -> None:
    twin = copy.deepcopy(fitted)
    wanted = USES[use](twin, A)
    np.testing.assert_array_equal(USES[use](fitted, KINDS[kind](FRAME[SHUFFLED])), wanted)
    for other in (FRAME.iloc[:, :2], FRAME.assign(floor=1), FRAME.rename(columns={"age": "Age"})):
        with pytest.raises(InputError, match=r"of training, got .*('age'|'floor'|'rent')"):
            USES[use](fitted, KINDS[kind](other))


@pytest.mark.parametrize("kind", KINDS)
def test_fit_learns_the_names(kind: str) -> None:
    net = network()
    validation = (KINDS[kind](FRAME), Y)
    history = net.fit(KINDS[kind](FRAME[SHUFFLED]), Y, epochs=1, validation_data=validation)
    assert net.feature_names == tuple(SHUFFLED)
    assert history.validation_loss[0] == net.evaluate(A[:, [2, 0, 1]], Y)[0]
    net.fit(A, Y, epochs=1)
    assert net.feature_names == tuple(SHUFFLED)


def test_names_go_into_files_and_copies(fitted: Network, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model.safetensors")
    checkpointed = network()
    checkpointed.fit(FRAME, Y, epochs=2, callbacks=[Checkpoint(tmp_path)])
    for again in (
        Network.load(tmp_path / "model.safetensors"),
        Network.load(tmp_path / "epoch-000002.safetensors"),
        copy.deepcopy(fitted),
        pickle.loads(pickle.dumps(fitted)),
    ):
        assert again.feature_names == NAMES
        np.testing.assert_array_equal(again.predict(FRAME[SHUFFLED]), fitted.predict(A))


def test_a_network_learns_names_at_the_first_frame(fitted: Network) -> None:
    net = network()
    net.fit(A, Y, epochs=2)
    np.testing.assert_array_equal(net.predict(FRAME), fitted.predict(A))
    assert net.feature_names is None
    net.fit(FRAME, Y, epochs=1)
    assert net.feature_names == NAMES
    new = network()
    new.loss_and_gradient(FRAME, Y)
    assert new.feature_names == NAMES


def test_a_refused_fit_teaches_no_names() -> None:
    net = network()
    with pytest.raises(InputError, match="to be finite"):
        net.fit(FRAME.where(FRAME > 0), Y)
    with pytest.raises(InputError, match="y with 12 rows"):
        net.fit(FRAME, Y[:3])
    assert net.feature_names is None
    net.fit(FRAME.rename(columns={"age": "years"}), Y, epochs=1)
    assert net.feature_names == ("size", "years", "rent")


@pytest.mark.parametrize("names", [range(3), [("a", 1), ("a", 2), ("b", 1)], [1, 1, 1]], ids=str)
def test_names_that_are_not_text_are_no_names(names: Any, fitted: Network) -> None:
    frame = pandas.DataFrame(A)
    frame.columns = pandas.Index(list(names)) if names != range(3) else names
    np.testing.assert_array_equal(fitted.predict(frame), fitted.predict(A))
    net = network()
    net.fit(frame, Y, epochs=2)
    assert net.feature_names is None
    assert net.params.tobytes() == fitted.params.tobytes()


def test_what_has_no_columns_passes_as_before(fitted: Network) -> None:
    from scipy import sparse

    wanted = fitted.predict(A)
    for X in (A, A.tolist(), np.asfortranarray(A), memoryview(A), np.ma.array(A)):
        np.testing.assert_array_equal(fitted.predict(X), wanted)
    np.testing.assert_allclose(fitted.predict(sparse.csr_array(A)), wanted, atol=1e-6)
    assert columns.names_of("here", A) is columns.names_of("here", A.tolist()) is None


def test_the_place_of_a_fault_is_that_in_the_frame(fitted: Network) -> None:
    frame = FRAME[SHUFFLED].copy()
    frame.iloc[4, 0] = np.nan
    with pytest.raises(InputError, match="nan in row 4, column 0;"):
        fitted.predict(frame)


def test_a_predictor_takes_rows_by_name(fitted: Network) -> None:
    predictor, frame = fitted.compile_predictor(), FRAME[SHUFFLED]
    wanted = predictor(A[5])
    for row in (
        frame.iloc[5],
        frame.iloc[5].astype(object),
        frame.iloc[5].to_dict(),
        {"rent": A[5, 2], "age": A[5, 1], "size": A[5, 0]},
    ):
        np.testing.assert_array_equal(predictor(row), wanted)
    np.testing.assert_array_equal(predictor(frame.iloc[5:6]), wanted[None])
    np.testing.assert_array_equal(predictor(pandas.Series(A[5])), wanted)  # numbered, not named
    out = np.empty(1, np.float32)
    assert predictor(frame.iloc[5], out=out) is out
    np.testing.assert_array_equal(out, wanted)
    with pytest.raises(InputError, match="a row with the 3 columns of training, got none named"):
        predictor(frame.iloc[5].rename({"age": "years"}))


def test_a_predictor_without_names_takes_named_things_as_they_stand() -> None:
    net = network()
    net.fit(A, Y, epochs=2)
    predictor = net.compile_predictor()
    np.testing.assert_array_equal(predictor(FRAME), predictor(A))
    np.testing.assert_array_equal(predictor(FRAME.iloc[2]), predictor(A[2]))
