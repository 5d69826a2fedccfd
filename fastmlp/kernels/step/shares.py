"""Who does what of a step, and where: the rows, columns, inputs and parameters of each thread.

Threads share out rows of the batch, and in the second phase rows of each W. Of the op `shared` they
share out the inputs instead, and own the units before it, with all that belongs to them, in memory
of their own. Where layers are wide they share out columns of every layer.
"""

from __future__ import annotations

from .. import interfaces
from ..compiler.jit import itemsize, jit, numbers
from ..products.sums import input_part_start, n_parts
from ..products.tiles import tile_width
from ..tuning import SPACING
from ..views import Block, Home
from .threads import barrier, my_part


@jit
def meet(turn):
    """Wait for all threads; False if one of them has failed."""
    return barrier(turn.crew["sync"], turn.crew["n_threads"], turn.thread)


@jit
def shares_columns(turn, s):
    """Whether threads share out the columns of op s, and not the batch's rows."""
    return turn.crew["by_columns"] or s < turn.crew["shared"]


@jit
def my_columns(turn, s, one):
    """Columns of op s that this thread computes for all rows, where threads share them out."""
    n_columns = turn.ops[s]["n_out"]
    if s < turn.crew["shared"]:
        return my_inputs(turn)
    n_threads, width = turn.crew["n_threads"], tile_width(one)
    tiles = (n_columns + width - 1) // width
    left = min(n_columns, tiles * turn.thread // n_threads * width)
    return left, min(n_columns, tiles * (turn.thread + 1) // n_threads * width)


@jit
def my_block(turn, s, one):
    """The part of op s that this thread computes."""
    if shares_columns(turn, s):
        left, right = my_columns(turn, s, one)
        return Block(0, turn.batch, left, right)
    first, last = my_part(turn.batch, turn.crew["n_threads"], turn.thread)
    return Block(first, last, 0, turn.ops[s]["n_out"])


@jit
def stored_part(parts, n_threads, part):
    """Where a part of the shared product is stored: those of thread 0 as their sum, in place 0."""
    return max(0, part - parts // n_threads + 1)


@jit
def my_parts(turn):
    """All parts of the shared op's inputs, and the first and last that this thread owns."""
    op, n_threads = turn.ops[turn.crew["shared"]], turn.crew["n_threads"]
    parts = n_parts(op["n_in"], op["n_out"])
    return parts, parts * turn.thread // n_threads, parts * (turn.thread + 1) // n_threads


@jit
def my_inputs(turn):
    """The inputs of the shared op that this thread owns."""
    parts, first, last = my_parts(turn)
    n_in = turn.ops[turn.crew["shared"]]["n_in"]
    return input_part_start(n_in, parts, first), input_part_start(n_in, parts, last)


@jit
def my_weight_rows(turn, s):
    """Rows of the W of op s that this thread owns, unless it owns columns."""
    if s == turn.crew["shared"]:
        return my_inputs(turn)
    return my_part(turn.ops[s]["weight_rows"], turn.crew["n_threads"], turn.thread)


@jit
def my_weights(turn, s, one):
    """The part of the W of op s that this thread owns."""
    if shares_columns(turn, s):
        left, right = my_columns(turn, s, one)
        return Block(0, turn.ops[s]["n_in"], left, right)
    first, last = my_weight_rows(turn, s)
    return Block(first, last, 0, turn.ops[s]["n_out"])


@jit
def my_biases(turn, s):
    """Biases of op s that this thread owns.

    Thread 0 has all of the shared op, whose sums it starts.
    """
    n_out = turn.ops[s]["n_out"]
    if s == turn.crew["shared"]:
        return 0, n_out if turn.thread == 0 else 0
    if s < turn.crew["shared"]:
        return my_inputs(turn)
    return my_part(n_out, turn.crew["n_threads"], turn.thread)


@jit
def layout(turn, s, one):
    """How the values of op s lie in its memory: what to add to the address, numbers per row.

    Columns that a thread owns are all that it reads, and lie in a block of their own, far from the
    next: rows of two threads next to each other would share cache lines. Counted from column 0 of
    row 0 it is a matrix like any other.
    """
    if s < turn.crew["shared"]:
        left, right = my_inputs(turn)
        offset = (turn.call["batch_size"] - 1) * left * itemsize(one) + turn.thread * SPACING
        return offset, right - left
    return 0, turn.ops[s]["n_out"]


@jit
def home(turn, s, one):
    """Where this thread has the parameters of op s while steps go on.

    In place, or, where it owns columns that would share cache lines with another's, in memory of
    its own.
    """
    op = turn.ops[s]
    if s < turn.crew["shared"]:
        left, right = my_inputs(turn)
        width, params = right - left, turn.crew["own"] + turn.thread * turn.crew["own_bytes"]
        count = (op["n_in"] + 1) * width
        states, first_bias = params + count * itemsize(one), op["n_in"] * width - left
        return Home(params, states, count, -left, first_bias, width)
    model = turn.model
    return Home(
        model["params"], model["state"], model["n_params"], op["weights"], op["biases"],
        op["weight_width"],
    )  # fmt: skip


@interfaces.MOVE.kernel
def move_home(turn, comes, one):
    """Copy the parameters and states that this thread keeps in memory of its own, there or back."""
    model, size = turn.model, itemsize(one)
    for s in range(turn.crew["shared"]):
        op, own, (left, _) = turn.ops[s], home(turn, s, one), my_inputs(turn)
        n_in, n_out, width = op["n_in"], op["n_out"], own.stride
        for vector in range(model["n_vectors"]):
            place = model["params"]
            if vector > 0:
                place = model["state"] + (vector - 1) * model["n_params"] * size
            for row in range(n_in + 1):
                start = op["weights"] + row * n_out if row < n_in else op["biases"]
                there = place + (start + left) * size
                here = own.params + (vector * own.count + row * width) * size
                source, target = (there, here) if comes else (here, there)
                read, written = numbers(source, width, one), numbers(target, width, one)
                for i in range(width):
                    written[i] = read[i]
