"""Networks of one shape trained side by side: network l is in lane l of every vector.

Small layers fill neither vectors nor tiles, and cost more calls than multiplications. Side by side,
every operation serves as many networks as a vector has numbers, and each gets the bits that it
would have alone.
"""

from __future__ import annotations

import numpy as np

from .. import interfaces
from ..compiler.denormals import flush_denormals, restore_denormals
from ..compiler.jit import doubles, integers, jit, longs, numbers
from ..plan import FLOAT64_BYTES, INT32_BYTES, fits_at, lockstep_at, turn_address, turn_of, turns_at
from ..products import lanes
from ..products.lanes import n_lanes
from ..products.sums import n_parts, n_parts_of_any_width
from ..rules import random
from ..tuning import LANE_BYTES
from ..views import Factors, Memory, Rows, Run, Setting, Targets

_activate, _update = interfaces.ACTIVATION.call, interfaces.UPDATE.call
_loss, _gather = interfaces.LOSS.call, interfaces.GATHER.call


@jit
def _visit(lock, n_rows, shuffles, epoch, one):
    """Put the samples of every network in its order of an epoch."""
    n = n_lanes(one)
    rows, orders = integers(lock["rows"], n * n_rows), integers(lock["orders"], n * n_rows)
    seeds = longs(lock["seeds"], n)
    for i in range(rows.size):
        orders[i] = rows[i]
    if shuffles != 0:
        for lane in range(n):
            own = integers(lock["orders"] + lane * n_rows * INT32_BYTES, n_rows)
            random.shuffle(own, seeds[lane], epoch)


@jit
def _read(turn, lock, first, count, one):
    """Bring some rows of the step into lanes; `first`: their place in the epoch."""
    n, n_rows, samples = n_lanes(one), turn.samples["n_rows"], turn.samples
    orders, found = integers(lock["orders"], n * n_rows), integers(lock["samples"], count * n)
    for r in range(count):
        for lane in range(n):
            found[r * n + lane] = orders[lane * n_rows + first + r]
    width = samples["n_features"]
    if samples["gather"] != 0:
        turns_at(turn.at, 1)[0]["order"] = lock["samples"]
        _gather(samples["gather"], (turn, 0, count * n, 0, width, one))
        lanes.to_lanes(turn.space["inputs"], count, width, lock["x"], one)
        return
    for r in range(count):
        block = numbers(lock["x"] + r * width * LANE_BYTES, width * n, one)
        for lane in range(n):
            at = samples["x"] + np.int64(found[r * n + lane]) * samples["row_stride"]
            row = numbers(at, width, one)
            for j in range(width):
                block[j * n + lane] = row[j]


@jit
def _inputs_of(turn, lock, s):
    """Address of the lines that op s reads."""
    source = turn.ops[s]["source"]
    return lock["x"] if source < 0 else turn.ops[source]["values"]


@jit
def _forward(turn, lock, count, one):
    """Take some rows through all ops."""
    for s in range(turn.ops.size):
        op, x = turn.ops[s], _inputs_of(turn, lock, s)
        n_in, n_out = op["n_in"], op["n_out"]
        weights = lock["params"] + op["weights"] * LANE_BYTES
        biases = lock["params"] + op["biases"] * LANE_BYTES
        parts = n_parts(n_in, n_out)
        if n_out == 1:
            for r in range(count):
                row, out = x + r * n_in * LANE_BYTES, op["values"] + r * LANE_BYTES
                lanes.forward_to_one(row, weights, biases, n_in, parts, lock["scratch"], out, one)
        else:
            lanes.forward(x, count, weights, biases, (n_in, n_out), parts, op["values"], one)
        size = count * n_out * n_lanes(one)
        _activate(op["activate"], (op["values"], op["slopes"], size, op["activation_option"], one))


@jit
def _loss_of_rows(turn, lock, count, batch, one):
    """Losses of rows, and the gradient of their outputs, in lines at `gradient`."""
    loss, samples, n_out = turn.loss, turn.samples, turn.model["n_outputs"]
    outputs, gradient = turn.ops[turn.ops.size - 1]["values"], turn.space["gradient"]
    setting = Setting(loss["option"], loss["levels"], loss["n_levels"])
    targets = Targets(samples["labels"], samples["targets"], 0, 0, batch / loss["scale"])
    rows = Rows(lock["samples"], 0, count * n_lanes(one))
    if n_out == 1:  # a line is what losses read: a row for each network
        _loss(loss["rows"], (
            setting, outputs, 1, rows, targets, gradient, turn.space["row_losses"], one,
        ))  # fmt: skip
        return
    lanes.from_lanes(outputs, count, n_out, lock["outputs"], one)
    _loss(loss["rows"], (
        setting, lock["outputs"], n_out, rows, targets, lock["slopes"], turn.space["row_losses"],
        one,
    ))  # fmt: skip
    lanes.to_lanes(lock["slopes"], count, n_out, gradient, one)


