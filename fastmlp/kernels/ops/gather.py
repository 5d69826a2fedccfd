"""Rows that tiles cannot read in place are converted to the network's type, a batch at a time."""

from __future__ import annotations

from typing import Any

from .. import interfaces, rows, sparse
from ..calls import Kernel


def _gather_with(convert: Any, name: str) -> Kernel:
    def gather(turn, first, last, left, right, one):
        samples, out = turn.samples, turn.space["inputs"]
        convert(
            samples["x"], samples["row_stride"], samples["column_stride"], turn.order, first, last,
            left, right, samples["n_features"], samples["scale"], out, one,
        )  # fmt: skip

    return interfaces.GATHER.kernel(gather, name)


BY_KIND = {kind: _gather_with(rows.GATHERS[kind], f"gather_{kind}") for kind in rows.GATHERS}


@interfaces.GATHER.kernel
def gather_sparse(turn, first, last, left, right, one):
    """Sparse rows become dense, all of their columns."""
    samples = turn.samples
    sparse.gather_sparse(
        samples["x"], samples["x_indices"], samples["x_indptr"], turn.order, first, last,
        samples["n_features"], samples["scale"], turn.space["inputs"], one,
    )  # fmt: skip


BY_KIND[rows.SPARSE] = gather_sparse
