"""Helpers: threads that take part in one call of compiled code, on cores of their own.

Linux often puts a new thread in the queue of its creator's core and leaves it there for
milliseconds, while the creator computes; many calls are over by then. So the creator says where it
may run before it starts to compute itself.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple


def _c_function(name: str) -> Any:
    """A function of the C library; None where it lacks it, as macOS and Windows do."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), name, None)


_get_core, _set_cores = (_c_function(name) for name in ("sched_getcpu", "pthread_setaffinity_np"))
if _set_cores is not None:
    _set_cores.argtypes = [ctypes.c_ulong, ctypes.c_size_t, ctypes.c_char_p]


class Cores(NamedTuple):
    """Cores that threads may use; both sets are empty if the system lets nobody choose.

    Attributes
    ----------
    all : frozenset of int
        Those of this process.
    others : list of int
        Those but for the one that the calling thread runs on.
    """

    all: frozenset[int]
    others: list[int]

    @classmethod
    def now(cls) -> Cores:
        """As seen by the calling thread."""
        if _get_core is None or _set_cores is None:
            return cls(frozenset(), [])
        found = frozenset(os.sched_getaffinity(0))
        return cls(found, sorted(found - {_get_core()}))


def _as_bits(core: int) -> bytes:
    """A set of one core as the C library takes it: a bit for each, in words of 8 bytes."""
    return (1 << core).to_bytes(8 * (core // 64 + 1), "little")


class Helper:
    """A thread that waits to be placed, runs a function once and ends.

    `threading.Thread` would wait until the new thread has run, which takes as long as some calls.

    Parameters
    ----------
    run : callable
        Called without arguments; raises nothing.
    """

    def __init__(self, run: Callable[[], Any]) -> None:
        self._run, self._ident, self._is_cancelled = run, 0, False
        self._allowed = frozenset[int]()
        self._placed, self._ended = _thread.allocate_lock(), _thread.allocate_lock()
        self._placed.acquire()
        self._ended.acquire()

    def start(self) -> None:
        """Start the thread, which waits for `place` or `release`."""
        self._ident = _thread.start_new_thread(self._live, ())

    def place(self, number: int, cores: Cores) -> None:
        """Let the thread run, at first on a core of its own if there are enough others.

        number: of this helper among those of the call, from 0.
        """
        if cores.others:
            self._allowed = cores.all
            bits = _as_bits(cores.others[number % len(cores.others)])
            _set_cores(self._ident, len(bits), bits)  # a sandbox may refuse, which does no harm
        self.release()

    def release(self) -> None:
        """Let the thread run; without effect if it does already."""
        if not self._placed.locked():
            return
        if self._ident == 0:  # not started, or so it seems after Ctrl-C: it shall do nothing
            self._is_cancelled = True
        self._placed.release()

    def _live(self) -> None:
        self._placed.acquire()
        try:
            if not self._is_cancelled:
                if self._allowed:
                    with contextlib.suppress(OSError):
                        os.sched_setaffinity(0, self._allowed)  # it has moved
                self._run()
        finally:
            self._ended.release()

    def is_alive(self) -> bool:
        """Whether it has started and not ended."""
        return self._ident != 0 and self._ended.locked()

    def join(self) -> None:
        """Wait until it has ended."""
        with self._ended:
            pass
