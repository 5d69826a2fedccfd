"""Proof that gradients are right, for every activation, loss and depth that is registered.

Each case compares the engine's mini-batch gradient with the mean of the per-sample reference's, and
with central differences of the loss, with sample weights, label smoothing and penalties on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from . import reference
from .layers import ACTIVATIONS, LAYERS, Activation, Dense, Identity
from .losses import LOSSES, BuiltInLoss, Quantile
from .network import Network

DEPTHS = (0, 1, 2)
REFERENCE_TOLERANCE = 1e-12
DIFFERENCE_TOLERANCE = 1e-6

_N_SAMPLES, _N_FEATURES, _WIDTHS, _N_OUTPUTS = 6, 5, (7, 4), 3
_L1, _L2, _SMOOTHING = 1e-3, 1e-2, 0.1
_STEP = 1e-6
_CLEARANCE = 1e-4  # distance from every kink, many times the step


@dataclass(frozen=True)
class Case:
    """One combination to check."""

    activation: str
    loss: str
    depth: int


@dataclass(frozen=True)
class Result:
    """Largest deviations of a case's gradient, relative to its largest entry."""

    case: Case
    from_reference: float
    from_differences: float

    @property
    def passed(self) -> bool:
        return (
            self.from_reference <= REFERENCE_TOLERANCE
            and self.from_differences <= DIFFERENCE_TOLERANCE
        )


def cases() -> Iterator[Case]:
    """Every registered activation with every registered loss at every depth."""
    for loss, activation, depth in itertools.product(LOSSES, ACTIVATIONS, DEPTHS):
        if depth > 0 or activation is Identity:  # without hidden layers there is no activation
            yield Case(activation.name, loss.name, depth)


def check(case: Case, random_state: int = 0, factor: float = 1.0) -> Result:
    """Check one case in float64.

    `factor` scales the engine's gradient of the weights before it is compared: anything but 1 must
    fail, which is how the check itself is tested.
    """
    problem = _problem(case, random_state)
    _, gradient = problem.network.loss_and_gradient(problem.X, problem.y, problem.weights)
    n_weights = sum(g.size for g in problem.network.groups if g.is_weight)
    gradient[:n_weights] *= factor
    expected = problem.oracle.flat_gradient(problem.X, problem.targets, problem.weights)
    size = float(np.abs(expected).max())
    assert size > 0  # a gradient of zeros would agree with anything
    return Result(
        case,
        float(np.abs(gradient - expected).max()) / size,
        float(np.abs(gradient - _differences(problem)).max()) / size,
    )


def check_all(random_state: int = 0) -> Iterator[Result]:
    """Check every case."""
    return (check(case, random_state) for case in cases())


@dataclass
class _Problem:
    network: Network
    oracle: reference.ReferenceNetwork
    X: np.ndarray
    y: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


def _problem(case: Case, random_state: int) -> _Problem:
    """Random data and weights for a case, drawn again until no unit is near a kink."""
    for attempt in itertools.count():
        problem = _draw(case, np.random.default_rng([random_state, attempt]))
        if _is_clear(problem):
            return problem
    raise AssertionError("unreachable")


def _draw(case: Case, rng: np.random.Generator) -> _Problem:
    loss_class = LOSSES[case.loss]
    options = _loss_options(loss_class)
    sizes = [_N_FEATURES, *_WIDTHS[: case.depth], _N_OUTPUTS]
    layers: list[Any] = []
    for n_in, n_out in itertools.pairwise(sizes):
        layers += [Dense(n_in, n_out), _activation(case.activation)]
    network = Network(layers[:-1], loss_class(**options), dtype="float64", l1=_L1, l2=_L2)
    oracle = reference.ReferenceNetwork(
        sizes,
        case.activation,
        case.loss,
        0,
        l1=_L1,
        l2=_L2,
        loss_parameters=options,
        activation_parameters=_activation_options(case.activation),
    )
    network.params[...] = rng.normal(0, 0.5, network.params.size)
    oracle.from_flat(network.params)
    X = rng.normal(size=(_N_SAMPLES, _N_FEATURES))
    y, targets = _targets(network.loss.task, case.loss, rng)
    return _Problem(network, oracle, X, y, targets, rng.uniform(0.5, 2.0, _N_SAMPLES))


def _activation(name: str) -> Activation:
    made: Activation = LAYERS[name](**_activation_options(name))  # type: ignore[assignment]
    return made


def _activation_options(name: str) -> dict[str, float]:
    """A value apart from the default for the option of an activation that has one."""
    return {field.name: 0.3 for field in fields(LAYERS[name])}  # type: ignore[arg-type]


def _loss_options(loss_class: type) -> dict[str, Any]:
    """Values apart from the defaults for the options of a loss."""
    values = {"label_smoothing": _SMOOTHING, "delta": 0.7, "levels": (0.1, 0.5, 0.8)}
    return {field.name: values[field.name] for field in fields(loss_class)}


def _targets(task: str, loss: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """What fit is given, and the dense targets that the reference is given."""
    shape = (_N_SAMPLES, _N_OUTPUTS)
    y: np.ndarray = np.arange(_N_SAMPLES) % _N_OUTPUTS
    if task == "classes":
        return y, np.eye(_N_OUTPUTS)[y]
    if task == "binary":
        y = rng.integers(0, 2, shape).astype(float)
        return y, y
    if loss == Quantile.name:  # one target column, an output for each level
        y = rng.normal(size=_N_SAMPLES)
        return y, np.repeat(y[:, None], _N_OUTPUTS, axis=1)
    y = rng.poisson(1.0, shape).astype(float) + rng.uniform(0, 0.2, shape)
    return y, y


def _is_clear(problem: _Problem) -> bool:
    """Whether no pre-activation, residual or weight is where a slope jumps."""
    network = problem.network
    assert isinstance(network.loss, BuiltInLoss)
    values, distances = problem.X, [np.abs(network.params)]
    for layer in network.layers:
        values = layer.forward(values)
        if isinstance(layer, Dense):
            distances.append(np.abs(values).ravel())
    if network.loss.task == "regression":
        residual = np.abs(values - problem.targets).ravel()
        distances += [residual, np.abs(residual - network.loss.option)]
    return float(np.concatenate(distances).min()) > _CLEARANCE


def _differences(problem: _Problem) -> np.ndarray:
    """Central differences of the loss, one parameter at a time."""
    params = problem.network.params
    found = np.empty_like(params)
    for i, value in enumerate(params.copy()):
        step = _STEP * max(1.0, abs(value))
        losses = []
        for moved in (value + step, value - step):
            params[i] = moved
            losses.append(
                problem.network.loss_and_gradient(problem.X, problem.y, problem.weights)[0]
            )
        params[i] = value
        found[i] = (losses[0] - losses[1]) / (2 * step)
    return found
