"""How a step is divided among threads: the rows, columns, inputs and parameters of each.

Threads share out rows of the batch and, in the second phase, rows of each W. For the op `shared`
they share out its inputs instead. Each thread then owns the units of the op before it that compute
its inputs, with their parameters, in separate memory.
"""

from __future__ import annotations

from .. import interfaces
from ..compiler.jit import inlined, itemsize, jit, numbers
from ..products.sums import input_part_start, n_parts
from ..tuning import SPACING
from ..views import Block, Home
from .threads import barrier, my_part


@jit
def meet(turn):
    """Wait for all threads at the barrier; False if one of them has failed."""
    return barrier(turn.crew["sync"], turn.crew["n_threads"], turn.thread)


@inlined
def shares_columns(turn, s):
    """Whether threads share out the columns of op s instead of the batch's rows."""
    return s < turn.crew["shared"]


@inlined
def my_rows(turn):
    """The rows of the batch that this thread is at."""
    if turn.block_stop > 0:
        return turn.block_start, turn.block_stop
    return my_part(turn.batch, turn.crew["n_threads"], turn.thread)


@jit
def is_first_block(turn):
    """Whether no other rows of this thread have been through the ops in this step."""
    first, _ = my_part(turn.batch, turn.crew["n_threads"], turn.thread)
    return turn.block_stop == 0 or turn.block_start == first


@inlined
def my_block(turn, s, one):
    """The part of op s that this thread computes."""
    if shares_columns(turn, s):
        left, right = my_inputs(turn)
        return Block(0, turn.batch, left, right)
    first, last = my_rows(turn)
    return Block(first, last, 0, turn.ops[s]["n_out"])


@jit
def stored_part(parts, n_threads, part):
    """Index at which a part of the shared product is stored; thread 0 stores one sum at index 0."""
    return max(0, part - parts // n_threads + 1)


@jit
def my_parts(turn):
    """Number of parts of the shared op's sums, and first and end of those this thread owns."""
    op, n_threads = turn.ops[turn.crew["shared"]], turn.crew["n_threads"]
    parts = n_parts(op["n_in"], op["n_out"])
    return parts, parts * turn.thread // n_threads, parts * (turn.thread + 1) // n_threads


@jit
def my_inputs(turn):
    """The inputs of the shared op that this thread owns."""
    parts, first, last = my_parts(turn)
    n_in = turn.ops[turn.crew["shared"]]["n_in"]
    return input_part_start(n_in, parts, first), input_part_start(n_in, parts, last)


@inlined
def my_weight_rows(turn, s):
    """Rows of the W of op s that this thread owns, unless it owns columns."""
    if s == turn.crew["shared"]:
        return my_inputs(turn)
    return my_part(turn.ops[s]["weight_rows"], turn.crew["n_threads"], turn.thread)


@inlined
def my_weights(turn, s, one):
    """The part of the W of op s that this thread owns."""
    if shares_columns(turn, s):
        left, right = my_inputs(turn)
        return Block(0, turn.ops[s]["n_in"], left, right)
    first, last = my_weight_rows(turn, s)
    return Block(first, last, 0, turn.ops[s]["n_out"])


@inlined
def my_biases(turn, s):
    """Biases of op s that this thread owns.

    Thread 0 owns all biases of the shared op, because its sums start from them.
    """
    n_biases = turn.ops[s]["n_biases"]
    if s == turn.crew["shared"]:
        return 0, n_biases if turn.thread == 0 else 0
    if s < turn.crew["shared"]:
        return my_inputs(turn)
    return my_part(n_biases, turn.crew["n_threads"], turn.thread)


@jit
def my_columns(turn, s):
    """Columns whose weights this thread owns, of an op with one weight per column."""
    return my_part(turn.ops[s]["n_out"], turn.crew["n_threads"], turn.thread)


@inlined
def layout(turn, s, one):
    """Layout of the values of op s: offset in bytes from their address, and row stride in numbers.

    If threads share out the columns, each thread's columns are a separate block, far from the next
    one, to avoid false sharing; a thread reads no other columns. The offset is such that the block
    can be indexed like a matrix, from column 0 of row 0.
    """
    if s < turn.crew["shared"]:
        left, right = my_inputs(turn)
        offset = (turn.call["batch_size"] - 1) * left * itemsize(one) + turn.thread * SPACING
        return offset, right - left
    return 0, turn.ops[s]["n_out"]


@inlined
def home(turn, s, one):
    """Where this thread keeps the parameters of op s during a call.

    In place or, if it owns columns, whose cache lines other threads would share, in a separate
    block of memory.
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
    """Copy parameters and states to this thread's own memory (`comes`) or back."""
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
