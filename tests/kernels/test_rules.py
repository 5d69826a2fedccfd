"""The scalar rules: activations, losses and optimizers against formulas written down once more.

Truth is computed in NumPy's longest floating-point type with other formulas than the kernels use
where a literal one would lose digits; bounds are multiples of the type's eps and say what for.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from scipy import special

from fastmlp.errors import InputError
from fastmlp.kernels.compiler.jit import JIT_ENABLED
from fastmlp.kernels.rules import losses, optimizers
from fastmlp.kernels.views import Factors, Memory, Rows, Run, Setting, Targets
from fastmlp.network import Network
from fastmlp.nn import ACTIVATIONS, ELU, Activation, Dense, LeakyReLU
from fastmlp.nn.initializers import NTK
from fastmlp.nn.losses import (
    LINKS,
    LOSSES,
    BinaryCrossEntropy,
    CompiledLoss,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    PoissonDeviance,
    Quantile,
    SoftmaxCrossEntropy,
)
from fastmlp.optim.optimizers import (
    OPTIMIZERS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Group,
    Optimizer,
    RMSprop,
)

from ..support import address_of

DTYPES = [np.float32, np.float64]
both_types = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
Long = np.longdouble

# ---------------------------------------------------------------- activations


def quiet(function: Any) -> Any:
    """The truth may overflow on its way to the right limit."""
    return np.errstate(all="ignore")(function)


def logistic(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def log_one_plus_exp(z: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, z)


def inverse_square_of_cosh(z: np.ndarray) -> np.ndarray:
    """1 - tanh(z)^2 without the subtraction."""
    return 1 / np.cosh(np.clip(z, -2000, 2000)) ** 2


def elu_truth(z: np.ndarray, alpha: Any) -> tuple[np.ndarray, np.ndarray]:
    below = np.minimum(z, 0)
    return np.where(z > 0, z, alpha * np.expm1(below)), np.where(z > 0, 1, alpha * np.exp(below))


@quiet
def activation_truth(name: str, z: np.ndarray, option: Any) -> tuple[np.ndarray, np.ndarray]:
    """Value and slope in the longest type."""
    z, option = z.astype(Long), Long(option)
    match name:
        case "identity":
            return z, np.ones_like(z)
        case "relu":
            return np.maximum(z, 0), np.heaviside(z, 0)
        case "leaky_relu":
            return np.where(z > 0, z, option * z), np.where(z > 0, 1, option)
        case "elu":
            return elu_truth(z, option)
        case "selu":
            scale = Long("1.0507009873554804934193349852946")
            value, slope = elu_truth(z, Long("1.6732632423543772848170429916717"))
            return scale * value, scale * slope
        case "gelu":
            below = special.ndtr(z.astype(np.float64)).astype(Long)
            return z * below, below + z * np.exp(-z * z / 2) / np.sqrt(2 * Long(np.pi))
        case "silu":
            return z * logistic(z), logistic(z) * (1 + z * logistic(-z))
        case "mish":
            s = log_one_plus_exp(z)
            return z * np.tanh(s), np.tanh(s) + z * logistic(z) * inverse_square_of_cosh(s)
        case "softplus":
            return log_one_plus_exp(z), logistic(z)
        case "sigmoid":
            return logistic(z), logistic(z) * logistic(-z)
        case "tanh":
            return np.tanh(z), inverse_square_of_cosh(z)
    raise AssertionError(f"no truth for {name}")


ACTIVATION_CASES: list[Activation] = [
    *(kind() for kind in ACTIVATIONS),
    LeakyReLU(negative_slope=0.3),
    LeakyReLU(negative_slope=-0.5),
    ELU(alpha=0.4),
    ELU(alpha=0.0),
]
every_activation = pytest.mark.parametrize("layer", ACTIVATION_CASES, ids=repr)


def sweep(dtype: Any) -> np.ndarray:
    """Dense where functions bend, and every magnitude a number of the type can have but a few."""
    dense = 120_001 if JIT_ENABLED else 201
    few = 4_001 if JIT_ENABLED else 41
    top = np.log10(np.finfo(dtype).max) - 1
    sizes = 10.0 ** np.linspace(-top, top, few)
    parts = [np.linspace(-45, 45, dense), np.linspace(-1, 1, dense // 8), sizes, -sizes]
    return np.concatenate(parts).astype(dtype)


def value_and_slope(layer: Activation, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    value, slope = z.copy(), np.full_like(z, -7)
    places = address_of(value), address_of(slope)
    layer.kernel(*places, z.size, float(layer.option), z.dtype.type(1))
    return value, slope


@pytest.mark.nojit
@every_activation
@both_types
def test_activation_is_accurate(layer: Activation, dtype: Any) -> None:
    """Values to 4 eps of themselves, slopes to 4 eps of their scale, which is at most 1.8.

    GELU's value for negative z is z times a small difference, accurate to eps |z| only. Slopes of
    SiLU and Mish hold z times a difference that is rounded in steps of eps / 2. Below the smallest
    normal number nothing is promised.
    """
    z = sweep(dtype)
    value, slope = value_and_slope(layer, z)
    true_value, true_slope = activation_truth(layer.name, z, dtype(layer.option))
    limits = np.finfo(dtype)
    size = np.abs(z.astype(Long))
    bound = 4 * limits.eps * np.abs(true_value) + limits.tiny
    if layer.name == "gelu":
        bound += limits.eps * size
    assert (np.abs(value - true_value) <= bound).all()
    bound = np.full(z.shape, 4 * limits.eps, Long)
    if layer.name in ("silu", "mish"):
        bound += limits.eps * np.minimum(size, 45)
    assert (np.abs(slope - true_slope) <= bound).all()
    assert np.ptp(value) > 1 - 1e-6
    if layer.name != "identity":
        assert np.ptp(slope) > 0.2


def test_every_activation_has_a_case() -> None:
    assert {type(layer) for layer in ACTIVATION_CASES} == set(ACTIVATIONS)
    assert len({kind.kernel for kind in ACTIVATIONS}) == len(ACTIVATIONS) == 11


@pytest.mark.nojit
@every_activation
@both_types
def test_activation_at_special_points(layer: Activation, dtype: Any) -> None:
    """Limits at infinity; nan in, nan out. At -inf, z times 0 may be nan in GELU, SiLU and Mish."""
    value, slope = value_and_slope(layer, np.array([np.inf, -np.inf, np.nan, 0.0, -0.0], dtype))
    alpha = dtype(layer.option)
    assert value[0] == {"sigmoid": 1, "tanh": 1}.get(layer.name, np.inf)
    at_minus = {
        "identity": -np.inf,
        "leaky_relu": np.copysign(np.inf, -alpha),
        "elu": -alpha,
        "selu": -1.0507009873554805 * 1.6732632423543772,
        "tanh": -1,
    }
    if layer.name not in ("gelu", "silu", "mish") or not np.isnan(value[1]):
        np.testing.assert_allclose(value[1], at_minus.get(layer.name, 0), rtol=3e-7)
    assert np.isnan(value[2]), "a nan is lost"
    at_zero = {"sigmoid": 0.5, "softplus": np.log(2.0)}.get(layer.name, 0)
    np.testing.assert_allclose(value[3:], at_zero, rtol=3e-7)
    kinked = {"relu": 0, "leaky_relu": alpha, "elu": alpha}
    if layer.name in kinked:
        np.testing.assert_array_equal(slope[3:], kinked[layer.name])


@pytest.mark.nojit
@every_activation
def test_activation_of_nothing(layer: Activation) -> None:
    value, slope = value_and_slope(layer, np.empty(0))
    assert value.size == slope.size == 0


# ---------------------------------------------------------------- losses

LOSS_CASES: list[CompiledLoss] = [
    SoftmaxCrossEntropy(),
    SoftmaxCrossEntropy(0.2),
    BinaryCrossEntropy(),
    BinaryCrossEntropy(0.2),
    MeanSquaredError(),
    MeanAbsoluteError(),
    Huber(),
    Huber(0.3),
    Quantile(0.9),
    Quantile((0.1, 0.5, 0.8)),
    PoissonDeviance(),
]
every_loss = pytest.mark.parametrize("loss", LOSS_CASES, ids=repr)
NO_LABELS = np.empty(0, np.int32)


def test_every_loss_has_a_case() -> None:
    assert {type(loss) for loss in LOSS_CASES} == set(LOSSES)
    assert len({loss.kernel for loss in LOSSES}) == len(tuple(LOSSES)) == 7
    assert {loss.link_name for loss in LOSSES} == set(LINKS)


def loss_truth(
    loss: CompiledLoss, Z: np.ndarray, T: np.ndarray, weight: np.ndarray
) -> tuple[Any, np.ndarray]:
    """Weighted mean loss and its gradient in the longest type."""
    Z, T, share = Z.astype(Long), T.astype(Long), weight.astype(Long)[:, np.newaxis]
    share = share / share.sum()
    option, R, mean = Long(loss.option), Z - T, Long(1) / Z.shape[1]
    match loss.name:
        case "softmax_cross_entropy":
            T = (1 - option) * T + option / Z.shape[1]
            log_p = Z - np.logaddexp.reduce(Z, axis=1, keepdims=True)
            value, slope, mean = -T * log_p, np.exp(log_p) * T.sum(1, keepdims=True) - T, Long(1)
        case "binary_cross_entropy":
            T = (1 - option) * T + option / 2
            value = T * np.logaddexp(0, -Z) + (1 - T) * np.logaddexp(0, Z)
            slope = logistic(Z) - T
        case "mean_squared_error":
            value, slope = R**2, 2 * R
        case "mean_absolute_error":
            value, slope = np.abs(R), np.sign(R)
        case "huber":
            near = np.abs(R) <= option
            value = np.where(near, R**2 / 2, option * (np.abs(R) - option / 2))
            slope = np.where(near, R, option * np.sign(R))
        case "quantile":
            levels = loss.levels_as(np.dtype(np.float64))
            levels = levels[np.arange(Z.shape[1]) % levels.size]
            value = np.maximum(levels * -R, (1 - levels) * R)
            slope = np.where(R > 0, 1 - levels, np.where(R < 0, -levels, 0))
        case "poisson_deviance":
            value = 2 * (T * np.log(np.where(T > 0, T, 1)) - T * Z - T + np.exp(Z))
            slope = 2 * (np.exp(Z) - T)
        case _:
            raise AssertionError(f"no truth for {loss.name}")
    return (value * share).sum() * mean, slope * share * mean


def loss_targets(
    loss: CompiledLoss, rng: np.random.Generator, shape: tuple[int, int]
) -> np.ndarray:
    match loss.task:
        case "classes":
            return rng.dirichlet(np.ones(shape[1]), shape[0])
        case "binary":
            return rng.choice([0.0, 0.25, 1.0], shape)
    if loss.name == "poisson_deviance":
        return rng.choice([0.0, 1.0, 2.5, 7.0], shape)  # zero times its logarithm is zero
    return rng.normal(0, 2, shape)


@pytest.mark.nojit
@every_loss
@both_types
def test_loss_and_gradient(loss: CompiledLoss, dtype: Any, rng: np.random.Generator) -> None:
    """Within 16 eps of the size of the terms, which are sums of up to six."""
    eps = np.finfo(dtype).eps
    for n_out in (1, 3, 6):
        Z = rng.normal(0, 3, (8, n_out)).astype(dtype)
        T = loss_targets(loss, rng, Z.shape).astype(dtype)
        if loss.task == "regression":
            Z[0, 0] = T[0, 0]  # at the corner of the absolute error
        for weight in (np.empty(0, dtype), rng.choice([0, 0.5, 3.0], 8).astype(dtype)):
            weight[:2] = 1
            value, gradient = loss.rows(Z, NO_LABELS, T.reshape(-1), weight)
            used = weight if weight.size else np.ones(8, dtype)
            true_value, true_gradient = loss_truth(loss, Z, T, used)
            size = np.abs(Z).max() + np.abs(T).max() + np.exp(Z.max() * (loss.link_name == "exp"))
            size = size**2 if loss.name == "mean_squared_error" else size
            assert abs(value - true_value) <= 16 * eps * size
            assert (np.abs(gradient - true_gradient) <= 16 * eps * size).all()
            assert not gradient[used == 0].any()
            if n_out > 1:
                assert value > 0
                assert np.ptp(gradient) > 0


@pytest.mark.nojit
@every_loss
def test_weights_count_rows(loss: CompiledLoss, rng: np.random.Generator) -> None:
    """A row of weight 3 is a row three times, a row of weight 0 is no row."""
    Z = rng.normal(size=(4, 3))
    T, times = loss_targets(loss, rng, Z.shape), np.array([1, 3, 0, 2])
    value, gradient = loss.rows(Z, NO_LABELS, T.reshape(-1), times.astype(float))
    again = np.repeat(np.arange(4), times)
    value_again, gradient_again = loss.rows(Z[again], NO_LABELS, T[again].reshape(-1), np.empty(0))
    np.testing.assert_allclose(value, value_again, rtol=1e-13)
    np.testing.assert_allclose(gradient[again], gradient_again * times[again, None], rtol=1e-12)
    assert value > 0


@pytest.mark.nojit
@every_loss
def test_no_weight_at_all(loss: CompiledLoss, rng: np.random.Generator) -> None:
    Z = rng.normal(size=(4, 3))
    value, gradient = loss.rows(Z, NO_LABELS, loss_targets(loss, rng, Z.shape).ravel(), np.zeros(4))
    assert value == 0
    assert not gradient.any()


@pytest.mark.nojit
@every_loss
@both_types
def test_a_row_of_weight_0_has_no_say(
    loss: CompiledLoss, dtype: Any, rng: np.random.Generator
) -> None:
    """Even where it is infinite or nan: zero means zero."""
    Z = rng.normal(size=(5, 3)).astype(dtype)
    T, weight = loss_targets(loss, rng, Z.shape).astype(dtype), np.array([1, 0, 2, 0, 0], dtype)
    value, gradient = loss.rows(Z, NO_LABELS, T.reshape(-1), weight)
    for bad in (np.inf, -np.inf, np.nan):
        Z[[1, 3]], Z[4, 1] = bad, bad
        spoilt, slopes = loss.rows(Z, NO_LABELS, T.reshape(-1), weight)
        assert spoilt == value
        np.testing.assert_array_equal(slopes, gradient)
    assert not gradient[[1, 3, 4]].any()
    assert gradient[[0, 2]].any()


@pytest.mark.nojit
@both_types
def test_labels_are_one_hot_rows(dtype: Any, rng: np.random.Generator) -> None:
    """The same bits; with smoothing, the row's sum of targets may be an eps off from 1."""
    Z, labels = rng.normal(0, 4, (9, 5)).astype(dtype), rng.integers(0, 5, 9).astype(np.int32)
    labels[:5] = range(5)
    weight, one_hot = rng.uniform(1, 2, 9).astype(dtype), np.eye(5, dtype=dtype)[labels].ravel()
    for smoothing, tolerance in ((0.0, 0.0), (0.1, 4 * np.finfo(dtype).eps)):
        loss = SoftmaxCrossEntropy(smoothing)
        value, gradient = loss.rows(Z, labels, np.empty(0, dtype), weight)
        dense_value, dense_gradient = loss.rows(Z, NO_LABELS, one_hot, weight)
        assert value == dense_value > 0
        assert np.ptp(gradient) > 0
        np.testing.assert_allclose(gradient, dense_gradient, rtol=0, atol=tolerance)


