"""Settings shared by all tests: seeded randomness, the full MNIST, no display, what is slow.

Nothing here imports fastmlp, so that a test can still check what importing it does.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow those cases of a `thinned` test that a quick run can do without.

    `thinned` alone keeps each value of each parameter at least once, but not all combinations;
    `thinned(n)` keeps n cases. Which ones follows from their names, so that it stays the same when
    others come or go.
    """
    tests: dict[str, list[Any]] = {}
    for item in items:
        is_thinned = isinstance(item, pytest.Function) and item.get_closest_marker("thinned")
        if is_thinned and hasattr(item, "callspec"):  # a test without parameters is one case
            tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for cases in tests.values():
        cases.sort(key=lambda case: zlib.crc32(case.nodeid.encode()))
        for case in _can_wait(cases):
            case.add_marker("slow")


def _can_wait(cases: list[Any]) -> list[Any]:
    mark = cases[0].get_closest_marker("thinned")
    assert mark is not None
    if mark.args:
        return cases[mark.args[0] :]
    seen: set[tuple[str, int]] = set()
    waiting = []
    for case in cases:
        # The cases of a test share the objects that they are parametrised with.
        values = {(name, id(value)) for name, value in case.callspec.params.items()}
        if values <= seen:
            waiting.append(case)
        seen |= values
    return waiting


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
