"""Moments and shapes of every initial draw, and what a network picks where nothing is said.
The neural tangent parametrisation is held against steps on the parameters it stands for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastmlp.errors import InputError
from fastmlp.network import Network
from fastmlp.nn import ACTIVATIONS, Dense, Dropout, Tanh
from fastmlp.nn.initializers import (
    INITIALIZERS,
    NTK,
    GlorotNormal,
    HeUniform,
    Initializer,
    LeCunNormal,
    Normal,
    Zeros,
    default_for,
)
from fastmlp.optim.optimizers import OPTIMIZERS, SGD, Adam, Optimizer
from fastmlp.registry import specification

pytestmark = pytest.mark.nojit
N_IN, N_OUT = 500, 300
EVERY = pytest.mark.parametrize("initializer", list(INITIALIZERS), ids=INITIALIZERS.names)

GLOROT, HE, LECUN = 2 / (N_IN + N_OUT), 2 / N_IN, 1 / N_IN
UNIFORM, NORMAL = 9 / 5, 3.0  # fourth moment over the square of the second
FORMULAS = {  # variance and kurtosis
    "glorot_uniform": (GLOROT, UNIFORM),
    "glorot_normal": (GLOROT, NORMAL),
    "he_uniform": (HE, UNIFORM),
    "he_normal": (HE, NORMAL),
    "lecun_uniform": (LECUN, UNIFORM),
    "lecun_normal": (LECUN, NORMAL),
    "normal": (0.1**2, NORMAL),
    "ntk": (1 / N_IN, NORMAL),
}


@EVERY
def test_draws_have_the_size_and_the_mean_zero(initializer: type[Initializer]) -> None:
    W = initializer().draw(np.random.default_rng(0), N_IN, N_OUT)
    assert (W.shape, W.dtype) == ((N_IN, N_OUT), np.dtype(np.float64))
    assert np.isfinite(W).all()
    assert abs(W.mean()) <= 4 * W.std() / np.sqrt(W.size)


@pytest.mark.parametrize(("name", "moments"), FORMULAS.items(), ids=FORMULAS)
def test_draws_have_the_variance_and_the_shape_of_the_formula(
    name: str, moments: tuple[float, float]
) -> None:
    W = INITIALIZERS[name]().draw(np.random.default_rng(0), N_IN, N_OUT)
    variance, kurtosis = moments
    deviation = np.sqrt((kurtosis - 1) / W.size)  # of a sample variance, relative
    assert (W**2).mean() == pytest.approx(variance, rel=4 * deviation)
    assert (W**4).mean() / (W**2).mean() ** 2 == pytest.approx(kurtosis, rel=0.03)
    if kurtosis == UNIFORM:
        assert np.abs(W).max() <= np.sqrt(3 * variance)


@pytest.mark.parametrize("name", [name for name in FORMULAS if name != "normal"])
def test_variances_follow_the_sizes(name: str) -> None:
    made = INITIALIZERS[name]()
    rng = np.random.default_rng(0)
    wide, narrow = made.draw(rng, 800, 100).var(), made.draw(rng, 200, 100).var()
    ratio = 300 / 900 if "glorot" in name else 200 / 800
    assert wide / narrow == pytest.approx(ratio, rel=0.05)


def test_zeros_and_a_normal_of_any_scale() -> None:
    rng = np.random.default_rng(0)
    assert (Zeros().draw(rng, 3, 2) == 0).all()
    assert Normal(2.5).draw(rng, 300, 300).std() == pytest.approx(2.5, rel=0.02)
    assert (Normal(0).draw(rng, 3, 2) == 0).all()


@EVERY
def test_draws_are_reproducible_and_go_on(initializer: type[Initializer]) -> None:
    one, other = np.random.default_rng(3), np.random.default_rng(3)
    first, again = initializer().draw(one, 4, 5), initializer().draw(other, 4, 5)
    assert first.tobytes() == again.tobytes()
    if first.any():
        assert (initializer().draw(one, 4, 5) != first).all()


@EVERY
def test_every_initializer_is_known_by_its_name(initializer: type[Initializer]) -> None:
    assert INITIALIZERS[initializer.name] is initializer
    assert INITIALIZERS.make(specification(initializer()), Initializer) == initializer()
    layer = Dense(3, 2, initializer=initializer.name, bias_initializer=initializer())
    assert layer.initializer == layer.bias_initializer == initializer()
    network = Network([layer], random_state=5)
    rng = np.random.default_rng(5)
    assert layer.W.tolist() == initializer().draw(rng, 3, 2).astype("float32").tolist()
    assert (layer.b == initializer().draw(rng, 1, 2)[0].astype("float32")).all()
    assert network.params.size == 8


def test_the_base_class_leaves_the_draw_open() -> None:
    with pytest.raises(NotImplementedError):
        Initializer().draw(np.random.default_rng(0), 1, 1)
    assert Initializer().parameter_scale(9) == 1.0


def test_an_initializer_of_ones_own() -> None:
    class Identity(Initializer):
        name = "identity"

        def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
            return np.eye(n_in, n_out)

    network = Network([Dense(3, 2, initializer=Identity())])
    assert network.params.tolist() == [1, 0, 0, 1, 0, 0, 0, 0]


def test_errors_in_full() -> None:
    with pytest.raises(InputError) as caught:
        Normal(-1)
    assert str(caught.value) == (
        "Normal: expected scale to be a number at least 0, got -1; choose a value in that range"
    )


# --------------------------------------------------------------- what is picked by the activation


@pytest.mark.parametrize("activation", list(ACTIVATIONS), ids=[a.name for a in ACTIVATIONS])
def test_weights_before_an_activation_have_its_spread(activation: type) -> None:
    network = Network([Dense(N_IN, N_OUT), activation(), Dense(100)])
    hidden, output = network.layers[0], network.layers[2]
    picked = default_for(activation.name)
    assert hidden.used_initializer == picked
    assert hidden.W.var() == pytest.approx(FORMULAS[picked.name][0], rel=0.03)
    assert output.W.var() == pytest.approx(2 / (N_OUT + 100), rel=0.03)  # Glorot, as linear
    assert (hidden.b == 0).all()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("relu", "leaky_relu", "elu", "gelu", "silu", "mish", "softplus"), "he_uniform"),
        (("selu",), "lecun_normal"),
        (("identity", "tanh", "sigmoid", "anything else"), "glorot_uniform"),
    ],
)
def test_rectifiers_get_he_selu_lecun_and_all_else_glorot(
    names: tuple[str, ...], expected: str
) -> None:
    assert {default_for(name).name for name in names} == {expected}


def test_what_is_said_wins_over_what_is_picked() -> None:
    network = Network([Dense(N_IN, N_OUT, initializer="glorot_normal"), ACTIVATIONS[1]()])
    assert network.layers[0].used_initializer == GlorotNormal()
    assert network.layers[0].W.var() == pytest.approx(GLOROT, rel=0.03)


def test_the_last_layer_is_taken_for_linear() -> None:
    assert Network([Dense(3, 2)]).layers[0].used_initializer.name == "glorot_uniform"
    assert default_for("relu") == HeUniform()
    assert default_for("selu") == LeCunNormal()


# --------------------------------------------------------------------------------------- the seed


def test_random_state_alone_decides_the_weights() -> None:
    def drawn(random_state: Any) -> bytes:
        layers = [Dense(4, 3), Tanh(), Dropout(), Dense(2, bias_initializer="normal")]
        return Network(layers, random_state=random_state).params.tobytes()

    assert drawn(7) == drawn(7)
    assert drawn(np.int64(7)) == drawn(7)
    assert drawn(np.random.default_rng(7)) == drawn(np.random.default_rng(7))
    assert drawn(np.random.RandomState(7)) == drawn(np.random.RandomState(7))
    assert len({drawn(7), drawn(8), drawn(None), drawn(None), drawn(np.random.default_rng(7))}) == 5


def test_layers_of_one_network_do_not_share_their_draws() -> None:
    network = Network([Dense(4, 4), Tanh(), Dense(4)])
    assert (network.layers[0].W != network.layers[2].W).all()


def test_both_types_draw_the_same_numbers() -> None:
    single, double = (Network([Dense(4, 3)], dtype=dtype) for dtype in ("float32", "float64"))
    assert (single.params == double.params.astype("float32")).all()


# ----------------------------------------------------------------- neural tangent parametrisation


class OnV:
    """An optimizer of one's own that moves V, where W = V / sqrt(n_in) is what the network has."""

    def __init__(self, network: Network, inner: Callable[[np.ndarray], np.ndarray]) -> None:
        self.scale = np.ones(network.params.size)
        for group in network.groups:
            if group.is_weight:
                part = slice(group.start, group.start + group.size)
                layer = network.layers[int(group.name.split(".")[0])]
                self.scale[part] = 1 / np.sqrt(layer.W.shape[0])
        self.inner = inner

    def step(self, params: np.ndarray, grads: np.ndarray) -> None:
        V = params / self.scale
        gradient = grads * self.scale  # dL/dV by the chain rule
        V += self.inner(gradient)
        params[...] = V * self.scale