@pytest.mark.nojit
@both_types
def test_extreme_logits(dtype: Any) -> None:
    """Logits of 10000 either way: the loss is their difference, gradients are -1, 0 and 1."""
    big = 1e4
    Z = np.array([[big, -big], [-big, big], [big, big], [-big, -big]], dtype)
    nothing, labels = np.empty(0, dtype), np.zeros(4, np.int32)
    value, gradient = SoftmaxCrossEntropy().rows(Z, labels, nothing, nothing)
    np.testing.assert_allclose(value, (0 + 2 * big + 2 * np.log(2)) / 4, rtol=1e-6)
    wanted = np.array([[0, 0], [-1, 1], [-0.5, 0.5], [-0.5, 0.5]])
    np.testing.assert_array_equal(4 * gradient, wanted)
    T = np.array([1, 0, 1, 0] * 2, dtype)
    value, gradient = BinaryCrossEntropy().rows(Z, NO_LABELS, T, nothing)
    np.testing.assert_allclose(value, 4 * big / 8, rtol=1e-6)
    np.testing.assert_array_equal(8 * gradient, [[0, 0], [-1, 1], [0, 1], [-1, 0]])
    for loss in (Huber(), MeanAbsoluteError(), Quantile(0.25), MeanSquaredError()):
        value, gradient = loss.rows(Z, NO_LABELS, T, nothing)
        assert 0 < value < 1.01e8
        assert np.isfinite(gradient).all()
        assert gradient.all()


