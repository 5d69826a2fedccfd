"""ONNX files of pipelines on typical tables, and labels of every type.

Each file is run in ONNX Runtime with columns in their own types, and must reproduce the model's
predictions. If that is not possible, one sentence says why, and no file is left.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import BaggingClassifier, StackingClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)

from fastmlp import Dense, MLPClassifier, MLPRegressor, Network, ReLU, to_onnx
from fastmlp.errors import InputError
from fastmlp.io import onnx_runtime

pytestmark = [
    pytest.mark.thinned(2),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

onnx = pytest.importorskip("onnx")
pytest.importorskip("skl2onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pandas = pytest.importorskip("pandas")

N = 90
RNG = np.random.default_rng(0)
FRAME = pandas.DataFrame({
    "price": RNG.normal(size=N),
    "floor": RNG.integers(0, 1000, N),
    "opened": RNG.integers(1_600_000_000_000, 1_600_100_000_000, N),  # in milliseconds
    "lift": RNG.random(N) < 0.5,
    "colour": RNG.choice(["red", "green", "blue"], N),
    "rooms": RNG.integers(0, 3, N),
    "age": RNG.integers(0, 200, N).astype(np.uint8),
    "share": RNG.normal(size=N).astype(np.float32),
    "day": np.arange(N).astype("M8[D]").astype("M8[ns]"),
})  # fmt: skip
FRAME["rent"] = FRAME["price"].where(RNG.random(N) < 0.8)
FRAME["kind"] = FRAME["colour"].astype("category")
FRAME["seats"] = FRAME["rooms"].astype("Int64").where(RNG.random(N) < 0.8)
LATE = (FRAME["opened"] - FRAME["opened"].mean()) / FRAME["opened"].std()
Y = (FRAME["price"] + (FRAME["colour"] == "red") + FRAME["lift"] + LATE > 0.5).to_numpy()
NUMBERS = ["price", "floor", "opened"]


def classifier(**options: Any) -> MLPClassifier:
    return MLPClassifier((8,), max_iter=10, random_state=0, **options)


def after(*steps: Any) -> Any:
    """A pipeline of one step, or of what each does to some columns."""
    if isinstance(steps[0], tuple):
        return make_pipeline(make_column_transformer(*steps), classifier())
    return make_pipeline(*steps, classifier())


def one_hot(**options: Any) -> OneHotEncoder:
    return OneHotEncoder(sparse_output=False, **options)


def polars(names: list[str]) -> Any:
    frame = pytest.importorskip("polars").DataFrame
    return frame({name: FRAME[name].to_numpy() for name in names})


PIPELINES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    # Of int64 and float64 in one scaler skl2onnx alone made files that could not be loaded.
    "numbers of all types": (
        lambda: after((StandardScaler(), [*NUMBERS, "age", "share", "lift"])), lambda: FRAME,
    ),
    "numbers and text": (
        lambda: after((StandardScaler(), NUMBERS), (one_hot(), ["colour"])), lambda: FRAME,
    ),
    "sparse codes": (
        lambda: after((StandardScaler(), NUMBERS), (OneHotEncoder(), ["colour"])), lambda: FRAME,
    ),
    "codes of everything": (
        lambda: after((one_hot(), ["lift", "colour", "rooms", "kind", "age"])), lambda: FRAME,
    ),
    "codes of truth values": (
        lambda: after((StandardScaler(), ["price"]), (one_hot(drop="if_binary"), ["lift"])),
        lambda: FRAME,
    ),
    "unknown categories": (
        lambda: after((one_hot(handle_unknown="ignore"), ["colour", "lift"])), lambda: FRAME,
    ),
    "numbered categories": (
        lambda: after((OrdinalEncoder(), ["colour", "lift", "rooms"])), lambda: FRAME,
    ),
    "passed through": (
        lambda: after((StandardScaler(), ["price"]), ("passthrough", ["lift", "rooms"])),
        lambda: FRAME,
    ),
    "the rest passed through": (
        lambda: make_pipeline(
            make_column_transformer((one_hot(), ["colour"]), remainder="passthrough"), classifier()
        ),
        lambda: FRAME[["price", "rooms", "lift", "colour"]],
    ),
    "columns by position": (
        lambda: after((StandardScaler(), [0, 1, 2]), (one_hot(), [4])), lambda: FRAME,
    ),
    "columns by type": (
        lambda: after(
            (StandardScaler(), make_column_selector(dtype_include="number")),
            (one_hot(), make_column_selector(dtype_include="bool")),
        ),
        lambda: FRAME.drop(columns=["rent", "seats"]),
    ),
    "gaps filled with means": (
        lambda: after((make_pipeline(SimpleImputer(), StandardScaler()), ["rent", *NUMBERS])),
        lambda: FRAME,
    ),
    "gaps of pandas' own": (
        lambda: after((SimpleImputer(), ["seats", "rent"]), (one_hot(), ["colour"])),
        lambda: FRAME,
    ),
    "zeros filled in": (
        lambda: after((SimpleImputer(missing_values=0.0), ["rooms", "share"])), lambda: FRAME,
    ),
    "a frame, standardised": (lambda: after(StandardScaler()), lambda: FRAME[NUMBERS]),
    "a frame, filled": (
        lambda: after(SimpleImputer(strategy="median"), StandardScaler()),
        lambda: FRAME[["rent", *NUMBERS]],
    ),
    "a frame with truth values": (
        lambda: after(MinMaxScaler()), lambda: FRAME[["price", "lift"]],
    ),
    "a frame of text": (lambda: after(one_hot()), lambda: FRAME[["colour"]]),
    "a frame of categories": (lambda: after(one_hot()), lambda: FRAME[["colour", "rooms", "lift"]]),
    "components": (lambda: after(StandardScaler(), PCA(2)), lambda: FRAME[NUMBERS]),
    "the best columns": (lambda: after(StandardScaler(), SelectKBest(k=2)), lambda: FRAME[NUMBERS]),
    "products": (
        lambda: after(PolynomialFeatures(2), StandardScaler()), lambda: FRAME[["price", "floor"]],
    ),
    "powers": (lambda: after(PowerTransformer()), lambda: FRAME[["price", "floor"]]),
    "other scalers": (
        lambda: after(RobustScaler(), MaxAbsScaler(), Normalizer()), lambda: FRAME[NUMBERS],
    ),
    "an array of float64": (lambda: after(StandardScaler()), lambda: FRAME[NUMBERS].to_numpy()),
    "an array of int64": (
        lambda: after(StandardScaler()), lambda: FRAME[["floor", "opened"]].to_numpy(),
    ),
    "an array of truth values": (
        lambda: after(StandardScaler()), lambda: FRAME[["lift"]].to_numpy(),
    ),
    "an array of uint8": (
        lambda: after(StandardScaler()), lambda: FRAME[["age", "age"]].to_numpy(),
    ),
    "an array of text": (lambda: after(one_hot()), lambda: FRAME[["colour"]].to_numpy(object)),
    "polars": (
        lambda: after((StandardScaler(), NUMBERS), (one_hot(), ["colour", "lift"])),
        lambda: polars([*NUMBERS, "colour", "lift"]),
    ),
    "polars, standardised": (lambda: after(StandardScaler()), lambda: polars(NUMBERS)),
    "a search": (
        lambda: GridSearchCV(
            after((StandardScaler(), NUMBERS)), {"mlpclassifier__alpha": [1e-4]}, cv=2
        ),
        lambda: FRAME,
    ),
    "calibrated": (
        lambda: make_pipeline(StandardScaler(), CalibratedClassifierCV(classifier(), cv=2)),
        lambda: FRAME[NUMBERS],
    ),
    "a bag": (
        lambda: make_pipeline(StandardScaler(), BaggingClassifier(classifier(), 2, random_state=0)),
        lambda: FRAME[NUMBERS],
    ),
    "a stack": (
        lambda: make_pipeline(StandardScaler(), StackingClassifier([("a", classifier())], cv=2)),
        lambda: FRAME[NUMBERS],
    ),
    "one against the rest": (
        lambda: make_pipeline(StandardScaler(), OneVsRestClassifier(classifier())),
        lambda: FRAME[NUMBERS],
    ),
}  # fmt: skip


def run(path: Path, X: Any) -> dict[str, np.ndarray]:
    """All outputs by name, for inputs in the types that X has."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feed = {}
    for found in session.get_inputs():
        values = X if found.name == "X" else np.asarray(X[found.name]).reshape(-1, 1)
        if found.type == "tensor(string)":
            values = np.asarray(values, object)
        elif values.dtype == object:  # pandas' own gaps
            values = np.array([[np.nan if v is pandas.NA else v] for v in values[:, 0]], float)
        feed[found.name] = values
    names = [found.name for found in session.get_outputs()]
    return dict(zip(names, session.run(None, feed), strict=True))


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines_answer_as_in_python(name: str, tmp_path: Path) -> None:
    make, rows = PIPELINES[name]
    X, path = rows(), tmp_path / "model.onnx"
    model = make().fit(X, Y)
    to_onnx(model, path, X)
    found = run(path, X)
    assert list(found) == ["label", "probabilities"]
    assert found["probabilities"].dtype == np.float32
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(X), atol=1e-5)
    np.testing.assert_array_equal(found["label"].astype(bool), model.predict(X))
    inputs = {i.name: i.type.tensor_type.elem_type for i in onnx.load(path).graph.input}
    if hasattr(X, "columns"):  # of their own types; what ONNX has no type for is left out
        assert set(inputs) == set(X.columns) - {"day"}
        assert inputs.get("floor", 7) == onnx.TensorProto.INT64
        assert inputs.get("lift", 9) == onnx.TensorProto.BOOL


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "quantile"])
@pytest.mark.parametrize("n_targets", [1, 2])
def test_pipelines_of_numbers_have_predictions(loss: str, n_targets: int, tmp_path: Path) -> None:
    path, options = tmp_path / "model.onnx", {}
    if loss == "quantile":
        options = {"quantile": [0.9, 0.1]}
    y = 1 + np.abs(FRAME[["price", "share"][:n_targets]].to_numpy())
    model = make_pipeline(
        make_column_transformer((StandardScaler(), NUMBERS), (one_hot(), ["colour", "lift"])),
        MLPRegressor(loss, (8,), max_iter=10, random_state=0, **options),
    ).fit(FRAME, y.squeeze())
    to_onnx(model, path, FRAME)
    found, wanted = run(path, FRAME), model.predict(FRAME)
    assert list(found) == ["predictions"]
    np.testing.assert_allclose(found["predictions"].reshape(wanted.shape), wanted, atol=1e-5)


