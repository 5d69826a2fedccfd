"""Rows that one thread offers to whoever is there: how helpers join a call without being told.

A caller writes down what it wants, and helpers look for that; they need no lock and no signal, so
a call of some microseconds can be shared. Nobody waits for a helper that comes late: it finds the
offer closed, or the next one.
"""

from __future__ import annotations

from ..compiler.jit import jit, longs
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
def _described(offer):
    """What is offered: number of rows, rows per block, addresses of inputs and outputs."""
    return longs(offer + 16 * _LINE, 4)


@jit
def open_offer(offer, n_rows, block, x, out):
    """Offer rows, `block` at a time; only after all rows of the last offer are done."""
    ticket = atomic_load(offer)
    closed = (((ticket >> 32) + 1) << 32) + _CLOSED
    atomic_add(offer, closed - ticket)  # what follows is not written before that, unlike a store
    described = _described(offer)
    described[0], described[1], described[2], described[3] = n_rows, block, x, out
    atomic_store(_done(offer), 0)
    atomic_store(offer, closed - _CLOSED)


@jit
def take_block(offer):
    """Take the next rows: where they start, how many, addresses of all inputs and outputs."""
    while True:
        ticket = atomic_load(offer)
        start, described = ticket & _CLOSED, _described(offer)
        n_rows, block, x, out = described[0], described[1], described[2], described[3]
        if start >= n_rows:
            return 0, 0, 0, 0
        count = min(block, n_rows - start)
        if atomic_replace(offer, ticket, ticket + count):
            return start, count, x, out


@jit
def finish_block(offer, count):
    """Report as many rows as done."""
    atomic_add(_done(offer), count)


@jit
def wait_for_all(offer):
    """Wait until all rows are done; not for helpers that took none."""
    waits, n_rows = 0, _described(offer)[0]
    while atomic_load(_done(offer)) < n_rows:
        waits += 1
        wait(waits)
