"""Gradient check for all registered layers and losses at several depths.

Each case compares the engine's mini-batch gradient with the mean of the per-sample reference's,
which has Dense layers and activations, and with central differences of the loss. Sample weights,
label smoothing and penalties are on. `check_part` checks a user-defined layer or loss in the same
way.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .. import reference
from ..errors import InputTypeError
from ..network import Network
from ..nn import (
    LAYERS,
    Activation,
    Columns,
    Dense,
    Embedding,
    GroupedDense,
    Identity,
    Layer,
    LayerNorm,
    Members,
    PiecewiseLinear,
    PReLU,
    Residual,
    Scale,
    SharedDense,
    Tanh,
)
from ..nn.losses import LOSSES, CompiledLoss, Loss, Quantile

DEPTHS = (0, 1, 2)
REFERENCE_TOLERANCE = 1e-12
DIFFERENCE_TOLERANCE = 1e-6

_N_SAMPLES, _N_FEATURES, _WIDTHS, _N_OUTPUTS = 6, 5, (7, 4), 3
_L1, _L2, _SMOOTHING = 1e-3, 1e-2, 0.1
N_CATEGORIES = 4
_STEP = 1e-6
_CLEARANCE = 1e-4  # minimum distance from every kink, many times the step
_MOST_DRAWS = 1000


@dataclass(frozen=True)
class Case:
    """One combination that is checked."""

    layer: str
    loss: str
    depth: int


@dataclass(frozen=True)
class Result:
    """Largest deviations of a case's gradient, relative to its largest entry.

    from_reference: None for layers that the reference does not have.
    """

    case: Case
    from_reference: float | None
    from_differences: float

    @property
    def passed(self) -> bool:
        found = 0.0 if self.from_reference is None else self.from_reference
        return found <= REFERENCE_TOLERANCE and self.from_differences <= DIFFERENCE_TOLERANCE


def cases() -> Iterator[Case]:
    """Every registered layer with every registered loss at every depth.

    Dense is in all of them.
    """
    for loss, layer, depth in itertools.product(LOSSES, LAYERS, DEPTHS):
        # Activations follow hidden layers; other layers are also tried as the first layer.
        is_hidden = depth > 0 or layer is Identity or not issubclass(layer, Activation)
        if layer is not Dense and is_hidden:
            yield Case(layer.name, loss.name, depth)


_EXAMPLES: dict[str, Callable[[], Layer]] = {
    "dense": lambda: Dense(_N_FEATURES),
    "embedding": lambda: Columns((0, [Embedding(N_CATEGORIES, 2)])),
    "grouped_dense": lambda: Columns(([0, 1, 2, 3], [GroupedDense(2, group_size=2)])),
    "members": lambda: Members(3, "normal"),
    "shared_dense": lambda: Columns(([0, 1, 2, 3], [SharedDense(2, n_members=2)])),
    "piecewise_linear": lambda: Columns(([1, 2], [PiecewiseLinear(2 * [[-1.0, 0.1, 0.1, 2.0]])])),
    "residual": lambda: Residual([LayerNorm(), Tanh()]),
    "columns": lambda: Columns((0, [Embedding(N_CATEGORIES, 2)]), ([1, 3], [Scale()])),
}


def example_of(name: str) -> Layer:
    """A registered layer for rows of five columns, the first of which is a category.

    An Embedding is put in a branch of Columns.
    """
    if name in _EXAMPLES:
        return _EXAMPLES[name]()
    kind = LAYERS[name]
    return _activation(name) if issubclass(kind, Activation) else kind()


def check(case: Case, random_state: int = 0, factor: float = 1.0) -> Result:
    """Check one case in float64.

    `factor` scales the engine's gradient of the weights before the comparison. It is for testing
    the check itself, which must fail for any factor other than 1.
    """
    problem = _problem(case, random_state)
    _, gradient = problem.network.loss_and_gradient(problem.X, problem.y, problem.weights)
    n_weights = sum(g.size for g in problem.network.groups if g.is_weight)
    gradient[:n_weights] *= factor
    differences, from_reference = _differences(problem), None
    size = float(np.abs(differences).max())
    if problem.oracle is not None:
        expected = problem.oracle.flat_gradient(problem.X, problem.targets, problem.weights)
        size = float(np.abs(expected).max())
        from_reference = float(np.abs(gradient - expected).max()) / size
    assert size > 0  # a gradient of zeros would agree with anything
    return Result(case, from_reference, float(np.abs(gradient - differences).max()) / size)


def check_all(random_state: int = 0) -> Iterator[Result]:
    """Check every case."""
    return (check(case, random_state) for case in cases())


# ---------------------------------------------------------------- user-defined parts

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
        """Whether both deviations are small enough to be rounding; False for nan."""
        tolerance = PART_TOLERANCES[self.dtype]
        return self.of_values <= tolerance and self.from_differences <= tolerance


def check_part(part: Layer | Loss, random_state: int = 0) -> tuple[PartResult, PartResult]:
    """Compare gradients of a layer or a loss with central differences, in both dtypes.

    Parameters
    ----------
    part : Layer or Loss
        User-defined, compiled or in NumPy, or built in. It is not changed.
    random_state : int, default 0
        Seed of the numbers for the check.

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
    """A part's outputs, its gradients at some numbers, and functions of these numbers."""

    outputs: np.ndarray
    gradients: list[np.ndarray]
    places: list[np.ndarray]
    value: Callable[[], float]


