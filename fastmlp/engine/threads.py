"""Threads that share a call of compiled code: how many, how they start, and how they end.

No thread is busy between calls, and a forked child, which has none of them, starts its own.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..kernels.compiler.jit import JIT_ENABLED
from ..kernels.step.threads import ABORTED
from ..kernels.tuning import (
    FIRST_PAUSE,
    JUDGED_SECONDS,
    LONGEST_PAUSE,
    MISSING_CORE,
    PIECE_SECONDS,
    SHORT_CALL,
    WORK_A_THREAD,
    WORK_OF_ONE_THREAD,
)
from .helper import Cores, Helper

MOST_THREADS = 1024
_THREAD_LIMITS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
# Files in which Linux says how much processor time a container may have, per period: version 2 of
# its control groups has one, version 1 has two.
_QUOTA_FILES = (
    ("/sys/fs/cgroup/cpu.max",),
    ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)


@functools.cache
def quota() -> float:
    """Cores' worth of processor time that a container's limit leaves to it; otherwise infinity."""
    for names in _QUOTA_FILES:
        try:
            allowed, period = " ".join(Path(name).read_text() for name in names).split()
            if int(allowed) > 0:  # otherwise it is "max" or -1
                return int(allowed) / int(period)
        except (OSError, ValueError):
            continue
    return math.inf


def n_cores() -> int:
    """Default number of threads: the cores of this process, or fewer if its parent limits them.

    A container whose quota is not a whole number of cores gets one thread more than it could keep
    busy, as in joblib.

    Pools of processes limit their workers by these environment variables. A thread other than the
    main one is assumed to be a worker among others, and gets one.
    """
    if threading.current_thread() is not threading.main_thread():
        return 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    if quota() < cores:
        cores = math.ceil(quota())
    limits = [os.environ.get(name, "") for name in _THREAD_LIMITS]
    return min([cores, *(max(1, int(limit)) for limit in limits if limit.isdecimal())])


def choose_threads(requested: int | None, work: int) -> int:
    """Number of threads for a step with `work` multiplications: as requested, or worthwhile."""
    if not JIT_ENABLED:
        return 1
    if requested is not None:
        return requested
    useful = work // WORK_A_THREAD
    return min(useful, n_cores()) if useful > 1 else 1


def threads_for(work: int) -> int:
    """Number of threads that are worth starting for a call with `work` multiplications."""
    return choose_threads(None, work) if work > WORK_OF_ONE_THREAD else 1


def in_pieces(total: int, first: int) -> Iterator[tuple[int, int]]:
    """Ranges that cover 0 to `total`, each of which takes about a twentieth of a second.

    Python handles Ctrl-C only between calls of compiled code, so none may be long. `first` is the
    size of the first range; the time that the caller takes for one decides the size of the next.
    """
    start, size = 0, max(1, first)
    while start < total:
        stop = min(total, start + size)
        started = time.perf_counter()
        yield start, stop
        seconds = max(time.perf_counter() - started, 1e-6)
        size = max(1, round((stop - start) * min(8.0, PIECE_SECONDS / seconds)))
        start = stop


class Spent(NamedTuple):
    """What a call took: seconds, and processor seconds of all its threads together."""

    seconds: float
    processor_seconds: float


class Company:
    """How many threads to do without while others need the cores.

    Threads wait for each other several times per step, so one without a core of its own costs more
    than it contributes. With other processes that shows in the processor time that a call's threads
    get. After a pause, one more thread is tried again; the pause gets longer from one vain attempt
    to the next. Threads of this process that do other work say so.
    """

    def __init__(self) -> None:
        self._n_absent, self._pause, self._tries_at = 0, FIRST_PAUSE, 0.0
        self._seconds = self._missing = 0.0
        self._busy = set[int]()  # threads, by their ids; adding and removing are atomic

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """A context in which the thread that enters it needs a core."""
        self._busy.add(threading.get_ident())
        try:
            yield
        finally:
            self._busy.discard(threading.get_ident())

    def n_threads(self, wanted: int) -> int:
        """Threads for the next call."""
        if self._busy:
            wanted = max(1, min(wanted, n_cores() - len(self._busy)))
        if self._n_absent == 0 or wanted == 1:
            return wanted
        now = time.monotonic()
        if now >= self._tries_at:
            self._n_absent -= 1
            self._tries_at = now + self._pause
        return max(1, wanted - self._n_absent)

    def note(self, n_threads: int, spent: Spent) -> None:
        """After a call of that many threads: what it took."""
        if n_threads == 1 or spent.seconds < SHORT_CALL:
            return
        self._seconds += spent.seconds
        self._missing += n_threads * spent.seconds - spent.processor_seconds
        if self._seconds < JUDGED_SECONDS:
            return
        if self._missing > MISSING_CORE * self._seconds:
            self._n_absent += 1
            self._tries_at = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        else:
            self._pause = max(self._pause / 2, FIRST_PAUSE)
        self._seconds = self._missing = 0.0


company = Company()


def on_threads(run: Callable[[int], Any], n_threads: int, sync: np.ndarray) -> Spent:
    """Call run(0) here and run(1..) on other threads; wait for all, and raise the first failure."""
    if n_threads == 1:
        run(0)
        return Spent(0.0, 0.0)  # nobody asks
    sync[...] = 0  # an earlier call may have been interrupted between two arrivals
    failures, used, started = list[BaseException](), list[float](), time.perf_counter()

    def guarded(thread: int) -> None:
        try:
            before = time.thread_time()
            run(thread)
            used.append(time.thread_time() - before)
        except BaseException as failure:
            sync[ABORTED] = 1  # the others must not wait for this one
            failures.append(failure)

    cores = Cores()
    helpers = [Helper(functools.partial(guarded, i), cores) for i in range(1, n_threads)]
    given_all = False
    try:
        for helper in helpers:
            helper.start()
        given_all = True
        guarded(0)
    except BaseException:  # Ctrl-C in between, or no more threads can be started
        sync[ABORTED] = 1
        raise
    finally:
        wait_for(helpers, given_all)
    if failures:
        raise failures[0]
    return Spent(time.perf_counter() - started, sum(used))


def wait_for(helpers: list[Helper], given_all: bool) -> None:
    """Wait until all have ended, and only then raise an interruption.

    given_all: False if some may not have begun; those shall not begin any more.
    """
    interruption: BaseException | None = None
    for helper in helpers:
        while helper.is_alive():
            try:
                if not given_all:
                    helper.cancel()
                helper.join()
            except BaseException as pressed:
                interruption = pressed
    if interruption is not None:
        raise interruption