# ----------------------------------------------------------------------------------------- labels


def objects(*values: Any) -> np.ndarray:
    made = np.empty(len(values), object)
    made[:] = values
    return made


LABELS = {
    "bool": np.array([False, True]),
    **{kind: np.arange(3).astype(kind) for kind in ("i1", "u1", "u2", ">i4", "u8", "f4", "f8")},
    "large": np.array([-(2**60), 0, 2**60]),
    "two of uint8": np.array([0, 1], np.uint8),
    "minus one and one": np.array([-1, 1]),
    "text": np.array(["a", "é", "c"]),
    "two of text": np.array(["no", "yes"]),
    "objects": objects("a", "b", "c"),
}
ONLY_OF_NETWORKS = {
    "StringDType": np.array(["a", "b", "c"], np.dtypes.StringDType()),
    "objects of numbers": objects(1, 5, 9),
}
X = RNG.normal(size=(N, 4))
NUMBERED = np.argmax(X[:, :3], axis=1)
MODELS: dict[str, Callable[[int], Any]] = {
    "estimator": lambda n: classifier(),
    "pipeline": lambda n: make_pipeline(StandardScaler(), classifier()),
    "search": lambda n: GridSearchCV(classifier(), {"alpha": [1e-4]}, cv=2),
    "network": lambda n: Network([Dense(8), ReLU(), Dense(n)]),
    "network of float64": lambda n: Network([Dense(8), ReLU(), Dense(n)], dtype="float64"),
}