def adam_on(rate: float) -> Callable[[np.ndarray], np.ndarray]:
    state = {"t": 0, "m": 0.0, "v": 0.0}

    def move(g: np.ndarray) -> np.ndarray:
        state["t"] += 1
        state["m"] = 0.9 * state["m"] + 0.1 * g
        state["v"] = 0.999 * state["v"] + 0.001 * g**2
        mean, square = state["m"] / (1 - 0.9 ** state["t"]), state["v"] / (1 - 0.999 ** state["t"])
        return -rate * mean / np.sqrt(square)

    return move


@pytest.mark.parametrize(
    ("optimizer", "inner"),
    [
        (SGD(0.05), lambda: lambda g: -0.05 * g),
        (Adam(0.01, epsilon=0.0), lambda: adam_on(0.01)),
    ],
    ids=["sgd", "adam"],
)
def test_tangent_steps_are_steps_on_the_parameters_behind_the_weights(
    optimizer: Optimizer,
    inner: Callable[[], Callable[[np.ndarray], np.ndarray]],
    rng: np.random.Generator,
) -> None:
    X, y = rng.normal(size=(12, 6)), rng.normal(size=(12, 2))
    networks = [
        Network(
            [Dense(6, 9, initializer="ntk"), Tanh(), Dense(2, initializer="ntk")],
            "mean_squared_error",
            "float64",
        )
        for _ in range(2)
    ]
    networks[0].fit(X, y, optimizer=optimizer, epochs=4, batch_size=5)
    networks[1].fit(X, y, optimizer=OnV(networks[1], inner()), epochs=4, batch_size=5)
    np.testing.assert_allclose(networks[0].params, networks[1].params, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("optimizer", "move"),
    [
        (SGD(0.05), lambda g: 0.05 / 9 * g),
        (SGD(0.05, 0.9), lambda g: 0.05 / 9 * g),
        (Adam(0.05), lambda g: 0.05 / 3 * np.sign(g)),
    ],
)
def test_one_tangent_step_moves_the_weights_as_the_formula_says(
    optimizer: Optimizer, move: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator
) -> None:
    X, y = rng.normal(size=(5, 9)), rng.normal(size=5)
    network = Network([Dense(9, 1, initializer=NTK())], "mean_squared_error", "float64")
    layer = network.layers[0]
    before = layer.W.copy()
    network.loss_and_gradient(X, y)
    expected = before - move(layer.dW)
    network.fit(X, y, optimizer=optimizer, epochs=1, batch_size=5)
    np.testing.assert_allclose(layer.W, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("cls", list(OPTIMIZERS), ids=OPTIMIZERS.names)
def test_decay_shrinks_tangent_weights_like_any_others(cls: type[Optimizer]) -> None:
    X, y = np.zeros((4, 9)), np.zeros(4)
    network = Network([Dense(9, 1, initializer="ntk")], "mean_squared_error", "float64")
    before = network.layers[0].W.copy()
    network.fit(X, y, optimizer=cls(0.1, weight_decay=0.5), epochs=1, batch_size=4)
    np.testing.assert_allclose(network.layers[0].W, 0.95 * before, rtol=1e-12)
