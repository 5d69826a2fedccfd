"""The fused training step: all batches of an epoch in one call, on one thread or several.

A step has two phases. *Rows*: each thread takes its rows of the batch through all layers, the loss
and back again. *Parameters*: each thread owns a range of every W, sums its gradient over the whole
batch and updates it while it is hot. Between them the threads meet. Where there are many inputs,
each thread first multiplies those that meet its own rows of the first W, which then never leave its
core; where layers are wide, threads share out the columns of each layer instead of rows.
"""

from __future__ import annotations

import numpy as np

from . import activations, losses, matmul, optimizers, random, rows, sparse
from .denormals import flush_denormals, restore_denormals
from .jit import doubles, inlined, integers, itemsize, jit, numbers
from .plan import jobs_at, stages_at
from .threads import barrier, my_part, take
from .tiles import TILE_ROWS, tile_width

# A gradient is computed and used in blocks, which do not leave the nearest cache in between.
HOT_NUMBERS, BLOCK_TILES = 4096, 4
_FLOAT64_BYTES, _INT32_BYTES = 8, 4


@jit
def _stage_input(job, stages, s, order, one):
    """Where stage s finds its rows: their address, stride and the order to read them in."""
    stride = stages[s]["n_in"] * itemsize(one)
    if s > 0:
        return stages[s - 1]["values"], stride, job["positions"]
    if job["x_gathered"]:
        return job["inputs"], stride, job["positions"]
    return job["x"], job["x_row_stride"], order


@jit
def _is_sparse(job):
    """Whether the first dense layer reads sparse rows itself."""
    return job["x_kind"] == rows.SPARSE and not job["x_gathered"]


@jit
def _my_rows(job, batch, thread):
    """Rows of the batch that this thread takes through all layers; all of them by columns."""
    if job["by_columns"]:
        return 0, batch
    return my_part(batch, job["n_threads"], thread)


