"""Proof that gradients are right, for every activation, loss and depth that is registered.

Each case compares the engine's mini-batch gradient with the mean of the per-sample reference's, and
with central differences of the loss, with sample weights, label smoothing and penalties on.
`check_part` looks at a layer or a loss of your own in the same way.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from . import reference
from .errors import InputTypeError
from .layers import ACTIVATIONS, LAYERS, Activation, Dense, Identity, Layer
from .losses import LOSSES, CompiledLoss, Loss, Quantile
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


# ---------------------------------------------------------------- parts of the user's own

PART_TOLERANCES = {"float32": 1e-4, "float64": DIFFERENCE_TOLERANCE}


@dataclass(frozen=True)
class PartResult:
    """Largest deviations of a part in one dtype, relative to its largest number.

    Parameters
    ----------
    part : str
        What was checked.
    dtype : {"float32", "float64"}
        Type of the numbers.
    of_values : float
        Deviation of outputs, or of the loss, from those in float64.
    from_differences : float
        Deviation of gradients from central differences, which are taken in float64.
    """

    part: str
    dtype: str
    of_values: float
    from_differences: float

    @property
    def passed(self) -> bool:
        """Whether both deviations are as small as rounding explains; a nan is not."""
        tolerance = PART_TOLERANCES[self.dtype]
        return self.of_values <= tolerance and self.from_differences <= tolerance


def check_part(part: Layer | Loss, random_state: int = 0) -> tuple[PartResult, PartResult]:
    """Compare gradients of a layer or a loss with central differences, in both dtypes.

    Parameters
    ----------
    part : Layer or Loss
        Of your own, compiled or in NumPy, or a built-in one. It is left as it is.
    random_state : int, default 0
        Seed of the numbers that it is tried with.

    Returns
    -------
    tuple of PartResult
        For float32 and for float64; each has `passed`, `of_values` and `from_differences`.

    Raises
    ------
    InputTypeError
        For anything but a layer or a loss.

    Notes
    -----
    For a function f, numbers x and a direction v, the gradient of v f(x) is compared with
    (v f(x + h) - v f(x - h)) / 2h, one number of x at a time; h is 1e-6 times the number, or 1e-6.

    Examples
    --------
    >>> from fastmlp import GELU, check_part
    >>> [(result.dtype, result.passed) for result in check_part(GELU())]
    [('float32', True), ('float64', True)]
    """
    if not isinstance(part, Layer | Loss):
        raise InputTypeError(
            "check_part", "a layer or a loss", type(part).__name__, "pass an object such as ReLU()"
        )
    rng = np.random.default_rng(random_state)
    probe = _probe_layer(part, rng) if isinstance(part, Layer) else _probe_loss(part, rng)
    found = {dtype: probe(np.dtype(dtype)) for dtype in PART_TOLERANCES}
    exact = found["float64"]
    differences = np.concatenate([_slopes(exact.value, x) for x in exact.places])
    results = [
        PartResult(
            repr(part), dtype, _deviation(tried.outputs, exact.outputs),
            _deviation(np.concatenate([g.ravel() for g in tried.gradients]), differences),
        )
        for dtype, tried in found.items()
    ]  # fmt: skip
    return results[0], results[1]


@dataclass
class _Tried:
    """A part's outputs, the gradients at some numbers, and what moves when these do."""

    outputs: np.ndarray
    gradients: list[np.ndarray]
    places: list[np.ndarray]
    value: Callable[[], float]


def _deviation(found: np.ndarray, expected: np.ndarray) -> float:
    size = float(np.abs(expected).max()) or 1.0
    return float(np.abs(found - expected).max()) / size


def _slopes(value: Callable[[], float], places: np.ndarray) -> np.ndarray:
    """Central differences of a value for each of some numbers that it depends on."""
    flat, found = places.reshape(-1), np.empty(places.size)
    for i, kept in enumerate(flat.copy()):
        step, values = _STEP * max(1.0, abs(kept)), list[float]()
        for moved in (kept + step, kept - step):
            flat[i] = moved
            values.append(value())
        flat[i] = kept
        found[i] = (values[0] - values[1]) / (2 * step)
    return found


def _probe_layer(layer: Layer, rng: np.random.Generator) -> Callable[[np.dtype], _Tried]:
    n_in = layer.n_in or _N_FEATURES
    X, seed = rng.normal(size=(_N_SAMPLES, n_in)) * 2, int(rng.integers(2**31))

    def tried(dtype: np.dtype) -> _Tried:
        twin, inputs, draws = copy.deepcopy(layer), X.astype(dtype), np.random.default_rng(seed)
        twin.build(n_in)
        shapes = twin.parameter_shapes()
        parameters = {key: np.zeros(shape, dtype) for key, shape in shapes.items()}
        twin.bind(parameters, {key: np.zeros(shape, dtype) for key, shape in shapes.items()})
        for values in parameters.values():
            values[...] = draws.normal(0, 0.5, values.shape)
        outputs = np.asarray(twin.forward(inputs, training=False)).copy()
        weights = draws.normal(size=outputs.shape)
        flowing = twin.backward(weights.astype(dtype))
        gradients = [np.array(flowing), *(twin.gradients[key].copy() for key in shapes)]

        def value() -> float:
            return float((weights * twin.forward(inputs, training=False)).sum())

        return _Tried(outputs, gradients, [inputs, *parameters.values()], value)

    return tried


def _probe_loss(loss: Loss, rng: np.random.Generator) -> Callable[[np.dtype], _Tried]:
    outputs = rng.normal(size=(_N_SAMPLES, _N_OUTPUTS))
    _, targets = _targets(loss.task, "", rng)
    weights = rng.uniform(0.5, 2.0, _N_SAMPLES)

    def tried(dtype: np.dtype) -> _Tried:
        z, t, w = (values.astype(dtype) for values in (outputs, targets, weights))
        found, gradient = loss.value_and_gradient(z, t, w)

        def value() -> float:
            return float(loss.value_and_gradient(z, t, w)[0])

        return _Tried(np.array([found]), [np.array(gradient)], [z], value)

    return tried


# ---------------------------------------------------------------- problems


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
    assert isinstance(network.loss, CompiledLoss)
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
