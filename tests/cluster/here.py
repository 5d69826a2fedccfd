"""Workers that need no cluster, for tests of what is the same on all clusters."""

from __future__ import annotations

import pickle
from collections.abc import Collection, Sequence
from typing import Any

from fastmlp.cluster.workers import Lost, Workers, call


class Here(Workers):
    """Workers that do each job in this process, from bytes, the last of those begun first.

    Each loss takes along what had been sent until then.
    """

    n_at_once = 2

    def __init__(self, losses: int = 0) -> None:
        super().__init__("here")
        self.losses, self.most, self.sent, self.results = losses, 0, 0, dict[int, Any]()
        self.places = dict[int, bytes]()

    def _place(self, value: Any) -> int:
        self.sent += 1
        self.places[self.sent] = pickle.dumps(value)
        return self.sent

    def _pickled(self, value: Any) -> bytes:
        return pickle.dumps(value)

    def _begin(self, job: bytes, place: Any, needs: Sequence[Any]) -> Any:
        key = max(self.results, default=0) + 1
        self.results[key] = job, place, needs
        self.most = max(self.most, len(self.results))
        return key

    def _ended(self, begun: Collection[Any]) -> Collection[Any]:
        return [max(begun)]

    def _result(self, ended: Any) -> Any:
        job, place, needs = self.results.pop(ended)
        if self.losses:
            self.losses -= 1
            self.places.clear()
        if place not in self.places:
            raise Lost
        return pickle.loads(pickle.dumps(call(job, pickle.loads(self.places[place]), *needs)))

    def _cancel(self, begun: Collection[Any]) -> None:
        for key in begun:
            del self.results[key]
