"""Predictions: the forward pass of a program, for a whole table or for one row.

Threads share a table out in blocks of rows, each with a program of its own.
"""

from __future__ import annotations

import numpy as np

from .. import interfaces
from ..compiler.denormals import flush_denormals, restore_denormals
from ..compiler.jit import itemsize, jit, numbers
from ..plan import turn_address, turn_of, turns_at
from .step import forward
from .threads import take

_link = interfaces.LINK.call


@jit
def _outputs(turn, out, one):
    """Outputs after the link of the turn's rows, written to address `out`."""
    forward(turn, one)
    n_out, outputs = turn.model["n_outputs"], turn.ops[turn.ops.size - 1]["values"]
    if turn.loss["link"] != 0:
        _link(turn.loss["link"], (outputs, n_out, turn.batch, turn.space["row_losses"], one))
    found = numbers(outputs, turn.batch * n_out, one)
    result = numbers(out, turn.batch * n_out, one)
    for i in range(result.size):
        result[i] = found[i]


@jit
def outputs_of_table(job_at, n_rows, taken, out, one):
    """Outputs after the link of rows of the job's x, written to address `out`.

    Threads take a block of `batch_size` rows at a time; taken: address of how many are taken
    (int64). So one that starts late, or shares its core, does less.
    """
    turn = turn_of(turn_address(job_at, 0))
    control, record = flush_denormals(), turns_at(turn.at, 1)[0]
    samples, block, row = turn.samples, turn.call["batch_size"], turn.model["n_outputs"]
    record["order"], record["step"] = turn.space["positions"], 0
    x, indptr = samples["x"], samples["x_indptr"]
    start = take(taken, block)
    while start < n_rows:
        record["batch"] = min(block, n_rows - start)
        if samples["sparse"]:
            samples["x_indptr"] = indptr + start * 8
        else:
            samples["x"] = x + start * samples["row_stride"]
        _outputs(turn, out + start * row * itemsize(one), one)
        start = take(taken, block)
    samples["x"], samples["x_indptr"] = x, indptr  # for the next call
    restore_denormals(control)


def outputs_of_row(job_at, x, out):
    """Outputs after the link of one contiguous row x (n_features,), written to out (n_outputs,).

    Returns False, and does nothing, for other sizes. Compiled by `exactly`.
    """
    turn = turn_of(turn_address(job_at, 0))
    record = turns_at(turn.at, 1)[0]
    if x.size != turn.samples["n_features"] or out.size != turn.model["n_outputs"]:
        return False
    control = flush_denormals()
    record["order"], record["step"], record["batch"] = turn.space["positions"], 0, 1
    # As they are, unsigned numbers, the sums of address and offset would be float64.
    turn.samples["x"], result = np.int64(x.ctypes.data), np.int64(out.ctypes.data)
    _outputs(turn, result, out.dtype.type(1))
    restore_denormals(control)
    return True
