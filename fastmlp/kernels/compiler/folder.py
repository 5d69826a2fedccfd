"""The folder on disk in which compiled code is kept: one per user, release and compiler.

Its name is a hash of the kernels' sources and of the compiler's version. So a clone and an
installed package of one release share a folder, and a changed kernel gets a new one. Kernels with
user-defined rules have a separate folder per rule, named by a hash of the rule.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator

import llvmlite
import numba

from ...io.files import user_cache_folder

_KERNELS = pathlib.Path(__file__).parents[1]
_PREFIX = "kernels_"
_UNUSED_DAYS = 30  # after which the code of another release is removed


def _package_hash() -> str:
    """Hash of the compiler's version and of all kernel sources; numba checks a single file only."""
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__}".encode())
    for path in sorted(_KERNELS.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


STAMP = _package_hash()


def _parents() -> Iterator[pathlib.Path]:
    """Possible parents of the folder, in order of preference; the first writable one is used."""
    if numba.config.CACHE_DIR:  # NUMBA_CACHE_DIR
        yield pathlib.Path(numba.config.CACHE_DIR, "fastmlp")
    yield user_cache_folder()
    yield _KERNELS / "__pycache__"  # if the home folder is read-only


@functools.cache
def folder_for(own: str = "") -> pathlib.Path | None:
    """The folder for compiled code, created and marked as used; None if none is writable.

    own: the stamp of a user-defined rule, whose kernels have a separate folder.
    """
    stamp = hashlib.sha256(f"{STAMP} {own}".encode()).hexdigest() if own else STAMP
    for parent in _parents():
        folder = parent / f"{_PREFIX}{stamp[:20]}"
        try:
            is_new = not folder.exists()
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()  # is it writable? this also updates its date
            os.utime(folder)
        except OSError:
            continue
        if is_new:
            _remove_unused(parent)
        return folder
    return None


def _remove_unused(parent: pathlib.Path) -> None:
    """Remove the code of other releases that no process has used for some weeks.

    A process that still uses one keeps the code that it has loaded, and compiles the rest.
    """
    oldest = time.time() - _UNUSED_DAYS * 24 * 3600
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True)


def cache_folder() -> str | None:
    """Where compiled code of this package is kept, or None if no folder is writable."""
    folder = folder_for()
    return None if folder is None else str(folder)
