"""The compiled path: a network's layers folded into stages, its work space, and its threads.

Dense, activation and dropout in a row become one stage; a layer, loss or optimizer that has no
kernel makes `can_compile` false, and the layer-by-layer path takes over.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .kernels import losses as loss_kernels
from .kernels import plan, step
from .kernels.jit import JIT_ENABLED
from .kernels.threads import ABORTED, SYNC_SIZE
from .kernels.tiles import tile_width
from .layers import LAYERS, Activation, Dense, Dropout, Layer
from .losses import LOSSES, BuiltInLoss, Loss
from .optimizers import OPTIMIZERS, SGD, Group, Optimizer
from .tables import Table, bytes_of
from .targets import Encoded

if TYPE_CHECKING:
    from .network import Network

# Numbers that are multiplied in a step before a second thread pays for its two meetings.
_WORK_A_THREAD = 400_000
_PREDICT_BLOCK = 256
_ALIGN = 16


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


def n_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_threads(requested: int | None, work: int) -> int:
    """Threads for so many multiplications a step, at most as many as were asked for."""
    if not JIT_ENABLED:
        return 1
    useful = max(1, work // _WORK_A_THREAD)
    return min(useful, n_cores()) if requested is None else requested


class Engine:
    """Runs one network on one table of samples, up to `batch_size` rows at a time.

    Parameters
    ----------
    network : Network
        Built; its layers and loss all have kernels.
    table : Table
        The samples.
    batch_size : int
    n_threads : int
    optimizer : Optimizer, optional
        Needed to train.
    training : bool
        Whether slopes are kept for a backward pass.
    """

    def __init__(
        self,
        network: Network,
        table: Table,
        batch_size: int,
        n_threads: int = 1,
        optimizer: Optimizer | None = None,
        training: bool = True,
    ) -> None:
        self.network, self.table, self.n_threads = network, table, n_threads
        self.job = np.zeros(1, plan.JOB)
        self.stages = _stages(network, optimizer or SGD())
        self._fill_job(optimizer or SGD(), batch_size, training)
        self._allocate(batch_size, training)

    def _fill_job(self, optimizer: Optimizer, batch_size: int, training: bool) -> None:
        network, table, job = self.network, self.table, self.job[0]
        assert isinstance(network.loss, BuiltInLoss)
        job["n_features"], job["n_outputs"] = table.n_columns, network.n_outputs
        job["batch_size"], job["n_threads"] = batch_size, self.n_threads
        job["x_row_stride"], job["x_column_stride"] = table.row_stride, table.column_stride
        job["x_kind"], job["x_gathered"] = table.kind, not table.usable_as(network.dtype)
        job["loss"], job["link"] = network.loss.code, loss_kernels.LINK_IDENTITY
        job["loss_option"] = network.loss.option
        job["optimizer"], job["clip_norm"] = optimizer.code, optimizer.clip_norm or 0.0
        job["seed"], job["training"] = network.seed, training
        job["l1"], job["l2"] = network.l1, network.l2
        dense = np.flatnonzero(self.stages["dense"])
        job["first_dense"] = dense[0] if dense.size else self.stages.size
        job["limits_columns"] = (self.stages["max_norm"] > 0).any()

    def _allocate(self, batch_size: int, training: bool) -> None:
        """Lay out the work space: inputs, values and slopes of each stage, gradient, panels."""
        network, job, stages = self.network, self.job[0], self.stages
        used = 0

        def take(size: int) -> int:
            nonlocal used
            start, used = used, used + -(-size // _ALIGN) * _ALIGN
            return start

        widest = int(max(stages["n_in"].max(), stages["n_out"].max()))
        if job["x_gathered"]:
            job["inputs"] = take(batch_size * job["n_features"])
        for stage in stages:
            stage["values"] = take(batch_size * stage["n_out"])
            if training:
                stage["slopes"] = take(batch_size * stage["n_out"])
        job["gradient_width"] = widest
        job["gradient"] = take(batch_size * widest) if training else 0
        zeros = np.zeros(int(tile_width(network.params)), network.dtype)
        job["panel_size"] = -(-widest * zeros.size // _ALIGN) * _ALIGN
        job["panels"] = take(self.n_threads * job["panel_size"])
        work = np.empty(used, network.dtype)
        self.buffers = plan.Buffers(
            params=network.params,
            grads=network.grads,
            state=np.empty(0, network.dtype),
            work=work,
            work_bytes=bytes_of(work),
            zeros=zeros,
            positions=np.arange(batch_size, dtype=np.int32),
            row_losses=np.empty(batch_size),
        )

    def _data(self, order: np.ndarray, encoded: Encoded, weights: np.ndarray) -> plan.Data:
        loss, dtype = self.network.loss, self.network.dtype
        assert isinstance(loss, BuiltInLoss)
        return plan.Data(
            self.table.bytes_,
            order,
            encoded.labels,
            encoded.targets,
            weights,
            loss.levels_as(dtype),
        )

    def train(
        self,
        order: np.ndarray,
        encoded: Encoded,
        weights: np.ndarray,
        state: np.ndarray,
        numbers: np.ndarray,
        first_step: int,
    ) -> np.ndarray:
        """Walk through `order` once, a batch a step; returns each batch's loss (n_steps,)."""
        self.job["first_step"] = first_step
        losses, sync = np.empty(numbers.shape[0]), np.zeros(SYNC_SIZE, np.int64)
        data, buffers = self._data(order, encoded, weights), self.buffers._replace(state=state)
        flat = numbers.reshape(-1)

        def run(thread: int) -> None:
            step.train_steps(self.job, self.stages, data, buffers, flat, losses, sync, thread)

        _on_threads(run, self.n_threads, sync)
        return losses

    def gradient(
        self, order: np.ndarray, encoded: Encoded, weights: np.ndarray, total: float
    ) -> float:
        """Loss of the samples in `order` as a part of `total` weight; gradient in network.grads."""
        self.job["total_weight"] = total
        return float(
            step.gradient(self.job, self.stages, self._data(order, encoded, weights), self.buffers)
        )

    def outputs(self) -> np.ndarray:
        """Linear outputs (n_rows, n_outputs) of the whole table."""
        n, n_outputs = self.table.n_rows, self.network.n_outputs
        out = np.empty((n, n_outputs), self.network.dtype)
        nothing = np.empty(0, self.network.dtype)
        encoded = Encoded(np.empty(0, np.int32), nothing)
        data = self._data(np.arange(n, dtype=np.int32), encoded, nothing)
        step.predict(self.job, self.stages, data, self.buffers, out.reshape(-1), 0, n)
        return out


def outputs(network: Network, table: Table) -> np.ndarray:
    """Linear outputs (n_rows, n_outputs) of a built network for every row of a table."""
    block = min(_PREDICT_BLOCK, max(table.n_rows, 1))
    return Engine(network, table, block, training=False).outputs()


def _stages(network: Network, optimizer: Optimizer) -> np.ndarray:
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
    return stages


def _on_threads(run: Callable[[int], Any], n_threads: int, sync: np.ndarray) -> None:
    """Call run(0) here and run(1..) on new threads; wait for all, and raise what any raised.

    Threads live for one call only, so nothing is left over to break in a forked child.
    """
    failures: list[BaseException] = []

    def guarded(thread: int) -> None:
        try:
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
    for thread in others:
        thread.join()
    if failures:
        raise failures[0]
