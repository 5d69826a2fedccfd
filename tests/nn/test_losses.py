"""Every loss against its formula, value, gradient and link, at ordinary and at extreme outputs.
Losses and user-defined optimizers, in plain NumPy, must train as the built-in ones do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from fastmlp import reference
from fastmlp.errors import InputError
from fastmlp.network import Network
from fastmlp.nn import Dense, Tanh
from fastmlp.nn.losses import (
    LOSSES,
    BinaryCrossEntropy,
    CompiledLoss,
    Huber,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    PoissonDeviance,
    Quantile,
    SoftmaxCrossEntropy,
)
from fastmlp.optim.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from fastmlp.optim.schedules import Linear
from fastmlp.registry import specification

N, N_OUTPUTS = 7, 3
OTHER = {"label_smoothing": 0.2, "delta": 0.4, "levels": (0.1, 0.5, 0.8)}
CASES = {cls.name: cls() for cls in LOSSES} | {
    f"{cls.name}, other options": cls(**{f.name: OTHER[f.name] for f in fields(cls)})  # type: ignore[arg-type]
    for cls in LOSSES
    if {f.name for f in fields(cls)} & set(OTHER)  # type: ignore[arg-type]
}
ALL_CASES = pytest.mark.parametrize("loss", CASES.values(), ids=CASES)


def message(call: Callable[[], Any]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value)


def targets(loss: Loss, rng: np.random.Generator) -> np.ndarray:
    """Dense targets, one row for each row of outputs."""
    if loss.task == "classes":
        return rng.dirichlet(np.ones(N_OUTPUTS), N)
    if loss.task == "binary":
        return rng.integers(0, 2, (N, N_OUTPUTS)).astype(float)
    return rng.poisson(1.0, (N, N_OUTPUTS)).astype(float)


def formulas(loss: Loss) -> tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]:
    _, value, gradient = reference.LOSSES[loss.name]
    return value, gradient, {f.name: getattr(loss, f.name) for f in fields(loss)}  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------- formulas


@pytest.mark.nojit
@pytest.mark.bounds
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@ALL_CASES
def test_value_and_gradient_agree_with_the_formulas(
    loss: CompiledLoss, dtype: str, rng: np.random.Generator
) -> None:
    Z, T, weight = (
        a.astype(dtype)
        for a in (
            rng.normal(0, 2, (N, N_OUTPUTS)),
            targets(loss, rng),
            rng.uniform(0.5, 2.0, N),
        )
    )
    value, gradient, options = formulas(loss)
    columns = [
        (z[:, None].astype(float), t[:, None].astype(float)) for z, t in zip(Z, T, strict=True)
    ]
    rows = [value(z, t, **options) for z, t in columns]
    slopes = np.array([gradient(z, t, **options)[:, 0] for z, t in columns])
    got_value, got_gradient = loss.value_and_gradient(Z, T, weight)
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-12}
    assert isinstance(got_value, float)
    assert got_gradient.dtype == np.dtype(dtype)
    share = weight.astype(float) / weight.sum(dtype=float)
    np.testing.assert_allclose(got_value, np.average(rows, weights=weight), **tolerance)
    expected = share[:, None] * slopes
    np.testing.assert_allclose(got_gradient, expected, **({"atol": 1e-16} | tolerance))
    assert np.abs(got_gradient).max() > 0


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("loss", "z", "t", "value", "gradient"),
    [
        (MeanSquaredError(), [1, 5], [3, 4], (4 + 1) / 2, [-2, 1]),
        (MeanAbsoluteError(), [1, 5], [3, 4], (2 + 1) / 2, [-0.5, 0.5]),
        (MeanAbsoluteError(), [2, 5], [2, 5], 0, [0, 0]),
        (Huber(1.5), [1, 5], [3, 4], (1.5 * (2 - 0.75) + 0.5) / 2, [-0.75, 0.5]),
        (Quantile(0.9), [1, 5], [3, 4], (0.9 * 2 + 0.1 * 1) / 2, [-0.45, 0.05]),
        (Quantile((0.9, 0.2)), [1, 5], [3, 3], (0.9 * 2 + 0.8 * 2) / 2, [-0.45, 0.4]),
        (Quantile(0.9), [2, 5], [2, 5], 0, [0, 0]),
        (PoissonDeviance(), [0, 0], [1, 0], (0 + 2) / 2, [0, 1]),
        (PoissonDeviance(), [0, 0], [2, 1], 2 * np.log(2) - 1, [-1, 0]),
        (BinaryCrossEntropy(), [0, 0], [1, 0], np.log(2), [-0.25, 0.25]),
        (BinaryCrossEntropy(0.5), [0, 0], [1, 0], np.log(2), [-0.125, 0.125]),
        (SoftmaxCrossEntropy(), [np.log(3), 0], [0, 1], np.log(4), [0.75, -0.75]),
        (SoftmaxCrossEntropy(), [np.log(3), 0], [1, 0], np.log(4 / 3), [-0.25, 0.25]),
        (SoftmaxCrossEntropy(0.5), [0, 0], [1, 0], np.log(2), [-0.25, 0.25]),
    ],
)
def test_values_and_gradients_by_hand(
    loss: CompiledLoss, z: list[float], t: list[float], value: float, gradient: list[float]
) -> None:
    got = loss.value_and_gradient(np.array([z], float), np.array([t], float), np.ones(1))
    assert got[0] == pytest.approx(value, abs=1e-15)
    assert got[1].tolist() == [pytest.approx(gradient, abs=1e-15)]


@pytest.mark.nojit
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_labels_and_one_hot_rows_are_the_same(smoothing: float, rng: np.random.Generator) -> None:
    loss, Z, labels = SoftmaxCrossEntropy(smoothing), rng.normal(size=(N, 3)), np.arange(N) % 3
    nothing, weight = np.empty(0), rng.uniform(0.5, 2, N)
    one = loss.rows(Z, labels.astype(np.int32), nothing, weight)
    other = loss.value_and_gradient(Z, np.eye(3)[labels], weight)
    assert one[0] == pytest.approx(other[0], rel=1e-14)
    np.testing.assert_allclose(one[1], other[1], rtol=1e-13)


@pytest.mark.nojit
@ALL_CASES
def test_losses_of_parts_add_up_to_the_loss_of_all(
    loss: CompiledLoss, rng: np.random.Generator
) -> None:
    Z, T, weight = rng.normal(size=(N, 3)), targets(loss, rng), rng.uniform(0.5, 2, N)
    value, gradient = loss.value_and_gradient(Z, T, weight)
    nothing, total = np.empty(0, np.int32), float(weight.sum())
    first = loss.rows(Z[:4], nothing, T[:4].reshape(-1), weight[:4], total)
    second = loss.rows(Z[4:], nothing, T[4:].reshape(-1), weight[4:], total)
    assert first[0] + second[0] == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(np.vstack([first[1], second[1]]), gradient, rtol=1e-12)


@pytest.mark.nojit
@ALL_CASES
def test_rows_without_weight_count_for_nothing(
    loss: CompiledLoss, rng: np.random.Generator
) -> None:
    Z, T = rng.normal(size=(N, 3)), targets(loss, rng)
    weight = np.array([0.0, 1, 2, 0, 1, 1, 0])
    Z[0] = 1e30  # its loss is infinite for some, and must not come through as inf times 0
    value, gradient = loss.value_and_gradient(Z, T, weight)
    kept = weight > 0
    expected = loss.value_and_gradient(Z[kept], T[kept], weight[kept])
    assert value == pytest.approx(expected[0], rel=1e-14)
    np.testing.assert_allclose(gradient[kept], expected[1], rtol=1e-14)
    assert (gradient[~kept][1:] == 0).all()
    nothing = loss.value_and_gradient(Z[1:], T[1:], np.zeros(N - 1))
    assert nothing[0] == 0
    assert (nothing[1] == 0).all()


@pytest.mark.nojit
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(), SoftmaxCrossEntropy(0.1)])
def test_softmax_stays_exact_at_huge_outputs(loss: SoftmaxCrossEntropy, dtype: str) -> None:
    Z, T = np.array([[1e4, 0.0, -1e4]], dtype), np.eye(3)[[0]]
    value, gradient = loss.value_and_gradient(Z, T, np.ones(1))
    smoothing = loss.label_smoothing
    assert value == pytest.approx(smoothing / 3 * 3e4, rel=1e-6)
    keep = 1 - smoothing + smoothing / 3
    assert gradient[0] == pytest.approx([1 - keep, -smoothing / 3, -smoothing / 3], abs=1e-6)
    assert loss.link(Z).tolist() == [[1.0, 0.0, 0.0]]


@pytest.mark.nojit
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_binary_cross_entropy_stays_exact_at_huge_outputs(dtype: str) -> None:
    Z, T = np.array([[1e4, -1e4, 1e4, -1e4]], dtype), np.array([[1, 0, 0, 1]])
    value, gradient = BinaryCrossEntropy().value_and_gradient(Z, T, np.ones(1))
    assert value == 2e4 / 4
    assert gradient.tolist() == [[0.0, 0.0, 0.25, -0.25]]
    assert BinaryCrossEntropy().link(Z).tolist() == [[1.0, 0.0, 1.0, 0.0]]


@pytest.mark.nojit
@ALL_CASES
def test_nan_outputs_give_a_nan_loss(loss: CompiledLoss, rng: np.random.Generator) -> None:
    Z = np.full((2, 3), np.nan)
    assert np.isnan(loss.value_and_gradient(Z, targets(loss, rng)[:2], np.ones(2))[0])


# ------------------------------------------------------------------------------------------ links


@pytest.mark.nojit
@ALL_CASES
def test_links_agree_with_the_formulas(loss: CompiledLoss, rng: np.random.Generator) -> None:
    Z = rng.normal(0, 2, (N, 3))
    before = Z.copy()
    expected = reference.LOSSES[loss.name][0](Z.T).T
    for given in (Z, np.asfortranarray(Z), Z[::-1][::-1]):
        np.testing.assert_allclose(loss.link(given), expected, rtol=1e-13)
    assert Z.tobytes() == before.tobytes()
    assert loss.link(Z.astype("float32")).dtype == np.float32


@pytest.mark.nojit
def test_probabilities_are_probabilities(rng: np.random.Generator) -> None:
    Z = rng.normal(0, 3, (N, 4))
    P = SoftmaxCrossEntropy().link(Z)
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-14)
    assert ((P > 0) & (P < 1)).all()
    np.testing.assert_allclose(BinaryCrossEntropy().link(Z), 1 / (1 + np.exp(-Z)), rtol=1e-14)


# ------------------------------------------------------------------------------ names and options


@pytest.mark.nojit
@pytest.mark.parametrize("loss", list(LOSSES), ids=LOSSES.names)
def test_every_loss_is_known_by_its_name(loss: type[Loss]) -> None:
    assert LOSSES[loss.name] is loss
    assert LOSSES.make(loss.name, Loss) == loss()
    assert LOSSES.make(specification(loss()), Loss) == loss()
    assert loss.task in ("classes", "binary", "regression")
    assert Network([Dense(2)], loss.name).loss == loss()


@pytest.mark.nojit
@ALL_CASES
def test_options_survive_as_plain_data(loss: Loss) -> None:
    spec = specification(loss)
    assert spec["name"] == loss.name
    assert LOSSES.make(spec, Loss) == loss


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (0.5, (0.5,)),
        (np.float32(0.5), (0.5,)),
        ([0.25, 0.75], (0.25, 0.75)),
        (np.array([0.25, 0.75], np.float32), (0.25, 0.75)),
    ],
)
def test_levels_are_a_number_or_several(levels: Any, expected: tuple[float, ...]) -> None:
    found = Quantile(levels).levels
    assert found == expected
    assert {type(level) for level in found} == {float}


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: SoftmaxCrossEntropy(1.0),
            "SoftmaxCrossEntropy: expected label_smoothing to be a number at least 0 and below 1, "
            "got 1; choose a value in that range",
        ),
        (
            lambda: BinaryCrossEntropy("0"),
            "BinaryCrossEntropy: expected label_smoothing to be a number at least 0 and below 1, "
            "got str; pass a number",
        ),
        (
            lambda: Huber(0),
            "Huber: expected delta to be a number above 0, got 0; choose a value in that range",
        ),
        (
            lambda: Quantile((0.5, 1)),
            "Quantile: expected levels to be a number above 0 and below 1, got 1; "
            "choose a value in that range",
        ),
        (
            lambda: Quantile(0),
            "Quantile: expected levels to be a number above 0 and below 1, got 0; "
            "choose a value in that range",
        ),
        (
            lambda: Quantile(None),
            "Quantile: expected levels to be a number above 0 and below 1, got NoneType; "
            "pass a number",
        ),
        (
            lambda: Quantile(()),
            "Quantile: expected at least one level, got none; pass levels=0.5, say",
        ),
        (
            lambda: Network([Dense(2)], "mean_sqared_error"),
            "loss: expected one of binary_cross_entropy, huber, mean_absolute_error, "
            "mean_squared_error, poisson_deviance, quantile, softmax_cross_entropy, got "
            "'mean_sqared_error'; did you mean 'mean_squared_error'?",
        ),
        (
            lambda: Network([Dense(2)], Huber),
            "loss: expected a name or an object of fastmlp's Loss, got the class Huber; "
            "pass Huber()",
        ),
    ],
)
def test_errors_in_full(call: Callable[[], Any], text: str) -> None:
    assert message(call) == text


@pytest.mark.nojit
def test_the_base_class_leaves_the_loss_open() -> None:
    Z = np.ones((2, 3))
    with pytest.raises(NotImplementedError):
        Loss().value_and_gradient(Z, Z, np.ones(2))
    assert Loss().link(Z) is Z
    assert (Loss.task, Loss.name) == ("regression", "loss")


# ------------------------------------------------------------------------------ user-defined losses


class OwnSquare(Loss):
    """The mean squared error in NumPy."""

    name = "own_square"

    def value_and_gradient(
        self, outputs: np.ndarray, targets: np.ndarray, sample_weight: np.ndarray
    ) -> tuple[float, np.ndarray]:
        r = outputs - targets
        share = sample_weight[:, None] / sample_weight.sum() / r.shape[1]
        return float((share * r**2).sum()), 2 * share * r


class OwnSoftmax(Loss):
    """Softmax and cross-entropy in NumPy."""

    name = "own_softmax"
    task = "classes"

    def value_and_gradient(
        self, outputs: np.ndarray, targets: np.ndarray, sample_weight: np.ndarray
    ) -> tuple[float, np.ndarray]:
        share = sample_weight / sample_weight.sum()
        P = self.link(outputs)
        return float(-(share * np.log((P * targets).sum(axis=1))).sum()), (P - targets) * share[
            :, None
        ]

    def link(self, outputs: np.ndarray) -> np.ndarray:
        e = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)


class OwnLogistic(Loss):
    """Yes or no, once for each output, in NumPy."""

    name = "own_logistic"
    task = "binary"

    def value_and_gradient(
        self, outputs: np.ndarray, targets: np.ndarray, sample_weight: np.ndarray
    ) -> tuple[float, np.ndarray]:
        share = sample_weight[:, None] / sample_weight.sum() / outputs.shape[1]
        value = share * (np.logaddexp(0, outputs) - targets * outputs)
        return float(value.sum()), share * (self.link(outputs) - targets)

    def link(self, outputs: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-outputs))


def own_and_built_in(name: str, rng: np.random.Generator) -> tuple[Loss, Loss, np.ndarray]:
    return {
        "regression": (OwnSquare(), MeanSquaredError(), rng.normal(size=(20, 3))),
        "classes": (OwnSoftmax(), SoftmaxCrossEntropy(), np.array([*"abc"])[np.arange(20) % 3]),
        "binary": (OwnLogistic(), BinaryCrossEntropy(), rng.integers(0, 2, (20, 3))),
    }[name]


@pytest.mark.nojit
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", ["regression", "classes", "binary"])
def test_a_loss_of_ones_own_trains_like_the_built_in_one(
    task: str, weighted: bool, rng: np.random.Generator
) -> None:
    own, built_in, y = own_and_built_in(task, rng)
    X, weight = rng.normal(size=(20, 4)), rng.uniform(0.5, 2, 20) if weighted else None
    networks = [
        Network([Dense(4, 5), Tanh(), Dense(3)], loss, "float64") for loss in (own, built_in)
    ]
    histories = [
        net.fit(X, y, epochs=3, batch_size=8, sample_weight=weight, validation_data=(X, y, weight))
        for net in networks
    ]
    np.testing.assert_allclose(networks[0].params, networks[1].params, rtol=0, atol=1e-12)
    for what in ("loss", "validation_loss", "validation_score"):
        one, other = (getattr(history, what) for history in histories)
        np.testing.assert_allclose(one, other, rtol=1e-11)
    np.testing.assert_allclose(
        networks[0].predict_proba(X), networks[1].predict_proba(X), rtol=1e-10
    )
    one, other = (net.predict(X) for net in networks)
    if task == "regression":
        np.testing.assert_allclose(one, other, rtol=1e-10)
    else:
        assert (one == other).all()
    assert networks[0].score(X, y) == pytest.approx(networks[1].score(X, y), rel=1e-10)
    evaluated = [net.evaluate(X, y, weight) for net in networks]
    assert evaluated[0] == pytest.approx(evaluated[1], rel=1e-10)
    losses = [net.loss_and_gradient(X, y, weight)[0] for net in networks]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


# -------------------------------------------------------------------------- user-defined optimizers


class Own:
    """What a built-in optimizer does, from its published formula, in plain NumPy."""

    def __init__(self, settings: Optimizer, is_weight: np.ndarray) -> None:
        self.given, self.is_weight, self.t = settings, is_weight, 0
        self.first = np.zeros(is_weight.size)
        self.second = np.zeros(is_weight.size)
        self.rate = settings.schedule.rates(np.zeros(1), 1)[0]

    def step(self, params: np.ndarray, grads: np.ndarray) -> None:
        self.t += 1
        given, g = self.given, grads
        if given.clip_norm is not None:
            norm = np.sqrt((g**2).sum())
            g = g * min(1.0, given.clip_norm / norm)
        params[self.is_weight] *= 1 - self.rate * given.weight_decay
        params -= self.rate * getattr(self, given.name)(given, g)

    def sgd(self, given: SGD, g: np.ndarray) -> np.ndarray:
        self.first = given.momentum * self.first + g
        return g + given.momentum * self.first if given.nesterov else self.first

    def rmsprop(self, given: RMSprop, g: np.ndarray) -> np.ndarray:
        self.second = given.rho * self.second + (1 - given.rho) * g**2
        return g / (np.sqrt(self.second) + given.epsilon)

    def adagrad(self, given: Adagrad, g: np.ndarray) -> np.ndarray:
        self.second = self.second + g**2
        return g / (np.sqrt(self.second) + given.epsilon)

    def adam(self, given: Adam, g: np.ndarray) -> np.ndarray:
        self.first = given.beta1 * self.first + (1 - given.beta1) * g
        self.second = given.beta2 * self.second + (1 - given.beta2) * g**2
        mean = self.first / (1 - given.beta1**self.t)
        square = self.second / (1 - given.beta2**self.t)
        return mean / (np.sqrt(square) + given.epsilon)

    adamw = adam


OPTIMIZER_CASES = {
    "sgd": SGD(0.1),
    "momentum": SGD(0.1, 0.9),
    "nesterov": SGD(0.1, 0.9, True),
    "rmsprop": RMSprop(0.01),
    "rmsprop, other settings": RMSprop(0.01, rho=0.5, epsilon=1e-3),
    "adagrad": Adagrad(0.1),
    "adagrad, other settings": Adagrad(0.1, epsilon=1e-2),
    "adam": Adam(0.01),
    "adam, other settings": Adam(0.01, 0.5, 0.9, 1e-3),
    "adamw": AdamW(0.01),
    "adamw, other settings": AdamW(0.01, weight_decay=1.0),
    "sgd, decayed and clipped": SGD(0.1, weight_decay=0.5, clip_norm=0.1),
    "adam, decayed and clipped": Adam(0.01, weight_decay=0.5, clip_norm=0.1),
}


@pytest.mark.nojit
@pytest.mark.parametrize("optimizer", OPTIMIZER_CASES.values(), ids=OPTIMIZER_CASES)
def test_an_optimizer_of_ones_own_with_the_same_formula_trains_alike(
    optimizer: Optimizer, rng: np.random.Generator
) -> None:
    X, y = rng.normal(size=(20, 4)), rng.normal(size=(20, 2))
    networks = [
        Network([Dense(4, 5), Tanh(), Dense(2)], "mean_squared_error", "float64") for _ in "ab"
    ]
    is_weight = np.arange(networks[0].params.size) < 4 * 5 + 5 * 2
    own = Own(optimizer, is_weight)
    networks[0].fit(X, y, optimizer=optimizer, epochs=5, batch_size=8)
    history = networks[1].fit(X, y, optimizer=own, epochs=5, batch_size=8)
    assert own.t == 15
    np.testing.assert_allclose(networks[0].params, networks[1].params, rtol=0, atol=1e-12)
    assert np.isnan(history.learning_rate).all()  # which is the optimizer's own affair


@pytest.mark.nojit
def test_state_goes_on_through_the_epochs_of_a_fit_and_starts_anew_with_the_next(
    rng: np.random.Generator,
) -> None:
    X, y = rng.normal(size=(20, 4)), rng.normal(size=20)

    def trained(*epochs: int) -> np.ndarray:
        network = Network([Dense(4, 1)], "mean_squared_error", "float64")
        for n in epochs:
            network.fit(X, y, optimizer=Adam(0.05), epochs=n, batch_size=20)
        return network.params

    assert (trained(4) == trained(4)).all()
    assert (trained(2, 2) != trained(4)).any()


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: SGD(momentum=1),
            "SGD: expected momentum to be a number at least 0 and below 1, got 1; "
            "choose a value in that range",
        ),
        (
            lambda: Adam(beta2=1.0),
            "Adam: expected beta2 to be a number at least 0 and below 1, got 1; "
            "choose a value in that range",
        ),
        (
            lambda: AdamW(epsilon=-1),
            "AdamW: expected epsilon to be a number at least 0, got -1; "
            "choose a value in that range",
        ),
        (
            lambda: RMSprop(rho=-0.1),
            "RMSprop: expected rho to be a number at least 0 and below 1, got -0.1; "
            "choose a value in that range",
        ),
        (
            lambda: Adagrad(clip_norm=0),
            "Adagrad: expected clip_norm to be a number above 0, got 0; "
            "choose a value in that range",
        ),
        (
            lambda: SGD(weight_decay=-1),
            "SGD: expected weight_decay to be a number at least 0, got -1; "
            "choose a value in that range",
        ),
        (
            lambda: SGD(factors={"0.W": -1}),
            "SGD: expected factors['0.W'] to be a number at least 0, got -1; "
            "choose a value in that range",
        ),
        (
            lambda: Network([Dense(1, 2)]).fit([[0.0], [1.0]], [0, 1], optimizer="adamax"),
            "optimizer: expected one of adagrad, adam, adamw, rmsprop, sgd, got 'adamax'; "
            "did you mean 'adam'?",
        ),
        (
            lambda: Network([Dense(1, 2)]).fit([[0.0], [1.0]], [0, 1], optimizer=3),
            "optimizer: expected a name or an object of fastmlp's Optimizer, got int; use one of "
            "adagrad, adam, adamw, rmsprop, sgd, or derive a class of your own",
        ),
        (
            lambda: Network([Dense(1, 2)]).fit(
                [[0.0], [1.0]], [0, 1], optimizer=SGD(factors={"*.b": 1, "2.W": 2})
            ),
            "SGD: expected factors for some of 0.W, 0.b, got '2.W'; "
            "use a name or a pattern such as '*.b'",
        ),
    ],
)
def test_errors_of_optimizers_in_full(call: Callable[[], Any], text: str) -> None:
    assert message(call) == text


@pytest.mark.nojit
def test_factors_scale_the_rate_and_later_ones_win(rng: np.random.Generator) -> None:
    X, y = rng.normal(size=(8, 3)), rng.normal(size=8)
    factors = {"*": 0.5, "0.*": 2.0, "2.b": 0.0}
    network = Network([Dense(3, 4), Tanh(), Dense(1)], "mean_squared_error", "float64")
    before, gradient = network.params.copy(), network.loss_and_gradient(X, y)[1]
    network.fit(X, y, optimizer=SGD(0.1, factors=factors), epochs=1, batch_size=8)
    scale = np.repeat([2.0, 0.5, 2.0, 0.0], [12, 4, 4, 1])
    np.testing.assert_allclose(network.params, before - 0.1 * scale * gradient, rtol=0, atol=1e-15)


@pytest.mark.nojit
def test_weight_decay_follows_the_rate_and_the_factors(rng: np.random.Generator) -> None:
    X, y = np.zeros((8, 3)), np.zeros(8)
    network = Network([Dense(3, 1)], "mean_squared_error", "float64")
    before = network.params.copy()
    optimizer = SGD(Linear(0.1, 0.0), weight_decay=0.5, factors={"0.W": 3.0})
    network.fit(X, y, optimizer=optimizer, epochs=1, batch_size=4)
    shrink = (1 - 0.1 * 3 * 0.5) * (1 - 0.05 * 3 * 0.5)
    np.testing.assert_allclose(network.params[:3], before[:3] * shrink, rtol=1e-14)
