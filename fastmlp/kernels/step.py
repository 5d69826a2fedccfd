"""The fused training step: all batches of an epoch in one call, on one thread or several.

A step has two phases. *Rows*: each thread takes its rows of the batch through all layers, the loss
and back again. *Parameters*: each thread owns a range of every W, sums its gradient over the whole
batch and updates it while it is hot. Between them the threads meet.
"""

from __future__ import annotations

from . import activations, losses, matmul, optimizers, random, rows
from .jit import jit, span
from .plan import Buffers, Data
from .threads import barrier, part_start
from .tiles import TILE_ROWS

_HOT_NUMBERS = 8192  # of a gradient that is updated before it leaves the cache


@jit
def borrow_data(data):
    """The same arrays without reference counts, over which threads would fight."""
    return Data(
        span(data.x, 0, data.x.size),
        span(data.order, 0, data.order.size),
        span(data.labels, 0, data.labels.size),
        span(data.targets, 0, data.targets.size),
        span(data.weights, 0, data.weights.size),
        span(data.levels, 0, data.levels.size),
    )


@jit
def borrow_buffers(buffers):
    """As `borrow_data`."""
    return Buffers(
        span(buffers.params, 0, buffers.params.size),
        span(buffers.grads, 0, buffers.grads.size),
        span(buffers.state, 0, buffers.state.size),
        span(buffers.work, 0, buffers.work.size),
        span(buffers.work_bytes, 0, buffers.work_bytes.size),
        span(buffers.zeros, 0, buffers.zeros.size),
        span(buffers.positions, 0, buffers.positions.size),
        span(buffers.row_losses, 0, buffers.row_losses.size),
    )


@jit
def stage_input(job, stages, s, data, buffers, order):
    """Where stage s finds its rows: bytes, offset, stride and the order to read them in."""
    itemsize = buffers.params.itemsize
    stride = stages[s]["n_in"] * itemsize
    if s > 0:
        offset = stages[s - 1]["values"] * itemsize
        return buffers.work_bytes, offset, stride, buffers.positions
    if job["x_gathered"]:
        return buffers.work_bytes, job["inputs"] * itemsize, stride, buffers.positions
    return data.x, job["x_offset"], job["x_row_stride"], order


@jit
def _gather_inputs(job, data, buffers, order, first, last):
    """Convert rows of X that cannot be used in place."""
    if job["x_gathered"]:
        size = buffers.positions.size * job["n_features"]
        rows.gather(
            data.x, job["x_offset"], job["x_row_stride"], job["x_column_stride"], job["x_kind"],
            order, first, last, job["n_features"], span(buffers.work, job["inputs"], size),
        )  # fmt: skip


@jit
def _dropout_key(job, stage, step):
    return random.stream_key(job["seed"], stage["dropout_stream"], job["first_step"] + step)


@jit
def _forward_stage(job, stages, s, data, buffers, order, first, last, step, panel):
    """Product, activation and dropout of one stage for rows first..last of the batch."""
    stage = stages[s]
    n_in, n_out = stage["n_in"], stage["n_out"]
    x, offset, stride, index = stage_input(job, stages, s, data, buffers, order)
    values = span(buffers.work, stage["values"], last * n_out)
    if stage["dense"]:
        matmul.dense_forward(
            x, offset, stride, index, first, last, buffers.params, stage["weights"],
            buffers.params, stage["biases"], n_in, n_out, values, panel,
        )  # fmt: skip
    else:
        rows.copy_rows(x, offset, stride, index, first, last, n_out, values)
    size = (last - first) * n_out
    mine = span(values, first * n_out, size)
    if job["training"]:
        slopes = span(buffers.work, stage["slopes"] + first * n_out, size)
        activations.activate_with_slope(
            stage["activation"], stage["activation_option"], mine, slopes
        )
        if stage["dropout"] > 0:
            key = _dropout_key(job, stage, step)
            random.drop(mine, stage["dropout"], key, first * n_out)
    else:
        activations.activate(stage["activation"], stage["activation_option"], mine)


@jit
def forward(job, stages, data, buffers, order, first, last, step, panel):
    """Rows first..last of the batch through all stages; the outputs are the last stage's values."""
    _gather_inputs(job, data, buffers, order, first, last)
    for s in range(stages.size):
        _forward_stage(job, stages, s, data, buffers, order, first, last, step, panel)


@jit
def _gradient_rows(job, buffers, first, last, n_columns):
    """Rows of the gradient on its way back, as a view that counts rows from the batch's first.

    The width changes from stage to stage; shifting the view by `first` keeps each thread inside its
    own part of the memory whatever stage the others are at.
    """
    shift = first * (job["gradient_width"] - n_columns)
    return span(buffers.work, job["gradient"] + shift, last * n_columns)