def fitted(name: str, labels: np.ndarray) -> Any:
    model, y = MODELS[name](len(labels)), labels[NUMBERED % len(labels)]
    if isinstance(model, Network):
        model.fit(X, y, epochs=10)
        return model
    return model.fit(X, y)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("labels", [*LABELS, *ONLY_OF_NETWORKS])
def test_labels_of_every_type(labels: str, model: str, tmp_path: Path) -> None:
    if labels in ONLY_OF_NETWORKS and not model.startswith("network"):
        return
    values, path = (LABELS | ONLY_OF_NETWORKS)[labels], tmp_path / "model.onnx"
    made = fitted(model, values)
    for given, rows in ((None, X.astype(np.float32)), (X, X)):
        to_onnx(made, path, given)
        found = run(path, rows if model in ("pipeline", "search") else X.astype(np.float32))
        np.testing.assert_allclose(found["probabilities"], made.predict_proba(X), atol=1e-5)
        assert (found["label"] == np.array(made.predict(X).tolist())).mean() > 0.98
        assert found["label"].dtype == (object if isinstance(values[0], str) else np.int64)


def test_a_network_of_yes_or_no(tmp_path: Path) -> None:
    network = Network([Dense(8), ReLU(), Dense(1)], "binary_cross_entropy")
    network.fit(X, np.array(["no", "yes"])[NUMBERED % 2], epochs=10)
    for given in (None, X):
        to_onnx(network, tmp_path / "model.onnx", given)
        found = run(tmp_path / "model.onnx", X.astype(np.float32))
        np.testing.assert_allclose(
            found["probabilities"][:, 1:], network.predict_proba(X), atol=1e-5
        )
        np.testing.assert_array_equal(found["label"], network.predict(X))


