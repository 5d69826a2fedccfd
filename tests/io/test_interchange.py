"""Models that leave for other libraries or come from them predict there what they predict here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_digits, make_multilabel_classification
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, RobustScaler, StandardScaler

from fastmlp import (
    Dense,
    Dropout,
    MLPClassifier,
    MLPRegressor,
    Network,
    ReLU,
    Rescaling,
    Tanh,
    from_sklearn,
    from_torch,
    to_onnx,
    to_torch,
)
from fastmlp.errors import InputError, InputTypeError
from fastmlp.nn import ACTIVATIONS
from fastmlp.nn.losses import LOSSES

from ..support import Own

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = (part[:300] for part in load_digits(return_X_y=True))
X = X / 16
XR, YR = load_diabetes(return_X_y=True)
XR, YR = XR * 10, YR / 100
XM, YM = make_multilabel_classification(200, 64, random_state=0)


def run_onnx(path: Path, X: np.ndarray) -> list[np.ndarray]:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(None, {"X": X.astype(np.float32)})
    return found


CLASSIFIERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "many classes": (Y, {}),
    "two classes": (Y > 4, {}),
    "two texts": (np.array(["no", "yes"])[(Y > 4).astype(int)], {}),
    "text labels": (np.array(list("abcdefghij"))[Y], {"activation": "logistic"}),
    "labels with gaps": (3 * Y - 7, {"dropout": 0.2, "dtype": "float32"}),
}


@pytest.mark.parametrize("case", CLASSIFIERS)
def test_classifiers_in_onnx(case: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    y, parameters = CLASSIFIERS[case]
    model = MLPClassifier((20, 10), max_iter=20, random_state=0, **parameters).fit(X, y)
    to_onnx(model, tmp_path / "model.onnx")
    label, probabilities = run_onnx(tmp_path / "model.onnx", X)
    np.testing.assert_allclose(probabilities, model.predict_proba(X), atol=1e-5)
    assert (label == model.predict(X)).mean() > 0.99
    assert label.shape == Y.shape


def test_several_labels_in_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    model = MLPClassifier(max_iter=20, random_state=0).fit(XM, YM)
    to_onnx(model, tmp_path / "model.onnx")
    label, probabilities = run_onnx(tmp_path / "model.onnx", XM)
    np.testing.assert_allclose(probabilities, model.predict_proba(XM), atol=1e-5)
    assert (label == model.predict(XM)).mean() > 0.999


@pytest.mark.parametrize("parameters", [
    {}, {"loss": "poisson"}, {"loss": "quantile", "quantile": [0.9, 0.1, 0.5]},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("n_targets", [1, 2])
def test_regressors_in_onnx(parameters: dict[str, Any], n_targets: int, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    y = YR if n_targets == 1 else np.c_[YR, 2 + YR]
    model = MLPRegressor(max_iter=20, random_state=0, **parameters).fit(XR, y)
    to_onnx(model, tmp_path / "model.onnx")
    (found,) = run_onnx(tmp_path / "model.onnx", XR)
    predicted = model.predict(XR)
    np.testing.assert_allclose(found.reshape(predicted.shape), predicted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=[cls.name for cls in ACTIVATIONS])
@pytest.mark.parametrize("loss", list(LOSSES), ids=LOSSES.names)
def test_networks_in_onnx(activation: type, loss: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    layers = [Rescaling(0.5), Dense(64, 9), activation(), Dropout(0.3), Dense(9, 3)]
    network = Network(layers, loss=loss())
    to_onnx(network, tmp_path / "model.onnx")
    (found,) = run_onnx(tmp_path / "model.onnx", X)
    np.testing.assert_allclose(found, network.predict_proba(X), rtol=1e-4, atol=1e-5)


def test_a_fitted_network_in_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    network = Network([Dense(30), ReLU(), Dense(10)])
    network.fit(X, np.array(list("abcdefghij"))[Y], epochs=20)
    to_onnx(network, tmp_path / "model.onnx")
    label, probabilities = run_onnx(tmp_path / "model.onnx", X)
    np.testing.assert_allclose(probabilities, network.predict_proba(X), atol=1e-5)
    np.testing.assert_array_equal(label, network.predict(X))


def test_pipelines_of_numbers_in_onnx(tmp_path: Path) -> None:
    pytest.importorskip("skl2onnx")
    pipeline = make_pipeline(
        SimpleImputer(), StandardScaler(), MLPRegressor("quantile", quantile=[0.1, 0.9], max_iter=5)
    ).fit(XR, YR)
    to_onnx(pipeline, tmp_path / "model.onnx")
    (found,) = run_onnx(tmp_path / "model.onnx", XR)
    np.testing.assert_allclose(found, pipeline.predict(XR), atol=1e-5)


def check_pipeline(scaler: Any, X: np.ndarray, y: Any, path: Path, **parameters: Any) -> None:
    pytest.importorskip("skl2onnx")
    pipeline = make_pipeline(scaler, MLPClassifier(max_iter=5, **parameters)).fit(X, y)
    to_onnx(pipeline, path)
    label, probabilities = run_onnx(path, X)
    np.testing.assert_array_equal(label, pipeline.predict(X))
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("case", CLASSIFIERS)
def test_pipelines_of_classifiers_in_onnx(case: str, tmp_path: Path) -> None:
    y, parameters = CLASSIFIERS[case]
    check_pipeline(MinMaxScaler(), X, y, tmp_path / "model.onnx", **parameters)


def test_pipelines_of_several_labels_in_onnx(tmp_path: Path) -> None:
    check_pipeline(RobustScaler(), XM, YM, tmp_path / "model.onnx")


def test_pipelines_of_mixed_columns_in_onnx(tmp_path: Path) -> None:
    pytest.importorskip("skl2onnx")
    pandas, runtime = pytest.importorskip("pandas"), pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({
        "size": rng.normal(size=200).astype(np.float32),
        "colour": rng.choice(["red", "green", "blue"], 200),
        "count": rng.integers(0, 5, 200),
    })  # fmt: skip
    y = (frame["size"] + (frame["colour"] == "red") > 0.3).to_numpy()
    columns = make_column_transformer(
        (StandardScaler(), ["size"]),
        (OneHotEncoder(sparse_output=False), ["colour"]),
        ("passthrough", ["count"]),
    )
    pipeline = make_pipeline(columns, MLPClassifier(max_iter=50, random_state=0)).fit(frame, y)
    to_onnx(pipeline, tmp_path / "model.onnx", frame)
    session = runtime.InferenceSession(
        str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    inputs = {name: frame[[name]].to_numpy() for name in frame}
    label, probabilities = session.run(None, inputs)
    np.testing.assert_array_equal(label.astype(bool), pipeline.predict(frame))
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(frame), atol=1e-5)


@pytest.mark.nojit
def test_what_onnx_cannot_hold_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    path = tmp_path / "model.onnx"
    cases: list[tuple[Any, Any, str]] = [
        (Network([Dense(3)]), path, "expected a built network with a built-in loss, got one not"),
        (Network([Dense(3, 3), Own()]), path, "expected built-in layers, got Own"),
        (7, path, "expected a Network, MLPClassifier or MLPRegressor, got int; fit one of those"),
        (Network([Dense(3, 3)]), tmp_path / "model.txt", "expected a file name ending in .onnx"),
    ]
    for model, place, message in cases:
        with pytest.raises(InputError, match=message):
            to_onnx(model, place)
    assert list(tmp_path.iterdir()) == []


def test_pytorch_and_back() -> None:
    torch = pytest.importorskip("torch")
    model = MLPClassifier((20,), max_iter=5, random_state=0, dtype="float32").fit(X, Y)
    layers = [torch.nn.Linear(64, 20), torch.nn.ReLU(), torch.nn.Linear(20, 10)]
    module = torch.nn.Sequential(*layers)
    module.load_state_dict(to_torch(model))
    outputs = torch.softmax(module(torch.from_numpy(X.astype(np.float32))), dim=1)
    np.testing.assert_allclose(outputs.detach(), model.predict_proba(X), atol=1e-5)
    network = Network([Dense(64, 20), Tanh(), Dense(20, 10)], random_state=5)
    assert from_torch(module.state_dict(), network) is network
    np.testing.assert_array_equal(network.layers[0].W, model.coefs_[0])  # type: ignore[attr-defined]
    before = network.params.copy()
    with pytest.raises(InputError, match="from_torch: expected parameters of shapes"):
        from_torch(dict(list(module.state_dict().items())[:2]), network)
    np.testing.assert_array_equal(network.params, before)


@pytest.mark.thinned(1)
@pytest.mark.parametrize("y", [Y, Y > 4, YM[:, 0]], ids=["many", "two", "binary"])
def test_classifiers_of_scikit_learn_are_taken_over(y: np.ndarray) -> None:
    features = X if len(y) == 300 else XM
    theirs = TheirClassifier(max_iter=20, random_state=0, activation="tanh").fit(features, y)
    ours = from_sklearn(theirs)
    np.testing.assert_array_equal(ours.predict(features), theirs.predict(features))
    pairs = ours.predict_proba(features), theirs.predict_proba(features)
    np.testing.assert_allclose(*pairs, atol=1e-12)
    assert ours.get_params().items() >= theirs.get_params().items()
    ours.coefs_[0][...] = 0
    assert theirs.coefs_[0].any()  # its own copy
    ours.partial_fit(features, y)


def test_regressors_of_scikit_learn_are_taken_over() -> None:
    for loss in ("squared_error", "poisson"):
        theirs = TheirRegressor(loss, max_iter=20, random_state=0).fit(XR, YR)
        np.testing.assert_allclose(from_sklearn(theirs).predict(XR), theirs.predict(XR), rtol=1e-12)
    with pytest.raises(InputTypeError, match="from_sklearn: expected scikit-learn's MLPClassifier"):
        from_sklearn(7)
    with pytest.raises(InputError, match="expected a fitted model, got one not fitted yet"):
        from_sklearn(TheirRegressor())


@pytest.mark.nojit
@pytest.mark.parametrize("y", [Y[:12] % 3, Y[:12] > 4, YM[:12], YR[:12]], ids=["3", "2", "m", "r"])
def test_small_models_go_round(y: np.ndarray, tmp_path: Path) -> None:
    """Interpreted, too: from scikit-learn to ONNX."""
    pytest.importorskip("onnx")
    kind = TheirRegressor if y.dtype.kind == "f" else TheirClassifier
    theirs = kind(hidden_layer_sizes=(3,), max_iter=2, random_state=0).fit(XR[:12, :4], y)
    ours = from_sklearn(theirs)
    to_onnx(ours, tmp_path / "model.onnx")
    *_, found = run_onnx(tmp_path / "model.onnx", XR[:12, :4])
    wanted = theirs.predict(XR[:12, :4]) if kind is TheirRegressor else None
    if wanted is None:
        wanted = ours.predict_proba(XR[:12, :4])
        np.testing.assert_array_equal(ours.predict(XR[:12, :4]), theirs.predict(XR[:12, :4]))
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=1e-5)
    middle = [activation() for activation in ACTIVATIONS]
    network = Network([Rescaling(0.5), Dense(4, 5), *middle, Dropout(0.1), Dense(5, 2)])
    to_onnx(network, tmp_path / "other.onnx")
    (found,) = run_onnx(tmp_path / "other.onnx", XR[:12, :4])
    np.testing.assert_allclose(found, network.predict_proba(XR[:12, :4]), atol=1e-5)
