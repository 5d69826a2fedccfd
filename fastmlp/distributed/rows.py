"""Rows that only one process has: their positions in the whole table, and the batches they are in.

Every block of a batch takes its rows from its own part of the samples, so the batches are the same
for any number of processes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..kernels.rules import random


class OwnRows(NamedTuple):
    """Where a process's rows are among those of all.

    Attributes
    ----------
    n_rows : int
        Of all processes.
    first : int
        The number of this process's first row.
    starts : list of int
        Where the part of each block begins, and the end.
    labels : ndarray or None
        The labels of all processes, each once, if they are classes.
    """

    n_rows: int
    first: int
    starts: list[int]
    labels: np.ndarray | None

    def order(self, rows_per_step: int, seed: int | None, epoch: int) -> np.ndarray:
        """Numbers of all rows in the order of an epoch.

        Parameters
        ----------
        rows_per_step : int
            A multiple of the number of blocks.
        seed : int or None
            None means that rows are not shuffled.
        epoch : int

        Returns
        -------
        ndarray of shape (n_rows,) int32
        """
        n_blocks = len(self.starts) - 1
        each, parts = rows_per_step // n_blocks, list[np.ndarray]()
        for block in range(n_blocks):
            part = np.arange(*self.starts[block : block + 2], dtype=np.int32)
            if seed is not None:
                random.shuffle(part, seed, epoch * n_blocks + block)
            parts.append(part)
        n_steps = -(-len(parts[0]) // each)
        pieces = [
            part[step * each : (step + 1) * each] for step in range(n_steps) for part in parts
        ]
        return np.concatenate(pieces)


def rows_and_labels(y: Any, task: str) -> tuple[int, np.ndarray | None]:
    """How many rows a process has, and their labels, each once; None if targets are not labels."""
    values = np.asarray(y)
    has_labels = task in ("classes", "binary") and values.ndim == 1
    return len(values.reshape(-1, *values.shape[1:])), np.unique(values) if has_labels else None
