"""Outputs of a matrix of rows that compiled code reads where it is, and writes where it is wanted.

Serving and predictions use it for all but the largest matrices: a call makes no engine, allocates
nothing, and starts threads only if they pay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..inputs.tables import table_of
from ..kernels.compiler.jit import REFUSALS, exactly, holding_gil
from ..kernels.step.outputs import outputs_of_rows
from ..kernels.tuning import (
    BLOCKS_A_THREAD,
    FIRST_WORK,
    LEAST_PREDICT_BLOCK,
    PREDICT_BLOCK,
    TILE_ROWS,
    WORK_OF_ANY_ROW,
)
from .compiling import announce
from .engine import Engine
from .threads import company, on_threads, threads_for

if TYPE_CHECKING:
    from ..model.body import Body


class _Space(NamedTuple):
    """What one thread needs: an engine, its address, and a count of rows taken."""

    address: int
    engine: Engine
    taken: np.ndarray


class BatchOutputs:
    """Computes outputs of rows for one network, whose parameters are read in each call.

    Threads take spaces from a list and return them, so any number of threads may call it.

    Parameters
    ----------
    network : Body
        Built, of parts with kernels. It is not kept, because it may keep this object.
    link : bool
        Whether outputs are what the loss's link makes of the last layer's values.
    """

    def __init__(self, network: Body, link: bool) -> None:
        self._link, self._dtype = link, np.dtype(network.dtype.name)
        announce(self._dtype, holding_gil(outputs_of_rows))
        self._work_per_row = network.params.size + WORK_OF_ANY_ROW
        # Ctrl-C is only handled between calls, so none may be long.
        self.most_rows = FIRST_WORK // self._work_per_row
        self._spare = list[_Space]()
        self._spare.append(self._new_space(network))
        example = np.zeros((1, network.n_features), self._dtype)
        taken = self._spare[0].taken
        self._kernel = exactly(outputs_of_rows, 0, example, example, taken, 0, nogil=True)

    def __call__(self, network: Body, X: np.ndarray, out: np.ndarray) -> bool:
        """Write the outputs of X (n, n_features) to out (n, n_outputs).

        Returns False and does nothing if there are too many rows for one call, or if one of the
        arrays is not contiguous, writeable, of the network's type and of these sizes.
        """
        n_rows = X.shape[0]
        if n_rows > self.most_rows:
            return False
        n_threads = threads_for(n_rows * self._work_per_row)
        if n_threads > 1:
            return self._on_threads(network, X, out, n_threads)
        space = self._take(network)
        space.taken[0] = 0
        done = self._compute(space, X, out, space.taken, PREDICT_BLOCK)
        self._spare.append(space)
        return done

    @property
    def n_bytes(self) -> int:
        """Memory of the spaces that are kept for the next call."""
        return sum(int(space.engine.workspace.memory.size) for space in self._spare)

    def _compute(
        self, space: _Space, X: np.ndarray, out: np.ndarray, taken: np.ndarray, block: int
    ) -> bool:
        """Compute blocks of rows until none is left; False if the kernel refuses the arrays."""
        try:
            done: bool = self._kernel(space.address, X, out, taken, block)
        except REFUSALS:
            return False
        return done

    def _on_threads(self, network: Body, X: np.ndarray, out: np.ndarray, wanted: int) -> bool:
        """As a call; threads take blocks of rows until none is left."""
        rows_each = max(LEAST_PREDICT_BLOCK, -(-X.shape[0] // (wanted * BLOCKS_A_THREAD)))
        block = min(PREDICT_BLOCK, -(-rows_each // TILE_ROWS) * TILE_ROWS)
        n_threads = company.n_threads(min(wanted, -(-X.shape[0] // block)))
        spaces = [self._take(network) for _ in range(n_threads)]
        done, taken = [False] * n_threads, spaces[0].taken
        taken[0] = 0

        def run(thread: int) -> None:
            done[thread] = self._compute(spaces[thread], X, out, taken, block)

        company.note(n_threads, on_threads(run, n_threads, spaces[0].engine.sync))
        self._spare += spaces
        return all(done)

    def _take(self, network: Body) -> _Space:
        try:
            return self._spare.pop()
        except IndexError:
            return self._new_space(network)

    def _new_space(self, network: Body) -> _Space:
        """An engine for a block of rows; the kernel points it at those of each call."""
        table = table_of(np.zeros((1, network.n_features), self._dtype), self._dtype)
        made = Engine(network, table, PREDICT_BLOCK, training=False, link=self._link)
        made.link()
        return _Space(made.job_address, made, np.zeros(1, np.int64))
