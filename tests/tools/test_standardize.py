"""Absorbed moments must give plain data the outputs that standardised data had.
The networks are trained in between, so that no weight is at a special value.
"""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.errors import InputError
from fastmlp.network import Network
from fastmlp.nn import Dense, Dropout, ReLU, Tanh
from fastmlp.nn.losses import Huber, Quantile
from fastmlp.optim.optimizers import Adam
from fastmlp.tools.standardize import Moments, absorb_inputs, absorb_outputs, constant, number_type

pytestmark = pytest.mark.nojit
N = 40
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
BOTH_TYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture
def X(rng: np.random.Generator) -> np.ndarray:
    """Columns of very different places and spreads, one of them constant."""
    return rng.normal([0.0, 100.0, -3.0, 7.0], [1.0, 20.0, 0.01, 0.0], (N, 4))


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest deviation, relative to the spread of what was expected."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


# ----------------------------------------------------------------------------------------- moments


def test_moments_are_mean_and_deviation(X: np.ndarray) -> None:
    moments = Moments.of(X)
    np.testing.assert_allclose(moments.mean, X.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(moments.scale[:3], X.std(axis=0)[:3], rtol=1e-14)
    assert moments.scale[3] == 1.0
    one = Moments.of(X[:, 1])
    np.testing.assert_allclose([*one], [moments.mean[1], moments.scale[1]], rtol=1e-14)
    assert Moments.of(np.full(5, 2)).scale == 1.0


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, -7.0, 1e6 + 0.1, 1e-200])
@pytest.mark.parametrize("n", [1, 3, 40, 1000])
def test_constant_columns_have_the_deviation_one(n: int, value: float) -> None:
    columns = np.column_stack([np.full(n, value), np.arange(n), np.full(n, value)])
    assert Moments.of(columns).scale.tolist() == [1.0, columns[:, 1].std() or 1.0, 1.0]
    assert Moments.of(columns[:, 0]).scale == 1.0
    np.testing.assert_allclose(Moments.of(columns).apply(columns)[:, 0], 0, atol=abs(value) * 1e-12)


def test_deviations_too_small_to_be_squared_count_as_none() -> None:
    assert Moments.of(np.array([0.0, 1e-200])).scale == 1.0


@BOTH_TYPES
@pytest.mark.parametrize("spread", [1e-45, 1e-42, 1e-38, 7e-37])
def test_deviations_that_float32_cannot_divide_by_count_as_none(
    spread: float, dtype: str, rng: np.random.Generator
) -> None:
    X = np.column_stack([spread * (np.arange(N) % 2), rng.normal(size=N)]).astype(dtype)
    moments = Moments.of(X)
    assert moments.scale[0] == 1.0
    network = Network([Dense(3)], dtype=dtype)
    network.fit(moments.apply(X), np.arange(N) % 3, epochs=2)
    before = network.outputs(moments.apply(X))
    absorb_inputs(network, moments)
    assert np.isfinite(network.params).all()
    assert error(network.outputs(X), before) <= TOLERANCE[dtype]


def test_small_deviations_that_float32_can_divide_by_are_kept() -> None:
    moments = Moments.of(np.array([0.0, 4e-36], np.float32))
    np.testing.assert_allclose(moments.scale, 2e-36, rtol=1e-6)
    assert np.isfinite(np.float32(100) / np.float32(moments.scale))


@BOTH_TYPES
def test_constant_columns_do_not_spoil_what_is_absorbed(
    dtype: str, rng: np.random.Generator
) -> None:
    X = np.column_stack([np.full(N, 0.1), rng.normal(size=(N, 2)), np.full(N, 0.3)])
    moments = Moments.of(X)
    network = Network([Dense(5), Tanh(), Dense(3)], dtype=dtype)
    network.fit(moments.apply(X), np.arange(N) % 3, epochs=5, optimizer=Adam(0.05))
    before = network.outputs(moments.apply(X))
    absorb_inputs(network, moments)
    assert error(network.outputs(X), before) <= TOLERANCE[dtype]


def test_applied_moments_leave_mean_nought_and_deviation_one(X: np.ndarray) -> None:
    Z = Moments.of(X).apply(X)
    np.testing.assert_allclose(Z.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(Z.std(axis=0), [1, 1, 1, 0], rtol=1e-9, atol=1e-9)
    y = Moments.of(X[:, 1]).apply(X[:, 1])
    assert (y.shape, round(float(y.std()), 9)) == ((N,), 1.0)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("float32", "float32"), ("float64", "float64"), ("int64", "float64"), ("uint8", "float64")],
)
def test_applied_moments_keep_the_type_of_floats(kind: str, dtype: str) -> None:
    values = np.array([[1, 2], [3, 6]], kind)
    Z = Moments.of(values).apply(values)
    assert Z.dtype.name == dtype
    assert Z.tolist() == [[-1, -1], [1, 1]]


