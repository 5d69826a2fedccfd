"""A kind of op: the kernels that compute it, and the memory that it needs besides its values.

A layer names its kind. A kind and an op's record are all that a program needs to know about an op.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..compiler.calls import Kernel


class Sizes(NamedTuple):
    """The sizes that determine an op's memory."""

    batch_size: int
    n_in: int
    n_out: int
    itemsize: int


def nothing(sizes: Sizes) -> int:
    """Bytes kept by an op that keeps nothing."""
    return 0


def one_each(sizes: Sizes) -> int:
    """Bytes kept by an op that keeps one number per value."""
    return sizes.batch_size * sizes.n_out * sizes.itemsize


class Kind(NamedTuple):
    """Kernels `f(turn, s, one)` of one kind of op.

    Attributes
    ----------
    forward : Kernel
        Computes the op's values from those of its source.
    backward : Kernel or None
        Computes the gradient of the source's values from the op's slopes, which then hold the
        gradient of its own values; None if that gradient is never needed.
    gradient : Kernel or None
        Gradient of this thread's share of the parameters, and their update.
    kept_bytes : callable
        Returns the bytes of `kept` for the op's sizes.
    meets : bool
        Whether threads meet in it, because it needs all rows of the batch.
    """

    forward: Kernel
    backward: Kernel | None = None
    gradient: Kernel | None = None
    kept_bytes: Callable[[Sizes], int] = nothing
    meets: bool = False
