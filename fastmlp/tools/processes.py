"""Commands that `mpiexec` has started in several processes, of which the first one reports.

They find each other by the variables that MPI's launchers set.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from ..errors import InputError, require

if TYPE_CHECKING:
    from ..distributed.ranks import Ranks

_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS")  # of MPICH, Open MPI and others
_PATIENCE = 2.0  # seconds in which the first process may report the same error


def communicator() -> Any:
    """MPI's communicator of the processes of this command; None if it is alone."""
    sizes = [os.environ.get(name, "") for name in _SIZES]
    if max(int(size) if size.isdecimal() else 1 for size in sizes) < 2:
        return None
    return require("mpi4py.MPI", "mpiexec").COMM_WORLD


def started() -> Ranks | None:
    """The processes of this command, all of which have to call it; None if it is alone."""
    comm = communicator()
    if comm is None:
        return None
    from ..distributed.ranks import Ranks

    return Ranks(comm)


def check_kind(is_recipe: bool, is_stored: bool) -> None:
    """Refuse recipes for tables, and tables on disk, in several processes."""
    if communicator() is None:
        return
    if is_stored:
        raise InputError(
            "--stream", "rows in memory for several processes", "a table on disk", "leave it out"
        )
    if is_recipe:
        raise InputError(
            "fastmlp train", "a network of layers in several processes", "a recipe for tables",
            "add --recipe none",
        )  # fmt: skip


def refuse(message: str, code: int) -> None:
    """Report an error, once if all processes have it, and end all of them if there are several."""
    comm = communicator()
    if comm is not None and comm.rank > 0:
        time.sleep(_PATIENCE)  # in which the first process ends this one if it has the same error
    print(message, file=sys.stderr, flush=True)
    if comm is not None:
        comm.Abort(code)
