"""The training step: all batches of an epoch in one call, on one thread or several.

A step has two phases with a barrier in between. *Rows*: each thread takes its rows of the batch
through all ops, the loss and back. *Parameters*: each thread owns a range of every W, sums its
gradient over the whole batch and updates it while it is in the cache.

The inputs of one op may be shared out instead of rows: each thread multiplies those that belong to
its own rows of W, and only the sums move between cores. With many inputs this is the first op. With
few it is the second, and each thread computes its inputs, which are units of the first op, for the
whole batch.
"""

from __future__ import annotations

import numpy as np

from .. import interfaces
from ..compiler.denormals import flush_denormals, restore_denormals
from ..compiler.jit import doubles, integers, jit
from ..ops import common
from ..plan import INT32_BYTES, turn_address, turn_of, turns_at
from ..rules import losses
from ..views import Rows, Setting, Targets
from . import shares
from .threads import my_part

_op, _loss, _gather = interfaces.OP.call, interfaces.LOSS.call, interfaces.GATHER.call
_turn, _move, _link = interfaces.TURN.call, interfaces.MOVE.call, interfaces.LINK.call


@jit
def batches_an_epoch(turn):
    """Steps of one epoch."""
    return -(-turn.samples["n_rows"] // turn.call["rows_per_step"])


@jit
def forward(turn, one):
    """Run the batch through all ops; the values of the last op are the outputs."""
    crew, samples = turn.crew, turn.samples
    if samples["gather"] != 0 and crew["shared"] != 0:
        first, last = shares.my_rows(turn)
        _gather(samples["gather"], (turn, first, last, 0, samples["n_features"], one))
        if shares.shares_columns(turn, 0):
            shares.meet(turn)
    for s in range(turn.ops.size):
        _op(turn.ops[s]["forward"], (turn, s, one))


@jit
def _order_of_members(turn, first, last):
    """The samples of rows first..last, once for each member; returns the address of all."""
    count = turn.loss["members"]
    if count == 1:
        return turn.order
    at, order = turn.space["member_order"], integers(turn.order, last)
    repeated = integers(at, last * count)
    for r in range(first, last):
        for m in range(r * count, (r + 1) * count):
            repeated[m] = order[r]
    return at


@jit
def loss_of_rows(turn, row_losses, one):
    """Write the losses of this thread's rows to an address, and the gradient of their outputs.

    Where there are members, each of them has rows and losses of its own.
    """
    loss, samples, width = turn.loss, turn.samples, turn.model["n_outputs"]
    first, last = shares.my_rows(turn)
    members = loss["members"]
    setting = Setting(loss["option"], loss["levels"], loss["n_levels"])
    targets = Targets(
        samples["labels"], samples["targets"], samples["weights"], loss["weigh"],
        turn.total * members / loss["scale"],
    )  # fmt: skip
    outputs, gradient = (
        turn.ops[turn.ops.size - 1]["values"],
        common.gradient_rows(turn, first, width, one),
    )
    rows = Rows(_order_of_members(turn, first, last), first * members, last * members)
    _loss(loss["rows"], (
        setting, outputs, loss["n_outputs"], rows, targets, gradient, row_losses, one,
    ))  # fmt: skip


@jit
def predict(turn, outputs, one):
    """Outputs of the batch at an address become predictions, in place; returns their columns."""
    loss = turn.loss
    n_out, members = loss["n_answers"], loss["averages"]
    if loss["link"] != 0:
        n_rows = turn.batch * members
        _link(loss["link"], (outputs, n_out, n_rows, turn.space["row_losses"], one))
    if members > 1:
        losses.average_members(outputs, n_out, members, turn.batch, one)
    return n_out


@jit
def _through_all_ops(turn, row_losses, one):
    """Forward, loss and backward of the rows that this thread is at."""
    forward(turn, one)
    loss_of_rows(turn, row_losses, one)
    for s in range(turn.ops.size - 1, turn.model["first_trained"] - 1, -1):
        if turn.ops[s]["scale"] != 0:
            _op(turn.ops[s]["scale"], (turn, s, one))
        if turn.ops[s]["backward"] != 0:
            _op(turn.ops[s]["backward"], (turn, s, one))


@jit
def rows_phase(turn, row_losses, one):
    """Forward, loss and backward of this thread's part of the batch; rows' losses to an address.

    Where threads do not meet on the way, it takes so many rows at a time that their values are
    still in the cache when the next op reads them.
    """
    block = turn.call["block_rows"]
    first, last = my_part(turn.batch, turn.crew["n_threads"], turn.thread)
    if 0 < block < last - first:
        record, n_blocks = turns_at(turn.at, 1)[0], (last - first + block - 1) // block
        for i in range(n_blocks):
            start, stop = my_part(last - first, n_blocks, i)
            record["block_start"], record["block_stop"] = first + start, first + stop
            _through_all_ops(turn, row_losses, one)
        record["block_start"] = record["block_stop"] = 0
    else:
        _through_all_ops(turn, row_losses, one)
    if turn.model["penalties"] != 0 and turn.first_row == 0:
        _turn(turn.model["penalties"], (turn, one))


@jit
def _loss_of_batch(turn):
    """Loss of a batch including penalties, summed from the parts that the threads have stored."""
    loss = losses.sum_rows(turn.space["row_losses"], turn.batch * turn.loss["members"])
    if turn.model["penalties"] == 0 or turn.penalty_scale == 0:  # of later parts of a batch
        return loss
    n_rows = turn.model["n_weight_rows"]
    return loss + turn.penalty_scale * losses.sum_rows(turn.space["penalties"], n_rows)


@jit
def _was_enough(turn):
    """Whether patience ran out in an epoch that ended before this step."""
    return 0 < turn.call["enough_after"] * batches_an_epoch(turn) <= turn.step


@jit
def gradients(turn, one):
    """Gradients of this thread's share of the parameters and, where used at once, new values."""
    for s in range(turn.model["first_trained"], turn.ops.size):
        if turn.ops[s]["gradient"] != 0:
            _op(turn.ops[s]["gradient"], (turn, s, one))


@jit
def _parameters_phase(turn, one):
    """Compute the gradients of this thread's share of the parameters, and update it.

    Returns False if another thread failed.
    """
    update, shared = turn.update, turn.crew["shared"]
    if update["accumulate"] == 0:
        gradients(turn, one)
    if not update["updates"]:
        return True
    if update["clip"] != 0:
        _turn(update["clip"], (turn, one))
    if update["limit"] != 0:
        _turn(update["limit"], (turn, one))
    elif update["average"] == 0 and (shared == 0 or (shared == 1 and turn.samples["gather"] == 0)):
        return True  # this thread's part of the next step needs nothing but what is its own
    met = shares.meet(turn)
    if met and update["average"] != 0:
        _turn(update["average"], (turn, one))
    return met


@jit
def _step(turn, one):
    """One batch: rows, parameters, and operations on all gradients or all parameters.

    Where gradients are accumulated it has several batches, whose sum is there before the update.
    Returns False if another thread failed.
    """
    if turn.update["accumulate"] == 0:
        rows_phase(turn, turn.space["row_losses"], one)
    else:
        _turn(turn.update["accumulate"], (turn, one))
    if not shares.meet(turn):
        return False
    step, found = turn.step, doubles(turn.call["losses"], turn.step + 1)
    # Results of earlier steps are behind a barrier and equal for all threads; those of this step,
    # which thread 0 writes below, are not.
    if step > 0 and (_was_enough(turn) or not np.isfinite(found[step - 1])):
        return False
    if turn.thread == 0:
        found[step] = _loss_of_batch(turn)
        if turn.call["watch"] != 0:
            _turn(turn.call["watch"], (turn, one))
    return _parameters_phase(turn, one)


@jit
def _goes_on(turn, one):
    """After the last step of an epoch: judge it by held-out rows; False if training should stop."""
    if turn.held_out["judge"] == 0:
        return True
    _turn(turn.held_out["judge"], (turn, one))
    return turn.call["enough_after"] == 0


@jit
def _weigh(turn, record, one):
    """Note what a batch's loss is a mean over: the sum of its weights, if the job does not say."""
    loss, total = turn.loss, turn.loss["total_weight"]
    record["total"], record["penalty_scale"] = total if total > 0 else record["batch"], 1.0
    if total <= 0 and loss["total"] != 0:
        _turn(loss["total"], (turn, one))
    if loss["shares_penalty"]:
        record["penalty_scale"] = 1.0 / record["total"] if record["total"] > 0 else 0.0
    if turn.call["first_row"] > 0:  # penalties count once in a step
        record["penalty_scale"] = 0.0


@jit
def train_steps(job_at, thread, one):
    """Train on one batch after another, in the order of each epoch.

    Does the steps from `from_step` up to `n_steps`; the caller calls again for the rest, and can
    handle Ctrl-C in between. A job without updates is one batch, whose gradient is left in `grads`.
    Thread 0 writes `losses`: the mean loss of each batch, penalties included, up to the first that
    is not finite, or until patience runs out. Every thread calls this with its own number. Returns
    False if it ended early.
    """
    turn = turn_of(turn_address(job_at, thread))
    control, record = flush_denormals(), turns_at(turn.at, 1)[0]
    samples, call, crew = turn.samples, turn.call, turn.crew
    if crew["move"] != 0:
        _move(crew["move"], (turn, True, one))
    n_rows, batch_size, n_batches = samples["n_rows"], call["rows_per_step"], batches_an_epoch(turn)
    record["first_row"] = call["first_row"]
    whole, rest = divmod(call["from_step"], n_batches)
    met, visited = True, rest * batch_size
    record["order"] = samples["order"] + (whole * n_rows + visited) * INT32_BYTES
    for step in range(call["from_step"], call["n_steps"]):
        record["step"], record["batch"] = step, min(batch_size, n_rows - visited)
        _weigh(turn, record, one)
        met = _step(turn, one)
        if not met:
            break
        record["order"] += record["batch"] * INT32_BYTES
        visited += record["batch"]
        if visited == n_rows:
            visited, met = 0, _goes_on(turn, one)
            if not met:
                break
    if crew["move"] != 0:
        _move(crew["move"], (turn, False, one))
    restore_denormals(control)
    return met
