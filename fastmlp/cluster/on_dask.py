"""Workers of a Dask cluster.

Dask itself moves the jobs of a lost worker to other workers. Only jobs whose shared data were lost
with all their copies are restarted here.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NoReturn

from ..errors import InputError
from .workers import Lost, Workers, call

_IN_THE_GRAPH = 2**20  # bytes of a job that go through the scheduler; others go straight to workers
_SHORT_PAUSE = 0.2  # seconds
_LOOK_AGAIN = 2.0  # seconds between looks at whether there are any workers
WITHOUT_WORKERS = 60.0  # seconds for which there may be none


class OnDask(Workers):
    """Workers of a Dask cluster.

    Parameters
    ----------
    where : str
        For errors.
    client : distributed.Client
    """

    def __init__(self, where: str, client: Any) -> None:
        super().__init__(where)
        self._client = client

    @property
    def n_at_once(self) -> int:
        """Threads of all workers."""
        return max(1, sum(self._client.nthreads().values()))

    def _place(self, value: Any) -> Any:
        # Workers copy it from each other: a broadcast would wait for minutes for a worker that was
        # lost meanwhile. The key is not a hash of the value, because two fits would share it, and
        # one could release it while the other needs it.
        deadline = time.monotonic() + WITHOUT_WORKERS
        while True:
            try:
                [place] = self._client.scatter([value], hash=False, timeout=WITHOUT_WORKERS)
            except TimeoutError:
                self._refuse_to_wait()
            except OSError:  # a worker was lost on the way
                if time.monotonic() > deadline:
                    self._refuse_to_wait()
                time.sleep(_SHORT_PAUSE)
            else:
                return place

    def _pickled(self, value: Any) -> bytes:
        import cloudpickle

        return cloudpickle.dumps(value)

    def _begin(self, job: bytes, place: Any, needs: Sequence[Any]) -> Any:
        packed = job if len(job) <= _IN_THE_GRAPH else self._place(job)
        key = f"fastmlp-{uuid.uuid4().hex}"
        return self._client.submit(call, packed, place, *needs, key=key, pure=False)

    def _ended(self, begun: Collection[Any]) -> Collection[Any]:
        from distributed import wait

        deadline = time.monotonic() + WITHOUT_WORKERS
        while True:
            with contextlib.suppress(TimeoutError, self._cancelled):
                wait(list(begun), timeout=_LOOK_AGAIN, return_when="FIRST_COMPLETED")
            ended = [future for future in begun if future.done()]
            if ended:
                return ended
            if self._client.nthreads():
                deadline = time.monotonic() + WITHOUT_WORKERS
            elif time.monotonic() > deadline:
                self._refuse_to_wait()

    def _refuse_to_wait(self) -> NoReturn:
        raise InputError(
            self.where, "workers in the Dask cluster", f"none for {WITHOUT_WORKERS:.0f} seconds",
            "start some, and call again",
        )  # fmt: skip

    @property
    def _cancelled(self) -> type[Exception]:
        from distributed import CancelledError

        return CancelledError

    def _result(self, ended: Any) -> Any:
        from distributed import KilledWorker

        try:
            return ended.result()
        except self._cancelled as error:
            raise Lost from error
        except KilledWorker as error:  # after several tries of Dask's own
            self.refuse_more(error)

    def _cancel(self, begun: Collection[Any]) -> None:
        self._client.cancel(list(begun))

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        """A job of this worker that waits for others makes room for them."""
        from distributed import get_worker, rejoin, secede

        try:
            get_worker()
        except ValueError:  # not in a job
            yield
            return
        secede()
        try:
            yield
        finally:
            rejoin()
