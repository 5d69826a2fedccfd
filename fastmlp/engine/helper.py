"""Helpers: threads that take part in a call of compiled code, on cores of their own.

Starting a thread may take longer than a call, so threads stay and wait for the next one. Linux
often wakes a thread on its caller's core and leaves it in the queue there for milliseconds, so the
caller says where it may run before it starts to compute itself.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from ..kernels.tuning import IDLE_SECONDS, LATE_SECONDS


def _c_function(name: str) -> Any:
    """A function of the C library; None where it lacks it, as macOS and Windows do."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), name, None)


_get_core, _set_cores = (_c_function(name) for name in ("sched_getcpu", "pthread_setaffinity_np"))
if _set_cores is not None:
    _set_cores.argtypes = [ctypes.c_ulong, ctypes.c_size_t, ctypes.c_char_p]
_NOWHERE = -1


def _here() -> int:
    """The core that this thread runs on."""
    return _get_core() if _get_core is not None else _NOWHERE


def _as_bits(core: int) -> bytes:
    """A set of one core as the C library takes it: a bit for each, in words of 8 bytes."""
    return (1 << core).to_bytes(8 * (core // 64 + 1), "little")


class Cores:
    """Cores that the threads of a call may use, and those that are used already.

    None may be chosen where the system cannot move threads; `allowed` is empty then.
    """

    def __init__(self) -> None:
        self.allowed = frozenset[int]()
        if _get_core is not None and _set_cores is not None:
            self.allowed = frozenset(os.sched_getaffinity(0))
        self._used = {_here()}

    def place(self, worker: _Worker) -> None:
        """Move a waiting thread to a core of its own, unless it is on one or there is none.

        If it came late the last time, others keep its core busy, and it gets the next one.
        """
        free = sorted(self.allowed - self._used)
        core = worker.core
        if free and (core not in free or worker.was_late):
            core = min((one for one in free if one > core), default=free[0])
            bits = _as_bits(core)
            _set_cores(worker.ident, len(bits), bits)  # a sandbox may refuse, which does no harm
        self._used.add(core)


class _Worker:
    """A thread that runs helpers one after another, and ends after some idle seconds.

    Attributes
    ----------
    core : int
        The core that it is bound to while it waits.
    was_late : bool
        Whether its last helper had to wait for the core.
    """

    def __init__(self) -> None:
        self.given, self.core, self.was_late = SimpleQueue[Helper](), _NOWHERE, False
        self.ident = _thread.start_new_thread(self._live, ())

    def _live(self) -> None:
        while True:
            try:
                helper = self.given.get(timeout=IDLE_SECONDS)
            except Empty:
                with contextlib.suppress(ValueError):  # somebody has just taken it
                    _idle.remove(self)
                    return
                continue
            helper.run(self)
            del helper  # and with it what the caller holds

    def allow(self, cores: frozenset[int]) -> None:
        """Called by the thread itself: let it run on these cores, if any are given."""
        if cores:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, cores)

    def wait_here(self) -> None:
        """Called by the thread itself: wake up on this core, wherever the caller is then."""
        self.core = _here()
        self.allow(frozenset((self.core,)))


def _nothing() -> None:
    """What a helper that has run would do again."""


# Those that nobody uses; a forked child has none of its parent's threads.
_idle = list[_Worker]()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)


class Helper:
    """Runs a function once, on a thread that waits for such work or on a new one.

    Ctrl-C may come between any two steps of its caller. So whether the thread knows of the helper
    can be uncertain; `cancel` makes it certain that the function is not called later.

    Parameters
    ----------
    function : callable
        Called without arguments; raises nothing.
    cores : Cores
        Those of the call.
    """

    def __init__(self, function: Callable[[], Any], cores: Cores) -> None:
        self._function, self._cores, self._is_cancelled = function, cores, False
        self._worker: _Worker | None = None
        self._given_at = 0.0
        self._ended = _thread.allocate_lock()
        self._ended.acquire()

    def start(self) -> None:
        """Let the function run, on a core that no other thread of the call uses if there is one."""
        try:
            self._worker = _idle.pop()
        except IndexError:
            self._worker = _Worker()
        self._cores.place(self._worker)
        self._given_at = time.perf_counter()
        self._worker.given.put(self)

    def run(self, worker: _Worker) -> None:
        """Called by the worker, once or twice."""
        if not self._ended.locked():
            return
        worker.was_late = time.perf_counter() - self._given_at > LATE_SECONDS
        try:
            worker.allow(self._cores.allowed)
            if not self._is_cancelled:
                self._function()
        finally:
            if self._cores.allowed:  # otherwise nobody could release it from its core
                worker.wait_here()
            self._function = _nothing  # it may hold what holds this helper
            _idle.append(worker)  # first, since its next caller may be waiting for this end
            self._ended.release()

    def cancel(self) -> None:
        """Do not begin any more; has no effect on a function that runs or has run."""
        self._is_cancelled = True
        if self._worker is not None:
            self._worker.given.put(self)

    def is_alive(self) -> bool:
        """Whether it has a thread and has not ended."""
        return self._worker is not None and self._ended.locked()

    def join(self) -> None:
        """Wait until it has ended."""
        with self._ended:
            pass
