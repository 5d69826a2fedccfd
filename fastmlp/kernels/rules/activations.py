"""Activations: each is one scalar rule `f(z, alpha) -> (value, slope)`, defined only here.

The forward pass computes value and slope, so backpropagation is one product for every activation.
To add an activation, write a rule here and a class in `layers`; see docs/extending/activation.md.
"""

from __future__ import annotations

import functools
from typing import Any

from .. import interfaces
from ..compiler.bits import in_register
from ..compiler.calls import Kernel
from ..compiler.jit import numbers, rule
from ..compiler.own_rule import OwnRule
from . import elementary as e

# Klambauer et al., NeurIPS 2017: the fixed point with zero mean and unit variance.
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946
_IS_LINEAR = 40.0  # from here on SiLU and Mish are z to the last bit, in both types
_SILU_POWER = 20


@rule
def identity(z, alpha):
    """z."""
    return z, type(z)(1)


@rule
def relu(z, alpha):
    """max(z, 0); nan gives nan."""
    zero, one = type(z)(0), type(z)(1)
    return (zero if z < 0 else z), (one if z > 0 else zero)


@rule
def leaky_relu(z, alpha):
    """z, or alpha z below zero (Maas et al., 2013)."""
    one = type(z)(1)
    return (alpha * z if z < 0 else z), (one if z > 0 else alpha)


@rule
def elu(z, alpha):
    """z, or alpha (exp(z) - 1) below zero (Clevert et al., 2016)."""
    zero, one = type(z)(0), type(z)(1)
    below = alpha * e.expm1(zero if z > 0 else z)
    return (z if z > 0 else below), (one if z > 0 else below + alpha)


@rule
def selu(z, alpha):
    """ELU with the constants that keep mean 0 and variance 1 (Klambauer et al., 2017)."""
    scale = type(z)(_SELU_SCALE)
    value, slope = elu(z, type(z)(_SELU_ALPHA))
    return scale * value, scale * slope


@rule
def gelu(z, alpha):
    """z times the normal distribution function at z (Hendrycks and Gimpel, 2016), exact.

    The left tail is not computed as 1 minus the right one, so it loses no digits.
    """
    below, density = e.normal(z)
    return z * below, below + z * density


@rule
def silu(z, alpha):
    """z sigmoid(z) (Elfwing et al., 2018; Ramachandran et al., 2017).

    Far below zero the sigmoid underflows where its product with z does not, so both are computed
    2^20 times as large. Far above zero this would overflow; there, the sigmoid is 1.
    """
    one, linear, less = type(z)(1), type(z)(_IS_LINEAR), type(z)(2.0**-_SILU_POWER)
    enlarged = e.scaled_sigmoid(z, _SILU_POWER)
    s = enlarged * less
    value = z if z > linear else z * enlarged * less
    return value, enlarged * (one + z * (one - s)) * less


@rule
def mish(z, alpha):
    """z tanh(log(1 + exp(z))) (Misra, 2020).

    With u = exp(z) and w = u (u + 2) the tanh is w / (w + 2), by the addition theorem; its slope is
    4 u (1 + u) / (w + 2)^2. Nothing cancels. u is applied as two factors, as in `silu`.
    """
    one, two, linear = type(z)(1), type(z)(2), type(z)(_IS_LINEAR)
    bounded = linear if z > linear else z  # beyond this, the slope's second term vanishes
    half = e.exp(type(z)(0.5) * bounded)
    u = half * half
    w = u * (u + two)
    inverse = one / (w + two)
    t = w * inverse
    value = z * t if z >= 0 else z * half * half * ((u + two) * inverse)
    return value, t + bounded * (type(z)(4) * (u * inverse) * ((one + u) * inverse))


@rule
def softplus(z, alpha):
    """log(1 + exp(z)) (Dugas et al., 2001)."""
    return e.softplus_and_sigmoid(z)


@rule
def sigmoid(z, alpha):
    """1 / (1 + exp(-z))."""
    s = e.sigmoid(z)
    return s, s * (type(z)(1) - s)


@rule
def tanh(z, alpha):
    """Hyperbolic tangent."""
    t = e.tanh(z)
    return t, type(z)(1) - t * t


@rule
def cosine(z, alpha):
    """cos(z)."""
    value, sine = e.cos_and_sin(z)
    return value, -sine


@rule
def rescaling(z, alpha):
    """alpha z."""
    return alpha * z, alpha


@functools.cache
def activation(rule: Any) -> Kernel:
    """The kernel `activate(values, slopes, size, option, one)` of a rule.

    z[i] <- f(z[i]) and slope[i] <- f'(z[i]) for numbers at two addresses.
    """
    return _activation(rule, f"activate_{rule.__name__}", None)


def own_activation(own: OwnRule) -> Kernel:
    """As `activation`, for a user-defined rule."""
    return _activation(own.compiled, f"activate_{own.name}", own)


def _activation(rule: Any, name: str, own: OwnRule | None) -> Kernel:

    def activate(values, slopes, size, option, one):
        z, slope, alpha = numbers(values, size, one), numbers(slopes, size, one), type(one)(option)
        for i in range(size):
            z[i], slope[i] = rule(in_register(z[i]), alpha)

    return interfaces.ACTIVATION.kernel(activate, name, own)
