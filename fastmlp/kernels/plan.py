"""A network as data: the records that tell the compiled step what to do.

One compiled specialisation a number type serves every architecture, because sizes, addresses and
choices are fields of these records and not types.
"""

from __future__ import annotations

import numpy as np

from .jit import records

# One stage: an optional dense product, then an activation, then dropout. `weights` and `biases`
# count numbers into params and grads; `values` and `slopes` are addresses of (batch, n_out).
_STAGE_WHOLE = "dense n_in n_out weights biases activation dropout_stream values slopes"
_STAGE_REAL = "activation_option dropout max_norm weight_rate bias_rate weight_decay bias_decay"

# One job: what all steps of a call have in common. The first group are addresses:
#   x          the samples, as `x_kind` and the two strides say; of sparse ones the non-zeros, with
#              their columns in x_indices (int32) and each sample's first in x_indptr (int64)
#   order      (n_epochs, n_rows) int32, the samples in the order they are visited
#   labels     (n_samples,) int32, or 0; targets (n_samples, n_outputs), or 0
#   sample_weights (n_samples,), or 0
#   levels     (n_levels,) quantile levels
#   params, grads (n_params,); state, some vectors of n_params
#   hyper      (n_steps, N_HYPERPARAMETERS) float64; losses (n_steps,) float64
#   inputs     (batch_size, n_features), rows of x that had to be converted, times x_scale
#   column_starts, column_places, column_factors: a batch of sparse rows, sorted by columns, in at
#              most `most_non_zeros` numbers
#   own        (n_threads, own_bytes), parameters of the stage before `shared` with their states,
#              of each thread's units; vectors: how many numbers each parameter has so
#   parts      (stored parts, batch_size, n_out) of the product of stage `shared`, whose inputs
#              threads share out; -1 if there is none
#   gradient   (batch_size, gradient_width); row_losses (batch_size,) float64
#   penalties  (n_weight_rows,) float64, of each row of every W
#   panels     (n_threads, panel_bytes); scratch (n_threads, scratch_bytes), for a block of a
#              gradient; zeros, as many as the widest stage; positions, int32 0, 1, 2, ...
#   stages     (n_stages,) STAGE; sync, where threads meet
# order, hyper and losses may hold more steps than one call does: it does those from `from_step` up
# to `n_steps`. `first_step` counts the steps of former calls, before all of these.
# `patience` is how many epochs in a row may not improve `best_loss` by `tolerance`, of which
# `n_stale` have not, or -1; `enough_after` how many epochs of the call wore it out, or 0.
_JOB_WHOLE = (
    "x x_indices x_indptr order labels targets sample_weights levels"
    " params grads state hyper losses inputs column_starts column_places column_factors own parts"
    " gradient row_losses penalties panels scratch"
    " zeros positions stages sync"
    " n_rows n_features n_outputs n_levels n_params n_weight_rows batch_size n_threads n_steps"
    " n_stages n_vectors most_non_zeros"
    " x_row_stride x_column_stride x_kind x_gathered gradient_width panel_bytes scratch_bytes"
    " own_bytes"
    " loss link optimizer seed first_step from_step training updates first_dense limits_columns"
    " by_columns shared patience n_stale enough_after shares_penalty"
)
_JOB_REAL = "x_scale loss_option loss_scale l1 l2 clip_norm total_weight tolerance best_loss"


def _record(whole: str, real: str) -> np.dtype:
    return np.dtype(
        [(name, np.int64) for name in whole.split()] + [(name, np.float64) for name in real.split()]
    )


STAGE = _record(_STAGE_WHOLE, _STAGE_REAL)
JOB = _record(_JOB_WHOLE, _JOB_REAL)

stages_at = records(STAGE)
jobs_at = records(JOB)
