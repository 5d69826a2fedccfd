"""Who does what of a step, and where: the rows, columns, inputs and parameters of each thread.

Threads share out rows of the batch, and in the second phase rows of each W. Of the stage `shared`
they share out the inputs instead, and own the units before it, with all that belongs to them, in
memory of their own. Where layers are wide they share out columns of every layer.
"""

from __future__ import annotations

from .jit import itemsize, jit, numbers
from .sums import input_part_start, n_parts
from .threads import SPACING, my_part
from .tiles import tile_width


@jit
def shares_columns(job, s):
    """Whether threads share out the columns of stage s, and not the batch's rows."""
    return job["by_columns"] or s < job["shared"]


@jit
def my_columns(job, stages, s, thread, one):
    """Columns of stage s that this thread computes for all rows, where threads share them out."""
    n_columns = stages[s]["n_out"]
    if s < job["shared"]:
        return my_inputs(job, stages, thread)
    n_threads, width = job["n_threads"], tile_width(one)
    tiles = (n_columns + width - 1) // width
    left = min(n_columns, tiles * thread // n_threads * width)
    return left, min(n_columns, tiles * (thread + 1) // n_threads * width)


@jit
def my_block(job, stages, s, batch, thread, one):
    """Rows first..last and columns left..right of stage s that this thread computes."""
    if shares_columns(job, s):
        left, right = my_columns(job, stages, s, thread, one)
        return 0, batch, left, right
    first, last = my_part(batch, job["n_threads"], thread)
    return first, last, 0, stages[s]["n_out"]


@jit
def stored_part(parts, n_threads, part):
    """Where a part of the shared product is stored: those of thread 0 as their sum, in place 0."""
    return max(0, part - parts // n_threads + 1)


@jit
def my_parts(job, stages, thread):
    """All parts of the shared stage's inputs, and the first and last that this thread owns."""
    stage, n_threads = stages[job["shared"]], job["n_threads"]
    parts = n_parts(stage["n_in"], stage["n_out"])
    return parts, parts * thread // n_threads, parts * (thread + 1) // n_threads


@jit
def my_inputs(job, stages, thread):
    """The inputs of the shared stage that this thread owns."""
    parts, first, last = my_parts(job, stages, thread)
    n_in = stages[job["shared"]]["n_in"]
    start = input_part_start(n_in, parts, first)
    return start, input_part_start(n_in, parts, last)


@jit
def my_weight_rows(job, stages, s, thread):
    """Rows of the W of stage s that this thread owns, unless it owns columns."""
    if s == job["shared"]:
        return my_inputs(job, stages, thread)
    return my_part(stages[s]["n_in"], job["n_threads"], thread)


@jit
def my_weights(job, stages, s, thread, one):
    """The block of a W that this thread owns: rows first..last, columns left..right."""
    if shares_columns(job, s):
        left, right = my_columns(job, stages, s, thread, one)
        return 0, stages[s]["n_in"], left, right
    first, last = my_weight_rows(job, stages, s, thread)
    return first, last, 0, stages[s]["n_out"]


@jit
def my_biases(job, stages, s, thread):
    """Biases of stage s that this thread owns; those that thread 0 starts its sums from are its."""
    n_out = stages[s]["n_out"]
    if s == job["shared"]:
        return 0, n_out if thread == 0 else 0
    if s < job["shared"]:
        return my_inputs(job, stages, thread)
    return my_part(n_out, job["n_threads"], thread)


@jit
def layout(job, stages, s, thread, one):
    """How the values of stage s lie in its memory: what to add to the address, numbers a row.

    Columns that a thread owns are all that it reads, and lie in a block of their own, far from the
    next: rows of two threads next to each other would share cache lines. Counted from column 0 of
    row 0 it is a matrix like any other.
    """
    if s < job["shared"]:
        left, right = my_inputs(job, stages, thread)
        offset = (job["batch_size"] - 1) * left * itemsize(one) + thread * SPACING
        return offset, right - left
    return 0, stages[s]["n_out"]


@jit
def home(job, stages, s, thread, one):
    """Where this thread has the parameters of stage s while steps go on.

    In place, or, where it owns columns that would share cache lines with another's, in memory of
    its own. Returns the address of some parameters and that of their states, how many they are,
    which of them would be W[0, 0] and b[0], and the numbers from row to row of W.
    """
    stage = stages[s]
    if s < job["shared"]:
        left, right = my_inputs(job, stages, thread)
        width, params = right - left, job["own"] + thread * job["own_bytes"]
        count = (stage["n_in"] + 1) * width
        states, first_bias = params + count * itemsize(one), stage["n_in"] * width - left
        return params, states, count, -left, first_bias, width
    return (
        job["params"], job["state"], job["n_params"], stage["weights"], stage["biases"],
        stage["n_out"],
    )  # fmt: skip


@jit
def move_home(job, stages, thread, comes, one):
    """Copy the parameters and states that this thread keeps in memory of its own, there or back."""
    size = itemsize(one)
    for s in range(job["shared"]):
        stage = stages[s]
        n_in, n_out = stage["n_in"], stage["n_out"]
        left, _ = my_inputs(job, stages, thread)
        own, _, count, _, _, width = home(job, stages, s, thread, one)
        for vector in range(job["n_vectors"]):
            place = job["params"]
            if vector > 0:
                place = job["state"] + (vector - 1) * job["n_params"] * size
            for row in range(n_in + 1):
                start = stage["weights"] + row * n_out if row < n_in else stage["biases"]
                there = numbers(place + (start + left) * size, width, one)
                here = numbers(own + (vector * count + row * width) * size, width, one)
                for i in range(width):
                    if comes:
                        here[i] = there[i]
                    else:
                        there[i] = here[i]
