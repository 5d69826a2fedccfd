"""The compiled path: a job with its kernels and its workspace, and the calls that run it.

An engine allocates everything once, for tables of one kind; its calls allocate nothing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import InputError, counted
from ..inputs.tables import Table
from ..inputs.targets import Encoded
from ..kernels import interfaces
from ..kernels.compiler.calls import Kernel
from ..kernels.compiler.jit import compile_for
from ..kernels.compiler.memory import address_of, address_or_0, index_address
from ..kernels.ops import gather, whole
from ..kernels.rules.losses import weigh_rows
from ..kernels.rules.optimizers import add_penalty
from ..kernels.step import accumulate as accumulated
from ..kernels.step import optional, shares, step
from ..kernels.step.rows import SPARSE
from ..kernels.tuning import FIRST_WORK, ROWS_PER_CALL, WORK_OF_ANY_STEP, WORK_PER_CALL
from ..nn.losses import CompiledLoss, target_addresses
from ..optim.optimizers import SGD, Optimizer
from .compiling import announce
from .job import Convention, Job
from .lowering import Sharing, choose_kernels
from .threads import company, in_pieces, on_threads
from .workspace import Workspace

if TYPE_CHECKING:
    from ..model.body import Body
    from .packed import PackedWeights


def never() -> bool:
    """Never end early."""
    return False


def epochs_per_call(work: int, n_rows: int) -> int:
    """How many epochs may share a call of `train` if nothing has to happen between them.

    Their shuffled order takes memory, and Ctrl-C should not wait long for the last epoch.

    work: multiplications of an epoch.
    """
    return max(1, min(ROWS_PER_CALL // n_rows, WORK_PER_CALL // max(1, work)))


class Patience(NamedTuple):
    """When to end before all epochs are over.

    Attributes
    ----------
    patience : int
        How many epochs in a row may fail to improve the loss; -1 means any number.
    tolerance : float
        By how much the loss must improve.
    best_loss : float
        The smallest loss so far.
    n_stale : int
        Number of epochs in a row without an improvement so far.
    """

    patience: int
    tolerance: float = 0.0
    best_loss: float = np.inf
    n_stale: int = 0


ENDLESS = Patience(-1)


class Engine(Job):
    """Trains one network, up to `batch_size` rows of a table at a time.

    Parameters
    ----------
    network : Body
        Built; its layers and loss all have kernels.
    table : Table
        The samples.
    batch_size : int
    n_threads : int, optional
        None means as many as are worthwhile.
    optimizer : Optimizer, optional
        Needed for training; without one the engine computes only gradients and outputs.
    training : bool
        Whether there will be a backward pass, for which every op keeps its slopes.
    convention : Convention, optional
        How loss and penalties of a batch are combined; by default as `Network` documents.
    steps_per_call : int, default 1
        How many steps a call of `train` will have; threads are started once per call.
    as_trained : bool, default True
        Whether dropout is active and BatchNorm uses the batch's statistics, which then update the
        running ones.
    link : bool, default True
        Whether outputs are what the loss's link makes of the last layer's values.
    packed : PackedWeights, optional
        Copies of weights, which predictions by one thread read instead.
    accumulate, averaged, learned, loss
        As for `Job`.
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
        steps_per_call: int = 1,
        as_trained: bool = True,
        link: bool = True,
        accumulate: int = 1,
        averaged: np.ndarray | None = None,
        learned: np.ndarray | None = None,
        loss: CompiledLoss | None = None,
        packed: PackedWeights | None = None,
    ) -> None:
        self._is_linked = False
        super().__init__(
            network, table, batch_size, n_threads, optimizer, training and as_trained, convention,
            steps_per_call, accumulate, averaged, learned, loss,
        )  # fmt: skip
        self._links = list[tuple[Any, str, Kernel]]()
        self._answering: Sequence[Engine] = ()
        self._packed = packed
        for s, copied in packed.copies.items() if packed else ():
            self.ops[s]["panels"] = address_of(copied, "panels", copied.dtype, copied.size)
        self.in_use: tuple[np.ndarray | Encoded, ...] = ()
        self._choose_kernels(network.loss, optimizer or SGD(), training, link)
        self.workspace = Workspace(self, training)
        self.sync = self.workspace.sync
        self.key: tuple[Any, ...] = ()  # by which `spares` keeps it
        self.is_reusable = averaged is None and learned is None

    def read_from(self, table: Table) -> None:
        """Point at the samples; another table may follow if it is as readable in place as this."""
        super().read_from(table)
        if self._is_linked:
            self._link_gather()

    def _choose_kernels(self, loss: Any, optimizer: Optimizer, training: bool, link: bool) -> None:
        """Choose the kernel for each field; they are compiled later."""
        links, model, update = self._links, self.model, self.update
        sparse = self.table.kind == SPARSE and not self.gathers
        one_row = training and self.batch_size == 1
        sharing = Sharing(int(self.crew["shared"]), sparse, one_row)
        for chosen in choose_kernels(
            self.program, sharing, training, self.dtype.itemsize,
            self._packed.forward if self._packed else None,
        ):  # fmt: skip
            links.append((self.ops[chosen.op], chosen.field, chosen.kernel))
        if not training:
            if link:
                self.loss["averages"], self.loss["n_answers"] = loss.n_members, self.n_outputs
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
        """Let kernels judge each epoch by held-out rows, which other engines predict.

        held: owns the memory that they read and write, which must live as long as the engine.
        """
        self.is_reusable = self._is_linked = False  # a spare engine is linked, but not to these
        self._links += [(self.held_out, field, kernel) for field, kernel in kernels.items()]
        self._answering, self._held = answering, held

    def must_compile(self) -> bool:
        """Whether the first call has to wait for the compiler."""
        kernels = [self.loss_of.kernel_for(True)]
        if not self._is_linked:
            kernels += [kernel for _, _, kernel in self._links]
        if self.gathers:
            kernels.append(gather.BY_KIND[self.table.kind])
        waits = any(not kernel.is_compiled(self.dtype) for kernel in kernels)
        return waits or any(engine.must_compile() for engine in self._answering)

    def let_go(self) -> None:
        """Release the samples and all other objects of the caller, until the next `read_from`."""
        del self.table
        self.in_use, self.losses = (), np.empty(0)

    def link(self) -> None:
        """Compile or load the program's kernels, unless that has been done."""
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
        """Compile the loss for the targets and weights that were pointed at, or load it."""
        rows = self.loss_of.kernel_for(self._has_labels)
        self.loss["rows"] = self._address("rows", rows)
        for field, kernel in (("total", optional.sum_weights), ("weigh", weigh_rows)):
            self.loss[field] = self._address(field, kernel) if self._has_weights else 0

    def penalise(self, wanted: bool) -> None:
        """Choose whether the next calls add the penalties, if there are any."""
        self.link()
        for record, field, kernel in self._links:
            if field in ("penalties", "add_penalty"):
                record[field] = self._address(field, kernel) if wanted else 0

    def _link_gather(self) -> None:
        kernel = gather.BY_KIND[self.table.kind]
        self.samples["gather"] = self._address("gather", kernel) if self.gathers else 0

    def _address(self, field: str, kernel: Kernel) -> int:
        """Address of a kernel for a field; one of another kind would read missing arguments."""
        if kernel.interface is not interfaces.OF_FIELD[field]:
            raise InputError(
                "Network", f"a kernel that can be called for {field!r}", "one of another kind",
                "leave the kernels of layers, losses and optimizers as they are",
            )  # fmt: skip
        return kernel.address(self.dtype)

    def point_at(
        self,
        order: np.ndarray,
        encoded: Encoded,
        weights: np.ndarray,
        n_steps: int,
        repeats: int = 1,
    ) -> None:
        """Set the samples, their order, targets and weights.

        repeats: how often steps go through `order`, which is put in another order in between.
        """
        samples, n, dtype = self.samples, self.table.n_rows, self.dtype
        n_epochs, n_visits = order.shape if order.ndim == 2 else (1, order.size)
        if n_steps != repeats * n_epochs * -(-n_visits // self.rows_per_step):
            raise InputError(
                "order", f"the samples of {counted(n_steps, 'step')}", "another number of them",
                "pass the numbers of as many steps",
            )  # fmt: skip
        samples["order"] = index_address(order, "order", n_epochs * n_visits, n)
        samples["n_rows"] = n_visits
        samples["labels"], samples["targets"] = target_addresses(
            self.loss_of, *encoded, n, self.n_outputs, dtype
        )
        samples["weights"] = address_or_0(weights, "sample weights", dtype, n)
        self._has_weights = bool(weights.size)
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
        """Train on all batches of `order` (n_epochs, n_rows) or (n_rows,), one step per batch.

        Compiled code returns to Python about every twentieth of a second, so that signals are
        handled; `ends` is then asked whether to stop.

        Returns each batch's loss (n_steps,): nan after the first loss that is not finite and after
        the epoch in which patience runs out; fewer numbers if `ends` asked to stop.
        """
        n_steps, call = step_numbers.shape[0], self.call
        losses = np.empty(n_steps)
        losses.fill(np.nan)
        self.begin(order, encoded, weights, state, step_numbers, losses)
        call["first_step"], call["enough_after"] = first_step, 0
        watches = patience.patience >= 0
        call["watch"] = self._address("watch", optional.watch_loss) if watches else 0
        call["patience"], call["tolerance"], call["best_loss"], call["n_stale"] = patience
        work = self.work_per_step + WORK_OF_ANY_STEP
        for start, stop in in_pieces(n_steps, FIRST_WORK // work):
            call["from_step"], call["n_steps"] = start, stop
            n_threads = self.crew["n_threads"] = self._threads_for_now()
            spent = on_threads(self._run, n_threads, self.sync)
            if self.chooses_threads:
                company.note(n_threads, spent)
            if call["enough_after"] or not math.isfinite(losses[stop - 1]):
                break
            if stop < n_steps and ends():
                return losses[:stop]
        return losses

    def begin(
        self,
        order: np.ndarray,
        encoded: Encoded,
        weights: np.ndarray,
        state: np.ndarray,
        step_numbers: np.ndarray,
        losses: np.ndarray,
        repeats: int = 1,
    ) -> None:
        """Set the memory that the next calls read and write, and compile what they need.

        repeats: as for `point_at`.
        """
        if self.table.kind == SPARSE:
            self.table.addresses()  # check again: a callback may have changed their columns
        n_steps, call = step_numbers.shape[0], self.call
        self.point_at(order, encoded, weights, n_steps, repeats)
        if self.update["updates"]:
            self.model["state"] = address_of(state, "state", self.dtype, self.n_state, written=True)
        if step_numbers.size:
            n_numbers = n_steps * self.n_numbers
            self.update["hyper"] = address_of(
                step_numbers, "numbers of steps", np.float64, n_numbers
            )
        call["losses"] = address_of(losses, "losses", np.float64, n_steps, written=True)
        self.losses = losses
        # Threads hold references to the engine, and so to all memory that they use. If Ctrl-C ends
        # the caller, nothing is freed before the last thread is done.
        self.in_use = order, encoded, weights, state, step_numbers, losses
        self.compile()
        self.link_loss()

    def step_again(self, n_rows: int, step: int) -> float:
        """A step of its own on the first rows of the memory that `begin` set; returns its loss.

        n_rows: at most as many as `begin` was called with; step: for the numbers of dropout.
        """
        call = self.call
        self.samples["n_rows"], call["first_step"] = n_rows, step
        call["from_step"], call["n_steps"] = 0, 1
        call["watch"] = call["enough_after"] = 0
        if self.n_threads == 1:
            self._run(0)
        else:
            on_threads(self._run, self.n_threads, self.sync)
        return float(self.losses[0])

    def slopes_of_first(self, n_rows: int) -> np.ndarray:
        """After a gradient by one thread: that of the first op's linear output (n_rows, n_out)."""
        return self.workspace.values(
            int(self.ops[0]["slopes"]), (n_rows, int(self.ops[0]["n_out"]))
        )

    def _threads_for_now(self) -> int:
        """Threads of the next call: a requested number, or fewer where cores are missing."""
        return company.n_threads(self.n_threads) if self.chooses_threads else self.n_threads

    def compile(self) -> None:
        """Compile or load everything that `train` needs, unless that has been done."""
        compile_step(self.dtype)
        self.link()

    def _run(self, thread: int) -> None:
        step.train_steps(self.job_address, thread, self.one)

    @property
    def best_and_stale(self) -> tuple[float, int]:
        """The state of patience after the last call of `train`: its `best_loss` and `n_stale`."""
        return float(self.call["best_loss"]), int(self.call["n_stale"])

    def gradient(
        self,
        order: np.ndarray,
        encoded: Encoded,
        weights: np.ndarray,
        total: float,
        step: int = 0,
        drops: np.ndarray | None = None,
        first_row: int = 0,
    ) -> float:
        """Loss of the samples in `order` as a part of `total`; the gradient is written to grads.

        total: 0 means the sum of their weights; step, drops: the random numbers of dropout, and its
        rates if they follow schedules; first_row: how many rows of the batch come before these,
        where the penalties are added.
        """
        self.loss["total_weight"], self.call["first_row"] = total, first_row
        no_state, numbers = np.empty(0), np.empty((1, 0))  # nothing is updated
        if drops is not None and drops.size:
            numbers = np.zeros((1, self.n_numbers))
            numbers[0, -drops.size :] = drops
        return float(self.train(order, encoded, weights, no_state, numbers, step)[0])


@functools.cache
def compile_step(dtype: np.dtype) -> None:
    """Compile or load the code that all programs share."""
    announce(dtype)
    compile_for(step.train_steps, 0, 0, dtype.type(1))