@jit
def _backward(job, stages, buffers, first, last, step, panel):
    """From the outputs' gradient to that of every stage's linear output, left in its slopes."""
    itemsize = buffers.params.itemsize
    for s in range(stages.size - 1, job["first_dense"] - 1, -1):
        stage = stages[s]
        n_in, n_out = stage["n_in"], stage["n_out"]
        size = (last - first) * n_out
        incoming = span(_gradient_rows(job, buffers, first, last, n_out), first * n_out, size)
        if stage["dropout"] > 0:
            random.drop(incoming, stage["dropout"], _dropout_key(job, stage, step), first * n_out)
        slopes = span(buffers.work, stage["slopes"] + first * n_out, size)
        for i in range(slopes.size):
            slopes[i] *= incoming[i]
        if s == job["first_dense"]:
            return
        if stage["dense"]:
            matmul.input_gradient(
                buffers.work_bytes, stage["slopes"] * itemsize, n_out * itemsize,
                buffers.positions, first, last, buffers.params, stage["weights"], n_in, n_out,
                buffers.zeros, _gradient_rows(job, buffers, first, last, n_in), panel,
            )  # fmt: skip
        else:
            for i in range(slopes.size):
                incoming[i] = slopes[i]


@jit
def _rows_phase(job, stages, data, buffers, order, first, last, step, panel):
    """Forward, loss and backward of rows first..last of the batch."""
    forward(job, stages, data, buffers, order, first, last, step, panel)
    n_out = job["n_outputs"]
    total = job["total_weight"]
    if total <= 0:
        total = losses.total_weight(order, data.weights)
    size = buffers.positions.size * n_out
    losses.loss_rows(
        job["loss"], job["loss_option"], data.levels,
        span(buffers.work, stages[stages.size - 1]["values"], size), n_out, order, first, last,
        data.labels, data.targets, data.weights, total,
        _gradient_rows(job, buffers, first, last, n_out), buffers.row_losses,
    )  # fmt: skip
    _backward(job, stages, buffers, first, last, step, panel)


@jit
def _stage_gradient(job, stages, s, data, buffers, order, first, last):
    """Gradient of rows first..last of one stage's W, penalties included."""
    stage = stages[s]
    n_out = stage["n_out"]
    x, offset, stride, index = stage_input(job, stages, s, data, buffers, order)
    matmul.weight_gradient(
        x, offset, stride, index, order.size, buffers.work, stage["slopes"], first, last, n_out,
        buffers.grads, stage["weights"],
    )  # fmt: skip
    if job["l1"] != 0 or job["l2"] != 0:
        start, size = stage["weights"] + first * n_out, (last - first) * n_out
        optimizers.add_penalty(job["l1"], job["l2"], start, size, buffers.params, buffers.grads)