@pytest.mark.nojit
@both_types
def test_sharp_targets_ignore_impossible_classes(dtype: Any) -> None:
    """A class with target 0 adds nothing, however far its logit: no 0 times infinity."""
    Z, T = np.array([[0, -np.inf, 0]], dtype), np.array([0.5, 0, 0.5], dtype)
    value, gradient = SoftmaxCrossEntropy().rows(Z, NO_LABELS, T, np.empty(0, dtype))
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    assert not gradient.any()


@pytest.mark.nojit
def test_nan_outputs_make_the_loss_nan() -> None:
    """Divergence must show, so no loss may swallow a nan, not even one that clips."""
    for loss in LOSS_CASES:
        Z = np.array([[0.5, np.nan], [0.5, 0.5]])
        value, _ = loss.rows(Z, NO_LABELS, np.full(4, 0.25), np.empty(0))
        assert np.isnan(value), loss


@pytest.mark.nojit
@pytest.mark.bounds
@every_loss
def test_rows_of_a_batch_in_any_order_and_in_parts(
    loss: CompiledLoss, rng: np.random.Generator
) -> None:
    """Row r is sample order[r]; a call writes its rows only; parts give the bits of the whole."""
    n, n_samples, n_out = 7, 12, 4
    order = rng.permutation(n_samples)[:n].astype(np.int32)
    Z, T = rng.normal(size=(n, n_out)), loss_targets(loss, rng, (n_samples, n_out))
    weight = rng.uniform(0.5, 2, n_samples)
    levels = loss.levels_as(np.dtype(np.float64))
    one, targets = np.float64(1), T.reshape(-1)
    total = losses.total_weight(order, address_of(weight), one)
    weigh = losses.weigh_rows.address(np.dtype(type(one)))
    assert total == pytest.approx(weight[order].sum(), rel=1e-14)

    def run(*ends: int) -> tuple[np.ndarray, np.ndarray]:
        gradient, row_losses, scratch = np.full(n * n_out, -9.0), np.full(n, -9.0), Z.copy()
        for first, last in itertools.pairwise(ends):
            loss.kernel(
                Setting(loss.option, address_of(levels), levels.size), address_of(scratch), n_out,
                Rows(address_of(order), first, last),
                Targets(0, address_of(targets), address_of(weight), weigh, total),
                address_of(gradient),
                address_of(row_losses), one,
            )  # fmt: skip
            np.testing.assert_array_equal(
                np.delete(scratch, np.r_[: ends[-1]], axis=0), Z[ends[-1] :]
            )
        return gradient.reshape(n, n_out), row_losses

    gradient, row_losses = run(0, n)
    value, straight = loss.rows(Z, NO_LABELS, T[order].reshape(-1), weight[order])
    np.testing.assert_array_equal(gradient, straight)
    assert losses.sum_rows(address_of(row_losses), n) == value
    for ends in ((0, 3, 4, n), (2, 5)):
        part, part_losses = run(*ends)
        inside = slice(ends[0], ends[-1])
        np.testing.assert_array_equal(part[inside], gradient[inside])
        np.testing.assert_array_equal(part_losses[inside], row_losses[inside])
        np.testing.assert_array_equal(np.delete(part, np.r_[inside], axis=0), -9.0)
        np.testing.assert_array_equal(np.delete(part_losses, np.r_[inside]), -9.0)


