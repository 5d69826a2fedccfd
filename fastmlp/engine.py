"""The compiled path: a network's layers folded into stages, its work space, and its threads.

Dense, activation and dropout in a row become one stage; a layer, loss or optimizer that has no
kernel makes `can_compile` false, and the layer-by-layer path takes over.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .errors import InputError, counted
from .kernels import plan, shares, step
from .kernels.activations import RESCALING
from .kernels.cache import cache_folder, is_compiled
from .kernels.jit import JIT_ENABLED, compile_for
from .kernels.losses import LINK_IDENTITY
from .kernels.matmul import is_wide
from .kernels.memory import (
    CACHE_LINE,
    address_of,
    address_or_0,
    aligned_zeros,
    index_address,
)
from .kernels.optimizers import N_HYPERPARAMETERS
from .kernels.rows import SPARSE
from .kernels.sums import n_parts
from .kernels.threads import ABORTED, SPACING, sync_size
from .kernels.tiles import TILE_ROWS, tile_width
from .layers import LAYERS, Activation, Dense, Dropout, Layer
from .losses import LOSSES, BuiltInLoss, Loss, target_addresses
from .optimizers import OPTIMIZERS, SGD, Group, Optimizer
from .tables import Table, table_of
from .targets import Encoded

if TYPE_CHECKING:
    from .body import Body

# Numbers that are multiplied in a step before a second thread pays for its two meetings; the second
# where only sums change cores, if a call has enough steps to pay for starting the thread.
_WORK_A_THREAD = 1_000_000
_WORK_TO_SHARE_UNITS, _WORK_TO_START = 400_000, 50_000_000
MOST_THREADS = 1024
_PREDICT_BLOCK = 128
# How long a call of compiled code should last; multiplications of the first, whose speed nobody
# knows yet, and what a step takes beside its multiplications.
_PIECE_SECONDS, _FIRST_WORK, _WORK_OF_ANY_STEP = 0.05, 500_000_000, 100_000
_MOST_SPARE = 8  # kinds of work space kept for the next prediction
_THREAD_LIMITS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
_LOG = logging.getLogger("fastmlp")
_ANNOUNCED: set[np.dtype] = set()  # types of numbers for which a fit said that it compiles
PREDICTIONS_WAIT = "10 to 15"  # seconds for the compiler, where no fit came before


def must_compile(dtype: np.dtype, kernel: Any = step.train_steps) -> bool:
    """Whether the first call of a kernel in this type, by default a fit, waits for the compiler."""
    return JIT_ENABLED and not is_compiled(kernel, dtype)


@functools.cache
def announce_compilation(
    dtype: np.dtype, kernel: Any = step.train_steps, wait: str = "20 to 30"
) -> None:
    """Say, once, why the first fit or prediction of a machine takes so long.

    A prediction says nothing after a fit that did: it then takes only some seconds more.
    """
    if not must_compile(dtype, kernel) or dtype in _ANNOUNCED:
        return
    if kernel is step.train_steps:
        _ANNOUNCED.add(dtype)
    how_often = "once on this machine"
    if cache_folder() is None:
        how_often = "in every process, as no cache folder is writable: set NUMBA_CACHE_DIR"
    _LOG.warning(
        "compiling kernels for %s, %s: about %s seconds, longer beside other work "
        "(`fastmlp warmup` does it ahead)",
        dtype.name,
        how_often,
        wait,
    )


@functools.cache
def compile_step(dtype: np.dtype) -> None:
    """Compile the step for a type, or load it, unless it is there already."""
    announce_compilation(dtype)
    compile_for(step.train_steps, 0, 0, dtype.type(1))


def can_compile(layers: Sequence[Layer], loss: Loss, optimizer: object = None) -> bool:
    """Whether everything has a kernel: exactly the built-in classes, none derived from them."""
    return (
        all(type(layer) in LAYERS for layer in layers)
        and type(loss) in LOSSES
        and (optimizer is None or type(optimizer) in tuple(OPTIMIZERS))
    )


def fold(layers: Sequence[Layer]) -> list[list[Layer]]:
    """Layers grouped into stages, each [Dense] [activation] [Dropout] with any part left out."""
    stages: list[list[Layer]] = []
    last = 2
    for layer in layers:
        place = 0 if isinstance(layer, Dense) else 1 if isinstance(layer, Activation) else 2
        if place <= last or not stages:
            stages.append([])
        stages[-1].append(layer)
        last = place
    return stages


def _whole_lines(n_bytes: int) -> int:
    """Bytes rounded up to whole cache lines."""
    return -(-n_bytes // CACHE_LINE) * CACHE_LINE


def _core_function() -> Callable[[], int]:
    """The C library's function for the number of the core that runs it; -1 where there is none."""
    try:
        return ctypes.CDLL(None).sched_getcpu
    except (AttributeError, OSError, TypeError):  # macOS, and what Windows raises for None
        return lambda: -1


