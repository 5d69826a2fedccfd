"""The gradient check passes for every activation, loss and depth, and fails for any wrong gradient.
What it must notice is put in by hand: factors, tampered slopes and losses, a wrong layer of one's
own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from fastmlp import nn as layers
from fastmlp import reference
from fastmlp.network import Network
from fastmlp.nn import LAYERS, Activation, Dense, Layer, losses
from fastmlp.nn.losses import LOSSES, Loss
from fastmlp.tools import gradient_check
from fastmlp.tools.gradient_check import Case, Result

from ..support import Own, layer_by_layer

pytestmark = pytest.mark.thinned(4)

CASES = list(gradient_check.cases())


def named(case: Case) -> str:
    return f"{case.layer}-{case.loss}-{case.depth}"


def one_for_each(part: str) -> list[Case]:
    """The first case with hidden layers for every loss, or for every layer."""
    found = {getattr(case, part): case for case in reversed(CASES) if case.depth == 1}
    return list(found.values())


FEW = sorted({*one_for_each("loss"), *one_for_each("layer")}, key=named)


@pytest.mark.core
@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[] if case in FEW else pytest.mark.slow) for case in CASES],
    ids=named,
)
def test_gradients_agree_with_reference_and_differences(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And those that are off by a factor with neither of them."""
    compute, found = gradient_check._differences, list[np.ndarray]()

    def differences(problem: Any) -> np.ndarray:
        """Those of the first call, as both check the same numbers."""
        if not found:
            found.append(compute(problem))
        return found[0]

    monkeypatch.setattr(gradient_check, "_differences", differences)
    result = gradient_check.check(case)
    assert result.from_reference is None or result.from_reference <= 1e-12
    assert (result.from_reference is None) == (case.layer not in reference.ACTIVATIONS)
    assert result.from_differences <= 1e-6
    assert result.passed
    off = gradient_check.check(case, factor=1.0005)
    assert (off.from_reference is None) == (result.from_reference is None)
    assert off.from_reference is None or off.from_reference > 1e-12
    assert off.from_differences > 1e-6
    assert not off.passed


@pytest.mark.thinned(2)
@pytest.mark.nojit
@pytest.mark.parametrize("case", FEW, ids=named)
def test_gradients_agree_for_other_data_and_weights(case: Case) -> None:
    first, second = gradient_check.check(case, 1), gradient_check.check(case, 2)
    assert first.passed
    assert second.passed
    assert first.from_differences != second.from_differences  # these were not the same numbers


@pytest.mark.nojit
def test_cases_hold_every_activation_and_loss_at_every_depth() -> None:
    others = set(LAYERS.names) - {"dense"}
    assert {(c.layer, c.loss, c.depth) for c in CASES if c.depth > 0} == {
        (layer, loss, depth) for layer in others for loss in LOSSES.names for depth in (1, 2)
    }
    activations = {kind.name for kind in LAYERS if issubclass(kind, Activation)}
    assert {(c.layer, c.loss) for c in CASES if c.depth == 0} == {
        (layer, loss) for layer in others - activations | {"identity"} for loss in LOSSES.names
    }


@pytest.mark.nojit
def test_all_cases_are_checked_one_after_the_other() -> None:
    results = gradient_check.check_all()
    assert isinstance(results, Iterator)
    first = next(results)
    assert first.case == CASES[0]
    assert first.passed


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("from_reference", "from_differences", "passed"),
    [
        (1e-12, 1e-6, True),
        (0.0, 0.0, True),
        (2e-12, 0.0, False),
        (0.0, 2e-6, False),
        (np.nan, 0.0, False),
        (0.0, np.nan, False),
    ],
)
def test_a_result_passes_within_both_tolerances_only(
    from_reference: float, from_differences: float, passed: bool
) -> None:
    assert Result(CASES[0], from_reference, from_differences).passed is passed


# ------------------------------------------------------------------------------- tampered kernels


