"""The compiled path: a network's program, its work space, and the calls that run it.

An engine lays everything out once, for one table of samples; its calls allocate nothing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .compiling import announce
from .errors import InputError, counted
from .kernels import accumulate as accumulated
from .kernels import interfaces, plan, shares, step
from .kernels.calls import Kernel
from .kernels.jit import compile_for, in_python
from .kernels.matmul import is_wide
from .kernels.memory import CACHE_LINE, address_of, address_or_0, aligned_zeros, index_address
from .kernels.ops import dense, gather, whole
from .kernels.ops.kind import Sizes
from .kernels.ops.parameters import HOT_NUMBERS
from .kernels.optimizers import add_penalty
from .kernels.outputs import outputs_of_table
from .kernels.rows import SPARSE
from .kernels.sums import n_parts
from .kernels.threads import SPACING, sync_size
from .kernels.tiles import TILE_ROWS, tile_width_of
from .layers import Activation
from .layers.dropout import by_schedule
from .losses import CompiledLoss, target_addresses
from .lowering import Sharing, choose_kernels, first_trained, lower
from .optimizers import SGD, Optimizer
from .tables import Table, table_of
from .targets import Encoded
from .threads import WORK_A_THREAD, choose_threads, in_pieces, on_threads

if TYPE_CHECKING:
    from .body import Body

# As `threads.WORK_A_THREAD`, where only sums change cores, if a call has enough steps to pay for
# starting the thread.
_WORK_TO_SHARE_UNITS, _WORK_TO_START = 400_000, 50_000_000
_PREDICT_BLOCK = 128
# In multiplications: the work of a first call, whose speed is not known yet, and the overhead of a
# step.
_FIRST_WORK, _WORK_OF_ANY_STEP = 500_000_000, 100_000
_ROWS_PER_CALL, _WORK_PER_CALL = 131_072, 2_000_000_000  # of several epochs
_MOST_SPARE = 8  # kinds of work space kept for the next prediction


def _whole_lines(n_bytes: int) -> int:
    """Bytes rounded up to whole cache lines."""
    return -(-n_bytes // CACHE_LINE) * CACHE_LINE


def training_work(network: Body, batch_size: int) -> int:
    """Multiplications of a step of training: forward, and backward for inputs and for weights."""
    return 3 * batch_size * int(network.params.size)


def never() -> bool:
    """What asks for no early end."""
    return False


def epochs_per_call(work: int, n_rows: int) -> int:
    """How many epochs may share a call of `train` where nobody looks in between.

    Their order of visits takes memory, and Ctrl-C should not wait long for the last of them.

    work: multiplications of an epoch.
    """
    return max(1, min(_ROWS_PER_CALL // n_rows, _WORK_PER_CALL // max(1, work)))


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
    network : Body
        Built; its layers and loss all have kernels.
    table : Table
        The samples.
    batch_size : int
    n_threads : int, optional
        None stands for as many as pay.
    optimizer : Optimizer, optional
        Needed to train; without one there are only gradients and outputs.
    training : bool
        Whether there will be a backward pass, for which every op keeps its slopes.
    convention : Convention, optional
        How losses and penalties of a batch add up; by default as `Network` documents.
    steps_a_call : int, default 1
        How many steps a call of `train` will have, for all of which threads start once.
    as_trained : bool, default True
        Whether dropout is active and BatchNorm takes the batch's statistics, which then move the
        running ones.
    link : bool, default True
        Whether outputs are what the loss's link makes of the last layer's values.
    accumulate : int, default 1
        Of how many batches a step adds up the gradients before it updates the parameters.
    averaged : ndarray like `Body.learned`, optional
        What is moved towards parameters and buffers after each step, as far as the last of each
        step's numbers says.
    learned : ndarray like `Body.learned`, optional
        Parameters and buffers to work with in place of the network's own.
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
        as_trained: bool = True,
        link: bool = True,
        accumulate: int = 1,
        averaged: np.ndarray | None = None,
        learned: np.ndarray | None = None,
    ) -> None:
        # Not the network itself, which keeps engines: they would only be freed by the collector.
        self.dtype, self.averaged = network.dtype, averaged
        n = network.params.size
        params, buffers = network.params, network.buffers
        if learned is not None:
            params, buffers = learned[:n], learned[n:]
        self.memory = params, network.grads, buffers
        self.job, self.one = np.zeros(1, plan.JOB), network.dtype.type(1)
        (
            self.samples, self.model, self.loss, self.update, self.call, self.crew, self.space,
            self.held_out,
        ) = (self.job[name][0] for name in plan.JOB.names or ())  # fmt: skip
        self.update["updates"] = optimizer is not None
        optimizer = optimizer or SGD()
        self.program = lower(network, optimizer, training and as_trained)
        self.ops = self.program.ops
        self._describe(network, optimizer, batch_size, accumulate)
        self.loss["scale"], self.loss["shares_penalty"] = convention or Convention()
        self.table, work = table, training_work(network, batch_size)
        self.work_per_step = work * accumulate
        self.n_threads = self._choose_threads(n_threads, work, work * accumulate * steps_a_call)
        self.crew["n_threads"] = self.n_threads
        only_dense = bool((self.ops["dense"] | self.ops["elementwise"]).all())
        self.crew["by_columns"] = self.n_threads > 1 and only_dense and self._is_wide()
        self._links = list[tuple[Any, str, Kernel]]()
        self._is_linked = False
        self._answering: Sequence[Engine] = ()
        self.read_from(table)
        self._choose_kernels(network.loss, optimizer, training, link)
        self._allocate(batch_size, training)

    def _choose_threads(self, requested: int | None, work_a_step: int, work_a_call: int) -> int:
        """As many as were asked for, or as pay."""
        if requested == 1:
            return 1
        if requested is None and self._shared_op(2) == 1:
            pays = work_a_step >= _WORK_TO_SHARE_UNITS and work_a_call >= _WORK_TO_START
            work_a_step = max(work_a_step, 2 * WORK_A_THREAD * pays)
        return choose_threads(requested, work_a_step)

    def _is_wide(self) -> bool:
        return in_python(is_wide)(int(self.ops["n_out"].max()), self.dtype.itemsize)

    def _shared_op(self, n_threads: int) -> int:
        """The op whose inputs threads share out: the first, or the second if inputs are few."""
        ops = self.ops
        if n_threads == 1 or self._is_wide() or self.table.kind == SPARSE:
            return -1
        needs_whole = self.update["clip_norm"] > 0 or (ops["max_norm"] > 0).any()
        needs_whole = needs_whole or self.accumulates or self.averaged is not None
        needs_whole = needs_whole or ops[0]["dropout"] > 0
        for s, op in enumerate(ops[: 1 if needs_whole else 2]):
            if not op["dense"]:
                break
            if in_python(n_parts)(int(op["n_in"]), int(op["n_out"])) % n_threads == 0:
                return s
        return -1

    def _describe(
        self, network: Body, optimizer: Optimizer, batch_size: int, accumulate: int
    ) -> None:
        """What stands in the job for all calls, but for its memory and kernels."""
        model, loss, n, dtype = self.model, network.loss, network.params.size, self.dtype
        assert isinstance(loss, CompiledLoss)
        self.levels = loss.levels_as(dtype)
        self.loss["levels"] = address_of(self.levels, "levels", dtype, self.levels.size)
        self.loss["n_levels"], self.loss["option"] = self.levels.size, loss.option
        params, grads, buffers = self.memory
        model["params"] = address_of(params, "Network.params", dtype, n, written=True)
        model["grads"] = address_of(grads, "Network.grads", dtype, n, written=True)
        model["n_params"], model["n_outputs"] = n, network.n_outputs
        model["n_vectors"] = 1 + optimizer.n_vectors
        model["l1"], model["l2"] = network.l1, network.l2
        model["first_trained"] = first_trained(self.program)
        model["buffers"] = address_of(
            buffers, "Network.buffers", dtype, network.buffers.size, written=True
        )
        self.samples["n_features"], self.samples["scale"] = network.n_features, self.program.scale
        self.update["clip_norm"] = optimizer.clip_norm or 0.0
        self.accumulates, rows_a_step = accumulate > 1, accumulate * batch_size
        at_once = self.update["updates"] and not (optimizer.clip_norm or self.accumulates)
        self.update["at_once"] = at_once
        n_numbers = optimizer.n_columns(network.groups) + len(by_schedule(network.layers))
        n_numbers += self.averaged is not None
        self.update["hyper_bytes"] = 8 * n_numbers
        self.call["seed"], self.call["batch_size"] = network.seed, batch_size
        self.call["rows_a_step"] = rows_a_step
        # As Python's numbers, too, since reading a record takes longer than using what it holds.
        self.batch_size, self.rows_a_step = batch_size, rows_a_step
        self.n_state = optimizer.n_vectors * n
        self.n_outputs, self.loss_of = network.n_outputs, loss
        self.n_numbers = n_numbers

    def read_from(self, table: Table) -> None:
        """Point at the samples; another table may follow if it is as readable in place as this."""
        self.table, samples = table, self.samples
        samples["x"], samples["x_indices"], samples["x_indptr"] = table.addresses()
        samples["n_rows"], samples["sparse"] = table.n_rows, table.kind == SPARSE
        samples["row_stride"], samples["column_stride"] = table.row_stride, table.column_stride
        self.gathers = not (
            table.usable_as(self.dtype)
            and (table.kind != SPARSE or bool(self.ops[0]["dense"]))
            and self.program.scale == 1
        )
        self.crew["shared"] = self._shared_op(self.n_threads)
        if self._is_linked:
            self._link_gather()

    def _choose_kernels(self, loss: Any, optimizer: Optimizer, training: bool, link: bool) -> None:
        """Say which kernel goes to which field, once it is compiled."""
        links, model, update = self._links, self.model, self.update
        sparse = self.table.kind == SPARSE and not self.gathers
        sharing = Sharing(bool(self.crew["by_columns"]), int(self.crew["shared"]), sparse)
        for chosen in choose_kernels(self.program, sharing, training, self.dtype.itemsize):
            links.append((self.ops[chosen.op], chosen.field, chosen.kernel))
        if not training:
            if link and loss.link_kernel is not None:
                links.append((self.loss, "link", loss.link_kernel))
            return
        if model["l1"] or model["l2"]:
            links += [(model, "penalties", whole.penalties), (model, "add_penalty", add_penalty)]
        if update["updates"]:
            links.append((update, "update", optimizer.kernel_of_step))
            if update["clip_norm"] > 0:
                links.append((update, "clip", whole.clip))
            elif self.accumulates:
                links.append((update, "clip", whole.update_all))
            if self.accumulates:
                links.append((update, "accumulate", accumulated.accumulate))
            if self.averaged is not None:
                links.append((update, "average", whole.average))
            if (self.ops["max_norm"] > 0).any():
                links.append((update, "limit", whole.limit))
        if self.crew["shared"] > 0:
            links.append((self.crew, "move", shares.move_home))

    def judge_with(
        self, kernels: Mapping[str, Kernel], answering: Sequence[Engine], held: Any
    ) -> None:
        """Let kernels judge each epoch by held-out rows, for which other engines answer.

        held: owns what they read and write, which must live as long as the engine.
        """
        self._links += [(self.held_out, field, kernel) for field, kernel in kernels.items()]
        self._answering, self._held = answering, held

    def must_compile(self) -> bool:
        """Whether its first call has to wait for the compiler."""
        kernels = [*(kernel for _, _, kernel in self._links), self.loss_of.kernel_for(True)]
        if self.gathers:
            kernels.append(gather.BY_KIND[self.table.kind])
        waits = any(not kernel.is_compiled(self.dtype) for kernel in kernels)
        return waits or any(engine.must_compile() for engine in self._answering)

    def link(self) -> None:
        """Compile the program's kernels, or load them, unless that was done."""
        if self._is_linked:
            return
        for record, field, kernel in self._links:
            record[field] = self._address(field, kernel)
        self._link_gather()
        self._is_linked = True
        for engine in self._answering:
            engine.link()
            engine.link_loss()

    def link_loss(self) -> None:
        """Compile the loss for the targets that were pointed at, or load it."""
        rows = self.loss_of.kernel_for(self._has_labels)
        self.loss["rows"] = self._address("rows", rows)

    def penalise(self, wanted: bool) -> None:
        """Let the next calls add the penalties, if there are any, or leave them out."""
        self.link()
        for record, field, kernel in self._links:
            if field in ("penalties", "add_penalty"):
                record[field] = self._address(field, kernel) if wanted else 0

    def _link_gather(self) -> None:
        kernel = gather.BY_KIND[self.table.kind]
        self.samples["gather"] = self._address("gather", kernel) if self.gathers else 0

    def _address(self, field: str, kernel: Kernel) -> int:
        """Of a kernel for a field; one of another kind would read arguments that are not there."""
        if kernel.interface is not interfaces.OF_FIELD[field]:
            raise InputError(
                "Network", f"a kernel that can be called for {field!r}", "one of another kind",
                "leave the kernels of layers, losses and optimizers as they are",
            )  # fmt: skip
        return kernel.address(self.dtype)

    def _allocate(self, batch_size: int, training: bool) -> None:
        """Lay out one work space, each part of it on cache lines of its own."""
        places = self._places(batch_size, training)
        self.work = aligned_zeros(sum(_whole_lines(size) for _, _, size in places), np.uint8)
        at = address_of(self.work, "work space", np.uint8, self.work.size, written=True)
        for record, field, size in places:
            record[field] = at
            at += _whole_lines(size)
        self.zeros = np.zeros(
            max(in_python(tile_width_of)(self.dtype.itemsize), self._widest_out()), self.dtype
        )
        self.row_losses = np.empty(self.rows_a_step)
        model = self.model
        model["n_weight_rows"] = sum(
            int(op["weight_rows"] * op["penalty_parts"]) for op in self.ops
        )
        has_penalties = model["l1"] or model["l2"]
        self.penalties = np.empty(int(model["n_weight_rows"]) if has_penalties else 0)
        self.positions = np.arange(batch_size, dtype=np.int32)
        self.sync = aligned_zeros(sync_size(self.n_threads), np.int64)
        for record, field in (
            *((self.space, name) for name in ("zeros", "row_losses", "penalties", "positions")),
            (model, "ops"),
            (self.crew, "sync"),
        ):
            own = getattr(self, field)
            record[field] = address_of(own, field, own.dtype, own.size, written=True)
        model["n_ops"] = self.ops.size
        if self.averaged is not None:
            self.update["n_averaged"] = n = int(self.memory[0].size + self.memory[2].size)
            self.update["averaged"] = address_of(
                self.averaged, "averaged weights", self.dtype, n, written=True
            )
        self.job_address = address_of(self.job, "job", plan.JOB, 1, written=True)

    def _widest_out(self) -> int:
        return int(self.ops["n_out"].max())

    def _places(self, batch_size: int, training: bool) -> list[tuple[Any, str, int]]:
        """What the work space holds: which field of which record is its address, and how long."""
        crew, space, ops, itemsize = self.crew, self.space, self.ops, self.dtype.itemsize
        row = batch_size * itemsize
        spacing = SPACING * (self.n_threads > 1)
        space["panel_bytes"] = _whole_lines(self._panel(batch_size, training) * itemsize) + spacing
        apart = self.n_threads * spacing

        def of_ops(field: str) -> list[tuple[Any, str, int]]:
            return [
                (op, field, row * int(op["n_out"]) + apart * int(s < crew["shared"]))
                for s, op in enumerate(ops)
            ]

        places = [(crew, "turns", self.n_threads * plan.TURN_BYTES), *of_ops("values")]
        places.append((space, "panels", self.n_threads * int(space["panel_bytes"])))
        if self.gathers:
            places.append((space, "inputs", row * self.table.n_columns))
        places += self._shared_places(row, spacing)
        places += self._kept_places(batch_size)
        if not training:
            # Predictions write slopes, which nobody reads: all ops share one place for them.
            return [*places, (ops, "slopes", row * self._widest_out())]
        if self.table.kind == SPARSE and not self.gathers:
            places += self._places_by_column(batch_size)
        # The inputs themselves get no gradient, however many columns they have.
        flowing = int(ops["n_out"][min(self.model["first_trained"], ops.size - 1) :].max())
        space["gradient_width"] = flowing
        block_width = dense.BLOCK_TILES * in_python(tile_width_of)(self.dtype.itemsize)
        block = max(HOT_NUMBERS, TILE_ROWS * block_width, self._widest_out())  # or all biases
        space["scratch_bytes"] = _whole_lines(block * itemsize) + spacing
        places += of_ops("slopes")
        places.append((space, "gradient", row * flowing + apart * int(crew["shared"] > 0)))
        places.append((space, "scratch", self.n_threads * int(space["scratch_bytes"])))
        if self.accumulates:
            places.append((self.update, "summed", int(self.model["n_params"]) * itemsize))
        return places

    def _kept_places(self, batch_size: int) -> list[tuple[Any, str, int]]:
        """What ops keep for the way back, and the numbers that they find in their records."""
        places, self.numbers_of_ops = list[tuple[Any, str, int]](), list[np.ndarray]()
        for op, stage in zip(self.ops, self.program.stages, strict=True):
            if stage.kind is not None:
                sizes = Sizes(batch_size, int(op["n_in"]), int(op["n_out"]), self.dtype.itemsize)
                places.append((op, "kept", stage.kind.kept_bytes(sizes)))
            options = getattr(stage.main, "options", ())
            for field, values, dtype in (
                ("places", stage.places, np.int64), ("options", options, np.float64)
            ):  # fmt: skip
                if not values:
                    continue
                self.numbers_of_ops.append(np.array(values, dtype))
                op[field] = address_of(self.numbers_of_ops[-1], field, dtype, len(values))
        return places

    def _panel(self, batch_size: int, training: bool) -> int:
        """Numbers of a thread's panel."""
        width, widest_out = in_python(tile_width_of)(self.dtype.itemsize), self._widest_out()
        widest = max(int(self.ops["n_in"].max()), widest_out)
        block_width = dense.BLOCK_TILES * width
        block_height = max(TILE_ROWS, HOT_NUMBERS // block_width)
        if training and in_python(is_wide)(widest_out, self.dtype.itemsize):
            return max(widest * width, batch_size * (block_width + block_height))
        return widest * width

    def _shared_places(self, row: int, spacing: int) -> list[tuple[Any, str, int]]:
        """For an op whose inputs threads share out."""
        crew, ops, places = self.crew, self.ops, list[tuple[Any, str, int]]()
        if crew["shared"] > 0:
            n_vectors = int(self.model["n_vectors"])
            own = (int(ops[0]["n_in"]) + 1) * int(ops[0]["n_out"]) * n_vectors
            crew["own_bytes"] = _whole_lines(own * self.dtype.itemsize) + spacing
            places.append((crew, "own", self.n_threads * int(crew["own_bytes"])))
        if crew["shared"] >= 0:
            shared = ops[crew["shared"]]
            parts = in_python(n_parts)(int(shared["n_in"]), int(shared["n_out"]))
            stored = in_python(shares.stored_part)(parts, self.n_threads, parts)
            places.append((crew, "parts", stored * row * int(shared["n_out"])))
        return places

    def _places_by_column(self, batch_size: int) -> list[tuple[Any, str, int]]:
        """For a batch's non-zeros sorted by columns; each thread sorts those whose W it owns."""
        space, counts = self.space, np.diff(self.table.indptr)
        rest = max(0, counts.size - batch_size)
        most = int(np.partition(counts, rest)[rest:].sum())
        space["most_non_zeros"] = most
        size = most * (self.n_threads if self.crew["by_columns"] else 1)
        return [
            (space, "column_starts", self.n_threads * (self.table.n_columns + 2) * 4),
            (space, "column_places", size * 4),
            (space, "column_factors", size * self.dtype.itemsize),
        ]

    def point_at(
        self, order: np.ndarray, encoded: Encoded, weights: np.ndarray, n_steps: int
    ) -> None:
        """Say which samples come, in which order, and their targets and weights."""
        samples, n, dtype = self.samples, self.table.n_rows, self.dtype
        n_epochs, n_visits = order.shape if order.ndim == 2 else (1, order.size)
        if n_steps != n_epochs * -(-n_visits // self.rows_a_step):
            raise InputError(
                "order", f"the samples of {counted(n_steps, 'step')}", "another number of them",
                "pass the numbers of as many steps",
            )  # fmt: skip
        samples["order"] = index_address(order, "order", np.int32, n_epochs * n_visits, n)
        samples["n_rows"] = n_visits
        samples["labels"], samples["targets"] = target_addresses(
            self.loss_of, *encoded, n, self.n_outputs, dtype
        )
        samples["weights"] = address_or_0(weights, "sample weights", dtype, n)
        self._has_labels = bool(encoded.labels.size)

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
        n_steps, call = step_numbers.shape[0], self.call
        losses = self.losses = np.full(n_steps, np.nan)
        if self.table.kind == SPARSE:
            self.table.addresses()  # once more: a callback may have changed their columns
        self.point_at(order, encoded, weights, n_steps)
        if self.update["updates"]:
            self.model["state"] = address_of(state, "state", self.dtype, self.n_state, written=True)
        if step_numbers.size:
            n_numbers = n_steps * self.n_numbers
            self.update["hyper"] = address_of(
                step_numbers, "numbers of steps", np.float64, n_numbers
            )
        call["losses"] = address_of(losses, "losses", np.float64, n_steps, written=True)
        call["first_step"], call["enough_after"] = first_step, 0
        for name, value in zip(Patience._fields, patience, strict=True):
            call[name] = value
        # Threads hold on to the engine, and by this to all that they read and write: should Ctrl-C
        # take the caller away, none of it is freed before the last of them is done.
        self.in_use = order, encoded, weights, state, step_numbers, losses
        self.compile()
        self.link_loss()
        work = self.work_per_step + _WORK_OF_ANY_STEP
        for start, stop in in_pieces(n_steps, _FIRST_WORK // work):
            call["from_step"], call["n_steps"] = start, stop
            on_threads(self._run, self.n_threads, self.sync)
            if call["enough_after"] or not math.isfinite(losses[stop - 1]):
                break
            if stop < n_steps and ends():
                return losses[:stop]
        return losses

    def compile(self) -> None:
        """Compile all that `train` needs, or load it, unless it is there already."""
        compile_step(self.dtype)
        self.link()

    def _run(self, thread: int) -> None:
        step.train_steps(self.job_address, thread, self.one)

    @property
    def patience(self) -> Patience:
        """How much of it the last call of `train` left."""
        return Patience(*(self.call[name].item() for name in Patience._fields))

    def gradient(
        self,
        order: np.ndarray,
        encoded: Encoded,
        weights: np.ndarray,
        total: float,
        step: int = 0,
        drops: np.ndarray | None = None,
    ) -> float:
        """Loss of the samples in `order` as a part of `total`; the gradient goes to grads.

        total: 0 stands for the sum of their weights; step, drops: which random numbers dropout
        uses, and its rates where they follow schedules.
        """
        self.loss["total_weight"] = total
        no_state, numbers = np.empty(0), np.empty((1, 0))  # nothing is updated
        if drops is not None and drops.size:
            numbers = np.zeros((1, self.n_numbers))
            numbers[0, -drops.size :] = drops
        return float(self.train(order, encoded, weights, no_state, numbers, step)[0])


@functools.cache
def compile_step(dtype: np.dtype) -> None:
    """Compile what all programs share, or load it."""
    announce(dtype)
    compile_for(step.train_steps, 0, 0, dtype.type(1))


def outputs(network: Body, X: Any, link: bool) -> np.ndarray:
    """Outputs (n_rows, n_outputs) of a built network, after the loss's link if wanted.

    Threads take blocks of rows, each with a work space of its own, which then waits in
    `network.spare_engines` for the next call: setting one up takes longer than some rows do.
    """
    announce(network.dtype, outputs_of_table)
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
        outputs_of_table(job, stop, taken_at, out_at, one)

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
    options = tuple(
        (layer.kernel, layer.option) if isinstance(layer, Activation) else
        getattr(layer, "options", ())
        for _, layer in network.leaves()
    )  # fmt: skip
    block = min(_PREDICT_BLOCK, 1 << (table.n_rows - 1).bit_length())
    in_place = table.usable_as(network.dtype)
    assert isinstance(network.loss, CompiledLoss)
    link_kernel = network.loss.link_kernel if link else None
    return block, link, in_place, table.kind == SPARSE, link_kernel, options


def _work_space(network: Body, key: tuple[Any, ...], table: Table) -> Engine:
    """One that waits, or a new one."""
    spare = network.spare_engines
    try:
        engine = spare[key].pop()
    except LookupError:
        if len(spare) > _MOST_SPARE:
            spare.clear()
        block, link, *_ = key
        engine = Engine(network, table, block, training=False, link=link)
        engine.link()
    else:
        engine.read_from(table)
    return engine
