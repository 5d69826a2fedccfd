"""Fixtures and settings shared by all tests: seeded randomness, the full MNIST, no display.

Nothing here imports fastmlp, so that a test can still check what importing it does.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# Set before anything imports matplotlib, and inherited by the processes that tests start.
os.environ["MPLBACKEND"] = "Agg"

# A first call compiles kernels, which no per-example deadline allows for. CI draws the same
# examples on every run, so that a red run is never down to luck.
settings.register_profile("fastmlp", deadline=None)
settings.register_profile("fastmlp-ci", deadline=None, derandomize=True, database=None)
settings.load_profile("fastmlp-ci" if os.environ.get("CI") else "fastmlp")

MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator seeded by the test's own name: the same alone, in any order and on any day."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture(scope="session")
def mnist_home() -> Path:
    """The folder with the full MNIST; a test that needs it is skipped where there is none."""
    beside = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "mnist"
    home = Path(os.environ.get("FASTMLP_MNIST") or beside).resolve()
    missing = [
        name
        for name in MNIST_FILES
        if not ((home / name).is_file() or (home / f"{name}.gz").is_file())
    ]
    if missing:
        pytest.skip(f"no full MNIST: {home} lacks {', '.join(missing)}; set FASTMLP_MNIST")
    return home
