"""A job: the description, for compiled code, of training or prediction on a table of samples.

It is one record, `plan.JOB`, which is filled in here; kernels and memory are added later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..inputs.tables import Table
from ..kernels import plan
from ..kernels.compiler.jit import in_python
from ..kernels.compiler.memory import address_of
from ..kernels.products import blocking
from ..kernels.products.sums import n_parts
from ..kernels.step.rows import SPARSE
from ..kernels.tuning import WORK_A_THREAD, WORK_TO_SHARE_UNITS, WORK_TO_START
from ..nn.compiled_layer import cut_into_blocks, is_repeated
from ..nn.dropout import by_schedule
from ..nn.losses import CompiledLoss, Loss
from ..optim.optimizers import SGD, Optimizer
from .lowering import first_trained, lower
from .threads import choose_threads

if TYPE_CHECKING:
    from ..model.body import Body


def training_work(work_per_row: int, n_rows: int) -> int:
    """Multiplications of training on rows: forward, and backward for inputs and for weights."""
    return 3 * n_rows * int(work_per_row)


def pays_to_share(work_per_step: int, work_per_call: int) -> bool:
    """Whether two threads may share the units of an op, for less work than each usually needs."""
    return work_per_step >= WORK_TO_SHARE_UNITS and work_per_call >= WORK_TO_START


def may_share(work_per_step: int, work_per_call: int) -> bool:
    """Whether a job that chooses its number of threads may choose more than one."""
    return work_per_step >= 2 * WORK_A_THREAD or pays_to_share(work_per_step, work_per_call)


class Convention(NamedTuple):
    """How loss and penalties of a batch are combined.

    Attributes
    ----------
    loss_scale : float
        Factor of the loss; the number of outputs turns a mean over outputs into a sum.
    shares_penalty : bool
        Whether penalties are divided by the batch's weight, as in scikit-learn.
    """

    loss_scale: float = 1.0
    shares_penalty: bool = False


class Fields:
    """The fields of one record by name: NumPy's own access to them takes several times as long.

    Parameters
    ----------
    record : ndarray of shape (1,)
        Of a structured type whose fields are numbers.
    """

    def __init__(self, record: np.ndarray) -> None:
        self._views = {name: record[name] for name in record.dtype.names or ()}

    def __getitem__(self, name: str) -> Any:
        return self._views[name].item()

    def __setitem__(self, name: str, value: Any) -> None:
        self._views[name][0] = value


class Job:
    """The records of a job, and its number of threads.

    Parameters
    ----------
    network : Body
        Built; its layers and loss all have kernels.
    table : Table
        The samples.
    batch_size : int
        Maximum number of rows per step.
    n_threads : int, optional
        None means as many as are worthwhile.
    optimizer : Optimizer, optional
        Needed for training; without one the job computes only gradients and outputs.
    as_trained : bool
        Whether dropout is active and BatchNorm uses the batch's statistics.
    convention : Convention, optional
        How loss and penalties of a batch are combined; by default as `Network` documents.
    steps_per_call : int, default 1
        How many steps a call will have, for all of which threads start once.
    accumulate : int, default 1
        Of how many batches a step adds up the gradients before it updates the parameters.
    averaged : ndarray like `Body.learned`, optional
        What is moved towards parameters and buffers after each step, as far as the last of each
        step's numbers says.
    learned : ndarray like `Body.learned`, optional
        Parameters and buffers to work with in place of the network's own.
    loss : CompiledLoss, optional
        In place of the network's own.
    """

    def __init__(
        self,
        network: Body,
        table: Table,
        batch_size: int,
        n_threads: int | None,
        optimizer: Optimizer | None,
        as_trained: bool,
        convention: Convention | None,
        steps_per_call: int = 1,
        accumulate: int = 1,
        averaged: np.ndarray | None = None,
        learned: np.ndarray | None = None,
        loss: CompiledLoss | None = None,
    ) -> None:
        self.dtype, self.averaged, n = network.dtype, averaged, network.params.size
        self.job, self.one = np.zeros(1, plan.JOB), network.dtype.type(1)
        (
            self.samples, self.model, self.loss, self.update, self.call, self.crew, self.space,
            self.held_out,
        ) = (Fields(self.job[name]) for name in plan.JOB.names or ())  # fmt: skip
        if learned is None:
            self.serve(network)
        else:
            self._point_at(network, learned[:n], learned[n:])
        self.update["updates"] = optimizer is not None
        optimizer = optimizer or SGD()
        self.program = lower(network, optimizer, as_trained)
        self.ops = self.program.ops
        # In Python's numbers, since reading a record takes longer than using what it holds.
        self.widest_out = max(stage.n_out for stage in self.program.stages)
        self.gradient_blocks = self._cut_into_blocks(batch_size)
        self.loss_of = self._describe_loss(loss or network.loss)
        self._describe(network, optimizer, batch_size, accumulate)
        self._describe_ops()
        self.loss["scale"], self.loss["shares_penalty"] = convention or Convention()
        self.table = table
        work = training_work(network.work_per_row, batch_size) * accumulate
        self.work_per_step = work
        self.chooses_threads = n_threads is None
        self.n_threads = self._choose_threads(n_threads, work, work * steps_per_call)
        self.crew["n_threads"] = self.n_threads
        self.read_from(table)
        self.call["block_rows"] = self._rows_at_once()
        self.job_address = address_of(self.job, "job", plan.JOB, 1, written=True)

    def _point_at(self, network: Body, params: np.ndarray, buffers: np.ndarray) -> None:
        """Work with these parameters and buffers, and the network's gradients and random numbers.

        The network itself is not kept, because it keeps engines, which only the collector would
        free then.
        """
        model, n, dtype = self.model, network.params.size, self.dtype
        grads = network.grads
        self.memory = params, grads, buffers
        model["params"] = address_of(params, "Network.params", dtype, n, written=True)
        model["grads"] = address_of(grads, "Network.grads", dtype, n, written=True)
        model["buffers"] = address_of(
            buffers, "Network.buffers", dtype, network.buffers.size, written=True
        )
        self.call["seed"] = network.seed

    def serve(self, network: Body) -> None:
        """Work for another network of the same structure from now on."""
        self._point_at(network, network.params, network.buffers)

    def _choose_threads(self, requested: int | None, work_per_step: int, work_per_call: int) -> int:
        """The requested number, or as many as are worthwhile."""
        if requested == 1:
            return 1
        if requested is None and self._shared_op(2) == 1:
            pays = pays_to_share(work_per_step, work_per_call)
            work_per_step = max(work_per_step, 2 * WORK_A_THREAD * pays)
        return choose_threads(requested, work_per_step)

    def _shared_op(self, n_threads: int) -> int:
        """The op whose inputs threads share out: the first, or the second if inputs are few.

        Threads exchange sums then, and not the weights that another one has updated. In wide layers
        that pays only if there are no more sums.
        """
        ops = self.ops
        if n_threads == 1 or self.table.kind == SPARSE:
            return -1
        needs_whole = self.update["clip_norm"] > 0 or (ops["max_norm"] > 0).any()
        needs_whole = needs_whole or self.accumulates or self.averaged is not None
        needs_whole = needs_whole or ops[0]["dropout"] > 0
        for s, op in enumerate(ops[: 1 if needs_whole else 2]):
            if not op["dense"]:
                break
            n_in, n_out = int(op["n_in"]), int(op["n_out"])
            if in_python(n_parts)(n_in, n_out) % n_threads == 0:
                is_wide = blocking.is_wide(n_out, self.dtype.itemsize)
                return -1 if is_wide and self.batch_size > n_in else s
        return -1

    def _rows_at_once(self) -> int:
        """Rows that a thread takes through all ops at a time; 0 for all, if threads meet in some.

        In the shared op they meet before the first block, if it is the first op.
        """
        stages = self.program.stages
        meets = any(stage.kind is not None and stage.kind.meets for stage in stages)
        if meets or self.crew["shared"] > 0:
            return 0
        n_values = sum(stage.n_out for stage in stages)
        return blocking.rows_at_once(
            int(self.model["n_params"]), stages[0].n_in, n_values, self.dtype.itemsize
        )

    def _describe_loss(self, loss: Loss) -> CompiledLoss:
        assert isinstance(loss, CompiledLoss)
        self.levels = loss.levels_as(self.dtype)
        self.loss["levels"] = address_of(self.levels, "levels", self.dtype, self.levels.size)
        self.loss["n_levels"], self.loss["option"] = self.levels.size, loss.option
        width = self.program.stages[-1].n_out
        self.loss["members"], self.loss["n_outputs"] = loss.n_members, width // loss.n_members
        self.loss["averages"], self.loss["n_answers"] = 1, width
        return loss

    def _describe(
        self, network: Body, optimizer: Optimizer, batch_size: int, accumulate: int
    ) -> None:
        """What stands in the job for all calls, but for its memory and kernels."""
        model, n = self.model, network.params.size
        width = self.program.stages[-1].n_out
        model["n_params"], model["n_outputs"] = n, width
        model["n_vectors"] = 1 + optimizer.n_vectors
        model["l1"], model["l2"] = network.l1, network.l2
        model["first_trained"] = first_trained(self.program)
        self.samples["n_features"], self.samples["scale"] = network.n_features, self.program.scale
        self.update["clip_norm"] = optimizer.clip_norm or 0.0
        self.accumulates, rows_per_step = accumulate > 1, accumulate * batch_size
        at_once = self.update["updates"] and not (optimizer.clip_norm or self.accumulates)
        self.update["at_once"] = at_once
        n_numbers = optimizer.n_columns(network.groups) + len(by_schedule(network.layers))
        n_numbers += self.averaged is not None
        self.update["hyper_bytes"] = 8 * n_numbers
        self.call["batch_size"] = batch_size
        self.call["rows_per_step"] = rows_per_step
        self.batch_size, self.rows_per_step = batch_size, rows_per_step
        self.n_state = optimizer.n_vectors * n
        self.n_outputs = int(self.loss["n_outputs"])
        self.n_numbers = n_numbers

    def _cut_into_blocks(self, batch_size: int) -> list[blocking.GradientBlock]:
        """Size of each op's blocks, written to its record."""
        found, itemsize = list[blocking.GradientBlock](), self.dtype.itemsize
        for op, stage in zip(self.ops, self.program.stages, strict=True):
            if stage.kind is None:
                found.append(_how_to_pack(op, stage, batch_size, itemsize))
            elif is_repeated(stage.main):
                cut_into_blocks(stage.main, op, batch_size, itemsize)
                found.append(blocking.GradientBlock(op["block_rows"], op["block_columns"]))
            else:
                found.append(blocking.whole_rows(max(1, int(op["weight_width"]))))
            op["block_rows"], op["block_columns"] = found[-1]
        return found

    def _describe_ops(self) -> None:
        """Arrays of numbers that ops of some kinds read through an address in their records."""
        self.numbers_of_ops = list[np.ndarray]()
        for op, stage in zip(self.ops, self.program.stages, strict=True):
            options = getattr(stage.main, "options", ())
            for field, values, dtype in (
                ("places", stage.places, np.int64), ("options", options, np.float64)
            ):  # fmt: skip
                if not values:
                    continue
                self.numbers_of_ops.append(np.array(values, dtype))
                op[field] = address_of(self.numbers_of_ops[-1], field, dtype, len(values))

    def read_from(self, table: Table) -> None:
        """Set the table of samples; a later one must be readable in place if this one is."""
        self.table, samples = table, self.samples
        samples["x"], samples["x_indices"], samples["x_indptr"] = table.addresses()
        samples["n_rows"], samples["sparse"] = table.n_rows, table.kind == SPARSE
        samples["row_stride"], samples["column_stride"] = table.row_stride, table.column_stride
        self.gathers = not (
            table.usable_as(self.dtype)
            and not is_repeated(self.program.stages[0].main)  # whose rows must be adjacent
            and (table.kind != SPARSE or bool(self.ops[0]["dense"]))
            and self.program.scale == 1
        )
        self.crew["shared"] = self._shared_op(self.n_threads)


def _how_to_pack(op: Any, stage: Any, batch_size: int, itemsize: int) -> blocking.GradientBlock:
    """Write into a dense op's record what it packs; returns the blocks of its gradient."""
    n_in, n_out = stage.n_in, stage.n_out
    op["packs_weights"] = blocking.packs_weights(n_in, n_out, itemsize)
    packs = blocking.packs_inputs(batch_size, n_in, n_out, itemsize)
    op["packs_inputs"] = packs
    packs_slopes = packs or blocking.packs_slopes(n_in, n_out, itemsize)
    op["packs_slopes"] = packs_slopes and batch_size > 1
    return blocking.gradient_block(batch_size, n_out, itemsize, packs)
