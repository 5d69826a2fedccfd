"""Compiled code on disk: whatever one process compiled, all others load.

It is renewed when any kernel changes. Processes that start together, like the workers of a grid
search, compile each function once: one of them does, and the others wait for its file.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
from numba.core import caching

try:
    import fcntl
except ImportError:  # Windows, where each process compiles
    fcntl = None  # type: ignore[assignment]


_OBJECTS_A_COLLECTION = 20_000


def _package_hash() -> str:
    """Hash of every kernel source, because numba only watches the file a function stands in."""
    digest = hashlib.sha256()
    for path in sorted(pathlib.Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


_STAMP = _package_hash()


class _Files(caching.IndexDataCacheFile):
    """The cache's files; damaged ones, which can raise anything, are as good as none."""

    def _load_index(self) -> dict[Any, str]:
        try:
            return super()._load_index()
        except Exception:
            return {}

    def load(self, key: Any) -> Any:
        try:
            return super().load(key)
        except Exception:
            return None


class KernelCache(caching.FunctionCache):
    """numba's on-disk cache of a function, apart under bounds checks.

    Raises
    ------
    RuntimeError, OSError
        Where no folder is writable.
    """

    def __init__(self, py_func: Callable[..., Any]) -> None:
        super().__init__(py_func)
        suffix = ".bounds" if numba.config.BOUNDSCHECK else ""
        self._file_name = self._impl.filename_base + suffix
        self._cache_file = _Files(self._cache_path, self._file_name, _STAMP)

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(OSError):  # a full disk costs the cache only
            super().save_overload(sig, data)

    def kept(self) -> list[tuple[Any, ...]]:
        """Types of arguments that there is code for."""
        return [key[0] for key in self._cache_file._load_index()]

    @contextlib.contextmanager
    def turn(self, signature: Any) -> Iterator[None]:
        """Wait while another process compiles the function, unless there is code already.

        The system takes the lock from a process that ends, however it ends. Where files cannot be
        locked, nobody waits.
        """
        with contextlib.ExitStack() as held:
            if fcntl is not None and signature not in self.kept():
                with contextlib.suppress(OSError):
                    self._impl.locator.ensure_cache_path()
                    place = pathlib.Path(self._cache_path, self._file_name + ".lock")
                    fcntl.lockf(held.enter_context(place.open("ab")), fcntl.LOCK_EX)
            yield


@contextlib.contextmanager
def _rare_collections() -> Iterator[None]:
    """Let the collector look for garbage more rarely: compilers make objects, and keep them."""
    before = gc.get_threshold()
    if before[0]:  # else it is off
        gc.set_threshold(_OBJECTS_A_COLLECTION, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def keep(dispatcher: Any) -> None:
    """Keep what a dispatcher compiles; where no folder is writable, it compiles in each process."""
    try:
        cache = KernelCache(dispatcher.py_func)
    except (RuntimeError, OSError):
        return
    compile_now = dispatcher.compile

    def compile_in_turn(signature: Any) -> Any:
        with cache.turn(signature), _rare_collections():
            return compile_now(signature)

    dispatcher._cache, dispatcher.compile = cache, compile_in_turn


def cache_folder() -> str | None:
    """Where compiled code of this package is kept, or None if nowhere is writable."""
    try:
        return str(KernelCache(_package_hash).cache_path)
    except (RuntimeError, OSError):
        return None


def is_compiled(kernel: Any, dtype: np.dtype) -> bool:
    """Whether code of a kernel for numbers of a type is in this process or in the cache."""

    def has(signatures: Any) -> bool:
        return any(dtype.name in map(str, signature) for signature in signatures)

    if has(getattr(kernel, "signatures", ())):
        return True
    cache = getattr(kernel, "_cache", None)
    return isinstance(cache, KernelCache) and has(cache.kept())
