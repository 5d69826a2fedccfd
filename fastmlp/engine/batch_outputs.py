"""Outputs of a matrix of rows that compiled code reads where it is, and writes where it is wanted.

Serving and predictions use it for all but the largest matrices: a call makes no engine, allocates
nothing, and shares its rows with helpers, which stay for a moment in case another call follows.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..inputs.tables import table_of
from ..kernels.compiler.jit import JIT_ENABLED, REFUSALS, exactly, holding_gil
from ..kernels.compiler.memory import aligned_zeros
from ..kernels.step.offers import OFFER_SIZE
from ..kernels.step.outputs import outputs_of_rows
from ..kernels.tuning import (
    BLOCKS_A_THREAD,
    FIRST_WORK,
    LEAST_BLOCK_TO_PACK,
    LEAST_LATE_BLOCK,
    LEAST_PREDICT_BLOCK,
    PREDICT_BLOCK,
    SOON,
    STAYS,
    TILE_ROWS,
    WORK_A_HELPER,
    WORK_OF_ANY_ROW,
)
from .compiling import announce
from .engine import Engine
from .helper import Cores, Helper
from .packed import packed_for_rows
from .threads import company, n_cores, threads_for

if TYPE_CHECKING:
    from ..model.body import Body


class _Crew:
    """A caller's offer of rows, and the helpers that poll it.

    Attributes
    ----------
    offer : ndarray of int64, shape (OFFER_SIZE,)
    n_there : int
        Helpers that take part in the next call, unless they have just lost patience.
    """

    def __init__(self) -> None:
        self.offer, self.n_there = aligned_zeros(OFFER_SIZE, np.int64), 0
        self._helpers, self._n_cores, self._process = list[Helper](), 1, os.getpid()

    def look_around(self) -> None:
        """Count the helpers that are there."""
        if self._process != os.getpid():  # a fork took none of them along
            self._helpers, self._process = [], os.getpid()
        for helper in self._helpers:
            if not helper.is_alive():
                self._helpers = [helper for helper in self._helpers if helper.is_alive()]
                break
        self.n_there = len(self._helpers)

    def can_grow(self, wanted: int) -> bool:
        """Whether more threads are wanted than are there, and than cores were found before.

        To ask for the cores takes as long as a short call.
        """
        return 1 + self.n_there < (min(wanted, self._n_cores) if self.n_there else wanted)

    def grow(self, wanted: int, new: Callable[[Cores], Helper]) -> bool:
        """Start helpers up to so many threads if there are cores for them; whether any was."""
        self._n_cores, before = n_cores(), self.n_there
        wanted = min(wanted, self._n_cores)
        if wanted <= 1 + before:
            return False
        cores = Cores()
        with contextlib.suppress(RuntimeError):  # no more threads can be started
            while 1 + self.n_there < wanted:
                helper = new(cores)
                self._helpers.append(helper)
                try:
                    helper.start()
                except BaseException:  # it may have been given to a thread
                    helper.cancel()
                    raise
                self.n_there += 1
        return self.n_there > before


class _Space(NamedTuple):
    """What one thread needs: an engine, its address, and, if it is a caller, its crew."""

    address: int
    engine: Engine
    crew: _Crew


class BatchOutputs:
    """Computes outputs of rows for one network, whose parameters are read in each call.

    Threads take spaces from a list and return them, so any number of threads may call it.

    Parameters
    ----------
    network : Body
        Built, of parts with kernels. It is not kept, because it may keep this object.
    link : bool
        Whether outputs are what the loss's link makes of the last layer's values.
    is_frozen : bool, default False
        Whether the network never changes. Its weights are then copied once, in the order in which
        they are read.
    """

    def __init__(self, network: Body, link: bool, is_frozen: bool = False) -> None:
        self._link, self._dtype = link, np.dtype(network.dtype.name)
        self._packed = packed_for_rows(network) if is_frozen else None
        announce(self._dtype, holding_gil(outputs_of_rows))
        self._work_per_row = network.work_per_row + WORK_OF_ANY_ROW
        # Ctrl-C is only handled between calls, so none may be long.
        self.most_rows = FIRST_WORK // self._work_per_row
        self._ended, self._spare = 0.0, [self._new_space(network)]
        packs = bool(self._spare[0].engine.ops["packs_weights"].any()) and not is_frozen
        self._least_block = LEAST_BLOCK_TO_PACK if packs else LEAST_PREDICT_BLOCK
        example = np.zeros((1, network.n_features), self._dtype)
        offer = self._spare[0].crew.offer
        self._kernel = exactly(outputs_of_rows, 0, example, example, offer, 0, 0, nogil=True)
        widths = network.n_features, network.width_of_outputs(link)
        self._no_rows = [np.zeros((0, width), self._dtype) for width in widths]

    def __call__(self, network: Body, X: np.ndarray, out: np.ndarray) -> bool:
        """Write the outputs of X (n, n_features) to out (n, n_outputs).

        Returns False and does nothing if there are too many rows for one call, or if one of the
        arrays is not contiguous, writeable, of the network's type and of these sizes.
        """
        n_rows = X.shape[0]
        if n_rows > self.most_rows:
            return False
        block, space = PREDICT_BLOCK, self._take(network)
        if JIT_ENABLED and n_rows * self._work_per_row >= 2 * WORK_A_HELPER:
            block = self._share(network, space.crew, n_rows)
        try:
            done: bool = self._kernel(space.address, X, out, space.crew.offer, block, 0)
        except REFUSALS:
            done = False
        self._spare.append(space)
        self._ended = time.perf_counter()
        return done

    def _share(self, network: Body, crew: _Crew, n_rows: int) -> int:
        """Start helpers if more are worthwhile than are there; returns rows per block."""
        crew.look_around()
        work, is_soon = n_rows * self._work_per_row, time.perf_counter() - self._ended < SOON
        if crew.n_there or is_soon:
            wanted = min(work // WORK_A_HELPER, -(-n_rows // self._least_block))
        else:
            wanted = threads_for(work)
        wanted, is_late = company.n_threads(wanted), False
        if crew.can_grow(wanted):
            is_late = crew.grow(wanted, functools.partial(self._new_helper, network, crew.offer))
        return self._rows_per_block(n_rows, min(wanted, 1 + crew.n_there), is_late)

    def _rows_per_block(self, n_rows: int, n_threads: int, is_late: bool) -> int:
        """Equal parts for all, or smaller ones, of which a thread that comes late takes fewer."""
        each = BLOCKS_A_THREAD if is_late else 1
        n_blocks = n_threads * max(each, -(-n_rows // (n_threads * PREDICT_BLOCK)))
        least = max(self._least_block, LEAST_LATE_BLOCK if is_late else 1)
        rows = max(least, -(-n_rows // n_blocks))
        unit = TILE_ROWS if rows >= 2 * TILE_ROWS else LEAST_PREDICT_BLOCK
        return min(PREDICT_BLOCK, -(-rows // unit) * unit)

    def _new_helper(self, network: Body, offer: np.ndarray, cores: Cores) -> Helper:
        return Helper(functools.partial(self._help, self._take(network), offer), cores)

    def _help(self, space: _Space, offer: np.ndarray) -> None:
        """What a helper does."""
        self._kernel(space.address, *self._no_rows, offer, 0, STAYS)
        self._spare.insert(0, space)  # the next caller shall have the last one's crew

    @property
    def n_bytes(self) -> int:
        """Memory of the spaces that are kept for the next call."""
        return sum(int(space.engine.workspace.memory.size) for space in self._spare)

    def _take(self, network: Body) -> _Space:
        try:
            return self._spare.pop()
        except IndexError:
            return self._new_space(network)

    def _new_space(self, network: Body) -> _Space:
        """An engine for a block of rows; the kernel points it at those of each call."""
        table = table_of(np.zeros((1, network.n_features), self._dtype), self._dtype)
        made = Engine(
            network, table, PREDICT_BLOCK, training=False, link=self._link, packed=self._packed
        )
        made.link()
        return _Space(made.job_address, made, _Crew())
