"""A network as data: the records that tell compiled code what to do.

A program is a table of ops over batch memory; a job is a program together with its samples, its
memory and the task of a call. A kernel serves every architecture, because sizes, addresses and the
kernels that it calls are numbers in these records and not types.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import (
    infer_getattr,
    intrinsic,
    lower_getattr_generic,
    models,
    register_model,
)

from .compiler.jit import JIT_ENABLED, jit, longs, records
from .compiler.numba_internals import AttributeTemplate

FLOAT64_BYTES, INT32_BYTES = 8, 4


def _record(whole: str, real: str = "") -> np.dtype:
    """A record with int64 fields, followed by float64 fields."""
    return np.dtype(
        [(name, np.int64) for name in whole.split()] + [(name, np.float64) for name in real.split()]
    )


# One op: the operation of its kind (such as a dense product), then an activation, then dropout.
#   forward, scale, backward, gradient, activate, drop  kernels, or 0 if there is nothing to do
#   product, back_product, weight_gradient, narrow_gradient  kernels called by those of dense ops
#   inner            the activation of a parametric one
#   source           the op whose values it reads, or -1 for the samples
#   dense            whether it is a dense product
#   elementwise      whether it is only an activation or dropout
#   weights, biases  index of the first of each in params and grads
#   weight_rows, weight_width  shape of its weights; a vector has 1 row, an op without weights 0
#   n_biases         n_out, or 0; or a part of n_out, of which all parts have the same biases
#   buffers          index of its first number in buffers
#   block_rows, block_columns  size of the blocks in which its gradient is computed
#   packs_weights    whether the forward product packs W
#   packs_inputs, packs_slopes  whether the gradient of W packs its inputs, and that of its output
#   panels           address of a copy of W in panels, for a network that does not change; or 0
#   values, slopes   addresses of (batch, n_out)
#   kept             address of what the forward pass keeps for the backward pass; layout by kind
#   places, options  addresses of int64 and float64; meaning by kind
#   as_trained       whether it behaves as in training
#   dropout          its rate; or, if that follows a schedule, 1 + the column of hyper that has it
#   penalty_parts    in how many parts the penalties of a row of W are summed, 0 without penalties:
#                    as many as the next sum over its units has, so that threads that share out that
#                    sum can share out the penalties in the same way
OP = _record(
    "forward scale backward gradient activate drop"
    " product back_product weight_gradient narrow_gradient inner"
    " source dense elementwise n_in n_out weights biases weight_rows weight_width n_biases buffers"
    " dropout_stream penalty_parts values slopes kept places options as_trained"
    " block_rows block_columns packs_weights packs_inputs packs_slopes panels",
    "activation_option dropout max_norm weight_rate bias_rate weight_decay bias_decay",
)

# The samples of a call, in the user's memory.
#   x          a table with the two strides in bytes; or, if sparse, the non-zeros, with their
#              columns in x_indices (int32) and the start of each sample in x_indptr (int64)
#   order      (n_epochs, n_rows) int32, the samples in the order in which they are visited
#   labels     (n_samples,) int32, or 0; targets (n_samples, n_outputs), or 0
#   weights    (n_samples,), or 0
#   gather     the kernel that converts rows of x and multiplies them by scale; 0 if tiles read x
#              in place
SAMPLES = _record(
    "x x_indices x_indptr order labels targets weights"
    " n_rows n_features row_stride column_stride sparse gather",
    "scale",
)

# The network: its ops, and the vectors that their indices refer to.
#   params, grads (n_params,); state, vectors of n_params; n_vectors counts them and params
#   buffers        numbers that are kept but not trained
#   n_weight_rows  rows of all W, each counted once per part in which its penalties are summed
#   first_trained  the first op that has parameters
#   penalties, add_penalty  kernels, or 0 if l1 and l2 are 0
MODEL = _record(
    "ops n_ops params grads state buffers n_params n_vectors n_outputs n_weight_rows first_trained"
    " penalties add_penalty",
    "l1 l2",
)

# The loss.
#   rows, link   kernels; levels (n_levels,) quantile levels
#   total, weigh kernels where samples have weights, or 0: the sum of a batch's, and their use
#   shares_penalty  whether the penalties are divided by the batch's weight
#   total_weight    what a batch's loss is a mean over, or 0 for the sum of its weights
#   members         how many members each have a row of outputs for each sample, n_outputs numbers;
#                   their losses are those of so many times as many rows
#   averages        how many members predictions, n_answers numbers, are the means of: 1 where
#                   outputs are wanted
LOSS = _record(
    "rows link total weigh levels n_levels shares_penalty members n_outputs averages n_answers",
    "option scale total_weight",
)

# The optimizer.
#   update      its kernel; hyper (n_steps, hyper_bytes / 8) float64
#   updates     whether there is an update; without one a call leaves the gradient in grads
#   at_once     whether a gradient is used where it is computed
#   clip, limit kernels for clipping and for max-norm, or 0; without clipping, `clip` updates all
#               parameters where gradients of several batches are added up first
#   accumulate  the kernel that adds them up, or 0; summed (n_params,) their sum so far
#   average     the kernel that averages weights, or 0; averaged (n_averaged,) parameters and
#               buffers, towards which the last number of each row of hyper moves them
UPDATE = _record(
    "update hyper hyper_bytes updates at_once clip limit accumulate summed average averaged"
    " n_averaged",
    "clip_norm",
)

# What a call does: the steps from from_step up to n_steps of those that order, hyper and losses
# hold. first_step counts the steps of former calls, before all of these.
#   block_rows  rows that a thread takes through all ops at a time, or 0 for all that are its own
#   batch_size  rows that work space is for; rows_per_step those of a step, several times as many
#               where gradients are accumulated
#   first_row   rows of the step that come before those of the call, which are a part of a batch
#   losses      (n_steps,) float64
#   patience    how many epochs in a row may not improve best_loss by tolerance, of which n_stale
#               have not, or -1; enough_after how many epochs of the call wore it out, or 0
#   watch       the kernel that counts them, or 0
CALL = _record(
    "batch_size rows_per_step block_rows seed first_step first_row from_step n_steps losses"
    " patience n_stale enough_after watch",
    "tolerance best_loss",
)

# The threads of a call, and how they divide the work.
#   sync        state of their barrier; turns (n_threads, TURN_BYTES)
#   shared      the op whose inputs they share out, or -1
#   parts       (stored parts, batch_size, n_out) of that op's product
#   own         (n_threads, own_bytes), parameters and states of each thread's units in the op
#               before it
#   move        the kernel that copies these there and back, or 0
CREW = _record("n_threads sync turns shared parts own own_bytes move")

# The workspace, for one batch or for a block of a matrix.
#   inputs      (batch_size, n_features), rows of x that had to be converted
#   column_starts, column_places, column_factors: the batch's sparse rows sorted by columns
#   gradient    (batch_size, gradient_width); row_losses (batch_size, members) float64
#   member_order  (batch_size, members) int32, the number of each row's sample for each member
#   penalties   (n_weight_rows,) float64
#   panels      (n_threads, panel_bytes); scratch (n_threads, scratch_bytes), for a gradient's block
#   zeros       as many as the widest op has outputs; positions, int32 0, 1, 2, ...
#   piece       predictions, which need no slopes, write those of so many numbers to the same
#               memory, which stays in the cache; 0 in training
SPACE = _record(
    "inputs column_starts column_places column_factors gradient gradient_width"
    " row_losses member_order penalties panels panel_bytes scratch scratch_bytes zeros positions"
    " piece"
)

# Validation at the end of an epoch: the held-out rows, and the state of early stopping.
#   judge       the kernel, or 0 if no rows are held out
#   jobs        (n_threads,) int64, addresses of the jobs that predict for each thread, or 0
#   order       (n_rows,) int32 0, 1, 2, ...
#   row_losses  (n_rows, members) float64
#   grade       the kernel that compares answers with truth; score that adds up what it finds in
#               parts (n_rows, n_parts), by weights, spread (n_parts,) and divisor: see `scores`.
#               0 where the score is minus the loss
#   losses, scores   (n_epochs,) float64, of which those of n_judged epochs are there
#   by_loss, strict, keeps_last  which of both decides, whether a tie is stale, too, and whether a
#               stale tie is the best nevertheless
#   patience    how many epochs in a row may be stale, of which n_stale are, or -1; best_epoch of
#               the call, from 1, or 0; best_value what it has (minus a loss); best_params
#               (n_kept,), or 0 where nobody wants those; judged (n_kept,) what is judged and copied
#               there: the network's parameters and buffers, or their average
HELD_OUT = _record(
    "judge jobs n_rows order row_losses grade score truth weights parts n_parts spread losses"
    " scores n_judged by_loss strict keeps_last patience n_stale best_epoch best_params judged"
    " n_kept",
    "divisor tolerance best_value",
)

JOB = np.dtype(
    [
        ("samples", SAMPLES),
        ("model", MODEL),
        ("loss", LOSS),
        ("update", UPDATE),
        ("call", CALL),
        ("crew", CREW),
        ("space", SPACE),
        ("held_out", HELD_OUT),
    ]
)

# Networks of one shape that are trained side by side: see `step.lockstep`. A line has LANE_BYTES,
# one number of each network.
#   per_step, at_once  rows of a step, and how many of them go through all ops at a time
#   rows, orders  (lanes, n_rows) int32, as `rows` and `order` of a fit
#   seeds         (lanes,) int64
#   params, grads (n_params,) lines; states, vectors of n_params lines
#   x             (at_once, n_features) lines; samples (at_once, lanes) int32, their numbers
#   outputs, slopes  (at_once, lanes, n_outputs) numbers, as losses read and write them
#   scratch       lines for the sums of an op with one output
#   losses        (n_steps, lanes) float64
LOCKSTEP = _record(
    "per_step at_once rows orders seeds params grads states x samples outputs slopes scratch losses"
)

# A fit of many epochs that one thread runs in compiled code.
#   job         its job, with losses and hyper for all n_steps steps; step is the next of them
#   go_on       the kernel that runs `piece` steps more; double: whether its numbers are float64
#   rows        (n_samples,) int32, the numbers of the samples; order (n_samples,), the same in an
#               epoch's order, which is random if it shuffles; it visits the first n_rows of the job
#   ends        whether there are no more steps; is_over the same, once no thread looks at it again
#   lockstep    what networks side by side need besides, or 0
#   started, started_part, ended, ended_part  as `clock` writes them
FIT = _record(
    "job go_on double n_samples rows order shuffles step n_steps piece ends is_over lockstep"
    " started started_part ended ended_part"
)

# Which batch a thread is at. `order`: address of the numbers of its samples; `first_row`: rows of
# the step before them, where it has several batches; `block_start`, `block_stop`: the rows of the
# batch that the thread is at, or 0 and 0 for all that are its own; `total`: the sum of the weights
# of the step's samples; `penalty_scale`: what penalties are multiplied by.
TURN = _record(
    "job order batch first_row block_start block_stop step thread", "total penalty_scale"
)
TURN_BYTES = 128  # two cache lines, so that no two threads write to the same one


def _offset(record: np.dtype, name: str) -> int:
    """Bytes from the start of a record to one of its fields."""
    assert record.fields is not None
    return record.fields[name][1]


_TURNS = _offset(JOB, "crew") + _offset(CREW, "turns")

turns_at = records(TURN)
jobs_at = records(JOB)
ops_at = records(OP)
fits_at = records(FIT)
lockstep_at = records(LOCKSTEP)


class Turn:
    """All that an op needs: the job's records, its ops, and the thread's current batch.

    In compiled code a turn is the address of its record, so passing it on costs nothing.

    Parameters
    ----------
    at : int
        Address of the record, TURN.
    """

    def __init__(self, at: int) -> None:
        self.at = at

    def __getattr__(self, name: str) -> Any:
        record = turns_at(self.at, 1)[0]
        if name in _NUMBERS:
            return record[name]
        job = jobs_at(record["job"], 1)[0]
        return ops_at(job["model"]["ops"], job["model"]["n_ops"]) if name == "ops" else job[name]


_NUMBERS = tuple(name for name in TURN.names or () if name != "job")

TURN_TYPE: Any  # of compiled code

if JIT_ENABLED:
    from .compiler.numba_internals import array_at

    class _TurnType(types.Type):
        def __init__(self) -> None:
            super().__init__("Turn")

    TURN_TYPE = _TurnType()
    _OPS_TYPE = types.Array(numba.from_dtype(OP), 1, "C")

    @register_model(_TurnType)
    class _TurnModel(models.PrimitiveModel):
        def __init__(self, manager, kind):
            super().__init__(manager, kind, ir.IntType(64))

    @infer_getattr
    class _TurnAttributes(AttributeTemplate):
        key = _TurnType

        def generic_resolve(self, turn, name):
            if name == "at":
                return types.int64
            if name == "ops":
                return _OPS_TYPE
            return numba.from_dtype(TURN[name] if name in _NUMBERS else JOB[name])

    @lower_getattr_generic(_TurnType)
    def _turn_attribute(context, builder, kind, turn, name):
        def place(at, record, field, field_type):
            at = builder.add(at, at.type(_offset(record, field)))
            return builder.inttoptr(at, field_type.as_pointer())

        def number(at, record, field):
            field_type = context.get_value_type(numba.from_dtype(record[field]))
            return builder.load(place(at, record, field, field_type))

        if name == "at":
            return turn
        if name in _NUMBERS:
            return number(turn, TURN, name)
        job = number(turn, TURN, "job")
        if name == "ops":
            model = builder.add(job, job.type(_offset(JOB, "model")))
            count = number(model, MODEL, "n_ops")
            return array_at(context, builder, _OPS_TYPE, number(model, MODEL, "ops"), count)
        return place(job, JOB, name, context.get_data_type(numba.from_dtype(JOB[name])))

    @intrinsic
    def turn_of(typingctx, address):
        """The turn whose record is at an address."""
        return TURN_TYPE(types.int64), lambda _context, _builder, _signature, args: args[0]

else:
    TURN_TYPE = None
    turn_of = Turn


@jit
def turn_address(job_at, thread):
    """Address of a thread's turn record, after writing the fields that stay constant in a call."""
    at = longs(job_at + _TURNS, 1)[0] + thread * TURN_BYTES
    turn = turns_at(at, 1)[0]
    turn["job"], turn["thread"] = job_at, thread
    return at
