"""Optimizers: each is one scalar rule that updates one parameter, the only place it exists.

What changes from step to step (learning rate, bias corrections) comes as one row of numbers, made
for a whole epoch at once by the optimizer's class; what is kept (momenta) is one vector each.
To add one: its code and rule here, a branch in `update`, and a class in `optimizers`.
"""

from __future__ import annotations

import functools

import numpy as np

from .jit import doubles, itemsize, jit, numbers, rule
from .sums import input_part_start

# A long sum in vectors has another order than one by one; whoever computes it, it is the same.
_sums_in_any_order = functools.partial(jit, fastmath={"reassoc"})

SGD, MOMENTUM, RMSPROP, ADAGRAD, ADAM = range(5)

# Columns of a row of hyperparameters; `A` to `E` mean what the rule says.
RATE, DECAY, A, B, C, D, E = range(7)
N_HYPERPARAMETERS = 7
_FLOAT64_BYTES = 8


@rule
def sgd(p, g, rate):
    """p - rate g."""
    return p - rate * g


@rule
def momentum(p, g, velocity, rate, mu, nesterov):
    """Velocity mu v - rate g; Nesterov looks one velocity ahead (Sutskever et al., 2013)."""
    velocity = mu * velocity - rate * g
    return p + (mu * velocity - rate * g if nesterov > 0 else velocity), velocity


@rule
def rmsprop(p, g, square, rate, rho, epsilon, one_minus_rho):
    """Divides by the root of a running mean of squares (Tieleman and Hinton, 2012)."""
    square = rho * square + one_minus_rho * g * g
    return p - rate * g / (np.sqrt(square) + epsilon), square


@rule
def adagrad(p, g, square, rate, epsilon):
    """Divides by the root of the sum of all squares (Duchi et al., 2011)."""
    square = square + g * g
    return p - rate * g / (np.sqrt(square) + epsilon), square


@rule
def adam(p, g, mean, square, rate, beta1, beta2, epsilon, one_minus_beta1, one_minus_beta2):
    """Adam (Kingma and Ba, 2015): `rate` and `epsilon` carry the bias corrections of the step.

    1 - beta is given, since taking it in float32 would lose what the corrections rely on.
    """
    mean = beta1 * mean + one_minus_beta1 * g
    square = beta2 * square + one_minus_beta2 * g * g
    return p - rate * mean / (np.sqrt(square) + epsilon), mean, square


@jit
def update(
    code, hyper, rate_factor, decay_factor, start, n_rows, n_columns, stride, n_params,
    params, grads, grad_stride, state, one,
):  # fmt: skip
    """One step of an optimizer for a block of parameters of one group.

    The block is n_rows runs of n_columns parameters, `stride` apart, from parameter `start` on; its
    gradient has runs `grad_stride` apart. Addresses: hyper (N_HYPERPARAMETERS,) float64 and grads,
    of the block, read; params (n_params,) and state (some vectors of n_params) updated. Decoupled
    weight decay (Loshchilov and Hutter, 2019) first shrinks p by 1 - rate decay.
    """
    kind, size = type(one), itemsize(one)
    h = doubles(hyper, N_HYPERPARAMETERS)
    rate = kind(h[RATE] * rate_factor)
    shrink = kind(1.0 - h[DECAY] * rate_factor * decay_factor)
    a, b, c, d, e = kind(h[A]), kind(h[B]), kind(h[C]), kind(h[D]), kind(h[E])
    for row in range(n_rows):
        offset = (start + row * stride) * size
        p = numbers(params + offset, n_columns, one)
        g = numbers(grads + row * grad_stride * size, n_columns, one)
        v = numbers(state + offset, 0 if code == SGD else n_columns, one)  # which needs no state
        if shrink != 1:
            for i in range(p.size):
                p[i] *= shrink
        if code == SGD:
            for i in range(p.size):
                p[i] = sgd(p[i], g[i], rate)
        elif code == MOMENTUM:
            for i in range(p.size):
                p[i], v[i] = momentum(p[i], g[i], v[i], rate, a, b)
        elif code == RMSPROP:
            for i in range(p.size):
                p[i], v[i] = rmsprop(p[i], g[i], v[i], rate, a, b, d)
        elif code == ADAGRAD:
            for i in range(p.size):
                p[i], v[i] = adagrad(p[i], g[i], v[i], rate, a)
        elif code == ADAM:
            s = numbers(state + offset + n_params * size, n_columns, one)
            for i in range(p.size):
                p[i], v[i], s[i] = adam(p[i], g[i], v[i], s[i], rate, a, b, c, d, e)


@jit
def add_penalty(l1, l2, size, params, grads, one):
    """g <- g + l1 sign(p) + l2 p: the gradient of l1 sum |p| + l2/2 sum p^2, at two addresses."""
    kind = type(one)
    p, g = numbers(params, size, one), numbers(grads, size, one)
    for i in range(p.size):
        sign = kind(1) if p[i] > 0 else kind(-1) if p[i] < 0 else kind(0)
        g[i] += kind(l1) * sign + kind(l2) * p[i]


@_sums_in_any_order
def penalties(l1, l2, n_rows, n_columns, stride, params, out, one):
    """l1 sum |p| + l2/2 sum p^2 of each row of a matrix at an address, to (n_rows,) float64.

    Rows lie `stride` numbers apart.
    """
    found = doubles(out, n_rows)
    for row in range(n_rows):
        p = numbers(params + row * stride * itemsize(one), n_columns, one)
        absolute, square = 0.0, 0.0
        for i in range(p.size):
            value = np.float64(p[i])
            absolute += abs(value)
            square += value * value
        found[row] = l1 * absolute + 0.5 * l2 * square


@jit
def penalties_in_parts(
    l1, l2, n_in, n_out, parts, first, last, left, right, params, stride, out, one
):
    """Penalties of parts of the rows of a W, all within first..last and left..right.

    Addresses: params: W (n_in, n_out), `stride` numbers a row, read; out (parts, n_in) float64
    written.
    """
    for part in range(parts):
        start = input_part_start(n_out, parts, part)
        end = input_part_start(n_out, parts, part + 1)
        if left <= start and end <= right:
            place = params + (first * stride + start) * itemsize(one)
            row = out + (part * n_in + first) * _FLOAT64_BYTES
            penalties(l1, l2, last - first, end - start, stride, place, row, one)


@_sums_in_any_order
def norm(values):
    """Euclidean norm, summed in float64."""
    square = 0.0
    for i in range(values.size):
        value = np.float64(values[i])
        square += value * value
    return np.sqrt(square)


@jit
def clip_factor(size, grads, max_norm, one):
    """What scales the norm of all gradients down to `max_norm` (Pascanu et al., 2013)."""
    length = norm(numbers(grads, size, one))
    return max_norm / length if length > max_norm else 1.0


@jit
def rescale(size, values, scale, one):
    """values <- scale values, at an address."""
    numbers_, factor = numbers(values, size, one), type(one)(scale)
    for i in range(numbers_.size):
        numbers_[i] *= factor


@jit
def limit_columns(weights, n_in, n_out, first, last, limit, one):
    """Scale each unit's incoming weights, a column of W, down to the norm `limit` (max-norm)."""
    W = numbers(weights, n_in * n_out, one)
    for j in range(first, last):
        square = 0.0
        for i in range(n_in):
            square += np.float64(W[i * n_out + j]) ** 2
        if square > limit * limit:
            scale = type(one)(limit / np.sqrt(square))
            for i in range(n_in):
                W[i * n_out + j] *= scale
