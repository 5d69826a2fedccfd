"""Sizes of this machine's caches, by which products are cut into blocks.

Only Linux reports them in files; elsewhere, those of a common processor are assumed.
"""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import NamedTuple

_FOLDER = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 2**10, "M": 2**20}


class Caches(NamedTuple):
    """Bytes of the caches that one thread has for itself.

    Attributes
    ----------
    first : int
        First level, data only.
    second : int
        Second level.
    """

    first: int = 32 * 2**10
    second: int = 512 * 2**10


# What lies far outside was not measured, and memory is set aside for blocks.
_LEAST, _MOST = Caches(16 * 2**10, 128 * 2**10), Caches(64 * 2**10, 2 * 2**20)


@functools.cache
def caches() -> Caches:
    """The caches of the first core, of which cores that share one get equal parts."""
    found = Caches()._asdict()
    for folder in sorted(_FOLDER.glob("index*")):
        with contextlib.suppress(OSError, ValueError, KeyError):
            level, kind, size, sharing = (
                (folder / name).read_text().strip()
                for name in ("level", "type", "size", "shared_cpu_list")
            )
            name = {"1": "first", "2": "second"}[level]
            if kind != "Instruction":
                n_bytes = int(size[:-1]) * _UNITS[size[-1]] // _length(sharing)
                found[name] = min(max(n_bytes, getattr(_LEAST, name)), getattr(_MOST, name))
    return Caches(**found)


def _length(cores: str) -> int:
    """How many cores a list such as "0-3,8" has."""
    ends = [part.split("-") for part in cores.split(",")]
    return sum(int(each[-1]) - int(each[0]) + 1 for each in ends)
