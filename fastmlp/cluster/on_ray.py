"""Workers of a Ray cluster.

Ray itself begins the jobs of a lost worker again. Shared data are in each machine's memory once,
where all of its workers read them.
"""

from __future__ import annotations

import pickle
from collections.abc import Collection, Sequence
from typing import Any

from .workers import Lost, Workers, call


class OnRay(Workers):
    """Workers of a Ray cluster, which is started on this machine if there is none.

    Parameters
    ----------
    where : str
        For errors.
    resources : dict or None
        What each job needs, as options of `ray.remote`; by default one core.
    """

    def __init__(self, where: str, resources: dict[str, Any] | None) -> None:
        import ray

        super().__init__(where)
        self._ray, self._resources = ray, {"num_cpus": 1, **(resources or {})}
        if not ray.is_initialized():
            ray.init()
        self._call = ray.remote(**self._resources)(_call)

    @property
    def n_at_once(self) -> int:
        """Jobs for which all machines together have cores."""
        n_cores = self._ray.cluster_resources().get("CPU", 1)
        return max(1, int(n_cores / max(self._resources["num_cpus"], 1e-9)))

    def _place(self, value: Any) -> Any:
        return self._ray.put(value)

    def _pickled(self, value: Any) -> bytes:
        packed: bytes = self._ray.cloudpickle.dumps(value)
        return packed

    def _begin(self, job: bytes, place: Any, needs: Sequence[Any]) -> Any:
        return self._call.remote(job, place, *needs)

    def _ended(self, begun: Collection[Any]) -> Collection[Any]:
        ended: list[Any] = self._ray.wait(list(begun), num_returns=1)[0]
        return ended

    def _result(self, ended: Any) -> Any:
        lost = self._ray.exceptions
        try:
            return pickle.loads(self._ray.get(ended))
        except (lost.WorkerCrashedError, lost.ObjectLostError, lost.NodeDiedError) as error:
            raise Lost from error

    def _cancel(self, begun: Collection[Any]) -> None:
        for one in begun:
            self._ray.cancel(one)


def _call(job: bytes, shared: Any, *needs: Any) -> bytes:
    """Do a job; its result goes back as bytes, since arrays in Ray's memory are read-only."""
    from ray import cloudpickle

    packed: bytes = cloudpickle.dumps(call(job, shared, *needs))
    return packed
