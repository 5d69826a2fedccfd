"""The layer-by-layer path: the training step in a dozen lines of Python over layer objects.

It runs networks with user-defined layers, losses or optimizers, and shows what the fused step does.
For built-in parts the two agree bit for bit, which the tests check.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import InputError, InputTypeError
from ..extending import own_parts
from ..inputs import checks
from ..inputs.tables import is_sparse
from ..inputs.targets import Encoded
from ..kernels.compiler.denormals import flush_denormals, restore_denormals
from ..kernels.compiler.memory import address_of, address_or_0, laid_out
from ..kernels.products.sums import n_parts
from ..kernels.rules import optimizers as kernels
from ..kernels.rules.losses import sum_rows, total_weight
from ..kernels.views import Block, Penalty, Weights
from ..model.body import Body
from ..nn import Dense, Dropout, Layer
from ..nn.dropout import by_schedule
from ..nn.losses import has_kernel
from ..optim.averaging import Averaging
from ..optim.optimizers import has_rule


def train(
    network: Body,
    X: np.ndarray,
    order: np.ndarray,
    batch_size: int,
    encoded: Encoded,
    weights: np.ndarray,
    optimizer: Any,
    state: np.ndarray,
    numbers: np.ndarray,
    first_step: int,
    ends: Callable[[], bool],
    accumulate: int = 1,
    averaging: Averaging | None = None,
) -> np.ndarray:
    """Train on the samples in `order`, one step per batch, until `ends` asks to stop.

    accumulate: how many batches a step has, whose gradients are added up; averaging: moves averaged
    weights after each step, by the last of its numbers. Returns each step's loss (n_steps,).
    """
    rows_per_step = batch_size * accumulate
    checks.valid_sparse("Network.fit", "X", X)  # callbacks may have changed it since the last call
    losses = np.empty(numbers.shape[0])
    control = flush_denormals()
    try:
        for step in range(losses.size):
            if step > 0 and ends():
                return losses[:step]
            index, row = order[step * rows_per_step : (step + 1) * rows_per_step], numbers[step]
            if averaging is not None:
                row = row[:-1]
            losses[step] = _step(
                network, X, index, batch_size, encoded, weights, optimizer, state, row,
                first_step + step, is_first=step == 0,
            )  # fmt: skip
            if averaging is not None:
                averaging.move(network, numbers[step, -1])
    finally:
        restore_denormals(control)
    return losses


def _step(
    network: Body,
    X: np.ndarray,
    index: np.ndarray,
    batch_size: int,
    encoded: Encoded,
    weights: np.ndarray,
    optimizer: Any,
    state: np.ndarray,
    numbers: np.ndarray,
    step: int,
    is_first: bool,
) -> float:
    """One batch, or the rows of several; returns its loss."""
    numbers, drops = split_numbers(network, numbers)
    begin_step(network, drops, step)
    if len(index) > batch_size:
        loss = _accumulated(network, X, index, batch_size, encoded, weights, drops, step, is_first)
    else:
        batch_weights = weights[index] if weights.size else weights
        targets = encoded.rows(index, network.n_outputs)
        loss = gradient(network, X[index], targets, batch_weights, True, is_first)
    if has_rule(optimizer):
        optimizer.update(numbers, network.groups, network.params, network.grads, state)
    else:
        optimizer.step(network.params, network.grads)
    limit_norms(network)
    return loss


def _accumulated(
    network: Body,
    X: np.ndarray,
    index: np.ndarray,
    batch_size: int,
    encoded: Encoded,
    weights: np.ndarray,
    drops: np.ndarray,
    step: int,
    is_first: bool,
) -> float:
    """Loss of the rows of several batches, whose gradients add up to that of all rows at once."""
    n, dtype, summed, penalties = len(index), network.dtype, np.zeros_like(network.grads), 0.0
    members = network.loss.n_members
    weights_at = address_or_0(weights, "sample weights", dtype, X.shape[0])
    total = float(total_weight(index, weights_at, dtype.type(1)))
    row_losses = np.zeros((n, members))
    for first in range(0, n, batch_size):
        rows = index[first : first + batch_size]
        begin_step(network, drops, step, first)
        values = forward(network, X[rows], training=True)
        batch_weights = weights[rows] if weights.size else weights
        targets, parts = (
            encoded.rows(rows, network.n_outputs),
            row_losses[first : first + len(rows)].reshape(-1),
        )
        if has_kernel(network.loss):
            _, flowing = network.loss.rows(values, *targets, batch_weights, total, parts)
        else:
            own = float(batch_weights.sum(dtype=np.float64)) if weights.size else float(len(rows))
            found = loss_and_slopes(network, values, targets, batch_weights)
            if is_first and first == 0:
                own_parts.check_loss(network.loss, values, found)
            flowing = np.zeros_like(values)  # which they stay where no row counts
            if own > 0:
                parts[0], flowing = found[0] * (own / total), found[1] * dtype.type(own / total)
        backward(network, flowing, is_first and first == 0)
        if first == 0:
            penalties = add_penalties(network)
            summed[...] = network.grads
        else:
            summed += network.grads
    network.grads[...] = summed
    place = address_of(row_losses, "losses", np.float64, n * members)
    return float(sum_rows(place, n * members)) + penalties


def split_numbers(network: Body, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The optimizer's numbers of a step, and the rates of dropout that follow schedules."""
    end = len(numbers) - len(by_schedule(network.layers))
    return numbers[:end], numbers[end:]