@pytest.mark.nojit
def test_labels_are_read_by_sample(rng: np.random.Generator) -> None:
    order, labels = np.array([5, 0, 3], np.int32), np.array([0, 9, 9, 2, 9, 1], np.int32)
    gradient, row_losses, Z = np.empty(9), np.empty(3), rng.normal(size=(3, 3))
    one = np.float64(1)
    losses.cross_entropy_of_labels(
        Setting(0.0, 0, 0), address_of(Z), 3, Rows(address_of(order), 0, 3),
        Targets(address_of(labels), 0, 0, 0, losses.total_weight(order, 0, one)),
        address_of(gradient),
        address_of(row_losses), one,
    )  # fmt: skip
    wanted = -np.log(special.softmax(Z, axis=1)[range(3), [1, 0, 2]]) / 3
    np.testing.assert_allclose(row_losses, wanted, rtol=1e-13)
    np.testing.assert_array_equal(np.argmin(gradient.reshape(3, 3), axis=1), [1, 0, 2])


LINK_TRUTH = {
    "identity": lambda z: z,
    "softmax": lambda z: special.softmax(z.astype(Long), axis=1),
    "sigmoid": lambda z: logistic(z.astype(Long)),
    "exp": lambda z: np.exp(z.astype(Long)),
}


@pytest.mark.nojit
@pytest.mark.bounds
@pytest.mark.parametrize("link", LINKS)
@both_types
def test_links(link: str, dtype: Any, rng: np.random.Generator) -> None:
    """The first rows are linked, the others keep their bits."""
    Z = rng.normal(0, 3, (6, 4)).astype(dtype)
    out, sums, kernel = Z.copy(), np.empty(5), LINKS[link]
    assert (kernel is None) == (link == "identity")
    if kernel is not None:
        kernel(address_of(out), 4, 5, address_of(sums), dtype(1))
    np.testing.assert_allclose(
        out[:5], LINK_TRUTH[link](Z[:5]).astype(dtype), rtol=1e-14 if dtype is np.float64 else 2e-6
    )
    np.testing.assert_array_equal(out[5], Z[5])
    assert np.ptp(out[:5]) > 0.1


