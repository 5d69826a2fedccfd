"""Operations on all gradients or all parameters: penalties, clipping, max-norm, averages.

The step calls these beside the ops, where a network, an optimizer or a fit asks for them.
"""

from __future__ import annotations

from .. import interfaces
from ..compiler.jit import doubles, itemsize, jit
from ..plan import FLOAT64_BYTES
from ..rules import averages, optimizers
from ..step import shares
from ..step.threads import my_part
from ..views import Block, Factors, Penalty, Run, Weights
from . import parameters


@interfaces.TURN.kernel
def penalties(turn, one):
    """Penalties of the rows, or parts of rows, of every W that this thread owns."""
    size = itemsize(one)
    place, penalty = turn.space["penalties"], Penalty(turn.model["l1"], turn.model["l2"])
    for s in range(turn.ops.size):
        op = turn.ops[s]
        n_rows, width, parts = op["weight_rows"], op["weight_width"], op["penalty_parts"]
        if parts == 0:
            continue
        first, last, left, right = 0, n_rows, 0, width
        if s < turn.crew["shared"]:
            left, right = shares.my_inputs(turn)
        else:
            first, last = shares.my_weight_rows(turn, s)
        home = shares.home(turn, s, one)
        weights = Weights(home.params + home.weights * size, home.stride, 0, n_rows, width)
        block = Block(first, last, left, right)
        optimizers.penalties_in_parts(penalty, weights, parts, block, place, one)
        place += parts * n_rows * FLOAT64_BYTES


@jit
def _update_all(turn, scale, one):
    """Scale this thread's share of the gradients, and update its share of the parameters."""
    size, home = itemsize(one), shares.home(turn, 0, one)
    for s in range(turn.ops.size):
        op = turn.ops[s]
        for weights in (True, False):
            if weights:
                first, last = shares.my_weight_rows(turn, s)
                width, begin = op["weight_width"], op["weights"]
                factors = Factors(op["weight_rate"], op["weight_decay"])
            else:
                first, last = shares.my_biases(turn, s) if op["n_biases"] > 0 else (0, 0)
                width, begin = 1, op["biases"]
                factors = Factors(op["bias_rate"], op["bias_decay"])
            start, count = begin + first * width, (last - first) * width
            grads = turn.model["grads"] + start * size
            if scale != 1:
                optimizers.rescale(count, grads, scale, one)
            run = Run(start, 1, count, count)
            parameters.update(turn, factors, run, home, grads, count, one)


@interfaces.TURN.kernel
def clip(turn, one):
    """Limit the norm of the whole gradient, then update all parameters."""
    if not shares.meet(turn):
        return
    model, limit = turn.model, turn.update["clip_norm"]
    scale = optimizers.clip_factor(model["n_params"], model["grads"], limit, one)
    if shares.meet(turn):
        _update_all(turn, scale, one)


@interfaces.TURN.kernel
def update_all(turn, one):
    """Update all parameters, once every thread has its part of the gradients."""
    if shares.meet(turn):
        _update_all(turn, 1.0, one)


@interfaces.TURN.kernel
def average(turn, one):
    """Move this thread's part of the averaged weights; all parameters have been updated."""
    update = turn.update
    last = update["hyper_bytes"] // FLOAT64_BYTES - 1
    row = update["hyper"] + turn.step * update["hyper_bytes"]
    weight = doubles(row, last + 1)[last]
    first, stop = my_part(update["n_averaged"], turn.crew["n_threads"], turn.thread)
    start = first * itemsize(one)
    averages.move(
        update["averaged"] + start, turn.model["params"] + start, stop - first, weight, one
    )


@interfaces.TURN.kernel
def limit(turn, one):
    """Max-norm of this thread's share of the units, after all threads have updated theirs."""
    if not shares.meet(turn):
        return
    for s in range(turn.ops.size):
        op = turn.ops[s]
        if op["dense"] and op["max_norm"] > 0:
            first, last = my_part(op["n_out"], turn.crew["n_threads"], turn.thread)
            optimizers.limit_columns(
                turn.model["params"] + op["weights"] * itemsize(one), op["n_in"], op["n_out"],
                first, last, op["max_norm"], one,
            )  # fmt: skip
