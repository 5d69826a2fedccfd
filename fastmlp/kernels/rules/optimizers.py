"""Optimizers: each is one scalar rule that updates one parameter, defined only here.

Numbers that change from step to step (learning rate, bias corrections) come as one row per step,
which the optimizer's class computes for a whole epoch; state (such as momenta) is one vector each.
To add an optimizer, write a rule and the names of its hyperparameters here, and a class in
`optimizers`; see docs/extending/optimizer.md.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .. import interfaces
from ..compiler.calls import Kernel
from ..compiler.jit import JIT_ENABLED, doubles, itemsize, jit, numbers, rule
from ..compiler.own_rule import OwnRule
from ..products.sums import input_part_start

# Sums may be vectorised, which changes their order; but it is the same order in every call.
_sums_in_any_order = functools.partial(jit, fastmath={"reassoc"})

_FLOAT64_BYTES = 8

# The first two columns of a row of hyperparameters; those that a rule names follow.
RATE, DECAY = range(2)


class NoNumbers(NamedTuple):
    """For a rule without hyperparameters other than the learning rate."""


class MomentumNumbers(NamedTuple):
    """`nesterov` is 0 or 1."""

    mu: Any
    nesterov: Any


class RMSpropNumbers(NamedTuple):
    """1 - rho is passed, because computing it in float32 would lose digits."""

    rho: Any
    epsilon: Any
    one_minus_rho: Any


class AdagradNumbers(NamedTuple):
    """`epsilon` is added to the root."""

    epsilon: Any


class AdamNumbers(NamedTuple):
    """1 - beta is passed: computing it in float32 loses digits that the corrections need."""

    beta1: Any
    beta2: Any
    epsilon: Any
    one_minus_beta1: Any
    one_minus_beta2: Any


@rule
def sgd(p, g, rate, h):
    """p - rate g."""
    return p - rate * g


@rule
def momentum(p, g, velocity, rate, h):
    """Velocity mu v - rate g; Nesterov looks one velocity ahead (Sutskever et al., 2013)."""
    velocity = h.mu * velocity - rate * g
    return p + (h.mu * velocity - rate * g if h.nesterov > 0 else velocity), velocity


@rule
def rmsprop(p, g, square, rate, h):
    """Divides by the root of a running mean of squares (Tieleman and Hinton, 2012)."""
    square = h.rho * square + h.one_minus_rho * g * g
    return p - rate * g / (np.sqrt(square) + h.epsilon), square


@rule
def adagrad(p, g, square, rate, h):
    """Divides by the root of the sum of all squares (Duchi et al., 2011)."""
    square = square + g * g
    return p - rate * g / (np.sqrt(square) + h.epsilon), square


@rule
def adam(p, g, mean, square, rate, h):
    """Adam (Kingma and Ba, 2015): `rate` and epsilon carry the bias corrections of the step."""
    mean = h.beta1 * mean + h.one_minus_beta1 * g
    square = h.beta2 * square + h.one_minus_beta2 * g * g
    return p - rate * mean / (np.sqrt(square) + h.epsilon), mean, square


def _reader(names: type[NamedTuple]) -> Any:
    """A compiled function that reads a rule's hyperparameters in the network's type.

    `f(address, one)`; address: that of the row of hyperparameters.
    """
    fields, first = names._fields, DECAY + 1

    if not JIT_ENABLED:
        return lambda address, one: names(
            *map(type(one), doubles(address, first + len(fields))[first:])
        )

    @intrinsic
    def read(typingctx, address, one):
        def codegen(context, builder, signature, args):
            row = builder.inttoptr(args[0], ir.DoubleType().as_pointer())
            values = []
            for place in range(first, first + len(fields)):
                value = builder.load(builder.gep(row, [ir.IntType(64)(place)]))
                values.append(context.cast(builder, value, types.float64, one))
            return context.make_tuple(builder, signature.return_type, values)

        return types.BaseTuple.from_types([one] * len(fields), names)(address, one), codegen

    return read


@rule
def _constant(hyper, factors):
    """Factors of a group that are the same at all steps."""
    return factors.rate, factors.decay


@rule
def _of_the_step(hyper, factors):
    """Factors of one step: two columns of its hyperparameters, the first of which is `rate`."""
    found = doubles(hyper + np.int64(factors.rate) * _FLOAT64_BYTES, 2)
    return found[0], found[1]


class Rule(NamedTuple):
    """A rule of an optimizer, with its number of states and the names of its hyperparameters."""

    step: Any
    name: str
    n_states: int
    names: type[Any]
    own: OwnRule | None = None


class Optimizer(Kernel):
    """An optimizer's kernel, together with its rule.

    Parameters
    ----------
    rule : Rule
    follows_schedules : bool, default False
        Whether factors are columns of each step's hyperparameters rather than constants.
    """

    def __init__(self, rule: Rule, follows_schedules: bool = False) -> None:
        factors = _of_the_step if follows_schedules else _constant
        name = f"update_{rule.name}{'_by_schedule' * follows_schedules}"
        super().__init__(_update(rule, factors), interfaces.UPDATE, name, rule.own)
        self.rule, self.names, self.n_states = rule, rule.names, rule.n_states

    @functools.cached_property
    def by_schedule(self) -> Optimizer:
        """The kernel for factors that are columns of each step's hyperparameters."""
        return Optimizer(self.rule, follows_schedules=True)


