"""Training steps of several processes, each with its own blocks of rows and its own parameters.

`sums` adds up the gradients. Each process keeps the optimizer's state of the parameters that it
updates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..engine import layerwise
from ..engine.engine import Engine
from ..engine.job import training_work
from ..engine.lowering import can_compile
from ..engine.threads import choose_threads
from ..errors import InputError
from ..inputs.tables import table_of
from ..inputs.targets import Samples
from ..kernels.compiler.denormals import flush_denormals, restore_denormals
from ..kernels.compiler.memory import address_of, address_or_0
from ..kernels.rules import optimizers as kernels
from ..kernels.rules.losses import total_weight
from ..model.body import Body
from ..model.groups import Group
from ..optim.averaging import Averaging
from ..optim.optimizers import Optimizer, has_rule
from .ranks import Ranks
from .sums import Sums
from .tree import bounds


def check_shareable(
    where: str, ranks: Ranks, network: Body, optimizer: Any, rows_per_step: int
) -> None:
    """Refuse what processes cannot train together."""
    if ranks.own is not None and rows_per_step % ranks.blocks:
        raise InputError(
            where, f"a batch_size that is a multiple of the {ranks.blocks} blocks",
            f"{rows_per_step}", "choose another one, or another number of blocks",
        )  # fmt: skip
    if network.buffers.size:
        raise InputError(
            where, "layers without running statistics for several processes", "BatchNorm",
            "use LayerNorm",
        )  # fmt: skip
    if not has_rule(optimizer):
        raise InputError(
            where, "an optimizer of fastmlp's for several processes", type(optimizer).__name__,
            "choose one, or derive it from Optimizer with a rule",
        )  # fmt: skip


def share(ranks: Ranks, network: Body) -> None:
    """Give all processes the network of the first one."""
    network.seed = ranks.comm.bcast(network.seed)
    ranks.comm.Bcast(network.learned)


class SharedSteps:
    """The steps of one fit.

    Parameters
    ----------
    ranks : Ranks
    network : Body
        Built, and the same in all processes.
    samples : Samples
        Of all processes, or this one's own.
    optimizer : Optimizer
    rows_per_step : int
    n_threads : int or None
        Of this process.

    Attributes
    ----------
    engine : Engine or None
        Computes gradients of a block; None if a part of the network has no kernel.
    """

    def __init__(
        self, ranks: Ranks, network: Body, samples: Samples, optimizer: Optimizer,
        rows_per_step: int, n_threads: int | None,
    ) -> None:  # fmt: skip
        self._ranks, self._network, self._samples = ranks, network, samples
        self._optimizer, self._rows_per_step = optimizer, rows_per_step
        self._weights, self._first_row = samples.weights, 0  # of all rows, and which are here
        if ranks.own is not None:
            self._weights = np.concatenate(ranks.comm.allgather(samples.weights))
            self._first_row = ranks.own.first
        self._sums = Sums(ranks, network.params.size, network.dtype)
        self._groups = _parts_of(network.groups, self._sums.first, self._sums.stop)
        self.engine: Engine | None = None
        if can_compile(network.layers, network.loss):
            rows = bounds(rows_per_step, ranks.blocks)[1]
            if n_threads is None:
                work = training_work(network.work_per_row, rows)
                n_threads = min(choose_threads(None, work), ranks.most_threads)
            self.engine = Engine(network, table_of(samples.X, network.dtype), rows, n_threads)

    def train(
        self, order: np.ndarray, numbers: np.ndarray, state: np.ndarray, first_step: int,
        ends: Callable[[], bool], averaging: Averaging | None,
    ) -> np.ndarray:  # fmt: skip
        """Train on the samples in `order` (n,), one step per batch, until `ends` asks to stop.

        Each process keeps the state of its own parameters only. Returns each step's loss.
        """
        network, n_mine = self._network, self._ranks.mine[1] - self._ranks.mine[0]
        losses, done = np.zeros((len(numbers), n_mine)), 0
        control = flush_denormals()
        try:
            while done < len(numbers) and not (done and self._ranks.any(ends())):
                rows = order[done * self._rows_per_step : (done + 1) * self._rows_per_step]
                row = numbers[done] if averaging is None else numbers[done, :-1]
                of_rule, drops = layerwise.split_numbers(network, row)
                self._gradient(rows, drops, first_step + done, losses[done])
                self._update(of_rule, state)
                if averaging is not None:
                    averaging.move(network, numbers[done, -1])
                done += 1
        finally:
            restore_denormals(control)
        return np.hstack(self._ranks.comm.allgather(losses[:done])).sum(axis=1)

    def _gradient(self, rows: np.ndarray, drops: np.ndarray, step: int, losses: np.ndarray) -> None:
        """This process's part of the gradient of a batch, to grads; losses of its blocks."""
        starts, (first, _) = bounds(len(rows), self._ranks.blocks), self._ranks.mine
        grads, one = self._network.grads, self._network.dtype.type(1)
        rows, total = np.array(rows, np.int32), float(len(rows))
        if self._weights.size:
            dtype, n = self._weights.dtype, self._weights.size
            place = address_or_0(self._weights, "sample weights", dtype, n)
            total = float(total_weight(rows, place, one))
        rows -= self._first_row

        def of_block(block: int) -> np.ndarray:
            part = slice(starts[block], starts[block + 1])
            if part.start == part.stop:  # of a last batch that is short
                grads[...] = 0
            else:
                losses[block - first] = self._of_rows(rows[part], total, drops, step, part.start)
            return grads

        grads[self._sums.first : self._sums.stop] = self._sums.add_up(of_block)

    def _of_rows(
        self, rows: np.ndarray, total: float, drops: np.ndarray, step: int, first_row: int
    ) -> float:
        network, (X, encoded, weights) = self._network, self._samples
        if self.engine is not None:
            return self.engine.gradient(rows, encoded, weights, total, step, drops, first_row)
        layerwise.begin_step(network, drops, step, first_row)
        return layerwise.gradient_of_part(
            network, X[rows], encoded.rows(rows, network.n_outputs),
            weights[rows] if weights.size else weights, total, first_row == 0,
        )  # fmt: skip

    def _update(self, numbers: np.ndarray, state: np.ndarray) -> None:
        """Update this process's parameters, and receive those of the others."""
        network = self._network
        if self._optimizer.clip_norm is not None:
            self._clip(float(self._optimizer.clip_norm))
        self._optimizer.update_groups(numbers, self._groups, network.params, network.grads, state)
        self._sums.gather(network.params)
        layerwise.limit_norms(network)

    def _clip(self, limit: float) -> None:
        """Limit the norm of the whole gradient, from the norms of its blocks in their order."""
        grads, (first, stop), starts = self._network.grads, self._ranks.mine, self._sums.starts
        address = address_of(grads, "grads", grads.dtype, grads.size, written=True)
        one = grads.dtype.type(1)
        lengths = [
            kernels.norm_at(end - begin, address + begin * grads.itemsize, one)
            for begin, end in zip(starts[first:stop], starts[first + 1 : stop + 1], strict=True)
        ]
        every = np.concatenate(self._ranks.comm.allgather(np.array(lengths)))
        scale = kernels.factor_for(float(np.sqrt(np.sum(every**2))), limit)
        if scale != 1:
            begin, end = self._sums.first, self._sums.stop
            kernels.rescale(end - begin, address + begin * grads.itemsize, scale, one)

    def gather_state(self, state: np.ndarray) -> None:
        """Give every process the whole state of the optimizer.

        Parameters
        ----------
        state : ndarray of shape (n_vectors * n_params,)
        """
        for vector in state.reshape(-1, self._network.params.size):
            self._sums.gather(vector)


def _parts_of(groups: Sequence[Group], first: int, stop: int) -> list[Group]:
    """What is of each group in a range of the parameters."""
    found = list[Group]()
    for group in groups:
        start, end = max(group.start, first), min(group.start + group.size, stop)
        start = min(start, stop)
        found.append(group._replace(start=start, size=max(0, end - start)))
    return found