@pytest.mark.nojit
@both_types
def test_links_of_extreme_logits(dtype: Any) -> None:
    Z = np.array([[1e4, -1e4], [-1e4, -1e4]], dtype)
    np.testing.assert_array_equal(SoftmaxCrossEntropy().link(Z), [[1, 0], [0.5, 0.5]])
    np.testing.assert_array_equal(BinaryCrossEntropy().link(Z), [[1, 0], [0, 0]])
    np.testing.assert_array_equal(PoissonDeviance().link(-np.abs(Z)), np.zeros((2, 2)))
    assert Z[0, 0] == 1e4, "link changes its argument"


# ---------------------------------------------------------------- optimizers


def textbook(
    optimizer: Optimizer, p: np.ndarray, gradients: list[np.ndarray], rate: float, decay: float
) -> np.ndarray:
    """The steps as they are printed, one vector at a time in float64."""
    p, v, m = p.astype(np.float64), np.zeros(p.size), np.zeros(p.size)
    for t, g in enumerate(gradients, start=1):
        p = p - rate * decay * p
        match optimizer:
            case SGD():
                v = optimizer.momentum * v - rate * g
                p = p + (optimizer.momentum * v - rate * g if optimizer.nesterov else v)
            case RMSprop():
                v = optimizer.rho * v + (1 - optimizer.rho) * g**2
                p = p - rate * g / (np.sqrt(v) + optimizer.epsilon)
            case Adagrad():
                v = v + g**2
                p = p - rate * g / (np.sqrt(v) + optimizer.epsilon)
            case Adam():
                m = optimizer.beta1 * m + (1 - optimizer.beta1) * g
                v = optimizer.beta2 * v + (1 - optimizer.beta2) * g**2
                m_hat, v_hat = m / (1 - optimizer.beta1**t), v / (1 - optimizer.beta2**t)
                p = p - rate * m_hat / (np.sqrt(v_hat) + optimizer.epsilon)
            case _:
                raise AssertionError(f"no textbook formula for {optimizer}")
    return p


# Epsilons large enough to show where they are added.
OPTIMIZER_CASES: list[Optimizer] = [
    SGD(0.1),
    SGD(0.1, momentum=0.9),
    SGD(0.1, momentum=0.8, nesterov=True),
    RMSprop(0.1, rho=0.7, epsilon=0.2),
    Adagrad(0.1, epsilon=0.2),
    Adam(0.1, beta1=0.8, beta2=0.9, epsilon=0.2),
    Adam(0.1),
    AdamW(0.1, weight_decay=0.3),
]
every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZER_CASES, ids=lambda o: o.name)


def group(start: int, size: int, name: str = "0.W", scale: float = 1.0) -> Group:
    return Group(name, start, size, name.endswith("W"), scale)