@jit
def _my_columns(job, n_columns, thread, one):
    """Columns of a layer that this thread computes; all of them by rows."""
    if not job["by_columns"]:
        return 0, n_columns
    n_threads, width = job["n_threads"], tile_width(one)
    tiles = (n_columns + width - 1) // width
    left = min(n_columns, tiles * thread // n_threads * width)
    return left, min(n_columns, tiles * (thread + 1) // n_threads * width)


@jit
def _chunks(n_columns, first, last, left, right):
    """A block of a matrix as runs of adjacent numbers: how many, how long, where the first."""
    if right - left == n_columns:
        return 1, (last - first) * n_columns, first * n_columns
    return last - first, right - left, first * n_columns + left


@jit
def _dropout_key(job, stage, step):
    return random.stream_key(job["seed"], stage["dropout_stream"], job["first_step"] + step)


@jit
def _activate(job, stage, step, first, last, left, right, one):
    """Activation and dropout of a block of a stage's values."""
    size, n_out = itemsize(one), stage["n_out"]
    code, option, rate = stage["activation"], stage["activation_option"], stage["dropout"]
    n_chunks, length, start = _chunks(n_out, first, last, left, right)
    for _ in range(n_chunks):
        values = numbers(stage["values"] + start * size, length, one)
        slopes = numbers(stage["slopes"] + start * size, length, one)
        activations.activate(code, option, values, slopes)
        if job["training"] and rate > 0:
            random.drop(values, rate, _dropout_key(job, stage, step), start)
        start += n_out


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
def _my_parts(job, n_in, thread):
    """Parts of the first layer's inputs that this thread owns, where threads share them out."""
    parts, n_threads = matmul.n_parts(n_in), job["n_threads"]
    return parts * thread // n_threads, parts * (thread + 1) // n_threads


@jit
def stored_part(n_in, n_threads, part):
    """Where a part of the first product is stored: those of thread 0 as their sum, in place 0."""
    shared = matmul.n_parts(n_in) // n_threads
    return max(0, part - shared + 1)


@inlined
def _forward_my_inputs(job, stages, order, batch, step, thread, panel, one):
    """What this thread's inputs contribute to the first layer, whose W stays in this core."""
    stage = stages[0]
    n_in, n_out = stage["n_in"], stage["n_out"]
    x, stride, index = _stage_input(job, stages, 0, order, one)
    first, last = _my_parts(job, n_in, thread)
    if job["x_gathered"]:
        left, right = _my_weight_rows(job, 0, n_in, thread)
        _gather(job, order, 0, batch, left, right, one)
    weights = job["params"] + stage["weights"] * itemsize(one)
    steps_an_epoch = -(-job["n_rows"] // job["batch_size"])
    ahead = job["n_rows"] - step % steps_an_epoch * job["batch_size"]  # what is left of the epoch
    if job["x_gathered"]:
        ahead = 0
    base, out, part_bytes = job["zeros"], job["parts"], job["batch_size"] * n_out * itemsize(one)
    if thread == 0:  # its parts come first, from the biases on, so that it can add them up
        base, part_bytes = job["params"] + stage["biases"] * itemsize(one), 0
    else:
        out += (stored_part(n_in, job["n_threads"], first) - first) * part_bytes
    matmul.forward_parts(
        x, stride, index, batch, ahead, first, last, weights, base, n_in, n_out, out, part_bytes,
        panel, one,
    )  # fmt: skip


@inlined
def _forward(job, stages, order, batch, step, thread, panel, one):
    """The batch through all stages; the outputs are the last stage's values."""
    n_threads = job["n_threads"]
    if job["x_gathered"] and not job["by_inputs"]:
        first, last = my_part(batch, n_threads, thread)
        _gather(job, order, first, last, 0, job["n_features"], one)
        if job["by_columns"]:
            barrier(job["sync"], n_threads, thread)
    first, last = _my_rows(job, batch, thread)
    for s in range(stages.size):
        stage = stages[s]
        n_in, n_out = stage["n_in"], stage["n_out"]
        left, right = _my_columns(job, n_out, thread, one)
        x, stride, index = _stage_input(job, stages, s, order, one)
        weights = job["params"] + stage["weights"] * itemsize(one)
        biases = job["params"] + stage["biases"] * itemsize(one)
        if s == 0 and job["by_inputs"]:
            part_bytes = job["batch_size"] * n_out * itemsize(one)
            stored = stored_part(n_in, n_threads, matmul.n_parts(n_in))
            matmul.add_parts(
                job["parts"], part_bytes, stored, first, last, n_out, stage["values"], one
            )
        elif s == 0 and _is_sparse(job):
            sparse.sparse_forward(
                job["x"], job["x_indices"], job["x_indptr"], order, first, last, left, right,
                weights, biases, n_in, n_out, stage["values"], one,
            )  # fmt: skip
        elif stage["dense"]:
            matmul.dense_forward(
                x, stride, index, first, last, left, right, weights, biases, n_in, n_out,
                stage["values"], panel, one,
            )  # fmt: skip
        else:
            offset = left * itemsize(one)
            rows.copy_rows(
                x + offset, stride, index, first, last, right - left, stage["values"] + offset,
                n_out, one,
            )  # fmt: skip
        _activate(job, stage, step, first, last, left, right, one)
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
def _scale_slopes(job, stage, step, gradient, first, last, left, right, one):
    """Slopes of a block times the gradient that comes in: the gradient of the linear output."""
    size, n_out = itemsize(one), stage["n_out"]
    n_chunks, length, start = _chunks(n_out, first, last, left, right)
    for _ in range(n_chunks):
        incoming = numbers(gradient + start * size, length, one)
        if stage["dropout"] > 0:
            random.drop(incoming, stage["dropout"], _dropout_key(job, stage, step), start)
        slopes = numbers(stage["slopes"] + start * size, length, one)
        for i in range(slopes.size):
            slopes[i] *= incoming[i]
        if not stage["dense"]:
            for i in range(slopes.size):
                incoming[i] = slopes[i]
        start += n_out


@inlined
def _backward(job, stages, batch, step, thread, panel, one):
    """From the outputs' gradient to that of every stage's linear output, left in its slopes."""
    first, last = _my_rows(job, batch, thread)
    for s in range(stages.size - 1, job["first_dense"] - 1, -1):
        stage = stages[s]
        n_in, n_out = stage["n_in"], stage["n_out"]
        gradient = _gradient_rows(job, first, n_out, one)
        left, right = _my_columns(job, n_out, thread, one)
        _scale_slopes(job, stage, step, gradient, first, last, left, right, one)
        if s == job["first_dense"]:
            return
        if stage["dense"]:
            if job["by_columns"]:
                barrier(job["sync"], job["n_threads"], thread)
            left, right = _my_columns(job, n_in, thread, one)
            matmul.input_gradient(
                stage["slopes"], job["positions"], first, last, left, right,
                job["params"] + stage["weights"] * itemsize(one), n_in, n_out, job["zeros"],
                _gradient_rows(job, first, n_in, one), panel, one,
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


@inlined
def _rows_phase(job, stages, order, batch, step, total, thread, one):
    """Forward, loss and backward of this thread's part of the batch."""
    panel = job["panels"] + thread * job["panel_bytes"]
    if job["by_inputs"]:
        _forward_my_inputs(job, stages, order, batch, step, thread, panel, one)
        barrier(job["sync"], job["n_threads"], thread)
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
def _update(job, stage, hyper, weights, start, n_rows, n_columns, stride, grads, grad_stride, one):
    """The optimizer's step for a block of a stage's weights, or of its biases."""
    rate = stage["weight_rate"] if weights else stage["bias_rate"]
    decay = stage["weight_decay"] if weights else stage["bias_decay"]
    optimizers.update(
        job["optimizer"], hyper, rate, decay, start, n_rows, n_columns, stride, job["n_params"],
        job["params"], grads, grad_stride, job["state"], one,
    )  # fmt: skip


@jit
def _my_weight_rows(job, s, n_in, thread):
    """Rows of the W of stage s that this thread owns, unless it owns columns."""
    if s == 0 and job["by_inputs"]:
        first, last = _my_parts(job, n_in, thread)
        return matmul.input_part_start(n_in, first), matmul.input_part_start(n_in, last)
    return my_part(n_in, job["n_threads"], thread)


@jit
def _my_biases(job, s, n_out, thread):
    """Biases of stage s that this thread owns; those that thread 0 starts its sums from are its."""
    if s == 0 and job["by_inputs"]:
        return 0, n_out if thread == 0 else 0
    return my_part(n_out, job["n_threads"], thread)


@jit
def _my_weights(job, s, n_in, n_out, thread, one):
    """The block of a W that this thread owns: rows first..last, columns left..right."""
    if job["by_columns"]:
        left, right = _my_columns(job, n_out, thread, one)
        return 0, n_in, left, right
    first, last = _my_weight_rows(job, s, n_in, thread)
    return first, last, 0, n_out


@jit
def _gradient_place(job, step, update, thread, start, stride, width, one):
    """Where the gradient of a block from parameter `start` on is written, and its stride.

    If it is used at once and another step follows, nobody will see it: then it goes to this
    thread's scratch, which stays in the nearest cache and next to which no other thread writes.
    """
    if update and step + 1 < job["n_steps"]:
        return job["scratch"] + thread * job["scratch_bytes"], width
    return job["grads"] + start * itemsize(one), stride


@inlined
def _weights_phase(job, stages, s, order, batch, step, scale, hyper, thread, update, one):
    """Gradient of this thread's share of a W, a block at a time, each updated while it is hot."""
    n_in, n_out = stages[s]["n_in"], stages[s]["n_out"]
    first, last, left, right = _my_weights(job, s, n_in, n_out, thread, one)
    if s == 0 and _is_sparse(job):
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
        return stage["slopes"] + left * size, n_out, width * size
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
    x, stride, index = _stage_input(job, stages, s, order, one)
    size = itemsize(one)
    if not matmul.is_wide(stages[s]["n_out"], one):
        return x + first * size, stride, index
    gradient = BLOCK_TILES * tile_width(one) * batch * size
    panel, width = job["panels"] + thread * job["panel_bytes"] + gradient, last - first
    rows.copy_rows(x + first * size, stride, index, 0, batch, width, panel, width, one)
    return panel, width * size, job["positions"]


@inlined
def _weights_block(
    job, stages, s, order, batch, step, scale, hyper, thread, update, first, last, left, right, d,
    d_stride, panel_bytes, one,
):  # fmt: skip
    """Gradient of a block of a W and, where `update`, its new values."""
    stage, n_out = stages[s], stages[s]["n_out"]
    width = right - left
    n_chunks, length, place = _chunks(n_out, first, last, left, right)
    start = stage["weights"] + place
    grads, grad_stride = _gradient_place(job, step, update, thread, start, n_out, width, one)
    if s == 0 and _is_sparse(job):
        starts, places, factors = _columns_of_batch(job, batch, thread, one)
        sparse.sparse_weight_gradient(
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
        job, stage, hyper, scale, start, n_chunks, length, n_out, grads, grad_stride, update, one
    )


@jit
def _use_gradient(
    job, stage, hyper, scale, start, n_rows, n_columns, stride, grads, grad_stride, update, one
):
    """Add the penalties' part to the gradient of a block of weights, and update the block."""
    if job["l1"] != 0 or job["l2"] != 0:
        size = itemsize(one)
        for row in range(n_rows):
            optimizers.add_penalty(
                scale * job["l1"], scale * job["l2"], n_columns,
                job["params"] + (start + row * stride) * size, grads + row * grad_stride * size,
                one,
            )  # fmt: skip
    if update:
        _update(job, stage, hyper, True, start, n_rows, n_columns, stride, grads, grad_stride, one)


@inlined
def _parameters_phase(job, stages, order, batch, step, scale, hyper, thread, update, one):
    """Gradients of this thread's share of the parameters and, where `update`, their new values.

    `scale`: of penalties, which are a part of the gradient.
    """
    for s in range(job["first_dense"], stages.size):
        stage = stages[s]
        if not stage["dense"]:
            continue
        _weights_phase(job, stages, s, order, batch, step, scale, hyper, thread, update, one)
        left, right = _my_biases(job, s, stage["n_out"], thread)
        start, count = stage["biases"] + left, right - left
        grads, _ = _gradient_place(job, step, update, thread, start, count, count, one)
        matmul.bias_gradient(stage["slopes"], batch, left, right, stage["n_out"], grads, one)
        if update:
            _update(job, stage, hyper, False, start, 1, count, count, grads, count, one)


@inlined
def _scaled_update(job, stages, hyper, thread, scale, one):
    """Scale this thread's share of the gradients and update its share of the parameters."""
    size = itemsize(one)
    for s in range(stages.size):
        stage = stages[s]
        if not stage["dense"]:
            continue
        n_in, n_out = stage["n_in"], stage["n_out"]
        for weights in (True, False):
            if weights:
                first, last = _my_weight_rows(job, s, n_in, thread)
            else:
                first, last = _my_biases(job, s, n_out, thread)
            width = n_out if weights else 1
            count = (last - first) * width
            start = (stage["weights"] if weights else stage["biases"]) + first * width
            grads = job["grads"] + start * size
            if scale != 1:
                optimizers.rescale(count, grads, scale, one)
            _update(job, stage, hyper, weights, start, 1, count, count, grads, count, one)


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
def _my_penalties(job, stages, thread, one):
    """Penalties of the rows of every W that this thread owns, so that none has to change cores."""
    if job["l1"] == 0 and job["l2"] == 0:
        return
    place = job["penalties"]
    for s in range(stages.size):
        stage = stages[s]
        if stage["dense"]:
            n_in, n_out = stage["n_in"], stage["n_out"]
            first, last = _my_weight_rows(job, s, n_in, thread)
            weights = job["params"] + (stage["weights"] + first * n_out) * itemsize(one)
            optimizers.penalties(
                job["l1"], job["l2"], last - first, n_out, weights,
                place + first * _FLOAT64_BYTES, one,
            )  # fmt: skip
            place += n_in * _FLOAT64_BYTES


@jit
def _loss(job, batch, scale):
    """Loss of a batch with the penalties of all weights, from the rows' parts of each."""
    loss = losses.sum_rows(job["row_losses"], batch)
    if job["l1"] == 0 and job["l2"] == 0:
        return loss
    return loss + scale * losses.sum_rows(job["penalties"], job["n_weight_rows"])


@inlined
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
    if step > 0 and not np.isfinite(found[step - 1]):  # the same for all threads behind a barrier
        return False
    if thread == 0:
        found[step] = _loss(job, batch, scale)
    clips = job["clip_norm"] > 0
    _parameters_phase(job, stages, order, batch, step, scale, hyper, thread, not clips, one)
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
    elif job["by_inputs"]:
        return True  # this thread's part of the next step needs no weights but its own
    return barrier(job["sync"], n_threads, thread)


@jit
def train_steps(job_address, thread, one):
    """Walk through the order of each epoch a batch at a time, updating the parameters after each.

    Thread 0 writes `losses`: the mean loss of each batch, penalties included, up to the first that
    is not finite. Every thread calls this with its own number. Returns False if it ended early.
    """
    job = jobs_at(job_address, 1)[0]
    stages = stages_at(job["stages"], job["n_stages"])
    control = flush_denormals()
    met, order, left = True, job["order"], job["n_rows"]
    for step in range(job["n_steps"]):
        batch = min(job["batch_size"], left)
        met = _step(job, stages, order, batch, step, thread, one)
        if not met:
            break
        order += batch * _INT32_BYTES
        left -= batch
        if left == 0:
            left = job["n_rows"]
    restore_denormals(control)
    return met


@jit
def gradient(job_address, one):
    """Loss of one batch, the whole order, and its gradient in `grads`."""
    job = jobs_at(job_address, 1)[0]
    stages = stages_at(job["stages"], job["n_stages"])
    control = flush_denormals()
    order, batch = job["order"], job["n_rows"]
    total = _batch_weight(job, order, batch, one)
    scale = _penalty_scale(job, total)
    _rows_phase(job, stages, order, batch, 0, total, 0, one)
    _my_penalties(job, stages, 0, one)
    _parameters_phase(job, stages, order, batch, 0, scale, job["hyper"], 0, False, one)
    loss = _loss(job, batch, scale)
    restore_denormals(control)
    return loss


@inlined
def _outputs(job, stages, x, indptr, start, batch, out, one):
    """Outputs after the link of `batch` rows from row `start` of x on, written to address `out`."""
    n_out = job["n_outputs"]
    if job["x_kind"] == rows.SPARSE:
        job["x_indptr"] = indptr + start * 8
    else:
        job["x"] = x + start * job["x_row_stride"]
    _forward(job, stages, job["positions"], batch, 0, 0, job["panels"], one)
    outputs = stages[stages.size - 1]["values"]
    losses.link_rows(job["link"], outputs, n_out, batch, job["row_losses"], one)
    found = numbers(outputs, batch * n_out, one)
    result = numbers(out + start * n_out * itemsize(one), batch * n_out, one)
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
        _outputs(job, stages, x, indptr, start, min(block, n_rows - start), out, one)
        start = take(taken, block)
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
    source, result = np.int64(x.ctypes.data), np.int64(out.ctypes.data)
    _outputs(job, stages, source, 0, 0, 1, result, out.dtype.type(1))
    restore_denormals(control)
    return True
