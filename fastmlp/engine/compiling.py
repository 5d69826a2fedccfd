"""Waiting for the compiler: whether a call has to wait, and the message that says why.

The message is logged once for each number type, before the wait.
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
    """Whether the first call of a kernel (by default a fit) in this type waits for the compiler."""
    return JIT_ENABLED and not is_compiled(kernel, dtype)


def announce(dtype: np.dtype, kernel: Any = step.train_steps) -> None:
    """Log once why the first fit or prediction on a machine takes so long.

    Nothing is logged for a prediction after a fit that logged it, which then takes only a few
    seconds, or for a network some of whose parts were compiled for other networks.
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
        "compiling kernels for %s, %s: about %s seconds, longer if the machine is busy "
        "(`fastmlp warmup` does it in advance)",
        dtype.name,
        how_often,
        _FIT_WAIT if kernel is step.train_steps else _PREDICTIONS_WAIT,
    )
