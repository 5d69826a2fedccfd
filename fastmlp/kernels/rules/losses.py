"""Losses: the loss of a row of outputs and its gradient, and the links that make predictions.

A loss over single outputs is one scalar rule `f(z, t, option) -> (loss, slope)` of the linear
output z and the target t, averaged over a row; softmax cross-entropy needs the whole row.
To add a loss, write a rule here and a class in `losses`; see docs/extending/loss.md.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .. import interfaces
from ..compiler.calls import Kernel
from ..compiler.jit import doubles, integers, itemsize, jit, numbers, rule
from ..compiler.own_rule import OwnRule
from . import elementary as e

_weigh = interfaces.WEIGH.call


@rule
def binary_cross_entropy(z, t, smoothing):
    """-t log(p) - (1 - t) log(1 - p) with p = sigmoid(z) and targets smoothed towards 1/2."""
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
def product(z, t, factor):
    """factor z t, whose slope is that of an objective elsewhere if t is."""
    return factor * z * t, factor * t


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

    Subtracting the maximum keeps every exponential at or below 1. One loop computes the
    exponentials of all rows, because a row is often shorter than a vector. z, out and totals are
    addresses; out may be z.
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
def _of_label(z, sample, targets, smoothing, log_total, gradient):
    """Cross-entropy of a row whose softmax is in `gradient`, with a label: gradient <- p - t.

    The target t is one-hot. `log_total`: logarithm of the softmax's denominator. No branch depends
    on the label, because it could not be predicted.
    """
    label = integers(targets.labels + sample * 4, 1)[0]
    top = z[0]
    for j in range(1, z.size):
        top = max(top, z[j])
    gradient[label] -= type(z[0])(1)
    return top - z[label] + log_total


@jit
def _of_smooth_label(z, sample, targets, smoothing, log_total, gradient):
    """As `_of_label`, with the target smoothed towards 1 / n."""
    label = integers(targets.labels + sample * 4, 1)[0]
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
def _of_target(z, sample, targets, smoothing, log_total, gradient):
    """As `_of_smooth_label`, with a vector of targets: gradient <- p sum(t) - t."""
    zero = type(z[0])(0)
    t = numbers(targets.targets + sample * z.size * itemsize(zero), z.size, zero)
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


def _cross_entropy(of_row: Any, name: str) -> Kernel:
    """Softmax cross-entropy of rows and its gradient; arguments as in `per_output`."""

    def loss_rows(setting, z, n_out, rows, targets, gradient, row_losses, one):
        first, last, smoothing = rows.first, rows.last, type(one)(setting.option)
        losses, order = doubles(row_losses, last), integers(rows.order, last)
        _softmax_rows(z, n_out, first, last, gradient, losses, one)
        for r in range(first, last):
            losses[r] = e.log(type(one)(losses[r]))
        row_bytes = n_out * itemsize(one)
        for r in range(first, last):
            z_row = numbers(z + r * row_bytes, n_out, one)
            slope = numbers(gradient + r * row_bytes, n_out, one)
            sample, log_total = np.int64(order[r]), type(one)(losses[r])
            losses[r] = of_row(z_row, sample, targets, smoothing, log_total, slope)
        _share_out(n_out, rows, targets, targets.total, gradient, row_losses, one)

    return interfaces.LOSS.kernel(loss_rows, name)


cross_entropy_of_labels = _cross_entropy(_of_label, "cross_entropy_of_labels")
cross_entropy_of_smooth_labels = _cross_entropy(_of_smooth_label, "cross_entropy_of_smooth_labels")
cross_entropy_of_targets = _cross_entropy(_of_target, "cross_entropy_of_targets")


@jit
def _gather_targets(targets, n_out, rows, out, one):
    """out[r] <- row `order[r]` of the targets, for rows first..last; addresses of numbers."""
    row_bytes, first, last = n_out * itemsize(one), rows.first, rows.last
    order = integers(rows.order, last)
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
def _share_out(n_out, rows, targets, total, gradient, row_losses, one):
    """Losses and gradients of rows first..last, times each sample's share of the total weight.

    row_losses: address of (batch,) float64.
    """
    if targets.weights != 0:
        _weigh(targets.weigh, (n_out, rows, targets, total, gradient, row_losses, one))
        return
    first, last, share = rows.first, rows.last, 1.0 / total
    scale, block, losses = type(one)(share), (last - first) * n_out, doubles(row_losses, last)
    slopes = numbers(gradient + first * n_out * itemsize(one), block, one)
    for i in range(block):
        slopes[i] *= scale
    for r in range(first, last):
        losses[r] *= share


@interfaces.WEIGH.kernel
def weigh_rows(n_out, rows, targets, total, gradient, row_losses, one):
    """As `_share_out`, where samples have weights."""
    size, losses, order = (
        itemsize(one),
        doubles(row_losses, rows.last),
        integers(rows.order, rows.last),
    )
    for r in range(rows.first, rows.last):
        weight = np.float64(numbers(targets.weights + np.int64(order[r]) * size, 1, one)[0])
        share = weight / total if total > 0 else 0.0
        scale = type(one)(share)
        losses[r] = losses[r] * share if share > 0 else 0.0
        row = numbers(gradient + r * n_out * size, n_out, one)
        for j in range(n_out):  # a row of weight 0 counts for nothing, even with infinite slopes
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


@rule
def the_option(option, levels, i, n_out):
    """The option of a loss with the same option for all outputs."""
    return option


@rule
def its_level(option, levels, i, n_out):
    """The quantile level of number i of a matrix of outputs."""
    return levels[i % n_out % levels.size]


@functools.cache
def per_output(rule: Any, option_of: Any = the_option) -> Kernel:
    """The kernel of a loss that is a mean over single outputs.

    It computes loss and gradient of the rows first <= r < last, as parts of the batch's mean.
    Addresses: z (batch, n_out), linear outputs, which are overwritten by their losses; row r is
    sample `order[r]`, see `Rows` and `Targets` in `views`. gradient (batch, n_out) and row_losses
    (batch,) float64 are written.

    Parameters
    ----------
    rule : function
        `rule(z, t, option) -> (loss, slope)` of one output and its target.
    option_of : function
        Returns the option for an output; by default the loss's only option.
    """
    return _per_output(rule, option_of, f"loss_{rule.__name__}", None)


def own_loss(own: OwnRule) -> Kernel:
    """As `per_output`, for a user-defined rule."""
    return _per_output(own.compiled, the_option, f"loss_{own.name}", own)


def _per_output(rule: Any, option_of: Any, name: str, own: OwnRule | None) -> Kernel:
    def loss_rows(setting, z, n_out, rows, targets, gradient, row_losses, one):
        losses, option = doubles(row_losses, rows.last), type(one)(setting.option)
        levels = numbers(setting.levels, setting.n_levels, one)
        _gather_targets(targets.targets, n_out, rows, gradient, one)
        start, count = rows.first * n_out * itemsize(one), (rows.last - rows.first) * n_out
        outputs, slopes = numbers(z + start, count, one), numbers(gradient + start, count, one)
        for i in range(count):  # one loop over all rows: a row is often shorter than a vector
            setting_of_i = option_of(option, levels, i, n_out)
            outputs[i], slopes[i] = rule(outputs[i], slopes[i], setting_of_i)
        _sum_outputs(z, n_out, rows.first, rows.last, losses, one)
        _share_out(n_out, rows, targets, targets.total * n_out, gradient, row_losses, one)

    return interfaces.LOSS.kernel(loss_rows, name, own)


@interfaces.LINK.kernel
def softmax_link(outputs, n_out, n_rows, sums, one):
    """Linear outputs (n_rows, n_out) become probabilities; sums (n_rows,) float64 is scratch."""
    _softmax_rows(outputs, n_out, 0, n_rows, outputs, doubles(sums, n_rows), one)


@functools.cache
def link(rule: Any) -> Kernel:
    """The kernel of a link that is a rule for single outputs."""
    return _link(rule, f"link_{rule.__name__}", None)


def own_link(own: OwnRule) -> Kernel:
    """As `link`, for a user-defined rule."""
    return _link(own.compiled, f"link_{own.name}", own)


def _link(rule: Any, name: str, own: OwnRule | None) -> Kernel:
    def link_rows(outputs, n_out, n_rows, sums, one):
        values = numbers(outputs, n_rows * n_out, one)
        for i in range(values.size):
            values[i] = rule(values[i])

    return interfaces.LINK.kernel(link_rows, name, own)


@jit
def average_members(outputs, n_out, n_members, n_rows, one):
    """Predictions (n_rows, n_members, n_out) become their means (n_rows, n_out), in place."""
    row_bytes, share = n_out * itemsize(one), type(one)(1) / type(one)(n_members)
    for r in range(n_rows):
        mean = numbers(outputs + r * row_bytes, n_out, one)
        every = numbers(outputs + r * n_members * row_bytes, n_members * n_out, one)
        for j in range(n_out):
            total = type(one)(0)
            for m in range(n_members):
                total += every[m * n_out + j]
            mean[j] = total * share


@jit
def mean_of_batches(batch_losses, n_batches, batch_size, n_rows):
    """Mean loss over an epoch's samples from the mean of each batch; the last may be smaller.

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
