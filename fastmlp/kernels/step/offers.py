"""Rows that one thread offers to whoever is there: how helpers join a call without being told.

A caller writes down what it wants, and helpers look for that; they need no lock and no signal, so
a call of some microseconds can be shared. Nobody waits for a helper that comes late: it finds the
offer closed, or the next one.
"""

from __future__ import annotations

from ..compiler.jit import jit
from .atomics import atomic_add, atomic_load, atomic_replace, atomic_store, wait

# An offer is an int64 array: its ticket, how many rows are done, and what is offered, each on a
# cache line of its own. The upper half of a ticket is the number of the call, the lower half the
# next row. So a thread that has slept since an earlier call cannot take rows of this one: it takes
# rows by replacing the ticket that it has seen, which is another one by now.
_LINE = 8
OFFER_SIZE = 3 * _LINE
_CLOSED = 0xFFFFFFFF  # in place of the next row, while the description changes


@jit
def _done(offer):
    return offer + 8 * _LINE


@jit
def _described(offer, which):
    """Address of one part of what is offered: number of rows, rows per block, inputs, outputs."""
    return offer + 16 * _LINE + 8 * which


@jit
def open_offer(offer, n_rows, block, x, out):
    """Offer rows, `block` at a time; only after all rows of the last offer are done."""
    ticket = atomic_load(offer)
    closed = (((ticket >> 32) + 1) << 32) + _CLOSED
    atomic_add(offer, closed - ticket)  # what follows is not written before that, unlike a store
    atomic_store(_described(offer, 0), n_rows)
    atomic_store(_described(offer, 1), block)
    atomic_store(_described(offer, 2), x)
    atomic_store(_described(offer, 3), out)
    atomic_store(_done(offer), 0)
    atomic_store(offer, closed - _CLOSED)


@jit
def take_block(offer):
    """Take the next rows: where they start, how many, addresses of all inputs and outputs."""
    while True:
        ticket = atomic_load(offer)
        start, n_rows = ticket & _CLOSED, atomic_load(_described(offer, 0))
        if start >= n_rows:
            return 0, 0, 0, 0
        count = min(atomic_load(_described(offer, 1)), n_rows - start)
        x, out = atomic_load(_described(offer, 2)), atomic_load(_described(offer, 3))
        if atomic_replace(offer, ticket, ticket + count):
            return start, count, x, out


@jit
def finish_block(offer, count):
    """Report as many rows as done."""
    atomic_add(_done(offer), count)


@jit
def wait_for_all(offer):
    """Wait until all rows are done; not for helpers that took none."""
    waits, n_rows = 0, atomic_load(_described(offer, 0))
    while atomic_load(_done(offer)) < n_rows:
        waits += 1
        wait(waits)
