"""Whole fits in compiled code: a thread trains one network after another.

The next networks stand in a queue, which Python fills while threads compute. A fit has the same
bits as one that Python calls epoch by epoch, since both call `train_steps`.
"""

from __future__ import annotations

import numpy as np

from .. import interfaces
from ..compiler.jit import doubles, integers, jit, longs
from ..plan import FIT, INT32_BYTES, fits_at, turn_address, turn_of
from ..rules import random
from .atomics import atomic_add, atomic_load, atomic_store, wait
from .clock import read_clock
from .step import batches_an_epoch, train_steps

_go_on = interfaces.FIT.call

# A queue is an int64 array: how many fits have been taken, how many put in, and its status, each on
# a cache line of its own; then the addresses of the last fits that were put in.
LINE = 64
TAKEN, PUT, STATUS, PLACES = 0, LINE, 2 * LINE, 3 * LINE
N_PLACES = 2048  # more than there may be threads, with the fits that are ready
QUEUE_SIZE = PLACES // 8 + N_PLACES
OPEN, HALTED, STOPPED = range(3)  # then no fit begins; then none goes on

assert FIT.fields is not None
_STARTED, _ENDED, _IS_OVER = (FIT.fields[name][1] for name in ("started", "ended", "is_over"))


@jit
def _visit(fit, turn, epoch):
    """Put the samples in the order of an epoch."""
    n, visited = fit["n_samples"], turn.samples["n_rows"]
    rows, order = integers(fit["rows"], n), integers(fit["order"], n)
    for i in range(n):
        order[i] = rows[i]
    if fit["shuffles"] != 0:
        random.shuffle(order, turn.call["seed"], epoch)
    # Steps count from the first epoch, and look for their samples that much further on.
    turn.samples["order"] = fit["order"] - epoch * visited * INT32_BYTES


@interfaces.FIT.kernel
def go_on(fit_at, one):
    """Run the next `piece` steps of a fit, or fewer if it ends; sets `step` and `ends`."""
    fit = fits_at(fit_at, 1)[0]
    turn = turn_of(turn_address(fit["job"], 0))
    call, per_epoch = turn.call, batches_an_epoch(turn)
    last = min(fit["step"] + fit["piece"], fit["n_steps"])
    losses, is_good = doubles(call["losses"], fit["n_steps"]), True
    while fit["step"] < last and is_good:
        epoch = fit["step"] // per_epoch
        if fit["step"] == epoch * per_epoch:
            _visit(fit, turn, epoch)
        call["from_step"], call["n_steps"] = fit["step"], min(last, (epoch + 1) * per_epoch)
        train_steps(fit["job"], 0, one)
        fit["step"] = call["n_steps"]
        is_good = call["enough_after"] == 0 and np.isfinite(losses[fit["step"] - 1])
    fit["ends"] = fit["step"] == fit["n_steps"] or not is_good


@jit
def train_piece(fit_at):
    """Run some steps of a fit of any number type; False if they were the last.

    The caller must not look at such a fit again: Python may have released it.
    """
    fit = fits_at(fit_at, 1)[0]
    if fit["step"] == 0:
        read_clock(fit_at + _STARTED)
    if fit["double"] != 0:
        _go_on(fit["go_on"], (fit_at, np.float64(1)))
    else:
        _go_on(fit["go_on"], (fit_at, np.float32(1)))
    read_clock(fit_at + _ENDED)
    ends = fit["ends"] != 0
    if ends:
        atomic_store(fit_at + _IS_OVER, 1)
    return not ends


@jit
def is_over(fit_at):
    """Whether a fit has ended; its results can be read then."""
    return atomic_load(fit_at + _IS_OVER) != 0


@jit
def put(queue_at, fit_at):
    """Put a fit into a queue; the caller sees to it that not more than N_PLACES are not over."""
    number = atomic_load(queue_at + PUT)
    longs(queue_at + PLACES, N_PLACES)[number % N_PLACES] = fit_at
    atomic_store(queue_at + PUT, number + 1)


@jit
def _is_there(queue_at, number):
    """Wait for fit `number`; False if there will be none."""
    waits = 0
    while atomic_load(queue_at + PUT) <= number:
        if atomic_load(queue_at + STATUS) != OPEN:
            return False
        waits += 1
        wait(waits)
    return True


@jit
def train_from_queue(queue_at):
    """What each thread does: take fits and run them to their end, as long as there are any."""
    while True:
        number = atomic_add(queue_at + TAKEN, 1)
        if not _is_there(queue_at, number) or atomic_load(queue_at + STATUS) >= HALTED:
            return
        fit_at = longs(queue_at + PLACES, N_PLACES)[number % N_PLACES]
        while train_piece(fit_at) and atomic_load(queue_at + STATUS) != STOPPED:
            pass
