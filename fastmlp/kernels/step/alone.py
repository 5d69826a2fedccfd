"""Running a single op: how a layer outside of a program calls its kernels.

Kernels take a turn, which Python cannot make; it is made here from a job's record.
"""

from __future__ import annotations

from .. import interfaces
from ..compiler.jit import jit
from ..plan import turn_address, turn_of, turns_at

_op = interfaces.OP.call


@jit
def run_op(kernel, job_at, s, batch, one):
    """Call the kernel at an address for op s of a job and the first `batch` of its rows."""
    turn = turn_of(turn_address(job_at, 0))
    record = turns_at(turn.at, 1)[0]
    record["order"], record["batch"], record["step"] = turn.space["positions"], batch, 0
    _op(kernel, (turn, s, one))
