"""Makes a `Trace`: runs one sample through a copy of the network, layer by layer.

The steps are those of `layerwise`, with all numbers recorded. The numbers of `fastmlp.reference`
for the same sample are recorded for comparison.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import numpy as np

from .. import reference
from ..engine import layerwise
from ..errors import InputError
from ..inputs import checks
from ..inputs.samples import adopt, read
from ..inputs.tables import is_sparse
from ..inputs.targets import Samples, TargetCoder
from ..kernels.compiler.denormals import flush_denormals, restore_denormals
from ..model.body import Body, planned
from ..nn import LAYERS, Activation, Dense, Dropout, Layer
from ..nn.losses import LOSSES
from ..optim.optimizers import SGD, has_rule, optimizer_of
from ..optim.schedules import Schedule
from ..registry import specification
from .layer_trace import LayerTrace
from .trace import Outcome, Reference, Step, Trace

_WHERE = "Network.trace"

T = TypeVar("T")


def trace(network: Body, x: Any, y: Any, optimizer: Any, training: bool) -> Trace:
    """Follow one sample; `Network.trace` explains the parameters."""
    chosen = _optimizer(optimizer)
    twin = _own_copy(network)
    samples = _read(twin, _row(x, network), y)
    if has_rule(chosen):
        chosen.group_factors(twin.groups)  # refuses factors for other parameters
    control = flush_denormals()  # as in a fit, so that the numbers are the same
    try:
        return _follow(twin, samples, chosen, training)
    finally:
        restore_denormals(control)


def _follow(network: Body, samples: Samples, optimizer: Any, training: bool) -> Trace:
    """Forward, loss, backward and update of a private copy of a network."""
    passed, outputs = _forward(network, samples.X, training)
    loss, flowing = layerwise.loss_and_slopes(network, outputs, samples.encoded, samples.weights)
    gradients = _backward(network, flowing)
    penalty = layerwise.add_penalties(network)
    target = samples.encoded.dense(network.n_outputs)[0]
    outcome = Outcome(
        loss=float(loss),
        penalty=penalty,
        target=_kept(target),
        prediction=_kept(network.loss.link(outputs)[0]),
        classes=_classes(network),
    )
    found = [_arrays(network, number, passed, gradients) for number in range(len(network.layers))]
    beside = _Oracle(network, training).numbers(passed, target, optimizer)
    step = None
    if optimizer is not None:
        rate = _update(network, optimizer, found)
        _, outputs = _forward(network, samples.X, training)
        after, _ = layerwise.loss_and_slopes(network, outputs, samples.encoded, samples.weights)
        name = optimizer.name if has_rule(optimizer) else type(optimizer).__name__
        step = Step(name, rate, float(after))
    layers = [
        LayerTrace(
            number, repr(layer), arrays, _shown(number, layer, arrays), _joins(network, number)
        )
        for number, (layer, arrays) in enumerate(zip(network.layers, found, strict=True))
    ]
    return Trace(layers, outcome, step, beside)


# Reading the sample ---------------------------------------------------------------------------


def _optimizer(value: Any) -> Any:
    """An optimizer that the trace may modify, or None."""
    if value is None:
        return None
    found = optimizer_of(value)
    return found if has_rule(found) else _own_copy(found)


def _own_copy(thing: T) -> T:
    """A deep copy, so that the original is not modified."""
    try:
        return copy.deepcopy(thing)
    except Exception as error:
        raise InputError(
            _WHERE,
            "parts that copy.deepcopy can copy",
            type(error).__name__,
            "define __deepcopy__ for your own layers, loss or optimizer",
        ) from error


def _row(x: Any, network: Body) -> Any:
    """x as a matrix of one row."""
    if hasattr(x, "to_frame") and hasattr(x, "iloc"):  # a row of a pandas frame keeps its names
        x = x.to_frame().T
    if not (hasattr(x, "shape") and len(x.shape) == 2):
        x = checks.array(_WHERE, "x", x)
    shape = tuple(x.shape)  # as given
    if len(shape) == 1:
        x = x.reshape(1, -1)
    columns: Any = network.n_features or "n_features"
    fits = not network.is_built or hasattr(x, "columns") or x.shape[-1:] == (columns,)
    if len(x.shape) != 2 or x.shape[0] != 1 or not fits:
        raise InputError(
            _WHERE,
            f"x as one sample of shape ({columns},) or (1, {columns})",
            f"an array of shape {shape}",
            "pass one row, such as X[0]",
        )
    return x


def _read(network: Body, X: Any, y: Any) -> Samples:
    """The sample as kernels read it; builds the network if it was not built."""
    values = checks.array(_WHERE, "y", y)
    if values.ndim > 2 or (values.ndim == 2 and len(values) != 1):
        raise InputError(
            _WHERE,
            "y as the target of one sample",
            f"an array of shape {values.shape}",
            "pass one entry, such as y[0]",
        )
    if network.coder is None:
        columns = checks.matrix(_WHERE, "x", X, network.n_features or None).shape[1]
        network.coder = _coder(network, values, planned(network, columns).n_outputs)
    flat = network.coder.flat if network.coder is not None else values.ndim < 2
    rows = values.reshape(1) if flat and values.size == 1 else values.reshape(1, -1)
    samples, plan, coder = read(network, _WHERE, X, rows, None)
    adopt(network, plan, coder)
    return samples


def _coder(network: Body, values: np.ndarray, n_outputs: int) -> TargetCoder | None:
    """How a network that was not fitted reads one label: as a class number.

    None if the sample itself determines how to read it: one-hot rows, and numbers to predict.
    """
    task = network.loss.task
    if task == "regression" or values.size != 1 or values.ndim == 2:
        return None
    if task == "binary" and n_outputs > 1:
        return TargetCoder(n_outputs, task)  # it refuses a single label
    n_classes = max(n_outputs, 2)
    number = values.reshape(-1)[0]
    is_number = values.dtype.kind in "biuf"
    if not (is_number and number in range(n_classes)):
        raise InputError(
            _WHERE,
            f"the number of a class, from 0 to {n_classes - 1}, for a network that is not fitted",
            "another number" if is_number else f"dtype {values.dtype}",
            "call fit first, or pass a one-hot row",
        )
    dtype = values.dtype if values.dtype.kind in "iu" else np.dtype(np.int64)
    return TargetCoder(n_outputs, task, classes=np.arange(n_classes).astype(dtype), flat=True)


def _classes(network: Body) -> np.ndarray | None:
    """Labels in the order of the outputs, or class numbers if there are no labels."""
    found = network.classes_
    if found is None and network.loss.task == "classes":
        found = np.arange(network.n_outputs)
    return found


# The walk -------------------------------------------------------------------------------------


def _kept(values: Any) -> np.ndarray:
    """A read-only copy for the trace."""
    kept = values.toarray() if is_sparse(values) else np.array(values, order="C")
    kept.setflags(write=False)
    return kept


def _forward(network: Body, X: Any, training: bool) -> tuple[list[np.ndarray], np.ndarray]:
    """The inputs of each layer followed by the outputs; and the unconverted outputs."""
    values = X.astype(network.dtype)
    if is_sparse(values) and type(network.layers[0]) is not Dense:
        values = values.toarray()
    passed = [_kept(values)[0]]
    for number, (_, layer) in enumerate(network.leaves()):
        if isinstance(layer, Dropout):
            layer.at_step(network.seed, number + 1, 0)
    for layer in network.layers:
        values = layerwise.outputs_of_layer(layer, values, training)
        passed.append(_kept(values[0]))
    return passed, values


def _backward(network: Body, flowing: np.ndarray) -> list[np.ndarray]:
    """The gradient of the loss with respect to each array that `_forward` returns."""
    found = [_kept(np.reshape(flowing, -1))]
    for layer in reversed(network.layers):
        flowing = layer.backward(flowing)
        found.insert(0, _kept(np.reshape(flowing, -1)))
    return found


def _arrays(
    network: Body, number: int, passed: list[np.ndarray], gradients: list[np.ndarray]
) -> dict[str, np.ndarray]:
    """All arrays of a layer, by name."""
    layer = network.layers[number]
    before, after = passed[number], passed[number + 1]
    if not isinstance(layer, Dense):
        found = {"z": before, "a": after}
        if isinstance(layer, Activation | Dropout):
            found["slope"] = _slope(layer, after)
        found |= {"da": gradients[number + 1], "delta": gradients[number]}
    else:
        joined = number + int(_joins(network, number + 1))
        follower = network.layers[joined]
        found = {"x": before, "z": after, "a": passed[joined + 1]}
        found["slope"] = _kept(np.ones_like(after))
        if follower is not layer:
            found["slope"] = _slope(follower, after)
        found |= {"da": gradients[joined + 1], "delta": gradients[number + 1]}
        found["dx"] = gradients[number]
    for key, values in getattr(layer, "parameters", {}).items():
        name = _name(layer, key)
        found[name], found[f"d{name}"] = _kept(values), _kept(layer.gradients[key])
    return found


def _slope(layer: Layer, like: np.ndarray) -> np.ndarray:
    """f'(z) of an element-wise layer: its backward pass for a gradient of ones."""
    return _kept(layer.backward(np.ones((1, like.size), like.dtype))[0])


