"""Validation at the end of an epoch: loss, score, patience and the best parameters.

Threads predict blocks of held-out rows, each thread with its own job. Thread 0 adds up and decides;
after a barrier, all threads copy the parameters if they are the best so far.
"""

from __future__ import annotations

import numpy as np

from .. import interfaces
from ..compiler.denormals import keep_denormals, restore_denormals
from ..compiler.jit import doubles, itemsize, jit, longs, numbers
from ..plan import FLOAT64_BYTES, INT32_BYTES, turn_address, turn_of, turns_at
from ..rules import losses
from . import shares
from .step import batches_an_epoch, forward, loss_of_rows, predict
from .threads import my_part

_grade, _score = interfaces.GRADE.call, interfaces.SCORE.call
_move = interfaces.MOVE.call


@jit
def _copy(source, target, count, one):
    read, written = numbers(source, count, one), numbers(target, count, one)
    for i in range(count):
        written[i] = read[i]


@jit
def _judge_block(turn, answering, first, one):
    """Grades and losses of one block of held-out rows, computed by the job `answering`."""
    held, batch = turn.held_out, answering.batch
    forward(answering, one)
    control = keep_denormals()  # as in predictions outside of training
    outputs = answering.ops[answering.ops.size - 1]["values"]
    if held["grade"] != 0:
        predicted = answering.space["gradient"]  # free until the loss is computed
        _copy(outputs, predicted, batch * turn.model["n_outputs"], one)
        n_out = predict(answering, predicted, one)
        _grade(held["grade"], (
            predicted, n_out, first, first + batch, held["truth"], held["weights"], held["parts"],
            one,
        ))  # fmt: skip
    place = first * answering.loss["members"] * FLOAT64_BYTES
    loss_of_rows(answering, held["row_losses"] + place, one)
    restore_denormals(control)


@jit
def _judge_my_rows(turn, one):
    """This thread's blocks of held-out rows: every n-th block, with n threads."""
    held, job = turn.held_out, longs(turn.held_out["jobs"], turn.thread + 1)[turn.thread]
    if job == 0:
        return
    answering = turn_of(turn_address(job, 0))
    record, block = turns_at(answering.at, 1)[0], answering.call["batch_size"]
    record["step"], record["total"] = 0, answering.loss["total_weight"]
    first = turn.thread * block
    while first < held["n_rows"]:
        record["batch"] = min(block, held["n_rows"] - first)
        record["order"] = held["order"] + first * INT32_BYTES
        _judge_block(turn, answering, first, one)
        first += turn.crew["n_threads"] * block


@jit
def _decide(turn, one):
    """Compute loss and score of the epoch, note whether it is the best and whether to stop."""
    held, epoch = turn.held_out, (turn.step + 1) // batches_an_epoch(turn)
    found, place = doubles(held["losses"], epoch), held["scores"] + (epoch - 1) * FLOAT64_BYTES
    n_losses = held["n_rows"] * turn.loss["members"]
    found[epoch - 1] = losses.sum_rows(held["row_losses"], n_losses) * turn.loss["scale"]
    score = doubles(place, 1)
    score[0] = -found[epoch - 1]
    if held["grade"] != 0:
        _score(held["score"], (
            held["parts"], held["n_rows"], held["n_parts"], held["spread"], held["divisor"], place,
            one,
        ))  # fmt: skip
    held["n_judged"] = epoch
    value, best = -found[epoch - 1] if held["by_loss"] else score[0], held["best_value"]
    if held["strict"]:
        limit = best + held["tolerance"]
        is_stale = not value > limit
        is_tie = held["keeps_last"] != 0 and value == best and value > -np.inf
        is_best = value > limit or is_tie
    else:
        is_best, is_stale = value > best, value < best + held["tolerance"]
    if is_best:
        held["best_value"], held["best_epoch"] = value, epoch
    held["n_stale"] = held["n_stale"] + 1 if is_stale else 0
    if 0 <= held["patience"] < held["n_stale"]:
        turn.call["enough_after"] = epoch


@interfaces.TURN.kernel
def judge(turn, one):
    """What every thread does when an epoch is over, after its last step."""
    held, size = turn.held_out, itemsize(one)
    if turn.crew["move"] != 0:
        _move(turn.crew["move"], (turn, False, one))
    shares.meet(turn)
    if not np.isfinite(doubles(turn.call["losses"], turn.step + 1)[turn.step]):
        return
    _judge_my_rows(turn, one)
    shares.meet(turn)
    if turn.thread == 0:
        _decide(turn, one)
    shares.meet(turn)
    is_best = held["best_epoch"] * batches_an_epoch(turn) == turn.step + 1
    if is_best and held["best_params"] != 0:
        first, last = my_part(held["n_kept"], turn.crew["n_threads"], turn.thread)
        start = first * size
        _copy(held["judged"] + start, held["best_params"] + start, last - first, one)
