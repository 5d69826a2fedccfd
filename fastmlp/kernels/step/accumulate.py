"""Accumulated gradients: the batches of one step, one after the other, before its only update.

Each batch goes through the same phases as a separate step, but its loss is divided by the total
weight of all samples of the step. So the gradients add up to the gradient over all rows, and work
space for one batch is enough.
"""

from __future__ import annotations

from .. import interfaces
from ..compiler.jit import itemsize, jit, numbers
from ..plan import FLOAT64_BYTES, INT32_BYTES, turns_at
from . import shares
from .step import gradients, rows_phase
from .threads import my_part


@jit
def _add_up(turn, is_first, is_last, one):
    """Add this thread's part of a batch's gradients to their sum, which ends in `grads`."""
    first, last = my_part(turn.model["n_params"], turn.crew["n_threads"], turn.thread)
    start, count = first * itemsize(one), last - first
    grads = numbers(turn.model["grads"] + start, count, one)
    summed = numbers(turn.update["summed"] + start, count, one)
    if is_first and not is_last:
        for i in range(count):
            summed[i] = grads[i]
    elif is_last and not is_first:
        for i in range(count):
            grads[i] += summed[i]
    elif not is_first:
        for i in range(count):
            summed[i] += grads[i]


@interfaces.TURN.kernel
def accumulate(turn, one):
    """The gradient of all rows of a step, to `grads`, and their losses, batch by batch.

    Penalties are those of the whole step, so the first batch adds them.
    """
    record, rows, order, done = turns_at(turn.at, 1)[0], turn.batch, turn.order, 0
    scale, batch_size = turn.penalty_scale, turn.call["batch_size"]
    while done < rows:
        record["order"], record["first_row"] = order + done * INT32_BYTES, done
        record["batch"] = min(batch_size, rows - done)
        record["penalty_scale"] = scale if done == 0 else 0.0
        done_losses = done * turn.loss["members"] * FLOAT64_BYTES
        rows_phase(turn, turn.space["row_losses"] + done_losses, one)
        if not shares.meet(turn):
            break
        gradients(turn, one)
        if not shares.meet(turn):
            break
        stop = done + record["batch"]
        _add_up(turn, done == 0, stop == rows, one)
        done = stop
    record["order"], record["first_row"] = order, 0
    record["batch"], record["penalty_scale"] = rows, scale