def begin_step(network: Body, drops: np.ndarray, step: int, first_row: int = 0) -> None:
    """Tell dropout which random numbers a batch uses, and the rates of those by schedules.

    first_row: rows of the step that came in batches before.
    """
    rates = iter(drops.tolist())
    planned = set(map(id, by_schedule(network.layers)))
    for number, (_, layer) in enumerate(network.leaves()):
        if isinstance(layer, Dropout):
            rate = next(rates) if id(layer) in planned else None
            layer.at_step(network.seed, number + 1, step, rate, first_row)


def gradient(
    network: Body,
    X: np.ndarray,
    encoded: Encoded,
    weights: np.ndarray,
    training: bool = False,
    is_first: bool = True,
) -> float:
    """Forward, loss and backward for one batch: returns the loss, leaves grads in the network.

    In the first batch, the results of user-defined parts are checked.
    """
    values = forward(network, X, training)
    found = loss_and_slopes(network, values, encoded, weights)
    if is_first:
        own_parts.check_loss(network.loss, values, found)
    loss, flowing = found
    backward(network, flowing, is_first)
    return loss + add_penalties(network)


def gradient_of_part(
    network: Body, X: Any, encoded: Encoded, weights: np.ndarray, total: float | None,
    penalties: bool = True,
) -> float:  # fmt: skip
    """The part that some rows have in the loss of a batch; leaves their gradient in the network.

    total: the weights of the whole batch, or None if these rows are all of it.
    """
    values = forward(network, X, training=True)
    loss, flowing = loss_and_slopes(network, values, encoded, weights)
    if total is not None:
        own = float(weights.sum(dtype=np.float64)) if weights.size else X.shape[0]
        loss, flowing = loss * (own / total), flowing * network.dtype.type(own / total)
    backward(network, flowing)
    return loss + (add_penalties(network) if penalties else 0.0)


def backward(network: Body, flowing: np.ndarray, is_first: bool = True) -> np.ndarray:
    """Gradient with respect to the inputs, given that of the outputs of the last forward pass."""
    for layer in reversed(network.layers):
        incoming, flowing = flowing, layer.backward(flowing)
        if is_first:
            own_parts.check_backward(layer, incoming, flowing)
    return flowing


