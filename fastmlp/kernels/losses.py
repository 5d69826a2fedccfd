"""Losses: the loss of one row of outputs and its gradient, together with the output's link.

A loss over single outputs is one scalar rule `f(z, t, option) -> (loss, slope)` of the linear
output z and the target t, averaged over a row; softmax cross-entropy needs the whole row.
"""

from __future__ import annotations

import numpy as np

from . import elementary as e
from .jit import doubles, integers, itemsize, jit, numbers, rule

(
    SOFTMAX_CROSS_ENTROPY,
    BINARY_CROSS_ENTROPY,
    MEAN_SQUARED_ERROR,
    MEAN_ABSOLUTE_ERROR,
    HUBER,
    QUANTILE,
    POISSON_DEVIANCE,
) = range(7)

# Links from the linear output to what `predict_proba` or `predict` shows.
LINK_IDENTITY, LINK_SOFTMAX, LINK_SIGMOID, LINK_EXP = range(4)


@rule
def binary_cross_entropy(z, t, smoothing):
    """-t log(p) - (1 - t) log(1 - p) with p = sigmoid(z) and targets drawn towards 1/2."""
    zero, one, half = type(z)(0), type(z)(1), type(z)(0.5)
    smooth = t * (one - smoothing) + half * smoothing
    loss = max(z, zero) - z * smooth + e.log1p(e.exp(-abs(z)))
    return loss, e.sigmoid(z) - smooth


@rule
def squared_error(z, t, option):
    """(z - t)^2."""
    r = z - t
    return r * r, r + r


@rule
def absolute_error(z, t, option):
    """|z - t|, with slope 0 where they are equal."""
    r = z - t
    one = type(z)(1)
    return abs(r), (one if r > 0 else -one if r < 0 else r)


@rule
def huber(z, t, delta):
    """r^2 / 2 up to |r| = delta, then linear: delta (|r| - delta / 2) (Huber, 1964)."""
    r = z - t
    half = type(z)(0.5)
    clipped = min(max(r, -delta), delta)
    return clipped * (r - half * clipped), clipped


@rule
def pinball(z, t, level):
    """Quantile loss: level (t - z) above, (1 - level) (z - t) below (Koenker and Bassett, 1978)."""
    r = z - t
    below = type(z)(1) - level
    return (below * r if r > 0 else -level * r), (below if r > 0 else -level if r < 0 else r)


@rule
def poisson_deviance(z, t, option):
    """2 (t log(t / mu) - t + mu) with mu = exp(z), and t log t = 0 at t = 0."""
    two = type(z)(2)
    mu = e.exp(z)
    entropy = t * (e.log(t) - z) if t > 0 else type(z)(0) * z
    return two * (entropy - t + mu), two * (mu - t)


@jit
def _softmax_rows(z, n_out, first, last, out, totals, one):
    """out[r] <- softmax(z[r]) and totals[r] <- its denominator, for first <= r < last.

    Subtracting the maximum keeps every exponential at or below 1. Exponentials are taken of all
    rows at once, as one row is often shorter than a vector. Addresses; out may be z.
    """
    row_bytes = n_out * itemsize(one)
    for r in range(first, last):
        source, row = (
            numbers(z + r * row_bytes, n_out, one),
            numbers(out + r * row_bytes, n_out, one),
        )
        top = source[0]
        for j in range(1, n_out):
            top = max(top, source[j])
        for j in range(n_out):
            row[j] = source[j] - top
    block = numbers(out + first * row_bytes, (last - first) * n_out, one)
    for i in range(block.size):
        block[i] = e.exp(block[i])
    for r in range(first, last):
        row = numbers(out + r * row_bytes, n_out, one)
        total = type(one)(0)
        for j in range(n_out):
            total += row[j]
        inverse = type(one)(1) / total
        for j in range(n_out):
            row[j] *= inverse
        totals[r] = total


@jit
def _cross_entropy_of_label(z, label, log_total, gradient):
    """Cross-entropy of a row whose softmax is in `gradient`, with a label: gradient <- p - t.

    The target t is one-hot. `log_total`: logarithm of the softmax's denominator. There is no branch
    that depends on the label, since nobody could foresee it.
    """
    top = z[0]
    for j in range(1, z.size):
        top = max(top, z[j])
    gradient[label] -= type(z[0])(1)
    return top - z[label] + log_total


