"""Outputs of a matrix of rows that compiled code reads where it is, and writes where it is wanted.

Serving and predictions use it for all but the largest matrices: a call makes no engine, allocates
nothing, and starts threads only if they pay.
"""

from __future__ import annotations

import contextlib
import functools
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..inputs.tables import table_of
from ..kernels.compiler.jit import REFUSALS, exactly, holding_gil
from ..kernels.step.outputs import outputs_of_rows
from ..kernels.step.threads import SHARED_ROWS
from ..kernels.tuning import (
    BLOCKS_A_THREAD,
    FIRST_WORK,
    LEAST_BLOCK_TO_PACK,
    LEAST_PREDICT_BLOCK,
    PREDICT_BLOCK,
    SOON,
    TILE_ROWS,
    WORK_OF_ANY_ROW,
)
from .compiling import announce
from .engine import Engine
from .helper import Cores, Helper
from .packed import packed_for_rows
from .threads import company, threads_for

if TYPE_CHECKING:
    from ..model.body import Body


class _Space(NamedTuple):
    """What one thread needs: an engine, its address, and a state of rows that nobody shares."""

    address: int
    engine: Engine
    alone: np.ndarray


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
        self._spare, self._ended = list[_Space](), 0.0
        self._spare.append(self._new_space(network))
        packs = self._spare[0].engine.is_wide and not is_frozen
        self._least_block = LEAST_BLOCK_TO_PACK if packs else LEAST_PREDICT_BLOCK
        example = np.zeros((1, network.n_features), self._dtype)
        alone = self._spare[0].alone
        self._kernel = exactly(outputs_of_rows, 0, example, example, alone, 0, True, nogil=True)

    def __call__(self, network: Body, X: np.ndarray, out: np.ndarray) -> bool:
        """Write the outputs of X (n, n_features) to out (n, n_outputs).

        Returns False and does nothing if there are too many rows for one call, or if one of the
        arrays is not contiguous, writeable, of the network's type and of these sizes.
        """
        n_rows = X.shape[0]
        if n_rows > self.most_rows:
            return False
        is_soon = time.perf_counter() - self._ended < SOON
        n_threads = threads_for(n_rows * self._work_per_row, is_soon)
        if n_threads > 1:
            done = self._on_threads(network, X, out, n_threads)
        else:
            space = self._take(network)
            space.alone[0] = 0
            done = self._compute(space, X, out, space.alone)
            self._spare.append(space)
        self._ended = time.perf_counter()
        return done

    @property
    def n_bytes(self) -> int:
        """Memory of the spaces that are kept for the next call."""
        return sum(int(space.engine.workspace.memory.size) for space in self._spare)

    def _compute(
        self,
        space: _Space,
        X: np.ndarray,
        out: np.ndarray,
        shared: np.ndarray,
        block: int = PREDICT_BLOCK,
        waits: bool = False,
    ) -> bool:
        """Compute blocks of rows until none is left; False if the kernel refuses the arrays."""
        try:
            done: bool = self._kernel(space.address, X, out, shared, block, waits)
        except REFUSALS:
            return False
        return done

    def _on_threads(self, network: Body, X: np.ndarray, out: np.ndarray, wanted: int) -> bool:
        """As a call, with helpers that take blocks of rows too; one that is late takes none."""
        rows_each = max(self._least_block, -(-X.shape[0] // (wanted * BLOCKS_A_THREAD)))
        block = min(PREDICT_BLOCK, -(-rows_each // TILE_ROWS) * TILE_ROWS)
        n_threads = company.n_threads(min(wanted, -(-X.shape[0] // block)))
        shared, cores = np.zeros(SHARED_ROWS, np.int64), Cores()

        def help_with(space: _Space) -> None:
            self._compute(space, X, out, shared, block)
            self._spare.append(space)

        try:
            with contextlib.suppress(RuntimeError):  # no more threads can be started
                for _ in range(1, n_threads):
                    Helper(functools.partial(help_with, self._take(network)), cores).start()
            space = self._take(network)
            done = self._compute(space, X, out, shared, block, waits=True)
        except BaseException:
            shared[0] = X.shape[0]  # nobody takes any more
            raise
        self._spare.append(space)
        return done

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
        return _Space(made.job_address, made, np.zeros(SHARED_ROWS, np.int64))