current_core = _core_function()


def n_cores() -> int:
    """Threads to use unless told otherwise: the cores of this process, or what its parent allows.

    Pools of processes bound their workers by these variables; a thread that is not the main one is
    taken for a worker, too, beside which others compute.
    """
    if threading.current_thread() is not threading.main_thread():
        return 1
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    limits = [os.environ.get(name, "") for name in _THREAD_LIMITS]
    return min([cores, *(max(1, int(limit)) for limit in limits if limit.isdecimal())])


def choose_threads(requested: int | None, work: int) -> int:
    """Threads for so many multiplications a step, at most as many as were asked for."""
    if not JIT_ENABLED:
        return 1
    useful = max(1, work // _WORK_A_THREAD)
    return min(useful, n_cores()) if requested is None else requested


def training_work(network: Body, batch_size: int) -> int:
    """Multiplications of a step of training: forward, and backward for inputs and for weights."""
    return 3 * batch_size * int(network.params.size)


def never() -> bool:
    """What asks for no early end."""
    return False


def in_pieces(total: int, first: int) -> Iterator[tuple[int, int]]:
    """Ranges that cover 0 to `total`, each as much as takes about a twentieth of a second.

    Python hears Ctrl-C between calls of compiled code only, so none may be long. `first` is how
    much the first range holds; what the caller needs for one decides how much the next holds.
    """
    start, size = 0, max(1, first)
    while start < total:
        stop = min(total, start + size)
        started = time.perf_counter()
        yield start, stop
        seconds = max(time.perf_counter() - started, 1e-6)
        size = max(1, round((stop - start) * min(8.0, _PIECE_SECONDS / seconds)))
        start = stop


class Convention(NamedTuple):
    """How the loss and the penalties of a batch add up to what is minimised.

    Attributes
    ----------
    loss_scale : float
        Factor of the loss: the number of outputs turns their mean into their sum.
    shares_penalty : bool
        Whether penalties are divided by the batch's weight, as in scikit-learn.
    """

    loss_scale: float = 1.0
    shares_penalty: bool = False


class Patience(NamedTuple):
    """When to end before all epochs are over.

    Attributes
    ----------
    patience : int
        How many epochs in a row may bring no better loss; -1 stands for any number.
    tolerance : float
        By how much a better loss is less.
    best_loss : float
        The least so far.
    n_stale : int
        Epochs in a row without a better one so far.
    """

    patience: int
    tolerance: float = 0.0
    best_loss: float = np.inf
    n_stale: int = 0


ENDLESS = Patience(-1)


class Engine:
    """Trains one network on one table of samples, up to `batch_size` rows at a time.

    Parameters
    ----------
    network : Network
        Built; its layers and loss all have kernels.
    table : Table
        The samples.
    batch_size : int
    n_threads : int, optional
        None stands for as many as pay.
    optimizer : Optimizer, optional
        Needed to train; without one there are only gradients and outputs.
    training : bool
        Whether there will be a backward pass, for which every stage keeps its slopes.
    convention : Convention, optional
        How losses and penalties of a batch add up; by default as `Network` documents.
    steps_a_call : int, default 1
        How many steps a call of `train` will have, for all of which threads start once.
    """

    def __init__(
        self,
        network: Body,
        table: Table,
        batch_size: int,
        n_threads: int | None = 1,
        optimizer: Optimizer | None = None,
        training: bool = True,
        convention: Convention | None = None,
        steps_a_call: int = 1,
    ) -> None:
        # Not the network itself, which keeps engines: they would only be freed by the collector.
        self.dtype, self.memory = network.dtype, (network.params, network.grads)
        self.job, self.one = np.zeros(1, plan.JOB), network.dtype.type(1)
        self.job["updates"] = optimizer is not None
        optimizer = optimizer or SGD()
        self.scale, self.stages = _without_rescaling(_stages(network, optimizer))
        self._fill_job(network, optimizer, batch_size, training)
        self.job["loss_scale"], self.job["shares_penalty"] = convention or Convention()
        self.table, work = table, training_work(network, batch_size)
        self.work_per_step = work
        self.n_threads = self._choose_threads(n_threads, work, work * steps_a_call)
        self.job["n_threads"] = self.n_threads
        self.job["by_columns"] = self.n_threads > 1 and self._is_wide()
        self.read_from(table)
        self._allocate(batch_size, training)

    def _choose_threads(self, requested: int | None, work_a_step: int, work_a_call: int) -> int:
        """As many as were asked for, or as pay."""
        if requested == 1:
            return 1
        if requested is None and self._shared_stage(2) == 1:
            pays = work_a_step >= _WORK_TO_SHARE_UNITS and work_a_call >= _WORK_TO_START
            work_a_step = max(work_a_step, 2 * _WORK_A_THREAD * pays)
        return choose_threads(requested, work_a_step)

    def _is_wide(self) -> bool:
        return bool(is_wide(int(self.stages["n_out"].max()), self.one))

    def _shared_stage(self, n_threads: int) -> int:
        """The stage whose inputs threads share out: the first, or the second if inputs are few."""
        job, stages = self.job[0], self.stages
        if n_threads == 1 or self._is_wide() or self.table.kind == SPARSE:
            return -1
        needs_whole = job["clip_norm"] > 0 or job["limits_columns"] or stages[0]["dropout"] > 0
        for s, stage in enumerate(stages[: 1 if needs_whole else 2]):
            if not stage["dense"]:
                break
            if int(n_parts(int(stage["n_in"]), int(stage["n_out"]))) % n_threads == 0:
                return s
        return -1

    def _fill_job(
        self, network: Body, optimizer: Optimizer, batch_size: int, training: bool
    ) -> None:
        job, loss = self.job[0], network.loss
        assert isinstance(loss, BuiltInLoss)
        self.levels = loss.levels_as(network.dtype)
        levels, n, dtype = self.levels, network.params.size, self.dtype
        job["levels"] = address_of(levels, "levels", dtype, levels.size)
        job["n_levels"], job["n_params"] = levels.size, n
        job["n_features"], job["n_outputs"] = network.n_features, network.n_outputs
        job["params"] = address_of(network.params, "Network.params", dtype, n, written=True)
        job["grads"] = address_of(network.grads, "Network.grads", dtype, n, written=True)
        job["batch_size"] = batch_size
        job["x_scale"] = self.scale
        job["loss"], job["link"], job["loss_option"] = loss.code, loss.link_code, loss.option
        job["optimizer"], job["clip_norm"] = optimizer.code, optimizer.clip_norm or 0.0
        job["n_vectors"] = 1 + optimizer.n_vectors
        # As Python's numbers, too, since reading a record takes longer than using what it holds.
        self.batch_size, self.n_state = batch_size, optimizer.n_vectors * n
        self.n_outputs, self.loss_code = network.n_outputs, loss.code
        job["seed"], job["training"] = network.seed, training
        job["l1"], job["l2"] = network.l1, network.l2
        dense = np.flatnonzero(self.stages["dense"])
        job["first_dense"] = dense[0] if dense.size else self.stages.size
        job["limits_columns"] = (self.stages["max_norm"] > 0).any()

    def read_from(self, table: Table) -> None:
        """Point at the samples; another table may follow if it is as readable in place as this."""
        self.table, job = table, self.job[0]
        job["x"], job["x_indices"], job["x_indptr"] = table.addresses()
        job["n_rows"] = table.n_rows
        job["x_row_stride"], job["x_column_stride"] = table.row_stride, table.column_stride
        in_place = (
            table.usable_as(self.dtype)
            and (table.kind != SPARSE or bool(self.stages[0]["dense"]))
            and self.scale == 1
        )
        job["x_kind"], job["x_gathered"] = table.kind, not in_place
        job["shared"] = self._shared_stage(self.n_threads)

    def _allocate(self, batch_size: int, training: bool) -> None:
        """Lay out one work space, each part of it on cache lines of its own."""
        job, places = self.job[0], self._places(batch_size, training)
        self.work = aligned_zeros(sum(_whole_lines(size) for _, _, size in places), np.uint8)
        at = address_of(self.work, "work space", np.uint8, self.work.size, written=True)
        for record, field, size in places:
            record[field] = at
            at += _whole_lines(size)
        zeros = max(int(tile_width(self.one)), int(self.stages["n_out"].max()))
        self.zeros = np.zeros(zeros, self.dtype)
        self.row_losses = np.empty(batch_size)
        has_penalties = job["l1"] or job["l2"]
        job["n_weight_rows"] = sum(
            int(stage["n_in"]) * int(step.penalty_parts(self.stages, s))
            for s, stage in enumerate(self.stages)
            if stage["dense"]
        )
        self.penalties = np.empty(int(job["n_weight_rows"]) if has_penalties else 0)
        self.positions = np.arange(batch_size, dtype=np.int32)
        self.sync = aligned_zeros(sync_size(self.n_threads), np.int64)
        for field in ("zeros", "row_losses", "penalties", "positions", "stages", "sync"):
            own = getattr(self, field)
            job[field] = address_of(own, field, own.dtype, own.size, written=True)
        job["n_stages"] = self.stages.size
        self.job_address = address_of(self.job, "job", plan.JOB, 1, written=True)

    def _places(self, batch_size: int, training: bool) -> list[tuple[Any, str, int]]:
        """What the work space holds: which field of which record is its address, and how long."""
        job, stages, itemsize = self.job[0], self.stages, self.dtype.itemsize
        row = batch_size * itemsize
        widest_out = int(stages["n_out"].max())
        widest = max(int(stages["n_in"].max()), widest_out)
        width = int(tile_width(self.one))
        block_width = step.BLOCK_TILES * width
        block_height = max(TILE_ROWS, step.HOT_NUMBERS // block_width)
        panel = widest * width
        if training and is_wide(widest_out, self.one):
            panel = max(panel, batch_size * (block_width + block_height))
        spacing = SPACING * (self.n_threads > 1)
        job["panel_bytes"] = _whole_lines(panel * itemsize) + spacing

        apart = self.n_threads * spacing

        def of_stages(field: str) -> list[tuple[Any, str, int]]:
            return [
                (stage, field, row * int(stage["n_out"]) + apart * int(s < job["shared"]))
                for s, stage in enumerate(stages)
            ]

        places = of_stages("values")
        places.append((job, "panels", self.n_threads * int(job["panel_bytes"])))
        if job["x_gathered"]:
            places.append((job, "inputs", row * self.table.n_columns))
        if job["shared"] > 0:
            own = (int(stages[0]["n_in"]) + 1) * int(stages[0]["n_out"]) * int(job["n_vectors"])
            job["own_bytes"] = _whole_lines(own * itemsize) + spacing
            places.append((job, "own", self.n_threads * int(job["own_bytes"])))
        if job["shared"] >= 0:
            shared = stages[job["shared"]]
            parts = n_parts(int(shared["n_in"]), int(shared["n_out"]))
            stored = int(shares.stored_part(parts, self.n_threads, parts))
            places.append((job, "parts", stored * row * int(shared["n_out"])))
        if not training:
            return [*places, (stages, "slopes", row * widest_out)]  # one for all: nobody reads it
        if self.table.kind == SPARSE and not job["x_gathered"]:
            places += self._places_by_column(batch_size)
        # The inputs themselves get no gradient, however many columns they have.
        flowing = int(stages["n_out"][min(job["first_dense"], stages.size - 1) :].max())
        job["gradient_width"] = flowing
        block = max(step.HOT_NUMBERS, TILE_ROWS * block_width, widest_out)  # or all biases
        job["scratch_bytes"] = _whole_lines(block * itemsize) + spacing
        places += of_stages("slopes")
        places.append((job, "gradient", row * flowing + apart * int(job["shared"] > 0)))
        places.append((job, "scratch", self.n_threads * int(job["scratch_bytes"])))
        return places

    def _places_by_column(self, batch_size: int) -> list[tuple[Any, str, int]]:
        """For a batch's non-zeros sorted by columns; each thread sorts those whose W it owns."""
        job, counts = self.job[0], np.diff(self.table.indptr)
        rest = max(0, counts.size - batch_size)
        most = int(np.partition(counts, rest)[rest:].sum())
        job["most_non_zeros"] = most
        size = most * (self.n_threads if job["by_columns"] else 1)
        return [
            (job, "column_starts", self.n_threads * (self.table.n_columns + 2) * 4),
            (job, "column_places", size * 4),
            (job, "column_factors", size * self.dtype.itemsize),
        ]

    def _point_at(
        self, order: np.ndarray, encoded: Encoded, weights: np.ndarray, n_steps: int
    ) -> None:
        """Say which samples come, in which order, and their targets and weights."""
        job, n, dtype = self.job[0], self.table.n_rows, self.dtype
        n_epochs, n_visits = order.shape if order.ndim == 2 else (1, order.size)
        if n_steps != n_epochs * -(-n_visits // self.batch_size):
            raise InputError(
                "order", f"the samples of {counted(n_steps, 'step')}", "another number of them",
                "pass the numbers of as many steps",
            )  # fmt: skip
        job["order"] = index_address(order, "order", np.int32, n_epochs * n_visits, n)
        job["n_rows"] = n_visits
        job["labels"], job["targets"] = target_addresses(
            self.loss_code, *encoded, n, self.n_outputs, dtype
        )
        job["sample_weights"] = address_or_0(weights, "sample weights", dtype, n)

    def train(
        self,
        order: np.ndarray,
        encoded: Encoded,
        weights: np.ndarray,
        state: np.ndarray,
        step_numbers: np.ndarray,
        first_step: int,
        patience: Patience = ENDLESS,
        ends: Callable[[], bool] = never,
    ) -> np.ndarray:
        """Walk through each row of `order` (n_epochs, n_rows), or the only one, a batch per step.

        Python is back about every twentieth of a second, so that signals are heard, and asks `ends`
        whether to stop there.

        Returns each batch's loss (n_steps,): nan after the first that is not finite and after the
        epoch that wears out the patience; fewer of them if `ends` said so.
        """
        n_steps, job = step_numbers.shape[0], self.job[0]
        losses = np.full(n_steps, np.nan)
        if self.table.kind == SPARSE:
            self.table.addresses()  # once more: a callback may have changed their columns
        self._point_at(order, encoded, weights, n_steps)
        if job["updates"]:
            job["state"] = address_of(state, "state", self.dtype, self.n_state, written=True)
            n_numbers = n_steps * N_HYPERPARAMETERS
            job["hyper"] = address_of(step_numbers, "numbers of steps", np.float64, n_numbers)
        job["losses"] = address_of(losses, "losses", np.float64, n_steps, written=True)
        job["first_step"], job["enough_after"] = first_step, 0
        for name, value in zip(Patience._fields, patience, strict=True):
            job[name] = value
        # Threads hold on to the engine, and by this to all that they read and write: should Ctrl-C
        # take the caller away, none of it is freed before the last of them is done.
        self.in_use = order, encoded, weights, state, step_numbers, losses
        compile_step(self.dtype)
        work = self.work_per_step + _WORK_OF_ANY_STEP
        for start, stop in in_pieces(n_steps, _FIRST_WORK // work):
            job["from_step"], job["n_steps"] = start, stop
            on_threads(self._run, self.n_threads, self.sync)
            if job["enough_after"] or not math.isfinite(losses[stop - 1]):
                break
            if stop < n_steps and ends():
                return losses[:stop]
        return losses

    def _run(self, thread: int) -> None:
        step.train_steps(self.job_address, thread, self.one)

    @property
    def patience(self) -> Patience:
        """How much of it the last call of `train` left."""
        return Patience(*(self.job[name].item() for name in Patience._fields))

    def gradient(
        self, order: np.ndarray, encoded: Encoded, weights: np.ndarray, total: float
    ) -> float:
        """Loss of the samples in `order` as a part of `total`; the gradient goes to grads."""
        self.job["total_weight"] = total
        no_state, no_numbers = np.empty(0), np.empty((1, 0))  # nothing is updated
        return float(self.train(order, encoded, weights, no_state, no_numbers, 0)[0])


def outputs(network: Body, X: Any, link: bool) -> np.ndarray:
    """Outputs (n_rows, n_outputs) of a built network, after the loss's link if wanted.

    Threads take blocks of rows, each with a work space of its own, which then waits in
    `network.spare_engines` for the next call: setting one up takes longer than some rows do.
    """
    announce_compilation(network.dtype, step.outputs_of_table, PREDICTIONS_WAIT)
    table, n = table_of(X, network.dtype), X.shape[0]
    n_outputs, work_per_row = network.n_outputs, network.params.size
    n_threads = min(choose_threads(None, n * work_per_row), -(-n // _PREDICT_BLOCK))
    out, taken = np.empty((n, n_outputs), network.dtype), np.zeros(1, np.int64)
    key = _work_space_key(network, table, link)
    engines = [_work_space(network, key, table) for _ in range(n_threads)]
    out_at = address_of(out, "outputs", network.dtype, n * n_outputs, written=True)
    taken_at = address_of(taken, "rows taken", np.int64, 1, written=True)

    # held: what threads write to, kept alive as long as one of them may still run.
    def run(thread: int, stop: int, held: Any = (out, taken)) -> None:
        job, one = engines[thread].job_address, engines[thread].one
        step.outputs_of_table(job, stop, taken_at, out_at, one)

    blocks = -(-n // _PREDICT_BLOCK)
    first = _FIRST_WORK // (_PREDICT_BLOCK * max(1, work_per_row))
    for start, stop in in_pieces(blocks, first):
        taken[0] = start * _PREDICT_BLOCK
        end = min(n, stop * _PREDICT_BLOCK)
        on_threads(functools.partial(run, stop=end), n_threads, engines[0].sync)
    network.spare_engines.setdefault(key, []).extend(engines)
    return out


def _work_space_key(network: Body, table: Table, link: bool) -> tuple[Any, ...]:
    """All that a work space to predict with depends on, short of sizes and parameters."""
    activations = [layer for layer in network.layers if isinstance(layer, Activation)]
    options = tuple((layer.code, layer.option) for layer in activations)
    block = min(_PREDICT_BLOCK, 1 << (table.n_rows - 1).bit_length())
    in_place = table.usable_as(network.dtype)
    return block, link, in_place, table.kind == SPARSE, network.loss, options


def _work_space(network: Body, key: tuple[Any, ...], table: Table) -> Engine:
    """One that waits, or a new one."""
    spare = network.spare_engines
    try:
        engine = spare[key].pop()
    except LookupError:
        if len(spare) > _MOST_SPARE:
            spare.clear()
        block, link, *_ = key
        engine = Engine(network, table, block, training=False)
        if not link:
            engine.job["link"] = LINK_IDENTITY
    else:
        engine.read_from(table)
    return engine


def _stages(network: Body, optimizer: Optimizer) -> np.ndarray:
    """The network's layers as records."""
    folded = fold(network.layers)
    stages = np.zeros(len(folded), plan.STAGE)
    factors = dict(
        zip(
            (group.name for group in network.groups),
            optimizer.group_factors(network.groups),
            strict=True,
        )
    )
    starts: dict[str, Group] = {group.name: group for group in network.groups}
    number = 0
    for stage, layers in zip(stages, folded, strict=True):
        stage["n_in"], stage["n_out"] = layers[0].n_in or 0, layers[-1].n_out or 0
        for layer in layers:
            if isinstance(layer, Dense):
                weight, bias = f"{number}.W", f"{number}.b"
                stage["dense"], stage["max_norm"] = 1, layer.max_norm or 0.0
                stage["weights"], stage["biases"] = starts[weight].start, starts[bias].start
                stage["weight_rate"], stage["weight_decay"] = factors[weight]
                stage["bias_rate"], stage["bias_decay"] = factors[bias]
            elif isinstance(layer, Activation):
                stage["activation"], stage["activation_option"] = layer.code, layer.option
            elif isinstance(layer, Dropout):
                stage["dropout"], stage["dropout_stream"] = layer.rate, number + 1
            number += 1
    _check_sizes(network, stages)
    return stages


def _check_sizes(network: Body, stages: np.ndarray) -> None:
    """Refuse layers and groups that no longer have the sizes that the parameters were made for."""
    width, sizes, end = network.n_features, dict[int, int](), 0
    for stage in stages:
        n_in, n_out = int(stage["n_in"]), int(stage["n_out"])
        if n_in != width or not (stage["dense"] or n_in == n_out):
            break
        if stage["dense"]:
            sizes[int(stage["weights"])], sizes[int(stage["biases"])] = n_in * n_out, n_out
        width = n_out
    for start in sorted(sizes):
        end = end + sizes[start] if start == end else -1
    if (width, end) != (network.n_outputs, network.params.size):
        raise InputError(
            "Network", "layers of the sizes they were built with", "others",
            "make a new network for other sizes",
        )  # fmt: skip


def _without_rescaling(stages: np.ndarray) -> tuple[float, np.ndarray]:
    """The factor of a Rescaling that comes first, and the other stages.

    It is applied where inputs are gathered and converted, not in a stage of its own.
    """
    first = stages[0]
    alone = first["activation"] == RESCALING and not (first["dense"] or first["dropout"])
    if alone and stages.size > 1:
        return float(first["activation_option"]), stages[1:].copy()
    return 1.0, stages


def leave_core(core: int) -> None:
    """Move this thread elsewhere if it runs on that core.

    Linux often starts a thread on the core of the one that started it, and takes some milliseconds
    to notice that both are busy; many a fit is over by then.
    """
    if core < 0 or core != current_core():
        return
    allowed = os.sched_getaffinity(0)
    if len(allowed) > 1:
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            os.sched_setaffinity(0, allowed - {core})
            os.sched_setaffinity(0, allowed)  # from now on wherever the system likes


def on_threads(run: Callable[[int], Any], n_threads: int, sync: np.ndarray) -> None:
    """Call run(0) here and run(1..) on new threads; wait for all, and raise what any raised.

    Threads live for one call only, so nothing is left over to break in a forked child.
    """
    if n_threads == 1:
        run(0)
        return
    failures: list[BaseException] = []
    here = current_core()

    def guarded(thread: int) -> None:
        try:
            if thread > 0:
                leave_core(here)
            run(thread)
        except BaseException as failure:
            sync[ABORTED] = 1  # the others must not wait for this one
            failures.append(failure)

    others = [threading.Thread(target=guarded, args=(i,)) for i in range(1, n_threads)]
    try:
        for thread in others:
            thread.start()
        guarded(0)
    except BaseException:  # Ctrl-C in between, or no more threads to be had
        sync[ABORTED] = 1
        raise
    finally:
        _wait_for(others)
    if failures:
        raise failures[0]


def _wait_for(threads: list[threading.Thread]) -> None:
    """Wait until all that were started are done, and only then pass on an interruption."""
    interruption: BaseException | None = None
    for thread in threads:
        while thread.is_alive():
            try:
                thread.join()
            except BaseException as pressed:
                interruption = pressed
    if interruption is not None:
        raise interruption
