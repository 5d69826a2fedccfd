"""Code shared by all ops: where inputs and gradients are, and activation and dropout.

Kernels of ops take a turn (see `plan.Turn`) and the op's number.
"""

from __future__ import annotations

import numpy as np

from .. import interfaces
from ..compiler.jit import doubles, inlined, itemsize, jit, numbers
from ..plan import FLOAT64_BYTES
from ..rules import random
from ..step import rows, shares
from ..step.threads import my_part
from ..views import Inputs

activate, drop = interfaces.ACTIVATION.call, interfaces.DROP.call


@inlined
def inputs_of(turn, s, one):
    """The rows that op s reads."""
    size, positions, source = itemsize(one), turn.space["positions"], turn.ops[s]["source"]
    if source >= 0:
        offset, stride = shares.layout(turn, source, one)
        return Inputs(turn.ops[source]["values"] + offset, stride * size, positions)
    if turn.samples["gather"] != 0:
        return Inputs(turn.space["inputs"], turn.samples["n_features"] * size, positions)
    return Inputs(turn.samples["x"], turn.samples["row_stride"], turn.order)


@inlined
def gradient_rows(turn, first, n_columns, one):
    """Address of the gradient that is passed back, as of the batch's first row.

    The width changes from op to op. The shift by `first` keeps each thread in its own part of the
    memory, even if other threads are at another op. All blocks of its rows use the same part.
    """
    space, start = turn.space, first
    if turn.block_stop > 0:
        start, _ = my_part(turn.batch, turn.crew["n_threads"], turn.thread)
    return space["gradient"] + (start * space["gradient_width"] - first * n_columns) * itemsize(one)


@inlined
def gradient_of(turn, s, first, one):
    """Address and row stride of the gradient of op s's values; `first`: this thread's first row."""
    offset, stride = shares.layout(turn, s, one)
    return gradient_rows(turn, first, stride, one) + offset, stride


@jit
def row_of(inputs, r, n, one):
    """Row r of an op's inputs, n numbers."""
    return numbers(rows.row_address(inputs, r), n, one)


@jit
def row_at(at, r, n, one):
    """Row r of a contiguous matrix with n columns."""
    return numbers(at + r * n * itemsize(one), n, one)


@jit
def weights_of(turn, s, one):
    """The weights of an op with one weight per column."""
    op = turn.ops[s]
    return numbers(turn.model["params"] + op["weights"] * itemsize(one), op["n_out"], one)


@jit
def biases_of(turn, s, one):
    """The biases of an op."""
    op = turn.ops[s]
    return numbers(turn.model["params"] + op["biases"] * itemsize(one), op["n_out"], one)


@jit
def source_gradient(turn, s, first, one):
    """Address of row 0 of the gradient of op s's inputs; `first`: this thread's first row."""
    at, _ = gradient_of(turn, turn.ops[s]["source"], first, one)
    return at


@inlined
def _chunks(stride, block):
    """A block of a matrix as runs of adjacent numbers: their count, length and first index."""
    start, n_rows, n_columns = block.first * stride + block.left, block.last - block.first, 0
    n_columns = block.right - block.left
    if n_columns == stride:
        return 1, n_rows * stride, start
    return n_rows, n_columns, start


@jit
def _activate_in_pieces(op, values, length, piece, one):
    """Activate so many values whose slopes nobody needs."""
    for at in range(0, length, piece):
        count = min(piece, length - at)
        place = values + at * itemsize(one)
        activate(op["activate"], (place, op["slopes"], count, op["activation_option"], one))


@jit
def finish_forward(turn, s, block, one):
    """Apply activation and dropout to a block of an op's values."""
    size, op = itemsize(one), turn.ops[s]
    offset, stride = shares.layout(turn, s, one)
    n_chunks, length, start = _chunks(stride, block)
    for _ in range(n_chunks):
        values, slopes = (
            op["values"] + offset + start * size,
            op["slopes"] + offset + start * size,
        )
        piece = turn.space["piece"]
        if piece > 0:
            _activate_in_pieces(op, values, length, piece, one)
        else:
            activate(op["activate"], (values, slopes, length, op["activation_option"], one))
        if op["drop"] != 0:
            drop(op["drop"], (values, length, s, start, turn, one))
        start += stride


@interfaces.OP.kernel
def scale_slopes(turn, s, one):
    """Multiply this thread's slopes by the incoming gradient: the gradient of the linear output.

    For an elementwise op, also pass it on to the op before.
    """
    size, op, block = itemsize(one), turn.ops[s], shares.my_block(turn, s, one)
    offset, stride = shares.layout(turn, s, one)
    gradient, _ = gradient_of(turn, s, block.first, one)
    n_chunks, length, start = _chunks(stride, block)
    for _ in range(n_chunks):
        if op["drop"] != 0:
            drop(op["drop"], (gradient + start * size, length, s, start, turn, one))
        incoming = numbers(gradient + start * size, length, one)
        slopes = numbers(op["slopes"] + offset + start * size, length, one)
        for i in range(slopes.size):
            slopes[i] *= incoming[i]
        if op["elementwise"]:
            for i in range(slopes.size):
                incoming[i] = slopes[i]
        start += stride


@interfaces.DROP.kernel
def drop_values(values, size, s, first, turn, one):
    """Dropout of an op's values or of their gradient, at the same positions."""
    op, call = turn.ops[s], turn.call
    key = random.stream_key(call["seed"], op["dropout_stream"], call["first_step"] + turn.step)
    first += turn.first_row * op["n_out"]
    random.drop(numbers(values, size, one), op["dropout"], key, first)


@interfaces.DROP.kernel
def drop_by_schedule(values, size, s, first, turn, one):
    """As `drop_values`, with a rate that depends on the step: see `dropout` in `plan.OP`."""
    op, call = turn.ops[s], turn.call
    key = random.stream_key(call["seed"], op["dropout_stream"], call["first_step"] + turn.step)
    row = turn.update["hyper"] + turn.step * turn.update["hyper_bytes"]
    rate = doubles(row + (np.int64(op["dropout"]) - 1) * FLOAT64_BYTES, 1)[0]
    first += turn.first_row * op["n_out"]
    random.drop(numbers(values, size, one), rate, key, first)