# ------------------------------------------------------------------------------------------ inputs


@BOTH_TYPES
def test_absorbed_inputs_give_the_same_outputs_for_plain_data(dtype: str, X: np.ndarray) -> None:
    moments = Moments.of(X)
    Z = moments.apply(X)
    network = Network([Dense(6), Tanh(), Dense(3)], dtype=dtype)
    network.fit(Z, np.arange(N) % 3, epochs=5, optimizer=Adam(0.05))
    before, b = network.outputs(Z), network.layers[0].b.copy()
    absorb_inputs(network, moments)
    # A small deviation of a column near -3 costs float32 a few more digits than it has.
    tolerance = TOLERANCE[dtype] * (100 if dtype == "float32" else 10)
    assert error(network.outputs(X), before) <= tolerance
    assert error(network.outputs(Z), before) > 0.1  # it is no longer for standardised data
    assert (network.layers[0].b != b).all()
    assert network.params.dtype.name == dtype


@BOTH_TYPES
def test_absorbed_inputs_of_ordinary_columns_agree_to_the_precision_of_the_type(
    dtype: str, rng: np.random.Generator
) -> None:
    X = rng.normal([0.0, 2.0, -3.0], [1.0, 5.0, 2.0], (N, 3))
    moments = Moments.of(X)
    network = Network([Dense(6), Tanh(), Dense(3)], dtype=dtype)
    network.fit(moments.apply(X), np.arange(N) % 3, epochs=5, optimizer=Adam(0.05))
    before = network.outputs(moments.apply(X))
    absorb_inputs(network, moments)
    assert error(network.outputs(X), before) <= TOLERANCE[dtype]


# ----------------------------------------------------------------------------------------- outputs


@BOTH_TYPES
@pytest.mark.parametrize("shape", [(N,), (N, 1), (N, 3)])
def test_absorbed_outputs_predict_the_plain_target(
    shape: tuple[int, ...], dtype: str, rng: np.random.Generator
) -> None:
    X, y = rng.normal(size=(N, 4)), rng.normal(50.0, 10.0, shape)
    moments = Moments.of(y)
    network = Network([Dense(6), Tanh(), Dense(shape[-1] if len(shape) > 1 else 1)], Huber(), dtype)
    network.fit(X, moments.apply(y), epochs=5, optimizer=Adam(0.05))
    expected = network.predict(X) * moments.scale + moments.mean
    absorb_outputs(network, moments)
    assert network.predict(X).shape == shape
    assert error(network.predict(X), expected) <= TOLERANCE[dtype]


@BOTH_TYPES
@pytest.mark.parametrize("n_targets", [1, 2])
def test_absorbed_outputs_reach_every_level_of_their_target(
    n_targets: int, dtype: str, rng: np.random.Generator
) -> None:
    X, y = rng.normal(size=(N, 4)), rng.normal([10.0, -500.0], [2.0, 90.0], (N, 2))[:, :n_targets]
    moments, loss = Moments.of(y), Quantile((0.1, 0.5, 0.9))
    network = Network([Dense(5), Tanh(), Dense(3 * n_targets)], loss, dtype)
    network.fit(X, moments.apply(y), epochs=5, optimizer=Adam(0.05))
    levels = network.predict(X).reshape(N, n_targets, 3)
    expected = levels * moments.scale[:, None] + moments.mean[:, None]
    absorb_outputs(network, moments)
    assert error(network.predict(X), expected.reshape(N, -1)) <= TOLERANCE[dtype]


@BOTH_TYPES
def test_a_network_of_one_layer_absorbs_both(dtype: str, rng: np.random.Generator) -> None:
    X, y = rng.normal(5.0, 2.0, (N, 3)), rng.normal(30.0, 4.0, N)
    inputs, outputs = Moments.of(X), Moments.of(y)
    network = Network([Dense(3, 1)], "mean_squared_error", dtype)
    network.fit(inputs.apply(X), outputs.apply(y), epochs=5, optimizer=Adam(0.05))
    expected = network.predict(inputs.apply(X)) * outputs.scale + outputs.mean
    absorb_inputs(network, inputs)
    absorb_outputs(network, outputs)
    assert error(network.predict(X), expected) <= TOLERANCE[dtype]


