"""The machine and the software that results were measured with.

Results are only meaningful together with them, and those of different machines are kept separate.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fastmlp

PACKAGES = (
    "numpy", "scipy", "numba", "llvmlite", "scikit-learn", "torch", "jax", "jaxlib",
    "onnxruntime",
)  # fmt: skip
ROOT = Path(__file__).resolve().parents[1]
RESULTS_FOLDER = "docs/benchmarks"


def n_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def one_or_all_cores() -> Sequence[int]:
    """One thread, or as many as there are cores: small work can be faster on one."""
    return sorted({1, n_cores()})


def is_installed(package: str) -> bool:
    """Whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None


@functools.cache
def _thread_pools() -> Any:
    """All BLAS libraries loaded so far; looking for them is slow, so it is done once."""
    import numpy.linalg  # noqa: F401
    import scipy.linalg  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def blas_threads(n_threads: int) -> contextlib.AbstractContextManager[Any]:
    """Limit NumPy's and SciPy's BLAS to `n_threads` threads in a block."""
    return _thread_pools().limit(limits=n_threads, user_api="blas")


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "fastmlp": fastmlp.__version__}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return None


def record() -> dict[str, Any]:
    """Properties that stay the same as long as the machine and its software do."""
    from fastmlp.kernels.compiler.jit import VECTOR_BYTES

    keys = ("internal_api", "version", "num_threads", "architecture")
    pools = [pool for pool in _thread_pools().info() if pool["user_api"] == "blas"]
    return {
        "cpu": _cpu_model(),
        "cores": n_cores(),
        "memory_gb": _memory_gb(),
        "system": f"{platform.system()} {platform.machine()}",
        "vector_bytes": VECTOR_BYTES,
        "versions": _versions(),
        "blas": [{key: pool[key] for key in keys if key in pool} for pool in pools],
        "environment": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.endswith("_NUM_THREADS") or name == "XLA_FLAGS"
        },
    }


def name_of(machine: dict[str, Any]) -> str:
    """A short name for a machine record, the same for the same record."""
    text = json.dumps(machine, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def kind_of(machine: dict[str, Any]) -> str:
    """What makes figures comparable: the processor, its cores and its vectors."""
    bits = 8 * machine["vector_bytes"]
    return f"{machine['cpu']}, {machine['cores']} cores, {bits}-bit vectors"


def load() -> float | None:
    """Processes that ran or waited in the last minute; None if the system does not count them."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


@functools.cache
def commit() -> str:
    """The commit of the tree, with a plus if files other than results differ from it.

    Empty if there is no repository.
    """
    changed = ("status", "--porcelain", "--untracked-files=no", "--", ".", f":!{RESULTS_FOLDER}")
    try:
        return _git("rev-parse", "--short=8", "HEAD") + ("+" if _git(*changed) else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def today() -> str:
    """The date in UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()