@jit
def _cross_entropy_of_smooth_label(z, label, smoothing, log_total, gradient):
    """As `_cross_entropy_of_label`, with the target smoothed towards 1 / n."""
    top, one = z[0], type(z[0])(1)
    for j in range(1, z.size):
        top = max(top, z[j])
    floor, loss = smoothing / type(z[0])(z.size), type(z[0])(0)
    for j in range(z.size):
        target = floor + (one - smoothing) if j == label else floor
        gradient[j] -= target
        loss += target * (top - z[j] + log_total)
    return loss


@jit
def _cross_entropy_of_target(z, t, smoothing, log_total, gradient):
    """As `_cross_entropy_of_smooth_label`, with a vector of targets: gradient <- p sum(t) - t."""
    zero = type(z[0])(0)
    top = z[0]
    for j in range(1, z.size):
        top = max(top, z[j])
    keep = type(z[0])(1) - smoothing
    floor = smoothing / type(z[0])(z.size)
    mass, loss = zero, zero
    for j in range(z.size):
        mass += keep * t[j] + floor
    for j in range(z.size):
        target = keep * t[j] + floor
        gradient[j] = gradient[j] * mass - target
        if target != 0:
            loss += target * (top - z[j] + log_total)
    return loss


@jit
def _cross_entropy(smoothing, z, n_out, order, first, last, labels, targets, gradient, losses, one):
    """Softmax cross-entropy of rows and its gradient; arguments as in `loss_rows`."""
    _softmax_rows(z, n_out, first, last, gradient, losses, one)
    for r in range(first, last):
        losses[r] = e.log(type(one)(losses[r]))
    row_bytes = n_out * itemsize(one)
    for r in range(first, last):
        sample, log_total = np.int64(order[r]), type(one)(losses[r])
        z_row = numbers(z + r * row_bytes, n_out, one)
        slope = numbers(gradient + r * row_bytes, n_out, one)
        if labels != 0:
            label = integers(labels + sample * 4, 1)[0]
            if smoothing == 0:
                loss = _cross_entropy_of_label(z_row, label, log_total, slope)
            else:
                loss = _cross_entropy_of_smooth_label(z_row, label, smoothing, log_total, slope)
            losses[r] = loss
        else:
            t_row = numbers(targets + sample * row_bytes, n_out, one)
            losses[r] = _cross_entropy_of_target(z_row, t_row, smoothing, log_total, slope)


@jit
def _elementwise(code, option, levels, n_out, z, t):
    """z[i] <- the loss and t[i] <- its slope, both of output z[i] with target t[i].

    All rows at once, as one is often shorter than a vector.
    """
    if code == BINARY_CROSS_ENTROPY:
        for i in range(z.size):
            z[i], t[i] = binary_cross_entropy(z[i], t[i], option)
    elif code == MEAN_SQUARED_ERROR:
        for i in range(z.size):
            z[i], t[i] = squared_error(z[i], t[i], option)
    elif code == MEAN_ABSOLUTE_ERROR:
        for i in range(z.size):
            z[i], t[i] = absolute_error(z[i], t[i], option)
    elif code == HUBER:
        for i in range(z.size):
            z[i], t[i] = huber(z[i], t[i], option)
    elif code == QUANTILE:
        for i in range(z.size):
            z[i], t[i] = pinball(z[i], t[i], levels[i % n_out % levels.size])
    elif code == POISSON_DEVIANCE:
        for i in range(z.size):
            z[i], t[i] = poisson_deviance(z[i], t[i], option)


@jit
def _gather_targets(targets, n_out, order, first, last, out, one):
    """out[r] <- row `order[r]` of the targets, for first <= r < last; addresses of numbers."""
    row_bytes = n_out * itemsize(one)
    if n_out == 1:
        single = numbers(out, last, one)
        for r in range(first, last):
            single[r] = numbers(targets + np.int64(order[r]) * row_bytes, 1, one)[0]
        return
    for r in range(first, last):
        source = numbers(targets + np.int64(order[r]) * row_bytes, n_out, one)
        row = numbers(out + r * row_bytes, n_out, one)
        for j in range(n_out):
            row[j] = source[j]


@jit
def _sum_outputs(z, n_out, first, last, losses, one):
    """losses[r] <- the sum of row r of the outputs' losses, for first <= r < last."""
    if n_out == 1:
        found = numbers(z, last, one)
        for r in range(first, last):
            losses[r] = found[r]
        return
    for r in range(first, last):
        row = numbers(z + r * n_out * itemsize(one), n_out, one)
        loss = type(one)(0)
        for j in range(n_out):
            loss += row[j]
        losses[r] = loss


