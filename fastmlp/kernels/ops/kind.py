"""A kind of op: the kernels that compute it, and the memory that it needs beside its values.

A layer names its kind; all that a program must know of an op stands here and in its record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..compiler.calls import Kernel


class Sizes(NamedTuple):
    """What an op's memory depends on."""

    batch_size: int
    n_in: int
    n_out: int
    itemsize: int


def nothing(sizes: Sizes) -> int:
    """Bytes of an op that keeps nothing."""
    return 0


def one_each(sizes: Sizes) -> int:
    """Bytes of an op that keeps one number for each of its values."""
    return sizes.batch_size * sizes.n_out * sizes.itemsize


class Kind(NamedTuple):
    """Kernels `f(turn, s, one)` of one kind of op.

    Attributes
    ----------
    forward : Kernel
        From the values of the op's source to its own.
    backward : Kernel or None
        From the op's slopes, which hold the gradient of its values by then, to the gradient of its
        source's; None where nobody can want it.
    gradient : Kernel or None
        Gradient of this thread's share of the parameters, and their update.
    kept_bytes : callable
        Bytes of `kept`, from the op's sizes.
    """

    forward: Kernel
    backward: Kernel | None = None
    gradient: Kernel | None = None
    kept_bytes: Callable[[Sizes], int] = nothing