def _joins(network: Body, number: int) -> bool:
    """Whether a layer is an activation directly after a Dense layer, which shows its arrays."""
    if not 0 < number < len(network.layers):
        return False
    layer, before = network.layers[number], network.layers[number - 1]
    return isinstance(layer, Activation) and isinstance(before, Dense)


def _name(layer: Layer, key: str) -> str:
    """A parameter's name in the trace: its own, unless an array of every layer uses that name."""
    taken = {"x", "z", "a", "slope", "da", "delta", "dx"}
    return f"parameter_{key}" if {key, f"d{key}"} & taken else key


def _shown(number: int, layer: Layer, arrays: dict[str, np.ndarray]) -> list[str]:
    """Names for the tables, in the order of the algorithm."""
    names = ["x"] if number == 0 else []
    names += ["z", "a", "slope", "delta"]
    keys = [_name(layer, key) for key in getattr(layer, "parameters", {})]
    names += [*(f"d{key}" for key in keys), *(f"update_{key}" for key in keys)]
    return [name for name in names if name in arrays]


def _update(network: Body, optimizer: Any, found: list[dict[str, np.ndarray]]) -> float | None:
    """Make the optimizer's first step and record the changes; returns the learning rate."""
    rate = None
    if has_rule(optimizer):
        rates = optimizer.schedule.rates(np.arange(1), 1)
        rate = float(rates[0])
        state = optimizer.initial_state(network.params.size, network.dtype)
        numbers = optimizer.step_numbers(0, rates, 1, network.groups)[0]
        optimizer.update(numbers, network.groups, network.params, network.grads, state)
    else:
        optimizer.step(network.params, network.grads)
    layerwise.limit_norms(network)
    for layer, arrays in zip(network.layers, found, strict=True):
        for key, values in getattr(layer, "parameters", {}).items():
            name = _name(layer, key)
            arrays[f"update_{name}"] = _kept(values - arrays[name])
            arrays[f"{name}_after"] = _kept(values)
    return rate


