"""The transformed data of a pipeline's first steps, shared by candidates that only differ later.

It has the interface of `joblib.Memory` that a `Pipeline` uses, but keeps a few results in memory.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Any

import joblib


class Transformed:
    """What some calls have returned, by the contents of their arguments.

    Parameters
    ----------
    most : int
        The number of results to keep; the one that was used longest ago is dropped first.

    Attributes
    ----------
    n_computed : int
        How many results were computed.
    """

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._kept = OrderedDict[str, Future[Any]]()
        self.n_computed = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return Transformed, (self._most,)  # another process has its own results

    def cache(
        self, function: Callable[..., Any], ignore: Collection[str] = ()
    ) -> Callable[..., Any]:
        """The function, computed once for equal arguments, also by several threads.

        Parameters
        ----------
        function : callable
            Callers get copies of its results, since a step may write to what it is given.
        ignore : collection of str
            Names of arguments that do not count.

        Returns
        -------
        callable
        """

        def shared(*args: Any, **kwargs: Any) -> Any:
            try:
                key: str = joblib.hash((args, {k: v for k, v in kwargs.items() if k not in ignore}))
            except Exception:  # whatever pickling a user's transformer raises
                return function(*args, **kwargs)
            found, is_new = self._find(key)
            if is_new:
                try:
                    found.set_result(function(*args, **kwargs))
                except BaseException as error:
                    with self._lock:
                        self._kept.pop(key, None)
                    found.set_exception(error)
                    raise
            return _copied(found.result())

        return shared

    def _find(self, key: str) -> tuple[Future[Any], bool]:
        """The result, and whether the caller has to compute it."""
        with self._lock:
            found = self._kept.pop(key, None)
            is_new = found is None
            if found is None:
                self.n_computed += 1
                found = Future()
            self._kept[key] = found
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return found, is_new


def _copied(result: Any) -> Any:
    """Copies of the arrays and frames in a result; fitted transformers stay the same."""
    if isinstance(result, tuple):
        return tuple(map(_copied, result))
    copy = getattr(result, "copy", None)  # of many scalers a parameter
    return copy() if callable(copy) else result