# ------------------------------------------------------------------------------------------- types


@pytest.mark.parametrize(
    ("mean", "deviation", "dtype"),
    [
        (0.0, 1.0, "float32"),
        (2000.0, 10.0, "float32"),  # years
        (1.7e12, 1e10, "float32"),  # milliseconds of some months
        (1.7e12, 1e3, "float64"),  # of some seconds
        (300.0, 0.001, "float64"),
        (1e40, 1e40, "float64"),
        (-1.7e12, 1e3, "float64"),
    ],
)
def test_the_type_that_columns_need(
    mean: float, deviation: float, dtype: str, rng: np.random.Generator
) -> None:
    values = np.column_stack([rng.normal(size=N), rng.normal(mean, deviation, N)])
    found, columns = number_type("test", None, values, ["a", "b"])
    assert (found, columns) == (dtype, ["b"] if dtype == "float64" else [])
    assert number_type("test", "float64", values, ["a", "b"])[0] == "float64"
    if dtype == "float64":
        with pytest.raises(InputError, match="float32 can hold, got others in b; use float64"):
            number_type("test", "float32", values, ["a", "b"])
    else:
        assert number_type("test", "float32", values, ["a", "b"]) == ("float32", [])


@pytest.mark.parametrize("kind", ["int64", "uint64", "float64", "object"])
def test_the_kind_of_numbers_does_not_matter(kind: str) -> None:
    values = (1_700_000_000_000 + np.arange(N) * 50).astype(kind)[:, None]
    assert number_type("test", None, values, ["a"]) == ("float64", ["a"])


@BOTH_TYPES
def test_where_float32_is_chosen_it_loses_nothing(dtype: str, rng: np.random.Generator) -> None:
    """Right below the limit, absorbed weights on plain data give what standardised data gave."""
    X = np.column_stack([rng.normal(8000.0, 0.6, N), rng.normal(size=N)])
    assert number_type("test", None, X, ["a", "b"])[0] == "float32"
    moments = Moments.of(X)
    network = Network([Dense(6), Tanh(), Dense(3)], dtype=dtype)
    network.fit(moments.apply(X), np.arange(N) % 3, epochs=5, optimizer=Adam(0.05))
    before = network.outputs(moments.apply(X))
    absorb_inputs(network, moments)
    assert error(network.outputs(X), before) <= (2e-3 if dtype == "float32" else 1e-9)


@pytest.mark.parametrize("small", [1e-60, 1e-300])
def test_deviations_that_vanish_are_refused(small: float) -> None:
    values = small * np.arange(N, dtype=float)[:, None]
    with pytest.raises(InputError, match=r"a deviation between 8e-37 and 1e\+150 in a, got"):
        number_type("test", None, values, ["a"])
    with pytest.raises(InputError, match="scale the column"):
        number_type("test", None, values / small * 1e200, ["a"])
    assert number_type("test", None, np.full((N, 1), small), ["a"])[0] == "float32"


@BOTH_TYPES
def test_unused_columns_get_no_weights(dtype: str, rng: np.random.Generator) -> None:
    X = np.column_stack([np.full(N, 1.7e12), rng.normal(size=N)])
    moments = Moments.of(X)
    network = Network([Dense(6), Tanh(), Dense(3)], dtype=dtype)
    network.fit(moments.apply(X), np.arange(N) % 3, epochs=5, optimizer=Adam(0.05))
    before = network.outputs(moments.apply(X))
    absorb_inputs(network, moments, constant(X))
    assert error(network.outputs(X), before) <= TOLERANCE[dtype]
    assert not network.layers[0].W[0].any()


# ------------------------------------------------------------------------------------------ errors


def test_networks_that_cannot_absorb_are_refused_unchanged(X: np.ndarray) -> None:
    network = Network([Dropout(0.2), Dense(3), ReLU()]).build(4)
    before = network.params.copy()
    with pytest.raises(InputError) as caught:
        absorb_inputs(network, Moments.of(X))
    assert str(caught.value) == (
        "absorb_inputs: expected a network that starts with Dense, got Dropout(rate=0.2); "
        "standardise the data yourself"
    )
    with pytest.raises(InputError) as caught:
        absorb_outputs(network, Moments.of(X[:, :3]))
    assert str(caught.value) == (
        "absorb_outputs: expected a network that ends with Dense, got ReLU(); "
        "standardise the target yourself"
    )
    assert network.params.tobytes() == before.tobytes()
