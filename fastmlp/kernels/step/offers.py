"""Rows that one thread offers to whoever is there: how helpers join a call without being told.

A caller writes where its rows are into an offer, which helpers poll. That needs no lock and no
signal, so even a call of some microseconds can be shared; the caller waits only for rows that a
helper has taken.
"""

from __future__ import annotations

from ..compiler.jit import jit
from ..compiler.memory import CACHE_LINE
from .atomics import atomic_add, atomic_load, atomic_replace, atomic_store, wait

# An offer is an int64 array: its ticket, how many rows are done, and what is offered, each on a
# cache line of its own. The upper half of a ticket is the number of the call, the lower half the
# next row. So a thread that has slept since an earlier call cannot take rows of this one: it takes
# rows by replacing the ticket that it has seen, which is another one by now.
OFFER_SIZE = 3 * CACHE_LINE // 8
# As the next row, while the description changes: more than any number of rows, so nobody takes any.
_CLOSED = 0xFFFFFFFF
N_ROWS, BLOCK, INPUTS, OUTPUTS = range(4)  # what is described; the last two are addresses


@jit
def _done(offer):
    return offer + CACHE_LINE


@jit
def _described(offer, which):
    return offer + 2 * CACHE_LINE + 8 * which


@jit
def open_offer(offer, n_rows, block, x, out):
    """Offer rows, `block` at a time; only after all rows of the last offer are done."""
    closed = (((atomic_load(offer) >> 32) + 1) << 32) + _CLOSED
    # First: who sees any of the new description sees that the ticket is another one.
    atomic_store(offer, closed)
    atomic_store(_described(offer, N_ROWS), n_rows)
    atomic_store(_described(offer, BLOCK), block)
    atomic_store(_described(offer, INPUTS), x)
    atomic_store(_described(offer, OUTPUTS), out)
    atomic_store(_done(offer), 0)
    atomic_store(offer, closed - _CLOSED)


@jit
def take_block(offer):
    """Take the next rows: where they start, how many, addresses of all inputs and outputs."""
    while True:
        ticket = atomic_load(offer)
        start, n_rows = ticket & _CLOSED, atomic_load(_described(offer, N_ROWS))
        if start >= n_rows:
            return 0, 0, 0, 0
        count = min(atomic_load(_described(offer, BLOCK)), n_rows - start)
        x, out = atomic_load(_described(offer, INPUTS)), atomic_load(_described(offer, OUTPUTS))
        if atomic_replace(offer, ticket, ticket + count):
            return start, count, x, out


@jit
def finish_block(offer, count):
    """Report as many rows as done."""
    atomic_add(_done(offer), count)


@jit
def wait_for_all(offer):
    """Wait until all rows are done; not for helpers that took none."""
    waits, n_rows = 0, atomic_load(_described(offer, N_ROWS))
    while atomic_load(_done(offer)) < n_rows:
        waits += 1
        wait(waits)
