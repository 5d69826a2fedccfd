"""Compiled kernels on disk, in one folder per user: the first process compiles, all others load.

The folder's name is a hash of the kernels' sources and of the compiler's version, so a clone and an
installed package of one release share it, and a changed kernel gets a new one. A rule
of the user's own, which these sources do not tell of, has a folder by a hash of its own. Processes
that start together, like the workers of a grid search, compile each function once: one of them
does, and the others wait for its file.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import os
import pathlib
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import caching
from numba.misc.appdirs import AppDirs

try:
    import fcntl
except ImportError:  # Windows, where each process compiles
    fcntl = None  # type: ignore[assignment]


_KERNELS = pathlib.Path(__file__).parents[1]
_OBJECTS_A_COLLECTION = 20_000
_PREFIX = "kernels_"
_UNUSED_DAYS = 30  # after which the code of another release is removed


def _package_hash() -> str:
    """Hash of the compiler's version and of every kernel source: numba watches one file only."""
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__}".encode())
    for path in sorted(_KERNELS.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


_STAMP = _package_hash()


def _parents() -> Iterator[pathlib.Path]:
    """Where the folder may be, in the order of preference: the first that can be written to."""
    if numba.config.CACHE_DIR:  # NUMBA_CACHE_DIR
        yield pathlib.Path(numba.config.CACHE_DIR, "fastmlp")
    yield pathlib.Path(AppDirs("fastmlp", appauthor=False).user_cache_dir)
    yield _KERNELS / "__pycache__"  # a read-only home


@functools.cache
def _folder(own: str = "") -> pathlib.Path | None:
    """The folder for compiled code, made and marked as used; None if nowhere is writable.

    own: the stamp of a rule of the user's own, whose kernels have a folder to themselves.
    """
    stamp = hashlib.sha256(f"{_STAMP} {own}".encode()).hexdigest() if own else _STAMP
    for parent in _parents():
        folder = parent / f"{_PREFIX}{stamp[:20]}"
        try:
            is_new = not folder.exists()
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()  # which also renews the folder's date
            os.utime(folder)
        except OSError:
            continue
        if is_new:
            _remove_unused(parent)
        return folder
    return None


def _remove_unused(parent: pathlib.Path) -> None:
    """Remove the code of other releases that no process has used for some weeks.

    A process that has one of them open goes on with what it loaded, and compiles the rest.
    """
    oldest = time.time() - _UNUSED_DAYS * 24 * 3600
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True)


class _Locator(caching._CacheLocator):
    """Tells numba about the folder."""

    def __init__(self, folder: pathlib.Path, line: int) -> None:
        self._folder, self._line = folder, line

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator | None:
        own = getattr(py_func, "stamp", "")
        folder = None if own is None else _folder(own)
        return None if folder is None else cls(folder, py_func.__code__.co_firstlineno)

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return _STAMP

    def get_disambiguator(self) -> str:
        return str(self._line)


class _Implementation(caching.CompileResultCacheImpl):
    _locator_classes = (_Locator,)


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

    Parameters
    ----------
    py_func : function
    suffix : str, optional
        Tells code of one function apart that is compiled in another way.

    Raises
    ------
    RuntimeError, OSError
        Where no folder is writable.
    """

    _impl_class = _Implementation

    def __init__(self, py_func: Callable[..., Any], suffix: str = "") -> None:
        super().__init__(py_func)
        suffix += ".bounds" if numba.config.BOUNDSCHECK else ""
        self._file_name = self._impl.filename_base + suffix
        self._cache_file = _Files(self._cache_path, self._file_name, _STAMP)

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, Any]:
        """What code is kept under: the folder tells sources apart, and file names functions.

        numba would pickle what a function closes over, and other functions pickle differently in
        each process.
        """
        return sig, codegen.magic_tuple()

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


class _CompileClock:
    """Seconds in which this process compiled or loaded kernels, however many threads waited."""

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
        """The sum so far; what is under way counts, too."""
        with self._lock:
            now = time.perf_counter() - self._since if self._running else 0.0
            return self._total + now


_CLOCK = _CompileClock()
compile_seconds = _CLOCK.seconds


def cache_of(function: Callable[..., Any], suffix: str = "") -> KernelCache | None:
    """Where a function's code is kept; None where no folder is writable.

    A function with an attribute `stamp` is made from code outside of this package, of which that is
    a hash; where it is None, nothing is kept.
    """
    with contextlib.suppress(RuntimeError, OSError):
        return KernelCache(function, suffix)
    return None


@contextlib.contextmanager
def compiling(cache: KernelCache | None, signature: Any) -> Iterator[None]:
    """While a function is compiled or loaded: alone among processes, and on the clock."""
    turn = contextlib.nullcontext() if cache is None else cache.turn(signature)
    with _CLOCK, turn, _rare_collections():
        yield


def keep(dispatcher: Any) -> None:
    """Keep what a dispatcher compiles; where no folder is writable, it compiles in each process."""
    cache = cache_of(dispatcher.py_func)
    if cache is not None:
        dispatcher._cache = cache
    compile_now = dispatcher.compile

    def compile_in_turn(signature: Any) -> Any:
        with compiling(cache, signature):
            return compile_now(signature)

    dispatcher.compile = compile_in_turn


def cache_folder() -> str | None:
    """Where compiled code of this package is kept, or None if nowhere is writable."""
    folder = _folder()
    return None if folder is None else str(folder)


def is_compiled(kernel: Any, dtype: np.dtype) -> bool:
    """Whether code of a kernel for numbers of a type is in this process or in the cache."""

    def has(signatures: Any) -> bool:
        return any(dtype.name in map(str, signature) for signature in signatures)

    if has(getattr(kernel, "signatures", ())):
        return True
    cache = getattr(kernel, "_cache", None)
    return isinstance(cache, KernelCache) and has(cache.kept())
