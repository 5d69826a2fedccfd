"""Exponentials and their kin for one number, in the precision of that number.

The rules of activations and losses call these and no other mathematics, so accuracy and speed of
every transcendental function are decided in this file.
"""

from __future__ import annotations

import math

import numpy as np

from .jit import jit


@jit
def exp(x):
    return np.exp(x)


@jit
def log(x):
    return np.log(x)


@jit
def log1p(x):
    return np.log1p(x)


@jit
def expm1(x):
    return np.expm1(x)


@jit
def tanh(x):
    return np.tanh(x)


@jit
def erf(x):
    return type(x)(math.erf(x))


@jit
def sigmoid(x):
    """1 / (1 + exp(-x)), with the exponential of a negative number only, so without overflow."""
    one = type(x)(1)
    e = exp(-abs(x))
    return one / (one + e) if x >= 0 else e / (one + e)


@jit
def softplus(x):
    """log(1 + exp(x)), without overflow."""
    zero = type(x)(0)
    return max(x, zero) + log1p(exp(-abs(x)))
