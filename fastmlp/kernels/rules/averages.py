"""Averaged weights: a running mean of all parameters, moved towards them after each step.

How far it moves is one number for each step, made by the classes of `averaging`: 1 takes the
parameters over, 0 leaves the mean alone, 1 - decay makes an exponential moving average, and 1 / n
at the n-th of some chosen steps the equal mean of their parameters.
"""

from __future__ import annotations

from ..compiler.jit import jit, numbers, rule


@rule
def averaged(a, p, weight):
    """a + w (p - a)."""
    return a + weight * (p - a)


@jit
def move(average, params, size, weight, one):
    """The mean of some numbers, at an address, moves towards their new values at another."""
    a, p, part = numbers(average, size, one), numbers(params, size, one), type(one)(weight)
    if weight == 1:  # exactly
        for i in range(a.size):
            a[i] = p[i]
    elif weight != 0:
        for i in range(a.size):
            a[i] = averaged(a[i], p[i], part)
