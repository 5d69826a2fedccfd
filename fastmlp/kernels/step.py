"""The fused training step: all batches of an epoch in one call, on one thread or several.

A step has two phases. *Rows*: each thread takes its rows of the batch through all layers, the loss
and back again. *Parameters*: each thread owns a range of every W, sums its gradient over the whole
batch and updates it while it is hot. Between them the threads meet. Of one layer threads may share
out the inputs: each multiplies those that meet its own rows of W, and only the sums change cores.
With many inputs that is the first layer; with few it is the second, and each thread computes its
inputs, units of the first layer, for the whole batch. Where layers are wide, threads share out the
columns of each layer instead of rows.
"""

from __future__ import annotations

import numpy as np

from . import activations, losses, matmul, narrow, optimizers, random, rows, shares, sparse
from .denormals import flush_denormals, restore_denormals
from .jit import doubles, integers, itemsize, jit, numbers
from .plan import jobs_at, stages_at
from .sums import n_parts
from .threads import barrier, my_part, take
from .tiles import FEW_COLUMNS, TILE_ROWS, tile_width

# A gradient is computed and used in blocks, which do not leave the nearest cache in between.
HOT_NUMBERS, BLOCK_TILES = 4096, 4
_FLOAT64_BYTES, _INT32_BYTES = 8, 4


@jit
def _stage_input(job, stages, s, order, thread, one):
    """Where stage s finds its rows: their address, stride and the order to read them in."""
    if s > 0:
        offset, stride = shares.layout(job, stages, s - 1, thread, one)
        return stages[s - 1]["values"] + offset, stride * itemsize(one), job["positions"]
    if job["x_gathered"]:
        return job["inputs"], stages[s]["n_in"] * itemsize(one), job["positions"]
    return job["x"], job["x_row_stride"], order