@jit
def _scale(turn, s, count, one):
    """Multiply the slopes of an op by the gradient of its values."""
    size = count * turn.ops[s]["n_out"] * n_lanes(one)
    slopes, incoming = (
        numbers(turn.ops[s]["slopes"], size, one),
        numbers(turn.space["gradient"], size, one),
    )
    for i in range(slopes.size):
        slopes[i] *= incoming[i]


@jit
def _backward(turn, lock, count, one):
    """Take the gradient of rows back to the first op."""
    _scale(turn, turn.ops.size - 1, count, one)
    for s in range(turn.ops.size - 1, 0, -1):
        op = turn.ops[s]
        n_in, n_out = op["n_in"], op["n_out"]
        parts = n_parts_of_any_width(n_out)
        weights = lock["params"] + op["weights"] * LANE_BYTES
        sizes, gradient = (n_in, n_out), turn.space["gradient"]
        lanes.backward(op["slopes"], count, weights, sizes, parts, gradient, one)
        _scale(turn, op["source"], count, one)


@jit
def _gradients(turn, lock, count, continues, one):
    """Add the gradients of some rows to those of the rows before."""
    for s in range(turn.ops.size):
        op, x = turn.ops[s], _inputs_of(turn, lock, s)
        n_in, n_out, grads = op["n_in"], op["n_out"], lock["grads"]
        place = grads + op["weights"] * LANE_BYTES
        lanes.gradient(x, op["slopes"], count, (n_in, n_out), continues, place, one)
        lanes.add_rows(
            op["slopes"], count, n_out, continues, grads + op["biases"] * LANE_BYTES, one
        )


@jit
def _update_range(turn, lock, factors, start, count, step, one):
    """The optimizer's step for some parameters of all networks."""
    n, update = n_lanes(one), turn.update
    hyper, run = update["hyper"] + step * update["hyper_bytes"], Run(start * n, 1, count * n, 0)
    memory = Memory(lock["params"], lock["states"], turn.model["n_params"] * n)
    grads = lock["grads"] + start * LANE_BYTES
    _update(update["update"], (hyper, factors, run, memory, grads, count * n, one))


@jit
def _update_all(turn, lock, step, one):
    for s in range(turn.ops.size):
        op = turn.ops[s]
        factors = Factors(op["weight_rate"], op["weight_decay"])
        _update_range(turn, lock, factors, op["weights"], op["n_in"] * op["n_out"], step, one)
        factors = Factors(op["bias_rate"], op["bias_decay"])
        _update_range(turn, lock, factors, op["biases"], op["n_biases"], step, one)


@jit
def _add_losses(turn, lock, step, count, one):
    """Add the losses of some rows to those of the step."""
    n = n_lanes(one)
    found = doubles(turn.space["row_losses"], count * n)
    total = doubles(lock["losses"] + step * n * FLOAT64_BYTES, n)
    for r in range(count):
        for lane in range(n):
            total[lane] += found[r * n + lane]


@jit
def _step(turn, lock, step, first, batch, one):
    """One batch of every network, some rows at a time; `first`: its place in the epoch."""
    done = 0
    while done < batch:
        count = min(lock["at_once"], batch - done)
        _read(turn, lock, first + done, count, one)
        _forward(turn, lock, count, one)
        _loss_of_rows(turn, lock, count, batch, one)
        _add_losses(turn, lock, step, count, one)
        _backward(turn, lock, count, one)
        _gradients(turn, lock, count, done > 0, one)
        done += count
    _update_all(turn, lock, step, one)


@interfaces.FIT.kernel
def go_on(fit_at, one):
    """Run the next `piece` steps of networks side by side; sets `step` and `ends`.

    A network whose loss is no longer finite goes on, without any effect on the others.
    """
    fit = fits_at(fit_at, 1)[0]
    lock, turn = lockstep_at(fit["lockstep"], 1)[0], turn_of(turn_address(fit["job"], 0))
    control, n_rows = flush_denormals(), turn.samples["n_rows"]
    per_epoch = -(-n_rows // lock["per_step"])
    last = min(fit["step"] + fit["piece"], fit["n_steps"])
    for step in range(fit["step"], last):
        epoch, number = divmod(step, per_epoch)
        if number == 0:
            _visit(lock, n_rows, fit["shuffles"], epoch, one)
        first = number * lock["per_step"]
        _step(turn, lock, step, first, min(lock["per_step"], n_rows - first), one)
    fit["step"], fit["ends"] = last, last == fit["n_steps"]
    restore_denormals(control)