def input_gradients(network: Body, where: str, X: np.ndarray, output: int) -> np.ndarray:
    """Gradient of one linear output with respect to X, in the network's type; keeps grads."""
    checks.whole_number(where, "output", output, 0)
    n_outputs = network.width_of_outputs(link=False)
    if output >= n_outputs:
        raise InputError(where, f"output below {n_outputs}", f"{output}", "count outputs from 0")
    own_parts.check_trainable(network.layers)
    kept = network.grads.copy()  # the backward pass overwrites it
    flowing = np.zeros_like(forward(network, X))
    flowing[:, output] = 1
    flowing = backward(network, flowing)
    network.grads[...] = kept
    return laid_out(flowing, network.dtype)


def forward(network: Body, X: Any, training: bool = False) -> np.ndarray:
    """Outputs of the last layer; sparse rows stay sparse if the first layer is Dense."""
    values = X.astype(network.dtype)
    if is_sparse(values) and type(network.layers[0]) is not Dense:
        values = values.toarray()
    for layer in network.layers:
        values = outputs_of_layer(layer, values, training)
    return values


def outputs_of_layer(layer: Layer, values: np.ndarray, training: bool) -> np.ndarray:
    """Outputs as a contiguous array of the network's type; checks user-defined layers."""
    result = layer.forward(values, training=training)
    if np.shape(result) != (values.shape[0], layer.n_out):
        raise InputError(
            f"{layer!r}.forward",
            f"outputs of shape ({values.shape[0]}, {layer.n_out})",
            f"{np.shape(result)}",
            "set n_out in build if the layer changes the width",
        )
    dtype = getattr(result, "dtype", None)
    if dtype is not values.dtype and np.asarray(result).dtype.kind not in "biuf":
        raise InputTypeError(
            f"{layer!r}.forward", "outputs of real numbers", f"dtype {np.asarray(result).dtype}",
            "convert them",
        )  # fmt: skip
    return laid_out(result, values.dtype)


def loss_and_slopes(
    network: Body, outputs: np.ndarray, encoded: Encoded, weights: np.ndarray
) -> tuple[float, np.ndarray]:
    """Mean loss without penalties, and its gradient with respect to the outputs."""
    if has_kernel(network.loss):
        return network.loss.rows(outputs, *encoded, weights)
    even = weights if weights.size else np.ones(outputs.shape[0], outputs.dtype)
    return network.loss.value_and_gradient(outputs, encoded.dense(network.n_outputs), even)


def add_penalties(network: Body) -> float:
    """Add the penalties' gradient to grads; returns their value."""
    l1, l2, one = network.l1, network.l2, network.dtype.type(1)
    if not (l1 or l2):
        return 0.0
    found, views = list[np.ndarray](), network.named_parameters()
    weights = [group for group in network.groups if group.is_weight]
    heights = [len(views[group.name]) for group in weights]
    widths = [group.size // height for group, height in zip(weights, heights, strict=True)]
    following = [*widths[1:], 0]
    for group, height, width, after in zip(weights, heights, widths, following, strict=True):
        params = address_of(views[group.name], group.name, network.dtype, height * width)
        grads = network.grads[group.start : group.start + group.size]
        gradient = address_of(grads, "grads", network.dtype, height * width, written=True)
        kernels.add_penalty(l1, l2, group.size, params, gradient, one)
        parts = int(n_parts(width, after)) if after else 1
        found.append(np.empty(parts * height))
        place = address_of(found[-1], "penalties", np.float64, parts * height, written=True)
        weights_of_group = Weights(params, width, 0, height, width)
        block = Block(0, height, 0, width)
        kernels.penalties_in_parts(Penalty(l1, l2), weights_of_group, parts, block, place, one)
    every = np.concatenate([np.empty(0), *found])
    return float(sum_rows(address_of(every, "penalties", np.float64, every.size), every.size))


def limit_norms(network: Body) -> None:
    """Scale the incoming weights of units down to the norm that their layer allows."""
    for _, layer in network.leaves():
        if isinstance(layer, Dense) and layer.max_norm is not None:
            n_in, n_out = layer.W.shape
            address = address_of(layer.W, "W", network.dtype, n_in * n_out, written=True)
            one = network.dtype.type(1)
            kernels.limit_columns(address, n_in, n_out, 0, n_out, float(layer.max_norm), one)
