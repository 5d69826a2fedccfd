"""Layers alone, outside any network, against plain NumPy; then user-defined layers inside one.
What they hold are views: what is written to one side shows on the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import pytest
from scipy import sparse as scipy_sparse

from fastmlp import reference
from fastmlp.errors import InputError, InputTypeError
from fastmlp.network import Network
from fastmlp.nn import (
    ACTIVATIONS,
    ELU,
    LAYERS,
    Activation,
    Dense,
    Dropout,
    Embedding,
    GroupedDense,
    Identity,
    Layer,
    LeakyReLU,
    Members,
    PiecewiseLinear,
    ReLU,
    Rescaling,
    SharedDense,
    Tanh,
    chain_sizes,
)
from fastmlp.optim.optimizers import SGD, Adam
from fastmlp.serving import evaluation
from fastmlp.tools.gradient_check import _activation_options, example_of

TOLERANCE = {"float32": 1e-5, "float64": 1e-13}
ALL_ACTIVATIONS = pytest.mark.parametrize(
    "activation", list(ACTIVATIONS), ids=[a.name for a in ACTIVATIONS]
)


def message(call: Callable[[], Any]) -> str:
    """The full text of the error that a call raises."""
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value)


# ------------------------------------------------------------------------------------------ Dense

SHAPES = [(1, 1, 1), (1, 5, 3), (7, 1, 4), (6, 4, 1), (23, 17, 33), (9, 64, 16), (40, 3, 300)]


@pytest.mark.nojit
@pytest.mark.bounds
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n", "n_in", "n_out"), SHAPES)
def test_dense_alone_computes_products(
    n: int, n_in: int, n_out: int, dtype: str, rng: np.random.Generator
) -> None:
    X, dY = rng.normal(size=(n, n_in)).astype(dtype), rng.normal(size=(n, n_out)).astype(dtype)
    layer = Dense(n_in, n_out, bias_initializer="normal")
    Z = layer.forward(X)
    W, b = layer.W.astype(float), layer.b.astype(float)
    assert np.abs(W).max() > 0
    assert np.abs(b).max() > 0
    dX = layer.backward(dY)
    tolerance = {"rtol": TOLERANCE[dtype] * n_in, "atol": TOLERANCE[dtype] * max(n, n_in, n_out)}
    np.testing.assert_allclose(Z, X.astype(float) @ W + b, **tolerance)
    np.testing.assert_allclose(dX, dY.astype(float) @ W.T, **tolerance)
    np.testing.assert_allclose(layer.dW, X.astype(float).T @ dY.astype(float), **tolerance)
    np.testing.assert_allclose(layer.db, dY.astype(float).sum(axis=0), **tolerance)
    assert {a.dtype for a in (Z, dX, layer.W, layer.b, layer.dW, layer.db)} == {np.dtype(dtype)}
    assert (layer.dW.shape, layer.db.shape, dX.shape) == ((n_in, n_out), (n_out,), (n, n_in))


@pytest.mark.nojit
def test_dense_by_hand() -> None:
    layer = Dense(2, 2, initializer="zeros")
    X = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert layer.forward(X).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    layer.W, layer.b = [[1.0, 0.0], [2.0, -1.0]], [10.0, 20.0]
    assert layer.forward(X).tolist() == [[15.0, 18.0], [21.0, 16.0]]
    assert layer.backward(np.array([[1.0, 0.0], [0.0, 1.0]])).tolist() == [[1.0, 2.0], [0.0, -1.0]]
    assert layer.dW.tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert layer.db.tolist() == [1.0, 1.0]


@pytest.mark.nojit
def test_gradients_are_those_of_the_last_batch_and_not_a_sum(rng: np.random.Generator) -> None:
    layer, X, dY = Dense(3, 2), rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    layer.forward(X)
    layer.backward(dY)
    once = layer.dW.copy()
    layer.backward(dY)
    assert layer.dW.tobytes() == once.tobytes()


@pytest.mark.nojit
def test_dense_learns_its_inputs_from_the_first_data(rng: np.random.Generator) -> None:
    layer = Dense(4)
    assert (layer.n_in, layer.n_out, repr(layer)) == (None, 4, "Dense(4)")
    assert layer.forward(rng.normal(size=(2, 3))).shape == (2, 4)
    assert (layer.n_in, layer.n_out, repr(layer)) == (3, 4, "Dense(3, 4)")
    assert layer.W.shape == (3, 4)


@pytest.mark.nojit
@pytest.mark.parametrize(
    "X",
    [
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(12.0).reshape(2, 6)[:, ::2] / 2,
        np.arange(6, dtype=np.uint8).reshape(2, 3),
        np.arange(6).reshape(2, 3),
        [[0, 1, 2], [3, 4, 5]],
    ],
    ids=["Fortran", "strided", "uint8", "int64", "lists"],
)
def test_dense_takes_any_matrix(X: Any) -> None:
    layer = Dense(3, 2, initializer="normal")
    expected = np.arange(6.0).reshape(2, 3) @ layer_weights(layer)
    np.testing.assert_allclose(layer.forward(X), expected, rtol=1e-12)
    assert layer.backward(np.ones((2, 2), np.float32)).dtype == np.float64


def layer_weights(layer: Dense) -> np.ndarray:
    layer.initialize_alone(3)
    return layer.W.copy()


@pytest.mark.nojit
def test_a_dense_layer_alone_is_drawn_from_a_seed() -> None:
    layers = [Dense(3, 2) for _ in range(3)]
    for layer, seed in zip(layers, (1, 1, 2), strict=True):
        layer.initialize_alone(3, "float32", seed)
    assert layers[0].W.dtype == np.float32
    assert (layers[0].W == layers[1].W).all()
    assert (layers[0].W != layers[2].W).any()


@pytest.mark.nojit
def test_parameters_of_a_layer_are_views_of_the_networks_vectors() -> None:
    network = Network([Dense(3, 2), ReLU(), Dense(4)])
    first, last = network.layers[0], network.layers[2]
    network.params[...] = np.arange(network.params.size)
    assert first.W.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert last.W.tolist() == [[6, 7, 8, 9], [10, 11, 12, 13]]
    assert (first.b.tolist(), last.b.tolist()) == ([14, 15], [16, 17, 18, 19])
    network.grads[...] = -network.params
    assert first.dW.tolist() == [[0, -1], [-2, -3], [-4, -5]]
    assert last.db.tolist() == [-16, -17, -18, -19]
    for part, owner in ((first.W, network.params), (last.dW, network.grads)):
        assert np.shares_memory(part, owner)


@pytest.mark.nojit
def test_setting_a_parameter_copies_it_into_the_networks_vector() -> None:
    network = Network([Dense(2, 2)])
    layer = network.layers[0]
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    view = layer.W
    layer.W, layer.b = values, 7
    assert network.params.tolist() == [1, 2, 3, 4, 7, 7]
    assert layer.W is view
    values[...] = 0
    assert network.params.tolist() == [1, 2, 3, 4, 7, 7]
    layer.W[0, 1] = 9
    layer.b -= 1
    assert network.params.tolist() == [1, 9, 3, 4, 6, 6]
    with pytest.raises(InputError, match=r"values of shape \(2, 2\), got shape \(3, 2\)"):
        layer.W = np.zeros((3, 2))
    assert network.params.tolist() == [1, 9, 3, 4, 6, 6]


@pytest.mark.nojit
def test_largest_norms_are_kept_after_every_step(rng: np.random.Generator) -> None:
    X, y = rng.normal(size=(30, 5)), np.arange(30) % 3
    limited = Network([Dense(8, max_norm=0.5), ReLU(), Dense(3)])
    free = Network([Dense(8), ReLU(), Dense(3)])
    norms = []
    for network in (limited, free):
        network.fit(X, y, epochs=2, optimizer=SGD(0.5))
        norms.append(np.linalg.norm(network.layers[0].W, axis=0))
    assert norms[0].max() <= 0.5 * (1 + 1e-6)
    assert norms[0].max() >= 0.5 * (1 - 1e-6)
    assert norms[1].max() > 0.6
    assert np.linalg.norm(limited.layers[2].W, axis=0).max() > 0.5  # only where it was asked for


# ------------------------------------------------------------------------------------ activations

POINTS = np.array([[-30.0, -5.0, -1.5, -1e-3, -1e-9, 0.0], [1e-9, 1e-3, 0.5, 1.5, 5.0, 30.0]])


@pytest.mark.nojit
@pytest.mark.parametrize("options", ["default", "other"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@ALL_ACTIVATIONS
def test_activation_alone_agrees_with_its_formula(
    activation: type, dtype: str, options: str
) -> None:
    given = _activation_options(activation.name) if options == "other" else {}
    layer = activation(**given)
    value, slope = reference.ACTIVATIONS[activation.name]
    settings = {f.name: getattr(layer, f.name) for f in fields(layer)}
    X, dY = POINTS.astype(dtype), (1 + np.arange(12.0)).reshape(2, 6).astype(dtype)
    Y = layer.forward(X)
    dX = layer.backward(dY)
    assert (Y.dtype, dX.dtype) == (np.dtype(dtype), np.dtype(dtype))
    tolerance = {"rtol": 2e-6, "atol": 2e-7} if dtype == "float32" else {"rtol": 1e-9}
    smallest = {"atol": 2e-7 * dY.max()} if dtype == "float32" else {}
    exact = X.astype(float)
    np.testing.assert_allclose(Y, value(exact, **settings), **({"atol": 1e-15} | tolerance))
    expected = dY * slope(exact, **settings)
    # 1 - tanh^2 and its like lose relative precision where they are small.
    np.testing.assert_allclose(dX, expected, **({"atol": 1e-14} | tolerance | smallest))
    assert X.tobytes() == POINTS.astype(dtype).tobytes()  # the inputs are left alone


@pytest.mark.nojit
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rescaling_alone_is_a_product(dtype: str) -> None:
    layer, X, scale = Rescaling(0.3), POINTS.astype(dtype), np.dtype(dtype).type(0.3)
    np.testing.assert_array_equal(layer.forward(X), scale * X)
    np.testing.assert_array_equal(layer.backward(X + 1), scale * (X + 1))


@pytest.mark.nojit
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@ALL_ACTIVATIONS
def test_activation_stays_finite_far_out(activation: type, dtype: str) -> None:
    layer = activation()
    X = np.array([[-1e30, -1e4, -800.0, 800.0, 1e4, 1e30]], dtype)
    assert np.isfinite(layer.forward(X)).all()
    assert np.isfinite(layer.backward(np.ones_like(X))).all()


@pytest.mark.nojit
@ALL_ACTIVATIONS
def test_activation_carries_nan_on(activation: type) -> None:
    assert np.isnan(network_of(activation()).outputs_of_nan())


def network_of(layer: Layer) -> Any:
    """A network whose one hidden unit is nan, since checked inputs never are."""

    class Nan(Network):
        def outputs_of_nan(self) -> float:
            self.params[...] = 1
            self.layers[0].b[...] = np.nan
            X = np.ones((1, 1), self.dtype)
            return float(evaluation.outputs(self, X, link=False)[0, 0])  # `outputs` refuses nan

    return Nan([Dense(1, 1), layer, Dense(1)], "mean_squared_error")


@pytest.mark.nojit
@ALL_ACTIVATIONS
def test_activation_takes_and_keeps_the_width(activation: type) -> None:
    layer = activation()
    assert layer.build(5) == 5
    assert (layer.n_in, layer.n_out) == (5, 5)
    assert layer.parameter_shapes() == {}
    assert isinstance(layer.option, float)


# ---------------------------------------------------------------------------------------- Dropout


@pytest.mark.nojit
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout_alone_passes_everything_when_not_training(dtype: str) -> None:
    layer, X = Dropout(0.9), np.arange(1.0, 7.0).reshape(2, 3).astype(dtype)
    for _ in range(2):
        out = layer.forward(X)
        assert out.tobytes() == X.tobytes()
        assert not np.shares_memory(out, X)
    assert layer.backward(X).tobytes() == X.tobytes()


@pytest.mark.nojit
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.8])
def test_dropout_alone_drops_its_part_and_scales_the_rest(rate: float) -> None:
    layer, X = Dropout(rate), np.full((40, 50), 2.0)
    out = layer.forward(X, training=True)
    kept = out != 0
    assert np.isclose(out[kept], 2.0 / (1 - rate)).all()
    deviation = np.sqrt(rate * (1 - rate) / X.size)
    assert abs(np.mean(~kept) - rate) <= 4 * deviation
    assert (X == 2.0).all()
    # The same ones are dropped on the way back, and the rest scaled alike.
    dX = layer.backward(np.full((40, 50), 3.0))
    assert np.array_equal(dX != 0, kept)
    assert np.isclose(dX[kept], 3.0 / (1 - rate)).all()


@pytest.mark.nojit
def test_dropout_draws_anew_at_each_pass_and_again_on_demand() -> None:
    layer, X = Dropout(0.5), np.ones((8, 8))
    first, second = layer.forward(X, training=True), layer.forward(X, training=True)
    assert (first != second).any()
    layer.at_step(seed=0, stream=1, step=0)
    assert (layer.forward(X, training=True) == first).all()
    assert (layer.forward(X, training=True) == second).all()
    for seed, stream, step in ((1, 1, 0), (0, 2, 0), (0, 1, 1)):
        layer.at_step(seed, stream, step)
        assert (layer.forward(X, training=True) != first).any()


@pytest.mark.nojit
def test_neighbouring_dropouts_drop_independently() -> None:
    out = np.ones((60, 50))
    for stream in (1, 2):
        layer = Dropout(0.5)
        layer.at_step(0, stream, 0)
        out = layer.forward(out, training=True)
    assert abs(np.mean(out != 0) - 0.25) <= 4 * np.sqrt(0.25 * 0.75 / out.size)


@pytest.mark.nojit
def test_a_network_drops_in_training_only(rng: np.random.Generator) -> None:
    X, y = rng.normal(size=(20, 4)), rng.normal(size=20)
    dropping = Network([Dropout(0.5), Dense(4, 1)], "mean_squared_error")
    plain = Network([Dense(4, 1)], "mean_squared_error")
    plain.params[...] = dropping.build(4).params
    assert dropping.outputs(X).tobytes() == plain.outputs(X).tobytes()
    one, other = dropping.loss_and_gradient(X, y), plain.loss_and_gradient(X, y)
    assert one[0] == other[0]
    assert one[1].tobytes() == other[1].tobytes()
    trained = [net.fit(X, y, epochs=1).loss for net in (dropping, plain)]
    assert trained[0] != trained[1]


# --------------------------------------------------------------------------- a user-defined layer


class Gain(Layer):
    """Each column times a factor of its own."""

    name = "gain"

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        assert self.n_in is not None
        return {"gain": (self.n_in,)}

    def initialize(self, rng: np.random.Generator) -> None:
        self.parameters["gain"][...] = rng.uniform(0.5, 1.5, self.parameters["gain"].shape)

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        self.X = X
        return X * self.parameters["gain"]

    def backward(self, dY: np.ndarray) -> np.ndarray:
        self.gradients["gain"][...] = (dY * self.X).sum(axis=0)
        return dY * self.parameters["gain"]


class LowRank(Layer):
    """X U V with a narrow U: two matrices, and another width behind it than before."""

    name = "low_rank"

    def __init__(self, rank: int, n_out: int) -> None:
        self.rank, self.n_out = rank, n_out

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"U": (self.n_in or 0, self.rank), "V": (self.rank, self.n_out or 0)}

    def initialize(self, rng: np.random.Generator) -> None:
        for view in self.parameters.values():
            view[...] = rng.normal(0, 0.5, view.shape)

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        self.X = X
        return X @ self.parameters["U"] @ self.parameters["V"]

    def backward(self, dY: np.ndarray) -> np.ndarray:
        U, V = self.parameters["U"], self.parameters["V"]
        self.gradients["V"][...] = (self.X @ U).T @ dY
        self.gradients["U"][...] = self.X.T @ dY @ V.T
        return dY @ V.T @ U.T


@pytest.fixture
def own_network() -> Network:
    return Network([Gain(), LowRank(2, 5), Tanh(), Dense(3)], dtype="float64", l1=1e-3, l2=1e-2)


@pytest.mark.nojit
def test_own_parameters_stand_in_the_networks_vectors(own_network: Network) -> None:
    own_network.build(4)
    assert [(g.name, g.start, g.size, g.is_weight) for g in own_network.groups] == [
        ("1.U", 0, 8, True),
        ("1.V", 8, 10, True),
        ("3.W", 18, 15, True),
        ("0.gain", 33, 4, False),
        ("3.b", 37, 3, False),
    ]
    gain = own_network.layers[0].parameters["gain"]
    assert ((gain >= 0.5) & (gain <= 1.5)).all()
    gain[1] = 42
    assert own_network.params[34] == 42
    assert own_network.named_parameters()["0.gain"] is gain
    assert own_network.params.size == 40


@pytest.mark.nojit
def test_own_layers_train_in_a_network(own_network: Network, rng: np.random.Generator) -> None:
    X = rng.normal(size=(60, 4))
    y = np.argmax(X[:, :3], axis=1)
    own_network.build(4)
    before = own_network.params.copy()
    history = own_network.fit(X, y, optimizer=Adam(0.02), epochs=60, batch_size=16)
    assert history.loss[-1] < 0.5 * history.loss[0]
    assert own_network.score(X, y) > 0.85
    for group in own_network.groups:
        part = slice(group.start, group.start + group.size)
        assert (own_network.params[part] != before[part]).all(), group.name


@pytest.mark.nojit
def test_gradients_of_own_parameters_agree_with_differences(
    own_network: Network, rng: np.random.Generator
) -> None:
    X, y = rng.normal(size=(7, 4)), np.arange(7) % 3
    gradient = own_network.loss_and_gradient(X, y)[1]
    for i, value in enumerate(own_network.params.copy()):
        sides = []
        for moved in (value + 1e-6, value - 1e-6):
            own_network.params[i] = moved
            sides.append(own_network.loss_and_gradient(X, y)[0])
        own_network.params[i] = value
        assert (sides[0] - sides[1]) / 2e-6 == pytest.approx(gradient[i], abs=1e-8)


@pytest.mark.nojit
def test_optimizers_and_penalties_know_own_parameters(rng: np.random.Generator) -> None:
    X, y = np.zeros((4, 4)), np.zeros((4, 3))  # no data, so decay and penalties act alone
    for options, optimizer in (
        ({}, SGD(0.1, weight_decay=0.5)),
        ({"l2": 0.5}, SGD(0.1)),
    ):
        network = Network([Gain(), LowRank(2, 3)], "mean_squared_error", "float64", **options)
        network.build(4)
        before = network.params.copy()
        network.fit(X, y, optimizer=optimizer, epochs=1)
        np.testing.assert_allclose(network.params[:14], 0.95 * before[:14], rtol=1e-12)
        assert (network.params[14:] == before[14:]).all()  # a gain is no matrix, so not decayed
    network = Network([Gain(), LowRank(2, 3)], "mean_squared_error", "float64").build(4)
    before = network.params.copy()
    X, y = rng.normal(size=(4, 4)), rng.normal(size=(4, 3))
    network.fit(X, y, optimizer=SGD(0.1, factors={"0.gain": 0.0}), epochs=1)
    assert (network.params[14:] == before[14:]).all()
    assert (network.params[:14] != before[:14]).all()


@pytest.mark.nojit
def test_the_base_class_leaves_the_passes_open() -> None:
    layer = Layer()
    for call in (lambda: layer.forward(np.ones((1, 1))), lambda: layer.backward(np.ones((1, 1)))):
        with pytest.raises(NotImplementedError):
            call()
    assert layer.build(3) == 3
    assert layer.parameter_shapes() == {}
    assert layer.specification() == {"name": "layer"}
    assert layer.initialize(np.random.default_rng(0)) is None


# ----------------------------------------------------------------------------- names and settings


WITH_ARGUMENTS: dict[type, Layer] = {
    Embedding: Embedding(3, 2),
    GroupedDense: GroupedDense(3, 2, "ntk"),
    PiecewiseLinear: PiecewiseLinear([[0, 1, 2], [-2, 3, 3]]),
    Members: Members(2, "normal", [1, 4]),
    SharedDense: SharedDense(3, 2, "ntk"),
}


@pytest.mark.nojit
@pytest.mark.parametrize("layer", list(LAYERS), ids=LAYERS.names)
def test_every_layer_is_known_by_its_name(layer: type[Layer]) -> None:
    assert LAYERS[layer.name] is layer
    made = WITH_ARGUMENTS[layer] if layer in WITH_ARGUMENTS else example_of(layer.name)
    spec = made.specification()
    assert spec["name"] == layer.name
    assert LAYERS.make(made, Layer) is made
    if layer in WITH_ARGUMENTS:
        assert LAYERS.make(spec, Layer) == made
    elif not (layer is Dense or made.inner):
        assert LAYERS.make(spec, Layer) == made
        assert type(LAYERS.make(layer.name, Layer)) is layer


@pytest.mark.nojit
def test_layers_show_how_they_were_made() -> None:
    shown = [repr(layer) for layer in (Dense(3), Dense(4, 3), ReLU(), LeakyReLU(0.2), Dropout())]
    assert shown == [
        "Dense(3)",
        "Dense(4, 3)",
        "ReLU()",
        "LeakyReLU(negative_slope=0.2)",
        "Dropout(rate=0.5)",
    ]
    assert repr(Gain()) == "Gain()"
    assert repr(Network([Dense(4, 3), ReLU(), Dense(2)])) == (
        "Network([Dense(4, 3), ReLU(), Dense(3, 2)], loss='softmax_cross_entropy', dtype='float32')"
    )


@pytest.mark.nojit
def test_a_dense_layer_describes_itself() -> None:
    layer = Dense(4, 3, initializer="normal", max_norm=2.0)
    assert layer.specification() == {
        "name": "dense",
        "n_in": 4,
        "n_out": 3,
        "initializer": {"name": "normal", "scale": 0.1},
        "bias_initializer": {"name": "zeros"},
        "max_norm": 2.0,
    }
    assert Dense(3).specification()["n_in"] is None
    assert Dense(3).specification()["initializer"] is None


@pytest.mark.nojit
def test_sizes_are_chained_through_all_layers() -> None:
    layers = [Dropout(), Dense(5), Tanh(), Dense(5, 2), Identity()]
    assert chain_sizes(layers, 3) == 2
    assert [(layer.n_in, layer.n_out) for layer in layers] == [
        (3, 3), (3, 5), (5, 5), (5, 2), (2, 2),
    ]  # fmt: skip
    shapes = [shape for layer in layers for shape in layer.parameter_shapes().values()]
    assert shapes == [(3, 5), (5,), (5, 2), (2,)]


@pytest.mark.nojit
def test_initial_weights_suit_the_activation_behind_a_dropout() -> None:
    layers = [Dense(3, 5), Dropout(), ReLU(), Dense(4), Dropout(), Dense(2)]
    chain_sizes(layers, 3)
    found = [type(layer.used_initializer).__name__ for layer in layers if isinstance(layer, Dense)]
    assert found == ["HeUniform", "GlorotUniform", "GlorotUniform"]


# ----------------------------------------------------------------------------------------- errors


@dataclass
class Widening(Layer):
    name: ClassVar[str] = "widening"

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        return np.hstack([X, X])

    def backward(self, dY: np.ndarray) -> np.ndarray:
        return dY[:, : dY.shape[1] // 2]


def after_forward(layer: Layer) -> Layer:
    layer.forward(np.ones((2, 3)))
    return layer


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: Dense(0),
            "Dense: expected its sizes to be a whole number of at least 1, got 0; "
            "choose a larger one",
        ),
        (
            lambda: Dense(3, 2.0),
            "Dense: expected its sizes to be a whole number of at least 1, got float; pass an int",
        ),
        (
            lambda: Dense(True),
            "Dense: expected its sizes to be a whole number of at least 1, got bool; pass an int",
        ),
        (
            lambda: Dense(3, max_norm=0),
            "Dense: expected max_norm to be a number above 0, got 0; choose a value in that range",
        ),
        (
            lambda: Dense(3, initializer="he_unform"),
            "initializer: expected one of glorot_normal, glorot_uniform, he_normal, he_plus, "
            "he_uniform, lecun_normal, lecun_uniform, normal, ntk, uniform, unit_variance, zeros, "
            "got 'he_unform'; did you mean 'he_uniform'?",
        ),
        (
            lambda: Dense(3, bias_initializer=0.0),
            "initializer: expected a name or an object of fastmlp's Initializer, got float; "
            "use one of glorot_normal, glorot_uniform, he_normal, he_plus, he_uniform, "
            "lecun_normal, lecun_uniform, normal, ntk, uniform, unit_variance, zeros, or derive a "
            "class of your own",
        ),
        (
            lambda: Dense(3).W,
            "Dense(3): expected a layer that knows its input columns, got one that does not yet; "
            "call forward, fit or Network.build first",
        ),
        (
            lambda: Dense(3).db,
            "Dense(3): expected a layer that knows its input columns, got one that does not yet; "
            "call forward, fit or Network.build first",
        ),
        (
            lambda: Dense(3, 2).forward(np.ones((4, 5))),
            "Dense(3, 2).forward: expected X of shape (n, 3), got an array of shape (4, 5); "
            "pass the columns the network was built for",
        ),
        (
            lambda: Dense(3, 2).forward(np.ones(3)),
            "Dense(3, 2).forward: expected X of shape (n, 3), got an array of shape (3,); "
            "use X.reshape(1, -1) for one row, X.reshape(-1, 1) for one column",
        ),
        (
            lambda: ReLU().forward(np.array([[1.0, np.nan]])),
            "ReLU().forward: expected X to be finite, got nan in row 0, column 1; "
            "remove, replace or impute it",
        ),
        (
            lambda: Dense(3, 2).backward(np.ones((4, 2))),
            "Dense(3, 2).backward: expected a forward pass before it, got none; "
            "call forward(X) first",
        ),
        (
            lambda: Tanh().backward(np.ones((4, 2))),
            "Tanh().backward: expected a forward pass before it, got none; call forward(X) first",
        ),
        (
            lambda: Dropout(0.25).backward(np.ones((4, 2))),
            "Dropout(rate=0.25).backward: expected a forward pass before it, got none; "
            "call forward(X) first",
        ),
        (
            lambda: after_forward(Dense(3, 2)).backward(np.ones((2, 3))),
            "Dense(3, 2).backward: expected dY of shape (2, 2), as the last outputs, got (2, 3); "
            "call forward on the same batch first",
        ),
        (
            lambda: after_forward(Tanh()).backward(np.ones((3, 3))),
            "Tanh().backward: expected dY of shape (2, 3), as the last outputs, got (3, 3); "
            "call forward on the same batch first",
        ),
        (
            lambda: after_forward(Dropout(0.5)).backward(np.ones((1, 3))),
            "Dropout(rate=0.5).backward: expected dY of shape (2, 3), as the last outputs, "
            "got (1, 3); call forward on the same batch first",
        ),
        (
            lambda: LeakyReLU("0.1"),
            "LeakyReLU: expected negative_slope to be a number, got str; pass a number",
        ),
        (
            lambda: LeakyReLU(np.inf),
            "LeakyReLU: expected negative_slope to be a number, got inf; "
            "choose a value in that range",
        ),
        (
            lambda: ELU(-1),
            "ELU: expected alpha to be a number at least 0, got -1; choose a value in that range",
        ),
        (
            lambda: Dropout(1.0),
            "Dropout: expected rate to be a number at least 0 and below 1, got 1; "
            "choose a value in that range",
        ),
        (
            lambda: Network([Dense(4, 3), Dense(4, 2)]),
            "Dense(4, 2): expected an input of 4 columns, got 3; "
            "make sizes of neighbouring layers match",
        ),
        (
            lambda: Network([Widening(), Dense(2)]).fit(np.ones((4, 3)), [0, 1, 0, 1]),
            "Widening().forward: expected outputs of shape (4, 3), got (4, 6); "
            "set n_out in build if the layer changes the width",
        ),
    ],
)
def test_errors_in_full(call: Callable[[], Any], text: str) -> None:
    assert message(call) == text


@pytest.mark.nojit
def test_wrong_types_are_type_errors_too() -> None:
    with pytest.raises(InputTypeError):
        Dense("3")  # type: ignore[arg-type]
    assert issubclass(InputTypeError, TypeError)
    assert issubclass(Activation, Layer)


@pytest.mark.nojit
@pytest.mark.parametrize("wrong", ["sparse", "ragged", "text", "objects"])
def test_layers_alone_refuse_what_is_no_matrix_of_numbers(wrong: str) -> None:
    """Dense takes sparse rows; whatever else is no rectangle of numbers has its sentence."""
    bad: Any = {
        "sparse": scipy_sparse.csr_array(np.eye(3)), "ragged": [[1.0], [1.0, 2.0]],
        "text": [["a", "b", "c"]], "objects": [[object()] * 3],
    }[wrong]  # fmt: skip
    for layer in (ReLU(), Dropout(0.5), Dense(3, 3)):
        layer.forward(np.ones((2, 3)))
        with pytest.raises(InputError, match=r"backward: expected dY"):
            layer.backward(bad)
        if wrong != "sparse" or not isinstance(layer, Dense):
            with pytest.raises(InputError, match=r"forward: expected X"):
                layer.forward(bad)


@pytest.mark.nojit
def test_sizes_may_be_small_integers_of_numpy() -> None:
    """They would overflow when they are multiplied."""
    network = Network([Dense(200, np.int8(100)), ReLU(), Dense(np.uint8(200))])
    assert network.build(200).params.size == 200 * 100 + 100 + 100 * 200 + 200
    embedding = Network([Embedding(np.int8(100), np.int8(100)), Dense(3)]).build(1)
    assert embedding.params.size == 100 * 100 + 100 * 3 + 3
    assert [type(layer.n_out) for layer in network.layers] == [int] * 3
