"""The loss of all samples and its gradient as a function of the parameters: what L-BFGS minimises.

Samples come in blocks, so that work spaces stay small; threads take one block each, and their
gradients are added in the order of the blocks, whatever the number of threads.
"""

from __future__ import annotations

import numpy as np

from ..engine.engine import Engine
from ..engine.job import Convention, training_work
from ..engine.threads import choose_threads, on_threads
from ..inputs.tables import table_of
from ..inputs.targets import Samples
from ..kernels.compiler.memory import address_of
from ..model.body import Body

_BLOCK = 1024


class Objective:
    """Mean loss over samples, penalties included and dropout off.

    Parameters
    ----------
    network : Network
        Built, of built-in layers and a built-in loss; its parameters are those of the last call.
    samples : Samples
    convention : Convention, optional
        How loss and penalties are combined.
    n_threads : int, optional
        By default as many as are worthwhile for the work of a block.
    """

    def __init__(
        self,
        network: Body,
        samples: Samples,
        convention: Convention | None = None,
        n_threads: int | None = None,
    ) -> None:
        self.network, self.samples = network, samples
        n, weights = samples.X.shape[0], samples.weights
        self.total = float(weights.sum(dtype=np.float64)) if weights.size else float(n)
        starts = range(0, n, _BLOCK)
        self.blocks = [np.arange(i, min(i + _BLOCK, n), dtype=np.int32) for i in starts]
        block = self.blocks[0].size
        n_threads = choose_threads(n_threads, training_work(network.work_per_row, block))
        table = table_of(samples.X, network.dtype)
        self.engines = [
            Engine(network, table, block, convention=convention, as_trained=False)
            for _ in range(min(n_threads, len(self.blocks)))
        ]
        self.grads = [np.zeros_like(network.params) for _ in self.engines]
        for engine, grads in zip(self.engines, self.grads, strict=True):
            engine.model["grads"] = address_of(
                grads, "grads", network.dtype, network.params.size, written=True
            )

    def __call__(self, params: np.ndarray | None = None) -> tuple[float, np.ndarray]:
        """Loss and gradient (n_params,) float64, at `params` or where the network is."""
        if params is not None:
            self.network.params[...] = params
        loss, gradient = 0.0, np.zeros(self.network.params.size)
        n_engines = len(self.engines)
        for start in range(0, len(self.blocks), n_engines):
            blocks = self.blocks[start : start + n_engines]
            for part, grads in zip(self._losses(blocks, start == 0), self.grads, strict=False):
                loss += part
                gradient += grads
        return loss, gradient

    def _losses(self, blocks: list[np.ndarray], is_first: bool) -> list[float]:
        """Each block's part of the loss; their gradients are in `self.grads` then."""
        found = [0.0] * len(blocks)

        def run(thread: int) -> None:
            engine = self.engines[thread]
            penalised = is_first and thread == 0  # once is enough
            engine.penalise(penalised)
            found[thread] = engine.gradient(
                blocks[thread], self.samples.encoded, self.samples.weights, self.total
            )

        on_threads(run, len(blocks), self.engines[0].sync)
        return found
