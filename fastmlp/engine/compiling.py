"""Waiting for the compiler: whether a call has to, and the message that says why.

It is logged once for each type of numbers, before the wait.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from ..kernels.compiler.cache import is_compiled
from ..kernels.compiler.folder import cache_folder
from ..kernels.compiler.jit import JIT_ENABLED
from ..kernels.step import step

_LOG = logging.getLogger("fastmlp")
_ANNOUNCED: set[tuple[Any, np.dtype]] = set()
_FIT_WAIT, _PREDICTIONS_WAIT = "5 to 15", "5 to 10"  # seconds


def must_compile(dtype: np.dtype, kernel: Any = step.train_steps) -> bool:
    """Whether the first call of a kernel in this type, by default a fit, waits for the compiler."""
    return JIT_ENABLED and not is_compiled(kernel, dtype)


def announce(dtype: np.dtype, kernel: Any = step.train_steps) -> None:
    """Say, once, why the first fit or prediction of a machine takes so long.

    A prediction says nothing after a fit that did: it then takes only some seconds more. Nor does
    a network whose parts have yet to be compiled where others were.
    """
    fits = step.train_steps, dtype
    if {(kernel, dtype), fits} & _ANNOUNCED:
        return
    _ANNOUNCED.add((kernel, dtype))
    if not must_compile(dtype, kernel):
        return
    how_often = "once on this machine"
    if cache_folder() is None:
        how_often = "in every process, as no cache folder is writable: set NUMBA_CACHE_DIR"
    _LOG.warning(
        "compiling kernels for %s, %s: about %s seconds, longer beside other work "
        "(`fastmlp warmup` does it ahead)",
        dtype.name,
        how_often,
        _FIT_WAIT if kernel is step.train_steps else _PREDICTIONS_WAIT,
    )
