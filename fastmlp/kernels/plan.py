"""A network as data: the records that tell the compiled step what to do.

One compiled specialisation a number type serves every architecture, because sizes, offsets and
choices are fields of these records and not types.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# One stage: an optional dense product, then an activation, then dropout. Offsets count numbers:
# `weights` and `biases` into params and grads, `values` and `slopes` into the work space.
_STAGE_WHOLE = "dense n_in n_out weights biases activation dropout_stream values slopes"
_STAGE_REAL = "activation_option dropout max_norm weight_rate bias_rate weight_decay bias_decay"

# One job: what all steps of a call have in common.
_JOB_WHOLE = (
    "n_features n_outputs batch_size n_threads"
    " x_offset x_row_stride x_column_stride x_kind x_gathered"
    " inputs gradient gradient_width panels panel_size"
    " loss link optimizer seed first_step training first_dense limits_columns"
)
_JOB_REAL = "loss_option l1 l2 clip_norm total_weight"


def _record(whole: str, real: str) -> np.dtype:
    return np.dtype(
        [(name, np.int64) for name in whole.split()] + [(name, np.float64) for name in real.split()]
    )


STAGE = _record(_STAGE_WHOLE, _STAGE_REAL)
JOB = _record(_JOB_WHOLE, _JOB_REAL)


class Data(NamedTuple):
    """The samples: X as bytes and, one row a sample, either labels or targets."""

    x: np.ndarray  # (n_bytes,) uint8, read-only
    order: np.ndarray  # (n_rows,) int32: the samples in the order they are visited
    labels: np.ndarray  # (n_samples,) int32, or empty
    targets: np.ndarray  # (n_samples * n_outputs,), or empty
    weights: np.ndarray  # (n_samples,), or empty
    levels: np.ndarray  # (n_levels,): quantile levels


class Buffers(NamedTuple):
    """The numbers of a network and the space to work in."""

    params: np.ndarray  # (n_params,)
    grads: np.ndarray  # (n_params,)
    state: np.ndarray  # (n_vectors * n_params,): the optimizer's vectors
    work: np.ndarray  # (n_work,)
    work_bytes: np.ndarray  # the same memory as read-only bytes
    zeros: np.ndarray  # (one tile wide,)
    positions: np.ndarray  # (batch_size,) int32: 0, 1, 2, ...
    row_losses: np.ndarray  # (batch_size,) float64
