"""Engines kept for the next call, because setting one up takes longer than many calls.

Each is kept under a key with everything that it depends on and that may change between calls. A
network keeps its own; `fit_many` has some that serve any network of the same structure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..inputs.tables import Table
from ..kernels.step.rows import SPARSE
from ..kernels.tuning import SPARE_BYTES, SPARE_KINDS
from ..nn.losses import CompiledLoss, likeness_of
from ..optim.optimizers import Optimizer
from .engine import Engine
from .job import Convention, may_share, training_work
from .lowering import settings_of, structure_of
from .threads import n_cores

if TYPE_CHECKING:
    from ..model.body import Body


Spares = dict[tuple[Any, ...], list[Any]]


def training_engine(
    network: Body,
    table: Table,
    batch_size: int,
    n_threads: int | None,
    optimizer: Optimizer,
    convention: Convention | None = None,
    steps_per_call: int = 1,
    accumulate: int = 1,
    averaged: np.ndarray | None = None,
    is_kept: bool = True,
    shared: Spares | None = None,
) -> Engine:
    """An engine for a fit, to be given back afterwards; `Engine` explains the parameters.

    is_kept: whether `give_back` keeps it; if not, the key need not be computed. shared: engines for
    networks of any structure, used instead of the network's own.
    """

    def new() -> Engine:
        return Engine(
            network, table, batch_size, n_threads, optimizer, convention=convention,
            steps_per_call=steps_per_call, accumulate=accumulate, averaged=averaged,
        )  # fmt: skip

    # A work space for sparse rows depends on the longest of them, and an average is the caller's.
    if not is_kept or table.kind == SPARSE or averaged is not None:
        return new()
    loss, groups = network.loss, network.groups
    assert isinstance(loss, CompiledLoss)
    work = training_work(network.work_per_row, batch_size) * accumulate
    threads: tuple[int, ...] = (n_threads,) if n_threads else ()
    if n_threads is None and may_share(work, work * steps_per_call):
        threads = n_cores(), steps_per_call
    of_loss = likeness_of(loss, network.dtype)
    of_optimizer = (
        optimizer.kernel_of_step, optimizer.clip_norm, optimizer.n_columns(groups),
        tuple(optimizer.group_factors(groups)),
    )  # fmt: skip
    of_network = network.l1, network.l2, settings_of(network.layers)
    in_place = table.usable_as(network.dtype)
    key: tuple[Any, ...] = batch_size, accumulate, threads, in_place, convention
    key += of_loss, of_optimizer, of_network
    if shared is not None:
        key += table.n_columns, network.dtype, structure_of(network.layers)
        engine = take(shared, key, table, new)
        engine.serve(network)
        return engine
    # An engine keeps its loss, so that no other has the same id.
    return take(network.spare_engines, (*key, id(loss), network.seed), table, new)


def of_kind(spare: Spares, key: tuple[Any, ...]) -> list[Any]:
    """The spare engines of a kind, to take from and to give back to."""
    found = spare.get(key)
    if found is not None:
        return found
    if len(spare) > SPARE_KINDS:
        spare.clear()
    return spare.setdefault(key, [])


def take(spares: Spares, key: tuple[Any, ...], table: Table, new: Callable[[], Engine]) -> Engine:
    """A spare engine, set to read from a table, or a new one."""
    spare = of_kind(spares, key)
    try:
        engine: Engine = spare.pop()
    except LookupError:
        engine = new()
        engine.key = key
    else:
        engine.read_from(table)
    return engine


def give_back(spares: Spares, engines: Iterable[Engine], most_bytes: int | None = None) -> None:
    """Keep engines for the next call that needs the same kind, unless they are large."""
    most_bytes = SPARE_BYTES if most_bytes is None else most_bytes
    for engine in engines:
        if engine.key and engine.is_reusable and engine.workspace.memory.size <= most_bytes:
            engine.let_go()
            spares.setdefault(engine.key, []).append(engine)
