"""The processes that train one network together: how they share the work and agree on errors.

Batches and parameters are cut into the same blocks for any number of processes, and each process
gets a contiguous range of blocks.
"""

from __future__ import annotations

import contextlib
import copy
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..engine.threads import n_cores
from ..errors import InputError, InputTypeError, counted, require
from ..inputs import checks
from .rows import OwnRows
from .tree import Node, bounds

USUAL_BLOCKS = 8
_ALONE = contextlib.nullcontext()


class Ranks:
    """An MPI communicator, for the parameter `comm` of `Network.fit`.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm
        The processes, which all call `Network.fit` with the same arguments.
    own_rows : bool, default False
        Whether each process passes only its own samples, which `part_of` says, instead of all.
        Each block of a batch then takes its rows from its own part of the samples.
    blocks : int, default 8
        Into how many blocks of rows each batch is cut. Processes have whole blocks, so there cannot
        be more of them. Another number gives other rounding; the number of processes does not.

    Attributes
    ----------
    own : OwnRows or None
        Where this process's rows are among those of all, in a fit that shares them out.
    rank, size : int
        The number of this process, from 0, and how many there are.
    most_threads : int
        Threads for each process, so that those of one machine share its cores.

    Raises
    ------
    InputError
        For something else than a communicator, and for fewer blocks than processes.

    Examples
    --------
    >>> from mpi4py import MPI
    >>> from fastmlp import Ranks
    >>> Ranks(MPI.COMM_SELF, blocks=4).size
    1
    """

    def __init__(self, comm: Any, own_rows: bool = False, blocks: int = USUAL_BLOCKS) -> None:
        MPI = require("mpi4py.MPI", "Ranks")
        if not isinstance(comm, MPI.Intracomm):
            raise InputTypeError(
                "Ranks", "a communicator of mpi4py", type(comm).__name__, "pass MPI.COMM_WORLD"
            )
        self.comm, self.rank, self.size = comm, comm.Get_rank(), comm.Get_size()
        self.blocks = checks.whole_number("Ranks", "blocks", blocks, 1)
        self.has_own_rows = bool(own_rows)
        self.own: OwnRows | None = None
        self._told: Exception | None = None  # what the other processes know of
        here = comm.Split_type(MPI.COMM_TYPE_SHARED)
        self.most_threads = max(1, n_cores() // int(here.Get_size()))
        here.Free()
        if self.size > self.blocks:
            raise InputError(
                "Ranks", f"at least {self.size} blocks, one for each process", f"{self.blocks}",
                "pass a larger number of blocks, or start fewer processes",
            )  # fmt: skip

    @property
    def mine(self) -> Node:
        """The first of this process's blocks, and the end of them."""
        return self.blocks_of(self.rank)

    def blocks_of(self, rank: int) -> Node:
        """Which blocks a process has.

        Parameters
        ----------
        rank : int
            The number of the process.

        Returns
        -------
        (int, int)
            The first of them, and the end.
        """
        starts = bounds(self.blocks, self.size)
        return starts[rank], starts[rank + 1]

    def part_of(self, n: int) -> slice:
        """The rows of this process, of n in all.

        Parameters
        ----------
        n : int
            Rows of all processes.

        Returns
        -------
        slice
            Of all rows, which are in the order of the processes.
        """
        starts = bounds(n, self.blocks)
        return slice(starts[self.mine[0]], starts[self.mine[1]])

    def with_rows(self, where: str, n: int, labels: np.ndarray | None) -> Ranks:
        """The same processes for a fit to which each brings its own rows; all have to call it.

        Parameters
        ----------
        where : str
            For errors.
        n : int
            Rows of this process.
        labels : ndarray of shape (n_classes,), or None
            Its labels, each once, if they are classes.

        Returns
        -------
        Ranks
            With `own`.

        Raises
        ------
        InputError
            For other rows than `part_of` says.
        """
        told = self.comm.allgather((n, labels))
        n_rows = sum(count for count, _ in told)
        starts = bounds(n_rows, self.blocks)
        for rank, (count, _) in enumerate(told):
            first, stop = (starts[block] for block in self.blocks_of(rank))
            if count != stop - first:
                raise InputError(
                    where, f"{counted(stop - first, 'row')} of {n_rows} in process {rank}",
                    f"{count}", "cut the samples by Ranks.part_of",
                )  # fmt: skip
        made, every = copy.copy(self), None
        if labels is not None:
            every = np.unique(np.concatenate([own for _, own in told]))
        made.own = OwnRows(n_rows, starts[self.mine[0]], starts, every)
        return made

    def of_blocks(self, hash_of: Callable[[np.ndarray], str]) -> str:
        """One hash of the rows of all processes; all have to call it.

        Parameters
        ----------
        hash_of : callable
            Hashes some of this process's rows, given their numbers.

        Returns
        -------
        str
            The same for any number of processes.
        """
        assert self.own is not None
        starts = [start - self.own.first for start in self.own.starts]
        mine = [hash_of(np.arange(*starts[block : block + 2])) for block in range(*self.mine)]
        return "".join(part for parts in self.comm.allgather(mine) for part in parts)

    def any(self, here: bool) -> bool:
        """Whether something holds in any process; all have to call it.

        Parameters
        ----------
        here : bool
            Whether it holds in this one.

        Returns
        -------
        bool
            The same in all processes.
        """
        return here if self.size == 1 else any(self.comm.allgather(bool(here)))

    def need_same(self, where: str, what: str, value: Any, advice: str) -> None:
        """Refuse something that is not the same in all processes.

        Parameters
        ----------
        where : str
            For the error.
        what : str
            What it is, in the plural.
        value : object
            What this process has.
        advice : str
            For the error.

        Raises
        ------
        InputError
            In all processes if one has another value than the first.
        """
        if self.any(value != self.comm.bcast(value)):
            raise InputError(where, f"{what} that are the same in all processes", "others", advice)

    @contextlib.contextmanager
    def together(self, where: str) -> Iterator[None]:
        """Context manager: an error in one process becomes one in all of them, after the block.

        Parameters
        ----------
        where : str
            For the error.

        Yields
        ------
        None
            Nothing.

        Raises
        ------
        InputError
            If another process has had an error; its own error is raised there.
        """
        error = None
        try:
            yield
        except Exception as found:
            error = found
        self._told = error
        told = self.comm.allgather(None if error is None else str(error) or type(error).__name__)
        if error is not None:
            raise error
        for rank, message in enumerate(told):
            if message is not None:
                raise InputError(
                    where, "no error in any process", f"one in process {rank} ({message})",
                    "mend what it says",
                )  # fmt: skip

    @contextlib.contextmanager
    def or_abort(self) -> Iterator[None]:
        """Context manager: an exception ends all processes, since the others would wait for ever.

        Errors that all processes know of pass, as do those for users, which all of them raise.

        Yields
        ------
        None
            Nothing.
        """
        try:
            yield
        except InputError:
            raise
        except BaseException as error:
            if self.size > 1 and error is not self._told:
                traceback.print_exc()
                sys.stderr.flush()
                self.comm.Abort(1)
            raise


def together(ranks: Ranks | None, where: str) -> contextlib.AbstractContextManager[None]:
    """A context in which an error in one process is one in all; nothing if this one is alone."""
    return _ALONE if ranks is None else ranks.together(where)


def ranks_of(comm: Any) -> Ranks | None:
    """The processes of a fit, from the parameter `comm`; None for this one alone.

    Parameters
    ----------
    comm : None, Ranks or mpi4py.MPI.Intracomm
    """
    return comm if comm is None or isinstance(comm, Ranks) else Ranks(comm)
