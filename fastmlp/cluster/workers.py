"""Jobs on workers: starts them, waits for them, and repeats those whose worker was lost.

Data that all jobs need are sent once, and each job separately. Results do not depend on which
worker runs a job.
"""

from __future__ import annotations

import contextlib
import pickle
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from typing import Any, NoReturn

from ..errors import InputError

MOST_TRIES = 4  # of a job whose worker is lost each time, as in Dask


class Lost(Exception):
    """A worker is gone with the job, or with what the job needs."""


class Shared:
    """What many jobs need, and where the workers find it.

    Parameters
    ----------
    value : object
    place : object
        What a kind of workers knows it by; another one once it was lost.
    """

    def __init__(self, value: Any, place: Any) -> None:
        self.value, self.place = value, place


class Workers(ABC):
    """Other processes that do jobs.

    Parameters
    ----------
    where : str
        For errors.
    """

    def __init__(self, where: str) -> None:
        self.where = where

    @property
    @abstractmethod
    def n_at_once(self) -> int:
        """How many jobs can be done at once; at least 1."""

    def share(self, value: Any) -> Shared:
        """Send a value, once, to be used by many jobs."""
        return Shared(value, self._place(value))

    @abstractmethod
    def _place(self, value: Any) -> Any:
        """Send a value; returns what jobs find it by."""

    @abstractmethod
    def _pickled(self, value: Any) -> bytes:
        """A value as bytes, by a pickler that takes functions and classes of scripts along."""

    @abstractmethod
    def _begin(self, job: bytes, place: Any, needs: Sequence[Any]) -> Any:
        """Begin a job; returns what stands for its result."""

    @abstractmethod
    def _ended(self, begun: Collection[Any]) -> Collection[Any]:
        """Wait until at least one has ended; returns those that have."""

    @abstractmethod
    def _result(self, ended: Any) -> Any:
        """What a job returned; raises what it raised, or `Lost`."""

    @abstractmethod
    def _cancel(self, begun: Collection[Any]) -> None:
        """End jobs whose results nobody wants."""

    def _waiting(self) -> contextlib.AbstractContextManager[None]:
        """A context in which the caller waits for jobs."""
        return contextlib.nullcontext()

    def run(
        self,
        function: Callable[..., Any],
        shared: Shared,
        jobs: Iterable[tuple[Any, ...]],
        most: int | None = None,
        needs: Sequence[Any] = (),
    ) -> Generator[tuple[int, Any], None, None]:
        """Call ``function(shared.value, *job)`` for each job, with what it needs in between.

        Close the iterator to end jobs that are not done.

        Parameters
        ----------
        function : callable
        shared : Shared
        jobs : iterable of tuple
        most : int, optional
            How many at once; by default as many as there are workers for.

        needs : sequence of object, optional
            For each job what stands for a result that workers have, as an argument before `job`.

        Yields
        ------
        (int, object)
            The number of a job that has ended, and its result.
        """
        waiting = deque(enumerate(self._packed(function, job) for job in jobs))
        tries, begun = Counter[int](), dict[Any, tuple[int, bytes, Any]]()
        try:
            with self._waiting():
                while waiting or begun:
                    while waiting and (most is None or len(begun) < most):
                        number, packed = waiting.popleft()
                        more, place = needs[number : number + 1], shared.place
                        begun[self._begin(packed, place, more)] = number, packed, place
                    for ended in self._ended(begun):
                        number, packed, place = begun.pop(ended)
                        try:
                            result = self._result(ended)
                        except Lost as error:
                            tries[number] += 1
                            if tries[number] == MOST_TRIES:
                                self.refuse_more(error)
                            if shared.place is place:  # it may be what was lost
                                shared.place = self._place(shared.value)
                            waiting.append((number, packed))
                        else:
                            yield number, result
        finally:
            self._cancel(begun)

    def refuse_more(self, error: BaseException) -> NoReturn:
        """Give up a job whose worker was lost each time."""
        raise InputError(
            self.where, "workers that last until a job is done", f"{MOST_TRIES} that were lost",
            "see in their logs what ended them; most often they need more memory",
        ) from error  # fmt: skip

    def _packed(self, function: Callable[..., Any], job: tuple[Any, ...]) -> bytes:
        """A job as bytes."""
        try:
            return self._pickled((function, job))
        except Exception as error:  # whatever a user's object raises
            raise InputError(
                self.where, "what can be pickled, for workers in other processes",
                f"{type(error).__name__}: {error}",
                "leave joblib.parallel_config to train in this process",
            ) from error  # fmt: skip


def call(job: bytes, shared: Any, *needs: Any) -> Any:
    """Do a job; workers run this."""
    function, arguments = pickle.loads(job)
    return function(shared, *needs, *arguments)
