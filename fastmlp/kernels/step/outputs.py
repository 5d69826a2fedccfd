"""Predictions: the forward pass of a program, for a whole table or for one row.

Threads take the table's rows in blocks; each thread has its own program.
"""

from __future__ import annotations

import numpy as np

from ..compiler.denormals import flush_denormals, restore_denormals
from ..compiler.jit import itemsize, jit, numbers
from ..plan import turn_address, turn_of, turns_at
from .atomics import atomic_add, wait
from .offers import OFFER_SIZE, finish_block, open_offer, take_block, wait_for_all
from .step import forward, predict


@jit
def _outputs(turn, out, one):
    """Write the outputs after the link, for the turn's rows, to address `out`."""
    forward(turn, one)
    outputs = turn.ops[turn.ops.size - 1]["values"]
    n_out = predict(turn, outputs, one)
    found = numbers(outputs, turn.batch * n_out, one)
    result = numbers(out, turn.batch * n_out, one)
    for i in range(result.size):
        result[i] = found[i]


@jit
def _outputs_of_block(turn, start, batch, out, one):
    """The outputs of `batch` rows from `start` on, where `samples` begins at row 0."""
    record, samples = turns_at(turn.at, 1)[0], turn.samples
    record["batch"] = batch
    x, indptr = samples["x"], samples["x_indptr"]
    if samples["sparse"]:
        samples["x_indptr"] = indptr + start * 8
    else:
        samples["x"] = x + start * samples["row_stride"]
    _outputs(turn, out + start * turn.loss["n_answers"] * itemsize(one), one)
    samples["x"], samples["x_indptr"] = x, indptr


@jit
def outputs_of_table(job_at, n_rows, taken, out, one):
    """Write the outputs after the link, for rows of the job's x, to address `out`.

    Threads take one block of `batch_size` rows at a time, so a thread that starts late or shares
    its core does less. taken: address of the number of rows that are taken, an int64.
    """
    turn = turn_of(turn_address(job_at, 0))
    control, record = flush_denormals(), turns_at(turn.at, 1)[0]
    block = turn.call["batch_size"]
    record["order"], record["step"] = turn.space["positions"], 0
    start = atomic_add(taken, block)
    while start < n_rows:
        _outputs_of_block(turn, start, min(block, n_rows - start), out, one)
        start = atomic_add(taken, block)
    restore_denormals(control)


def outputs_of_row(job_at, x, out):
    """Write the outputs after the link of a contiguous row x (n_features,) to out (n_outputs,).

    Returns False and does nothing if sizes differ. Compiled by `exactly`.
    """
    turn = turn_of(turn_address(job_at, 0))
    record = turns_at(turn.at, 1)[0]
    if x.size != turn.samples["n_features"] or out.size != turn.loss["n_answers"]:
        return False
    control = flush_denormals()
    record["order"], record["step"], record["batch"] = turn.space["positions"], 0, 1
    # Addresses are unsigned; without a conversion, sums of address and offset would be float64.
    turn.samples["x"], result = np.int64(x.ctypes.data), np.int64(out.ctypes.data)
    _outputs(turn, result, out.dtype.type(1))
    restore_denormals(control)
    return True


@jit
def _outputs_of_offer(turn, offer, one):
    """Take rows of an offer until none are left; returns how many."""
    record, in_all = turns_at(turn.at, 1)[0], 0
    record["order"], record["step"] = turn.space["positions"], 0
    start, count, x, out = take_block(offer)
    while count > 0:
        turn.samples["x"] = x
        _outputs_of_block(turn, start, count, out, one)
        finish_block(offer, count)
        in_all += count
        start, count, x, out = take_block(offer)
    return in_all


@jit
def _help_with_offers(turn, offer, stays, one):
    waits = 0
    while waits < stays:
        waits += 1
        if _outputs_of_offer(turn, offer, one) > 0:
            waits = 0
        wait(waits)


def outputs_of_rows(job_at, x, out, offer, block, stays):
    """Write the outputs after the link of contiguous rows x (n, n_features) to out (n, n_outputs).

    They are offered to other threads, too, `block` of them at a time, up to the `batch_size` of
    their jobs. offer: of OFFER_SIZE numbers, for one caller alone. stays: 0 for that caller; a
    helper, whose x has no rows, computes rows of the offers until none has come for so many checks.
    Returns False and does nothing if sizes differ. Compiled by `exactly`.
    """
    turn = turn_of(turn_address(job_at, 0))
    n_rows, n_columns = x.shape
    if offer.size != OFFER_SIZE or n_columns != turn.samples["n_features"]:
        return False
    if out.shape != (n_rows, turn.loss["n_answers"]):
        return False
    control, at, one = flush_denormals(), np.int64(offer.ctypes.data), out.dtype.type(1)
    if stays > 0:
        _help_with_offers(turn, at, stays, one)
    else:
        block = min(block, turn.call["batch_size"])
        open_offer(at, n_rows, block, np.int64(x.ctypes.data), np.int64(out.ctypes.data))
        _outputs_of_offer(turn, at, one)
        wait_for_all(at)
    restore_denormals(control)
    return True
