"""What a step does only for some fits: batches with sample weights, and patience with the loss.

A program calls these by address, so fits without them compile nothing of them.
"""

from __future__ import annotations

from .. import interfaces
from ..compiler.jit import integers
from ..plan import FLOAT64_BYTES, turns_at
from ..rules import losses
from .step import batches_an_epoch


@interfaces.TURN.kernel
def sum_weights(turn, one):
    """Note the sum of the weights of a batch's samples."""
    record = turns_at(turn.at, 1)[0]
    order = integers(turn.order, turn.batch)
    record["total"] = losses.total_weight(order, turn.samples["weights"], one)


@interfaces.TURN.kernel
def watch_loss(turn, one):
    """At the end of an epoch, see whether its loss is better, and say when it is enough."""
    call, n_batches, done = turn.call, batches_an_epoch(turn), turn.step + 1
    if done % n_batches != 0:
        return
    first = call["losses"] + (done - n_batches) * FLOAT64_BYTES
    loss = losses.mean_of_batches(first, n_batches, call["rows_per_step"], turn.samples["n_rows"])
    is_better = loss <= call["best_loss"] - call["tolerance"]
    call["n_stale"] = 0 if is_better else call["n_stale"] + 1
    call["best_loss"] = min(call["best_loss"], loss)
    if call["n_stale"] > call["patience"]:
        call["enough_after"] = done // n_batches