@functools.cache
def optimizer(rule: Any, n_states: int, names: type[NamedTuple] = NoNumbers) -> Optimizer:
    """The kernel of a rule: one step of an optimizer for some parameters of one group.

    `update(hyper, factors, run, memory, grads, grad_stride, one)`: `views` describes the types of
    the arguments; hyper: address of a row of hyperparameters, float64; grads: address of the
    gradient of the run, with rows `grad_stride` apart; parameters and states are updated. Decoupled
    weight decay (Loshchilov and Hutter, 2019) first multiplies p by 1 - rate decay.

    Parameters
    ----------
    rule : function
        `rule(p, g, *states, rate, h)` returns the new p, or a tuple of the new p and new states.
    n_states : {0, 1, 2, 3}
        How many numbers are kept for each parameter.
    names : NamedTuple class
        Names of the rule's hyperparameters, which it gets as `h`.
    """
    return Optimizer(Rule(rule, rule.__name__, n_states, names))


def own_optimizer(own: OwnRule, n_states: int) -> Optimizer:
    """As `optimizer`, for a user-defined rule."""
    assert own.call.names is not None
    return Optimizer(Rule(own.compiled, own.name, n_states, own.call.names, own))


def _update(rule: Rule, factors_of: Any) -> Any:
    read, step = _reader(rule.names), _WITH_STATES[rule.n_states](rule.step)

    def update(hyper, factors, run, memory, grads, grad_stride, one):
        kind, size, first, h = type(one), itemsize(one), doubles(hyper, 2), read(hyper, one)
        factor, decay = factors_of(hyper, factors)
        rate = kind(first[RATE] * factor)
        shrink = kind(1.0 - first[DECAY] * factor * decay)
        for row in range(run.n_rows):
            offset = (run.start + row * run.stride) * size
            p = numbers(memory.params + offset, run.n_columns, one)
            g = numbers(grads + row * grad_stride * size, run.n_columns, one)
            if shrink != 1:
                for i in range(p.size):
                    p[i] *= shrink
            step(p, g, memory.states + offset, memory.count * size, rate, h, one)

    return update


def _without_state(rule: Any) -> Any:
    @jit
    def step(p, g, states, state_bytes, rate, h, one):
        for i in range(p.size):
            p[i] = rule(p[i], g[i], rate, h)

    return step


def _with_one_state(rule: Any) -> Any:
    @jit
    def step(p, g, states, state_bytes, rate, h, one):
        v = numbers(states, p.size, one)
        for i in range(p.size):
            p[i], v[i] = rule(p[i], g[i], v[i], rate, h)

    return step


def _with_two_states(rule: Any) -> Any:
    @jit
    def step(p, g, states, state_bytes, rate, h, one):
        v, s = numbers(states, p.size, one), numbers(states + state_bytes, p.size, one)
        for i in range(p.size):
            p[i], v[i], s[i] = rule(p[i], g[i], v[i], s[i], rate, h)

    return step


def _with_three_states(rule: Any) -> Any:
    @jit
    def step(p, g, states, state_bytes, rate, h, one):
        v, s = numbers(states, p.size, one), numbers(states + state_bytes, p.size, one)
        w = numbers(states + 2 * state_bytes, p.size, one)
        for i in range(p.size):
            p[i], v[i], s[i], w[i] = rule(p[i], g[i], v[i], s[i], w[i], rate, h)

    return step


_WITH_STATES = _without_state, _with_one_state, _with_two_states, _with_three_states
MOST_STATES = len(_WITH_STATES) - 1


@interfaces.ADD_PENALTY.kernel
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
def penalties_in_parts(penalty, weights, parts, block, out, one):
    """Penalties of parts of the rows of a W, for the parts within a block.

    weights: W read; out: address of (parts, n_in) float64 written.
    """
    first, height, n_in, n_out = block.first, block.last - block.first, weights.n_in, weights.n_out
    for part in range(parts):
        start = input_part_start(n_out, parts, part)
        end = input_part_start(n_out, parts, part + 1)
        if block.left <= start and end <= block.right:
            place = weights.at + (first * weights.stride + start) * itemsize(one)
            row = out + (part * n_in + first) * _FLOAT64_BYTES
            penalties(penalty.l1, penalty.l2, height, end - start, weights.stride, place, row, one)


@_sums_in_any_order
def norm(values):
    """Euclidean norm, summed in float64."""
    square = 0.0
    for i in range(values.size):
        value = np.float64(values[i])
        square += value * value
    return np.sqrt(square)


@jit
def norm_at(size, values, one):
    """Euclidean norm of numbers at an address."""
    return norm(numbers(values, size, one))


@jit
def factor_for(length, max_norm):
    """Factor that scales a gradient of that norm down to `max_norm` (Pascanu et al., 2013)."""
    return max_norm / length if length > max_norm else 1.0


@jit
def clip_factor(size, grads, max_norm, one):
    """Factor that scales the norm of the gradient down to `max_norm`."""
    return factor_for(norm_at(size, grads, one), max_norm)


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