def run_steps(
    optimizer: Optimizer, groups: list[Group], p: np.ndarray, gradients: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The parameters after one step a gradient, and the state."""
    p = p.copy()
    state = optimizer.initial_state(p.size, p.dtype)
    rates = optimizer.schedule.rates(np.arange(len(gradients)), len(gradients))
    for numbers, g in zip(optimizer.step_numbers(0, rates), gradients, strict=True):
        optimizer.update(numbers, groups, p, g.astype(p.dtype), state)
    return p, state


@pytest.mark.nojit
@every_optimizer
@both_types
@pytest.mark.parametrize("decay", [0.0, 0.4])
def test_optimizer_follows_its_formula(
    optimizer: Optimizer, dtype: Any, decay: float, rng: np.random.Generator
) -> None:
    """Five steps of nineteen parameters; weight decay is apart from the gradient.

    In float32, 1 - 0.999 is off by 13 millionths, and so Adam's steps, 0.5 together, by half that.
    """
    p, gradients = rng.normal(size=19).astype(dtype), list(rng.normal(size=(5, 19)))
    if dtype == np.float32:
        gradients = [g.astype(dtype).astype(np.float64) for g in gradients]
    optimizer = dataclasses.replace(optimizer, weight_decay=decay)
    wanted = textbook(optimizer, p, gradients, 0.1, decay)
    got, _ = run_steps(optimizer, [group(0, 19)], p, gradients)
    tolerance = 16 * np.finfo(dtype).eps
    if isinstance(optimizer, Adam) and dtype == np.float32:
        tolerance += 5e-6
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
    assert np.abs(got - p).min() > 1e-4


def test_every_optimizer_has_a_case() -> None:
    assert {type(optimizer) for optimizer in OPTIMIZER_CASES} == set(OPTIMIZERS)
    assert len({optimizer.kernel for optimizer in OPTIMIZER_CASES}) == 5


@pytest.mark.nojit
@pytest.mark.bounds
@every_optimizer
@both_types
def test_update_of_a_part_touches_nothing_else(
    optimizer: Optimizer, dtype: Any, rng: np.random.Generator
) -> None:
    """Parameters and state outside stay bit for bit; inside they are those of the whole update."""
    p, gradients = rng.normal(size=23).astype(dtype), list(rng.normal(size=(3, 23)))
    whole, whole_state = run_steps(optimizer, [group(0, 23)], p, gradients)
    part, state = run_steps(optimizer, [group(7, 11), group(5, 0, "1.W")], p, gradients)
    inside = np.r_[7:18]
    np.testing.assert_array_equal(part[inside], whole[inside])
    np.testing.assert_array_equal(np.delete(part, inside), np.delete(p, inside))
    assert (whole != p).all()
    assert state.shape == whole_state.shape == (optimizer.n_vectors * 23,)
    rows, whole_rows = state.reshape(-1, 23), whole_state.reshape(-1, 23)
    np.testing.assert_array_equal(rows[:, inside], whole_rows[:, inside])
    assert rows[:, inside].all()
    assert not np.delete(rows, inside, axis=1).any()


@pytest.mark.nojit
@pytest.mark.bounds
@every_optimizer
@both_types
def test_update_of_a_block_of_columns(
    optimizer: Optimizer, dtype: Any, rng: np.random.Generator
) -> None:
    """Rows 1..4 and columns 2..5 of a W (6, 7), as a thread that owns columns updates it."""
    n_in, n_out, start, one = 6, 7, 3, dtype(1)
    size = start + n_in * n_out + 4
    optimizer = dataclasses.replace(optimizer, weight_decay=0.2)
    p, gradients = rng.normal(size=size).astype(dtype), rng.normal(size=(3, size)).astype(dtype)
    whole, whole_state = run_steps(optimizer, [group(0, size)], p, list(gradients))
    inside = np.zeros(size, bool)
    inside[start : start + n_in * n_out].reshape(n_in, n_out)[1:4, 2:5] = True
    for n_rows, n_columns, changes in (
        (3, 3, inside),
        (0, 3, inside & False),
        (3, 0, inside & False),
    ):
        part, state = p.copy(), optimizer.initial_state(size, p.dtype)
        for numbers, g in zip(optimizer.step_numbers(0, np.full(3, 0.1)), gradients, strict=True):
            optimizer.kernel(
                address_of(numbers), Factors(1.0, 1.0),
                Run(start + n_out + 2, n_rows, n_columns, n_out),
                Memory(address_of(part), address_of(state), size),
                address_of(g[start + n_out + 2 :]), n_out, one,
            )  # fmt: skip
        np.testing.assert_array_equal(part, np.where(changes, whole, p))
        for found, wanted in zip(
            state.reshape(-1, size), whole_state.reshape(-1, size), strict=True
        ):
            np.testing.assert_array_equal(found, np.where(changes, wanted, 0))
    assert (whole != p).all()


@pytest.mark.nojit
@every_optimizer
def test_biases_do_not_decay(optimizer: Optimizer, rng: np.random.Generator) -> None:
    p, gradients = rng.normal(size=6), list(rng.normal(size=(2, 6)))
    groups = [group(0, 3), group(3, 3, "0.b")]
    plain, _ = run_steps(dataclasses.replace(optimizer, weight_decay=0), groups, p, gradients)
    decayed, _ = run_steps(dataclasses.replace(optimizer, weight_decay=2), groups, p, gradients)
    np.testing.assert_array_equal(decayed[3:], plain[3:])
    assert (decayed[:3] != plain[:3]).all()


@pytest.mark.nojit
@every_optimizer
def test_step_numbers_go_on_from_any_step(optimizer: Optimizer) -> None:
    """Rows depend on the step's number and rate only, not on where an epoch starts."""
    rates = np.linspace(0.3, 0.1, 9)
    whole = optimizer.step_numbers(0, rates)
    assert whole.shape == (9, optimizer.n_numbers)
    assert whole.dtype == np.float64
    np.testing.assert_array_equal(optimizer.step_numbers(4, rates[4:]), whole[4:])
    np.testing.assert_array_equal(whole[:, optimizers.DECAY], rates * optimizer.weight_decay)
    # Only Adam corrects for its start, and a thousand steps later no more.
    late = optimizer.step_numbers(100_000, rates)
    np.testing.assert_allclose(late[:, optimizers.RATE], rates, rtol=1e-12)
    corrects = isinstance(optimizer, Adam)
    assert (whole[0, optimizers.RATE] != rates[0]) == corrects


@pytest.mark.nojit
def test_factors_by_name_and_pattern() -> None:
    groups = [group(0, 2), group(2, 2, "2.W"), group(4, 1, "0.b"), group(5, 1, "2.b")]
    factors = {"*": 2.0, "*.b": 0.1, "2.W": 6.0, "0.?": 3.0}
    found = SGD(factors=factors).group_factors(groups)
    assert [rate for rate, _ in found] == [3.0, 6.0, 3.0, 0.1]
    assert [decay for _, decay in found] == [1.0, 1.0, 0.0, 0.0]
    assert SGD().group_factors(groups) == [(1.0, 1.0), (1.0, 1.0), (1.0, 0.0), (1.0, 0.0)]
    with pytest.raises(InputError, match=r"'3\.W'"):
        SGD(factors={"3.W": 2.0}).group_factors(groups)


@pytest.mark.nojit
@every_optimizer
def test_factors_scale_the_step(optimizer: Optimizer, rng: np.random.Generator) -> None:
    """A factor of 3 is a learning rate three times as large, for decay too; 0 freezes."""
    p, gradients = rng.normal(size=4), list(rng.normal(size=(3, 4)))
    optimizer = dataclasses.replace(optimizer, weight_decay=0.2)
    faster = dataclasses.replace(optimizer, learning_rate=0.3)
    mixed = dataclasses.replace(optimizer, factors={"0.W": 3.0, "1.W": 0.0})
    got, _ = run_steps(mixed, [group(0, 2), group(2, 2, "1.W")], p, gradients)
    wanted, _ = run_steps(faster, [group(0, 4)], p, gradients)
    np.testing.assert_allclose(got[:2], wanted[:2], rtol=1e-12)
    np.testing.assert_array_equal(got[2:], p[2:])
    assert (got[:2] != p[:2]).all()


@pytest.mark.nojit
@every_optimizer
def test_ntk_steps_move_weights_as_if_their_parameters_moved(
    optimizer: Optimizer, rng: np.random.Generator
) -> None:
    """W = s V: a step on V with the gradient of V, s times that of W, gives s V the same path."""
    changes: dict[str, Any] = {"weight_decay": 0.3}
    if hasattr(optimizer, "epsilon"):
        changes["epsilon"] = 0.0  # else it is of another size beside either gradient
    optimizer = dataclasses.replace(optimizer, **changes)
    scale, gradients = 1 / np.sqrt(30), list(rng.normal(size=(4, 6)))
    V = rng.normal(size=6)
    wanted, _ = run_steps(optimizer, [group(0, 6)], V, [scale * g for g in gradients])
    got, _ = run_steps(optimizer, [group(0, 6, scale=scale)], scale * V, gradients)
    np.testing.assert_allclose(got, scale * wanted, rtol=1e-12)
    assert (np.abs(wanted - V) > 1e-3).all()


@pytest.mark.nojit
def test_ntk_scales_come_from_the_layers() -> None:
    network = Network([Dense(25, 4, initializer=NTK()), Dense(2)])
    scales = {found.name: found.scale for found in network.groups}
    assert scales == {"0.W": 0.2, "1.W": 1.0, "0.b": 1.0, "1.b": 1.0}
    assert Adam().group_factors(network.groups)[0] == (0.2, 5.0)
    assert SGD().group_factors(network.groups)[0] == pytest.approx((0.04, 25.0))


# Learning rate, and steps on a bowl and on Rosenbrock's valley.
SETTINGS: dict[str, tuple[dict[str, Any], int, int]] = {
    "sgd": ({"learning_rate": 1e-3, "momentum": 0.95}, 2000, 4000),
    "rmsprop": ({"learning_rate": 1e-3}, 3000, 8000),
    "adagrad": ({"learning_rate": 0.5}, 500, 8000),
    "adam": ({"learning_rate": 0.02}, 1500, 4000),
    "adamw": ({"learning_rate": 0.02, "weight_decay": 1e-5}, 1500, 4000),
}


def minimise(optimizer: Optimizer, slope: Any, start: list[float], n_steps: int) -> np.ndarray:
    p = np.array(start)
    groups, state = [group(0, p.size)], optimizer.initial_state(p.size, p.dtype)
    rates = optimizer.schedule.rates(np.arange(n_steps), n_steps)
    for numbers in optimizer.step_numbers(0, rates):
        optimizer.update(numbers, groups, p, slope(p), state)
    return p


@pytest.mark.parametrize("name", OPTIMIZERS.names)
def test_optimizer_finds_minima(name: str) -> None:
    """Of a bowl that is 20 times as steep one way as another, and of Rosenbrock's curved valley."""
    options, bowl_steps, valley_steps = SETTINGS[name]
    optimizer = OPTIMIZERS[name](**options)
    steep, minimum = np.array([20.0, 1.0, 5.0]), np.array([1.0, -1.0, 0.5])

    def bowl(p: np.ndarray) -> np.ndarray:
        return steep * (p - minimum)

    def valley(p: np.ndarray) -> np.ndarray:
        a, b = p
        return np.array([-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)])

    found = minimise(optimizer, bowl, [0.0, 0.5, -0.5], bowl_steps)
    np.testing.assert_allclose(found, minimum, atol=5e-3)
    found = minimise(optimizer, valley, [-1.2, 1.0], valley_steps)
    np.testing.assert_allclose(found, [1, 1], atol=0.05)


