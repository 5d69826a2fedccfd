"""Sums of gradients over processes, and the parameters that each of them updates and sends back.

Each process adds up the gradients of its own blocks. It sends every other process the part of the
sum for the parameters which that process updates, and adds the parts that it receives itself in the
order of the tree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import require
from .ranks import Ranks
from .tree import Node, bounds, fold, halves, nodes_within


class Sums:
    """Memory for the sums of some vectors of n numbers.

    Parameters
    ----------
    ranks : Ranks
    n : int
    dtype : numpy dtype

    Attributes
    ----------
    first, stop : int
        The part that belongs to this process.
    """

    def __init__(self, ranks: Ranks, n: int, dtype: np.dtype) -> None:
        self._ranks, self._all = ranks, (0, ranks.blocks)
        self.starts = bounds(n, ranks.blocks)
        self._parts = [self._part(ranks.blocks_of(rank)) for rank in range(ranks.size)]
        self.first, self.stop = self._parts[ranks.rank]
        self._nodes = [nodes_within(ranks.blocks_of(rank), self._all) for rank in range(ranks.size)]
        own = self._nodes[ranks.rank]
        depth = max(1, (ranks.blocks - 1).bit_length())
        self._held = [np.empty(n, dtype) for _ in range(depth)]
        # Where a process has several nodes, all are there before they are added.
        self._sent = [np.empty(n, dtype) for _ in own[1:]]
        self._received = {
            node: np.empty(self.stop - self.first, dtype)
            for rank, nodes in enumerate(self._nodes) if rank != ranks.rank
            for node in nodes
        }  # fmt: skip

    def _part(self, blocks: Node) -> Node:
        return self.starts[blocks[0]], self.starts[blocks[1]]

    def add_up(self, gradient_of: Callable[[int], np.ndarray]) -> np.ndarray:
        """This process's part of the sum over all blocks.

        Parameters
        ----------
        gradient_of : callable
            Computes the gradient of a block, in memory that the next one may overwrite.

        Returns
        -------
        ndarray of shape (stop - first,)
            The caller may change it until the next call.
        """
        ranks, me = self._ranks, self._ranks.rank
        requests = [
            ranks.comm.Irecv(self._received[node], rank, node[0])
            for rank, nodes in enumerate(self._nodes) if rank != me
            for node in nodes
        ]  # fmt: skip
        known = dict(self._received)
        for node, kept in zip(self._nodes[me], [*self._sent, None], strict=True):
            total = self._summed(node, gradient_of, 0)
            if kept is not None:
                kept[...] = total
                total = kept
            requests += self._send(total, node)
            known[node] = total[self.first : self.stop]
        if requests:
            require("mpi4py.MPI", "Ranks").Request.Waitall(requests)
        return fold(self._all, known.get, _added)

    def _send(self, total: np.ndarray, node: Node) -> list[Any]:
        """Send every other process its part of a sum."""
        ranks = self._ranks
        return [
            ranks.comm.Isend(total[first:stop], rank, node[0])
            for rank, (first, stop) in enumerate(self._parts) if rank != ranks.rank
        ]  # fmt: skip

    def _summed(self, node: Node, gradient_of: Callable[[int], np.ndarray], depth: int) -> Any:
        """The sum of this process's own blocks; each depth of the tree has memory of its own."""
        if node[1] - node[0] == 1:
            return gradient_of(node[0])
        (left, right), held = halves(node), self._held[depth]
        found = self._summed(left, gradient_of, depth)
        if found is not held:
            held[...] = found
        held += self._summed(right, gradient_of, depth + 1)
        return held

    def gather(self, values: np.ndarray) -> None:
        """Give every process the parts of all.

        Parameters
        ----------
        values : ndarray of shape (n,)
            Of which this process has its part, and gets the others.
        """
        if self._ranks.size > 1:
            MPI = require("mpi4py.MPI", "Ranks")
            counts = [stop - first for first, stop in self._parts]
            places = [first for first, _ in self._parts]
            self._ranks.comm.Allgatherv(MPI.IN_PLACE, [values, (counts, places)])


def _added(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    left += right
    return left
