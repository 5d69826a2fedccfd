"""Fits of networks of one shape side by side, each in its lane of every vector.

Their parameters are brought into lanes at the start and back at the end. Each network ends with the
bits of a fit alone.
"""

from __future__ import annotations

import numpy as np

from ..inputs.targets import Samples
from ..kernels import plan
from ..kernels.compiler.jit import VECTOR_BYTES
from ..kernels.compiler.memory import address_of, aligned_zeros, index_address
from ..kernels.step import lockstep
from ..kernels.tuning import LANE_BYTES, LANES_AT_ONCE_BYTES, MOST_LANES_ROWS
from ..model.body import Body
from ..optim.optimizers import Optimizer
from .engine import Engine
from .fits import CompiledFit


def n_lanes(dtype: np.dtype) -> int:
    """Networks side by side."""
    return LANE_BYTES // dtype.itemsize


def rows_at_once(network: Body, batch_size: int) -> int:
    """Rows of a batch that go through all layers at a time."""
    widths = [layer.n_out or 0 for layer in network.layers]
    line = (network.n_features + 2 * sum(widths)) * LANE_BYTES
    return max(1, min(batch_size, MOST_LANES_ROWS, LANES_AT_ONCE_BYTES // line))


class LockstepFit(CompiledFit):
    """All steps of the fits of several networks.

    Parameters
    ----------
    engine : Engine
        Of the first network, one thread, for `rows_at_once` rows of every lane.
    networks : list of Body
        At most as many as there are lanes.
    samples : Samples
        The targets of all of them.
    rows : list of ndarray of shape (n_rows,) int32
        The numbers of each network's samples, as a fit without shuffling visits them.
    shuffles : bool
    optimizer : Optimizer
    numbers : ndarray of shape (n_steps, n_numbers)
        Hyperparameters of all steps.
    batch_size, n_epochs : int

    Attributes
    ----------
    losses : ndarray of shape (n_steps, n_lanes)
        The loss of each step that was run, by network.
    """

    def __init__(
        self, engine: Engine, networks: list[Body], samples: Samples,
        rows: list[np.ndarray], shuffles: bool, optimizer: Optimizer, numbers: np.ndarray,
        batch_size: int, n_epochs: int,
    ) -> None:  # fmt: skip
        n_steps, dtype, n = len(numbers), engine.dtype, n_lanes(engine.dtype)
        engine.rows_per_step = engine.call["rows_per_step"] = batch_size
        n_params = networks[0].params.size
        state = optimizer.initial_state(n_params, dtype)
        # Spare lanes do what the first one does.
        spare = n - len(networks)
        filled = [*networks, *spare * networks[:1]]
        self._rows = np.array([*rows, *spare * rows[:1]], np.int32)
        self._orders = self._rows.copy()
        engine.begin(
            self._orders[0], samples.encoded, samples.weights, state, numbers, np.empty(n_steps),
            n_epochs,
        )  # fmt: skip
        super().__init__(engine, lockstep.go_on, n_steps, shuffles)
        self._networks, self._numbers = networks, numbers
        self._at_once = engine.batch_size // n
        self.losses = np.zeros((n_steps, n))
        self._params, self._grads = (self._lines(n_params) for _ in range(2))
        self._states = self._lines(state.size)
        self._states[...] = state[:, np.newaxis]
        self._params[...] = np.stack([one.params for one in filled], axis=1)
        self._seeds = np.array([one.seed for one in filled], np.uint64).view(np.int64)
        self._describe(batch_size)
        self._set_piece(n * engine.work_per_step // engine.batch_size * batch_size)

    def _lines(self, count: int) -> np.ndarray:
        n, dtype = n_lanes(self._engine.dtype), self._engine.dtype
        return aligned_zeros(count * n, dtype).reshape(count, n)

    def _describe(self, batch_size: int) -> None:
        """Write the record, and keep the memory that it points at."""
        engine, at_once, dtype = self._engine, self._at_once, self._engine.dtype
        n, n_outputs = n_lanes(dtype), engine.n_outputs
        self._x = self._lines(at_once * int(engine.samples["n_features"]))
        self._scratch = self._lines(VECTOR_BYTES // dtype.itemsize)
        self._outputs, self._slopes = (self._lines(at_once * n_outputs) for _ in range(2))
        self._samples = np.zeros(at_once * n, np.int32)
        self._lockstep = np.zeros(1, plan.LOCKSTEP)
        record, n_rows = self._lockstep[0], engine.table.n_rows
        record["per_step"], record["at_once"] = batch_size, at_once
        for field in ("rows", "orders"):
            numbers = getattr(self, f"_{field}").reshape(-1)
            record[field] = index_address(numbers, field, numbers.size, n_rows)
        for field in (
            "seeds", "params", "grads", "states", "x", "samples", "outputs", "slopes", "scratch",
        ):  # fmt: skip
            memory = getattr(self, f"_{field}").reshape(-1)
            record[field] = address_of(memory, field, memory.dtype, memory.size, written=True)
        losses = self.losses.reshape(-1)
        record["losses"] = address_of(losses, "losses", np.float64, losses.size, written=True)
        self._record["lockstep"] = address_of(self._lockstep, "lockstep", plan.LOCKSTEP, 1)

    @property
    def n_bytes(self) -> int:
        """Memory for its steps alone."""
        arrays = (
            self._rows, self._orders, self.losses, self._numbers, self._params, self._grads,
            self._states, self._x, self._engine.workspace.memory,
        )  # fmt: skip
        return sum(array.nbytes for array in arrays)

    def bring_back(self) -> Engine:
        """Give the networks what they have learned, and the gradient of the last step.

        To be called once no thread works on it; returns the engine.
        """
        for lane, network in enumerate(self._networks):
            network.params[...] = self._params[:, lane]
            if self.steps_done:
                network.grads[...] = self._grads[:, lane]
        engine = self._engine
        engine.rows_per_step = engine.call["rows_per_step"] = engine.batch_size
        return engine