def _deviation(found: np.ndarray, expected: np.ndarray) -> float:
    size = float(np.abs(expected).max()) or 1.0
    return float(np.abs(found - expected).max()) / size


def _slopes(value: Callable[[], float], places: np.ndarray) -> np.ndarray:
    """Central differences of a value with respect to numbers that it depends on."""
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
    oracle: reference.ReferenceNetwork | None
    X: np.ndarray
    y: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


def _problem(case: Case, random_state: int) -> _Problem:
    """Random data and weights for a case, drawn again until no unit is near a kink."""
    for attempt in range(_MOST_DRAWS):
        problem = _draw(case, np.random.default_rng([random_state, attempt]))
        if _is_clear(problem):
            return problem
    raise AssertionError(f"{case} stays near a kink")


def _draw(case: Case, rng: np.random.Generator) -> _Problem:
    loss_class = LOSSES[case.loss]
    options = _loss_options(loss_class)
    sizes = [_N_FEATURES, *_WIDTHS[: case.depth], _N_OUTPUTS]
    network = Network(
        _layers(case, sizes), loss_class(**options), dtype="float64", l1=_L1, l2=_L2
    ).build(_N_FEATURES)
    network.params[...] = rng.normal(0, 0.5, network.params.size)
    network.buffers = rng.uniform(0.5, 2.0, network.buffers.size)
    X, oracle = rng.normal(size=(_N_SAMPLES, _N_FEATURES)), None
    if case.layer in reference.ACTIVATIONS:
        oracle = reference.ReferenceNetwork(
            sizes, case.layer, case.loss, 0, l1=_L1, l2=_L2, loss_parameters=options,
            activation_parameters=_activation_options(case.layer),
        )  # fmt: skip
        oracle.from_flat(network.params)
    if _reads_categories(case.layer):
        X[:, 0] = np.arange(_N_SAMPLES) % N_CATEGORIES
    y, targets = _targets(network.loss.task, case.loss, rng)
    return _Problem(network, oracle, X, y, targets, rng.uniform(0.5, 2.0, _N_SAMPLES))


def _reads_categories(name: str) -> bool:
    return issubclass(LAYERS[name], Columns | Embedding)


def _layers(case: Case, sizes: list[int]) -> list[Any]:
    """Dense layers of some sizes, with the case's layer between them or, if need be, first."""
    dense = [Dense(n_out) for n_out in sizes[1:]]
    if LAYERS[case.layer] is Identity and case.depth == 0:
        return dense
    if _reads_categories(case.layer) or case.depth == 0:
        return [example_of(case.layer), *dense]
    found: list[Any] = []
    for layer in dense[:-1]:
        found += [layer, example_of(case.layer)]
    return [*found, dense[-1]]


def _activation(name: str) -> Activation:
    made: Activation = LAYERS[name](**_activation_options(name))  # type: ignore[assignment]
    return made


def _activation_options(name: str) -> dict[str, float]:
    """A non-default value for the option of an activation, if it has one."""
    return {field.name: 0.3 for field in fields(LAYERS[name])}  # type: ignore[arg-type]


def _loss_options(loss_class: type) -> dict[str, Any]:
    """Non-default values for the options of a loss."""
    values = {"label_smoothing": _SMOOTHING, "delta": 0.7, "levels": (0.1, 0.5, 0.8)}
    return {field.name: values[field.name] for field in fields(loss_class)}


def _targets(task: str, loss: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The targets for fit, and the dense targets for the reference."""
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
    """Whether no pre-activation, residual or weight is near a kink, where a slope jumps."""
    network = problem.network
    assert isinstance(network.loss, CompiledLoss)
    values, distances = problem.X, [np.abs(network.params)]
    for layer in network.layers:
        if isinstance(layer, Activation | PReLU):
            distances.append(np.abs(values).ravel())
        values = layer.forward(values)
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