def test_rows_of_a_network_are_taken_by_name(tmp_path: Path) -> None:
    frame = pandas.DataFrame(X, columns=list("abcd"))
    network = Network([Dense(8), ReLU(), Dense(3)])
    network.fit(frame, NUMBERED, epochs=5)
    for rows in (frame[list("dcba")], sparse.csr_array(X), X.tolist()):
        to_onnx(network, tmp_path / "model.onnx", rows)
    found = run(tmp_path / "model.onnx", X.astype(np.float32))
    np.testing.assert_allclose(found["probabilities"], network.predict_proba(X), atol=1e-5)


# --------------------------------------------------------------------------------- what is refused


class Doubling(TransformerMixin, BaseEstimator):
    """A step that skl2onnx does not know."""

    def fit(self, X: Any, y: Any = None) -> Doubling:
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: Any) -> Any:
        return 2 * np.asarray(X)


def renamed(**names: str) -> Any:
    return FRAME[NUMBERS].rename(columns=names)


REFUSED: dict[str, tuple[Callable[[], Any], Callable[[], Any], str]] = {
    "a step of one's own": (
        lambda: after(Doubling()), lambda: FRAME[NUMBERS],
        "steps that skl2onnx can write, got one that it refuses (Unable to find a shape calc",
    ),
    "a function": (
        lambda: after((FunctionTransformer(np.abs), NUMBERS)), lambda: FRAME,
        "steps that skl2onnx can write, got one that it refuses (FunctionTransformer is not supp",
    ),
    "columns named as outputs": (
        lambda: after(StandardScaler()), lambda: renamed(price="label", floor="probabilities"),
        "columns with other names than the outputs label and probabilities, got one named 'label' "
        "and one named 'probabilities'; rename those columns",
    ),
    "dates": (
        lambda: after((one_hot(), ["day"])), lambda: FRAME,
        "numbers or text in the column 'day', got dtype datetime64[ns]; turn it into numbers",
    ),
    "an array of mixed objects": (
        lambda: after(one_hot()), lambda: FRAME[["colour", "rooms"]].to_numpy(object),
        "X of numbers or of text, got dtype object; pass a data frame, whose columns may be of",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_written_is_refused(name: str, tmp_path: Path) -> None:
    make, rows, expected = REFUSED[name]
    model = make().fit(rows(), Y)
    with pytest.raises(InputError) as caught:
        to_onnx(model, tmp_path / "model.onnx", rows())
    assert str(caught.value).startswith(f"to_onnx: expected {expected}")
    assert list(tmp_path.iterdir()) == []


def test_rows_that_do_not_suit_the_model_are_refused(tmp_path: Path) -> None:
    model = after((StandardScaler(), NUMBERS)).fit(FRAME, Y)
    for rows in (FRAME[["price"]], FRAME[:0], FRAME.to_numpy()[:, :2].astype(float)):
        with pytest.raises(InputError, match="to_onnx: expected "):
            to_onnx(model, tmp_path / "model.onnx", rows)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("X", [None, X])
def test_a_file_that_would_answer_otherwise_is_not_written(
    X: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With rows or without: here, a layer whose node computes something else."""
    from fastmlp.io import onnx_graph

    estimator, pipeline = fitted("estimator", LABELS["text"]), fitted("pipeline", LABELS["text"])
    network = fitted("network", LABELS["i1"])
    monkeypatch.setitem(onnx_graph._NODES, ReLU, lambda _: ("Abs", {}))
    for model in (estimator, pipeline, network):
        with pytest.raises(
            InputError, match=r"steps whose answers ONNX can give, got others in \d"
        ):
            to_onnx(model, tmp_path / "model.onnx", X)
    monkeypatch.setitem(onnx_graph._NODES, ReLU, lambda _: ("Nonsense", {}))
    for model in (estimator, pipeline, network):
        with pytest.raises(InputError, match=r"to_onnx: expected steps that (ONNX|skl2onnx) can"):
            to_onnx(model, tmp_path / "model.onnx", X)
    assert list(tmp_path.iterdir()) == []


def test_without_onnxruntime_onnx_looks_at_the_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, rows = PIPELINES["numbers and text"]
    model, frame = made().fit(rows(), Y), rows()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    to_onnx(model, tmp_path / "model.onnx", frame)
    monkeypatch.undo()
    np.testing.assert_allclose(
        run(tmp_path / "model.onnx", frame)["probabilities"], model.predict_proba(frame), atol=1e-5
    )


def test_answers_are_compared_by_row() -> None:
    found = {
        "label": np.array([0, 1, 1]),
        "probabilities": np.array([[0.9, 0.1], [0.2, 0.8], [0.5004, 0.4996]], np.float32),
    }
    wanted = {name: values.copy() for name, values in found.items()}
    wanted["label"] = np.array([False, True, False])  # the last is a tie to rounding
    assert not onnx_runtime._differing(found, wanted).any()
    wanted["label"] = np.array([True, True, True])
    assert onnx_runtime._differing(found, wanted).tolist() == [True, False, False]
    wanted["label"], wanted["probabilities"] = found["label"], found["probabilities"][::-1]
    assert onnx_runtime._differing(found, wanted).tolist() == [True, False, True]
    session = SimpleNamespace(run=lambda *_: 1 / 0)
    with pytest.raises(InputError, match=r"answers for the rows of X, got an error \(division by"):
        onnx_runtime.check_answers(session, ["label"], [], fitted("network", LABELS["i1"]), X)
