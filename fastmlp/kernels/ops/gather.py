"""Converts rows that tiles cannot read in place to the network's type, one batch at a time.

There is one kernel per number type, and one for sparse rows.
"""

from __future__ import annotations

from typing import Any

from .. import interfaces
from ..compiler.calls import Kernel
from ..products import sparse
from ..step import rows
from ..views import Block, Csr, Rows, Strided


def _gather_with(convert: Any, name: str) -> Kernel:
    def gather(turn, first, last, left, right, one):
        samples, block = turn.samples, Block(first, last, left, right)
        table = Strided(samples["x"], samples["row_stride"], samples["column_stride"])
        n_columns, scale = samples["n_features"], samples["scale"]
        convert(table, turn.order, block, n_columns, scale, turn.space["inputs"], one)

    return interfaces.GATHER.kernel(gather, name)


BY_KIND = {kind: _gather_with(rows.GATHERS[kind], f"gather_{kind}") for kind in rows.GATHERS}


@interfaces.GATHER.kernel
def gather_sparse(turn, first, last, left, right, one):
    """Convert sparse rows to dense rows with all columns."""
    samples = turn.samples
    csr = Csr(samples["x"], samples["x_indices"], samples["x_indptr"])
    n_columns, scale = samples["n_features"], samples["scale"]
    batch = Rows(turn.order, first, last)
    sparse.gather_sparse(csr, batch, n_columns, scale, turn.space["inputs"], one)


BY_KIND[rows.SPARSE] = gather_sparse
