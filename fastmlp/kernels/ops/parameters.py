"""Gradients of an op's parameters: where they are written, and how they are applied.

Each thread owns a share of every op's parameters and updates it while its gradient is in the cache.
"""

from __future__ import annotations

from .. import interfaces
from ..compiler.jit import inlined, itemsize, jit, numbers
from ..products import matmul
from ..step import shares
from ..views import Factors, Memory, Run

_update, _add_penalty = interfaces.UPDATE.call, interfaces.ADD_PENALTY.call


@inlined
def gradient_place(turn, start, stride, width, one):
    """Where the gradient of a block that begins at parameter `start` is written, and its stride.

    If the gradient is applied immediately and another step follows, nothing else reads it. Then it
    goes to this thread's scratch memory: it stays in the first-level cache, without false sharing.
    """
    if turn.update["at_once"] and turn.step + 1 < turn.call["n_steps"]:
        return turn.space["scratch"] + turn.thread * turn.space["scratch_bytes"], width
    return turn.model["grads"] + start * itemsize(one), stride


@jit
def use_gradient(turn, s, block, grads, grad_stride, one):
    """Add the penalties' gradient to that of a block of a W, and update the block."""
    op, model, size, home = turn.ops[s], turn.model, itemsize(one), shares.home(turn, s, one)
    start, n_rows = home.weights + block.first * home.stride + block.left, block.last - block.first
    n_columns = block.right - block.left
    if home.stride == n_columns and grad_stride == n_columns:  # contiguous: treat it as one row
        n_rows, n_columns = 1, n_rows * n_columns
    if model["add_penalty"] != 0:
        l1, l2 = turn.penalty_scale * model["l1"], turn.penalty_scale * model["l2"]
        for row in range(n_rows):
            params, gradient = start + row * home.stride, grads + row * grad_stride * size
            _add_penalty(
                model["add_penalty"],
                (l1, l2, n_columns, home.params + params * size, gradient, one),
            )
    if turn.update["at_once"]:
        factors = Factors(op["weight_rate"], op["weight_decay"])
        run = Run(start, n_rows, n_columns, home.stride)
        update(turn, factors, run, home, grads, grad_stride, one)


@jit
def update(turn, factors, run, home, grads, grad_stride, one):
    """The optimizer's step for some parameters; indices are relative to `home`."""
    hyper = turn.update["hyper"] + turn.step * turn.update["hyper_bytes"]
    memory = Memory(home.params, home.states, home.count)
    _update(turn.update["update"], (hyper, factors, run, memory, grads, grad_stride, one))


@jit
def bias_gradient(turn, s, one):
    """Gradient of this thread's biases and, if it is applied immediately, their update."""
    op, (left, right) = turn.ops[s], shares.my_biases(turn, s)
    count = right - left
    grads, _ = gradient_place(turn, op["biases"] + left, count, count, one)
    offset, stride = shares.layout(turn, s, one)
    n_rows = turn.batch
    if op["n_biases"] < op["n_out"]:  # of several rows of a product for each of the batch
        n_rows, stride = n_rows * (op["n_out"] // op["n_biases"]), op["n_biases"]
    matmul.bias_gradient(op["slopes"] + offset, n_rows, left, right, stride, grads, one)
    if turn.update["at_once"]:
        home, factors = shares.home(turn, s, one), Factors(op["bias_rate"], op["bias_decay"])
        run = Run(home.biases + left, 1, count, count)
        update(turn, factors, run, home, grads, count, one)


@jit
def _sum_products(turn, s, left, right, out, one):
    """out[j] <- sum over the batch of slopes times the values in `kept`, for column j."""
    op, size = turn.ops[s], itemsize(one)
    count, n_out, first = right - left, op["n_out"], left * size
    total = numbers(out, count, one)
    for j in range(count):
        total[j] = 0
    for r in range(turn.batch):
        slopes = numbers(op["slopes"] + r * n_out * size + first, count, one)
        kept = numbers(op["kept"] + r * n_out * size + first, count, one)
        for j in range(count):
            total[j] += slopes[j] * kept[j]


@interfaces.OP.kernel
def vector_gradient(turn, s, one):
    """For ops with one weight per column: gradients of this thread's weights and biases.

    The forward pass stores the derivative of each value with respect to its weight in `kept`.
    """
    op, (left, right) = turn.ops[s], shares.my_columns(turn, s)
    start, count = op["weights"] + left, right - left
    grads, _ = gradient_place(turn, start, count, count, one)
    _sum_products(turn, s, left, right, grads, one)
    if turn.update["at_once"]:
        factors = Factors(op["weight_rate"], op["weight_decay"])
        run = Run(start, 1, count, count)
        update(turn, factors, run, shares.home(turn, s, one), grads, count, one)
    if op["n_biases"] > 0:
        bias_gradient(turn, s, one)
