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
    BatchNorm,
    Columns,
    Dense,
    Dropout,
    Embedding,
    GroupedDense,
    LayerNorm,
    Members,
    MLPClassifier,
    MLPRegressor,
    Network,
    ParametricActivation,
    PiecewiseLinear,
    PReLU,
    ReLU,
    Rescaling,
    Residual,
    Scale,
    SharedDense,
    Tanh,
    from_sklearn,
    from_torch,
    to_onnx,
    to_torch,
)
from fastmlp.errors import InputError, InputTypeError
from fastmlp.nn import ACTIVATIONS, LAYERS, Layer
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


def in_torch(torch: Any, layer: Layer) -> Any:
    """A module that computes what a layer computes, with the names of `to_torch`."""
    nn = torch.nn

    class Own(nn.Module):  # type: ignore[misc]
        def __init__(self, rule: Any, *shape: Any, **inner: Any) -> None:
            super().__init__()
            self.rule = rule
            if shape:
                self.weight = nn.Parameter(torch.zeros(*shape))
            for place, module in inner.items():
                self.add_module(place, module)

        def forward(self, x: Any) -> Any:
            return self.rule(self, x)

    def chain(layers: Any) -> Any:
        return nn.Sequential(*(in_torch(torch, one) for one in layers))

    def columns(self: Any, x: Any) -> Any:
        parts = [
            getattr(self, f"{i}")(x[:, list(branch.columns)])
            for i, branch in enumerate(layer.branches)  # type: ignore[attr-defined]
        ]
        taken = {i for branch in layer.branches for i in branch.columns}  # type: ignore[attr-defined]
        rest = [i for i in range(x.shape[1]) if i not in taken]
        return torch.cat([*parts, x[:, rest]], dim=1)

    def piecewise(self: Any, x: Any) -> Any:
        scale, start, low, high = map(torch.from_numpy, layer.lines())  # type: ignore[attr-defined]
        repeated = x.repeat_interleave(layer.n_bins, dim=1)  # type: ignore[attr-defined]
        return torch.minimum(torch.maximum((repeated - start) * scale, low), high)

    n_in, n_out = layer.n_in, layer.n_out
    match layer:
        case Dense():
            return nn.Linear(n_in, n_out)
        case Residual():
            inner = {f"{i}": in_torch(torch, one) for i, one in enumerate(layer.layers)}
            return Own(lambda self, x: x + nn.Sequential(*self.children())(x), **inner)
        case Columns():
            return Own(columns, **{f"{i}": chain(b.layers) for i, b in enumerate(layer.branches)})
        case Embedding():
            shape = layer.n_categories, layer.dim
            return Own(lambda self, x: self.weight[x.long()].flatten(1), *shape)
        case GroupedDense():
            conv = nn.Conv1d(n_in, n_out, 1, groups=n_in // layer.group_size)  # type: ignore[operator]
            conv.forward = lambda x: nn.Conv1d.forward(conv, x[:, :, None])[:, :, 0]
            return conv
        case SharedDense():
            shared = nn.Linear(n_in // layer.n_members, layer.units)  # type: ignore[operator]
            shared.forward = lambda x: nn.Linear.forward(
                shared, x.reshape(-1, shared.in_features)
            ).reshape(len(x), -1)
            return shared
        case Members():
            return Own(lambda self, x: x.repeat(1, layer.n_members) * self.weight, n_out)
        case PiecewiseLinear():
            return Own(piecewise)
        case Scale():
            return Own(lambda self, x: self.weight * x, n_in)
        case PReLU():
            return nn.PReLU(n_in)
        case ParametricActivation():
            rule = in_torch(torch, layer.activation)
            return Own(lambda self, x: x + self.weight * (rule(x) - x), n_in)
        case LayerNorm():
            return nn.LayerNorm(n_in)
        case BatchNorm():
            return nn.BatchNorm1d(n_in)
        case Rescaling():
            return Own(lambda self, x: layer.scale * x)
        case Dropout():
            return nn.Dropout(layer.rate)
    names = {
        "identity": nn.Identity(), "relu": nn.ReLU(), "leaky_relu": nn.LeakyReLU(0.01),
        "elu": nn.ELU(), "selu": nn.SELU(), "gelu": nn.GELU(), "silu": nn.SiLU(),
        "mish": nn.Mish(), "softplus": nn.Softplus(threshold=100), "sigmoid": nn.Sigmoid(),
        "tanh": nn.Tanh(), "cosine": Own(lambda self, x: torch.cos(x)),
    }  # fmt: skip
    return names[layer.name]


# A network of four columns with each kind of layer; activations need nothing.
EDGES = [[-1.0, 0.0, 0.5, 2.0], [0.0, 0.0, 1.0, 1.5], [-2.0, -1.0, 0.0, 1.0], [0.0, 1.0, 2.0, 3.0]]
BESIDE: dict[str, Any] = {
    "rescaling": lambda: [Rescaling(0.5)],
    "dense": list,
    "residual": lambda: [Residual([Dense(6), Tanh(), Dense(4)])],
    "columns": lambda: [Columns(([3, 1], [Dense(3), ReLU()]), (0, [GroupedDense(2)]))],
    "dropout": lambda: [Dropout(0.3)],
    "embedding": lambda: [Columns(([0, 2], [Embedding(5, 3)]))],
    "grouped_dense": lambda: [GroupedDense(3, group_size=2), GroupedDense(2)],
    "members": lambda: [Members(3, "normal")],
    "shared_dense": lambda: [SharedDense(3, n_members=2)],
    "piecewise_linear": lambda: [PiecewiseLinear(EDGES)],
    "scale": lambda: [Scale()],
    "prelu": lambda: [PReLU()],
    "parametric_activation": lambda: [ParametricActivation("mish"), ParametricActivation("cosine")],
    "layer_norm": lambda: [LayerNorm()],
    "batch_norm": lambda: [BatchNorm()],
}


@pytest.mark.peers
@pytest.mark.parametrize("name", LAYERS.names)
def test_every_layer_computes_the_same_in_pytorch(name: str) -> None:
    """With random parameters, there and, from another network's, back."""
    torch = pytest.importorskip("torch")
    make = BESIDE[name] if name in BESIDE else lambda: [LAYERS[name]()]
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(20, 4))
    rows[:, [0, 2]] = rng.integers(0, 5, (20, 2))  # categories, where they are wanted
    network, other = (
        Network([*make(), Dense(3)], dtype="float64", random_state=0).build(4) for _ in range(2)
    )
    network.params[...] = rng.normal(size=network.params.size)
    network.buffers[...] = rng.uniform(0.5, 2, network.buffers.size)  # a variance is positive
    module = torch.nn.Sequential(*(in_torch(torch, one) for one in network.layers)).double().eval()
    module.load_state_dict(to_torch(network))
    found = module(torch.from_numpy(rows)).detach().numpy()
    np.testing.assert_allclose(found, network.outputs(rows), atol=1e-10)
    from_torch(module.state_dict(), other)
    np.testing.assert_array_equal(other.params, network.params)
    np.testing.assert_array_equal(other.buffers, network.buffers)


def test_numbers_that_are_not_finite_change_nothing() -> None:
    network = Network([Dense(2, 2), Dense(2, 1)])
    before = network.params.copy()
    state = {
        "0.weight": np.ones((2, 2)), "0.bias": np.ones(2),
        "1.weight": np.ones((1, 2)), "1.bias": np.array([np.nan]),
    }  # fmt: skip
    with pytest.raises(InputError, match="from_torch: expected"):
        from_torch(state, network)
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
