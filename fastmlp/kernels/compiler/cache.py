"""Compiling and loading kernels: timed, and by one process at a time.

If processes start together, such as the workers of a grid search, one of them compiles a function,
and the others wait for its file.
"""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .numba_internals import KernelCache, cache_in_use, global_compiler_lock, use_cache

_OBJECTS_A_COLLECTION = 20_000


@contextlib.contextmanager
def _rare_collections() -> Iterator[None]:
    """Run the garbage collector more rarely: a compiler creates many objects and keeps them."""
    before = gc.get_threshold()
    if before[0]:  # 0: it is off
        gc.set_threshold(_OBJECTS_A_COLLECTION, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _CompileClock:
    """Seconds in which this process compiled or loaded kernels, in any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running, self._since, self._total = 0, 0.0, 0.0

    def __enter__(self) -> None:
        with self._lock:
            if not self._running:
                self._since = time.perf_counter()
            self._running += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._running -= 1
            if not self._running:
                self._total += time.perf_counter() - self._since

    def seconds(self) -> float:
        """The total so far, including a compilation in progress."""
        with self._lock:
            now = time.perf_counter() - self._since if self._running else 0.0
            return self._total + now


_CLOCK = _CompileClock()
compile_seconds = _CLOCK.seconds


def cache_of(function: Callable[..., Any], suffix: str = "") -> KernelCache | None:
    """The cache of a function's code; None if no folder is writable.

    A function made from code outside of this package has an attribute `stamp`, a hash of that code;
    if the stamp is None, nothing is cached.
    """
    with contextlib.suppress(RuntimeError, OSError):
        return KernelCache(function, suffix)
    return None


@contextlib.contextmanager
def compiling(cache: KernelCache | None, signature: Any) -> Iterator[None]:
    """A context for compiling or loading a function: timed, one thread and process at a time.

    numba takes its lock to compile, but not to load, which changes the same tables of types.
    """
    turn = contextlib.nullcontext() if cache is None else cache.turn(signature)
    with _CLOCK, global_compiler_lock, turn, _rare_collections():
        yield


def keep(dispatcher: Any) -> None:
    """Cache what a dispatcher compiles; without a writable folder, each process compiles it."""
    cache = cache_of(dispatcher.py_func)
    if cache is not None:
        use_cache(dispatcher, cache)
    compile_now = dispatcher.compile

    def compile_in_turn(signature: Any) -> Any:
        with compiling(cache, signature):
            return compile_now(signature)

    dispatcher.compile = compile_in_turn


def _number_type(kind: Any) -> str:
    """The name of a type of numbers, or of those in a type of arrays."""
    return str(getattr(kind, "dtype", kind))


def is_compiled(kernel: Any, dtype: np.dtype) -> bool:
    """Whether a kernel's code for a number type is in this process or in the cache."""

    def has(signatures: Any) -> bool:
        return any(dtype.name in map(_number_type, signature) for signature in signatures)

    if has(getattr(kernel, "signatures", ())):
        return True
    cache = cache_in_use(kernel)
    return cache is not None and has(cache.kept())