def _drops(layer: Dropout) -> bool:
    """Whether the layer drops anything in training, judging by its rate."""
    return isinstance(layer.rate, Schedule) or layer.rate > 0


# The reference --------------------------------------------------------------------------------


class _Oracle:
    """The per-sample reference for a network, from its first Dense layer on, if there is one."""

    def __init__(self, network: Body, training: bool) -> None:
        self.network = network
        self.stages: list[tuple[int, int | None]] = []  # a Dense layer and its activation
        self.missing = self._find_stages(training)

    def _find_stages(self, training: bool) -> str:
        """The part that the reference has no counterpart for, or an empty string."""
        network = self.network
        if network.loss.name not in reference.LOSSES or type(network.loss) not in set(LOSSES):
            return f"the loss {network.loss.name}"
        for number, layer in enumerate(network.layers):
            if isinstance(layer, Dropout) and not (training and _drops(layer)):
                continue  # it changes nothing
            if type(layer) is Dense:
                self.stages.append((number, None))
            elif self.stages and self.stages[-1][1] is None and _is_known(layer):
                self.stages[-1] = self.stages[-1][0], number
            elif self.stages or not isinstance(layer, Activation):
                return f"{layer!r} as layer {number}"
        return "" if self.stages else "a network without Dense layers"

    def numbers(self, passed: list[np.ndarray], target: np.ndarray, optimizer: Any) -> Reference:
        """All arrays that the reference has, in float64, by their names in the trace."""
        if self.missing:
            return Reference({}, self.missing)
        with np.errstate(all="ignore"):
            return Reference(self._numbers(passed, target, optimizer), "")

    def _numbers(
        self, passed: list[np.ndarray], target: np.ndarray, optimizer: Any
    ) -> dict[str, np.ndarray]:
        network = self.network
        denses = [network.layers[number] for number, _ in self.stages]
        weights = [np.array(dense.parameters["W"].T, np.float64, order="C") for dense in denses]
        biases = [dense.parameters["b"].astype(np.float64)[:, None] for dense in denses]
        functions = [self._function(number) for _, number in self.stages]
        link, loss, slope_of_loss = _bound(reference.LOSSES, network.loss)
        t = reference.column(target)
        z, a = reference.forward(
            reference.column(passed[self.stages[0][0]]), weights, biases, functions
        )
        da_last = slope_of_loss(a[-1], t)
        delta = da_last * functions[-1][1](z[-1])
        dW, db = reference.backward(delta, z, a, weights, functions)
        found = {"loss": np.array(loss(a[-1], t)), "prediction": link(a[-1])[:, 0]}
        for place, (number, follower) in enumerate(self.stages):
            is_last = place == len(self.stages) - 1
            da = da_last if is_last else weights[place + 1].T @ db[place + 1]
            arrays = {"z": z[place], "delta": db[place]}
            bend = {"a": a[place + 1], "slope": functions[place][1](z[place]), "da": da}
            if follower is None or follower == number + 1:
                _put(found, number, arrays | bend)
            else:
                _put(found, number, arrays)
            if follower is not None:
                _put(found, follower, arrays | bend)
            _put(found, number, {"x": a[place], "dx": weights[place].T @ db[place]})
            W = weights[place]
            gradient = dW[place] + network.l1 * np.sign(W) + network.l2 * W
            found |= {f"{number}.dW": gradient.T, f"{number}.db": db[place][:, 0]}
            rate = _plain_rate(network, optimizer)
            if rate is not None:
                found[f"{number}.update_W"] = -rate * gradient.T
                found[f"{number}.update_b"] = -rate * db[place][:, 0]
        return found

    def _function(self, number: int | None) -> Any:
        """An activation's value and slope; the identity if a Dense layer has none."""
        if number is None:
            return reference.ACTIVATIONS["identity"]
        return _bound(reference.ACTIVATIONS, self.network.layers[number])


def _is_known(layer: Layer) -> bool:
    return type(layer) in set(LAYERS) and layer.name in reference.ACTIVATIONS


def _bound(table: Any, part: Any) -> Any:
    """The reference's functions for an activation or a loss, with its options."""
    spec = specification(part)
    return reference.bind(table, spec.pop("name"), spec)


def _put(found: dict[str, np.ndarray], number: int, columns: dict[str, np.ndarray]) -> None:
    found |= {f"{number}.{name}": column[:, 0] for name, column in columns.items()}


def _plain_rate(network: Body, optimizer: Any) -> float | None:
    """The learning rate, if the step is the reference's: plain gradient descent."""
    limited = any(isinstance(layer, Dense) and layer.max_norm for layer in network.layers)
    scaled = any(group.scale != 1 for group in network.groups)
    if not isinstance(optimizer, SGD) or limited or scaled:
        return None
    if optimizer != SGD(optimizer.learning_rate):
        return None
    return float(optimizer.schedule.rates(np.arange(1), 1)[0])