@jit
def _parameters_phase(job, stages, data, buffers, order, hyper, thread, update):
    """Gradients of this thread's share of the parameters and, where `update`, their new values."""
    n_threads = job["n_threads"]
    for s in range(job["first_dense"], stages.size):
        stage = stages[s]
        if not stage["dense"]:
            continue
        n_in, n_out = stage["n_in"], stage["n_out"]
        height = max(TILE_ROWS, _HOT_NUMBERS // n_out // TILE_ROWS * TILE_ROWS)
        first = part_start(n_in, n_threads, thread)
        last = part_start(n_in, n_threads, thread + 1)
        for i in range(first, last, height):
            end = min(last, i + height)
            _stage_gradient(job, stages, s, data, buffers, order, i, end)
            if update:
                optimizers.update(
                    job["optimizer"], hyper, stage["weight_rate"], stage["weight_decay"],
                    stage["weights"] + i * n_out, (end - i) * n_out,
                    buffers.params, buffers.grads, buffers.state,
                )  # fmt: skip
        left, right = _bias_part(n_out, n_threads, thread)
        matmul.bias_gradient(
            buffers.work, stage["slopes"], order.size, left, right, n_out, buffers.grads,
            stage["biases"],
        )  # fmt: skip
        if update:
            optimizers.update(
                job["optimizer"], hyper, stage["bias_rate"], stage["bias_decay"],
                stage["biases"] + left, right - left, buffers.params, buffers.grads, buffers.state,
            )  # fmt: skip


@jit
def _bias_part(n_out, n_threads, thread):
    return part_start(n_out, n_threads, thread), part_start(n_out, n_threads, thread + 1)


@jit
def _clipped_update(job, stages, buffers, hyper, thread, scale):
    """Scale this thread's share of the gradients and update its share of the parameters."""
    n_threads = job["n_threads"]
    for s in range(stages.size):
        stage = stages[s]
        if not stage["dense"]:
            continue
        n_in, n_out = stage["n_in"], stage["n_out"]
        first = part_start(n_in, n_threads, thread)
        start = stage["weights"] + first * n_out
        size = (part_start(n_in, n_threads, thread + 1) - first) * n_out
        left, right = _bias_part(n_out, n_threads, thread)
        if scale != 1:
            factor = type(buffers.grads[0])(scale)
            optimizers.rescale(span(buffers.grads, start, size), factor)
            optimizers.rescale(span(buffers.grads, stage["biases"] + left, right - left), factor)
        optimizers.update(
            job["optimizer"], hyper, stage["weight_rate"], stage["weight_decay"], start, size,
            buffers.params, buffers.grads, buffers.state,
        )  # fmt: skip
        optimizers.update(
            job["optimizer"], hyper, stage["bias_rate"], stage["bias_decay"],
            stage["biases"] + left, right - left, buffers.params, buffers.grads, buffers.state,
        )  # fmt: skip


@jit
def _limit_columns(job, stages, buffers, thread):
    for s in range(stages.size):
        stage = stages[s]
        if stage["dense"] and stage["max_norm"] > 0:
            left, right = _bias_part(stage["n_out"], job["n_threads"], thread)
            optimizers.limit_columns(
                buffers.params, stage["weights"], stage["n_in"], stage["n_out"], left, right,
                stage["max_norm"],
            )  # fmt: skip


@jit
def penalties(job, stages, params):
    """l1 sum |W| + l2/2 sum W^2 over all weights."""
    total = 0.0
    if job["l1"] != 0 or job["l2"] != 0:
        for s in range(stages.size):
            stage = stages[s]
            if stage["dense"]:
                size = stage["n_in"] * stage["n_out"]
                total += optimizers.penalty(job["l1"], job["l2"], stage["weights"], size, params)
    return total


@jit
def my_panel(job, buffers, thread):
    """This thread's scratch for a packed panel."""
    return span(buffers.work, job["panels"] + thread * job["panel_size"], job["panel_size"])


@jit
def train_steps(job_array, stages, data_owned, buffers_owned, hyper, step_losses, sync, thread):
    """Walk through `data.order` a batch at a time, updating the parameters after each.

    hyper (n_steps, N_HYPERPARAMETERS) float64 read; step_losses (n_steps,) float64 written by
    thread 0: the mean loss of each batch, penalties included. Every thread calls this with its own
    number. Returns False if another thread failed.
    """
    job = job_array[0]
    data, buffers = borrow_data(data_owned), borrow_buffers(buffers_owned)
    n_threads, batch_size = job["n_threads"], job["batch_size"]
    panel = my_panel(job, buffers, thread)
    for step in range(step_losses.size):
        start = step * batch_size
        batch = min(batch_size, data.order.size - start)
        order = span(data.order, start, batch)
        step_hyper = span(hyper, step * optimizers.N_HYPERPARAMETERS, optimizers.N_HYPERPARAMETERS)
        first = part_start(batch, n_threads, thread)
        last = part_start(batch, n_threads, thread + 1)
        _rows_phase(job, stages, data, buffers, order, first, last, step, panel)
        penalty = penalties(job, stages, buffers.params) if thread == 0 else 0.0
        if not barrier(sync, n_threads):
            return False
        if thread == 0:
            step_losses[step] = losses.sum_rows(buffers.row_losses, batch) + penalty
        if job["clip_norm"] > 0:
            _parameters_phase(job, stages, data, buffers, order, step_hyper, thread, False)
            if not barrier(sync, n_threads):
                return False
            scale = optimizers.clip_factor(buffers.grads, job["clip_norm"])
            if not barrier(sync, n_threads):
                return False
            _clipped_update(job, stages, buffers, step_hyper, thread, scale)
        else:
            _parameters_phase(job, stages, data, buffers, order, step_hyper, thread, True)
        if not barrier(sync, n_threads):
            return False
        if job["limits_columns"]:
            _limit_columns(job, stages, buffers, thread)
            if not barrier(sync, n_threads):
                return False
    return True


@jit
def gradient(job_array, stages, data_owned, buffers_owned):
    """Loss of one batch, the whole of `data.order`, and its gradient in `buffers.grads`."""
    job = job_array[0]
    data, buffers = borrow_data(data_owned), borrow_buffers(buffers_owned)
    order = data.order
    _rows_phase(job, stages, data, buffers, order, 0, order.size, 0, my_panel(job, buffers, 0))
    no_hyper = buffers.row_losses
    _parameters_phase(job, stages, data, buffers, order, no_hyper, 0, False)
    return losses.sum_rows(buffers.row_losses, order.size) + penalties(job, stages, buffers.params)


@jit
def predict(job_array, stages, data_owned, buffers_owned, out, first, last):
    """Outputs after the link of rows first..last of `data.order`, a block at a time.

    out (n_rows, n_outputs) written. `buffers.work` belongs to the calling thread alone.
    """
    job = job_array[0]
    data, buffers = borrow_data(data_owned), borrow_buffers(buffers_owned)
    n_out, block = job["n_outputs"], job["batch_size"]
    panel = my_panel(job, buffers, 0)
    for start in range(first, last, block):
        size = min(block, last - start)
        order = span(data.order, start, size)
        forward(job, stages, data, buffers, order, 0, size, 0, panel)
        outputs = span(buffers.work, stages[stages.size - 1]["values"], size * n_out)
        losses.link_rows(job["link"], outputs, n_out, size)
        result = span(out, start * n_out, size * n_out)
        for i in range(result.size):
            result[i] = outputs[i]