@jit
def _batches_an_epoch(job):
    return -(-job["n_rows"] // job["batch_size"])


@jit
def _is_sparse(job):
    """Whether the first dense layer reads sparse rows itself."""
    return job["x_kind"] == rows.SPARSE and not job["x_gathered"]


@jit
def _chunks(stride, first, last, left, right):
    """A block of a matrix as runs of adjacent numbers: how many, how long, where the first."""
    start = first * stride + left
    if right - left == stride:
        return 1, (last - first) * stride, start
    return last - first, right - left, start


@jit
def _dropout_key(job, stage, step):
    return random.stream_key(job["seed"], stage["dropout_stream"], job["first_step"] + step)


@jit
def _activate(job, stages, s, step, first, last, left, right, thread, one):
    """Activation and dropout of a block of a stage's values."""
    size, stage = itemsize(one), stages[s]
    offset, stride = shares.layout(job, stages, s, thread, one)
    code, option, rate = stage["activation"], stage["activation_option"], stage["dropout"]
    n_chunks, length, start = _chunks(stride, first, last, left, right)
    for _ in range(n_chunks):
        values = numbers(stage["values"] + offset + start * size, length, one)
        slopes = numbers(stage["slopes"] + offset + start * size, length, one)
        activations.activate(code, option, values, slopes)
        if job["training"] and rate > 0:
            random.drop(values, rate, _dropout_key(job, stage, step), start)
        start += stride


@jit
def _gather(job, order, first, last, left, right, one):
    """Convert rows first..last of the batch into the job's inputs; of dense ones, some columns."""
    if job["x_kind"] == rows.SPARSE:
        sparse.gather_sparse(
            job["x"], job["x_indices"], job["x_indptr"], order, first, last, job["n_features"],
            job["x_scale"], job["inputs"], one,
        )  # fmt: skip
    else:
        rows.gather(
            job["x"], job["x_row_stride"], job["x_column_stride"], job["x_kind"],
            integers(order, last), first, last, left, right, job["n_features"], job["x_scale"],
            job["inputs"], one,
        )  # fmt: skip


@jit
def _forward_my_inputs(job, stages, s, order, batch, step, thread, panel, one):
    """What this thread's inputs contribute to the shared stage, whose W stays in this core."""
    stage = stages[s]
    n_in, n_out = stage["n_in"], stage["n_out"]
    x, stride, index = _stage_input(job, stages, s, order, thread, one)
    parts, first, last = shares.my_parts(job, stages, thread)
    ahead = 0
    if s == 0 and job["x_gathered"]:
        left, right = shares.my_inputs(job, stages, thread)
        _gather(job, order, 0, batch, left, right, one)
    elif s == 0:
        done = step % _batches_an_epoch(job) * job["batch_size"]
        ahead = job["n_rows"] - done  # left of the epoch
    weights = job["params"] + stage["weights"] * itemsize(one)
    base, out, part_bytes = job["zeros"], job["parts"], job["batch_size"] * n_out * itemsize(one)
    if thread == 0:  # its parts come first, from the biases on, so that it can add them up
        base, part_bytes = job["params"] + stage["biases"] * itemsize(one), 0
    else:
        out += (shares.stored_part(parts, job["n_threads"], first) - first) * part_bytes
    matmul.forward_parts(
        x, stride, index, batch, ahead, first, last, weights, base, n_in, n_out, out, part_bytes,
        panel, one,
    )  # fmt: skip


@jit
def _forward(job, stages, order, batch, step, thread, panel, one):
    """The batch through all stages; the outputs are the last stage's values."""
    n_threads = job["n_threads"]
    if job["x_gathered"] and job["shared"] != 0:
        first, last = my_part(batch, n_threads, thread)
        _gather(job, order, first, last, 0, job["n_features"], one)
        if shares.shares_columns(job, 0):
            barrier(job["sync"], n_threads, thread)
    for s in range(stages.size):
        stage = stages[s]
        n_in, n_out = stage["n_in"], stage["n_out"]
        first, last, left, right = shares.my_block(job, stages, s, batch, thread, one)
        x, stride, index = _stage_input(job, stages, s, order, thread, one)
        params, _, _, first_weight, first_bias, stride_of_w = shares.home(
            job, stages, s, thread, one
        )
        weights = params + first_weight * itemsize(one)
        biases = params + first_bias * itemsize(one)
        if s == job["shared"]:
            _forward_my_inputs(job, stages, s, order, batch, step, thread, panel, one)
            barrier(job["sync"], n_threads, thread)
            part_bytes = job["batch_size"] * n_out * itemsize(one)
            parts = n_parts(n_in, n_out)
            stored = shares.stored_part(parts, n_threads, parts)
            matmul.add_parts(
                job["parts"], part_bytes, stored, first, last, n_out, stage["values"], one
            )
        elif s == 0 and _is_sparse(job):
            sparse.sparse_forward(
                job["x"], job["x_indices"], job["x_indptr"], order, first, last, left, right,
                weights, biases, n_in, n_out, stage["values"], panel, one,
            )  # fmt: skip
        elif stage["dense"]:
            offset, out_stride = shares.layout(job, stages, s, thread, one)
            matmul.dense_forward(
                x, stride, index, first, last, left, right, weights, stride_of_w, biases, n_in,
                n_out, stage["values"] + offset, out_stride, panel, one,
            )  # fmt: skip
        else:
            offset = left * itemsize(one)
            rows.copy_rows(
                x + offset, stride, index, first, last, right - left, stage["values"] + offset,
                n_out, one,
            )  # fmt: skip
        _activate(job, stages, s, step, first, last, left, right, thread, one)
        if job["by_columns"]:
            barrier(job["sync"], n_threads, thread)


@jit
def _gradient_rows(job, first, n_columns, one):
    """Address of the gradient on its way back, counted from the batch's first row.

    The width changes from stage to stage; shifting by the first row keeps each thread inside its
    own part of the memory whatever stage the others are at.
    """
    return job["gradient"] + first * (job["gradient_width"] - n_columns) * itemsize(one)


@jit
def _gradient_of(job, stages, s, first, thread, one):
    """Address and numbers a row of the gradient of stage s's values, of which `first` is a row."""
    offset, stride = shares.layout(job, stages, s, thread, one)
    return _gradient_rows(job, first, stride, one) + offset, stride


@jit
def _scale_slopes(job, stages, s, step, first, last, left, right, thread, one):
    """Slopes of a block times the gradient that comes in: the gradient of the linear output."""
    size, stage = itemsize(one), stages[s]
    offset, stride = shares.layout(job, stages, s, thread, one)
    gradient, _ = _gradient_of(job, stages, s, first, thread, one)
    n_chunks, length, start = _chunks(stride, first, last, left, right)
    for _ in range(n_chunks):
        incoming = numbers(gradient + start * size, length, one)
        if stage["dropout"] > 0:
            random.drop(incoming, stage["dropout"], _dropout_key(job, stage, step), start)
        slopes = numbers(stage["slopes"] + offset + start * size, length, one)
        for i in range(slopes.size):
            slopes[i] *= incoming[i]
        if not stage["dense"]:
            for i in range(slopes.size):
                incoming[i] = slopes[i]
        start += stride


@jit
def _backward(job, stages, batch, step, thread, panel, one):
    """From the outputs' gradient to that of every stage's linear output, left in its slopes."""
    is_scaled = False
    for s in range(stages.size - 1, job["first_dense"] - 1, -1):
        stage = stages[s]
        n_in, n_out = stage["n_in"], stage["n_out"]
        first, last, left, right = shares.my_block(job, stages, s, batch, thread, one)
        if not is_scaled:
            _scale_slopes(job, stages, s, step, first, last, left, right, thread, one)
        if s == job["first_dense"]:
            return
        is_scaled = False
        if not stage["dense"]:
            continue
        if shares.shares_columns(job, s - 1):
            barrier(job["sync"], job["n_threads"], thread)
        first, last, left, right = shares.my_block(job, stages, s - 1, batch, thread, one)
        weights, before = job["params"] + stage["weights"] * itemsize(one), stages[s - 1]
        if n_out <= FEW_COLUMNS and before["dense"] and before["dropout"] == 0:
            offset, stride = shares.layout(job, stages, s - 1, thread, one)
            narrow.times_input_gradient(
                stage["slopes"], job["positions"], first, last, left, right, weights, n_out,
                before["slopes"] + offset, stride, panel, one,
            )  # fmt: skip
            is_scaled = True
        else:
            gradient, stride = _gradient_of(job, stages, s - 1, first, thread, one)
            matmul.input_gradient(
                stage["slopes"], job["positions"], first, last, left, right, weights, n_in, n_out,
                job["zeros"], gradient, stride, panel, one,
            )  # fmt: skip


@jit
def _batch_weight(job, order, batch, one):
    """What a batch's loss is a mean over: the sum of its weights, if the job does not say."""
    if job["total_weight"] > 0:
        return job["total_weight"]
    return losses.total_weight(integers(order, batch), job["sample_weights"], one)


@jit
def _penalty_scale(job, total):
    """1, or each sample's share of the batch where samples are to share the penalties."""
    if job["shares_penalty"]:
        return 1.0 / total if total > 0 else 0.0
    return 1.0


@jit
def _rows_phase(job, stages, order, batch, step, total, thread, one):
    """Forward, loss and backward of this thread's part of the batch."""
    panel = job["panels"] + thread * job["panel_bytes"]
    _forward(job, stages, order, batch, step, thread, panel, one)
    n_out, n_threads = job["n_outputs"], job["n_threads"]
    samples = integers(order, batch)
    first, last = my_part(batch, n_threads, thread)
    shift = 0 if job["by_columns"] else first
    losses.loss_rows(
        job["loss"], job["loss_option"], job["levels"], job["n_levels"],
        stages[stages.size - 1]["values"], n_out, samples, first, last, job["labels"],
        job["targets"], job["sample_weights"], total / job["loss_scale"],
        _gradient_rows(job, shift, n_out, one),
        job["row_losses"], one,
    )  # fmt: skip
    if job["by_columns"]:
        barrier(job["sync"], n_threads, thread)
    _backward(job, stages, batch, step, thread, panel, one)


@jit
def _update(
    job, stages, s, hyper, thread, weights, start, n_rows, n_columns, stride, grads, grad_stride,
    one,
):  # fmt: skip
    """The optimizer's step for a block of parameters, which `shares.home` counts."""
    stage = stages[s]
    rate = stage["weight_rate"] if weights else stage["bias_rate"]
    decay = stage["weight_decay"] if weights else stage["bias_decay"]
    params, states, n_params, _, _, _ = shares.home(job, stages, s, thread, one)
    optimizers.update(
        job["optimizer"], hyper, rate, decay, start, n_rows, n_columns, stride, n_params, params,
        grads, grad_stride, states, one,
    )  # fmt: skip


@jit
def _gradient_place(job, step, update, thread, start, stride, width, one):
    """Where the gradient of a block from parameter `start` on is written, and its stride.

    If it is used at once and another step follows, nobody will see it: then it goes to this
    thread's scratch, which stays in the nearest cache and next to which no other thread writes.
    """
    if update and step + 1 < job["n_steps"]:
        return job["scratch"] + thread * job["scratch_bytes"], width
    return job["grads"] + start * itemsize(one), stride


@jit
def _weights_phase(job, stages, s, order, batch, step, scale, hyper, thread, update, one):
    """Gradient of this thread's share of a W, a block at a time, each updated while it is hot."""
    n_in, n_out = stages[s]["n_in"], stages[s]["n_out"]
    first, last, left, right = shares.my_weights(job, stages, s, thread, one)
    if s == 0 and _is_sparse(job):
        if not sparse.fills_columns(job["x_indptr"], order, batch, n_in):
            _sparse_weights(
                job, stages, order, batch, scale, hyper, thread, update, first, last, left, right,
                one,
            )  # fmt: skip
            return
        starts, places, factors = _columns_of_batch(job, batch, thread, one)
        sparse.sort_by_columns(
            job["x"], job["x_indices"], job["x_indptr"], order, batch, first, last, n_in, starts,
            places, factors, one,
        )  # fmt: skip
    width = BLOCK_TILES * tile_width(one)
    height = max(1, HOT_NUMBERS // min(width, n_out) // TILE_ROWS) * TILE_ROWS
    for j in range(left, right, width):
        end = min(right, j + width)
        d, d_stride, panel_bytes = _gradient_columns(job, stages, s, batch, j, end, thread, one)
        for i in range(first, last, height):
            _weights_block(
                job, stages, s, order, batch, step, scale, hyper, thread, update, i,
                min(last, i + height), j, end, d, d_stride, panel_bytes, one,
            )  # fmt: skip


@jit
def _columns_of_batch(job, batch, thread, one):
    """Where this thread has the batch's non-zeros by columns: their starts, rows and values."""
    starts = job["column_starts"] + thread * (job["n_features"] + 2) * _INT32_BYTES
    offset = thread * job["most_non_zeros"] if job["by_columns"] else 0
    places = job["column_places"] + offset * _INT32_BYTES
    return starts, places, job["column_factors"] + offset * itemsize(one)


@jit
def _gradient_columns(job, stages, s, batch, left, right, thread, one):
    """Where the gradient of a stage's linear output is read from: in place, or packed."""
    stage = stages[s]
    size, n_out, width = itemsize(one), stage["n_out"], tile_width(one)
    if not matmul.is_wide(n_out, one):
        offset, stride = shares.layout(job, stages, s, thread, one)
        return stage["slopes"] + offset + left * size, stride, width * size
    panel = job["panels"] + thread * job["panel_bytes"]
    if s == 0 and _is_sparse(job):
        width = right - left
        rows.copy_rows(
            stage["slopes"] + left * size, n_out * size, job["positions"], 0, batch, width, panel,
            width, one,
        )  # fmt: skip
        return panel, width, 0
    matmul.pack_columns(stage["slopes"], batch, left, right, n_out, panel, one)
    return panel, width, batch * width * size


@jit
def _input_columns(job, stages, s, order, batch, first, last, thread, one):
    """Where columns first..last of a stage's inputs are read from: address, stride, order."""
    x, stride, index = _stage_input(job, stages, s, order, thread, one)
    size = itemsize(one)
    if not matmul.is_wide(stages[s]["n_out"], one):
        return x + first * size, stride, index
    gradient = BLOCK_TILES * tile_width(one) * batch * size
    panel, width = job["panels"] + thread * job["panel_bytes"] + gradient, last - first
    rows.copy_rows(x + first * size, stride, index, 0, batch, width, panel, width, one)
    return panel, width * size, job["positions"]


@jit
def _weights_block(
    job, stages, s, order, batch, step, scale, hyper, thread, update, first, last, left, right, d,
    d_stride, panel_bytes, one,
):  # fmt: skip
    """Gradient of a block of a W and, where `update`, its new values."""
    n_out, width = stages[s]["n_out"], right - left
    start = stages[s]["weights"] + first * n_out + left
    grads, grad_stride = _gradient_place(job, step, update, thread, start, n_out, width, one)
    if s == 0 and _is_sparse(job):
        starts, places, factors = _columns_of_batch(job, batch, thread, one)
        sparse.sorted_weight_gradient(
            starts, places, factors, d, d_stride, first, last, width, job["zeros"], grads,
            grad_stride, one,
        )  # fmt: skip
    else:
        x, stride, index = _input_columns(job, stages, s, order, batch, first, last, thread, one)
        matmul.weight_gradient(
            x, stride, index, batch, d, d_stride, panel_bytes, last - first, width, grads,
            grad_stride, one,
        )  # fmt: skip
    _use_gradient(
        job, stages, s, hyper, scale, thread, first, last, left, right, grads, grad_stride, update,
        one,
    )  # fmt: skip


@jit
def _sparse_weights(
    job, stages, order, batch, scale, hyper, thread, update, first, last, left, right, one
):
    """As `_weights_block`, for all of the first W that is this thread's and few non-zeros."""
    stage, n_out = stages[0], stages[0]["n_out"]
    grads = job["grads"] + stage["weights"] * itemsize(one)
    sparse.sparse_weight_gradient(
        job["x"], job["x_indices"], job["x_indptr"], order, batch, stage["slopes"],
        first, last, left, right, n_out, grads, one,
    )  # fmt: skip
    grads += (first * n_out + left) * itemsize(one)
    _use_gradient(
        job, stages, 0, hyper, scale, thread, first, last, left, right, grads, n_out, update, one
    )


@jit
def _use_gradient(
    job, stages, s, hyper, scale, thread, first, last, left, right, grads, grad_stride, update, one
):
    """Add the penalties' part to the gradient of a block of a W, and update the block."""
    params, _, _, first_weight, _, stride = shares.home(job, stages, s, thread, one)
    start, n_rows, n_columns = first_weight + first * stride + left, last - first, right - left
    if stride == n_columns and grad_stride == n_columns:  # adjacent, as one row
        n_rows, n_columns = 1, n_rows * n_columns
    if job["l1"] != 0 or job["l2"] != 0:
        size = itemsize(one)
        for row in range(n_rows):
            optimizers.add_penalty(
                scale * job["l1"], scale * job["l2"], n_columns,
                params + (start + row * stride) * size, grads + row * grad_stride * size, one,
            )  # fmt: skip
    if update:
        _update(
            job, stages, s, hyper, thread, True, start, n_rows, n_columns, stride, grads,
            grad_stride, one,
        )  # fmt: skip


@jit
def _parameters_phase(job, stages, order, batch, step, scale, hyper, thread, update, one):
    """Gradients of this thread's share of the parameters and, where `update`, their new values.

    `scale`: of penalties, which are a part of the gradient.
    """
    for s in range(job["first_dense"], stages.size):
        stage = stages[s]
        if not stage["dense"]:
            continue
        _weights_phase(job, stages, s, order, batch, step, scale, hyper, thread, update, one)
        left, right = shares.my_biases(job, stages, s, thread)
        start, count = stage["biases"] + left, right - left
        grads, _ = _gradient_place(job, step, update, thread, start, count, count, one)
        offset, stride = shares.layout(job, stages, s, thread, one)
        matmul.bias_gradient(stage["slopes"] + offset, batch, left, right, stride, grads, one)
        if update:
            _, _, _, _, first_bias, _ = shares.home(job, stages, s, thread, one)
            _update(
                job, stages, s, hyper, thread, False, first_bias + left, 1, count, count, grads,
                count, one,
            )  # fmt: skip


@jit
def _scaled_update(job, stages, hyper, thread, scale, one):
    """Scale this thread's share of the gradients and update its share of the parameters."""
    size = itemsize(one)
    for s in range(stages.size):
        stage = stages[s]
        if not stage["dense"]:
            continue
        n_out = stage["n_out"]
        for weights in (True, False):
            if weights:
                first, last = shares.my_weight_rows(job, stages, s, thread)
            else:
                first, last = shares.my_biases(job, stages, s, thread)
            width = n_out if weights else 1
            count = (last - first) * width
            start = (stage["weights"] if weights else stage["biases"]) + first * width
            grads = job["grads"] + start * size
            if scale != 1:
                optimizers.rescale(count, grads, scale, one)
            _update(
                job, stages, s, hyper, thread, weights, start, 1, count, count, grads, count, one
            )


@jit
def _limit_columns(job, stages, thread, one):
    """Max-norm of this thread's share of the units."""
    for s in range(stages.size):
        stage = stages[s]
        if stage["dense"] and stage["max_norm"] > 0:
            n_out = stage["n_out"]
            first, last = my_part(n_out, job["n_threads"], thread)
            optimizers.limit_columns(
                job["params"] + stage["weights"] * itemsize(one), stage["n_in"], n_out, first, last,
                stage["max_norm"], one,
            )  # fmt: skip


@jit
def penalty_parts(stages, s):
    """In how many parts the penalties of a row of W come: those of the next sum over its units."""
    for t in range(s + 1, stages.size):
        if stages[t]["dense"]:
            return n_parts(stages[t]["n_in"], stages[t]["n_out"])
    return 1


@jit
def _my_penalties(job, stages, thread, one):
    """Penalties of this thread's rows, or parts of rows, of every W, so that none changes cores."""
    if job["l1"] == 0 and job["l2"] == 0:
        return
    place, size = job["penalties"], itemsize(one)
    for s in range(stages.size):
        stage = stages[s]
        if not stage["dense"]:
            continue
        n_in, n_out, parts = stage["n_in"], stage["n_out"], penalty_parts(stages, s)
        first, last, left, right = 0, n_in, 0, n_out
        if s < job["shared"]:
            left, right = shares.my_inputs(job, stages, thread)
        else:
            first, last = shares.my_weight_rows(job, stages, s, thread)
        params, _, _, first_weight, _, stride = shares.home(job, stages, s, thread, one)
        optimizers.penalties_in_parts(
            job["l1"], job["l2"], n_in, n_out, parts, first, last, left, right,
            params + first_weight * size, stride, place, one,
        )  # fmt: skip
        place += parts * n_in * _FLOAT64_BYTES


@jit
def _loss(job, batch, scale):
    """Loss of a batch with the penalties of all weights, from the rows' parts of each."""
    loss = losses.sum_rows(job["row_losses"], batch)
    if job["l1"] == 0 and job["l2"] == 0:
        return loss
    return loss + scale * losses.sum_rows(job["penalties"], job["n_weight_rows"])


@jit
def _was_enough(job, step):
    """Whether an epoch that ended before this step wore out the patience."""
    return 0 < job["enough_after"] * _batches_an_epoch(job) <= step


@jit
def _judge_epoch(job, step):
    """At the end of an epoch, see whether its loss is better, and say when it is enough."""
    n_batches = _batches_an_epoch(job)
    if job["patience"] < 0 or (step + 1) % n_batches != 0:
        return
    first = job["losses"] + (step + 1 - n_batches) * _FLOAT64_BYTES
    loss = losses.mean_of_batches(first, n_batches, job["batch_size"], job["n_rows"])
    is_better = loss <= job["best_loss"] - job["tolerance"]
    job["n_stale"] = 0 if is_better else job["n_stale"] + 1
    job["best_loss"] = min(job["best_loss"], loss)
    if job["n_stale"] > job["patience"]:
        job["enough_after"] = (step + 1) // n_batches


@jit
def _step(job, stages, order, batch, step, thread, one):
    """One batch: rows, parameters, and what needs all gradients or all parameters at once.

    Returns False if another thread failed.
    """
    n_threads = job["n_threads"]
    hyper = job["hyper"] + step * optimizers.N_HYPERPARAMETERS * _FLOAT64_BYTES
    total = _batch_weight(job, order, batch, one)
    _rows_phase(job, stages, order, batch, step, total, thread, one)
    scale = _penalty_scale(job, total)
    _my_penalties(job, stages, thread, one)
    if not barrier(job["sync"], n_threads, thread):
        return False
    found = doubles(job["losses"], step + 1)
    # What thread 0 found in earlier steps all see behind a barrier; what in this one, only some.
    if step > 0 and (_was_enough(job, step) or not np.isfinite(found[step - 1])):
        return False
    if thread == 0:
        found[step] = _loss(job, batch, scale)
        _judge_epoch(job, step)
    clips = job["clip_norm"] > 0
    at_once = job["updates"] and not clips
    _parameters_phase(job, stages, order, batch, step, scale, hyper, thread, at_once, one)
    if not job["updates"]:
        return True
    if clips:
        if not barrier(job["sync"], n_threads, thread):
            return False
        clip = optimizers.clip_factor(job["n_params"], job["grads"], job["clip_norm"], one)
        if not barrier(job["sync"], n_threads, thread):
            return False
        _scaled_update(job, stages, hyper, thread, clip, one)
    if job["limits_columns"]:
        if not barrier(job["sync"], n_threads, thread):
            return False
        _limit_columns(job, stages, thread, one)
    elif job["shared"] == 0 or (job["shared"] == 1 and not job["x_gathered"]):
        return True  # this thread's part of the next step needs nothing but what is its own
    return barrier(job["sync"], n_threads, thread)


@jit
def train_steps(job_address, thread, one):
    """Walk through the order of each epoch a batch at a time, updating the parameters after each.

    It does the steps from `from_step` up to `n_steps`; the caller comes back for the rest, and can
    hear Ctrl-C in between. A job without updates is one batch, whose gradient is left in `grads`.
    Thread 0 writes `losses`: the mean loss of each batch, penalties included, up to the first that
    is not finite, or until it is enough. Every thread calls this with its own number. Returns False
    if it ended early.
    """
    job = jobs_at(job_address, 1)[0]
    stages = stages_at(job["stages"], job["n_stages"])
    control = flush_denormals()
    shares.move_home(job, stages, thread, True, one)
    whole, rest = divmod(job["from_step"], _batches_an_epoch(job))
    visited = rest * job["batch_size"]
    met, order = True, job["order"] + (whole * job["n_rows"] + visited) * _INT32_BYTES
    left = job["n_rows"] - visited
    for step in range(job["from_step"], job["n_steps"]):
        batch = min(job["batch_size"], left)
        met = _step(job, stages, order, batch, step, thread, one)
        if not met:
            break
        order += batch * _INT32_BYTES
        left -= batch
        if left == 0:
            left = job["n_rows"]
    shares.move_home(job, stages, thread, False, one)
    restore_denormals(control)
    return met


@jit
def _outputs(job, stages, batch, out, one):
    """Outputs after the link of the job's first `batch` rows, written to address `out`."""
    _forward(job, stages, job["positions"], batch, 0, 0, job["panels"], one)
    n_out, outputs = job["n_outputs"], stages[stages.size - 1]["values"]
    losses.link_rows(job["link"], outputs, n_out, batch, job["row_losses"], one)
    found = numbers(outputs, batch * n_out, one)
    result = numbers(out, batch * n_out, one)
    for i in range(result.size):
        result[i] = found[i]


@jit
def outputs_of_table(job_address, n_rows, taken, out, one):
    """Outputs after the link of rows of the job's x, written to address `out`.

    Threads take a block of `batch_size` rows at a time; taken: address of how many are taken
    (int64). So one that starts late, or shares its core, does less.
    """
    job = jobs_at(job_address, 1)[0]
    stages = stages_at(job["stages"], job["n_stages"])
    control = flush_denormals()
    x, indptr, block = job["x"], job["x_indptr"], job["batch_size"]
    start = take(taken, block)
    while start < n_rows:
        batch = min(block, n_rows - start)
        if job["x_kind"] == rows.SPARSE:
            job["x_indptr"] = indptr + start * 8
        else:
            job["x"] = x + start * job["x_row_stride"]
        _outputs(job, stages, batch, out + start * job["n_outputs"] * itemsize(one), one)
        start = take(taken, block)
    job["x"], job["x_indptr"] = x, indptr  # for the next call
    restore_denormals(control)


def outputs_of_row(job_address, x, out):
    """Outputs after the link of one contiguous row x (n_features,), written to out (n_outputs,).

    Returns False, and does nothing, for other sizes. Compiled by `exactly`.
    """
    job = jobs_at(job_address, 1)[0]
    if x.size != job["n_features"] or out.size != job["n_outputs"]:
        return False
    stages = stages_at(job["stages"], job["n_stages"])
    control = flush_denormals()
    # As they are, unsigned numbers, the sums of address and offset would be float64.
    job["x"], result = np.int64(x.ctypes.data), np.int64(out.ctypes.data)
    _outputs(job, stages, 1, result, out.dtype.type(1))
    restore_denormals(control)
    return True
