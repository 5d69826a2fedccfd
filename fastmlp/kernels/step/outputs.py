"""Predictions: the forward pass of a program, for a whole table or for one row.

Threads take the table's rows in blocks; each thread has its own program.
"""

from __future__ import annotations

import numpy as np

from ..compiler.denormals import flush_denormals, restore_denormals
from ..compiler.jit import itemsize, jit, numbers
from ..plan import turn_address, turn_of, turns_at
from .step import forward, predict
from .threads import SHARED_ROWS, finish, take, wait_for_rows


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
def outputs_of_table(job_at, n_rows, shared, out, one):
    """Write the outputs after the link, for rows of the job's x, to address `out`.

    Threads take one block of `batch_size` rows at a time, so a thread that starts late or shares
    its core does less. shared: address of the state of shared rows.
    """
    turn = turn_of(turn_address(job_at, 0))
    control, record = flush_denormals(), turns_at(turn.at, 1)[0]
    block = turn.call["batch_size"]
    record["order"], record["step"] = turn.space["positions"], 0
    start = take(shared, block)
    while start < n_rows:
        _outputs_of_block(turn, start, min(block, n_rows - start), out, one)
        start = take(shared, block)
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


def outputs_of_rows(job_at, x, out, shared, block, waits):
    """Write the outputs after the link of contiguous rows x (n, n_features) to out (n, n_outputs).

    Threads that get the same `shared` (SHARED_ROWS,) take `block` rows at a time, up to the
    `batch_size` of their jobs. waits: whether to return only when all rows are done. Returns False
    and does nothing if sizes differ. Compiled by `exactly`.
    """
    turn = turn_of(turn_address(job_at, 0))
    record, samples = turns_at(turn.at, 1)[0], turn.samples
    n_rows, n_columns = x.shape
    if shared.size != SHARED_ROWS:
        return False
    if n_columns != samples["n_features"] or out.shape != (n_rows, turn.loss["n_answers"]):
        return False
    control, one, block = flush_denormals(), out.dtype.type(1), min(block, turn.call["batch_size"])
    record["order"], record["step"] = turn.space["positions"], 0
    samples["x"], result = np.int64(x.ctypes.data), np.int64(out.ctypes.data)
    state = np.int64(shared.ctypes.data)
    start = take(state, block)
    while start < n_rows:
        count = min(block, n_rows - start)
        _outputs_of_block(turn, start, count, result, one)
        finish(state, count)
        start = take(state, block)
    if waits:
        wait_for_rows(state, n_rows)
    restore_denormals(control)
    return True