# ---------------------------------------------------------------- norms, clipping, penalties


@pytest.mark.nojit
@pytest.mark.bounds
@both_types
def test_norm(dtype: Any, rng: np.random.Generator) -> None:
    for size in range(1, 14):
        values = rng.normal(size=size).astype(dtype)
        wanted = np.linalg.norm(values.astype(np.float64))
        np.testing.assert_allclose(optimizers.norm(values), wanted, rtol=1e-14)
    assert optimizers.norm(np.empty(0, dtype)) == 0
    assert optimizers.norm(np.array([3e30, 4e30], dtype)) == pytest.approx(5e30, rel=1e-6)


@pytest.mark.nojit
@both_types
def test_clip_factor(dtype: Any) -> None:
    grads = np.array([3, 0, -4], dtype)
    zeros = np.zeros(3, dtype)

    def factor(values: np.ndarray, limit: float) -> float:
        return optimizers.clip_factor(3, address_of(values), limit, dtype(1))

    assert factor(grads, 1.0) == pytest.approx(0.2)
    assert factor(grads, 5.0) == 1
    assert factor(grads, 7.0) == 1
    assert factor(zeros, 1.0) == 1
    optimizers.rescale(2, address_of(grads), 0.5, dtype(1))
    np.testing.assert_array_equal(grads, [1.5, 0, -4])