@pytest.fixture
def layer_path(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Gradients layer by layer, where a kernel can be replaced by a wrong one."""
    layer_by_layer(monkeypatch)
    return monkeypatch


@pytest.mark.thinned(2)
@pytest.mark.nojit
@pytest.mark.parametrize("case", FEW, ids=named)
def test_the_layer_path_passes_while_its_kernels_are_right(
    case: Case, layer_path: pytest.MonkeyPatch
) -> None:
    assert gradient_check.check(case).passed


@pytest.mark.parametrize(
    "case", [c for c in one_for_each("layer") if c.layer in reference.ACTIVATIONS], ids=named
)
def test_a_slope_off_by_half_a_thousandth_is_noticed(
    case: Case, layer_path: pytest.MonkeyPatch
) -> None:
    forward = Activation.forward

    def off(layer: Activation, X: np.ndarray, training: bool = False) -> np.ndarray:
        values = forward(layer, X, training)
        assert layer._slope is not None
        layer._slope *= 1.0005
        return values

    layer_path.setattr(Activation, "forward", off)
    result = gradient_check.check(case)
    assert result.from_reference > 1e-12
    assert result.from_differences > 1e-6


@pytest.mark.parametrize("case", one_for_each("loss"), ids=named)
def test_a_gradient_of_the_loss_off_by_half_a_thousandth_is_noticed(
    case: Case, layer_path: pytest.MonkeyPatch
) -> None:
    rows = losses.CompiledLoss.rows

    def off(*arguments: Any) -> tuple[float, np.ndarray]:
        value, gradient = rows(*arguments)
        return value, gradient * 1.0005

    layer_path.setattr(losses.CompiledLoss, "rows", off)
    result = gradient_check.check(case)
    assert result.from_reference > 1e-12
    assert result.from_differences > 1e-6


@pytest.mark.parametrize("case", one_for_each("loss"), ids=named)
def test_a_wrong_value_of_the_loss_is_noticed(case: Case, layer_path: pytest.MonkeyPatch) -> None:
    kernel = losses.kernels.sum_rows
    layer_path.setattr(losses.kernels, "sum_rows", lambda *given: 1.0005 * kernel(*given))
    result = gradient_check.check(case)
    assert result.from_reference <= 1e-12  # the gradient itself is right
    assert result.from_differences > 1e-6


@pytest.mark.nojit
@pytest.mark.parametrize("kernel", ["weight_gradient", "bias_gradient", "input_gradient"])
def test_a_wrong_matrix_product_is_noticed(kernel: str, layer_path: pytest.MonkeyPatch) -> None:
    backward = layers.Dense.backward

    def off(layer: layers.Dense, dY: np.ndarray) -> np.ndarray:
        dX = backward(layer, dY)
        wrong = {"weight_gradient": layer.dW, "bias_gradient": layer.db, "input_gradient": dX}
        wrong[kernel][...] *= 1.0005
        return dX

    layer_path.setattr(layers.Dense, "backward", off)
    assert not gradient_check.check(Case("tanh", "mean_squared_error", 2)).passed


# ---------------------------------------------------------------------------- a user-defined layer


@dataclass
class Cubic(Layer):
    """z + z^3 / 3, whose slope may be made wrong by a factor."""

    name: ClassVar[str] = "cubic"
    factor: float = 1.0

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        self.slope = (1 + X**2) * self.factor
        return X + X**3 / 3

    def backward(self, dY: np.ndarray) -> np.ndarray:
        return dY * self.slope


class Quartic(Loss):
    """The mean of (z - t)^4 / 4."""

    name = "quartic"
    factor = 1.0

    def value_and_gradient(
        self, outputs: np.ndarray, targets: np.ndarray, sample_weight: np.ndarray
    ) -> tuple[float, np.ndarray]:
        r = outputs - targets
        share = sample_weight[:, None] / sample_weight.sum() / r.shape[1]
        return float((share * r**4 / 4).sum()), self.factor * share * r**3


def largest_difference(network: Network, *batch: np.ndarray) -> float:
    """From central differences of the loss, relative to the gradient's largest entry."""
    gradient = network.loss_and_gradient(*batch)[1]
    differences = np.empty_like(gradient)
    for i, value in enumerate(network.params.copy()):
        sides = []
        for moved in (value + 1e-6, value - 1e-6):
            network.params[i] = moved
            sides.append(network.loss_and_gradient(*batch)[0])
        network.params[i] = value
        differences[i] = (sides[0] - sides[1]) / 2e-6
    return float(np.abs(gradient - differences).max() / np.abs(gradient).max())


@pytest.mark.nojit
@pytest.mark.parametrize("make_wrong", ["nothing", "layer", "loss"])
def test_parts_of_ones_own_are_checked_by_differences(
    make_wrong: str, rng: np.random.Generator
) -> None:
    loss = Quartic()
    loss.factor = 1.0005 if make_wrong == "loss" else 1.0
    own = Cubic(1.0005 if make_wrong == "layer" else 1.0)
    network = Network([Dense(4, 5), own, Dense(2)], loss, dtype="float64", l1=1e-3, l2=1e-2)
    network.params[...] = rng.normal(0, 0.5, network.params.size)
    batch = rng.normal(size=(6, 4)), rng.normal(size=(6, 2)), rng.uniform(0.5, 2.0, 6)
    difference = largest_difference(network, *batch)
    assert (difference <= 1e-6) is (make_wrong == "nothing")


@pytest.mark.nojit
@pytest.mark.parametrize("order", [np.asfortranarray, lambda a: a[::-1].copy()[::-1], np.array])
@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_layer_of_ones_own_may_return_any_memory_order_and_type(
    place: str, kind: str, order: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator
) -> None:
    class Other(Own):
        def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
            return order(X.astype(kind))

        def backward(self, dY: np.ndarray) -> np.ndarray:
            return order(dY.astype(kind))

    X, results = rng.normal(size=(6, 3)).astype("float32"), []
    for own in (Own, Other):
        inner: list[Layer] = [Dense(3, 4), layers.Tanh(), Dense(3)]
        inner.insert({"first": 0, "middle": 1, "last": 3}[place], own())
        network = Network(inner, dtype="float32")
        loss, gradient = network.loss_and_gradient(X, np.arange(6) % 3)
        history = network.fit(X, np.arange(6) % 3, epochs=2, batch_size=4)
        results.append([loss, *history.loss, *network.evaluate(X, np.arange(6) % 3), *gradient])
    assert results[0] == results[1]


@pytest.mark.nojit
def test_every_built_in_activation_is_an_activation() -> None:
    assert all(issubclass(cls, Activation) for cls in layers.ACTIVATIONS)