@jit
def _weigh_rows(n_out, order, first, last, weights, total, gradient, losses, one):
    """Losses and gradients of rows first..last, times each sample's share of the total weight."""
    size = itemsize(one)
    if weights == 0:
        share = 1.0 / total
        scale, block = type(one)(share), (last - first) * n_out
        slopes = numbers(gradient + first * n_out * size, block, one)
        for i in range(block):
            slopes[i] *= scale
        for r in range(first, last):
            losses[r] *= share
        return
    for r in range(first, last):
        weight = np.float64(numbers(weights + np.int64(order[r]) * size, 1, one)[0])
        share = weight / total if total > 0 else 0.0
        scale = type(one)(share)
        losses[r] = losses[r] * share if share > 0 else 0.0
        row = numbers(gradient + r * n_out * size, n_out, one)
        for j in range(n_out):  # a row of weight 0 has no say, even if its slope is infinite
            row[j] = row[j] * scale if share > 0 else type(one)(0)


@jit
def total_weight(order, weights, one):
    """Sum of the sample weights of a batch; without weights every sample weighs 1.

    order (int32 array) read; weights: address of (n,) numbers, or 0.
    """
    if weights == 0:
        return np.float64(order.size)
    total = 0.0
    for r in range(order.size):
        sample = np.int64(order[r])
        total += np.float64(numbers(weights + sample * itemsize(one), 1, one)[0])
    return total


@jit
def loss_rows(
    code, option, levels, n_levels, z, n_out, order, first, last, labels, targets, weights, total,
    gradient, row_losses, one,
):  # fmt: skip
    """Loss and gradient of the rows first <= r < last of a batch, as parts of the batch's mean.

    Addresses: z (batch, n_out), linear outputs, which a loss over single outputs replaces by their
    losses; row r is sample `order[r]` (int32 array), whose target is `labels[...]` (int32) or,
    where that is 0, row `...` of `targets` (n, n_out); `weights` (n,) or 0; `levels` (n_levels,).
    `total`: the sum of the batch's weights. gradient (batch, n_out) and row_losses (batch,) float64
    written.
    """
    size = itemsize(one)
    setting = type(one)(option)
    level_values = numbers(levels, n_levels, one)
    losses = doubles(row_losses, last)
    if code == SOFTMAX_CROSS_ENTROPY:
        _cross_entropy(
            setting, z, n_out, order, first, last, labels, targets, gradient, losses, one
        )  # fmt: skip
    else:
        _gather_targets(targets, n_out, order, first, last, gradient, one)
        start, count = first * n_out * size, (last - first) * n_out
        outputs, slopes = numbers(z + start, count, one), numbers(gradient + start, count, one)
        _elementwise(code, setting, level_values, n_out, outputs, slopes)
        _sum_outputs(z, n_out, first, last, losses, one)
        total *= n_out
    _weigh_rows(n_out, order, first, last, weights, total, gradient, losses, one)


@jit
def link_rows(link, z, n_out, n_rows, totals, one):
    """Turn linear outputs (n_rows, n_out) at address z into probabilities or means, in place.

    totals: address of (n_rows,) float64, scratch.
    """
    values = numbers(z, n_rows * n_out, one)
    if link == LINK_SOFTMAX:
        _softmax_rows(z, n_out, 0, n_rows, z, doubles(totals, n_rows), one)
    elif link == LINK_SIGMOID:
        for i in range(values.size):
            values[i] = e.sigmoid(values[i])
    elif link == LINK_EXP:
        for i in range(values.size):
            values[i] = e.exp(values[i])


@jit
def mean_of_batches(batch_losses, n_batches, batch_size, n_rows):
    """Mean loss of an epoch's samples from that of each batch, of which the last may be smaller.

    batch_losses: address of (n_batches,) float64.
    """
    losses = doubles(batch_losses, n_batches)
    total = 0.0
    for batch in range(n_batches - 1):
        total += losses[batch] * batch_size
    total += losses[n_batches - 1] * (n_rows - (n_batches - 1) * batch_size)
    return total / n_rows


@jit
def means_of_epochs(batch_losses, n_epochs, n_batches, batch_size, n_rows, means):
    """`mean_of_batches` of each epoch.

    Addresses: batch_losses (n_epochs, n_batches) float64 read; means (n_epochs,) float64 written.
    """
    found = doubles(means, n_epochs)
    for epoch in range(n_epochs):
        first = batch_losses + epoch * n_batches * 8
        found[epoch] = mean_of_batches(first, n_batches, batch_size, n_rows)


@jit
def sum_rows(row_losses, n_rows):
    """The batch's loss from its rows' parts, in their order."""
    losses = doubles(row_losses, n_rows)
    total = 0.0
    for r in range(n_rows):
        total += losses[r]
    return total