@pytest.mark.nojit
@pytest.mark.parametrize("limit", [0.5, 1e3])
def test_clip_norm_limits_the_step(limit: float, rng: np.random.Generator) -> None:
    """The norm is over all groups together; short gradients keep their bits."""
    groups, g = [group(0, 3), group(3, 3, "0.b")], rng.normal(size=6)
    p = np.zeros(6)
    optimizer = SGD(1.0, clip_norm=limit)
    clipped = g.copy()
    optimizer.update(optimizer.step_numbers(0, np.ones(1))[0], groups, p, clipped, np.empty(0))
    if limit > 1:
        np.testing.assert_array_equal(p, -g)
    else:
        np.testing.assert_allclose(p, -g * limit / np.linalg.norm(g), rtol=1e-14)
    np.testing.assert_array_equal(clipped, -p)


@pytest.mark.nojit
@pytest.mark.bounds
@both_types
def test_limit_columns(dtype: Any, rng: np.random.Generator) -> None:
    """Columns first..last longer than the limit get its length; all else keeps its bits."""
    n_in, n_out, limit = 5, 8, 2.0
    memory = rng.normal(size=n_in * n_out + 6).astype(dtype)
    W = memory[4 : 4 + n_in * n_out].reshape(n_in, n_out)
    W[:, ::2] *= dtype(0.1)
    W[:, 1::2] *= dtype(10)
    W[:, 4] = 0
    before, W_before = memory.copy(), W.copy()
    optimizers.limit_columns(address_of(W), n_in, n_out, 2, 6, limit, dtype(1))
    np.testing.assert_array_equal(memory[:4], before[:4])
    np.testing.assert_array_equal(memory[-2:], before[-2:])
    kept = [0, 1, 2, 4, 6, 7]
    np.testing.assert_array_equal(W[:, kept], W_before[:, kept])
    for j in (3, 5):
        length = np.linalg.norm(W_before[:, j].astype(np.float64))
        assert length > limit
        wanted = W_before[:, j] * (limit / length)
        np.testing.assert_allclose(W[:, j], wanted, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.nojit
@pytest.mark.bounds
@both_types
def test_penalties(dtype: Any, rng: np.random.Generator) -> None:
    """l1 sum |p| + l2/2 sum p^2 over a part, with a slope of 0 at 0 for l1."""
    p, g = rng.normal(size=15).astype(dtype), rng.normal(size=15).astype(dtype)
    p[5] = 0
    inside, l1, l2 = np.r_[4:11], 0.3, 0.7
    part, grads = p[inside].astype(np.float64), g.copy()
    out = np.full(4, np.nan)
    optimizers.penalties(l1, l2, 2, 3, 3, address_of(p[4:]), address_of(out[1:]), dtype(1))
    rows = part[:6].reshape(2, 3)
    wanted = l1 * np.abs(rows).sum(axis=1) + l2 / 2 * (rows**2).sum(axis=1)
    np.testing.assert_allclose(out, [np.nan, *wanted, np.nan], rtol=1e-14)
    optimizers.add_penalty(l1, l2, 7, address_of(p[4:]), address_of(grads[4:]), dtype(1))
    tolerance = 4 * np.finfo(dtype).eps
    wanted = g[inside] + l1 * np.sign(part) + l2 * part
    np.testing.assert_allclose(grads[inside], wanted, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(np.delete(grads, inside), np.delete(g, inside))
    assert grads[5] == g[5]
    optimizers.add_penalty(l1, l2, 0, address_of(p), address_of(grads), dtype(1))
    optimizers.penalties(l1, l2, 2, 0, 0, address_of(p), address_of(out), dtype(1))
    assert out[:2].tolist() == [0, 0]
