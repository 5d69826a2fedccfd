"""Outputs of rows by compiled code: threads take blocks of rows until none is left.

Each thread has its own engine, which is kept for the next call.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from ..inputs.tables import Table, table_of
from ..kernels.compiler.memory import address_of
from ..kernels.step.outputs import outputs_of_table
from ..kernels.step.rows import SPARSE
from ..kernels.tuning import FIRST_WORK, PREDICT_BLOCK, SPARE_BYTES
from ..nn.losses import CompiledLoss
from .batch_outputs import BatchOutputs
from .compiling import announce
from .engine import Engine
from .lowering import can_compile, settings_of
from .spares import give_back, of_kind, take
from .threads import in_pieces, on_threads, threads_for

if TYPE_CHECKING:
    from ..model.body import Body


def outputs(network: Body, X: Any, link: bool) -> np.ndarray:
    """Outputs (n_rows, n_outputs) of a built network, after the loss's link if wanted.

    Threads take blocks of rows; each has its own engine.
    """
    announce(network.dtype, outputs_of_table)
    table, n = table_of(X, network.dtype), X.shape[0]
    n_outputs, work_per_row = network.width_of_outputs(link), network.work_per_row
    n_threads = min(threads_for(n * work_per_row), -(-n // PREDICT_BLOCK))
    out, taken = np.empty((n, n_outputs), network.dtype), np.zeros(1, np.int64)
    engines = [_engine(network, table, link) for _ in range(n_threads)]
    out_at = address_of(out, "outputs", network.dtype, n * n_outputs, written=True)
    taken_at = address_of(taken, "rows taken", np.int64, 1, written=True)

    # held: memory that threads write to, kept alive as long as one of them may still run.
    def run(thread: int, stop: int, held: Any = (out, taken)) -> None:
        job, one = engines[thread].job_address, engines[thread].one
        outputs_of_table(job, stop, taken_at, out_at, one)

    blocks = -(-n // PREDICT_BLOCK)
    first = FIRST_WORK // (PREDICT_BLOCK * max(1, work_per_row))
    for start, stop in in_pieces(blocks, first):
        taken[0] = start * PREDICT_BLOCK
        end = min(n, stop * PREDICT_BLOCK)
        on_threads(functools.partial(run, stop=end), n_threads, engines[0].sync)
    give_back(network.spare_engines, engines)
    return out


def outputs_in_place(network: Body, X: Any, link: bool) -> np.ndarray | None:
    """Outputs of rows that kernels can read where they are, if they are not very many.

    None if that is not so, or if not every part of the network has a kernel.
    """
    if type(X) is not np.ndarray or X.dtype != network.dtype or not X.flags.carray:
        return None
    # The settings hold the kernels, so that what was made before still has all of them.
    spare = of_kind(
        network.spare_engines, ("in place", link, id(network.loss), settings_of(network.layers))
    )
    if not spare and not can_compile(network.layers, network.loss):
        return None
    compute = spare.pop() if spare else BatchOutputs(network, link)
    out = np.empty((X.shape[0], network.width_of_outputs(link)), network.dtype)
    done = compute(network, X, out)
    if compute.n_bytes <= SPARE_BYTES:
        spare.append(compute)
    return out if done else None


def _engine(network: Body, table: Table, link: bool) -> Engine:
    """A spare engine, or a new one with its kernels loaded."""
    block = min(PREDICT_BLOCK, 1 << (table.n_rows - 1).bit_length())
    assert isinstance(network.loss, CompiledLoss)
    link_kernel = network.loss.link_kernel if link else None
    in_place, is_sparse = table.usable_as(network.dtype), table.kind == SPARSE
    of_loss = link, link_kernel, network.loss.n_members
    key = block, in_place, is_sparse, of_loss, settings_of(network.layers)

    def new() -> Engine:
        engine = Engine(network, table, block, training=False, link=link)
        engine.link()
        return engine

    return take(network.spare_engines, key, table, new)
